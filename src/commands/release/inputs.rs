//! What a release is made from, read from the command line, cdflow.yml and the checkout.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use crate::{
    base::{
        error::{Error, Exit, Result},
        log::Log,
        printable,
    },
    cli::{args::ReleaseInputs, values::Datum},
    config::{component::ComponentType, identity::Release},
    context::Context,
    release::{
        artifact::{
            function::{Code, Images, Profile},
            image::{ImageInputs, ImageTarget, function_sources, sources as image_sources},
            lambda_files,
        },
        namesakes, source,
        source::{Sources, TreeFile},
    },
    report::Report,
    services::{
        ci::short,
        docker::{
            context::IgnoreDialect,
            engine::{Builder, Engine},
        },
        git::{Checkout, Difference, Git},
        registry::logins::Logins,
    },
    terraform::code::files::Dialect,
};

/// Keys that cdflow puts into `release` itself.
const BUILT_IN_DATA: [&str; 12] = [
    "commit",
    "version",
    "component",
    "team",
    "s3_bucket",
    "s3_key",
    "source_code_hash",
    "s3_bucket_regions_csv",
    "image_id",
    "image_tag",
    "build_image",
    "runtime_image",
];

const UNUSED_BACKEND: &str = "this `backend` or `cloud` block is not used, because cdflow keeps a \
                              state per environment; to take over a state that exists: `cdflow \
                              adopt` (docs/terraform.md)";

/// What the artifact is made from.
pub(super) enum ArtifactInputs {
    /// The files of a Lambda zip; none for a component without an artifact.
    Files(Vec<TreeFile>),
    Image(Box<ImageInputs>),
}

pub(super) async fn checkout(context: &Context) -> Result<Checkout> {
    let host = &context.host;
    let git = Git::find(host)?;
    let checkout = git.checkout(&context.folder).await?;
    let commit = short(&checkout.commit);
    match git.compare(&context.folder).await? {
        Difference::Same => {}
        Difference::Changed(files) => host.log.warning(&format!(
            "the checkout has uncommitted changes: {}; the release records commit {commit}",
            printable::few(&files)
        )),
        Difference::Unknown(why) => host.log.warning(&format!(
            "cannot find out whether the checkout has uncommitted changes; the release records \
             commit {commit}: git status failed: {why}"
        )),
    }
    Ok(checkout)
}

/// Rejects keys that cdflow sets itself, and duplicate keys.
pub(super) fn release_data(given: &[Datum]) -> Result<BTreeMap<String, String>> {
    let mut data = BTreeMap::new();
    for Datum { key, value } in given {
        if BUILT_IN_DATA.contains(&key.as_str())
            || key.starts_with("s3_bucket.")
            || key.starts_with("image_")
        {
            return Err(Error::input(format!(
                "release data cannot set `{}`, which cdflow sets itself",
                key.escape_debug()
            ))
            .hint("use another key"));
        }
        if data.insert(key.clone(), value.clone()).is_some() {
            return Err(Error::input(format!("release data sets `{}` twice", key.escape_debug())));
        }
    }
    Ok(data)
}

/// The keys of `release` that are known before the build.
pub(super) fn built_in(release: &Release, checkout: &Checkout) -> BTreeMap<String, String> {
    let pairs = [
        ("commit", checkout.commit.clone()),
        ("version", release.version.to_string()),
        ("component", release.identity.component.to_string()),
        ("team", release.identity.team.to_string()),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

pub(super) async fn read_artifact_inputs(
    context: &Context,
    checkout: &Checkout,
    inputs: &ReleaseInputs,
) -> Result<ArtifactInputs> {
    let image = |inputs| ArtifactInputs::Image(Box::new(inputs));
    match context.manifest.kind {
        ComponentType::Infrastructure => Ok(ArtifactInputs::Files(Vec::new())),
        ComponentType::Lambda => read_lambda(context, checkout).map(ArtifactInputs::Files),
        ComponentType::Function => read_function(context, inputs).await.map(image),
        ComponentType::Docker => read_image(context, checkout, inputs).await.map(image),
    }
}

fn read_lambda(context: &Context, checkout: &Checkout) -> Result<Vec<TreeFile>> {
    let component = &context.identity.component;
    let read = lambda_files::files(&context.manifest, component, &context.folder, &checkout.root)?;
    for pattern in &read.unused {
        context.host.log.warning(&format!(
            "`lambda.exclude` in cdflow.yml: `{}` matches no file\n  -> {}",
            pattern.escape_debug(),
            lambda_files::UNUSED_PATTERN
        ));
    }
    Ok(read.files)
}

async fn read_image(
    context: &Context,
    checkout: &Checkout,
    inputs: &ReleaseInputs,
) -> Result<ImageInputs> {
    let settings = context.manifest.docker.clone().unwrap_or_default();
    // The engine comes first: which files it gets depends on its builder.
    let (engine, logins) = engine_and_logins(context, inputs).await?;
    let builder = match engine.as_ref().map(|engine| engine.builder) {
        Some(Builder::Classic { .. }) => IgnoreDialect::Classic,
        Some(Builder::BuildKit) | None => IgnoreDialect::BuildKit,
    };
    let sources = image_sources(&settings, &context.folder, &checkout.root, builder)?;
    Ok(ImageInputs { engine, settings, logins, function: None, sources })
}

async fn read_function(context: &Context, inputs: &ReleaseInputs) -> Result<ImageInputs> {
    let settings = context.manifest.function.clone().unwrap_or_default();
    let (folder, environment) = (&context.folder, &context.host.environment);
    let images =
        Images::choose(Profile::Release, &inputs.build.images, folder, &settings, environment)?;
    let code = Code::find(folder)?;
    let sources = function_sources(&code, &images, folder)?;
    let (engine, logins) = engine_and_logins(context, inputs).await?;
    let function = Some((code, images));
    Ok(ImageInputs { engine, settings: Default::default(), logins, function, sources })
}

/// The engine is None only in a dry run on a machine without one.
async fn engine_and_logins(
    context: &Context,
    inputs: &ReleaseInputs,
) -> Result<(Option<Engine>, Logins)> {
    let host = &context.host;
    context.identity.component.check_as_image()?;
    let logins = Logins::gather(&inputs.build.registries, &host.environment, &host.log.redactor)?;
    let connecting = Engine::connect(host);
    match host.interrupt.or_cancel("asking the Docker engine", connecting).await {
        Ok(engine) => Ok((Some(engine), logins)),
        Err(absent) if inputs.dry_run && absent.exit() == Exit::Input => {
            host.log.note(&absent.to_string());
            Ok((None, logins))
        }
        Err(absent) => Err(absent),
    }
}

pub(super) fn image_target(context: &Context) -> Result<ImageTarget<'_>> {
    Ok(ImageTarget {
        host: &context.host,
        folder: &context.folder,
        scheme: &context.scheme,
        registry: context.scheme.image_registry()?,
        session: context.release_session.as_deref(),
    })
}

/// Warns about files that the code reads from the checkout, which a deploy does not have, and about
/// files and keys of `config/` that no deploy reads.
pub(super) fn warn_of_lost_files(log: &Log, sources: &Sources, report: &mut Report) {
    for call in &sources.lost_files {
        let warning = format!(
            "{}: `{}` reads `{}`, which is not part of the release\n  -> move the file into infra/ \
             or into the module that reads it, and use `path.module`",
            call.place,
            call.function,
            call.path.escape_debug()
        );
        warn(log, &warning, report);
    }
    for ignored in &sources.ignored_config {
        warn(log, &ignored.to_string(), report);
    }
}

/// Warns of other components of the checkout with the same name.
pub(super) async fn warn_of_namesakes(
    context: &Context,
    checkout: &Checkout,
    report: &mut Report,
) -> Result<()> {
    let own = namesakes::Own {
        folder: &context.folder,
        root: &checkout.root,
        identity: &context.identity,
        scheme: &context.manifest.account_scheme_url,
    };
    for said in namesakes::find(&context.host, &own).await? {
        warn(&context.host.log, &format!("{said}\n  -> {}", namesakes::REMEDY), report);
    }
    Ok(())
}

/// Shows a warning in the log and in the report.
pub(super) fn warn(log: &Log, warning: &str, report: &mut Report) {
    log.warning(warning);
    report.warnings.push(log.redactor.apply(warning).into_owned());
}

/// Notes each `required_version` that cdflow cannot read, and each block that it replaces.
pub(super) fn note_code(log: &Log, sources: &Sources) {
    for place in &sources.unknown_requirements {
        log.note(&format!("{place}: cdflow cannot read `required_version`; Terraform checks it"));
    }
    for place in &sources.backends {
        log.note(&format!("{place}: {UNUSED_BACKEND}"));
    }
}

/// Checks that the run may use every file that goes into the release or decides what does.
pub(super) fn check_files(
    context: &Context,
    sources: &Sources,
    artifact: &ArtifactInputs,
) -> Result<()> {
    let groups = [&sources.files, &sources.outside, &sources.artifact];
    let files = groups.into_iter().flat_map(|group| group.values());
    let files = files.map(|file| file.path.as_path());
    match artifact {
        ArtifactInputs::Files(_) => context.trusted.check_files(files),
        ArtifactInputs::Image(image) => {
            context.trusted.check_files(files.chain(image.sources.settings()))?;
            let links = image.sources.links().collect::<Vec<_>>();
            context.trusted.check_links(links.iter().map(PathBuf::as_path))
        }
    }
}

pub(super) fn sources(
    context: &Context,
    checkout: &Checkout,
    platform_config: &[PathBuf],
    release_data: &BTreeMap<String, String>,
    artifact: &ArtifactInputs,
) -> Result<Sources> {
    let (artifact, artifact_shape) = match artifact {
        ArtifactInputs::Files(files) => (files.clone(), Value::Null),
        ArtifactInputs::Image(image) => (image.sources.files(), image.sources.shape()?),
    };
    Sources::read(source::SourcesRequest {
        identity: &context.identity,
        folder: &context.folder,
        root: &checkout.root,
        manifest_text: &context.manifest_text,
        hooks: &context.manifest.hooks,
        platform_config,
        release_data,
        scheme: &context.scheme,
        dialect: Dialect::of_flavor(context.tool.flavor),
        artifact,
        artifact_shape,
        progress: context.host.progress("hashing the files of the release", None),
    })
}
