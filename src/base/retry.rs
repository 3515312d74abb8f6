//! Retries of remote calls: how many attempts, and the pauses between them.
//!
//! The caller decides which failures are worth another attempt. A caller that is cancelled drops
//! its future, and that ends the pause, too.

use std::time::Duration;

use tokio::time::Instant;

/// The limits of one kind of call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    /// All attempts, the first included.
    pub(crate) attempts: u32,
    /// The longest pause before the second attempt; it doubles with each further one.
    pub(crate) first_pause: Duration,
    /// The upper limit of any pause, including one that the server asks for.
    pub(crate) longest_pause: Duration,
}

/// The attempts at one call. The first has been made, or is about to be, when this value exists.
#[derive(Debug)]
pub(crate) struct Attempts {
    limits: Retry,
    made: u32,
    /// No attempt starts later.
    until: Option<Instant>,
}

impl Retry {
    pub(crate) fn start(self) -> Attempts {
        Attempts { limits: self, made: 1, until: None }
    }

    /// Like [`Self::start`], but no further attempt starts after `patience`.
    pub(crate) fn within(self, patience: Duration) -> Attempts {
        Attempts { until: Instant::now().checked_add(patience), ..self.start() }
    }
}

impl Attempts {
    /// Waits until the next attempt is due. Returns false, at once, if no attempt is left.
    pub(crate) async fn again(&mut self) -> bool {
        self.again_after(None).await
    }

    /// Like [`Self::again`], but waits as long as the server asked for in `retry_after`.
    pub(crate) async fn again_after(&mut self, retry_after: Option<Duration>) -> bool {
        let Some(pause) = self.next_pause(retry_after) else { return false };
        tokio::time::sleep(pause).await;
        true
    }

    /// Counts another attempt and returns the pause before it; None if no attempt is left.
    pub(crate) fn next_pause(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        if self.made >= self.limits.attempts {
            return None;
        }
        let doubled = 2_u32.saturating_pow(self.made - 1);
        let pause = retry_after
            .unwrap_or_else(|| jitter(self.limits.first_pause.saturating_mul(doubled) / 2));
        let pause = pause.min(self.limits.longest_pause);
        let due = Instant::now().checked_add(pause);
        if self.until.is_some_and(|until| due.is_none_or(|due| due > until)) {
            return None;
        }
        self.made += 1;
        Some(pause)
    }

    /// Returns how many attempts were made.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }
}

/// Returns a random duration between `pause` and twice that, so that parallel jobs do not act in
/// step.
pub(crate) fn jitter(pause: Duration) -> Duration {
    let mut byte = [0_u8];
    // Without random bytes the pause is still long enough.
    let _ = getrandom::fill(&mut byte);
    pause + pause * u32::from(byte[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        attempts: 5,
        first_pause: Duration::from_millis(200),
        longest_pause: Duration::from_millis(1000),
    };

    #[test]
    fn pauses_double_up_to_the_limit() {
        for _ in 0..100 {
            let mut attempts = RETRY.start();
            for longest in [200, 400, 800, 1000] {
                let pause = attempts.next_pause(None).unwrap();
                let longest = Duration::from_millis(longest);
                assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
            }
            assert_eq!(attempts.next_pause(None), None);
        }
    }

    #[test]
    fn the_servers_pause_replaces_ours_within_the_limit() {
        let mut attempts = RETRY.start();
        let asked = |millis| Some(Duration::from_millis(millis));
        assert_eq!(attempts.next_pause(asked(0)), asked(0));
        assert_eq!(attempts.next_pause(asked(700)), asked(700));
        assert_eq!(attempts.next_pause(asked(60_000)), asked(1000));
    }

    #[tokio::test]
    async fn no_attempt_starts_after_the_patience() {
        let mut attempts = Retry { attempts: 100, ..RETRY }.within(Duration::from_millis(1200));
        let began = Instant::now();
        while attempts.again().await {}
        assert!(began.elapsed() < Duration::from_millis(1500), "{attempts:?}");
        assert!((3..8).contains(&attempts.made()), "{attempts:?}");
        // A pause that the server asks for is not cut short: then the attempts end.
        let mut attempts = RETRY.within(Duration::from_millis(500));
        assert_eq!(attempts.next_pause(Some(Duration::from_secs(60))), None);
    }

    #[tokio::test]
    async fn one_attempt_is_never_repeated() {
        let mut attempts = Retry { attempts: 1, ..RETRY }.start();
        assert!(!attempts.again().await);
    }
}
