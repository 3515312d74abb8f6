//! Fetches a release, unpacks it, and checks that it is the requested one and that its environment
//! has not moved to another account or region.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    base::{
        blocking::blocking,
        digest::Sha256,
        error::{Error, Exit, Result},
        log::Progress,
        run_folder::PrivateFolder,
        units::bytes_text,
    },
    config::scheme::FrozenAccount,
    context::Context,
    deploy::order::Subject,
    release::{
        bundle,
        bundle::Unpacked,
        facts::ReleaseFacts,
        file_cache::{CachedFiles, FileCache},
        partial_fetch::FetchPlan,
        published,
    },
    services::store::ObjectInfo,
};

/// An unpacked release, and the files of it that came from the cache.
pub(crate) struct Fetched {
    pub(crate) bundle: Unpacked,
    pub(crate) cached: CachedFiles,
    pub(crate) cache: Option<FileCache>,
}

/// Downloads the bundle into `private` and unpacks it there. Files that the machine's cache has are
/// neither downloaded nor unpacked.
pub(crate) async fn fetch(
    context: &Context,
    subject: &Subject<'_>,
    private: &PrivateFolder,
) -> Result<Fetched> {
    let (log, store) = (&context.host.log, &context.store);
    let key = subject.release.key();
    log.step(&format!("Fetch {}", store.describe(&key)));
    let Some(found) = store.head(&key).await? else {
        return Err(published::missing(store, &subject.release).await);
    };
    let cache = FileCache::open(context.cache_dir.as_ref(), &context.host)?;
    let expected = published::promised_digest(&found)?;
    let archive = private.path().join("bundle.zip");
    let plan = tokio::select! {
        plan = download(context, &key, &found, expected, cache.as_ref(), &archive) => Some(plan?),
        () = context.host.interrupt.arrived() => None,
    };
    context.host.interrupt.check("unpacking the release")?;
    let Some(plan) = plan else { return Err(Error::internal("nothing was downloaded")) };
    let (received, total) = (plan.received(), plan.total());
    let segments: Vec<String> = plan.segments().map(|key| store.describe(key)).collect();
    let cached = plan.cached;
    let count = cached.len();
    let unpacking = Unpacking {
        archive,
        into: private.folder("bundle")?,
        expected,
        cached,
        cache: cache.clone(),
        progress: context.host.progress("unpacking the bundle", None),
    };
    let unpacked = blocking(move || unpacking.run()).await;
    let (bundle, files) = unpacked.map_err(|error| {
        with_advice(error, &segments).hint(format!("it was fetched from {}", store.describe(&key)))
    })?;
    check_recorded(subject, &bundle)?;
    match (&bundle.digest, &bundle.manifest) {
        (Some(digest), Some(manifest)) => {
            let size = match count {
                0 => bytes_text(total),
                _ => format!("{} of {}", bytes_text(received), bytes_text(total)),
            };
            let from_cache = match count {
                0 => String::new(),
                count => format!(" ({count} from the cache)"),
            };
            let digest = context.host.screen().digest(digest);
            log.note(&format!(
                "{size}, {} files verified{from_cache}, bundle digest {digest}",
                manifest.files.len()
            ));
        }
        _ => log.warning(
            "this bundle has no manifest.json (another program made it), so its content is not \
             verified",
        ),
    }
    Ok(Fetched { bundle, cached: files, cache })
}

/// Says what to do with a damaged bundle. `segments` are its shared segments.
fn with_advice(error: Error, segments: &[String]) -> Error {
    if error.exit() != Exit::Integrity {
        return error;
    }
    let kept = "Nothing of the bundle was used, and cdflow never repairs one";
    match segments {
        [] => {
            error.hint(format!("try again; if the error persists, publish a new version. {kept}"))
        }
        segments => error.hint(format!("try again. {kept}")).hint(format!(
            "if a file of `providers/` is rejected again, move its shared segment away, and \
             release the same source as a new version: that uploads the segment for all versions \
             that use it. The segments are {}",
            segments.join(", ")
        )),
    }
}

/// Downloads what the cache does not have.
async fn download<'a>(
    context: &'a Context,
    key: &'a str,
    found: &'a ObjectInfo,
    expected: Option<Sha256>,
    cache: Option<&FileCache>,
    to: &Path,
) -> Result<FetchPlan<'a>> {
    let (log, store) = (&context.host.log, &context.store);
    let downloading = async {
        let plan = FetchPlan::new(store, key, found, expected, cache).await?;
        let progress = log.progress("downloading", plan.size());
        plan.fetch(to, &|bytes| progress.advance(bytes)).await?;
        Ok::<_, Error>(plan)
    };
    match downloading.await {
        // What a deletion causes.
        Err(error)
            if matches!(error.exit(), Exit::Integrity | Exit::Input)
                && matches!(store.head(key).await, Ok(None)) =>
        {
            let what = format!("{} was deleted during the download", store.describe(key));
            Err(Error::new(Exit::Unavailable, what).why(error.story()))
        }
        downloaded => downloaded,
    }
}

/// What a thread needs to unpack a bundle.
struct Unpacking {
    archive: PathBuf,
    into: PathBuf,
    expected: Option<Sha256>,
    cached: CachedFiles,
    cache: Option<FileCache>,
    progress: Progress,
}

impl Unpacking {
    /// Returns the bundle, and the files that were in the cache. Keeps the others there.
    fn run(self) -> Result<(Unpacked, CachedFiles)> {
        let Self { archive, into, expected, cached, cache, progress } = self;
        let unpack = || bundle::unpack(&archive, &into, expected, &cached, &progress);
        let unpacked = unpack().or_else(|error| match &cache {
            // The disk is too small, or full: the cache must not be the reason.
            Some(cache) if error.exit() == Exit::Input && cache.clear() => unpack(),
            _ => Err(error),
        })?;
        // Free the space: the unpacked files need as much again.
        fs::remove_file(&archive).map_err(|error| Error::io("can't remove", &archive, &error))?;
        let files = unpacked.manifest.iter().flat_map(|manifest| &manifest.files);
        for (name, file) in files.filter(|(name, file)| file.is_kept(name)) {
            progress.step(0)?;
            match &cache {
                Some(cache) if !cached.contains_key(&file.sha256) => {
                    cache.keep(&into.join(name), file.sha256);
                }
                _ => {}
            }
        }
        Ok((unpacked, cached))
    }
}

impl Fetched {
    /// Explains a failed `terraform init`, which checks the providers again: removes cached files
    /// whose content has changed, although size, time and inode have not.
    pub(crate) async fn explain(self, error: Error) -> Error {
        let Self { cached, cache, .. } = self;
        let Some(cache) = cache.filter(|_| !cached.is_empty()) else {
            return error;
        };
        let checking =
            blocking(move || Ok(cached.values().filter(|file| cache.check_again(file)).count()));
        match checking.await {
            Ok(1..) => error.hint("deploy again: a damaged provider was removed from the cache"),
            _ => error,
        }
    }
}

/// Fails if the bytes of the release have changed since it was deployed here.
fn check_recorded(subject: &Subject<'_>, unpacked: &Unpacked) -> Result<()> {
    let Some(recorded) =
        subject.recorded.as_ref().filter(|recorded| recorded.version == subject.release.version)
    else {
        return Ok(());
    };
    if recorded.bundle_digest == unpacked.digest {
        return Ok(());
    }
    let text = |digest: Option<Sha256>| {
        digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string())
    };
    Err(Error::integrity(format!(
        "release {} has changed since it was deployed to `{}`",
        subject.release.version,
        subject.environment()
    ))
    .why(format!(
        "the ledger records the bundle digest {}, but the store has {}",
        text(recorded.bundle_digest),
        text(unpacked.digest)
    ))
    .hint("find out who replaced a published release, and deploy a new version"))
}

/// Checks that the bundle is of this component and version, and returns where its environment was
/// at the release. That must still be the place.
pub(crate) fn check_bundle(
    context: &Context,
    subject: &Subject<'_>,
    bundle: &Unpacked,
    facts: &ReleaseFacts,
) -> Result<FrozenAccount> {
    let identity = &subject.release.identity;
    let expected = [
        ("team", identity.team.as_str()),
        ("component", identity.component.as_str()),
        ("version", subject.release.version.as_str()),
    ];
    for (key, expected) in expected {
        let found = facts.get(key);
        if *found != *expected {
            return Err(Error::input(format!(
                "the bundle is not the requested release: its {key} is {found}, not \"{expected}\""
            ))
            .hint(
                "check `team` and `component` in cdflow.yml, and whether the bundle was copied",
            ));
        }
    }
    let raw = read(&bundle.root, "account-scheme.json")?;
    let frozen =
        FrozenAccount::find(&raw, &identity.team, context.scheme.listed_as(subject.environment()))?;
    let live = subject.target.account;
    if frozen.id != live.id || frozen.region != live.region {
        let place = |id: &Option<String>, region: &str| {
            format!("account {} in {region}", id.as_deref().unwrap_or("(local)"))
        };
        return Err(Error::input(format!(
            "the environment `{}` has moved since the release",
            subject.environment()
        ))
        .why(format!(
            "it was in {}, and the account scheme now has it in {}",
            place(&frozen.id, &frozen.region),
            place(&live.id, &live.region)
        ))
        .hint("release again for the new place, or correct the account scheme"));
    }
    Ok(frozen)
}

fn read(root: &Path, name: &str) -> Result<String> {
    fs::read_to_string(root.join(name))
        .map_err(|error| Error::integrity(format!("the bundle's {name} cannot be read")).why(error))
}
