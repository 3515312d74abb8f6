//! A cancelled run: the first signal is remembered, all that come later are swallowed.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::error::{Error, Exit, Result};

/// Clones see the same signal.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<Option<Exit>>);

impl Interrupt {
    /// From here on SIGINT, SIGTERM and SIGHUP don't end the process by themselves. `told` is
    /// called once, with the first.
    pub(crate) fn listen(told: impl FnOnce() + Send + 'static) -> Result<Self> {
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
            told();
            // The three streams live on in this task, so later signals find a handler that does
            // nothing.
            let _ = sender.send(Some(exit));
            sender.closed().await;
        });
        Ok(Self(receiver))
    }

    /// For work that must be finished once it is begun: what was applied is read, recorded and
    /// rescued also after a signal.
    pub(crate) fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// A test's: it sends what a signal would.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (watch::Sender<Option<Exit>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// Which exit code a signal has asked for, if one came.
    pub(crate) fn requested(&self) -> Option<Exit> {
        *self.0.borrow()
    }

    /// Returns when a signal has come; never otherwise.
    pub(crate) async fn arrived(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// `work`, unless a signal comes first; then it is dropped. Only for work that may be left half done.
    pub(crate) async fn or_cancel<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.arrived() => Err(self.cancelled(format!("cancelled while {doing}; nothing was changed"))),
        }
    }

    /// The gate between two steps: an error once a signal has come. `doing` is what would have been
    /// next.
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
