//! comment check: whether the comment that started the run commands something. Later jobs of the
//! workflow read the outputs.

use super::accepted;
use crate::{
    base::error::Result,
    cli::args::Global,
    report,
    services::{ci::host::Host, github::Reaction},
};

pub(in crate::commands) async fn run(global: &Global, host: &Host) -> Result<()> {
    let Some((accepted, answer)) = accepted(global, host, None).await? else { return Ok(()) };
    answer.react(Reaction::Eyes).await;
    let command = &accepted.command;
    report::publish_command(
        command.verb.word(),
        command.environment.as_str(),
        &accepted.version(),
        &accepted.pull_request.head.sha,
        host,
    );
    let login = accepted.commanded.login.escape_debug();
    host.log.done(&format!(
        "Accepted `{command}` from {login}, for {} of pull request #{}",
        accepted.version(),
        accepted.pull_request.number
    ));
    Ok(())
}
