//! adopt: a state that plain Terraform or another tool made becomes an environment's. It is copied and never deleted; then a plan
//! says what the release would change.

use std::{fs, path::Path};

use super::deploy;
use crate::{
    base::error::{Error, Result},
    cli::{
        args::{AdoptInputs, DeployInputs, PlanInputs},
        values::StateUrl,
    },
    config::{
        names::Version,
        scheme::{Account, Matched},
    },
    context::{self, Context},
    deploy::state::migration::{self, holder},
    release::published,
    report::Report,
    services::store::{DirectoryStore, ReleaseStore},
    terraform::state::{
        lock::StateLock,
        transfer::{self, Copied, StateObject},
    },
};

pub(crate) async fn run(context: &Context, inputs: AdoptInputs, report: &mut Report) -> Result<()> {
    let AdoptInputs { environment, version, from, from_lock_table, new_environment } = inputs;
    let (log, interrupt) = (&context.host.log, &context.host.interrupt);
    let (account, matched) = context.scheme.account_of(&environment)?;
    if matched == Matched::ByDefault && !new_environment && !environment.is_preview() {
        return Err(Error::refused(format!(
            "only \"*\" of the account scheme matches `{environment}`"
        ))
        .why(
            "it may be a typing error, and a later deploy would take the adopted state for its own",
        )
        .hint("if it is meant: --new-environment"));
    }
    log.step(&format!(
        "Adopt {from} as the state of {} in {environment}",
        context.identity.component
    ));
    if let Some(version) = &version {
        interrupt.or_cancel("looking for the release", check_published(context, version)).await?;
    }
    let finding = source(context, account, &from, from_lock_table);
    let source = interrupt.or_cancel("looking for the state", finding).await?;
    // From here on not called off half way: locks are taken, and must be released.
    let home = migration::home(context, &environment, false).await?;
    let home =
        home.ok_or_else(|| Error::internal(format!("`{environment}` has no place for a state")))?;
    let to = home.place.describe();
    let copied =
        transfer::copy(&source, &home.object()?, &holder(context, "cdflow adopt", &to)?).await?;
    let state = match copied {
        Copied::Nothing => {
            return Err(Error::input(format!("there is no state at {from}, or an empty one"))
                .hint("check the place; of an S3 backend's workspace it is <workspace_key_prefix>/<workspace>/<key>"));
        }
        Copied::Already(state) => {
            log.note(&format!("it is at {to} already (serial {})", state.serial));
            state
        }
        Copied::Done(state) => {
            log.note(&format!("copied to {to}, verified; {from} stays"));
            state
        }
    };
    log.note(&format!(
        "{} resource(s), serial {}, lineage {}",
        state.resources, state.serial, state.lineage
    ));
    let Some(version) = version else {
        log.done(&format!(
            "Adopted. What a release would change: cdflow deploy {environment} VERSION --plan-only"
        ));
        return Ok(());
    };
    let plan = PlanInputs { plan_only: true, ..PlanInputs::default() };
    let inputs = DeployInputs {
        environment,
        version: Some(version),
        plan,
        new_environment: false,
        target: Vec::new(),
        replace: Vec::new(),
        refresh_only: false,
        allow_destroy: Vec::new(),
        allow_downgrade: false,
        url_output: None,
        report: Default::default(),
    };
    deploy::run(context, inputs, report).await
}

/// Known before anything is copied.
async fn check_published(context: &Context, version: &Version) -> Result<()> {
    let release = context.release(version.clone());
    match context.store.head(&release.key()).await? {
        Some(_) => Ok(()),
        None => Err(published::missing(&context.store, &release).await),
    }
}

async fn source(
    context: &Context,
    account: &Account,
    from: &StateUrl,
    lock_table: Option<String>,
) -> Result<StateObject> {
    match from {
        StateUrl::File(_) if lock_table.is_some() => {
            Err(Error::input("--from-lock-table is for a state in S3").hint("leave it out"))
        }
        StateUrl::File(path) => file(path),
        StateUrl::S3 { bucket, key } => object(context, account, bucket, key, lock_table).await,
    }
}

fn file(path: &Path) -> Result<StateObject> {
    let failed = |error| {
        Error::io("can't read the state", path, &error)
            .hint("--from file:PATH is relative to the current folder")
    };
    let path = fs::canonicalize(path).map_err(failed)?;
    let (Some(folder), Some(name)) =
        (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Err(Error::input(format!("`{}` is no file", path.display())));
    };
    Ok(StateObject {
        store: ReleaseStore::Directory(DirectoryStore::new(folder.to_owned())),
        key: name.to_owned(),
        locks: vec![StateLock::Local { state: path.clone() }],
        is_ours: false,
    })
}

/// Wherever the bucket is, and whoever's.
async fn object(
    context: &Context,
    account: &Account,
    bucket: &str,
    key: &str,
    lock_table: Option<String>,
) -> Result<StateObject> {
    let session = context.session(account, account.role.as_deref()).await?.ok_or_else(|| {
        Error::input(format!("the account `{}` has no role to read s3://{bucket}/{key} with", account.alias))
            .hint("give it an `id` and a `role` in the account scheme, or fetch the state and use --from file:PATH")
    })?;
    let store = context::foreign_store(&session, bucket, &account.region).await;
    let mut locks =
        vec![StateLock::LockFile { store: store.clone(), key: format!("{key}.tflock") }];
    locks.extend(lock_table.map(|table| StateLock::Row {
        client: aws_sdk_dynamodb::Client::new(&session.config),
        table,
        id: format!("{bucket}/{key}"),
        region: account.region.clone(),
    }));
    Ok(StateObject { store: ReleaseStore::S3(store), key: key.to_owned(), locks, is_ours: false })
}
