//! Platform config: `<folder>/<account alias>/<region>.json`. Later folders override earlier ones.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    config_files,
    tree::{Boundary, TreeFile, walk},
};
use crate::{
    base::error::{Error, Result},
    config::scheme::AccountScheme,
};

/// Returns the files of every account alias in the scheme. A folder without any of them is an
/// error, because its path is probably wrong.
pub(crate) fn collect(folders: &[PathBuf], scheme: &AccountScheme) -> Result<Vec<TreeFile>> {
    let mut found = BTreeMap::new();
    for folder in folders {
        let files = of_folder(folder, scheme)?;
        if files.is_empty() {
            let known: Vec<&str> = scheme.accounts.keys().map(String::as_str).collect();
            return Err(Error::input(format!("`{}` has no platform config", folder.display()))
                .why(format!(
                    "it has no <account>/<region>.json for any account of the scheme ({})",
                    known.join(", ")
                ))
                .hint("set --platform-config to the folder that contains the account folders"));
        }
        found.extend(files);
    }
    Ok(found.into_values().collect())
}

fn of_folder(folder: &Path, scheme: &AccountScheme) -> Result<BTreeMap<String, TreeFile>> {
    // The folder usually comes from another checkout, and links must not leave it.
    let root = fs::canonicalize(folder).map_err(|error| {
        Error::io("cannot read the platform config", folder, &error).hint(
            "set `platform-config` to a folder of <account>/<region>.json files, relative to the \
             current folder",
        )
    })?;
    let mut files = BTreeMap::new();
    for alias in scheme.accounts.keys() {
        let of_account = root.join(alias);
        if !of_account.is_dir() {
            continue;
        }
        for file in walk(&of_account, &Boundary::new(&root, "the platform config"), |_| false)? {
            let name = format!("platform-config/{alias}/{}", file.name);
            config_files::check_format(&name)?;
            if !file.name.contains('/') && file.name.ends_with(".json") {
                files.insert(name.clone(), TreeFile { name, ..file });
            }
        }
    }
    Ok(files)
}
