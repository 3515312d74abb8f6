//! The locks of a state: reading, acquiring and releasing them without Terraform.
//!
//! On S3, the lock is the object `<state>.tflock`. In DynamoDB, it is the row with the `LockID`
//! `<bucket>/<state>`, with the same JSON in its attribute `Info`. A local state is locked by the
//! operating system while Terraform runs; a file next to it has the same JSON, for people only.

use std::{
    collections::HashMap,
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

use super::local_folder::is_at;
use crate::{
    base::{
        blocking::blocking,
        error::{Error, Exit, Result},
        shell_word::shell_word,
        small_file,
    },
    services::{
        aws::failure::Failure,
        store::{Content, Metadata, Put, S3Store},
    },
};

/// In bytes. A lock has a few hundred.
const LIMIT: u64 = 64 * 1024;

type Row = HashMap<String, AttributeValue>;

/// A place where a state can be locked.
pub(crate) enum StateLock {
    LockFile { store: S3Store, key: String },
    Row { client: aws_sdk_dynamodb::Client, table: String, id: String, region: String },
    Local { state: PathBuf },
}

/// A lock that exists.
#[derive(Debug)]
pub(crate) struct HeldLock {
    pub(crate) holder: LockInfo,
    /// The id of the running process that locks a local state; 0 if it is in another container.
    pub(crate) process: Option<i32>,
    /// Distinguishes this lock from a later one in the same place: the ETag or the text.
    mark: String,
    /// The open file of a local state that this process has locked. Closing it releases the lock.
    _file: Option<File>,
}

/// The JSON that Terraform writes to a lock.
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
    /// Returns the info for a lock of this process. `what` is the operation. Like Terraform, it
    /// names the holder as `user@host`.
    pub(crate) fn new(id: String, user: &str, what: &str, path: &str) -> Self {
        Self {
            id,
            who: format!("{user}@{}", host_name()),
            created: jiff::Timestamp::now().to_string(),
            operation: what.to_owned(),
            path: path.to_owned(),
        }
    }

    /// Whether the holder is on this machine, or in this container.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        self.who.rsplit_once('@').is_some_and(|(_, name)| name == host_name())
    }
}

/// Returns the name of this machine, as Terraform writes it into a lock; empty if unknown.
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

impl StateLock {
    /// Reads the lock. None if the state is not locked.
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
                let state = state.clone();
                match blocking(move || read_local(&state)).await? {
                    Some((text, process)) => {
                        (text.clone(), String::from_utf8_lossy(&text).into_owned(), process)
                    }
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(HeldLock { holder: self.parse(&text)?, process, mark, _file: None }))
    }

    /// Acquires the lock as Terraform does. None if another run holds it.
    pub(crate) async fn acquire(&self, holder: &LockInfo) -> Result<Option<HeldLock>> {
        let text = serde_json::to_string(holder)
            .map_err(|error| Error::internal("cannot serialise a lock").why(error))?;
        let is_created = match self {
            Self::LockFile { store, key } => {
                let content = Content::Bytes(text.clone().into_bytes());
                store.put_new(key, content, &Metadata::default(), &|_| {}).await? == Put::Created
            }
            Self::Row { client, table, id, region } => {
                put_row(client, table, id, region, &text).await?
            }
            Self::Local { state } => return lock_local(state, holder),
        };
        // If the answer was lost, the lock that exists might be ours.
        let held = self.read().await?.filter(|held| held.holder.id == holder.id);
        match (is_created, held) {
            (true, None) => Err(Error::new(
                Exit::Locked,
                format!("the lock at `{}` was released by another run", self.describe()),
            )
            .hint("run again")),
            (_, held) => Ok(held),
        }
    }

    /// Reads the digest of the state from the lock table: the MD5 of the object, in hexadecimal.
    /// None if the table has none, and for other locks.
    pub(crate) async fn digest(&self) -> Result<Option<String>> {
        let Self::Row { client, table, id, region } = self else { return Ok(None) };
        let row = get_row(client, table, &digest_row(id), region).await?;
        Ok(row.and_then(|row| row.get("Digest")?.as_s().ok().cloned()))
    }

    /// Removes the digest of the state from the lock table. Terraform also keeps digests there, and
    /// treats a state with another digest as damaged.
    pub(crate) async fn forget_digest(&self) -> Result<()> {
        let Self::Row { client, table, id, region } = self else { return Ok(()) };
        let call =
            client.delete_item().table_name(table).key("LockID", AttributeValue::S(digest_row(id)));
        call.send().await.map(drop).map_err(|error| {
            let what = format!(
                "cannot remove the state's digest from the table `{table}` (dynamodb:DeleteItem)"
            );
            Failure::of(&error).into_error(what, region)
        })
    }

    /// Releases the lock that was read. False if another lock has replaced it; true if none exists.
    pub(crate) async fn release(&self, held: &HeldLock) -> Result<bool> {
        match self {
            Self::LockFile { store, key } => store.delete_unchanged(key, &held.mark).await,
            Self::Row { client, table, id, region } => {
                delete_row(client, table, id, region, &held.mark).await
            }
            // Dropping `held` closes its file, which releases the lock.
            Self::Local { .. } if held._file.is_some() => Ok(true),
            Self::Local { state } => match self.read().await? {
                None => Ok(true),
                Some(now) if now.mark != held.mark || now.process.is_some() => Ok(false),
                Some(_) => {
                    let path = info_file(state);
                    fs::remove_file(&path)
                        .map_err(|error| Error::io("cannot remove", &path, &error))?;
                    Ok(true)
                }
            },
        }
    }

    /// Returns the place for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::LockFile { store, key } => store.describe(key),
            Self::Row { table, id, .. } => format!("DynamoDB table {table}, {id}"),
            Self::Local { state } => format!("file:{}", info_file(state).display()),
        }
    }

    /// Returns the command that removes a lock without an ID, which nothing can release.
    fn removal(&self) -> String {
        match self {
            Self::LockFile { store, key } => {
                format!("aws s3 rm {}", shell_word(&store.describe(key)))
            }
            Self::Row { table, id, region, .. } => format!(
                "aws dynamodb delete-item --region {} --table-name {} --key {}",
                shell_word(region),
                shell_word(table),
                shell_word(&serde_json::json!({ "LockID": { "S": id } }).to_string())
            ),
            Self::Local { state } => {
                format!("rm -- {}", shell_word(&info_file(state).to_string_lossy()))
            }
        }
    }

    fn parse(&self, text: &[u8]) -> Result<LockInfo> {
        let damaged = |why: String| {
            Error::integrity(format!("the lock at `{}` is not a Terraform lock", self.describe()))
                .why(why)
                .hint(format!(
                    "find out who wrote it; once you are sure that no run uses this state, remove \
                     it: {}",
                    self.removal()
                ))
        };
        let holder: LockInfo =
            serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if holder.id.is_empty() { Err(damaged("its `ID` is empty".to_owned())) } else { Ok(holder) }
    }
}

/// The row in which Terraform keeps the digest of a state.
fn digest_row(id: &str) -> String {
    format!("{id}-md5")
}

/// Reads the `Info` of a row.
async fn read_row(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    id: &str,
    region: &str,
) -> Result<Option<String>> {
    // A row without `Info` is not a lock of Terraform: it is reported as one without a holder.
    let text = |row: Row| row.get("Info").and_then(|info| info.as_s().ok().cloned());
    Ok(get_row(client, table, id, region).await?.map(|row| text(row).unwrap_or_default()))
}

async fn get_row(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    id: &str,
    region: &str,
) -> Result<Option<Row>> {
    let call = client.get_item().table_name(table).key("LockID", AttributeValue::S(id.to_owned()));
    let answer = call.consistent_read(true).send().await.map_err(|error| {
        let failure = Failure::of(&error);
        let is_missing = failure.code() == Some("ResourceNotFoundException");
        let error = failure
            .into_error(format!("cannot read the lock table `{table}` (dynamodb:GetItem)"), region);
        match is_missing {
            true => error.hint("check `terraform-backend-s3-dynamodb-table` in the account scheme"),
            false => error,
        }
    })?;
    Ok(answer.item)
}

/// Deletes the row if its `Info` is still `info`. False if it is another one.
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
    let doing = format!("cannot release the lock in the table `{table}` (dynamodb:DeleteItem)");
    was_written(call.send().await.map_err(|error| Failure::of(&error)), doing, region)
}

/// Creates the row of a lock. False if it exists already.
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
    let doing = format!("cannot write to the table `{table}` (dynamodb:PutItem)");
    was_written(call.send().await.map_err(|error| Failure::of(&error)), doing, region)
}

/// Returns false if the condition of a write was not met.
fn was_written<T>(answer: Result<T, Failure>, doing: String, region: &str) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(failure) if failure.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(failure) => Err(failure.into_error(doing, region)),
    }
}

/// Locks the file of a local state against Terraform. A missing state needs no lock.
fn lock_local(state: &std::path::Path, holder: &LockInfo) -> Result<Option<HeldLock>> {
    use nix::libc;

    let held =
        |file| HeldLock { holder: holder.clone(), process: None, mark: String::new(), _file: file };
    let file = match small_file::open_as(File::options().read(true).write(true), state) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(held(None))),
        Err(error) => return Err(Error::io("cannot open", state, &error)),
    };
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // The lock belongs to this open file, not to the process: reading the state again, and closing
    // that file, does not release it.
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)) {
        // Another run might have removed the file before this one had its lock.
        Ok(_) if !is_at(&file, state) => Ok(None),
        Ok(_) => Ok(Some(held(Some(file)))),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(error) => Err(Error::io("cannot lock", state, &error.into())),
    }
}

/// Returns the information file of a local state, and which process has locked the state.
fn read_local(state: &std::path::Path) -> Result<Option<(Vec<u8>, Option<i32>)>> {
    let path = info_file(state);
    match small_file::read(&path) {
        Ok(text) => Ok(Some((text, locking_process(state)?))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("cannot read", &path, &error)),
    }
}

/// Returns the path of the information file, such as `.terraform.tfstate.lock.info`.
fn info_file(state: &std::path::Path) -> PathBuf {
    let name = state.file_name().unwrap_or_default().to_string_lossy();
    state.with_file_name(format!(".{name}.lock.info"))
}

/// Asks the operating system which process has locked the file of the state.
fn locking_process(state: &std::path::Path) -> Result<Option<i32>> {
    use nix::libc;

    let file = match small_file::open(state) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("cannot read", state, &error)),
    };
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).map_err(|error| {
        Error::io("cannot find out which process has locked", state, &error.into())
    })?;
    Ok((lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_invalid_lock_is_named() {
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
            let command = format!("remove it: rm -- {}", note.display());
            assert!(error.to_string().ends_with(&command), "{error}");
        }
    }

    #[tokio::test]
    async fn a_pipe_as_a_state_or_a_lock_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            path
        };
        let state = pipe("terraform.tfstate");
        let lock = StateLock::Local { state: state.clone() };
        let holder = LockInfo::new("1".into(), "ada", "test", "");
        let named = |error: Error, path: &std::path::Path| {
            let text = error.to_string();
            let is_named = text.contains(&format!("`{}`", path.display()));
            assert!(is_named && text.contains("not a regular file"), "{text}");
        };
        named(lock.acquire(&holder).await.unwrap_err(), &state);
        let info = folder.path().join(".terraform.tfstate.lock.info");
        fs::write(&info, "{\"ID\": \"1\"}").unwrap();
        named(lock.read().await.unwrap_err(), &state);
        fs::remove_file(&info).unwrap();
        let info = pipe(".terraform.tfstate.lock.info");
        named(lock.read().await.unwrap_err(), &info);
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
        assert!(lock.release(&second).await.unwrap(), "a missing lock is released");
    }
}
