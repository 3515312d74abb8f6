//! Checks of one environment: its state, the lock of the state, and its ledger.

use std::sync::Arc;

use super::{
    places::writable,
    report::{DoctorReport, Level, counted},
};
use crate::{
    base::error::{Error, Result},
    config::{
        component::Manifest,
        identity::Identity,
        names::Environment,
        scheme::{AccountScheme, StateBackend, Storage},
    },
    context,
    deploy::{
        ledger::{Ledger, text},
        state::{held_lock::plain, location::StateHome},
    },
    services::aws::session::Session,
    terraform::state::{
        classic::ClassicAccount,
        lock::{HeldLock, StateLock},
        place::StatePlace,
        stored::{self, Stored},
    },
};

/// What the checks need.
pub(crate) struct EnvironmentChecks<'a> {
    pub(crate) scheme: &'a AccountScheme,
    pub(crate) identity: &'a Identity,
    pub(crate) manifest: &'a Manifest,
    pub(crate) environment: &'a Environment,
    /// Of the release account.
    pub(crate) release: Option<&'a Arc<Session>>,
    /// Of the environment's account.
    pub(crate) account: Option<&'a Arc<Session>>,
}

impl EnvironmentChecks<'_> {
    pub(crate) async fn run(&self, report: &mut DoctorReport) {
        self.state(report).await;
        self.ledger(report).await;
    }

    async fn state(&self, report: &mut DoctorReport) {
        let (state, lock) =
            (format!("state of {}", self.environment), format!("lock of {}", self.environment));
        let home = match self.home().await {
            Ok(Some(home)) => home,
            Ok(None) => return report.skip(&state, "no role to read it with"),
            Err(error) => return report.error(&state, Level::Problem, &error),
        };
        let place = home.place.describe();
        match report.record_error(&state, read(&home).await) {
            Some(Stored::Missing | Stored::Empty) => {
                report.ok(&state, format!("none yet at {place}"))
            }
            Some(Stored::Readable(file)) => {
                let (serial, count) = (file.summary.serial, file.summary.resources);
                let count = counted(count, "resource");
                report.ok(&state, format!("{place}, serial number {serial}, {count}"));
            }
            Some(Stored::ForTerraform(why)) => {
                report.ok(&state, format!("{place}; only Terraform can read it: {why}"));
            }
            None => {}
        }
        let Some(places) = report.record_error(&lock, home.locks()) else { return };
        for place in &places {
            match report.record_error(&lock, place.read().await) {
                Some(Some(held)) => self.held(report, &lock, place, &held),
                Some(None) => report.ok(&lock, format!("free: no {}", place.describe())),
                None => {}
            }
        }
    }

    fn held(&self, report: &mut DoctorReport, check: &str, place: &StateLock, held: &HeldLock) {
        let [who, id, created] =
            [&held.holder.who, &held.holder.id, &held.holder.created].map(|text| plain(text));
        if matches!(place, StateLock::Local { .. }) && held.process.is_none() {
            return report.ok(check, format!("free: the process of {who} has ended"));
        }
        report.warning(
            check,
            format!("held by {who} since {created} (`{id}`)"),
            format!("wait for that run; if it is dead: cdflow unlock {}", self.environment),
        );
    }

    /// Returns None if there is no session to reach the state with.
    async fn home(&self) -> Result<Option<StateHome>> {
        let filename = &self.manifest.tfstate_filename;
        let found = StatePlace::of(self.scheme, self.identity, self.environment, filename);
        if let Some(place) = found {
            let is_local = matches!(place, StatePlace::Local { .. });
            let session = self.release.cloned();
            return Ok((is_local || session.is_some()).then_some(StateHome { place, session }));
        }
        let StateBackend::Classic { use_lockfile } = self.scheme.backend else { return Ok(None) };
        let (account, _) = self.scheme.account_of(self.environment)?;
        let Some(session) = self.account else { return Ok(None) };
        let classic = ClassicAccount::new(session, &account.region);
        let Some(bucket) = classic.bucket().await? else {
            return Err(Error::input("there is no state bucket yet")
                .hint("deploy: the first deploy creates it"));
        };
        let place = StatePlace::classic(
            bucket,
            classic.has_table().await?,
            account,
            use_lockfile,
            self.identity,
            self.environment,
            filename,
        );
        let place = place.encrypted(self.scheme);
        Ok(Some(StateHome { place, session: Some(Arc::clone(session)) }))
    }

    async fn ledger(&self, report: &mut DoctorReport) {
        let check = format!("ledger of {}", self.environment);
        let place = &self.scheme.release_bucket;
        if matches!(place, Storage::Bucket(_)) && self.release.is_none() {
            return report.skip(&check, "no release role to read it with");
        }
        let region = &self.scheme.release_account.region;
        let session = self.release.map(Arc::as_ref);
        let encryption = |bucket: &str| self.scheme.encryption_of(bucket);
        let opened = context::store_at(place, region, session, encryption);
        let Some(store) = report.record_error(&check, opened) else { return };
        let ledger = Ledger::new(&store, self.identity, self.environment);
        let Some((entries, _)) = report.record_error(&check, ledger.newest(1).await) else {
            return;
        };
        let newest = match entries.first() {
            Some(entry) => text::run(&entry.start),
            None => "no run yet".to_owned(),
        };
        let written = match place {
            Storage::Directory(root) => {
                let folder = root.join(self.identity.ledger_prefix(self.environment));
                writable(&folder).map(|()| true)
            }
            Storage::Bucket(_) => ledger.may_be_written().await,
        };
        match report.record_error(&check, written) {
            Some(true) => report.ok(&check, format!("{newest}; can be written")),
            Some(false) => report.ok(&check, format!("{newest}; the first deploy writes to it")),
            None => {}
        }
    }
}

async fn read(home: &StateHome) -> Result<Stored> {
    stored::read(&home.object()?).await
}
