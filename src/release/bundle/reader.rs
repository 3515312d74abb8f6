//! Unpacks a bundle. Checks everything that needs no extraction first, then extracts and checks
//! file by file. The folder gets the whole content, or nothing.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    extract::extract,
    index::BundleIndex,
    layout::{MANIFEST, reject, reject_archive},
    manifest::BundleManifest,
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        log::Progress,
    },
    release::file_cache::CachedFiles,
};

/// The content of a bundle in a folder.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) root: PathBuf,
    /// The bundle digest; `None` for a bundle of the reference program.
    pub(crate) digest: Option<Sha256>,
    /// `None` for a bundle of the reference program, whose content has only the CRCs of the zip.
    pub(crate) manifest: Option<BundleManifest>,
}

/// Unpacks `archive` into the folder `into`, which must be private (0700) and empty. `expected` is
/// the bundle digest according to the release store or the ledger; with it, a bundle without a
/// manifest is rejected. Files of `cached` come from the cache: their data need not be in the
/// archive, but their headers must be. Fails with `Exit::Integrity` for damaged content and with
/// `Exit::Input` if the disk is too small. `into` is empty again after a failure, such as the end
/// of `progress`.
pub(crate) fn unpack(
    archive: &Path,
    into: &Path,
    expected: Option<Sha256>,
    cached: &CachedFiles,
    progress: &Progress,
) -> Result<Unpacked> {
    check_fresh(into)?;
    let opened: Result<_> = (|| {
        let (index, file) = BundleIndex::open(archive)?;
        let promise = promise(&index, &file, expected)?;
        let partial = UnfinishedFolder { folder: into, kept: false };
        let promised = promise.as_ref().map(|(digest, manifest)| (*digest, manifest));
        extract(&index, &file, into, promised, cached, progress)?;
        partial.keep();
        Ok(promise)
    })();
    let (digest, manifest) = opened?.unzip();
    Ok(Unpacked { root: into.to_owned(), digest, manifest })
}

/// Returns the manifest and its digest, after a check against `expected` and the entries. None for
/// a bundle of the reference program.
fn promise(
    index: &BundleIndex,
    file: &File,
    expected: Option<Sha256>,
) -> Result<Option<(Sha256, BundleManifest)>> {
    let Some(bytes) = (if index.is_native() { index.read(file, MANIFEST)? } else { None }) else {
        return match expected {
            None => Ok(None),
            Some(expected) => Err(reject_archive(format!(
                "it has no manifest.json, but the digest {expected} was recorded"
            ))),
        };
    };
    let digest = Sha256::of(&bytes);
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        return Err(reject_archive(format!("its digest is {digest}, but {expected} was recorded")));
    }
    let manifest = BundleManifest::parse(&bytes)?;
    check_entries(index, &manifest)?;
    Ok(Some((digest, manifest)))
}

/// Checks that the entries are exactly those of the manifest, followed by the manifest.
pub(crate) fn check_entries(index: &BundleIndex, manifest: &BundleManifest) -> Result<()> {
    let Some((last, files)) = index.files().split_last().filter(|(last, _)| last.name == MANIFEST)
    else {
        return Err(reject(MANIFEST, "it is not the last entry"));
    };
    if last.executable {
        return Err(reject(MANIFEST, "it is executable"));
    }
    for entry in files {
        let Some(promised) = manifest.files.get(&entry.name) else {
            return Err(reject(&entry.name, "the manifest does not list it"));
        };
        if (entry.size, entry.executable) != (promised.size, promised.executable) {
            return Err(reject(&entry.name, "its size or mode differs from the manifest"));
        }
    }
    match manifest.files.keys().find(|name| index.entry(name).is_none()) {
        None => Ok(()),
        Some(missing) => Err(reject(missing, "the manifest lists it, but it is missing")),
    }
}

fn check_fresh(into: &Path) -> Result<()> {
    let failed = |error| Error::io("cannot read folder", into, &error);
    match fs::read_dir(into).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => {
            Err(Error::internal(format!("folder `{}` for a bundle is not empty", into.display())))
        }
    }
}

/// A folder that might be incomplete. Dropping it, even by a panic, removes its content.
struct UnfinishedFolder<'a> {
    folder: &'a Path,
    kept: bool,
}

impl UnfinishedFolder<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for UnfinishedFolder<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // The folder was empty and is private, so everything in it came from the bundle. Errors are
        // ignored: the first failure is the one to report, and the caller removes the folder
        // anyway.
        for child in fs::read_dir(self.folder).into_iter().flatten().flatten() {
            let path = child.path();
            let _ = if child.file_type().is_ok_and(|kind| kind.is_dir()) {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            };
        }
    }
}
