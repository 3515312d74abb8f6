//! A report goes to all places that there are. Trouble on the way is a warning: what the run has done, it has done.

use std::path::PathBuf;

use super::{Report, file, summary};
use crate::{host::Host, inputs::ReportInputs, log::Log};

/// Longer files than anybody reads.
const FILE_LIMIT: usize = 64 << 20;

/// Where a report is to go.
pub(crate) struct Wanted {
    markdown: Option<PathBuf>,
    json: Option<PathBuf>,
}

impl Wanted {
    pub(crate) fn of(inputs: &ReportInputs) -> Self {
        Self { markdown: inputs.report_markdown.clone(), json: inputs.report_json.clone() }
    }
}

/// A command that changes nothing has no report.
pub(crate) async fn publish(mut report: Report, wanted: &Wanted, host: &Host) {
    if report.command.is_empty() {
        return;
    }
    report.mask(&host.log.redactor);
    write_files(&report, wanted, &host.log);
}

fn write_files(report: &Report, wanted: &Wanted, log: &Log) {
    let markdown = wanted.markdown.as_ref().map(|path| (path, summary::render(report, FILE_LIMIT)));
    let json = wanted.json.as_ref().map(|path| (path, format!("{:#}\n", serde_json::json!(report))));
    for (path, text) in markdown.into_iter().chain(json) {
        if let Err(error) = file::write(path, &log.redactor.apply(&text)) {
            log.warning(&error.to_string());
        }
    }
}
