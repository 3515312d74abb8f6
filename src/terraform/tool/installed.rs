//! The program in PATH, and what any program says about its version.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use semver::Version;
use serde::Deserialize;

use super::{
    Tool,
    known_versions::{self, KnownVersion},
};
use crate::{
    base::{
        error::{Error, Result},
        limits::Limit,
        process::{self, Captured, Life, Program},
    },
    config::flavor::Flavor,
    services::ci::host::Host,
};

/// What a program says about itself.
#[derive(Deserialize)]
pub(super) struct VersionAnswer {
    #[serde(rename = "terraform_version")]
    pub(super) version: Version,
    /// Such as `linux_amd64`.
    pub(super) platform: Option<String>,
}

/// Files by which a switcher (tenv, mise, asdf, tfenv) chooses a version in its folder.
const VERSION_FILES: [&str; 7] = [
    ".terraform-version",
    ".opentofu-version",
    ".tfswitchrc",
    ".tool-versions",
    ".tool-versions.local",
    "mise.toml",
    ".mise.toml",
];

/// Returns the program in PATH; None if there is none.
pub(super) async fn find(flavor: Flavor, host: &Host) -> Result<Option<Tool>> {
    let env = host.environment.for_terraform(&[]);
    let path = env.get(&OsString::from("PATH")).map(OsString::as_os_str);
    let Some(program) = process::find(flavor.program(), path) else { return Ok(None) };
    let known = KnownVersion::of(&program, host);
    let version = match known.as_ref().and_then(KnownVersion::read) {
        Some(version) => version,
        None => {
            let version = ask(&program, Path::new("/"), env, host).await?.version;
            known.iter().for_each(|known| known.keep(&version));
            version
        }
    };
    let is_switcher = !known_versions::is_large(&program);
    Ok(Some(Tool { is_switcher, ..Tool::installed(program, flavor, version) }))
}

/// Asks a program for its version.
pub(super) async fn version_of(program: &Path, host: &Host) -> Result<VersionAnswer> {
    ask(program, Path::new("/"), host.environment.for_terraform(&[]), host).await
}

impl Tool {
    /// Fails if the program is a switcher that runs another version in `folder`, which has code.
    pub(crate) async fn check_switcher(
        &self,
        folder: &Path,
        env: &BTreeMap<OsString, OsString>,
        host: &Host,
    ) -> Result<()> {
        let mut files = VERSION_FILES.iter().filter(|name| folder.join(name).exists());
        let Some(file) = files.next().filter(|_| self.is_switcher) else { return Ok(()) };
        let version = ask(&self.program, folder, env.clone(), host).await?.version;
        if version == self.version {
            return Ok(());
        }
        let (name, program) = (self.flavor.name(), self.program.display());
        Err(Error::input(format!("{name} {} was chosen, but {version} would run", self.version))
            .why(format!("`{program}` in PATH chooses the version by the file infra/{file}"))
            .hint(format!("write {} into infra/{file}, or remove the file", self.version))
            .hint(format!("or put the program of {} into PATH", self.version)))
    }
}

async fn ask(
    program: &Path,
    folder: &Path,
    mut env: BTreeMap<OsString, OsString>,
    host: &Host,
) -> Result<VersionAnswer> {
    // The version does not depend on the CLI configuration, which might be broken.
    env.insert("TF_CLI_CONFIG_FILE".into(), "/dev/null".into());
    let life = Life::Expendable(Limit::TerraformVersion);
    let asked = Program::new(program, folder, &env, host.run_as, life);
    let asked = asked.args(["version", "-json"]);
    let answer = asked.capture(&host.log, &host.interrupt).await?;
    host.interrupt.check("reading Terraform's version")?;
    serde_json::from_slice(&answer.stdout).map_err(|error| no_version(program, &answer, &error))
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
