//! What is told of an apply that did not end well: how far the state has come, and whether it is still locked.

use std::time::Duration;

use tokio::time::timeout;

use super::held_lock::{held, plain};
use crate::{
    config::names::Environment, context::Context, terraform::state::summary::StateSummary,
};

/// A cancelled run has little time, and more important things to say.
const ENOUGH: Duration = Duration::from_secs(15);

pub(crate) async fn report_state(
    context: &Context,
    environment: &Environment,
    state: Option<&StateSummary>,
) {
    let log = &context.host.log;
    match state {
        Some(state) => {
            log.note(&format!("the stored state of {environment} has serial {}", state.serial))
        }
        None => log.note(&format!("{environment} has no stored state")),
    }
    let Ok(Ok(locks)) = timeout(ENOUGH, held(context, environment)).await else {
        return log.note(&format!("whether it is locked, `cdflow unlock {environment}` says"));
    };
    match locks.first() {
        None => log.note("it is not locked"),
        Some((_, lock)) => log.warning(&format!(
            "the state of {environment} is locked by {} (`{}`): see `cdflow unlock {environment}`",
            plain(&lock.holder.who),
            plain(&lock.holder.id)
        )),
    }
}
