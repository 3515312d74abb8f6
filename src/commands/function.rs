//! What the commands for a function's image share, which need no account scheme.

use std::path::PathBuf;

use crate::{
    base::error::{Error, Result},
    cli::args::Global,
    config::{
        component::{self, ComponentType, Function},
        settings::FunctionImages,
    },
    context,
    release::artifact::function::{Images, Profile},
    services::ci::host::Host,
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
