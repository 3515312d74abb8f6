//! `terraform apply` of a saved plan, and what its end means.

use std::path::PathBuf;

use super::{init::Initialised, plan::Plan, request::apply_args};
use crate::{
    base::error::{Error, Exit, Result},
    terraform::output::{
        diagnostics,
        events::ApplyProgress,
        failure::{OutputLines, TerraformStep},
    },
};

/// An exit code above this is a signal's number more.
const SIGNALLED: i32 = 128;
/// How Go ends a program that panics; `apply` itself never ends so.
const PANICKED: i32 = 2;
/// Where Terraform leaves the state that it could not save.
const ERRORED_STATE: &str = "errored.tfstate";

/// How an apply ended. Also a failed one has facts that must not be lost.
pub(crate) struct Applied {
    pub(crate) result: Result<()>,
    /// All was applied, also when a signal makes the result an error.
    pub(crate) is_complete: bool,
    /// Started and never ended: may exist and be in no state.
    pub(crate) in_flight: Vec<String>,
    /// The state that Terraform could not save.
    pub(crate) errored_state: Option<PathBuf>,
}

impl Applied {
    /// There was nothing to apply, or Terraform was not even started.
    pub(crate) fn without_apply(result: Result<()>) -> Self {
        Self { is_complete: result.is_ok(), result, in_flight: Vec::new(), errored_state: None }
    }
}

impl Initialised {
    /// Applies exactly `plan`. Not cancelled by a signal: Terraform is told once and then waited for.
    pub(crate) async fn apply(&self, plan: &Plan) -> Result<Applied> {
        let log = &self.folder.host.log;
        let mut applying = ApplyProgress::new(log.colors_output());
        let mut show = |line: &str| {
            for line in applying.line(line).iter().flat_map(|shown| shown.lines()) {
                log.output(line);
            }
        };
        let program = self.folder.program(&apply_args(&plan.request));
        let finished = program.relay(log, &self.folder.host.interrupt, &mut show).await?;
        diagnostics::annotate(log, &self.folder.original, &applying.located);
        let errored = self.folder.infra.join(ERRORED_STATE);
        Ok(Applied {
            result: self.judge(finished.code, &applying),
            is_complete: finished.code == 0,
            in_flight: applying.in_flight(),
            errored_state: errored.exists().then_some(errored),
        })
    }

    fn judge(&self, code: i32, applying: &ApplyProgress) -> Result<()> {
        let failed = || {
            OutputLines::from_text(&applying.diagnostics().join("\n"))
                .error(TerraformStep::Apply, self.environment.as_str())
        };
        match self.folder.host.interrupt.requested() {
            // Terraform itself never dies of an interrupt: it had not even begun.
            Some(exit) if code == SIGNALLED + 2 => {
                Err(Error::new(exit, "cancelled at the beginning of apply; nothing was applied")
                    .hint("deploy again"))
            }
            _ if code > SIGNALLED || code == PANICKED => Err(self.killed(code)),
            Some(exit) if code == 0 => {
                Err(Error::new(exit, "cancelled during apply, which was completed all the same"))
            }
            Some(exit) => {
                let stopped = Error::new(
                    exit,
                    "cancelled during apply: Terraform stopped and saved the state",
                );
                Err(stopped
                    .why(failed().cause())
                    .hint("see what is deployed with `cdflow status`, then deploy again"))
            }
            None if code == 0 => Ok(()),
            None => Err(failed()),
        }
    }

    /// Terraform had no time to save anything.
    fn killed(&self, code: i32) -> Error {
        let how = if code == PANICKED {
            "crashed".to_owned()
        } else {
            format!("was killed by signal {}", code - SIGNALLED)
        };
        Error::new(Exit::StateNotSaved, format!("terraform {how} during apply of `{}`", self.environment))
            .why("what it did in the last seconds may exist without being in the state, and the lock may be left")
            .hint("look at what there is before anything else is deployed here; `cdflow deploy … --plan-only` shows what the state lacks")
            .hint("if the lock is left, release it (`cdflow unlock`; docs/terraform.md, \"State\")")
    }
}
