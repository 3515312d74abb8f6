//! unlock: shows who holds the lock of a state. With `--force ID` it releases that lock.

use crate::{
    base::{
        error::{Error, Result},
        shell_word::shell_word,
    },
    cli::args::UnlockInputs,
    config::names::Environment,
    context::Context,
    deploy::{
        ledger::environments,
        state::held_lock::{held, plain},
        target::Target,
    },
    report::Report,
    terraform::state::lock::{HeldLock, StateLock},
};

/// Prints the answer, and keeps it in `report` for a comment that commands this.
pub(crate) async fn run(
    context: &Context,
    inputs: UnlockInputs,
    report: &mut Report,
) -> Result<()> {
    let UnlockInputs { environment, force } = inputs;
    let Target { environment, .. } = Target::resolve(context, environment)?;
    let reading = held(context, &environment);
    let locks = context.host.interrupt.or_cancel("reading the state lock", reading).await?;
    match (locks.is_empty(), force) {
        (true, _) => {
            let free = format!("the state of {environment} is not locked");
            context.host.log.output(&free);
            report.answer = Some(free);
            if let Some(meant) = environments::meant(context, &environment) {
                let note = format!("the account scheme does not name `{environment}`");
                context.host.log.warning(&format!("{note}\n  -> did you mean `{meant}`?"));
            }
        }
        (false, None) => {
            let mut lines = shown(&environment, &locks);
            lines.iter().for_each(|line| context.host.log.output(line));
            if let Some((_, held)) = locks.first() {
                let id = plain(&held.holder.id);
                let to_release = "to release it if that run is dead: ";
                let word = shell_word(&id);
                context
                    .host
                    .log
                    .note(&format!("{to_release}cdflow unlock {environment} --force {word}"));
                lines.push(format!("{to_release}/cdflow unlock {environment} {id}"));
            }
            report.answer = Some(lines.join("\n"));
        }
        (false, Some(id)) => {
            let lines = shown(&environment, &locks);
            lines.iter().for_each(|line| context.host.log.output(line));
            let released = release(context, &environment, &locks, &id).await?;
            context.host.log.done(&released);
            report.answer = Some(released);
        }
    }
    Ok(())
}

fn shown(environment: &Environment, locks: &[(StateLock, HeldLock)]) -> Vec<String> {
    let mut lines = vec![format!("the state of {environment} is locked")];
    for (place, held) in locks {
        let holder = &held.holder;
        lines.push(format!("  {}", place.describe()));
        for (name, value) in [
            ("ID", &holder.id),
            ("Who", &holder.who),
            ("Created", &holder.created),
            ("Operation", &holder.operation),
            ("Path", &holder.path),
        ] {
            lines.push(format!("    {:<10} {}", format!("{name}:"), plain(value)));
        }
        match (place, held.process) {
            (StateLock::Local { .. }, Some(process)) => {
                lines.push(format!("    held by process {process}, which is running"));
            }
            (StateLock::Local { .. }, None) => {
                lines.push("    its process has ended, so Terraform ignores it".to_owned());
            }
            _ => {}
        }
    }
    lines
}

/// Releases the locks with this ID. Returns what was done.
async fn release(
    context: &Context,
    environment: &Environment,
    locks: &[(StateLock, HeldLock)],
    id: &str,
) -> Result<String> {
    let (wanted, others): (Vec<_>, Vec<_>) =
        locks.iter().partition(|(_, held)| held.holder.id == id);
    let ids = |locks: &[&(StateLock, HeldLock)]| {
        let mut ids: Vec<String> = locks.iter().map(|(_, held)| plain(&held.holder.id)).collect();
        ids.dedup();
        ids.join(", ")
    };
    if wanted.is_empty() {
        return Err(Error::refused(format!(
            "the state of `{environment}` is not locked by `{}`",
            plain(id)
        ))
        .why(format!("it is locked by {}", ids(&others)))
        .hint("check whether that run is dead, and set --force to its ID"));
    }
    if let Some(process) = wanted.iter().find_map(|(_, held)| held.process) {
        return Err(Error::refused(format!(
            "the state of `{environment}` is in use: process {process} is running"
        ))
        .why("only the end of its process releases a local lock")
        .hint(format!("wait for it, or interrupt it once: kill -INT {process}")));
    }
    context.host.interrupt.check("releasing the lock")?;
    for (place, held) in wanted {
        let releasing = place.release(held);
        if !context.host.interrupt.or_last_answer("releasing the lock", releasing).await? {
            return Err(Error::refused(format!("the lock at `{}` has changed", place.describe()))
                .why("another run locked the state after it was read")
                .hint(format!("show the new lock: cdflow unlock {environment}")));
        }
        context.host.log.note(&format!("released {}", place.describe()));
    }
    if !others.is_empty() {
        context.host.log.warning(&format!("the state is still locked by {}", ids(&others)));
    }
    Ok(format!("Released the lock {} of the state of {environment}", plain(id)))
}
