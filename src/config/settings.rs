//! Values that flags and inputs set, and that layers below the commands use.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use clap::Args;

use super::names::Image;
use crate::base::{printable, redact::Secret};

/// The AWS identity and region that a run starts with, before it assumes any role of the account
/// scheme.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AwsInputs {
    /// Role to assume first, with GitHub's OIDC token (on GitHub Actions)
    #[arg(long, global = true, value_name = "ARN")]
    pub(crate) aws_role_to_assume: Option<RoleArn>,
    /// Region of the account scheme's bucket [default: AWS_REGION]
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) aws_region: Option<String>,
    /// Audience of GitHub's OIDC token [default: sts.amazonaws.com]
    #[arg(long, global = true, value_name = "AUDIENCE")]
    pub(crate) aws_audience: Option<String>,
}

/// The ARN of an IAM role, such as `arn:aws:iam::111111111111:role/ci-runner`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleArn(String);

impl RoleArn {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let is_arn = match parts.as_slice() {
            ["arn", partition, "iam", "", account, role] => {
                partition.starts_with("aws")
                    && account.len() == 12
                    && account.bytes().all(|byte| byte.is_ascii_digit())
                    && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
                    && role.bytes().all(|byte| byte.is_ascii_graphic())
            }
            _ => false,
        };
        match is_arn {
            true => Ok(Self(text.to_owned())),
            // The end of `${{ vars.NAME }}-live` remains if the variable is not set.
            false if text.starts_with('-') => Err(format!(
                "expected arn:aws:iam::<12 digits>:role/<name>, but the expression before \
                 `{}` has no value: set the variable that it names for this repository",
                printable::excerpt(text)
            )),
            false => Err("expected arn:aws:iam::<12 digits>:role/<name>".to_owned()),
        }
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `terraform init` needs at release to download modules and providers.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Download options")]
pub(crate) struct FetchInputs {
    /// Private key file for modules from git over SSH
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_key: Option<FileInput>,
    /// File of SSH host keys (HOST TYPE KEY per line); GitHub's are built in
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_known_hosts: Option<FileInput>,
    /// File of logins for modules over HTTPS, in netrc format
    #[arg(long, value_name = "FILE")]
    pub(crate) netrc: Option<FileInput>,
}

/// Where cdflow keeps downloads for later runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CacheChoice {
    Folder(PathBuf),
    /// `none`: nowhere.
    Off,
}

impl FromStr for CacheChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("name a folder, or `none`"),
            "none" => Ok(Self::Off),
            folder => Ok(Self::Folder(folder.into())),
        }
    }
}

/// A text that is, or might be, secret. The command line names its file; an input contains it.
#[derive(Clone, Debug)]
pub(crate) enum FileInput {
    File(PathBuf),
    Content(Secret),
}

impl FileInput {
    /// Reads an input that contains certificates or names their file.
    pub(crate) fn of_certificates(text: Secret) -> Self {
        match text.expose().contains("-----BEGIN") {
            true => Self::Content(text),
            false => Self::File(text.expose().into()),
        }
    }
}

impl FromStr for FileInput {
    type Err = Infallible;

    fn from_str(path: &str) -> Result<Self, Infallible> {
        Ok(Self::File(path.into()))
    }
}

/// The base images of a component of type `function`. The aliases are roche's flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Function options")]
pub(crate) struct FunctionImages {
    /// Image to compile the function in [default: .rocherc, cdflow.yml or roche's]
    #[arg(short, long, visible_alias = "buildimage", value_name = "IMAGE")]
    pub(crate) build_image: Option<Image>,
    /// Image to run the function in [default: .rocherc, cdflow.yml or roche's]
    #[arg(short, long, visible_alias = "runtime", value_name = "IMAGE")]
    pub(crate) runtime_image: Option<Image>,
}

/// Whether only what was reviewed is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reviewed {
    /// As cdflow.yml and the policy say.
    Unset,
    /// A new plan that does the same.
    Same,
    /// The stored plan itself.
    Exact,
}

impl FromStr for Reviewed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Self::Same),
            "exact" => Ok(Self::Exact),
            "false" => Ok(Self::Unset),
            _ => Err("expected `true`, `exact` or `false`"),
        }
    }
}

/// When a run comments on its pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commenting {
    Always,
    /// A plan without changes creates no comment; it still updates its row in an existing one.
    ChangesOnly,
    Never,
}

impl FromStr for Commenting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "true" => Ok(Self::Always),
            "changes-only" => Ok(Self::ChangesOnly),
            "false" => Ok(Self::Never),
            _ => Err("expected `true`, `changes-only` or `false`"),
        }
    }
}

/// `HOST=VARIABLE`: the environment variable VARIABLE holds `USER:PASSWORD` for the registry HOST.
///
/// Accepts any text and never prints it: a user might have written a password here by mistake.
/// `services::registry::logins` reads and checks it.
#[derive(Clone)]
pub(crate) struct RegistryLogin(String);

impl RegistryLogin {
    /// The text as it was given, which must not appear in any message.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegistryLogin {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryLogin")
    }
}
