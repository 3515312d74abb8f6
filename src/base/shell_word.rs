//! Words of a command that a person or a program passes to a POSIX shell.

/// Quotes a word, unless no shell could misread it.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_a_shell_could_misread_are_quoted() {
        for (word, quoted) in [
            ("terraform_data.slow", "terraform_data.slow"),
            ("s3://bucket/a-b/c.tfstate", "s3://bucket/a-b/c.tfstate"),
            ("a.b[\"c\"]", "'a.b[\"c\"]'"),
            ("/tmp/it's here", r"'/tmp/it'\''s here'"),
            ("~", "'~'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(word), quoted);
        }
    }
}
