//! Calls of file functions with a path that is written out, such as `file("../x.json")`.

use std::path::{Path, PathBuf};

use hcl_edit::{
    Span,
    expr::{Expression, FuncCall, TraversalOperator},
    template::{Element, Template},
    visit::{Visit, visit_func_call},
};

use super::{
    files::{self, Dialect, Role},
    modules::{LocalModules, normalise},
};
use crate::base::{error::Result, json::Json};

/// The functions whose first argument is a file or folder that they read.
const READERS: [&str; 11] = [
    "file",
    "filebase64",
    "filebase64sha256",
    "filebase64sha512",
    "fileexists",
    "filemd5",
    "fileset",
    "filesha1",
    "filesha256",
    "filesha512",
    "templatefile",
];

/// A call of a file function.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileCall {
    /// `infra/main.tf:3`; for JSON, the file.
    pub(crate) place: String,
    pub(crate) function: String,
    /// The path, without `path.module` at its beginning.
    pub(crate) path: String,
    /// Whether the path begins with `path.module`. Other paths are relative to infra/.
    is_of_module: bool,
}

/// Finds calls in `infra` and in its local modules with a path that a deploy does not have. `root`
/// is the root of the checkout; both are canonical.
///
/// A deploy has infra/ and the modules from outside in separate places, so a path from one to
/// the other leads nowhere as well. Between modules from outside, paths are as in the checkout.
pub(crate) fn outside_of_release(
    root: &Path,
    infra: &Path,
    local: &LocalModules,
    dialect: Dialect,
) -> Result<Vec<FileCall>> {
    let modules: Vec<PathBuf> = local.outside.iter().map(|it| root.join(&it.0)).collect();
    let config = infra.with_file_name("config");
    let mut found = Vec::new();
    for folder in &local.folders {
        let shown = match folder.strip_prefix(infra) {
            Ok(inner) => Path::new("infra").join(inner),
            Err(_) => folder.strip_prefix(root).unwrap_or(folder).to_owned(),
        };
        let mut calls = calls(folder, shown.to_string_lossy().trim_end_matches('/'), dialect)?;
        calls.retain(|call| {
            let base = if call.is_of_module { folder } else { infra };
            let target = normalise(&base.join(&call.path));
            let is_there = match base.starts_with(infra) {
                true => target.starts_with(infra) || target.starts_with(&config),
                false => modules.iter().any(|module| target.starts_with(module)),
            };
            !is_there || call.path.starts_with('~')
        });
        found.append(&mut calls);
    }
    Ok(found)
}

/// Returns the calls in the code of a folder. A file that cannot be parsed has none.
fn calls(folder: &Path, shown: &str, dialect: Dialect) -> Result<Vec<FileCall>> {
    let mut found = Vec::new();
    for file in files::list(folder, dialect)? {
        if file.role == Role::Values {
            continue;
        }
        let text = files::text(&folder.join(&file.name), file.is_json)?;
        let place = format!("{shown}/{}", file.name);
        let mut finder = Finder { place, text: (!file.is_json).then_some(&text), found };
        if file.is_json {
            if let Ok(document) = Json::parse(&text) {
                finder.visit_json(&document);
            }
        } else if let Ok(body) = hcl_edit::parser::parse_body(&text) {
            finder.visit_body(&body);
        }
        found = finder.found;
    }
    Ok(found)
}

struct Finder<'a> {
    place: String,
    /// None for JSON, where a call has no line.
    text: Option<&'a str>,
    found: Vec<FileCall>,
}

impl Finder<'_> {
    /// Each string of JSON can be a template.
    fn visit_json(&mut self, value: &Json) {
        match value {
            Json::Object(members) => members.iter().for_each(|(_, value)| self.visit_json(value)),
            Json::Array(items) => items.iter().for_each(|item| self.visit_json(item)),
            Json::Scalar(_) => {
                let text = value.as_str().filter(|text| text.contains("${"));
                if let Some(template) = text.and_then(|text| text.parse::<Template>().ok()) {
                    self.visit_template(&template);
                }
            }
        }
    }

    fn place_of(&self, call: &FuncCall) -> String {
        let before = |text: &str| Some(text.get(..call.span()?.start)?.matches('\n').count() + 1);
        match self.text.and_then(before) {
            Some(line) => format!("{}:{line}", self.place),
            None => self.place.clone(),
        }
    }
}

impl Visit for Finder<'_> {
    fn visit_func_call(&mut self, call: &FuncCall) {
        let function = call.name.name.as_str();
        // OpenTofu and Terraform 1.8 also know the functions as `core::file`.
        let is_core = call.name.namespace.iter().all(|namespace| namespace.as_str() == "core");
        if is_core
            && READERS.contains(&function)
            && let Some((path, is_of_module)) = call.args.iter().next().and_then(written_path)
        {
            let (place, function) = (self.place_of(call), function.to_owned());
            self.found.push(FileCall { place, function, path, is_of_module });
        }
        visit_func_call(self, call);
    }
}

/// Returns a path that needs no evaluation, and whether it begins with `path.module`.
fn written_path(argument: &Expression) -> Option<(String, bool)> {
    if let Some(path) = argument.as_str() {
        return Some((path.to_owned(), false));
    }
    let mut elements = argument.as_string_template()?.iter();
    let Some(Element::Interpolation(first)) = elements.next() else { return None };
    let Some(Element::Literal(rest)) = elements.next() else { return None };
    let is_of_module = match path_attribute(&first.expr)? {
        "module" => true,
        // Terraform starts in infra/.
        "root" | "cwd" => false,
        _ => return None,
    };
    // `path.module` of the root module is `.`, and no slash after it makes another name.
    let path = rest.strip_prefix('/').filter(|_| elements.next().is_none())?;
    Some((path.trim_start_matches('/').to_owned(), is_of_module))
}

/// Returns `x` of `path.x`.
fn path_attribute(expression: &Expression) -> Option<&str> {
    let traversal = expression.as_traversal()?;
    let is_path = matches!(&traversal.expr, Expression::Variable(name) if name.as_str() == "path");
    match traversal.operators.as_slice() {
        [operator] if is_path => match operator.value() {
            TraversalOperator::GetAttr(name) => Some(name.as_str()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::code::modules;

    fn warned(files: &[(&str, &str)]) -> Vec<String> {
        let checkout = tempfile::tempdir().unwrap();
        let root = checkout.path().canonicalize().unwrap();
        for (name, text) in files {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), text).unwrap();
        }
        let infra = root.join("app/infra");
        let local = modules::local(&root, &infra, Dialect::Terraform).unwrap();
        let found = outside_of_release(&root, &infra, &local, Dialect::Terraform).unwrap();
        found.into_iter().map(|it| format!("{} {} {}", it.place, it.function, it.path)).collect()
    }

    #[test]
    fn paths_that_leave_the_release() {
        let main = r#"locals {
  a = file("../policies/p.json")
  b = { c = [jsondecode(templatefile("${path.module}/../t.tpl", { f = filemd5("/etc/x") }))] }
  d = <<-EOT
    ${filesha256("${path.root}/../x")} %{ if fileexists("~/.x") }%{ endif }
  EOT
  e = <<-EOT
    one

      two ${file("../y")}
    ${
      filemd5("../z")
    }
  EOT
  f = templatefile(
    "../t2.tpl",
    {}
  )
}
output "o" { value = fileset("in/../..", "*") }
module "a" { source = "../../lib/a" }
"#;
        let json =
            r#"{"locals": [{"x": "a ${core::filebase64(\"../b\")}", "y": "file(\"../c\")"}]}"#;
        let module = r#"locals {
  a = file("${path.module}/../c/x")
  b = file("${path.module}/../../app/infra/main.tf")
  c = file("x/../../y")
}
"#;
        assert_eq!(
            warned(&[
                ("app/infra/main.tf", main),
                ("app/infra/x.tf.json", json),
                ("lib/a/main.tf", module),
            ]),
            [
                "infra/main.tf:2 file ../policies/p.json",
                "infra/main.tf:3 templatefile ../t.tpl",
                "infra/main.tf:3 filemd5 /etc/x",
                "infra/main.tf:5 filesha256 ../x",
                "infra/main.tf:5 fileexists ~/.x",
                "infra/main.tf:10 file ../y",
                "infra/main.tf:12 filemd5 ../z",
                "infra/main.tf:15 templatefile ../t2.tpl",
                "infra/main.tf:20 fileset in/../..",
                "infra/x.tf.json filebase64 ../b",
                "lib/a/main.tf:2 file ../c/x",
                "lib/a/main.tf:3 file ../../app/infra/main.tf",
                "lib/a/main.tf:4 file x/../../y",
            ]
        );
    }

    #[test]
    fn paths_in_the_release_and_unknown_ones() {
        let main = r#"locals {
  a = [file("p.json"), file("./in/../p.json"), file("in/x"), file("${path.module}/p.json")]
  b = file("${path.cwd}/p.json") # file("../x")
  c = file("../config/live.json")
  d = "file(\"../x\")"
  e = file("../${var.x}")
  f = file("${var.folder}/../x")
  g = file("${path.module}${var.x}/../y")
  h = [acme::file("../x"), provider::core::file("../x"), abspath("../x"), dirname("../x")]
}
module "in" { source = "./in" }
module "a" { source = "../../lib/a" }
"#;
        let inner = r#"locals { a = file("${path.module}/../p.json") }"#;
        let module = r#"
module "b" { source = "../b" }
locals {
  a = file("${path.module}/x")
  b = file("${path.module}/../b/x")
  c = file("p.json")
}
"#;
        let files = [
            ("app/infra/main.tf", main),
            ("app/infra/in/main.tf", inner),
            ("app/infra/broken.tf", "file(\"../x\""),
            ("app/infra/x.tfvars", "a = file(\"../x\")"),
            ("app/infra/unused/main.tf", "locals { a = file(\"../../x\") }"),
            ("lib/a/main.tf", module),
            ("lib/b/main.tf", ""),
        ];
        assert_eq!(warned(&files), Vec::<String>::new());
    }
}
