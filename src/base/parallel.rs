//! Work on many threads, results in order, memory bounded.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
};

use super::error::{Error, Result};

/// Memory limit in bytes of all items in flight. A single item may exceed it.
const IN_FLIGHT: usize = 20 << 20;

/// Returns the number of useful threads; beyond eight, the disk is the bottleneck.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().min(8))
}

/// An item, and the bytes of memory that it needs until its result is dropped.
pub(crate) struct Item<I> {
    pub(crate) item: I,
    pub(crate) cost: usize,
}

/// Does `work` on each item, on `threads` threads that each have a state made by `start`, and gives
/// the results to `sink` in the order of the items, on the calling thread. Ends with the first
/// failure in that order.
pub(crate) fn in_order<I: Send, O: Send, S: Send>(
    threads: usize,
    items: impl Iterator<Item = Result<Item<I>>>,
    start: impl Fn() -> Result<S>,
    work: impl Fn(&mut S, I) -> Result<O> + Sync,
    sink: impl FnMut(O) -> Result<()>,
) -> Result<()> {
    let (jobs, queue) = channel();
    let (queue, stop) = (Mutex::new(queue), AtomicBool::new(false));
    let (queue, stop, work) = (&queue, &stop, &work);
    std::thread::scope(move |scope| {
        for _ in 0..threads.max(1) {
            let mut state = start()?;
            std::thread::Builder::new()
                .spawn_scoped(scope, move || worker(queue, stop, &mut state, work))
                .map_err(|error| Error::input("cannot start a thread").why(error))?;
        }
        let outcome = feed(jobs, items, sink);
        stop.store(outcome.is_err(), Ordering::Relaxed);
        outcome
    })
}

/// An item on its way to a worker, and where the result goes.
type Job<I, O> = (I, SyncSender<Result<O>>);

/// Takes ownership of `jobs`: the workers end when it is dropped.
fn feed<I, O>(
    jobs: Sender<Job<I, O>>,
    mut items: impl Iterator<Item = Result<Item<I>>>,
    mut sink: impl FnMut(O) -> Result<()>,
) -> Result<()> {
    let mut waiting: VecDeque<(Receiver<Result<O>>, usize)> = VecDeque::new();
    let mut in_flight = 0;
    let mut more = true;
    loop {
        while more && (waiting.is_empty() || in_flight < IN_FLIGHT) {
            let Some(next) = items.next() else {
                more = false;
                break;
            };
            let Item { item, cost } = next?;
            let (give, take) = sync_channel(1);
            jobs.send((item, give)).map_err(|_| lost())?;
            waiting.push_back((take, cost));
            in_flight += cost;
        }
        let Some((result, cost)) = waiting.pop_front() else { return Ok(()) };
        sink(result.recv().map_err(|_| lost())??)?;
        in_flight -= cost;
    }
}

fn worker<I, O, S>(
    queue: &Mutex<Receiver<Job<I, O>>>,
    stop: &AtomicBool,
    state: &mut S,
    work: impl Fn(&mut S, I) -> Result<O>,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((item, give)) = next else { return };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // After an earlier failure the receiver no longer exists.
        let _ = give.send(work(state, item));
    }
}

fn lost() -> Error {
    Error::internal("a worker ended before its work was done")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(n: usize, cost: usize) -> impl Iterator<Item = Result<Item<usize>>> {
        (0..n).map(move |item| Ok(Item { item, cost }))
    }

    #[test]
    fn keeps_the_order() {
        for threads in [0, 1, 2, 8] {
            let mut seen = Vec::new();
            let sink = |n| {
                seen.push(n);
                Ok(())
            };
            in_order(threads, items(500, 1 << 20), || Ok(()), |(), n| Ok(n * 2), sink).unwrap();
            assert_eq!(seen, (0..500).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ends_with_the_first_failure() {
        let mut seen = 0;
        let work =
            |(): &mut (), n| if n % 100 == 99 { Err(Error::input(format!("{n}"))) } else { Ok(n) };
        let sink = |_| {
            seen += 1;
            Ok(())
        };
        let error = in_order(4, items(1000, 1), || Ok(()), work, sink).unwrap_err();
        assert_eq!((error.to_string(), seen), ("99".into(), 99));
    }

    #[test]
    fn memory_is_bounded() {
        let (started, ended) = (std::sync::atomic::AtomicUsize::new(0), std::cell::Cell::new(0));
        let cost = IN_FLIGHT / 4;
        let counted = items(100, cost).inspect(|_| {
            let under_way = 1 + started.fetch_add(1, Ordering::Relaxed) - ended.get();
            assert!(under_way <= 5, "{under_way}");
        });
        let sink = |_| {
            ended.set(ended.get() + 1);
            Ok(())
        };
        in_order(3, counted, || Ok(()), |(), n| Ok(n), sink).unwrap();
    }
}
