//! Publishes a release: its bundle becomes an object that never changes.

use std::collections::BTreeSet;

use super::{
    assemble::{ACCOUNT_SCHEME, Assembly},
    bundle::Bundle,
    published,
    published::Published,
    shared_segments,
    shared_segments::Sharing,
    source::Sources,
    upload::{upload, upload_composed},
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        units::bytes_text,
    },
    config::{identity::Release, scheme::AccountScheme},
    services::{
        ci::host::Host,
        store::{Metadata, Put, ReleaseStore, composed::ComposedPut},
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

    /// Publishes the bundle of `assembly`. If segments can neither be shared nor copied, all bytes
    /// are uploaded.
    pub(crate) async fn publish(&self, bundle: &Bundle, assembly: &Assembly<'_>) -> Result<()> {
        let (host, store, log) = (self.host, self.store, &self.host.log);
        log.step("Publish");
        let key = self.release.key();
        let metadata =
            published::metadata(bundle.digest, bundle.manifest.source_digest, host.run.as_deref());
        let put = match self.put(bundle, &metadata).await? {
            Some(put) => put,
            None => {
                let whole = assembly.write_whole().await?;
                upload(host, store, &key, &whole.path, whole.size(), &metadata).await?
            }
        };
        match put {
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

    /// The shared segments come first, so that no release is ever without them. None: the whole
    /// bundle must be uploaded.
    async fn put(&self, bundle: &Bundle, metadata: &Metadata) -> Result<Option<Put>> {
        let (host, store) = (self.host, self.store);
        let uploaded =
            match shared_segments::share(host, store, self.release, &bundle.shared).await? {
                Sharing::Done { uploaded } => uploaded,
                Sharing::Impossible(why) => {
                    host.log.warning(&format!("{why}; the whole bundle is uploaded"));
                    return Ok(None);
                }
            };
        let content = bundle.content();
        match upload_composed(host, store, &self.release.key(), content, metadata).await? {
            ComposedPut::Put(put) => {
                if put == Put::Created {
                    self.note_shared(bundle, uploaded);
                    self.note_copies(bundle);
                }
                Ok(Some(put))
            }
            ComposedPut::NotCopied(why) => {
                host.log.note(&format!("{why}; the whole bundle is uploaded"));
                Ok(None)
            }
        }
    }

    fn note_shared(&self, bundle: &Bundle, uploaded: u64) {
        let total: u64 = bundle.shared.iter().map(|it| it.len).sum();
        let sum = match bundle.shared.len() {
            0 => return,
            1 => format!("1 shared segment, {}", bytes_text(total)),
            count => format!("{count} shared segments, {}", bytes_text(total)),
        };
        let new = match uploaded {
            0 => "already in the release store".to_owned(),
            uploaded => format!("{} uploaded", bytes_text(uploaded)),
        };
        self.host.log.note(&format!("{sum}: {new}"));
    }

    fn note_copies(&self, bundle: &Bundle) {
        let copied = bundle.content().copied();
        if copied == 0 {
            return;
        }
        let (copied, own) = (bytes_text(copied), bytes_text(bundle.size() - copied));
        let keys: BTreeSet<&str> =
            bundle.copies.iter().map(|range| range.from.key.as_str()).collect();
        let names: Vec<&str> = keys.iter().map(|key| shared_segments::short_name(key)).collect();
        let names = names.join(", ");
        self.host.log.note(&format!("{copied} copied from {names}, {own} uploaded"));
    }
}
