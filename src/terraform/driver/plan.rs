//! `terraform plan`, and reading the saved plan.

use std::{path::Path, time::Duration};

use super::{
    filters::until_saved,
    init::Initialised,
    request::{PlanRequest, plan_args},
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        process::Life,
    },
    config::duration::HumanDuration,
    terraform::output::{
        changes::Changes,
        failure::{OutputLines, TerraformStep},
        plan_text::PlanText,
    },
};

/// A saved plan: its changes, and the request with the file that apply needs.
pub(crate) struct Plan {
    pub(crate) changes: Changes,
    /// Terraform's exit code was 2. True also if only outputs change.
    pub(crate) has_changes: bool,
    /// Terraform's text.
    pub(crate) text: PlanText,
    pub(super) request: PlanRequest,
}

impl Initialised {
    /// Returns the command line of `plan` for an interactive shell, where an exit code of 2 would
    /// look like a failure.
    pub(crate) fn plan_command(&self, request: &PlanRequest) -> Vec<String> {
        let program = self.folder.tool.program.display().to_string();
        let colors =
            if self.folder.host.log.colors_output() { None } else { Some("-no-color".to_owned()) };
        std::iter::once(program)
            .chain(plan_args(request).into_iter().filter(|arg| arg != "-detailed-exitcode"))
            .chain(colors)
            .collect()
    }

    /// Plans with live output. Sensitive values of the plan are redacted from then on.
    pub(crate) async fn plan(&self, request: PlanRequest) -> Result<Plan> {
        let mut text = PlanText::default();
        let mut until_saved = until_saved(&request.plan_file);
        let mut keep = |line: &str| {
            let shown = until_saved(line);
            shown.iter().for_each(|shown| text.push(shown));
            shown
        };
        let waits = request.lock_timeout.map_or(Duration::ZERO, |HumanDuration(time)| time);
        let args = plan_args(&request);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, output) =
            self.folder.relay(&args, (Limit::TerraformPlan, waits), &mut keep).await?;
        // 0: nothing to do; 2: changes.
        let ended = if code == 2 { 0 } else { code };
        self.folder.check("terraform plan", ended, || {
            output.error(TerraformStep::Plan, self.environment.as_str())
        })?;
        let changes = self.read_plan(&request.plan_file).await?;
        if changes.is_errored {
            return Err(Error::new(Exit::PlanFailed, "terraform plan failed")
                .why("the plan is incomplete, and Terraform would refuse to apply it")
                .hint("see Terraform's output above; nothing was applied"));
        }
        if !changes.deferred.is_empty() {
            self.folder.host.log.warning(&format!(
                "Terraform puts off changes to a later deploy: {}",
                changes.deferred.join(", ")
            ));
        }
        // Redacting words such as `true`, or the environment's name, would make the output
        // unreadable.
        let harmless = ["true", "false", "null", "none", self.environment.as_str()];
        for secret in changes.sensitive.iter().filter(|secret| !harmless.contains(&secret.expose()))
        {
            self.folder.host.log.redactor.add(secret);
        }
        Ok(Plan { changes, has_changes: code == 2, text, request })
    }

    async fn read_plan(&self, file: &Path) -> Result<Changes> {
        let folder = &self.folder;
        let args = ["show".into(), "-json".into(), file.as_os_str().to_owned()];
        let show = folder.program(&args, Life::of_terraform(Limit::TerraformRead));
        let (changes, ended) =
            show.parse(&folder.host.log, &folder.host.interrupt, |out| Changes::parse(out)).await?;
        folder.check("terraform show", ended.code, || {
            OutputLines::from_text(&ended.stderr)
                .error(TerraformStep::Plan, self.environment.as_str())
        })?;
        changes.map_err(|error| {
            Error::new(Exit::PlanFailed, "cannot read the JSON of the plan").why(error)
        })
    }
}
