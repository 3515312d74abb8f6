//! Publishes a report everywhere. Problems are warnings, because the run itself is over.

use std::{borrow::Cow, fs, time::Duration};

use serde::Serialize;

use super::{
    Destinations, Report,
    check::end_check,
    comment::{Commenter, Known, rows::Row},
    file,
    notify::notify,
    outputs::outputs,
    summary,
};
use crate::{
    base::{
        checkout_path,
        error::{Error, Result},
        log::Log,
        process_env::ProcessEnv,
    },
    services::ci::{host::Host, runner_files::RunnerFiles},
};

/// In bytes. A longer Markdown file would not be readable.
const FILE_LIMIT: usize = 64 << 20;
/// In bytes. A shorter summary would not be useful.
const MIN_SUMMARY: usize = 2_000;

/// Publishes that a run failed before its command started, because of its inputs or its event.
/// The job summary has the error, and the outputs have the exit code.
pub(crate) fn publish_startup_failure(error: &Error, environment: &ProcessEnv, log: &Log) {
    let mut report = Report::default();
    report.end(Some(error), Duration::ZERO, &log.redactor);
    let files = RunnerFiles::of(environment, &log.redactor);
    warn(log, summarize(&report, &files));
    let mut outputs = outputs(&report);
    outputs.retain(|(_, value)| !value.is_empty());
    let outputs: Vec<(&str, &str)> =
        outputs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    warn(log, write_outputs(&outputs, &files, log));
}

/// Writes files, job summary, outputs and comment.
///
/// A command that changes nothing, such as `status`, has no report: only its page of the job
/// summary or its failure is written.
pub(crate) async fn publish(mut report: Report, destinations: &Destinations, host: &Host) {
    let run = report.run_of_comment.take().or_else(|| host.run.clone());
    let host = &Host { run, ..host.clone() };
    if report.command.is_empty() {
        if report.page.is_some() || report.failure.is_some() {
            warn(
                &host.log,
                summarize(&report, &RunnerFiles::of(&host.environment, &host.log.redactor)),
            );
        }
        return;
    }
    report.mask(&host.log);
    write_files(&report, destinations, &host.log);
    let files = RunnerFiles::of(&host.environment, &host.log.redactor);
    warn(&host.log, summarize(&report, &files));
    let mut outputs = outputs(&report);
    outputs.extend(write_plan(&report, destinations, &host.log));
    let outputs: Vec<(&str, &str)> =
        outputs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    warn(&host.log, write_outputs(&outputs, &files, &host.log));
    let url = comment(&report, destinations, host).await;
    if let Some(url) = &url {
        warn(&host.log, write_outputs(&[("comment-url", url)], &files, &host.log));
    }
    end_check(destinations, host, &mut report, url.as_deref()).await;
    notify(&report, host).await;
}

/// Writes the outputs of `comment check`, on which the later jobs of the workflow depend.
pub(crate) fn publish_command(
    command: &str,
    environment: &str,
    version: &str,
    head: &str,
    host: &Host,
) {
    let files = RunnerFiles::of(&host.environment, &host.log.redactor);
    let outputs = [
        ("comment-command", command),
        ("environment", environment),
        ("version", version),
        ("head", head),
    ];
    warn(&host.log, write_outputs(&outputs, &files, &host.log));
}

fn warn(log: &Log, done: Result<()>) {
    if let Err(error) = done {
        log.warning(&error.to_string());
    }
}

fn write_files(report: &Report, destinations: &Destinations, log: &Log) {
    let markdown =
        destinations.markdown.as_ref().map(|path| (path, Ok(summary::render(report, FILE_LIMIT))));
    let json = destinations.json.as_ref().map(|path| (path, json(report)));
    for (path, text) in markdown.into_iter().chain(json) {
        let name = format!("`{}`", path.display());
        let leaving = text.and_then(|text| log.redactor.leaving(&name, &text));
        warn(log, leaving.and_then(|text| file::write(path, &text)));
    }
}

/// Returns a report as JSON. A `serde_json::Value` in between would round numbers.
fn json(report: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(report);
    let text = text.map_err(|error| Error::internal("cannot write the report").why(error))?;
    Ok(format!("{text}\n"))
}

/// Writes the plan to `--plan-out`, for people and policy checks, and returns the outputs that name
/// the files. This is not Terraform's own plan file, which contains every value in clear text.
fn write_plan(
    report: &Report,
    destinations: &Destinations,
    log: &Log,
) -> Vec<(&'static str, String)> {
    let (Some(folder), Some(plan)) = (&destinations.plan, &report.plan) else { return Vec::new() };
    let created = checkout_path::resolve(folder).and_then(|real| {
        fs::create_dir_all(real)
            .map_err(|error| Error::io("cannot create the folder of `--plan-out`", folder, &error))
    });
    if let Err(error) = created {
        log.warning(&error.to_string());
        return Vec::new();
    }
    // One after the other: a large plan has several megabytes.
    let mut written = Vec::new();
    let mut write = |output, name: &str, text: Result<Cow<'_, str>>| {
        let path = folder.join(name);
        let named = format!("`{}`", path.display());
        let leaving = text.and_then(|text| log.redactor.leaving(&named, &text));
        match leaving.and_then(|text| file::write(&path, &text)) {
            Ok(()) => written.push((output, path.display().to_string())),
            Err(error) => log.warning(&error.to_string()),
        }
    };
    write("plan-path", "plan.txt", Ok(format!("{}\n", plan.text.trim_end()).into()));
    write("plan-json-path", "plan.json", json(plan).map(Cow::Owned));
    if let Some(document) = &plan.document {
        write("terraform-plan-json-path", "plan.tfplan.json", Ok(document.into()));
    }
    written
}

fn summarize(report: &Report, files: &RunnerFiles) -> Result<()> {
    match files.summary_room()? {
        Some(room) if room >= MIN_SUMMARY => {
            files.append_summary(&summary::render(report, summary::LIMIT.min(room - 1)))
        }
        _ => Ok(()),
    }
}

fn write_outputs(outputs: &[(&str, &str)], files: &RunnerFiles, log: &Log) -> Result<()> {
    for omitted in files.write_outputs(outputs)? {
        log.warning(&format!("the output `{}` was not written: {}", omitted.name, omitted.why));
    }
    Ok(())
}

/// Writes the comment and returns its URL.
async fn comment(report: &Report, destinations: &Destinations, host: &Host) -> Option<String> {
    let pull_request = destinations.pull_request(host)?;
    let row = Row::of(report)?;
    let component = report.component.as_deref().unwrap_or_default();
    let recorded: Vec<Row> = report.past.iter().map(|past| Row::of_past(component, past)).collect();
    let starts = &report.last_starts;
    let known = Known { rows: &recorded, component, starts, head: None };
    Commenter::of(host, destinations)?.put(pull_request, &row, known).await
}
