//! Migration to a new account scheme: the first deploy with it copies the state of the environment.
//! The old state is kept.

use super::location::{Missing, StateHome};
use crate::{
    base::{
        error::{Error, Result},
        redact::Secret,
    },
    config::names::Environment,
    context::{Context, LoadedScheme, SchemeUpgrade},
    services::store::{Content, Metadata},
    terraform::state::{
        lock::LockInfo,
        taken_locks::Holder,
        transfer::{self, Copied},
    },
};

/// The content that the reference program writes as well.
const MARKER: &[u8] = b"1";
/// What a cancelled run was doing.
const FINDING: &str = "looking for the state";

/// Returns where the state of an environment is, after copying it to the new place if necessary.
/// None if no place exists yet and a plan-only run creates none.
pub(crate) async fn home(
    context: &Context,
    environment: &Environment,
    plan_only: bool,
) -> Result<Option<StateHome>> {
    let missing = if plan_only { Missing::Leave } else { Missing::Create };
    let interrupt = &context.host.interrupt;
    if let SchemeUpgrade::Postponed(new) = &context.upgrade {
        let checking = check_not_migrated(context, new, environment);
        interrupt.or_cancel(FINDING, checking).await?;
    }
    let (scheme, identity) = (&context.scheme, &context.identity);
    let finding = StateHome::find(context, scheme, identity, environment, missing);
    let home = interrupt.or_last_answer(FINDING, finding).await?;
    let SchemeUpgrade::From(old) = &context.upgrade else { return Ok(home) };
    let has_moved = match &home {
        Some(home) => interrupt.or_cancel(FINDING, is_migrated(home)).await?,
        None => false,
    };
    if has_moved {
        return Ok(home);
    }
    let finding = old_home(context, old, environment);
    let Some(old_home) = interrupt.or_cancel(FINDING, finding).await? else { return Ok(home) };
    match home {
        Some(home) if home.place.describe() == old_home.place.describe() => Ok(Some(home)),
        Some(home) if !plan_only => {
            migrate(context, environment, &old_home, &home).await?;
            Ok(Some(home))
        }
        home => interrupt.or_cancel(FINDING, planned(context, old_home, home)).await,
    }
}

async fn old_home(
    context: &Context,
    old: &LoadedScheme,
    environment: &Environment,
) -> Result<Option<StateHome>> {
    // An environment that the old scheme does not have has no old state.
    if old.scheme.account_of(environment).is_err() {
        return Ok(None);
    }
    StateHome::find(context, &old.scheme, &old.identity, environment, Missing::Leave).await
}

/// Returns the place for a plan-only run, which copies nothing and so plans with the old state.
async fn planned(
    context: &Context,
    old: StateHome,
    new: Option<StateHome>,
) -> Result<Option<StateHome>> {
    if old.store()?.head(&old.place.key()).await?.is_none() {
        return Ok(new);
    }
    context.host.log.note(&format!(
        "planned with the state at {}, which a deploy will copy to its new place",
        old.place.describe()
    ));
    Ok(Some(old))
}

async fn migrate(
    context: &Context,
    environment: &Environment,
    old: &StateHome,
    new: &StateHome,
) -> Result<()> {
    let log = &context.host.log;
    let (from, to) = (old.place.describe(), new.place.describe());
    let holder = holder(context, environment, "cdflow migration", &from)?;
    let (old, interrupt) = (old.object()?, &context.host.interrupt);
    let copied = transfer::copy(&old, &new.object()?, &holder, interrupt).await;
    let copied = copied.map_err(|error| {
        error.hint(format!(
            "deploy again: nothing was applied, and the state of `{environment}` is still at \
             {from}"
        ))
    })?;
    match copied {
        Copied::Nothing => return Ok(()),
        Copied::Already(state) => {
            log.note(&format!("the state is already at {to} (serial number {})", state.serial))
        }
        Copied::Done(state) => {
            log.step(&format!("Migrate the state of {environment}"));
            log.note(&format!("from {from}, which is kept but no longer used"));
            log.note(&format!(
                "to {to}: serial number {}, lineage {}, verified",
                state.serial, state.lineage
            ));
        }
    }
    let marker = new.place.migrated_marker();
    let content = Content::Bytes(MARKER.to_vec());
    let (store, metadata) = (new.store()?, Metadata::default());
    let marking = store.put_new(&marker, content, &metadata, &|_| {});
    interrupt.or_last_answer("recording the migration", marking).await.map(drop)
}

async fn is_migrated(home: &StateHome) -> Result<bool> {
    Ok(home.store()?.head(&home.place.migrated_marker()).await?.is_some())
}

/// Fails if the state was migrated: the old one must not be changed any more.
async fn check_not_migrated(
    context: &Context,
    new: &LoadedScheme,
    environment: &Environment,
) -> Result<()> {
    if new.scheme.account_of(environment).is_err() {
        return Ok(());
    }
    let home =
        StateHome::find(context, &new.scheme, &new.identity, environment, Missing::Leave).await?;
    match home {
        Some(home) if is_migrated(&home).await? => Err(Error::refused(format!(
            "the state of `{environment}` has moved to the new account scheme"
        ))
        .why(format!("it is at {}", home.place.describe()))
        .hint("leave --old-account-scheme out")),
        _ => Ok(()),
    }
}

/// Returns the holder of cdflow's own locks, which Terraform and `cdflow unlock` show like any
/// other.
pub(crate) fn holder(
    context: &Context,
    environment: &Environment,
    what: &str,
    path: &str,
) -> Result<Holder> {
    let random = Secret::random()
        .map_err(|error| Error::internal("cannot get random bytes from the system").why(error))?;
    let id: String = random.expose().chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    let variables = &context.host.environment;
    let user =
        ["GITHUB_ACTOR", "USER"].iter().find_map(|name| variables.get(name)).unwrap_or("cdflow");
    let info = LockInfo::new(id, user, what, path);
    Ok(Holder { info, environment: environment.clone() })
}
