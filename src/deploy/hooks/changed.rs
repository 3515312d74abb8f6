//! Whether the files of a hook are still those of the release. All hooks, and the providers of
//! Terraform, have the same rights on the unpacked release.

use std::{fs, io::sink, path::Path};

use crate::{
    base::{digest, small_file},
    release::bundle::BundleManifest,
};

/// The folder of hooks.
const HOOKS: &str = "hooks";
/// `terraform init` adds files here.
const CODE: &str = "infra";

/// Returns what was changed, on one line: a file of the release, or a file that was added. `run` is
/// the command of a hook: the files and folders that it names are compared, and `hooks/`.
pub(super) fn changed(root: &Path, manifest: &BundleManifest, run: &[String]) -> Option<String> {
    let named: Vec<String> = run.iter().filter_map(|word| named(word)).collect();
    let is_below = |name: &str, folder: &str| {
        name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_read =
        |name: &str| is_below(name, HOOKS) || named.iter().any(|named| is_below(name, named));
    for (name, file) in manifest.files.iter().filter(|(name, _)| is_read(name)) {
        let opened = small_file::open(&root.join(name));
        let found = opened.and_then(|mut file| digest::copy(&mut file, &mut sink()));
        if found.map_or(true, |found| found != file.sha256) {
            return Some(format!("`{name}` is no longer the file of the release: {BY_WHOM}"));
        }
    }
    let folders = named.iter().filter(|named| named.as_str() != CODE);
    let folders = folders.map(String::as_str).chain([HOOKS]);
    folders
        .filter(|folder| root.join(folder).is_dir())
        .find_map(|folder| added(root, folder, manifest))
        .map(|name| format!("`{name}` is not in the release: {BY_WHOM}"))
}

const BY_WHOM: &str = "another hook or Terraform changed it";

/// Returns the path that an argument can be: `infra/policies` for `--policy=./infra/policies`.
fn named(word: &str) -> Option<String> {
    let path = word.rsplit_once('=').map_or(word, |(_, path)| path);
    let parts: Vec<&str> = path.split('/').filter(|part| !["", "."].contains(part)).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

fn added(root: &Path, folder: &str, manifest: &BundleManifest) -> Option<String> {
    let entries = fs::read_dir(root.join(folder)).ok()?.filter_map(Result::ok);
    entries.into_iter().find_map(|entry| {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => added(root, &name, manifest),
            false => (!manifest.files.contains_key(&name)).then_some(name),
        }
    })
}
