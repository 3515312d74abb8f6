//! File work on the threads that are meant for blocking calls.

use super::error::{Error, Result};

/// Runs `work` on a blocking thread, so that file access never stalls a thread that drives
/// connections.
///
/// Dropping the future does not stop `work`.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("a file task failed").why(error))?
}
