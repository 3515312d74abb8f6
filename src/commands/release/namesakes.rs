//! Other components of the checkout that have the same name in the same account scheme.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::{checkout_path::lexical, error::Result, small_file},
    config::component::{self, Manifest, SchemeUrl},
    context::Context,
    services::git::{self, Checkout, Git},
};

/// Returns a warning for each: releases, states and resources of both have the same names.
pub(super) async fn warnings(context: &Context, checkout: &Checkout) -> Result<Vec<String>> {
    let git = Git::find(&context.host)?;
    let files = git.files_named(&context.folder, component::FILE).await?;
    let own = context.folder.join(component::FILE);
    let others = files.into_iter().filter(|file| checkout.root.join(file) != own);
    let read = |file: PathBuf| Some((read(&checkout.root.join(&file))?, file));
    let named: Vec<(Manifest, PathBuf)> = others.filter_map(read).collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let origin = git.origin(&context.folder).await?;
    let repository = origin.as_deref().or(context.host.environment.get("GITHUB_REPOSITORY"));
    let default = repository.and_then(git::repository_name);
    let is_same = |(other, file): &(Manifest, PathBuf)| {
        let name = other.component.as_ref().map(|it| it.as_str()).or(default);
        let folder = checkout.root.join(file);
        let folder = folder.parent().unwrap_or(&checkout.root);
        other.team == context.identity.team
            && name == Some(context.identity.component.as_str())
            && place(folder, &other.account_scheme_url)
                == place(&context.folder, &context.manifest.account_scheme_url)
    };
    let shown = |(_, file): (Manifest, PathBuf)| {
        format!(
            "`{}` has the same team, component and account scheme\n  -> set another `component` in \
             one of the two files: the releases and states of both have the same names, so a \
             deploy of one destroys what the other has made",
            file.display()
        )
    };
    Ok(named.into_iter().filter(is_same).map(shown).collect())
}

/// None if the file is not valid: a release of its own component says why.
fn read(file: &Path) -> Option<Manifest> {
    Manifest::parse(component::FILE, &small_file::text(file).ok()?).ok()
}

fn place(folder: &Path, url: &SchemeUrl) -> String {
    match url {
        SchemeUrl::S3 { .. } => url.to_string(),
        SchemeUrl::Path(path) => {
            let path = folder.join(path);
            fs::canonicalize(&path).unwrap_or_else(|_| lexical(&path)).display().to_string()
        }
    }
}
