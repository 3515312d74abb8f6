//! init: creates a component in a new folder.

pub(crate) mod scaffold;
mod shared_scheme;

use std::{fs, io, path::Path};

use self::{scaffold::Scaffold, shared_scheme::SharedScheme};
use crate::{
    base::{
        error::{Error, Result},
        shell_word::shell_word,
    },
    cli::args::{Global, InitInputs},
    services::ci::host::Host,
};

/// Writes the component, and prints the commands for a first deploy.
pub(crate) async fn run(global: &Global, inputs: &InitInputs, host: &Host) -> Result<()> {
    if let Some(other) = global.component.as_ref().filter(|component| **component != inputs.name) {
        return Err(Error::input(format!(
            "the component has two names: `{}` and `{other}`",
            inputs.name
        ))
        .hint("remove --component"));
    }
    if inputs.kind.has_image() {
        inputs.name.check_as_image()?;
    }
    let parent = fs::canonicalize(&global.directory).map_err(|error| {
        Error::io("cannot enter", &global.directory, &error)
            .hint("name an existing folder for the new one: -C DIR")
    })?;
    let folder = parent.join(inputs.name.as_str());
    check_free(&folder)?;
    let is_repository = !is_in_checkout(&parent);
    let shared = match &inputs.account_scheme_url {
        Some(url) => Some(SharedScheme::find(url, global, inputs, host).await?),
        None => None,
    };
    let scaffold = Scaffold {
        is_repository,
        kind: inputs.kind,
        name: &inputs.name,
        team: &inputs.team,
        shared: shared.as_ref(),
    };
    // In the same parent folder, because a folder cannot be moved to another file system.
    let draft = tempfile::Builder::new().prefix(".cdflow-init-").tempdir_in(&parent);
    let draft = draft.map_err(|error| Error::io("cannot write to", &parent, &error))?;
    scaffold.write(&draft.path().join("component"), &folder).map_err(|error| {
        match error.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => taken(&folder),
            _ => Error::io("cannot write", &folder, &error),
        }
    })?;
    for (path, _) in scaffold.files() {
        host.log.note(&format!("{}/{path}", inputs.name));
    }
    host.log.done(&format!(
        "Created the component {} of the team {} in `{}`. Next:",
        inputs.name,
        inputs.team,
        folder.display()
    ));
    if is_repository && shared.is_some() {
        host.log.note(
            "before the first push: set the repository's variables CDFLOW_ROLE_PREFIX and \
             CDFLOW_REGION, which cdflow's examples/bootstrap prints",
        );
    }
    let folder = global.directory.join(inputs.name.as_str());
    next_commands(inputs, &folder, is_repository, shared.as_ref())
        .iter()
        .for_each(|command| host.log.output(command));
    Ok(())
}

/// Accepts a missing or an empty folder. A link is rejected: its target belongs to something else.
fn check_free(folder: &Path) -> Result<()> {
    let failed = |error| Error::io("cannot read", folder, &error);
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(there) if there.is_dir() && fs::read_dir(folder).map_err(failed)?.next().is_none() => {
            Ok(())
        }
        Ok(_) => Err(taken(folder)),
    }
}

fn taken(folder: &Path) -> Error {
    Error::input(format!("`{}` already exists", folder.display()))
        .why("init writes only to a new or an empty folder")
        .hint("choose another name or another folder: -C DIR")
}

fn is_in_checkout(folder: &Path) -> bool {
    folder.ancestors().any(|folder| folder.join(".git").exists())
}

/// Returns the commands for a first deploy.
fn next_commands(
    inputs: &InitInputs,
    folder: &Path,
    is_repository: bool,
    shared: Option<&SharedScheme>,
) -> Vec<String> {
    let init = if is_repository { "git init --initial-branch main && " } else { "" };
    let shown = folder.strip_prefix(".").unwrap_or(folder);
    let mut commands = vec![
        format!("cd -- {}", shell_word(&shown.to_string_lossy())),
        format!("{init}git add --all . && git commit --message \"Add {}\"", inputs.name),
    ];
    if let Some(environment) = shared.and_then(|it| it.environments.first()) {
        commands.extend(["cdflow doctor".to_owned(), "cdflow release 1".to_owned()]);
        commands.push(format!("cdflow deploy {environment} 1"));
        return commands;
    }
    if inputs.kind.has_image() {
        // The `image-registry` of the template's account scheme.
        commands.push("docker run --detach --publish 127.0.0.1:5000:5000 registry:2".to_owned());
    }
    commands.extend(
        ["cdflow release 1", "cdflow deploy ci 1", "cdflow destroy ci --confirm ci"]
            .map(str::to_owned),
    );
    commands
}
