//! Saves a state that Terraform could not save: pushes it again, or else keeps a copy and names it.

use std::{fs, path::PathBuf};

use jiff::Timestamp;

use super::{
    order::Order,
    prepare::Prepared,
    push_command::{StateCopy, push_command},
};
use crate::{
    base::{
        error::{Error, Exit, Result, STATE_DISK_FULL, is_disk_full},
        owner::give_to_owner_of,
        run_folder::write_new,
    },
    context::Context,
    services::store::{Content, Metadata, Put},
    terraform::{UnsavedState, state::place::StatePlace},
};

/// `failed` is the error of the apply. Always returns an error: that of the apply if the state
/// could be saved at the second try, otherwise `Exit::StateNotSaved` with the place of the copy.
pub(crate) async fn rescue(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    unsaved: &UnsavedState,
    failed: Option<Error>,
) -> Result<()> {
    let log = &context.host.log;
    let pushed = match unsaved {
        UnsavedState::Lost(why) => {
            let failed = failed.map(|error| error.story());
            return Err(lost(order, &[Some((*why).to_owned()), failed]));
        }
        UnsavedState::File { path, .. } => {
            log.warning("Terraform failed to save the state; trying again");
            prepared.terraform.push_state(&path.to_string_lossy(), &[]).await
        }
        UnsavedState::Printed(content) => {
            log.warning(
                "Terraform failed to save the state and to write it to a file; trying again with \
                 the state that it printed",
            );
            prepared.terraform.push_state("-", content).await
        }
    };
    let Err(refused) = pushed else {
        log.note("the state is now saved");
        let failed = failed.unwrap_or_else(|| {
            Error::new(Exit::ApplyFailed, "terraform apply failed to save the state at first")
        });
        return Err(failed.hint("deploy again: the state was saved at the second try"));
    };
    let environment = order.environment();
    let Kept { copy, trouble } = keep(context, order, prepared, unsaved).await;
    let causes = [failed.map(|error| error.story()), Some(refused.story()), trouble];
    let Some((place, shown)) = copy else { return Err(lost(order, &causes)) };
    let error = Error::new(
        Exit::StateNotSaved,
        format!("failed to save the state of `{environment}`; a copy is at {shown}"),
    );
    let push = push_command(prepared.tool.flavor, order.version(), environment, &place);
    let is_full = causes.iter().flatten().any(|text| is_disk_full(text));
    let error = match (is_full, &prepared.state_home.place) {
        (false, _) => error.why(refused).hint(
            "fix what prevents writing the state, and release the lock if there still is one",
        ),
        (true, place @ StatePlace::Local { root, .. }) => error
            .why(format!("{STATE_DISK_FULL}: {}", refused.story()))
            .hint("first free some space on that disk: every way to save the copy needs it")
            .hint(format!(
                "if `{}` is cut off, so that Terraform cannot read it, replace it by the copy",
                root.join(place.key()).display()
            )),
        (true, StatePlace::S3(_)) => error
            .why(refused)
            .hint("first free some space on this disk: every way to save the copy needs it"),
    };
    Err(error
        .hint(format!("then save the copy: {push}"))
        .hint("do not deploy here before that: Terraform would create every resource again"))
}

/// Returns the error for a state of which no copy could be made.
fn lost(order: &Order<'_>, causes: &[Option<String>]) -> Error {
    let environment = order.environment();
    let what = format!("failed to save the state of `{environment}`, and to keep a copy of it");
    let causes: Vec<&str> = causes.iter().flatten().map(String::as_str).collect();
    Error::new(Exit::StateNotSaved, what)
        .why(causes.join("; "))
        .hint("make room on the disk of TMPDIR and of the state")
        .hint("see the log above for what this run changed: the stored state lacks it")
        .hint(
            "import what it created, then deploy with --allow-older-state \
             (docs/terraform.md, \"State\")",
        )
}

/// What was kept of a state.
struct Kept {
    /// The copy, and its place for messages. None if all failed.
    copy: Option<(StateCopy, String)>,
    /// Why it is not where the state is.
    trouble: Option<String>,
}

/// Copies the state to where it is stored, or else to the folder of cdflow.yml, or else keeps the
/// private folder that its file is in.
async fn keep(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    unsaved: &UnsavedState,
) -> Kept {
    let log = &context.host.log;
    let (content, file) = match unsaved {
        UnsavedState::File { path, content } => (content.as_ref(), Some(path)),
        UnsavedState::Printed(content) => (Ok(content), None),
        UnsavedState::Lost(_) => return Kept { copy: None, trouble: None },
    };
    let mut troubles = Vec::new();
    let mut failed = |place: &str, error: Error| {
        log.warning(&format!("failed to copy the state to {place}: {error}"));
        troubles.push(error.story());
    };
    let copy = match content {
        Ok(content) => match keep_in_state_storage(order, prepared, content).await {
            Ok(copy) => Some(copy),
            Err(error) => {
                failed("its bucket or folder", error);
                let kept = keep_in_component_folder(context, order, content);
                kept.map_err(|error| failed("the folder of cdflow.yml", error)).ok()
            }
        },
        Err(why) => {
            log.warning(&format!("the file with the state cannot be read, so it is kept: {why}"));
            None
        }
    };
    let copy = copy.or_else(|| {
        file.map(|path| {
            prepared.private.keep();
            of_file(path.clone())
        })
    });
    Kept { copy, trouble: (!troubles.is_empty()).then(|| troubles.join("; ")) }
}

fn of_file(path: PathBuf) -> (StateCopy, String) {
    let shown = path.display().to_string();
    (StateCopy::File(path), shown)
}

fn name(order: &Order<'_>) -> String {
    let identity = &order.subject.release.identity;
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("recovery/{}/{}/{time}.tfstate", identity.prefix(), order.environment())
}

async fn keep_in_state_storage(
    order: &Order<'_>,
    prepared: &Prepared,
    content: &[u8],
) -> Result<(StateCopy, String)> {
    let store = prepared.state_home.store()?;
    let key = name(order);
    match store
        .put_new(&key, Content::Bytes(content.to_vec()), &Metadata::default(), &|_| {})
        .await?
    {
        Put::Created => {
            let copy = store.describe(&key);
            let place = match &prepared.state_home.place {
                StatePlace::Local { root, .. } => StateCopy::File(root.join(&key)),
                StatePlace::S3(_) => StateCopy::Object(copy.clone()),
            };
            Ok((place, copy))
        }
        Put::Exists => Err(Error::refused(format!("{} already exists", store.describe(&key)))),
    }
}

/// Unlike a temporary folder, the component's folder outlives a container.
fn keep_in_component_folder(
    context: &Context,
    order: &Order<'_>,
    content: &[u8],
) -> Result<(StateCopy, String)> {
    let path = context.folder.join(name(order).replace('/', "-"));
    write_new(&path, content)?;
    let given = fs::File::open(&path).and_then(|file| give_to_owner_of(&context.folder, &file));
    given.map_err(|error| Error::io("cannot read", &path, &error))?;
    Ok(of_file(path))
}
