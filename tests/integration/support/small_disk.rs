//! A folder that is a disk of its own, full at first.

use super::{Output, Project, Runner};
use std::path::Path;

/// `command -p`: PATH can lack such programs.
const SCRIPT: &str = r#"
command -p mount -t tmpfs -o size=4k none "$DISK" || exit 99
"$0" "$@" first
echo "FIRST $?" >&2
command -p find "$DISK" -type f -size +0 >&2
command -p mount -o remount,size=64m "$DISK" || exit 98
echo ENOUGH >&2
"$0" "$@" second && "$0" "$@" third
"#;

/// Runs `release` three times with the versions `first`, `second` and `third`, which the arguments
/// lack. `disk` has one page for the first, and enough after it. Returns what the first printed,
/// with its exit code as `FIRST 0` and the files that it left on the disk, and the rest.
pub(crate) fn on_a_small_disk(release: Runner, disk: &Path) -> (String, Output) {
    std::fs::create_dir(disk).unwrap();
    let shell = "command -p unshare --user --map-root-user --mount sh -c \"$SCRIPT\" \"$0\" \"$@\"";
    let output = release.env("DISK", disk).env("SCRIPT", SCRIPT).in_shell(shell).run();
    let (full, _) = output.stderr.split_once("ENOUGH").unwrap_or_else(|| panic!("{output}"));
    (full.to_owned(), output)
}

/// A shell script in the component's folder that can mount file systems, which only it sees.
pub(crate) fn with_own_mounts(project: &Project, script: &str) -> Runner {
    let unshare = ["--user", "--map-root-user", "--mount", "sh", "-c", script];
    Runner::new("unshare", unshare, project.sandbox()).cwd(project.dir())
}
