//! Which component a command is for: its folder, its cdflow.yml, its name and its Terraform.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::error::{Error, Result},
    cli::args::Global,
    config::{
        component::{self, Manifest},
        names::Component,
    },
    services::{
        ci::host::Host,
        git::{self, Git},
    },
    terraform::tool::{Flavor, Tool},
};

/// `--directory`, canonical.
pub(crate) fn working_directory(global: &Global) -> Result<PathBuf> {
    let directory = &global.directory;
    let enter = || {
        let folder = fs::canonicalize(directory)?;
        fs::read_dir(&folder).map(|_| folder)
    };
    enter().map_err(|error| {
        Error::io("can't enter", directory, &error).hint(
            "-C DIR (the Action's input `working-directory`, relative to the checkout) is the folder of cdflow.yml",
        )
    })
}

/// The folder of cdflow.yml, canonical; the one above the current one where that is the `src` of a function.
pub(crate) fn folder(global: &Global) -> Result<PathBuf> {
    let folder = working_directory(global)?;
    let is_src = folder.ends_with("src") && folder.join("functions.rs").is_file();
    match folder.parent() {
        Some(above) if is_src && !folder.join(component::FILE).exists() => Ok(above.to_owned()),
        _ => Ok(folder),
    }
}

pub(crate) fn read_manifest(folder: &Path) -> Result<(Manifest, String)> {
    let path = folder.join(component::FILE);
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::input(format!("there is no {} in `{}`", component::FILE, folder.display())).hint(
                "run cdflow in the component's folder, or name it: -C DIR (the Action's input `working-directory`)",
            )
        }
        _ => Error::io("can't read", &path, &error),
    })?;
    Ok((Manifest::parse(component::FILE, &text).map_err(|error| error.below(folder))?, text))
}

/// From the flag, cdflow.yml, the git remote, or GITHUB_REPOSITORY; the first that says it, and which one that was.
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
    let origin = match Git::find(&host.environment.for_programs(), &host.log, &host.interrupt) {
        Ok(git) => git.origin(folder).await?,
        Err(_) => None,
    };
    let source = if origin.is_some() { "the git remote" } else { "GITHUB_REPOSITORY" };
    let remote = origin.or_else(|| host.environment.get("GITHUB_REPOSITORY").map(str::to_owned));
    let remote = remote.ok_or_else(|| {
        Error::input(
            "the component has no name: there is no git remote `origin` and no GITHUB_REPOSITORY",
        )
        .hint("add `component: NAME` to cdflow.yml, or give --component NAME")
    })?;
    let name = git::repository_name(&remote).ok_or_else(|| {
        Error::input(format!("{source} `{}` gives the component no name", remote.escape_debug()))
            .hint("add `component: NAME` to cdflow.yml, or give --component NAME")
    })?;
    Ok((name.parse()?, source))
}

/// The program that cdflow.yml asks for.
pub(crate) async fn locate_tool(manifest: &Manifest, host: &Host) -> Result<Tool> {
    match &manifest.opentofu_version {
        Some(wanted) => Tool::locate(Flavor::OpenTofu, Some(wanted), host).await,
        None => Tool::locate(Flavor::Terraform, manifest.terraform_version.as_ref(), host).await,
    }
}
