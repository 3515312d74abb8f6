//! Publishes a release: its bundle becomes an object that never changes.

use super::{
    assemble::ACCOUNT_SCHEME, bundle::Bundle, published, published::Published, source::Sources,
    upload::upload,
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
    },
    config::{identity::Release, scheme::AccountScheme},
    services::{
        ci::host::Host,
        store::{Put, ReleaseStore},
    },
};

/// A release and the store that it is published to.
pub(crate) struct Publication<'a> {
    pub(crate) host: &'a Host,
    pub(crate) store: &'a ReleaseStore,
    pub(crate) release: &'a Release,
    pub(crate) sources: &'a Sources,
    pub(crate) scheme: &'a AccountScheme,
}

impl Publication<'_> {
    /// Returns true if the store has this release from the same sources. Fails with
    /// `Exit::Refused` if it has one from other sources.
    pub(crate) async fn is_published(&self) -> Result<bool> {
        let Some(published) = Published::open(self.store, self.release).await? else {
            return Ok(false);
        };
        let source = published.manifest.as_ref().map(|(_, manifest)| manifest.source_digest);
        if source == Some(self.sources.digest) {
            self.host.log.done(&format!(
                "Already released: {} was made from the same sources",
                self.store.describe(&self.release.key())
            ));
            return Ok(true);
        }
        let files = self.sources.files.iter();
        let mut ours: Vec<(String, Sha256)> =
            files.map(|(name, file)| (name.clone(), file.sha256)).collect();
        ours.push((ACCOUNT_SCHEME.to_owned(), Sha256::of(self.scheme.raw.as_bytes())));
        Err(published::conflict(&published, self.release, &ours, self.sources.digest))
    }

    pub(crate) async fn publish(&self, bundle: &Bundle) -> Result<()> {
        let (host, store, log) = (self.host, self.store, &self.host.log);
        log.step("Publish");
        let key = self.release.key();
        let metadata =
            published::metadata(bundle.digest, bundle.manifest.source_digest, host.run.as_deref());
        match upload(host, store, &key, &bundle.path, bundle.size, &metadata).await? {
            Put::Created => {
                log.note(&store.describe(&key));
                let component = &self.release.identity.component;
                log.done(&format!("Released {component} {}", self.release.version));
                Ok(())
            }
            // Another run was faster, or S3's answer to our own upload was lost.
            Put::Exists => match self.is_published().await? {
                true => Ok(()),
                false => Err(Error::new(
                    Exit::Unavailable,
                    format!("{} was deleted while it was published", store.describe(&key)),
                )
                .hint("find out who deletes releases, then run the release again")),
            },
        }
    }
}
