//! The environment that a command works on, resolved once: its account, and its ledger.

use super::ledger::{self, Ledger, Record};
use crate::{
    base::error::Result,
    config::{
        names::Environment,
        scheme::{Account, Matched},
    },
    context::Context,
};

pub(crate) struct Target<'c> {
    pub(crate) environment: Environment,
    /// The account where the environment is now, according to the account scheme.
    pub(crate) account: &'c Account,
    /// How the account scheme names the environment: by its own name, or only by `"*"`.
    pub(crate) matched: Matched,
    pub(crate) ledger: Ledger<'c>,
}

impl<'c> Target<'c> {
    /// Fails with `Exit::Input` if the account scheme has no such environment.
    pub(crate) fn resolve(context: &'c Context, environment: Environment) -> Result<Self> {
        let (account, matched) = context.scheme.account_of(&environment)?;
        let ledger = Ledger::of(context, &environment);
        Ok(Self { environment, account, matched, ledger })
    }

    /// Returns the recent runs that changed the environment. A cancelled run stops waiting.
    pub(crate) async fn record(&self, context: &Context) -> Result<Record> {
        ledger::record(context, &self.ledger).await
    }
}
