//! Cancellation: the first signal is remembered, a second one ends what can be lost, and later ones
//! are ignored.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use nix::sys::signal::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::Instant,
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
    ending: Arc<Mutex<Ending>>,
}

/// The end of a cancelled run.
#[derive(Default)]
struct Ending {
    /// When its time began. None before the signal.
    began: Option<Instant>,
    /// Whether a service did not answer.
    is_unanswered: bool,
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
        let (second, ending) = (interrupt.second.clone(), interrupt.ending.clone());
        tokio::spawn(async move {
            let exit = tokio::select! {
                _ = int.recv() => Exit::Interrupted,
                _ = term.recv() => Exit::Terminated,
                _ = hup.recv() => Exit::Terminated,
            };
            on_first();
            begin(&ending);
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
        Self { first, second: watch::Sender::new(false), ending: Arc::default() }
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
        self.or_drop(work, reading(doing)).await
    }

    /// Like [`Self::or_cancel`], for work that might have changed something.
    pub(crate) async fn or_leave<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.or_drop(work, changing(doing)).await
    }

    /// Runs requests that change something, as one step, and drops a step that is not done within
    /// `last-answer` of a signal, or of its start after one. After that, each later step has only
    /// `end`. All of them together have `cancel`.
    pub(crate) async fn or_last_answer<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.or_unanswered(work, || changing(doing)).await
    }

    /// Like [`Self::or_last_answer`], for requests that only read.
    pub(crate) async fn or_last_read<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.or_unanswered(work, || reading(doing)).await
    }

    async fn or_unanswered<T>(
        &self,
        work: impl Future<Output = Result<T>>,
        message: impl Fn() -> String,
    ) -> Result<T> {
        tokio::select! {
            done = work => done.map_err(|error| match self.requested() {
                Some(_) if error.exit() == Exit::Unavailable => {
                    self.cancelled(message()).why(error)
                }
                _ => error,
            }),
            limit = self.last_answer() => Err(self.unanswered(message(), limit)),
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
            () = gave_up => Err(self.unanswered(changing(doing), Limit::LastAnswer)),
        }
    }

    /// Runs the work of a report for `limit`, and after a signal for `stop` and no longer than
    /// `cancel`. Returns the limit that has passed.
    pub(crate) async fn or_stop<T>(
        &self,
        [limit, stop]: [Limit; 2],
        work: impl Future<Output = T>,
    ) -> Result<T, Limit> {
        tokio::select! {
            done = work => Ok(done),
            () = tokio::time::sleep(limit.time()) => Err(limit),
            limit = self.passed(stop) => Err(limit),
        }
    }

    /// Returns the limit of the last requests after a signal when it has passed.
    pub(crate) async fn last_answer(&self) -> Limit {
        self.arrived().await;
        let limit = match self.ending().is_unanswered {
            true => Limit::End,
            false => Limit::LastAnswer,
        };
        let passed = self.passed(limit).await;
        self.ending().is_unanswered = true;
        passed
    }

    /// Begins the time of `cancel` again after a signal. Used when something has ended that had to
    /// be saved, however long that took.
    pub(crate) fn renew(&self) {
        if self.requested().is_some() {
            self.ending().began = Some(Instant::now());
        }
    }

    /// Returns how long `limit` is: after a signal, no longer than the rest of `cancel`.
    pub(crate) fn at_most(&self, limit: Limit) -> (Duration, Limit) {
        let rest = match self.requested() {
            Some(_) => Limit::Cancel.time().saturating_sub(begin(&self.ending).elapsed()),
            None => Duration::MAX,
        };
        match rest < limit.time() {
            true => (rest, Limit::Cancel),
            false => (limit.time(), limit),
        }
    }

    /// Returns at the end of `limit` or of `cancel` after a signal.
    async fn passed(&self, limit: Limit) -> Limit {
        self.arrived().await;
        let (time, limit) = self.at_most(limit);
        tokio::time::sleep(time).await;
        limit
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self, what: String, limit: Limit) -> Error {
        self.cancelled(what).why(limit.passed("the service did not finish"))
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

    /// Checks during work that changes nothing: returns an error if a signal arrived.
    pub(crate) fn check_during(&self, doing: &str) -> Result<()> {
        match self.requested() {
            Some(_) => Err(self.cancelled(reading(doing))),
            None => Ok(()),
        }
    }

    fn cancelled(&self, what: String) -> Error {
        Error::new(self.requested().unwrap_or(Exit::Interrupted), what)
    }
}

/// Begins the end of the run, unless it has begun. Returns when that was.
fn begin(ending: &Mutex<Ending>) -> Instant {
    let mut ending = ending.lock().unwrap_or_else(PoisonError::into_inner);
    *ending.began.get_or_insert_with(Instant::now)
}

fn reading(doing: &str) -> String {
    format!("cancelled while {doing}; nothing was changed")
}

fn changing(doing: &str) -> String {
    format!("cancelled while {doing}; it might be done, partly done or not done")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of a service that needs this long.
    async fn answer(seconds: u64) -> Result<()> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }

    const NEVER: u64 = 3600;

    #[tokio::test]
    async fn slow_steps_share_the_time_of_a_cancelled_run() {
        let (signal, interrupt) = Interrupt::by_hand();
        interrupt.or_last_answer("waiting", answer(0)).await.unwrap();
        signal.send(Some(Exit::Interrupted)).unwrap();
        let began = Instant::now();
        // Each is slow, and answers in time.
        for _ in 0..2 {
            interrupt.or_last_answer("copying", answer(3)).await.unwrap();
        }
        for _ in 0..2 {
            interrupt.or_last_answer("copying", answer(NEVER)).await.unwrap_err();
        }
        let late = interrupt.or_last_answer("copying", answer(NEVER)).await;
        let late = late.unwrap_err().to_string();
        assert!(late.contains("within 9 s (the limit `cancel`)"), "{late}");
        let reporting = interrupt.or_stop([Limit::Comment, Limit::CommentStop], answer(NEVER));
        assert_eq!(reporting.await.err(), Some(Limit::Cancel));
        assert_eq!(began.elapsed().as_secs(), Limit::Cancel.time().as_secs());
    }

    #[tokio::test]
    async fn a_store_and_a_report_that_hang_end_in_time() {
        let (signal, interrupt) = Interrupt::by_hand();
        signal.send(Some(Exit::Terminated)).unwrap();
        let began = Instant::now();
        let hanging = || interrupt.or_last_answer("writing the ledger", answer(NEVER));
        let first = hanging().await.unwrap_err();
        assert!(first.to_string().contains("within 4 s (the limit `last-answer`)"), "{first}");
        let later = hanging().await.unwrap_err();
        assert!(later.to_string().contains("within 2 s (the limit `end`)"), "{later}");
        for limits in
            [[Limit::Comment, Limit::CommentStop], [Limit::Deployment, Limit::CommentStop]]
        {
            interrupt.or_stop(limits, answer(NEVER)).await.unwrap_err();
        }
        assert_eq!(interrupt.at_most(Limit::Webhook), (Duration::ZERO, Limit::Cancel));
        assert_eq!(began.elapsed().as_secs(), Limit::Cancel.time().as_secs());
        // An apply that was waited for has ended.
        interrupt.renew();
        let (time, limit) = interrupt.at_most(Limit::Webhook);
        assert!(limit == Limit::Cancel && time.as_secs() >= 8, "{time:?}");
    }

    #[tokio::test]
    async fn a_report_is_shortened_by_a_signal_in_the_middle() {
        let (signal, interrupt) = Interrupt::by_hand();
        let began = Instant::now();
        let reporting = interrupt.or_stop([Limit::Comment, Limit::CommentStop], answer(NEVER));
        let signalling = async {
            answer(1).await.unwrap();
            signal.send(Some(Exit::Interrupted)).unwrap();
        };
        let (ended, ()) = tokio::join!(reporting, signalling);
        assert_eq!((ended.err(), began.elapsed().as_secs()), (Some(Limit::CommentStop), 5));
        // Without a signal, the usual limit counts.
        let (_signal, interrupt) = Interrupt::by_hand();
        interrupt.renew();
        let usual = (Limit::Comment.time(), Limit::Comment);
        assert_eq!(interrupt.at_most(Limit::Comment), usual);
    }

    #[tokio::test]
    async fn what_is_said_of_a_step_without_an_answer() {
        let (signal, interrupt) = Interrupt::by_hand();
        signal.send(Some(Exit::Interrupted)).unwrap();
        interrupt.insist();
        let says = |ended: Result<()>| ended.unwrap_err().to_string();
        let read = says(interrupt.or_last_read("reading the ledger", answer(NEVER)).await);
        assert!(read.starts_with("cancelled while reading the ledger; nothing was changed: the"));
        let written = says(interrupt.or_last_answer("writing the ledger", answer(NEVER)).await);
        let might = "cancelled while writing the ledger; it might be done, partly done or not done";
        assert!(written.starts_with(might), "{written}");
        let doing = "writing the ledger";
        let last = says(interrupt.or_last_answer_to_second(doing, answer(NEVER)).await);
        assert!(last.starts_with(might), "{last}");
        let refused = async { Err::<(), _>(Error::new(Exit::Unavailable, "no answer")) };
        let refused = says(interrupt.or_last_read("reading the ledger", refused).await);
        assert!(refused.contains("nothing was changed: no answer"), "{refused}");
    }
}
