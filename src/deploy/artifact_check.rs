//! Is what a release refers to still there? An image or a zip that has expired would break an apply half way, and a rollback in
//! the worst moment. Only what is known to be gone ends the run: where nobody can tell, Terraform may know better.

use std::time::Duration;

use crate::{
    base::error::{Error, Exit, Result},
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

/// A registry that this machine can't reach holds a deploy up no longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn check(
    context: &Context,
    version: &Version,
    account: &FrozenAccount,
    facts: &ReleaseFacts,
) -> Result<()> {
    if let Some(image) = facts.image_id().and_then(ImageReference::parse) {
        let looking =
            context.host.interrupt.or_cancel("looking for the image", has_image(context, &image));
        settle(context, version, &format!("the image `{image}`"), looking.await)?;
    }
    if let Some(LambdaZipObject { bucket, key }) = facts.lambda_zip(&account.region) {
        let store = lambda_store(context, bucket, &account.region)?;
        let looking = context
            .host
            .interrupt
            .or_cancel("looking for the function's zip", store.head(key))
            .await;
        let found = looking.map(|found| found.is_some());
        settle(context, version, &format!("the function's zip `{}`", store.describe(key)), found)?;
    }
    Ok(())
}

fn settle(context: &Context, version: &Version, what: &str, found: Result<bool>) -> Result<()> {
    match found {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::input(format!("{what} of release {version} is gone"))
            .why("it was deleted or has expired since it was released; nothing was planned")
            .hint("make the release again, as a new version: cdflow release VERSION")
            .hint("or deploy one whose artifact is still there")),
        Err(cancelled) if context.host.interrupt.requested().is_some() => Err(cancelled),
        Err(error) => {
            context
                .host
                .log
                .warning(&format!("nobody knows whether {what} is still there: {error}"));
            Ok(())
        }
    }
}

async fn has_image(context: &Context, image: &ImageReference) -> Result<bool> {
    let release = &context.scheme.release_account;
    match (image.ecr(), &context.release_session) {
        // DescribeImages is a right that a role for releases has; to pull is another.
        (Some((account, region)), Some(session)) if release.id.as_deref() == Some(account) => {
            let ecr = Ecr::new(&session.config, account.to_owned(), region.to_owned());
            Ok(ecr.image(&image.repository, &image.reference).await?.is_some())
        }
        _ => {
            let host = &context.host;
            let logins = Logins::gather(&[], &host.environment, &host.log.redactor)?;
            let registry = Registry::new(&image.host, logins.for_host(&image.host, host).await?)?;
            let asking =
                tokio::time::timeout(PATIENCE, registry.has(&image.repository, &image.reference));
            asking.await.unwrap_or_else(|_| {
                Err(Error::new(
                    Exit::Unavailable,
                    format!("the registry {} does not answer", image.host),
                ))
            })
        }
    }
}

/// The place that the release names; where it is, as far as the account scheme knows it.
fn lambda_store(context: &Context, bucket: &str, region: &str) -> Result<ReleaseStore> {
    let scheme = &context.scheme;
    let many = scheme.lambda_buckets.iter().map(|(region, place)| (region.as_str(), place));
    let one = scheme.lambda_bucket.iter().map(|place| (scheme.default_region.as_str(), place));
    let is_meant = |place: &Storage| match place {
        Storage::Bucket(name) => name == bucket,
        // A release does not name the folder, which differs from machine to machine.
        Storage::Directory(_) => bucket == lambda::LOCAL,
    };
    let known: Vec<(&str, &Storage)> =
        many.chain(one).filter(|(_, place)| is_meant(place)).collect();
    let here = known.iter().find(|(of, _)| *of == region).or(known.first());
    let unknown = Storage::Bucket(bucket.to_owned());
    let (region, place) = here.copied().unwrap_or((region, &unknown));
    context.store_at(place, region)
}
