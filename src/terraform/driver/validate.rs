//! `terraform validate` at release, and a check of values without the code that uses them.

use std::path::Path;

use super::folder::Folder;
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        process::Life,
    },
    terraform::{
        code::origins::ValueOrigins,
        output::{
            diagnostics::{self, Diagnostic},
            failure::{OutputLines, TerraformStep},
            json_diagnostics::{self, DiagnosticJson},
            located::CodeNames,
        },
    },
};

const LIMIT: Limit = Limit::TerraformRead;

impl Folder {
    /// Checks the code of an initialised folder. Shows what Terraform says about it.
    pub(crate) async fn validate(&self, names: &CodeNames<'_>) -> Result<()> {
        let program = self.program(&["validate", "-json"], Life::of_terraform(LIMIT));
        let captured = program.capture(&self.host.log, &self.host.interrupt).await;
        let captured = captured.map_err(as_release)?;
        let text = String::from_utf8_lossy(&captured.stdout);
        let color = self.host.log.colors_output();
        let found = json_diagnostics::of_validation(&text);
        let shown: Vec<String> = match &found {
            Some(found) => json_diagnostics::shown(found, names, color),
            // It has crashed.
            None => vec![text.into_owned()],
        };
        let output =
            OutputLines::from_text(&format!("{}\n{}", shown.join("\n\n"), captured.stderr));
        let texts = shown.iter().chain([&captured.stderr]);
        for text in texts.filter(|text| !text.trim().is_empty()) {
            text.lines().for_each(|line| self.host.log.program_output(line));
            self.host.log.output("");
        }
        let located: Vec<Diagnostic> =
            found.iter().flatten().filter_map(DiagnosticJson::located).collect();
        diagnostics::annotate(&self.host.log, &self.original, &located);
        let step = TerraformStep::Validate;
        self.check("terraform validate", captured.code, || {
            output.located_error(step, names, &located)
        })
    }

    /// Returns the error for the first value of `var_file` that does not fit its variable. The
    /// folder has nothing but variables, so it needs no init.
    pub(crate) async fn rejected_value(
        &self,
        var_file: &Path,
        origins: &ValueOrigins,
    ) -> Result<Option<Error>> {
        let var_file = format!("-var-file={}", var_file.display());
        let args =
            ["plan", "-input=false", "-refresh=false", "-lock=false", "-no-color", &var_file];
        let program = self.program(&args, Life::of_terraform(LIMIT));
        let ended = program.capture(&self.host.log, &self.host.interrupt).await;
        let ended = ended.map_err(as_release)?;
        let output = OutputLines::from_text(&ended.stderr);
        self.check("terraform plan", 0, || output.error(TerraformStep::Validate, ""))?;
        let error = origins.error(&output.diagnostics(), TerraformStep::Validate);
        Ok(error.filter(|_| ended.code != 0))
    }
}

/// Terraform was to plan nothing here.
fn as_release(error: Error) -> Error {
    match error.exit() {
        Exit::PlanFailed => error.exit_with(Exit::BuildFailed),
        _ => error,
    }
}
