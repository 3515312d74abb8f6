//! How far a phase is that can take more than a second: a bar on a terminal, otherwise a line from
//! time to time. A phase that counts its bytes with [`Progress::step`] also ends at a signal.

use std::{
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Log;
use crate::base::{
    digest::{self, Sha256},
    error::{Error, Result},
    interrupt::Interrupt,
    small_file,
    units::{bytes_text, duration_text},
};

/// A phase that ends earlier shows no bar.
const FIRST: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(100);
/// Between two lines, and before the first one.
const LINES: Duration = Duration::from_secs(15);
/// The width of the bar alone, in characters.
const CELLS: u64 = 24;

/// A phase that is shown until its last clone is dropped.
#[derive(Clone)]
pub(crate) struct Progress {
    counted: Arc<Counted>,
    interrupt: Interrupt,
    _shown: Arc<Ticker>,
}

/// What has been done.
struct Counted {
    /// "uploading", for example.
    what: String,
    started: Instant,
    done: AtomicU64,
    /// 0 if it is not known.
    total: AtomicU64,
    /// A signal has ended the phase.
    is_stopped: AtomicBool,
}

impl Log {
    /// Begins a phase, whose size in bytes might be known.
    pub(crate) fn progress(&self, what: &str, total: impl Into<Option<u64>>) -> Progress {
        let counted = Arc::new(Counted {
            what: what.to_owned(),
            started: Instant::now(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(total.into().unwrap_or_default()),
            is_stopped: AtomicBool::new(false),
        });
        let shown = Arc::new(Ticker::start(self, &counted));
        Progress { counted, interrupt: Interrupt::never(), _shown: shown }
    }
}

impl Progress {
    /// Lets a signal end the phase, which changes nothing that others see.
    pub(crate) fn until(self, interrupt: &Interrupt) -> Self {
        Self { interrupt: interrupt.clone(), ..self }
    }

    /// Returns a phase that shows nothing and ends at no signal.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn none() -> Self {
        Log::new(crate::base::redact::Redactor::default(), 0, true, false).muted().progress("", 0)
    }

    /// Sets the size, which was not known at the beginning.
    pub(crate) fn set_total(&self, total: u64) {
        self.counted.total.store(total, Ordering::Relaxed);
    }

    /// Adds `bytes` to what is done.
    pub(crate) fn advance(&self, bytes: u64) {
        self.counted.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sets what is done, of work that can begin again.
    pub(crate) fn set_done(&self, bytes: u64) {
        self.counted.done.store(bytes, Ordering::Relaxed);
    }

    /// Adds `bytes` to what is done. Fails after a signal.
    pub(crate) fn step(&self, bytes: u64) -> Result<()> {
        self.advance(bytes);
        self.interrupt.check_during(&self.counted.what).inspect_err(|_| self.stop())
    }

    /// Returns a reader that counts what is read. After a signal, reading fails.
    pub(crate) fn reader<'a>(&'a self, from: impl Read + 'a) -> impl Read + 'a {
        CountedReader { from, progress: self }
    }

    /// Returns the SHA-256 of a file, which is read through `buffer`. Fails after a signal.
    pub(crate) fn hash(&self, path: &Path, buffer: &mut [u8]) -> Result<Sha256> {
        self.hash_with(buffer, path)
            .map_err(|error| self.or_cancelled(Error::io("cannot read", path, &error)))
    }

    /// As [`Self::hash`], with a buffer of its own and the error of the system.
    pub(crate) fn hash_file(&self, path: &Path) -> io::Result<Sha256> {
        self.hash_with(&mut digest::buffer(), path)
    }

    fn hash_with(&self, buffer: &mut [u8], path: &Path) -> io::Result<Sha256> {
        digest::copy_with(buffer, &mut self.reader(small_file::open(path)?), &mut io::sink())
    }

    /// Whether a signal has ended the phase: then an error of a reader is not one of the file.
    pub(crate) fn is_stopped(&self) -> bool {
        self.counted.is_stopped.load(Ordering::Relaxed)
    }

    /// Returns the error for a phase that a signal has ended, otherwise `error`.
    pub(crate) fn or_cancelled(&self, error: Error) -> Error {
        match self.is_stopped() {
            true => self.interrupt.check_during(&self.counted.what).err().unwrap_or(error),
            false => error,
        }
    }

    fn stop(&self) {
        self.counted.is_stopped.store(true, Ordering::Relaxed);
    }
}

struct CountedReader<'a, R> {
    from: R,
    progress: &'a Progress,
}

impl<R: Read> Read for CountedReader<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(to)?;
        self.progress.step(read as u64).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(read)
    }
}

/// A thread that shows a phase. The work itself can stall, or run on the threads of tasks.
struct Ticker(Option<(Sender<()>, JoinHandle<()>)>);

impl Ticker {
    fn start(log: &Log, counted: &Arc<Counted>) -> Self {
        if log.is_muted {
            return Self(None);
        }
        let (end, ended) = channel();
        let (log, counted) = (log.clone(), Arc::clone(counted));
        // Without a thread, nothing is shown.
        let thread = thread::Builder::new().spawn(move || show(&log, &counted, &ended));
        Self(thread.ok().map(|thread| (end, thread)))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

/// Shows the phase until it ends.
fn show(log: &Log, counted: &Counted, ended: &Receiver<()>) {
    let is_over = |pause| ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
    let Some(bar) = &log.bar else {
        while !is_over(LINES) {
            log.note(&counted.line());
        }
        return;
    };
    if is_over(FIRST) {
        return;
    }
    let phase = bar.begin();
    loop {
        bar.draw(phase, |width| {
            // Then the answer is typed on the last line.
            let is_asking = log.is_asking.load(Ordering::Relaxed);
            let text = || log.redactor.apply(&log.with_label(&counted.bar(width))).into_owned();
            (!is_asking).then(text)
        });
        if is_over(REDRAW) {
            break;
        }
    }
    bar.end(phase);
}

impl Counted {
    fn line(&self) -> String {
        format!("{}: {}", self.what, self.amounts())
    }

    /// Returns the line of a terminal of this width.
    fn bar(&self, width: usize) -> String {
        let amounts = self.amounts();
        let (done, total) = (self.done(), self.total.load(Ordering::Relaxed));
        let room = width.saturating_sub(self.what.chars().count() + amounts.len() + 8);
        if total == 0 || room <= CELLS as usize {
            return format!("    {}: {amounts}", self.what);
        }
        // The count can pass a total that was an estimate.
        let full = (u128::from(done) * u128::from(CELLS) / u128::from(total)) as u64;
        let full = full.min(CELLS) as usize;
        let cells = "#".repeat(full) + &"-".repeat(CELLS as usize - full);
        format!("    {} [{cells}] {amounts}", self.what)
    }

    /// Returns "45.2 MB of 121.0 MB, 12.3 MB/s", or the time of work that counts no bytes.
    fn amounts(&self) -> String {
        amounts(self.done(), self.total.load(Ordering::Relaxed), self.started.elapsed())
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

fn amounts(done: u64, total: u64, time: Duration) -> String {
    if done == 0 && total == 0 {
        return duration_text(time);
    }
    let of = if total == 0 { String::new() } else { format!(" of {}", bytes_text(total)) };
    let rate = u128::from(done) * 1000 / time.as_millis().max(1);
    let rate = bytes_text(u64::try_from(rate).unwrap_or(u64::MAX));
    format!("{}{of}, {rate}/s", bytes_text(done))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{error::Exit, redact::Redactor};

    fn progress(total: u64) -> Progress {
        let log = Log::new(Redactor::default(), 0, true, false).muted();
        log.progress("packing", total)
    }

    #[test]
    fn amounts_have_a_rate_or_a_time() {
        let second = Duration::from_secs(1);
        assert_eq!(amounts(0, 0, 75 * second), "1m 15s");
        assert_eq!(amounts(3_000_000, 0, 2 * second), "3.0 MB, 1.5 MB/s");
        assert_eq!(amounts(3_000_000, 9_000_000, 3 * second), "3.0 MB of 9.0 MB, 1.0 MB/s");
        assert_eq!(amounts(0, 9_000_000, Duration::ZERO), "0 B of 9.0 MB, 0 B/s");
    }

    #[test]
    fn a_bar_fits_the_terminal() {
        let packing = progress(8_000_000);
        packing.set_done(2_000_000);
        let bar = packing.counted.bar(80);
        assert!(
            bar.starts_with("    packing [######------------------] 2.0 MB of 8.0 MB, "),
            "{bar}"
        );
        assert!(packing.counted.bar(50).starts_with("    packing: 2.0 MB of 8.0 MB, "));
        packing.advance(7_000_000);
        let bar = packing.counted.bar(80);
        assert!(
            bar.starts_with("    packing [########################] 9.0 MB of 8.0 MB"),
            "{bar}"
        );
        assert_eq!(progress(0).counted.bar(80), "    packing: 0s");
    }

    #[test]
    fn a_signal_ends_what_is_counted() {
        let (signal, interrupt) = Interrupt::by_hand();
        let packing = progress(0).until(&interrupt);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "abc").unwrap();
        let hash = |path: &Path| packing.hash(path, &mut digest::buffer());
        assert_eq!(hash(file.path()).unwrap(), Sha256::of(b"abc"));
        assert_eq!(packing.counted.done(), 3);
        packing.step(2).unwrap();
        assert!(hash(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere"));
        assert_eq!(packing.or_cancelled(Error::input("x")).exit(), Exit::Input);
        signal.send(Some(Exit::Interrupted)).unwrap();
        let error = hash(file.path()).unwrap_err();
        assert_eq!(error.exit(), Exit::Interrupted);
        assert_eq!(error.to_string(), "cancelled while packing; nothing was changed");
        assert!(packing.is_stopped());
        assert_eq!(packing.or_cancelled(Error::input("x")).exit(), Exit::Interrupted);
        assert_eq!(packing.step(1).unwrap_err().exit(), Exit::Interrupted);
    }
}
