//! Patterns of branches in deploy guards: `main`, `release/*`.

use std::{fmt, str::FromStr};

use crate::base::printable;

/// The name of a branch, or the beginning of names with a final `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BranchPattern {
    /// The name, without the `*`.
    pub(crate) name: String,
    pub(crate) is_prefix: bool,
}

impl BranchPattern {
    pub(crate) fn matches(&self, branch: &str) -> bool {
        match self.is_prefix {
            true => branch.starts_with(&self.name),
            false => branch == self.name,
        }
    }
}

impl FromStr for BranchPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, is_prefix) = match text.strip_suffix('*') {
            Some(name) => (name, true),
            None => (text, false),
        };
        // What git allows in no branch would match none, so it is a typing error.
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || "*?[\\^~:".contains(c);
        let is_whole = is_prefix || !(name.is_empty() || name.ends_with('/'));
        if is_whole && !name.contains(is_odd) && !name.contains("..") && !name.starts_with('/') {
            return Ok(Self { name: name.to_owned(), is_prefix });
        }
        Err(format!(
            "`{}` is not a branch: expected a name such as `main`, or the beginning of names with \
             a final `*`, such as `release/*`",
            printable::excerpt(text)
        ))
    }
}

impl fmt::Display for BranchPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.is_prefix { "*" } else { "" })
    }
}

deserialize_from_str!(BranchPattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_beginnings() {
        let matches =
            |pattern: &str, branch: &str| pattern.parse::<BranchPattern>().unwrap().matches(branch);
        assert!(matches("main", "main") && !matches("main", "main2") && !matches("main", "mai"));
        assert!(matches("release/*", "release/1.x") && !matches("release/*", "releases"));
        assert!(matches("*", "topic"));
        for bad in ["", "a b", "release/", "re*ease", "a**", "/main", "a..b", "refs~1", "[a]*"] {
            assert!(bad.parse::<BranchPattern>().is_err(), "{bad}");
        }
        assert_eq!("release/*".parse::<BranchPattern>().unwrap().to_string(), "release/*");
    }
}
