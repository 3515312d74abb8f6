//! The component's `config/`: the names of its files, which decide what reads them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::error::{Error, Result},
    terraform::code::variables::{is_folder, nearly_a_layer},
};

/// What `config/` has.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// None if the component has no `config/`.
    pub(super) folder: Option<PathBuf>,
    /// Names that no environment reads, and the names that one would read.
    pub(super) misnamed: Vec<(String, String)>,
}

/// Checks the names in `config/` of the component in `folder`. A folder with the name of a layer is
/// an error, because nothing would read what it contains.
pub(super) fn layers(folder: &Path) -> Result<Layers> {
    let config = folder.join("config");
    if config.symlink_metadata().is_err() {
        return Ok(Layers::default());
    }
    if !config.is_dir() {
        return Err(Error::input(format!("`{}` is not a folder", config.display()))
            .hint("put the values into `config/common.json` or `config/ENVIRONMENT.json`"));
    }
    let failed = |error| Error::io("cannot list", &config, &error);
    let mut misnamed = Vec::new();
    for entry in fs::read_dir(&config).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.ends_with(".json") && entry.path().is_dir() {
            return Err(is_folder(&format!("config/{name}")));
        }
        misnamed.extend(nearly_a_layer(&name).map(|right| (name, right)));
    }
    misnamed.sort();
    Ok(Layers { folder: Some(config), misnamed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nothing_reads() {
        let component = tempfile::tempdir().unwrap();
        let path = |name: &str| component.path().join(name);
        assert!(layers(component.path()).unwrap().folder.is_none());
        fs::create_dir(path("config")).unwrap();
        for name in ["common.json", "live.json", "Common.json", "CI.json", "ci.JSON", "Notes.md"] {
            fs::write(path("config").join(name), "{}").unwrap();
        }
        let found = layers(component.path()).unwrap();
        assert_eq!(found.folder, Some(path("config")));
        let pair = |name: &str, right: &str| (name.to_owned(), right.to_owned());
        let expected = [
            pair("CI.json", "ci.json"),
            pair("Common.json", "common.json"),
            pair("ci.JSON", "ci.json"),
        ];
        assert_eq!(found.misnamed, expected);
        fs::create_dir(path("config/pr.json")).unwrap();
        let error = layers(component.path()).unwrap_err().to_string();
        assert!(error.starts_with("`config/pr.json` is a folder"), "{error}");
        fs::remove_dir_all(path("config")).unwrap();
        fs::write(path("config"), "").unwrap();
        assert!(layers(component.path()).unwrap_err().to_string().contains("is not a folder"));
    }
}
