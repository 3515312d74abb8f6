//! Writes the rows of a run to pull request comments. Problems are warnings: the run itself is not
//! affected.

mod facts;
mod head;
mod headline;
mod known;
mod layout;
mod memory;
pub(crate) mod render;
pub(crate) mod rows;
mod section;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod upsert;

use std::{collections::BTreeSet, time::Duration};

use self::{
    facts::Facts,
    headline::{Next, headline},
    rows::Row,
    upsert::{CommentTarget, announce, upsert},
};
pub(crate) use self::{head::Head, known::Known};
use super::{Destinations, Report, run_context::Shared};
use crate::{
    base::{limits::Limit, retry::jitter},
    config::settings::Commenting,
    services::{ci::host::Host, github::Api},
};

/// How long an apply must run before it is announced. Up to twice as long, at random, so that the
/// jobs of a matrix do not all write at the same time.
const ANNOUNCEMENT_DELAY: Duration = Duration::from_secs(8);

/// Writes comments as the user of one token.
pub(crate) struct Commenter {
    api: Api,
    host: Host,
    changes_only: bool,
}

impl Commenter {
    /// Returns None if comments are off or GitHub cannot be used; the latter is logged as a
    /// warning.
    pub(crate) fn of(host: &Host, destinations: &Destinations) -> Option<Self> {
        let changes_only = destinations.commenting(host)? == Commenting::ChangesOnly;
        let api = Api::of(host, destinations.token.as_ref());
        let api = api.map_err(|error| host.log.warning(&error.to_string())).ok()?;
        Some(Self { api, host: host.clone(), changes_only })
    }

    /// Writes the row of a report that is not published otherwise.
    pub(crate) async fn write(&self, pull_request: u64, mut report: Report) {
        report.mask(&self.host.log);
        if let Some(row) = Row::of(&report) {
            self.put(pull_request, &row, Known::default()).await;
        }
    }

    /// Returns where the pull request is now. None if GitHub does not say it: the comment then
    /// compares only its own rows.
    async fn head(&self, pull_request: u64, row: &Row) -> Option<Head> {
        let missing = |error| {
            self.host.log.detail(&format!("cannot check whether plans are current: {error}"))
        };
        let change = self.api.pull_request(pull_request).await.map_err(missing).ok()?;
        let branch = row.facts.context.base_branch.as_deref();
        let base = match branch {
            Some(name) => self.api.branches(name).await.map_err(missing).ok(),
            None => None,
        };
        let base = base.into_iter().flatten().find(|it| Some(it.name.as_str()) == branch);
        Some(Head { commit: change.head.sha, base: base.map(|it| (it.name, it.commit)) })
    }

    /// Writes `row` and returns the URL of the comment, if there is one.
    pub(crate) async fn put(
        &self,
        pull_request: u64,
        row: &Row,
        known: Known<'_>,
    ) -> Option<String> {
        let log = &self.host.log;
        let (api, changes_only) = (&self.api, self.changes_only);
        let is_cancelled = self.host.interrupt.requested().is_some();
        let is_open = row.facts.context.before_merge == Some(true);
        let writing = async {
            let head = match is_open && !is_cancelled {
                true => self.head(pull_request, row).await,
                false => None,
            };
            let known = Known { head: head.as_ref(), ..known };
            let redactor = &log.redactor;
            let target = CommentTarget { api, pull_request, changes_only, known, redactor };
            upsert(&target, row).await
        };
        let limits = [Limit::Comment, Limit::CommentStop];
        match self.host.interrupt.or_stop(limits, writing).await {
            Ok(Ok(url)) => url,
            Ok(Err(failed)) => {
                log.warning(&failed.to_string());
                None
            }
            Err(limit) => {
                log.warning(&format!(
                    "the comment on #{pull_request} might not show this run: {}",
                    limit.passed("GitHub did not answer")
                ));
                None
            }
        }
    }
}

/// Returns the verdict about one run and the lines of its context, for the job summary. Empty for a
/// run that has no row.
pub(crate) fn verdict_lines(report: &Report) -> String {
    let Some(facts) = Facts::of(report) else { return String::new() };
    let next = match report.context.before_merge {
        Some(_) => Next::Merge,
        None => Next::Deploy,
    };
    // The heading says what happened.
    let verdict = match facts.verdict().word() {
        Some(_) => format!("**{}**", headline(&[&facts], &BTreeSet::new(), next)),
        None => String::new(),
    };
    let context = facts.context_lines(Shared::default());
    let parts = [verdict, context].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n\n")
}

/// Writes to an existing comment that the plan of `report` is being applied.
///
/// The future should run during the apply and be dropped with it. Problems are logged as
/// details, because the result follows anyway.
pub(crate) fn announce_apply(
    destinations: &Destinations,
    host: &Host,
    report: &Report,
) -> impl Future<Output = ()> + use<> {
    let row = if destinations.comments(host) { Row::of_applying(report) } else { None };
    let (destinations, host) = (destinations.clone(), host.clone());
    async move {
        let Some((row, pull_request)) = row.zip(destinations.pull_request(&host)) else { return };
        tokio::time::sleep(jitter(ANNOUNCEMENT_DELAY)).await;
        let Ok(api) = Api::of(&host, destinations.token.as_ref()) else { return };
        let changes_only = destinations.comment == Some(Commenting::ChangesOnly);
        let target = CommentTarget {
            api: &api,
            pull_request,
            changes_only,
            known: Known::default(),
            redactor: &host.log.redactor,
        };
        match tokio::time::timeout(Limit::Announcement.time(), announce(&target, &row)).await {
            Ok(Ok(())) => {}
            Ok(Err(failed)) => host
                .log
                .detail(&format!("the comment does not show that this run is applying: {failed}")),
            Err(_) => host.log.detail(&format!(
                "the comment does not show that this run is applying: {}",
                Limit::Announcement.passed("GitHub did not answer")
            )),
        }
    }
}
