//! The account scheme after all checks.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    encryption::{BucketEncryption, Encryption},
    plan_encryption::PlanEncryption,
};
use crate::{
    base::{
        error::{Error, Result},
        spelling::nearest,
    },
    config::{defaults::Defaults, identity::Layout, names::Environment, policy::Policy},
};

/// An account scheme with `{team}` filled in and every reference between its parts checked.
#[derive(Clone, Debug)]
pub(crate) struct AccountScheme {
    /// The file or URL that it was read from, for messages.
    pub(crate) file: String,
    /// The text as read, with `{team}` not filled in, which a bundle contains.
    pub(crate) raw: String,
    pub(crate) default_region: String,
    pub(crate) release_account: Account,
    /// Assumed instead of the `role` of the release account by runs that change nothing.
    pub(crate) release_plan_role: Option<String>,
    pub(crate) release_bucket: Storage,
    pub(crate) lambda_bucket: Option<Storage>,
    /// Region to bucket, for `multi-region`.
    pub(crate) lambda_buckets: BTreeMap<String, Storage>,
    pub(crate) backend: StateBackend,
    pub(super) encryption: Option<BucketEncryption>,
    /// The key that plans of pull requests are encrypted to.
    pub(crate) plan_encryption: Option<PlanEncryption>,
    /// OpenPGP public keys that may sign the programs of a mirror, in ASCII armor.
    pub(crate) terraform_mirror_keys: Vec<String>,
    pub(crate) layout: Layout,
    /// The location of the account scheme that replaces this one for the component.
    pub(crate) moved_to: Option<String>,
    /// `host[:port]`, where images go instead of to ECR.
    pub(super) image_registry: Option<String>,
    pub(crate) accounts: BTreeMap<String, Account>,
    /// Rules that cdflow.yml cannot loosen.
    pub(crate) policy: Policy,
    /// Settings of components that have no own.
    pub(crate) defaults: Defaults,
    pub(super) environments: BTreeMap<String, String>,
    /// Previews use the account of this environment: cdflow.yml's `preview.account-environment`.
    pub(crate) previews: Option<Environment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) alias: String,
    /// 12 digits, as a string: a leading zero counts. None in a local scheme only.
    pub(crate) id: Option<String>,
    /// The role's name, assumed as `arn:aws:iam::<id>:role/<role>`. None in a local scheme only.
    pub(crate) role: Option<String>,
    /// Assumed instead of `role` if nothing will be applied.
    pub(crate) plan_role: Option<String>,
    pub(crate) region: String,
    /// The key of the scheme that names the region, for messages.
    pub(crate) region_key: String,
    /// The file or URL of the scheme, for messages.
    pub(crate) file: String,
}

impl Account {
    /// Returns the setting that names the region, for messages.
    pub(crate) fn region_place(&self) -> String {
        format!("`{}` of {}", self.region_key, self.file)
    }

    /// Returns the key of the scheme that names `role`, for messages.
    pub(crate) fn key_of_role(&self, role: &str) -> String {
        match role {
            _ if self.role.as_deref() == Some(role) => format!("accounts.{}.role", self.alias),
            _ if self.plan_role.as_deref() == Some(role) => {
                format!("accounts.{}.plan-role", self.alias)
            }
            _ => "release-plan-role".to_owned(),
        }
    }
}

/// Where objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Bucket(String),
    Directory(PathBuf),
}

impl Storage {
    pub(super) fn bucket(&self) -> Option<&str> {
        match self {
            Self::Bucket(bucket) => Some(bucket),
            Self::Directory(_) => None,
        }
    }
}

/// Where images are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageRegistry {
    /// Of this account, in the scheme's default region.
    Ecr { account_id: String },
    /// `host[:port]`
    Host(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateBackend {
    S3 {
        bucket: String,
        /// Whether to lock with an S3 object. None: if Terraform supports it (1.10).
        use_lockfile: Option<bool>,
        dynamodb_table: Option<String>,
    },
    Local {
        directory: PathBuf,
    },
    /// A bucket found by its tag, and a table with a fixed name, in each environment's account.
    Classic {
        use_lockfile: Option<bool>,
    },
}

/// How an environment was found in the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    ByName,
    /// Only by `"*"`, which a misspelled name matches too.
    ByDefault,
}

impl AccountScheme {
    /// Returns the known environment whose name is similar to the unknown `typed`.
    pub(crate) fn spelled_nearly(&self, typed: &Environment) -> Option<&str> {
        let is_named = typed.is_preview() || self.environments.contains_key(typed.as_str());
        let names = self.environments.keys().map(String::as_str).filter(|name| *name != "*");
        if is_named { None } else { nearest(typed.as_str(), names) }
    }

    /// Returns the role to assume in the release account.
    pub(crate) fn release_role(&self, only_reads: bool) -> Option<&str> {
        let plan_role = self.release_plan_role.as_deref().filter(|_| only_reads);
        plan_role.or(self.release_account.role.as_deref())
    }

    pub(crate) fn account_of(&self, environment: &Environment) -> Result<(&Account, Matched)> {
        let listed = self.listed_as(environment);
        let (alias, matched) = match self.environments.get(listed.as_str()) {
            Some(alias) if listed == environment => (Some(alias), Matched::ByName),
            Some(alias) => (Some(alias), Matched::ByDefault),
            None => (self.environments.get("*"), Matched::ByDefault),
        };
        let account = alias.and_then(|alias| self.accounts.get(alias));
        account.map(|account| (account, matched)).ok_or_else(|| {
            let known: Vec<&str> = self.environments.keys().map(String::as_str).collect();
            let error = Error::input(format!(
                "the account scheme has no environment `{environment}` and no \"*\""
            ));
            match nearest(environment.as_str(), known.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("it has: {}", known.join(", "))),
            }
        })
    }

    /// Returns the environment under whose name to look it up.
    pub(crate) fn listed_as<'e>(&'e self, environment: &'e Environment) -> &'e Environment {
        match &self.previews {
            Some(as_other)
                if environment.is_preview()
                    && !self.environments.contains_key(environment.as_str()) =>
            {
                as_other
            }
            _ => environment,
        }
    }

    /// Returns the encryption that every write to `bucket` asks for. None: the bucket's own.
    pub(crate) fn encryption_of(&self, bucket: &str) -> Option<Encryption> {
        self.encryption.as_ref().map(|encryption| encryption.of(bucket))
    }

    /// Environment (or `"*"`) to the alias of its account.
    pub(crate) fn environments(&self) -> &BTreeMap<String, String> {
        &self.environments
    }

    /// Where a lambda zip goes: region to place. One place, unless the component is multi-region.
    pub(crate) fn lambda_places(&self, multi_region: bool) -> Result<BTreeMap<String, Storage>> {
        if multi_region {
            if self.lambda_buckets.is_empty() {
                return Err(Error::input(
                    "cdflow.yml says `multi-region: true`, but the account scheme has no \
                     `lambda-buckets`",
                )
                .hint("add `lambda-buckets: {\"<region>\": \"<bucket>\"}` to the account scheme"));
            }
            return Ok(self.lambda_buckets.clone());
        }
        let place = self.lambda_bucket.clone().ok_or_else(|| {
            Error::input(
                "the account scheme has no `lambda-bucket`, which a component of type \
                          `lambda` needs",
            )
            .hint("add `lambda-bucket` to the account scheme")
        })?;
        Ok(BTreeMap::from([(self.default_region.clone(), place)]))
    }

    pub(crate) fn image_registry(&self) -> Result<ImageRegistry> {
        match (&self.image_registry, &self.release_account.id) {
            (Some(host), _) => Ok(ImageRegistry::Host(host.clone())),
            (None, Some(id)) => Ok(ImageRegistry::Ecr { account_id: id.clone() }),
            (None, None) => Err(Error::input("the account scheme has no registry for images")
                .why(
                    "its release account has no `id`, so it has no ECR, and `image-registry` is \
                      not set",
                )
                .hint("add `image-registry` to the account scheme, for instance localhost:5000")),
        }
    }
}
