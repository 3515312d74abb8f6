//! Holds: a pull request keeps deploys from elsewhere away from an environment until it is merged
//! or closed. A hold is advisory: it guards against mistakes, not against attackers.
//!
//! Format 1: `<team>/<component>/ledger/<environment>/hold/<countdown>.json`, with the countdown of
//! the ledger's entries. The newest entry says whether the environment is held. Entries are
//! conditional writes, so of two pull requests one gets the hold.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{COUNT_FROM, HOLDS, LISTS, Ledger, Record, entry::FORMAT, lacks, reading::RESTORE};
use crate::{
    base::{
        error::{Error, Exit, Result},
        printable,
    },
    config::names::Environment,
    context::Context,
    services::store::{Content, Metadata, Put},
};

/// Requests at a time.
const AT_ONCE: usize = 8;
/// In bytes.
const LIMIT: u64 = 64 << 10;
/// Objects listed at a time. Those that are no entries are ignored.
const PAGE: usize = 20;

/// A pull request holds the environment, or a hold has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) format: u32,
    /// 1, 2, 3, … within the environment.
    pub(crate) number: u64,
    pub(crate) action: HoldAction,
    /// GitHub's ID of the repository.
    pub(crate) repository: u64,
    pub(crate) pull_request: u64,
    /// Who held or released it; null: unknown.
    pub(crate) by: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) run_url: Option<String>,
    /// Random, so that a run recognises its own entry if the answer to the write is lost.
    pub(crate) token: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HoldAction {
    Hold,
    Release,
}

impl Hold {
    pub(crate) const FORMAT: u32 = FORMAT;

    /// Whether the pull request of this repository holds the environment.
    pub(crate) fn is_by(&self, repository: Option<u64>, pull_request: u64) -> bool {
        Some(self.repository) == repository && self.pull_request == pull_request
    }
}

/// Returns the holds on these environments.
pub(crate) async fn holds(
    context: &Context,
    environments: &[(Environment, Record)],
) -> Result<BTreeMap<Environment, Hold>> {
    let reading = environments.iter().map(|(environment, _)| async move {
        let held = Ledger::of(context, environment).held().await?;
        Ok::<_, Error>(held.map(|hold| (environment.clone(), hold)))
    });
    // A lazy iterator would borrow from itself.
    let reading: Vec<_> = reading.collect();
    let found: Vec<_> = stream::iter(reading).buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

impl Ledger<'_> {
    /// Returns the hold on the environment.
    pub(crate) async fn held(&self) -> Result<Option<Hold>> {
        let newest = self.newest_hold().await?;
        Ok(newest.filter(|it| it.action == HoldAction::Hold))
    }

    /// Writes `new` as the newest entry if that still is number `after`. Returns whether it did.
    pub(crate) async fn put_hold(&self, mut new: Hold, after: u64) -> Result<bool> {
        new.number = after + 1;
        let key = self.hold_key(new.number);
        let bytes = serde_json::to_vec_pretty(&new)
            .map_err(|error| Error::internal("cannot write a hold").why(error))?;
        let content = Content::Bytes(bytes);
        let put = self.store.put_new(&key, content, &Metadata::default(), &|_| {}).await;
        match put {
            Ok(Put::Created) => Ok(true),
            // If the answer to an earlier request was lost, the entry that exists is ours.
            Ok(Put::Exists) => Ok(self.hold_at(new.number).await?.token == new.token),
            Err(error) => match self.hold_at(new.number).await {
                Ok(written) if written.token == new.token => Ok(true),
                _ => Err(error),
            },
        }
    }

    /// Returns the newest entry, whether or not it ended a hold.
    pub(crate) async fn newest_hold(&self) -> Result<Option<Hold>> {
        let prefix = format!("{}{HOLDS}", self.prefix);
        let number = |key: &str| -> Option<u64> {
            let countdown = key.strip_prefix(&prefix)?.strip_suffix(".json")?;
            COUNT_FROM.checked_sub(countdown.parse().ok()?)
        };
        for _ in 0..LISTS {
            let listed = self.store.list(&prefix, None, PAGE).await?;
            let newest = listed.iter().find_map(|listed| number(&listed.key)).unwrap_or(0);
            // The numbers have no gaps: a list that lacks the newest one is not believed.
            if self.store.head(&self.hold_key(newest + 1)).await?.is_some() {
                continue;
            }
            return match newest {
                0 => Ok(None),
                newest => self.hold_at(newest).await.map(Some),
            };
        }
        let what = format!("the holds of `{}` lacks the newest one", self.environment);
        Err(lacks(&what, &self.store.describe(&prefix)))
    }

    async fn hold_at(&self, number: u64) -> Result<Hold> {
        let key = self.hold_key(number);
        let place = self.store.describe(&key);
        let damaged = |why: String| {
            Error::integrity(format!("invalid hold `{place}`")).why(why).hint(RESTORE)
        };
        let bytes = self.store.get(&key, LIMIT).await?;
        let bytes = bytes.ok_or_else(|| damaged("it was deleted".to_owned()))?;
        let mut value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if value["format"].as_u64().is_some_and(|format| format > u64::from(FORMAT)) {
            return Err(Error::new(
                Exit::Input,
                format!("the hold `{place}` has format {}, which is too new", value["format"]),
            )
            .hint("update cdflow: a newer version wrote it"));
        }
        // Others write into the ledger too, and what it says is printed.
        printable::document(&mut value);
        let hold: Hold =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        match hold.number == number {
            true => Ok(hold),
            false => Err(damaged(format!("it is entry {}", hold.number))),
        }
    }

    fn hold_key(&self, number: u64) -> String {
        format!("{}{HOLDS}{:010}.json", self.prefix, COUNT_FROM.saturating_sub(number))
    }
}

/// A pull request that holds the environment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "hold")]
pub(crate) struct HoldDocument<'a> {
    /// The number of the pull request.
    pull_request: u64,
    /// GitHub's ID of its repository.
    repository: u64,
    /// Who held it. Null: unknown.
    by: Option<&'a str>,
    /// Since when, in UTC.
    since: Timestamp,
    /// The run that wrote the hold. Null: unknown.
    run_url: Option<&'a str>,
}

impl<'a> HoldDocument<'a> {
    pub(crate) fn of(hold: &'a Hold) -> Self {
        Self {
            pull_request: hold.pull_request,
            repository: hold.repository,
            by: hold.by.as_deref(),
            since: hold.at,
            run_url: hold.run_url.as_deref(),
        }
    }
}
