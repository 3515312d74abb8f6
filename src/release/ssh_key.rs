//! An SSH private key as people paste it into a secret, turned into what ssh reads.
//!
//! Web forms, YAML and shells change a key: they join its lines, indent them, end them with CRLF or
//! write `\n` as two characters. ssh then only says that it cannot load the key.

use crate::base::error::{Error, Result};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// Characters in a line of the body, as in RFC 7468.
const WIDTH: usize = 64;

/// Returns the key with one header, lines of equal length, and one footer. A key with headers of
/// its own (`Proc-Type: …`, an old format of encrypted keys) keeps its lines.
pub(crate) fn canonical(text: &str) -> Result<String> {
    let text = text.replace("\\n", "\n").replace("\\r", "");
    let (label, rest) = text
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(DASHES))
        .filter(|(label, _)| label.ends_with("PRIVATE KEY"))
        .ok_or_else(|| invalid("it has no line `-----BEGIN … PRIVATE KEY-----`"))?;
    let footer = format!("{END}{label}{DASHES}");
    let (body, _) =
        rest.split_once(&footer).ok_or_else(|| invalid(format!("it has no line `{footer}`")))?;
    let lines: Vec<&str> = match body.contains(':') {
        true => body.lines().map(str::trim).skip_while(|line| line.is_empty()).collect(),
        false => Vec::new(),
    };
    let joined: String = body.split_whitespace().collect();
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || [b'+', b'/', b'='].contains(&byte);
    let lines = match lines.is_empty() {
        false => lines.join("\n").trim_end().to_owned(),
        true if joined.is_empty() => return Err(invalid("it has nothing between its two lines")),
        true if !joined.bytes().all(is_base64) => {
            return Err(invalid("between its two lines is something other than base64"));
        }
        true => wrapped(&joined),
    };
    Ok(format!("{BEGIN}{label}{DASHES}\n{lines}\n{footer}\n"))
}

fn wrapped(body: &str) -> String {
    let chunks = body.as_bytes().chunks(WIDTH);
    chunks.map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n")
}

fn invalid(why: impl Into<String>) -> Error {
    Error::input("`ssh-key` is not a private key").why(why.into()).hint(
        "set the input to the key itself, usually a repository secret; set the flag to the path \
         of its file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a key: the shape of one.
    fn key() -> String {
        let body =
            "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW".repeat(4);
        let label = "OPENSSH PRIVATE KEY";
        format!("{BEGIN}{label}{DASHES}\n{}\n{END}{label}{DASHES}\n", wrapped(&body))
    }

    #[test]
    fn a_key_that_was_pasted_is_corrected() {
        let key = key();
        let indented = key.lines().map(|line| format!("    {line}\n")).collect::<String>();
        for pasted in [
            key.clone(),
            key.trim().to_owned(),
            key.replace('\n', "\r\n"),
            key.replace('\n', "\\n"),
            key.replace('\n', " "),
            key.replace('\n', ""),
            format!("\u{feff}\n{indented}\n\n"),
            format!("\"{}\"", key.replace('\n', "\\r\\n")),
        ] {
            assert_eq!(canonical(&pasted).unwrap(), key, "{pasted:?}");
        }
    }

    #[test]
    fn headers_of_an_encrypted_key_stay() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,\
                   0011\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(canonical(key).unwrap(), key);
        assert_eq!(canonical(&key.replace('\n', "\r\n  ")).unwrap(), key);
    }

    #[test]
    fn something_else_is_rejected() {
        let cut = key().replace("-----END", "---END");
        for (text, why) in [
            ("ssh-ed25519 AAAA", "`-----BEGIN … PRIVATE KEY-----`"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "PRIVATE KEY-----`"),
            (&cut, "it has no line `-----END OPENSSH PRIVATE KEY-----`"),
            ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "nothing between"),
            ("-----BEGIN PRIVATE KEY-----\n***\n-----END PRIVATE KEY-----", "other than base64"),
        ] {
            let error = canonical(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
