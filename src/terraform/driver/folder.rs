//! A folder of Terraform code, and how Terraform is run in it: shown live, or silently.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use crate::{
    base::{
        error::{Error, Result},
        interrupt::Interrupt,
        process::{Captured, Program},
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

/// A folder of Terraform code, and how Terraform is run in it.
pub(crate) struct Folder {
    pub(crate) tool: Tool,
    pub(crate) host: Host,
    pub(crate) infra: PathBuf,
    /// The folder in the checkout that it is a copy of.
    pub(crate) original: PathBuf,
    /// All that Terraform sees of the environment.
    pub(crate) env: BTreeMap<OsString, OsString>,
}

impl Folder {
    pub(super) fn program(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Program {
        Program::new(&self.tool.program, &self.infra, &self.env).args(args)
    }

    /// Runs with its output shown live, as `filter` lets it through.
    pub(super) async fn relay(
        &self,
        args: &[&str],
        filter: &mut (dyn FnMut(&str) -> Option<String> + Send),
    ) -> Result<(i32, OutputLines)> {
        let mut args = args.to_vec();
        if !self.host.log.colors_output() {
            args.insert(1, "-no-color");
        }
        let mut words = OutputLines::default();
        let mut show = |line: &str| {
            words.push(line);
            if let Some(shown) = filter(line) {
                self.host.log.output(&shown);
            }
        };
        let finished =
            self.program(&args).relay(&self.host.log, &self.host.interrupt, &mut show).await?;
        diagnostics::annotate(&self.host.log, &self.original, &words.diagnostics());
        Ok((finished.code, words))
    }

    /// Runs silently; its words are shown only when it fails.
    pub(super) async fn quiet(
        &self,
        args: &[&str],
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<String> {
        self.quiet_until(&self.host.interrupt, args, step, environment).await
    }

    /// As `quiet`, and not cancelled by a signal: it tidies up, also after one.
    pub(super) async fn settle(
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
        let captured = self.program(args).capture(&self.host.log, interrupt).await?;
        self.judge_quiet(interrupt, args, &captured, step, environment)?;
        Ok(String::from_utf8_lossy(&captured.stdout).into_owned())
    }

    pub(super) fn judge_quiet(
        &self,
        interrupt: &Interrupt,
        args: &[&str],
        captured: &Captured,
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<()> {
        done(interrupt, &format!("terraform {}", args[0]), captured.code, || {
            captured.stderr.lines().for_each(|line| self.host.log.output(line));
            OutputLines::from_text(&captured.stderr).error(step, environment.as_str())
        })
    }

    pub(super) fn done(&self, what: &str, code: i32, failed: impl FnOnce() -> Error) -> Result<()> {
        done(&self.host.interrupt, what, code, failed)
    }
}

/// An error when a signal has come, whatever the program made of it; else by its exit code.
fn done(
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
