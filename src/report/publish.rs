//! A report goes to all places that there are. Trouble on the way is a warning: what the run has done, it has done.

use std::{fs, time::Duration};

use super::{
    Destinations, Report,
    comment::{Commenter, rows::Row},
    file,
    outputs::outputs,
    summary,
};
use crate::{
    base::{
        error::{Error, Result},
        log::Log,
        process_env::ProcessEnv,
    },
    services::{ci::host::Host, github::Files},
};

/// Longer files than anybody reads.
const FILE_LIMIT: usize = 64 << 20;
/// In less room a summary says nothing.
const LEAST_SUMMARY: usize = 2_000;

/// A run that never came to its command, because its inputs or its event can't be read: the summary says why, and the outputs
/// that it failed.
pub(crate) fn publish_startup_failure(error: &Error, environment: &ProcessEnv, log: &Log) {
    let mut report = Report::default();
    report.end(Some(error), Duration::ZERO, &log.redactor);
    let files = Files::of(environment, &log.redactor);
    warn(log, summarize(&report, &files));
    let known = outputs(&report).into_iter().filter(|(_, value)| !value.is_empty());
    let known: Vec<(&str, String)> = known.collect();
    let known: Vec<(&str, &str)> =
        known.iter().map(|(name, value)| (*name, value.as_str())).collect();
    warn(log, give(&known, &files, log));
}

/// A command that changes nothing has no report, but may have a page of the summary, or fail.
pub(crate) async fn publish(mut report: Report, destinations: &Destinations, host: &Host) {
    if report.command.is_empty() {
        if report.page.is_some() || report.failure.is_some() {
            warn(&host.log, summarize(&report, &Files::of(&host.environment, &host.log.redactor)));
        }
        return;
    }
    report.mask(&host.log.redactor);
    write_files(&report, destinations, &host.log);
    let files = Files::of(&host.environment, &host.log.redactor);
    warn(&host.log, summarize(&report, &files));
    let mut outputs = outputs(&report);
    outputs.extend(write_plan(&report, destinations, &host.log));
    let outputs: Vec<(&str, &str)> =
        outputs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    warn(&host.log, give(&outputs, &files, &host.log));
    if let Some(url) = comment(&report, destinations, host).await {
        warn(&host.log, give(&[("comment-url", &url)], &files, &host.log));
    }
}

fn warn(log: &Log, done: Result<()>) {
    if let Err(error) = done {
        log.warning(&error.to_string());
    }
}

fn write_files(report: &Report, destinations: &Destinations, log: &Log) {
    let markdown =
        destinations.markdown.as_ref().map(|path| (path, summary::render(report, FILE_LIMIT)));
    let json =
        destinations.json.as_ref().map(|path| (path, format!("{:#}\n", serde_json::json!(report))));
    for (path, text) in markdown.into_iter().chain(json) {
        warn(log, file::write(path, &log.redactor.apply(&text)));
    }
}

/// For people, and for programs that judge plans. Not the plan that Terraform applies: that holds every value in clear.
fn write_plan(
    report: &Report,
    destinations: &Destinations,
    log: &Log,
) -> Vec<(&'static str, String)> {
    let (Some(folder), Some(plan)) = (&destinations.plan, &report.plan) else { return Vec::new() };
    if let Err(error) = fs::create_dir_all(folder) {
        log.warning(
            &Error::io("can't make the folder of `--plan-out`", folder, &error).to_string(),
        );
        return Vec::new();
    }
    let files = [
        ("plan-path", "plan.txt", format!("{}\n", plan.text.trim_end())),
        ("plan-json-path", "plan.json", format!("{:#}\n", serde_json::json!(plan))),
    ];
    let mut written = Vec::new();
    for (output, name, text) in files {
        let path = folder.join(name);
        match file::write(&path, &log.redactor.apply(&text)) {
            Ok(()) => written.push((output, path.display().to_string())),
            Err(error) => log.warning(&error.to_string()),
        }
    }
    written
}

fn summarize(report: &Report, files: &Files) -> Result<()> {
    match files.summary_room()? {
        Some(room) if room >= LEAST_SUMMARY => {
            files.append_summary(&summary::render(report, summary::LIMIT.min(room - 1)))
        }
        _ => Ok(()),
    }
}

fn give(outputs: &[(&str, &str)], files: &Files, log: &Log) -> Result<()> {
    for left_out in files.write_outputs(outputs)? {
        log.warning(&format!("the output `{}` is left out: {}", left_out.name, left_out.why));
    }
    Ok(())
}

/// The comment's address.
async fn comment(report: &Report, destinations: &Destinations, host: &Host) -> Option<String> {
    let pull_request = destinations.pull_request(host)?;
    let row = Row::of(report)?;
    let component = report.component.as_deref().unwrap_or_default();
    let known: Vec<Row> = report.past.iter().map(|past| Row::of_past(component, past)).collect();
    Commenter::of(host, destinations)?.put(pull_request, &row, &known).await
}
