//! Shared segments, and the records of which releases use them.
//!
//! A release that shares a segment and a deletion of the segment can run at the same time. As with
//! releases (`deletion`), both announce first and look second: the release writes a use record and
//! then looks for a mark; the deletion writes a mark and then looks for use records. At least one
//! of them sees the other: the release then keeps all its bytes in its own object, or the deletion
//! leaves the segment.

use jiff::{SignedDuration, Timestamp};

use super::{bundle::SharedSegment, deletion, upload::upload};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        redact::Secret,
    },
    config::{component::ProviderStorage, identity::Release, names::Version},
    services::{
        ci::host::Host,
        store::{Content, ListedObject, Metadata, Put, ReleaseStore},
    },
};

/// The prefix of all keys related to segments.
const SEGMENTS: &str = "segments/";
const USED: &str = "segments/used/";
const DELETING: &str = "segments/deleting/";
/// Ends all keys, so that policies for releases cover them.
const END: &str = ".zip";
/// A use without a release, and a segment without a use, can belong to a release that is running.
const RUNNING: SignedDuration = SignedDuration::from_hours(24);
/// The longest time from a use record to the last segment. The bundle follows at once.
const LONGEST: SignedDuration = SignedDuration::from_hours(6);

/// Returns the key of a shared segment, whose object has this digest.
pub(crate) fn segment_key(sha256: &Sha256) -> String {
    format!("{SEGMENTS}{sha256}{END}")
}

/// Returns the key of a segment, and the last part of any other key.
pub(crate) fn short_name(key: &str) -> &str {
    match key.rsplit_once('/') {
        Some((folder, name)) if folder != SEGMENTS.trim_end_matches('/') => name,
        _ => key,
    }
}

/// Returns the prefix of the marks that a segment is about to be deleted. Each deletion has its own
/// mark, so that none can remove that of another one.
pub(crate) fn marks_prefix(sha256: &Sha256) -> String {
    format!("{DELETING}{sha256}/")
}

/// Returns the prefix of the use records of a segment.
pub(crate) fn uses_prefix(sha256: &Sha256) -> String {
    format!("{USED}{sha256}/")
}

/// Where the provider binaries of a release are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentStorage {
    /// In the bundle.
    InBundle,
    /// In a shared segment if a known release uses it, otherwise in the bundle.
    SharedIfThere,
    /// In shared segments.
    Shared,
}

impl SegmentStorage {
    /// The release of a pull request can be made by code without a review, so it creates no
    /// segments for other releases.
    pub(crate) fn of(providers: Option<ProviderStorage>, version: &Version) -> Self {
        match (providers, version.is_of_preview()) {
            (Some(ProviderStorage::Shared), false) => Self::Shared,
            (Some(ProviderStorage::Shared), true) => Self::SharedIfThere,
            (Some(ProviderStorage::Bundle) | None, _) => Self::InBundle,
        }
    }
}

/// The result of [`share`].
pub(crate) enum Sharing {
    /// Each segment is in the store, and stays there as long as the release.
    Done {
        /// The bytes that were uploaded.
        uploaded: u64,
    },
    /// A segment cannot be shared, for this reason: the release must keep all its bytes.
    Impossible(String),
}

/// Uploads missing segments of `release`, and records that it uses them.
pub(crate) async fn share(
    host: &Host,
    store: &ReleaseStore,
    release: &Release,
    segments: &[SharedSegment],
) -> Result<Sharing> {
    match (Uses { host, store, release, segments }).share().await {
        // A missing permission, in S3 or in a folder.
        Err(error) if matches!(error.exit(), Exit::Credentials | Exit::Input) => {
            Ok(Sharing::Impossible(error.story()))
        }
        shared => shared,
    }
}

/// The segments that a release uses.
struct Uses<'a> {
    host: &'a Host,
    store: &'a ReleaseStore,
    release: &'a Release,
    segments: &'a [SharedSegment],
}

impl Uses<'_> {
    async fn share(&self) -> Result<Sharing> {
        let (mut uploaded, began) = (0, Timestamp::now());
        let interrupt = &self.host.interrupt;
        let announced = interrupt.or_last_answer("sharing segments", self.announce()).await?;
        for (segment, announced) in self.segments.iter().zip(announced) {
            interrupt.check("sharing more segments")?;
            match self.share_one(segment, &announced).await? {
                Ok(bytes) => uploaded += bytes,
                Err(why) => {
                    let segment = self.store.describe(&segment_key(&segment.sha256));
                    return Ok(Sharing::Impossible(format!("{segment} {why}")));
                }
            }
        }
        // A suspended machine. A deletion would not believe in this run much longer.
        match Timestamp::now().duration_since(began) > LONGEST {
            true => Ok(Sharing::Impossible("sharing the segments took too long".to_owned())),
            false => Ok(Sharing::Done { uploaded }),
        }
    }

    /// Returns the keys of the uses.
    async fn announce(&self) -> Result<Vec<String>> {
        // A unique name, so that a deletion of older use records never removes this one.
        let name = unique_name()?;
        let release = self.release.key();
        let release = release.strip_suffix(END).unwrap_or(&release);
        let mut keys = Vec::new();
        for segment in self.segments {
            self.host.interrupt.check("sharing more segments")?;
            let key = format!("{}{release}/{name}", uses_prefix(&segment.sha256));
            let content = Content::Bytes(Vec::new());
            self.store.put_new(&key, content, &Metadata::default(), &|_| {}).await?;
            keys.push(key);
        }
        Ok(keys)
    }

    /// Returns how many bytes were uploaded, or why the segment cannot be shared.
    async fn share_one(
        &self,
        segment: &SharedSegment,
        announced: &str,
    ) -> Result<Result<u64, &'static str>> {
        let Self { host, store, .. } = self;
        let key = segment_key(&segment.sha256);
        let asking = async {
            let is_marked = is_marked(store, &segment.sha256, announced).await?;
            Ok((is_marked, store.head(&key).await?.map(|found| found.size)))
        };
        let asked = host.interrupt.or_cancel("asking for shared segments", asking).await?;
        let (false, found) = asked else { return Ok(Err("is being deleted")) };
        let Some(file) = &segment.file else {
            return Ok(match found {
                Some(size) if size > segment.len => Ok(0),
                Some(_) => Err("is too short"),
                None => Err("does not exist"),
            });
        };
        let size =
            std::fs::metadata(file).map_err(|error| Error::io("cannot read", file, &error))?;
        match found {
            Some(found) if found == size.len() => Ok(Ok(0)),
            Some(_) => Ok(Err("has another size than its content")),
            None => {
                let put = upload(host, store, &key, file, size.len(), &Metadata::default()).await?;
                // Another release can have been faster.
                Ok(Ok(if put == Put::Created { size.len() } else { 0 }))
            }
        }
    }
}

/// Whether a deletion has marked the segment, at the time of the use record `announced`.
async fn is_marked(store: &ReleaseStore, sha256: &Sha256, announced: &str) -> Result<bool> {
    let prefix = marks_prefix(sha256);
    let mut marks = store.list_all(&prefix).await?;
    // A role for pull requests can write other names: `*-pr-*.zip` in the policies.
    marks.retain(|mark| mark.key.strip_prefix(&prefix).is_some_and(is_unique_name));
    if marks.is_empty() {
        return Ok(false);
    }
    let at = store.head(announced).await?.and_then(|found| found.modified);
    let at = at.unwrap_or_else(Timestamp::now);
    Ok(marks.iter().any(|mark| mark.modified.is_none_or(|marked| deletion::counts(marked, at))))
}

fn is_unique_name(name: &str) -> bool {
    name.strip_suffix(END).is_some_and(|name| name.parse::<Sha256>().is_ok())
}

/// Returns the last part of the key of a use record or of a mark.
pub(crate) fn unique_name() -> Result<String> {
    let random = Secret::random()
        .map_err(|error| Error::internal("cannot get random bytes from the system").why(error))?;
    Ok(format!("{}{END}", Sha256::of(random.expose().as_bytes())))
}

/// The segments, use records and dead marks in a store.
#[derive(Default)]
pub(crate) struct ListedSegments {
    pub(crate) segments: Vec<(Sha256, ListedObject)>,
    pub(crate) uses: Vec<ListedUse>,
    /// The keys of marks that killed deletions have left.
    pub(crate) dead_marks: Vec<String>,
}

/// A use record.
pub(crate) struct ListedUse {
    pub(crate) segment: Sha256,
    /// The key of the release. An object with another name is of no release.
    pub(crate) release: String,
    pub(crate) object: ListedObject,
}

impl ListedSegments {
    /// Lists all of them: one request per 1000 objects.
    pub(crate) async fn read(store: &ReleaseStore, now: Timestamp) -> Result<Self> {
        let mut listed = Self::default();
        for object in store.list_all(SEGMENTS).await? {
            listed.add(object, now);
        }
        Ok(listed)
    }

    /// Ignores other objects, such as the releases of a team with the name `segments`.
    fn add(&mut self, object: ListedObject, now: Timestamp) {
        let key = object.key.clone();
        let of_segment = |prefix: &str| {
            let (digest, rest) = key.strip_prefix(prefix)?.split_once('/')?;
            Some((digest.parse::<Sha256>().ok()?, rest))
        };
        if of_segment(DELETING).is_some() {
            if object.modified.is_some_and(|marked| deletion::is_dead(marked, now)) {
                self.dead_marks.push(key);
            }
        } else if let Some((segment, rest)) = of_segment(USED) {
            let release = rest.rsplit_once('/').map(|(release, _)| format!("{release}{END}"));
            self.uses.push(ListedUse { segment, release: release.unwrap_or_default(), object });
        } else {
            let name = key.strip_prefix(SEGMENTS).and_then(|name| name.strip_suffix(END));
            if let Some(Ok(sha256)) = name.map(str::parse) {
                self.segments.push((sha256, object));
            }
        }
    }
}

/// Whether an object is so old that no running release needs it.
pub(crate) fn is_settled(object: &ListedObject, now: Timestamp) -> bool {
    object.modified.is_some_and(|modified| now.duration_since(modified) >= RUNNING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let sha256 = Sha256::of(b"segment");
        let uses = uses_prefix(&sha256);
        let mut listed = ListedSegments::default();
        for (key, hours) in [
            (segment_key(&sha256), 25),
            (format!("{}one.zip", marks_prefix(&sha256)), 2),
            (format!("{}other.zip", marks_prefix(&sha256)), 0),
            (format!("{uses}team/app/app-1-x/run.zip"), 23),
            (format!("{uses}app/app-2.zip/run.zip"), 24),
            (format!("{uses}of-nothing"), 24),
            // Releases of a team named `segments`.
            ("segments/used/used-1.zip".to_owned(), 99),
            ("segments/app/app-1.zip".to_owned(), 99),
            (format!("segments/{sha256}"), 99),
        ] {
            let modified = now.checked_sub(SignedDuration::from_hours(hours)).ok();
            listed.add(ListedObject { key, size: 1, modified }, now);
        }
        assert_eq!(listed.segments.len(), 1);
        assert!(listed.segments[0].0 == sha256 && is_settled(&listed.segments[0].1, now));
        assert_eq!(listed.dead_marks, [format!("{}one.zip", marks_prefix(&sha256))]);
        let uses: Vec<_> = listed
            .uses
            .iter()
            .map(|it| (it.release.as_str(), is_settled(&it.object, now)))
            .collect();
        let expected = [("team/app/app-1-x.zip", false), ("app/app-2.zip.zip", true), ("", true)];
        assert_eq!(uses, expected);
        assert!(listed.uses.iter().all(|it| it.segment == sha256));
    }

    #[test]
    fn a_pull_request_creates_no_segments() {
        let of =
            |providers, version: &str| SegmentStorage::of(providers, &version.parse().unwrap());
        let shared = Some(ProviderStorage::Shared);
        assert_eq!(of(shared, "1"), SegmentStorage::Shared);
        assert_eq!(of(shared, "pr-7-abcdef0"), SegmentStorage::SharedIfThere);
        assert_eq!(of(Some(ProviderStorage::Bundle), "1"), SegmentStorage::InBundle);
        assert_eq!(of(None, "1"), SegmentStorage::InBundle);
    }
}
