//! Which files of a folder Terraform and OpenTofu read, in which syntax and in which order.

use std::{collections::BTreeSet, path::Path};

use semver::Version;

use crate::{
    base::{
        error::{Error, Result},
        small_file,
    },
    terraform::tool::{Flavor, Tool},
};

/// Whose rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Terraform,
    /// OpenTofu 1.8 or newer, which also reads `.tofu`.
    OpenTofu,
}

impl Dialect {
    /// The rules of the program that a component asks for.
    pub(crate) fn of_flavor(flavor: Flavor) -> Self {
        match flavor {
            Flavor::Terraform => Self::Terraform,
            Flavor::OpenTofu => Self::OpenTofu,
        }
    }

    pub(crate) fn of_tool(tool: &Tool) -> Self {
        match tool.flavor {
            Flavor::OpenTofu if tool.version >= Version::new(1, 8, 0) => Self::OpenTofu,
            _ => Self::Terraform,
        }
    }
}

/// A file that is read. The order is Terraform's: override files after the files that they change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CodeFile {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) is_json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Code,
    /// Merged over the other files.
    Override,
    /// Values of variables that are loaded without being named.
    Values,
}

/// Lists the files that are read in `folder`, without its subfolders.
pub(crate) fn list(folder: &Path, dialect: Dialect) -> Result<Vec<CodeFile>> {
    let failed = |error| Error::io("cannot read", folder, &error);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A link to a folder is not skipped, and Terraform reports it.
        if !entry.file_type().map_err(failed)?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    // OpenTofu 1.8 and later, internal/configs/parser_config_dir.go: a file is replaced by one of
    // the same name and syntax, so `x.tofu.json` does not replace `x.tf`. Files of values have no
    // such form: `.tofuvars` is only in the proposal (rfc/20240529).
    let is_replaced = |name: &str| {
        let twin = |stem: &str, ending: &str| names.contains(&format!("{stem}{ending}"));
        dialect == Dialect::OpenTofu
            && (name.strip_suffix(".tf").is_some_and(|stem| twin(stem, ".tofu"))
                || name.strip_suffix(".tf.json").is_some_and(|stem| twin(stem, ".tofu.json")))
    };
    let read = names.iter().filter(|name| !is_replaced(name));
    let mut files: Vec<CodeFile> = read.filter_map(|name| classify(name, dialect)).collect();
    files.sort();
    Ok(files)
}

/// Whether `folder` has code, and not only values.
pub(crate) fn has_code(folder: &Path, dialect: Dialect) -> Result<bool> {
    Ok(list(folder, dialect)?.iter().any(|file| file.role != Role::Values))
}

/// Whether a file with this name is code.
pub(crate) fn is_code(name: &str, dialect: Dialect) -> bool {
    classify(name, dialect).is_some_and(|file| file.role != Role::Values)
}

/// Returns the text of a file as Terraform reads it: without a byte order mark, except in JSON,
/// where Terraform rejects it. Comments can have any bytes.
pub(crate) fn text(path: &Path, is_json: bool) -> Result<String> {
    let bytes = small_file::read(path).map_err(|error| Error::io("cannot read", path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    let text = if is_json { &text } else { text.strip_prefix('\u{feff}').unwrap_or(&text) };
    Ok(text.to_owned())
}

/// Returns the line number of an offset, from 1.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

/// Whether a name is one of an editor's or of a hidden file, which is never code.
fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'))
}

fn classify(name: &str, dialect: Dialect) -> Option<CodeFile> {
    let (base, is_json) = match name.strip_suffix(".json") {
        Some(base) => (base, true),
        None => (name, false),
    };
    let role = if base == "terraform.tfvars" || base.ends_with(".auto.tfvars") {
        Role::Values
    } else {
        let tofu = || base.strip_suffix(".tofu").filter(|_| dialect == Dialect::OpenTofu);
        let stem = base.strip_suffix(".tf").or_else(tofu).filter(|_| !is_ignored(name))?;
        let is_override = stem == "override" || stem.ends_with("_override");
        if is_override { Role::Override } else { Role::Code }
    };
    Some(CodeFile { role, name: name.to_owned(), is_json })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str], dialect: Dialect) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            match name.strip_suffix('/') {
                Some(name) => std::fs::create_dir(folder.path().join(name)).unwrap(),
                None => std::fs::write(folder.path().join(name), "").unwrap(),
            }
        }
        list(folder.path(), dialect).unwrap().into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn files_that_terraform_ignores() {
        let names = [
            "main.tf",
            "a.tf.json",
            "a_override.tf",
            "override.tf.json",
            "not-override.tf",
            "._main.tf",
            ".old.tf",
            "x.tf~",
            "#x.tf#",
            "#y.tf",
            "old.tf/",
            "x.TF",
            "extra.tofu",
            "terraform.tfvars",
            ".x.auto.tfvars",
            "y.auto.tfvars.json",
            "z.tfvars",
            "d.auto.tfvars/",
        ];
        assert_eq!(
            listed(&names, Dialect::Terraform),
            [
                "#y.tf",
                "a.tf.json",
                "main.tf",
                "not-override.tf",
                "a_override.tf",
                "override.tf.json",
                ".x.auto.tfvars",
                "terraform.tfvars",
                "y.auto.tfvars.json",
            ]
        );
    }

    #[test]
    fn opentofus_own_file_replaces_the_one_of_the_same_name() {
        let names =
            ["a.tf", "a.tofu", "b.tf.json", "b.tofu.json", "c.tf", "c.tofu.json", ".d.tofu"];
        assert_eq!(
            listed(&names, Dialect::OpenTofu),
            ["a.tofu", "b.tofu.json", "c.tf", "c.tofu.json"]
        );
        assert_eq!(listed(&names, Dialect::Terraform), ["a.tf", "b.tf.json", "c.tf"]);
    }
}
