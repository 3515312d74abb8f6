//! `terraform validate` at release, and a check of values without the code that uses them.

use std::{path::Path, time::Duration};

use super::folder::Folder;
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        process::Life,
    },
    terraform::{
        code::origins::ValueOrigins,
        output::failure::{OutputLines, TerraformStep, plain},
    },
};

const LIMIT: Limit = Limit::TerraformRead;
const SUCCESS: &str = "Success! The configuration is valid";

impl Folder {
    /// Checks the code of an initialised folder. Shows what Terraform says, unless all is well.
    pub(crate) async fn validate(&self) -> Result<()> {
        let mut filter = |line: &str| {
            let text = plain(line);
            let is_shown = !text.trim().is_empty() && !text.starts_with(SUCCESS);
            is_shown.then(|| line.to_owned())
        };
        let ended = self.relay(&["validate"], (LIMIT, Duration::ZERO), &mut filter).await;
        let (code, output) = ended.map_err(as_release)?;
        self.annotate(&output);
        self.check("terraform validate", code, || output.error(TerraformStep::Validate, ""))
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
