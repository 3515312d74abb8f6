//! `.dockerignore`, as Docker reads it: which names of a build context are not sent.
//!
//! The rules are Docker's own, with what looks odd in them: a pattern without `/` matches at the
//! top only, the last rule that matches wins, a rule that matches a folder holds for all below it.
//! Where Docker's answer is an accident of how it makes regular expressions (`\d`, `[a*]`), the
//! pattern is refused.

use crate::base::error::{Error, Result};

/// The rules of one build context, in their order.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<IgnoreRule>,
}

#[derive(Debug)]
struct IgnoreRule {
    /// Without its `!`.
    pattern: String,
    /// `!`: what it matches is sent after all.
    is_exception: bool,
    glob: Glob,
}

/// Which rules have matched a folder: they hold for what is in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MatchedRules(Vec<bool>);

impl Ignore {
    /// `called` names the file in messages.
    pub(crate) fn parse(called: &str, text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            rules.push(IgnoreRule::parse(line.trim()).map_err(|why| {
                Error::input(format!(
                    "`{called}` can't be used: line {}: `{}`",
                    number + 1,
                    line.trim().escape_debug()
                ))
                .why(why)
            })?);
        }
        Ok(Self { rules })
    }

    /// The same, with more rules after its own. They are ours, and correct.
    pub(crate) fn and(mut self, patterns: &[&str]) -> Result<Self> {
        self.rules.extend(Self::parse("the rules of cdflow", &patterns.join("\n"))?.rules);
        Ok(self)
    }

    /// Whether `name` is left out, and what that means for the names below it. `above` is the
    /// answer for its folder.
    pub(crate) fn is_ignored(
        &self,
        name: &str,
        above: Option<&MatchedRules>,
    ) -> (bool, MatchedRules) {
        let mut ignored = false;
        let matched = self.rules.iter().enumerate().map(|(at, rule)| {
            let inherited = above.is_some_and(|above| above.0.get(at) == Some(&true));
            // A rule that would change nothing is not asked; so its folder does not count as
            // matched either.
            let matches = inherited
                || (rule.is_exception == ignored && rule.glob.matches(&rule.pattern, name));
            if matches {
                ignored = !rule.is_exception;
            }
            matches
        });
        let matched = MatchedRules(matched.collect());
        (ignored, matched)
    }

    /// Whether something below the ignored folder `name` may be sent after all, as the classic
    /// builder's client sees it: it reads exceptions as plain paths.
    pub(crate) fn may_hold_exceptions(&self, name: &str) -> bool {
        self.exceptions().any(|pattern| is_at_or_below(pattern, name))
    }

    /// The same, as BuildKit's client sees it: once an exception has a wildcard, it looks
    /// everywhere.
    pub(crate) fn may_hold_exceptions_of_any_kind(&self, name: &str) -> bool {
        let plain = |pattern: &str| -> String {
            let pattern = pattern.strip_suffix("/**").unwrap_or(pattern);
            pattern.strip_suffix("/*").unwrap_or(pattern).to_owned()
        };
        self.exceptions()
            .map(plain)
            .any(|pattern| pattern.contains(WILD) || is_at_or_below(&pattern, name))
    }

    fn exceptions(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter(|rule| rule.is_exception).map(|rule| rule.pattern.as_str())
    }
}

const WILD: [char; 6] = ['*', '[', ']', '?', '^', '\\'];

fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl IgnoreRule {
    fn parse(line: &str) -> Result<Self, String> {
        let (is_exception, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern.trim()),
            None => (false, line),
        };
        let pattern = clean(pattern);
        if is_exception && matches!(pattern.as_str(), "" | "/") {
            return Err("expected a pattern after `!`".to_owned());
        }
        // `/` alone stays, and matches nothing.
        let pattern = pattern
            .strip_prefix('/')
            .filter(|rest| !rest.is_empty())
            .unwrap_or(&pattern)
            .to_owned();
        let glob = Glob::parse(&pattern)?;
        Ok(Self { pattern, is_exception, glob })
    }
}

/// The shortest spelling of the same path, by its words alone.
fn clean(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let (root, mut parts) = (path.starts_with('/'), Vec::new());
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if root => {}
            part => parts.push(part),
        }
    }
    match (root, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// How a pattern is compared. Docker has short cuts for three forms, and they differ from the long
/// way in what they match.
#[derive(Debug)]
enum Glob {
    Exact,
    /// `name**`: all that begins so.
    Prefix,
    /// `**name`: all that ends so, also in the middle of a name.
    Suffix,
    Pieces(Vec<GlobPiece>),
}

#[derive(Debug)]
enum GlobPiece {
    Char(char),
    /// `?`
    One,
    /// `*`: any characters of one name.
    Some,
    /// `**` at the end: anything.
    All,
    /// `**` before something: any folders, or none.
    Folders,
    /// `[a-z]`, `[^a-z]`; the latter also takes a `/`.
    Class {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `^` outside of a class.
    Start,
}

impl Glob {
    fn parse(pattern: &str) -> Result<Self, String> {
        let mut chars = pattern.chars().peekable();
        let (mut glob, mut pieces, mut is_first) = (Self::Exact, Vec::new(), true);
        let mut is_long = false;
        while let Some(char) = chars.next() {
            let mut needs_pieces = true;
            pieces.push(match char {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    let is_last = chars.peek().is_none();
                    if is_first {
                        (glob, needs_pieces) = (Self::Suffix, false);
                    } else if is_last && !is_long && matches!(glob, Self::Exact) {
                        (glob, needs_pieces) = (Self::Prefix, false);
                    }
                    if is_last { GlobPiece::All } else { GlobPiece::Folders }
                }
                '*' => GlobPiece::Some,
                '?' => GlobPiece::One,
                '[' => class(&mut chars)?,
                '\\' => GlobPiece::Char(escaped(chars.next())?),
                ']' => GlobPiece::Char(']'),
                '^' => {
                    needs_pieces = false;
                    GlobPiece::Start
                }
                char => {
                    needs_pieces = false;
                    GlobPiece::Char(char)
                }
            });
            is_first = false;
            is_long |= needs_pieces;
        }
        Ok(if is_long { Self::Pieces(pieces) } else { glob })
    }

    fn matches(&self, pattern: &str, name: &str) -> bool {
        match self {
            Self::Exact => name == pattern,
            Self::Prefix => name.starts_with(pattern.trim_end_matches('*')),
            Self::Suffix => {
                let suffix = pattern.strip_prefix("**").unwrap_or(pattern);
                name.ends_with(suffix) || suffix.strip_prefix('/') == Some(name)
            }
            Self::Pieces(pieces) => {
                let name: Vec<char> = name.chars().collect();
                let mut reached = vec![false; name.len() + 1];
                reached[0] = true;
                for piece in pieces {
                    reached = piece.advance(&reached, &name);
                }
                reached[name.len()]
            }
        }
    }
}

impl GlobPiece {
    /// From the places in `name` that the pieces before have reached, those that this one reaches:
    /// no pattern takes long.
    fn advance(&self, from: &[bool], name: &[char]) -> Vec<bool> {
        let one = |takes: &dyn Fn(char) -> bool| {
            (0..from.len()).map(|at| at > 0 && from[at - 1] && takes(name[at - 1])).collect()
        };
        match self {
            Self::Char(char) => one(&|c| c == *char),
            Self::One => one(&|c| c != '/'),
            Self::Class { is_negated, ranges } => one(&|c| {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *is_negated
            }),
            Self::Start => (0..from.len()).map(|at| at == 0 && from[0]).collect(),
            Self::Some | Self::All => {
                let mut to = from.to_vec();
                for at in 1..to.len() {
                    to[at] |= to[at - 1] && (matches!(self, Self::All) || name[at - 1] != '/');
                }
                to
            }
            Self::Folders => {
                let mut to = from.to_vec();
                let mut is_begun = false;
                for at in 1..to.len() {
                    is_begun |= from[at - 1];
                    to[at] |= is_begun && name[at - 1] == '/';
                }
                to
            }
        }
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// After the `[`.
fn class(chars: &mut Chars<'_>) -> Result<GlobPiece, String> {
    let is_negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = class_member(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { class_member(chars)? } else { low };
        if high < low {
            return Err(format!("the range `{low}-{high}` is in the wrong order"));
        }
        ranges.push((low, high));
    }
    Ok(GlobPiece::Class { is_negated, ranges })
}

fn class_member(chars: &mut Chars<'_>) -> Result<char, String> {
    match chars.next() {
        None => Err("a `[` is not closed".to_owned()),
        Some('\\') => escaped(chars.next()),
        Some(char @ ('-' | ']')) => Err(format!("`{char}` must be written `\\{char}` there")),
        Some(char @ ('*' | '?')) => {
            Err(format!("Docker takes `{char}` between `[` and `]` for something else"))
        }
        Some('[') if chars.peek() == Some(&':') => Err("there are no named classes".to_owned()),
        Some(char) => Ok(char),
    }
}

fn escaped(char: Option<char>) -> Result<char, String> {
    match char {
        None => Err("expected a character after `\\`".to_owned()),
        Some(char) if char.is_ascii() && !char.is_ascii_alphanumeric() => Ok(char),
        Some(char) => {
            Err(format!("Docker takes `\\{char}` for something else; folders are separated by `/`"))
        }
    }
}
