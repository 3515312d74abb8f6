//! Which Terraform (or OpenTofu) there is.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use semver::Version;
use serde::Deserialize;

use crate::{
    base::{
        error::{Error, Result},
        process::{self, Program},
    },
    config::version_constraint::Constraint,
    services::ci::host::Host,
};

#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) program: PathBuf,
    pub(crate) flavor: Flavor,
    pub(crate) version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    Terraform,
    OpenTofu,
}

impl Flavor {
    /// As it is called in `manifest.json` and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::OpenTofu => "opentofu",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::OpenTofu => "tofu",
        }
    }

    /// The oldest that has all the options that we use.
    fn oldest(self) -> Version {
        match self {
            Self::Terraform => Version::new(1, 6, 0),
            Self::OpenTofu => Version::new(1, 7, 0),
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Terraform => "terraform-version",
            Self::OpenTofu => "opentofu-version",
        }
    }
}

#[derive(Deserialize)]
struct VersionAnswer {
    terraform_version: Version,
}

impl Tool {
    /// Looks in PATH and asks the program for its version.
    pub(crate) async fn locate(
        flavor: Flavor,
        wanted: Option<&Constraint>,
        host: &Host,
    ) -> Result<Self> {
        let env = host.environment.for_terraform(&[]);
        let path = env.get(&OsString::from("PATH")).map(OsString::as_os_str);
        let program = process::find(flavor.program(), path).ok_or_else(|| {
            Error::input(format!("`{}` is not in PATH", flavor.program())).hint(format!(
                "install {} {} or newer",
                flavor.name(),
                flavor.oldest()
            ))
        })?;
        let tool = Self { version: ask_version(&program, env, host).await?, program, flavor };
        tool.check(wanted)?;
        Ok(tool)
    }

    fn check(&self, wanted: Option<&Constraint>) -> Result<()> {
        let found =
            format!("{} {} (`{}`)", self.flavor.name(), self.version, self.program.display());
        if self.version < self.flavor.oldest() {
            return Err(Error::input(format!("{found} is too old")).hint(format!(
                "install {} {} or newer",
                self.flavor.name(),
                self.flavor.oldest()
            )));
        }
        match wanted.filter(|wanted| !wanted.allows(&self.version)) {
            Some(wanted) => {
                let error = Error::input(format!("{found} is not the version that is asked for"))
                    .why(format!("{}: {wanted}", self.flavor.setting()))
                    .hint(
                        "put that version into PATH, or change the constraint, in cdflow.yml or by --terraform-version",
                    );
                Err(match wanted.as_series().filter(|series| series.allows(&self.version)) {
                    Some(series) => error.hint(format!(
                        "`{wanted}` is one version alone; a series is written `{series}`"
                    )),
                    None => error,
                })
            }
            None => Ok(()),
        }
    }

    /// S3's own lock object came with Terraform 1.10 and OpenTofu 1.10.
    pub(crate) fn has_s3_lockfile(&self) -> bool {
        self.version >= Version::new(1, 10, 0)
    }
}

async fn ask_version(
    program: &std::path::Path,
    mut env: BTreeMap<OsString, OsString>,
    host: &Host,
) -> Result<Version> {
    // The CLI configuration is none of this question's business, and may be broken.
    env.insert("TF_CLI_CONFIG_FILE".into(), "/dev/null".into());
    let asked = Program::new(program, std::path::Path::new("/"), &env).args(["version", "-json"]);
    let answer = asked.capture(&host.log, &host.interrupt).await?;
    host.interrupt.check("asking Terraform's version")?;
    serde_json::from_slice::<VersionAnswer>(&answer.stdout)
        .map(|answer| answer.terraform_version)
        .map_err(|error| {
            Error::input(format!("`{} version -json` gives no version", program.display()))
                .why(format!(
                    "exit code {}, {error}; {}",
                    answer.code,
                    answer.stderr.lines().next().unwrap_or_default()
                ))
                .hint("is it really Terraform?")
        })
}
