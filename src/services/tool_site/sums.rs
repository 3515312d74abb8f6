//! `SHA256SUMS`: one line for each archive of a version, as `sha256sum` writes it.

use crate::base::digest::Sha256;

/// Returns the sum of `name`. The file must have exactly one.
pub(super) fn sum_of(sums: &[u8], name: &str) -> Result<Sha256, String> {
    let text = std::str::from_utf8(sums).map_err(|_| "it is not text".to_owned())?;
    let mut found = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(sum), Some(file), None) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        // `*` marks a file that was read as binary.
        if file.strip_prefix('*').unwrap_or(file) != name {
            continue;
        }
        let sum = sum.to_ascii_lowercase().parse().map_err(|error| format!("`{sum}`: {error}"))?;
        if found.replace(sum).is_some_and(|before: Sha256| before != sum) {
            return Err("it lists two".into());
        }
    }
    found.ok_or_else(|| "the file is not in it".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_many() {
        let (one, two) = ("ab".repeat(32), "CD".repeat(32));
        let sums = format!("{one}  a.zip\n\n{two} *b.zip\r\n{one}  c.zip\n{two}  c.zip\nx y z\n");
        let sum = |name| sum_of(sums.as_bytes(), name);
        assert_eq!(sum("a.zip").unwrap().to_string(), one);
        assert_eq!(sum("b.zip").unwrap().to_string(), two.to_lowercase());
        assert_eq!(sum("c.zip").unwrap_err(), "it lists two");
        assert_eq!(sum("d.zip").unwrap_err(), "the file is not in it");
        assert!(sum_of(b"<html>  a.zip\n", "a.zip").unwrap_err().contains("`<html>`"));
        assert_eq!(sum_of(b"\xff", "a").unwrap_err(), "it is not text");
    }
}
