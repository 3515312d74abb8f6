//! `terraform init`: at release it fetches, at deploy it takes everything from the bundle.

use super::{filters::until_advice, folder::Folder};
use crate::{
    base::error::Result,
    config::names::Environment,
    terraform::{output::failure::TerraformStep, state::backend::Backend},
};

/// How a deploy's init finds what the bundle carries.
pub(crate) struct InitRequest {
    /// A filesystem mirror, relative to the folder. Nothing is fetched from anywhere else.
    pub(crate) providers: &'static str,
    /// The bundle has a lock file, which must not change.
    pub(crate) is_locked: bool,
    /// The bundle has an index of modules, which is taken as it is.
    pub(crate) has_modules: bool,
}

/// A folder whose backend, providers and modules are ready.
pub(crate) struct Initialised {
    pub(super) folder: Folder,
    pub(super) environment: Environment,
    /// Whether the environment is a workspace, or the backend leads to its state alone.
    pub(super) has_workspaces: bool,
}

impl Folder {
    /// Fetches modules and providers; touches no backend.
    pub(crate) async fn init_for_release(&self) -> Result<()> {
        let (code, words) =
            self.relay(&["init", "-input=false", "-backend=false"], &mut until_advice()).await?;
        self.done("terraform init", code, || words.error(TerraformStep::InitAtRelease, ""))
    }

    /// Takes everything from the bundle, and opens the state's backend.
    pub(crate) async fn init(
        self,
        environment: &Environment,
        request: &InitRequest,
        backend: &Backend,
    ) -> Result<Initialised> {
        let plugin_dir = format!("-plugin-dir={}", request.providers);
        let mut args = vec!["init", "-input=false", plugin_dir.as_str()];
        if request.is_locked {
            args.push("-lockfile=readonly");
        }
        if request.has_modules {
            args.push("-get=false");
        }
        let (code, words) = self.relay(&args, &mut until_advice()).await?;
        self.done("terraform init", code, || {
            words.error(TerraformStep::InitAtDeploy, environment.as_str())
        })?;
        backend.check(&self.infra)?;
        Ok(Initialised {
            folder: self,
            environment: environment.clone(),
            has_workspaces: backend.has_workspaces(),
        })
    }
}
