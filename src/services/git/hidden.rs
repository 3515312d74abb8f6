//! What `git status` does not compare: files whose index entries say so, and submodules.

use std::path::{Path, PathBuf};

use super::view::View;
use crate::base::error::Result;

/// Entries of the index below a folder. Paths are relative to the root of the checkout.
#[derive(Default)]
pub(super) struct Hidden {
    /// `git update-index --assume-unchanged`, and files that a sparse checkout has although it
    /// leaves them out.
    pub(super) files: Vec<PathBuf>,
    /// Files that a sparse checkout leaves out, and that are not there.
    pub(super) left_out: Vec<PathBuf>,
    /// With the commits that the index names.
    pub(super) submodules: Vec<(PathBuf, String)>,
}

impl Hidden {
    pub(super) async fn below(view: &View<'_>, folder: &Path) -> Result<Self> {
        let list = ["ls-files", "-v", "--stage", "--full-name", "-z", "--", "."];
        let listed = view.run(folder, list, Vec::new()).await?;
        if listed.code != 0 {
            // `git status` fails as well, and says why.
            return Ok(Self::default());
        }
        let mut hidden = Self::default();
        let listed = String::from_utf8_lossy(&listed.stdout);
        for entry in listed.split('\0').filter_map(parse) {
            let path = PathBuf::from(entry.name);
            match entry.tag {
                _ if entry.mode == "160000" => hidden.submodules.push((path, entry.id.to_owned())),
                b'S' | b's' if view.root.join(&path).symlink_metadata().is_err() => {
                    hidden.left_out.push(path);
                }
                tag if tag == b'S' || tag.is_ascii_lowercase() => hidden.files.push(path),
                _ => {}
            }
        }
        Ok(hidden)
    }
}

struct Entry<'l> {
    /// Lower case if the file is assumed to be unchanged, `S` if a sparse checkout leaves it out.
    tag: u8,
    mode: &'l str,
    id: &'l str,
    name: &'l str,
}

/// Parses `H 100644 <id> 0\t<name>`.
fn parse(line: &str) -> Option<Entry<'_>> {
    let (start, name) = line.split_once('\t')?;
    let mut words = start.split(' ');
    let tag = *words.next()?.as_bytes().first()?;
    Some(Entry { tag, mode: words.next()?, id: words.next()?, name })
}
