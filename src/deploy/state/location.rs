//! Where the state of an environment is, and as whom it is reached: what deploy, unlock and adopt share.

use std::sync::Arc;

use crate::{
    base::error::{Error, Result},
    config::{
        identity::Identity,
        names::Environment,
        scheme::{Account, AccountScheme, StateBackend, Storage},
    },
    context::{self, Context},
    services::{aws::session::Session, store::ReleaseStore},
    terraform::state::{
        classic::ClassicAccount,
        lock::StateLock,
        place::{CLASSIC_TABLE, StatePlace},
        transfer::StateObject,
    },
};

pub(crate) struct StateHome {
    pub(crate) place: StatePlace,
    /// None where a local scheme names no role.
    pub(crate) session: Option<Arc<Session>>,
}

/// What to do where the classic layout's bucket or table is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Leave,
}

impl StateHome {
    /// None where the classic layout has no bucket yet and none shall be made.
    pub(crate) async fn find(
        context: &Context,
        scheme: &AccountScheme,
        identity: &Identity,
        environment: &Environment,
        missing: Missing,
    ) -> Result<Option<Self>> {
        let filename = &context.manifest.tfstate_filename;
        if let Some(place) = StatePlace::of(scheme, identity, environment, filename) {
            let session = context.session_of_state(scheme).await?;
            return Ok(Some(Self { place, session }));
        }
        let StateBackend::Classic { use_lockfile } = scheme.backend else { return Ok(None) };
        let (account, _) = scheme.account_of(environment)?;
        let session = classic_session(context, account).await?;
        let found = classic_bucket(context, account, &session, missing).await?;
        let Some((bucket, has_table)) = found else { return Ok(None) };
        let place = StatePlace::classic(
            bucket,
            has_table,
            account,
            use_lockfile,
            identity,
            environment,
            filename,
        );
        Ok(Some(Self { place, session: Some(session) }))
    }

    /// To copy it from or to.
    pub(crate) fn object(&self) -> Result<StateObject> {
        Ok(StateObject {
            store: self.store()?,
            key: self.place.key(),
            locks: self.locks()?,
            is_ours: true,
        })
    }

    /// Where its object lies, and those of other states.
    pub(crate) fn store(&self) -> Result<ReleaseStore> {
        match &self.place {
            StatePlace::Local { root, .. } => {
                context::store_at(&Storage::Directory(root.clone()), "", self.session.as_deref())
            }
            StatePlace::S3(place) => context::store_at(
                &Storage::Bucket(place.bucket.clone()),
                &place.region,
                self.session.as_deref(),
            ),
        }
    }

    /// Where the state may be locked. Which Terraform will deploy is not known here, so whatever may count does.
    pub(crate) fn locks(&self) -> Result<Vec<StateLock>> {
        let place = match &self.place {
            StatePlace::Local { root, .. } => {
                return Ok(vec![StateLock::Local { state: root.join(self.place.key()) }]);
            }
            StatePlace::S3(place) => place,
        };
        let mut locks = Vec::new();
        // The row first: Terraform takes it last.
        if let (Some(table), Some(session)) = (&place.dynamodb_table, &self.session) {
            locks.push(StateLock::Row {
                client: aws_sdk_dynamodb::Client::new(&session.config),
                table: table.clone(),
                id: format!("{}/{}", place.bucket, place.key),
                region: place.region.clone(),
            });
        }
        if place.use_lockfile != Some(false)
            && let ReleaseStore::S3(store) = self.store()?
        {
            locks.push(StateLock::LockFile { store, key: format!("{}.tflock", place.key) });
        }
        if locks.is_empty() {
            return Err(Error::input("no state lock is configured, so there is none to look at").hint(
                "in the account scheme set `terraform-backend-s3-use-lockfile: true` or `terraform-backend-s3-dynamodb-table`",
            ));
        }
        Ok(locks)
    }
}

/// Whether there is a state of that environment, whatever is in it.
pub(crate) async fn has_state(context: &Context, environment: &Environment) -> Result<bool> {
    let home =
        StateHome::find(context, &context.scheme, &context.identity, environment, Missing::Leave)
            .await?;
    let Some(home) = home else { return Ok(false) };
    let store = home.store()?;
    let key = home.place.key();
    Ok(context.host.interrupt.or_cancel("looking for the state", store.head(&key)).await?.is_some())
}

/// The previews that have a state, by the names in the state's store.
pub(crate) async fn previews(context: &Context) -> Result<Vec<Environment>> {
    // Whichever: what comes before its name in the key is the folder of all.
    let sample = Environment::of_pull_request(u64::MAX);
    let home =
        StateHome::find(context, &context.scheme, &context.identity, &sample, Missing::Leave)
            .await?;
    let Some(home) = home else { return Ok(Vec::new()) };
    let key = home.place.key();
    let folder = key.split_once(sample.as_str()).map_or("", |(folder, _)| folder);
    let names = home.store()?.folders(folder).await?;
    let previews =
        names.iter().filter_map(|name| name.parse().ok()).filter(Environment::is_preview);
    let mut found = Vec::new();
    for environment in previews {
        // In the classic layout the folder is all components'.
        if has_state(context, &environment).await? {
            found.push(environment);
        }
    }
    Ok(found)
}

/// The deploying role, also for a plan: the state's lock must be written.
async fn classic_session(context: &Context, account: &Account) -> Result<Arc<Session>> {
    context.session(account, account.role.as_deref()).await?.ok_or_else(|| {
        Error::input(format!(
            "the state can't be reached without a role in the account `{}`",
            account.alias
        ))
        .hint("give the account an `id` and a `role` in the account scheme")
    })
}

/// And whether the lock table is there.
async fn classic_bucket(
    context: &Context,
    account: &Account,
    session: &Session,
    missing: Missing,
) -> Result<Option<(String, bool)>> {
    let (classic, log) = (ClassicAccount::new(session, &account.region), &context.host.log);
    let bucket = match (classic.bucket().await?, missing) {
        (Some(bucket), _) => bucket,
        (None, Missing::Leave) => return Ok(None),
        (None, Missing::Make) => {
            log.note(&format!("there is no state bucket in {}: creating one", classic.describe()));
            let bucket = classic.create_bucket().await?;
            log.note(&format!("the new state bucket is {bucket}"));
            bucket
        }
    };
    let has_table = classic.has_table().await?;
    if !has_table && missing == Missing::Make {
        log.note(&format!("creating the lock table {CLASSIC_TABLE} in {}", classic.describe()));
        classic.create_table().await?;
    }
    Ok(Some((bucket, has_table || missing == Missing::Make)))
}
