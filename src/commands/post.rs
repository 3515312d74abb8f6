//! post: the clean-up after a step of the container Action. A step that was cancelled may still be at work: its container is
//! waited for, so that the job, and with it the machine, lives until Terraform has saved its state.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    base::{
        error::{Error, Exit, Result},
        units::duration_text,
    },
    services::{
        ci::{host::Host, post_state::LeftBehind},
        docker::engine::{Engine, Running},
    },
};

/// GitHub ends a cancelled job after five minutes, of which the step has used ten seconds.
const LONGEST: Duration = Duration::from_secs(4 * 60);
/// It may also end it a minute after the cancel; what people must know is said before.
const MAY_END: Duration = Duration::from_secs(40);
/// The rest of a log comes at once when its container has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
const KILLED: i64 = 137;

pub(crate) async fn run(host: &Host) -> Result<()> {
    let Some(left) = LeftBehind::read(&host.environment) else { return Ok(()) };
    let told = match look(host, &left).await {
        Ok(true) => return Ok(()),
        Ok(false) => {
            "the step was killed, and its container has ended since, with what it said last"
                .to_owned()
        }
        Err(error) if error.exit() == Exit::StateNotSaved => return Err(error),
        Err(error) => {
            format!("the step was killed, and may still be at work in its container: {error}")
        }
    };
    host.log.warning(&format!("{told}\n{}", advice(host)));
    Ok(())
}

/// Whether there was something to wait for.
async fn look(host: &Host, left: &LeftBehind) -> Result<bool> {
    let engine = Engine::connect(host).await?;
    match engine.running(&left.container).await? {
        Some(container) => wait(host, left, &container).await.map(|()| true),
        None => Ok(false),
    }
}

async fn wait(host: &Host, left: &LeftBehind, container: &Running<'_>) -> Result<()> {
    let log = &host.log;
    let began = Instant::now();
    log.step(
        "The step was cancelled, and is still at work: waiting for it, so that its state is saved",
    );
    let mut show = |line: &str| {
        if let Some(text) = as_text(line) {
            log.output(&text);
        }
    };
    let mut relayed = pin!(container.follow(left.cancelled.unwrap_or_default(), &mut show));
    let mut ended = pin!(container.ended());
    let (mut is_relayed, mut may_end) = (false, began + MAY_END);
    let code = loop {
        tokio::select! {
            code = &mut ended => break code?,
            followed = &mut relayed, if !is_relayed => {
                is_relayed = true;
                if let Err(error) = followed {
                    log.warning(&format!("what the step says can't be shown: {error}"));
                }
            }
            () = sleep_until(may_end) => {
                may_end = began + 2 * LONGEST;
                log.warning(&format!("still at work; if GitHub ends the job now, the state may not be saved\n{}", advice(host)));
            }
            () = sleep_until(began + LONGEST) => return Err(still_at_work(host, "GitHub would not wait any longer")),
            () = host.interrupt.arrived() => return Err(still_at_work(host, "the wait for it was cancelled")),
        }
    };
    if !is_relayed {
        // Trouble with the last words does not change how it ended.
        let _ = timeout(LAST_WORDS, relayed).await;
    }
    tell_end(host, code, began.elapsed())
}

fn tell_end(host: &Host, code: Option<i64>, after: Duration) -> Result<()> {
    let how = match code {
        Some(7 | KILLED) => {
            return Err(Error::new(
                Exit::StateNotSaved,
                "the cancelled step could not save its state",
            )
            .why(format!("its exit code is {}", code.unwrap_or_default()))
            .hint("what it said last stands above")
            .hint(advice(host)));
        }
        Some(0) => "it was completed all the same".to_owned(),
        Some(code) => format!("exit code {code}"),
        None => "its exit code is not known".to_owned(),
    };
    let waited = duration_text(after);
    host.log.warning(&format!(
        "the cancelled step has ended after a wait of {waited}: {how}\n{}",
        advice(host)
    ));
    Ok(())
}

fn still_at_work(host: &Host, why: &str) -> Error {
    Error::new(
        Exit::StateNotSaved,
        "the cancelled step is still at work, and ends with this job's machine",
    )
    .why(why)
    .hint(advice(host))
}

fn advice(host: &Host) -> String {
    let environment = host.environment.get("INPUT_ENVIRONMENT").unwrap_or("ENVIRONMENT");
    format!(
        "see what is deployed with `cdflow status`, and whether the state is still locked with `cdflow unlock {environment}`"
    )
}

/// The runner would have carried these out and not shown them; here they are shown, as text.
fn as_text(line: &str) -> Option<String> {
    if line.starts_with("::stop-commands::") || (line.starts_with("::") && line.ends_with("::")) {
        return None;
    }
    let told = ["error", "warning", "notice"].iter().find_map(|severity| {
        let text = line.strip_prefix("::")?.strip_prefix(severity)?.strip_prefix("::")?;
        let text = text.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%");
        Some(format!("{severity}: {text}"))
    });
    Some(told.unwrap_or_else(|| line.to_owned()))
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
