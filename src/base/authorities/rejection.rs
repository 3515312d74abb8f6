//! The certificate of a server that a client of cdflow rejects: the reason and the fix.

/// The start of every such message of rustls.
const REJECTED: &str = "invalid peer certificate: ";
/// The fix for a server whose authority is unknown.
pub(crate) const ADD_AUTHORITY: &str = "if the server is your company's, add the certificate of \
     its authority with the input `ca-certificates` (--ca-certificates FILE)";

/// A rejected certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) why: String,
    /// The fix.
    pub(crate) hint: &'static str,
}

impl Rejection {
    /// Reads `words`, the chain of an error; None if the error has another cause. `server` is the
    /// host as messages show it.
    pub(crate) fn of(words: &str, server: &str) -> Option<Self> {
        let (_, reason) = words.split_once(REJECTED)?;
        let (what, hint) = match reason {
            _ if reason.starts_with("UnknownIssuer") => {
                ("is signed by an unknown authority".to_owned(), ADD_AUTHORITY)
            }
            _ if reason.contains("not valid for name") => (
                format!("is for another name: {reason}"),
                "use a name that the certificate contains, or issue a certificate for this name",
            ),
            _ if reason.contains("expired") => (
                format!("has expired: {reason}"),
                "renew the server's certificate, and check the clock of this machine",
            ),
            _ if reason.starts_with("CaUsedAsEndEntity") => (
                "belongs to an authority, not to a server".to_owned(),
                "give the server a certificate that is signed by the authority",
            ),
            _ => (format!("is not valid: {reason}"), "renew the server's certificate"),
        };
        Some(Self { why: format!("the certificate of {server} {what}"), hint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_fix() {
        let why = |reason: &str| {
            let words = format!("error sending request: client error: {REJECTED}{reason}");
            Rejection::of(&words, "`ghes.acme.com`").unwrap().why
        };
        let unknown = "the certificate of `ghes.acme.com` is signed by an unknown authority";
        assert_eq!(why("UnknownIssuer"), unknown);
        assert!(why("certificate not valid for name \"a\"").contains("is for another name"));
        assert!(why("certificate expired: verification time 1").contains("has expired"));
        assert!(why("CaUsedAsEndEntity").contains("belongs to an authority, not"));
        assert!(why("BadSignature").contains("is not valid: BadSignature"));
        assert_eq!(Rejection::of("connection refused", "`a`"), None);
    }
}
