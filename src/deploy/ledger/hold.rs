//! Holds: a pull request keeps deploys from elsewhere away from an environment until it is merged
//! or closed. A hold is advisory: it guards against mistakes, not against attackers.
//!
//! Format 1: `<team>/<component>/ledger/<environment>/hold/<countdown>.json`, with the countdown of
//! the ledger's entries. The newest entry says whether the environment is held. Entries are
//! conditional writes, so of two pull requests one gets the hold.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{COUNT_FROM, HOLDS, LISTS, Ledger, entry::FORMAT, lacks};
use crate::{
    base::{
        at_once::at_once,
        error::{Error, Result},
    },
    config::names::Environment,
    context::Context,
    services::store::Put,
};

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

/// Returns the holds on these environments. Previews have none.
pub(crate) async fn holds(
    context: &Context,
    environments: &[Environment],
) -> Result<BTreeMap<Environment, Hold>> {
    let lasting = environments.iter().filter(|environment| !environment.is_preview());
    let reading = lasting.map(|environment| async move {
        let held = Ledger::of(context, environment).held().await?;
        Ok::<_, Error>(held.map(|hold| (environment.clone(), hold)))
    });
    Ok(at_once(reading).await?.into_iter().flatten().collect())
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
        match self.put(&key, &new).await {
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
            if self.exists(&self.hold_key(newest + 1)).await? {
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
        let hold: Hold = self.get(&key).await?;
        self.check_number(&key, hold.number, number).map(|()| hold)
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
