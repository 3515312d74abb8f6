//! Platform config: `<folder>/<account alias>/<region>.json`, from several folders of which the later win.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::tree::{Boundary, TreeFile, walk};
use crate::{
    base::error::{Error, Result},
    config::scheme::AccountScheme,
};

/// The files of every alias that the scheme names. A folder that has none of them is an error: it can't be what was meant.
pub(crate) fn collect(folders: &[PathBuf], scheme: &AccountScheme) -> Result<Vec<TreeFile>> {
    let mut found = BTreeMap::new();
    for folder in folders {
        let files = of_folder(folder, scheme)?;
        if files.is_empty() {
            let known: Vec<&str> = scheme.accounts.keys().map(String::as_str).collect();
            return Err(Error::input(format!("`{}` has no platform config", folder.display()))
                .why(format!(
                    "no file <account>/<region>.json for any account of the scheme ({})",
                    known.join(", ")
                ))
                .hint("give --platform-config the folder above the account folders"));
        }
        found.extend(files);
    }
    Ok(found.into_values().collect())
}

fn of_folder(folder: &Path, scheme: &AccountScheme) -> Result<BTreeMap<String, TreeFile>> {
    // The folder usually comes from another checkout: links must stay within it.
    let root = fs::canonicalize(folder).map_err(|error| {
        Error::io("can't read the platform config", folder, &error)
            .hint("`platform-config` is a folder of <account>/<region>.json, relative to the current folder")
    })?;
    let mut files = BTreeMap::new();
    for alias in scheme.accounts.keys() {
        let of_account = root.join(alias);
        if !of_account.is_dir() {
            continue;
        }
        for file in walk(&of_account, &Boundary::new(&root, "the platform config"), |_| false)? {
            if !file.name.contains('/') && file.name.ends_with(".json") {
                let name = format!("platform-config/{alias}/{}", file.name);
                files.insert(name.clone(), TreeFile { name, ..file });
            }
        }
    }
    Ok(files)
}
