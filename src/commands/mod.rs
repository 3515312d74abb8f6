//! The commands: each is the order of its steps, and nothing else.

mod adopt;
mod build;
mod comment;
mod completions;
mod deploy;
mod deployed;
mod destroy;
mod dockerfile;
mod doctor;
mod function;
mod history;
mod hold;
mod init;
mod inspect;
mod manual;
mod post;
mod preview;
mod prune;
mod release;
mod releases;
mod rollback;
mod shell;
mod status;
#[cfg(test)]
mod tests;
mod unaffected;
mod unlock;

use crate::{
    base::{error::Result, on_heap::on_heap, redact::Secret},
    cli::{
        args::{Command, CommentStep, ComponentCommand, Global, Inputs},
        report_flags::ReportFlags,
    },
    context::{self, SchemeUpgrade, trust},
    deploy::comment_rows,
    report::{Notices, Report},
    services::{aws::credentials, ci::host::Host},
};

/// Runs a command and returns the exit code of a success: that of the program that `shell` ran,
/// else 0.
///
/// Fills `report` step by step, so that a report of a failure has everything that was known by
/// then.
pub(crate) async fn run(inputs: Inputs, host: Host, report: &mut Report) -> Result<u8> {
    let Inputs { global, command } = inputs;
    if let Some(token) = &global.github_token {
        host.log.redactor.add(token);
    }
    let flags = ReportFlags::of(&command);
    flags.check()?;
    let interrupt = host.interrupt.clone();
    match command {
        Command::Component(command) => {
            return on_heap(|| run_for_component(command, &global, &flags, host, report)).await;
        }
        Command::Comment(CommentStep::Check(_)) => comment::check(&global, &host).await?,
        Command::Comment(CommentStep::Run(inputs)) => {
            on_heap(|| comment::run(&global, inputs, host, report)).await?;
        }
        Command::Unaffected(_) => unaffected::run(&global, &host, report).await,
        Command::Build(inputs) => on_heap(|| build::run(&global, &inputs, &host)).await?,
        Command::Dockerfile(inputs) => {
            let printing = on_heap(|| dockerfile::run(&global, &inputs, &host));
            interrupt.or_cancel("resolving the base images", printing).await?;
        }
        Command::Doctor(inputs) => {
            trust::check(&global, &host).await?;
            interrupt
                .or_cancel("running the checks", on_heap(|| doctor::run(&global, &inputs, &host)))
                .await?;
        }
        Command::Init(inputs) => {
            let creating = on_heap(|| init::run(&global, &inputs, &host));
            interrupt.or_cancel("reading the account scheme", creating).await?;
        }
        Command::Completions(inputs) => completions::run(&inputs, &host),
        Command::Man { directory } => manual::run(&directory, &host)?,
        Command::Post => post::run(&host).await?,
        Command::CredentialProcess { socket } => {
            host.log.json(&credentials::ask(&socket).await?);
        }
    }
    Ok(0)
}

async fn run_for_component(
    command: ComponentCommand,
    global: &Global,
    flags: &ReportFlags,
    host: Host,
    report: &mut Report,
) -> Result<u8> {
    let interrupt = host.interrupt.clone();
    report.command = flags.command.to_owned();
    let trusted = trust::check(global, &host).await?;
    let only_reads = only_reads(&command, &host);
    let opening = context::open(global, flags, host, trusted, only_reads);
    let context = interrupt.or_cancel("reading the account scheme", opening).await?;
    report.component = Some(context.identity.component.to_string());
    report.team = Some(context.identity.team.to_string());
    for rule in context.manifest.notify.iter().flatten() {
        let url = context.host.environment.get(&rule.url_variable.0).map(str::trim);
        if let Some(url) = url {
            context.host.log.redactor.add(&Secret::new(url));
        }
    }
    report.notices = notices(&command, &context);
    for name in [&report.component, &report.team].into_iter().flatten() {
        context.host.log.redactor.never_mask(name);
    }
    let result = match command {
        ComponentCommand::Shell(inputs) => return on_heap(|| shell::run(context, inputs)).await,
        ComponentCommand::Release(inputs) => {
            on_heap(|| release::run(&context, inputs, report)).await
        }
        ComponentCommand::Deploy(inputs) => on_heap(|| deploy::run(&context, inputs, report)).await,
        ComponentCommand::Destroy(inputs) => {
            on_heap(|| destroy::run(&context, inputs, report)).await
        }
        ComponentCommand::Preview(command) => {
            on_heap(|| preview::run(&context, command, report)).await
        }
        ComponentCommand::Releases(inputs) => {
            let listing = on_heap(|| releases::run(&context, &inputs, report));
            interrupt.or_cancel("reading the releases", listing).await
        }
        ComponentCommand::Inspect(inputs) => {
            interrupt
                .or_cancel("reading the release", on_heap(|| inspect::run(&context, &inputs)))
                .await
        }
        ComponentCommand::Status(inputs) => {
            interrupt
                .or_cancel("reading the ledger", on_heap(|| status::run(&context, &inputs, report)))
                .await
        }
        ComponentCommand::History(inputs) => {
            interrupt
                .or_cancel("reading the ledger", on_heap(|| history::run(&context, &inputs)))
                .await
        }
        ComponentCommand::Rollback(inputs) => {
            on_heap(|| rollback::run(&context, inputs, report)).await
        }
        ComponentCommand::Prune(inputs) => on_heap(|| prune::run(&context, inputs)).await,
        ComponentCommand::Unlock(inputs) => on_heap(|| unlock::run(&context, inputs, report)).await,
        ComponentCommand::Hold(inputs) => on_heap(|| hold::take(&context, inputs, report)).await,
        ComponentCommand::Unhold(inputs) => {
            on_heap(|| hold::release(&context, inputs, report)).await
        }
        ComponentCommand::Adopt(inputs) => on_heap(|| adopt::run(&context, inputs, report)).await,
    };
    comment_rows::add_past_runs(&context, report).await;
    if let SchemeUpgrade::From(old) = &context.upgrade {
        let to = old.scheme.moved_to.as_deref().unwrap_or_default();
        context.host.log.warning(&format!(
            "the component moves away from the account scheme {}\n  \
             -> deploy every environment, then set `account-scheme-url` in cdflow.yml to {to}",
            old.url
        ));
    }
    result.map(|()| 0)
}

/// Returns the webhooks for the end of a run that may change something, or looks for drift. A plan
/// for a pull request has a comment.
fn notices(command: &ComponentCommand, context: &context::Context) -> Notices {
    let is_about_drift = matches!(command, ComponentCommand::Deploy(inputs)
        if inputs.refresh_only && inputs.plan.plan_only);
    let rules = match command.only_reads() && !is_about_drift {
        true => Vec::new(),
        false => context.manifest.notify.clone().unwrap_or_default(),
    };
    Notices { rules, is_about_drift }
}

/// Whether the role for plans is enough in the release account. The release of a pull request, also
/// in a merge queue, has a version of its own, which the role can be allowed to publish.
fn only_reads(command: &ComponentCommand, host: &Host) -> bool {
    let is_of_change =
        host.run.as_ref().is_some_and(|run| run.is_of_change()) || host.queued().is_some();
    command.only_reads() || (is_of_change && matches!(command, ComponentCommand::Release(_)))
}
