//! A bundle that is not what was published is never deployed, and leaves nothing behind.

use crate::support::{Mirror, Project, Reference, entries, platform};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zip::write::SimpleFileOptions;

#[test]
fn a_cut_bundle() {
    let project = released();
    let good = fs::read(project.bundle("1")).unwrap();
    for length in [
        0,
        1,
        21,
        22,
        good.len() / 4,
        good.len() / 2,
        good.len() - 100,
        good.len() - 22,
        good.len() - 1,
    ] {
        replace(&project, &good[..length]);
        project.refuses(["deploy", "live", "1"], 9, &["error: "]);
    }
    replace(&project, &[&good[..], b"more"].concat());
    project.refuses(["deploy", "live", "1"], 9, &["error: "]);
    replace(&project, &[b"more", &good[..]].concat());
    project.refuses(["deploy", "live", "1"], 9, &["error: "]);
}

/// A bit either carries content, and then the bundle is refused, or it does not (times in the zip's
/// headers, the padding after a compressed stream), and then another reader sees what was
/// published.
#[test]
fn a_flipped_bit_anywhere() {
    let project = released();
    let good = fs::read(project.bundle("1")).unwrap();
    let published = entries(&project.bundle("1"));
    // A run that gets so far as to ask for Terraform's version has taken the bundle for what was
    // published.
    let path = project.terraform_but("version) exit 3;;");
    let (mut refused, mut taken) = (0, 0);
    for at in (0..good.len()).step_by(good.len() / 150) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        replace(&project, &bad);
        let runner = project.cdflow(["deploy", "live", "1"]).env("PATH", &path);
        let output = runner.run();
        let place = format!("bit {} of byte {at} of {}\n{output}", at % 8, good.len());
        if output.code == 9 {
            refused += 1;
        } else {
            output.fails(2).stderr_has("returned no version");
            assert!(entries(&project.bundle("1")) == published, "{place}");
            taken += 1;
        }
        assert!(project.sandbox().left_behind().is_empty(), "{place}");
    }
    assert!(refused > 4 * taken, "{refused} refused, {taken} taken");
    assert_eq!(project.stored(), ["releases/platform/greeting/greeting-1.zip"]);
    // What was published is deployed as before.
    replace(&project, &good);
    project.deploy("live", "1");
}

/// The content is checked against the sums of the manifest, not only against those of the zip.
#[test]
fn a_file_that_is_not_the_manifests() {
    let project = released();
    rewrite(&project, |name, bytes| match name {
        "config/live.json" => b"{\"greeting\": \"Evil day\"}\n".to_vec(),
        _ => bytes,
    });
    project.refuses(["deploy", "live", "1"], 9, &["config/live.json"]);
    let project = released();
    rewrite(&project, |name, bytes| match name {
        "manifest.json" => String::from_utf8(bytes)
            .unwrap()
            .replace("config/live.json", "config/lives.json")
            .into_bytes(),
        _ => bytes,
    });
    project.refuses(["deploy", "live", "1"], 9, &["error: "]);
}

/// Where the environment has seen the version before, another bundle under its name is found out
/// even if it is whole.
#[test]
fn a_replaced_release() {
    let project = released();
    project.deploy("live", "1");
    fs::remove_file(project.bundle("1")).unwrap();
    project.edit("config/live.json", "Good day", "Evil day").commit("Evil");
    project.release("1");
    let says = [
        "release 1 has changed since it was deployed to `live`: the ledger records the bundle \
        digest ",
        "-> find out who replaced a published release",
    ];
    project.refuses(["deploy", "live", "1"], 9, &says);
    project.refuses(["destroy", "live", "--confirm", "live"], 9, &says);
}

#[test]
fn hostile_entries() {
    for (name, mode) in [
        ("../evil.tf", 0o100_644),
        ("infra/../../evil.tf", 0o100_644),
        ("/tmp/evil.tf", 0o100_644),
        ("infra\\evil.tf", 0o100_644),
        ("infra/MAIN.tf", 0o100_644),
        ("infra/link.tf", 0o120_777),
        ("infra/fifo.tf", 0o010_644),
        ("infra/setuid.tf", 0o104_755),
        ("infra/main.tf/evil", 0o100_644),
        ("infra/unlisted.tf", 0o100_644),
        ("infra/e\u{1b}vil.tf", 0o100_644),
    ] {
        let project = released();
        let native = files_of(&project);
        // Also without a manifest, as the reference program makes them.
        let reference: Vec<(String, Vec<u8>)> = native
            .iter()
            .filter(|(name, _)| name != "manifest.json")
            .map(|(name, bytes)| (format!("greeting-1/{name}"), bytes.clone()))
            .collect();
        for (prefix, files) in [("", native), ("greeting-1/", reference)] {
            // Nothing lists the files of a bundle without a manifest.
            if (prefix, name) == ("greeting-1/", "infra/unlisted.tf") {
                continue;
            }
            let evil =
                if name.starts_with('/') { name.to_owned() } else { format!("{prefix}{name}") };
            write_zip(&project, &files, Some((&evil, mode)));
            let says = format!("bundle entry `{}` is rejected: ", evil.escape_debug());
            project.refuses(["deploy", "live", "1"], 9, &[&says]).lacks("\u{1b}");
            assert!(
                !Path::new("/tmp/evil.tf").exists()
                    && !project.sandbox().root().join("evil.tf").exists()
            );
        }
    }
}

/// Two entries of one name: what is checked must be what is used.
#[test]
fn an_entry_twice() {
    let project = released();
    write_zip(&project, &files_of(&project), Some(("infra/main.tg", 0o100_644)));
    let zip = fs::read(project.bundle("1")).unwrap();
    replace(&project, &replaced(&zip, b"infra/main.tg", b"infra/main.tf"));
    project.refuses(["deploy", "live", "1"], 9, &["infra/main.tf"]);
}

/// A bundle without a manifest is unverified, but its lock file still says which providers it has.
#[test]
fn a_provider_that_is_not_the_lock_files() {
    let project = Project::local("greeting").with_tiny_provider(Mirror::tiny());
    Reference::new(&project, "1").publish();
    let program = format!("hashicorp/tiny/1.0.0/{}/terraform-provider-tiny_v1.0.0_x5", platform());
    let mut changed = false;
    rewrite(&project, |name, bytes| match name.ends_with(&program) {
        true => {
            changed = true;
            b"#!/bin/sh\necho evil\n".to_vec()
        }
        false => bytes,
    });
    assert!(changed);
    let says = ["error: the providers of the release do not match its lock file"];
    let output = project.refuses(["deploy", "live", "1"], 9, &says);
    output.stdout_has("checksums");
}

fn released() -> Project {
    let project = Project::local("greeting");
    project.release("1");
    project
}

/// Puts other bytes in the place of release 1.
fn replace(project: &Project, bytes: &[u8]) {
    let path = project.bundle("1");
    // A published object can't be written.
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

/// Packs release 1 again, its files changed, with a zip that is sound.
fn rewrite(project: &Project, mut change: impl FnMut(&str, Vec<u8>) -> Vec<u8>) {
    let files: Vec<(String, Vec<u8>)> = files_of(project)
        .into_iter()
        .map(|(name, bytes)| {
            let bytes = change(&name, bytes);
            (name, bytes)
        })
        .collect();
    write_zip(project, &files, None);
}

/// Of release 1, sorted, the manifest last.
fn files_of(project: &Project) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = entries(&project.bundle("1"))
        .into_iter()
        .filter(|(name, _)| !name.ends_with('/'))
        .map(|(name, entry)| (name, entry.bytes))
        .collect();
    files.sort_by_key(|(name, _)| name == "manifest.json");
    files
}

/// Writes release 1, with another entry before the last one.
fn write_zip(project: &Project, files: &[(String, Vec<u8>)], evil: Option<(&str, u32)>) {
    let path = project.bundle("1");
    fs::remove_file(&path).unwrap();
    let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let evil_bytes = b"/etc/passwd".to_vec();
    let mut all: Vec<(&str, &Vec<u8>)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes)).collect();
    all.splice(all.len() - 1..all.len() - 1, evil.map(|(name, _)| (name, &evil_bytes)));
    for (name, bytes) in all {
        let mode = if name.contains("terraform-provider-") { 0o755 } else { 0o644 };
        archive.start_file(name, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    if let Some((name, mode)) = evil {
        set_mode(&path, name, mode);
    }
}

/// In the central directory: a zip writer makes plain files alone.
fn set_mode(path: &Path, name: &str, mode: u32) {
    let mut zip = fs::read(path).unwrap();
    let header = (0..zip.len())
        .rev()
        .find(|at| {
            zip[*at..].starts_with(b"PK\x01\x02") && zip[at + 46..].starts_with(name.as_bytes())
        })
        .unwrap_or_else(|| panic!("no entry {name}"));
    zip[header + 38..header + 42].copy_from_slice(&(mode << 16).to_le_bytes());
    fs::write(path, zip).unwrap();
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut found = 0;
    for at in 0..out.len() - from.len() {
        if out[at..].starts_with(from) {
            out[at..at + from.len()].copy_from_slice(to);
            found += 1;
        }
    }
    assert_eq!(found, 2, "one in the entry, one in the directory");
    out
}
