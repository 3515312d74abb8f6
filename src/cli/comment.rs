//! A comment on a pull request becomes one typed value: `/cdflow plan ci`. Its text is from
//! outside, so nothing but exactly a command is accepted.

use std::{fmt, str::FromStr};

use crate::{
    base::{printable, spelling::nearest},
    config::names::Environment,
};

/// How every command begins.
const PREFIX: &str = "/cdflow";
const USAGE: &str = "`/cdflow COMMAND ENVIRONMENT`, where COMMAND is `plan`, `apply`, `hold`, \
                     `unhold` or `unlock`";

/// What a comment commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommentCommand {
    pub(crate) verb: CommentVerb,
    pub(crate) environment: Environment,
    /// For `unlock`: the lock to release. None: show who holds it.
    pub(crate) lock: Option<LockId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommentVerb {
    Plan,
    Apply,
    Hold,
    Unhold,
    Unlock,
}

/// The ID of a state lock. Terraform makes UUIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockId(String);

impl CommentVerb {
    const ALL: [Self; 5] = [Self::Plan, Self::Apply, Self::Hold, Self::Unhold, Self::Unlock];

    /// The key in `comments` of cdflow.yml.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Unhold => Self::Hold.word(),
            verb => verb.word(),
        }
    }

    /// The word in a comment.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Hold => "hold",
            Self::Unhold => "unhold",
            Self::Unlock => "unlock",
        }
    }
}

impl CommentCommand {
    /// Parses the text of a comment. None if it does not begin with `/cdflow`; the error says what
    /// is wrong with one that does.
    pub(crate) fn parse(body: &str) -> Option<Result<Self, String>> {
        let body = body.trim_ascii();
        let rest = body.strip_prefix(PREFIX)?;
        let is_ours = rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_whitespace());
        is_ours.then(|| command(rest))
    }
}

fn command(rest: &str) -> Result<CommentCommand, String> {
    if rest.contains(['\n', '\r']) {
        return Err("the comment must contain only the command".to_owned());
    }
    let words: Vec<&str> = rest.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let (verb, arguments) = words.split_first().ok_or_else(|| format!("expected {USAGE}"))?;
    let verb = CommentVerb::from_str(verb)?;
    let (environment, lock) = match (verb, arguments) {
        (CommentVerb::Unlock, [environment, lock]) => (environment, Some(lock.parse()?)),
        (_, [environment]) => (environment, None),
        (_, []) => return Err(format!("the environment is missing: expected {USAGE}")),
        (_, [.., last]) => {
            let last = printable::excerpt(last);
            return Err(format!("unexpected word `{last}`: expected {USAGE}"));
        }
    };
    let environment = environment.parse::<Environment>().map_err(|why| why.to_string())?;
    Ok(CommentCommand { verb, environment, lock })
}

impl FromStr for CommentVerb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(verb) = Self::ALL.into_iter().find(|verb| verb.word() == text) {
            return Ok(verb);
        }
        let shown = printable::excerpt(text);
        Err(match nearest(text, Self::ALL.map(Self::word)) {
            Some(near) => format!("unknown command `{shown}`: did you mean `{near}`?"),
            None => format!("unknown command `{shown}`: expected {USAGE}"),
        })
    }
}

impl FromStr for LockId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_id = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !text.starts_with('-');
        match is_id {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("invalid lock ID `{}`", printable::excerpt(text))),
        }
    }
}

impl fmt::Display for CommentVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As it is written in a comment.
impl fmt::Display for CommentCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX} {} {}", self.verb, self.environment)?;
        self.lock.as_ref().map_or(Ok(()), |lock| write!(f, " {lock}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Option<Result<String, String>> {
        CommentCommand::parse(body).map(|it| it.map(|command| command.to_string()))
    }

    #[test]
    fn exactly_a_command() {
        for (body, command) in [
            ("/cdflow plan ci", "/cdflow plan ci"),
            ("/cdflow  apply\tlive \r\n", "/cdflow apply live"),
            ("\n/cdflow unlock live", "/cdflow unlock live"),
            ("/cdflow unlock live 5f3c8b9a-1111", "/cdflow unlock live 5f3c8b9a-1111"),
            ("/cdflow hold live", "/cdflow hold live"),
            ("/cdflow unhold live", "/cdflow unhold live"),
        ] {
            assert_eq!(parsed(body), Some(Ok(command.to_owned())), "{body:?}");
        }
    }

    #[test]
    fn other_comments_are_not_for_cdflow() {
        for body in [
            "",
            "looks good",
            "please /cdflow apply live",
            "> /cdflow apply live",
            "`/cdflow apply live`",
            "/cdflows apply live",
            "/CDFLOW apply live",
            "\u{a0}/cdflow apply live",
            "/cdflow\u{200b} apply live",
        ] {
            assert_eq!(parsed(body), None, "{body:?}");
        }
    }

    #[test]
    fn what_is_not_exactly_a_command_is_wrong() {
        for (body, why) in [
            ("/cdflow", "expected `/cdflow COMMAND ENVIRONMENT`"),
            ("/cdflow plan", "the environment is missing"),
            ("/cdflow paln ci", "did you mean `plan`?"),
            ("/cdflow destroy ci", "unknown command `destroy`"),
            ("/cdflow APPLY live", "unknown command `APPLY`"),
            ("/cdflow apply live now", "unexpected word `now`"),
            ("/cdflow apply live\n\nbecause", "only the command"),
            ("/cdflow apply live\r/cdflow apply ci", "only the command"),
            ("/cdflow apply live --allow-destroy=x", "unexpected word"),
            ("/cdflow apply --help", "--help"),
            ("/cdflow apply live;id", "live;id"),
            ("/cdflow apply $(id)", "$(id)"),
            ("/cdflow apply ../live", "../live"),
            ("/cdflow apply LIVE", "LIVE"),
            ("/cdflow apply \u{430}slive", "\u{430}slive"),
            ("/cdflow apply live\u{a0}x", "live"),
            ("/cdflow unlock live --force", "invalid lock ID"),
            ("/cdflow unlock live a;b", "invalid lock ID"),
            ("/cdflow unlock live a b", "unexpected word"),
        ] {
            let found = parsed(body).unwrap_or_else(|| panic!("{body:?}"));
            let found = found.expect_err(body);
            assert!(found.contains(why), "{body:?}: {found}");
        }
        let long = format!("/cdflow unlock live {}", "a".repeat(65));
        assert!(parsed(&long).unwrap().is_err());
        assert!(parsed("/cdflow plan ci\u{1b}[2J").unwrap().is_err());
    }
}
