//! Bundles, and the two JSON files in them.

use std::{collections::BTreeSet, fs};

use tempfile::TempDir;

use super::check_error;
use crate::{
    base::{digest::Sha256, log::Progress},
    release::{
        bundle::{BundleManifest, Unpacked, check_name, unpack},
        facts::ReleaseFacts,
    },
};

/// An accepted tree is inside its folder and is that of the manifest. A rejected bundle leaves
/// nothing behind.
pub fn bundle(bytes: &[u8]) {
    let folder = TempDir::new().expect("a folder");
    let (archive, into) = (folder.path().join("x.zip"), folder.path().join("into"));
    fs::write(&archive, bytes).expect("a bundle");
    fs::create_dir(&into).expect("a folder");
    let unpacked = unpack(&archive, &into, None, &Default::default(), &Progress::none());
    let outside = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(outside, 2, "something is outside the folder");
    let mut names = BTreeSet::new();
    for entry in walkdir::WalkDir::new(&into).min_depth(1) {
        let entry = entry.expect("an entry");
        let kind = entry.file_type();
        assert!(kind.is_file() || kind.is_dir(), "{kind:?}: {entry:?}");
        if kind.is_file() {
            let name = entry.path().strip_prefix(&into).expect("an entry of the folder");
            names.insert(name.to_str().expect("UTF-8").to_owned());
        }
    }
    match unpacked {
        Err(error) => {
            check_error(&error);
            assert_eq!(fs::read_dir(&into).expect("a folder").count(), 0, "left behind: {error}");
        }
        Ok(Unpacked { manifest: Some(manifest), .. }) => {
            assert!(names.remove("manifest.json"));
            assert!(names.iter().eq(manifest.files.keys()));
            for (name, promised) in &manifest.files {
                let content = fs::read(into.join(name)).expect("a file");
                assert_eq!(content.len() as u64, promised.size, "{name}");
                assert_eq!(Sha256::of(&content), promised.sha256, "{name}");
            }
        }
        Ok(Unpacked { manifest: None, .. }) => {}
    }
}

/// A manifest has one spelling and plain names; release data survives being written.
pub fn release_json(bytes: &[u8]) {
    match BundleManifest::parse(bytes) {
        Ok(manifest) => {
            assert_eq!(manifest.to_bytes().expect("JSON"), bytes);
            manifest.files.keys().for_each(|name| assert_eq!(check_name(name), Ok(())));
        }
        Err(error) => check_error(&error),
    }
    match ReleaseFacts::parse(bytes) {
        Ok(facts) => {
            let read = ReleaseFacts::parse(&facts.to_bytes()).expect("what was written");
            assert_eq!(read, facts);
            let _ = (facts.commit(), facts.image_id(), facts.lambda_zip("eu-west-1"));
        }
        Err(error) => check_error(&error),
    }
}
