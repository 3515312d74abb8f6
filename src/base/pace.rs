//! The rate of writes to GitHub, which asks for one second between POST, PATCH, PUT and DELETE
//! requests.
//!
//! Most runs write fewer than ten times, so a few writes may follow each other without a pause.
//! With these figures a process makes 64 writes in any minute; GitHub's secondary limit is 80.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::interrupt::Interrupt;

const GAP: Duration = Duration::from_secs(1);
/// Writes without a pause after an idle time.
const AT_ONCE: u32 = 5;

/// Clones share one pace.
#[derive(Clone)]
pub(crate) struct Pace {
    /// The time of the next write if writes were evenly spaced.
    due: Arc<Mutex<Option<Instant>>>,
    interrupt: Interrupt,
}

impl Pace {
    /// Does not wait after a signal: little remains to be written, and a person waits for the end.
    pub(crate) fn new(interrupt: Interrupt) -> Self {
        Self { due: Arc::default(), interrupt }
    }

    /// Waits until this write may be sent.
    pub(crate) async fn turn(&self) {
        let at = self.take(Instant::now());
        self.wait(at).await;
    }

    /// Waits until a write would be sent without a pause, for callers that read first and write
    /// soon after.
    pub(crate) async fn ready(&self) {
        let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
        self.wait(early(due.unwrap_or_else(Instant::now))).await;
    }

    async fn wait(&self, at: Instant) {
        tokio::select! {
            () = sleep_until(at) => {}
            () = self.interrupt.arrived() => {}
        }
    }

    fn take(&self, now: Instant) -> Instant {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = due.map_or(now, |due| due.max(now));
        *due = Some(ours + GAP);
        early(ours).max(now)
    }
}

fn early(due: Instant) -> Instant {
    due.checked_sub(GAP * (AT_ONCE - 1)).unwrap_or(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_few_at_once_and_then_one_a_second() {
        let pace = Pace::new(Interrupt::never());
        let now = Instant::now();
        let turns = |count: u32, now: Instant| -> Vec<u128> {
            (0..count).map(|_| pace.take(now).duration_since(now).as_millis()).collect()
        };
        assert_eq!(turns(8, now), [0, 0, 0, 0, 0, 1000, 2000, 3000]);
        // Clones share it, and an idle time allows only a few writes at once.
        assert_eq!(pace.clone().take(now).duration_since(now), GAP * 4);
        let later = now + Duration::from_secs(600);
        assert_eq!(turns(6, later), [0, 0, 0, 0, 0, 1000]);
    }

    #[tokio::test]
    async fn no_minute_has_as_many_as_github_allows() {
        let pace = Pace::new(Interrupt::never());
        let now = Instant::now();
        let in_a_minute =
            (0..200).filter(|_| pace.take(now) < now + Duration::from_secs(60)).count();
        assert_eq!(in_a_minute, 64);
    }

    #[tokio::test]
    async fn no_wait_after_a_signal() {
        let (signal, interrupt) = Interrupt::by_hand();
        let pace = Pace::new(interrupt);
        let taken: Vec<Instant> = (0..30).map(|_| pace.take(Instant::now())).collect();
        assert_eq!(taken.len(), 30);
        let began = Instant::now();
        let waiting = tokio::spawn(async move {
            pace.turn().await;
            pace.turn().await;
            pace.ready().await;
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        signal.send(Some(crate::base::error::Exit::Interrupted)).unwrap();
        waiting.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
