//! Finding Terraform or OpenTofu, and its version.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use semver::Version;
use serde::Deserialize;

use crate::{
    base::{
        error::{Error, Result},
        limits::Limit,
        process::{self, Captured, Life, Program},
    },
    config::version_constraint::Constraint,
    services::ci::host::Host,
};

/// An installed Terraform or OpenTofu.
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
    /// Returns the name in `manifest.json` and in messages.
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

    /// Returns the oldest version with all options that cdflow uses.
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
    /// Finds the program in PATH and checks its version against `wanted`.
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
                let error = Error::input(format!("{found} does not match the required version"))
                    .why(format!("{}: {wanted}", self.flavor.setting()))
                    .hint(
                        "put that version in PATH, \
                         or change the constraint in cdflow.yml or --terraform-version",
                    );
                Err(match wanted.as_series().filter(|series| series.allows(&self.version)) {
                    Some(series) => error.hint(format!(
                        "`{wanted}` allows only that version; write `{series}` for the series"
                    )),
                    None => error,
                })
            }
            None => Ok(()),
        }
    }

    /// Whether it supports lock files in S3, which Terraform 1.10 and OpenTofu 1.10 introduced.
    pub(crate) fn has_s3_lockfile(&self) -> bool {
        self.version >= Version::new(1, 10, 0)
    }
}

async fn ask_version(
    program: &Path,
    mut env: BTreeMap<OsString, OsString>,
    host: &Host,
) -> Result<Version> {
    // The version does not depend on the CLI configuration, which might be broken.
    env.insert("TF_CLI_CONFIG_FILE".into(), "/dev/null".into());
    let life = Life::Expendable(Limit::TerraformVersion);
    let asked = Program::new(program, Path::new("/"), &env, host.run_as, life);
    let asked = asked.args(["version", "-json"]);
    let answer = asked.capture(&host.log, &host.interrupt).await?;
    host.interrupt.check("reading Terraform's version")?;
    serde_json::from_slice::<VersionAnswer>(&answer.stdout)
        .map(|answer| answer.terraform_version)
        .map_err(|error| no_version(program, &answer, &error))
}

/// What a program prints that gets no memory: Go's words, and those of the system.
const NO_MEMORY: [&str; 4] =
    ["out of memory", "cannot allocate memory", "failed to reserve", "Cannot allocate memory"];

fn no_version(program: &Path, answer: &Captured, error: &serde_json::Error) -> Error {
    let first_line = answer.stderr.lines().find(|line| !line.trim().is_empty());
    let failed = format!("it failed with exit code {}", answer.code);
    let why = match (answer.code, first_line) {
        (0, _) => format!("its answer is not valid: {error}"),
        (_, Some(line)) => format!("{failed}: {}", line.trim()),
        (_, None) => failed,
    };
    let built = Error::input(format!("`{} version -json` returned no version", program.display()));
    let has_no_memory = NO_MEMORY.iter().any(|words| answer.stderr.contains(words));
    match has_no_memory || answer.code > 128 {
        true => built
            .why(why)
            .hint("give the program more memory: raise `ulimit -v`, or the limit of the container"),
        false => built.why(why).hint("check that it is Terraform or OpenTofu"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_a_version_says_why() {
        let answered = |code: i32, stdout: &str, stderr: &str| {
            let answer =
                Captured { code, stdout: stdout.as_bytes().to_vec(), stderr: stderr.to_owned() };
            let error = serde_json::from_slice::<VersionAnswer>(&answer.stdout).err().unwrap();
            no_version(Path::new("/bin/terraform"), &answer, &error).to_string()
        };
        let starved = answered(2, "", "runtime: cannot allocate memory in heap metadata\n");
        assert!(starved.contains("exit code 2: runtime: cannot"), "{starved}");
        assert!(starved.contains("ulimit -v") && !starved.contains("EOF"), "{starved}");
        let killed = answered(137, "", "");
        assert!(killed.contains("raise `ulimit -v`"), "{killed}");
        let other = answered(0, "hello", "");
        assert!(other.contains("not valid: expected") && other.contains("OpenTofu"), "{other}");
    }
}
