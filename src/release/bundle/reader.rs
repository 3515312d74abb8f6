//! Opening a bundle: everything that can be known without extracting is checked first, then it is extracted and checked
//! file by file. Either the whole content stands in the folder, or nothing does.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    extract::extract,
    index::BundleIndex,
    layout::{MANIFEST, refuse, refuse_archive},
    manifest::BundleManifest,
};
use crate::base::{
    digest::Sha256,
    error::{Error, Exit, Result},
};

/// The content of a bundle in a folder.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) root: PathBuf,
    /// The bundle digest; `None` for a bundle of the reference program.
    pub(crate) digest: Option<Sha256>,
    /// `None`: made by the reference program, nothing vouches for the content but the CRCs of the zip.
    pub(crate) manifest: Option<BundleManifest>,
}

/// Unpacks `archive` into the folder `into`, which must be private (0700), fresh and empty. `expected` is the bundle digest
/// that the release store or the ledger promised; with it, a bundle without a manifest is refused. Content that is not what
/// it should be fails with `Exit::Integrity`, a disk too small with `Exit::Input`; after a failure `into` is empty again.
pub(crate) fn unpack(archive: &Path, into: &Path, expected: Option<Sha256>) -> Result<Unpacked> {
    check_fresh(into)?;
    let opened = (|| {
        let (index, file) = BundleIndex::open(archive)?;
        let promise = promise(&index, &file, expected)?;
        let partial = UnfinishedFolder { folder: into, kept: false };
        extract(
            &index,
            &file,
            into,
            promise.as_ref().map(|(digest, manifest)| (*digest, manifest)),
        )?;
        partial.keep();
        Ok(promise)
    })();
    let (digest, manifest) = opened.map_err(with_advice)?.unzip();
    Ok(Unpacked { root: into.to_owned(), digest, manifest })
}

/// The manifest and its digest, checked against what was expected and against the entries; nothing for a reference bundle.
fn promise(
    index: &BundleIndex,
    file: &File,
    expected: Option<Sha256>,
) -> Result<Option<(Sha256, BundleManifest)>> {
    let Some(bytes) = (if index.is_native() { index.read(file, MANIFEST)? } else { None }) else {
        return match expected {
            None => Ok(None),
            Some(expected) => {
                Err(refuse_archive(format!("it has no manifest.json, but {expected} was promised")))
            }
        };
    };
    let digest = Sha256::of(&bytes);
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        return Err(refuse_archive(format!("its digest is {digest}, but {expected} was promised")));
    }
    let manifest = BundleManifest::parse(&bytes)?;
    check_entries(index, &manifest)?;
    Ok(Some((digest, manifest)))
}

/// The entries are those of the manifest, neither more nor fewer, then the manifest itself.
fn check_entries(index: &BundleIndex, manifest: &BundleManifest) -> Result<()> {
    let Some((last, files)) = index.files().split_last().filter(|(last, _)| last.name == MANIFEST)
    else {
        return Err(refuse(MANIFEST, "it is not the last entry"));
    };
    if last.executable {
        return Err(refuse(MANIFEST, "it is executable"));
    }
    for entry in files {
        let Some(promised) = manifest.files.get(&entry.name) else {
            return Err(refuse(&entry.name, "the manifest doesn't list it"));
        };
        if (entry.size, entry.executable) != (promised.size, promised.executable) {
            return Err(refuse(&entry.name, "its size or mode is not that of the manifest"));
        }
    }
    match manifest.files.keys().find(|name| index.entry(name).is_none()) {
        None => Ok(()),
        Some(missing) => Err(refuse(missing, "the manifest lists it, but it is not there")),
    }
}

fn check_fresh(into: &Path) -> Result<()> {
    let failed = |error| Error::io("can't read folder", into, &error);
    match fs::read_dir(into).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => {
            Err(Error::internal(format!("folder `{}` for a bundle is not empty", into.display())))
        }
    }
}

fn with_advice(error: Error) -> Error {
    if error.exit() != Exit::Integrity {
        return error;
    }
    error.hint(
        "nothing of it was used; try again, and if it is the same, publish a new version: a bundle is never repaired",
    )
}

/// Content that may be incomplete: emptied when dropped, also by a panic.
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
        // It was empty and is ours alone, so all that is in it came from the bundle. What can't be removed stays in a
        // private folder that the caller removes: the failure that brought us here is what has to be told.
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
