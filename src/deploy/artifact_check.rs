//! Checks that the image or Lambda zip of a release still exists. An expired one would break an
//! apply half way, and a rollback at the worst moment. Only a confirmed absence ends the run: if
//! cdflow cannot look, Terraform might still be able to.

use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
    },
    config::{
        names::Version,
        scheme::{FrozenAccount, Storage},
    },
    context::Context,
    release::{
        artifact::{image_reference::ImageReference, lambda},
        facts::{LambdaZipObject, ReleaseFacts},
    },
    services::{
        aws::ecr::Ecr,
        registry::{Registry, logins::Logins},
        store::ReleaseStore,
    },
};

/// Fails with `Exit::Input` if the artifact of `version` does not exist any more.
pub(crate) async fn check(
    context: &Context,
    version: &Version,
    account: &FrozenAccount,
    facts: &ReleaseFacts,
) -> Result<()> {
    if let Some(image) = facts.image_id().and_then(ImageReference::parse) {
        let looking =
            context.host.interrupt.or_cancel("looking for the image", has_image(context, &image));
        judge(context, version, &format!("the image `{image}`"), looking.await)?;
    }
    if let Some(LambdaZipObject { bucket, key }) = facts.lambda_zip(&account.region) {
        let store = lambda_store(context, bucket, &account.region)?;
        let looking = context
            .host
            .interrupt
            .or_cancel("looking for the function's zip", store.head(key))
            .await;
        let found = looking.map(|found| found.is_some());
        judge(context, version, &format!("the function's zip `{}`", store.describe(key)), found)?;
    }
    Ok(())
}

fn judge(context: &Context, version: &Version, what: &str, found: Result<bool>) -> Result<()> {
    match found {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::input(format!("{what} of release {version} no longer exists"))
            .why("it was deleted or has expired since the release; nothing was planned")
            .hint("release again, as a new version: cdflow release VERSION")
            .hint("or deploy another version whose artifact still exists")),
        Err(cancelled) if context.host.interrupt.requested().is_some() => Err(cancelled),
        Err(error) => {
            context.host.log.warning(&format!("cannot check whether {what} still exists: {error}"));
            Ok(())
        }
    }
}

async fn has_image(context: &Context, image: &ImageReference) -> Result<bool> {
    let release = &context.scheme.release_account;
    match (image.ecr(), &context.release_session) {
        // The release role may call DescribeImages; it might not be allowed to pull.
        (Some((account, region)), Some(session)) if release.id.as_deref() == Some(account) => {
            let ecr = Ecr::new(&session.config, account.to_owned(), region.to_owned());
            Ok(ecr.image(&image.repository, &image.reference).await?.is_some())
        }
        _ => {
            let host = &context.host;
            let logins = Logins::gather(&[], &host.environment, &host.log.redactor)?;
            let registry = Registry::new(&image.host, logins.for_host(&image.host, host).await?)?;
            let asking = tokio::time::timeout(
                Limit::ArtifactCheck.time(),
                registry.has(&image.repository, &image.reference),
            );
            asking.await.unwrap_or_else(|_| {
                Err(Error::new(
                    Exit::Unavailable,
                    Limit::ArtifactCheck
                        .passed(&format!("the registry {} did not answer", image.host)),
                ))
            })
        }
    }
}

/// Returns the store that the release names, in the region that the account scheme gives it.
fn lambda_store(context: &Context, bucket: &str, region: &str) -> Result<ReleaseStore> {
    let scheme = &context.scheme;
    let many = scheme.lambda_buckets.iter().map(|(region, place)| (region.as_str(), place));
    let one = scheme.lambda_bucket.iter().map(|place| (scheme.default_region.as_str(), place));
    let is_named = |place: &Storage| match place {
        Storage::Bucket(name) => name == bucket,
        // A release does not record the folder, which differs between machines.
        Storage::Directory(_) => bucket == lambda::LOCAL,
    };
    let known: Vec<(&str, &Storage)> =
        many.chain(one).filter(|(_, place)| is_named(place)).collect();
    let here = known.iter().find(|(of, _)| *of == region).or(known.first());
    let unknown = Storage::Bucket(bucket.to_owned());
    let (region, place) = here.copied().unwrap_or((region, &unknown));
    context.store_at(place, region)
}
