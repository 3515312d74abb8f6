//! Big files of a release that the store already has: what a second release sends, and what it
//! does if they cannot be copied.

use crate::support::{Aws, Output, Project, RELEASE};
use nix::sys::signal::Signal;
use serde_json::json;
use std::{fs, io::Read, path::Path, process::Command};

const SIZE: u64 = 12 << 20;
const RELEASE_2: [&str; 4] = ["release", "2", "--platform-config", "platform-config"];

/// Random: it stays as large as it is.
fn big(path: &Path) {
    let mut bytes = vec![0; SIZE as usize];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    fs::write(path, bytes).unwrap();
}

fn with_big_file(project: &Project) {
    big(&project.path("infra/big.bin"));
    project.commit("Something big");
}

/// A release after a small change.
#[track_caller]
pub(crate) fn next(project: &Project, version: &str) -> Output {
    project.append("infra/main.tf", &format!("# {version}\n"));
    project.commit("Something small");
    project.release(version)
}

/// The bytes that writes to this object sent.
pub(crate) fn sent(aws: &Aws, key: &str) -> u64 {
    let calls = aws.calls(&format!("/{}/{key}?", aws.release_bucket()));
    calls.iter().map(|call| call["sent"].as_u64().unwrap()).sum()
}

/// Reads the bundle with Python's zipfile: names, order and all small files.
#[track_caller]
fn is_zip(path: &Path) {
    let code = "
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
names = archive.namelist()
assert names[0] == 'infra/big.bin' and names[-1] == 'manifest.json', names
assert names[1:-1] == sorted(names[1:-1])
for entry in archive.infolist():
    if entry.compress_type != 93:
        assert len(archive.read(entry)) == entry.file_size
";
    let done = Command::new("python3").args(["-I", "-c", code]).arg(path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let listed = Command::new("unzip").arg("-l").arg(path).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
}

#[test]
fn a_second_release_in_s3_sends_what_changed() {
    let aws = Aws::new("segments");
    let project = Project::aws("shop", &aws);
    with_big_file(&project);
    project.release("1").lacks("copied from");
    let key = |version: &str| project.release_key(version);
    assert!(sent(&aws, &key("1")) > SIZE);

    next(&project, "2").stderr_has("copied from shop-1.zip, ");
    let bytes = sent(&aws, &key("2"));
    assert!(bytes < 20_000, "{bytes} bytes sent");
    let bucket = aws.release_bucket();
    let copy = project.sandbox().root().join("2.zip");
    aws.download(&bucket, &key("2"), &copy);
    is_zip(&copy);
    project.cdflow(["inspect", "2"]).run().success().stdout_has("infra/big.bin");
    project.deploy("ci", "2");

    // Another component of the team.
    let other = Project::aws("shop-admin", &aws);
    fs::copy(project.path("infra/big.bin"), other.path("infra/big.bin")).unwrap();
    other.commit("The same file");
    other.release("7").stderr_has("copied from shop-2.zip, ");
    assert!(sent(&aws, &other.release_key("7")) < 20_000);

    // Releases of pull requests are not copied from, but copy.
    big(&project.path("infra/big.bin"));
    next(&project, "pr-1-aaaaaaa").lacks("copied from");
    next(&project, "3").lacks("copied from");
    next(&project, "pr-1-bbbbbbb").stderr_has("copied from ");

    // Each release has all its bytes.
    for version in ["1", "3"] {
        aws.delete(&bucket, &key(version));
    }
    project.deploy("ci", "2");
    assert_eq!(aws.unfinished_uploads(&bucket), [""; 0]);
}

#[test]
fn a_segment_that_cannot_be_copied_is_uploaded() {
    let aws = Aws::new("uncopied");
    let project = Project::aws("shop", &aws);
    with_big_file(&project);
    project.release("1");
    let (bucket, key) = (aws.release_bucket(), project.release_key("2"));
    // In the middle of a copy.
    let copying = format!("PUT /{bucket}/{key}?x-id=UploadPartCopy");
    aws.rule(json!({ "matching": copying, "delay": 2 }));
    project.append("infra/main.tf", "# 2\n").commit("Something small");
    let mut release = project.cdflow(RELEASE_2).spawn();
    release.wait_until("a copy on its way", |_| aws.matched(&copying) > 0);
    release.signal(Signal::SIGINT);
    release.wait().fails(130).stderr_has("cancelled: it is not published");
    assert_eq!(aws.unfinished_uploads(&bucket), [""; 0]);
    assert!(aws.head(&bucket, &key).is_none());

    let denied = "<Error><Code>AccessDenied</Code><Message>no kms:Decrypt</Message></Error>";
    aws.rule(json!({ "matching": copying, "status": 403, "body": denied }));
    let output = project.release("2");
    output
        .stderr_has("shop-1.zip` cannot be copied from: AccessDenied: no kms:Decrypt")
        .stderr_has("; the whole bundle is uploaded\n")
        .lacks("copied from shop");
    assert!(sent(&aws, &key) > SIZE);
    aws.rule(json!({ "matching": copying, "times": 0 }));
    project.deploy("ci", "2");
    assert_eq!(aws.unfinished_uploads(&bucket), [""; 0]);

    // A prune deletes the source while it is copied from; the bytes come from nowhere else.
    let third = project.release_key("3");
    let copying = format!("PUT /{bucket}/{third}?x-id=UploadPartCopy");
    let gone = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
    aws.rule(json!({ "matching": copying, "status": 404, "body": gone }));
    next(&project, "3").stderr_has("shop-2.zip` cannot be copied from: NoSuchKey: gone");
    for version in ["1", "2"] {
        let args = json!({ "Bucket": bucket, "Key": project.release_key(version) });
        aws.call(RELEASE, "s3", "delete_object", args);
    }
    project.deploy("ci", "3");
}

#[test]
fn a_second_release_in_a_folder_copies_the_segment() {
    let project = Project::local("shop");
    with_big_file(&project);
    project.release("1");
    next(&project, "2").stderr_has("copied from shop-1.zip, ");
    is_zip(&project.bundle("2"));
    // A copy, not another name of the same file.
    fs::remove_file(project.bundle("1")).unwrap();
    project.deploy("ci", "2");

    // The bytes of the source are damaged, and the new release has its own.
    let mut bytes = fs::read(project.bundle("2")).unwrap();
    bytes[5 << 20] ^= 1;
    fs::remove_file(project.bundle("2")).unwrap();
    fs::write(project.bundle("2"), bytes).unwrap();
    next(&project, "3")
        .stderr_has("the checksum of the copied bytes does not match the recorded one; the whole");
    project.deploy("ci", "3");
}
