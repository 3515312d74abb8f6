//! The record of a plan that a pull request showed: what it does, and everything that it was made
//! from. The store has it, and a keyed digest proves that cdflow wrote it for this component.
//!
//! Format 2: the objects are
//! `<team>/<component>/reviews/<environment>/<pull request>/<head>/<time>-<run>-<attempt>.json`. A
//! later plan of the same commit is another object. `<team>/<component>/reviews/key` has the key. A
//! stored plan is next to its record, as `.plan.age`. Format 1 has none. The record of a plan in a
//! merge queue ends with `.queued`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::plan_key::KeyOfPlan;
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        redact::Secret,
    },
    config::{
        identity::Identity,
        names::{Environment, Version},
    },
    context::Context,
    services::store::{Content, Metadata, ReleaseStore},
    terraform::output::effects::{Difference, Effects, Sealed, Words, differences, mac},
};

const FORMAT: u32 = 2;
/// In bytes. A plan of 10,000 new resources has about 20 MB.
const RECORD_LIMIT: u64 = 64 << 20;
/// In bytes.
const KEY_LIMIT: u64 = 1024;
/// Objects of one commit that are looked at. Each run of its workflow makes two.
const OBJECTS: usize = 1000;
/// The ends of their names.
pub(crate) const RECORD: &str = ".json";
pub(crate) const PLAN: &str = ".plan.age";
pub(crate) const QUEUED: &str = ".queued";

/// A plan as a pull request showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanRecord {
    /// `<team>/<component>`
    pub(crate) component: String,
    pub(crate) environment: Environment,
    /// GitHub's ID of the repository.
    pub(crate) repository: u64,
    pub(crate) pull_request: u64,
    /// The newest commit of the pull request's branch.
    pub(crate) head: String,
    /// The ID of the workflow run.
    pub(crate) run: u64,
    pub(crate) attempt: u64,
    pub(crate) run_url: Option<String>,
    pub(crate) made: Timestamp,
    pub(crate) version: Version,
    pub(crate) bundle_digest: Option<Sha256>,
    pub(crate) source_digest: Option<Sha256>,
    /// Of the code and the configuration in the bundle; `None` for one of the original cdflow.
    pub(crate) code: Option<Sha256>,
    /// The account ID; `None` for a local account scheme.
    pub(crate) account: Option<String>,
    pub(crate) region: String,
    /// Of the state that was planned against; `None` if there was none.
    pub(crate) state_lineage: Option<String>,
    pub(crate) state_serial: Option<u64>,
    /// Name and version of the tool.
    pub(crate) terraform: String,
    pub(crate) words: Words,
    pub(crate) effects: Effects<Sealed>,
    /// None if the plan itself is not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<StoredPlan>,
}

/// What a record says of a stored plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredPlan {
    /// Of the encrypted file.
    pub(crate) sha256: Sha256,
    /// Of the encrypted file, in bytes.
    pub(crate) size: u64,
    pub(crate) key: KeyOfPlan,
    pub(crate) has_changes: bool,
    /// The commit of the release.
    pub(crate) commit: Option<String>,
    /// Keyed digests of the values of the variables, without the words of the release.
    pub(crate) variables: BTreeMap<String, Sha256>,
}

impl PlanRecord {
    /// Returns in what the other plan does something else.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        differences((&self.effects, &self.words), (&other.effects, &other.words))
    }
}

/// The object in the store.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    format: u32,
    /// The first half of the key's digest: which key it was.
    key: String,
    mac: Sha256,
    /// The exact text that `mac` is of.
    record: Box<RawValue>,
}

/// The records of a component.
pub(crate) struct Records<'c> {
    store: &'c ReleaseStore,
    identity: &'c Identity,
    pub(crate) key: Secret,
}

/// Where a record is.
pub(crate) struct Place<'p> {
    pub(crate) environment: &'p Environment,
    pub(crate) pull_request: u64,
    pub(crate) head: &'p str,
}

impl<'c> Records<'c> {
    /// Makes the key if there is none.
    pub(crate) async fn open(context: &'c Context) -> Result<Self> {
        match Self::existing(context).await? {
            Some(records) => Ok(records),
            None => {
                let key = make_key(&context.store, &context.identity).await?;
                Ok(Self::with(context, key))
            }
        }
    }

    /// Returns None if no key was ever made, and so no record.
    pub(crate) async fn existing(context: &'c Context) -> Result<Option<Self>> {
        let key = read_key(&context.store, &context.identity).await?;
        Ok(key.map(|key| Self::with(context, key)))
    }

    fn with(context: &'c Context, key: Secret) -> Self {
        context.host.log.redactor.add(&key);
        Self { store: &context.store, identity: &context.identity, key }
    }

    /// Writes a record whose name ends with `end`, and returns its place.
    pub(crate) async fn put(&self, record: &PlanRecord, end: &str) -> Result<String> {
        let failed = |error| Error::internal("cannot write the record of the plan").why(error);
        let text = serde_json::to_string(record).map_err(failed)?;
        let signed = Signed {
            format: FORMAT,
            key: id(&self.key),
            mac: mac(&self.key, text.as_bytes()),
            record: RawValue::from_string(text).map_err(failed)?,
        };
        let bytes = serde_json::to_vec(&signed).map_err(failed)?;
        if bytes.len() as u64 > RECORD_LIMIT {
            return Err(Error::input("the plan is too large to be recorded")
                .why(format!("its record has {} MiB, and at most 64 are read", bytes.len() >> 20))
                .hint("split the component, or review this change by hand"));
        }
        let key = format!("{}{end}", self.stem(record));
        let content = Content::Bytes(bytes);
        self.store.put_new(&key, content, &Metadata::default(), &|_| {}).await?;
        Ok(self.store.describe(&key))
    }

    /// Returns the key of the plan of a record.
    pub(crate) fn plan_key(&self, record: &PlanRecord) -> String {
        format!("{}{PLAN}", self.stem(record))
    }

    /// Returns the names of the records of one commit that end with `end`, newest first.
    pub(crate) async fn names(&self, place: &Place<'_>, end: &str) -> Result<Vec<String>> {
        let listed = self.store.list(&self.prefix(place), None, OBJECTS).await?;
        let keys = listed.into_iter().rev().map(|listed| listed.key);
        Ok(keys.filter(|key| key.ends_with(end)).collect())
    }

    /// Reads a record. One that cdflow did not write for `place` is an integrity error.
    pub(crate) async fn get(&self, key: &str, place: &Place<'_>) -> Result<PlanRecord> {
        let what = self.store.describe(key);
        let refused = |why: &str| {
            Error::integrity(format!("the record of the reviewed plan is not valid: `{what}`"))
                .why(why)
                .hint("run the pull request's workflow again, and have the new plan approved")
        };
        let bytes = self.store.get(key, RECORD_LIMIT).await?;
        let bytes = bytes.ok_or_else(|| refused("it was deleted"))?;
        let signed: Signed =
            serde_json::from_slice(&bytes).map_err(|error| refused(&error.to_string()))?;
        if signed.format > FORMAT {
            return Err(Error::input(format!(
                "the record `{what}` has format {}, but this cdflow supports only {FORMAT}",
                signed.format
            ))
            .hint("update cdflow: a newer version made the plan"));
        }
        if signed.key != id(&self.key) {
            return Err(refused("it was made with another key, which has been replaced since"));
        }
        if mac(&self.key, signed.record.get().as_bytes()) != signed.mac {
            return Err(refused("it was changed after cdflow wrote it"));
        }
        let record: PlanRecord = serde_json::from_str(signed.record.get())
            .map_err(|error| refused(&error.to_string()))?;
        let is_of_place = record.component == self.identity.prefix()
            && record.environment == *place.environment
            && record.pull_request == place.pull_request
            && record.head == place.head
            && key.strip_prefix(&self.stem(&record)).is_some_and(|end| end.starts_with('.'));
        match is_of_place {
            true => Ok(record),
            false => Err(refused("it is a copy of the record of another plan")),
        }
    }

    fn stem(&self, record: &PlanRecord) -> String {
        let place = Place {
            environment: &record.environment,
            pull_request: record.pull_request,
            head: &record.head,
        };
        let (run, attempt) = (record.run, record.attempt);
        let time = record.made.as_millisecond();
        format!("{}{time:013}-{run}-{attempt}", self.prefix(&place))
    }

    fn prefix(&self, place: &Place<'_>) -> String {
        let Place { environment, pull_request, head } = place;
        format!("{}{environment}/{pull_request}/{head}/", self.identity.reviews_prefix())
    }
}

fn key_place(identity: &Identity) -> String {
    format!("{}key", identity.reviews_prefix())
}

async fn read_key(store: &ReleaseStore, identity: &Identity) -> Result<Option<Secret>> {
    let place = key_place(identity);
    let Some(bytes) = store.get(&place, KEY_LIMIT).await? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let key = text.trim();
    match key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(Some(Secret::new(key))),
        false => Err(Error::integrity(format!(
            "the key of reviewed plans is damaged: `{}`",
            store.describe(&place)
        ))
        .why("it does not have 64 hex digits")
        .hint("delete it: cdflow makes a new one, and plans must be reviewed again")),
    }
}

/// If two runs make a key at the same time, both use the one that is there first.
async fn make_key(store: &ReleaseStore, identity: &Identity) -> Result<Secret> {
    let made = Secret::random()
        .map_err(|error| Error::internal("failed to get random bytes for a key").why(error))?;
    let content = Content::Bytes(format!("{}\n", made.expose()).into_bytes());
    let place = key_place(identity);
    store.put_new(&place, content, &Metadata::default(), &|_| {}).await?;
    read_key(store, identity).await?.ok_or_else(|| {
        let what = format!("`{}` is missing after it was written", store.describe(&place));
        Error::new(Exit::Unavailable, what)
    })
}

fn id(key: &Secret) -> String {
    Sha256::of(key.expose().as_bytes()).to_string()[..32].to_owned()
}
