//! `cdflow.yml`, the configuration of a component.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use serde::Deserialize;

use super::{
    approvals::Approvals,
    comments::Comments,
    duration::HumanDuration,
    guards::{EnvironmentGuards, GuardSettings, Protected},
    hooks::Hooks,
    location::{Location, rejected},
    names::{self, Component, Environment, Image, Team},
    notify::{self, Notify},
    platforms::ProviderPlatforms,
    preview::Preview,
    secrets::{CredstashSettings, SecretSources},
    variable_name::VariableName,
    version_constraint::Constraint,
};
use crate::base::{
    document,
    error::{Error, Result},
    printable,
};

pub(crate) const FILE: &str = "cdflow.yml";

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) account_scheme_url: SchemeUrl,
    pub(crate) team: Team,
    #[serde(rename = "type")]
    pub(crate) kind: ComponentType,
    /// Default: the name of the git remote, else of GITHUB_REPOSITORY.
    pub(crate) component: Option<Component>,
    #[serde(default = "default_tfstate_filename")]
    pub(crate) tfstate_filename: StateFilename,
    /// Lambda zips go to every region of the scheme's `lambda-buckets`.
    #[serde(default)]
    pub(crate) multi_region: bool,
    pub(crate) terraform_version: Option<Constraint>,
    /// Deploys with OpenTofu instead of Terraform.
    pub(crate) opentofu_version: Option<Constraint>,
    /// The platforms that a release has providers for. Default: that of the runner.
    pub(crate) terraform_platforms: Option<ProviderPlatforms>,
    pub(crate) lambda: Option<Lambda>,
    pub(crate) docker: Option<Docker>,
    pub(crate) function: Option<Function>,
    #[serde(default)]
    pub(crate) release: ReleaseSettings,
    #[serde(default)]
    pub(crate) deploy: Deploy,
    /// Programs that judge a plan or follow an apply.
    #[serde(default)]
    pub(crate) hooks: Hooks,
    pub(crate) notify: Option<Vec<Notify>>,
    #[serde(default)]
    pub(crate) preview: Preview,
    #[serde(default)]
    pub(crate) report: ReportSettings,
    /// The commands in comments that are carried out. Default: none.
    #[serde(default)]
    pub(crate) comments: Comments,
    /// The sources of the environment's secrets. Default: credstash, if the code declares `variable
    /// "secrets"`.
    pub(crate) secrets: Option<SecretSources>,
    #[serde(default)]
    pub(crate) credstash: CredstashSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ComponentType {
    /// Terraform code alone
    Infrastructure,
    /// Terraform code and a zip for AWS Lambda
    Lambda,
    /// Terraform code and a Docker image
    Docker,
    /// Terraform code and an image of a Rust function
    Function,
}

impl ComponentType {
    pub(crate) fn has_image(self) -> bool {
        !matches!(self, Self::Infrastructure | Self::Lambda)
    }
}

/// The location of the account scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SchemeUrl {
    S3 {
        bucket: String,
        key: String,
    },
    /// Relative to the folder of cdflow.yml.
    Path(PathBuf),
}

/// The name of the state object, one path segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateFilename(pub(crate) String);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Lambda {
    /// Default: the folder named like the component, else `src`.
    pub(crate) source: Option<PathBuf>,
    /// Globs, relative to the source folder.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
}

/// How the image is built.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Docker {
    /// Default: the folder of cdflow.yml.
    pub(crate) context: Option<PathBuf>,
    /// Relative to the folder of cdflow.yml. Default: `Dockerfile` in the context.
    pub(crate) dockerfile: Option<PathBuf>,
    /// The stage that becomes the image. Default: the last.
    pub(crate) target: Option<String>,
    /// One, such as `linux/arm64`. Default: the engine's.
    #[serde(default)]
    pub(crate) platforms: Vec<Platform>,
    #[serde(default)]
    pub(crate) build_args: BTreeMap<String, String>,
    /// Environment variables that the build may mount as secrets of the same name.
    #[serde(default)]
    pub(crate) secrets: Vec<VariableName>,
    pub(crate) cache: Option<LayerCache>,
    /// Makes the tags of a repository that cdflow creates immutable; then no image is tagged
    /// `latest`.
    #[serde(default)]
    pub(crate) immutable_tags: bool,
}

/// `linux/amd64`, `linux/arm/v7`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platform(pub(crate) String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LayerCache {
    /// Reuses layers of the image tagged `latest`; each image records how its layers were built.
    Inline,
}

/// How a function becomes an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Function {
    pub(crate) build_image: Option<Image>,
    pub(crate) runtime_image: Option<Image>,
}

/// How releases of this component are stored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ReleaseSettings {
    /// Default: in the bundle.
    pub(crate) providers: Option<ProviderStorage>,
}

/// Where provider binaries are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProviderStorage {
    /// In the bundle of each release.
    Bundle,
    /// Once in the release store.
    Shared,
}

/// How deployments of this component behave.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Deploy {
    /// How long Terraform waits for the state lock. Default: not at all.
    pub(crate) lock_timeout: Option<HumanDuration>,
    /// The environments that the component is for. Default: all of the account scheme.
    pub(crate) only: Option<Vec<Environment>>,
    /// Refuses to deploy without a state, unless `new-environment` is set.
    pub(crate) require_state: Option<bool>,
    /// Whether to create GitHub deployments. Default: true.
    pub(crate) github_deployments: Option<bool>,
    /// The Terraform output that contains the URL of the environment.
    pub(crate) url_output: Option<String>,
    /// Whether plans of pull requests are kept for `--reviewed`. Default: true.
    pub(crate) store_plans: Option<bool>,
    // The fields of `GuardSettings`; serde can't both flatten and refuse unknown keys.
    max_destroy: Option<usize>,
    #[serde(default)]
    protect: Vec<Protected>,
    prevent_destroy: Option<bool>,
    #[serde(default, deserialize_with = "names::label")]
    allow_destroy_label: Option<String>,
    require_review: Option<bool>,
    approvals: Option<Approvals>,
    #[serde(default)]
    environments: BTreeMap<Environment, EnvironmentGuards>,
}

/// What reports show.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ReportSettings {
    /// More resources whose loss is a loss of data.
    pub(crate) stateful: Option<Vec<Protected>>,
}

impl Deploy {
    /// Whether the component is for the environment. It always has previews.
    pub(crate) fn is_for(&self, environment: &Environment) -> bool {
        environment.is_preview() || self.only.as_ref().is_none_or(|only| only.contains(environment))
    }

    pub(crate) fn limits(&self) -> GuardSettings {
        let (protect, environments) = (self.protect.clone(), self.environments.clone());
        let allow_destroy_label = self.allow_destroy_label.clone();
        GuardSettings {
            max_destroy: self.max_destroy,
            protect,
            prevent_destroy: self.prevent_destroy,
            allow_destroy_label,
            require_review: self.require_review,
            approvals: self.approvals.clone(),
            environments,
        }
    }
}

impl Manifest {
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        let read = document::from_yaml(file, text);
        let manifest: Self = read.map_err(|error| match scheme_key(text) {
            Some(key) => error.hint(format!("`{key}` is a key of the account scheme")),
            None => error,
        })?;
        document::check_values(file, text)?;
        if manifest.terraform_version.is_some() && manifest.opentofu_version.is_some() {
            return Err(Error::input(format!(
                "{file}: both `terraform-version` and `opentofu-version` are set"
            ))
            .hint("keep the one that this component deploys with"));
        }
        if manifest.lambda.is_some() && manifest.kind != ComponentType::Lambda {
            return Err(Error::input(format!(
                "{file}: `lambda` is for components of type `lambda`"
            ))
            .hint("remove `lambda`"));
        }
        if manifest.function.is_some() && manifest.kind != ComponentType::Function {
            return Err(Error::input(format!(
                "{file}: `function` is for components of type `function`"
            ))
            .hint("remove `function`"));
        }
        match &manifest.docker {
            Some(_) if manifest.kind != ComponentType::Docker => {
                return Err(Error::input(format!(
                    "{file}: `docker` is for components of type `docker`"
                ))
                .hint("remove `docker`"));
            }
            Some(docker) => docker.check(file)?,
            None => {}
        }
        if manifest.multi_region && manifest.kind != ComponentType::Lambda {
            return Err(Error::input(format!(
                "{file}: `multi-region` is for components of type `lambda`"
            ))
            .hint("remove `multi-region`"));
        }
        if let Some(environment) = manifest.deploy.limits().waiting_for_itself() {
            return Err(Error::input(format!(
                "{file}: `{environment}` in `deploy.environments` requires itself"
            ))
            .hint(format!(
                "remove `requires` there, or name the environment that comes before `{environment}`"
            )));
        }
        notify::check(file, manifest.notify.as_deref().unwrap_or_default())?;
        manifest.preview.check(file)?;
        manifest.hooks.check(file)?;
        Ok(manifest)
    }
}

/// Returns a key in cdflow.yml that only the account scheme has.
fn scheme_key(text: &str) -> Option<&'static str> {
    const KEYS: [&str; 9] = [
        "accounts",
        "default-region",
        "environments",
        "lambda-bucket",
        "plan-encryption",
        "policy",
        "release-account",
        "release-bucket",
        "terraform-backend",
    ];
    let has = |key: &&str| {
        text.lines().any(|line| line.strip_prefix(*key).is_some_and(|rest| rest.starts_with(':')))
    };
    KEYS.into_iter().find(has)
}

impl Docker {
    fn check(&self, file: &str) -> Result<()> {
        if self.platforms.len() > 1 {
            return Err(Error::input(format!("{file}: `docker.platforms` names more than one"))
                .why(
                    "the engine's API builds an image for one platform, and AWS Lambda accepts no \
                      other image",
                )
                .hint("keep one; a component for each platform can share the code"));
        }
        if self.cache.is_some() && self.immutable_tags {
            return Err(Error::input(format!(
                "{file}: `docker.cache` can't be used with `immutable-tags`"
            ))
            .why(
                "the cache is the image tagged `latest`, which does not exist if tags are \
                  immutable",
            )
            .hint("keep one of the two"));
        }
        if let Some(name) = self.secrets.iter().find(|name| self.build_args.contains_key(&name.0)) {
            return Err(Error::input(format!(
                "{file}: `{}` is a secret and a build argument",
                name.0
            ))
            .why("a build argument can be read from the image")
            .hint("remove it from `docker.build-args`"));
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let parts = text.split('/').count();
        if (2..=3).contains(&parts) && text.split('/').all(is_word) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{}` is not a platform: expected os/architecture, such as `linux/arm64`",
            printable::excerpt(text)
        ))
    }
}

impl FromStr for SchemeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Location::parse(text) {
            Some(Location::Object { bucket, key }) => Ok(Self::S3 { bucket, key }),
            Some(Location::Path(path) | Location::File(path)) => Ok(Self::Path(path)),
            None => Err(rejected(text, "an account scheme location", "s3://bucket/key or a path")),
        }
    }
}

impl fmt::Display for SchemeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for StateFilename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !text.is_empty() && text.bytes().all(plain) && !text.starts_with('.') {
            return Ok(Self(text.to_owned()));
        }
        Err("expected one file name of letters, digits, `.`, `_` and `-`".to_owned())
    }
}

fn default_tfstate_filename() -> StateFilename {
    StateFilename("terraform.tfstate".to_owned())
}

deserialize_from_str!(SchemeUrl, StateFilename, Platform);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secrets::SecretSource;

    fn parse(text: &str) -> Result<Manifest> {
        Manifest::parse(FILE, text)
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    const SMALL: &str = "account-scheme-url: s3://acme/scheme.json\nteam: platform\ntype: lambda\n";

    #[test]
    fn a_message_quotes_no_control_characters() {
        for line in ["\"\\e[2J\": 1", "deploy: {\"\\e[2J\": 1}", "multi-region: \"\\e[2J\""] {
            let message = message(&format!("{SMALL}{line}\n"));
            assert!(!message.contains('\u{1b}'), "{message:?}");
        }
    }

    #[test]
    fn the_smallest() {
        let manifest = parse(SMALL).unwrap();
        assert_eq!(manifest.account_scheme_url.to_string(), "s3://acme/scheme.json");
        assert_eq!(manifest.tfstate_filename.0, "terraform.tfstate");
        assert_eq!(manifest.kind, ComponentType::Lambda);
        assert!(
            manifest.component.is_none()
                && !manifest.multi_region
                && manifest.deploy.require_state.is_none()
        );
    }

    #[test]
    fn durations() {
        let manifest = parse(&format!("{SMALL}deploy: {{lock-timeout: 5m}}\n")).unwrap();
        assert_eq!(manifest.deploy.lock_timeout.unwrap().to_string(), "300s");
        for bad in ["5", "m", "5 m", "-5m", "5w", "5é", "99999999999d"] {
            assert!(bad.parse::<HumanDuration>().is_err(), "{bad}");
        }
    }

    #[test]
    fn where_secrets_are() {
        let secrets = |text: &str| parse(&format!("{SMALL}secrets: {text}\n"));
        assert_eq!(parse(SMALL).unwrap().secrets, None);
        assert_eq!(secrets("none").unwrap().secrets, Some(SecretSources::None));
        assert_eq!(
            secrets("[ssm, credstash]").unwrap().secrets,
            Some(SecretSources::From(vec![SecretSource::Ssm, SecretSource::Credstash]))
        );
        for bad in ["nope", "[]", "[ssm, ssm]", "[vault]", "3"] {
            let refused = secrets(bad).unwrap_err().to_string();
            assert!(refused.starts_with("cdflow.yml:4:"), "{refused}");
        }
    }

    #[test]
    fn mistakes_are_placed_and_named() {
        assert_eq!(
            message("account-scheme-url: s3://a/b\ntema: x\ntype: lambda\n"),
            "cdflow.yml:2:1: unknown key `tema`\n  -> did you mean `team`?"
        );
        assert_eq!(
            message("account-scheme-url: s3://a/b\nteam: x\ntype: lambada\n"),
            "cdflow.yml:3:7: unknown value `lambada`\n  -> did you mean `lambda`?"
        );
        let refused = message("account-scheme-url: s3://a/b\nteam: X\ntype: lambda\n");
        assert!(refused.starts_with("cdflow.yml:2:7: invalid team `X`"), "{refused}");
        for url in ["s3://", "s3://a", "s3://a/", "https://a/b", "''"] {
            assert!(
                message(&format!("account-scheme-url: {url}\nteam: x\ntype: lambda\n"))
                    .starts_with("cdflow.yml:1:21: ")
            );
        }
    }

    #[test]
    fn a_mistake_in_approvals_names_the_key() {
        let of = |approvals: &str| {
            message(&format!(
                "{SMALL}deploy: {{environments: {{live: {{approvals: {approvals}}}}}}}\n"
            ))
        };
        for (approvals, says) in [
            ("0", "`deploy.environments.live.approvals`: expected 1 or more"),
            ("{count: 0}", "`deploy.environments.live.approvals.count`: expected 1 or more"),
            ("{teams: ['']}", "`deploy.environments.live.approvals.teams[0]`: `` is not a team"),
            ("{code-owner: true}", "did you mean `code-owners`?"),
            ("{count: }", "the value is missing"),
        ] {
            let error = of(approvals);
            assert!(error.starts_with("cdflow.yml:4:") && error.contains(says), "{error}");
        }
    }

    const DOCKER: &str = "account-scheme-url: a.json\nteam: x\ntype: docker\n";

    #[test]
    fn how_an_image_is_built() {
        let docker = |text: &str| {
            parse(&format!("{DOCKER}docker: {{{text}}}\n")).map(|it| it.docker.unwrap())
        };
        assert!(parse(DOCKER).unwrap().docker.is_none());
        let full = docker(
            "context: app, dockerfile: app/x.Dockerfile, target: run, platforms: [linux/arm64], \
             build-args: {V: 1.20}, \
             secrets: [NPM_TOKEN], cache: inline",
        )
        .unwrap();
        assert_eq!(
            (full.build_args["V"].as_str(), full.cache, full.immutable_tags),
            ("1.20", Some(LayerCache::Inline), false)
        );
        assert_eq!(
            (full.platforms, full.secrets),
            (vec![Platform("linux/arm64".into())], vec![VariableName("NPM_TOKEN".into())])
        );
        for (bad, says) in [
            ("platform: linux/amd64", "did you mean `platforms`?"),
            ("platforms: [linux/amd64, linux/arm64]", "names more than one"),
            ("platforms: [amd64]", "such as `linux/arm64`"),
            ("secrets: [A=b]", "`A=…` is not the name"),
            ("secrets: [A], build-args: {A: b}", "a secret and a build argument"),
            ("cache: inline, immutable-tags: true", "keep one of the two"),
            ("cache: registry", "unknown value `registry`"),
        ] {
            let refused = docker(bad).unwrap_err().to_string();
            assert!(refused.starts_with("cdflow.yml:") && refused.contains(says), "{refused}");
        }
        assert!(
            message(&format!("{SMALL}docker: {{}}\n"))
                .contains("`docker` is for components of type `docker`")
        );
    }

    #[test]
    fn images_of_a_function() {
        let function = |text: &str| {
            parse(&format!(
                "account-scheme-url: a.json\nteam: x\ntype: function\nfunction: {{{text}}}\n"
            ))
        };
        let images =
            function("build-image: rust:1, runtime-image: scratch").unwrap().function.unwrap();
        assert_eq!(
            (images.build_image.unwrap().as_str(), images.runtime_image.unwrap().as_str()),
            ("rust:1", "scratch")
        );
        let refused = function("build-image: Rust").unwrap_err().to_string();
        assert!(
            refused.starts_with("cdflow.yml:4:") && refused.contains("invalid image `Rust`"),
            "{refused}"
        );
        assert!(
            function("build-imag: a")
                .unwrap_err()
                .to_string()
                .contains("did you mean `build-image`?")
        );
    }

    #[test]
    fn combinations_that_contradict() {
        let text =
            "account-scheme-url: a.json\nteam: x\ntype: infrastructure\nlambda: {source: src}\n";
        assert!(message(text).contains("`lambda` is for"));
        assert!(
            message(&format!("{SMALL}function: {{}}\n"))
                .contains("`function` is for components of type `function`")
        );
        assert!(
            message(&format!("{SMALL}terraform-version: 1.11.4\nopentofu-version: 1.8.0\n"))
                .contains("both")
        );
        assert!(
            message(
                "account-scheme-url: a.json\nteam: x\ntype: infrastructure\nmulti-region: true\n"
            )
            .contains("lambda")
        );
    }
}
