//! Builds an image: the request, the engine's story of it as lines, and the reason when it fails.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
};

use bollard::{
    BollardRequest,
    errors::Error as Failure,
    models::{BuildInfo, BuildInfoAux, SystemVersion},
    query_parameters::{BuildImageOptions, BuildImageOptionsBuilder},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::{
    Credentials, Engine,
    buildkit_session::Session,
    lost, mended,
    progress::{Progress, Tail},
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        log::Log,
        process_env::ProcessEnv,
        redact::Secret,
    },
    services::docker::context::Context,
};

/// Which of its two builders an engine is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builder {
    BuildKit,
    Classic { because: &'static str },
}

/// An image that is to be built.
pub(crate) struct Build {
    /// `repository:tag`
    pub(crate) image: String,
    /// Its name among the files that are sent.
    pub(crate) dockerfile: String,
    pub(crate) target: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) arguments: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Images whose layers may be used again; the new image is made to be one of them.
    pub(crate) cache_from: Option<String>,
    pub(crate) credentials: Credentials,
}

impl Builder {
    /// BuildKit, unless the engine has none or DOCKER_BUILDKIT=0 says otherwise, as for Docker's own client.
    pub(crate) fn choose(version: &SystemVersion, environment: &ProcessEnv) -> Self {
        if environment.get("DOCKER_BUILDKIT").is_some_and(|value| ["0", "false"].contains(&value)) {
            return Self::Classic { because: "DOCKER_BUILDKIT says so" };
        }
        let components = version.components.iter().flatten();
        if components.map(|it| it.name.as_str()).any(|name| name.contains("Podman")) {
            return Self::Classic { because: "Podman has no BuildKit" };
        }
        match version.api_version.as_deref().and_then(minor) {
            Some((major, minor)) if (major, minor) < (1, 39) => {
                Self::Classic { because: "the engine is too old" }
            }
            _ => Self::BuildKit,
        }
    }

    fn check(self, build: &Build) -> Result<()> {
        let Self::Classic { because } = self else { return Ok(()) };
        let needs = [
            ("secrets", !build.secrets.is_empty()),
            ("cache", build.cache_from.is_some()),
            ("platforms", build.platform.is_some()),
        ];
        match needs.iter().find(|(_, needed)| *needed) {
            Some((key, _)) => {
                Err(Error::input(format!("cdflow.yml: `docker.{key}` needs BuildKit"))
                    .why(format!("the classic builder is used: {because}"))
                    .hint(format!("use an engine with BuildKit, or remove `{key}`")))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuildKit => f.write_str("BuildKit"),
            Self::Classic { because } => write!(f, "the classic builder ({because})"),
        }
    }
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Engine {
    /// From files as they are now.
    pub(crate) async fn build_from(&self, build: &Build, files: Context, log: &Log) -> Result<()> {
        let (tar, sent) = files.tar();
        let built = self.build(build, tar, log).await;
        // When the files could not be sent, the engine knows only that there were no more.
        match sent.await {
            Ok(sent) => sent?,
            Err(error) => {
                return Err(Error::internal("the sender of the build context failed").why(error));
            }
        }
        built
    }

    /// `files` is a tar. Dropping the future ends the connection, and with it the engine ends the build.
    pub(crate) async fn build(
        &self,
        build: &Build,
        files: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        log: &Log,
    ) -> Result<()> {
        self.builder.check(build)?;
        match self.builder {
            Builder::Classic { .. } => {
                let (logins, files) =
                    (Some(build.credentials.for_header()), Some(bollard::body_try_stream(files)));
                follow(build, log, self.docker.build_image(options(build, None), logins, files))
                    .await
            }
            Builder::BuildKit => {
                let (secrets, credentials) = (build.secrets.clone(), build.credentials.clone());
                let session = Session::open(&self.endpoint, files, secrets, credentials).await?;
                let docker = self
                    .docker
                    .clone()
                    .with_request_modifier(|request| mended(by_buildkit(request)));
                let options = options(build, Some(&session));
                let no_body = bollard::body_full(Bytes::new());
                let built =
                    follow(build, log, docker.build_image(options, None, Some(no_body))).await;
                session.close();
                built
            }
        }
    }
}

/// Asked for BuildKit by name, bollard opens a session of its own, which has no secrets.
fn by_buildkit(mut request: BollardRequest) -> BollardRequest {
    if let Ok(uri) = request.uri().to_string().replace("version=1", "version=2").parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// Without attestations, which only clients ask for, an image has one plain manifest: AWS Lambda takes no other.
fn options(build: &Build, session: Option<&Session>) -> BuildImageOptions {
    let map =
        |pairs: &BTreeMap<String, String>| pairs.clone().into_iter().collect::<HashMap<_, _>>();
    let mut arguments = map(&build.arguments);
    if build.cache_from.is_some() {
        arguments.insert("BUILDKIT_INLINE_CACHE".to_owned(), "1".to_owned());
    }
    let options = BuildImageOptionsBuilder::default()
        .t(&build.image)
        .dockerfile(&build.dockerfile)
        .target(build.target.as_deref().unwrap_or_default())
        .platform(build.platform.as_deref().unwrap_or_default())
        .buildargs(&arguments)
        .labels(&map(&build.labels))
        .rm(true)
        .forcerm(true)
        .build();
    BuildImageOptions {
        cachefrom: build.cache_from.clone().map(|image| vec![image]),
        session: session.map(|session| session.id.clone()),
        remote: session.map(Session::files),
        ..options
    }
}

/// Tells what the engine tells, as it comes.
async fn follow(
    build: &Build,
    log: &Log,
    story: impl Stream<Item = Result<BuildInfo, Failure>>,
) -> Result<()> {
    let mut story = std::pin::pin!(story);
    let mut said = Said::default();
    while let Some(told) = story.next().await {
        match told {
            Ok(told) => said.lines(&told).iter().for_each(|line| log.output(line)),
            Err(failure) => {
                said.rest().iter().for_each(|line| log.output(line));
                return Err(failed(build, &failure, &said));
            }
        }
    }
    said.rest().iter().for_each(|line| log.output(line));
    Ok(())
}

fn failed(build: &Build, failure: &Failure, said: &Said) -> Error {
    let refused = match failure {
        Failure::DockerStreamError { error } => error.clone(),
        Failure::DockerResponseServerError { status_code: 400..=499, message } => message.clone(),
        other => return lost(&format!("`{}` was built", build.image), other),
    };
    let lacks_login = ["401", "nauthorized", "denied"].iter().any(|word| refused.contains(word));
    let tail = said.tail();
    let why = match tail.is_empty() {
        true => refused,
        false => format!(
            "{refused}\nthe last lines of the step that failed:\n    {}",
            tail.join("\n    ")
        ),
    };
    let error =
        Error::new(Exit::BuildFailed, format!("the image `{}` can't be built", build.image))
            .why(why);
    match lacks_login {
        true => error.hint(
            "if a base image is private, give its registry a login: --registries HOST=VARIABLE",
        ),
        false => error,
    }
}

/// What has been told of a build.
#[derive(Default)]
struct Said {
    progress: Progress,
    /// Of the classic builder: the beginning of a line, and the lines of the step it is at.
    partial: String,
    tail: Tail,
}

impl Said {
    fn lines(&mut self, told: &BuildInfo) -> Vec<String> {
        if let Some(BuildInfoAux::BuildKit(status)) = &told.aux {
            return self.progress.lines(status);
        }
        let mut lines = Vec::new();
        for part in told.stream.as_deref().unwrap_or_default().split_inclusive('\n') {
            self.partial.push_str(part);
            if part.ends_with('\n') {
                lines.extend(self.rest());
            }
        }
        // Of a pull; each layer's progress would be thousands of lines.
        if let (Some(status), None) = (&told.status, &told.progress_detail) {
            lines.push(match &told.id {
                Some(id) => format!("{id}: {status}"),
                None => status.clone(),
            });
        }
        lines
    }

    fn rest(&mut self) -> Vec<String> {
        let line = std::mem::take(&mut self.partial);
        let line = line.trim_end();
        if line.is_empty() {
            return Vec::new();
        }
        if line.starts_with("Step ") {
            self.tail = Tail::default();
        }
        self.tail.push(line);
        vec![line.to_owned()]
    }

    fn tail(&self) -> Vec<String> {
        match self.progress.tail() {
            lines if lines.is_empty() => self.tail.lines(),
            lines => lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::SystemVersionComponents;

    use super::*;

    fn choose(api: &str, component: &str, buildkit: Option<&str>) -> Builder {
        let version = SystemVersion {
            api_version: Some(api.to_owned()),
            components: Some(vec![SystemVersionComponents {
                name: component.to_owned(),
                ..<_>::default()
            }]),
            ..SystemVersion::default()
        };
        Builder::choose(
            &version,
            &ProcessEnv::new(buildkit.map(|value| ("DOCKER_BUILDKIT".into(), value.into()))),
        )
    }

    #[test]
    fn which_builder() {
        assert_eq!(choose("1.41", "Engine", None), Builder::BuildKit);
        assert_eq!(choose("1.41", "Engine", Some("1")), Builder::BuildKit);
        for classic in [
            choose("1.41", "Engine", Some("0")),
            choose("1.38", "Engine", None),
            choose("1.40", "Podman Engine", None),
        ] {
            assert!(matches!(classic, Builder::Classic { .. }), "{classic:?}");
        }
    }

    #[test]
    fn lines_of_the_classic_builder() {
        let mut said = Said::default();
        let stream =
            |text: &str| BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() };
        assert_eq!(
            said.lines(&stream("Step 1/2 : FROM a\n ---> 12\nSte")),
            ["Step 1/2 : FROM a", " ---> 12"]
        );
        assert_eq!(said.lines(&stream("p 2/2 : RUN b\n")), ["Step 2/2 : RUN b"]);
        let pull = |detail: Option<bollard::models::ProgressDetail>| BuildInfo {
            id: Some("9f".to_owned()),
            status: Some("Downloading".to_owned()),
            progress_detail: detail,
            ..BuildInfo::default()
        };
        assert_eq!(said.lines(&pull(None)), ["9f: Downloading"]);
        assert!(said.lines(&pull(Some(<_>::default()))).is_empty());
        assert!(said.lines(&stream("no end")).is_empty());
        assert_eq!(
            (said.rest(), said.tail()),
            (vec!["no end".to_owned()], vec!["Step 2/2 : RUN b".to_owned(), "no end".to_owned()])
        );
    }
}
