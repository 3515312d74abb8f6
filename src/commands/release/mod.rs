//! `release`: the order of its steps. The bundle is published last, because with it the release
//! exists.

use std::collections::BTreeMap;

use self::{
    inputs::{ArtifactInputs, built_in, checkout, read_artifact_inputs, release_data},
    type_check::TypeCheck,
};
use crate::{
    base::{
        error::{Error, Result},
        run_folder::PrivateFolder,
    },
    cli::args::ReleaseInputs,
    config::{component::ComponentType, identity::Release},
    context::Context,
    release::{
        artifact::{image::ReleaseImage, lambda, lambda_upload},
        assemble::Assembly,
        built, deletion,
        facts::ReleaseFacts,
        hooks,
        init::init,
        init_access::InitAccess,
        lock_command::LockCommand,
        lock_file::LockFile,
        platforms::{Folders, Platforms},
        policy_check,
        publish::Publication,
        published::Published,
        shared_segments::SegmentStorage,
        source::Staged,
        validate::validate,
        value_check::ValueCheck,
    },
    report::{Outcome, Report},
};

mod data_check;
mod dry_run;
pub(crate) mod github_release;
mod inputs;
mod secret_check;
mod type_check;
mod version_check;

const ALREADY_RELEASED: &str = "--write-lock-file wrote nothing, because the release exists and \
                                was not made again\n  -> release another version";

pub(crate) async fn run(
    context: &Context,
    inputs: ReleaseInputs,
    report: &mut Report,
) -> Result<()> {
    let release = context.release(context.version(inputs.version.clone()).await?);
    if let Some(given) = &inputs.version {
        version_check::warn_of_range(given, &context.host.log, report);
    }
    make(context, &release, &inputs, report).await?;
    if inputs.create_github_release && !inputs.dry_run {
        github_release::complete(context, &release).await;
    }
    Ok(())
}

/// Publishes the release, or succeeds at once if the store already has it from the same sources.
pub(crate) async fn make(
    context: &Context,
    release: &Release,
    inputs: &ReleaseInputs,
    report: &mut Report,
) -> Result<()> {
    let (host, log) = (&context.host, &context.host.log);
    log.step(&format!("Release {} {}", context.identity.component, release.version));
    report.version = Some(release.version.to_string());
    let checkout = checkout(context).await?;
    report.commit = Some(checkout.commit.clone());
    inputs::warn_of_namesakes(context, &checkout, report).await?;
    let data = release_data(&inputs.build.release_data)?;
    let artifact = read_artifact_inputs(context, &checkout, inputs).await?;
    let platform_config = &inputs.build.platform_config;
    let sources = inputs::sources(context, &checkout, platform_config, &data, &artifact)?;
    inputs::check_files(context, &sources, &artifact)?;
    hooks::check(&sources.hooks, &sources.files)?;
    let what = format!("release {}", release.version);
    let digest = |file: &str| sources.files.get(file).map(|it| it.sha256);
    policy_check::check_hooks(&context.scheme, &sources.hooks, digest, &what)?;
    inputs::warn_of_lost_files(log, &sources, report);
    inputs::note_code(log, &sources);
    let tool = context.obtain_tool(&sources.required_versions).await?;
    let built_in = built_in(release, &checkout);
    if inputs.dry_run {
        dry_run::show(context, release, &sources, &tool, [&built_in, &data], &artifact).await?;
    }
    let mut facts = data;
    facts.extend(built_in);
    let publication = Publication {
        host,
        store: &context.store,
        release,
        sources: &sources,
        scheme: &context.scheme,
    };
    // Before the build: a job that runs again must succeed, and a build might not be reproducible.
    let asking = publication.is_published();
    let asked = host.interrupt.or_cancel("asking the release store", asking).await;
    if inputs.dry_run {
        return dry_run::show_conflict(log, asked);
    }
    if asked? {
        if inputs.write_lock_file {
            inputs::warn(log, ALREADY_RELEASED, report);
        }
        report.outcome = Outcome::Released;
        report.release_key = Some(context.store.describe(&release.key()));
        report_published(context, release, report).await;
        warn_of_deletion(context, release, report).await;
        return Ok(());
    }

    let private = PrivateFolder::create(&host.environment, log)?;
    let staged = Staged::create(&sources, &private)?;
    let (cache, passed) = (context.cache_dir.as_ref(), &context.pass_environment);
    let mut access = InitAccess::prepare(&inputs.build.fetch, cache, host, &private, passed)?;
    if !inputs.build.no_validate {
        let check = ValueCheck {
            host,
            tool: &tool,
            identity: &context.identity,
            component: &context.folder,
            scheme: &context.scheme,
            deploy: &context.manifest.deploy,
            sources: &sources,
            private: &private,
            access: &access,
        };
        check.run().await?;
        let check = TypeCheck {
            host,
            tool: &tool,
            component: &context.folder,
            kind: context.manifest.kind,
            sources: &sources,
            private: &private,
            access: &access,
            facts: &facts,
        };
        check.run().await?;
        data_check::check(&context.folder, context.manifest.kind, &sources, &facts)?;
        secret_check::check(context, &sources).await?;
    }
    let finding = built::find(host, &context.store, release, sources.digest);
    let built = host.interrupt.or_cancel("asking the release store", finding).await?;
    let mut image = match artifact {
        ArtifactInputs::Image(inputs) => {
            let target = inputs::image_target(context)?;
            let (source, built) = (sources.digest, built.as_ref());
            Some(ReleaseImage::prepare(target, release, &checkout, *inputs, source, built).await?)
        }
        ArtifactInputs::Files(_) => None,
    };
    let is_lambda = context.manifest.kind == ComponentType::Lambda;
    let zip = is_lambda.then(|| lambda::build(&sources, private.path(), host)).transpose()?;
    let buckets = match zip {
        Some(_) => context.scheme.lambda_places(context.manifest.multi_region)?,
        None => BTreeMap::new(),
    };
    log.step(&format!("Initialize with {}", tool.label()));
    let committed = staged.locked()?;
    let initialised = init(host, &tool, &context.folder, &staged, &committed, &mut access).await;
    let folders = Folders { staged: &staged, private: &private };
    let wanted = context.manifest.terraform_platforms.as_ref();
    let names: Vec<&str> = wanted.iter().flat_map(|it| it.names()).collect();
    let lock = LockCommand {
        host,
        flavor: tool.flavor,
        env: &host.environment.for_fetching(passed),
        component: &context.folder,
        platforms: &names,
    };
    let platforms = Platforms {
        host,
        tool: &tool,
        access: &access,
        committed: &committed,
        lock: &lock,
        folders,
    };
    if let Err(error) = initialised {
        return Err(platforms.explain(error).await);
    }
    if wanted.is_some() {
        log.step(&format!("Providers for {}", names.join(", ")));
        let completed = platforms.complete(&names).await;
        access.restore_owner(host);
        completed?;
    }
    policy_check::check(&context.scheme, &tool, &staged.infra, &what)?;
    let lock_file = LockFile {
        component: &context.folder,
        staged: &staged,
        committed: &committed,
        command: &lock,
    };
    match inputs.write_lock_file {
        true => lock_file.write(log).await?,
        false => lock_file.warning().await?.iter().for_each(|it| inputs::warn(log, it, report)),
    }
    facts.extend(zip.iter().flat_map(|zip| {
        lambda::metadata(zip, &release.key(), &buckets, context.manifest.multi_region)
    }));
    if !inputs.build.no_validate {
        validate(host, &tool, &context.folder, &staged, &access).await?;
    }
    if let Some(image) = &mut image {
        host.interrupt.check("pushing the image")?;
        facts.extend(image.push().await?);
    }
    let facts = ReleaseFacts::new(&facts);
    let scheme = &context.scheme;
    let assembly = Assembly {
        host,
        sources: &sources,
        staged: &staged,
        tool: &tool,
        facts: &facts,
        scheme,
        to: private.path(),
    };
    let storage = SegmentStorage::of(context.manifest.release.providers, &release.version);
    let bundle = assembly.write(&context.store, release, storage).await?;
    if let Some(warning) = built.and_then(|built| built.compare(&bundle.manifest, log)) {
        inputs::warn(log, &warning, report);
    }

    host.interrupt.check("publishing the release")?;
    if let Some(zip) = &zip {
        let stores = buckets.iter().map(|(region, bucket)| context.store_at(bucket, region));
        lambda_upload::upload(host, &release.key(), zip, &stores.collect::<Result<Vec<_>>>()?)
            .await?;
        report.lambda_key = Some(release.key());
    }
    publication.publish(&bundle, &assembly).await?;
    report.outcome = Outcome::Released;
    report.release_key = Some(context.store.describe(&release.key()));
    report.release_digest = Some(bundle.digest.to_string());
    built::remember(host, &context.store, release, sources.digest).await;
    if let Some(image) = &image {
        report.image_id = facts.image_id().map(str::to_owned);
        image.move_latest(&checkout.commit).await;
    }
    check_signal(context, release)?;
    warn_of_deletion(context, release, report).await;
    Ok(())
}

/// A deletion that was killed leaves its mark. Failing to read it fails nothing.
async fn warn_of_deletion(context: &Context, release: &Release, report: &mut Report) {
    if let Ok(Some(warning)) = deletion::warning(&context.store, release).await {
        inputs::warn(&context.host.log, &warning, report);
    }
}

/// Fails after a signal that came too late: the release exists.
fn check_signal(context: &Context, release: &Release) -> Result<()> {
    let Some(exit) = context.host.interrupt.requested() else { return Ok(()) };
    let place = context.store.describe(&release.key());
    Err(Error::new(exit, format!("cancelled, but the release is published: {place}"))
        .hint("run the release again to complete what follows it"))
}

/// Gives a job that runs again the outputs of the first run. Failing to read them fails nothing.
async fn report_published(context: &Context, release: &Release, report: &mut Report) -> Option<()> {
    let published = Published::open(&context.store, release).await.ok()??;
    report.release_digest = published.manifest.as_ref().map(|(digest, _)| digest.to_string());
    let facts = published.facts().await.ok()?;
    report.image_id = facts.image_id().map(str::to_owned);
    report.lambda_key = facts.lambda_key().map(str::to_owned);
    Some(())
}
