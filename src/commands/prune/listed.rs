//! The releases that `prune` deletes, as a table and as JSON.

use serde_json::{Value, json};

use super::{deletion::Deleted, stored::Stored};
use crate::{
    base::{
        table::{Cell, Screen, fitted},
        units::bytes_text,
    },
    config::names::Version,
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
    pub(super) fn document(&self, dry_run: bool, deleted: &Deleted) -> Value {
        let result = |version: &Version| match dry_run {
            true => "would-be-deleted",
            false if deleted.releases.iter().any(|(it, _)| it == version) => "deleted",
            false if deleted.kept.contains(version) => "kept",
            // The run ended before it came to this one, or in the middle of it.
            false => "not-deleted",
        };
        let release = |(version, stored): &(Version, Stored)| {
            let objects = stored.objects.iter().map(|object| {
                let (kind, place) = (object.at.word(), &object.place);
                json!({ "type": kind, "place": place, "size": object.size })
            });
            let published = stored.modified;
            json!({
                "version": version,
                "published": published.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
                "result": result(version),
                "objects": objects.collect::<Vec<_>>(),
            })
        };
        json!({
            "team": self.context.identity.team,
            "component": self.context.identity.component,
            "dry_run": dry_run,
            "count": self.count,
            "releases": self.releases.iter().map(release).collect::<Vec<_>>(),
            "recorded_plans": deleted.plans,
        })
    }
}
