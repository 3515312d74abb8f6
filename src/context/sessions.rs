//! The AWS identities of a run, and the stores that they give access to.

use std::sync::Arc;

use crate::{
    base::error::{Error, Result},
    config::{
        component::SchemeUrl,
        scheme::{Account, AccountScheme, Encryption, StateBackend, Storage},
        settings::AwsInputs,
    },
    services::{
        aws::{
            region::NamedRegion,
            session::{RootSession, Session},
        },
        ci::host::Host,
        store::{DirectoryStore, ReleaseStore, S3Store},
    },
};

/// The region in which the account scheme's bucket is looked for by default. If the bucket is in
/// another region, the answer of S3 names it.
pub(super) const FIRST_REGION: &str = "us-east-1";

/// Starts the session that reads the account scheme. Returns `None` for a scheme in a local file.
pub(crate) async fn first_session(
    url: &SchemeUrl,
    aws: &AwsInputs,
    host: &Host,
) -> Result<Option<RootSession>> {
    match url {
        SchemeUrl::Path(_) => Ok(None),
        SchemeUrl::S3 { .. } => {
            let needed_by = format!("the account scheme is {url}");
            let region = first_region(aws, host);
            RootSession::start(&region, &needed_by, aws, &host.environment, &host.log)
                .await
                .map(Some)
        }
    }
}

fn first_region(aws: &AwsInputs, host: &Host) -> NamedRegion {
    let named = |(name, from): (&str, &str)| NamedRegion { name: name.into(), from: from.into() };
    let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
    let mut set = variables.filter_map(|name| Some((host.environment.get(name)?, name)));
    let flag =
        aws.aws_region.as_deref().map(|name| (name, "--aws-region (the input `aws-region`)"));
    named(flag.or_else(|| set.next()).unwrap_or((FIRST_REGION, "AWS_REGION")))
}

/// Starts the session that assumes the roles of the scheme, in its default region.
pub(crate) async fn root_session(
    scheme: &AccountScheme,
    aws: &AwsInputs,
    host: &Host,
) -> Result<RootSession> {
    let NeededBy { key, value } = needed_by(scheme);
    let needed_by = format!("`{key}` of {} is {value}", scheme.file);
    let region = NamedRegion {
        name: scheme.default_region.clone(),
        from: format!("`default-region` of {}", scheme.file),
    };
    RootSession::start(&region, &needed_by, aws, &host.environment, &host.log).await
}

/// A key of an account scheme that leads to AWS.
struct NeededBy<'s> {
    key: &'static str,
    value: &'s str,
}

fn needed_by(scheme: &AccountScheme) -> NeededBy<'_> {
    match (&scheme.release_bucket, &scheme.backend) {
        (Storage::Bucket(bucket), _) => NeededBy { key: "release-bucket", value: bucket },
        (_, StateBackend::S3 { bucket, .. }) => {
            NeededBy { key: "terraform-backend-s3-bucket", value: bucket }
        }
        _ => NeededBy { key: "release-account", value: &scheme.release_account.alias },
    }
}

/// Returns whether releases, states or the release account are in AWS.
pub(crate) fn needs_aws(scheme: &AccountScheme) -> bool {
    matches!(scheme.release_bucket, Storage::Bucket(_))
        || !matches!(scheme.backend, StateBackend::Local { .. })
        || scheme.release_account.role.is_some()
}

/// Assumes `role` in `account`. Returns `None` without a root session, a role or an account ID.
pub(crate) async fn session(
    root: Option<&RootSession>,
    account: &Account,
    role: Option<&str>,
) -> Result<Option<Arc<Session>>> {
    match (root, role, &account.id) {
        (Some(root), Some(role), Some(_)) => Ok(Some(Arc::new(root.assume(account, role).await?))),
        _ => Ok(None),
    }
}

/// Returns the store at `place`. A bucket needs a session, and gets `encryption` with each write.
pub(crate) fn store_at(
    place: &Storage,
    region: &str,
    session: Option<&Session>,
    encryption: impl Fn(&str) -> Option<Encryption>,
) -> Result<ReleaseStore> {
    match (place, session) {
        (Storage::Directory(directory), _) => {
            Ok(ReleaseStore::Directory(DirectoryStore::new(directory.clone())))
        }
        (Storage::Bucket(bucket), Some(session)) => {
            let owner = session.account_id.clone();
            let store = S3Store::new(&session.config, bucket.clone(), region.to_owned(), owner);
            Ok(ReleaseStore::S3(store.encrypted(encryption(bucket))))
        }
        (Storage::Bucket(bucket), None) => {
            Err(Error::input(format!("cannot access the bucket `{bucket}` without a role"))
                .hint("add `id` and `role` to the release account in the account scheme"))
        }
    }
}

/// Returns the store of a bucket whose region and owner are unknown. `region` is the first guess.
pub(crate) async fn foreign_store(session: &Session, bucket: &str, region: &str) -> S3Store {
    let store =
        |region: &str| S3Store::new(&session.config, bucket.to_owned(), region.to_owned(), None);
    match store(region).real_region().await {
        Some(real) => store(&real),
        None => store(region),
    }
}
