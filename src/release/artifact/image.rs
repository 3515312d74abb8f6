//! A Docker image: what it is made of, what it is called, and what Terraform is told of it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::function::{Code, Images, Profile};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        log::Log,
        process_env::ProcessEnv,
        redact::Secret,
    },
    config::{
        component::{Docker, VariableName},
        identity::Release,
        names::Version,
    },
    release::source::TreeFile,
    services::docker::{
        context::{Builder, Context, Kind},
        engine::{Build, Credentials},
    },
};

/// The label by which an image is known again that was pushed, but whose bundle was never published.
pub(crate) const SOURCE_LABEL: &str = "cdflow.source-digest";
/// The tag of the newest image.
pub(crate) const LATEST: &str = "latest";
const HOOK: &str = "on-docker-build";
/// These are no source: they differ from one checkout of a commit to the next.
const NEVER_SENT: [&str; 3] = ["**/.git", "**/.cdflow", "**/.terraform"];

/// `<host>/<component>:<version>`
#[derive(Clone, Debug)]
pub(crate) struct ImageName {
    pub(crate) host: String,
    /// Its path in the registry.
    pub(crate) path: String,
    pub(crate) version: Version,
}

/// What an image is made of.
pub(crate) struct ImageSources {
    pub(crate) context: Context,
    pub(crate) hook: Option<PathBuf>,
    /// What the Dockerfile's stages start from.
    pub(crate) bases: Vec<String>,
    /// Of a Dockerfile that cdflow itself makes: what decides it. Its text may be another with another cdflow.
    pub(crate) generated_by: Option<Value>,
}

impl ImageName {
    pub(crate) fn new(host: String, release: &Release) -> Result<Self> {
        release.identity.component.check_as_image()?;
        if release.version.as_str() == LATEST {
            return Err(Error::input(format!("version `{LATEST}` is refused: that tag moves on with each release"))
                .why("the release's own image would have no tag any more, and registries delete such images")
                .hint("release under another version"));
        }
        Ok(Self {
            host,
            path: release.identity.component.to_string(),
            version: release.version.clone(),
        })
    }

    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    pub(crate) fn tag(&self) -> String {
        format!("{}:{}", self.repository(), self.version)
    }

    pub(crate) fn latest(&self) -> String {
        format!("{}:{LATEST}", self.repository())
    }

    /// What Terraform gets in `var.release`. The digest names the bytes; the tag is for people.
    pub(crate) fn metadata(&self, digest: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("image_id".to_owned(), format!("{}@{digest}", self.repository())),
            ("image_tag".to_owned(), self.tag()),
        ])
    }
}

/// The context, and the hook beside cdflow.yml if there is one.
pub(crate) fn sources(
    settings: &Docker,
    folder: &Path,
    root: &Path,
    builder: Builder,
) -> Result<ImageSources> {
    let context = match &settings.context {
        None => folder.to_owned(),
        Some(context) => inside(&folder.join(context), "docker.context", root)?,
    };
    let dockerfile = match &settings.dockerfile {
        None => context.join("Dockerfile"),
        Some(dockerfile) => folder.join(dockerfile),
    };
    if !dockerfile.is_file() {
        return Err(Error::input(format!("there is no Dockerfile `{}`", dockerfile.display()))
            .hint("add one, or name it in cdflow.yml (`docker: {dockerfile: …}`)"));
    }
    let dockerfile = inside(&dockerfile, "docker.dockerfile", root)?;
    let text = fs::read_to_string(&dockerfile)
        .map_err(|error| Error::io("can't read", &dockerfile, &error))?;
    Ok(ImageSources {
        context: Context::read(&context, &dockerfile, builder, &NEVER_SENT)?,
        hook: hook(folder)?,
        bases: bases(&text),
        generated_by: None,
    })
}

/// Of a function: its code, and the images that it is made with.
pub(crate) fn of_function(code: &Code, images: &Images, folder: &Path) -> Result<ImageSources> {
    Ok(ImageSources {
        context: code.context(Profile::Release, images)?,
        hook: hook(folder)?,
        bases: Vec::new(),
        generated_by: Some(
            json!({"build-image": images.build.as_str(), "runtime-image": images.runtime.as_str()}),
        ),
    })
}

/// A release is of a commit, so nothing of it comes from outside the checkout.
fn inside(path: &Path, key: &str, root: &Path) -> Result<PathBuf> {
    let found = fs::canonicalize(path).map_err(|error| {
        Error::io("can't find", path, &error)
            .hint(format!("`{key}` is relative to the folder of cdflow.yml"))
    })?;
    match found.starts_with(root) {
        true => Ok(found),
        false => Err(Error::input(format!("cdflow.yml: `{key}` leaves the checkout"))
            .why(format!("it leads to `{}`", found.display()))
            .hint("move what is needed into the checkout")),
    }
}

fn hook(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join(HOOK);
    let Ok(found) = fs::metadata(&path) else { return Ok(None) };
    if found.is_file() && found.permissions().mode() & 0o100 != 0 {
        return Ok(Some(path));
    }
    Err(Error::input(format!("`{}` is not an executable file", path.display()))
        .why("a file of this name runs after the image is built")
        .hint("chmod +x it, or give it another name"))
}

/// Of `FROM [--flag] image [AS name]`: every image that is no stage of the same file.
fn bases(dockerfile: &str) -> Vec<String> {
    let mut stages: Vec<String> = Vec::new();
    let mut found: Vec<String> = Vec::new();
    for line in dockerfile.lines() {
        let mut words = line.split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("from")) {
            continue;
        }
        let mut words = words.filter(|word| !word.starts_with("--"));
        let Some(image) = words.next() else { continue };
        if !stages.iter().any(|stage| stage.eq_ignore_ascii_case(image))
            && !found.iter().any(|it| it == image)
        {
            found.push(image.to_owned());
        }
        if words.next().is_some_and(|word| word.eq_ignore_ascii_case("as")) {
            stages.extend(words.next().map(str::to_owned));
        }
    }
    found
}

impl ImageSources {
    pub(crate) fn files(&self) -> Vec<TreeFile> {
        let file = |entry: &crate::services::docker::context::Entry| match &entry.kind {
            Kind::File { path, size, executable, .. } => Some(TreeFile {
                name: entry.name.clone(),
                path: path.clone(),
                executable: *executable,
                size: *size,
            }),
            _ => None,
        };
        self.context.entries.iter().filter_map(file).collect()
    }

    /// What decides the image beside files' contents.
    pub(crate) fn shape(&self) -> Result<Value> {
        let mut entries = serde_json::Map::new();
        for entry in &self.context.entries {
            let value = match &entry.kind {
                Kind::File { .. } => continue,
                Kind::Text(_) if self.generated_by.is_some() => continue,
                Kind::Folder => json!("folder"),
                Kind::Link { target } => json!({"link": target}),
                Kind::Text(text) => json!({"text": Sha256::of(text)}),
            };
            entries.insert(entry.name.clone(), value);
        }
        let digest = |path: &PathBuf| {
            Sha256::of_file(path).map_err(|error| Error::io("can't read", path, &error))
        };
        let hook = self.hook.as_ref().map(digest).transpose()?;
        let dockerfile =
            self.generated_by.clone().unwrap_or_else(|| json!(self.context.dockerfile));
        Ok(json!({"entries": entries, "dockerfile": dockerfile, "hook": hook}))
    }
}

/// What an image says of itself.
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

/// The URL of a remote may hold a token.
fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{scheme}://{}/{path}", host.rsplit('@').next().unwrap_or(host))
        }
        None => url.to_owned(),
    }
}

/// The values of the secrets that cdflow.yml names. They are masked from now on.
pub(crate) fn secrets(
    names: &[VariableName],
    environment: &ProcessEnv,
    log: &Log,
) -> Result<BTreeMap<String, Secret>> {
    let mut secrets = BTreeMap::new();
    for VariableName(name) in names {
        let value = environment.get(name).ok_or_else(|| {
            Error::input(format!(
                "the build needs the secret `{name}`, and no such environment variable is set"
            ))
            .hint("set it; on GitHub Actions in the step's `env:`")
        })?;
        let secret = Secret::new(value);
        if !log.redactor.add(&secret) {
            log.warning(&format!("the secret `{name}` is too short to be masked"));
        }
        secrets.insert(name.clone(), secret);
    }
    Ok(secrets)
}

/// The request to the engine.
pub(crate) fn build(
    name: &ImageName,
    settings: &Docker,
    context: &Context,
    labels: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret>,
    credentials: Credentials,
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

    #[test]
    fn base_images() {
        let text = "# FROM comment\nARG V=1\nFROM --platform=linux/amd64 rust:1 AS build\nRUN echo FROM x\n\
                    from build as test\nFROM debian:${V}\nFROM rust:1\nFROM scratch\n";
        assert_eq!(bases(text), ["rust:1", "debian:${V}", "scratch"]);
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

    #[test]
    fn names_and_what_terraform_is_told() {
        let versioned = |component: &str, version: &str| Release {
            identity: crate::config::identity::Identity {
                team: "platform".parse().unwrap(),
                component: component.parse().unwrap(),
                layout: crate::config::identity::Layout::ByTeam,
            },
            version: version.parse().unwrap(),
        };
        let release = |component: &str| versioned(component, "1.2");
        let name = ImageName::new("localhost:5000".to_owned(), &release("shop")).unwrap();
        let told = name.metadata("sha256:ab");
        assert_eq!(told["image_id"], "localhost:5000/shop@sha256:ab");
        assert_eq!(told["image_tag"], "localhost:5000/shop:1.2");
        assert!(ImageName::new("h".to_owned(), &release("Shop")).is_err());
        assert!(ImageName::new("h".to_owned(), &versioned("shop", "latest")).is_err());
    }
}
