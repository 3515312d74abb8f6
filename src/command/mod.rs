//! The commands: the order of things, and nothing else.

mod context;
mod deploy;
mod destroy;
mod inspect;
mod release;
mod rescue;
mod rollout;
mod status;

use crate::{
    aws::credentials,
    error::Result,
    host::Host,
    inputs::{Command, Inputs},
};

pub(crate) async fn run(inputs: Inputs, host: Host) -> Result<()> {
    let Inputs { global, command } = inputs;
    match command {
        Command::Release(inputs) => release::run(&context::open(&global, host).await?, inputs).await,
        Command::Inspect(inputs) => inspect::run(&context::open(&global, host).await?, &inputs).await,
        Command::Deploy(inputs) => deploy::run(&context::open(&global, host).await?, inputs).await,
        Command::Destroy(inputs) => destroy::run(&context::open(&global, host).await?, inputs).await,
        Command::Status(inputs) => status::run(&context::open(&global, host).await?, &inputs).await,
        Command::CredentialProcess { socket } => {
            host.log.output(&credentials::ask(&socket).await?);
            Ok(())
        }
    }
}
