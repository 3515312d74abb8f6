//! The hooks of a release: `hooks.json` and the folder `hooks/` of a bundle.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::Path,
};

use super::source::SourceFile;
use crate::{
    base::{
        error::{Error, Result},
        process::FIRST_LINE,
        small_file,
    },
    config::hooks::{Hook, Hooks},
};

/// How much of a program is read to recognize a script, in bytes.
const FIRST_BYTES: u64 = 512;

/// The file's name in a bundle. A release without hooks has none.
pub(crate) const FILE: &str = "hooks.json";

/// Checks that the release contains the programs of its hooks.
pub(crate) fn check(hooks: &Hooks, files: &BTreeMap<String, SourceFile>) -> Result<()> {
    for hook in hooks.all() {
        let Some(name) = hook.file() else {
            check_is_program(hook, files)?;
            continue;
        };
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
            Some(file) => check_first_line(hook, name, file)?,
        }
    }
    Ok(())
}

/// Checks that the program in PATH is not a file of the release that lacks its folder.
fn check_is_program(hook: &Hook, files: &BTreeMap<String, SourceFile>) -> Result<()> {
    let file = format!("hooks/{}", hook.program());
    match files.contains_key(&file) {
        true => Err(Error::input(format!(
            "the hook `{}` of cdflow.yml names the program `{}` in PATH, and there is a file \
             `{file}`",
            hook.name,
            hook.program()
        ))
        .hint(format!("write `{file}` in cdflow.yml, or give the file another name"))),
        false => Ok(()),
    }
}

/// Checks that the system finds the interpreter of a script. A file with other bytes than text is a
/// program.
fn check_first_line(hook: &Hook, name: &str, file: &SourceFile) -> Result<()> {
    let content = small_file::open(&file.path).and_then(|opened| {
        let mut content = Vec::new();
        opened.take(FIRST_BYTES).read_to_end(&mut content).map(|_| content)
    });
    let content = content.map_err(|error| Error::io("cannot read", &file.path, &error))?;
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let refused = |why: &str| {
        Err(Error::input(format!(
            "the hook `{}` of cdflow.yml cannot run `{name}`: {why}",
            hook.name
        )))
    };
    match content.contains(&0) {
        true => Ok(()),
        false if !first.starts_with(b"#!") => {
            refused("it is a script without an interpreter").map_err(|it| it.hint(FIRST_LINE))
        }
        false if first.ends_with(b"\r") => refused(
            "its lines end as on Windows, so the system would look for an interpreter whose name \
             ends with a carriage return",
        )
        .map_err(|it| it.hint(format!("convert its line ends: sed -i 's/\\r$//' {name}"))),
        false => Ok(()),
    }
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
