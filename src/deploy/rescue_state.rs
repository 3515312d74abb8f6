//! Saves a state that Terraform could not save: pushes it again, or else keeps a copy and names it.

use std::{
    fs,
    path::{Path, PathBuf},
};

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
        run_folder::{read_left_file, write_new},
    },
    context::Context,
    services::store::{Content, Metadata, Put},
    terraform::state::place::StatePlace,
};

/// `file` is Terraform's errored.tfstate, `failed` the error of the apply. Always returns an error:
/// that of the apply if the state could be saved at the second try, otherwise
/// `Exit::StateNotSaved` with the place of the copy.
pub(crate) async fn rescue(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    file: &Path,
    failed: Option<Error>,
) -> Result<()> {
    let log = &context.host.log;
    log.warning("Terraform failed to save the state; trying again");
    let Err(refused) = prepared.terraform.push_state(file).await else {
        log.note("the state is now saved");
        let failed = failed.unwrap_or_else(|| {
            Error::new(Exit::ApplyFailed, "terraform apply failed to save the state at first")
        });
        return Err(failed.hint("deploy again: the state was saved at the second try"));
    };
    let environment = order.environment();
    let kept = keep(context, order, prepared, file).await;
    let error = Error::new(
        Exit::StateNotSaved,
        format!("failed to save the state of `{environment}`; a copy is at {}", kept.copy),
    );
    let push = push_command(prepared.tool.flavor, order.version(), environment, &kept.place);
    let causes = [failed.map(|error| error.story()), Some(refused.story()), kept.trouble];
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

/// Where a copy of the state is.
struct Kept {
    place: StateCopy,
    /// The place for messages.
    copy: String,
    /// Why it is not where the state is.
    trouble: Option<String>,
}

/// Copies the file to where the state is, or else to the folder of cdflow.yml, or else keeps the
/// private folder that it is in.
async fn keep(context: &Context, order: &Order<'_>, prepared: &Prepared, file: &Path) -> Kept {
    let log = &context.host.log;
    let mut trouble = None;
    let kept = match read_left_file(file) {
        Ok(content) => match keep_in_state_storage(order, prepared, &content).await {
            Ok(copy) => Ok(copy),
            Err(error) => {
                log.warning(&format!("failed to copy the state to its bucket or folder: {error}"));
                trouble = Some(error.story());
                keep_in_component_folder(context, order, &content)
            }
        },
        Err(error) => Err(Error::io("can't read", file, &error)),
    };
    let (place, copy) = kept.unwrap_or_else(|error| {
        log.warning(&format!("failed to copy it to the folder of cdflow.yml: {error}"));
        prepared.private.keep();
        of_file(file.to_owned())
    });
    Kept { place, copy, trouble }
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
