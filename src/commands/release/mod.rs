//! release: find out everything, ask the store, build, initialise, push, bundle, and publish; the bundle last, because with it
//! the release exists.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use self::image::Image;
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        log::Log,
        run_folder::PrivateFolder,
        units::bytes_text,
    },
    cli::{args::ReleaseInputs, values::Datum},
    config::{component::ComponentType, identity::Release, scheme::Storage},
    context,
    context::Context,
    release::{
        artifact::{lambda, lambda::LambdaZip},
        bundle,
        bundle::{Bundle, Header, Source, StagedFile, TerraformIdentity},
        facts,
        facts::ReleaseFacts,
        init_access::Fetching,
        published,
        published::Published,
        source,
        source::{SourceFile, Sources, Staged, TreeFile, small},
    },
    report::{Outcome, Report},
    services::{
        ci::short,
        git::{Checkout, Git},
        store::{Content, Metadata, Put, ReleaseStore},
    },
    terraform::{
        Folder,
        code::{lockfile, modules},
        tool::Tool,
    },
};

pub(crate) mod github_release;
mod image;

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
const ACCOUNT_SCHEME: &str = "account-scheme.json";
const ZIP_DIGEST: &str = "cdflow-sha256";

pub(crate) async fn run(
    context: &Context,
    inputs: ReleaseInputs,
    report: &mut Report,
) -> Result<()> {
    let release = context.release(context.version(inputs.version.clone()).await?);
    make(context, &release, &inputs, report).await?;
    if inputs.create_github_release && !inputs.dry_run {
        github_release::complete(context, &release).await;
    }
    Ok(())
}

/// Nothing is done where the same release is there already.
pub(crate) async fn make(
    context: &Context,
    release: &Release,
    inputs: &ReleaseInputs,
    report: &mut Report,
) -> Result<()> {
    let log = &context.host.log;
    log.step(&format!("Release {} {}", context.identity.component, release.version));
    report.version = Some(release.version.to_string());
    let checkout = checkout(context).await?;
    report.commit = Some(checkout.commit.clone());
    let data = release_data(&inputs.build.release_data)?;
    let parts = read_parts(context, &checkout, inputs).await?;
    let sources = read_sources(context, &checkout, &inputs.build.platform_config, &data, &parts)?;
    let tool = context::locate_tool(&context.manifest, &context.host).await?;
    if inputs.dry_run {
        show(context, release, &sources, &checkout, &tool, &data, &parts).await?;
    }
    let asked = is_published(context, release, &sources);
    let asked = context.host.interrupt.or_cancel("asking the release store", asked).await;
    if inputs.dry_run {
        return tell_published(log, asked);
    }
    if asked? {
        report.outcome = Outcome::Released;
        report.release_key = Some(context.store.describe(&release.key()));
        tell_what_is_there(context, release, report).await;
        return Ok(());
    }

    let mut image = match parts {
        Parts::Image(parts) => {
            Some(Image::prepare(context, release, &checkout, *parts, sources.digest).await?)
        }
        Parts::Files(_) => None,
    };
    let private = PrivateFolder::create(&context.host.environment, &context.host.log)?;
    let zip = build(context, &sources, private.path())?;
    let places = match zip {
        Some(_) => context.scheme.lambda_places(context.manifest.multi_region)?,
        None => BTreeMap::new(),
    };
    log.step(&format!("Initialise with {} {}", tool.flavor.name(), tool.version));
    let staged = Staged::create(&sources, &private)?;
    let fetching =
        Fetching::prepare(&inputs.build.fetch, &context.host, &private, &context.pass_environment)?;
    init(context, &tool, &staged, &fetching).await?;
    let mut facts = data.clone();
    facts.extend(built_in(release, &checkout));
    facts.extend(zip.iter().flat_map(|zip| {
        lambda::metadata(zip, &release.key(), &places, context.manifest.multi_region)
    }));
    if let Some(image) = &mut image {
        context.host.interrupt.check("pushing the image")?;
        facts.extend(image.push().await?);
    }
    let facts = ReleaseFacts::new(&facts);
    let bundle = bundle(context, &sources, &staged, &tool, &facts, private.path()).await?;

    context.host.interrupt.check("publishing the release")?;
    if let Some(zip) = &zip {
        upload_zip(context, release, zip, &places).await?;
        report.lambda_key = Some(release.key());
    }
    publish(context, release, &sources, &bundle).await?;
    report.outcome = Outcome::Released;
    report.release_key = Some(context.store.describe(&release.key()));
    report.release_digest = Some(bundle.digest.to_string());
    if let Some(image) = &image {
        report.image_id = facts.image_id().map(str::to_owned);
        image.move_latest(&checkout.commit).await;
    }
    Ok(())
}

/// A job that is run again has the outputs of the first run. That they can't be read is not worth failing for.
async fn tell_what_is_there(
    context: &Context,
    release: &Release,
    report: &mut Report,
) -> Option<()> {
    let published = Published::open(&context.store, release).await.ok()??;
    report.release_digest = published.manifest().await.ok()?.map(|(digest, _)| digest.to_string());
    let facts = ReleaseFacts::parse(&published.read(facts::FILE).await.ok()??).ok()?;
    report.image_id = facts.image_id().map(str::to_owned);
    report.lambda_key = facts.lambda_key().map(str::to_owned);
    Some(())
}

/// What the artifact is made from.
enum Parts {
    Files(Vec<TreeFile>),
    Image(Box<image::Parts>),
}

async fn read_parts(
    context: &Context,
    checkout: &Checkout,
    inputs: &ReleaseInputs,
) -> Result<Parts> {
    match context.manifest.kind {
        ComponentType::Infrastructure => Ok(Parts::Files(Vec::new())),
        ComponentType::Lambda => lambda::files(
            &context.manifest,
            &context.identity.component,
            &context.folder,
            &checkout.root,
        )
        .map(Parts::Files),
        ComponentType::Function => image::Parts::read_function(context, inputs)
            .await
            .map(|parts| Parts::Image(Box::new(parts))),
        ComponentType::Docker => image::Parts::read(context, checkout, inputs)
            .await
            .map(|parts| Parts::Image(Box::new(parts))),
    }
}

/// What a real run would meet; a store that can't be asked yet does not spoil the look at the files.
fn tell_published(log: &Log, asked: Result<bool>) -> Result<()> {
    match asked {
        Err(error) if error.exit() != Exit::Refused => {
            log.note(&format!("the release store can't be asked: {error}"))
        }
        Err(refused) => return Err(refused),
        Ok(_) => {}
    }
    Ok(())
}

async fn checkout(context: &Context) -> Result<Checkout> {
    let host = &context.host;
    let git = Git::find(&host.environment.for_programs(), &host.log, &host.interrupt)?;
    let checkout = git.checkout(&context.folder).await?;
    if git.is_changed(&context.folder).await? {
        host.log.warning(&format!(
            "the checkout has changes that are not committed; the release says it is commit {}",
            short(&checkout.commit)
        ));
    }
    Ok(checkout)
}

fn release_data(given: &[Datum]) -> Result<BTreeMap<String, String>> {
    let mut data = BTreeMap::new();
    for Datum { key, value } in given {
        if BUILT_IN_DATA.contains(&key.as_str())
            || key.starts_with("s3_bucket.")
            || key.starts_with("image_")
        {
            return Err(Error::input(format!(
                "release data can't set `{}`, which cdflow sets itself",
                key.escape_debug()
            ))
            .hint("give it another name"));
        }
        if data.insert(key.clone(), value.clone()).is_some() {
            return Err(Error::input(format!("release data sets `{}` twice", key.escape_debug())));
        }
    }
    Ok(data)
}

fn built_in(release: &Release, checkout: &Checkout) -> BTreeMap<String, String> {
    let pairs = [
        ("commit", checkout.commit.clone()),
        ("version", release.version.to_string()),
        ("component", release.identity.component.to_string()),
        ("team", release.identity.team.to_string()),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

fn read_sources(
    context: &Context,
    checkout: &Checkout,
    platform_config: &[PathBuf],
    release_data: &BTreeMap<String, String>,
    parts: &Parts,
) -> Result<Sources> {
    let (artifact, artifact_shape) = match parts {
        Parts::Files(files) => (files.clone(), Value::Null),
        Parts::Image(image) => (image.sources.files(), image.sources.shape()?),
    };
    Sources::read(source::Request {
        identity: &context.identity,
        folder: &context.folder,
        root: &checkout.root,
        manifest_text: &context.manifest_text,
        platform_config,
        release_data,
        scheme: &context.scheme,
        artifact,
        artifact_shape,
    })
}

/// The store is asked before anything is built: a job that is run again must succeed, and a build may not be reproducible.
async fn is_published(context: &Context, release: &Release, sources: &Sources) -> Result<bool> {
    let Some(published) = Published::open(&context.store, release).await? else { return Ok(false) };
    let source = published.manifest().await?.map(|(_, manifest)| manifest.source_digest);
    if source == Some(sources.digest) {
        context.host.log.done(&format!(
            "Already released: {} was made from the same sources",
            context.store.describe(&release.key())
        ));
        return Ok(true);
    }
    let mut ours: Vec<(String, Sha256)> =
        sources.files.iter().map(|(name, file)| (name.clone(), file.sha256)).collect();
    ours.push((ACCOUNT_SCHEME.to_owned(), Sha256::of(context.scheme.raw.as_bytes())));
    Err(published::conflict(&published, release, &ours).await)
}

fn build(context: &Context, sources: &Sources, private: &Path) -> Result<Option<LambdaZip>> {
    if context.manifest.kind != ComponentType::Lambda {
        return Ok(None);
    }
    context.host.log.step("Build the function's zip");
    let zip = lambda::write(&sources.artifact, &private.join("function.zip"))?;
    context.host.log.note(&format!(
        "{} files, {}, SHA-256 {}",
        sources.artifact.len(),
        bytes_text(zip.size),
        zip.sha256
    ));
    Ok(Some(zip))
}

async fn init(context: &Context, tool: &Tool, staged: &Staged, fetching: &Fetching) -> Result<()> {
    let lock = staged.infra.join(lockfile::FILE);
    let committed = lockfile::read(&lock)?;
    let folder = Folder {
        tool: tool.clone(),
        host: context.host.clone(),
        infra: staged.infra.clone(),
        original: context.folder.join("infra"),
        env: fetching.env.clone(),
    };
    let initialised = folder.init_for_release().await;
    fetching.give_back(&context.host);
    initialised?;
    let locked = lockfile::read(&lock)?;
    lockfile::check_kept(&committed, &locked)?;
    for (address, provider) in &locked {
        if !committed.contains_key(address) {
            let advice = "commit infra/.terraform.lock.hcl, so that every release has the same";
            context.host.log.warning(&format!(
                "{address} {} is not in the lock file; {advice}",
                provider.version
            ));
        }
        if !provider.hashes.iter().any(|hash| hash.starts_with("h1:")) {
            return Err(Error::integrity(format!(
                "init gave {address} {} no h1 hash",
                provider.version
            ))
            .hint("run `terraform init` in infra/ and commit the lock file"));
        }
    }
    Ok(())
}

async fn bundle(
    context: &Context,
    sources: &Sources,
    staged: &Staged,
    tool: &Tool,
    facts: &ReleaseFacts,
    private: &Path,
) -> Result<Bundle> {
    context.host.log.step("Bundle");
    let mut files = staged.files(sources)?;
    let carried = sources.files.iter().filter(|(name, _)| !name.starts_with("infra/"));
    files.extend(carried.map(|(name, file)| StagedFile {
        name: name.clone(),
        source: Source::Path(file.path.clone()),
        executable: file.executable,
    }));
    files.push(small(facts::FILE, facts.to_bytes()));
    files.push(small(ACCOUNT_SCHEME, context.scheme.raw.clone().into_bytes()));
    let (source_digest, tool, to) = (sources.digest, tool.clone(), private.join("bundle.zip"));
    let written = tokio::task::spawn_blocking(move || {
        let header = Header { source_digest, terraform: identity(&tool)? };
        bundle::write(files, header, &to)
    });
    let bundle = written
        .await
        .map_err(|error| Error::internal("the bundle's writer failed").why(error))??;
    check_unchanged(sources, &bundle)?;
    let counts = format!("{} files, {}", bundle.manifest.files.len(), bytes_text(bundle.size));
    context.host.log.note(&format!("{counts}, bundle digest {}", bundle.digest));
    Ok(bundle)
}

/// The bundle has what the source digest was made of; init alone may add to the lock file.
fn check_unchanged(sources: &Sources, bundle: &Bundle) -> Result<()> {
    let lock_file = format!("infra/{}", lockfile::FILE);
    let carried = |(name, file): &(&String, &SourceFile)| {
        bundle.manifest.files.get(*name).map(|it| it.sha256) == Some(file.sha256)
    };
    if let Some((name, _)) =
        sources.files.iter().filter(|(name, _)| **name != lock_file).find(|entry| !carried(entry))
    {
        return Err(source::changed(name));
    }
    for (name, file) in &sources.outside {
        let entry = format!("modules/{}/{name}", modules::FROM_CHECKOUT);
        if !carried(&(&entry, file)) {
            return Err(source::changed(name));
        }
    }
    Ok(())
}

fn identity(tool: &Tool) -> Result<TerraformIdentity> {
    let sha256 = Sha256::of_file(&tool.program)
        .map_err(|error| Error::io("can't read", &tool.program, &error))?;
    Ok(TerraformIdentity {
        name: tool.flavor.name().to_owned(),
        version: tool.version.to_string(),
        sha256,
    })
}

/// To every place at once. The same zip there already is a success: an earlier try may have come no further.
async fn upload_zip(
    context: &Context,
    release: &Release,
    zip: &LambdaZip,
    places: &BTreeMap<String, Storage>,
) -> Result<()> {
    context.host.log.step("Upload the function's zip");
    let uploads = places.iter().map(|(region, place)| async move {
        let store = context.store_at(place, region)?;
        upload_zip_to(context, &store, &release.key(), zip).await
    });
    // All are waited for, also after a failure: an upload that is dropped would be left half done.
    futures_util::future::join_all(uploads).await.into_iter().collect()
}

async fn upload_zip_to(
    context: &Context,
    store: &ReleaseStore,
    key: &str,
    zip: &LambdaZip,
) -> Result<()> {
    let metadata = Metadata(BTreeMap::from([(ZIP_DIGEST.to_owned(), zip.sha256.to_string())]));
    let put = put(context, store, key, &zip.path, zip.size, &metadata).await?;
    let place = store.describe(key);
    if put == Put::Created {
        context.host.log.note(&place);
        return Ok(());
    }
    let there =
        match store.head(key).await?.and_then(|found| found.metadata.0.get(ZIP_DIGEST).cloned()) {
            Some(digest) => digest,
            // A folder keeps no metadata.
            None => digest_of(store, key).await?,
        };
    if there == zip.sha256.to_string() {
        context.host.log.note(&format!("{place} (already there, the same bytes)"));
        return Ok(());
    }
    Err(Error::refused(format!("{place} exists with other content"))
        .why(format!("its SHA-256 is {there}, the function's is {}", zip.sha256))
        .hint("release under a new version"))
}

async fn digest_of(store: &ReleaseStore, key: &str) -> Result<String> {
    const LAMBDA_ZIP_LIMIT: u64 = 300 << 20;
    Ok(store
        .get(key, LAMBDA_ZIP_LIMIT)
        .await?
        .map(|bytes| Sha256::of(&bytes).to_string())
        .unwrap_or_default())
}

async fn publish(
    context: &Context,
    release: &Release,
    sources: &Sources,
    bundle: &Bundle,
) -> Result<()> {
    context.host.log.step("Publish");
    let key = release.key();
    let metadata = published::metadata(bundle.digest, bundle.manifest.source_digest);
    match put(context, &context.store, &key, &bundle.path, bundle.size, &metadata).await? {
        Put::Created => {
            context.host.log.note(&context.store.describe(&key));
            context
                .host
                .log
                .done(&format!("Released {} {}", context.identity.component, release.version));
            Ok(())
        }
        // Another run was faster, or our own answer was lost on the way.
        Put::Exists => match is_published(context, release, sources).await? {
            true => Ok(()),
            false => Err(Error::new(
                Exit::Unavailable,
                format!("{} was there and is gone", context.store.describe(&key)),
            )
            .hint("somebody deletes releases; try again")),
        },
    }
}

/// A signal calls the upload off and leaves nothing behind.
async fn put(
    context: &Context,
    store: &ReleaseStore,
    key: &str,
    file: &Path,
    size: u64,
    metadata: &Metadata,
) -> Result<Put> {
    let interrupt = &context.host.interrupt;
    let progress = context.host.log.progress("uploading", size);
    let advance = |bytes| progress.advance(bytes);
    let cancelled = tokio::select! {
        put = store.put_new(key, Content::File(file), metadata, &advance) => return put,
        () = interrupt.arrived() => interrupt.requested().unwrap_or(Exit::Interrupted),
    };
    if let Err(left) = store.settle().await {
        context.host.log.warning(&left.to_string());
    }
    Err(Error::new(
        cancelled,
        format!("cancelled while {} was written: it is not published", store.describe(key)),
    ))
}

async fn show(
    context: &Context,
    release: &Release,
    sources: &Sources,
    checkout: &Checkout,
    tool: &Tool,
    data: &BTreeMap<String, String>,
    parts: &Parts,
) -> Result<()> {
    let log = &context.host.log;
    log.output(&format!("would be published as  {}", context.store.describe(&release.key())));
    log.output(&format!("source digest          {}", sources.digest));
    log.output(&format!("initialised with       {} {}", tool.flavor.name(), tool.version));
    for (key, value) in built_in(release, checkout).iter().chain(data) {
        log.output(&format!("release.{key:<14} {value}"));
    }
    if let Parts::Image(image) = parts {
        image.show(context, release).await?;
    } else if !sources.artifact.is_empty() {
        for (region, place) in context.scheme.lambda_places(context.manifest.multi_region)? {
            let store = context.store_at(&place, &region)?;
            log.output(&format!("function's zip         {}", store.describe(&release.key())));
        }
    }
    let artifact = if matches!(parts, Parts::Image(_)) { "build context" } else { "function" };
    let groups = [
        ("bundle", &sources.files),
        ("bundle, module", &sources.outside),
        (artifact, &sources.artifact),
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
    log.note("modules and providers come on top, at init");
    Ok(())
}
