//! Terraform's module folder in a bundle, and the modules from outside `infra/`.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    declarations::{Declarations, ModuleCall},
    files::Dialect,
};
use crate::{
    base::error::{Error, Result},
    config::version_constraint::Wanted,
    services::git,
};

/// The folder for modules from outside `infra/`, in the layout of the checkout. A module key never
/// starts with `@`.
pub(crate) const FROM_CHECKOUT: &str = "@checkout";
pub(crate) const INDEX: &str = "modules.json";

/// A module folder outside `infra/` that a local module call uses, relative to the checkout's root.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutsideModule(pub(crate) PathBuf);

/// The folders that local module calls lead to. Paths are relative to the checkout's root.
#[derive(Debug, Default)]
pub(crate) struct LocalModules {
    pub(crate) outside: Vec<OutsideModule>,
    /// Paths in calls that lead through links, and the folders they lead to. Terraform resolves
    /// the calls of such a module from that folder.
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
    /// infra/ and the folder of every local module, canonical.
    pub(crate) folders: Vec<PathBuf>,
    /// What `infra` and these modules require of the program's version.
    pub(crate) required_versions: Vec<Wanted>,
    /// The places of `required_version`s that only Terraform can read.
    pub(crate) unknown_requirements: Vec<String>,
}

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

/// Follows local module calls (`./x`, `../x`) from `infra`. `root` is the root of the checkout; a
/// module outside it is an error. Both are canonical.
pub(crate) fn local(root: &Path, infra: &Path, dialect: Dialect) -> Result<LocalModules> {
    let mut found = LocalModules::default();
    let mut seen = vec![infra.to_owned()];
    let mut queue = vec![(infra.to_owned(), "infra".to_owned())];
    while let Some((folder, shown)) = queue.pop() {
        let declared = Declarations::read(&folder, &shown, dialect)?;
        found.required_versions.extend(declared.required_versions()?);
        found.unknown_requirements.extend(declared.unknown_requirements());
        // Terraform itself rejects such modules.
        if let (Dialect::OpenTofu, Some((name, place))) =
            (dialect, declared.computed_modules.first())
        {
            return Err(computed(name, place));
        }
        for call in declared.modules {
            if is_absolute_folder(&call.source) {
                return Err(absolute(&call));
            }
            if !call.source.starts_with("./") && !call.source.starts_with("../") {
                continue;
            }
            let written = normalise(&folder.join(&call.source));
            if let Some(submodule) = git::absent_submodule(root, &written) {
                return Err(absent(&call, &submodule));
            }
            let target = resolve(&call, &written)?;
            let relative =
                target.strip_prefix(root).map_err(|_| outside_of_checkout(&call))?.to_owned();
            if let (Ok(written), false) = (written.strip_prefix(root), written == target) {
                found.links.insert(written.to_owned(), relative.clone());
            }
            if seen.contains(&target) {
                continue;
            }
            queue.push((target.clone(), relative.display().to_string()));
            if !target.starts_with(infra) {
                found.outside.push(OutsideModule(relative));
            }
            seen.push(target);
        }
    }
    found.outside.sort();
    found.folders = seen;
    Ok(found)
}

const IN_REPOSITORY: &str = "move the module into the repository and name it by a relative path, \
                             or publish it and use its registry or git source";

/// Resolves links as Terraform does: after `..` has been removed.
fn resolve(call: &ModuleCall, written: &Path) -> Result<PathBuf> {
    let target = std::fs::canonicalize(written).ok().filter(|target| target.is_dir());
    target.ok_or_else(|| {
        Error::input(format!(
            "{}: module `{}`: folder not found: `{}`",
            call.place, call.name, call.source
        ))
        .hint("correct `source`: it is relative to the folder of this file")
    })
}

fn absent(call: &ModuleCall, submodule: &Path) -> Error {
    let submodule = submodule.display();
    Error::input(format!(
        "{}: module `{}` is in the submodule `{submodule}`, which is not checked out",
        call.place, call.name
    ))
    .hint(format!("run: git submodule update --init {submodule}"))
    .hint("in a workflow, set `submodules: true` for actions/checkout")
}

/// Whether Terraform links to a folder of this machine. It copies an archive.
fn is_absolute_folder(source: &str) -> bool {
    let path = source.trim_start_matches("file::").trim_start_matches("file://");
    path.starts_with('/') && Path::new(path.split("//").next().unwrap_or(path)).is_dir()
}

fn absolute(call: &ModuleCall) -> Error {
    Error::input(format!(
        "{}: module `{}` has an absolute path: `{}`",
        call.place, call.name, call.source
    ))
    .why("no other machine has it there")
    .hint(IN_REPOSITORY)
}

fn computed(name: &str, place: &str) -> Error {
    Error::input(format!("{place}: the source of module `{name}` is not a literal"))
        .why("a release has the same modules in every environment")
        .hint(
            "write the source as a literal; to choose between two modules, call both with `count`",
        )
}

fn outside_of_checkout(call: &ModuleCall) -> Error {
    Error::input(format!(
        "{}: module `{}` is outside the checkout: `{}`",
        call.place, call.name, call.source
    ))
    .hint(IN_REPOSITORY)
}

/// Returns `modules.json` for the bundle: sorted, and with the bundle's paths of modules from
/// outside `infra/`. `infra` is relative to the checkout's root.
pub(crate) fn index_for_bundle(text: &str, infra: &Path) -> Result<Vec<u8>> {
    let mut index = parse(text)?;
    for record in &mut index.modules {
        if record.dir.starts_with("..") {
            let in_checkout = normalise(&Path::new("/").join(infra).join(&record.dir));
            record.dir = format!(".terraform/modules/{FROM_CHECKOUT}{}", in_checkout.display());
        }
    }
    Ok(write(index))
}

/// Returns the folders of modules in Terraform's module folder, relative to it.
pub(crate) fn folders(text: &str) -> Result<Vec<PathBuf>> {
    let in_folder = |record: &ModuleRecord| {
        normalise(Path::new(&record.dir))
            .strip_prefix(".terraform/modules")
            .ok()
            .map(Path::to_owned)
    };
    Ok(parse(text)?.modules.iter().filter_map(in_folder).collect())
}

/// Returns the key and the source of each module, as Terraform records them.
pub(crate) fn sources(text: &str) -> Result<Vec<(String, String)>> {
    Ok(parse(text)?.modules.into_iter().map(|record| (record.key, record.source)).collect())
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
pub(in crate::terraform) fn normalise(path: &Path) -> PathBuf {
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
        let found = local(root, &root.join("app/infra"), Dialect::Terraform).unwrap().outside;
        assert_eq!(found, ["app/shared", "lib/a", "lib/b"].map(|path| OutsideModule(path.into())));
        let refused = local(&root.join("app"), &root.join("app/infra"), Dialect::Terraform);
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.starts_with("infra/main.tf:1: module `a` is outside the checkout"),
            "{refused}"
        );
    }

    #[test]
    fn folders_of_this_machine_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir(root.join("m")).unwrap();
        std::fs::write(root.join("m.zip"), "").unwrap();
        let judged = |source: String| {
            let text = format!("module \"m\" {{\n  source = \"{source}\"\n}}\n");
            std::fs::write(root.join("main.tf"), text).unwrap();
            local(&root, &root, Dialect::Terraform).map_err(|error| error.to_string())
        };
        let at = root.display();
        for source in [format!("{at}/m"), format!("file://{at}/m"), format!("{at}/m//sub")] {
            let refused = judged(source.clone()).unwrap_err();
            let says = format!("infra/main.tf:1: module `m` has an absolute path: `{source}`");
            assert!(refused.starts_with(&says), "{refused}");
        }
        // It is copied.
        assert!(judged(format!("{at}/m.zip")).is_ok());
    }

    #[test]
    fn sources_that_opentofu_evaluates() {
        for (files, place) in [
            (&[("a.tf", "\nmodule \"m\" { source = \"./${var.x}\" }")][..], "infra/a.tf:2"),
            (&[("a.tf", "module \"m\" { source = local.x }")], "infra/a.tf:1"),
            (&[("a.tofu", "module \"m\" { source = var.x }")], "infra/a.tofu:1"),
            (&[("a.tf.json", r#"{"module": {"m": {"source": "${var.x}"}}}"#)], "infra/a.tf.json"),
            (
                &[
                    ("a.tf", "module \"m\" { source = \"./m\" }"),
                    ("a_override.tf", "module \"m\" { source = var.x }"),
                ],
                "infra/a_override.tf:1",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let root = std::fs::canonicalize(folder.path()).unwrap();
            let refused = local(&root, &root, Dialect::OpenTofu).unwrap_err().to_string();
            let expected = format!("{place}: the source of module `m` is not a literal");
            assert!(refused.starts_with(&expected), "{refused}");
            // Terraform rejects it in its own words.
            assert!(local(&root, &root, Dialect::Terraform).is_ok());
        }
    }

    #[test]
    fn folders_in_the_index() {
        let text = r#"{"Modules":[{"Key":"x","Source":"../lib/x","Dir":"../lib/x"},
            {"Key":"","Source":"","Dir":"."},
            {"Key":"r","Source":"registry.terraform.io/a/b/c","Version":"1.0.0",
            "Dir":".terraform/modules/r"}]}"#;
        let index =
            String::from_utf8(index_for_bundle(text, Path::new("app/infra")).unwrap()).unwrap();
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
