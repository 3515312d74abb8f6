//! The account scheme: which environment lives in which account, and where releases and state are kept.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    guards::Limits,
    identity::Layout,
    names::{Component, Environment, Team},
};
use crate::base::{
    document,
    error::{Error, Result},
    spelling::nearest,
};

/// An account scheme with `{team}` filled in and every reference between its parts checked.
#[derive(Clone, Debug)]
pub(crate) struct AccountScheme {
    /// As it was read, `{team}` not filled in: what a bundle carries.
    pub(crate) raw: String,
    pub(crate) default_region: String,
    pub(crate) release_account: Account,
    pub(crate) release_bucket: Storage,
    pub(crate) lambda_bucket: Option<Storage>,
    /// Region to bucket, for `multi-region`.
    pub(crate) lambda_buckets: BTreeMap<String, Storage>,
    pub(crate) backend: StateBackend,
    pub(crate) layout: Layout,
    /// Where the scheme lies that this component shall use in the place of this one.
    pub(crate) moved_to: Option<String>,
    /// `host[:port]`, where images go instead of to ECR.
    image_registry: Option<String>,
    pub(crate) accounts: BTreeMap<String, Account>,
    /// Limits of deploys that no cdflow.yml can loosen.
    pub(crate) policy: Limits,
    environments: BTreeMap<String, String>,
    /// Previews are where this environment is: cdflow.yml's `preview.account-environment`.
    pub(crate) previews: Option<Environment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) alias: String,
    /// 12 digits, as a string: a leading zero counts. None in a local scheme only.
    pub(crate) id: Option<String>,
    /// The role's name, assumed as `arn:aws:iam::<id>:role/<role>`. None in a local scheme only.
    pub(crate) role: Option<String>,
    /// Assumed in place of `role` where nothing will be applied.
    pub(crate) plan_role: Option<String>,
    pub(crate) region: String,
}

/// Where objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Bucket(String),
    Directory(PathBuf),
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
        /// S3's own lock object. None: not said, so wherever Terraform can (1.10).
        use_lockfile: Option<bool>,
        dynamodb_table: Option<String>,
    },
    Local {
        directory: PathBuf,
    },
    /// In each environment's account: a bucket that is found by its tag, and a table of one name.
    Classic {
        use_lockfile: Option<bool>,
    },
}

/// How an environment was found in the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    ByName,
    /// Only by `"*"`: a typing error would match as well.
    ByDefault,
}

/// What the file says, before its parts are checked against each other.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SchemeFile {
    accounts: BTreeMap<String, FileAccount>,
    release_account: String,
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
    upgrade_account_scheme: Option<UpgradeKeys>,
    #[serde(default)]
    policy: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileAccount {
    id: Option<String>,
    role: Option<String>,
    plan_role: Option<String>,
    region: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileBackend {
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
struct UpgradeKeys {
    #[serde(default)]
    team_whitelist: Vec<String>,
    #[serde(default)]
    component_whitelist: Vec<String>,
    new_url: String,
}

impl AccountScheme {
    /// `file` names the scheme in messages; `folder` is what `file:` places are relative to (None: they must be absolute).
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
        SchemeChecker { file, folder }.check(parsed, raw, team, component)
    }

    /// The environment that is named here and spelled nearly like `typed`, which is not.
    pub(crate) fn spelled_nearly(&self, typed: &Environment) -> Option<&str> {
        let is_named = typed.is_preview() || self.environments.contains_key(typed.as_str());
        let names = self.environments.keys().map(String::as_str).filter(|name| *name != "*");
        if is_named { None } else { nearest(typed.as_str(), names) }
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

    /// The environment by whose name to look for it.
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

    /// Environment (or `"*"`) to the alias of its account.
    pub(crate) fn environments(&self) -> &BTreeMap<String, String> {
        &self.environments
    }

    /// Where a lambda zip goes: region to place. One place, unless the component is multi-region.
    pub(crate) fn lambda_places(&self, multi_region: bool) -> Result<BTreeMap<String, Storage>> {
        if multi_region {
            if self.lambda_buckets.is_empty() {
                return Err(Error::input(
                    "cdflow.yml says `multi-region: true`, but the account scheme has no `lambda-buckets`",
                )
                .hint("add `lambda-buckets: {\"<region>\": \"<bucket>\"}` to the account scheme"));
            }
            return Ok(self.lambda_buckets.clone());
        }
        let place = self.lambda_bucket.clone().ok_or_else(|| {
            Error::input("the account scheme has no `lambda-bucket`, which a component of type `lambda` needs")
                .hint("add `lambda-bucket` to the account scheme")
        })?;
        Ok(BTreeMap::from([(self.default_region.clone(), place)]))
    }
}

impl UpgradeKeys {
    fn new_url_for(self, team: &Team, component: &Component) -> Option<String> {
        let listed = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        (listed(&self.team_whitelist, team.as_str())
            || listed(&self.component_whitelist, component.as_str()))
        .then_some(self.new_url)
    }
}

impl AccountScheme {
    pub(crate) fn image_registry(&self) -> Result<ImageRegistry> {
        match (&self.image_registry, &self.release_account.id) {
            (Some(host), _) => Ok(ImageRegistry::Host(host.clone())),
            (None, Some(id)) => Ok(ImageRegistry::Ecr { account_id: id.clone() }),
            (None, None) => Err(Error::input("the account scheme has no registry for images")
                .why("its release account has no `id`, so it has no ECR, and there is no `image-registry`")
                .hint("add `image-registry` to the account scheme, for instance localhost:5000")),
        }
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
        let release_bucket = self.place("release-bucket", &parsed.release_bucket)?;
        let lambda_bucket = match parsed.lambda_bucket.as_deref() {
            None | Some("") => None,
            Some(text) => Some(self.place("lambda-bucket", text)?),
        };
        let mut lambda_buckets = BTreeMap::new();
        for (region, text) in &parsed.lambda_buckets {
            lambda_buckets.insert(region.clone(), self.place("lambda-buckets", text)?);
        }
        if lambda_bucket.iter().chain(lambda_buckets.values()).any(|place| *place == release_bucket)
        {
            return Err(self
                .error("`release-bucket` and a lambda bucket are the same place")
                .hint("use two buckets: a release and its lambda zip have the same key"));
        }
        let backend = self.backend(&parsed)?;
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
        let layout =
            if parsed.classic_metadata_handling { Layout::Classic } else { Layout::ByTeam };
        let moved_to =
            parsed.upgrade_account_scheme.and_then(|upgrade| upgrade.new_url_for(team, component));
        Ok(AccountScheme {
            raw: raw.to_owned(),
            layout,
            moved_to,
            default_region: parsed.default_region,
            release_account,
            release_bucket,
            lambda_bucket,
            lambda_buckets,
            backend,
            image_registry: self.registry(parsed.image_registry)?,
            accounts,
            policy: parsed.policy,
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
                "account alias `{}` is refused: letters, digits, `_` and `-`",
                alias.escape_debug()
            )));
        }
        if let Some(id) = &account.id
            && (id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(self
                .error(format!("account `{alias}`: id `{}` is not 12 digits", id.escape_debug()))
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
                .hint("a role is in an account: add its `id`"));
        }
        let region = account.region.unwrap_or_else(|| default_region.to_owned());
        if !is_path_segment(&region) {
            return Err(self.error(format!(
                "account `{alias}`: region `{}` is refused",
                region.escape_debug()
            )));
        }
        Ok(Account {
            alias,
            id: account.id,
            role: account.role,
            plan_role: account.plan_role,
            region,
        })
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
                match self.place("terraform-backend", path)? {
                    Storage::Directory(directory) => Ok(StateBackend::Local { directory }),
                    Storage::Bucket(_) => {
                        Err(self.error("`terraform-backend` of type `local` needs a `file:` path"))
                    }
                }
            }
            (None, Some(bucket)) => Ok(StateBackend::S3 {
                bucket: bucket.clone(),
                use_lockfile: parsed.terraform_backend_s3_use_lockfile,
                dynamodb_table: parsed
                    .terraform_backend_s3_dynamodb_table
                    .clone()
                    .filter(|table| !table.is_empty()),
            }),
            (None, None) => Err(self.error("`terraform-backend-s3-bucket` is required")),
            (Some(_), Some(_)) => Err(self
                .error("both `terraform-backend` and `terraform-backend-s3-bucket` are set")
                .hint("keep one")),
        }
    }

    /// A host, with a port where it has one. Repositories are the components, so there is no path.
    fn registry(&self, text: Option<String>) -> Result<Option<String>> {
        let Some(text) = text else { return Ok(None) };
        let (host, port) = text.split_once(':').unwrap_or((&text, "443"));
        let is_host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        let good = !host.is_empty()
            && host.bytes().all(is_host)
            && port.parse::<u16>().is_ok_and(|port| port > 0);
        // Without a dot or a port, Docker takes the first part of an image's name for a part of its path.
        if good && (host == "localhost" || text.contains(['.', ':'])) {
            return Ok(Some(text));
        }
        Err(self
            .error(format!("`image-registry`: `{}` is no registry", text.escape_debug()))
            .hint("it is a host, with its port where it has one: localhost:5000"))
    }

    /// A bucket's name, or `file:<directory>`.
    fn place(&self, key: &str, text: &str) -> Result<Storage> {
        let Some(path) = text.strip_prefix("file:") else {
            let good = (3..=63).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b));
            return match good {
                true => Ok(Storage::Bucket(text.to_owned())),
                false => {
                    Err(self.error(format!("`{key}`: `{}` is no bucket name", text.escape_debug())))
                }
            };
        };
        let path = Path::new(path.strip_prefix("//").unwrap_or(path));
        match self.folder {
            _ if path.as_os_str().is_empty() => {
                Err(self.error(format!("`{key}`: `file:` names no directory")))
            }
            _ if path.is_absolute() => Ok(Storage::Directory(path.to_owned())),
            Some(folder) => Ok(Storage::Directory(folder.join(path))),
            None => Err(self
                .error(format!("`{key}`: `{text}` is relative, but the scheme lies in no folder"))),
        }
    }
}

fn is_path_segment(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Of the scheme that a bundle carries: where each environment was, when the release was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FrozenAccount {
    pub(crate) alias: String,
    pub(crate) id: Option<String>,
    pub(crate) region: String,
}

/// Lenient: a bundle may be older or newer than this program, and only three facts of it are needed.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FrozenFile {
    accounts: BTreeMap<String, FrozenFileAccount>,
    default_region: String,
    environments: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct FrozenFileAccount {
    id: Option<String>,
    region: Option<String>,
}

impl FrozenAccount {
    /// The account of `environment` (a preview's: as it is listed) by the bundle's account-scheme.json.
    pub(crate) fn find(raw: &str, team: &Team, environment: &Environment) -> Result<Self> {
        let file = "account-scheme.json of the bundle";
        let mut parsed: FrozenFile =
            document::from_json(file, &raw.replace("{team}", team.as_str()))?;
        let alias = parsed
            .environments
            .get(environment.as_str())
            .or_else(|| parsed.environments.get("*"))
            .cloned();
        let found =
            alias.and_then(|alias| parsed.accounts.remove(&alias).map(|account| (alias, account)));
        let (alias, account) = found.ok_or_else(|| {
            Error::input(format!(
                "this release was made before the account scheme had an environment `{environment}`"
            ))
            .hint("make a new release and deploy that one")
        })?;
        Ok(Self { alias, id: account.id, region: account.region.unwrap_or(parsed.default_region) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWS: &str = r#"{
  "accounts": {
    "prod": {"id": "012345678901", "role": "cdflow-{team}"},
    "dev": {"id": "123456789012", "role": "cdflow", "region": "eu-central-1", "plan-role": "cdflow-plan"}
  },
  "release-account": "dev",
  "release-bucket": "acme-{team}-releases",
  "lambda-bucket": "acme-lambdas",
  "default-region": "eu-west-1",
  "environments": {"live": "prod", "*": "dev"},
  "terraform-backend-s3-bucket": "acme-state",
  "terraform-backend-s3-dynamodb-table": "locks"
}"#;

    fn parse(text: &str) -> Result<AccountScheme> {
        let (team, component) = ("platform".parse().unwrap(), "checkout".parse().unwrap());
        AccountScheme::parse("scheme.json", Some(Path::new("/org")), text, &team, &component)
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn environment(name: &str) -> Environment {
        name.parse().unwrap()
    }

    #[test]
    fn team_region_and_star() {
        let scheme = parse(AWS).unwrap();
        assert_eq!(scheme.release_bucket, Storage::Bucket("acme-platform-releases".into()));
        let (live, matched) = scheme.account_of(&environment("live")).unwrap();
        assert_eq!(
            (live.role.as_deref(), live.region.as_str(), matched),
            (Some("cdflow-platform"), "eu-west-1", Matched::ByName)
        );
        assert_eq!(live.id.as_deref(), Some("012345678901"));
        let (ci, matched) = scheme.account_of(&environment("ci")).unwrap();
        assert_eq!(
            (ci.alias.as_str(), ci.region.as_str(), matched),
            ("dev", "eu-central-1", Matched::ByDefault)
        );
        assert!(scheme.raw.contains("{team}"));
    }

    #[test]
    fn team_in_keys() {
        let text = AWS.replace("\"live\": \"prod\", \"*\": \"dev\"", "\"{team}-live\": \"prod\"");
        let scheme = parse(&text).unwrap();
        assert!(scheme.account_of(&environment("platform-live")).is_ok());
        let unknown = scheme.account_of(&environment("platform-liev")).unwrap_err().to_string();
        assert!(unknown.contains("did you mean `platform-live`?"), "{unknown}");
    }

    #[test]
    fn account_ids_keep_their_zeros() {
        let number = message(&AWS.replace("\"123456789012\"", "12345678901"));
        assert!(
            number.contains("`12345678901` is not 12 digits") && number.contains("quotes"),
            "{number}"
        );
        assert!(
            message(&AWS.replace("\"012345678901\"", "012345678901")).contains("not valid JSON")
        );
    }

    #[test]
    fn contradictions() {
        for (from, to, says) in [
            ("acme-lambdas", "acme-{team}-releases", "same place"),
            (
                "\"terraform-backend-s3-bucket\": \"acme-state\",",
                "",
                "`terraform-backend-s3-bucket` is required",
            ),
            (
                "\"release-account\": \"dev\"",
                "\"release-account\": \"devv\"",
                "did you mean `dev`?",
            ),
            ("\"live\": \"prod\"", "\"li.ve\": \"prod\"", "environment `li.ve` is refused"),
            ("\"role\": \"cdflow\", ", "", "account `dev` has no `role`"),
            ("acme-lambdas", "Acme Lambdas", "no bucket name"),
            (
                "\"lambda-bucket\"",
                "\"lambda-bukcet\"",
                "scheme.json:8:3: unknown key `lambda-bukcet`\n  -> did you mean `lambda-bucket`?",
            ),
        ] {
            let refused = message(&AWS.replace(from, to));
            assert!(refused.contains(says), "{refused}");
        }
        let both = AWS.replacen(
            '{',
            r#"{"classic-metadata-handling": true, "terraform-backend": {"type": "local", "path": "file:s"},"#,
            1,
        );
        assert!(
            message(&both).contains("both `classic-metadata-handling` and `terraform-backend`")
        );
    }

    #[test]
    fn whoever_is_listed_has_moved() {
        let moved_to = |lists: &str| {
            let upgrade = format!(
                "{{\"upgrade-account-scheme\": {{{lists} \"new-url\": \"s3://new/x.json\"}},"
            );
            parse(&AWS.replacen('{', &upgrade, 1)).unwrap().moved_to
        };
        for lists in
            ["\"team-whitelist\": [\"platform\"],", "\"component-whitelist\": [\"checkout\"],"]
        {
            assert_eq!(moved_to(lists).as_deref(), Some("s3://new/x.json"), "{lists}");
        }
        assert_eq!(
            moved_to(
                "\"team-whitelist\": [\"checkout\"], \"component-whitelist\": [\"platform\"],"
            ),
            None
        );
    }

    #[test]
    fn a_classic_scheme_needs_no_state_bucket() {
        let without = AWS.replace(
            "\"terraform-backend-s3-bucket\": \"acme-state\",",
            "\"classic-metadata-handling\": true,",
        );
        let scheme = parse(&without).unwrap();
        assert_eq!(
            (scheme.backend, scheme.layout),
            (StateBackend::Classic { use_lockfile: None }, Layout::Classic)
        );
        assert_eq!(parse(AWS).unwrap().layout, Layout::ByTeam);
    }

    #[test]
    fn a_local_scheme_needs_no_ids() {
        let local = r#"{"accounts": {"local": {}}, "release-account": "local", "release-bucket": "file:store",
            "lambda-bucket": "file:/lambdas", "default-region": "local", "environments": {"*": "local"},
            "terraform-backend": {"type": "local", "path": "file:state"}}"#;
        let scheme = parse(local).unwrap();
        assert_eq!(scheme.release_bucket, Storage::Directory("/org/store".into()));
        assert_eq!(scheme.lambda_bucket, Some(Storage::Directory("/lambdas".into())));
        assert_eq!(scheme.backend, StateBackend::Local { directory: "/org/state".into() });
        assert!(message(&local.replace("file:store", "bucket")).contains("has no `id`"));
    }

    #[test]
    fn where_images_go() {
        let with = |registry: &str| {
            parse(&AWS.replacen('{', &format!("{{\"image-registry\": \"{registry}\","), 1))
        };
        assert_eq!(
            parse(AWS).unwrap().image_registry().unwrap(),
            ImageRegistry::Ecr { account_id: "123456789012".into() }
        );
        for good in ["localhost:5000", "localhost", "registry.acme.com", "ghcr.io:443"] {
            assert_eq!(
                with(good).unwrap().image_registry().unwrap(),
                ImageRegistry::Host(good.into())
            );
        }
        for bad in [
            "",
            "acme",
            "http://localhost:5000",
            "localhost:",
            "localhost:0",
            "ghcr.io/acme",
            "Acme.com",
        ] {
            assert!(with(bad).unwrap_err().to_string().contains("is no registry"), "{bad}");
        }
    }

    #[test]
    fn frozen_is_lenient() {
        let team = "platform".parse().unwrap();
        let newer = AWS.replacen('{', "{\"from-the-future\": 1,", 1);
        let live = FrozenAccount::find(&newer, &team, &environment("live")).unwrap();
        assert_eq!(live.id.as_deref(), Some("012345678901"));
        assert_eq!((live.alias.as_str(), live.region.as_str()), ("prod", "eu-west-1"));
        let gone = AWS.replace(", \"*\": \"dev\"", "");
        assert!(FrozenAccount::find(&gone, &team, &environment("ci")).is_err());
    }
}
