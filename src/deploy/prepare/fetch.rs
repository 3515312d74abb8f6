//! Fetches a release, unpacks it, and checks that it is the requested one and that its environment
//! has not moved to another account or region.

use std::{fs, path::Path};

use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        run_folder::PrivateFolder,
        units::bytes_text,
    },
    config::scheme::FrozenAccount,
    context::Context,
    deploy::order::Subject,
    release::{bundle, bundle::Unpacked, facts::ReleaseFacts, published},
};

/// Downloads the bundle into `private` and unpacks it there.
pub(crate) async fn fetch(
    context: &Context,
    subject: &Subject<'_>,
    private: &PrivateFolder,
) -> Result<Unpacked> {
    let (log, store) = (&context.host.log, &context.store);
    let key = subject.release.key();
    log.step(&format!("Fetch {}", store.describe(&key)));
    let Some(found) = store.head(&key).await? else {
        return Err(published::missing(store, &subject.release).await);
    };
    let archive = private.path().join("bundle.zip");
    let progress = log.progress("downloading", found.size);
    let advance = |bytes| progress.advance(bytes);
    let fetched = tokio::select! {
        fetched = store.fetch(&key, &archive, &advance) => fetched?,
        () = context.host.interrupt.arrived() => None,
    };
    drop(progress);
    context.host.interrupt.check("unpacking the release")?;
    let found = fetched.ok_or_else(|| {
        Error::new(
            Exit::Unavailable,
            format!("{} was deleted during the download", store.describe(&key)),
        )
    })?;
    let (into, expected) = (private.folder("bundle")?, published::promised_digest(&found)?);
    let from = archive.clone();
    let unpacked = tokio::task::spawn_blocking(move || bundle::unpack(&from, &into, expected));
    let unpacked =
        unpacked.await.map_err(|error| Error::internal("the bundle's reader failed").why(error))?;
    let unpacked = unpacked
        .map_err(|error| error.hint(format!("it was fetched from {}", store.describe(&key))))?;
    // Free the space: the unpacked files need as much again.
    fs::remove_file(&archive).map_err(|error| Error::io("can't remove", &archive, &error))?;
    check_recorded(subject, &unpacked)?;
    match (&unpacked.digest, &unpacked.manifest) {
        (Some(digest), Some(manifest)) => {
            log.note(&format!(
                "{}, {} files verified, bundle digest {digest}",
                bytes_text(found.size),
                manifest.files.len()
            ));
        }
        _ => log.warning(
            "this bundle has no manifest.json (another program made it), so its content is not \
             verified",
        ),
    }
    Ok(unpacked)
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
