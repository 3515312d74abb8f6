//! The component's `config/`, whose layers are files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::error::{Error, Result},
    terraform::code::variables::is_folder,
};

/// Returns `config/` of the component in `folder`; None if it has none. A folder with the name of a
/// layer is an error, because nothing would read what it contains.
pub(super) fn folder(folder: &Path) -> Result<Option<PathBuf>> {
    let config = folder.join("config");
    if config.symlink_metadata().is_err() {
        return Ok(None);
    }
    if !config.is_dir() {
        return Err(Error::input(format!("`{}` is not a folder", config.display()))
            .hint("put the values into `config/common.json` or `config/ENVIRONMENT.json`"));
    }
    let failed = |error| Error::io("cannot list", &config, &error);
    for entry in fs::read_dir(&config).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.ends_with(".json") && entry.path().is_dir() {
            return Err(is_folder(&format!("config/{name}")));
        }
    }
    Ok(Some(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_a_file_in_a_folder() {
        let component = tempfile::tempdir().unwrap();
        let path = |name: &str| component.path().join(name);
        assert!(folder(component.path()).unwrap().is_none());
        fs::create_dir(path("config")).unwrap();
        fs::write(path("config/ci.json"), "{}").unwrap();
        assert_eq!(folder(component.path()).unwrap(), Some(path("config")));
        fs::create_dir(path("config/pr.json")).unwrap();
        let error = folder(component.path()).unwrap_err().to_string();
        assert!(error.starts_with("`config/pr.json` is a folder"), "{error}");
        fs::remove_dir_all(path("config")).unwrap();
        fs::write(path("config"), "").unwrap();
        assert!(folder(component.path()).unwrap_err().to_string().contains("is not a folder"));
    }
}
