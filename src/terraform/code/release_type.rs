//! The type that the code declares for the variable `release`. With it, Terraform can check what a
//! release would pass, before the release is made.

use std::path::Path;

use hcl_edit::{
    Span,
    expr::{Expression, FuncArgs, Object, ObjectKey},
};
use serde_json::Value;

use super::files::{self, CodeFile, Dialect, Role};
use crate::base::error::Result;

const NAME: &str = "release";
/// Types that every release fits.
const ALWAYS_FIT: [&str; 3] = ["any", "map(any)", "map(string)"];

/// The declared type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReleaseType {
    /// The file that declares it, such as `infra/main.tf`.
    pub(crate) file: String,
    /// The line of the declaration there; None in JSON.
    pub(crate) line: Option<usize>,
    text: String,
}

/// An attribute of an object type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TypeAttribute {
    pub(crate) name: String,
    /// Its type as code, without `optional`.
    pub(crate) text: String,
    pub(crate) is_optional: bool,
}

impl ReleaseType {
    /// Reads the code in `folder`, which messages call `shown`. None if there is no type that a
    /// release can fail to fit, or cdflow cannot read it.
    pub(crate) fn read(folder: &Path, shown: &str, dialect: Dialect) -> Result<Option<Self>> {
        let mut found = None;
        // Override files come last, and win.
        for file in files::list(folder, dialect)? {
            if file.role == Role::Values {
                continue;
            }
            let text = files::text(&folder.join(&file.name), file.is_json)?;
            found = declared(&file, &text, shown).or(found);
        }
        let is_strict = |it: &Self| !ALWAYS_FIT.contains(&it.text.as_str());
        Ok(found.filter(is_strict))
    }

    /// Returns the type as code.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the attributes of an object; None for another type, or one that cdflow cannot read.
    pub(crate) fn attributes(&self) -> Option<Vec<TypeAttribute>> {
        // Spans exist only in a body.
        let code = format!("type = {}\n", self.text);
        let body = hcl_edit::parser::parse_body(&code).ok()?;
        let object = object_of(&body.get_attribute("type")?.value)?;
        object.iter().map(|(key, value)| attribute(&code, key, value.expr())).collect()
    }

    /// `infra/main.tf:3`.
    pub(crate) fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }
}

fn attribute(code: &str, key: &ObjectKey, typed: &Expression) -> Option<TypeAttribute> {
    let quoted = || key.as_expr().and_then(|it| it.as_str()).map(str::to_owned);
    let name = key.as_ident().map(|it| it.as_str().to_owned()).or_else(quoted)?;
    let inner = call_of(typed, "optional").and_then(|arguments| arguments.iter().next());
    let text = code.get(inner.unwrap_or(typed).span()?)?.trim().to_owned();
    Some(TypeAttribute { name, text, is_optional: inner.is_some() })
}

fn declared(file: &CodeFile, text: &str, shown: &str) -> Option<ReleaseType> {
    let (text, line) = if file.is_json { (in_json(text)?, None) } else { in_hcl(text)? };
    Some(ReleaseType { file: format!("{shown}/{}", file.name), line, text })
}

fn in_hcl(text: &str) -> Option<(String, Option<usize>)> {
    let body = hcl_edit::parser::parse_body(text).ok()?;
    let block = body.blocks().find(|block| {
        block.ident.as_str() == "variable"
            && block.labels.first().is_some_and(|label| label.as_str() == NAME)
    })?;
    let declared = text.get(block.body.get_attribute("type")?.value.span()?)?;
    let start = block.ident.span().or_else(|| block.span())?.start;
    Some((declared.trim().to_owned(), Some(files::line_at(text, start))))
}

fn in_json(text: &str) -> Option<String> {
    let root: Value = serde_json::from_str(text).ok()?;
    root.pointer(&format!("/variable/{NAME}/type"))?.as_str().map(str::to_owned)
}

fn object_of(expression: &Expression) -> Option<&Object> {
    call_of(expression, "object")?.iter().next()?.as_object()
}

/// Returns the arguments of a call of this function.
fn call_of<'e>(expression: &'e Expression, function: &str) -> Option<&'e FuncArgs> {
    let Expression::FuncCall(call) = expression else { return None };
    (call.name.name.as_str() == function).then_some(&call.args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Option<ReleaseType> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        ReleaseType::read(folder.path(), "infra", Dialect::Terraform).unwrap()
    }

    #[test]
    fn the_type_and_its_place() {
        let main = "variable \"env\" {}\n\nvariable \"release\" {\n  default = null\n  type = \
                    object({\n    # how many\n    copies = number, # more\n    \
                    image_id = optional(list(string), [])\n    tags = object({ a = bool })\n  \
                    })\n}\n";
        let found = read(&[("main.tf", main)]).unwrap();
        assert_eq!(found.place(), "infra/main.tf:3");
        let attribute = |name: &str, text: &str, is_optional| TypeAttribute {
            name: name.to_owned(),
            text: text.to_owned(),
            is_optional,
        };
        let expected = [
            attribute("copies", "number", false),
            attribute("image_id", "list(string)", true),
            attribute("tags", "object({ a = bool })", false),
        ];
        assert_eq!(found.attributes().unwrap(), expected);
        let over = ("z_override.tf", "variable \"release\" {\n  type = map(number)\n}\n");
        let found = read(&[("main.tf", main), over]).unwrap();
        assert_eq!(
            (found.place().as_str(), found.text()),
            ("infra/z_override.tf:1", "map(number)")
        );
        assert_eq!(found.attributes(), None);
        let json = r#"{"variable": {"release": {"type": "object({a = number})"}}}"#;
        let found = read(&[("main.tf.json", json)]).unwrap();
        assert_eq!(found.place(), "infra/main.tf.json");
        assert_eq!(found.attributes().unwrap(), [attribute("a", "number", false)]);
    }

    #[test]
    fn types_that_every_release_fits() {
        for code in [
            "",
            "variable \"release\" {}",
            "variable \"release\" {\n  type = map(string)\n}",
            "variable \"release\" {\n  type = any\n}",
            "variable \"other\" {\n  type = number\n}",
            "variable \"",
        ] {
            assert_eq!(read(&[("main.tf", code)]), None, "{code}");
        }
    }
}
