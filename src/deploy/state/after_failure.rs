//! Reports the state after a failed apply: its serial number, and whether it is still locked.

use super::held_lock::{held, plain};
use crate::{
    base::limits::Limit,
    config::names::Environment,
    context::Context,
    terraform::state::{
        lock::{HeldLock, StateLock},
        summary::StateSummary,
    },
};

/// `state` is None if the state could not be read, and `Some(None)` if there is none.
pub(crate) async fn report_state(
    context: &Context,
    environment: &Environment,
    state: Option<Option<&StateSummary>>,
) {
    let log = &context.host.log;
    match state {
        Some(Some(state)) => log.note(&format!(
            "the stored state of {environment} has the serial number {}",
            state.serial
        )),
        Some(None) => log.note(&format!("{environment} has no stored state")),
        None => log.note(&format!("it is unknown which state of {environment} is stored")),
    }
    let limits = [Limit::StateLock; 2];
    let why = match context.host.interrupt.or_stop(limits, held(context, environment)).await {
        Ok(Ok(locks)) => return report_locks(context, environment, &locks),
        Ok(Err(error)) => error.story(),
        Err(limit) => limit.passed("no answer"),
    };
    log.note(&format!("it is unknown whether the state is locked: {why}"));
    log.note(&format!("to see whether it is locked: cdflow unlock {environment}"));
}

fn report_locks(context: &Context, environment: &Environment, locks: &[(StateLock, HeldLock)]) {
    let log = &context.host.log;
    match locks.first() {
        None => log.note("the state is not locked"),
        Some((_, lock)) => log.warning(&format!(
            "the state of {environment} is locked by {} (`{}`); see: cdflow unlock {environment}",
            plain(&lock.holder.who),
            plain(&lock.holder.id)
        )),
    }
}
