//! A release in the store, read without downloading the whole bundle.

use super::bundle::{BundleIndex, BundleManifest, IndexLookup};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        printable,
        spelling::nearest,
    },
    config::{identity::Release, names::Version},
    services::{
        ci::Run,
        store::{Metadata, ObjectInfo, ReleaseStore},
    },
};

/// Keys of the object's metadata.
const BUNDLE_DIGEST: &str = "cdflow-bundle-digest";
const SOURCE_DIGEST: &str = "cdflow-source-digest";
const MADE_BY: &str = "cdflow-version";
const ACTOR: &str = "cdflow-actor";
const RUN: &str = "cdflow-run";
/// Bytes at the end of a bundle that are read first. They contain the index and the small files of
/// most bundles.
const TAIL: u64 = 256 * 1024;
/// How many versions are listed to suggest one when the requested version is missing.
const VERSIONS_READ: usize = 1000;

/// Returns the metadata of the object that is a bundle. `run` is what the CI says.
pub(crate) fn metadata(bundle: Sha256, source: Sha256, run: Option<&Run>) -> Metadata {
    let pairs = [
        (BUNDLE_DIGEST, bundle.to_string()),
        (SOURCE_DIGEST, source.to_string()),
        (MADE_BY, env!("CARGO_PKG_VERSION").to_owned()),
    ];
    // HTTP headers: only plain characters.
    let is_plain =
        |value: &String| value.len() < 200 && value.bytes().all(|b| b.is_ascii_graphic());
    let who = [
        (ACTOR, run.and_then(|run| run.actor.clone())),
        (RUN, run.and_then(|run| run.url.clone())),
    ];
    let who = who.into_iter().filter_map(|(key, value)| Some((key, value.filter(is_plain)?)));
    Metadata(pairs.into_iter().chain(who).map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Returns the bundle digest in the object's metadata. None for a bundle of the reference program,
/// and in a folder, which keeps no metadata.
pub(crate) fn promised_digest(found: &ObjectInfo) -> Result<Option<Sha256>> {
    let Some(text) = found.metadata.0.get(BUNDLE_DIGEST) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| {
        Error::integrity(format!("the metadata `{BUNDLE_DIGEST}` of the release is damaged"))
            .why(error)
            .hint("find out who changed the object, and deploy another version")
    })
}

/// A published bundle whose index has been read.
pub(crate) struct Published<'a> {
    store: &'a ReleaseStore,
    key: String,
    pub(crate) found: ObjectInfo,
    pub(crate) index: BundleIndex,
    tail: Vec<u8>,
}

impl<'a> Published<'a> {
    /// Returns None if the release does not exist.
    pub(crate) async fn open(store: &'a ReleaseStore, release: &Release) -> Result<Option<Self>> {
        let key = release.key();
        let Some(found) = store.head(&key).await? else { return Ok(None) };
        let mut from = found.size.saturating_sub(TAIL);
        loop {
            let tail = store.get_range(&key, from, found.size - from).await?;
            let located = BundleIndex::locate(&tail, found.size);
            match located.map_err(|error| error.hint(format!("it is {}", store.describe(&key))))? {
                IndexLookup::Found(index) => {
                    return Ok(Some(Self { store, key, found, index, tail }));
                }
                IndexLookup::NeedMore { from_offset } if from_offset < from => from = from_offset,
                IndexLookup::NeedMore { .. } => {
                    return Err(Error::integrity(format!(
                        "cannot read the index of {}",
                        store.describe(&key)
                    )));
                }
            }
        }
    }

    /// Returns the bundle digest and the manifest. None for a bundle of the reference program.
    /// Fails with `Exit::Integrity` if the digest differs from the one in the metadata.
    pub(crate) async fn manifest(&self) -> Result<Option<(Sha256, BundleManifest)>> {
        if !self.index.is_native() {
            return Ok(None);
        }
        match self.read("manifest.json").await? {
            Some(bytes) => {
                let digest = Sha256::of(&bytes);
                match promised_digest(&self.found)?.filter(|promised| *promised != digest) {
                    Some(promised) => Err(Error::integrity(format!(
                        "integrity check of {} failed",
                        self.store.describe(&self.key)
                    ))
                    .why(format!(
                        "its bundle digest is {digest}, but its metadata has {promised}"
                    ))),
                    None => Ok(Some((digest, BundleManifest::parse(&bytes)?))),
                }
            }
            None => Ok(None),
        }
    }

    /// Returns lines such as `registry.terraform.io/hashicorp/aws 5.100.0 linux_amd64`, taken from
    /// the paths in `providers/`.
    pub(crate) fn providers(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for file in self.index.files() {
            if let ["providers", host, namespace, kind, version, platform, _, ..] =
                file.name.split('/').collect::<Vec<_>>()[..]
            {
                found.push(format!("{host}/{namespace}/{kind} {version} {platform}"));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Returns the content of a small file of the bundle; None if the bundle does not have it.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.index.entry(name) else { return Ok(None) };
        let tail_start = self.found.size - self.tail.len() as u64;
        let in_tail = entry.start.checked_sub(tail_start).and_then(|at| {
            let at = usize::try_from(at).ok()?;
            self.tail.get(at..at + usize::try_from(entry.len).ok()?)
        });
        match in_tail {
            Some(bytes) => self.index.decode(entry, bytes).map(Some),
            None => {
                let bytes = self.store.get_range(&self.key, entry.start, entry.len).await?;
                self.index.decode(entry, &bytes).map(Some)
            }
        }
    }
}

/// Returns the error for a missing release. It names the key that was looked up, and versions that
/// exist.
pub(crate) async fn missing(store: &ReleaseStore, release: &Release) -> Error {
    let error = Error::input(format!(
        "release {} of `{}` is not published",
        release.version, release.identity.component
    ))
    .why(format!("{} not found", store.describe(&release.key())));
    let listed = store.list(&release.identity.releases_prefix(), None, VERSIONS_READ).await;
    let versions: Vec<Version> = match listed {
        Ok(listed) => {
            listed.iter().filter_map(|listed| release.identity.version_in(&listed.key)).collect()
        }
        Err(_) => {
            return error
                .hint("release it, or check the version, the component and the release bucket");
        }
    };
    match suggestions(&release.version, &versions) {
        names if names.is_empty() => error
            .hint(format!("run `cdflow release {}` to publish the first release", release.version)),
        names => error.hint(format!("use a published version, for example {}", names.join(", "))),
    }
}

/// Returns the nearest spelling, then the last five versions by name.
fn suggestions(wanted: &Version, versions: &[Version]) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    named.extend(nearest(wanted.as_str(), versions.iter().map(Version::as_str)).map(str::to_owned));
    for version in versions.iter().rev().take(5) {
        if !named.contains(&version.to_string()) {
            named.push(version.to_string());
        }
    }
    named
}

/// Returns the error for a version that was published from other sources. `ours` has the names and
/// digests of the files to publish.
pub(crate) async fn conflict(
    published: &Published<'_>,
    release: &Release,
    ours: &[(String, Sha256)],
    our_sources: Sha256,
) -> Error {
    let when = published
        .found
        .modified
        .map(|time| format!(" at {}", time.strftime("%Y-%m-%d %H:%M:%SZ")))
        .unwrap_or_default();
    let who = |key| published.found.metadata.0.get(key).map(|text| printable::line(text));
    let by = who(ACTOR).map(|actor| format!(" by {actor}")).unwrap_or_default();
    let run = who(RUN).map(|url| format!(" ({url})")).unwrap_or_default();
    let error = Error::refused(format!(
        "version {} of `{}` is already published from other sources",
        release.version, release.identity.component
    ));
    let manifest = match published.manifest().await {
        Ok(Some((_, manifest))) => manifest,
        Ok(None) => {
            return error.why("another program made it").hint("release under a new version");
        }
        Err(unreadable) => return error.why(unreadable).hint("release under a new version"),
    };
    let theirs = |name: &str| manifest.files.get(name).map(|file| file.sha256);
    let mut differing: Vec<&str> = ours
        .iter()
        .filter(|(name, sha256)| theirs(name) != Some(*sha256))
        .map(|(name, _)| name.as_str())
        .collect();
    let is_source = |name: &str| {
        ["infra/", "config/", "platform-config/"].iter().any(|folder| name.starts_with(folder))
    };
    let removed = manifest
        .files
        .keys()
        .filter(|name| is_source(name) && !ours.iter().any(|(our, _)| our == *name));
    differing.extend(removed.map(String::as_str));
    let what = match differing.as_slice() {
        [] => "the artifact, cdflow.yml or the release data".to_owned(),
        names if names.len() <= 5 => names.join(", "),
        names => format!("{} and {} more", names[..5].join(", "), names.len() - 5),
    };
    error
        .why(format!(
            "a version is immutable; it was published{when}{by}{run} with the source digest {}, \
             these sources have {our_sources}, and it differs in {what}",
            manifest.source_digest
        ))
        .hint("release under a new version")
}
