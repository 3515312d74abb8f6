//! unaffected: says in the check run `cdflow` that a change affects no component, so that a branch
//! rule that requires the check run does not wait for ever.
//!
//! Reads neither the checkout nor the cloud, so it also runs for a change from outside.

use crate::{
    cli::args::Global,
    report::{self, CHECK, CheckState, Report},
    services::ci::host::Host,
};

/// Problems are warnings: without a check run, the branch rule still blocks the merge.
pub(crate) async fn run(global: &Global, host: &Host, report: &Report) {
    let run = report.run.clone().unwrap_or_default();
    let log = &host.log;
    match report::write_unaffected(global.github_token.as_ref(), host, run).await {
        Ok(None) => log.note(&format!(
            "the check run `{CHECK}` is not written: the run is for no pull request and no merge \
             queue"
        )),
        Ok(Some(CheckState { has_rows: true, title, .. })) => log.warning(&format!(
            "the check run `{CHECK}` keeps the result of other jobs for this commit: {title}"
        )),
        Ok(Some(CheckState { title, .. })) => {
            log.done(&format!("The check run `{CHECK}` is neutral: {title}"));
        }
        Err(warning) => log.warning(&warning),
    }
}
