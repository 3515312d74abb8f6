//! Tests of whole bundles, and what they share.

mod damage;
mod hostile;
mod known;
mod round_trip;
mod shared;

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use super::*;
use crate::base::{
    digest::Sha256,
    error::{Exit, Result},
    log::Progress,
};

fn write_to(files: Vec<StagedFile>, to: &Path) -> Result<Bundle> {
    write(files, header(), &SegmentPlan::default(), to, &Progress::none())
}

pub(super) fn header() -> BundleHeader {
    let terraform = TerraformIdentity {
        name: "terraform".into(),
        version: "1.11.4".into(),
        platform: None,
        sha256: Sha256::of(b"terraform"),
    };
    BundleHeader { source_digest: Sha256::of(b"source"), terraform }
}

pub(super) fn staged(name: &str, content: impl Into<Vec<u8>>) -> StagedFile {
    StagedFile {
        name: name.into(),
        source: EntrySource::Bytes(content.into()),
        executable: name.ends_with(".sh"),
    }
}

pub(super) fn few() -> Vec<StagedFile> {
    vec![
        staged("release.json", "{\"release\": {}}"),
        staged("infra/main.tf", "resource \"null_resource\" \"a\" {}\n".repeat(20)),
        staged("infra/.terraform.lock.hcl", "# lock"),
        staged("infra/empty", ""),
        staged("infra/é/run.sh", "#!/bin/sh\n"),
    ]
}

/// Bytes that deflate and zstd can shrink, but not to nothing.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 60) as u8
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

/// Returns path to content and mode of every file.
pub(super) fn tree(root: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let files = walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_type().is_dir());
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            (
                name,
                (
                    fs::read(entry.path()).unwrap(),
                    entry.metadata().unwrap().permissions().mode() & 0o7777,
                ),
            )
        })
        .collect()
}

pub(super) fn packed(files: Vec<StagedFile>) -> (TempDir, Bundle) {
    let folder = TempDir::new().unwrap();
    let bundle = write_to(files, &folder.path().join("bundle.zip")).unwrap();
    (folder, bundle)
}

/// Unpacks bytes. Asserts that nothing is left behind after a failure.
pub(super) fn open(bytes: &[u8], expected: Option<Sha256>) -> Result<(TempDir, Unpacked)> {
    let folder = TempDir::new().unwrap();
    let (archive, into) = (folder.path().join("x.zip"), folder.path().join("into"));
    fs::write(&archive, bytes).unwrap();
    fs::create_dir(&into).unwrap();
    match unpack(&archive, &into, expected, &Default::default(), &Progress::none()) {
        Ok(unpacked) => Ok((folder, unpacked)),
        Err(error) => {
            assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "left behind after: {error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "escaped after: {error}");
            Err(error)
        }
    }
}

#[track_caller]
pub(super) fn rejected(bytes: &[u8], why: &str) {
    match open(bytes, None) {
        Ok(_) => panic!("accepted; expected: {why}"),
        Err(error) => {
            assert_eq!(error.exit(), Exit::Integrity, "{error}");
            assert!(error.to_string().contains(why), "expected `{why}`, got: {error}");
            assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
        }
    }
}
