//! CODEOWNERS: who owns a file of the repository, by GitHub's grammar.
//!
//! A pattern is one of gitignore, except that `!`, `[ ]` and a `#` behind a backslash are not
//! possible, and that `docs/*` does not own what is in folders below `docs`. The last line that
//! matches decides. GitHub ignores a line that it cannot read:
//! <https://docs.github.com/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners>.
//!
//! Patterns are matched as written, without compiling them: a file of 3 MB can have 100,000 lines.

use std::fmt;

use crate::config::team_name::TeamName;

/// In bytes. GitHub does not load a larger file.
pub(crate) const SIZE_LIMIT: u64 = 3 << 20;
/// Where the file can be. The first one counts.
pub(crate) const PLACES: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];

/// A parsed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CodeOwners {
    lines: Vec<OwnerLine>,
    pub(crate) ignored: Vec<IgnoredLine>,
}

/// A pattern and its owners, which can be none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnerLine {
    /// From 1.
    pub(crate) number: usize,
    pattern: Vec<Segment>,
    pub(crate) owners: Vec<Owner>,
}

/// A line that GitHub cannot read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IgnoredLine {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A login.
    Person(String),
    /// With its organization.
    Team(TeamName),
    Email(String),
}

/// A part of a pattern between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of folders, also none.
    AnyDepth,
    /// Exactly one name.
    Name(Vec<Glyph>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Glyph {
    Char(char),
    /// `?`
    Any,
    /// `*`
    Many,
}

impl CodeOwners {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut parsed = Self::default();
        for (index, line) in bytes.split(|it| *it == b'\n').enumerate() {
            let number = index + 1;
            let read =
                std::str::from_utf8(line).map_err(|_| "it is not UTF-8").and_then(parse_line);
            match read {
                Ok(Some((pattern, owners))) => {
                    parsed.lines.push(OwnerLine { number, pattern, owners });
                }
                Ok(None) => {}
                Err(why) => parsed.ignored.push(IgnoredLine { number, why }),
            }
        }
        parsed
    }

    /// Returns the line that names the owners of a file. None if the file has no owner.
    pub(crate) fn of(&self, file: &str) -> Option<&OwnerLine> {
        let path: Vec<Vec<char>> = file.split('/').map(|name| name.chars().collect()).collect();
        let line = self.lines.iter().rev().find(|line| {
            let is_depth = |segment: &Segment| *segment == Segment::AnyDepth;
            matches(&line.pattern, &path, is_depth, |segment, name| segment.matches(name))
        });
        line.filter(|line| !line.owners.is_empty())
    }
}

impl Segment {
    fn matches(&self, name: &[char]) -> bool {
        let Self::Name(glyphs) = self else { return true };
        matches(
            glyphs,
            name,
            |glyph| *glyph == Glyph::Many,
            |glyph, char| match glyph {
                Glyph::Char(expected) => expected == char,
                Glyph::Any | Glyph::Many => true,
            },
        )
    }
}

/// Whether a pattern with wildcards matches the whole of `text`. After a mismatch, only the last
/// wildcard can take more, so that the time is at most the product of both lengths.
fn matches<P, T>(
    pattern: &[P],
    text: &[T],
    is_wildcard: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where the last wildcard is, and what it has taken.
    let mut last: Option<(usize, usize)> = None;
    while let Some(next) = text.get(from) {
        match pattern.get(at) {
            Some(part) if is_wildcard(part) => {
                last = Some((at, from));
                at += 1;
            }
            Some(part) if fits(part, next) => {
                at += 1;
                from += 1;
            }
            _ => match last {
                None => return false,
                Some((wildcard, taken)) => {
                    last = Some((wildcard, taken + 1));
                    at = wildcard + 1;
                    from = taken + 1;
                }
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(is_wildcard)
}

type Line = (Vec<Segment>, Vec<Owner>);

/// Returns None for a line without a pattern.
fn parse_line(line: &str) -> Result<Option<Line>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (pattern, rest) = parse_pattern(line)?;
    let words = rest.split_whitespace().take_while(|word| !word.starts_with('#'));
    let owners: Option<Vec<Owner>> = words.map(parse_owner).collect();
    let owners =
        owners.ok_or("an owner is not `@user`, `@organization/team` or an e-mail address")?;
    Ok(Some((pattern, owners)))
}

/// Returns the pattern, and what follows it.
fn parse_pattern(line: &str) -> Result<(Vec<Segment>, &str), &'static str> {
    if line.starts_with('!') {
        return Err("a pattern cannot begin with `!`");
    }
    if line.starts_with("\\#") {
        return Err("a pattern cannot begin with `#`");
    }
    let mut names: Vec<Vec<Glyph>> = vec![Vec::new()];
    let mut end = line.len();
    let mut chars = line.char_indices();
    while let Some((at, char)) = chars.next() {
        let glyph = match char {
            _ if char.is_whitespace() => {
                end = at;
                break;
            }
            '/' => {
                names.push(Vec::new());
                continue;
            }
            '\\' => Glyph::Char(chars.next().ok_or("a pattern cannot end with a backslash")?.1),
            '[' | ']' => return Err("`[` and `]` need a backslash"),
            '*' => Glyph::Many,
            '?' => Glyph::Any,
            char => Glyph::Char(char),
        };
        if let Some(name) = names.last_mut() {
            name.push(glyph);
        }
    }
    Ok((segments(names)?, line.get(end..).unwrap_or_default()))
}

/// Returns a pattern that matches whole paths.
fn segments(names: Vec<Vec<Glyph>>) -> Result<Vec<Segment>, &'static str> {
    const DEPTH: [Glyph; 2] = [Glyph::Many, Glyph::Many];
    let has_three = |name: &Vec<Glyph>| name.windows(3).any(|it| *it == [Glyph::Many; 3]);
    if names.iter().any(has_three) {
        return Err("a pattern cannot have `***`");
    }
    if names.iter().all(Vec::is_empty) {
        return Err("the pattern `/` matches no file");
    }
    let last = names.len() - 1;
    let has_final_slash = names.last().is_some_and(Vec::is_empty);
    // `logs` and `logs/` match at any depth, `/logs` and `a/logs` from the root.
    let last_name = last - usize::from(has_final_slash);
    let is_anchored = last_name > 0;
    let mut segments: Vec<Segment> = Vec::new();
    if !is_anchored {
        segments.push(Segment::AnyDepth);
    }
    let is_only_depth = |name: &Vec<Glyph>| *name == DEPTH;
    for (index, name) in names.into_iter().enumerate() {
        match index {
            0 if name.is_empty() => {}
            // A folder: everything in it.
            _ if (index == last && name.is_empty())
                || (index == last_name && is_only_depth(&name)) =>
            {
                segments.extend([Segment::Name(vec![Glyph::Many]), Segment::AnyDepth]);
            }
            _ if is_only_depth(&name) => segments.push(Segment::AnyDepth),
            // `docs/*` are only the files in `docs` itself.
            _ if index == last && name == [Glyph::Many] => segments.push(Segment::Name(name)),
            // A file, or a folder with everything in it.
            _ if index == last => segments.extend([Segment::Name(name), Segment::AnyDepth]),
            _ => segments.push(Segment::Name(name)),
        }
    }
    Ok(segments)
}

fn parse_owner(word: &str) -> Option<Owner> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    let Some(name) = word.strip_prefix('@') else {
        let (person, host) = word.split_once('@')?;
        let is_address = !person.is_empty() && host.contains('.') && !host.contains('@');
        let is_printable = !word.chars().any(char::is_control);
        return (is_address && is_printable).then(|| Owner::Email(word.to_owned()));
    };
    if name.contains('/') {
        return name.parse().ok().map(Owner::Team);
    }
    is_name(name.strip_suffix("[bot]").unwrap_or(name)).then(|| Owner::Person(name.to_owned()))
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(login) => write!(f, "@{login}"),
            Self::Team(team) => write!(f, "@{team}"),
            Self::Email(address) => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(file: &str, of: &str) -> String {
        let parsed = CodeOwners::parse(file.as_bytes());
        let line = parsed.of(of);
        line.map_or_else(
            || "-".to_owned(),
            |line| line.owners.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        )
    }

    /// The example of GitHub's documentation.
    #[test]
    fn the_last_line_that_matches_decides() {
        let file = "# This is a comment.\n\
                    *       @global-owner1 @global-owner2\n\
                    *.js    @js-owner #This is an inline comment.\n\
                    *.go docs@example.com\n\
                    *.txt @octo-org/octocats\n\
                    /build/logs/ @doctocat\n\
                    docs/*  docs@example.com\n\
                    apps/ @octocat\n\
                    /docs/ @doctocat\n\
                    /scripts/ @doctocat @octocat\n\
                    **/logs @octocat\n\
                    /apps/ @octocat\n\
                    /apps/github\n";
        for (path, expected) in [
            ("README.md", "@global-owner1 @global-owner2"),
            ("src/a/b.js", "@js-owner"),
            ("main.go", "docs@example.com"),
            ("x/notes.txt", "@octo-org/octocats"),
            ("docs/x.go", "@doctocat"),
            ("docs/a/b.go", "@doctocat"),
            ("build/logs/a/b", "@octocat"),
            ("deeply/nested/logs/x", "@octocat"),
            ("x/apps/y.js", "@octocat"),
            ("apps/github/x.js", "-"),
            ("apps/github", "-"),
            ("apps/githubs", "@octocat"),
        ] {
            assert_eq!(owners(file, path), expected, "{path}");
        }
    }

    #[test]
    fn patterns() {
        let owns = |pattern: &str, path: &str| owners(&format!("{pattern} @a\n"), path) == "@a";
        for (pattern, yes, no) in [
            ("logs", &["logs", "logs/x", "a/logs/b/c"][..], &["log", "a/logs.txt"][..]),
            ("logs/", &["logs/x", "a/logs/b/c"], &["logs", "a/logs"]),
            ("/logs", &["logs", "logs/x"], &["a/logs"]),
            ("a/logs", &["a/logs", "a/logs/x"], &["b/a/logs", "logs"]),
            ("*", &["a", "a/b/c", ".github/x"], &[]),
            ("**", &["a", "a/b/c"], &[]),
            ("docs/*", &["docs/a", "docs/.a"], &["docs/a/b", "x/docs/a", "docs"]),
            ("docs/**", &["docs/a", "docs/a/b"], &["docs", "x/docs/a"]),
            ("docs/**/", &["docs/a/b", "docs/a/b/c"], &["docs/a", "docs"]),
            ("**/", &["a/b", "a/b/c"], &["a"]),
            ("a/**/z", &["a/z", "a/b/c/z", "a/b/z/x"], &["z", "b/a/z", "a/zz"]),
            ("**/z", &["z", "a/b/z", "z/x"], &["a/zz"]),
            ("*.tf", &["main.tf", "a/b.tf", "x.tf/y"], &["main.tfx", "tf"]),
            ("/*.tf", &["main.tf"], &["a/main.tf"]),
            ("a?c*e", &["abce", "abcxxe", "x/abcde"], &["ace", "abc/e"]),
            ("a*b*c", &["abc", "axbxbc"], &["axbx"]),
            ("My\\ Docs/", &["My Docs/x"], &["My/x"]),
            ("/pages/\\[id\\].js", &["pages/[id].js"], &["pages/i.js"]),
            ("x#y", &["x#y"], &["x"]),
            ("a//b", &[], &["a/b"]),
            ("README.md", &["README.md"], &["readme.md"]),
        ] {
            for path in yes {
                assert!(owns(pattern, path), "{pattern} {path}");
            }
            for path in no {
                assert!(!owns(pattern, path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn a_line_that_github_ignores_is_reported_with_its_number() {
        let file = b"\xef\xbb\xbf* @all\r\n!x @a\n\\#x @a\n[a-z] @a\n***/x @a\nx docs@\nx @\n\
                     x a.b\nx @a/b/c\n/ @a\nx\\\n\xff @a\n\n  # a comment\n";
        let parsed = CodeOwners::parse(file);
        let numbers: Vec<usize> = parsed.ignored.iter().map(|it| it.number).collect();
        assert_eq!(numbers, (2..=12).collect::<Vec<_>>());
        assert_eq!(parsed.of("x").unwrap().number, 1);
        let owners = &CodeOwners::parse(b"* @Ada @renovate[bot] @Acme/Data a@b.c").lines[0].owners;
        let said: Vec<String> = owners.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["@Ada", "@renovate[bot]", "@acme/data", "a@b.c"]);
    }

    #[test]
    fn a_pattern_of_wildcards_takes_no_exponential_time() {
        let file = format!("{}z @a\n/{}z @a\n", "*a".repeat(200), "**/a/".repeat(200));
        let path = "a/".repeat(500) + &"a".repeat(2000);
        assert_eq!(owners(&file, &path), "-");
    }

    proptest::proptest! {
        /// Where globset means the same, it has the same answer.
        #[test]
        fn as_globset_matches(
            pattern in "/?([ab*?]{1,2}|[*][*])(/([ab*?]{1,2}|[*][*])){0,3}",
            path in "[ab]{1,3}(/[ab]{1,3}){0,4}",
        ) {
            let is_mixed = |name: &str| name.len() > 1 && name.contains("**") && name != "**";
            let rest = pattern.trim_start_matches('/');
            let last = rest.rsplit('/').next().unwrap();
            // Of GitHub alone; and globset's own rules for `**`.
            if !rest.split('/').any(is_mixed) && last != "*" && last != "**" {
                let is_anchored = pattern.contains('/');
                let start = if is_anchored { "" } else { "**/" };
                let globs = [format!("{start}{rest}"), format!("{start}{rest}/**")];
                let expected = globs.iter().any(|glob| {
                    let glob = globset::GlobBuilder::new(glob).literal_separator(true).build();
                    glob.unwrap().compile_matcher().is_match(&path)
                });
                let found = owners(&format!("{pattern} @a\n"), &path) == "@a";
                proptest::prop_assert_eq!(found, expected, "{} {}", pattern, path);
            }
        }
    }
}
