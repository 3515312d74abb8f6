//! All locks of a state, acquired and released together.

use super::lock::{HeldLock, LockInfo, StateLock};
use crate::{
    base::error::{Error, Exit, Result},
    config::names::Environment,
};

/// Who takes the locks of a state, and of which environment.
pub(crate) struct Holder {
    pub(crate) info: LockInfo,
    pub(crate) environment: Environment,
}

/// Must be released: a drop cannot wait for the answer.
pub(super) struct TakenLocks<'a> {
    taken: Vec<(&'a StateLock, HeldLock)>,
    holder: &'a Holder,
}

impl<'a> TakenLocks<'a> {
    /// Takes all `locks` or none. `holder` is written to each.
    pub(super) async fn take(
        locks: impl IntoIterator<Item = &'a StateLock>,
        holder: &'a Holder,
    ) -> Result<Self> {
        let mut taken = Self { taken: Vec::new(), holder };
        for lock in locks {
            match acquire(lock, &holder.info).await {
                Ok(held) => taken.taken.push((lock, held)),
                Err(error) => {
                    return Err(match taken.release().await {
                        Ok(()) => error,
                        Err(left) => error.hint(left.story()),
                    });
                }
            }
        }
        Ok(taken)
    }

    /// Releases all locks, even if one fails.
    pub(super) async fn release(self) -> Result<()> {
        let mut result = Ok(());
        for (lock, held) in self.taken.iter().rev() {
            if let Err(error) = release(lock, held).await {
                let what = format!("failed to release the lock at `{}`", lock.describe());
                result = Err(Error::new(error.exit(), what).why(error).hint(format!(
                    "release it: cdflow unlock {} --force {}",
                    self.holder.environment, held.holder.id
                )));
            }
        }
        result
    }
}

/// Releases the lock of this run. If the answer was lost, the lock itself says whether it is
/// released.
async fn release(lock: &StateLock, held: &HeldLock) -> Result<()> {
    let Err(error) = lock.release(held).await else { return Ok(()) };
    match lock.read().await {
        Ok(Some(now)) if now.holder.id == held.holder.id => Err(error),
        Ok(_) => Ok(()),
        Err(_) => Err(error),
    }
}

async fn acquire(lock: &StateLock, holder: &LockInfo) -> Result<HeldLock> {
    match lock.acquire(holder).await {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(locked(lock, lock.read().await?.as_ref())),
        Err(error) => Err(release_if_ours(lock, holder, error).await),
    }
}

/// Releases a lock that was acquired although the answer was lost. Otherwise it would stay forever.
async fn release_if_ours(lock: &StateLock, holder: &LockInfo, error: Error) -> Error {
    let is_released = match lock.read().await {
        Ok(Some(held)) if held.holder.id == holder.id => release(lock, &held).await.is_ok(),
        Ok(_) => true,
        Err(_) => false,
    };
    match is_released {
        true => error,
        false => error.hint(format!(
            "the lock at `{}` might still be held: check it with cdflow unlock, \
             and release it if its ID is {}",
            lock.describe(),
            holder.id
        )),
    }
}

pub(super) fn locked(lock: &StateLock, held: Option<&HeldLock>) -> Error {
    let error = Error::new(Exit::Locked, format!("the state is locked at `{}`", lock.describe()));
    let error = match held.map(|held| &held.holder) {
        Some(holder) => error.why(format!(
            "{} by {} since {} (lock {})",
            holder.operation.escape_debug(),
            holder.who.escape_debug(),
            holder.created.escape_debug(),
            holder.id.escape_debug()
        )),
        None => error,
    };
    error.hint(
        "wait for that run to end; if it is not active any more, release its lock \
         (docs/terraform.md, \"State\")",
    )
}
