//! A server whose certificate a client of cdflow rejects: what is wrong with it, and what to do.

/// How rustls starts every such message.
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
    /// Returns None if `words`, the chain of an error, are about something else. `server` is the
    /// host, as a message shows it.
    pub(crate) fn of(words: &str, server: &str) -> Option<Self> {
        let (_, reason) = words.split_once(REJECTED)?;
        let (what, hint) = match reason {
            _ if reason.starts_with("UnknownIssuer") => {
                ("is signed by an unknown authority".to_owned(), ADD_AUTHORITY)
            }
            _ if reason.contains("not valid for name") => (
                format!("is for another name: {reason}"),
                "use a name that the certificate contains, or renew the server's certificate",
            ),
            _ if reason.contains("expired") => (
                format!("has expired: {reason}"),
                "renew the server's certificate, and check the clock of this machine",
            ),
            _ if reason.starts_with("CaUsedAsEndEntity") => (
                "is that of an authority".to_owned(),
                "give the server a certificate that the authority has signed",
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
        assert!(why("CaUsedAsEndEntity").contains("that of an authority"));
        assert!(why("BadSignature").contains("is not valid: BadSignature"));
        assert_eq!(Rejection::of("connection refused", "`a`"), None);
    }
}
