//! Reads a state where it is stored, without Terraform.

use md5::{Digest, Md5};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    lock::StateLock,
    object::StateObject,
    summary::StateSummary,
    taken_locks::{Holder, TakenLocks},
};
use crate::base::{
    error::{Error, Exit, Result},
    interrupt::Interrupt,
};

/// In bytes; far more than Terraform can handle in practice.
const LIMIT: u64 = 256 << 20;
/// The format of every state since Terraform 0.12.
const FORMAT: u64 = 4;

/// A state as it is stored.
pub(crate) enum Stored {
    Missing,
    /// The object has no content. To Terraform, no state exists yet.
    Empty,
    Readable(StateFile),
    /// Only Terraform can read it, or say what is wrong with it. The text says why.
    ForTerraform(&'static str),
}

pub(crate) struct StateFile {
    pub(super) bytes: Vec<u8>,
    pub(crate) summary: StateSummary,
}

/// What distinguishes a state from other JSON.
#[derive(Deserialize)]
struct Format {
    version: Option<u64>,
    encrypted_data: Option<IgnoredAny>,
}

/// Whether the state is exactly `bytes`, read while `holder` has its locks; and whether the locks
/// were released.
pub(crate) async fn is_exactly(
    object: &StateObject,
    bytes: &[u8],
    holder: &Holder,
    interrupt: &Interrupt,
) -> Result<(bool, Result<()>)> {
    let taken = TakenLocks::take(&object.locks, holder, interrupt).await?;
    let comparing = compare(object, bytes);
    let is_exactly = interrupt.or_last_read("comparing the state", comparing).await;
    let released = taken.release().await;
    match (is_exactly, released) {
        (Err(cancelled), released) if interrupt.requested().is_some() => Err(match released {
            Ok(()) => cancelled,
            Err(left) => cancelled.also(&left),
        }),
        (is_exactly, released) => Ok((is_exactly.unwrap_or(false), released)),
    }
}

async fn compare(object: &StateObject, bytes: &[u8]) -> Result<bool> {
    match object.store.get(&object.key, LIMIT).await? {
        Some(found) if found == bytes => is_described(object, bytes).await,
        _ => Ok(false),
    }
}

/// Reads the state. An object that is not a state is an integrity error that names it.
pub(crate) async fn read(object: &StateObject) -> Result<Stored> {
    let read = object.store.get(&object.key, LIMIT).await.map_err(|error| match error.exit() {
        Exit::Integrity => error.hint(format!(
            "find out what makes it larger than {} MiB, and split the component",
            LIMIT >> 20
        )),
        _ => error,
    });
    let Some(bytes) = read? else { return Ok(Stored::Missing) };
    match parse(&object.describe(), bytes)? {
        Stored::Readable(file) if !is_described(object, &file.bytes).await? => {
            Ok(Stored::ForTerraform("the lock table has the digest of another version"))
        }
        stored => Ok(stored),
    }
}

/// Parses an object of a state. `place` is where it is, in backticks.
pub(crate) fn parse(place: &str, bytes: Vec<u8>) -> Result<Stored> {
    // A truncated object is damaged.
    if bytes.trim_ascii().is_empty() {
        return Ok(Stored::Empty);
    }
    let damaged = |why: String| {
        Error::integrity(format!("{place} is not a Terraform state"))
            .why(why)
            .hint("restore the last good version of it (docs/terraform.md, \"State\")")
    };
    let format: Format = serde_json::from_slice(&bytes).map_err(|error| damaged(cut(&error)))?;
    if format.encrypted_data.is_some() {
        return Ok(Stored::ForTerraform("it is encrypted"));
    }
    match format.version {
        Some(FORMAT) => {}
        Some(0) => return Err(damaged("its `version` is 0".to_owned())),
        Some(newer) if newer > FORMAT => return Err(too_new(place, newer)),
        Some(_) => return Ok(Stored::ForTerraform("its format is older than version 4")),
        None => return Err(damaged("it has no `version`".to_owned())),
    }
    let summary = StateSummary::parse(&mut bytes.as_slice())
        .map_err(|error| damaged(cut(&error)))?
        .ok_or_else(|| damaged("it is truncated".to_owned()))?;
    if summary.lineage.is_empty() {
        return Err(damaged("it has no lineage".to_owned()));
    }
    Ok(Stored::Readable(StateFile { bytes, summary }))
}

fn too_new(place: &str, format: u64) -> Error {
    Error::input(format!("{place} has the format version {format}"))
        .why(format!("cdflow reads states up to version {FORMAT}"))
        .hint("use the version of cdflow and Terraform that wrote it, or restore the last good one")
}

fn cut(error: &serde_json::Error) -> String {
    match error.is_eof() {
        true => "it is truncated".to_owned(),
        // serde's own words can contain values of the state, which might be secret.
        false => format!("line {} column {} is not what a state has", error.line(), error.column()),
    }
}

/// Whether the lock table, if one is used, describes these bytes. Terraform writes a digest there
/// with each state, and reads no other version.
async fn is_described(object: &StateObject, bytes: &[u8]) -> Result<bool> {
    let table = object.locks.iter().find(|lock| matches!(lock, StateLock::Row { .. }));
    let Some(lock) = table.filter(|_| object.is_ours) else { return Ok(true) };
    let Some(digest) = lock.digest().await? else { return Ok(true) };
    let actual: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digest == actual)
}
