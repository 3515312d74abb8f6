//! The request with which the engine builds an image: labels, secrets, options.

use std::collections::BTreeMap;

use super::name::ImageName;
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        log::Log,
        process_env::ProcessEnv,
        redact::Secret,
    },
    config::{component::Docker, identity::Release, variable_name::VariableName},
    services::docker::{
        context::BuildContext,
        engine::{Build, RegistryCredentials},
    },
};

/// The label with the source digest. It identifies an image that an earlier try pushed, but whose
/// bundle was never published.
pub(crate) const SOURCE_LABEL: &str = "cdflow.source-digest";

/// Returns the labels of an image. `origin` is the URL of the git remote.
pub(crate) fn labels(
    release: &Release,
    commit: &str,
    origin: Option<&str>,
    source: Sha256,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("org.opencontainers.image.revision".to_owned(), commit.to_owned()),
        ("org.opencontainers.image.version".to_owned(), release.version.to_string()),
        ("org.opencontainers.image.title".to_owned(), release.identity.component.to_string()),
        (SOURCE_LABEL.to_owned(), source.to_string()),
    ]);
    if let Some(origin) = origin {
        labels.insert("org.opencontainers.image.source".to_owned(), without_user(origin));
    }
    labels
}

/// Removes the user and password from a URL, because a remote might contain a token.
fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{scheme}://{}/{path}", host.rsplit('@').next().unwrap_or(host))
        }
        None => url.to_owned(),
    }
}

/// How the variables with the runner's own tokens begin.
const RUNNER: &str = "ACTIONS_";

/// Reads the build secrets that cdflow.yml names from the environment, and masks them in the log.
pub(crate) fn secrets(
    names: &[VariableName],
    environment: &ProcessEnv,
    log: &Log,
) -> Result<BTreeMap<String, Secret>> {
    let mut secrets = BTreeMap::new();
    for VariableName(name) in names {
        if name.starts_with(RUNNER) {
            return Err(Error::refused(format!("`{name}` cannot be a build secret"))
                .why("with it, the Dockerfile could act as the workflow")
                .hint("remove it from `docker.secrets`"));
        }
        let value = environment.get(name).ok_or_else(|| {
            Error::input(format!(
                "the build secret `{name}` is missing: no environment variable has this name"
            ))
            .hint("set the variable; on GitHub Actions, in the step's `env:`")
        })?;
        let secret = Secret::new(value);
        if !log.redactor.add(&secret) {
            log.warning(&format!("the secret `{name}` is too short to be masked"));
        }
        secrets.insert(name.clone(), secret);
    }
    Ok(secrets)
}

/// Returns the request to the engine.
pub(crate) fn build(
    name: &ImageName,
    settings: &Docker,
    context: &BuildContext,
    labels: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret>,
    credentials: RegistryCredentials,
) -> Build {
    Build {
        image: name.tag(),
        dockerfile: context.dockerfile.clone(),
        target: settings.target.clone(),
        platform: settings.platforms.first().map(|platform| platform.0.clone()),
        arguments: settings.build_args.clone(),
        labels,
        secrets,
        cache_from: settings.cache.map(|_| name.latest()),
        credentials,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Dockerfile of a pull request could send them to its author.
    #[test]
    fn the_tokens_of_the_runner_are_no_build_secrets() {
        let environment = ProcessEnv::new([
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN".into(), "x".repeat(20).into()),
            ("NPM_TOKEN".into(), "y".repeat(20).into()),
        ]);
        let log = Log::new(crate::base::redact::Redactor::default(), 0, true, false);
        let read = |name: &str| {
            secrets(&[VariableName(name.to_owned())], &environment, &log).map(|found| found.len())
        };
        assert_eq!(read("NPM_TOKEN").unwrap(), 1);
        let error = read("ACTIONS_ID_TOKEN_REQUEST_TOKEN").unwrap_err().to_string();
        assert!(error.contains("cannot be a build secret"), "{error}");
    }

    #[test]
    fn a_remote_without_its_token() {
        for (url, shown) in [
            (
                "https://x-access-token:ghs_abc@github.com/acme/a.git",
                "https://github.com/acme/a.git",
            ),
            ("https://github.com/acme/a", "https://github.com/acme/a"),
            ("ssh://git@host:22/a@b", "ssh://host:22/a@b"),
            ("git@github.com:acme/a.git", "git@github.com:acme/a.git"),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }
}
