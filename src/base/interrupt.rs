//! Cancellation: the first signal is remembered, and later ones are ignored.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::error::{Error, Exit, Result};

/// Clones see the same signal.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<Option<Exit>>);

impl Interrupt {
    /// Keeps SIGINT, SIGTERM and SIGHUP from ending the process. `on_first` runs once, at the first
    /// signal.
    pub(crate) fn listen(on_first: impl FnOnce() + Send + 'static) -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::internal("cannot listen for signals").why(error))
        };
        let mut int = listen(SignalKind::interrupt())?;
        let mut term = listen(SignalKind::terminate())?;
        let mut hup = listen(SignalKind::hangup())?;
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let exit = tokio::select! {
                _ = int.recv() => Exit::Interrupted,
                _ = term.recv() => Exit::Terminated,
                _ = hup.recv() => Exit::Terminated,
            };
            on_first();
            // The three streams stay alive in this task, so later signals reach a handler that does
            // nothing.
            let _ = sender.send(Some(exit));
            sender.closed().await;
        });
        Ok(Self(receiver))
    }

    /// Returns an interrupt that never fires, for work that must be finished once started. After an
    /// apply, results are read, recorded and rescued even after a signal.
    pub(crate) fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// Returns an interrupt for tests, and the sender that plays the signal.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (watch::Sender<Option<Exit>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// Returns the exit code of the signal, if one arrived.
    pub(crate) fn requested(&self) -> Option<Exit> {
        *self.0.borrow()
    }

    /// Returns when a signal arrives.
    pub(crate) async fn arrived(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs `work`, and drops it if a signal arrives first. Use it only for work that changes
    /// nothing.
    pub(crate) async fn or_cancel<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.arrived() => Err(self.cancelled(format!("cancelled while {doing}; nothing \
                was changed"))),
        }
    }

    /// Like [`Self::or_cancel`], for work that might have changed something.
    pub(crate) async fn or_leave<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.arrived() => Err(self.cancelled(format!("cancelled while {doing}; it might \
                be done, partly done or not done"))),
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
