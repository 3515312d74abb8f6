//! The version of Terraform that wrote a state.

use semver::Version;
use serde::Deserialize;

use super::location::StateHome;
use crate::{
    base::error::{Error, Result},
    terraform::tool::{Flavor, Tool},
};

/// Terraform writes the version into the first line or two.
const START: u64 = 4096;

/// Fails if a newer minor version wrote the state: an older one might not read it, or lose parts of
/// it. Terraform itself only checks the format, and `state pull` names its own version.
pub(crate) async fn check(home: &StateHome, tool: &Tool) -> Result<()> {
    // Both count on their own, and a state does not name which of them wrote it.
    if tool.flavor == Flavor::OpenTofu {
        return Ok(());
    }
    let key = home.place.key();
    // A state that is missing or cannot be read is judged by Terraform.
    let store = home.store()?;
    let Ok(Some(found)) = store.head(&key).await else { return Ok(()) };
    let Ok(start) = store.get_range(&key, 0, found.size.min(START)).await else { return Ok(()) };
    let minor = |version: &Version| (version.major, version.minor);
    match writer(&start).filter(|written| minor(written) > minor(&tool.version)) {
        None => Ok(()),
        Some(written) => Err(Error::input(format!("the state was written by terraform {written}"))
            .why(format!("this run uses terraform {}, which is older", tool.version))
            .hint(format!(
                "make a release with terraform {written} or newer, or deploy this one with \
                 --terraform-version {written}"
            ))),
    }
}

/// Returns the value of the first `terraform_version`. What Terraform writes before it cannot
/// contain it.
fn writer(start: &[u8]) -> Option<Version> {
    let text = String::from_utf8_lossy(start);
    let (_, rest) = text.split_once("\"terraform_version\"")?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    // The text after the value is cut off anywhere.
    let mut values = serde_json::Deserializer::from_str(value);
    String::deserialize(&mut values).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_the_first_lines() {
        for (text, version) in [
            ("{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  \"ser", Some("1.11.4")),
            (r#"{"version":4,"terraform_version":"1.12.0-rc1","serial":1}"#, Some("1.12.0-rc1")),
            (r#"{"version":4,"terraform_version":"#, None),
            ("", None),
            ("\u{0}\u{1}", None),
        ] {
            let found = writer(text.as_bytes()).map(|version| version.to_string());
            assert_eq!(found.as_deref(), version, "{text}");
        }
    }
}
