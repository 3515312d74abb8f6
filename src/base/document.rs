//! Reads cdflow.yml and the account scheme: an error names file, line, column and the nearest known
//! key.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    error::{Error, Result},
    json, printable,
    spelling::nearest,
};

/// Parses a YAML document. Booleans are `true` and `false` alone; duplicate keys are errors.
pub(crate) fn from_yaml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let mut path = String::new();
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        serde_path_to_error::deserialize(reader).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| located(file, text, &path, &error))
}

/// Parses a JSON document. Its syntax is checked as JSON. Its content goes through the YAML reader,
/// because JSON is a subset of YAML: unlike serde_json, that reader reports the position of an
/// unknown key and keeps scalars such as account ids as written.
pub(crate) fn from_json<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    json::check_encoding(file, text)?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let json::Fault { line, column, why, fix } = json::Fault::of(text, &error);
        Error::input(format!("{file}:{line}:{column}: not valid JSON"))
            .why(why)
            .hint(fix.unwrap_or("correct the JSON there"))
            .at(file, line as u64, column as u64)
    })?;
    from_yaml(file, text)
}

/// Fails if a key of a YAML document has no value. An optional key would otherwise be ignored.
pub(crate) fn check_values(file: &str, text: &str) -> Result<()> {
    from_yaml::<Complete>(file, text).map(drop)
}

/// The message for a key without a value.
const NO_VALUE: &str = "the value is missing";

/// Any document without a null.
struct Complete;

struct CompleteVisitor;

impl<'de> Deserialize<'de> for Complete {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CompleteVisitor)
    }
}

impl<'de> Visitor<'de> for CompleteVisitor {
    type Value = Complete;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Complete, E> {
        Ok(Complete)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Complete, E> {
        Ok(Complete)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Complete, E> {
        Ok(Complete)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Complete, E> {
        Ok(Complete)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Complete, E> {
        Ok(Complete)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Complete, E> {
        Ok(Complete)
    }

    fn visit_str<E>(self, _: &str) -> Result<Complete, E> {
        Ok(Complete)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Complete, E> {
        Ok(Complete)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Complete, E> {
        Err(E::custom(NO_VALUE))
    }

    fn visit_none<E: de::Error>(self) -> Result<Complete, E> {
        Err(E::custom(NO_VALUE))
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Complete, D::Error> {
        Complete::deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Complete, A::Error> {
        while items.next_element::<Complete>()?.is_some() {}
        Ok(Complete)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Complete, A::Error> {
        while entries.next_entry::<IgnoredAny, Complete>()?.is_some() {}
        Ok(Complete)
    }
}

/// `path` leads to the value that was read last, such as `deploy.protect[0]`.
fn located(file: &str, text: &str, path: &str, error: &serde_saphyr::Error) -> Error {
    let message = error.without_snippet().to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    if text.trim().is_empty() {
        return Error::input(format!("{file} is empty"))
            .hint("docs/configuration.md describes its keys");
    }
    if message.contains("multiple YAML documents") {
        return second_document(file, text);
    }
    let place = match error.location() {
        Some(at) => format!("{file}:{}:{}", at.line(), at.column()),
        None => file.to_owned(),
    };
    let unknown = unknown_key(message);
    // A message about a line can quote it, and there might be a secret.
    let is_quotable = !path.starts_with("secrets");
    if is_quotable
        && unknown.as_ref().is_none_or(|it| it.what == "value")
        && let Some(mistake) = error.location().and_then(|at| layout_mistake(file, text, at.line()))
    {
        return mistake;
    }
    let rejected = match unknown {
        // Somebody might have written a secret there, instead of where it is.
        Some(unknown) if unknown.what == "value" && path.starts_with("secrets") => {
            Error::input(format!("{place}: `secrets` has an unknown value, which is not shown"))
                .hint(format!("expected one of: {}", unknown.known.join(", ")))
        }
        Some(unknown) => unknown.into_error(&place),
        None => plain(&place, path, message),
    };
    match error.location() {
        Some(at) => rejected.at(file, at.line(), at.column()),
        None => rejected,
    }
}

/// Returns the error for a mistake in the layout of lines that YAML's own message does not explain.
/// The parser stops at such a line or at the next one. In a flow document, as JSON is, lines mean
/// nothing.
fn layout_mistake(file: &str, text: &str, stopped: u64) -> Option<Error> {
    if text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let lines = (1u64..).zip(std::iter::once("").chain(text.lines()).zip(text.lines()));
    let near = lines.filter(|(number, _)| [stopped, stopped + 1].contains(number));
    near.filter(|(_, (_, line))| !line.trim_start().starts_with('#')).find_map(
        |(number, (above, line))| {
            let (what, fix) = mistake(above, line)?;
            let error = Error::input(format!("{file}:{number}: {what}")).hint(fix);
            Some(error.at(file, number, 1))
        },
    )
}

/// Returns what is wrong with the layout of a line, and what to do.
fn mistake(above: &str, line: &str) -> Option<(String, &'static str)> {
    if indent(line).contains('\t') {
        let what = "the line is indented with a tab".to_owned();
        return Some((what, "indent with spaces: YAML allows no tabs there"));
    }
    if continues(above, line) {
        let what = "the line is indented, so YAML reads it as part of the value above".to_owned();
        return Some((what, "remove the spaces in front of it"));
    }
    let (key, value) = line.trim().split_once(':')?;
    let is_joined = !value.is_empty() && !value.starts_with([' ', '\t', ':', '/']);
    (is_key(key) && is_joined)
        .then(|| (format!("the space after `{key}:` is missing"), "write a space after the colon"))
}

/// Whether a line with a key is indented below a line with a key and a value.
fn continues(above: &str, line: &str) -> bool {
    let value = |line: &str| {
        let (key, value) = line.trim().split_once(": ")?;
        is_key(key).then(|| value.trim().to_owned())
    };
    let is_plain =
        |value: String| !value.is_empty() && !value.starts_with(['|', '>', '[', '{', '#', '&']);
    indent(line).len() > indent(above).len()
        && value(line).is_some()
        && value(above).is_some_and(is_plain)
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
}

fn second_document(file: &str, text: &str) -> Error {
    let is_marker = |line: &str| line.starts_with("---") || line.starts_with("...");
    let is_content = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with(['#', '%']) && !is_marker(line)
    };
    let lines = || text.lines().enumerate();
    let first = lines().find(|(_, line)| is_content(line)).map_or(0, |(index, _)| index);
    let second = lines().skip(first + 1).find(|(_, line)| is_marker(line));
    match second {
        Some((index, _)) => {
            let line = index + 1;
            Error::input(format!("{file} has a second document, which begins on line {line}"))
                .hint(format!("remove line {line} and what follows it"))
                .at(file, line as u64, 1)
        }
        None => Error::input(format!("{file} has more than one document"))
            .hint("remove the lines `---`, and what follows the first document"),
    }
}

/// Rewords messages that describe the parser instead of the document, and names the key.
fn plain(place: &str, path: &str, message: &str) -> Error {
    let key = path.rsplit('.').next().unwrap_or_default();
    let name = key.split('[').next().unwrap_or_default();
    let said = |what: &str| {
        // Some messages name the key themselves.
        let is_named = ["", "?"].contains(&name) || what.contains(name);
        Error::input(match is_named {
            true => format!("{place}: {what}"),
            false => format!("{place}: `{}`: {what}", printable::excerpt(path)),
        })
    };
    if let Some(key) = message.strip_prefix("duplicate mapping key: ") {
        let key = key.split_once(", set ").map_or(key, |(key, _)| key);
        return said(&format!("duplicate key `{}`", key.escape_debug()))
            .hint("keep one of the two");
    }
    match message {
        "expected mapping start" => said("expected keys and values")
            .hint("write `{key: value}`, or one `key: value` per line below it"),
        "expected sequence start" => {
            said("expected a list").hint("write `[one, two]`, or one `- item` per line below it")
        }
        "expected string scalar" => said("expected a string"),
        "mapping values are not allowed in this context" => said("there is a second `: `")
            .hint("put a value with a colon into quotes, or correct the indentation"),
        _ if message.contains("did not find expected key") => said("no key is possible here")
            .hint("correct the indentation: keys of one level begin in the same column"),
        _ if message.starts_with("missing field") => {
            said(message).hint("add the key; docs/configuration.md describes it")
        }
        NO_VALUE => said(NO_VALUE).hint("write a value, or remove the key"),
        _ if message.starts_with("invalid boolean") => said("expected `true` or `false`"),
        _ if message.starts_with("invalid value: string ") => {
            // The value might be a secret in the wrong place.
            let expected = message.rsplit_once("\", expected ").map_or(message, |(_, rest)| rest);
            said(&format!("expected {expected}"))
        }
        _ if is_unsigned(message) => said("expected a whole number, 0 or more"),
        _ => said(message),
    }
}

/// The parser words it "invalid u32", with the size of the number.
fn is_unsigned(message: &str) -> bool {
    let kind = message.strip_prefix("invalid u");
    kind.is_some_and(|size| size == "size" || size.parse::<u8>().is_ok())
}

struct Unknown<'a> {
    what: &'static str,
    typed: &'a str,
    known: Vec<&'a str>,
}

impl Unknown<'_> {
    fn into_error(self, place: &str) -> Error {
        let error = Error::input(format!("{place}: unknown {} `{}`", self.what, self.typed));
        match nearest(self.typed, self.known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("expected one of: {}", self.known.join(", "))),
        }
    }
}

/// serde words it "unknown field `x`, expected one of a, b" (or "expected a", or "expected `a` or
/// `b`").
fn unknown_key(message: &str) -> Option<Unknown<'_>> {
    let (what, rest) = [("key", "unknown field `"), ("value", "unknown variant `")]
        .into_iter()
        .find_map(|(what, start)| Some((what, &message[message.find(start)? + start.len()..])))?;
    let (typed, rest) = rest.split_once('`')?;
    let known = rest.trim_start_matches(", expected ").trim_start_matches("one of ");
    let known = known
        .split([',', ' '])
        .map(|key| key.trim_matches('`'))
        .filter(|key| !key.is_empty() && *key != "or");
    Some(Unknown { what, typed, known: known.collect() })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its parsing is tested")]
        team: String,
        #[expect(dead_code, reason = "only its parsing is tested")]
        max_destroy: Option<u32>,
    }

    fn message(text: &str) -> String {
        from_yaml::<Sample>("cdflow.yml", text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_place() {
        assert_eq!(
            message("team: a\nmax-destory: 3\n"),
            "cdflow.yml:2:1: unknown key `max-destory`\n  -> did you mean `max-destroy`?"
        );
        assert_eq!(
            message("team: a\nzz: 3\n"),
            "cdflow.yml:2:1: unknown key `zz`\n  -> expected one of: team, max-destroy"
        );
        for bad in ["x", "-1", "1.5", "99999999999999999999", "\"\""] {
            let message = message(&format!("team: a\nmax-destroy: {bad}\n"));
            let says = "cdflow.yml:2:14: `max-destroy`: expected a whole number, 0 or more";
            assert_eq!(message, says, "{bad}");
        }
        assert!(message(" \n").starts_with("cdflow.yml is empty\n  -> "));
        assert_eq!(
            message("team: a\nteam: b\n"),
            "cdflow.yml:2:1: duplicate key `team`\n  -> keep one of the two"
        );
        assert_eq!(message("team: [a]\n"), "cdflow.yml:1:7: `team`: expected a string");
        assert!(message("a\n").starts_with("cdflow.yml:1:1: expected keys and values\n  -> "));
    }

    #[test]
    fn what_the_layout_of_yaml_needs() {
        for (text, says) in [
            ("team:\"a\"\n", "cdflow.yml:1: the space after `team:` is missing"),
            ("team: a\nmax-destroy:3\n", "cdflow.yml:2: the space after `max-destroy:` is missing"),
            ("team: a\n\tmax-destroy: 3\n", "cdflow.yml:2: the line is indented with a tab"),
            ("max-destroy: 3\nteam:\n\ta\n", "cdflow.yml:3: the line is indented with a tab"),
            ("team: a\n max-destroy: 3\n", "cdflow.yml:2: the line is indented, so YAML reads it"),
            ("max-destroy: 3\n  team: a\n", "cdflow.yml:2: the line is indented, so YAML reads it"),
            ("team: a: b\n", "cdflow.yml:1:8: there is a second `: `\n  -> put a value"),
            // Another mistake, with a URL.
            ("team: a\nhttps://x\n", "cdflow.yml:2:1: "),
        ] {
            assert!(message(text).starts_with(says), "{text}: {}", message(text));
        }
    }

    /// JSON can be indented with tabs.
    #[test]
    fn lines_of_json_have_no_layout() {
        let text = "{\n\t\"team\": \"a\",\n\t\"max-destroy\": \"x\"\n}\n";
        let message = from_json::<Sample>("scheme.json", text).unwrap_err().to_string();
        let says = "scheme.json:3:17: `max-destroy`: expected a whole number";
        assert!(message.starts_with(says), "{message}");
    }

    #[test]
    fn every_key_has_a_value() {
        let check = |text: &str| check_values("cdflow.yml", text);
        for good in ["team: a\nx: {a: [1, -2, 1.10, true], b: \"\"}\n", "a: []\nb: {}\n"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for (bad, place) in [
            ("team: a\nterraform-version:\nx: 1\n", "cdflow.yml:2:18: `terraform-version`"),
            ("team: a\ndeploy:\n  url-output: ~\n", "cdflow.yml:3:15: `deploy.url-output`"),
            ("team: a\ndocker: null\n", "cdflow.yml:2:9: `docker`"),
        ] {
            let message = check(bad).unwrap_err().to_string();
            let says = format!("{place}: {NO_VALUE}\n  -> write a value, or remove the key");
            assert_eq!(message, says);
        }
    }

    #[test]
    fn one_document_in_a_file() {
        for (text, line) in [
            ("team: a\n---\nteam: b\n", 2),
            ("# first\n---\nteam: a\n\n--- # second\nteam: b\n", 5),
            ("team: a\n...\n---\nteam: b\n", 2),
        ] {
            let says = format!(
                "cdflow.yml has a second document, which begins on line {line}\n  -> remove line \
                 {line} and what follows it"
            );
            assert_eq!(message(text), says);
        }
        for one in ["---\nteam: a\n", "team: a\n...\n", "%YAML 1.2\n---\nteam: a\n"] {
            from_yaml::<Sample>("cdflow.yml", one).unwrap();
        }
    }

    #[test]
    fn json_is_judged_as_json_first() {
        let error = from_json::<Sample>("scheme.json", "{\"team\": 'a'}").unwrap_err().to_string();
        let says = "scheme.json:1:10: not valid JSON: expected value\n  -> correct the JSON there";
        assert_eq!(error, says);
        for text in ["{\n  // c\n  \"team\": \"a\"}", "# c\n{}", "{\"team\": /* c */ \"a\"}"] {
            let error = from_json::<Sample>("scheme.json", text).unwrap_err().to_string();
            assert!(error.ends_with("-> remove the comment: JSON has none"), "{error}");
        }
        let error = from_json::<Sample>("scheme.json", "{\n \"team\": \"a\",\n  \"x\": 1}")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("scheme.json:3:3: unknown key `x`"), "{error}");
    }
}
