//! What the commands for a function's image share, which need no account scheme.

use std::path::PathBuf;

use crate::{
    base::{
        error::{Error, Result},
        units::bytes_text,
    },
    cli::args::Global,
    config::{
        component::{self, ComponentType, Function},
        settings::FunctionImages,
    },
    context,
    release::artifact::function::{Images, Profile},
    services::{
        ci::host::Host,
        docker::{
            base_images,
            context::{Context, Kind},
            engine::Engine,
        },
        registry::logins::Logins,
    },
};

/// A function's folder and settings. Without a cdflow.yml it is a folder as roche had it.
pub(crate) struct Component {
    pub(crate) folder: PathBuf,
    settings: Function,
}

impl Component {
    pub(crate) fn open(global: &Global) -> Result<Self> {
        let folder = context::folder(global)?;
        if !folder.join(component::FILE).exists() {
            return Ok(Self { folder, settings: Function::default() });
        }
        let (manifest, _) = context::read_manifest(&folder)?;
        match manifest.kind {
            ComponentType::Function => {
                Ok(Self { folder, settings: manifest.function.unwrap_or_default() })
            }
            _ => Err(Error::input(format!(
                "{}: this is no component of type `function`",
                component::FILE
            ))
            .why("only a function's image is built by cdflow's own Dockerfile")
            .hint("a component of type `docker` brings its own; see `type` in cdflow.yml")),
        }
    }

    pub(crate) fn images(
        &self,
        profile: Profile,
        given: &FunctionImages,
        host: &Host,
    ) -> Result<Images> {
        Images::choose(profile, given, &self.folder, &self.settings, &host.environment)
    }
}

/// The images as they are found now.
pub(crate) struct Pinned {
    pub(crate) images: Images,
    /// Name and digest of the build image and of the runtime image.
    pub(crate) records: [String; 2],
}

pub(crate) async fn pinned(
    images: &Images,
    engine: &Engine,
    logins: &Logins,
    host: &Host,
) -> Result<Pinned> {
    let find = |image| base_images::find(image, Some(engine), logins, host);
    let (build, runtime) = futures_util::try_join!(find(&images.build), find(&images.runtime))?;
    for base in [&build, &runtime] {
        host.log.note(&format!("from {}", base.record));
    }
    let images =
        Images { build: build.from, runtime: runtime.from, named_by: images.named_by.clone() };
    Ok(Pinned { images, records: [build.record, runtime.record] })
}

/// The files of the context with their sizes, and the base images.
pub(crate) async fn show(
    images: &Images,
    context: &Context,
    engine: Option<&Engine>,
    logins: &Logins,
    host: &Host,
) {
    for entry in &context.entries {
        let size = match &entry.kind {
            Kind::File { size, .. } => *size,
            Kind::Text(text) => text.len() as u64,
            Kind::Link { .. } | Kind::Folder => 0,
        };
        host.log.note(&format!("{:<16} {:>10}  {}", "build context", bytes_text(size), entry.name));
    }
    found(images, engine, logins, host).await.iter().for_each(|line| host.log.note(line));
}

/// The base images with their digests, and who has named them.
pub(crate) async fn found(
    images: &Images,
    engine: Option<&Engine>,
    logins: &Logins,
    host: &Host,
) -> [String; 2] {
    let describe = async |what: &str, image, named_by| {
        let found = match base_images::find(image, engine, logins, host).await {
            Ok(base) => base.record,
            Err(error) => format!("{image} (its digest is unknown: {})", error.cause()),
        };
        format!("{what:<22} {found}, by {named_by}")
    };
    let [build_by, runtime_by] = &images.named_by;
    let build = describe("build image", &images.build, build_by);
    let runtime = describe("runtime image", &images.runtime, runtime_by);
    futures_util::join!(build, runtime).into()
}
