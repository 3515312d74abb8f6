//! adopt: copies a state that plain Terraform or another tool made to an environment. The original
//! is never deleted. Then a plan shows what the release would change.

use std::{fs, path::Path};

use super::deploy;
use crate::{
    base::error::{Error, Result},
    cli::{
        args::{AdoptInputs, ConfirmInputs, DeployInputs, PlanInputs},
        values::StateUrl,
    },
    config::{
        names::{Environment, Version},
        scheme::{Account, Matched},
    },
    context::{self, Context},
    deploy::{
        ledger::environments,
        state::{
            location,
            migration::{self, holder},
        },
        target::Target,
    },
    release::published,
    report::Report,
    services::store::{DirectoryStore, ReleaseStore},
    terraform::state::{
        lock::StateLock,
        object::StateObject,
        transfer::{self, Copied},
    },
};

pub(crate) async fn run(context: &Context, inputs: AdoptInputs, report: &mut Report) -> Result<()> {
    let AdoptInputs { environment, version, from, from_lock_table, new_environment } = inputs;
    let (log, interrupt) = (&context.host.log, &context.host.interrupt);
    let target = Target::resolve(context, environment)?;
    let environment = &target.environment;
    if target.matched == Matched::ByDefault && !new_environment && !environment.is_preview() {
        return Err(Error::refused(format!(
            "only \"*\" of the account scheme matches `{environment}`"
        ))
        .why("it might be a typo, and later deploys would use the adopted state")
        .hint("if the name is correct, set --new-environment"));
    }
    log.step(&format!(
        "Adopt {from} as the state of {} in {environment}",
        context.identity.component
    ));
    if let Some(version) = &version {
        interrupt.or_cancel("looking for the release", check_published(context, version)).await?;
    }
    let finding = source(context, target.account, &from, from_lock_table);
    let source = interrupt.or_cancel("looking for the state", finding).await?;
    // From here on a cancel has to wait a little: the copy takes state locks and must release them.
    let home = migration::home(context, environment, false).await?;
    let home =
        home.ok_or_else(|| Error::internal(format!("no place for the state of `{environment}`")))?;
    let to = home.place.describe();
    let holder = holder(context, environment, "cdflow adopt", &to)?;
    let copied = transfer::copy(&source, &home.object()?, &holder, interrupt).await?;
    let state = match copied {
        Copied::Nothing => {
            return Err(Error::input(format!("state not found or empty: {from}")).hint(
                "check --from; the key of a workspace in an S3 backend is \
                 <workspace_key_prefix>/<workspace>/<key>",
            ));
        }
        Copied::Already(state) => {
            log.note(&format!("already at {to} (serial {})", state.serial));
            state
        }
        Copied::Done(state) => {
            log.note(&format!("copied to {to} and verified; {from} is unchanged"));
            state
        }
    };
    log.note(&format!(
        "{} resource(s), serial {}, lineage {}",
        state.resources, state.serial, state.lineage
    ));
    warn_of_others(context, environment, &state.lineage).await?;
    let Some(version) = version else {
        log.done(&format!(
            "Adopted. To see what a release would change: \
             cdflow deploy {environment} VERSION --plan-only"
        ));
        return Ok(());
    };
    let plan = PlanInputs { plan_only: true, ..PlanInputs::default() };
    let inputs = DeployInputs {
        plan,
        confirm_apply: ConfirmInputs { yes: true },
        ..DeployInputs::of(environment.clone(), version)
    };
    deploy::run(context, inputs, report).await
}

/// Warns of named environments that have the same state: a destroy of one would destroy the
/// resources of the other.
async fn warn_of_others(context: &Context, environment: &Environment, lineage: &str) -> Result<()> {
    for other in environments::named(context).iter().filter(|other| *other != environment) {
        let reading = location::lineage(context, other);
        let interrupt = &context.host.interrupt;
        let found = interrupt.or_cancel("comparing the states", reading).await;
        let place = match found {
            Ok(Some((place, found))) if found == lineage => place.describe(),
            Err(_) if let Some(exit) = interrupt.requested() => {
                return Err(Error::new(exit, "adopted, but cancelled while comparing the state"));
            }
            // An environment in another account can be unreadable for this run.
            _ => continue,
        };
        context.host.log.warning(&format!(
            "`{other}` has a copy of the same state: both manage the same resources, so a destroy \
             of one destroys those of the other\n  -> keep one: if `{environment}` replaces \
             `{other}`, delete {place}"
        ));
    }
    Ok(())
}

/// Fails if the release does not exist. Called before anything is copied.
async fn check_published(context: &Context, version: &Version) -> Result<()> {
    let release = context.release(version.clone());
    match context.store.head(&release.key()).await? {
        Some(_) => Ok(()),
        None => Err(published::missing(&context.store, &release).await),
    }
}

/// Returns the state to copy.
async fn source(
    context: &Context,
    account: &Account,
    from: &StateUrl,
    lock_table: Option<String>,
) -> Result<StateObject> {
    match from {
        StateUrl::File(_) if lock_table.is_some() => {
            Err(Error::input("--from-lock-table needs a state in S3")
                .hint("remove --from-lock-table"))
        }
        StateUrl::File(path) => file(path),
        StateUrl::S3 { bucket, key } => object(context, account, bucket, key, lock_table).await,
    }
}

fn file(path: &Path) -> Result<StateObject> {
    let failed = |error| {
        Error::io("cannot read the state", path, &error)
            .hint("check --from file:PATH, which is relative to the current folder")
    };
    let path = fs::canonicalize(path).map_err(failed)?;
    let (Some(folder), Some(name)) =
        (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Err(Error::input(format!("`{}` is not a file", path.display())));
    };
    Ok(StateObject {
        store: ReleaseStore::Directory(DirectoryStore::of_states(folder.to_owned())),
        key: name.to_owned(),
        locks: vec![StateLock::Local { state: path.clone() }],
        is_ours: false,
    })
}

/// Returns a state in S3. The bucket can be in any region and belong to any account.
async fn object(
    context: &Context,
    account: &Account,
    bucket: &str,
    key: &str,
    lock_table: Option<String>,
) -> Result<StateObject> {
    let session = context.session(account, account.role.as_deref()).await?.ok_or_else(|| {
        let alias = &account.alias;
        Error::input(format!("cannot read s3://{bucket}/{key}: the account `{alias}` has no role"))
            .hint("add `id` and `role` to the account in the account scheme")
            .hint("or download the state and set --from file:PATH")
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
