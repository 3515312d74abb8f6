//! The source files of a function.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::base::error::{Error, Result};

pub(crate) const FUNCTIONS: &str = "functions.rs";
pub(crate) const LIB: &str = "lib.rs";

/// `functions.rs` and the files next to it.
#[derive(Debug)]
pub(crate) struct Code {
    /// The component's folder, or `src` in it.
    pub(crate) folder: PathBuf,
    /// Whether there is a `lib.rs`. Its tests run before a release build.
    pub(crate) has_lib: bool,
    /// `.env` and `.env.*`, by name.
    pub(crate) environment_files: Vec<String>,
}

impl Code {
    /// Finds the code in the component's folder or in its `src`. Rejects links that lead out of it.
    pub(crate) fn find(component: &Path) -> Result<Self> {
        let component = &fs::canonicalize(component)
            .map_err(|error| Error::io("cannot enter", component, &error))?;
        let places = [component.clone(), component.join("src")];
        let Some(folder) = places.iter().find(|folder| folder.join(FUNCTIONS).is_file()) else {
            let [here, there] = places.map(|folder| folder.join(FUNCTIONS).display().to_string());
            return Err(Error::input(format!(
                "{FUNCTIONS} not found: neither `{here}` nor `{there}` exists"
            ))
            .hint("add it, or create a component with `cdflow init --type function NAME`"));
        };
        let code = Self {
            folder: folder.clone(),
            has_lib: folder.join(LIB).is_file(),
            environment_files: environment_files(folder)?,
        };
        for (_, path) in code.sources() {
            check_inside(&path, component)?;
        }
        Ok(code)
    }

    /// Name and path of the source files.
    pub(crate) fn sources(&self) -> Vec<(String, PathBuf)> {
        let names = [Some(FUNCTIONS), self.has_lib.then_some(LIB)];
        names.into_iter().flatten().map(|name| (name.to_owned(), self.folder.join(name))).collect()
    }
}

fn environment_files(folder: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io("cannot read", folder, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(name) = entry
            .file_name()
            .to_str()
            .filter(|name| is_environment_file(name) && entry.path().is_file())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Accepts only plain characters, because the name becomes part of the Dockerfile.
fn is_environment_file(name: &str) -> bool {
    name.starts_with(".env")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn check_inside(path: &Path, component: &Path) -> Result<()> {
    let real = fs::canonicalize(path).map_err(|error| Error::io("cannot read", path, &error))?;
    let name = real.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if real.starts_with(component) && !name.starts_with(".env") {
        return Ok(());
    }
    Err(Error::input(format!("`{}` is a link to `{}`", path.display(), real.display()))
        .hint("replace the link with a file in the component's folder"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn component(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn next_to_cdflow_yml_or_in_src() {
        for (files, folder, has_lib) in [
            (&[("functions.rs", "")][..], "", false),
            (&[("src/functions.rs", ""), ("src/lib.rs", ""), ("lib.rs", "")], "src", true),
            (&[("functions.rs", ""), ("src/functions.rs", ""), ("src/lib.rs", "")], "", false),
        ] {
            let component = component(files);
            let code = Code::find(component.path()).unwrap();
            assert_eq!(code.folder, fs::canonicalize(component.path()).unwrap().join(folder));
            assert_eq!(code.has_lib, has_lib);
        }
        let refused = Code::find(component(&[("main.rs", "")]).path()).unwrap_err().to_string();
        assert!(
            refused.contains("/functions.rs` nor `") && refused.contains("/src/functions.rs`"),
            "{refused}"
        );
    }

    #[test]
    fn links_out_of_the_component() {
        let other = component(&[("functions.rs", "")]);
        let here = component(&[("real.rs", ""), (".env", "")]);
        let link = here.path().join("functions.rs");
        for (target, good) in [
            (other.path().join("functions.rs"), false),
            (here.path().join(".env"), false),
            (here.path().join("real.rs"), true),
        ] {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&target, &link).unwrap();
            assert_eq!(Code::find(here.path()).is_ok(), good, "{}", target.display());
        }
    }
}
