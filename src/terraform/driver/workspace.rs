//! The workspace of an environment, its state, and other programs in Terraform's environment.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

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

impl Initialised {
    /// The user of Terraform.
    pub(crate) fn run_as(&self) -> RunAs {
        self.folder.run_as
    }

    pub(crate) fn has_workspaces(&self) -> bool {
        self.has_workspaces
    }

    /// Whether the environment has a state, even an empty one.
    pub(crate) async fn has_workspace(&self) -> Result<bool> {
        if !self.has_workspaces {
            return Ok(self.state().await?.is_some());
        }
        let list = self
            .folder
            .quiet(&["workspace", "list", "-no-color"], TerraformStep::Workspace, &self.environment)
            .await?;
        Ok(list
            .lines()
            .any(|line| line.trim_start_matches('*').trim() == self.environment.as_str()))
    }

    pub(crate) async fn select_workspace(&self) -> Result<()> {
        if !self.has_workspaces {
            return Ok(());
        }
        let args = ["workspace", "select", "-no-color", self.environment.as_str()];
        self.folder.quiet(&args, TerraformStep::Workspace, &self.environment).await.map(drop)
    }

    /// Creates and selects the workspace. False if another run has created it meanwhile; then it is
    /// not selected.
    ///
    /// Terraform locks the state to write an empty one. On S3 it ignores `-lock-timeout` for that.
    pub(crate) async fn create_workspace(&self) -> Result<bool> {
        if !self.has_workspaces {
            return Ok(true);
        }
        let folder = &self.folder;
        let args = ["workspace", "new", "-no-color", self.environment.as_str()];
        let life = Life::of_terraform(Limit::TerraformWorkspace);
        let captured =
            folder.program(&args, life).capture(&folder.host.log, &folder.host.interrupt).await?;
        if captured.code != 0
            && captured.stderr.contains("already exists")
            && self.has_workspace().await?
        {
            return Ok(false);
        }
        folder.check_quiet(
            &folder.host.interrupt,
            &args,
            &captured,
            TerraformStep::Workspace,
            &self.environment,
        )?;
        Ok(true)
    }

    /// Deletes the workspace. Terraform refuses if its state still has resources.
    pub(crate) async fn delete_workspace(&self) -> Result<()> {
        if !self.has_workspaces {
            return Ok(());
        }
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

    /// Reads the state, whose sensitive values are redacted from then on. None if the environment
    /// has no state yet.
    pub(crate) async fn state(&self) -> Result<Option<StateSummary>> {
        let folder = &self.folder;
        // Not cancelled by a signal: after one, people need to know what was saved.
        let pull = folder.program(&["state", "pull"], Life::of_terraform(Limit::TerraformRead));
        let (state, ended) = pull
            .parse(&folder.host.log, &Interrupt::never(), |out| StateSummary::parse(out))
            .await?;
        if ended.code != 0 {
            return Err(OutputLines::from_text(&ended.stderr)
                .error(TerraformStep::Workspace, self.environment.as_str()));
        }
        let state = state
            .map_err(|error| Error::new(Exit::PlanFailed, "cannot read the state").why(error))?;
        for secret in state.iter().flat_map(|state| &state.sensitive) {
            folder.host.log.redactor.add(secret);
        }
        Ok(state)
    }

    /// Saves a state that Terraform failed to save.
    pub(crate) async fn push_state(&self, file: &Path) -> Result<()> {
        let file = file.to_string_lossy();
        self.folder
            .quiet_uncancelled(
                &["state", "push", "-no-color", &file],
                TerraformStep::PushState,
                &self.environment,
            )
            .await
            .map(drop)
    }
}
