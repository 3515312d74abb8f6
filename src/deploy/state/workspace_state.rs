//! The state of a prepared environment: whether there is one, its content, its beginning and its
//! end. cdflow reads it where it is stored; Terraform reads what only Terraform can.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::PoisonError,
};

use tokio::time::{Instant, sleep};

use super::{migration::holder, version};
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::{Limit, PAUSE},
        owner::create_folder,
    },
    config::{flavor::Flavor, names::Environment},
    context::Context,
    deploy::prepare::Prepared,
    services::store::ReleaseStore,
    terraform::state::{
        empty::{self, Removed},
        local_folder::{self, UsedFolder},
        lock::{HeldLock, StateLock},
        place::StatePlace,
        stored::{self, Stored},
        summary::StateSummary,
    },
};

/// The mode of a workspace's folder, less the umask.
const FOLDER: u32 = 0o755;
/// How often a folder is created that another run removes at the same time.
const TRIES: usize = 5;
/// In bytes. What is larger is not compared.
const BACKUP_LIMIT: u64 = 256 << 20;

/// The workspace of an environment, as it is found.
pub(crate) enum Found {
    Nothing,
    /// With its state, if it has one. In S3 the workspace is the object of the state, in a folder
    /// the folder of the state.
    Workspace(Option<StateSummary>),
}

/// Looks for the workspace, and selects it. The sensitive values of its state are redacted from
/// then on. Fails if a newer version of Terraform wrote the state.
pub(crate) async fn find(context: &Context, prepared: &Prepared) -> Result<Found> {
    let home = &prepared.state_home;
    if let Some(folder) = local_folder(&home.place)
        && !use_folder(prepared, &folder).await?
    {
        return Ok(Found::Nothing);
    }
    let stored = stored::read(&home.object()?).await?;
    if matches!(stored, Stored::Missing) && local_folder(&home.place).is_none() {
        return Ok(Found::Nothing);
    }
    prepared.terraform.select_workspace()?;
    if let Stored::Readable(file) = &stored {
        version::check(&file.summary, &prepared.tool)?;
    }
    Ok(Found::Workspace(summary(context, prepared, stored).await?))
}

/// Reads the state of a selected workspace. None if there is none. While another run writes a local
/// state, it is read again.
pub(crate) async fn read(context: &Context, prepared: &Prepared) -> Result<Option<StateSummary>> {
    let object = prepared.state_home.object()?;
    let until = Instant::now() + Limit::StateLock.time();
    loop {
        let stored = stored::read(&object).await;
        let is_odd = match &stored {
            Ok(Stored::Missing | Stored::Empty) => true,
            Ok(_) => false,
            Err(error) => error.exit() == Exit::Integrity,
        };
        if is_odd && Instant::now() < until && writer(prepared).await.is_some() {
            sleep(PAUSE).await;
            continue;
        }
        return summary(context, prepared, stored?).await;
    }
}

async fn summary(
    context: &Context,
    prepared: &Prepared,
    stored: Stored,
) -> Result<Option<StateSummary>> {
    let state = match stored {
        Stored::Missing | Stored::Empty => None,
        Stored::Readable(file) => Some(file.summary),
        Stored::ForTerraform(_) => prepared.terraform.pull_state().await?,
    };
    for secret in state.iter().flat_map(|state| &state.sensitive) {
        context.host.log.redactor.add(secret);
    }
    Ok(state)
}

/// Returns the lock of a local state that a process holds. That process might be writing the state
/// at this moment. A state in S3 is written as a whole.
pub(crate) async fn writer(prepared: &Prepared) -> Option<(StateLock, HeldLock)> {
    local_folder(&prepared.state_home.place)?;
    let lock = prepared.state_home.locks().ok()?.pop()?;
    // The file about the lock is written too.
    let held = lock.read().await.ok()??;
    held.process.is_some().then_some((lock, held))
}

/// Creates and selects the workspace. False if another run has created it at the same time.
pub(crate) async fn create(prepared: &Prepared) -> Result<bool> {
    let home = &prepared.state_home;
    if !prepared.terraform.has_workspaces() {
        return Ok(true);
    }
    let is_new = match (local_folder(&home.place), prepared.tool.flavor) {
        (Some(folder), _) => create_local(prepared, &folder).await?,
        (None, Flavor::Terraform) => empty::create(&home.object()?, &prepared.tool.version).await?,
        // Its configuration can demand that every state is encrypted.
        (None, Flavor::OpenTofu) => {
            empty::forget_lost(&home.object()?).await?;
            match prepared.terraform.create_workspace().await {
                Err(_) if home.store()?.head(&home.place.key()).await?.is_some() => false,
                created => created.map(|()| true)?,
            }
        }
    };
    prepared.terraform.select_workspace()?;
    Ok(is_new)
}

/// Creates the empty file of a local state that has none. Otherwise Terraform creates it to lock
/// it, and removes it again, even if another run waits for that lock.
pub(crate) fn create_file(prepared: &Prepared) -> Result<()> {
    match prepared.state_home.place.local_file() {
        Some(state) if local_folder::create_empty(&state)? => {
            prepared.terraform.run_as().give(&state)
        }
        _ => Ok(()),
    }
}

/// Removes a workspace that has no resources, while this run holds the lock of its state, and no
/// other run uses its folder.
pub(crate) async fn remove(
    context: &Context,
    environment: &Environment,
    prepared: &Prepared,
) -> Result<()> {
    if !prepared.terraform.has_workspaces() {
        return Ok(());
    }
    let home = &prepared.state_home;
    let folder = local_folder(&home.place);
    // Until the end of this function, no other run begins to use the folder.
    let used = prepared.used_folder.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(used) = &used {
        wait_for_others(used).await?;
    }
    let holder = holder(context, environment, "cdflow workspace removal", &home.place.describe())?;
    let lineage = match empty::remove(&home.object()?, &holder, &context.host.interrupt).await? {
        Removed::ForTerraform => return prepared.terraform.delete_workspace().await,
        Removed::Done(lineage) => Some(lineage),
        Removed::Missing => None,
    };
    let Some(folder) = folder else { return Ok(()) };
    if let Some(lineage) = lineage {
        remove_backup(&home.store()?, &format!("{}.backup", home.place.key()), &lineage).await?;
    }
    remove_folder(context, &folder)
}

/// Waits for runs that found the state locked, and are about to end. They would leave the empty
/// workspace.
async fn wait_for_others(used: &UsedFolder) -> Result<()> {
    let until = Instant::now() + Limit::RunningDestroy.time();
    while !used.is_ours_alone() {
        if Instant::now() > until {
            return Err(Error::new(Exit::Locked, "another run uses it"));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Removes the state before the last one, which Terraform keeps next to it. A backup of another
/// state is kept: it might be all that is left of that.
async fn remove_backup(store: &ReleaseStore, key: &str, lineage: &str) -> Result<()> {
    let Ok(Some(bytes)) = store.get(key, BACKUP_LIMIT).await else { return Ok(()) };
    match StateSummary::parse(&mut bytes.as_slice()) {
        Ok(Some(backup)) if backup.lineage == *lineage => store.delete(key).await,
        _ => Ok(()),
    }
}

fn remove_folder(context: &Context, folder: &Path) -> Result<()> {
    let kept = |why: &str| {
        context.host.log.note(&format!("`{}` is kept, because {why}", folder.display()));
        Ok(())
    };
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => kept("it has other files"),
        Err(_) if folder.is_symlink() => kept("it is a link"),
        Err(error) if folder.is_dir() => Err(Error::io("cannot remove", folder, &error)),
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

/// Creates the folder with an empty state. False if another run has created it.
async fn create_local(prepared: &Prepared, folder: &Path) -> Result<bool> {
    let parent = folder.parent().unwrap_or(folder);
    for _ in 0..TRIES {
        let created = create_folder(parent, FOLDER).and_then(|()| fs::create_dir(folder));
        let is_new = match created {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(Error::io("cannot create", folder, &error)),
        };
        if is_new {
            prepared.terraform.run_as().give(folder)?;
        }
        if use_folder(prepared, folder).await? {
            create_file(prepared)?;
            return Ok(is_new);
        }
    }
    let what = format!("cannot create the workspace `{}`", folder.display());
    Err(Error::new(Exit::Locked, what)
        .why("other runs remove it at the same time")
        .hint("run again"))
}

/// Keeps other runs from removing the folder, for as long as this run is prepared. False if there
/// is none.
async fn use_folder(prepared: &Prepared, folder: &Path) -> Result<bool> {
    let is_used = |used: &Option<UsedFolder>| used.is_some();
    if is_used(&prepared.used_folder.lock().unwrap_or_else(PoisonError::into_inner)) {
        return Ok(folder.is_dir());
    }
    if folder.symlink_metadata().is_ok() && !folder.is_dir() {
        return Err(Error::input(format!("the workspace `{}` is not a folder", folder.display()))
            .why("it is a file, or a link that leads to no folder")
            .hint("find out what it is, and move it elsewhere"));
    }
    let Some(used) = local_folder::begin(folder).await? else { return Ok(false) };
    *prepared.used_folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(used);
    Ok(true)
}
