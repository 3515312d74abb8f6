//! Docker's credential helpers: programs `docker-credential-NAME` that answer for a registry in
//! JSON.

use std::{collections::BTreeMap, ffi::OsStr, path::Path};

use serde::Deserialize;

use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        process::{Captured, Life, Program, find},
        run_as::RunAs,
    },
    services::{ci::host::Host, registry::login::Login},
};

/// The answer to `get`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Asks the helper `name` for the login of `key`, its spelling of the registry. Returns None if it
/// has none.
pub(super) async fn get(name: &str, key: &str, host: &Host) -> Result<Option<Login>> {
    let ended = run(name, "get", key, host).await?;
    if ended.code != 0 {
        // A helper without a login fails with these words on standard output; any other text is an
        // error.
        let words = String::from_utf8_lossy(&ended.stdout);
        if words.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(name, key)
            .why(words.trim())
            .hint(format!("log in again: docker login {key}")));
    }
    let answer: HelperAnswer = serde_json::from_slice(&ended.stdout)
        .map_err(|_| failed(name, key).why("its answer has no `Username` and `Secret`"))?;
    Ok(Some(Login::new(answer.username, answer.secret)))
}

/// Returns the registries for which the helper has a login, as it spells them.
pub(super) async fn list(name: &str, host: &Host) -> Result<Vec<String>> {
    let ended = run(name, "list", "", host).await?;
    serde_json::from_slice::<BTreeMap<String, String>>(&ended.stdout)
        .map(|users| users.into_keys().collect())
        .map_err(|_| failed(name, "list").why("its answer is not a list of registries"))
}

/// Rejects a name that is a path: a helper is a program in PATH.
pub(super) fn check_name(name: String) -> Result<String, String> {
    match name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        true => Ok(name),
        false => {
            Err(format!("`{}` is not a valid name of a credential helper", name.escape_debug()))
        }
    }
}

async fn run(name: &str, verb: &str, input: &str, host: &Host) -> Result<Captured> {
    let env = host.environment.for_credential_helpers();
    let program = format!("docker-credential-{name}");
    let path = find(&program, env.get(OsStr::new("PATH")).map(|path| path.as_os_str()));
    let path = path.ok_or_else(|| {
        failed(name, input)
            .why(format!("`{program}` is not in PATH"))
            .hint("install it, or remove it from Docker's config.json")
    })?;
    let life = Life::Expendable(Limit::CredentialHelper);
    // A helper of the machine, and not of the checkout: it reads its owner's files.
    Program::new(&path, Path::new("/"), &env, RunAs::Ourselves, life)
        .args([verb])
        .input(input)
        .capture(&host.log, &host.interrupt)
        .await
}

fn failed(name: &str, key: &str) -> Error {
    Error::new(Exit::Credentials, format!("the credential helper `{name}` failed for `{key}`"))
}
