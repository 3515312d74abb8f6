//! The files of a function.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Images, Profile, compile_time, dockerfile};
use crate::{
    base::error::{Error, Result},
    services::docker::context::Context,
};

pub(crate) const FUNCTIONS: &str = "functions.rs";
pub(crate) const LIB: &str = "lib.rs";
const DOCKERFILE: &str = "Dockerfile";

/// `functions.rs` and what is beside it.
#[derive(Debug)]
pub(crate) struct Code {
    /// The component's folder, or `src` in it.
    pub(crate) folder: PathBuf,
    /// Its tests run before the function is compiled for a release.
    pub(crate) has_lib: bool,
    /// `.env` and `.env.*`, by name.
    pub(crate) environment_files: Vec<String>,
}

impl Code {
    /// Of the component in this folder.
    pub(crate) fn find(component: &Path) -> Result<Self> {
        let component = &fs::canonicalize(component)
            .map_err(|error| Error::io("can't enter", component, &error))?;
        let places = [component.clone(), component.join("src")];
        let Some(folder) = places.iter().find(|folder| folder.join(FUNCTIONS).is_file()) else {
            let [here, there] = places.map(|folder| folder.join(FUNCTIONS).display().to_string());
            return Err(Error::input(format!("there is no {FUNCTIONS}: neither `{here}` nor `{there}`"))
                .hint("a function component keeps its code there; `cdflow init --type function NAME` makes one"));
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

    /// Nothing else is sent to the engine, so that nothing else can get into the image; a folder's .dockerignore has no say.
    pub(crate) fn context(&self, profile: Profile, images: &Images) -> Result<Context> {
        let mut files = self.sources();
        match profile {
            Profile::Release => self.check_compile_time()?,
            Profile::Dev => {
                files.extend(
                    self.environment_files
                        .iter()
                        .map(|name| (name.clone(), self.folder.join(name))),
                );
            }
        }
        Context::of(&files, DOCKERFILE, &self.dockerfile(profile, images))
    }

    pub(crate) fn dockerfile(&self, profile: Profile, images: &Images) -> String {
        dockerfile::text(
            self,
            profile,
            images.build.as_str(),
            images.runtime.as_str(),
            images.runtime.has_no_shell(),
        )
    }

    fn sources(&self) -> Vec<(String, PathBuf)> {
        let names = [Some(FUNCTIONS), self.has_lib.then_some(LIB)];
        names.into_iter().flatten().map(|name| (name.to_owned(), self.folder.join(name))).collect()
    }

    fn check_compile_time(&self) -> Result<()> {
        for (name, path) in self.sources() {
            let text = fs::read_to_string(&path)
                .map_err(|error| Error::io("can't read", &path, &error))?;
            if let Some((line, found)) = compile_time::environment_file(&text) {
                return Err(Error::refused(format!(
                    "{name}:{line}: `{found}` reads an environment file when it is compiled"
                ))
                .why(
                    "its values would be in the image, for everybody who can pull it; no release build gets such files",
                )
                .hint("read variables when the function runs (`std::env::var`), and set them in infra/"));
            }
        }
        Ok(())
    }
}

fn environment_files(folder: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io("can't read", folder, &error);
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

/// Plain ones: the name becomes part of the Dockerfile.
fn is_environment_file(name: &str) -> bool {
    name.starts_with(".env")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn check_inside(path: &Path, component: &Path) -> Result<()> {
    let real = fs::canonicalize(path).map_err(|error| Error::io("can't read", path, &error))?;
    let name = real.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if real.starts_with(component) && !name.starts_with(".env") {
        return Ok(());
    }
    Err(Error::input(format!("`{}` is a link that leads to `{}`", path.display(), real.display()))
        .hint("put the code itself into the component's folder"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::error::Exit, services::docker::context::Kind};

    fn component(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(context: &Context) -> Vec<&str> {
        context.entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    fn images() -> Images {
        Images::plain("build:1", "runtime:1")
    }

    #[test]
    fn beside_cdflow_yml_or_in_src() {
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
    fn environment_files_are_for_the_developer_alone() {
        let component = component(&[
            ("functions.rs", ""),
            ("lib.rs", ""),
            (".env", "SECRET=1"),
            (".env.local", "SECRET=2"),
            (".envrc", ""),
            (".dockerignore", "!.env\nfunctions.rs\n"),
            ("other.rs", ""),
        ]);
        let code = Code::find(component.path()).unwrap();
        let context = |profile| code.context(profile, &images()).unwrap();
        assert_eq!(names(&context(Profile::Release)), ["Dockerfile", "functions.rs", "lib.rs"]);
        let dev = context(Profile::Dev);
        assert_eq!(
            names(&dev),
            [".env", ".env.local", ".envrc", "Dockerfile", "functions.rs", "lib.rs"]
        );
        let Kind::Text(dockerfile) = &dev.entries[3].kind else { panic!("{:?}", dev.entries[3]) };
        assert!(std::str::from_utf8(dockerfile).unwrap().contains("/app-build/src/.env.local"));
    }

    #[test]
    fn code_that_reads_an_environment_file_when_it_is_compiled() {
        let component =
            component(&[("src/functions.rs", "fn a() {\n  include_str!(\"../.env\");\n}\n")]);
        let code = Code::find(component.path()).unwrap();
        let refused = code.context(Profile::Release, &images()).unwrap_err();
        assert_eq!(refused.exit(), Exit::Refused);
        assert!(
            refused
                .to_string()
                .starts_with("functions.rs:2: `include_str!` reads an environment file"),
            "{refused}"
        );
        assert!(code.context(Profile::Dev, &images()).is_ok());
    }

    #[test]
    fn links_that_lead_away() {
        let elsewhere = component(&[("functions.rs", "")]);
        let here = component(&[("real.rs", ""), (".env", "")]);
        let link = here.path().join("functions.rs");
        for (target, good) in [
            (elsewhere.path().join("functions.rs"), false),
            (here.path().join(".env"), false),
            (here.path().join("real.rs"), true),
        ] {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&target, &link).unwrap();
            assert_eq!(Code::find(here.path()).is_ok(), good, "{}", target.display());
        }
    }
}
