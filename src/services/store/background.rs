//! Work that must finish even if its caller is cancelled. A dropped future cannot clean up, because
//! that needs calls to S3. So the work runs in a task of its own, which notices that its caller was
//! dropped.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{RwLock, mpsc};

use super::ProgressFn;
use crate::base::{
    error::{Error, Exit, Result},
    interrupt::Interrupt,
};

/// The running work of one store.
#[derive(Clone, Default)]
pub(crate) struct Background {
    /// Read by everything that runs; who gets to write knows that nothing does.
    running: Arc<RwLock<()>>,
    left: Arc<Mutex<Vec<String>>>,
}

/// The task's line to its caller: progress one way, "I am gone" the other.
#[derive(Clone)]
pub(crate) struct Caller(mpsc::UnboundedSender<u64>);

impl Caller {
    pub(crate) fn progress(&self, bytes: u64) {
        // A dropped caller needs no progress.
        let _ = self.0.send(bytes);
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.0.is_closed()
    }

    /// Returns when the caller's future was dropped.
    pub(crate) async fn dropped(&self) {
        self.0.closed().await;
    }
}

impl Background {
    /// Runs `work` in a task. After a signal, or when the returned future is dropped, the task
    /// learns it from its [`Caller`], starts no further request and tidies up. After a signal the
    /// future still returns how the work ended.
    pub(crate) async fn run<T, W, F>(
        &self,
        progress: ProgressFn<'_>,
        interrupt: &Interrupt,
        work: W,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(Caller) -> F,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        // Taken before the task exists, so that no moment is left in which `settle` would overlook
        // it.
        let running = Arc::clone(&self.running).read_owned().await;
        let (sender, mut steps) = mpsc::unbounded_channel();
        let work = work(Caller(sender));
        let task = tokio::spawn(async move {
            let _running = running;
            work.await
        });
        let mut is_stopped = false;
        loop {
            tokio::select! {
                step = steps.recv() => match step {
                    Some(bytes) => progress(bytes),
                    None => break,
                },
                () = interrupt.arrived(), if !is_stopped => {
                    is_stopped = true;
                    // To the task, this looks like a dropped caller.
                    steps.close();
                }
            }
        }
        task.await.map_err(|error| Error::internal("a store task failed").why(error))?
    }

    /// Remembers what stays behind; [`Self::settle`] reports it, because the caller was dropped.
    pub(crate) fn leave(&self, what: String) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Waits for all tasks. The error names what stays behind.
    pub(crate) async fn settle(&self) -> Result<()> {
        let _all = self.running.write().await;
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        if left.is_empty() {
            return Ok(());
        }
        let error = Error::new(Exit::Unavailable, "a cancelled upload could not be cleaned up");
        Err(left.into_iter().fold(error, Error::hint))
    }
}
