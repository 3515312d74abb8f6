//! The pages of a list: a list ends, or it is an error.

use std::collections::HashSet;

/// Of up to a thousand items each.
const MOST: usize = 10_000;

/// The tokens of the pages that were asked for.
#[derive(Default)]
pub(crate) struct Pages(HashSet<String>);

impl Pages {
    /// Returns the token of the next page; None after the last one. The error says why the list
    /// can't be complete.
    pub(crate) fn next(
        &mut self,
        token: Option<String>,
        is_truncated: bool,
    ) -> Result<Option<String>, String> {
        match token.filter(|token| !token.is_empty()) {
            Some(_) if !is_truncated => Ok(None),
            Some(token) if self.0.len() == MOST => {
                Err(format!("the list has more than {MOST} pages (the last token is `{token}`)"))
            }
            Some(token) => match self.0.insert(token.clone()) {
                true => Ok(Some(token)),
                false => Err("the list refers to the same page again, so it has no end".to_owned()),
            },
            None if is_truncated => {
                Err("the list is cut off: it says that it has more, and not where".to_owned())
            }
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_ends() {
        let next = |pages: &mut Pages, token: &str| pages.next(Some(token.to_owned()), true);
        let mut pages = Pages::default();
        assert_eq!(next(&mut pages, "a"), Ok(Some("a".to_owned())));
        assert_eq!(next(&mut pages, "b"), Ok(Some("b".to_owned())));
        assert!(next(&mut pages, "a").unwrap_err().contains("no end"));
        assert_eq!(pages.next(None, false), Ok(None));
        assert!(pages.next(None, true).unwrap_err().contains("cut off"));
        // Always another token.
        let mut pages = Pages::default();
        let endless = (0..).map(|n| next(&mut pages, &n.to_string())).find_map(Result::err);
        assert!(endless.unwrap().contains("more than 10000 pages"));
    }
}
