//! Finds environments that run an older release than others.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    base::{
        at_once::at_once,
        error::{Error, Result},
    },
    config::names::{Environment, Version},
    context::Context,
    deploy::ledger::{Entry, Record},
};

/// Each environment that is behind, with the environments that run a newer release. Previews are
/// not compared.
pub(crate) type Behind = BTreeMap<Environment, Vec<String>>;

/// Compares the releases by the time of their publication.
pub(crate) async fn of(context: &Context, rows: &[(Environment, Record)]) -> Result<Behind> {
    let lasting: Vec<(&Environment, &Version)> = deployed(rows)
        .filter(|(environment, _)| !environment.is_preview())
        .map(|(environment, entry)| (environment, &entry.start.version))
        .collect();
    let versions: BTreeSet<&Version> = lasting.iter().map(|(_, version)| *version).collect();
    let asking = versions.into_iter().map(|version| async move {
        let found = context.store.head(&context.release(version.clone()).key()).await?;
        Ok::<_, Error>((version, found.and_then(|found| found.modified)))
    });
    let published = at_once(asking).await?.into_iter().collect();
    Ok(compare(&lasting, &published))
}

fn compare(
    lasting: &[(&Environment, &Version)],
    published: &BTreeMap<&Version, Option<Timestamp>>,
) -> Behind {
    let at = |version| published.get(version).copied().flatten();
    let mut behind = Behind::new();
    for (environment, version) in lasting {
        let newer = lasting.iter().filter(|(_, other)| {
            other != version
                && at(*version).zip(at(*other)).is_some_and(|(ours, theirs)| ours < theirs)
        });
        let newer: Vec<String> =
            newer.map(|(other, version)| format!("{other} ({version})")).collect();
        if !newer.is_empty() {
            behind.insert((*environment).clone(), newer);
        }
    }
    behind
}

fn deployed(rows: &[(Environment, Record)]) -> impl Iterator<Item = (&Environment, &Entry)> {
    let there = rows.iter().filter(|(_, record)| record.is_deployed());
    there.filter_map(|(environment, record)| Some((environment, record.settled.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_with_an_older_release_is_behind() {
        let [ci, live, aslive] =
            ["ci", "live", "aslive"].map(|name| name.parse::<Environment>().unwrap());
        let [old, new, gone] = ["1", "2", "3"].map(|name| name.parse::<Version>().unwrap());
        let published = BTreeMap::from([
            (&old, Some(Timestamp::UNIX_EPOCH)),
            (&new, Some(Timestamp::MAX)),
            (&gone, None),
        ]);
        let behind = compare(&[(&ci, &new), (&live, &old), (&aslive, &gone)], &published);
        assert_eq!(behind, Behind::from([(live, vec!["ci (2)".to_owned()])]));
    }
}
