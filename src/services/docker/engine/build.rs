//! Builds an image: the request, the engine's messages of it as lines, and the reason when it
//! fails.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use bollard::{
    BollardRequest,
    errors::Error as Failure,
    models::BuildInfo,
    query_parameters::{BuildImageOptions, BuildImageOptionsBuilder},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};

use super::{
    builder::Builder,
    buildkit_session::BuildKitSession,
    connection::{Engine, lost, with_url_safe_base64},
    credentials::RegistryCredentials,
    output::BuildOutput,
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        log::Log,
        redact::Secret,
    },
    services::docker::context::BuildContext,
};

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
    pub(crate) credentials: RegistryCredentials,
}

impl Build {
    /// Rejects keys of `docker:` that only BuildKit supports, if the engine builds with the classic
    /// builder.
    fn check(&self, builder: Builder) -> Result<()> {
        let Builder::Classic { because } = builder else { return Ok(()) };
        let needs = [
            ("secrets", !self.secrets.is_empty()),
            ("cache", self.cache_from.is_some()),
            ("platforms", self.platform.is_some()),
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

impl Engine {
    /// From files as they are now.
    pub(crate) async fn build_from(
        &self,
        build: &Build,
        files: BuildContext,
        log: &Log,
    ) -> Result<()> {
        let building = self.build_files(build, files, log);
        tokio::time::timeout(Limit::ImageBuild.time(), building).await.unwrap_or_else(|_| {
            let what = format!("the build of the image `{}` did not end", build.image);
            Err(Error::new(Exit::BuildFailed, Limit::ImageBuild.passed(&what)).hint(format!(
                "if it needs more time, set CDFLOW_LIMITS, for example to `{}=4h`",
                Limit::ImageBuild.name()
            )))
        })
    }

    async fn build_files(&self, build: &Build, files: BuildContext, log: &Log) -> Result<()> {
        let size = files.size();
        let (tar, sent) = files.tar();
        let built = self.build(build, counted(tar, size, log.clone()), log).await;
        // When the files could not be sent, the engine knows only that there were no more.
        match sent.await {
            Ok(sent) => sent?,
            Err(error) => {
                return Err(Error::internal("the sender of the build context failed").why(error));
            }
        }
        built
    }

    /// `files` is a tar. Dropping the future ends the connection, and with it the engine ends the
    /// build.
    pub(crate) async fn build(
        &self,
        build: &Build,
        files: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        log: &Log,
    ) -> Result<()> {
        build.check(self.builder)?;
        match self.builder {
            Builder::Classic { .. } => {
                let (logins, files) =
                    (Some(build.credentials.for_header()), Some(bollard::body_try_stream(files)));
                follow(build, log, self.docker.build_image(options(build, None), logins, files))
                    .await
            }
            Builder::BuildKit => {
                let (secrets, credentials) = (build.secrets.clone(), build.credentials.clone());
                let session =
                    BuildKitSession::open(&self.address, files, secrets, credentials).await?;
                let docker = self
                    .docker
                    .clone()
                    .with_request_modifier(|request| with_url_safe_base64(by_buildkit(request)));
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

/// Shows how much of the files was sent, from the first piece to the last.
fn counted(
    files: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    size: u64,
    log: Log,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mut progress = None;
    let ended = stream::once(future::ready(None));
    files.map(Some).chain(ended).filter_map(move |piece| {
        match &piece {
            Some(Ok(bytes)) => {
                let begin = || log.progress("sending the build context", size);
                progress.get_or_insert_with(begin).advance(bytes.len() as u64);
            }
            _ => progress = None,
        }
        future::ready(piece)
    })
}

/// Asked for BuildKit by name, bollard opens a session of its own, which has no secrets.
fn by_buildkit(mut request: BollardRequest) -> BollardRequest {
    if let Ok(uri) = request.uri().to_string().replace("version=1", "version=2").parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// Without attestations, which only clients ask for, an image has one plain manifest: AWS Lambda
/// takes no other.
fn options(build: &Build, session: Option<&BuildKitSession>) -> BuildImageOptions {
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
        remote: session.map(BuildKitSession::files),
        ..options
    }
}

/// Logs the engine's output as it arrives.
async fn follow(
    build: &Build,
    log: &Log,
    messages: impl Stream<Item = Result<BuildInfo, Failure>>,
) -> Result<()> {
    let mut messages = std::pin::pin!(messages);
    let mut output = BuildOutput::default();
    while let Some(info) = messages.next().await {
        match info {
            Ok(info) => output.lines(&info).iter().for_each(|line| log.program_output(line)),
            Err(failure) => {
                output.rest().iter().for_each(|line| log.program_output(line));
                return Err(failed(build, &failure, &output));
            }
        }
    }
    output.rest().iter().for_each(|line| log.program_output(line));
    Ok(())
}

fn failed(build: &Build, failure: &Failure, output: &BuildOutput) -> Error {
    let refused = match failure {
        Failure::DockerStreamError { error } => error.clone(),
        Failure::DockerResponseServerError { status_code: 400..=499, message } => message.clone(),
        other => return lost(&format!("`{}` was built", build.image), other),
    };
    let lacks_login = ["401", "nauthorized", "denied"].iter().any(|word| refused.contains(word));
    let tail = output.tail();
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
