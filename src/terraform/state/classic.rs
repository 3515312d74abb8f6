//! The state bucket and lock table of the classic layout: finding them, and creating missing ones.
//!
//! Two runs that create them at the same time end up with the same ones: the name of the bucket is
//! derived from the region, and a run that finds an incomplete bucket completes it.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TableDescription, TableStatus,
};
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
    PublicAccessBlockConfiguration, Tag, Tagging, VersioningConfiguration,
};
use sha1::{Digest, Sha1};

use super::place::CLASSIC_TABLE;
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
    },
    services::aws::{failure::Failure, pages::Pages, session::Session},
};

/// The tag of a state bucket; its value is `true`.
const TAG: &str = "is-cdflow-tfstate-bucket";
/// The prefix of the names of state buckets.
const PREFIX: &str = "cdflow-tfstate-";
/// The key of the lock table, which Terraform requires.
const KEY: &str = "LockID";
/// How many names are tried for a new bucket: names are global, and in other accounts cdflow uses
/// the same ones.
const NAMES: u32 = 10;
/// The region for which S3 reports no location.
const FIRST_REGION: &str = "us-east-1";

/// The account of an environment in one region.
pub(crate) struct ClassicAccount<'a> {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    account_id: Option<&'a str>,
    region: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
/// Whether a bucket has the tag.
enum Tagged {
    Yes,
    No,
    /// The tags cannot be read.
    Denied,
}

impl<'a> ClassicAccount<'a> {
    /// `session` must be for that account and `region`.
    pub(crate) fn new(session: &'a Session, region: &'a str) -> Self {
        Self {
            s3: aws_sdk_s3::Client::new(&session.config),
            dynamodb: aws_sdk_dynamodb::Client::new(&session.config),
            account_id: session.account_id.as_deref(),
            region,
        }
    }

    /// Returns the tagged bucket of this region. Fails if there is more than one.
    pub(crate) async fn bucket(&self) -> Result<Option<String>> {
        let (mut tagged, mut denied) = (Vec::new(), Vec::new());
        for name in self.buckets().await? {
            match self.tag(&name).await? {
                Tagged::Yes if self.is_in_region(&name).await? => tagged.push(name),
                Tagged::Denied if name.starts_with(PREFIX) => denied.push(name),
                _ => {}
            }
        }
        if tagged.len() > 1 {
            return Err(Error::refused(format!(
                "{} buckets of {} are tagged `{TAG}`: {}",
                tagged.len(),
                self.describe(),
                tagged.join(", ")
            ))
            .why("it is unknown which of them has the states")
            .hint("find the one with the states, and remove the tag from the others"));
        }
        // With a new, empty bucket Terraform would create all resources again.
        if tagged.is_empty() && !denied.is_empty() {
            return Err(Error::new(
                Exit::Credentials,
                format!(
                    "cannot check whether `{}` has the states of {}",
                    denied.join("`, `"),
                    self.describe()
                ),
            )
            .why("access to its tags was denied")
            .hint("allow the role s3:GetBucketTagging on it"));
        }
        Ok(tagged.pop())
    }

    /// Creates a tagged bucket, or returns the one that another run creates at the same time.
    pub(crate) async fn create_bucket(&self) -> Result<String> {
        for attempt in 0..NAMES {
            let name = bucket_name(self.region, attempt);
            let is_new = match self.try_create(&name).await {
                Ok(()) => true,
                Err(failure) => match failure.code() {
                    Some("BucketAlreadyExists") => continue,
                    Some("BucketAlreadyOwnedByYou" | "OperationAborted") => false,
                    _ => {
                        return Err(self
                            .failed(failure, format!("cannot create the state bucket `{name}`")));
                    }
                },
            };
            if !is_new && self.tag(&name).await? == Tagged::Yes {
                return Ok(name);
            }
            // An empty bucket without the tag is incomplete. One with objects has another purpose.
            if is_new || self.is_empty(&name).await? {
                self.configure_bucket(&name).await?;
                return Ok(name);
            }
        }
        Err(Error::input(format!("no name is available for a state bucket in {}", self.describe()))
            .why(format!("all {NAMES} names belong to other accounts"))
            .hint(format!("create a bucket with any name there, and tag it `{TAG}` = `true`")))
    }

    /// Whether the lock table exists. Fails if Terraform cannot use it.
    pub(crate) async fn has_table(&self) -> Result<bool> {
        Ok(self.table().await?.is_some())
    }

    /// Creates the lock table, or waits until another run has created it.
    pub(crate) async fn create_table(&self) -> Result<()> {
        let failed =
            |error| self.failed(error, format!("cannot create the lock table `{CLASSIC_TABLE}`"));
        let key = KeySchemaElement::builder().attribute_name(KEY).key_type(KeyType::Hash).build();
        let attribute = AttributeDefinition::builder()
            .attribute_name(KEY)
            .attribute_type(ScalarAttributeType::S)
            .build();
        let internal =
            |error| Error::internal("cannot build the request for the lock table").why(error);
        let created = self
            .dynamodb
            .create_table()
            .table_name(CLASSIC_TABLE)
            .key_schema(key.map_err(internal)?)
            .attribute_definitions(attribute.map_err(internal)?)
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await
            .map_err(|error| Failure::of(&error));
        match created {
            Err(failure) if failure.code() != Some("ResourceInUseException") => {
                return Err(failed(failure));
            }
            _ => {}
        }
        for _ in 0..Limit::AwsTable.time().as_secs() {
            let table = self.table().await?;
            if table.is_some_and(|table| table.table_status() == Some(&TableStatus::Active)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err(Error::new(
            Exit::Unavailable,
            format!("the lock table `{CLASSIC_TABLE}` was created but is not active"),
        )
        .why(format!(
            "{}, in {}",
            Limit::AwsTable.passed("it did not become active"),
            self.describe()
        ))
        .hint("run again"))
    }

    /// Returns the account and region for messages: "account 123456789012, eu-west-1".
    pub(crate) fn describe(&self) -> String {
        format!("account {}, {}", self.account_id.unwrap_or("(unknown)"), self.region)
    }

    async fn buckets(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let (mut more, mut pages) = (None, Pages::default());
        loop {
            let page =
                self.s3.list_buckets().set_continuation_token(more.take()).send().await.map_err(
                    |error| {
                        let failed = self.failed(Failure::of(&error), self.unlisted());
                        failed.hint("allow s3:ListAllMyBuckets")
                    },
                )?;
            names.extend(
                page.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)),
            );
            let is_truncated = page.continuation_token.is_some();
            more = pages.next(page.continuation_token, is_truncated).map_err(|why| {
                Error::new(Exit::Unavailable, self.unlisted()).why(why).hint("run again later")
            })?;
            if more.is_none() {
                names.sort();
                return Ok(names);
            }
        }
    }

    fn unlisted(&self) -> String {
        format!("cannot list the buckets of {}", self.describe())
    }

    async fn tag(&self, bucket: &str) -> Result<Tagged> {
        let ask = self.s3.get_bucket_tagging().bucket(bucket);
        let answer = ask.set_expected_bucket_owner(self.account_id.map(str::to_owned)).send().await;
        match answer.map_err(|error| Failure::of(&error)) {
            Ok(answer)
                if answer.tag_set().iter().any(|tag| tag.key() == TAG && tag.value() == "true") =>
            {
                Ok(Tagged::Yes)
            }
            Ok(_) => Ok(Tagged::No),
            Err(failure) => {
                match failure.exit(self.region) {
                    Exit::Credentials => Ok(Tagged::Denied),
                    // The bucket has no tags, or is in another region.
                    exit if exit != Exit::Unavailable => Ok(Tagged::No),
                    _ => Err(self
                        .failed(failure, format!("cannot read the tags of the bucket `{bucket}`"))),
                }
            }
        }
    }

    async fn is_in_region(&self, bucket: &str) -> Result<bool> {
        let ask = self.s3.get_bucket_location().bucket(bucket);
        let answer = ask.set_expected_bucket_owner(self.account_id.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| {
            let what = format!("cannot read the region of the bucket `{bucket}`");
            self.failed(Failure::of(&error), what).hint("allow s3:GetBucketLocation")
        })?;
        let region = answer
            .location_constraint()
            .map(BucketLocationConstraint::as_str)
            .filter(|name| !name.is_empty());
        Ok(region.unwrap_or(FIRST_REGION) == self.region)
    }

    async fn is_empty(&self, bucket: &str) -> Result<bool> {
        let ask = self.s3.list_objects_v2().bucket(bucket).max_keys(1);
        let answer = ask.set_expected_bucket_owner(self.account_id.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| {
            self.failed(Failure::of(&error), format!("cannot list the bucket `{bucket}`"))
        })?;
        Ok(answer.contents().is_empty())
    }

    async fn try_create(&self, name: &str) -> Result<(), Failure> {
        let place = (self.region != FIRST_REGION).then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.region))
                .build()
        });
        let call = self.s3.create_bucket().bucket(name).set_create_bucket_configuration(place);
        call.send().await.map(drop).map_err(|error| Failure::of(&error))
    }

    /// Blocks public access and enables versioning; S3 encrypts by default. The tag comes last,
    /// because it marks the bucket as complete.
    async fn configure_bucket(&self, name: &str) -> Result<()> {
        let owner = || self.account_id.map(str::to_owned);
        let failed = |failure, action: &str| {
            self.failed(
                failure,
                format!("cannot configure the new state bucket `{name}` ({action})"),
            )
        };
        let internal =
            |error| Error::internal("cannot build the request for the state bucket").why(error);
        let blocked = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let call = self
            .s3
            .put_public_access_block()
            .bucket(name)
            .public_access_block_configuration(blocked);
        let done = call.set_expected_bucket_owner(owner()).send().await;
        done.map_err(|error| failed(Failure::of(&error), "s3:PutBucketPublicAccessBlock"))?;
        let versioned =
            VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let call = self.s3.put_bucket_versioning().bucket(name).versioning_configuration(versioned);
        let done = call.set_expected_bucket_owner(owner()).send().await;
        done.map_err(|error| failed(Failure::of(&error), "s3:PutBucketVersioning"))?;
        let tag = Tag::builder().key(TAG).value("true").build().map_err(internal)?;
        let tags = Tagging::builder().tag_set(tag).build().map_err(internal)?;
        let call = self.s3.put_bucket_tagging().bucket(name).tagging(tags);
        let done = call.set_expected_bucket_owner(owner()).send().await;
        done.map(drop).map_err(|error| failed(Failure::of(&error), "s3:PutBucketTagging"))
    }

    async fn table(&self) -> Result<Option<TableDescription>> {
        let answer = self.dynamodb.describe_table().table_name(CLASSIC_TABLE).send().await;
        let table = match answer.map_err(|error| Failure::of(&error)) {
            Ok(answer) => answer.table,
            Err(failure) if failure.code() == Some("ResourceNotFoundException") => None,
            Err(failure) => {
                let what = format!(
                    "cannot read the lock table `{CLASSIC_TABLE}` (dynamodb:DescribeTable)"
                );
                return Err(self.failed(failure, what));
            }
        };
        match table {
            Some(table) if !is_lock_table(&table) => Err(Error::input(format!(
                "the table `{CLASSIC_TABLE}` of {} cannot be used for locks",
                self.describe()
            ))
            .why(format!("its key is not `{KEY}`"))
            .hint("rename that table: the classic layout needs its name for locks")),
            table => Ok(table),
        }
    }

    fn failed(&self, failure: Failure, what: String) -> Error {
        failure.into_error(what, self.region)
    }
}

/// With a sort key, several rows could have the same `LockID`.
fn is_lock_table(table: &TableDescription) -> bool {
    let is_key =
        |key: &KeySchemaElement| key.attribute_name() == KEY && key.key_type() == &KeyType::Hash;
    matches!(table.key_schema(), [key] if is_key(key))
}

fn bucket_name(region: &str, attempt: u32) -> String {
    let digest = Sha1::digest(format!("{region}{attempt}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{}", &hex[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other versions of cdflow use the same names.
    #[test]
    fn names_are_derived_from_the_region() {
        assert_eq!(bucket_name("eu-west-1", 0), "cdflow-tfstate-cef4a7cfdfac");
        assert_eq!(bucket_name("us-east-1", 9), "cdflow-tfstate-632e58a2a898");
    }
}
