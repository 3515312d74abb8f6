//! Uploads a file to a store. A signal cancels the upload and leaves no partial object behind.

use std::path::Path;

use crate::{
    base::error::{Error, Exit, Result},
    services::{
        ci::host::Host,
        store::{Content, Metadata, Put, ReleaseStore},
    },
};

/// Creates the object `key`; an existing one is left as it is. `size` is in bytes.
pub(crate) async fn upload(
    host: &Host,
    store: &ReleaseStore,
    key: &str,
    file: &Path,
    size: u64,
    metadata: &Metadata,
) -> Result<Put> {
    let interrupt = &host.interrupt;
    let progress = host.log.progress("uploading", size);
    let advance = |bytes| progress.advance(bytes);
    let cancelled = tokio::select! {
        put = store.put_new(key, Content::File(file), metadata, &advance) => return put,
        () = interrupt.arrived() => interrupt.requested().unwrap_or(Exit::Interrupted),
    };
    if let Err(partial) = store.settle().await {
        host.log.warning(&partial.to_string());
    }
    Err(Error::new(
        cancelled,
        format!("upload of {} cancelled: it is not published", store.describe(key)),
    ))
}
