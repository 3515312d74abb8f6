//! The default name of a local image: `<login>/<folder>`.

use std::{
    io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Profile;
use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
        small_file,
    },
    config::names::Image,
    services::{
        ci::host::Host,
        registry::{login::Login, logins::Logins},
    },
};

const DOCKER_HUB: &str = "docker.io";

/// Returns the default name. A dev image gets another one, because it contains environment files
/// and must not be pushed instead of a release.
pub(crate) async fn default_tag(
    profile: Profile,
    component: &Path,
    logins: &Logins,
    host: &Host,
) -> Result<Image> {
    let user = user(&host.environment, logins, host).await?.ok_or_else(|| {
        Error::input("the image has no name: no login to Docker Hub found")
            .why(
                "without --tag the name is <login>/<folder>, and <login> is DOCKER_USERNAME or \
                 the user of `docker login` or `podman login`",
            )
            .hint("set a name (--tag NAME), or log in (docker login)")
    })?;
    let folder = component.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let prefix = match profile {
        Profile::Release => "",
        Profile::Dev => "dev-",
    };
    let tag = format!("{user}/{prefix}{folder}");
    tag.parse().map_err(|refused| {
        Error::input(format!("invalid name for the image: `{}`", tag.escape_debug()))
            .why(refused)
            .hint("set a name: --tag NAME")
    })
}

/// Returns the user name of the login to Docker Hub: Docker's, or else podman's.
async fn user(environment: &ProcessEnv, logins: &Logins, host: &Host) -> Result<Option<String>> {
    if let Some(user) = environment.get("DOCKER_USERNAME") {
        return Ok(Some(user.to_owned()));
    }
    if let Some(Login::Password { user, .. }) = logins.for_host(DOCKER_HUB, host).await? {
        return Ok(Some(user));
    }
    for path in podman_files(environment) {
        if let Some(user) = podman_login(&path)? {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

fn podman_files(environment: &ProcessEnv) -> Vec<PathBuf> {
    let of = |variable: &str, rest: &str| {
        environment.get(variable).map(|value| Path::new(value).join(rest))
    };
    let named = environment.get("REGISTRY_AUTH_FILE").map(PathBuf::from);
    let of_session = named.or_else(|| of("XDG_RUNTIME_DIR", "containers/auth.json"));
    let kept = of("XDG_CONFIG_HOME", "containers/auth.json")
        .or_else(|| of("HOME", ".config/containers/auth.json"));
    [of_session, kept].into_iter().flatten().collect()
}

/// Returns the user of podman's login to Docker Hub. Images there need no host in their names. The
/// password is ignored.
fn podman_login(file: &Path) -> Result<Option<String>> {
    let text = match small_file::read(file) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        read => read.map_err(|error| Error::io("cannot read", file, &error))?,
    };
    let config: Value = serde_json::from_slice(&text).map_err(|_| {
        Error::input(format!("`{}` is not JSON", file.display())).hint("log in again, or set --tag")
    })?;
    let user = |auth: &str| {
        let decoded = STANDARD.decode(auth).ok()?;
        let (user, _) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some(user.to_owned()).filter(|user| !user.is_empty())
    };
    Ok(config["auths"][DOCKER_HUB]["auth"].as_str().and_then(user))
}
