//! The commands: the order of things, and nothing else.

mod context;
mod deploy;
mod destroy;
mod doctor;
mod gates;
mod guard;
mod history;
mod init;
mod inspect;
mod opened;
mod post;
mod preflight;
mod prune;
mod release;
mod rescue;
mod rollback;
mod rollout;
mod runs;
mod status;
mod unlock;

use crate::{
    aws::credentials,
    error::Result,
    host::Host,
    inputs::{Command, ComponentCommand, Inputs},
};

pub(crate) async fn run(inputs: Inputs, host: Host) -> Result<()> {
    let Inputs { global, command } = inputs;
    if let Some(token) = &global.github_token {
        host.log.redactor.add(token);
    }
    let interrupt = host.interrupt.clone();
    let command = match command {
        Command::CredentialProcess { socket } => {
            host.log.json(&credentials::ask(&socket).await?);
            return Ok(());
        }
        Command::Post => return post::run(&host).await,
        Command::Doctor(inputs) => {
            guard::check(&global, &host).await?;
            return interrupt.or_cancel("looking at everything", doctor::run(&global, &inputs, &host)).await;
        }
        Command::Init(inputs) => return init::run(&global, &inputs, &host),
        Command::Component(command) => command,
    };
    guard::check(&global, &host).await?;
    let context = interrupt.or_cancel("reading the account scheme", context::open(&global, host)).await?;
    match command {
        ComponentCommand::Release(inputs) => release::run(&context, inputs).await,
        ComponentCommand::Deploy(inputs) => deploy::run(&context, inputs).await,
        ComponentCommand::Destroy(inputs) => destroy::run(&context, inputs).await,
        ComponentCommand::Inspect(inputs) => {
            interrupt.or_cancel("reading the release", inspect::run(&context, &inputs)).await
        }
        ComponentCommand::Status(inputs) => {
            interrupt.or_cancel("reading the ledger", status::run(&context, &inputs)).await
        }
        ComponentCommand::History(inputs) => {
            interrupt.or_cancel("reading the ledger", history::run(&context, &inputs)).await
        }
        ComponentCommand::Rollback(inputs) => rollback::run(&context, inputs).await,
        ComponentCommand::Prune(inputs) => prune::run(&context, inputs).await,
        ComponentCommand::Unlock(inputs) => unlock::run(&context, inputs).await,
    }
}
