//! cdflow builds a component once, publishes one immutable release, and deploys that release to any
//! environment with Terraform. ARCHITECTURE.md describes the modules below, which are layers.

use std::{
    ffi::OsString,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

mod base;
mod cli;
mod commands;
mod config;
mod context;
mod deploy;
#[cfg(fuzzing)]
pub mod fuzzing;
mod release;
mod report;
mod services;
mod terraform;

pub use self::base::process_env::ProcessEnv;

use self::{
    base::{
        authorities::{self, ProgramAuthorities},
        error::{Error, Exit, Result},
        interrupt::Interrupt,
        limits::{self, Limit},
        log::{self, Log},
        open_files,
        redact::Redactor,
        run_as::RunAs,
        zombies,
    },
    cli::{
        Parsed,
        args::{Command, Inputs},
        parse,
        report_flags::ReportFlags,
        usage,
    },
    config::duration::HumanDuration,
    report::Report,
    services::{
        ci::{self, Run, host::Host, post_state::Handover},
        github,
    },
};

/// Runs the command that `args` (or, on Actions, the inputs in `environment`) name, and returns the
/// exit code.
#[must_use]
pub fn run(args: Vec<OsString>, environment: ProcessEnv) -> u8 {
    let on_actions = environment.get("GITHUB_ACTIONS") == Some("true");
    let no_color = environment.get("NO_COLOR").is_some();
    let log = Log::new(Redactor::default(), 0, no_color, on_actions)
        .in_workspace(environment.get("GITHUB_WORKSPACE"));
    let panic_log = log.clone();
    std::panic::set_hook(Box::new(move |panic| panic_log.error(&defect(panic))));
    let result = std::panic::catch_unwind(|| match parse(args, &environment) {
        Ok(Parsed::Usage { exit, text }) => {
            let error = (exit != 0).then(|| usage::as_error(&text));
            // The text quotes the arguments: on Actions they must not become commands to the
            // runner.
            match &error {
                Some(error) if !usage::is_help(&text) => log.error(error),
                _ if on_actions => text.to_string().lines().for_each(|line| log.output(line)),
                None => {
                    let printed = text.print().and_then(|()| std::io::stdout().flush());
                    if let Some(error) = log::unwritten(printed) {
                        return exit_code(Err(error), &log);
                    }
                }
                // Nothing can be done about a closed standard error.
                Some(_) => drop(text.print()),
            }
            if let Some(error) = &error {
                report::publish_startup_failure(error, &environment, &log);
            }
            exit
        }
        Ok(Parsed::Run(inputs)) => {
            let log = log.clone().with(inputs.global.verbose, inputs.global.no_color);
            let log = if inputs.command.prints_json() { log.for_document() } else { log };
            exit_code(start(*inputs, environment, log.clone()), &log)
        }
        Err(error) => {
            report::publish_startup_failure(&error, &environment, &log);
            exit_code(Err(error), &log)
        }
    });
    log.finish();
    // The hook has logged the panic.
    result.unwrap_or(Exit::Internal as u8)
}

fn start(inputs: Inputs, environment: ProcessEnv, log: Log) -> Result<u8> {
    let is_post = matches!(inputs.command, Command::Post);
    if !is_post {
        open_files::ensure()
            .inspect_err(|error| report::publish_startup_failure(error, &environment, &log))?;
    }
    let run_as = match is_post {
        true => RunAs::Ourselves,
        false => RunAs::choose(&environment, &log)
            .inspect_err(|error| report::publish_startup_failure(error, &environment, &log))?,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("cannot start threads").why(error))?;
    if let Some(text) = environment.get("CDFLOW_LIMITS") {
        let duration = |text: &str| text.parse().map(|HumanDuration(time)| time);
        limits::change(text, duration)
            .inspect_err(|error| report::publish_startup_failure(error, &environment, &log))?;
    }
    let authorities = trusted(&inputs, environment.clone(), run_as, &log)
        .inspect_err(|error| report::publish_startup_failure(error, &environment, &log))?;
    // Programs need the file until the end of the run.
    let (environment, _file) = authorities;
    // The clean-up after a step does not depend on the event, so an unreadable one must not stop
    // it.
    let event = if is_post { Ok(None) } else { ci::read(&environment) };
    let run = event
        .inspect_err(|error| report::publish_startup_failure(error, &environment, &log))?
        .map(Arc::new);
    let (result, patience) = runtime.block_on(execute(inputs, environment, log, run, run_as))?;
    // A thread that waits for a disk or a pipe must not keep the process.
    runtime.shutdown_timeout(patience);
    Ok(result)
}

/// Applies `ca-certificates` before the first connection. Commands that only talk to another cdflow
/// make no connections.
fn trusted(
    inputs: &Inputs,
    environment: ProcessEnv,
    run_as: RunAs,
    log: &Log,
) -> Result<(ProcessEnv, Option<ProgramAuthorities>)> {
    if matches!(inputs.command, Command::Post | Command::CredentialProcess { .. }) {
        return Ok((environment, None));
    }
    let given = inputs.global.ca_certificates.as_ref().map(cli::authorities::read).transpose()?;
    authorities::install(given.as_ref(), environment, run_as, log)
}

/// Runs the command and publishes its report, also if the command fails. Returns the exit code, and
/// how long threads may take to end.
async fn execute(
    inputs: Inputs,
    environment: ProcessEnv,
    log: Log,
    run: Option<Arc<Run>>,
    run_as: RunAs,
) -> Result<(u8, Duration)> {
    let is_post = matches!(inputs.command, Command::Post);
    let is_kept = run.is_some() || ci::is_any(&environment);
    let log = match is_kept || environment.get("TERM") == Some("dumb") {
        true => log.without_bar(),
        false => log,
    };
    zombies::start();
    let handover = Handover::begin(&environment, &log, !is_post);
    let on_first = {
        let (log, handover) = (log.clone(), handover.clone());
        move || {
            handover.cancelled();
            log.warning(match is_post {
                false => "cancelled: cdflow stops as soon as that is safe; please wait",
                true => "cancelled: cdflow stops waiting",
            });
        }
    };
    let insisted = log.clone();
    let interrupt = Interrupt::listen(on_first, move || {
        if !is_post {
            insisted.warning(
                "second signal: cdflow ends what can be repeated and skips the report; it still \
                 waits for an apply, because killing Terraform can lose the state",
            );
        }
    })?;
    let pace = github::Pace::new(interrupt.clone());
    let host = Host { environment, log, interrupt, run, pace, run_as };
    let flags = ReportFlags::of(&inputs.command);
    let destinations = context::report_destinations(&flags, &inputs.global);
    let mut report = Report::of(host.run.as_deref());
    let named = flags.merge_deploys.iter().flat_map(|it| &it.0);
    report.context.merge_deploys = named.map(ToString::to_string).collect();
    let started = Instant::now();
    let prints_its_result = inputs.command.prints_its_result();
    let result = commands::run(inputs, host.clone(), &mut report).await;
    let result = with_lost_output(result, prints_its_result, &host.log);
    if !is_post {
        let took = started.elapsed().saturating_sub(host.log.time_asked());
        report.end(result.as_ref().err(), took, &host.log.redactor);
        tokio::select! {
            () = report::publish(report, &destinations, &host) => {}
            () = host.interrupt.insisted() => {
                host.log.warning("the report is incomplete: a second signal arrived");
            }
        }
    }
    // The error is the last output: who follows the step reads nothing after its end.
    let code = exit_code(result, &host.log);
    handover.end(code);
    let (patience, _) = host.interrupt.at_most(Limit::End);
    Ok((code, patience))
}

/// Turns a success into a failure if the result of the command was its output, and was lost.
/// Otherwise the loss is a warning: exit code 2 would say that nothing was applied.
fn with_lost_output(result: Result<u8>, prints_its_result: bool, log: &Log) -> Result<u8> {
    match (log.lost_output(), &result) {
        (Some(error), Ok(0)) if prints_its_result => Err(error),
        (Some(error), _) => {
            log.warning(&error.story());
            result
        }
        (None, _) => result,
    }
}

fn exit_code(result: Result<u8>, log: &Log) -> u8 {
    match result {
        Ok(code) => code,
        Err(error) => {
            log.error(&error);
            error.exit() as u8
        }
    }
}

fn defect(panic: &std::panic::PanicHookInfo<'_>) -> Error {
    let place = panic
        .location()
        .map(|place| format!("{}:{}", place.file(), place.line()))
        .unwrap_or_default();
    Error::internal(format!("cdflow crashed at {place}"))
        .hint("report this defect, with the command and this line")
}
