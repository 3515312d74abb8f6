//! Cancellation: the first signal is remembered, a second one ends what can be lost, and later ones
//! are ignored.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use nix::sys::signal::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    error::{Error, Exit, Result},
    limits::Limit,
};

/// A signal that arrives so soon after the first one is the same: some programs send it to the
/// process and to its group.
const SAME: Duration = Duration::from_millis(100);

/// Clones see the same signals.
#[derive(Clone)]
pub(crate) struct Interrupt {
    first: watch::Receiver<Option<Exit>>,
    /// Whether a second signal arrived. The sender lives as long as a clone.
    second: watch::Sender<bool>,
    /// Whether a service did not answer after a signal.
    is_unanswered: Arc<AtomicBool>,
}

impl Interrupt {
    /// Keeps SIGINT, SIGTERM and SIGHUP from ending the process. `on_first` runs once, at the first
    /// signal, and `on_second` at the second.
    ///
    /// Also SIGXFSZ: a write beyond `ulimit -f` then fails with an error that can be reported.
    pub(crate) fn listen(
        on_first: impl FnOnce() + Send + 'static,
        on_second: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::internal("cannot listen for signals").why(error))
        };
        let mut int = listen(SignalKind::interrupt())?;
        let mut term = listen(SignalKind::terminate())?;
        let mut hup = listen(SignalKind::hangup())?;
        let file_size = listen(SignalKind::from_raw(Signal::SIGXFSZ as i32))?;
        let (sender, receiver) = watch::channel(None);
        let interrupt = Self::of(receiver);
        let second = interrupt.second.clone();
        tokio::spawn(async move {
            let exit = tokio::select! {
                _ = int.recv() => Exit::Interrupted,
                _ = term.recv() => Exit::Terminated,
                _ = hup.recv() => Exit::Terminated,
            };
            on_first();
            let _ = sender.send(Some(exit));
            tokio::time::sleep(SAME).await;
            // What arrived in that time is one signal at most per kind.
            for stream in [&mut int, &mut term, &mut hup] {
                let _ = stream.recv().now_or_never();
            }
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
            on_second();
            second.send_replace(true);
            // The streams stay alive in this task, so later signals reach a handler that does
            // nothing.
            sender.closed().await;
            drop(file_size);
        });
        Ok(interrupt)
    }

    fn of(first: watch::Receiver<Option<Exit>>) -> Self {
        Self { first, second: watch::Sender::new(false), is_unanswered: Arc::default() }
    }

    /// Returns an interrupt that never fires, for work that must be finished once started. After an
    /// apply, results are read, recorded and rescued even after a signal.
    pub(crate) fn never() -> Self {
        Self::of(watch::channel(None).1)
    }

    /// Returns an interrupt for tests, and the sender that plays the signal.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (watch::Sender<Option<Exit>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self::of(receiver))
    }

    /// Plays the second signal.
    #[cfg(test)]
    pub(crate) fn insist(&self) {
        self.second.send_replace(true);
    }

    /// Returns the exit code of the signal, if one arrived.
    pub(crate) fn requested(&self) -> Option<Exit> {
        *self.first.borrow()
    }

    /// Returns when a signal arrives.
    pub(crate) async fn arrived(&self) {
        let mut receiver = self.first.clone();
        if receiver.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when a second signal arrives. Then only what could be lost is waited for.
    pub(crate) async fn insisted(&self) {
        // The sender is alive: it is ours.
        let _ = self.second.subscribe().wait_for(|insisted| *insisted).await;
    }

    /// Runs `work`, and drops it if a signal arrives first. Use it only for work that changes
    /// nothing.
    pub(crate) async fn or_cancel<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.or_drop(work, format!("cancelled while {doing}; nothing was changed")).await
    }

    /// Like [`Self::or_cancel`], for work that might have changed something.
    pub(crate) async fn or_leave<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let message = format!("cancelled while {doing}; it might be done, partly done or not done");
        self.or_drop(work, message).await
    }

    /// Runs requests that change something, as one step, and drops a step that is not done within
    /// `last-answer` of a signal, or of its start after one. After that, each later step has only
    /// `end`.
    pub(crate) async fn or_last_answer<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let message =
            || format!("cancelled while {doing}; it might be done, partly done or not done");
        tokio::select! {
            done = work => done.map_err(|error| match self.requested() {
                Some(_) if error.exit() == Exit::Unavailable => {
                    self.cancelled(message()).why(error)
                }
                _ => error,
            }),
            limit = self.unanswered() => {
                Err(self.cancelled(message()).why(limit.passed("the service did not finish")))
            }
        }
    }

    /// As `or_last_answer`, but only a second signal ends it: what is written must not be lost.
    pub(crate) async fn or_last_answer_to_second<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let gave_up = async {
            self.insisted().await;
            tokio::time::sleep(Limit::LastAnswer.time()).await;
        };
        tokio::select! {
            done = work => done,
            () = gave_up => {
                let why = Limit::LastAnswer.passed("the service did not finish");
                Err(self.cancelled(format!("cancelled while {doing}")).why(why))
            }
        }
    }

    /// Returns when the last requests after a signal have had their time.
    pub(crate) async fn last_answer(&self) {
        self.arrived().await;
        tokio::time::sleep(Limit::LastAnswer.time()).await;
    }

    /// Returns the limit of requests after a signal when it has passed.
    async fn unanswered(&self) -> Limit {
        self.arrived().await;
        let limit = match self.is_unanswered.load(Ordering::Relaxed) {
            true => Limit::End,
            false => Limit::LastAnswer,
        };
        tokio::time::sleep(limit.time()).await;
        self.is_unanswered.store(true, Ordering::Relaxed);
        limit
    }

    async fn or_drop<T>(
        &self,
        work: impl Future<Output = Result<T>>,
        message: String,
    ) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.arrived() => Err(self.cancelled(message)),
        }
    }

    /// Checks between two steps: returns an error if a signal arrived. `doing` names the next step.
    pub(crate) fn check(&self, doing: &str) -> Result<()> {
        match self.requested() {
            Some(_) => Err(self
                .cancelled(format!("cancelled before {doing}; nothing was changed by this step"))),
            None => Ok(()),
        }
    }

    fn cancelled(&self, what: String) -> Error {
        Error::new(self.requested().unwrap_or(Exit::Interrupted), what)
    }
}
