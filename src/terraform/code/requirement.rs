//! `required_version` in a block `terraform`: the versions that the code accepts.

use hcl_edit::{Span, expr::Expression, structure};

use super::files;
use crate::{
    base::{
        error::{Error, Result},
        json::Json,
    },
    config::version_constraint::{Constraint, Wanted},
};

pub(super) const NAME: &str = "required_version";

#[derive(Debug)]
pub(crate) struct Requirement {
    /// `infra/main.tf:3`; in JSON, the line can be missing.
    pub(crate) place: String,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Null,
    /// A string, or a number as Terraform converts it to one.
    Text(String),
    /// Not a literal: only Terraform can evaluate it.
    Unknown,
}

impl Requirement {
    pub(super) fn of_hcl(block: &structure::Block, text: &str, file: &str) -> Option<Self> {
        let attribute = block.body.get_attribute(NAME)?;
        let value = match &attribute.value {
            Expression::Null(_) => Value::Null,
            Expression::String(text) => Value::of_text(text.as_str()),
            Expression::Number(number) => Value::of_number(number.as_f64()),
            _ => Value::Unknown,
        };
        let start = attribute.key.span().map_or(0, |span| span.start);
        Some(Self { place: format!("{file}:{}", files::line_at(text, start)), value })
    }

    pub(super) fn of_json(value: &Json, file: &str) -> Self {
        let value = match (value, value.as_str()) {
            (_, Some(text)) => Value::of_text(&text),
            (Json::Scalar(text), _) if text == "null" => Value::Null,
            (Json::Scalar(text), _) => Value::of_number(text.parse().ok()),
            _ => Value::Unknown,
        };
        Self { place: file.to_owned(), value }
    }

    /// Adds the line to a place in JSON, if the file has no other key of this name.
    pub(super) fn locate(&mut self, text: &str) {
        let key = format!("\"{NAME}\"");
        let mut found = text.match_indices(&key);
        if let (Some((start, _)), None) = (found.next(), found.next()) {
            self.place = format!("{}:{}", self.place, files::line_at(text, start));
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.value, Value::Unknown)
    }

    /// Returns the constraint; None if it is null or only Terraform can read it. Fails if it is
    /// malformed.
    pub(super) fn wanted(&self) -> Result<Option<Wanted>> {
        let Value::Text(text) = &self.value else { return Ok(None) };
        match Constraint::of_code(text) {
            Ok(constraint) => Ok(Some(Wanted { constraint, place: self.place.clone() })),
            Err(why) => Err(Error::input(format!("{}: `{NAME}` is malformed", self.place))
                .why(why)
                .hint("fix the constraint")),
        }
    }
}

impl Value {
    fn of_text(text: &str) -> Self {
        match ["${", "%{"].iter().any(|sign| text.contains(sign)) {
            true => Self::Unknown,
            false => Self::Text(text.to_owned()),
        }
    }

    /// Terraform reads `1.10` as 1.1.
    fn of_number(number: Option<f64>) -> Self {
        match number.filter(|number| number.is_finite()) {
            Some(number) => Self::Text(number.to_string()),
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{declarations::Declarations, files::Dialect};

    fn read(files: &[(&str, &str)]) -> Declarations {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Declarations::read(folder.path(), "infra", Dialect::Terraform).unwrap()
    }

    #[test]
    fn each_requirement_has_its_place() {
        for (files, required, unread) in [
            (
                &[("a.tf", "# x\nterraform {\n\n  required_version = \"~> 1.9\"\n}\n")][..],
                &["infra/a.tf:4 ~> 1.9"][..],
                &[][..],
            ),
            (
                &[(
                    "a.tf",
                    "terraform { required_version = \"1.9\" }\n\
                     terraform {\n  required_version = 1.10\n}\n",
                )],
                &["infra/a.tf:1 1.9", "infra/a.tf:3 1.1"],
                &[],
            ),
            (&[("a.tf", "terraform { required_version = null }\nterraform {}\n")], &[], &[]),
            (&[("a.tf", "locals { required_version = \"x\" }\n")], &[], &[]),
            (
                &[("a.tf", "terraform {\n  required_version = \"> ${local.x}\"\n}\n")],
                &[],
                &["infra/a.tf:2"],
            ),
            (
                &[("a.tf", "terraform {\n  required_version = \"${\"1\"}\"\n}\n")],
                &[],
                &["infra/a.tf:2"],
            ),
            (&[("a.tf", "terraform { required_version = \"1\"")], &[], &["infra/a.tf"]),
            (&[("a.tf", "terraform {")], &[], &[]),
            (
                &[("a.tf.json", "{\n\"terraform\": [{}, {\n\"required_version\": \"1.9\"}]}")],
                &["infra/a.tf.json:3 1.9"],
                &[],
            ),
            (
                &[(
                    "a.tf.json",
                    r#"{"terraform": [{"required_version": "1.9"}, {"required_version": 1.10}]}"#,
                )],
                &["infra/a.tf.json 1.9", "infra/a.tf.json 1.1"],
                &[],
            ),
            (&[("a.tf.json", r#"{"terraform": {"required_version": null}}"#)], &[], &[]),
            (
                &[("a.tf.json", r#"{"terraform": {"required_version": "${local.x}"}}"#)],
                &[],
                &["infra/a.tf.json:1"],
            ),
            // Each override file replaces what the files before it require.
            (
                &[
                    ("a.tf", "terraform { required_version = \"< 1.0\" }"),
                    (
                        "a_override.tf",
                        "terraform { required_version = \"> 1.0\" }\n\
                         terraform { required_version = \"< 2.0\" }",
                    ),
                    ("b_override.tf", "terraform {}"),
                ],
                &["infra/a_override.tf:1 > 1.0", "infra/a_override.tf:2 < 2.0"],
                &[],
            ),
            (
                &[
                    ("a.tf", "terraform { required_version = \"< 1.0\" }"),
                    ("override.tf", "terraform { required_version = null }"),
                ],
                &[],
                &[],
            ),
        ] {
            let found = read(files);
            let wanted = found.required_versions().unwrap().into_iter();
            let wanted: Vec<_> =
                wanted.map(|it| format!("{} {}", it.place, it.constraint)).collect();
            assert_eq!(wanted, required, "{files:?}");
            assert_eq!(found.unknown_requirements(), unread, "{files:?}");
        }
    }

    #[test]
    fn a_malformed_requirement_names_its_place() {
        for (name, text, says) in [
            (
                "a.tf",
                "terraform {\n  required_version = \">= 1.x\"\n}",
                "infra/a.tf:2: `required_version` is malformed: `>= 1.x` is not a version \
                 constraint: expected a number in column 6, found `x`",
            ),
            ("a.tf", "terraform { required_version = \"\" }", "infra/a.tf:1"),
            ("a.tf", "terraform { required_version = \"1.9.0-rc1\" }", "names a pre-release"),
            ("a.tf.json", r#"{"terraform": {"required_version": "latest"}}"#, "infra/a.tf.json:1"),
        ] {
            let error = read(&[(name, text)]).required_versions().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
