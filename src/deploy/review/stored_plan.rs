//! Plans that are kept: the file of Terraform, encrypted, next to its record. The record names the
//! SHA-256 of the encrypted file, and a keyed digest protects the record.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{
    plan_key::{self, PLAN_AGAIN},
    record::{PlanRecord, Records, StoredPlan},
};
use crate::{
    base::{
        age::{self, Identity, OpenError, Recipient},
        blocking::blocking,
        digest::{Sha256, copy},
        error::{Error, Result},
        small_file,
        units::bytes_text,
    },
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    services::store::{Content, Metadata},
    terraform::{
        Plan, check_code,
        code::files::Dialect,
        output::effects::{Words, mac},
    },
};

/// In bytes. The plan of 10,000 resources has a few megabytes.
const LIMIT: u64 = 256 << 20;
/// The name of the encrypted file in the run's folder.
const SEALED: &str = "plan.age";

/// Encrypts and writes the plan of the run. None if there is no key, or if the plan cannot be kept;
/// the log says why.
pub(super) async fn store(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    planned: &Plan,
    (records, record): (&Records<'_>, &PlanRecord),
) -> Result<Option<StoredPlan>> {
    if order.store_plan == Some(false) {
        return Ok(None);
    }
    let key = plan_key::for_sealing(context, order, prepared).await?;
    let Some(sealing) = key else {
        return match order.store_plan {
            None => {
                context.host.log.note(&format!("{NO_KEY}: {}", MAKE_KEY));
                Ok(None)
            }
            Some(_) => Err(Error::input(NO_KEY).hint(MAKE_KEY)),
        };
    };
    let file = prepared.folder.plan_file.clone();
    let infra = prepared.folder.infra.clone();
    let dialect = Dialect::of_tool(&prepared.tool);
    planned.check_file()?;
    let to = prepared.private.path().join(SEALED);
    let work = {
        let (to, recipient) = (to.clone(), sealing.recipient);
        move || {
            let unfit = |error: io::Error| {
                Error::input("the plan cannot be stored").why(error).hint(
                    "a deploy with `reviewed: true` makes a new plan, and needs no stored one",
                )
            };
            let size = fs::metadata(&file).map_err(unfit)?.len();
            if size > LIMIT {
                let (has, most) = (bytes_text(size), bytes_text(LIMIT));
                return Err(unfit(io::Error::other(format!("it has {has}, at most {most} fit"))));
            }
            check_code(&file, &infra, dialect).map_err(unfit)?;
            sealed(&file, &to, &recipient)
                .map_err(|error| Error::io("cannot encrypt the plan to", &to, &error))
        }
    };
    let (sha256, size) = blocking(work).await?;
    let at = records.plan_key(record);
    context.store.put_new(&at, Content::File(&to), &Metadata::default(), &|_| {}).await?;
    let log = &context.host.log;
    log.note(&format!("the plan is stored for --reviewed=exact, encrypted: {}", bytes_text(size)));
    Ok(Some(StoredPlan {
        sha256,
        size,
        key: sealing.key,
        has_changes: planned.has_changes,
        commit: prepared.facts.commit().map(str::to_owned),
        variables: variables(prepared, records, &record.words),
    }))
}

const NO_KEY: &str = "the plan is not stored for --reviewed=exact, because there is no key for it";
const MAKE_KEY: &str = "run `age-keygen`, and set `plan-encryption` in the account scheme \
                        (docs/reviewed.md, \"Stored plans\")";

/// Fetches a stored plan, and decrypts it to where Terraform reads it.
pub(super) async fn fetch(
    context: &Context,
    prepared: &Prepared,
    (records, record): (&Records<'_>, &PlanRecord),
    (stored, identity): (&StoredPlan, Identity),
) -> Result<()> {
    let key = records.plan_key(record);
    let what = context.store.describe(&key);
    let refused = {
        let what = what.clone();
        move |why: &str| {
            Error::integrity(format!("the stored plan is not valid: `{what}`"))
                .why(why)
                .hint(PLAN_AGAIN)
        }
    };
    let Some(found) = context.store.head(&key).await? else {
        return Err(Error::refused(format!(
            "the stored plan of pull request #{} is missing",
            record.pull_request
        ))
        .why(format!("`{what}` was deleted; `cdflow prune` deletes old ones"))
        .hint(PLAN_AGAIN)
        .hint("or deploy with --reviewed (`reviewed: true`), which makes a new plan"));
    };
    if found.size != stored.size || found.size > 2 * LIMIT {
        return Err(refused("it has another size than its record says"));
    }
    let at = prepared.private.path().join(SEALED);
    // Of an earlier plan of this run.
    let _ = fs::remove_file(&at);
    let fetched = context.store.fetch(&key, &at, &|_| {}).await?;
    fetched.ok_or_else(|| refused("it was deleted while it was read"))?;
    let (to, infra) = (prepared.folder.plan_file.clone(), prepared.folder.infra.clone());
    let (sha256, dialect) = (stored.sha256, Dialect::of_tool(&prepared.tool));
    blocking(move || {
        let read = Sha256::of_file(&at).map_err(|error| Error::io("cannot read", &at, &error))?;
        if read != sha256 {
            return Err(refused(
                "it was changed after cdflow wrote it, or is that of another plan",
            ));
        }
        opened(&at, &to, &identity).map_err(|error| match error {
            OpenError::Io(error) => Error::io("cannot decrypt the stored plan to", &to, &error),
            OpenError::OtherKey => refused("it is encrypted to another key"),
            OpenError::Damaged => refused("it is not an encrypted plan"),
        })?;
        check_code(&to, &infra, dialect)
            .map_err(|error| refused(&format!("its code is not that of the release: {error}")))
    })
    .await
}

/// Returns keyed digests of what the plan is made with.
pub(super) fn variables(
    prepared: &Prepared,
    records: &Records<'_>,
    words: &Words,
) -> BTreeMap<String, Sha256> {
    let texts = prepared.folder.variables.texts();
    let digest = |text: &str| mac(&records.key, words.general_value(text).as_bytes());
    texts.iter().map(|(name, text)| (name.clone(), digest(text))).collect()
}

fn sealed(from: &Path, to: &PathBuf, recipient: &Recipient) -> io::Result<(Sha256, u64)> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    let mut writer = BufWriter::new(file);
    age::seal(recipient, &mut BufReader::new(small_file::open(from)?), &mut writer)?;
    writer.flush()?;
    let digest = copy(&mut small_file::open(to)?, &mut io::sink())?;
    Ok((digest, fs::metadata(to)?.len()))
}

/// The file is there already, and Terraform's user owns it.
fn opened(from: &Path, to: &Path, identity: &Identity) -> Result<(), OpenError> {
    let mut writer = BufWriter::new(OpenOptions::new().write(true).truncate(true).open(to)?);
    age::open(identity, &mut BufReader::new(small_file::open(from)?), &mut writer)?;
    Ok(writer.flush()?)
}
