//! ECR, the registry of the release account: repositories as we want them, who may pull from them,
//! and their images.

use std::error::Error as StdError;

use aws_sdk_ecr::{
    Client,
    config::{Builder, Region, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{ImageIdentifier, ImageScanningConfiguration, ImageTagMutability, Repository},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use self::policy::PolicyChange;
use super::failure::Failure;
use crate::{
    base::{
        error::{Error, Exit, Result},
        redact::{Redactor, Secret},
    },
    services::registry::login::Login,
};

mod policy;

pub(crate) use self::policy::Pullers;

/// Attempts of the SDK at one request.
const ATTEMPTS: u32 = 5;

/// The registry of one account in one region.
pub(crate) struct Ecr {
    client: Client,
    account_id: String,
    region: String,
}

/// An image in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredImage {
    /// `sha256:…`
    pub(crate) digest: String,
    pub(crate) tags: Vec<String>,
    /// Compressed, as ECR counts it; 0 for an index.
    pub(crate) size: u64,
}

impl Ecr {
    pub(crate) fn new(config: &aws_config::SdkConfig, account_id: String, region: String) -> Self {
        let settings = Builder::from(config)
            .region(Region::new(region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .build();
        Self { client: Client::from_conf(settings), account_id, region }
    }

    /// `<account>.dkr.ecr.<region>.amazonaws.com`: what the names of images begin with.
    pub(crate) fn host(&self) -> String {
        let domain =
            if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("{}.dkr.ecr.{}.{domain}", self.account_id, self.region)
    }

    /// The repository is there afterwards, and `pullers` may pull from it. `immutable` holds for
    /// one that is made now: what an existing one has stays. Returns what a person should know.
    pub(crate) async fn prepare(
        &self,
        repository: &str,
        immutable: bool,
        pullers: &Pullers<'_>,
    ) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        if self.find(repository).await?.is_none() && self.create(repository, immutable).await? {
            notes.push(format!("created the repository {}/{repository}", self.host()));
        }
        if self.allow(repository, pullers).await? {
            notes.push(format!("the accounts of the scheme may now pull from {repository}"));
        }
        match self.expire_untagged(repository).await {
            Ok(note) => notes.extend(note),
            // The policy only removes leftovers: the release succeeds without it.
            Err(error) if error.exit() == Exit::Credentials => notes.push(format!(
                "nothing removes the images of {repository} that have no tag: {}; {}",
                error.story(),
                error.hints().join("; ")
            )),
            Err(error) => return Err(error),
        }
        Ok(notes)
    }

    /// Returns None if the repository does not exist.
    pub(crate) async fn find(&self, repository: &str) -> Result<Option<Repository>> {
        match self.client.describe_repositories().repository_names(repository).send().await {
            Ok(found) => Ok(found.repositories.unwrap_or_default().into_iter().next()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_repository_not_found_exception()) =>
            {
                Ok(None)
            }
            Err(error) => {
                Err(self.failed(&error, repository, "can't be looked up", "DescribeRepositories"))
            }
        }
    }

    /// Returns false if another run created it first.
    async fn create(&self, repository: &str, immutable: bool) -> Result<bool> {
        let mutability =
            if immutable { ImageTagMutability::Immutable } else { ImageTagMutability::Mutable };
        let scanning = ImageScanningConfiguration::builder().scan_on_push(true).build();
        let created = self
            .client
            .create_repository()
            .repository_name(repository)
            .image_scanning_configuration(scanning)
            .image_tag_mutability(mutability)
            .send()
            .await;
        match created {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_repository_already_exists_exception()) =>
            {
                Ok(false)
            }
            Err(error) => {
                Err(self.failed(&error, repository, "can't be created", "CreateRepository"))
            }
        }
    }

    /// Returns true if the policy was changed.
    async fn allow(&self, repository: &str, pullers: &Pullers<'_>) -> Result<bool> {
        let current =
            match self.client.get_repository_policy().repository_name(repository).send().await {
                Ok(answer) => answer.policy_text,
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|e| e.is_repository_policy_not_found_exception()) =>
                {
                    None
                }
                Err(error) => {
                    return Err(self.failed(
                        &error,
                        repository,
                        "does not show its policy",
                        "GetRepositoryPolicy",
                    ));
                }
            };
        let wanted = match pullers.change(current.as_deref()) {
            PolicyChange::None => return Ok(false),
            PolicyChange::To(wanted) => wanted,
            PolicyChange::Unreadable(why) => {
                return Err(Error::input(format!(
                    "the policy of the repository {} can't be read",
                    self.name(repository)
                ))
                .why(why)
                .hint("correct it, or delete it: cdflow then makes one"));
            }
        };
        let set = self
            .client
            .set_repository_policy()
            .repository_name(repository)
            .policy_text(wanted)
            .send()
            .await;
        match set {
            Ok(_) => Ok(true),
            Err(error) => Err(self.failed(
                &error,
                repository,
                "can't be given a policy",
                "SetRepositoryPolicy",
            )),
        }
    }

    /// A rule for images that have lost their tag, unless there is a policy already.
    async fn expire_untagged(&self, repository: &str) -> Result<Option<String>> {
        match self.client.get_lifecycle_policy().repository_name(repository).send().await {
            Ok(answer)
                if answer
                    .lifecycle_policy_text
                    .as_deref()
                    .is_some_and(policy::is_our_lifecycle) =>
            {
                return Ok(None);
            }
            Ok(_) => {
                return Ok(Some(format!(
                    "{repository} has a lifecycle policy that is not cdflow's and stays unchanged; \
                     check that it keeps every deployed image"
                )));
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_lifecycle_policy_not_found_exception()) => {}
            Err(error) => {
                return Err(self.failed(
                    &error,
                    repository,
                    "does not show its lifecycle policy",
                    "GetLifecyclePolicy",
                ));
            }
        }
        let text = policy::lifecycle();
        match self
            .client
            .put_lifecycle_policy()
            .repository_name(repository)
            .lifecycle_policy_text(text)
            .send()
            .await
        {
            Ok(_) => Ok(None),
            Err(error) => Err(self.failed(
                &error,
                repository,
                "can't be given a lifecycle policy",
                "PutLifecyclePolicy",
            )),
        }
    }

    /// Returns a login that is valid for twelve hours, and masks its password.
    pub(crate) async fn login(&self, redactor: &Redactor) -> Result<Login> {
        let answer = self.client.get_authorization_token().send().await.map_err(|error| {
            self.failed(&error, "*", "gives no authorization token", "GetAuthorizationToken")
        })?;
        let token = answer
            .authorization_data()
            .first()
            .and_then(|data| data.authorization_token())
            .unwrap_or_default();
        let decoded = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':'))
        else {
            return Err(Error::new(
                Exit::Unavailable,
                format!("the authorization token of {} is invalid", self.host()),
            )
            .why("it is not the base64 of a user and a password"));
        };
        let (user, password) = (user.to_owned(), Secret::new(password));
        redactor.add(&Secret::new(token));
        redactor.add(&password);
        Ok(Login::Password { user, password })
    }

    /// Returns an image by digest (`sha256:…`) or tag; None if it or the repository does not exist.
    pub(crate) async fn image(
        &self,
        repository: &str,
        reference: &str,
    ) -> Result<Option<StoredImage>> {
        let image = match reference.contains(':') {
            true => ImageIdentifier::builder().image_digest(reference).build(),
            false => ImageIdentifier::builder().image_tag(reference).build(),
        };
        match self
            .client
            .describe_images()
            .repository_name(repository)
            .image_ids(image)
            .send()
            .await
        {
            Ok(answer) => Ok(answer.image_details().first().map(stored)),
            Err(error)
                if error.as_service_error().is_some_and(|e| {
                    e.is_image_not_found_exception() || e.is_repository_not_found_exception()
                }) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.failed(
                &error,
                repository,
                "does not say which images it has",
                "DescribeImages",
            )),
        }
    }

    /// Returns every image; none if the repository does not exist.
    pub(crate) async fn images(&self, repository: &str) -> Result<Vec<StoredImage>> {
        let mut images = Vec::new();
        let mut pages =
            self.client.describe_images().repository_name(repository).into_paginator().send();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => images.extend(page.image_details().iter().map(stored)),
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|e| e.is_repository_not_found_exception()) =>
                {
                    return Ok(Vec::new());
                }
                Err(error) => {
                    return Err(self.failed(
                        &error,
                        repository,
                        "does not say which images it has",
                        "DescribeImages",
                    ));
                }
            }
        }
        Ok(images)
    }

    /// Removes a tag; ECR deletes the image with its last one. A missing tag is not an error.
    pub(crate) async fn remove_tag(&self, repository: &str, tag: &str) -> Result<()> {
        let image = ImageIdentifier::builder().image_tag(tag).build();
        let answer = self
            .client
            .batch_delete_image()
            .repository_name(repository)
            .image_ids(image)
            .send()
            .await
            .map_err(|error| {
                self.failed(&error, repository, "does not let its images go", "BatchDeleteImage")
            })?;
        match answer.failures().first() {
            Some(failure)
                if failure.failure_code().is_none_or(|code| code.as_str() != "ImageNotFound") =>
            {
                Err(Error::refused(format!(
                    "the image `{}:{tag}` can't be deleted",
                    self.name(repository)
                ))
                .why(failure.failure_reason().unwrap_or("ECR gives no reason")))
            }
            _ => Ok(()),
        }
    }

    fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.host())
    }

    fn failed<E>(&self, error: &SdkError<E>, repository: &str, what: &str, action: &str) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let failure = Failure::of(error);
        let what = match repository {
            "*" => format!("the registry {} {what}", self.host()),
            repository => format!("the repository {} {what}", self.name(repository)),
        };
        match (failure.code(), failure.exit(&self.region)) {
            (Some("AccessDenied" | "AccessDeniedException"), _) => {
                let object = match repository {
                    "*" => "*".to_owned(),
                    repository => format!(
                        "arn:aws:ecr:{}:{}:repository/{repository}",
                        self.region, self.account_id
                    ),
                };
                Error::new(Exit::Credentials, what).why(failure.why(&self.region)).hint(format!(
                    "allow the role of the release account `ecr:{action}` on `{object}`"
                ))
            }
            (Some("InvalidParameterException"), _) => {
                Error::input(what).why(failure.why(&self.region)).hint(
                    "use 2 to 256 lower-case letters and digits as the repository's name, \
                     with single `.`, `_`, `-` and `/` between them",
                )
            }
            _ => failure.into_error(what, &self.region),
        }
    }
}

fn stored(image: &aws_sdk_ecr::types::ImageDetail) -> StoredImage {
    StoredImage {
        digest: image.image_digest().unwrap_or_default().to_owned(),
        tags: image.image_tags().to_vec(),
        size: image.image_size_in_bytes().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::services::store::testing::{Fault, REGION, config, moto, proxy};

    /// moto's account for credentials without an assumed role.
    const ACCOUNT: &str = "123456789012";

    fn at(address: &str) -> Ecr {
        Ecr::new(&config(address), ACCOUNT.to_owned(), REGION.to_owned())
    }

    fn pullers<'a>(others: &'a [&'a str], lambda: bool) -> Pullers<'a> {
        Pullers { owner: ACCOUNT, region: REGION, others, lambda }
    }

    async fn policy_of(ecr: &Ecr, repository: &str) -> Value {
        let answer =
            ecr.client.get_repository_policy().repository_name(repository).send().await.unwrap();
        serde_json::from_str(answer.policy_text().unwrap()).unwrap()
    }

    /// ECR through a proxy that notes which actions are asked for, and answers one of them
    /// otherwise.
    async fn watched(action: &'static str, fault: fn() -> Fault) -> (Ecr, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let address = proxy(move |head| {
            let target = head
                .lines()
                .find_map(|line| line.split_once("V20150921."))
                .map_or("", |(_, action)| action);
            seen.lock().unwrap().push(target.to_owned());
            if target == action { fault() } else { Fault::Pass }
        });
        (at(&address.await), asked)
    }

    fn answer(status: &'static str, code: &str) -> Fault {
        let body = json!({ "__type": code, "message": "said the test" }).to_string();
        Fault::Answer(status, "content-type: application/x-amz-json-1.1\r\n".to_owned(), body)
    }

    #[tokio::test]
    async fn a_repository_is_made_once_and_left_alone_afterwards() {
        let (ecr, asked) = watched("", || Fault::Pass).await;
        let pullers = pullers(&["333333333333", "222222222222"], true);
        let notes = ecr.prepare("once", true, &pullers).await.unwrap();
        assert_eq!(notes.len(), 2, "{notes:?}");
        let made = ecr.find("once").await.unwrap().unwrap();
        assert_eq!(made.image_tag_mutability(), Some(&ImageTagMutability::Immutable));
        assert!(made.image_scanning_configuration().unwrap().scan_on_push());
        let policy = policy_of(&ecr, "once").await;
        let sids: Vec<_> = policy["Statement"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["Sid"].as_str().unwrap())
            .collect();
        assert_eq!(sids, ["allow 222222222222", "allow 333333333333", "allow lambda"]);

        asked.lock().unwrap().clear();
        assert_eq!(ecr.prepare("once", false, &pullers).await.unwrap(), [""; 0]);
        assert_eq!(
            *asked.lock().unwrap(),
            ["DescribeRepositories", "GetRepositoryPolicy", "GetLifecyclePolicy"]
        );
    }

    #[tokio::test]
    async fn what_others_have_set_stays() {
        let ecr = at(moto());
        ecr.create("theirs", false).await.unwrap();
        let foreign =
            json!({"Sid": "theirs", "Effect": "Deny", "Principal": "*", "Action": "ecr:PutImage"});
        let text = json!({"Version": "2012-10-17", "Statement": [foreign]}).to_string();
        ecr.client
            .set_repository_policy()
            .repository_name("theirs")
            .policy_text(text)
            .send()
            .await
            .unwrap();
        let selection = json!({
            "tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1,
        });
        let rule = json!({"rules": [
            {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}},
        ]});
        let put = ecr
            .client
            .put_lifecycle_policy()
            .repository_name("theirs")
            .lifecycle_policy_text(rule.to_string());
        put.send().await.unwrap();
        let notes = ecr.prepare("theirs", true, &pullers(&["222222222222"], false)).await.unwrap();
        assert!(notes[1].contains("lifecycle policy that is not cdflow's"), "{notes:?}");
        let policy = policy_of(&ecr, "theirs").await;
        assert_eq!((&policy["Version"], &policy["Statement"][0]), (&"2012-10-17".into(), &foreign));
        assert_eq!(policy["Statement"][1]["Sid"], "allow 222222222222");
        let kept =
            ecr.client.get_lifecycle_policy().repository_name("theirs").send().await.unwrap();
        assert_eq!(kept.lifecycle_policy_text(), Some(rule.to_string().as_str()));
    }

    #[tokio::test]
    async fn the_token_is_a_login_and_masked() {
        let redactor = Redactor::default();
        let Login::Password { user, password } = at(moto()).login(&redactor).await.unwrap() else {
            panic!()
        };
        assert_eq!((user.as_str(), password.expose()), ("AWS", "123456789012-auth-token"));
        assert!(!redactor.apply("the 123456789012-auth-token").contains("auth-token"));
        assert_eq!(at(moto()).host(), "123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    }

    #[tokio::test]
    async fn a_refusal_names_the_action_to_allow() {
        let (ecr, _) =
            watched("CreateRepository", || answer("400 Bad Request", "AccessDeniedException"))
                .await;
        let error = ecr.prepare("denied", false, &pullers(&[], false)).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Credentials);
        let text = error.to_string();
        let hint =
            "`ecr:CreateRepository` on `arn:aws:ecr:eu-west-1:123456789012:repository/denied`";
        assert!(text.contains(hint) && text.contains("denied can't be created"), "{text}");

        let (ecr, asked) = watched("GetAuthorizationToken", || {
            answer("500 Internal Server Error", "ServerException")
        })
        .await;
        let error = ecr.login(&Redactor::default()).await.unwrap_err();
        assert_eq!(
            (error.exit(), asked.lock().unwrap().len()),
            (Exit::Unavailable, ATTEMPTS as usize)
        );

        let (ecr, _) =
            watched("PutLifecyclePolicy", || answer("400 Bad Request", "AccessDeniedException"))
                .await;
        let notes = ecr.prepare("untidy", false, &pullers(&[], false)).await.unwrap();
        assert!(notes.last().unwrap().contains("`ecr:PutLifecyclePolicy`"), "{notes:?}");

        let (ecr, _) =
            watched("CreateRepository", || answer("400 Bad Request", "InvalidParameterException"))
                .await;
        let error = ecr.prepare("refused-name", false, &pullers(&[], false)).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Input);
        assert!(error.to_string().contains("lower-case letters"), "{error}");
    }

    #[tokio::test]
    async fn an_image_is_found_and_goes_with_its_last_tag() {
        let ecr = at(moto());
        assert_eq!(ecr.images("no-such").await.unwrap(), []);
        assert_eq!(ecr.image("no-such", "1").await.unwrap(), None);
        ecr.create("images", false).await.unwrap();
        let digest = |n: u8| format!("sha256:{}", char::from(n).to_string().repeat(64));
        for (n, tags) in [(b'a', &["1", "latest"][..]), (b'b', &["2"])] {
            for tag in tags {
                let manifest =
                    json!({"schemaVersion": 2, "n": n, "layers": [], "config": {"size": 7}})
                        .to_string();
                let media_type = "application/vnd.oci.image.manifest.v1+json";
                let put = ecr
                    .client
                    .put_image()
                    .repository_name("images")
                    .image_manifest(manifest)
                    .image_tag(*tag);
                put.image_manifest_media_type(media_type)
                    .image_digest(digest(n))
                    .send()
                    .await
                    .unwrap();
            }
        }
        let found = ecr.image("images", "1").await.unwrap().unwrap();
        assert_eq!(
            (found.digest, found.tags),
            (digest(b'a'), vec!["1".to_owned(), "latest".to_owned()])
        );
        assert_eq!(ecr.images("images").await.unwrap().len(), 2);
        ecr.remove_tag("images", "1").await.unwrap();
        assert_eq!(ecr.image("images", &digest(b'a')).await.unwrap().unwrap().tags, ["latest"]);
        for _ in 0..2 {
            ecr.remove_tag("images", "latest").await.unwrap();
        }
        assert_eq!(ecr.image("images", &digest(b'a')).await.unwrap(), None);
        assert!(ecr.image("images", &digest(b'b')).await.unwrap().is_some());
    }
}
