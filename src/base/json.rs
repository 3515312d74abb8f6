//! JSON as it was written: every digit of a number, and every key, also if it is there twice.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::error::Error;

/// Fails for text in an encoding that JSON does not allow, which parsers report in other words.
pub(crate) fn check_encoding(file: &str, text: &str) -> Result<(), Error> {
    let hint = "save the file as UTF-8 without a byte order mark";
    if text.starts_with('\u{feff}') {
        return Err(
            Error::input(format!("{file}:1:1: the file starts with a byte order mark")).hint(hint)
        );
    }
    match text.chars().take(4).any(|char| char == '\0') {
        true => Err(Error::input(format!("{file}:1:1: the file is UTF-16, not UTF-8")).hint(hint)),
        false => Ok(()),
    }
}

/// What is wrong in a text that is not JSON, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Counts from 1, like the column.
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) why: String,
    /// The fix of a slip that is frequent.
    pub(crate) fix: Option<&'static str>,
}

impl Fault {
    /// Reads what a parser rejects in `text`. Comments and trailing commas, which other formats
    /// allow, are named.
    pub(crate) fn of(text: &str, error: &serde_json::Error) -> Self {
        let why = error.to_string();
        let why = why.rsplit_once(" at line").map_or(why.as_str(), |(why, _)| why);
        let (line, column) = (error.line(), error.column());
        let fault = Self { line, column, why: why.to_owned(), fix: None };
        if let Some((line, column)) = trailing_comma(text, line, column) {
            let why = "JSON has no comma after the last entry".to_owned();
            return Self { line, column, why, fix: Some("remove the comma") };
        }
        match is_comment(text, line, column) {
            true => Self { fix: Some("remove the comment: JSON has none"), ..fault },
            false => fault,
        }
    }
}

/// Whether a comment begins at a position, or directly after it.
fn is_comment(text: &str, line: usize, column: usize) -> bool {
    let Some(line) = line.checked_sub(1).and_then(|line| text.lines().nth(line)) else {
        return false;
    };
    // The column is that of the first character of a comment, or of the one before it.
    let begins = |before: usize| {
        let rest = line.get(column.checked_sub(before)?..)?.trim_start();
        Some(["//", "/*", "#"].iter().any(|sign| rest.starts_with(sign)))
    };
    [1, 0].into_iter().filter_map(begins).any(|is_comment| is_comment)
}

/// Returns the position of the comma before the bracket that a parser rejects.
fn trailing_comma(text: &str, line: usize, column: usize) -> Option<(usize, usize)> {
    let start = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum::<usize>();
    let at = start + column.checked_sub(1)?;
    // The parser reports the bracket, or the comma.
    let comma = match text.as_bytes().get(at)? {
        b'}' | b']' => text.get(..at)?.trim_end().strip_suffix(',')?.len(),
        b',' if text.get(at + 1..)?.trim_start().starts_with(['}', ']']) => at,
        _ => return None,
    };
    let before = text.get(..comma)?;
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Some((before.matches('\n').count() + 1, comma - line_start + 1))
}

/// A document, of which only objects and arrays are taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    /// Everything else, as it was written.
    Scalar(String),
}

impl Json {
    /// Parses a document of at most 128 levels.
    pub(crate) fn parse(text: &str) -> serde_json::Result<Self> {
        // Checks the depth and the syntax of the whole document, so that positions are right.
        let raw: &RawValue = serde_json::from_str(text)?;
        Self::level(raw.get(), 0)
    }

    fn level(text: &str, depth: usize) -> serde_json::Result<Self> {
        if depth > 128 {
            return Err(serde::de::Error::custom("more than 128 levels"));
        }
        match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text)?;
                let members = members.into_iter();
                let parsed =
                    members.map(|(key, raw)| Ok((key, Self::level(raw.get(), depth + 1)?)));
                Ok(Self::Object(parsed.collect::<serde_json::Result<_>>()?))
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                let parsed = items.into_iter().map(|raw| Self::level(raw.get(), depth + 1));
                Ok(Self::Array(parsed.collect::<serde_json::Result<_>>()?))
            }
            _ => Ok(Self::Scalar(text.to_owned())),
        }
    }

    /// Returns the text of a string.
    pub(crate) fn as_str(&self) -> Option<String> {
        match self {
            Self::Scalar(text) => serde_json::from_str(text).ok(),
            _ => None,
        }
    }

    /// Returns every string in the document that is not a key.
    pub(crate) fn strings(&self) -> Vec<String> {
        match self {
            Self::Object(members) => {
                members.iter().flat_map(|(_, value)| value.strings()).collect()
            }
            Self::Array(items) => items.iter().flat_map(Self::strings).collect(),
            Self::Scalar(_) => self.as_str().into_iter().collect(),
        }
    }

    /// Returns the document as serde's value. A number that would not keep its digits becomes its
    /// text.
    fn into_value(self) -> Value {
        match self {
            Self::Object(members) => {
                members.into_iter().map(|(key, value)| (key, value.into_value())).collect()
            }
            Self::Array(items) => items.into_iter().map(Self::into_value).collect(),
            Self::Scalar(text) => match serde_json::from_str(&text) {
                Ok(Value::Number(number)) if number.to_string() != text => Value::String(text),
                Ok(value) => value,
                Err(_) => Value::String(text),
            },
        }
    }

    pub(crate) fn is(&self, literal: &str) -> bool {
        matches!(self, Self::Scalar(text) if text == literal)
    }

    /// Returns a key that an object of the document has twice.
    pub(crate) fn duplicate_key(&self) -> Option<&str> {
        match self {
            Self::Object(members) => {
                let mut seen = std::collections::BTreeSet::new();
                members.iter().find_map(|(key, value)| match seen.insert(key) {
                    true => value.duplicate_key(),
                    false => Some(key.as_str()),
                })
            }
            Self::Array(items) => items.iter().find_map(Self::duplicate_key),
            Self::Scalar(_) => None,
        }
    }
}

/// Reads values of Terraform, whose numbers have no limits. For `deserialize_with`.
pub(crate) fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Json::deserialize(deserializer).map(Json::into_value)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(members) => {
                serializer.collect_map(members.iter().map(|(key, value)| (key, value)))
            }
            Self::Array(items) => serializer.collect_seq(items),
            Self::Scalar(text) => match self.as_str() {
                // Terraform writes `<` as `\u003c`.
                Some(text) => serializer.serialize_str(&text),
                None => RawValue::from_string(text.clone())
                    .map_err(serde::ser::Error::custom)?
                    .serialize(serializer),
            },
        }
    }
}

impl fmt::Display for Json {
    /// Without whitespace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The members of an object, in order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_found_next_to_any_number() {
        let text = r#"{"a": 1e400, "b": ["x", {"c": "\u0079"}], "d": null}"#;
        assert_eq!(Json::parse(text).unwrap().strings(), ["x", "y"]);
    }

    #[test]
    fn frequent_slips_are_named() {
        let fault = |text: &str| {
            let fault = Fault::of(text, &serde_json::from_str::<Value>(text).unwrap_err());
            (fault.line, fault.column, fault.fix)
        };
        let comma = Some("remove the comma");
        let comment = Some("remove the comment: JSON has none");
        for (text, found) in [
            ("{\n  \"a\": 1,\n}\n", (2, 9, comma)),
            ("{\"a\": [1, 2,\n\n ], \"b\": 1}", (1, 12, comma)),
            ("{\"a\": {\"b\": 1, }}", (1, 14, comma)),
            ("{\"\u{e9}\": 1,}", (1, 9, comma)),
            ("{\n // c\n}", (2, 2, comment)),
            ("{\n \"a\": 1 # c\n}", (2, 9, comment)),
            ("{\"a\": 1,, \"b\": 2}", (1, 9, None)),
            ("{\"a\": }", (1, 7, None)),
            ("{", (1, 1, None)),
        ] {
            let (line, column, fix) = fault(text);
            assert_eq!((line, fix), (found.0, found.2), "{text}");
            assert!(fix == comment || column == found.1, "{text}: {column}");
        }
    }

    #[test]
    fn numbers_are_printed_as_they_were_written() {
        let text = r#"{"a": [100000000000000000001, 1e400, -0.10000000000000000000000000001],
            "b": "\u003c1.0\n\u003e", "c": null}"#;
        let parsed: Json = serde_json::from_reader(text.as_bytes()).unwrap();
        assert_eq!(
            parsed.to_string(),
            r#"{"a":[100000000000000000001,1e400,-0.10000000000000000000000000001],"#.to_owned()
                + r#""b":"<1.0\n>","c":null}"#
        );
        assert_eq!(Json::parse(&parsed.to_string()).unwrap(), {
            let pretty = serde_json::to_string_pretty(&parsed).unwrap();
            Json::parse(&pretty).unwrap()
        });
    }

    #[test]
    fn keys_that_are_there_twice() {
        for (text, found) in [
            (r#"{"a": 1, "b": {"a": 1}}"#, None),
            (r#"{"a": 1, "\u0061": 2}"#, Some("a")),
            (r#"[{"x": [{"y": 1, "z": 2, "y": 3}]}]"#, Some("y")),
        ] {
            assert_eq!(Json::parse(text).unwrap().duplicate_key(), found, "{text}");
        }
        assert!(Json::parse("{\"a\": }").is_err());
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
    }
}
