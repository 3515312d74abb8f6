//! `terraform init`: a release fetches modules and providers, a deploy takes them from the bundle.

use std::time::Duration;

use super::{filters::until_advice, folder::Folder};
use crate::{
    base::{
        error::{Exit, Result},
        limits::Limit,
        process::Life,
    },
    config::names::Environment,
    terraform::{
        output::{
            failure::{OutputLines, TerraformStep},
            located::CodeNames,
        },
        state::backend::Backend,
    },
};

/// Init changes only the run's own folders.
const LIFE: Life = Life::Expendable(Limit::TerraformInit);

/// What a bundle contains for init.
pub(crate) struct InitRequest {
    /// The filesystem mirror, relative to the folder. It is the only source of providers.
    pub(crate) providers: &'static str,
    /// The bundle has a lock file, which must not change.
    pub(crate) is_locked: bool,
    /// The bundle has `modules.json`, which is used as it is.
    pub(crate) has_modules: bool,
}

/// A folder whose backend, providers and modules are ready.
pub(crate) struct Initialised {
    pub(super) folder: Folder,
    pub(super) environment: Environment,
    /// Whether the environment is a workspace. Otherwise the backend has only one state.
    pub(super) has_workspaces: bool,
}

impl Folder {
    /// Fetches modules and providers, without a backend. `has_own_cache`: Terraform writes them
    /// into the user's cache, where half of a provider must not be left.
    pub(crate) async fn init_for_release(
        &self,
        names: &CodeNames<'_>,
        has_own_cache: bool,
    ) -> Result<()> {
        self.tool.check_switcher(&self.infra, &self.env, &self.host).await?;
        let args = ["init", "-input=false", "-backend=false"];
        let mut advice = until_advice();
        let mut filter = |line: &str| advice(line).map(|line| names.named(&line));
        let life = if has_own_cache { Life::of_terraform(Limit::TerraformInit) } else { LIFE };
        let ended = self.init_until(&args, life, &mut filter).await;
        let (code, output) = ended.map_err(|error| match error.exit() {
            Exit::PlanFailed => error.exit_with(Exit::BuildFailed),
            _ => error,
        })?;
        self.annotate(&output);
        self.check("terraform init", code, || {
            output.release_error(TerraformStep::InitAtRelease, names)
        })
    }

    async fn init_until(
        &self,
        args: &[&str],
        life: Life,
        filter: &mut (dyn FnMut(&str) -> Option<String> + Send),
    ) -> Result<(i32, OutputLines)> {
        let _progress = self.host.progress("terraform init", None);
        self.relay_for(args, (life, Duration::ZERO), filter).await
    }

    /// Initialises modules and providers from the bundle, and the backend of the state.
    pub(crate) async fn init(
        self,
        environment: &Environment,
        request: &InitRequest,
        backend: &Backend,
    ) -> Result<Initialised> {
        self.tool.check_switcher(&self.infra, &self.env, &self.host).await?;
        let plugin_dir = format!("-plugin-dir={}", request.providers);
        let mut args = vec!["init", "-input=false", plugin_dir.as_str()];
        if request.is_locked {
            args.push("-lockfile=readonly");
        }
        if request.has_modules {
            args.push("-get=false");
        }
        let (code, output) = self.init_until(&args, LIFE, &mut until_advice()).await?;
        self.annotate(&output);
        self.check("terraform init", code, || {
            output.error(TerraformStep::InitAtDeploy, environment.as_str())
        })?;
        backend.check(&self.infra)?;
        Ok(Initialised {
            folder: self,
            environment: environment.clone(),
            has_workspaces: backend.has_workspaces(),
        })
    }
}
