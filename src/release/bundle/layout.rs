//! The rules for names, sizes and order in a bundle, shared by the writer and the reader.

use std::collections::{HashMap, hash_map};

use crate::base::error::Error;

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const LOCK_FILE: &str = "infra/.terraform.lock.hcl";

/// Files of this size (bytes) or more come first, so that they have the same bytes at the same
/// offset in every release.
pub(crate) const SEGMENT: u64 = 5 << 20;

pub(crate) const MAX_ENTRIES: usize = 200_000;
pub(crate) const MAX_FILE: u64 = 5 << 30;
pub(crate) const MAX_TOTAL: u64 = 16 << 30;
/// In bytes. The central directory is read into memory; 200,000 names of usual length need half of
/// this.
pub(crate) const MAX_DIRECTORY: u64 = 64 << 20;

const MAX_NAME: usize = 2048;
const MAX_PART: usize = 255;
const MAX_RATIO: u64 = 200;
const RATIO_FROM: u64 = 10 << 20;

/// Returns the sort key of an entry: segments first, then small files, each group by name.
pub(crate) fn rank(name: &str, size: u64) -> (bool, &str) {
    (size < SEGMENT, name)
}

/// Returns true for an entry over 10 MiB that grows more than 200-fold. The writer stores it
/// without compression, and the reader rejects it.
pub(crate) fn is_bomb(size: u64, compressed: u64) -> bool {
    size > RATIO_FROM && size / MAX_RATIO > compressed
}

/// Fails with the rule that `name` breaks. A valid name is a relative path of plain parts with `/`
/// between them.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    let bytes = name.as_bytes();
    if name.is_empty() {
        Err("the name is empty")
    } else if name.len() > MAX_NAME {
        Err("the name is longer than 2048 bytes")
    } else if name.contains('\0') {
        Err("the name contains NUL")
    } else if name.chars().any(char::is_control) {
        Err("the name contains a control character")
    } else if name.contains('\\') {
        Err("the name contains a backslash")
    } else if name.starts_with('/') {
        Err("the name is absolute")
    } else if bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        Err("the name begins with a drive letter")
    } else {
        name.split('/').try_for_each(check_part)
    }
}

fn check_part(part: &str) -> Result<(), &'static str> {
    match part {
        "" => Err("a part of the name is empty"),
        "." => Err("a part of the name is `.`"),
        ".." => Err("a part of the name is `..`"),
        _ if part.len() > MAX_PART => Err("a part of the name is longer than 255 bytes"),
        _ => Ok(()),
    }
}

/// Returns the error for a rejected entry. The name is escaped, because it might contain control or
/// direction characters.
pub(crate) fn reject(name: &str, why: impl std::fmt::Display) -> Error {
    Error::integrity(format!("bundle entry `{}` is rejected", name.escape_debug())).why(why)
}

/// Returns the error for a rejected archive.
pub(crate) fn reject_archive(why: impl std::fmt::Display) -> Error {
    Error::integrity("bundle is rejected").why(why)
}

/// The names of one bundle. Rejects duplicates, names that differ only in case, and a file with the
/// name of a folder.
#[derive(Default)]
pub(crate) struct NameTree(HashMap<String, NameNode>);

struct NameNode {
    spelled: String,
    kind: NodeKind,
}

#[derive(Clone, Copy, PartialEq)]
enum NodeKind {
    File,
    Folder,
    /// A folder that has no entry yet, but is a parent of one.
    ImpliedFolder,
}

impl NameTree {
    /// `name` must have passed `check_name`.
    pub(crate) fn add_file(&mut self, name: &str) -> Result<(), String> {
        self.add(name, NodeKind::File)
    }

    /// `name` has no trailing slash.
    pub(crate) fn add_folder(&mut self, name: &str) -> Result<(), String> {
        self.add(name, NodeKind::Folder)
    }

    /// Returns every folder, parents first.
    pub(crate) fn folders(&self) -> Vec<&str> {
        let mut folders: Vec<_> = self
            .0
            .values()
            .filter(|node| node.kind != NodeKind::File)
            .map(|node| node.spelled.as_str())
            .collect();
        folders.sort_unstable();
        folders
    }

    fn add(&mut self, name: &str, kind: NodeKind) -> Result<(), String> {
        self.claim(name, kind)?;
        let mut rest = name;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            if self.claim(parent, NodeKind::ImpliedFolder)? == Claim::Known {
                break;
            }
            rest = parent;
        }
        Ok(())
    }

    fn claim(&mut self, name: &str, kind: NodeKind) -> Result<Claim, String> {
        let node = match self.0.entry(folded(name)) {
            hash_map::Entry::Vacant(place) => {
                place.insert(NameNode { spelled: name.to_owned(), kind });
                return Ok(Claim::New);
            }
            hash_map::Entry::Occupied(place) => place.into_mut(),
        };
        if node.spelled != name {
            return Err(format!("`{}` differs from it only in case", node.spelled.escape_debug()));
        }
        match (node.kind, kind) {
            (NodeKind::File, NodeKind::File) | (NodeKind::Folder, NodeKind::Folder) => {
                Err("the name appears twice".into())
            }
            (NodeKind::File, _) | (_, NodeKind::File) => {
                Err(format!("`{}` is both a file and a folder", name.escape_debug()))
            }
            (NodeKind::ImpliedFolder, NodeKind::Folder) => {
                node.kind = NodeKind::Folder;
                Ok(Claim::Known)
            }
            (_, NodeKind::ImpliedFolder) => Ok(Claim::Known),
        }
    }
}

#[derive(PartialEq)]
enum Claim {
    New,
    Known,
}

/// Maps names that are equal on a case-insensitive disk to the same text. Upper case first, so that
/// ß equals ss, and σ equals ς.
fn folded(name: &str) -> String {
    if name.is_ascii() { name.to_ascii_lowercase() } else { name.to_uppercase().to_lowercase() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_names() {
        for name in [
            "", "/a", "a/", "a//b", ".", "a/../b", "./a", "a\\b", "a\0", "a\n", "C:", "c:/x",
            "a\u{85}b", "\u{7f}",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name(&"a".repeat(256)).is_err());
        assert!(check_name(&"a/".repeat(1100)).is_err());
        for name in ["a", ".terraform.lock.hcl", "a/..b/c...", "é/ü", "-x", "a b", "infra/::x"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn conflicts() {
        let mut tree = NameTree::default();
        tree.add_file("infra/main.tf").unwrap();
        assert_eq!(tree.add_file("infra/main.tf").unwrap_err(), "the name appears twice");
        assert!(tree.add_file("infra/Main.tf").unwrap_err().contains("only in case"));
        assert!(tree.add_file("Infra/other.tf").unwrap_err().contains("only in case"));
        assert!(tree.add_file("infra").unwrap_err().contains("both a file and a folder"));
        assert!(tree.add_file("infra/main.tf/x").unwrap_err().contains("both a file and a folder"));
        tree.add_file("straße").unwrap();
        assert!(tree.add_file("STRASSE").is_err());
        tree.add_folder("infra").unwrap();
        assert!(tree.add_folder("infra").is_err());
        assert_eq!(tree.folders(), ["infra"]);
    }

    proptest! {
        /// A valid name stays strictly below the folder that it is joined to.
        #[test]
        fn good_names_stay_below(name in "[a-zA-Z:./\\\\ \u{0}-\u{20}é]{0,12}") {
            if check_name(&name).is_ok() {
                let path = std::path::Path::new("/root/of").join(&name);
                let root = std::path::Path::new("/root/of");
                prop_assert!(path.starts_with(root) && path != root);
                let is_plain = |part| matches!(part, std::path::Component::Normal(_));
                prop_assert!(std::path::Path::new(&name).components().all(is_plain));
                prop_assert!(!name.chars().any(char::is_control));
            }
        }

        #[test]
        fn a_name_has_no_twin(name in "[a-zA-Z0-9éÉßσΣ]{1,8}(/[a-zA-Z0-9]{1,8}){0,3}") {
            let mut tree = NameTree::default();
            tree.add_file(&name).unwrap();
            prop_assert!(tree.add_file(&name.to_uppercase()).is_err());
            let below = format!("{name}/x");
            prop_assert!(tree.add_file(&below).is_err());
        }
    }
}
