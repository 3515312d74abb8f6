//! Reports the state after a failed apply: its serial number, and whether it is still locked.

use tokio::time::timeout;

use super::held_lock::{held, plain};
use crate::{
    base::limits::Limit, config::names::Environment, context::Context,
    terraform::state::summary::StateSummary,
};

pub(crate) async fn report_state(
    context: &Context,
    environment: &Environment,
    state: Option<&StateSummary>,
) {
    let log = &context.host.log;
    match state {
        Some(state) => log.note(&format!(
            "the stored state of {environment} has the serial number {}",
            state.serial
        )),
        None => log.note(&format!("{environment} has no stored state")),
    }
    let Ok(Ok(locks)) = timeout(Limit::StateLock.time(), held(context, environment)).await else {
        return log.note(&format!("to see whether it is locked: cdflow unlock {environment}"));
    };
    match locks.first() {
        None => log.note("the state is not locked"),
        Some((_, lock)) => log.warning(&format!(
            "the state of {environment} is locked by {} (`{}`); see: cdflow unlock {environment}",
            plain(&lock.holder.who),
            plain(&lock.holder.id)
        )),
    }
}
