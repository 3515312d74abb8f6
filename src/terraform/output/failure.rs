//! What a failed run of Terraform means: its words turned into our exit codes.

use super::diagnostics::{Diagnostic, in_words};
use crate::base::error::{Error, Exit};

/// Which step failed, for a failure that is nothing special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerraformStep {
    InitAtRelease,
    InitAtDeploy,
    Workspace,
    Plan,
    Apply,
    PushState,
}

impl TerraformStep {
    /// What to do about a failure that is nothing special.
    fn advice(self) -> Option<&'static str> {
        match self {
            Self::InitAtRelease => Some(
                "Terraform's words are above: mend infra/ or the access to its modules and providers, and release again",
            ),
            Self::InitAtDeploy => Some(
                "Terraform's words are above: check the state's bucket and the role of the release account",
            ),
            Self::Workspace => Some("check the state's bucket and the role of the release account"),
            Self::Plan => Some(
                "Terraform's words are above: mend infra/ or config/, release again, and deploy that; nothing was applied",
            ),
            Self::Apply => Some(
                "Terraform's words are above; what was done is in the state: mend the cause and deploy again",
            ),
            Self::PushState => None,
        }
    }
}

/// Lines that Terraform printed, without box characters and colours.
#[derive(Default)]
pub(crate) struct OutputLines {
    lines: Vec<String>,
}

/// A title that only announces the next diagnostics.
const WRAPPER: &str = "Terraform encountered problems during initialisation";
/// Enough for any error; what a huge plan printed before it is of no interest.
const KEPT: usize = 400;

/// How a held lock is worded where Terraform could not read who holds it: locally, by S3, by DynamoDB.
const HELD: [&str; 3] =
    ["resource temporarily unavailable", "PreconditionFailed", "ConditionalCheckFailed"];

/// Who holds a state lock, as Terraform tells it.
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

    pub(crate) fn findings(&self) -> Vec<Diagnostic> {
        in_words(&self.lines)
    }

    /// Terraform wraps at 78 columns: phrases are looked for in the joined text.
    fn says(&self, phrase: &str) -> bool {
        self.lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ").contains(phrase)
    }

    pub(crate) fn error(&self, step: TerraformStep, environment: &str) -> Error {
        // The second is how `workspace new` puts it.
        if self.says("Error acquiring the state lock") || self.says("failed to lock s3 state") {
            let lock = self.lock();
            if !lock.id.is_empty() || HELD.iter().any(|held| self.says(held)) {
                return locked(lock, environment);
            }
            // Nobody holds it: the state can't be read, or the lock can't be written.
            let exit =
                if step == TerraformStep::Apply { Exit::ApplyFailed } else { Exit::PlanFailed };
            return Error::new(exit, format!("the state of `{environment}` can't be locked"))
                .why(self.lock_message())
                .hint("mend the state or the access to it; nothing was changed");
        }
        if step == TerraformStep::Apply && self.says("Saved plan is stale") {
            return Error::new(
                Exit::Integrity,
                format!("the plan is stale: the state of `{environment}` has changed since"),
            )
            .why("another run was faster; nothing was applied")
            .hint("deploy again: the plan will be made anew");
        }
        let (exit, what) = match step {
            TerraformStep::InitAtRelease => (Exit::BuildFailed, "terraform init failed"),
            TerraformStep::InitAtDeploy
                if self.says("checksums") || self.says("cached package") =>
            {
                (Exit::Integrity, "the providers of the release are not those of its lock file")
            }
            TerraformStep::InitAtDeploy => (Exit::PlanFailed, "terraform init failed"),
            TerraformStep::Workspace => {
                (Exit::PlanFailed, "terraform can't read the state's workspaces")
            }
            TerraformStep::Plan => (Exit::PlanFailed, "terraform plan failed"),
            TerraformStep::Apply => (Exit::ApplyFailed, "terraform apply failed"),
            TerraformStep::PushState => (Exit::StateNotSaved, "terraform state push failed"),
        };
        let error = Error::new(exit, what)
            .why(self.first_error().unwrap_or_else(|| "see its output above".to_owned()));
        match step.advice() {
            Some(advice) => error.hint(advice),
            None => error,
        }
    }

    /// The title of the first diagnostic that says something.
    fn first_error(&self) -> Option<String> {
        let begins =
            (0..self.lines.len()).filter(|at| self.lines[*at].trim().starts_with("Error: "));
        let titles: Vec<String> = begins.map(|at| self.title(at)).collect();
        let says_something = |title: &&String| !title.starts_with(WRAPPER);
        titles.iter().find(says_something).or(titles.first()).cloned()
    }

    /// Terraform may have wrapped it.
    fn title(&self, at: usize) -> String {
        let ends =
            |line: &&str| line.is_empty() || line.starts_with("with ") || line.starts_with("on ");
        let lines = self.lines[at..].iter().map(|line| line.trim());
        let title = lines.take_while(|line| !ends(line)).collect::<Vec<_>>().join(" ");
        title.trim_start_matches("Error: ").trim_end_matches(':').to_owned()
    }

    /// What Terraform says between `Error message:` and its general advice.
    fn lock_message(&self) -> String {
        let lines = self
            .lines
            .iter()
            .map(|line| line.trim())
            .skip_while(|line| !line.starts_with("Error message:"));
        let lines: Vec<&str> =
            lines.take_while(|line| !line.starts_with("Terraform acquires")).collect();
        match lines.join(" ").trim_start_matches("Error message:").trim() {
            "" => "see Terraform's words above".to_owned(),
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
    let error = Error::new(Exit::Locked, format!("the state of `{environment}` is locked"));
    if lock.id.is_empty() {
        return error
            .why("see Terraform's words above")
            .hint("wait for the other run, or set `lock-timeout`");
    }
    let operation =
        lock.operation.strip_prefix("OperationType").unwrap_or(&lock.operation).to_lowercase();
    error
        .why(format!(
            "{operation} by {} since {} holds it (lock {} on {})",
            lock.who, lock.created, lock.id, lock.path
        ))
        .hint(
            "wait for that run to end; `lock-timeout` (--lock-timeout 5m) makes cdflow wait for it",
        )
        .hint(format!(
            "only if that run is dead, release its lock: cdflow unlock {environment} --force {}",
            lock.id
        ))
}

/// Without ANSI colours and without the box that Terraform draws around diagnostics.
pub(crate) fn plain(line: &str) -> String {
    let out: String =
        without_colors(line).chars().filter(|c| !['│', '╷', '╵'].contains(c)).collect();
    out.trim_end().to_owned()
}

pub(crate) fn without_colors(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                chars.by_ref().find(|c| c.is_ascii_alphabetic());
            }
            c => out.push(c),
        }
    }
    out
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
    fn a_held_lock_says_who() {
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
    fn a_lock_that_nobody_holds() {
        let words = "Error: Error acquiring the state lock\n\nError message: 2 problems:\n\n- Unsupported state file format\n\nTerraform acquires a state lock to protect";
        let error = OutputLines::from_text(words).error(TerraformStep::Plan, "live");
        assert_eq!(error.exit(), Exit::PlanFailed);
        assert!(
            error.to_string().contains("can't be locked: 2 problems:  - Unsupported"),
            "{error}"
        );
        let held = words.replace("2 problems:", "resource temporarily\nunavailable");
        assert_eq!(
            OutputLines::from_text(&held).error(TerraformStep::Plan, "live").exit(),
            Exit::Locked
        );
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
            "Error: Required plugins are not installed\nthe cached package for x does not match any of the\nchecksums recorded",
        );
        assert_eq!(tampered.error(TerraformStep::InitAtDeploy, "live").exit(), Exit::Integrity);
    }
}
