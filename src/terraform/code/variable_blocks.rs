//! The variables of a folder of code without the rest of it, so that Terraform can check values
//! without providers, modules and a state.

use std::{collections::BTreeSet, ops::Range};

use hcl_edit::{
    Span,
    expr::{Expression, ForExpr, FuncName, Traversal, TraversalOperator},
    structure::Block,
    visit::{self, Visit},
};
use serde_json::{Map, Value, json};

/// Variables that cdflow sets and whose values are not known at release.
pub(super) const SET_LATER: [&str; 3] = ["release", "secrets", "preview"];
/// What a variable may have that can be about more than variables.
const VALIDATION: &str = "validation";

/// Returns the variables of a file, in the same lines as there; None if it cannot be parsed.
///
/// Those of [`SET_LATER`] have no type, and need no value. A validation that uses more than
/// variables and Terraform's own functions is left out.
pub(crate) fn only_variables(text: &str, is_json: bool) -> Option<String> {
    if is_json { of_json(text) } else { of_hcl(text) }
}

fn of_hcl(text: &str) -> Option<String> {
    let body = hcl_edit::parser::parse_body(text).ok()?;
    let mut kept = String::new();
    let mut end = 0;
    for block in body.blocks().filter(|block| block.ident.as_str() == "variable") {
        let span = whole(block)?;
        kept.push_str(&line_ends(text.get(end..span.start)?));
        match block.labels.first().map(|label| label.as_str()) {
            Some(name) if SET_LATER.contains(&name) => {
                kept.push_str(&format!("variable \"{name}\" {{ default = null }}"));
                kept.push_str(&line_ends(text.get(span.clone())?));
            }
            _ => kept.push_str(&without_validations(text, block, &span)?),
        }
        // Two blocks that were in one line have something between them, or are invalid.
        end = span.end;
    }
    kept.push('\n');
    Some(kept)
}

fn whole(block: &Block) -> Option<Range<usize>> {
    Some(block.ident.span().or_else(|| block.span())?.start..block.span()?.end)
}

/// Returns as many line ends as `text` has.
fn line_ends(text: &str) -> String {
    "\n".repeat(text.matches('\n').count())
}

fn without_validations(text: &str, block: &Block, span: &Range<usize>) -> Option<String> {
    let mut kept = String::new();
    let mut end = span.start;
    for inner in block.body.blocks().filter(|inner| inner.ident.as_str() == VALIDATION) {
        if OnlyVariables::in_block(inner) {
            continue;
        }
        let inner = whole(inner)?;
        kept.push_str(text.get(end..inner.start)?);
        kept.push_str(&line_ends(text.get(inner.clone())?));
        end = inner.end;
    }
    kept.push_str(text.get(end..span.end)?);
    Some(kept)
}

/// Finds out whether an expression uses only variables and functions that read no file.
struct OnlyVariables {
    /// Names that a `for` introduces.
    bound: BTreeSet<String>,
    is_so: bool,
}

impl OnlyVariables {
    fn in_block(block: &Block) -> bool {
        let mut found = Self { bound: BTreeSet::new(), is_so: true };
        found.visit_block(block);
        found.is_so
    }

    fn is_known(&self, traversal: &Traversal, root: &str) -> bool {
        let first = traversal.operators.first().map(|operator| operator.value());
        match (root, first) {
            ("var", Some(TraversalOperator::GetAttr(name))) => !SET_LATER.contains(&name.as_str()),
            _ => self.bound.contains(root),
        }
    }
}

impl Visit for OnlyVariables {
    fn visit_traversal(&mut self, traversal: &Traversal) {
        match &traversal.expr {
            Expression::Variable(root) => self.is_so &= self.is_known(traversal, root.as_str()),
            other => self.visit_expr(other),
        }
        traversal.operators.iter().for_each(|it| self.visit_traversal_operator(it.value()));
    }

    fn visit_expr(&mut self, expression: &Expression) {
        if let Expression::Variable(name) = expression {
            self.is_so &= self.bound.contains(name.as_str());
        }
        visit::visit_expr(self, expression);
    }

    fn visit_for_expr(&mut self, expression: &ForExpr) {
        let intro = &expression.intro;
        let names = intro.key_var.iter().chain([&intro.value_var]);
        self.bound.extend(names.map(|name| name.as_str().to_owned()));
        visit::visit_for_expr(self, expression);
    }

    fn visit_func_name(&mut self, function: &FuncName) {
        let name = function.name.as_str();
        self.is_so &=
            function.namespace.is_empty() && !name.contains("file") && name != "templatestring";
    }
}

fn of_json(text: &str) -> Option<String> {
    let root: Value = serde_json::from_str(text).ok()?;
    let mut found = Vec::new();
    for variables in members(root)?.into_iter().filter(|(kind, _)| kind == "variable") {
        for (name, body) in members(variables.1)? {
            let bodies = match body {
                Value::Array(bodies) => bodies,
                Value::Null => Vec::new(),
                body => vec![body],
            };
            for body in bodies {
                let Value::Object(mut body) = body else { return None };
                body.remove(VALIDATION);
                if SET_LATER.contains(&name.as_str()) {
                    body = Map::from_iter([("default".to_owned(), Value::Null)]);
                }
                found.push(json!({ name.clone(): body }));
            }
        }
    }
    Some(json!({ "variable": found }).to_string())
}

/// Returns the members of an object, of a list of objects, or of null.
fn members(value: Value) -> Option<Vec<(String, Value)>> {
    match value {
        Value::Object(members) => Some(members.into_iter().collect()),
        Value::Null => Some(Vec::new()),
        Value::Array(items) => {
            let lists = items.into_iter().map(|item| match item {
                Value::Object(_) => members(item),
                _ => None,
            });
            Some(lists.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stay_in_their_lines() {
        let text = "\
terraform {
  required_version = \">= 1\"
}

variable \"size\" { # number
  type = number
  validation {
    condition     = var.size > 0 && alltrue([for k, it in var.other : it.name != k])
    error_message = \"Too small: ${var.size}.\"
  }
  validation {
    condition     = var.size > local.least
    error_message = \"Too small.\"
  }
}
resource \"terraform_data\" \"x\" {}
variable \"release\" {
  type = object({
    x = string })
}
variable \"last\" {}
";
        let kept = only_variables(text, false).unwrap();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut expected = lines(text);
        // The first block, the second validation, another block, and the type of `release`.
        for gone in [0..4, 10..14, 15..16, 17..20] {
            expected[gone].iter_mut().for_each(String::clear);
        }
        expected[10] = "  ".to_owned();
        expected[16] = "variable \"release\" { default = null }".to_owned();
        assert_eq!(lines(&kept), expected);
        assert_eq!(only_variables("variable \"", false), None);
    }

    #[test]
    fn what_only_the_whole_code_knows_is_not_evaluated() {
        for (condition, is_kept) in [
            ("var.x != null", true),
            ("length(var.x) < 3 && can(regex(\"^a\", var.x))", true),
            ("alltrue([for it in var.x : it > 0])", true),
            ("var.x == local.y", false),
            ("var.x == data.aws_region.this.name", false),
            ("var.x == aws_vpc.main[0].id", false),
            ("fileexists(var.x)", false),
            ("var.x == path.module", false),
            ("provider::aws::arn_parse(var.x) != null", false),
            ("\"${local.y}\" == var.x", false),
            ("var.release.version == var.x", false),
            ("var.x == it", false),
            ("var.x == terraform.workspace", false),
            ("var.x[local.y] == 1", false),
        ] {
            let rule = format!("condition = {condition}");
            let text = format!(
                "variable \"x\" {{\n  validation {{\n    {rule}\n    error_message = \
                 \"No.\"\n  }}\n}}\n"
            );
            let kept = only_variables(&text, false).unwrap();
            assert_eq!(kept.contains(&rule), is_kept, "{condition}\n{kept}");
        }
    }

    #[test]
    fn variables_of_json() {
        let text = r#"[{"variable": [{"a": [{"type": "number", "validation": {}}]}], "output": {}},
            {"variable": {"b": {"default": 1}, "secrets": {"type": "string"}, "c": null}}]"#;
        assert_eq!(
            only_variables(text, true).unwrap(),
            r#"{"variable":[{"a":{"type":"number"}},{"b":{"default":1}},{"secrets":{"default":null}}]}"#
        );
        assert_eq!(only_variables("{\"variable\": 1}", true), None);
    }
}
