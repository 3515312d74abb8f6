//! The workspace of an environment, its state, and other programs in Terraform's environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{ErrorKind, Write},
    path::Path,
};

use super::init::Initialised;
use crate::{
    base::{
        error::{Error, Exit, Result},
        interrupt::Interrupt,
        limits::Limit,
        process::{Life, Program},
        run_as::RunAs,
    },
    terraform::{
        output::failure::{OutputLines, TerraformStep},
        state::summary::StateSummary,
    },
};

/// The file with the name of the selected workspace, in Terraform's data folder.
const SELECTED: &str = ".terraform/environment";

impl Initialised {
    /// The user of Terraform.
    pub(crate) fn run_as(&self) -> RunAs {
        self.folder.run_as
    }

    pub(crate) fn has_workspaces(&self) -> bool {
        self.has_workspaces
    }

    /// Selects the workspace as `terraform workspace select` does.
    pub(crate) fn select_workspace(&self) -> Result<()> {
        if !self.has_workspaces {
            return Ok(());
        }
        let file = self.folder.infra.join(SELECTED);
        let written = fs::remove_file(&file)
            .or_else(|error| match error.kind() {
                ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
            .and_then(|()| {
                let mut options = fs::OpenOptions::new();
                let mut created = options.write(true).create_new(true).open(&file)?;
                created.write_all(self.environment.as_str().as_bytes())
            });
        written.map_err(|error| Error::io("cannot select the workspace in", &file, &error))?;
        self.folder.run_as.give(&file)
    }

    /// Creates and selects the workspace.
    ///
    /// Terraform locks the state to write an empty one. On S3 it ignores `-lock-timeout` for that.
    pub(crate) async fn create_workspace(&self) -> Result<()> {
        let args = ["workspace", "new", "-no-color", self.environment.as_str()];
        self.folder.quiet(&args, TerraformStep::Workspace, &self.environment).await.map(drop)
    }

    /// Deletes the workspace. Terraform refuses if its state still has resources.
    pub(crate) async fn delete_workspace(&self) -> Result<()> {
        for (verb, name) in [("select", "default"), ("delete", self.environment.as_str())] {
            self.folder
                .quiet_uncancelled(
                    &["workspace", verb, "-no-color", name],
                    TerraformStep::Workspace,
                    &self.environment,
                )
                .await?;
        }
        Ok(())
    }

    /// Returns a program of the user in Terraform's folder, with Terraform's environment after
    /// `change`.
    pub(crate) fn program(
        &self,
        program: &Path,
        change: impl FnOnce(&mut BTreeMap<OsString, OsString>),
    ) -> Program {
        let mut env = self.folder.env.clone();
        change(&mut env);
        // The commands are the user's, and can be an apply.
        Program::new(program, &self.folder.infra, &env, self.folder.run_as, Life::Protected)
    }

    /// Reads the state with Terraform. None if there is none.
    pub(crate) async fn pull_state(&self) -> Result<Option<StateSummary>> {
        let folder = &self.folder;
        // Not cancelled by a signal: after one, people need to know what was saved.
        let pull = folder.program(&["state", "pull"], Life::of_terraform(Limit::TerraformRead));
        let (state, ended) = pull
            .parse(&folder.host.log, &Interrupt::never(), |out| StateSummary::parse(out))
            .await?;
        if ended.code != 0 {
            ended.stderr.lines().for_each(|line| folder.host.log.program_output(line));
            return Err(OutputLines::from_text(&ended.stderr)
                .error(TerraformStep::Workspace, self.environment.as_str()));
        }
        state.map_err(|error| {
            Error::new(Exit::PlanFailed, "cannot read the state").why(format!(
                "line {} column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// Saves a state that Terraform failed to save: a file, or `-` for `input`.
    pub(crate) async fn push_state(&self, file: &str, input: &[u8]) -> Result<()> {
        let args = ["state", "push", "-no-color", file];
        let (interrupt, step) = (Interrupt::never(), TerraformStep::PushState);
        let push = self.folder.program(&args, Life::of_terraform(Limit::TerraformPush));
        let ended = push.input(input).capture(&self.folder.host.log, &interrupt).await?;
        self.folder.check_quiet(&interrupt, &args, &ended, step, &self.environment)
    }
}
