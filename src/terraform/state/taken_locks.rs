//! All locks of a state, acquired and released together.

use super::lock::{HeldLock, LockInfo, StateLock};
use crate::{
    base::{
        error::{Error, Exit, Result},
        interrupt::Interrupt,
        shell_word::shell_word,
    },
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
    /// The one whose answer is waited for.
    asked: Option<&'a StateLock>,
    holder: &'a Holder,
    interrupt: &'a Interrupt,
}

impl<'a> TakenLocks<'a> {
    /// Takes all `locks` or none. `holder` is written to each.
    pub(super) async fn take(
        locks: impl IntoIterator<Item = &'a StateLock>,
        holder: &'a Holder,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let mut taken = Self { taken: Vec::new(), asked: None, holder, interrupt };
        let taking = taken.take_all(locks.into_iter().collect());
        match interrupt.or_last_answer("taking the lock of the state", taking).await {
            Ok(()) => Ok(taken),
            Err(error) => Err(match taken.release().await {
                Ok(()) => error,
                Err(left) => error.also(&left),
            }),
        }
    }

    async fn take_all(&mut self, locks: Vec<&'a StateLock>) -> Result<()> {
        for lock in locks {
            self.asked = Some(lock);
            let held = lock.acquire(&self.holder.info).await?;
            self.asked = None;
            match held {
                Some(held) => self.taken.push((lock, held)),
                None => return Err(locked(lock, lock.read().await?.as_ref())),
            }
        }
        Ok(())
    }

    /// Releases all locks, even if one fails.
    pub(super) async fn release(self) -> Result<()> {
        let releasing = async {
            let mut result = match self.asked {
                Some(lock) => release_if_ours(lock, &self.holder.info).await,
                None => Ok(()),
            };
            for (lock, held) in self.taken.iter().rev() {
                if let Err(error) = release(lock, held).await {
                    let what = format!("failed to release the lock at `{}`", lock.describe());
                    let left = Error::new(error.exit(), what).why(error);
                    result = Err(left.hint(self.how_to_release()));
                }
            }
            result
        };
        let released = self.interrupt.or_last_answer("releasing the lock", releasing).await;
        released.map_err(|error| match error.exit() {
            Exit::Interrupted | Exit::Terminated => error.hint(self.how_to_release()),
            _ => error,
        })
    }

    fn how_to_release(&self) -> String {
        let Holder { info, environment } = self.holder;
        let id = shell_word(&info.id);
        format!("release it: cdflow unlock {environment} --force {id}")
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

/// Releases a lock that might have been acquired although the answer was lost. Otherwise it would
/// stay forever.
async fn release_if_ours(lock: &StateLock, holder: &LockInfo) -> Result<()> {
    let released = match lock.read().await {
        Ok(Some(held)) if held.holder.id == holder.id => release(lock, &held).await,
        found => found.map(drop),
    };
    released.map_err(|error| {
        let what = format!("the lock at `{}` might still be held", lock.describe());
        let id = &holder.id;
        Error::new(error.exit(), what)
            .why(error.story())
            .hint(format!("check it with cdflow unlock, and release it if its ID is {id}"))
    })
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
