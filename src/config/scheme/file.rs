//! The account scheme as its file says it, and the checks that make an [`AccountScheme`] of it.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{
    account_scheme::{Account, AccountScheme, StateBackend, Storage},
    aws_names::{BUCKET_RULE, TABLE_RULE, is_bucket, is_path_segment, is_role, is_table},
    encryption::{BucketEncryption, FileEncryption},
    plan_encryption::{FilePlanEncryption, PlanEncryption},
};
use crate::{
    base::{
        document,
        error::{Error, Result},
        printable,
        spelling::nearest,
    },
    config::{
        defaults::Defaults,
        identity::Layout,
        location::{Location, rejected},
        names::{Component, Environment, Team},
        policy::{PolicyFile, check_values},
    },
};

impl AccountScheme {
    /// Parses and checks a scheme. Messages start with `file`. `file:` paths are relative to
    /// `folder`; without one they must be absolute.
    pub(crate) fn parse(
        file: &str,
        folder: Option<&Path>,
        raw: &str,
        team: &Team,
        component: &Component,
    ) -> Result<Self> {
        // The replacement can't change the document's structure: a team is letters, digits and `-`.
        let text = raw.replace("{team}", team.as_str());
        let parsed: SchemeFile = document::from_json(file, &text)?;
        check_values(file, &text)?;
        SchemeChecker { file, folder }.check(parsed, raw, team, component)
    }
}

/// What the file says, before its parts are checked against each other.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct SchemeFile {
    /// For editors.
    #[serde(rename = "$schema")]
    _schema: Option<String>,
    accounts: BTreeMap<String, FileAccount>,
    release_account: String,
    release_plan_role: Option<String>,
    release_bucket: String,
    lambda_bucket: Option<String>,
    #[serde(default)]
    lambda_buckets: BTreeMap<String, String>,
    image_registry: Option<String>,
    default_region: String,
    environments: BTreeMap<String, String>,
    #[serde(default)]
    classic_metadata_handling: bool,
    terraform_backend_s3_bucket: Option<String>,
    terraform_backend_s3_dynamodb_table: Option<String>,
    terraform_backend_s3_use_lockfile: Option<bool>,
    terraform_backend: Option<FileBackend>,
    encryption: Option<FileEncryption>,
    plan_encryption: Option<FilePlanEncryption>,
    #[serde(default)]
    terraform_mirror_keys: Vec<String>,
    upgrade_account_scheme: Option<UpgradeKeys>,
    #[serde(default)]
    policy: PolicyFile,
    #[serde(default)]
    defaults: Defaults,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileAccount {
    id: Option<String>,
    role: Option<String>,
    plan_role: Option<String>,
    region: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FileBackend {
    #[serde(rename = "type")]
    kind: BackendType,
    path: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BackendType {
    Local,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct UpgradeKeys {
    #[serde(default)]
    team_whitelist: Vec<String>,
    #[serde(default)]
    component_whitelist: Vec<String>,
    new_url: String,
}

impl UpgradeKeys {
    fn new_url_for(self, team: &Team, component: &Component) -> Option<String> {
        let listed = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        (listed(&self.team_whitelist, team.as_str())
            || listed(&self.component_whitelist, component.as_str()))
        .then_some(self.new_url)
    }
}

/// Turns what the file says into a scheme; every message starts with the file.
struct SchemeChecker<'a> {
    file: &'a str,
    folder: Option<&'a Path>,
}

impl SchemeChecker<'_> {
    fn check(
        &self,
        parsed: SchemeFile,
        raw: &str,
        team: &Team,
        component: &Component,
    ) -> Result<AccountScheme> {
        let release_bucket = self.storage("release-bucket", &parsed.release_bucket)?;
        let lambda_bucket = match parsed.lambda_bucket.as_deref() {
            None | Some("") => None,
            Some(text) => Some(self.storage("lambda-bucket", text)?),
        };
        let mut lambda_buckets = BTreeMap::new();
        for (region, text) in &parsed.lambda_buckets {
            lambda_buckets.insert(region.clone(), self.storage("lambda-buckets", text)?);
        }
        if lambda_bucket.iter().chain(lambda_buckets.values()).any(|place| *place == release_bucket)
        {
            return Err(self
                .error("`release-bucket` and a lambda bucket are the same place")
                .hint("use two buckets: a release and its lambda zip have the same key"));
        }
        if !is_path_segment(&parsed.default_region) {
            let region = printable::excerpt(&parsed.default_region);
            return Err(self.error(format!("`default-region`: `{region}` is not a region")));
        }
        let backend = self.backend(&parsed)?;
        let places =
            std::iter::once(&release_bucket).chain(&lambda_bucket).chain(lambda_buckets.values());
        let encryption = self.encryption(parsed.encryption, places, &backend)?;
        let plan_encryption = self.plan_encryption(parsed.plan_encryption)?;
        let is_local = matches!(
            (&release_bucket, &backend),
            (Storage::Directory(_), StateBackend::Local { .. })
        );
        let mut accounts = BTreeMap::new();
        for (alias, account) in parsed.accounts {
            accounts.insert(
                alias.clone(),
                self.account(alias, account, &parsed.default_region, is_local)?,
            );
        }
        for (environment, alias) in &parsed.environments {
            self.known_account(&accounts, alias, &format!("environment `{environment}`"))?;
            if environment != "*" {
                environment
                    .parse::<Environment>()
                    .map_err(|refused| self.error(refused.to_string()))?;
            }
        }
        let release_account =
            self.known_account(&accounts, &parsed.release_account, "`release-account`")?.clone();
        let release_plan_role =
            self.release_plan_role(parsed.release_plan_role, &release_account)?;
        let layout =
            if parsed.classic_metadata_handling { Layout::Classic } else { Layout::ByTeam };
        let moved_to =
            parsed.upgrade_account_scheme.and_then(|upgrade| upgrade.new_url_for(team, component));
        Ok(AccountScheme {
            file: self.file.to_owned(),
            raw: raw.to_owned(),
            layout,
            moved_to,
            default_region: parsed.default_region,
            release_account,
            release_plan_role,
            release_bucket,
            lambda_bucket,
            lambda_buckets,
            backend,
            encryption,
            plan_encryption,
            terraform_mirror_keys: parsed.terraform_mirror_keys,
            image_registry: self.registry(parsed.image_registry)?,
            accounts,
            policy: parsed.policy.checked(self.file)?,
            defaults: parsed.defaults.checked(self.file)?,
            environments: parsed.environments,
            previews: None,
        })
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: {what}", self.file))
    }

    fn account(
        &self,
        alias: String,
        account: FileAccount,
        default_region: &str,
        is_local: bool,
    ) -> Result<Account> {
        if !is_path_segment(&alias) {
            return Err(self.error(format!(
                "invalid account alias `{}`: expected letters, digits, `_` and `-`",
                printable::excerpt(&alias)
            )));
        }
        if let Some(id) = &account.id
            && (id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(self
                .error(format!(
                    "account `{alias}`: id `{}` is not 12 digits",
                    printable::excerpt(id)
                ))
                .hint("write it in quotes, with its leading zeros"));
        }
        for (key, missing) in [("id", account.id.is_none()), ("role", account.role.is_none())] {
            if missing && !is_local {
                return Err(self.error(format!("account `{alias}` has no `{key}`")));
            }
        }
        if account.id.is_none() && (account.role.is_some() || account.plan_role.is_some()) {
            return Err(self
                .error(format!("account `{alias}` has a role but no `id`"))
                .hint("add the `id` of the account that has the role"));
        }
        for role in account.role.iter().chain(&account.plan_role) {
            self.check_role(&format!("account `{alias}`"), role)?;
        }
        let region_key = match &account.region {
            Some(_) => format!("accounts.{alias}.region"),
            None => "default-region".to_owned(),
        };
        let region = account.region.unwrap_or_else(|| default_region.to_owned());
        if !is_path_segment(&region) {
            return Err(self.error(format!(
                "account `{alias}`: invalid region `{}`",
                printable::excerpt(&region)
            )));
        }
        Ok(Account {
            alias,
            id: account.id,
            role: account.role,
            plan_role: account.plan_role,
            region,
            region_key,
            file: self.file.to_owned(),
        })
    }

    fn check_role(&self, place: &str, role: &str) -> Result<()> {
        match is_role(role) {
            true => Ok(()),
            false => {
                let refused =
                    rejected(role, "the name of a role", "letters, digits and `+=,.@_/-`");
                Err(self.error(format!("{place}: {refused}")))
            }
        }
    }

    fn release_plan_role(&self, role: Option<String>, account: &Account) -> Result<Option<String>> {
        let Some(role) = role else { return Ok(None) };
        self.check_role("`release-plan-role`", &role)?;
        match account.id {
            Some(_) => Ok(Some(role)),
            None => Err(self
                .error(format!(
                    "`release-plan-role` is set, but the account `{}` has no `id`",
                    account.alias
                ))
                .hint("add the `id` of the account that has the role")),
        }
    }

    fn known_account<'s>(
        &self,
        accounts: &'s BTreeMap<String, Account>,
        alias: &str,
        who: &str,
    ) -> Result<&'s Account> {
        accounts.get(alias).ok_or_else(|| {
            let error = self.error(format!(
                "{who} names the account `{alias}`, which `accounts` does not have"
            ));
            match nearest(alias, accounts.keys().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            }
        })
    }

    fn backend(&self, parsed: &SchemeFile) -> Result<StateBackend> {
        if parsed.classic_metadata_handling {
            return match parsed.terraform_backend {
                None => Ok(StateBackend::Classic {
                    use_lockfile: parsed.terraform_backend_s3_use_lockfile,
                }),
                Some(_) => Err(self
                    .error("both `classic-metadata-handling` and `terraform-backend` are set")
                    .hint("keep one: the classic layout has its state in S3")),
            };
        }
        match (&parsed.terraform_backend, &parsed.terraform_backend_s3_bucket) {
            (Some(FileBackend { kind: BackendType::Local, path }), None) => {
                match self.storage("terraform-backend", path)? {
                    Storage::Directory(directory) => Ok(StateBackend::Local { directory }),
                    Storage::Bucket(_) => {
                        Err(self.error("`terraform-backend` of type `local` needs a `file:` path"))
                    }
                }
            }
            (None, Some(bucket)) => self.s3_backend(parsed, bucket),
            (None, None) => Err(self.error("`terraform-backend-s3-bucket` is required")),
            (Some(_), Some(_)) => Err(self
                .error("both `terraform-backend` and `terraform-backend-s3-bucket` are set")
                .hint("keep one")),
        }
    }

    fn s3_backend(&self, parsed: &SchemeFile, bucket: &str) -> Result<StateBackend> {
        let table = parsed.terraform_backend_s3_dynamodb_table.as_deref();
        let table = table.filter(|table| !table.is_empty());
        let invalid = |key: &str, text: &str, what: &str, expected: &str| {
            self.error(format!("`terraform-backend-s3-{key}`: {}", rejected(text, what, expected)))
        };
        if !is_bucket(bucket) {
            return Err(invalid("bucket", bucket, "a bucket name", BUCKET_RULE));
        }
        if let Some(table) = table.filter(|table| !is_table(table)) {
            return Err(invalid("dynamodb-table", table, "a table name", TABLE_RULE));
        }
        Ok(StateBackend::S3 {
            bucket: bucket.to_owned(),
            use_lockfile: parsed.terraform_backend_s3_use_lockfile,
            dynamodb_table: table.map(str::to_owned),
        })
    }

    fn encryption<'s>(
        &self,
        parsed: Option<FileEncryption>,
        places: impl Iterator<Item = &'s Storage>,
        backend: &'s StateBackend,
    ) -> Result<Option<BucketEncryption>> {
        let Some(parsed) = parsed else { return Ok(None) };
        let mut buckets: Vec<&str> = places.filter_map(Storage::bucket).collect();
        if let StateBackend::S3 { bucket, .. } = backend {
            buckets.push(bucket);
        }
        // The state buckets of the classic layout are found later, by their tag.
        let is_classic = matches!(backend, StateBackend::Classic { .. });
        let known = (!is_classic).then_some(buckets.as_slice());
        parsed.check(known).map(Some).map_err(|why| self.error(why))
    }

    fn plan_encryption(
        &self,
        parsed: Option<FilePlanEncryption>,
    ) -> Result<Option<PlanEncryption>> {
        let checked = parsed.map(FilePlanEncryption::check).transpose();
        checked.map_err(|why| self.error(format!("`plan-encryption`: {why}")))
    }

    /// Checks a host with an optional port. A path is not allowed, because components name the
    /// repositories.
    fn registry(&self, text: Option<String>) -> Result<Option<String>> {
        let Some(text) = text else { return Ok(None) };
        let (host, port) = text.split_once(':').unwrap_or((&text, "443"));
        let is_host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        let good = !host.is_empty()
            && host.bytes().all(is_host)
            && port.parse::<u16>().is_ok_and(|port| port > 0);
        // Without a dot or a port, Docker takes the first part of an image's name for a part of its
        // path.
        if good && (host == "localhost" || text.contains(['.', ':'])) {
            return Ok(Some(text));
        }
        Err(self
            .error(format!("`image-registry`: `{}` is not a registry", printable::excerpt(&text)))
            .hint("write a host and, if needed, a port, for example localhost:5000"))
    }

    /// Parses a bucket name or `file:<directory>`.
    fn storage(&self, key: &str, text: &str) -> Result<Storage> {
        let Some(Location::File(path)) = Location::parse(text) else {
            return match is_bucket(text) {
                true => Ok(Storage::Bucket(text.to_owned())),
                false => Err(self.error(format!(
                    "`{key}`: {}",
                    rejected(text, "a storage location", "a bucket name or file:<directory>")
                ))),
            };
        };
        match self.folder {
            _ if path.is_absolute() => Ok(Storage::Directory(path)),
            Some(folder) => Ok(Storage::Directory(folder.join(path))),
            None => Err(self.error(format!(
                "`{key}`: `{text}` is relative, but the scheme is not in a folder"
            ))),
        }
    }
}
