//! The locks of a state, read and released where Terraform keeps them, without Terraform.
//!
//! On S3 the lock file is the object `<state>.tflock`, and in a DynamoDB table the row whose `LockID` is `<bucket>/<state>`, with
//! the same JSON as its attribute `Info`. Locally the system locks the state's file as long as Terraform lives, and a file
//! beside it only says who that is: nothing but the end of that process releases it.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::PathBuf,
};

use aws_sdk_dynamodb::types::AttributeValue;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
};
use serde::{Deserialize, Serialize};

use crate::{
    base::error::{Error, Exit, Result},
    services::{
        aws::failure::Failure,
        store::{Content, Metadata, Put, S3Store},
    },
};

/// It is some hundred bytes.
const LIMIT: u64 = 64 * 1024;

/// A place where a state may be locked.
pub(crate) enum StateLock {
    LockFile { store: S3Store, key: String },
    Row { client: aws_sdk_dynamodb::Client, table: String, id: String, region: String },
    Local { state: PathBuf },
}

/// A lock that is there.
#[derive(Debug)]
pub(crate) struct HeldLock {
    pub(crate) holder: LockInfo,
    /// The living process that holds a local state: its id (0 if it is in another container).
    pub(crate) process: Option<i32>,
    /// What tells this lock from a later one in the same place.
    mark: String,
    /// Of a local state that this process has locked: the lock lasts as long as this is open.
    _file: Option<File>,
}

/// As Terraform writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LockInfo {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) who: String,
    #[serde(default)]
    pub(crate) created: String,
    #[serde(default)]
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) path: String,
}

impl LockInfo {
    /// Of this process. `what` is why it locks.
    pub(crate) fn new(id: String, who: &str, what: &str, path: &str) -> Self {
        Self {
            id,
            who: who.to_owned(),
            created: jiff::Timestamp::now().to_string(),
            operation: what.to_owned(),
            path: path.to_owned(),
        }
    }
}

impl StateLock {
    /// None when nobody holds it.
    pub(crate) async fn read(&self) -> Result<Option<HeldLock>> {
        let (text, mark, process) = match self {
            Self::LockFile { store, key } => match store.get_tagged(key, LIMIT).await? {
                Some((text, etag)) => (text, etag, None),
                None => return Ok(None),
            },
            Self::Row { client, table, id, region } => {
                match read_row(client, table, id, region).await? {
                    Some(info) => (info.clone().into_bytes(), info, None),
                    None => return Ok(None),
                }
            }
            Self::Local { state } => {
                let path = note_beside(state);
                match fs::read(&path) {
                    Ok(text) => (
                        text.clone(),
                        String::from_utf8_lossy(&text).into_owned(),
                        locking_process(state)?,
                    ),
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(Error::io("can't read", &path, &error)),
                }
            }
        };
        Ok(Some(HeldLock { holder: self.parse(&text)?, process, mark, _file: None }))
    }

    /// Takes the lock as Terraform does; None when somebody else has it.
    pub(crate) async fn take(&self, holder: &LockInfo) -> Result<Option<HeldLock>> {
        let text = serde_json::to_string(holder)
            .map_err(|error| Error::internal("a lock can't be written").why(error))?;
        let taken = match self {
            Self::LockFile { store, key } => {
                let content = Content::Bytes(text.clone().into_bytes());
                store.put_new(key, content, &Metadata::default(), &|_| {}).await? == Put::Created
            }
            Self::Row { client, table, id, region } => {
                put_row(client, table, id, region, &text).await?
            }
            Self::Local { state } => return take_local(state, holder),
        };
        // After an answer that was lost, the lock that stands there may be ours.
        let held = self.read().await?.filter(|held| held.holder.id == holder.id);
        match (taken, held) {
            (true, None) => Err(Error::new(
                Exit::Locked,
                format!("the lock at `{}` is gone again", self.describe()),
            )
            .hint("somebody else has released it: run again")),
            (_, held) => Ok(held),
        }
    }

    /// In a table Terraform keeps the digest of each state as well, and takes a state of another one for damaged.
    pub(crate) async fn forget_digest(&self) -> Result<()> {
        let Self::Row { client, table, id, region } = self else { return Ok(()) };
        let call = client
            .delete_item()
            .table_name(table)
            .key("LockID", AttributeValue::S(format!("{id}-md5")));
        call.send().await.map(drop).map_err(|error| {
            let what = format!(
                "the state's digest in the table `{table}` can't be removed (dynamodb:DeleteItem)"
            );
            Failure::of(&error).into_error(what, region)
        })
    }

    /// Removes the lock that was read; false when there is another in its place by now. One that is gone is released.
    pub(crate) async fn release(&self, held: &HeldLock) -> Result<bool> {
        match self {
            Self::LockFile { store, key } => store.delete_unchanged(key, &held.mark).await,
            Self::Row { client, table, id, region } => {
                delete_row(client, table, id, region, &held.mark).await
            }
            // The lock itself ends with the file that `held` has open.
            Self::Local { .. } if held._file.is_some() => Ok(true),
            Self::Local { state } => match self.read().await? {
                None => Ok(true),
                Some(now) if now.mark != held.mark || now.process.is_some() => Ok(false),
                Some(_) => {
                    let path = note_beside(state);
                    fs::remove_file(&path)
                        .map_err(|error| Error::io("can't remove", &path, &error))?;
                    Ok(true)
                }
            },
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::LockFile { store, key } => store.describe(key),
            Self::Row { table, id, .. } => format!("DynamoDB table {table}, {id}"),
            Self::Local { state } => format!("file:{}", note_beside(state).display()),
        }
    }

    fn parse(&self, text: &[u8]) -> Result<LockInfo> {
        let damaged = |why: String| {
            Error::integrity(format!(
                "the lock at `{}` is not as Terraform writes it",
                self.describe()
            ))
            .why(why)
            .hint("find out who wrote it; if no run is alive that could need it, delete it by hand")
        };
        let holder: LockInfo =
            serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if holder.id.is_empty() { Err(damaged("its `ID` is empty".to_owned())) } else { Ok(holder) }
    }
}

async fn read_row(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    id: &str,
    region: &str,
) -> Result<Option<String>> {
    let call = client.get_item().table_name(table).key("LockID", AttributeValue::S(id.to_owned()));
    let answer = call.consistent_read(true).send().await.map_err(|error| {
        let failure = Failure::of(&error);
        let is_missing = failure.code() == Some("ResourceNotFoundException");
        let error = failure.into_error(
            format!("the lock table `{table}` can't be read (dynamodb:GetItem)"),
            region,
        );
        match is_missing {
            true => error.hint("check `terraform-backend-s3-dynamodb-table` in the account scheme"),
            false => error,
        }
    })?;
    // A row without `Info` holds no lock, or is none of Terraform's: it says nothing of a holder in either case.
    let text = |row: std::collections::HashMap<String, AttributeValue>| {
        row.get("Info").and_then(|info| info.as_s().ok()).cloned().unwrap_or_default()
    };
    Ok(answer.item.map(text))
}

async fn delete_row(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    id: &str,
    region: &str,
    info: &str,
) -> Result<bool> {
    let call = client
        .delete_item()
        .table_name(table)
        .key("LockID", AttributeValue::S(id.to_owned()))
        .condition_expression("attribute_not_exists(LockID) OR #info = :info")
        .expression_attribute_names("#info", "Info")
        .expression_attribute_values(":info", AttributeValue::S(info.to_owned()));
    match call.send().await.map_err(|error| Failure::of(&error)) {
        Ok(_) => Ok(true),
        Err(failure) if failure.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(failure) => Err(failure.into_error(
            format!("the lock in the table `{table}` can't be released (dynamodb:DeleteItem)"),
            region,
        )),
    }
}

/// False when there is one already.
async fn put_row(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    id: &str,
    region: &str,
    info: &str,
) -> Result<bool> {
    let call = client
        .put_item()
        .table_name(table)
        .item("LockID", AttributeValue::S(id.to_owned()))
        .item("Info", AttributeValue::S(info.to_owned()))
        .condition_expression("attribute_not_exists(LockID)");
    match call.send().await.map_err(|error| Failure::of(&error)) {
        Ok(_) => Ok(true),
        Err(failure) if failure.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(failure) => Err(failure.into_error(
            format!("the table `{table}` can't be written to (dynamodb:PutItem)"),
            region,
        )),
    }
}

/// Locks the file against Terraform; a state that is not there needs no lock.
fn take_local(state: &std::path::Path, holder: &LockInfo) -> Result<Option<HeldLock>> {
    use nix::libc;

    let held =
        |file| HeldLock { holder: holder.clone(), process: None, mark: String::new(), _file: file };
    let file = match File::options().read(true).write(true).open(state) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(held(None))),
        Err(error) => return Err(Error::io("can't open", state, &error)),
    };
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // Of this open file and not of this process: it outlives another look at the state.
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(Some(held(Some(file)))),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(Error::io("can't lock", state, &error.into())),
    }
}

/// `.terraform.tfstate.lock.info`
fn note_beside(state: &std::path::Path) -> PathBuf {
    let name = state.file_name().unwrap_or_default().to_string_lossy();
    state.with_file_name(format!(".{name}.lock.info"))
}

/// The process that has the state's file locked, asked of the system.
fn locking_process(state: &std::path::Path) -> Result<Option<i32>> {
    use nix::libc;

    let file = match File::open(state) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("can't read", state, &error)),
    };
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock))
        .map_err(|error| Error::io("can't ask who has locked", state, &error.into()))?;
    Ok((lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_lock_of_terraform_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let lock = StateLock::Local { state: folder.path().join("terraform.tfstate") };
        assert!(lock.read().await.unwrap().is_none());
        let note = folder.path().join(".terraform.tfstate.lock.info");
        for (text, why) in
            [("", "EOF"), ("{}", "missing field `ID`"), ("{\"ID\": \"\"}", "`ID` is empty")]
        {
            fs::write(&note, text).unwrap();
            let error = lock.read().await.unwrap_err();
            assert_eq!(error.exit(), crate::base::error::Exit::Integrity);
            assert!(
                error.to_string().contains(why) && error.to_string().contains(".lock.info"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn only_the_lock_that_was_read_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let lock = StateLock::Local { state: folder.path().join("terraform.tfstate") };
        let note = folder.path().join(".terraform.tfstate.lock.info");
        fs::write(&note, "{\"ID\": \"1\", \"Who\": \"ada\"}").unwrap();
        let first = lock.read().await.unwrap().unwrap();
        assert_eq!(
            (first.holder.id.as_str(), first.holder.who.as_str(), first.process),
            ("1", "ada", None)
        );
        fs::write(&note, "{\"ID\": \"2\"}").unwrap();
        assert!(!lock.release(&first).await.unwrap());
        let second = lock.read().await.unwrap().unwrap();
        assert!(lock.release(&second).await.unwrap() && !note.exists());
        assert!(lock.release(&second).await.unwrap(), "gone is released");
    }
}
