//! The key of a stored plan. Who stores a plan can encrypt it, and need not be able to decrypt it.
//!
//! With KMS, each plan has a data key of its own, which is the key of age. In a local scheme, a
//! file next to the release store has the key.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::{
    base::{
        age::{Identity, Recipient},
        error::{Error, Exit, Result},
        owner::give_to_owner_of,
        small_file,
    },
    config::{
        identity,
        names::Environment,
        scheme::{PlanEncryption, Storage},
        settings::FileInput,
    },
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    services::aws::{
        data_key::{self, DataKey, Purpose},
        session::Session,
    },
};

/// In bytes. A file of `age-keygen` has about 200.
const FILE_LIMIT: u64 = 64 << 10;
/// What to do about a stored plan that cannot be used.
pub(super) const PLAN_AGAIN: &str =
    "run the pull request's workflow again, and have the new plan approved";

/// Which key a stored plan is encrypted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyOfPlan {
    recipient: String,
    kms: Option<DataKey>,
}

/// A key to encrypt with.
pub(super) struct Sealing {
    pub(super) recipient: Recipient,
    pub(super) key: KeyOfPlan,
}

impl Sealing {
    fn with(recipient: Recipient, kms: Option<DataKey>) -> Self {
        Self { key: KeyOfPlan { recipient: recipient.to_string(), kms }, recipient }
    }
}

/// Returns the key for a new plan. None: the account scheme names none.
pub(super) async fn for_sealing(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<Option<Sealing>> {
    match (&context.scheme.plan_encryption, &context.scheme.release_bucket) {
        (Some(PlanEncryption::Age(recipient)), _) => {
            Ok(Some(Sealing::with(recipient.clone(), None)))
        }
        (Some(PlanEncryption::Kms(key)), _) => {
            let purpose = purpose(&context.identity, order.environment());
            let (plain, data) = data_key::generate(session(prepared)?, key, &purpose).await?;
            Ok(Some(Sealing::with(of_data_key(plain)?.recipient(), Some(data))))
        }
        (None, Storage::Directory(store)) => {
            let place = local_key(store);
            let identity = match read_local(&place)? {
                Some(identity) => identity,
                None => make_local(&place)?,
            };
            Ok(Some(Sealing::with(identity.recipient(), None)))
        }
        (None, Storage::Bucket(_)) => Ok(None),
    }
}

/// Returns the private key of a stored plan. A key that the account scheme no longer names is not
/// used.
pub(super) async fn for_opening(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    key: &KeyOfPlan,
) -> Result<Identity> {
    let scheme = &context.scheme;
    let identity = match (&scheme.plan_encryption, &key.kms, &scheme.release_bucket) {
        (Some(PlanEncryption::Age(recipient)), None, _) => {
            if recipient.to_string() != key.recipient {
                return Err(replaced(&key.recipient, &recipient.to_string()));
            }
            given(order)?
        }
        (Some(PlanEncryption::Kms(now)), Some(data), _) if *now == data.key => {
            let purpose = purpose(&context.identity, order.environment());
            let plain = data_key::decrypt(session(prepared)?, data, &purpose).await;
            of_data_key(plain.map_err(|error| match error.exit() {
                Exit::Integrity => error.hint(PLAN_AGAIN),
                _ => error,
            })?)?
        }
        (Some(PlanEncryption::Kms(now)), kms, _) => {
            let before = kms.as_ref().map_or(&key.recipient, |data| &data.key);
            return Err(replaced(before, now));
        }
        (None, None, Storage::Directory(store)) => {
            let place = local_key(store);
            read_local(&place)?.ok_or_else(|| {
                Error::refused("the stored plan cannot be decrypted")
                    .why(format!("its key is missing: `{}`", place.display()))
                    .hint(PLAN_AGAIN)
            })?
        }
        (Some(PlanEncryption::Age(now)), Some(data), _) => {
            return Err(replaced(&data.key, &now.to_string()));
        }
        (None, _, _) => return Err(replaced(&key.recipient, "none")),
    };
    context.host.log.redactor.add(&identity.text());
    let own = identity.recipient().to_string();
    match own == key.recipient {
        true => Ok(identity),
        false => Err(Error::refused("the stored plan cannot be decrypted")
            .why(format!("it is encrypted to `{}`, but the key belongs to `{own}`", key.recipient))
            .hint(match &scheme.plan_encryption {
                Some(_) => {
                    "set the input `age-identity` (--age-identity) to the private key of the \
                     recipient in `plan-encryption` of the account scheme"
                }
                None => "restore the file `<folder>.plan-key` next to the release store",
            })
            .hint(format!("or {PLAN_AGAIN}"))),
    }
}

fn replaced(before: &str, now: &str) -> Error {
    Error::refused("the stored plan cannot be decrypted: its key was replaced")
        .why(format!(
            "it is encrypted to `{before}`, and the account scheme now names `{now}` in \
             `plan-encryption`"
        ))
        .hint(PLAN_AGAIN)
}

/// Returns the key that the run was given.
fn given(order: &Order<'_>) -> Result<Identity> {
    let text = match &order.age_identity {
        None => {
            return Err(Error::input(
                "the stored plan cannot be decrypted: there is no key for it",
            )
            .hint(
                "set the input `age-identity` to a secret of the GitHub environment with the \
                     private key of age, `AGE-SECRET-KEY-1…`; on the command line, use \
                     --age-identity FILE",
            ));
        }
        Some(FileInput::Content(secret)) => secret.expose().to_owned(),
        Some(FileInput::File(path)) => {
            read_small(path).map_err(|error| Error::io("cannot read the key", path, &error))?
        }
    };
    Identity::parse(&text).ok_or_else(|| {
        Error::input("`age-identity` is not a private key of age")
            .why("it has no line `AGE-SECRET-KEY-1…`, or more than one")
            .hint("make a key with `age-keygen`, and store its output in a secret")
    })
}

/// A key that is next to a folder must not be in it: who reads the store must not have the key.
fn local_key(store: &Path) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".plan-key");
    store.with_file_name(name)
}

fn read_local(place: &Path) -> Result<Option<Identity>> {
    let text = match read_small(place) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("cannot read the key of stored plans", place, &error)),
    };
    Identity::parse(&text).map(Some).ok_or_else(|| {
        Error::integrity(format!("the key of stored plans is damaged: `{}`", place.display()))
            .why("it is not a private key of age")
            .hint("delete it: cdflow makes a new one, and plans must be stored again")
    })
}

/// If two runs make a key at the same time, both use the one that is there first.
fn make_local(place: &Path) -> Result<Identity> {
    let identity = Identity::random();
    let text = format!("# cdflow encrypts stored plans with it\n{}\n", identity.text().expose());
    let folder = place.parent().unwrap_or(place);
    let written = NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        give_to_owner_of(folder, file.as_file())?;
        // Mode 0600, and never over another file.
        file.persist_noclobber(place).map(drop).map_err(|failed| failed.error)
    });
    match written {
        Ok(()) => Ok(identity),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_local(place)?
            .ok_or_else(|| {
                let what = format!("`{}` is missing after it was written", place.display());
                Error::new(Exit::Unavailable, what)
            }),
        Err(error) => Err(Error::io("cannot write the key of stored plans", place, &error)),
    }
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    small_file::open(path)?.take(FILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns what KMS binds a data key of stored plans to.
pub(crate) fn purpose(component: &identity::Identity, environment: &Environment) -> Purpose {
    HashMap::from([
        ("cdflow-component".to_owned(), component.prefix()),
        ("cdflow-environment".to_owned(), environment.to_string()),
    ])
}

fn session(prepared: &Prepared) -> Result<&Session> {
    prepared.session.as_deref().ok_or_else(|| {
        Error::input("`plan-encryption` is of type `aws:kms`, but the environment has no role")
            .hint("give its account an `id` and a `role`, or use the type `age`")
    })
}

/// Returns the key of age that a data key is.
fn of_data_key(data: [u8; 32]) -> Result<Identity> {
    Identity::from_bytes(data)
        .ok_or_else(|| Error::integrity("the key of the stored plan is not valid").hint(PLAN_AGAIN))
}
