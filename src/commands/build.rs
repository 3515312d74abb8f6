//! build: the image of a function component for this machine, without a release.

use std::collections::BTreeMap;

use crate::{
    base::error::{Error, Result},
    cli::args::{BuildInputs, Global},
    commands::function::FunctionComponent,
    config::names::Image,
    release::artifact::function::{
        self, Code, Images, Profile, default_tag, log_inputs, pin_bases,
    },
    services::{
        ci::host::Host,
        docker::engine::{Build, Engine, RegistryCredentials},
        registry::logins::Logins,
    },
};

/// Builds and tags the image, or with `--dry-run` prints what it would contain.
pub(crate) async fn run(global: &Global, inputs: &BuildInputs, host: &Host) -> Result<()> {
    let profile = if inputs.dev { Profile::Dev } else { Profile::Release };
    let component = FunctionComponent::open(global)?;
    let images = component.images(profile, &inputs.images, host)?;
    let code = Code::find(&component.folder)?;
    let context = code.context(profile, &images)?;
    let logins = Logins::gather(&[], &host.environment, &host.log.redactor)?;
    let tag = match &inputs.tag {
        Some(tag) => checked(tag)?,
        None => default_tag(profile, &component.folder, &logins, host).await?,
    };
    let engine = Engine::connect(host).await?;
    if inputs.dry_run {
        host.log.output(&format!("image                  {tag}"));
        code.dockerfile(profile, &images).lines().for_each(|line| host.log.output(line));
        log_inputs(&images, &context, Some(&engine), &logins, host).await;
        return Ok(());
    }
    host.log.step(&format!("Build the image {tag}"));
    let building = build(&code, profile, &images, &tag, &engine, &logins, host);
    host.interrupt.or_cancel("building the image", building).await?;
    host.log.done(&format!("Built {tag}: docker run --publish 8080:8080 {tag}"));
    Ok(())
}

fn checked(tag: &Image) -> Result<Image> {
    match tag.has_digest() {
        true => Err(Error::input(format!("an image cannot be named `{tag}`"))
            .why("the digest is known only after the build")
            .hint("remove `@` and what follows it")),
        false => Ok(tag.clone()),
    }
}

async fn build(
    code: &Code,
    profile: Profile,
    images: &Images,
    tag: &Image,
    engine: &Engine,
    logins: &Logins,
    host: &Host,
) -> Result<()> {
    let pinned = pin_bases(images, engine, logins, host).await?;
    let files = code.context(profile, &pinned.images)?;
    let build = Build {
        image: tag.to_string(),
        dockerfile: files.dockerfile.clone(),
        target: None,
        platform: None,
        arguments: BTreeMap::new(),
        labels: function::labels(&pinned.records),
        secrets: BTreeMap::new(),
        cache_from: None,
        credentials: RegistryCredentials::new(logins.all(host).await?),
    };
    engine.build_from(&build, files, &host.log).await
}
