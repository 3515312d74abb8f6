//! post: the clean-up after a step of the Action. The container or process of a cancelled step
//! might still be running. Waiting for it keeps the job's machine alive until Terraform has saved
//! the state.

use std::{pin::pin, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        units::duration_text,
    },
    services::{
        ci::{host::Host, post_state::LeftBehind, step_folder::StepFolder},
        docker::engine::Engine,
    },
};

/// When to warn that the job might end: GitHub might end it only a minute after the cancel.
const BEFORE_WARNING: Duration = Duration::from_secs(40);
/// The exit code after SIGKILL.
const KILLED: i64 = 137;
const STILL_RUNNING: &str = "The cancelled step is still running: waiting for it to save its state";

/// Waits for the step's run, if it still lasts, and reports how it ended.
///
/// # Errors
/// Exit code 7 if the state might not be saved.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let (waited, what) = match LeftBehind::read(&host.environment) {
        None => return Ok(()),
        Some(LeftBehind::Container { id, cancelled }) => {
            (wait_for_container(host, &id, cancelled.unwrap_or_default()).await, "container")
        }
        Some(LeftBehind::Folder(folder)) => (wait_for_process(host, &folder).await, "process"),
    };
    match waited {
        Err(error) if error.exit() != Exit::StateNotSaved => {
            host.log.warning(&format!(
                "the step was killed, and its {what} might still be running: {error}\n{}",
                advice(host)
            ));
            Ok(())
        }
        waited => waited,
    }
}

async fn wait_for_container(host: &Host, id: &str, cancelled: i64) -> Result<()> {
    let engine = Engine::connect(host).await?;
    let Some(container) = engine.running(id).await? else {
        host.log.warning(&format!(
            "the step was killed, and its container has ended since, with its last output\n{}",
            advice(host)
        ));
        return Ok(());
    };
    host.log.step(STILL_RUNNING);
    let mut show = |line: &str| show(host, line);
    wait(host, container.follow(cancelled, &mut show), container.ended(), || since(cancelled)).await
}

/// Returns the time since a moment in seconds since 1970; None for 0.
fn since(moment: i64) -> Option<Duration> {
    let moment = Timestamp::from_second(moment).ok().filter(|_| moment > 0)?;
    Timestamp::now().duration_since(moment).try_into().ok()
}

async fn wait_for_process(host: &Host, folder: &StepFolder) -> Result<()> {
    host.log.step(match folder.is_running()? {
        true => STILL_RUNNING,
        false => "The step ended after it was killed, with this output",
    });
    // `docker exec` passes no signals on to a job in a container, and node can be killed.
    if folder.interrupt()? {
        host.log.note("no signal has reached the step: cdflow interrupts it now");
    }
    let mut show = |line: &str| show(host, line);
    wait(host, folder.follow(&mut show), folder.ended(), || folder.lasted()).await
}

/// Waits for the end, and shows the output meanwhile. After the end, `lasted` returns how long the
/// run lasted after the cancel.
async fn wait(
    host: &Host,
    log_lines: impl Future<Output = Result<()>>,
    ended: impl Future<Output = Result<Option<i64>>>,
    lasted: impl FnOnce() -> Option<Duration>,
) -> Result<()> {
    let log = &host.log;
    let began = Instant::now();
    let (mut log_lines, mut ended) = (pin!(log_lines), pin!(ended));
    let (mut is_log_read, mut warning_at) = (false, began + BEFORE_WARNING);
    let (code, lasted) = loop {
        tokio::select! {
            code = &mut ended => break (code?, lasted()),
            read = &mut log_lines, if !is_log_read => {
                is_log_read = true;
                if let Err(error) = read {
                    log.warning(&format!("cannot show the step's output: {error}"));
                }
            }
            () = sleep_until(warning_at) => {
                warning_at = began + 2 * Limit::PostRun.time();
                log.warning(&format!(
                    "the step is still running; if GitHub ends the job now, \
                     the state might not be saved\n{}",
                    advice(host)
                ));
            }
            () = sleep_until(began + Limit::PostRun.time()) => {
                return Err(still_running(host, &Limit::PostRun.passed("it did not end")));
            }
            () = host.interrupt.arrived() => {
                return Err(still_running(host, "the wait was cancelled"));
            }
        }
    };
    if !is_log_read {
        // A failure to read the last lines does not change the result.
        if timeout(Limit::PostLines.time(), log_lines).await.is_err() {
            log.note(&Limit::PostLines.passed("the step's output did not end"));
        }
    }
    report_end(host, code, lasted)
}

fn report_end(host: &Host, code: Option<i64>, lasted: Option<Duration>) -> Result<()> {
    let how = match code {
        Some(7 | KILLED) => {
            return Err(Error::new(
                Exit::StateNotSaved,
                "the cancelled step failed to save its state",
            )
            .why(format!("its exit code is {}", code.unwrap_or_default()))
            .hint("read its last output above")
            .hint(advice(host)));
        }
        Some(0) => "it completed".to_owned(),
        Some(code) => format!("exit code {code}"),
        None => "unknown exit code".to_owned(),
    };
    let lasted = lasted.map(|time| format!(" {} after the cancel", duration_text(time)));
    let lasted = lasted.unwrap_or_default();
    host.log.warning(&format!("the cancelled step ended{lasted}: {how}\n{}", advice(host)));
    Ok(())
}

fn still_running(host: &Host, why: &str) -> Error {
    Error::new(
        Exit::StateNotSaved,
        "the cancelled step is still running, and ends with this job's machine",
    )
    .why(why)
    .hint(advice(host))
}

fn advice(host: &Host) -> String {
    let environment = host.environment.get("INPUT_ENVIRONMENT").unwrap_or("ENVIRONMENT");
    format!(
        "see what is deployed with `cdflow status`, and whether the state is still locked with \
         `cdflow unlock {environment}`"
    )
}

fn show(host: &Host, line: &str) {
    if let Some(text) = as_text(line) {
        host.log.output(&text);
    }
}

/// Turns the runner's commands in a line into text. The runner would execute them, not print them.
fn as_text(line: &str) -> Option<String> {
    if line.starts_with("::stop-commands::") || (line.starts_with("::") && line.ends_with("::")) {
        return None;
    }
    let message = ["error", "warning", "notice"].iter().find_map(|severity| {
        // A place in the code can follow the severity; it is not shown.
        let (_, text) = line.strip_prefix("::")?.strip_prefix(severity)?.split_once("::")?;
        let text = text.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%");
        Some(format!("{severity}: {text}"))
    });
    Some(message.unwrap_or_else(|| line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_text() {
        assert_eq!(
            as_text("aws_s3_bucket.a: Creating...").as_deref(),
            Some("aws_s3_bucket.a: Creating...")
        );
        assert_eq!(
            as_text("::error::100%25 sure%0A  -> do").as_deref(),
            Some("error: 100% sure\n  -> do")
        );
        assert_eq!(
            as_text("::warning file=main.tf,line=3,title=T::a::b").as_deref(),
            Some("warning: a::b")
        );
        assert_eq!(as_text("::stop-commands::3f5a"), None);
        assert_eq!(as_text("::3f5a::"), None);
    }
}
