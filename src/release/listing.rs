//! The published releases of a component, as the store lists them.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::{
    base::error::Result,
    config::{identity::Identity, names::Version},
    services::store::ReleaseStore,
};

/// A release of which nothing but its object is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) version: Version,
    /// In bytes.
    pub(crate) size: u64,
    /// None if the store does not have the time.
    pub(crate) published: Option<Timestamp>,
}

/// Returns every release of the component, newest first: one request per 1000 releases.
pub(crate) async fn list(store: &ReleaseStore, identity: &Identity) -> Result<Vec<Listed>> {
    let prefix = identity.releases_prefix();
    let listed = store.list_all(&prefix).await?.into_iter().filter_map(|listed| {
        // Ignores objects that are not releases.
        let version = identity.version_in(&listed.key)?;
        Some(Listed { version, size: listed.size, published: listed.modified })
    });
    let mut found: Vec<Listed> = listed.collect();
    sort(&mut found);
    Ok(found)
}

/// A release of unknown age counts as new. Of two that were published at the same time, the one
/// whose name comes later counts as newer.
fn sort(releases: &mut [Listed]) {
    releases
        .sort_by_key(|it| Reverse((it.published.unwrap_or(Timestamp::MAX), it.version.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first() {
        let listed = |version: &str, second: Option<i64>| Listed {
            version: version.parse().unwrap(),
            size: 1,
            published: second.map(|second| Timestamp::from_second(second).unwrap()),
        };
        let mut releases =
            [listed("a", Some(5)), listed("10", Some(7)), listed("9", Some(5)), listed("x", None)];
        sort(&mut releases);
        let versions = releases.each_ref().map(|release| release.version.to_string());
        assert_eq!(versions, ["x", "10", "a", "9"]);
    }
}
