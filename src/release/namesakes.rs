//! Other components of the checkout that have the same name in the same account scheme.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::{error::Result, small_file},
    config::{
        component::{self, Manifest, SchemeUrl},
        identity::Identity,
    },
    services::{
        ci::host::Host,
        git::{self, Git},
    },
};

pub(crate) const REMEDY: &str = "set another `component` in one of the two files: the releases \
                                 and states of both have the same names, so a deploy of one \
                                 destroys what the other has made";

/// The component that is looked for.
pub(crate) struct Own<'a> {
    /// The folder of cdflow.yml, canonical.
    pub(crate) folder: &'a Path,
    /// The checkout's root, canonical.
    pub(crate) root: &'a Path,
    pub(crate) identity: &'a Identity,
    pub(crate) scheme: &'a SchemeUrl,
}

/// Returns what is said about each of them, without the remedy.
pub(crate) async fn find(host: &Host, own: &Own<'_>) -> Result<Vec<String>> {
    let git = Git::find(host)?;
    let files = git.files_named(own.folder, component::FILE).await?;
    let file = own.folder.join(component::FILE);
    let others = files.into_iter().filter(|other| own.root.join(other) != file);
    let read = |file: PathBuf| Some((read(&own.root.join(&file))?, file));
    let others: Vec<(Manifest, PathBuf)> = others.filter_map(read).collect();
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let origin = git.origin(own.folder).await?;
    let repository = origin.as_deref().or(host.environment.get("GITHUB_REPOSITORY"));
    let default = repository.and_then(git::repository_name);
    let is_same = |(other, file): &(Manifest, PathBuf)| {
        let name = other.component.as_ref().map(|it| it.as_str()).or(default);
        let folder = own.root.join(file);
        let folder = folder.parent().unwrap_or(own.root);
        other.team == own.identity.team
            && name == Some(own.identity.component.as_str())
            && place(folder, &other.account_scheme_url) == place(own.folder, own.scheme)
    };
    let said = |(_, file): (Manifest, PathBuf)| {
        format!("`{}` has the same team, component and account scheme", file.display())
    };
    Ok(others.into_iter().filter(is_same).map(said).collect())
}

/// None if the file is not valid: a release of its own component says why.
fn read(file: &Path) -> Option<Manifest> {
    Manifest::parse(component::FILE, &small_file::text(file).ok()?).ok()
}

/// None for a file that does not exist.
fn place(folder: &Path, url: &SchemeUrl) -> Option<String> {
    match url {
        SchemeUrl::S3 { .. } => Some(url.to_string()),
        SchemeUrl::Path(path) => {
            Some(fs::canonicalize(folder.join(path)).ok()?.display().to_string())
        }
    }
}
