//! The hooks of a release: `hooks.json` and the folder `hooks/` of a bundle.

use std::{collections::BTreeMap, io, path::Path};

use super::source::SourceFile;
use crate::{
    base::{
        error::{Error, Result},
        small_file,
    },
    config::hooks::{Hook, Hooks},
};

/// The file's name in a bundle. A release without hooks has none.
pub(crate) const FILE: &str = "hooks.json";

/// Checks that the release contains the programs of its hooks.
pub(crate) fn check(hooks: &Hooks, files: &BTreeMap<String, SourceFile>) -> Result<()> {
    for hook in hooks.all() {
        let Some(name) = hook.file() else { continue };
        match files.get(name) {
            None => return Err(missing(hook, name)),
            Some(file) if !file.executable => {
                return Err(Error::input(format!(
                    "the hook `{}` of cdflow.yml cannot run `{name}`: it is not executable",
                    hook.name
                ))
                .hint(format!(
                    "run `chmod +x {name} && git add --chmod=+x {name}`, and commit it"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn missing(hook: &Hook, name: &str) -> Error {
    Error::input(format!(
        "the hook `{}` of cdflow.yml names `{name}`, which does not exist",
        hook.name
    ))
    .hint("add the file, or correct `hooks` in cdflow.yml")
}

/// Returns the bytes of the file.
pub(crate) fn to_bytes(hooks: &Hooks) -> Vec<u8> {
    format!("{:#}\n", serde_json::json!(hooks)).into_bytes()
}

/// Reads the hooks of an unpacked bundle.
pub(crate) fn read(bundle: &Path) -> Result<Hooks> {
    let text = match small_file::read(&bundle.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Hooks::default()),
        Err(error) => {
            return Err(Error::integrity(format!("cannot read {FILE} of the bundle")).why(error));
        }
    };
    serde_json::from_slice(&text).map_err(|error| {
        Error::integrity(format!("cannot parse {FILE} of the release"))
            .why(error)
            .hint("deploy with the version of cdflow that made the release, or a newer one")
    })
}
