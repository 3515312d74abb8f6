//! init: a new component in a folder of its own.

pub(crate) mod scaffold;

use std::{fs, io, path::Path};

use self::scaffold::Scaffold;
use crate::{
    base::error::{Error, Result},
    cli::args::{Global, InitInputs},
    services::ci::host::Host,
};

pub(crate) fn run(global: &Global, inputs: &InitInputs, host: &Host) -> Result<()> {
    if let Some(other) = global.component.as_ref().filter(|component| **component != inputs.name) {
        return Err(Error::input(format!(
            "two names for one component: `{}` and `{other}`",
            inputs.name
        ))
        .hint("leave out --component"));
    }
    if inputs.kind.has_image() {
        inputs.name.check_as_image()?;
    }
    let parent = fs::canonicalize(&global.directory).map_err(|error| {
        Error::io("can't enter", &global.directory, &error)
            .hint("-C DIR is the folder above the new one, and must be there")
    })?;
    let folder = parent.join(inputs.name.as_str());
    check_free(&folder)?;
    let is_repository = !is_in_checkout(&parent);
    let scaffold =
        Scaffold { is_repository, kind: inputs.kind, name: &inputs.name, team: &inputs.team };
    // Beside its place, because a folder can't be moved to another file system.
    let draft = tempfile::Builder::new().prefix(".cdflow-init-").tempdir_in(&parent);
    let draft = draft.map_err(|error| Error::io("can't write to", &parent, &error))?;
    scaffold.write(&draft.path().join("component"), &folder).map_err(|error| {
        match error.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => taken(&folder),
            _ => Error::io("can't write", &folder, &error),
        }
    })?;
    for (path, _) in scaffold.files() {
        host.log.note(&format!("{}/{path}", inputs.name));
    }
    host.log.done(&format!(
        "Made the component {} of the team {} in `{}`. Next:",
        inputs.name,
        inputs.team,
        folder.display()
    ));
    next(inputs, &global.directory.join(inputs.name.as_str()), is_repository)
        .iter()
        .for_each(|command| host.log.output(command));
    Ok(())
}

/// Nothing, or an empty folder. A link is neither: its target belongs to somebody.
fn check_free(folder: &Path) -> Result<()> {
    let failed = |error| Error::io("can't look at", folder, &error);
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
    Error::input(format!("`{}` exists already", folder.display()))
        .why("init writes into a new or an empty folder only")
        .hint("choose another name, or another place: -C DIR")
}

fn is_in_checkout(folder: &Path) -> bool {
    folder.ancestors().any(|folder| folder.join(".git").exists())
}

/// What leads from here to a first deployment.
fn next(inputs: &InitInputs, folder: &Path, is_repository: bool) -> Vec<String> {
    let init = if is_repository { "git init --initial-branch main && " } else { "" };
    let mut commands = vec![
        format!("cd -- {}", quoted(folder)),
        format!("{init}git add --all . && git commit --message \"Add {}\"", inputs.name),
    ];
    if inputs.kind.has_image() {
        // The `image-registry` of the account scheme beside it.
        commands.push("docker run --detach --publish 127.0.0.1:5000:5000 registry:2".to_owned());
    }
    commands.extend(
        ["cdflow release 1", "cdflow deploy ci 1", "cdflow destroy ci --confirm ci"]
            .map(str::to_owned),
    );
    commands
}

/// As a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.strip_prefix(".").unwrap_or(path).display().to_string();
    match text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
