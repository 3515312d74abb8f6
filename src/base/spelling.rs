//! Which known word a mistyped one was meant to be.

/// The known spelling nearest to `typed`, when it is near enough to be a slip.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(typed, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_known() {
        assert_eq!(nearest("tema", ["team", "type"]), Some("team"));
        assert_eq!(
            nearest("acount-scheme-url", ["account-scheme-url", "team"]),
            Some("account-scheme-url")
        );
        assert_eq!(nearest("zzzzzz", ["team", "type"]), None);
    }
}
