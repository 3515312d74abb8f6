//! Where the values of the var-file come from. Terraform's messages name the var-file, which is
//! gone after the run; with this, they name the file that somebody can correct.

use std::{collections::BTreeMap, path::Path};

use serde_json::value::RawValue;

use crate::{
    base::error::{Error, Exit},
    terraform::output::{
        diagnostics::{Diagnostic, location},
        failure::TerraformStep,
        plain::plain,
    },
};

/// The name of the variable with the secrets.
pub(super) const SECRETS: &str = "secrets";
/// How Terraform begins the reason why a value does not fit.
const UNSUITABLE: &str = "The given value is not suitable for var.";
/// What Terraform writes before the place of a sensitive value.
const DEFINED_AT: &str = "Invalid value defined at";

/// The values of a var-file.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueOrigins {
    /// As Terraform prints it.
    var_file: String,
    /// In the order of the var-file.
    values: Vec<ValueOrigin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ValueOrigin {
    name: String,
    /// The first line of the value in the var-file.
    line: u64,
    place: Option<ValuePlace>,
}

/// Where the release has a value; there is none for what cdflow sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValuePlace {
    /// `config/common.json`.
    pub(crate) file: String,
    /// The line on which the value begins.
    pub(crate) line: u64,
}

/// Returns the line of each value in a file of variables.
pub(super) fn lines(text: &str) -> BTreeMap<String, u64> {
    let values: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let line = |value: &RawValue| {
        let before = value.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        Some(text.get(..before)?.matches('\n').count() as u64 + 1)
    };
    values.into_iter().filter_map(|(name, value)| Some((name, line(value)?))).collect()
}

impl ValueOrigins {
    /// `values` are in the order of the var-file, which has an opening line and then each value
    /// with its name.
    pub(super) fn new<'v>(
        var_file: &Path,
        values: impl Iterator<Item = (&'v String, &'v RawValue, Option<ValuePlace>)>,
    ) -> Self {
        let mut line = 2;
        let origin = |(name, value, place): (&String, &RawValue, _)| {
            let first = line;
            line += value.get().matches('\n').count() as u64 + 1;
            ValueOrigin { name: name.clone(), line: first, place }
        };
        Self { var_file: var_file.display().to_string(), values: values.map(origin).collect() }
    }

    fn find(&self, file: &str, line: u64) -> Option<&ValueOrigin> {
        let is_ours = file == self.var_file;
        self.values.iter().rev().find(|value| is_ours && value.line <= line)
    }

    /// Returns the value that a diagnostic is about, its line there, and the problem without the
    /// var-file. About a sensitive value, Terraform names the variable and then the value's place.
    fn value_of<'v>(&'v self, found: &Diagnostic) -> Option<(&'v ValueOrigin, u64, String)> {
        let why = if found.detail.is_empty() { &found.title } else { &found.detail };
        if let Some(value) = self.find(&found.file, found.line) {
            return Some((value, found.line, why.clone()));
        }
        let (before, after) = why.split_once(&format!("{DEFINED_AT} {}:", self.var_file))?;
        let line: String = after.chars().take_while(char::is_ascii_digit).collect();
        let line = line.parse().ok()?;
        Some((self.find(&self.var_file, line)?, line, before.trim_end().to_owned()))
    }

    /// Returns the error for the first value that Terraform rejects. Its text has no value. The
    /// step is the plan of a deploy, or the check of a release.
    pub(crate) fn error(&self, diagnostics: &[Diagnostic], step: TerraformStep) -> Option<Error> {
        let is_error = |it: &&Diagnostic| it.is_error;
        let (value, found, why) =
            diagnostics.iter().filter(is_error).find_map(|it| self.value_of(it))?;
        let name = &value.name;
        let (exit, then) = match step {
            TerraformStep::Validate => (Exit::Input, "release again"),
            _ => (Exit::PlanFailed, "deploy a new release; nothing was applied"),
        };
        let error = |what: String| Error::new(exit, what).why(&why);
        let Some(ValuePlace { file, line }) = &value.place else {
            let hint = match name.as_str() {
                SECRETS => "declare `secrets` in infra/ as a map of strings, and release again",
                _ => "declare it in infra/ without a type, and release again",
            };
            return Some(
                error(format!("cdflow's value does not fit the variable `{name}`")).hint(hint),
            );
        };
        let line = line + found - value.line;
        let what = format!("{file}:{line}: the value does not fit the variable `{name}`");
        let (declared, why) = without_declaration(&why);
        let hint = format!("correct the value there, or the variable in {declared}, and {then}");
        Some(error(what).why(why).hint(hint).at(file, line, 0))
    }

    /// Replaces the place of a sensitive value in the var-file by the one in its own file.
    fn with_places(&self, line: &str) -> String {
        let replaced = || {
            let (before, after) = line.split_once(&format!("{}:", self.var_file))?;
            let (range, end) = after.split_at(after.find([' ', '.']).unwrap_or(after.len()));
            let number = range.split(',').next()?.parse().ok()?;
            let value = self.find(&self.var_file, number)?;
            Some(match &value.place {
                Some(place) => {
                    format!("{before}{}:{}{end}", place.file, place.moved(value, number))
                }
                None => format!("{before}the variable `{}`{end}", value.name),
            })
        };
        replaced().unwrap_or_else(|| line.to_owned())
    }

    /// Returns a filter for Terraform's output: it replaces the var-file by the file of the value.
    /// The lines of a value that cdflow sets are dropped, because they can contain secrets.
    pub(crate) fn filter(&self) -> impl FnMut(&str) -> Option<String> + Send + use<> {
        let origins = self.clone();
        // The value whose lines are being printed.
        let mut current: Option<ValueOrigin> = None;
        move |line| {
            let text = plain(line);
            let text = text.trim();
            if let Some((file, number)) = location(text)
                && let Some(value) = origins.find(&file, number)
            {
                let old = format!("{file} line {number}");
                let new = match &value.place {
                    Some(place) => format!("{} line {}", place.file, place.moved(value, number)),
                    None => format!("the variable `{}`, which cdflow sets", value.name),
                };
                current = Some(value.clone());
                return Some(line.replace(&old, &new));
            }
            let line = origins.with_places(line);
            let number = text.split_once(':').and_then(|(number, _)| number.parse::<u64>().ok());
            let Some((value, number)) = current.clone().zip(number) else {
                current = None;
                return Some(line);
            };
            let place = value.place.as_ref()?;
            let new = format!(" {}: ", place.moved(&value, number));
            Some(line.replacen(&format!(" {number}: "), &new, 1))
        }
    }
}

/// Splits Terraform's `The given value is not suitable for var.size declared at main.tf:5,1-16: a
/// number is required.` into the place of the declaration and the reason.
fn without_declaration(why: &str) -> (String, &str) {
    let parsed = || {
        let (_, rest) = why.strip_prefix(UNSUITABLE)?.split_once(" declared at ")?;
        let (place, why) = rest.split_once(": ")?;
        let (place, _) = place.split_once(',')?;
        Some((format!("infra/{place}"), why))
    };
    parsed().unwrap_or_else(|| ("infra/".to_owned(), why))
}

impl ValuePlace {
    /// Returns the line in the file for a line of the var-file.
    fn moved(&self, value: &ValueOrigin, line: u64) -> u64 {
        self.line + line.saturating_sub(value.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::output::failure::OutputLines;

    #[test]
    fn lines_of_values() {
        let text = "{ \"a\": 1,\n\"b\\u0063\":\n\n [1,\n2], \"c\": {\"a\": 2}}";
        let found: Vec<_> = lines(text).into_iter().collect();
        assert_eq!(found, [("a".into(), 1), ("bc".into(), 4), ("c".into(), 5)]);
        assert!(lines("{").is_empty());
    }

    fn origins() -> ValueOrigins {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let at = |file: &str, line| Some(ValuePlace { file: file.into(), line });
        let values = [
            ("secrets".to_owned(), raw("{\n    \"key\": \"hush\"\n  }"), None),
            ("size".to_owned(), raw("\"big\""), at("config/live.json", 9)),
            ("tags".to_owned(), raw("{\"a\": 1,\n   \"b\": []}"), at("config/common.json", 3)),
        ];
        let values = values.iter().map(|(name, value, place)| (name, &**value, place.clone()));
        ValueOrigins::new(Path::new("/tmp/v.json"), values)
    }

    const SECRET: &str = "Error: Invalid value for input variable\n\n  on /tmp/v.json line 2:\n   \
                          2:   \"secrets\": {\n   3:     \"key\": \"hush\"\n   4:   },\n\nNot \
                          suitable: a\nnumber is required.\n";
    const OTHERS: &str = "Error: Invalid value for input variable\n\n  on /tmp/v.json line 6:\n   \
                          6:   \"tags\": {\"a\": 1,\n   7:    \"b\": []}\n\nNot suitable: a\n\
                          number is required.\n\nError: Invalid\n\n  on main.tf line 6:\n   6: x\n";

    /// What Terraform prints if the variable is sensitive.
    const HIDDEN: &str = "Error: Invalid value for input variable\n\n  on main.tf line 9:\n   \
                          9: variable \"tags\" {\n\nNot suitable for var.tags, which is \
                          sensitive: a number is\nrequired. Invalid value defined at \
                          /tmp/v.json:6,11-19.\n";

    #[test]
    fn messages_name_the_file_of_a_value() {
        let shown =
            |text: &str| text.lines().filter_map(origins().filter()).collect::<Vec<_>>().join("\n");
        assert_eq!(
            shown(OTHERS),
            "Error: Invalid value for input variable\n\n  on config/common.json line 3:\n   3:   \
             \"tags\": {\"a\": 1,\n   4:    \"b\": []}\n\nNot suitable: a\nnumber is required.\n\n\
             Error: Invalid\n\n  on main.tf line 6:\n   6: x"
        );
        assert_eq!(
            shown(SECRET),
            "Error: Invalid value for input variable\n\n  on the variable `secrets`, which cdflow \
             sets:\n\nNot suitable: a\nnumber is required."
        );
        let hidden = shown(HIDDEN);
        assert!(hidden.ends_with("\nrequired. Invalid value defined at config/common.json:3."));
        let bar = "\u{1b}[31m│\u{1b}[0m \u{1b}[0m";
        let colored = format!(
            "{bar}  on /tmp/v.json line 5:\n{bar}   5:   \"size\": \u{1b}[4m\"big\"\u{1b}[0m,"
        );
        let moved = colored.replace("/tmp/v.json line 5", "config/live.json line 9");
        assert_eq!(shown(&colored), moved.replace(" 5: ", " 9: "));
    }

    #[test]
    fn the_place_of_a_declaration_is_in_the_advice() {
        let long = "The given value is not suitable for var.size declared at main.tf:5,1-16: a \
                    number is required.";
        assert_eq!(
            without_declaration(long),
            ("infra/main.tf:5".to_owned(), "a number is required.")
        );
        let other = "The size is too small.";
        assert_eq!(without_declaration(other), ("infra/".to_owned(), other));
    }

    #[test]
    fn errors_name_the_file_of_a_value() {
        let error = |text: &str| {
            let diagnostics = OutputLines::from_text(text).diagnostics();
            origins().error(&diagnostics, TerraformStep::Plan)
        };
        let found = error(OTHERS).unwrap();
        assert_eq!(found.place().map(|place| place.line), Some(3));
        let text = found.to_string();
        let says = "config/common.json:3: the value does not fit the variable `tags`: \
                    Not suitable: a number is required.\n  -> correct the value there";
        assert!(text.starts_with(says), "{text}");
        let text = error(SECRET).unwrap().to_string();
        assert!(text.contains("variable `secrets`: Not") && !text.contains("hush"), "{text}");
        assert!(error("Error: Invalid\n\n  on main.tf line 6:\n   6: x\n").is_none());
        let text = error(HIDDEN).unwrap().to_string();
        let says = "config/common.json:3: the value does not fit the variable `tags`: \
                    Not suitable for var.tags, which is sensitive: a number is required.\n";
        assert!(text.starts_with(says), "{text}");
    }
}
