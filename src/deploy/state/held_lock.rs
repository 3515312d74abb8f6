//! Who holds the lock of an environment's state, in every place where it can be locked.

use super::location::{Missing, StateHome};
use crate::{
    base::error::Result,
    config::names::Environment,
    context::{Context, SchemeUpgrade},
    terraform::state::lock::{HeldLock, StateLock},
};

/// Returns each lock of the state that is held, and the place where.
pub(crate) async fn held(
    context: &Context,
    environment: &Environment,
) -> Result<Vec<(StateLock, HeldLock)>> {
    let mut locks = Vec::new();
    for place in places(context, environment).await? {
        if let Some(held) = place.read().await? {
            locks.push((place, held));
        }
    }
    Ok(locks)
}

/// Replaces control characters: the writer of a lock must not control the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Returns the places where the state can be locked, including those that it is migrated from.
/// Empty if the state has no place yet.
async fn places(context: &Context, environment: &Environment) -> Result<Vec<StateLock>> {
    let mut sides = vec![(&context.scheme, &context.identity)];
    if let SchemeUpgrade::From(old) = &context.upgrade
        && old.scheme.account_of(environment).is_ok()
    {
        sides.push((&old.scheme, &old.identity));
    }
    let mut locks = Vec::new();
    for (scheme, identity) in sides {
        if let Some(home) =
            StateHome::find(context, scheme, identity, environment, Missing::Leave).await?
        {
            locks.extend(home.locks()?);
        }
    }
    Ok(locks)
}
