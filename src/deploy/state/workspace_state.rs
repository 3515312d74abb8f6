//! The state of a prepared environment: whether there is one, its content, its beginning and its
//! end. cdflow reads it where it is stored; Terraform reads what only Terraform can.

use std::{fs, io::ErrorKind, path::PathBuf};

use super::migration::holder;
use crate::{
    base::{
        error::{Error, Result},
        owner::create_folder,
    },
    config::flavor::Flavor,
    context::Context,
    deploy::prepare::Prepared,
    terraform::state::{
        empty::{self, Removed},
        place::StatePlace,
        stored::{self, Stored},
        summary::StateSummary,
    },
};

/// The mode of a workspace's folder, less the umask.
const FOLDER: u32 = 0o755;

/// Whether the environment has a workspace, which may have no state yet: in S3 it is the object of
/// the state, in a folder the folder of the state.
pub(crate) async fn exists(prepared: &Prepared) -> Result<bool> {
    let home = &prepared.state_home;
    match local_folder(&home.place) {
        Some(folder) => Ok(folder.is_dir()),
        None => Ok(home.store()?.head(&home.place.key()).await?.is_some()),
    }
}

/// Reads the state, whose sensitive values are redacted from then on. None if there is none. The
/// workspace must be selected.
pub(crate) async fn read(context: &Context, prepared: &Prepared) -> Result<Option<StateSummary>> {
    let state = match stored::read(&prepared.state_home.object()?).await? {
        Stored::Missing => None,
        Stored::Readable(file) => Some(file.summary),
        Stored::ForTerraform(_) => prepared.terraform.pull_state().await?,
    };
    for secret in state.iter().flat_map(|state| &state.sensitive) {
        context.host.log.redactor.add(secret);
    }
    Ok(state)
}

/// Creates the workspace. False if another run has created it at the same time.
pub(crate) async fn create(prepared: &Prepared) -> Result<bool> {
    let home = &prepared.state_home;
    if !prepared.terraform.has_workspaces() {
        return Ok(true);
    }
    if let Some(folder) = local_folder(&home.place) {
        return create_local(prepared, &folder);
    }
    match prepared.tool.flavor {
        Flavor::Terraform => empty::create(&home.object()?, &prepared.tool.version).await,
        // Its configuration can demand that every state is encrypted.
        Flavor::OpenTofu => match prepared.terraform.create_workspace().await {
            Err(_) if exists(prepared).await? => Ok(false),
            created => created.map(|()| true),
        },
    }
}

/// Removes a workspace that has no resources, while this run holds the lock of its state.
pub(crate) async fn remove(context: &Context, prepared: &Prepared) -> Result<()> {
    if !prepared.terraform.has_workspaces() {
        return Ok(());
    }
    let home = &prepared.state_home;
    let holder = holder(context, "cdflow workspace removal", &home.place.describe())?;
    let removed = empty::remove(&home.object()?, &holder).await?;
    if removed == Removed::ForTerraform {
        return prepared.terraform.delete_workspace().await;
    }
    let Some(folder) = local_folder(&home.place) else { return Ok(()) };
    if removed == Removed::Done {
        // Terraform keeps the state before the last one next to it.
        home.store()?.delete(&format!("{}.backup", home.place.key())).await?;
    }
    match fs::remove_dir(&folder) {
        // Another run has begun there, or somebody keeps files there.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
            let log = &context.host.log;
            log.note(&format!("`{}` is kept, because it has other files", folder.display()));
            Ok(())
        }
        Err(error) if folder.is_dir() => Err(Error::io("cannot remove", &folder, &error)),
        _ => Ok(()),
    }
}

/// The folder of a local workspace.
fn local_folder(place: &StatePlace) -> Option<PathBuf> {
    match place {
        StatePlace::Local { root, .. } => root.join(place.key()).parent().map(PathBuf::from),
        StatePlace::S3(_) => None,
    }
}

fn create_local(prepared: &Prepared, folder: &std::path::Path) -> Result<bool> {
    let parent = folder.parent().unwrap_or(folder);
    let created = create_folder(parent, FOLDER).and_then(|()| fs::create_dir(folder));
    match created {
        Ok(()) => prepared.terraform.run_as().give(folder).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("cannot create", folder, &error)),
    }
}
