//! Requests that do not wait for each other.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::Result;

/// Requests at a time.
const AT_ONCE: usize = 32;

/// Returns the results of all requests, in their order, or the first failure in that order.
pub(crate) async fn at_once<T, F: Future<Output = Result<T>>>(
    requests: impl IntoIterator<Item = F>,
) -> Result<Vec<T>> {
    // Collected first: a lazy iterator would be borrowed until the last answer.
    let requests: Vec<F> = requests.into_iter().collect();
    stream::iter(requests).buffered(AT_ONCE).try_collect().await
}
