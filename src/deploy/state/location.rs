//! The place of an environment's state and the session that reaches it.

use std::sync::Arc;

use crate::{
    base::error::{Error, Result},
    config::{
        identity::Identity,
        names::Environment,
        scheme::{Account, AccountScheme, StateBackend, Storage},
    },
    context::{self, Context},
    services::{
        aws::session::Session,
        store::{DirectoryStore, ReleaseStore},
    },
    terraform::state::{
        classic::ClassicAccount,
        lock::StateLock,
        object::StateObject,
        place::{CLASSIC_TABLE, StatePlace},
    },
};

/// In bytes: the start of a state, which has its serial.
const HEADER: u64 = 4096;

pub(crate) struct StateHome {
    pub(crate) place: StatePlace,
    /// None if a local scheme names no role.
    pub(crate) session: Option<Arc<Session>>,
}

/// What to do if the bucket or the lock table of the classic layout is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Create,
    Leave,
}

impl StateHome {
    /// None if the bucket of the classic layout is missing and is not to be created.
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
        )
        .encrypted(scheme);
        Ok(Some(Self { place, session: Some(session) }))
    }

    /// Returns the state as a source or destination of a copy.
    pub(crate) fn object(&self) -> Result<StateObject> {
        Ok(StateObject {
            store: self.store()?,
            key: self.place.key(),
            locks: self.locks()?,
            is_ours: true,
        })
    }

    /// Returns the bucket or folder of the state and of other states.
    pub(crate) fn store(&self) -> Result<ReleaseStore> {
        match &self.place {
            StatePlace::Local { root, .. } => {
                Ok(ReleaseStore::Directory(DirectoryStore::of_states(root.clone())))
            }
            StatePlace::S3(place) => context::store_at(
                &Storage::Bucket(place.bucket.clone()),
                &place.region,
                self.session.as_deref(),
                |_| place.encryption.clone(),
            ),
        }
    }

    /// Returns the places where the state can be locked. Which version of Terraform deploys is not
    /// known here, so every configured place counts.
    pub(crate) fn locks(&self) -> Result<Vec<StateLock>> {
        let place = match &self.place {
            StatePlace::Local { root, .. } => {
                return Ok(vec![StateLock::Local { state: root.join(self.place.key()) }]);
            }
            StatePlace::S3(place) => place,
        };
        let mut locks = Vec::new();
        // The row comes first, because Terraform takes that lock last.
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
            return Err(Error::input("no state lock is configured").hint(
                "set `terraform-backend-s3-use-lockfile: true` or \
                 `terraform-backend-s3-dynamodb-table` in the account scheme",
            ));
        }
        Ok(locks)
    }
}

/// Whether the environment has a state, even an empty one.
pub(crate) async fn has_state(context: &Context, environment: &Environment) -> Result<bool> {
    let home =
        StateHome::find(context, &context.scheme, &context.identity, environment, Missing::Leave)
            .await?;
    let Some(home) = home else { return Ok(false) };
    let store = home.store()?;
    let key = home.place.key();
    Ok(context.host.interrupt.or_cancel("looking for the state", store.head(&key)).await?.is_some())
}

/// Returns the serial of the state as it is saved now. None without a state, and in the classic
/// layout, where reading it needs the deploying role of the account.
pub(crate) async fn serial(context: &Context, environment: &Environment) -> Result<Option<u64>> {
    let start = header(context, environment).await?;
    Ok(start.and_then(|(_, start)| serial_in(&start)))
}

/// Returns the place and the lineage of the state as `serial` does.
pub(crate) async fn lineage(
    context: &Context,
    environment: &Environment,
) -> Result<Option<(StatePlace, String)>> {
    let Some((place, start)) = header(context, environment).await? else { return Ok(None) };
    Ok(lineage_in(&start).map(|lineage| (place, lineage)))
}

async fn header(
    context: &Context,
    environment: &Environment,
) -> Result<Option<(StatePlace, String)>> {
    let filename = &context.manifest.tfstate_filename;
    let Some(place) = StatePlace::of(&context.scheme, &context.identity, environment, filename)
    else {
        return Ok(None);
    };
    let home = StateHome { place, session: context.session_of_state(&context.scheme).await? };
    let (store, key) = (home.store()?, home.place.key());
    let Some(found) = store.head(&key).await? else { return Ok(None) };
    let start = store.get_range(&key, 0, found.size.min(HEADER)).await?;
    Ok(Some((home.place, String::from_utf8_lossy(&start).into_owned())))
}

/// Reads the serial at the start of a state, which comes before its outputs and resources.
fn serial_in(start: &str) -> Option<u64> {
    let number = value_in(start, "\"serial\"")?;
    let end = number.find(|c: char| !c.is_ascii_digit())?;
    number[..end].parse().ok()
}

fn lineage_in(start: &str) -> Option<String> {
    let (lineage, _) = value_in(start, "\"lineage\"")?.strip_prefix('"')?.split_once('"')?;
    Some(lineage.to_owned())
}

/// Returns what follows a key that comes before the outputs and resources.
fn value_in<'s>(start: &'s str, key: &str) -> Option<&'s str> {
    let (before, rest) = start.split_once(key)?;
    if ["\"outputs\"", "\"resources\""].iter().any(|it| before.contains(it)) {
        return None;
    }
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// Returns the previews that have a state, from the names in the bucket or folder.
pub(crate) async fn previews(context: &Context) -> Result<Vec<Environment>> {
    // Any preview will do: the part of the key before its name is the folder of all previews.
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
        // In the classic layout, all components share the folder.
        if has_state(context, &environment).await? {
            found.push(environment);
        }
    }
    Ok(found)
}

/// Returns a session with the deploying role. A plan needs it too, because it writes the lock.
async fn classic_session(context: &Context, account: &Account) -> Result<Arc<Session>> {
    context.session(account, account.role.as_deref()).await?.ok_or_else(|| {
        Error::input(format!(
            "the state cannot be reached without a role in the account `{}`",
            account.alias
        ))
        .hint("give the account an `id` and a `role` in the account scheme")
    })
}

/// Returns the bucket and whether the lock table exists.
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
        (None, Missing::Create) => {
            log.note(&format!("creating a state bucket in {}", classic.describe()));
            let bucket = classic.create_bucket().await?;
            log.note(&format!("the new state bucket is {bucket}"));
            bucket
        }
    };
    let has_table = classic.has_table().await?;
    if !has_table && missing == Missing::Create {
        log.note(&format!("creating the lock table {CLASSIC_TABLE} in {}", classic.describe()));
        classic.create_table().await?;
    }
    Ok(Some((bucket, has_table || missing == Missing::Create)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serial_is_at_the_start() {
        let start = "{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  ";
        let serial = |rest: &str| serial_in(&format!("{start}{rest}"));
        assert_eq!(serial("\"serial\": 117,\n  \"lineage\": \"x\""), Some(117));
        assert_eq!(serial("\"serial\":7}"), Some(7));
        // Cut, missing, or the value of an output.
        for other in ["\"serial\": 11", "\"serial", "\"serial\": \"1\",", ""] {
            assert_eq!(serial(other), None, "{other}");
        }
        assert_eq!(serial("\"outputs\": {\"serial\": {\"value\": 3}}"), None);
        assert_eq!(lineage_in("{\"serial\": 1, \"lineage\": \"ab-c\",").as_deref(), Some("ab-c"));
        for other in
            ["{\"lineage\": \"ab", "{\"outputs\": {\"lineage\": \"ab\"}", "{\"lineage\": 1}"]
        {
            assert_eq!(lineage_in(other), None, "{other}");
        }
    }
}
