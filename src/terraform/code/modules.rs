//! Terraform's module folder in a bundle, and the modules from outside `infra/`.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::declarations::Declarations;
use crate::base::error::{Error, Result};

/// The folder for modules from outside `infra/`, in the layout of the checkout. A module key never
/// starts with `@`.
pub(crate) const FROM_CHECKOUT: &str = "@checkout";
pub(crate) const INDEX: &str = "modules.json";

/// A module folder outside `infra/` that a local module call uses, relative to the checkout's root.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutsideModule(pub(crate) PathBuf);

/// `modules.json`, as Terraform 0.12 and later write it.
#[derive(Deserialize, Serialize)]
struct ModuleIndex {
    #[serde(rename = "Modules")]
    modules: Vec<ModuleRecord>,
}

#[derive(Deserialize, Serialize)]
struct ModuleRecord {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Source")]
    source: String,
    #[serde(rename = "Version", default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(rename = "Dir")]
    dir: String,
}

/// Follows local module calls (`./x`, `../x`) from `infra` and returns the folders outside it.
/// `root` is the root of the checkout; a module outside it is an error.
pub(crate) fn outside(root: &Path, infra: &Path) -> Result<Vec<OutsideModule>> {
    let mut found = Vec::new();
    let mut seen = vec![infra.to_owned()];
    let mut queue = vec![(infra.to_owned(), "infra".to_owned())];
    while let Some((folder, shown)) = queue.pop() {
        for call in Declarations::read(&folder, &shown)?.modules {
            if !call.source.starts_with("./") && !call.source.starts_with("../") {
                continue;
            }
            let target = normalise(&folder.join(&call.source));
            if seen.contains(&target) {
                continue;
            }
            if !target.is_dir() {
                return Err(Error::input(format!(
                    "{}: module `{}`: folder not found: `{}`",
                    call.place, call.name, call.source
                )));
            }
            let Ok(relative) = target.strip_prefix(root) else {
                return Err(Error::input(format!(
                    "{}: module `{}` is outside the checkout: `{}`",
                    call.place, call.name, call.source
                ))
                .hint(
                    "move the module into the repository, \
                     or publish it and use its registry or git source",
                ));
            };
            if !target.starts_with(infra) {
                found.push(OutsideModule(relative.to_owned()));
            }
            queue.push((target.clone(), relative.display().to_string()));
            seen.push(target);
        }
    }
    found.sort();
    Ok(found)
}

/// Returns `modules.json` for the bundle: sorted, and with the bundle's paths of modules from
/// outside
/// `infra/`. `component` is the component's folder, relative to the checkout's root.
pub(crate) fn index_for_bundle(text: &str, component: &Path) -> Result<Vec<u8>> {
    let mut index = parse(text)?;
    for record in &mut index.modules {
        if record.dir.starts_with("..") {
            let in_checkout =
                normalise(&Path::new("/").join(component).join("infra").join(&record.dir));
            record.dir = format!(".terraform/modules/{FROM_CHECKOUT}{}", in_checkout.display());
        }
    }
    Ok(write(index))
}

/// Returns `modules.json` of a release of the reference implementation, which ran init in the
/// folder above `infra/`: its paths become relative to `infra/`.
pub(crate) fn index_from_reference(text: &str) -> Result<Vec<u8>> {
    let mut index = parse(text)?;
    for record in &mut index.modules {
        record.dir = match record.dir.trim_start_matches("./") {
            "infra" => ".".to_owned(),
            dir => dir.strip_prefix("infra/").unwrap_or(dir).to_owned(),
        };
    }
    Ok(write(index))
}

fn parse(text: &str) -> Result<ModuleIndex> {
    serde_json::from_str(text).map_err(|error| {
        Error::input("modules.json is not in the format of Terraform 1.x")
            .why(error)
            .hint("release again with this version of cdflow")
    })
}

fn write(mut index: ModuleIndex) -> Vec<u8> {
    index.modules.sort_by(|a, b| a.key.cmp(&b.key));
    serde_json::json!(index).to_string().into_bytes()
}

/// Resolves `.` and `..` without looking at the file system.
fn normalise(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_modules_are_followed() {
        let checkout = tempfile::tempdir().unwrap();
        let root = checkout.path();
        for (name, text) in [
            (
                "app/infra/main.tf",
                "module \"a\" { source = \"../../lib/a\" }\n\
                 module \"in\" { source = \"./in\" }\nmodule \"r\" { source = \"acme/x/aws\" }",
            ),
            ("app/infra/in/main.tf", "module \"c\" { source = \"../../shared\" }"),
            ("app/shared/main.tf", ""),
            ("lib/a/main.tf", "module \"b\" { source = \"../b\" }"),
            ("lib/b/main.tf", ""),
        ] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), text).unwrap();
        }
        let found = outside(root, &root.join("app/infra")).unwrap();
        assert_eq!(found, ["app/shared", "lib/a", "lib/b"].map(|path| OutsideModule(path.into())));
        let refused = outside(&root.join("app"), &root.join("app/infra")).unwrap_err().to_string();
        assert!(
            refused.starts_with("infra/main.tf:1: module `a` is outside the checkout"),
            "{refused}"
        );
    }

    #[test]
    fn folders_in_the_index() {
        let text = r#"{"Modules":[{"Key":"x","Source":"../lib/x","Dir":"../lib/x"},
            {"Key":"","Source":"","Dir":"."},
            {"Key":"r","Source":"registry.terraform.io/a/b/c","Version":"1.0.0",
            "Dir":".terraform/modules/r"}]}"#;
        let index = String::from_utf8(index_for_bundle(text, Path::new("app")).unwrap()).unwrap();
        assert_eq!(
            index,
            [
                r#"{"Modules":[{"Key":"","Source":"","Dir":"."},"#,
                r#"{"Key":"r","Source":"registry.terraform.io/a/b/c","Version":"1.0.0","#,
                r#""Dir":".terraform/modules/r"},"#,
                r#"{"Key":"x","Source":"../lib/x","#,
                r#""Dir":".terraform/modules/@checkout/app/lib/x"}]}"#,
            ]
            .concat()
        );
        let reference = r#"{"Modules":[{"Key":"","Source":"","Dir":"infra"},
            {"Key":"x","Source":"./x","Dir":"infra/x"}]}"#;
        let index = String::from_utf8(index_from_reference(reference).unwrap()).unwrap();
        assert_eq!(
            index,
            r#"{"Modules":[{"Key":"","Source":"","Dir":"."},{"Key":"x","Source":"./x","Dir":"x"}]}"#
        );
    }
}
