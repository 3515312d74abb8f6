//! Unused shared segments.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    base::{at_once::at_once, error::Result},
    config::names::Version,
    context::Context,
    release::{
        deletion::TIME_LIMIT,
        listing,
        shared_segments::{
            ListedSegments, ListedUse, is_settled, marks_prefix, unique_name, uses_prefix,
        },
    },
    services::store::{Content, ListedObject, Metadata, ReleaseStore},
};

/// What is to be deleted.
#[derive(Default)]
pub(super) struct Unneeded {
    /// Use records of this component's releases that do not exist.
    uses: Vec<String>,
    segments: Vec<Unused>,
    dead_marks: Vec<String>,
}

/// A segment that no release uses.
struct Unused {
    /// The prefix of the marks that it is about to be deleted.
    marks: String,
    /// The prefix of its use records.
    uses: String,
    object: ListedObject,
}

/// The number of segments and their total size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) count: usize,
    pub(super) bytes: u64,
}

impl Freed {
    fn add(&mut self, segment: &Unused) {
        self.count += 1;
        self.bytes += segment.object.size;
    }
}

impl Unneeded {
    /// Finds unused segments. Considers only use records of this component, and treats the
    /// releases in `deleted` as if they no longer existed.
    pub(super) async fn find(context: &Context, deleted: &BTreeSet<Version>) -> Result<Self> {
        let finding = Self::find_all(context, deleted);
        context.host.interrupt.or_cancel("listing the shared segments", finding).await
    }

    async fn find_all(context: &Context, deleted: &BTreeSet<Version>) -> Result<Self> {
        let (store, now) = (&context.store, Timestamp::now());
        let listed = ListedSegments::read(store, now).await?;
        if listed.segments.is_empty() && listed.uses.is_empty() {
            return Ok(Self { dead_marks: listed.dead_marks, ..Self::default() });
        }
        // After the segments: a release that has been published since is among them.
        let releases = listing::list(store, &context.identity).await?.into_iter();
        let releases: BTreeSet<Version> =
            releases.map(|it| it.version).filter(|version| !deleted.contains(version)).collect();
        let old: Vec<_> = listed.uses.iter().filter(|it| is_settled(&it.object, now)).collect();
        // A list that lacks a release is not believed.
        let absent: BTreeSet<Version> = old
            .iter()
            .filter_map(|it| context.identity.version_in(&it.release))
            .filter(|version| !releases.contains(version))
            .collect();
        let asking = absent.into_iter().map(async |version| {
            let is_deleted = deleted.contains(&version)
                || store.head(&context.release(version.clone()).key()).await?.is_none();
            Ok((version, is_deleted))
        });
        let absent: BTreeMap<Version, bool> = at_once(asking).await?.into_iter().collect();
        let has_ended = |it: &&&ListedUse| match context.identity.version_in(&it.release) {
            Some(version) => absent.get(&version).copied().unwrap_or(false),
            // A use of no release has a name that cdflow does not write.
            None => it.release.is_empty(),
        };
        let ended = old.iter().filter(has_ended).map(|it| it.object.key.clone());
        let ended: BTreeSet<String> = ended.collect();
        let needed = listed.uses.iter().filter(|it| !ended.contains(&it.object.key));
        let needed: BTreeSet<_> = needed.map(|it| it.segment).collect();
        let unused = listed
            .segments
            .into_iter()
            .filter(|(sha256, object)| !needed.contains(sha256) && is_settled(object, now));
        let segments = unused.map(|(sha256, object)| Unused {
            marks: marks_prefix(&sha256),
            uses: uses_prefix(&sha256),
            object,
        });
        let segments = segments.collect();
        Ok(Self { uses: ended.into_iter().collect(), segments, dead_marks: listed.dead_marks })
    }

    pub(super) fn freed(&self) -> Freed {
        let mut freed = Freed::default();
        self.segments.iter().for_each(|segment| freed.add(segment));
        freed
    }

    /// Deletes them; `freed` has what was deleted, also after an error.
    pub(super) async fn delete(&self, context: &Context, freed: &mut Freed) -> Result<()> {
        let interrupt = &context.host.interrupt;
        interrupt.or_last_answer("deleting shared segments", self.delete_all(context, freed)).await
    }

    async fn delete_all(&self, context: &Context, freed: &mut Freed) -> Result<()> {
        let (store, interrupt) = (&context.store, &context.host.interrupt);
        for key in self.uses.iter().chain(&self.dead_marks) {
            interrupt.check("deleting more use records")?;
            store.delete(key).await?;
        }
        for segment in &self.segments {
            interrupt.check("deleting more shared segments")?;
            if segment.delete(store).await? {
                freed.add(segment);
            }
        }
        Ok(())
    }
}

impl Unused {
    /// Returns false if the segment stays, because a release uses it now.
    async fn delete(&self, store: &ReleaseStore) -> Result<bool> {
        let mark = format!("{}{}", self.marks, unique_name()?);
        let began = Timestamp::now();
        let content = Content::Bytes(Vec::new());
        store.put_new(&mark, content, &Metadata::default(), &|_| {}).await?;
        let is_unused = store.list(&self.uses, None, 1).await?.is_empty();
        let is_soon = Timestamp::now().duration_since(began).unsigned_abs() < TIME_LIMIT;
        if is_unused && is_soon {
            // After a failure, the mark stays: the store might still carry the deletion out.
            store.delete(&self.object.key).await?;
        }
        store.delete(&mark).await?;
        Ok(is_unused && is_soon)
    }
}
