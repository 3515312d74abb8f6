//! The lock of a download: of several runs that need the same file, one downloads it.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

use tokio::time::{Duration, Instant, sleep};

use crate::{
    base::{limits::Limit, small_file},
    services::ci::host::Host,
};

/// How a run got on with a lock, which ends with the file.
pub(super) enum Locked {
    AtOnce(File),
    AfterWaiting(File),
    /// Another run still has it when the limit is over.
    Never,
    /// The wait is over before that: the condition holds.
    NotNeeded,
}

/// Waits for the lock of a file, which is created, for as long as `limit` allows and until
/// `is_done` holds. Shows `note` once if it has to wait.
pub(super) async fn wait(
    path: &Path,
    limit: Limit,
    note: &str,
    host: &Host,
    is_done: impl Fn() -> bool,
) -> io::Result<Locked> {
    let options = &mut File::options();
    let file = small_file::open_as(options.create(true).truncate(false).write(true), path)?;
    let until = Instant::now() + limit.time();
    let mut has_waited = false;
    loop {
        match file.try_lock() {
            Ok(()) if has_waited => return Ok(Locked::AfterWaiting(file)),
            Ok(()) => return Ok(Locked::AtOnce(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_done() {
            return Ok(Locked::NotNeeded);
        }
        if Instant::now() > until {
            return Ok(Locked::Never);
        }
        if !std::mem::replace(&mut has_waited, true) {
            host.log.note(note);
        }
        sleep(Duration::from_millis(100)).await;
    }
}
