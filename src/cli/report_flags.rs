//! Which commands have a report, and whether it can be written where it is wanted: known before anything is done.

use std::path::Path;

use super::args::{Command, ComponentCommand, PreviewCommand, ReportInputs};
use crate::base::error::{Error, Result};

/// The commands that change something say so also elsewhere than in the log.
const REPORTED: [&str; 7] =
    ["release", "deploy", "destroy", "rollback", "preview up", "preview down", "preview reap"];
/// They have one plan, which may be wanted as files.
const PLANNED: [&str; 5] = ["deploy", "destroy", "rollback", "preview up", "preview down"];
/// After them there is something to look at.
const ADDRESSED: [&str; 3] = ["deploy", "rollback", "preview up"];

/// The command's name, if it has a report.
pub(crate) fn reported(command: &Command) -> Option<&'static str> {
    let Command::Component(command) = command else { return None };
    Some(match command {
        ComponentCommand::Release(inputs) if !inputs.local => "release",
        ComponentCommand::Deploy(_) => "deploy",
        ComponentCommand::Destroy(_) => "destroy",
        ComponentCommand::Rollback(_) => "rollback",
        ComponentCommand::Preview(PreviewCommand::Up(_)) => "preview up",
        ComponentCommand::Preview(PreviewCommand::Down(_)) => "preview down",
        ComponentCommand::Preview(PreviewCommand::Reap(_)) => "preview reap",
        _ => return None,
    })
}

pub(crate) fn check(command: &Command, inputs: &ReportInputs) -> Result<()> {
    let reported = reported(command);
    let given = [
        ("report-markdown", inputs.report_markdown.is_some(), &REPORTED[..]),
        ("report-json", inputs.report_json.is_some(), &REPORTED),
        ("comment", inputs.comment.is_some(), &REPORTED),
        ("plan-out", inputs.plan_out.is_some(), &PLANNED),
        ("url-output", inputs.url_output.is_some(), &ADDRESSED),
    ];
    let refused = given
        .into_iter()
        .find(|(_, is_given, of)| *is_given && !reported.is_some_and(|it| of.contains(&it)));
    if let Some((name, _, of)) = refused {
        let what = match name {
            "plan-out" => "a plan",
            "url-output" => "an environment's address",
            _ => "a report",
        };
        return Err(Error::input(format!(
            "--{name} (the Action's input `{name}`) is not for a command without {what}"
        ))
        .hint(format!("leave it out; it is for {}", of.join(", "))));
    }
    for (flag, path) in
        [("--report-markdown", &inputs.report_markdown), ("--report-json", &inputs.report_json)]
    {
        if let Some(path) = path {
            check_file(flag, path)?;
        }
    }
    inputs.plan_out.as_deref().map_or(Ok(()), check_folder)
}

/// Nothing is left of the attempt.
fn check_file(flag: &str, path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::input(format!("the report `{}` is a folder", path.display()))
            .hint(format!("name a file in it: {flag} {}", path.join("report").display())));
    }
    let folder =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    try_in(folder).map_err(|error| {
        Error::io("can't write the report", path, &error).hint(format!(
            "{flag} names a file in a folder that is there, and that may be written to"
        ))
    })
}

/// The folder itself is made when there is a plan: what counts is the nearest that is there.
fn check_folder(folder: &Path) -> Result<()> {
    let is_there = |folder: &&Path| folder.symlink_metadata().is_ok();
    let nearest = folder.ancestors().filter(|folder| !folder.as_os_str().is_empty()).find(is_there);
    try_in(nearest.unwrap_or(Path::new("."))).map_err(|error| {
        Error::io("can't make the folder of `--plan-out`", folder, &error)
            .hint("name a folder that may be made, or written to")
    })
}

fn try_in(folder: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}
