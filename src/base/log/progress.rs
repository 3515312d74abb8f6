//! The progress of a transfer.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use super::Log;
use crate::base::units::bytes_text;

/// Redraws one line on a terminal; otherwise prints a line every ten seconds, so that a short
/// transfer prints nothing.
pub(crate) struct TransferProgress<'a> {
    log: &'a Log,
    what: &'a str,
    total: u64,
    started: Instant,
    done: AtomicU64,
    /// In milliseconds since the start.
    shown: AtomicU64,
}

impl Log {
    /// Returns the progress of a transfer of `total` bytes.
    pub(crate) fn progress<'a>(&'a self, what: &'a str, total: u64) -> TransferProgress<'a> {
        TransferProgress {
            log: self,
            what,
            total,
            started: Instant::now(),
            done: AtomicU64::new(0),
            shown: AtomicU64::new(0),
        }
    }
}

impl TransferProgress<'_> {
    /// Adds `bytes` to the transferred bytes.
    pub(crate) fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pause =
            if self.log.terminal { Duration::from_millis(100) } else { Duration::from_secs(10) };
        let shown = self.shown.load(Ordering::Relaxed);
        if now.saturating_sub(shown) < u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
            || self
                .shown
                .compare_exchange(shown, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let line = format!("    {}: {} of {}", self.what, bytes_text(done), bytes_text(self.total));
        match self.log.terminal && self.log.actions.is_none() {
            true => {
                let _ = write!(io::stderr().lock(), "\r\u{1b}[K{line}");
            }
            false => self.log.narrate(&line),
        }
    }
}

impl Drop for TransferProgress<'_> {
    fn drop(&mut self) {
        if self.log.terminal && self.shown.load(Ordering::Relaxed) > 0 {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}
