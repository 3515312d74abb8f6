//! Uploads a Lambda zip to every bucket that functions are created from.

use std::collections::BTreeMap;

use super::lambda::LambdaZip;
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
    },
    release::upload,
    services::{
        ci::host::Host,
        store::{Metadata, Put, ReleaseStore},
    },
};

/// Key of the object's metadata.
const ZIP_DIGEST: &str = "cdflow-sha256";
/// In bytes; above AWS's limit for a zip.
const ZIP_LIMIT: u64 = 300 << 20;

/// Uploads to all stores at once. A store that already has the same zip is fine: an earlier try
/// might have failed after its upload.
pub(crate) async fn upload(
    host: &Host,
    key: &str,
    zip: &LambdaZip,
    stores: &[ReleaseStore],
) -> Result<()> {
    host.log.step("Upload the Lambda zip");
    let uploads = stores.iter().map(|store| upload_to(host, store, key, zip));
    // Waits for all of them even after a failure: dropping an upload leaves parts behind.
    futures_util::future::join_all(uploads).await.into_iter().collect()
}

async fn upload_to(host: &Host, store: &ReleaseStore, key: &str, zip: &LambdaZip) -> Result<()> {
    let metadata = Metadata(BTreeMap::from([(ZIP_DIGEST.to_owned(), zip.sha256.to_string())]));
    let put = upload::upload(host, store, key, &zip.path, zip.size, &metadata).await?;
    let place = store.describe(key);
    if put == Put::Created {
        host.log.note(&place);
        return Ok(());
    }
    let recorded = store.head(key).await?;
    let existing = match recorded.and_then(|found| found.metadata.0.get(ZIP_DIGEST).cloned()) {
        Some(digest) => digest,
        // A folder keeps no metadata.
        None => digest_of(store, key).await?,
    };
    if existing == zip.sha256.to_string() {
        host.log.note(&format!("{place} (exists already, with the same bytes)"));
        return Ok(());
    }
    Err(Error::refused(format!("{place} exists with other content"))
        .why(format!("its SHA-256 is {existing}, that of the new zip is {}", zip.sha256))
        .hint("release under a new version"))
}

async fn digest_of(store: &ReleaseStore, key: &str) -> Result<String> {
    let bytes = store.get(key, ZIP_LIMIT).await?;
    Ok(bytes.map(|bytes| Sha256::of(&bytes).to_string()).unwrap_or_default())
}
