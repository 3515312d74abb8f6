//! Deploys on a machine that has deployed before: providers come from its cache.

use crate::support::{Mirror, Output, Project};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const FILES: &str = ".cache/cdflow/files";

/// The one file of a cache.
#[track_caller]
fn cached(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = entries.filter(|path| path.extension().is_none()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// A component whose environment has a state, and whose release 2 has a big provider.
fn project() -> Project {
    let project = Project::local("greeting");
    project.release("1");
    project.cdflow(["deploy", "live", "1"]).run().success();
    let project = project.with_tiny_provider(Mirror::big());
    project.release("2");
    project
}

/// Prepares Terraform as a deploy does. The provider cannot run, so nothing can be planned.
#[track_caller]
fn deployed(project: &Project, version: &str, flags: &[&str]) -> Output {
    let arguments = [flags, &["shell", "live", version, "--", "true"]].concat();
    let output = project.cdflow(arguments).run();
    output.success();
    output
}

#[test]
fn a_provider_is_fetched_once() {
    let project = project();
    project.append("infra/main.tf", "\n# changed\n").commit("A change");
    project.release("3");
    let deploy = |version: &str| deployed(&project, version, &[]);
    deploy("2").lacks("from the cache");
    let file = cached(&project.sandbox().home().join(FILES));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o555);
    // Another release has the same provider.
    let warm = deploy("3");
    warm.stderr_has(" kB of 6.").stderr_has("files verified (1 from the cache)");
    assert_eq!(fs::metadata(&file).unwrap().nlink(), 1, "the run has removed its link");

    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[1000] ^= 1;
    for damaged in [&flipped[..], &good[..1000], b""] {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&file, damaged).unwrap();
        let output = deploy("3");
        output.lacks("from the cache").stderr_has("is damaged: it is removed");
        assert!(fs::read(&file).unwrap() == good, "it is replaced");
    }
    deploy("3").stderr_has("1 from the cache");

    // A change that no stamp shows: Terraform finds it, and the next deploy works.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, &flipped).unwrap();
    fs::File::open(&file).unwrap().set_modified(modified).unwrap();
    let hint = "deploy again: a damaged provider was removed from the cache";
    let refused = project.cdflow(["shell", "live", "3", "--", "true"]).run();
    refused.fails(9).stderr_has("checksum").stderr_has(hint);
    deploy("3").lacks("from the cache");

    let listed = project.cdflow(["doctor"]).run();
    listed.stdout_has(".cache/cdflow/files`: 1 file, 6.2 MB of at most 8.0 GB");
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn another_cache_and_none() {
    let project = project();
    let files = project.sandbox().home().join(FILES);
    let deploy = |cache: &str| deployed(&project, "2", &["--cache-dir", cache]);
    for _ in 0..2 {
        deploy("none").lacks("from the cache");
    }
    let is_empty = || fs::read_dir(&files).unwrap().count() == 0;
    assert!(is_empty() && !project.path("none").exists());
    deploy("kept").lacks("from the cache");
    deploy("kept").stderr_has("1 from the cache").lacks("uncommitted");
    let file = cached(&project.path("kept/files"));
    assert!(is_empty());
    // `cache-dir` can be a folder that others wrote, so a stamp means nothing there.
    let (found, good) = (fs::metadata(&file).unwrap(), fs::read(&file).unwrap());
    let mut flipped = good.clone();
    flipped[1000] ^= 1;
    fs::write(&file, &flipped).unwrap();
    fs::File::open(&file).unwrap().set_modified(found.modified().unwrap()).unwrap();
    deploy("kept").stderr_has("is damaged: it is removed");
    assert!(fs::read(&file).unwrap() == good);
    // A folder that cannot be written is none.
    fs::remove_dir(&files).unwrap();
    fs::write(&files, "a file").unwrap();
    deployed(&project, "2", &[]).lacks("from the cache");
    let off = project.cdflow(["doctor", "--cache-dir", "none"]).run();
    off.stdout_has("switched off: each deploy fetches and unpacks its providers");
}
