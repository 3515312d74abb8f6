//! `release --dry-run`: what a release would contain.

use std::collections::BTreeMap;

use super::inputs::ArtifactInputs;
use crate::{
    base::{
        error::{Exit, Result},
        log::Log,
        units::bytes_text,
    },
    config::identity::Release,
    context::Context,
    release::{
        artifact::{
            function::{Profile, describe_bases},
            image::{ImageInputs, ImageName, registry_host},
        },
        source::Sources,
    },
    terraform::tool::Tool,
};

pub(super) async fn show(
    context: &Context,
    release: &Release,
    sources: &Sources,
    tool: &Tool,
    facts: [&BTreeMap<String, String>; 2],
    artifact: &ArtifactInputs,
) -> Result<()> {
    let log = &context.host.log;
    log.output(&format!("would be published as  {}", context.store.describe(&release.key())));
    log.output(&format!("source digest          {}", sources.digest));
    log.output(&format!("initialised with       {}", tool.label()));
    if let Some(platforms) = &context.manifest.terraform_platforms {
        let names = platforms.names().collect::<Vec<_>>().join(", ");
        log.output(&format!("providers for          {names}"));
    }
    for (key, value) in facts.into_iter().flatten() {
        log.output(&format!("release.{key:<14} {value}"));
    }
    let artifact_group = match artifact {
        ArtifactInputs::Image(image) => {
            show_image(context, release, image).await?;
            "build context"
        }
        ArtifactInputs::Files(_) => {
            show_zip(context, release, sources)?;
            "function"
        }
    };
    let groups = [
        ("bundle", &sources.files),
        ("bundle, module", &sources.outside),
        (artifact_group, &sources.artifact),
    ];
    for (group, files) in groups {
        for (name, file) in files {
            log.output(&format!(
                "{group:<16} {:>10}  {name}{}",
                bytes_text(file.size),
                if file.executable { " *" } else { "" }
            ));
        }
    }
    log.output("bundle                      release.json, account-scheme.json, manifest.json");
    log.note("init adds modules and providers to this list");
    Ok(())
}

/// Returns the error that a real run would end with. A store that is not reachable yet does not
/// spoil the list of files.
pub(super) fn show_conflict(log: &Log, asked: Result<bool>) -> Result<()> {
    match asked {
        Err(error) if error.exit() != Exit::Refused => {
            log.note(&format!("cannot query the release store: {error}"))
        }
        Err(refused) => return Err(refused),
        Ok(_) => {}
    }
    Ok(())
}

fn show_zip(context: &Context, release: &Release, sources: &Sources) -> Result<()> {
    if sources.artifact.is_empty() {
        return Ok(());
    }
    for (region, place) in context.scheme.lambda_places(context.manifest.multi_region)? {
        let store = context.store_at(&place, &region)?;
        let zip = store.describe(&release.key());
        context.host.log.output(&format!("Lambda zip             {zip}"));
    }
    Ok(())
}

async fn show_image(context: &Context, release: &Release, image: &ImageInputs) -> Result<()> {
    let log = &context.host.log;
    let line = |what: &str, value: &str| log.output(&format!("{what:<22} {value}"));
    line("image", &ImageName::new(registry_host(&context.scheme)?, release)?.tag());
    if let Some((code, images)) = &image.function {
        let engine = image.engine.as_ref();
        for base in describe_bases(images, engine, &image.logins, &context.host).await {
            log.output(&base);
        }
        let dockerfile = code.dockerfile(Profile::Release, images);
        dockerfile.lines().for_each(|line| log.output(&format!("Dockerfile    {line}")));
        return Ok(());
    }
    let settings = &image.settings;
    line("Dockerfile", &image.sources.context.dockerfile);
    image.sources.bases.iter().for_each(|base| line("built from", base));
    settings.target.iter().for_each(|target| line("target", target));
    settings.platforms.iter().for_each(|platform| line("platform", &platform.0));
    settings.build_args.keys().for_each(|name| line("build argument", name));
    settings.secrets.iter().for_each(|name| line("build secret", &name.0));
    Ok(())
}
