//! The commands in comments on pull requests: who commands what, and the command itself.

mod check;
mod run;

pub(super) use self::{check::run as check, run::run};
use crate::{
    base::error::{Error, Result},
    cli::args::Global,
    context::comment::{self, Accepted, Judged},
    report::Answer,
    services::{ci::host::Host, github::Reaction},
};

/// What a reply begins with.
const NOT_CARRIED_OUT: &str = "cdflow did not carry out the command";

/// Returns the command of the run's comment. None if the comment is for others. What is refused is
/// answered.
async fn accepted(
    global: &Global,
    host: &Host,
    head: Option<&str>,
) -> Result<Option<(Box<Accepted>, Answer)>> {
    let answer = || -> Result<Answer> {
        Ok(Answer::to(comment::of_run(host)?, host, global.github_token.as_ref()))
    };
    let judged = match comment::judge(global, host, head).await {
        // `comment check` has accepted it, and its author waits.
        Err(error) if head.is_some() => {
            answer()?.react(Reaction::Down).await;
            return Err(error);
        }
        judged => judged?,
    };
    match judged {
        Judged::Ignored(why) => {
            host.log.done(&format!("Nothing to do: {why}"));
            Ok(None)
        }
        Judged::Accepted(accepted) => Ok(Some((accepted, answer()?))),
        Judged::Denied(error) => {
            answer()?.react(Reaction::Down).await;
            Err(error)
        }
        Judged::Wrong(error) => Err(declined(&answer()?, Reaction::Confused, error).await),
        Judged::Refused(error) => Err(declined(&answer()?, Reaction::Down, error).await),
    }
}

async fn declined(answer: &Answer, reaction: Reaction, error: Error) -> Error {
    answer.react(reaction).await;
    answer.reply(NOT_CARRIED_OUT, &error.to_string()).await;
    error
}
