//! Who writes a run's rows into the comments of pull requests. Trouble is a warning: what the run has done, it has done.

pub(crate) mod render;
pub(crate) mod rows;
pub(crate) mod upsert;

use std::time::Duration;

use self::{
    rows::Row,
    upsert::{CommentTarget, announce, upsert},
};
use super::{Destinations, Report};
use crate::{
    base::retry::jitter,
    config::settings::Commenting,
    services::{ci::host::Host, github::Api},
};

/// So long a run waits for GitHub; less when somebody waits for it to be cancelled.
const PATIENCE: Duration = Duration::from_secs(150);
const WHEN_CANCELLED: Duration = Duration::from_secs(20);

/// An apply that is over sooner does not say that it is under way; up to twice as long, so that the jobs of a matrix don't all say it at once.
const BEFORE_ANNOUNCEMENT: Duration = Duration::from_secs(8);
const FOR_ANNOUNCEMENT: Duration = Duration::from_secs(20);

pub(crate) struct Commenter {
    api: Api,
    host: Host,
    changes_only: bool,
}

impl Commenter {
    /// None where no comment is wanted, or GitHub can't be asked.
    pub(crate) fn of(host: &Host, destinations: &Destinations) -> Option<Self> {
        let changes_only = destinations.commenting(host)? == Commenting::ChangesOnly;
        let api = Api::of(host, destinations.token.as_ref());
        let api = api.map_err(|trouble| host.log.warning(&trouble.to_string())).ok()?;
        Some(Self { api, host: host.clone(), changes_only })
    }

    /// The row of a report of which nobody else has a view.
    pub(crate) async fn write(&self, pull_request: u64, mut report: Report) {
        report.mask(&self.host.log.redactor);
        if let Some(row) = Row::of(&report) {
            self.put(pull_request, &row, &[]).await;
        }
    }

    /// The comment's address. Rows that are `known` go along where the comment has lost them.
    pub(crate) async fn put(&self, pull_request: u64, row: &Row, known: &[Row]) -> Option<String> {
        let log = &self.host.log;
        let (api, changes_only) = (&self.api, self.changes_only);
        let place =
            CommentTarget { api, pull_request, changes_only, known, redactor: &log.redactor };
        let patience =
            if self.host.interrupt.requested().is_some() { WHEN_CANCELLED } else { PATIENCE };
        match tokio::time::timeout(patience, upsert(&place, row)).await {
            Ok(Ok(url)) => url,
            Ok(Err(failed)) => {
                log.warning(&failed.to_string());
                None
            }
            Err(_) => {
                log.warning(&format!(
                    "the comment on #{pull_request} may lack this run: GitHub takes too long"
                ));
                None
            }
        }
    }
}

/// That the plan of `report` is being applied, in the comment that is there; for while that lasts. It is news, not the result: trouble is
/// a detail.
pub(crate) fn announcement(
    destinations: &Destinations,
    host: &Host,
    report: &Report,
) -> impl Future<Output = ()> + use<> {
    let row = if destinations.comments(host) { Row::of_applying(report) } else { None };
    let (destinations, host) = (destinations.clone(), host.clone());
    async move {
        let Some((row, pull_request)) = row.zip(destinations.pull_request(&host)) else { return };
        tokio::time::sleep(jitter(BEFORE_ANNOUNCEMENT)).await;
        let Ok(api) = Api::of(&host, destinations.token.as_ref()) else { return };
        let changes_only = destinations.comment == Some(Commenting::ChangesOnly);
        let place = CommentTarget {
            api: &api,
            pull_request,
            changes_only,
            known: &[],
            redactor: &host.log.redactor,
        };
        match tokio::time::timeout(FOR_ANNOUNCEMENT, announce(&place, &row)).await {
            Ok(Ok(())) => {}
            Ok(Err(failed)) => host
                .log
                .detail(&format!("the comment does not say that this run applies: {failed}")),
            Err(_) => host
                .log
                .detail("the comment does not say that this run applies: GitHub takes too long"),
        }
    }
}
