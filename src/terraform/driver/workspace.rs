//! The workspace of an environment and its state; and programs that see what Terraform sees.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use super::init::Initialised;
use crate::{
    base::{
        error::{Error, Exit, Result},
        interrupt::Interrupt,
        process::Program,
    },
    terraform::{
        output::failure::{OutputLines, TerraformStep},
        state::summary::StateSummary,
    },
};

impl Initialised {
    pub(crate) fn has_workspaces(&self) -> bool {
        self.has_workspaces
    }

    /// Whether the environment has a state, be it an empty one.
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

    /// Makes and selects it. Locks to write an empty state, and doesn't wait for the lock: on S3 it ignores `-lock-timeout`.
    /// False when another run has made it meanwhile: then it is not selected.
    pub(crate) async fn create_workspace(&self) -> Result<bool> {
        if !self.has_workspaces {
            return Ok(true);
        }
        let folder = &self.folder;
        let args = ["workspace", "new", "-no-color", self.environment.as_str()];
        let captured =
            folder.program(&args).capture(&folder.host.log, &folder.host.interrupt).await?;
        if captured.code != 0
            && captured.stderr.contains("already exists")
            && self.has_workspace().await?
        {
            return Ok(false);
        }
        folder.judge_quiet(
            &folder.host.interrupt,
            &args,
            &captured,
            TerraformStep::Workspace,
            &self.environment,
        )?;
        Ok(true)
    }

    /// Terraform refuses to delete a workspace whose state still has resources, and that is right.
    pub(crate) async fn delete_workspace(&self) -> Result<()> {
        if !self.has_workspaces {
            return Ok(());
        }
        for (verb, name) in [("select", "default"), ("delete", self.environment.as_str())] {
            self.folder
                .settle(
                    &["workspace", verb, "-no-color", name],
                    TerraformStep::Workspace,
                    &self.environment,
                )
                .await?;
        }
        Ok(())
    }

    /// A program of the user's in Terraform's folder, which sees what Terraform sees and what `change` makes of it.
    pub(crate) fn program(
        &self,
        program: &Path,
        change: impl FnOnce(&mut BTreeMap<OsString, OsString>),
    ) -> Program {
        let mut env = self.folder.env.clone();
        change(&mut env);
        Program::new(program, &self.folder.infra, &env)
    }

    /// None where there is no state yet.
    pub(crate) async fn state(&self) -> Result<Option<StateSummary>> {
        let folder = &self.folder;
        // Also after a signal: what was saved is what people then want to know.
        let pull = folder.program(&["state", "pull"]);
        let (state, ended) = pull
            .parse(&folder.host.log, &Interrupt::never(), |out| StateSummary::parse(out))
            .await?;
        if ended.code != 0 {
            return Err(OutputLines::from_text(&ended.stderr)
                .error(TerraformStep::Workspace, self.environment.as_str()));
        }
        state.map_err(|error| Error::new(Exit::PlanFailed, "the state can't be read").why(error))
    }

    /// A second try to save a state that Terraform could not.
    pub(crate) async fn push_state(&self, file: &Path) -> Result<()> {
        let file = file.to_string_lossy();
        self.folder
            .settle(
                &["state", "push", "-no-color", &file],
                TerraformStep::PushState,
                &self.environment,
            )
            .await
            .map(drop)
    }
}
