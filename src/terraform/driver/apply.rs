//! `terraform apply` of a saved plan, and the meaning of its exit code.

use super::{
    init::Initialised,
    plan::Plan,
    request::{PlanMode, apply_args},
    unsaved_state::UnsavedState,
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        process::{Life, Output},
    },
    terraform::output::{
        diagnostics,
        events::{ApplyProgress, ChangeError, EVENTS},
        failure::{OutputLines, TerraformStep},
        unknown::BegunChange,
    },
};

/// A program that a signal ended has this exit code plus the number of the signal.
const SIGNALLED: i32 = 128;
/// The exit code of a Go program that panics; `apply` itself never exits with it.
const PANICKED: i32 = 2;

/// The end of an apply, successful or not.
pub(crate) struct Applied {
    pub(crate) result: Result<()>,
    /// Everything was applied, even if a signal makes the result an error.
    pub(crate) is_complete: bool,
    /// The changes that Terraform began, and how they ended.
    pub(crate) begun: Vec<BegunChange>,
    /// The errors that name an address.
    pub(crate) errors: Vec<ChangeError>,
    /// The state, if Terraform failed to save it.
    pub(crate) unsaved: Option<UnsavedState>,
}

impl Applied {
    /// There was nothing to apply, or Terraform was not started.
    pub(crate) fn without_apply(result: Result<()>) -> Self {
        let (is_complete, begun, errors) = (result.is_ok(), Vec::new(), Vec::new());
        Self { is_complete, result, begun, errors, unsaved: None }
    }
}

impl Initialised {
    /// Applies exactly `plan`. After a signal, Terraform gets one interrupt, and cdflow waits for
    /// it to end.
    pub(crate) async fn apply(&self, plan: &Plan) -> Result<Applied> {
        let log = &self.folder.host.log;
        let mut applying = ApplyProgress::new(log.colors_output());
        let mut show = |line: &str| {
            // As a whole: a secret of several words can be wrapped.
            if let Some(shown) = applying.line(line) {
                log.redactor.apply(&shown).lines().for_each(|line| log.program_output(line));
            }
        };
        // Killing an apply loses state.
        let program = self.folder.program(&apply_args(&plan.request), Life::Protected);
        let program = program.with_output(Output::Memory(EVENTS));
        let finished = program.relay(log, &self.folder.host.interrupt, &mut show).await?;
        diagnostics::annotate(log, &self.folder.original, &applying.located);
        // Terraform saved the state if it succeeds, whatever a program leaves or prints.
        let unsaved = (finished.code != 0)
            .then(|| UnsavedState::find(&self.folder.infra, applying.printed_state.take()));
        Ok(Applied {
            result: self.judge(finished.code, plan.request.mode, &applying),
            is_complete: finished.code == 0,
            begun: applying.begun(self.was_stopped(finished.code)),
            errors: applying.errors().to_vec(),
            unsaved: unsaved.flatten(),
        })
    }

    /// Whether Terraform was interrupted or killed: errors might only mean that a change was
    /// abandoned.
    fn was_stopped(&self, code: i32) -> bool {
        self.folder.host.interrupt.requested().is_some() || code > SIGNALLED || code == PANICKED
    }

    fn judge(&self, code: i32, mode: PlanMode, applying: &ApplyProgress) -> Result<()> {
        let step = match mode {
            PlanMode::Destroy => TerraformStep::Destroy,
            PlanMode::Deploy | PlanMode::RefreshOnly => TerraformStep::Apply,
        };
        let failed = || {
            OutputLines::from_text(&applying.diagnostics().join("\n"))
                .error(step, self.environment.as_str())
        };
        match self.folder.host.interrupt.requested() {
            // Terraform catches an interrupt: it had not installed its handler yet.
            Some(exit) if code == SIGNALLED + 2 => {
                Err(Error::new(exit, "cancelled at the start of apply; nothing was applied")
                    .hint("deploy again"))
            }
            _ if code > SIGNALLED || code == PANICKED => Err(self.killed(code)),
            Some(exit) if code == 0 => {
                Err(Error::new(exit, "cancelled during apply, but the apply was completed"))
            }
            // Without the lock, Terraform changes nothing. The lock can be this run's own, if the
            // answer to Terraform's write was lost.
            Some(exit) if failed().exit() == Exit::Locked => {
                let locked = failed();
                let stopped =
                    Error::new(exit, "cancelled at the start of apply; nothing was applied")
                        .why(locked.story());
                Err(locked.hints().iter().fold(stopped, |error, hint| error.hint(hint.clone())))
            }
            Some(exit) => {
                let stopped = Error::new(
                    exit,
                    "cancelled during apply: Terraform stopped and saved the state",
                );
                Err(stopped
                    .why(failed().cause())
                    .hint("run `cdflow status` to see what is deployed, then deploy again"))
            }
            None if code == 0 => Ok(()),
            None => Err(failed()),
        }
    }

    /// Returns the error of an apply that ended without saving the state.
    fn killed(&self, code: i32) -> Error {
        let how = if code == PANICKED {
            "crashed".to_owned()
        } else {
            format!("was killed by signal {}", code - SIGNALLED)
        };
        Error::new(
            Exit::StateNotSaved,
            format!("terraform {how} during apply of `{}`", self.environment),
        )
        .why(
            "changes of the last seconds might exist without being in the state, \
                  and the state lock might still be held",
        )
        .hint(
            "check the resources before you deploy anything else here; \
                   `cdflow deploy … --plan-only` shows what is missing in the state",
        )
        .hint(
            "if the lock is still held, release it with `cdflow unlock` \
             (docs/terraform.md, \"State\")",
        )
    }
}
