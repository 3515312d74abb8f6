//! The component that a command is for: its folder, its cdflow.yml, its name and its Terraform.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::{
        error::{Error, Result},
        small_file,
    },
    cli::args::Global,
    config::{
        component::{self, Manifest},
        names::Component,
    },
    services::{
        ci::host::Host,
        git::{self, Git},
    },
};

/// A file that people expect to be read.
const OTHER_ENDING: &str = "cdflow.yaml";
const NAME_IT: &str = "add `component: NAME` to cdflow.yml, or set --component NAME";

/// Returns the canonical path of `--directory`.
pub(crate) fn working_directory(global: &Global) -> Result<PathBuf> {
    let directory = &global.directory;
    let enter = || {
        let folder = fs::canonicalize(directory)?;
        fs::read_dir(&folder).map(|_| folder)
    };
    enter().map_err(|error| {
        Error::io("cannot open the folder", directory, &error).hint(
            "set -C DIR (the Action's input `working-directory`, relative to the checkout) to the \
             folder of cdflow.yml",
        )
    })
}

/// Returns the canonical path of the folder of cdflow.yml. From the `src` folder of a function,
/// that is the parent folder.
pub(crate) fn folder(global: &Global) -> Result<PathBuf> {
    let folder = working_directory(global)?;
    let is_src = folder.ends_with("src") && folder.join("functions.rs").is_file();
    match folder.parent() {
        Some(above) if is_src && !folder.join(component::FILE).exists() => Ok(above.to_owned()),
        _ => Ok(folder),
    }
}

/// Reads cdflow.yml in `folder`. Returns it parsed and as text.
pub(crate) fn read_manifest(folder: &Path) -> Result<(Manifest, String)> {
    let path = folder.join(component::FILE);
    let text = small_file::text(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => no_manifest(folder),
        _ => Error::io("cannot read", &path, &error),
    })?;
    Ok((Manifest::parse(component::FILE, &text).map_err(|error| error.below(folder))?, text))
}

/// Returns the error for a folder without cdflow.yml. Names a file with the other ending of YAML.
fn no_manifest(folder: &Path) -> Error {
    let missing = Error::input(format!("{} not found in `{}`", component::FILE, folder.display()));
    match folder.join(OTHER_ENDING).exists() {
        true => missing
            .why(format!("there is a {OTHER_ENDING}, which cdflow does not read"))
            .hint(format!("rename it: git mv {OTHER_ENDING} {}", component::FILE)),
        false if folder.parent().is_some_and(|above| above.join(component::FILE).exists()) => {
            missing.hint("it is in the folder above: run cdflow there, or set -C ..")
        }
        false => missing
            .hint(
                "run cdflow in the component's folder, or set -C DIR (the Action's input \
                 `working-directory`)",
            )
            .hint("to make a component: cdflow init --type infrastructure NAME"),
    }
}

/// Returns the name of the component and its source. Sources, in this order: the flag, cdflow.yml,
/// the git remote `origin`, GITHUB_REPOSITORY.
pub(crate) async fn component_name(
    global: &Global,
    manifest: &Manifest,
    folder: &Path,
    host: &Host,
) -> Result<(Component, &'static str)> {
    match (&global.component, &manifest.component) {
        (Some(component), _) => return Ok((component.clone(), "--component")),
        (None, Some(component)) => return Ok((component.clone(), component::FILE)),
        (None, None) => {}
    }
    let origin = match Git::find(host) {
        Ok(git) => git.origin(folder).await?,
        Err(_) => None,
    };
    let source = if origin.is_some() { "the git remote" } else { "GITHUB_REPOSITORY" };
    let remote = origin.or_else(|| host.environment.get("GITHUB_REPOSITORY").map(str::to_owned));
    let remote = remote.ok_or_else(|| {
        Error::input("cannot determine the name of the component")
            .why("there is neither a git remote `origin` nor GITHUB_REPOSITORY")
            .hint(NAME_IT)
    })?;
    let name = git::repository_name(&remote).ok_or_else(|| {
        let remote = remote.escape_debug();
        Error::input(format!("cannot derive the name of the component from {source} `{remote}`"))
            .hint(NAME_IT)
    })?;
    Ok((name.parse()?, source))
}
