//! Certificates in PEM format: blocks from `-----BEGIN CERTIFICATE-----` to its end, with any text
//! around them.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::base::error::Error;

const CERTIFICATE: &str = "CERTIFICATE";

pub(super) struct Block {
    pub(super) der: Vec<u8>,
}

/// What is wrong with a text. No message quotes the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    PrivateKey {
        line: usize,
    },
    /// Another kind of block: `PKCS7`.
    Other {
        line: usize,
        label: String,
    },
    NotBase64 {
        line: usize,
    },
    NoEnd {
        line: usize,
    },
    NoCertificate,
}

impl Block {
    /// Returns the block as PEM.
    pub(super) fn text(&self) -> String {
        let encoded = STANDARD.encode(&self.der);
        let mut text = format!("-----BEGIN {CERTIFICATE}-----\n");
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text.push('\n');
        }
        text + "-----END CERTIFICATE-----\n"
    }
}

/// Returns all certificates of a text that has at least one, and no block of another kind.
pub(super) fn certificates(text: &str) -> Result<Vec<Block>, Fault> {
    // This check is first, because nothing of such a text may be used.
    if let Some(at) = text.lines().position(|line| line.contains("PRIVATE KEY-----")) {
        return Err(Fault::PrivateKey { line: at + 1 });
    }
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim).zip(1..);
    while let Some((line, begin)) = lines.next() {
        let Some(label) = boundary(line, "BEGIN") else { continue };
        if label != CERTIFICATE {
            return Err(Fault::Other { line: begin, label: label.to_owned() });
        }
        let mut content = String::new();
        loop {
            let (line, _) = lines.next().ok_or(Fault::NoEnd { line: begin })?;
            match boundary(line, "END") {
                Some(CERTIFICATE) => break,
                None if !line.starts_with("-----") => content.push_str(line),
                _ => return Err(Fault::NoEnd { line: begin }),
            }
        }
        let der = STANDARD.decode(content).map_err(|_| Fault::NotBase64 { line: begin })?;
        blocks.push(Block { der });
    }
    match blocks.is_empty() {
        true => Err(Fault::NoCertificate),
        false => Ok(blocks),
    }
}

/// Returns the certificates of a text that can be decoded, as PEM. The lists of machines contain
/// all kinds of other text.
pub(super) fn readable(text: &str) -> String {
    let ends = format!("-----END {CERTIFICATE}-----");
    let begins = format!("-----BEGIN {CERTIFICATE}-----");
    let blocks = text.split(&begins).skip(1).filter_map(|rest| rest.split_once(&ends));
    let decoded = blocks.filter_map(|(content, _)| {
        let content: String = content.split_whitespace().collect();
        STANDARD.decode(content).ok()
    });
    decoded.map(|der| Block { der }.text()).collect()
}

/// `-----BEGIN LABEL-----`
fn boundary<'t>(line: &'t str, word: &str) -> Option<&'t str> {
    line.strip_prefix("-----")?.strip_prefix(word)?.strip_prefix(' ')?.strip_suffix("-----")
}

impl Fault {
    /// Converts to an error. `origin` is the user's name for the text.
    pub(super) fn into_error(self, origin: &str) -> Error {
        let error = |what: String| Error::input(format!("{origin} {what}"));
        let again = "copy the whole certificate, from the line `-----BEGIN CERTIFICATE-----` to \
             the line `-----END CERTIFICATE-----`";
        match self {
            Self::PrivateKey { line } => error(format!("contains a private key on line {line}"))
                .why("a private key does not belong among certificates")
                .hint("remove the key: keep only the certificates of the authorities")
                .hint(
                    "replace the key and its certificate if the key was in a repository or a log",
                ),
            Self::Other { line, label } => {
                error(format!("has a `{label}` block instead of a `{CERTIFICATE}` on line {line}"))
                    .hint("convert it: `openssl pkcs7 -print_certs` and `openssl x509` write PEM")
            }
            Self::NotBase64 { line } => error(format!("has a damaged certificate on line {line}"))
                .why("its content is not base64")
                .hint(again),
            Self::NoEnd { line } => error(format!("has an incomplete certificate on line {line}"))
                .why("no line `-----END CERTIFICATE-----` follows")
                .hint(again),
            Self::NoCertificate => error("contains no certificate".to_owned())
                .why("no line is `-----BEGIN CERTIFICATE-----`")
                .hint("convert a binary file: `openssl x509 -inform der -in FILE -out FILE.pem`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    fn fault(text: &str) -> Fault {
        certificates(text).err().unwrap()
    }

    #[test]
    fn blocks_among_other_text() {
        let text = format!("Subject: CN=a\r\n{ONE}\n# another\n  {}", ONE.replace('\n', "\r\n"));
        let found = certificates(&text).unwrap();
        assert_eq!(found.iter().map(|it| it.der.as_slice()).collect::<Vec<_>>(), [[0, 1, 2]; 2]);
        assert_eq!(found[0].text(), ONE);
        assert_eq!(readable(&text), format!("{ONE}{ONE}"));
        let long = Block { der: vec![7; 200] }.text();
        assert!(long.lines().all(|line| line.len() <= 64));
        assert_eq!(certificates(&long).unwrap()[0].der, [7; 200]);
    }

    #[test]
    fn what_is_not_accepted() {
        for kind in ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "] {
            let key = format!("{ONE}-----BEGIN {kind}PRIVATE KEY-----\nAAEC\n");
            assert_eq!(fault(&key), Fault::PrivateKey { line: 4 }, "{kind}");
            assert_eq!(readable(&key), ONE);
        }
        let other = ONE.replace("CERTIFICATE", "PKCS7");
        assert_eq!(fault(&other), Fault::Other { line: 1, label: "PKCS7".to_owned() });
        assert_eq!(fault(&ONE.replace("AAEC", "A!")), Fault::NotBase64 { line: 1 });
        assert_eq!(fault(&ONE[..40]), Fault::NoEnd { line: 1 });
        assert_eq!(
            fault(&ONE.replace("-----END CERTIFICATE-----\n", ONE)),
            Fault::NoEnd { line: 1 }
        );
        for none in ["", "\n", "certs/ca.pem", "AAEC", "----BEGIN CERTIFICATE----"] {
            assert_eq!(fault(none), Fault::NoCertificate, "{none}");
        }
    }
}
