//! Shows where deploys keep providers for later deploys, and how much of that there is.

use super::{
    places::writable,
    report::{DoctorReport, counted},
};
use crate::{
    base::{process_env::ProcessEnv, units::bytes_text},
    config::settings::CacheChoice,
    release::file_cache::{FileCache, Usage},
};

const CHECK: &str = "cache";

/// Creates nothing: the first deploy creates the folder.
pub(super) fn files(
    report: &mut DoctorReport,
    choice: Option<&CacheChoice>,
    environment: &ProcessEnv,
) {
    if choice == Some(&CacheChoice::Off) {
        return report.ok(CHECK, "switched off: each deploy fetches and unpacks its providers");
    }
    let places = FileCache::places(choice, environment);
    let Some(folder) = places.iter().find(|folder| writable(folder).is_ok()) else {
        return report.warning(
            CHECK,
            "no folder for it is writable: each deploy fetches and unpacks its providers",
            "set RUNNER_TOOL_CACHE, XDG_CACHE_HOME or --cache-dir to a folder that can be written",
        );
    };
    let Usage { files, bytes } = Usage::of(folder);
    let (used, limit) = (bytes_text(bytes), bytes_text(Usage::LIMIT));
    let files = counted(files, "file");
    report.ok(CHECK, format!("`{}`: {files}, {used} of at most {limit}", folder.display()));
}
