//! The classic layout's bucket and lock table in an environment's account: found, and made where they are missing.
//!
//! Two runs that make them at the same time come to the same ones: the bucket's name follows from the region, and whoever finds
//! it half made finishes it.

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
    base::error::{Error, Exit, Result},
    services::aws::{failure::Failure, session::Session},
};

const TAG: &str = "is-cdflow-tfstate-bucket";
const PREFIX: &str = "cdflow-tfstate-";
const KEY: &str = "LockID";
/// Names that may be tried for a new bucket: bucket names are global, and other people's cdflow makes the same ones.
const NAMES: u32 = 10;
/// A region without a name of its own.
const FIRST_REGION: &str = "us-east-1";
/// A new table is ready within seconds.
const LOOKS: u32 = 60;

/// An environment's account, as seen by the classic layout.
pub(crate) struct ClassicAccount<'a> {
    s3: aws_sdk_s3::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    account_id: Option<&'a str>,
    region: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tagged {
    Yes,
    No,
    /// It may not be asked.
    Closed,
}

impl<'a> ClassicAccount<'a> {
    /// `session` is of that account and in `region`.
    pub(crate) fn new(session: &'a Session, region: &'a str) -> Self {
        Self {
            s3: aws_sdk_s3::Client::new(&session.config),
            dynamodb: aws_sdk_dynamodb::Client::new(&session.config),
            account_id: session.account_id.as_deref(),
            region,
        }
    }

    /// The bucket of this region that bears the tag; more than one is refused.
    pub(crate) async fn bucket(&self) -> Result<Option<String>> {
        let (mut tagged, mut closed) = (Vec::new(), Vec::new());
        for name in self.buckets().await? {
            match self.tag(&name).await? {
                Tagged::Yes if self.is_in_region(&name).await? => tagged.push(name),
                Tagged::Closed if name.starts_with(PREFIX) => closed.push(name),
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
            .why("which of them has the states can't be known")
            .hint("look which one has them, and remove the tag from the others"));
        }
        // Another bucket in its place would make everything anew.
        if tagged.is_empty() && !closed.is_empty() {
            return Err(Error::new(
                Exit::Credentials,
                format!(
                    "whether `{}` has the states of {} can't be known",
                    closed.join("`, `"),
                    self.describe()
                ),
            )
            .why("it does not let its tags be read")
            .hint("give the role s3:GetBucketTagging on it"));
        }
        Ok(tagged.pop())
    }

    /// A new bucket, with the tag; or the one that another run makes at the same time.
    pub(crate) async fn create_bucket(&self) -> Result<String> {
        for attempt in 0..NAMES {
            let name = bucket_name(self.region, attempt);
            let is_new = match self.try_create(&name).await {
                Ok(()) => true,
                Err(failure) => match failure.code() {
                    Some("BucketAlreadyExists") => continue,
                    Some("BucketAlreadyOwnedByYou" | "OperationAborted") => false,
                    _ => {
                        return Err(self.failed(
                            failure,
                            format!("the state bucket `{name}` can't be created"),
                        ));
                    }
                },
            };
            if !is_new && self.tag(&name).await? == Tagged::Yes {
                return Ok(name);
            }
            // One of ours without the tag was left half made; with objects in it, it is something else.
            if is_new || self.is_empty(&name).await? {
                self.furnish(&name).await?;
                return Ok(name);
            }
        }
        Err(Error::input(format!("no name is free for a state bucket in {}", self.describe()))
            .why(format!("all of {NAMES} names that were tried belong to others"))
            .hint(format!("create a bucket of any name there, and tag it `{TAG}` = `true`")))
    }

    /// Whether the lock table is there; one that Terraform can't use is refused.
    pub(crate) async fn has_table(&self) -> Result<bool> {
        Ok(self.table().await?.is_some())
    }

    /// Makes the lock table, or waits for it where another run makes it.
    pub(crate) async fn create_table(&self) -> Result<()> {
        let failed = |error| {
            self.failed(error, format!("the lock table `{CLASSIC_TABLE}` can't be created"))
        };
        let key = KeySchemaElement::builder().attribute_name(KEY).key_type(KeyType::Hash).build();
        let attribute = AttributeDefinition::builder()
            .attribute_name(KEY)
            .attribute_type(ScalarAttributeType::S)
            .build();
        let internal = |error| Error::internal("the lock table can't be described").why(error);
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
        for _ in 0..LOOKS {
            let table = self.table().await?;
            if table.is_some_and(|table| table.table_status() == Some(&TableStatus::Active)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err(Error::new(
            Exit::Unavailable,
            format!("the lock table `{CLASSIC_TABLE}` was created and is not ready"),
        )
        .why(format!("after {LOOKS} seconds, in {}", self.describe()))
        .hint("run again"))
    }

    /// "account 123456789012, eu-west-1"
    pub(crate) fn describe(&self) -> String {
        format!("account {}, {}", self.account_id.unwrap_or("(unknown)"), self.region)
    }

    async fn buckets(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut more = None;
        loop {
            let page =
                self.s3.list_buckets().set_continuation_token(more.take()).send().await.map_err(
                    |error| {
                        let what = format!("the buckets of {} can't be listed", self.describe());
                        self.failed(Failure::of(&error), what)
                            .hint("the action is s3:ListAllMyBuckets")
                    },
                )?;
            names.extend(
                page.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)),
            );
            more = page.continuation_token;
            if more.is_none() {
                names.sort();
                return Ok(names);
            }
        }
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
            Err(failure) => match failure.exit(self.region) {
                Exit::Credentials => Ok(Tagged::Closed),
                // No tags at all, or it is in another region.
                exit if exit != Exit::Unavailable => Ok(Tagged::No),
                _ => Err(self
                    .failed(failure, format!("the tags of the bucket `{bucket}` can't be read"))),
            },
        }
    }

    async fn is_in_region(&self, bucket: &str) -> Result<bool> {
        let ask = self.s3.get_bucket_location().bucket(bucket);
        let answer = ask.set_expected_bucket_owner(self.account_id.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| {
            let what = format!("the region of the bucket `{bucket}` can't be asked");
            self.failed(Failure::of(&error), what).hint("the action is s3:GetBucketLocation")
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
            self.failed(Failure::of(&error), format!("the bucket `{bucket}` can't be listed"))
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

    /// What a bucket with states should have (S3 encrypts by itself). The tag last: with it the bucket counts.
    async fn furnish(&self, name: &str) -> Result<()> {
        let owner = || self.account_id.map(str::to_owned);
        let failed = |failure, action: &str| {
            self.failed(
                failure,
                format!("the new state bucket `{name}` can't be set up ({action})"),
            )
        };
        let internal = |error| Error::internal("the state bucket can't be described").why(error);
        let closed = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let call = self
            .s3
            .put_public_access_block()
            .bucket(name)
            .public_access_block_configuration(closed);
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
                    "the lock table `{CLASSIC_TABLE}` can't be looked at (dynamodb:DescribeTable)"
                );
                return Err(self.failed(failure, what));
            }
        };
        match table {
            Some(table) if !is_lock_table(&table) => Err(Error::input(format!(
                "the table `{CLASSIC_TABLE}` of {} can't lock states",
                self.describe()
            ))
            .why(format!("its key is not `{KEY}`"))
            .hint("find out what it is for; the classic layout needs that name for its locks")),
            table => Ok(table),
        }
    }

    fn failed(&self, failure: Failure, what: String) -> Error {
        failure.into_error(what, self.region)
    }
}

/// A second key would make every row another lock.
fn is_lock_table(table: &TableDescription) -> bool {
    matches!(table.key_schema(), [key] if key.attribute_name() == KEY && key.key_type() == &KeyType::Hash)
}

fn bucket_name(region: &str, attempt: u32) -> String {
    let digest = Sha1::digest(format!("{region}{attempt}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{}", &hex[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other programs look for the same names.
    #[test]
    fn names_follow_from_the_region() {
        assert_eq!(bucket_name("eu-west-1", 0), "cdflow-tfstate-cef4a7cfdfac");
        assert_eq!(bucket_name("us-east-1", 9), "cdflow-tfstate-632e58a2a898");
    }
}
