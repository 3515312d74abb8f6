//! Which known word a mistyped one was meant to be.

/// The known spelling nearest to `typed`, when it is near enough to be a slip. The only one that
/// starts with `typed` is as good.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let known: Vec<&str> = known.into_iter().collect();
    let mut longer = known.iter().copied().filter(|it| typed.len() > 2 && it.starts_with(typed));
    if let (Some(only), None) = (longer.next(), longer.next()) {
        return Some(only);
    }
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
        assert_eq!(nearest("infra", ["infrastructure", "lambda"]), Some("infrastructure"));
        assert_eq!(nearest("account", ["account-scheme-url", "account-role"]), None);
        assert_eq!(nearest("zzzzzz", ["team", "type"]), None);
    }
}
