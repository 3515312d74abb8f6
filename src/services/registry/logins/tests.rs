//! Which login a registry gets, by its source, and what is rejected.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{docker_config::CONFIG_FILE, *};
use crate::{
    base::{error::Exit, interrupt::Interrupt, log::Log, redact::Secret, run_as::RunAs},
    services::github::Pace,
};

fn host(variables: &[(&str, &str)]) -> Host {
    Host {
        environment: ProcessEnv::new(
            variables.iter().map(|(name, value)| (name.into(), value.into())),
        ),
        log: Log::new(Redactor::default(), 0, true, false),
        interrupt: Interrupt::never(),
        run: None,
        pace: Pace::new(Interrupt::never()),
        run_as: RunAs::Ourselves,
    }
}

fn gather(registries: &[&str], host: &Host) -> Result<Logins> {
    let registries: Vec<_> = registries.iter().map(|text| text.parse().unwrap()).collect();
    Logins::gather(&registries, &host.environment, &host.log.redactor)
}

fn password(user: &str, password: &str) -> Option<Login> {
    Some(Login::Password { user: user.into(), password: Secret::new(password) })
}

fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(CONFIG_FILE), config).unwrap();
    folder
}

fn helper(folder: &Path, name: &str, script: &str) {
    let path = folder.join(format!("docker-credential-{name}"));
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn the_first_that_knows_a_registry_wins() {
    let config = folder(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "Y29uZmlnOmNvbmZpZy1wYXNzd29yZA=="},
            "quay.io": {"auth": "Y29uZmlnOmNvbmZpZy1wYXNzd29yZA"},
            "https://ghcr.io/v2/": {"username": "u", "password": "ghcr-password"},
            "token.example": {"identitytoken": "refresh-token"},
            "nothing.example": {}}}"#,
    );
    let host = host(&[
        ("DOCKER_CONFIG", config.path().to_str().unwrap()),
        ("DOCKERHUB_USERNAME", "hub"),
        ("DOCKERHUB_PASSWORD", "hub-password"),
        ("QUAY", "robot:a:b=c-password"),
        ("LOCAL", "<token>:local-token"),
    ]);
    let logins = gather(&["quay.io=QUAY", "localhost:5000=LOCAL"], &host).unwrap();
    let login = async |registry: &str| logins.for_host(registry, &host).await.unwrap();
    assert_eq!(login("quay.io").await, password("robot", "a:b=c-password"));
    for name in ["docker.io", "index.docker.io", DOCKER_HUB_KEY] {
        assert_eq!(login(name).await, password("hub", "hub-password"));
    }
    assert_eq!(login("ghcr.io").await, password("u", "ghcr-password"));
    assert_eq!(
        login("token.example").await,
        Some(Login::IdentityToken(Secret::new("refresh-token")))
    );
    assert_eq!(
        login("localhost:5000").await,
        Some(Login::IdentityToken(Secret::new("local-token")))
    );
    assert_eq!(login("nothing.example").await, None);
    let all = logins.all(&host).await.unwrap();
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["docker.io", "ghcr.io", "localhost:5000", "quay.io", "token.example"]);
    for secret in
        ["a:b=c-password", "hub-password", "ghcr-password", "refresh-token", "local-token"]
    {
        assert_eq!(host.log.redactor.apply(secret), "***");
    }
    let shown = format!("{all:?} {:?}", "quay.io=QUAY".parse::<RegistryLogin>());
    assert!(
        !shown.contains("-password") && !shown.contains("-token") && !shown.contains("QUAY"),
        "{shown}"
    );
}

#[tokio::test]
async fn the_config_of_the_home_folder() {
    let home = tempfile::tempdir().unwrap();
    let host = host(&[("HOME", home.path().to_str().unwrap())]);
    assert_eq!(gather(&[], &host).unwrap().all(&host).await.unwrap(), BTreeMap::new());
    fs::create_dir(home.path().join(".docker")).unwrap();
    fs::write(
        home.path().join(".docker/config.json"),
        r#"{"auths": {"a.b": {"auth": "dTpwYXNz"}}, "x": 1}"#,
    )
    .unwrap();
    assert_eq!(
        gather(&[], &host).unwrap().for_host("A.b", &host).await.unwrap(),
        password("u", "pass")
    );
}

#[tokio::test]
async fn helpers_are_asked_when_needed() {
    let config = folder(
        r#"{"credsStore": "all",
            "credHelpers": {"https://own.example": "own", "bad.example": "bad"}}"#,
    );
    let bin = config.path();
    helper(
        bin,
        "own",
        r#"read key
printf '{"ServerURL":"x","Username":"%s","Secret":"own-password%s"}' "$key" "$1$TOKEN""#,
    );
    helper(bin, "bad", "echo broken; exit 1");
    let list = r#"if [ "$1" = list ]; then
    printf '{"https://index.docker.io/v1/": "u", "gone.example": "u"}'
    exit
fi
read key
case $key in https://index.docker.io/v1/) printf '{"Username":"<token>","Secret":"hub-token"}';;
*) echo "credentials not found in native keychain"; exit 1;; esac"#;
    helper(bin, "all", list);
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let host =
        host(&[("DOCKER_CONFIG", bin.to_str().unwrap()), ("PATH", &path), ("TOKEN", "leaked")]);
    let logins = gather(&[], &host).unwrap();
    assert_eq!(
        logins.for_host("own.example", &host).await.unwrap(),
        password("https://own.example", "own-passwordget")
    );
    assert_eq!(host.log.redactor.apply("own-passwordget"), "***");
    let token = Login::IdentityToken(Secret::new("hub-token"));
    assert_eq!(logins.for_host("docker.io", &host).await.unwrap(), Some(token));
    assert_eq!(logins.for_host("other.example", &host).await.unwrap(), None);
    let error = logins.for_host("bad.example", &host).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Credentials);
    assert!(error.to_string().contains("`bad`") && error.to_string().contains("broken"), "{error}");
    let all = logins.all(&host).await.unwrap();
    assert_eq!(all.keys().map(String::as_str).collect::<Vec<_>>(), ["docker.io", "own.example"]);
}

#[tokio::test]
async fn a_helper_that_is_missing_is_named() {
    let config = folder(r#"{"credHelpers": {"own.example": "no-such-helper"}}"#);
    let host = host(&[("DOCKER_CONFIG", config.path().to_str().unwrap()), ("PATH", "/usr/bin")]);
    let error =
        gather(&[], &host).unwrap().for_host("own.example", &host).await.unwrap_err().to_string();
    assert!(error.contains("`docker-credential-no-such-helper` is not in PATH"), "{error}");
}

#[test]
fn malformed_logins_are_refused_and_not_shown() {
    let host_ = host(&[("QUAY", "user:secret-word"), ("EMPTY", ""), ("NO_COLON", "secret-word")]);
    for (registries, why) in [
        (vec!["quay.io"], "is not HOST=VARIABLE"),
        (vec!["quay.io=user:secret-word"], "is not HOST=VARIABLE"),
        (vec!["=QUAY"], "is not HOST=VARIABLE"),
        (vec!["https://quay.io/v2=QUAY"], "is not HOST=VARIABLE"),
        (vec!["quay.io="], "is not HOST=VARIABLE"),
        (vec!["quay.io=SECRET"], "for `quay.io` is not set"),
        (vec!["quay.io=EMPTY"], "for `quay.io` is not set"),
        (vec!["quay.io=NO_COLON"], "does not contain USER:PASSWORD"),
        (vec!["quay.io=QUAY", "QUAY.io=QUAY"], "two logins for `quay.io`"),
    ] {
        let error = gather(&registries, &host_).err().unwrap();
        let text = error.to_string();
        assert!(error.exit() == Exit::Input && text.contains(why), "{registries:?}: {text}");
        assert!(!text.contains("secret-word") && !text.contains("SECRET"), "{text}");
    }
    for (config, why) in [
        (r#"{"auths": {"quay.io": "secret-word"}}"#, "line 1, column"),
        (r#"{"auths": {"quay.io": {"auth": "!secret-word"}}}"#, "`quay.io`: `auth` is not base64"),
        (r#"{"auths": {"quay.io": {"auth": "c2VjcmV0LXdvcmQ="}}}"#, "not USER:PASSWORD"),
        (r#"{"credsStore": "../x"}"#, "is not a valid name of a credential helper"),
    ] {
        let folder = folder(config);
        let error = gather(&[], &host(&[("DOCKER_CONFIG", folder.path().to_str().unwrap())]))
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(
            error.exit() == Exit::Input && text.contains(why) && !text.contains("secret-word"),
            "{text}"
        );
    }
    let alone = gather(&[], &host(&[("DOCKERHUB_USERNAME", "u")])).err().unwrap().to_string();
    assert!(alone.contains("`DOCKERHUB_PASSWORD` is not set"), "{alone}");
}
