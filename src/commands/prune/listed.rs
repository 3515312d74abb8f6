//! The releases that `prune` deletes, as a table and as JSON.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    deletion::Deleted,
    stored::{Object, ObjectType, Stored},
};
use crate::{
    base::{
        table::{Cell, Screen, fitted},
        units::{bytes_text, whole_second},
    },
    config::names::{Component, Team, Version},
    context::Context,
};

pub(super) struct Listed<'a> {
    pub(super) context: &'a Context,
    /// How many releases the store has.
    pub(super) count: usize,
    /// Those to delete, oldest first.
    pub(super) releases: Vec<(Version, Stored)>,
}

impl Listed<'_> {
    pub(super) fn table(&self, screen: Screen) -> Vec<String> {
        if self.releases.is_empty() {
            return Vec::new();
        }
        let head = ["VERSION", "PUBLISHED", "SIZE", "OBJECT"].map(str::to_owned);
        let mut rows = vec![head.map(Cell::from)];
        for (version, stored) in &self.releases {
            let published =
                stored.modified.map(|time| time.strftime("%Y-%m-%d %H:%MZ").to_string());
            let published = published.unwrap_or_default();
            rows.extend(stored.objects.iter().map(|object| {
                let size = bytes_text(object.size);
                [version.to_string(), published.clone(), size, object.place.clone()].map(Cell::from)
            }));
        }
        fitted(&rows, screen)
    }

    /// Returns the document of `--json`.
    pub(super) fn document(&self, dry_run: bool, deleted: &Deleted) -> PruneDocument<'_> {
        let result = |version: &Version| match dry_run {
            true => PruneResult::WouldBeDeleted,
            false if deleted.releases.iter().any(|(it, _)| it == version) => PruneResult::Deleted,
            false if deleted.kept.contains(version) => PruneResult::Kept,
            // The run ended before it came to this one, or in the middle of it.
            false => PruneResult::NotDeleted,
        };
        let releases = self.releases.iter().map(|(version, stored)| ReleaseDocument {
            version,
            published: stored.modified.map(whole_second),
            result: result(version),
            objects: stored.objects.iter().map(ObjectDocument::of).collect(),
        });
        PruneDocument {
            team: &self.context.identity.team,
            component: &self.context.identity.component,
            dry_run,
            count: self.count,
            releases: releases.collect(),
            recorded_plans: deleted.plans,
            shared_segments: deleted.segments.count,
        }
    }
}

/// The releases that `cdflow prune` deletes.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "cdflow prune --json")]
pub(in crate::commands) struct PruneDocument<'a> {
    /// The team.
    team: &'a Team,
    /// The component.
    component: &'a Component,
    /// Whether the run was started with `--dry-run`.
    dry_run: bool,
    /// The number of releases in the store before the run.
    count: usize,
    /// The releases to delete, oldest first.
    releases: Vec<ReleaseDocument<'a>>,
    /// How many old records of plans were deleted, or would be with `--dry-run`.
    recorded_plans: usize,
    /// How many unused shared segments were deleted, or would be with `--dry-run`.
    shared_segments: usize,
}

/// A release.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "release")]
struct ReleaseDocument<'a> {
    /// The version.
    version: &'a Version,
    /// The time of its newest object, in UTC. Null: the store does not have it.
    published: Option<Timestamp>,
    /// What became of it.
    result: PruneResult,
    /// What the release consists of.
    objects: Vec<ObjectDocument<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
enum PruneResult {
    /// It was deleted.
    Deleted,
    /// A run without `--dry-run` would delete it.
    WouldBeDeleted,
    /// A deploy of it began during the run.
    Kept,
    /// The run failed before.
    NotDeleted,
}

/// An object.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "object")]
struct ObjectDocument<'a> {
    /// What it is.
    #[serde(rename = "type")]
    kind: ObjectType,
    /// Its address, such as `s3://bucket/key`, `file:path` or the name of an image.
    place: &'a str,
    /// In bytes.
    size: u64,
}

impl<'a> ObjectDocument<'a> {
    fn of(object: &'a Object) -> Self {
        Self { kind: object.at.object_type(), place: &object.place, size: object.size }
    }
}
