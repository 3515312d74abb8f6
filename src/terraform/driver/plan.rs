//! `terraform plan`, and reading the plan that it saved.

use std::path::Path;

use super::{
    filters::until_saved,
    init::Initialised,
    request::{PlanRequest, plan_args},
};
use crate::{
    base::error::{Error, Exit, Result},
    terraform::output::{
        changes::Changes,
        failure::{OutputLines, TerraformStep},
        plan_text::PlanText,
    },
};

/// What would be done, and the file with which exactly that can be done.
pub(crate) struct Plan {
    pub(crate) changes: Changes,
    /// Terraform's own word (exit code 2): also a change of outputs alone.
    pub(crate) has_changes: bool,
    /// As Terraform words it.
    pub(crate) text: PlanText,
    pub(super) request: PlanRequest,
}

impl Initialised {
    /// What a person types `plan` for: the command of `plan`, as one types it, with an exit code that says "failed" alone.
    pub(crate) fn plan_command(&self, request: &PlanRequest) -> Vec<String> {
        let program = self.folder.tool.program.display().to_string();
        let colors =
            if self.folder.host.log.colors_output() { None } else { Some("-no-color".to_owned()) };
        std::iter::once(program)
            .chain(plan_args(request).into_iter().filter(|arg| arg != "-detailed-exitcode"))
            .chain(colors)
            .collect()
    }

    pub(crate) async fn plan(&self, request: PlanRequest) -> Result<Plan> {
        let mut text = PlanText::default();
        let mut until_saved = until_saved(&request.plan_file);
        let mut kept = |line: &str| {
            let shown = until_saved(line);
            shown.iter().for_each(|shown| text.push(shown));
            shown
        };
        let args = plan_args(&request);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, words) = self.folder.relay(&&args, &mut kept).await?;
        // 0: nothing to do; 2: changes.
        let ended = if code == 2 { 0 } else { code };
        self.folder.done("terraform plan", ended, || {
            words.error(TerraformStep::Plan, self.environment.as_str())
        })?;
        let changes = self.read_plan(&request.plan_file).await?;
        // A truth value as text, or the name of the environment, would mask half of what people read.
        let harmless = ["true", "false", "null", "none", self.environment.as_str()];
        for secret in changes.sensitive.iter().filter(|secret| !harmless.contains(&secret.expose()))
        {
            self.folder.host.log.redactor.add(secret);
        }
        Ok(Plan { changes, has_changes: code == 2, text, request })
    }

    async fn read_plan(&self, file: &Path) -> Result<Changes> {
        let folder = &self.folder;
        let show = folder.program(&["show".into(), "-json".into(), file.as_os_str().to_owned()]);
        let (changes, ended) =
            show.parse(&folder.host.log, &folder.host.interrupt, |out| Changes::parse(out)).await?;
        folder.done("terraform show", ended.code, || {
            OutputLines::from_text(&ended.stderr)
                .error(TerraformStep::Plan, self.environment.as_str())
        })?;
        changes.map_err(|error| {
            Error::new(Exit::PlanFailed, "the plan's JSON can't be read").why(error)
        })
    }
}
