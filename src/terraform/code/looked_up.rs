//! The names in a variable of cdflow that a plan of the code always looks up, such as
//! `var.secrets.token` and `var.release.build`.

use std::{collections::BTreeMap, path::Path};

use hcl_edit::{
    Span,
    expr::{
        BinaryOp, BinaryOperator, Conditional, Expression, ForExpr, FuncCall, Traversal,
        TraversalOperator,
    },
    structure::Block,
    template::{ForDirective, IfDirective},
    visit::{self, Visit},
};

use super::files::{self, Dialect, Role};
use crate::base::error::Result;

/// Functions that may do without one of their arguments.
const LENIENT: [&str; 3] = ["can", "lookup", "try"];
/// Blocks that a plan need not evaluate.
const PERHAPS: [&str; 6] = ["action", "check", "connection", "dynamic", "provider", "provisioner"];
const META: [&str; 3] = ["count", "for_each", "enabled"];

/// Returns each name in `variable` with the place of its first use, `infra/main.tf:3`.
///
/// Uses that Terraform might leave out do not count: in a block with `count` or `for_each`, in a
/// provider, in one branch of a condition, in `try`. Nor do files in JSON, and those that cannot be
/// parsed. Where override files or the type of the variable can add a value, none counts.
pub(crate) fn required(
    folder: &Path,
    shown: &str,
    dialect: Dialect,
    variable: &str,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for file in files::list(folder, dialect)? {
        // It can replace every use, and the declaration.
        if file.role == Role::Override {
            return Ok(BTreeMap::new());
        }
        if file.is_json || file.role != Role::Code {
            continue;
        }
        let text = files::text(&folder.join(&file.name), false)?;
        let place = format!("{shown}/{}", file.name);
        if let Ok(body) = hcl_edit::parser::parse_body(&text) {
            if body.blocks().any(|block| has_defaults(block, variable)) {
                return Ok(BTreeMap::new());
            }
            Finder { variable, place, text: &text, found: &mut found }.visit_body(&body);
        }
    }
    Ok(found)
}

/// Whether the block declares `variable` with a type that adds names which the value lacks, or may
/// add them.
fn has_defaults(block: &Block, variable: &str) -> bool {
    let is_meant = block.ident.as_str() == "variable"
        && block.labels.first().is_some_and(|label| label.as_str() == variable);
    let typed = block.body.get_attribute("type").map(|found| &found.value);
    is_meant
        && typed.is_some_and(|typed| match typed {
            Expression::Variable(name) => name.as_str() != "any",
            Expression::FuncCall(call) => call.name.name.as_str() != "map",
            _ => true,
        })
}

struct Finder<'a> {
    variable: &'a str,
    place: String,
    text: &'a str,
    found: &'a mut BTreeMap<String, String>,
}

impl Visit for Finder<'_> {
    fn visit_block(&mut self, block: &Block) {
        let is_meta =
            |block: &Block| block.body.attributes().any(|it| META.contains(&it.key.as_str()));
        let lifecycle = block.body.blocks().filter(|inner| inner.ident.as_str() == "lifecycle");
        let is_sure = !PERHAPS.contains(&block.ident.as_str())
            && !is_meta(block)
            && !lifecycle.into_iter().any(is_meta);
        if is_sure {
            visit::visit_block(self, block);
        }
    }

    fn visit_traversal(&mut self, traversal: &Traversal) {
        if let Some(name) = name_in(self.variable, traversal) {
            let start = traversal.span().map_or(0, |span| span.start);
            let line = self.text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            let place = format!("{}:{line}", self.place);
            self.found.entry(name.to_owned()).or_insert(place);
        }
        visit::visit_traversal(self, traversal);
    }

    fn visit_func_call(&mut self, call: &FuncCall) {
        if !LENIENT.contains(&call.name.name.as_str()) {
            visit::visit_func_call(self, call);
        }
    }

    fn visit_conditional(&mut self, conditional: &Conditional) {
        self.visit_expr(&conditional.cond_expr);
    }

    fn visit_for_expr(&mut self, expression: &ForExpr) {
        self.visit_expr(&expression.intro.collection_expr);
    }

    fn visit_if_directive(&mut self, directive: &IfDirective) {
        self.visit_expr(&directive.if_expr.cond_expr);
    }

    fn visit_for_directive(&mut self, directive: &ForDirective) {
        self.visit_expr(&directive.for_expr.collection_expr);
    }

    fn visit_binary_op(&mut self, operation: &BinaryOp) {
        // Since Terraform 1.12 the second operand need not be evaluated.
        match operation.operator.value() {
            BinaryOperator::And | BinaryOperator::Or => self.visit_expr(&operation.lhs_expr),
            _ => visit::visit_binary_op(self, operation),
        }
    }
}

/// Returns `x` of `var.secrets.x` and `var.secrets["x"]`, if `variable` is `secrets`.
fn name_in<'t>(variable: &str, traversal: &'t Traversal) -> Option<&'t str> {
    let Expression::Variable(root) = &traversal.expr else { return None };
    let mut operators = traversal.operators.iter().map(|operator| operator.value());
    let TraversalOperator::GetAttr(found) = operators.next()? else { return None };
    if root.as_str() != "var" || found.as_str() != variable {
        return None;
    }
    match operators.next()? {
        TraversalOperator::GetAttr(name) => Some(name.as_str()),
        TraversalOperator::Index(key) => key.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_plan_always_looks_up() {
        let text = r#"variable "secrets" {}
locals {
  a = "x ${var.secrets.one} %{ if true }${var.secrets.if}%{ endif }"
  b = { c = [jsondecode(var.secrets["two"])] }
  d = try(var.secrets.try, lookup(var.secrets, "three", ""))
  e = var.env == var.secrets.cond ? var.secrets.yes : var.secrets.no
  f = [for it in [var.secrets.list] : var.secrets.for]
  g = false && var.secrets.and == var.secrets.too
  h = [var.secrets[local.a], var.other.secrets.x, secrets.y]
}
resource "x" "y" {
  count = 1
  z     = var.secrets.counted
}
provider "x" { token = var.secrets.provider }
resource "x" "off" {
  z = var.secrets.off
  lifecycle { enabled = false }
}
resource "x" "z" {
  inner {
    z = var.secrets.one
    y = var.secrets.inner
  }
  dynamic "inner" {
    for_each = []
    content { z = var.secrets.dynamic }
  }
}
"#;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("main.tf"), text).unwrap();
        std::fs::write(folder.path().join("bad.tf"), "x = var.secrets.bad {").unwrap();
        let names = || required(folder.path(), "infra", Dialect::Terraform, "secrets").unwrap();
        let found = names();
        for (name, text) in [
            ("type.tf", "variable \"secrets\" { type = object({ one = optional(string) }) }"),
            ("x_override.tf", "locals {}"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
            assert_eq!(names(), BTreeMap::new(), "{name}");
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        let other = required(folder.path(), "infra", Dialect::Terraform, "other").unwrap();
        assert_eq!(other, BTreeMap::from([("secrets".to_owned(), "infra/main.tf:9".to_owned())]));
        let typed = "variable \"secrets\" { type = map(string) }";
        std::fs::write(folder.path().join("type.tf"), typed).unwrap();
        assert_eq!(names(), found);
        let found: Vec<_> = found.iter().map(|(name, place)| format!("{name} {place}")).collect();
        assert_eq!(
            found,
            [
                "cond infra/main.tf:6",
                "inner infra/main.tf:23",
                "list infra/main.tf:7",
                "one infra/main.tf:3",
                "two infra/main.tf:4"
            ]
        );
    }
}
