//! Failures of Terraform: its output turned into cdflow's errors and exit codes.

use super::{
    cause::{self, Reach},
    diagnostics::{Diagnostic, parse_diagnostics},
    located::{self, CodeNames},
    plain::plain,
};
use crate::base::{
    error::{Error, Exit},
    shell_word::shell_word,
};

/// The step of Terraform that failed. It decides the exit code of a failure without a special
/// meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerraformStep {
    InitAtRelease,
    Validate,
    InitAtDeploy,
    Workspace,
    Plan,
    Apply,
    /// The apply of a plan that destroys everything.
    Destroy,
    PushState,
}

impl TerraformStep {
    /// Returns the fix for a failure without a special meaning.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::InitAtRelease => Some(
                "see Terraform's output above, \
                 fix the code or the access to its modules and providers, and release again",
            ),
            Self::Validate => Some(
                "see Terraform's output above, fix the code and release again; \
                 use --no-validate to release without this check",
            ),
            Self::InitAtDeploy => Some(
                "see Terraform's output above, \
                 and check the state bucket and the role of the release account",
            ),
            Self::Workspace => Some("check the state bucket and the role of the release account"),
            Self::Plan => Some(
                "see Terraform's output above, fix infra/ or config/, and deploy a new release; \
                 nothing was applied",
            ),
            Self::Apply => Some(
                "see Terraform's output above, fix the cause and deploy again; \
                 completed changes are in the state",
            ),
            Self::Destroy => Some(
                "see Terraform's output above, fix the cause and destroy again; \
                 what was destroyed is no longer in the state",
            ),
            Self::PushState => None,
        }
    }

    /// Whether it changes resources.
    fn applies(self) -> bool {
        matches!(self, Self::Apply | Self::Destroy)
    }
}

/// The last lines that Terraform printed, without box characters and colours.
#[derive(Default)]
pub(crate) struct OutputLines {
    lines: Vec<String>,
}

/// The fix for a failed plan that names no line of the code.
const UNKNOWN: &str = "see Terraform's output above: it names no line of the code, and cdflow does \
     not know this cause; fix it in the code, the configuration, the state or the machine; \
     nothing was applied";

/// A title that only introduces the next diagnostics.
const WRAPPER: &str = "Terraform encountered problems during initialisation";
/// The number of lines that are kept at least. An error is shorter, and a huge plan before it is
/// not needed.
const KEPT: usize = 400;

/// The errors for a held lock whose holder Terraform cannot read: of a local file, S3 and DynamoDB.
const HELD: [&str; 3] =
    ["resource temporarily unavailable", "PreconditionFailed", "ConditionalCheckFailed"];

/// The holder of a state lock, as Terraform prints it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PrintedLock {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) operation: String,
    pub(crate) who: String,
    pub(crate) created: String,
}

impl OutputLines {
    pub(crate) fn push(&mut self, line: &str) {
        if self.lines.len() >= 2 * KEPT {
            self.lines.drain(..KEPT);
        }
        self.lines.push(plain(line));
    }

    pub(crate) fn from_text(text: &str) -> Self {
        let mut words = Self::default();
        text.lines().for_each(|line| words.push(line));
        words
    }

    /// Returns the diagnostics that name a line of code.
    pub(crate) fn diagnostics(&self) -> Vec<Diagnostic> {
        parse_diagnostics(&self.lines)
    }

    /// Whether the output has `phrase`, even across lines: Terraform wraps at 78 columns.
    pub(crate) fn contains(&self, phrase: &str) -> bool {
        self.lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ").contains(phrase)
    }

    /// Returns the error of a failed `step` in `environment`.
    pub(crate) fn error(&self, step: TerraformStep, environment: &str) -> Error {
        self.known(step, environment).unwrap_or_else(|| self.unknown(step))
    }

    /// Returns the error of a failed `step` of a release. It names the place in the checkout.
    pub(crate) fn release_error(&self, step: TerraformStep, names: &CodeNames<'_>) -> Error {
        self.located_error(step, names, &self.diagnostics())
    }

    /// As [`Self::release_error`], with diagnostics that Terraform gave as JSON.
    pub(crate) fn located_error(
        &self,
        step: TerraformStep,
        names: &CodeNames<'_>,
        diagnostics: &[Diagnostic],
    ) -> Error {
        let located = || {
            let error = located::error(diagnostics, names)?;
            Some(step.hint().into_iter().fold(error, Error::hint))
        };
        self.known(step, "").or_else(located).unwrap_or_else(|| self.unknown(step))
    }

    /// Returns the error for a cause that cdflow knows.
    fn known(&self, step: TerraformStep, environment: &str) -> Option<Error> {
        // The second wording is that of `workspace new`.
        if self.contains("Error acquiring the state lock")
            || self.contains("failed to lock s3 state")
        {
            let lock = self.lock();
            if !lock.id.is_empty() || HELD.iter().any(|held| self.contains(held)) {
                // Only a local state is locked by the system itself.
                return Some(match (lock.id.is_empty(), self.contains(HELD[0])) {
                    (false, _) => locked(lock, environment),
                    (true, is_local) => locked_by_unknown(environment, is_local),
                });
            }
            let known = |words: &str| self.contains(words);
            if !step.applies()
                && let Some(error) =
                    cause::find(known, Reach::State, environment, &self.lock_message())
            {
                return Some(error);
            }
            // No lock is held: the state cannot be read, or the lock cannot be written.
            if let Some(error) = cause::unwritable(&self.lock_message(), environment) {
                let applies = step.applies();
                return Some(if applies { error.exit_with(Exit::ApplyFailed) } else { error });
            }
            let exit = if step.applies() { Exit::ApplyFailed } else { Exit::PlanFailed };
            let error = Error::new(exit, format!("cannot lock the state of `{environment}`"));
            return Some(error.why(self.lock_message()).hint(
                "fix the state or the access to it; cdflow does not know this cause; nothing was \
                 changed",
            ));
        }
        // The second wording is for a state that was removed, or replaced by another one.
        if step.applies()
            && (self.contains("Saved plan is stale")
                || self.contains("Saved plan does not match the given state"))
        {
            let what = format!(
                "the plan is stale: the state of `{environment}` has changed since it was made"
            );
            let error = Error::integrity(what)
                .why("another run has applied changes first; nothing was applied");
            return Some(error.hint("deploy again to make a new plan"));
        }
        let reach = match step {
            TerraformStep::InitAtDeploy | TerraformStep::Workspace => Some(Reach::State),
            TerraformStep::InitAtRelease | TerraformStep::Validate | TerraformStep::Plan => {
                Some(Reach::Anywhere)
            }
            // Something might have been changed or lost, which matters more than the cause.
            TerraformStep::Apply | TerraformStep::Destroy | TerraformStep::PushState => None,
        };
        let why = self.why();
        let known = |words: &str| self.contains(words);
        let cause = reach.and_then(|reach| cause::find(known, reach, environment, &why));
        let is_init = step == TerraformStep::InitAtRelease;
        cause.or_else(|| is_init.then(|| self.missing_in_mirrors()).flatten())
    }

    fn why(&self) -> String {
        self.first_error().unwrap_or_else(|| "see Terraform's output above".to_owned())
    }

    /// Returns the error in Terraform's words.
    fn unknown(&self, step: TerraformStep) -> Error {
        let (exit, what) = match step {
            TerraformStep::InitAtRelease if self.contains("checksums previously recorded") => {
                (Exit::Integrity, "a provider does not match the lock file")
            }
            TerraformStep::InitAtRelease => (Exit::BuildFailed, "terraform init failed"),
            TerraformStep::Validate => (Exit::BuildFailed, "terraform validate failed"),
            TerraformStep::InitAtDeploy
                if self.contains("checksums") || self.contains("cached package") =>
            {
                (Exit::Integrity, "the providers of the release do not match its lock file")
            }
            TerraformStep::InitAtDeploy => (Exit::PlanFailed, "terraform init failed"),
            TerraformStep::Workspace => {
                (Exit::PlanFailed, "terraform failed to read the workspaces of the state")
            }
            TerraformStep::Plan => (Exit::PlanFailed, "terraform plan failed"),
            TerraformStep::Apply => (Exit::ApplyFailed, "terraform apply failed"),
            TerraformStep::Destroy => (Exit::ApplyFailed, "terraform failed to destroy resources"),
            TerraformStep::PushState => (Exit::StateNotSaved, "terraform state push failed"),
        };
        let error = Error::new(exit, what).why(self.why());
        if step == TerraformStep::Plan && self.diagnostics().is_empty() {
            return error.hint(UNKNOWN);
        }
        match step.hint() {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Returns the error for a provider that none of the configured folders has.
    fn missing_in_mirrors(&self) -> Option<Error> {
        let text = self.lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        let (before, after) = text.split_once(" was not found in any of the search locations")?;
        let provider = before.rsplit_once("provider ")?.1;
        let words: Vec<&str> = after.split(' ').collect();
        let folders = words.windows(2).filter(|pair| pair[0] == "-").map(|pair| pair[1]);
        let folders: Vec<String> = folders.map(|folder| format!("`{folder}`")).collect();
        let searched = format!("Terraform may look only in {}", folders.join(", "));
        let error = Error::new(Exit::BuildFailed, format!("no mirror has the provider {provider}"));
        Some(
            if folders.is_empty() { error } else { error.why(searched) }
                .hint(
                    "add it to a mirror, where the registry can be reached: terraform providers \
                     mirror FOLDER",
                )
                .hint(
                    "or add `direct {}` to `provider_installation` in Terraform's CLI \
                     configuration",
                ),
        )
    }

    /// Returns the title of the first error that is not a [`WRAPPER`].
    pub(crate) fn first_error(&self) -> Option<String> {
        let starts =
            (0..self.lines.len()).filter(|at| self.lines[*at].trim().starts_with("Error: "));
        let titles: Vec<String> = starts.map(|at| self.title(at)).collect();
        let is_specific = |title: &&String| !title.starts_with(WRAPPER);
        titles.iter().find(is_specific).or(titles.first()).cloned()
    }

    /// Returns the title that starts at line `at`. Terraform might have wrapped it.
    fn title(&self, at: usize) -> String {
        let ends =
            |line: &&str| line.is_empty() || line.starts_with("with ") || line.starts_with("on ");
        let lines = self.lines[at..].iter().map(|line| line.trim());
        let title = lines.take_while(|line| !ends(line)).collect::<Vec<_>>().join(" ");
        title.trim_start_matches("Error: ").trim_end_matches(':').to_owned()
    }

    /// Returns the text between `Error message:` and Terraform's general explanation of locks.
    fn lock_message(&self) -> String {
        let lines = self
            .lines
            .iter()
            .map(|line| line.trim())
            .skip_while(|line| !line.starts_with("Error message:"));
        let lines: Vec<&str> =
            lines.take_while(|line| !line.starts_with("Terraform acquires")).collect();
        match lines.join(" ").trim_start_matches("Error message:").trim() {
            "" => "see Terraform's output above".to_owned(),
            message => message.to_owned(),
        }
    }

    fn lock(&self) -> PrintedLock {
        let field = |name: &str| {
            let line = self
                .lines
                .iter()
                .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        PrintedLock {
            id: field("ID"),
            path: field("Path"),
            operation: field("Operation"),
            who: field("Who"),
            created: field("Created"),
        }
    }
}

fn locked(lock: PrintedLock, environment: &str) -> Error {
    let operation =
        lock.operation.strip_prefix("OperationType").unwrap_or(&lock.operation).to_lowercase();
    is_locked(environment)
        .why(format!(
            "{operation} by {} since {} (lock {} on {})",
            lock.who, lock.created, lock.id, lock.path
        ))
        .hint(
            "wait for that run to end, \
             or set `lock-timeout` (--lock-timeout 5m) so that cdflow waits for it",
        )
        .hint(format!(
            "if that run is not active any more, release its lock: \
             cdflow unlock {environment} --force {}",
            shell_word(&lock.id)
        ))
}

/// Returns the error for a lock that does not name its holder. Waiting for a damaged one never
/// helps.
fn locked_by_unknown(environment: &str, is_local: bool) -> Error {
    if is_local {
        return is_locked(environment)
            .why("a running program holds the lock and does not say who it is")
            .hint("wait for the other run, or set `lock-timeout`");
    }
    is_locked(environment)
        .why("the lock is damaged: it does not name the run that holds it")
        .hint(format!("see where it is and how to remove it: cdflow unlock {environment}"))
}

fn is_locked(environment: &str) -> Error {
    Error::new(Exit::Locked, format!("the state of `{environment}` is locked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKED: &str = "\u{1b}[31m╷\u{1b}[0m
│ Error: Error acquiring the state
│ lock
│
│ Error message: operation error S3: PutObject, https response error
│ Lock Info:
│   ID:        0c2b-11
│   Path:      bucket/team/x/live/terraform.tfstate
│   Operation: OperationTypeApply
│   Who:       root@vm
│   Version:   1.11.4
│   Created:   2026-11-20 10:00:00.1 +0000 UTC
╵";

    #[test]
    fn a_held_lock_names_its_holder() {
        let error = OutputLines::from_text(LOCKED).error(TerraformStep::Plan, "live");
        assert_eq!(error.exit(), Exit::Locked);
        let text = error.to_string();
        for part in [
            "`live` is locked",
            "apply by root@vm since 2026-11-20 10:00:00.1 +0000 UTC",
            "cdflow unlock live --force 0c2b-11",
            "lock-timeout",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_locked() {
        let words = "Error: Error acquiring the state lock\n\nError message: 2 problems:\n\n\
                     - Unsupported state file format\n\nTerraform acquires a state lock to protect";
        let error = OutputLines::from_text(words).error(TerraformStep::Plan, "live");
        assert_eq!(error.exit(), Exit::PlanFailed);
        assert!(
            error
                .to_string()
                .contains("cannot lock the state of `live`: 2 problems:  - Unsupported"),
            "{error}"
        );
        let held = words.replace("2 problems:", "resource temporarily\nunavailable");
        assert_eq!(
            OutputLines::from_text(&held).error(TerraformStep::Plan, "live").exit(),
            Exit::Locked
        );
    }

    #[test]
    fn a_state_in_a_folder_that_cannot_be_written() {
        for (message, says) in [
            (
                "open /s/team/x/live/terraform.tfstate: read-only\nfile system",
                "mount the file system so that Terraform can write to `/s/team/x/live`",
            ),
            (
                "could not write lock info for \"/s/live/terraform.tfstate\": open\n\
                 /s/live/.terraform.tfstate.lock.info: permission denied",
                "give the user that runs Terraform write permission for `/s/live`",
            ),
        ] {
            let words = format!(
                "Error: Error acquiring the state lock\n\nError message: {message}\n\nTerraform \
                 acquires a state lock to protect"
            );
            let error = OutputLines::from_text(&words).error(TerraformStep::Plan, "live");
            assert_eq!(error.exit(), Exit::Input);
            assert!(error.to_string().contains(says), "{error}");
            let error = OutputLines::from_text(&words).error(TerraformStep::Apply, "live");
            assert_eq!(error.exit(), Exit::ApplyFailed);
        }
    }

    #[test]
    fn faults_of_the_machine_and_the_state_are_not_those_of_the_code() {
        let lock = "Error: Error acquiring the state lock\n\nError message: operation error S3: \
                    PutObject, https response error StatusCode: 403, api error ";
        for (words, step, exit, says) in [
            (
                "Error: Failed to load plugin schemas\n\nfailed to instantiate provider \"x\": \
                 fork/exec /tmp/a/terraform-provider-x:\npermission denied",
                TerraformStep::Plan,
                Exit::Input,
                "set TMPDIR",
            ),
            (
                "Error: Error loading state:\n    state data in S3 does not have the expected \
                 content.",
                TerraformStep::InitAtDeploy,
                Exit::Integrity,
                "lock table",
            ),
            (
                "Error: Error refreshing state: The checksum calculated for the state stored in \
                 S3 does not match\nthe checksum stored in DynamoDB.",
                TerraformStep::Plan,
                Exit::Integrity,
                "`…-md5`",
            ),
            (&format!("{lock}AccessDenied: no"), TerraformStep::Plan, Exit::Credentials, "role"),
            (
                &format!("{lock}x: User: y is not authorized\nto perform: dynamodb:PutItem"),
                TerraformStep::Plan,
                Exit::Credentials,
                "lock is denied (`live`)",
            ),
            (
                "Error: write /tmp/x: no space left on device",
                TerraformStep::InitAtRelease,
                Exit::Input,
                "free some space",
            ),
            // Of a resource: the code's own business.
            (
                "Error: reading SSM Parameter: AccessDenied: no\n\n  on main.tf line 3, in data \
                 \"x\" \"y\":\n   3: data \"x\" \"y\" {\n",
                TerraformStep::Plan,
                Exit::PlanFailed,
                "AccessDenied",
            ),
            ("Error: Something new", TerraformStep::Plan, Exit::PlanFailed, "not know this cause"),
            (
                "Error: no space left on device",
                TerraformStep::Apply,
                Exit::ApplyFailed,
                "deploy again",
            ),
        ] {
            let error = OutputLines::from_text(words).error(step, "live");
            assert_eq!(error.exit(), exit, "{words}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_mirror_that_lacks_a_provider() {
        let words = OutputLines::from_text(
            "Error: Failed to query available provider packages\n\nCould not retrieve the list of \
             available versions for provider\nhashicorp/random: provider \
             registry.terraform.io/hashicorp/random was not\nfound in any of the search \
             locations\n\n  - /srv/one\n  - /srv/two\n",
        );
        let error = words.error(TerraformStep::InitAtRelease, "");
        assert_eq!(error.exit(), Exit::BuildFailed);
        let text = "no mirror has the provider registry.terraform.io/hashicorp/random: Terraform \
                    may look only in `/srv/one`, `/srv/two`\n  -> add it to a mirror";
        assert!(error.to_string().starts_with(text), "{error}");
    }

    #[test]
    fn other_failures() {
        let words = OutputLines::from_text(
            "Initializing...\n\nError: No such thing\n\n  on main.tf line 1:\n",
        );
        for (step, exit) in [
            (TerraformStep::InitAtRelease, Exit::BuildFailed),
            (TerraformStep::InitAtDeploy, Exit::PlanFailed),
            (TerraformStep::Plan, Exit::PlanFailed),
            (TerraformStep::Apply, Exit::ApplyFailed),
        ] {
            let error = words.error(step, "live");
            assert_eq!(error.exit(), exit);
            assert!(error.to_string().contains("failed: No such thing\n  -> "), "{error}");
        }
        let stale = OutputLines::from_text(
            "Error: Saved plan is\nstale\n  The given plan file can no longer be applied",
        );
        assert_eq!(stale.error(TerraformStep::Apply, "live").exit(), Exit::Integrity);
        let tampered = OutputLines::from_text(
            "Error: Required plugins are not installed\n\
             the cached package for x does not match any of the\nchecksums recorded",
        );
        assert_eq!(tampered.error(TerraformStep::InitAtDeploy, "live").exit(), Exit::Integrity);
        let differs = OutputLines::from_text(
            "Error: Failed to install provider\n\nError while installing hashicorp/tiny v1.0.0: \
             the current package doesn't match any of the\nchecksums previously recorded in the \
             dependency lock file",
        );
        assert_eq!(differs.error(TerraformStep::InitAtRelease, "").exit(), Exit::Integrity);
    }
}
