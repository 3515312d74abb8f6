//! A folder of Terraform code, and running Terraform in it, with live output or silently.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

use crate::{
    base::{
        error::{Error, Result},
        interrupt::Interrupt,
        limits::Limit,
        process::{Captured, Life, Program},
        run_as::RunAs,
    },
    config::names::Environment,
    services::ci::host::Host,
    terraform::{
        output::{
            diagnostics,
            failure::{OutputLines, TerraformStep},
        },
        tool::Tool,
    },
};

/// A folder of Terraform code that is ready for init.
pub(crate) struct Folder {
    pub(crate) tool: Tool,
    pub(crate) host: Host,
    pub(crate) infra: PathBuf,
    /// The folder in the checkout of which `infra` is a copy.
    pub(crate) original: PathBuf,
    /// The complete environment of Terraform.
    pub(crate) env: BTreeMap<OsString, OsString>,
    /// The user of Terraform, and so of its providers.
    pub(crate) run_as: RunAs,
}

impl Folder {
    pub(super) fn program(&self, args: &[impl AsRef<std::ffi::OsStr>], life: Life) -> Program {
        Program::new(&self.tool.program, &self.infra, &self.env, self.run_as, life).args(args)
    }

    /// Runs Terraform with live output, as far as `filter` passes it. The limit is longer by the
    /// time that Terraform may wait for a lock. Returns exit code and output.
    pub(super) async fn relay(
        &self,
        args: &[&str],
        (limit, more): (Limit, Duration),
        filter: &mut (dyn FnMut(&str) -> Option<String> + Send),
    ) -> Result<(i32, OutputLines)> {
        self.relay_for(args, (Life::of_terraform(limit), more), filter).await
    }

    /// As [`Self::relay`], with what ends Terraform.
    pub(super) async fn relay_for(
        &self,
        args: &[&str],
        (life, more): (Life, Duration),
        filter: &mut (dyn FnMut(&str) -> Option<String> + Send),
    ) -> Result<(i32, OutputLines)> {
        let mut args = args.to_vec();
        if !self.host.log.colors_output() {
            args.insert(1, "-no-color");
        }
        let mut output = OutputLines::default();
        let mut show = |line: &str| {
            output.push(line);
            if let Some(shown) = filter(line) {
                self.host.log.program_output(&shown);
            }
        };
        let program = self.program(&args, life).longer_by(more);
        let finished = program.relay(&self.host.log, &self.host.interrupt, &mut show).await?;
        Ok((finished.code, output))
    }

    /// Annotates the lines of code that Terraform's messages name.
    pub(super) fn annotate(&self, output: &OutputLines) {
        diagnostics::annotate(&self.host.log, &self.original, &output.diagnostics());
    }

    /// Runs Terraform silently and returns its stdout. Its stderr is shown only if it fails.
    pub(super) async fn quiet(
        &self,
        args: &[&str],
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<String> {
        self.quiet_until(&self.host.interrupt, args, step, environment).await
    }

    /// Like [`Self::quiet`], but not cancelled by a signal: for cleaning up after one.
    pub(super) async fn quiet_uncancelled(
        &self,
        args: &[&str],
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<String> {
        self.quiet_until(&Interrupt::never(), args, step, environment).await
    }

    async fn quiet_until(
        &self,
        interrupt: &Interrupt,
        args: &[&str],
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<String> {
        let life = Life::of_terraform(Limit::TerraformWorkspace);
        let captured = self.program(args, life).capture(&self.host.log, interrupt).await?;
        self.check_quiet(interrupt, args, &captured, step, environment)?;
        Ok(String::from_utf8_lossy(&captured.stdout).into_owned())
    }

    pub(super) fn check_quiet(
        &self,
        interrupt: &Interrupt,
        args: &[&str],
        captured: &Captured,
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<()> {
        check(interrupt, &format!("terraform {}", args[0]), captured.code, || {
            captured.stderr.lines().for_each(|line| self.host.log.program_output(line));
            OutputLines::from_text(&captured.stderr).error(step, environment.as_str())
        })
    }

    pub(super) fn check(
        &self,
        what: &str,
        code: i32,
        failed: impl FnOnce() -> Error,
    ) -> Result<()> {
        check(&self.host.interrupt, what, code, failed)
    }
}

/// Returns an error after a signal; otherwise, the exit code decides.
fn check(
    interrupt: &Interrupt,
    what: &str,
    code: i32,
    failed: impl FnOnce() -> Error,
) -> Result<()> {
    match interrupt.requested() {
        Some(exit) => {
            Err(Error::new(exit, format!("cancelled during {what}; no resource was changed")))
        }
        None if code == 0 => Ok(()),
        None => Err(failed()),
    }
}
