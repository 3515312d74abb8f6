//! Warns of a version that looks like a range: a release has one exact version.

use super::inputs;
use crate::{base::log::Log, config::names::Version, report::Report};

/// Names such as `1.x` are valid, so they only get a warning. Others, such as `~> 1`, are no names.
pub(super) fn warn_of_range(version: &Version, log: &Log, report: &mut Report) {
    if is_range(version.as_str()) {
        let what = format!(
            "`{version}` looks like a range of versions, but the release gets exactly this \
             version, and no other release can have it\n  -> give each release a version of its \
             own, such as 1.2.0 or 42-a1b2c3d"
        );
        inputs::warn(log, &what, report);
    }
}

/// Whether all parts are numbers except the last, which is `x`.
fn is_range(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let numbers: Vec<&&str> = parts.iter().take_while(|part| is_number(part)).collect();
    let rest = parts.get(numbers.len()..).unwrap_or_default();
    !numbers.is_empty() && !rest.is_empty() && rest.iter().all(|it| it.eq_ignore_ascii_case("x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_versions() {
        for range in ["1.x", "1.2.X", "1.x.x", "10.x"] {
            assert!(is_range(range), "{range}");
        }
        for version in ["1", "1.2.0", "x", "x.1", "1.x-2", "42-a1b2c3d", "1.x86", "v1.x", "1."] {
            assert!(!is_range(version), "{version}");
        }
    }
}
