//! A state that Terraform could not save is never lost quietly: it is pushed again, else kept where the message says.

use std::{fs, path::Path};

use jiff::Timestamp;

use super::{order::Order, prepare::Prepared};
use crate::{
    base::{
        error::{Error, Exit, Result},
        run_folder::write_new,
    },
    context::Context,
    services::store::{Content, Metadata, Put},
};

/// `file` is Terraform's errored.tfstate, `failed` why apply failed. A state that could be saved after all leaves that failure;
/// one that could not is exit 7 and names the copy.
pub(crate) async fn rescue(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    file: &Path,
    failed: Option<Error>,
) -> Result<()> {
    let log = &context.host.log;
    log.warning("Terraform could not save the state; trying again");
    let Err(refused) = prepared.terraform.push_state(file).await else {
        log.note("the state is saved");
        let failed = failed.unwrap_or_else(|| {
            Error::new(Exit::ApplyFailed, "terraform apply could not save the state at first")
        });
        return Err(failed.hint("the state was saved at the second try"));
    };
    let environment = order.environment();
    let copy = keep(context, order, prepared, file).await;
    Err(Error::new(
        Exit::StateNotSaved,
        format!("the state of `{environment}` could not be saved; a copy is at {copy}"),
    )
    .why(refused)
    .hint("mend what keeps the state from being written, and release the lock if one is left")
    .hint(format!(
        "then save the copy with `terraform state push` (docs/terraform.md, \"A state by hand\"; workspace {environment})"
    ))
    .hint("deploy nothing here before that: Terraform would make everything anew"))
}

/// Beside the state, else beside cdflow.yml, else where it is.
async fn keep(context: &Context, order: &Order<'_>, prepared: &Prepared, file: &Path) -> String {
    let log = &context.host.log;
    let kept = match fs::read(file) {
        Ok(content) => match keep_beside_state(order, prepared, &content).await {
            Ok(copy) => Ok(copy),
            Err(error) => {
                log.warning(&format!("no copy beside the state: {error}"));
                keep_beside_manifest(context, order, &content)
            }
        },
        Err(error) => Err(Error::io("can't read", file, &error)),
    };
    kept.unwrap_or_else(|error| {
        log.warning(&format!("no copy beside cdflow.yml either: {error}"));
        prepared.private.keep();
        file.display().to_string()
    })
}

fn name(order: &Order<'_>) -> String {
    let identity = &order.subject.release.identity;
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("recovery/{}/{}/{time}.tfstate", identity.prefix(), order.environment())
}

async fn keep_beside_state(
    order: &Order<'_>,
    prepared: &Prepared,
    content: &[u8],
) -> Result<String> {
    let store = prepared.state_home.store()?;
    let key = name(order);
    match store
        .put_new(&key, Content::Bytes(content.to_vec()), &Metadata::default(), &|_| {})
        .await?
    {
        Put::Created => Ok(store.describe(&key)),
        Put::Exists => Err(Error::refused(format!("{} exists", store.describe(&key)))),
    }
}

/// The component's folder outlives a container.
fn keep_beside_manifest(context: &Context, order: &Order<'_>, content: &[u8]) -> Result<String> {
    let path = context.folder.join(name(order).replace('/', "-"));
    write_new(&path, content)?;
    Ok(path.display().to_string())
}
