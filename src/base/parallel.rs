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

/// Items of little work go to a thread together, because to wake a thread costs more than to
/// compress a small file. These are the limits of a batch: items, and bytes to process.
const BATCH: usize = 64;
const BATCH_WORK: u64 = 256 << 10;

/// An item, the bytes of memory that it needs until its result is dropped, and the bytes that are
/// processed for it.
pub(crate) struct Item<I> {
    pub(crate) item: I,
    pub(crate) cost: usize,
    pub(crate) work: u64,
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

/// Items on their way to a worker, and where their results go. The last result may be a failure.
type Job<I, O> = (Vec<I>, SyncSender<Vec<Result<O>>>);

/// Takes ownership of `jobs`: the workers end when it is dropped.
fn feed<I, O>(
    jobs: Sender<Job<I, O>>,
    mut items: impl Iterator<Item = Result<Item<I>>>,
    mut sink: impl FnMut(O) -> Result<()>,
) -> Result<()> {
    let mut waiting: VecDeque<(Receiver<Vec<Result<O>>>, usize)> = VecDeque::new();
    let mut in_flight = 0;
    let mut more = true;
    loop {
        while more && (waiting.is_empty() || in_flight < IN_FLIGHT) {
            let (batch, cost) = next_batch(&mut items)?;
            more = !batch.is_empty();
            if more {
                let (give, take) = sync_channel(1);
                jobs.send((batch, give)).map_err(|_| lost())?;
                waiting.push_back((take, cost));
                in_flight += cost;
            }
        }
        let Some((results, cost)) = waiting.pop_front() else { return Ok(()) };
        for result in results.recv().map_err(|_| lost())? {
            sink(result?)?;
        }
        in_flight -= cost;
    }
}

/// Returns the next items and their memory; none at the end.
fn next_batch<I>(items: &mut impl Iterator<Item = Result<Item<I>>>) -> Result<(Vec<I>, usize)> {
    let (mut batch, mut memory, mut bytes) = (Vec::new(), 0, 0);
    while batch.len() < BATCH && bytes < BATCH_WORK {
        let Some(next) = items.next() else { break };
        let Item { item, cost, work } = next?;
        batch.push(item);
        memory += cost;
        bytes += work;
    }
    Ok((batch, memory))
}

fn worker<I, O, S>(
    queue: &Mutex<Receiver<Job<I, O>>>,
    stop: &AtomicBool,
    state: &mut S,
    work: impl Fn(&mut S, I) -> Result<O>,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((batch, give)) = next else { return };
        let mut results = Vec::with_capacity(batch.len());
        for item in batch {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let result = work(state, item);
            let has_failed = result.is_err();
            results.push(result);
            if has_failed {
                break;
            }
        }
        // After an earlier failure the receiver no longer exists.
        let _ = give.send(results);
    }
}

fn lost() -> Error {
    Error::internal("a worker ended before its work was done")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items that go to a thread together, if they are small.
    fn items(n: usize, cost: usize) -> impl Iterator<Item = Result<Item<usize>>> {
        (0..n).map(move |item| Ok(Item { item, cost, work: cost as u64 }))
    }

    #[test]
    fn keeps_the_order() {
        for threads in [0, 1, 2, 8] {
            for cost in [1 << 20, 100_000, 1] {
                let mut seen = Vec::new();
                let sink = |n| {
                    seen.push(n);
                    Ok(())
                };
                in_order(threads, items(500, cost), || Ok(()), |(), n| Ok(n * 2), sink).unwrap();
                assert_eq!(seen, (0..500).map(|n| n * 2).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn large_items_do_not_wait_for_each_other() {
        let mut large = items(3, 1 << 20);
        assert_eq!(next_batch(&mut large).unwrap(), (vec![0], 1 << 20));
        let mut small = items(100, 10);
        assert_eq!(next_batch(&mut small).unwrap().0.len(), BATCH);
        assert_eq!(next_batch(&mut small).unwrap().0.len(), 100 - BATCH);
        assert!(next_batch(&mut small).unwrap().0.is_empty());
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
