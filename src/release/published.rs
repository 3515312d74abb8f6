//! A release in the store, read without downloading the whole bundle.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    bundle::{BundleIndex, BundleManifest, MANIFEST, check_entries},
    facts::{self, ReleaseFacts},
    listing::Listed,
    stored_bundle::StoredBundle,
};
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

/// A published bundle whose index has been read and compared with its manifest.
pub(crate) struct Published<'a> {
    store: &'a ReleaseStore,
    bundle: StoredBundle,
    /// The bundle digest and the manifest. None for a bundle of the reference program, whose names
    /// and sizes nothing confirms.
    pub(crate) manifest: Option<(Sha256, BundleManifest)>,
}

/// A provider of a release, for one platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "provider")]
pub(crate) struct ProviderPackage {
    /// Its source, with the host, such as `registry.terraform.io/hashicorp/aws`.
    pub(crate) source: String,
    /// Its version.
    pub(crate) version: String,
    /// Its platform, such as `linux_amd64`.
    pub(crate) platform: String,
}

impl fmt::Display for ProviderPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.source, self.version, self.platform)
    }
}

impl<'a> Published<'a> {
    /// Returns None if the release does not exist. Fails with `Exit::Integrity` if its digest
    /// differs from the one in the metadata, or its entries differ from the manifest.
    pub(crate) async fn open(store: &'a ReleaseStore, release: &Release) -> Result<Option<Self>> {
        let key = release.key();
        let Some(found) = store.head(&key).await? else { return Ok(None) };
        Self::read_index(store, key, found).await.map(Some)
    }

    /// Opens a release that was listed, without the metadata of its object: one request for most
    /// bundles.
    pub(crate) async fn open_listed(
        store: &'a ReleaseStore,
        release: &Release,
        listed: &Listed,
    ) -> Result<Self> {
        let found = ObjectInfo {
            size: listed.size,
            metadata: Metadata::default(),
            modified: listed.published,
            etag: None,
        };
        Self::read_index(store, release.key(), found).await
    }

    async fn read_index(store: &'a ReleaseStore, key: String, found: ObjectInfo) -> Result<Self> {
        let bundle = StoredBundle::open(store, &key, &found, TAIL).await?;
        let mut published = Self { store, bundle, manifest: None };
        published.manifest = published.checked_manifest().await?;
        Ok(published)
    }

    async fn checked_manifest(&self) -> Result<Option<(Sha256, BundleManifest)>> {
        if !self.index().is_native() {
            return Ok(None);
        }
        let Some(bytes) = self.bundle.read(self.store, MANIFEST).await? else { return Ok(None) };
        let digest = Sha256::of(&bytes);
        if let Some(promised) = promised_digest(self.found())?.filter(|it| *it != digest) {
            return Err(self
                .damaged()
                .why(format!("its bundle digest is {digest}, but its metadata has {promised}")));
        }
        let manifest = BundleManifest::parse(&bytes)?;
        check_entries(self.index(), &manifest).map_err(|why| self.damaged().why(why))?;
        Ok(Some((digest, manifest)))
    }

    /// Returns `release.json`. Fails with `Exit::Integrity` if the manifest has another digest.
    pub(crate) async fn facts(&self) -> Result<ReleaseFacts> {
        let bytes = self.bundle.read(self.store, facts::FILE).await?;
        let bytes = bytes.ok_or_else(|| self.damaged().why("it has no release.json"))?;
        let recorded = self.manifest.as_ref().and_then(|(_, it)| it.files.get(facts::FILE));
        match recorded.is_some_and(|recorded| recorded.sha256 != Sha256::of(&bytes)) {
            true => Err(self.damaged().why("its release.json differs from the manifest")),
            false => ReleaseFacts::parse(&bytes),
        }
    }

    pub(crate) fn found(&self) -> &ObjectInfo {
        &self.bundle.found
    }

    pub(crate) fn index(&self) -> &BundleIndex {
        &self.bundle.index
    }

    fn damaged(&self) -> Error {
        Error::integrity(format!(
            "integrity check of {} failed",
            self.store.describe(&self.bundle.key)
        ))
    }

    /// Returns lines such as `registry.terraform.io/hashicorp/aws 5.100.0 linux_amd64`, taken from
    /// the paths in `providers/`.
    pub(crate) fn providers(&self) -> Vec<ProviderPackage> {
        let mut found: Vec<ProviderPackage> = Vec::new();
        for file in self.index().files() {
            if let ["providers", host, namespace, kind, version, platform, _, ..] =
                file.name.split('/').collect::<Vec<_>>()[..]
            {
                found.push(ProviderPackage {
                    source: format!("{host}/{namespace}/{kind}"),
                    version: version.to_owned(),
                    platform: platform.to_owned(),
                });
            }
        }
        found.sort();
        found.dedup();
        found
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
        Ok(mut listed) => {
            listed.sort_by_key(|object| object.modified);
            listed.iter().filter_map(|listed| release.identity.version_in(&listed.key)).collect()
        }
        Err(_) => {
            return error
                .hint("release it, or check the version, the component and the release bucket");
        }
    };
    match suggestions(&release.version, &versions) {
        names if names.is_empty() => first_release(error, store, release),
        names => error.hint(format!("use a published version, for example {}", names.join(", "))),
    }
}

/// Adds what to do where no release of the component exists.
fn first_release(error: Error, store: &ReleaseStore, release: &Release) -> Error {
    let publish = format!("run `cdflow release {}` to publish the first release", release.version);
    match store {
        ReleaseStore::S3(_) => error.hint(publish),
        ReleaseStore::Directory(_) => error.hint(publish).hint(
            "if another job released it: its folder ended with that job, so release and deploy in \
             one job, or use an account scheme on S3 (docs/aws.md)",
        ),
    }
}

/// Returns the nearest spelling, then the last five of `versions`.
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
pub(crate) fn conflict(
    published: &Published<'_>,
    release: &Release,
    ours: &[(String, Sha256)],
    our_sources: Sha256,
) -> Error {
    let when = published
        .found()
        .modified
        .map(|time| format!(" at {}", time.strftime("%Y-%m-%d %H:%M:%SZ")))
        .unwrap_or_default();
    let who = |key| published.found().metadata.0.get(key).map(|text| printable::line(text));
    let by = who(ACTOR).map(|actor| format!(" by {actor}")).unwrap_or_default();
    let run = who(RUN).map(|url| format!(" ({url})")).unwrap_or_default();
    let error = Error::refused(format!(
        "version {} of `{}` is already published from other sources",
        release.version, release.identity.component
    ));
    let Some((_, manifest)) = &published.manifest else {
        return error.why("another program made it").hint("release under a new version");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::identity::{Identity, Layout},
        release::bundle::{
            self, BundleHeader, EntrySource, SegmentPlan, StagedFile, TerraformIdentity,
        },
        services::store::DirectoryStore,
    };

    fn bundle(release_json: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let sha256 = Sha256::of(b"x");
        let staged = |name: &str, text: &str| StagedFile {
            name: name.to_owned(),
            source: EntrySource::Bytes(text.as_bytes().to_vec()),
            executable: false,
        };
        let files = vec![staged(facts::FILE, release_json), staged("infra/main.tf", "# code")];
        let terraform = TerraformIdentity {
            name: "terraform".into(),
            version: "1.11.4".into(),
            platform: None,
            sha256,
        };
        let header = BundleHeader { source_digest: sha256, terraform };
        let path = folder.path().join("bundle.zip");
        let none = crate::base::log::Progress::none();
        bundle::write(files, header, &SegmentPlan::default(), &path, &none).unwrap();
        std::fs::read(path).unwrap()
    }

    /// Returns the facts and the names, if the bundle passes every check.
    async fn read(bytes: &[u8]) -> Result<(ReleaseFacts, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity {
            team: "platform".parse().unwrap(),
            component: "app".parse().unwrap(),
            layout: Layout::ByTeam,
        };
        let release = Release { identity, version: "1".parse().unwrap() };
        let path = folder.path().join(release.key());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        let store = ReleaseStore::Directory(DirectoryStore::new(folder.path().to_owned()));
        let published = Published::open(&store, &release).await?.unwrap();
        let names = published.index().files().iter().map(|file| file.name.clone()).collect();
        Ok((published.facts().await?, names))
    }

    fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let at = bytes.windows(from.len()).rposition(|window| window == from).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to);
        bytes
    }

    #[tokio::test]
    async fn names_and_sizes_are_those_of_the_manifest() {
        let good = bundle(r#"{"release": {"commit": "one"}}"#);
        let (facts, names) = read(&good).await.unwrap();
        assert_eq!((facts.commit(), names.len()), (Some("one"), 3));
        // Only the directory: the headers in front of the files, which are not read, keep the name.
        let renamed = replaced(&good, b"infra/main.tf", b"infra/evil.tf");
        let error = read(&renamed).await.unwrap_err().to_string();
        assert!(error.contains("the manifest does not list it"), "{error}");
        let size = [6_u32.to_le_bytes(), 13_u32.to_le_bytes()].concat();
        let resized = replaced(&good, &size, &[7_u32.to_le_bytes(), 13_u32.to_le_bytes()].concat());
        let error = read(&resized).await.unwrap_err().to_string();
        assert!(error.contains("its size or mode differs from the manifest"), "{error}");
    }

    /// No byte of the directory can change what is shown: it is the same, or the bundle is
    /// rejected.
    #[tokio::test]
    async fn a_flipped_bit_shows_nothing_false() {
        let good = bundle(r#"{"release": {"commit": "one"}}"#);
        let expected = read(&good).await.unwrap();
        let mut rejected = 0;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            match read(&bad).await {
                Ok(shown) => assert_eq!(shown, expected, "bit {} of byte {at}", at % 8),
                Err(_) => rejected += 1,
            }
        }
        assert!(rejected > good.len() / 2, "{rejected} of {}", good.len());
    }

    #[tokio::test]
    async fn the_release_data_is_that_of_the_manifest() {
        let (one, two) = [r#"{"release": {"commit": "one"}}"#, r#"{"release": {"commit": "two"}}"#]
            .map(|text| (text, bundle(text)))
            .into();
        let manifest = |bytes: &[u8]| {
            let header = b"manifest.json";
            bytes.windows(header.len()).position(|window| window == header).unwrap() - 30
        };
        let at = manifest(&one.1);
        assert_eq!(at, manifest(&two.1), "the test needs equal lengths");
        // The file of one bundle with the manifest of the other, and a directory that fits.
        let mixed = [&one.1[..at], &two.1[at..]].concat();
        let crc = |text: &str| crc32fast::hash(text.as_bytes()).to_le_bytes();
        let mixed = replaced(&mixed, &crc(two.0), &crc(one.0));
        let error = read(&mixed).await.unwrap_err().to_string();
        assert!(error.contains("its release.json differs from the manifest"), "{error}");
    }
}
