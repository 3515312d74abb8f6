//! cdflow carries a component from commit to running infrastructure: build once, publish one immutable release,
//! deploy that release to any environment.
//!
//! The modules in reading order. Facts, which do no I/O: `inputs`, `names`, `preview`, `manifest`, `account`, `limits`, `release`.
//! `command`: the order of things. Parts: `source`, `artifact`, `bundle`, `store`, `published`, `ledger`, `guard`, `scaffold`,
//! `terraform`, `secrets`, `report`. Services: `aws`, `registry`, `docker`, `fetching`, `git`, `ci`, `github`.
//! Leaves: `process`, `reaper`, `interrupt`, `container`, `handover`, `redact`, `log`, `private`, `document`, `pipeline`, `digest`, `error`, `environment`, `host`.

use std::{ffi::OsString, sync::Arc, time::Instant};

mod base;
mod cli;
mod commands;
mod config;
mod context;
mod deploy;
mod release;
mod report;
mod services;
mod terraform;

pub use self::base::process_env::ProcessEnv;

use self::{
    base::{
        error::{Error, Exit, Result},
        interrupt::Interrupt,
        log::Log,
        redact::Redactor,
        zombies,
    },
    cli::{
        Parsed,
        args::{Command, Inputs},
        parse,
        report_flags::ReportFlags,
        usage,
    },
    report::Report,
    services::{
        ci::{self, host::Host, post_state::Handover},
        github,
    },
};

/// Runs what `args` (or, on Actions, the inputs in `environment`) ask for and returns the exit code.
#[must_use]
pub fn run(args: Vec<OsString>, environment: ProcessEnv) -> u8 {
    let on_actions = environment.get("GITHUB_ACTIONS") == Some("true");
    let no_color = environment.get("NO_COLOR").is_some();
    let log = Log::new(Redactor::default(), 0, no_color, on_actions)
        .in_workspace(environment.get("GITHUB_WORKSPACE"));
    let told = log.clone();
    std::panic::set_hook(Box::new(move |panic| told.error(&defect(panic))));
    let ended = std::panic::catch_unwind(|| match parse(args, &environment) {
        Ok(Parsed::Usage { exit, text }) => {
            // What was typed stands in the message: on Actions it must not command the runner.
            match on_actions {
                true => text.to_string().lines().for_each(|line| log.output(line)),
                // Nothing can be done about a closed standard output.
                false => drop(text.print()),
            }
            if exit != 0 {
                report::publish_startup_failure(&usage::as_error(&text), &environment, &log);
            }
            exit
        }
        Ok(Parsed::Run(inputs)) => {
            let log = log.clone().with(inputs.global.verbose, inputs.global.no_color);
            code(start(*inputs, environment, log.clone()), &log)
        }
        Err(error) => {
            report::publish_startup_failure(&error, &environment, &log);
            code(Err(error), &log)
        }
    });
    log.finish();
    // What panicked has been told by the hook.
    ended.unwrap_or(Exit::Internal as u8)
}

fn start(inputs: Inputs, environment: ProcessEnv, log: Log) -> Result<u8> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::internal("no threads can be started").why(error))?;
    let is_post = matches!(inputs.command, Command::Post);
    // A clean-up must come to its work, whatever the event is.
    let read = if is_post { Ok(None) } else { ci::read(&environment) };
    let run = read
        .inspect_err(|error| report::publish_startup_failure(error, &environment, &log))?
        .map(Arc::new);
    let cancelled = match is_post {
        false => "cancelled: stopping as soon as that is safe; please wait",
        true => "cancelled: not waiting any longer",
    };
    runtime.block_on(async {
        zombies::start();
        let handover = Handover::begin(&environment, &log, !is_post);
        let (told, asked) = (log.clone(), handover.clone());
        let interrupt = Interrupt::listen(move || {
            asked.cancelled();
            told.warning(cancelled);
        })?;
        let pace = github::Pace::new(interrupt.clone());
        let host = Host { environment, log, interrupt, run, pace };
        let flags = ReportFlags::of(&inputs.command);
        let wanted = context::report_destinations(&flags, &inputs.global);
        let mut told = Report::of(host.run.as_deref());
        let started = Instant::now();
        let ended = commands::run(inputs, host.clone(), &mut told).await;
        if !is_post {
            told.end(ended.as_ref().err(), started.elapsed(), &host.log.redactor);
            report::publish(told, &wanted, &host).await;
        }
        handover.end();
        ended
    })
}

fn code(ended: Result<u8>, log: &Log) -> u8 {
    match ended {
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
    Error::internal(format!("cdflow has a defect ({place})"))
        .hint("please report it, with the command and this line")
}
