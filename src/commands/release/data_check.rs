//! Checks before a release that it has all release data that its code always uses. No deploy could
//! do without.

use std::{collections::BTreeMap, path::Path};

use crate::{
    base::{
        error::{Error, Result},
        printable,
    },
    config::component::ComponentType,
    release::{source::Sources, value_check::NO_VALIDATE},
    terraform::code::looked_up,
};

/// Fails if the code looks up a key of the variable `release` that is neither in `facts`, what is
/// known before the build, nor one of the artifact. `component` is the folder of cdflow.yml.
pub(super) fn check(
    component: &Path,
    kind: ComponentType,
    sources: &Sources,
    facts: &BTreeMap<String, String>,
) -> Result<()> {
    let infra = component.join("infra");
    let required = looked_up::required(&infra, "infra", sources.dialect, "release")?;
    let is_missing = |key: &&String| !facts.contains_key(*key) && !is_of_artifact(key, kind);
    let mut missing = required.iter().filter(|(key, _)| is_missing(key));
    let Some((key, place)) = missing.next() else { return Ok(()) };
    let error = Error::input(format!(
        "{place}: the release has no `{}`, which the code uses as `var.release`",
        printable::excerpt(key)
    ))
    .hint(format!(
        "set it: --release-data {}=VALUE (the Action's input `release-data`)",
        printable::excerpt(key)
    ));
    let others =
        missing.map(|(key, place)| format!("set `{}` of {place} too", printable::excerpt(key)));
    Err(others.fold(error, Error::hint).hint(NO_VALIDATE))
}

/// Whether the artifact of a component of this type sets the key.
pub(super) fn is_of_artifact(key: &str, kind: ComponentType) -> bool {
    match kind {
        ComponentType::Infrastructure => false,
        ComponentType::Lambda => key.starts_with("s3_") || key == "source_code_hash",
        ComponentType::Docker => key.starts_with("image_"),
        ComponentType::Function => key.starts_with("image_") || key.ends_with("_image"),
    }
}
