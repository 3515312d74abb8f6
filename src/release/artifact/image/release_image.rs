//! The image of a release: adopted from the registry, or built.

use std::{collections::BTreeMap, path::Path};

use super::{
    name::{ImageName, registry_host},
    request,
    sources::ImageSources,
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        limits::Limit,
        process::{Life, Output, Program},
        run_as::RunAs,
    },
    config::{
        component::Docker,
        identity::Release,
        scheme::{AccountScheme, ImageRegistry},
    },
    release::{
        artifact::function::{self, Code, Images, Profile, pin_bases},
        built::Built,
    },
    services::{
        aws::session::Session,
        ci::host::Host,
        docker::{
            context::BuildContext,
            engine::{Engine, EngineAddress, RegistryCredentials},
        },
        git::{Checkout, Git},
        registry::{ImageManifest, Registry, logins::Logins},
    },
};

/// The engine, and what it builds from.
pub(crate) struct ImageInputs {
    /// None only in a dry run.
    pub(crate) engine: Option<Engine>,
    pub(crate) settings: Docker,
    pub(crate) logins: Logins,
    /// The code of a function, and its base images by name.
    pub(crate) function: Option<(Code, Images)>,
    pub(crate) sources: ImageSources,
}

/// Where an image goes, and how to get there.
pub(crate) struct ImageTarget<'a> {
    pub(crate) host: &'a Host,
    /// The folder of cdflow.yml.
    pub(crate) folder: &'a Path,
    pub(crate) scheme: &'a AccountScheme,
    pub(crate) registry: ImageRegistry,
    /// Of the release account; None where the scheme names no role.
    pub(crate) session: Option<&'a Session>,
}

/// An image that is built or adopted, and not necessarily pushed.
pub(crate) struct ReleaseImage<'a> {
    pub(super) target: ImageTarget<'a>,
    pub(super) engine: Engine,
    pub(super) settings: Docker,
    pub(super) logins: Logins,
    pub(super) function: Option<(Code, Images)>,
    pub(super) name: ImageName,
    pub(super) source: Sha256,
    /// Set if the registry already has the image.
    pub(super) existing: Option<ImageManifest>,
    /// Whether a pull request built it.
    pub(super) is_of_pull_request: bool,
}

impl<'a> ReleaseImage<'a> {
    /// Adopts the image that an earlier try pushed, or builds it and runs the hook. Pushes nothing.
    pub(crate) async fn prepare(
        target: ImageTarget<'a>,
        release: &Release,
        checkout: &Checkout,
        inputs: ImageInputs,
        source: Sha256,
        built: Option<&Built>,
    ) -> Result<Self> {
        let name = ImageName::new(registry_host(target.scheme)?, release)?;
        let host = target.host;
        let mut image = Self {
            engine: inputs
                .engine
                .ok_or_else(|| Error::internal("no Docker engine to build with"))?,
            target,
            settings: inputs.settings,
            logins: inputs.logins,
            function: inputs.function,
            name,
            source,
            existing: None,
            is_of_pull_request: false,
        };
        image.existing = host.interrupt.or_cancel("asking the registry", image.find()).await?;
        if let Some(existing) = &image.existing {
            host.log.step(&format!("Reuse the image {}", image.name.tag()));
            host.log.note(&format!(
                "an earlier try pushed it from the same sources: {}",
                existing.digest
            ));
            return Ok(image);
        }
        if let Some(built) = built {
            image.existing = image.take_over(built).await?;
            image.is_of_pull_request = image.existing.is_some();
        }
        if image.existing.is_none() {
            image.build(release, checkout, inputs.sources).await?;
        }
        Ok(image)
    }

    /// Tags the image that a pull request built with this version. Returns None if that cannot be
    /// done: then the image is built.
    async fn take_over(&self, built: &Built) -> Result<Option<ImageManifest>> {
        let host = self.target.host;
        host.log.step(&format!("Reuse the image of {}", built.version));
        let taken = host.interrupt.or_cancel("tagging the image", self.tag_as_ours(built)).await;
        match taken {
            Ok(Some(image)) => {
                host.log.note(&format!("made from the same sources: {}", image.digest));
                Ok(Some(image))
            }
            Ok(None) => {
                host.log.note("it no longer exists, so the image is built again");
                Ok(None)
            }
            Err(error) if host.interrupt.requested().is_some() => Err(error),
            Err(error) => {
                host.log.warning(&format!(
                    "cannot reuse the image of {}, so it is built again: {error}",
                    built.version
                ));
                Ok(None)
            }
        }
    }

    async fn tag_as_ours(&self, built: &Built) -> Result<Option<ImageManifest>> {
        let Some(digest) = built.digest_in(&self.name.repository()) else { return Ok(None) };
        let registry = Registry::new(&self.name.host, self.login().await?)?;
        match registry.tag(&self.name.path, digest, self.name.version.as_str()).await? {
            true => self.find().await,
            false => Ok(None),
        }
    }

    async fn build(
        &self,
        release: &Release,
        checkout: &Checkout,
        sources: ImageSources,
    ) -> Result<()> {
        let host = self.target.host;
        host.log.step(&format!("Build the image {}", self.name.tag()));
        let secrets = request::secrets(&self.settings.secrets, &host.environment, &host.log)?;
        let own = self.login().await?.map(|login| (self.name.host.clone(), login));
        // Of two logins for one registry the first counts, and ours is the newest.
        let credentials =
            RegistryCredentials::new(own.into_iter().chain(self.logins.all(host).await?));
        let git = Git::find(host)?;
        let origin = git.origin(self.target.folder).await?;
        let labels = request::labels(release, &checkout.commit, origin.as_deref(), self.source);
        let (files, base_labels) = self.pinned(sources.context).await?;
        let labels = labels.into_iter().chain(base_labels).collect();
        let build =
            request::build(&self.name, &self.settings, &files, labels, secrets, credentials);
        let building = self.engine.build_from(&build, files, &host.log);
        host.interrupt.or_cancel("building the image", building).await?;
        match &sources.hook {
            Some(hook) => self.run_hook(hook).await,
            None => Ok(()),
        }
    }

    /// Returns the build context and the labels that record the base images. A function's
    /// Dockerfile gets the digests that the base images have now.
    async fn pinned(
        &self,
        files: BuildContext,
    ) -> Result<(BuildContext, BTreeMap<String, String>)> {
        let Some((code, images)) = &self.function else { return Ok((files, BTreeMap::new())) };
        let host = self.target.host;
        let asking = pin_bases(images, &self.engine, &self.logins, host);
        let pinned = host.interrupt.or_cancel("asking for the base images", asking).await?;
        Ok((code.context(Profile::Release, &pinned.images)?, function::labels(&pinned.records)))
    }

    async fn run_hook(&self, hook: &Path) -> Result<()> {
        let host = self.target.host;
        host.log.step("Run on-docker-build");
        let mut env = host.environment.for_docker();
        let engine =
            || EngineAddress::find(&host.environment).map(|engine| engine.to_string().into());
        // It may write into the checkout, as its owner, but not use the engine's socket.
        let run_as = host.run_as.with_owner_of(self.target.folder);
        if host.environment.get("DOCKER_HOST").is_none() && run_as == RunAs::Ourselves {
            env.insert("DOCKER_HOST".into(), engine()?);
        }
        let life = Life::Stoppable { limit: Limit::BuildHook, stop: Limit::Stop };
        let program = Program::new(hook, self.target.folder, &env, run_as, life);
        let program = program.args([self.name.tag()]).with_output(Output::Pipe);
        let ended = program
            .relay(&host.log, &host.interrupt, &mut |line| host.log.program_output(line))
            .await?;
        host.interrupt.check("pushing the image")?;
        match ended.code {
            0 => Ok(()),
            code => Err(Error::new(
                Exit::BuildFailed,
                format!("`{}` failed with exit code {code}", hook.display()),
            )
            .why("nothing was pushed")
            .hint("read its output above; to reproduce, run it with the image's name as argument")),
        }
    }
}
