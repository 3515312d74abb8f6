//! The commands: the order of things, and nothing else.

mod adopt;
mod build;
mod deploy;
mod destroy;
mod dockerfile;
mod doctor;
mod function;
mod history;
mod init;
mod inspect;
mod post;
mod preview;
mod prune;
mod release;
mod rollback;
mod shell;
mod status;
mod unlock;

use crate::{
    base::error::Result,
    cli::{
        args::{Command, ComponentCommand, Inputs},
        report_flags::ReportFlags,
    },
    context::{self, SchemeUpgrade, trust},
    deploy::comment_rows,
    report::Report,
    services::{aws::credentials, ci::host::Host},
};

/// What is worth a report is told to `report` on the way, so that it has all that is known when a step fails. The exit code of a
/// run that went well: a shell's own, or 0.
pub(crate) async fn run(inputs: Inputs, host: Host, report: &mut Report) -> Result<u8> {
    let Inputs { global, command } = inputs;
    if let Some(token) = &global.github_token {
        host.log.redactor.add(token);
    }
    let flags = ReportFlags::of(&command);
    flags.check()?;
    let interrupt = host.interrupt.clone();
    let command = match command {
        Command::CredentialProcess { socket } => {
            host.log.json(&credentials::ask(&socket).await?);
            return Ok(0);
        }
        Command::Build(inputs) => return build::run(&global, &inputs, &host).await.map(|()| 0),
        Command::Dockerfile(inputs) => {
            return interrupt
                .or_cancel("asking for the base images", dockerfile::run(&global, &inputs, &host))
                .await
                .map(|()| 0);
        }
        Command::Post => return post::run(&host).await.map(|()| 0),
        Command::Doctor(inputs) => {
            trust::check(&global, &host).await?;
            let examined =
                interrupt.or_cancel("looking at everything", doctor::run(&global, &inputs, &host));
            return examined.await.map(|()| 0);
        }
        Command::Init(inputs) => return init::run(&global, &inputs, &host).map(|()| 0),
        Command::Component(command) => command,
    };
    report.command = flags.command.to_owned();
    trust::check(&global, &host).await?;
    let context = interrupt
        .or_cancel("reading the account scheme", context::open(&global, &flags, host))
        .await?;
    report.component = Some(context.identity.component.to_string());
    report.team = Some(context.identity.team.to_string());
    let done = match command {
        ComponentCommand::Shell(inputs) => return shell::run(context, inputs).await,
        ComponentCommand::Release(inputs) => release::run(&context, inputs, report).await,
        ComponentCommand::Deploy(inputs) => deploy::run(&context, inputs, report).await,
        ComponentCommand::Destroy(inputs) => destroy::run(&context, inputs, report).await,
        ComponentCommand::Preview(command) => preview::run(&context, command, report).await,
        ComponentCommand::Inspect(inputs) => {
            interrupt.or_cancel("reading the release", inspect::run(&context, &inputs)).await
        }
        ComponentCommand::Status(inputs) => {
            interrupt.or_cancel("reading the ledger", status::run(&context, &inputs, report)).await
        }
        ComponentCommand::History(inputs) => {
            interrupt.or_cancel("reading the ledger", history::run(&context, &inputs)).await
        }
        ComponentCommand::Rollback(inputs) => rollback::run(&context, inputs, report).await,
        ComponentCommand::Prune(inputs) => prune::run(&context, inputs).await,
        ComponentCommand::Unlock(inputs) => unlock::run(&context, inputs).await,
        ComponentCommand::Adopt(inputs) => adopt::run(&context, inputs, report).await,
    };
    comment_rows::tell(&context, report).await;
    if let SchemeUpgrade::From(old) = &context.upgrade {
        let to = old.scheme.moved_to.as_deref().unwrap_or_default();
        context.host.log.warning(&format!(
            "the account scheme {} is left behind: when every environment is deployed by the new one, set `account-scheme-url` in \
             cdflow.yml to {to}",
            old.url
        ));
    }
    done.map(|()| 0)
}
