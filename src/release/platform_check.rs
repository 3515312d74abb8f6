//! Compares packages of other platforms with the hashes of the lock file.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{
    base::error::{Error, Result},
    terraform::{providers::Package, tool::platform},
};

/// As many hashes of the lock file are shown.
const SHOWN: usize = 4;

/// A package, unpacked and hashed.
pub(super) struct Ready {
    pub(super) package: Package,
    pub(super) folder: PathBuf,
    pub(super) h1: String,
    pub(super) archive: Option<(PathBuf, String)>,
}

/// Fails with `Exit::Integrity` for a package that is not the locked one, and with `Exit::Input` if
/// the lock file has no hash that could be its own. `hashes` returns the hashes of a provider.
pub(super) fn check(ready: &[Ready], hashes: impl Fn(&str) -> Vec<String>) -> Result<()> {
    let all: BTreeSet<&str> = ready.iter().map(|ready| ready.h1.as_str()).collect();
    for Ready { package, h1, archive, .. } in ready {
        let hashes = hashes(&package.address);
        let zh = archive.as_ref().map(|(_, zh)| zh);
        if hashes.contains(h1) || zh.is_some_and(|zh| hashes.contains(zh)) {
            continue;
        }
        // `h1:` hashes do not name their platform. One of them can be this machine's.
        let has_archives = hashes.iter().any(|hash| hash.starts_with("zh:"));
        let unclaimed = hashes.iter().filter(|hash| !all.contains(hash.as_str())).count();
        let of_here = usize::from(package.platform != platform());
        let error = match has_archives || unclaimed > of_here {
            true => differs(package, h1, zh, &hashes),
            false => missing(package),
        };
        return Err(error);
    }
    Ok(())
}

fn differs(package: &Package, h1: &str, zh: Option<&String>, hashes: &[String]) -> Error {
    let Package { address, version, platform } = package;
    let found = zh.map_or_else(|| h1.to_owned(), |zh| format!("{h1} and {zh}"));
    let mut shown = hashes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if hashes.len() > SHOWN {
        shown += &format!(" and {} more", hashes.len() - SHOWN);
    }
    Error::integrity(format!("{address} {version} for {platform} is not what the lock file pins"))
        .why(format!("its hash is {found}, and the lock file has {shown}"))
        .hint("find out who changed the package, and use the publisher's")
}

fn missing(package: &Package) -> Error {
    let Package { address, version, platform } = package;
    Error::input(format!("the lock file has no hash of {address} {version} for {platform}"))
}
