//! A running program: how it is waited for, stopped and killed.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{process::Child, time::Instant};

use super::life::Life;
use crate::base::{interrupt::Interrupt, limits::Limit, log::Log};

/// Delay after the start during which an interrupt is held back.
const UNTIL_IT_LISTENS: Duration = Duration::from_secs(1);
/// Interval of the messages that cdflow still waits for a program to stop.
const STILL_WAITING: Duration = Duration::from_secs(30);

/// A running program. When it is dropped early, what may be killed is killed, with all that it has
/// started.
pub(super) struct Watched {
    child: Child,
    life: Life,
    limit: Option<Duration>,
    has_passed: bool,
    has_ended: bool,
}

impl Watched {
    /// `more` is added to the limit of `life`.
    pub(super) fn new(child: Child, life: Life, more: Duration) -> Self {
        let limit = life.limit().map(|limit| limit.time() + more);
        Self { child, life, limit, has_passed: false, has_ended: false }
    }

    /// Supervises the program while `reading` reads its output. A process that the program leaves
    /// behind can keep the output open, so it is not waited for long.
    pub(super) async fn with_output(
        &mut self,
        log: &Log,
        interrupt: &Interrupt,
        reading: impl Future<Output = io::Result<()>>,
    ) -> (io::Result<ExitStatus>, io::Result<()>) {
        tokio::pin!(reading);
        let mut read = None;
        let status = {
            let ended = self.supervise(log, interrupt);
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    status = &mut ended => break status,
                    done = &mut reading, if read.is_none() => read = Some(done),
                }
            }
        };
        let rest = async {
            match read {
                Some(read) => read,
                None => tokio::time::timeout(Limit::Output.time(), reading).await.unwrap_or(Ok(())),
            }
        };
        (status, rest.await)
    }

    /// Waits for the end. Passes on one interrupt, to the program itself and not to its group:
    /// Terraform takes a second one as "exit at once, never mind the state".
    pub(super) async fn supervise(
        &mut self,
        log: &Log,
        interrupt: &Interrupt,
    ) -> io::Result<ExitStatus> {
        let began = Instant::now();
        let ended = self.until_it_must_stop(interrupt).await;
        let status = match (ended, self.life) {
            (Some(status), _) => status,
            (None, Life::Expendable(_)) => self.kill().await,
            (None, _) => self.stop(began, log, interrupt).await,
        };
        if let Life::Protected = self.life {
            interrupt.renew();
        }
        self.has_ended = true;
        status
    }

    /// None at the limit and after a signal.
    async fn until_it_must_stop(
        &mut self,
        interrupt: &Interrupt,
    ) -> Option<io::Result<ExitStatus>> {
        let limit = self.limit;
        let at_limit = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = self.child.wait() => Some(status),
            () = interrupt.arrived() => None,
            () = at_limit => {
                self.has_passed = true;
                None
            }
        }
    }

    async fn stop(
        &mut self,
        began: Instant,
        log: &Log,
        interrupt: &Interrupt,
    ) -> io::Result<ExitStatus> {
        // Before it listens to signals, a program would simply die of one.
        tokio::select! {
            status = self.child.wait() => return status,
            () = tokio::time::sleep_until(began + UNTIL_IT_LISTENS) => {}
        }
        let id = self.child.id().unwrap_or_default();
        send(&self.child, Signal::SIGINT);
        let Life::Stoppable { stop, .. } = self.life else { return self.wait_on(log).await };
        let why = tokio::select! {
            status = self.child.wait() => return status,
            () = tokio::time::sleep(stop.time()) => stop.passed("it did not stop"),
            () = interrupt.insisted() => "a second signal arrived".to_owned(),
        };
        log.warning(&format!(
            "process {id} was killed: {why}; if it held a state lock, `cdflow unlock` shows it"
        ));
        self.kill().await
    }

    /// However long it takes.
    async fn wait_on(&mut self, log: &Log) -> io::Result<ExitStatus> {
        let id = self.child.id().unwrap_or_default();
        loop {
            tokio::select! {
                status = self.child.wait() => return status,
                () = tokio::time::sleep(STILL_WAITING) => log.note(&format!(
                    "still waiting for process {id} to stop; killing it could lose its work"
                )),
            }
        }
    }

    async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.kill_group();
        self.child.wait().await
    }

    /// With everything that it has started: a child of it could keep its output open.
    fn kill_group(&self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }

    /// Returns the exit code, or the limit that the program has passed.
    pub(super) fn code(&self, status: ExitStatus) -> Result<i32, Limit> {
        match self.life.limit().filter(|_| self.has_passed) {
            Some(limit) => Err(limit),
            None => Ok(code(status)),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.has_ended && self.life.limit().is_some() {
            self.kill_group();
        }
    }
}

/// To the program itself, not to its group.
pub(super) fn send(child: &Child, signal: Signal) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(id), signal);
    }
}

pub(super) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
