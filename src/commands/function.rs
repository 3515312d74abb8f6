//! What `build` and `dockerfile` share: a function's folder and its base images.

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

/// A function's folder and settings.
pub(crate) struct FunctionComponent {
    pub(crate) folder: PathBuf,
    settings: Function,
}

impl FunctionComponent {
    /// Opens the component's folder. Without cdflow.yml it is one of roche, with default settings.
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
                "{}: the component is not of type `function`",
                component::FILE
            ))
            .why("only the image of a function is built with cdflow's own Dockerfile")
            .hint("set `type: function` in cdflow.yml; for type `docker`, use `docker build`")),
        }
    }

    /// Chooses the base images: by flags, environment, .rocherc, cdflow.yml, or roche's default.
    pub(crate) fn images(
        &self,
        profile: Profile,
        given: &FunctionImages,
        host: &Host,
    ) -> Result<Images> {
        Images::choose(profile, given, &self.folder, &self.settings, &host.environment)
    }
}
