//! Names the run that holds the lock of a state, from the ledger, and whether that run is over.

use jiff::Timestamp;
use tokio::time::timeout;

use super::held_lock::{held, plain};
use crate::{
    base::{
        error::{Error, Exit},
        limits::Limit,
        shell_word::shell_word,
    },
    context::Context,
    deploy::{
        ledger::{Entry, text},
        target::Target,
    },
    terraform::state::lock::LockInfo,
};

/// How many of the newest runs are looked at.
const RUNS: usize = 20;

/// Adds to the error of a held lock which run holds it. Other errors stay as they are.
///
/// `began` is when this run began: it might hold the lock itself, if the answer to Terraform's
/// write was lost. It is not released here, because nothing makes it certainly ours. Terraform
/// picks the ID itself, and prints only the ID of the lock that it met. `Who` is user and host,
/// which all runs of a runner share. Another run can have taken the lock since `began`. So a
/// person decides.
pub(crate) async fn explain(
    context: &Context,
    target: &Target<'_>,
    began: Timestamp,
    error: Error,
) -> Error {
    if error.exit() != Exit::Locked {
        return error;
    }
    let read = async {
        let locks = held(context, &target.environment).await.ok()?;
        let (entries, _) = target.ledger.newest(RUNS).await.ok()?;
        Some((locks.into_iter().next().map(|(_, held)| held.holder), entries))
    };
    // The error is complete without them.
    let reading = timeout(Limit::StateLock.time(), read);
    let Ok(Some((holder, entries))) = reading.await else { return error };
    let environment = &target.environment;
    if let Some(holder) = holder.as_ref().filter(|holder| is_from_here(holder, began)) {
        return error.hint(format!(
            "release the lock unless another run on this machine holds it, because this run might \
             have taken it and lost the answer: cdflow unlock {environment} --force {}",
            shell_word(&plain(&holder.id))
        ));
    }
    match holder.as_ref().and_then(|holder| run_of(holder, &entries)) {
        Some(Entry { start, end: Some(end) }) => error.hint(format!(
            "release the lock, because {} is over since {}: cdflow unlock {environment} --force {}",
            text::run(start),
            end.finished.strftime("%Y-%m-%d %H:%M:%SZ"),
            holder.map(|holder| shell_word(&plain(&holder.id))).unwrap_or_default()
        )),
        Some(Entry { start, end: None }) => see(error, start),
        None => match entries.first().filter(|entry| entry.end.is_none()) {
            Some(entry) => see(error, &entry.start),
            None => error,
        },
    }
}

/// Whether the lock was taken on this machine since `began`.
fn is_from_here(holder: &LockInfo, began: Timestamp) -> bool {
    holder.is_of_this_machine()
        && holder.created.parse::<Timestamp>().is_ok_and(|created| created >= began)
}

fn see(error: Error, start: &crate::deploy::ledger::Start) -> Error {
    error.hint(format!("see {}, which has not recorded its end", text::run(start)))
}

/// Returns the run whose apply took the lock: the only one that was running at that time. A plan
/// takes the lock before its run is in the ledger, so nothing is known about it.
fn run_of<'e>(holder: &LockInfo, entries: &'e [Entry]) -> Option<&'e Entry> {
    let created: Timestamp = holder.created.parse().ok()?;
    if !holder.operation.to_lowercase().contains("apply") {
        return None;
    }
    let mut running = entries.iter().filter(|entry| {
        entry.start.started <= created
            && entry.end.as_ref().is_none_or(|end| created <= end.finished)
    });
    running.next().filter(|_| running.next().is_none())
}
