//! post: the clean-up after a step of the container Action. The container of a cancelled step might
//! still be running. Waiting for it keeps the job's machine alive until Terraform has saved the
//! state.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        units::duration_text,
    },
    services::{
        ci::{host::Host, post_state::LeftBehind},
        docker::engine::{Engine, Running},
    },
};

/// When to warn that the job might end: GitHub might end it only a minute after the cancel.
const BEFORE_WARNING: Duration = Duration::from_secs(40);
/// The exit code after SIGKILL.
const KILLED: i64 = 137;

/// Waits for the step's container, if it still runs, and reports how it ended.
///
/// # Errors
/// Exit code 7 if the state might not be saved.
pub(crate) async fn run(host: &Host) -> Result<()> {
    let Some(left) = LeftBehind::read(&host.environment) else { return Ok(()) };
    let message = match wait_if_running(host, &left).await {
        Ok(true) => return Ok(()),
        Ok(false) => "the step was killed, and its container has ended since, with its last output"
            .to_owned(),
        Err(error) if error.exit() == Exit::StateNotSaved => return Err(error),
        Err(error) => {
            format!("the step was killed, and its container might still be running: {error}")
        }
    };
    host.log.warning(&format!("{message}\n{}", advice(host)));
    Ok(())
}

/// Returns whether there was a running container.
async fn wait_if_running(host: &Host, left: &LeftBehind) -> Result<bool> {
    let engine = Engine::connect(host).await?;
    match engine.running(&left.container).await? {
        Some(container) => wait(host, left, &container).await.map(|()| true),
        None => Ok(false),
    }
}

async fn wait(host: &Host, left: &LeftBehind, container: &Running<'_>) -> Result<()> {
    let log = &host.log;
    let began = Instant::now();
    log.step("The cancelled step is still running: waiting for it to save its state");
    let mut show = |line: &str| {
        if let Some(text) = as_text(line) {
            log.output(&text);
        }
    };
    let mut log_lines = pin!(container.follow(left.cancelled.unwrap_or_default(), &mut show));
    let mut ended = pin!(container.ended());
    let (mut is_log_read, mut warning_at) = (false, began + BEFORE_WARNING);
    let code = loop {
        tokio::select! {
            code = &mut ended => break code?,
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
                return Err(still_running(host, "GitHub does not wait longer"));
            }
            () = host.interrupt.arrived() => {
                return Err(still_running(host, "the wait was cancelled"));
            }
        }
    };
    if !is_log_read {
        // A failure to read the last lines does not change the result.
        let _ = timeout(Limit::PostLines.time(), log_lines).await;
    }
    report_end(host, code, began.elapsed())
}

fn report_end(host: &Host, code: Option<i64>, after: Duration) -> Result<()> {
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
    let waited = duration_text(after);
    host.log.warning(&format!("the cancelled step ended after {waited}: {how}\n{}", advice(host)));
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

/// Turns the runner's commands in a line into text. The runner would execute them, not print them.
fn as_text(line: &str) -> Option<String> {
    if line.starts_with("::stop-commands::") || (line.starts_with("::") && line.ends_with("::")) {
        return None;
    }
    let message = ["error", "warning", "notice"].iter().find_map(|severity| {
        let text = line.strip_prefix("::")?.strip_prefix(severity)?.strip_prefix("::")?;
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
        assert_eq!(as_text("::stop-commands::3f5a"), None);
        assert_eq!(as_text("::3f5a::"), None);
    }
}
