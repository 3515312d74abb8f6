//! Providers that the release store has once, however many releases need them.

use crate::segments::{next, sent};
use crate::support::{Aws, Mirror, Output, Project, RELEASE};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const SHARED: &str = "release: {providers: shared}\n";
const PRUNE: [&str; 5] = ["prune", "--keep", "0", "--older-than", "0s"];
const DAY: Duration = Duration::from_hours(24);

/// A component with a provider of 6 MiB, which it shares.
fn sharing(project: Project) -> Project {
    let project = project.with_tiny_provider(Mirror::big());
    project.append("cdflow.yml", SHARED).commit("A big provider");
    project
}

/// Prepares Terraform as a deploy does. The provider cannot run, so nothing can be planned.
fn prepared(project: &Project, version: &str) -> Output {
    project.cdflow(["shell", "live", version, "--", "true"]).run()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    let found = entries.filter_map(Result::ok).filter(|it| it.file_type().is_file());
    found.map(walkdir::DirEntry::into_path).collect()
}

/// Makes every file below a folder older.
fn age(folder: &Path, by: Duration) {
    for path in files(folder) {
        let file = fs::File::open(path).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }
}

#[test]
fn a_provider_is_stored_once_in_a_folder() {
    let project = Project::local("shop");
    project.release("0");
    project.cdflow(["deploy", "live", "0"]).run().success();
    let project = sharing(project);
    next(&project, "1").stderr_has("1 shared segment, 6.").stderr_has(" uploaded");
    let size = |version: &str| fs::metadata(project.bundle(version)).unwrap().len();
    assert!(size("1") < 100_000, "{}", size("1"));
    let folder = project.bundle("1").ancestors().nth(3).unwrap().join("segments");
    let [segment] = &fs::read_dir(&folder)
        .unwrap()
        .filter_map(|it| {
            let path = it.unwrap().path();
            path.is_file().then_some(path)
        })
        .collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", files(&folder));
    };
    let summed = Command::new("sha256sum").arg(segment).output().unwrap();
    let digest = String::from_utf8(summed.stdout).unwrap();
    assert_eq!(digest.split(' ').next(), segment.file_stem().unwrap().to_str());
    let listed = Command::new("unzip").arg("-l").arg(segment).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("1 file") && listed.contains("providers/"), "{listed}");

    next(&project, "2").stderr_has("already in the release store").lacks("uploaded");
    let inspected = project.cdflow(["inspect", "2"]).run();
    inspected.success().stdout_has("hashicorp/tiny 1.0.0").stdout_has("shared segment     file:");
    prepared(&project, "1").success().lacks("from the cache");
    prepared(&project, "2").success().stderr_has("(1 from the cache)");
    let home = project.sandbox().home().join(".cache");
    fs::remove_dir_all(&home).unwrap();

    // A complete bundle again, made from the segment.
    let text = project.read("cdflow.yml").replace(SHARED, "");
    project.write("cdflow.yml", &text);
    next(&project, "3").stderr_has("copied from ");
    assert!(size("3") > 6_000_000);

    // Segments that a release uses, or a running one might use, are kept.
    let gone = "unused shared segment(s)";
    age(&folder, 2 * DAY);
    let keep = ["prune", "--keep", "2", "--older-than", "0s"];
    project.cdflow(keep).run().success().stderr_has("Deleted 1 of ").lacks(gone);
    prepared(&project, "2").success();
    age(&folder, DAY - Duration::from_mins(10));
    project.cdflow(PRUNE).run().success().stderr_has("Deleted 2 of ").lacks(gone);
    assert!(segment.exists());
    age(&folder, DAY + Duration::from_mins(10));
    let dry = project.cdflow(PRUNE.iter().chain(&["--dry-run"])).run();
    dry.success().stderr_has("would delete 1 unused shared segment(s), 6.");
    project.cdflow(PRUNE).run().success().stderr_has("deleted 1 unused shared segment(s)");
    assert_eq!(files(&folder), [""; 0].map(PathBuf::from));
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn a_release_without_its_segment_is_not_deployed() {
    let project = sharing(Project::local("shop"));
    next(&project, "1");
    let folder = project.bundle("1").ancestors().nth(3).unwrap().join("segments");
    let segment = files(&folder).into_iter().find(|it| it.parent() == Some(&folder)).unwrap();
    let good = fs::read(&segment).unwrap();
    let deploy = || project.cdflow(["deploy", "live", "1", "--plan-only"]).run();
    let replace = |bytes: &[u8]| {
        fs::remove_file(&segment).unwrap();
        fs::write(&segment, bytes).unwrap();
    };
    let mut flipped = good.clone();
    flipped[1 << 20] ^= 1;
    replace(&flipped);
    deploy()
        .fails(9)
        .stderr_has("terraform-provider-tiny")
        .stderr_has("is rejected")
        .stderr_has("move its shared segment away, and release the same source as a new version");
    replace(&good[..1000]);
    deploy().fails(9).stderr_has(".zip is too short").stderr_has("move it away first: file:");
    next(&project, "short")
        .stderr_has("warning: file:")
        .stderr_has("; the whole bundle is uploaded");
    fs::remove_file(&segment).unwrap();
    deploy()
        .fails(9)
        .stderr_has("shop-1.zip is incomplete")
        .stderr_has(".zip does not exist")
        .stderr_has("release the same source as a new version");
    project.cdflow(["inspect", "1"]).run().success().stdout_has(".zip, does not exist");
    project.cdflow(["inspect", "1"]).run().success();
    // The next release makes the segment again, which repairs this one.
    next(&project, "2").stderr_has("1 shared segment, 6.").stderr_has(" uploaded");
    assert!(fs::read(&segment).unwrap() == good);
    project.cdflow(["deploy", "live", "1", "--plan-only"]).run().stderr_has("files verified");
}

#[test]
fn components_share_segments_in_s3() {
    let aws = Aws::new("shared");
    let project = sharing(Project::aws("shop", &aws));
    let bucket = aws.release_bucket();
    // A role that may not write there.
    let writing = format!("PUT /{bucket}/segments/");
    let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    aws.rule(json!({ "matching": writing, "status": 403, "body": denied }));
    next(&project, "1").stderr_has("the whole bundle is uploaded");
    assert!(sent(&aws, &project.release_key("1")) > 6_000_000);
    aws.rule(json!({ "matching": writing, "times": 0 }));

    next(&project, "2").stderr_has("1 shared segment, 6.").stderr_has(" uploaded");
    let segments = || -> Vec<String> {
        let keys = aws.keys(&bucket).into_iter();
        keys.filter(|key| key.matches('/').count() == 1 && key.starts_with("segments/")).collect()
    };
    assert_eq!(segments().len(), 1);
    let other = sharing(Project::aws("shop-admin", &aws));
    next(&other, "7").stderr_has("already in the release store");
    assert!(sent(&aws, &other.release_key("7")) < 50_000);
    prepared(&other, "7").fails(3).stderr_has("files verified, bundle digest");

    // The release of a pull request uses segments of other releases, and creates none.
    next(&other, "pr-1-aaaaaaa").stderr_has("already in the release store");
    let alone = sharing(Project::aws("alone", &aws));
    alone
        .write("cdflow.yml", &alone.read("cdflow.yml").replace("team: ", "team: other-"))
        .commit("Team");
    next(&alone, "pr-1-bbbbbbb").lacks("shared segment");
    assert_eq!(segments().len(), 1);

    // A prune is about to delete the segment.
    let digest = segments()[0].trim_start_matches("segments/").replace(".zip", "");
    let key = format!("segments/deleting/{digest}/{digest}.zip");
    let mark = json!({ "Bucket": bucket, "Key": key, "Body": "" });
    aws.call(RELEASE, "s3", "put_object", mark.clone());
    next(&project, "3").stderr_has("is being deleted; the whole bundle is uploaded");
    aws.delete(&bucket, mark["Key"].as_str().unwrap());
    next(&project, "4").stderr_has("already in the release store");
    assert_eq!(aws.unfinished_uploads(&bucket), [""; 0]);
}

/// The prune has listed the segments; then a release chooses the one that it is about to delete.
#[test]
fn a_segment_with_a_new_use_is_kept() {
    let aws = Aws::new("chosen");
    let project = sharing(Project::aws("shop", &aws));
    let bucket = aws.release_bucket();
    next(&project, "1");
    let key = aws.keys(&bucket).into_iter().find(|key| key.matches('/').count() == 1).unwrap();
    let name = key.trim_start_matches("segments/").to_owned();
    project.cdflow(PRUNE).run().success().stderr_has("Deleted 1 of 1 release(s)").lacks("segment");
    // From now on, everything about segments is old.
    let listing = aws.requests(&format!("GET /{bucket}"));
    let listing = listing.iter().find_map(|line| line.split_once("prefix=segments"));
    let listing = format!("{}prefix=segments", listing.unwrap().0);
    let old = json!(["<LastModified>[^<]*", "<LastModified>2020-01-01T00:00:00.000Z"]);
    aws.rule(json!({ "matching": listing, "response": old }));
    let digest = name.trim_end_matches(".zip");
    let marking = format!("PUT /{bucket}/segments/deleting/{digest}/");
    aws.rule(json!({ "matching": marking, "hold": 3 }));
    let mut prune = project.cdflow(PRUNE).spawn();
    prune.wait_until("the mark", |_| aws.matched(&marking) > 0);
    let used = format!("segments/used/{digest}/t/c/c-1/x.zip");
    aws.call(RELEASE, "s3", "put_object", json!({ "Bucket": bucket, "Key": used, "Body": "" }));
    prune.wait().success().lacks("segment");
    assert_eq!(aws.keys(&bucket), [key, used.clone()]);
    aws.delete(&bucket, &used);
    aws.rule(json!({ "matching": marking, "times": 0 }));
    project.cdflow(PRUNE).run().success().stderr_has("deleted 1 unused shared segment(s)");
    assert_eq!(aws.keys(&bucket), [""; 0]);
}
