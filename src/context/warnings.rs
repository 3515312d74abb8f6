//! Warnings about settings that are valid, but probably not meant.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::checkout_path::normalise,
    config::{
        component::Manifest,
        scheme::{AccountScheme, Storage},
    },
    services::ci::host::Host,
};

/// Warns of environments in cdflow.yml that are probably misspelled. Their guards would never
/// apply.
pub(super) fn misspelled_environments(manifest: &Manifest, scheme: &AccountScheme, host: &Host) {
    let limits = manifest.deploy.limits();
    let named = limits.named().map(|environment| ("deploy.environments", environment));
    let borrowed =
        manifest.preview.account_environment.iter().map(|it| ("preview.account-environment", it));
    for (key, environment) in named.chain(borrowed).collect::<BTreeSet<_>>() {
        if let Some(near) = scheme.spelled_nearly(environment) {
            host.log.warning(&format!(
                "`{key}` in cdflow.yml names `{environment}`, which is not in the account scheme: \
                 did you mean `{near}`?"
            ));
        }
    }
}

/// Warns of proxies that cannot be used. The HTTP client ignores them without a word.
pub(super) fn malformed_proxies(host: &Host) {
    const SCHEMES: [&str; 5] = ["http", "https", "socks4", "socks5", "socks5h"];
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    {
        let Some(text) = host.environment.get(name).map(str::trim).filter(|it| !it.is_empty())
        else {
            continue;
        };
        let with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let is_good = reqwest::Url::parse(&with_scheme)
            .is_ok_and(|url| SCHEMES.contains(&url.scheme()) && url.host_str().is_some());
        if !is_good {
            // It can have a password, so its value is not shown.
            host.log.warning(&format!(
                "{name} is not used: it is not the address of a proxy, such as \
                 `http://proxy.example:3128`"
            ));
        }
    }
}

/// Warns on GitHub Actions if releases are in a folder that ends with the job.
pub(super) fn lost_store(scheme: &AccountScheme, host: &Host) {
    let (Some(_), Storage::Directory(store)) = (host.github(), &scheme.release_bucket) else {
        return;
    };
    let folders = ["GITHUB_WORKSPACE", "RUNNER_TEMP"];
    let of_job = folders.iter().filter_map(|name| host.environment.get(name));
    if let Some(folder) = of_job.map(Path::new).find(|folder| is_in(store, folder)) {
        let below = normalise(store);
        let shown = below.strip_prefix(real(folder)).unwrap_or(&below).display();
        host.log.warning(&format!(
            "the account scheme is local: releases, states and the ledger are in `{shown}` of \
             this job, and the next job does not see them\n  -> release and deploy in one job, \
             or set `account-scheme-url` to an account scheme on S3 (docs/aws.md)"
        ));
    }
}

fn is_in(store: &Path, folder: &Path) -> bool {
    normalise(store).starts_with(real(folder))
}

/// Returns the path without links, as that of cdflow.yml is.
fn real(folder: &Path) -> PathBuf {
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_job() {
        let job = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(job.path()).unwrap();
        for (store, expected) in [
            (".cdflow/releases", true),
            ("checkout/../store", true),
            ("../store", false),
            ("/srv/store", false),
        ] {
            assert_eq!(is_in(&root.join(store), job.path()), expected, "{store}");
        }
    }
}
