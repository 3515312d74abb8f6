//! Large futures.

use std::pin::Pin;

/// Makes a future on the heap.
///
/// A future contains each future that it awaits, and without optimisation each poll also touches
/// stack for every one of them, whichever branch it takes. Those of the commands and of AWS are
/// tens of kilobytes: inside each other they are too large for the stack of a thread.
pub(crate) fn on_heap<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}
