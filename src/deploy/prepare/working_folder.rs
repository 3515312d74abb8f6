//! Prepares the unpacked bundle for Terraform: moves modules to their place, and writes the backend
//! and the variables.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    base::{
        error::{Error, Result},
        owner::create_folder,
        run_folder::{PrivateFolder, write_new},
    },
    config::scheme::FrozenAccount,
    context::Context,
    deploy::order::Subject,
    release::{bundle::Unpacked, facts::ReleaseFacts},
    terraform::{
        InitRequest,
        code::{
            declarations::Declarations,
            files::Dialect,
            lockfile, modules,
            origins::ValueOrigins,
            variables::{RELEASE, SECRETS, VarFile, Variables},
        },
        state::backend::{self, Backend},
        tool::Tool,
    },
};

const SECRETS_OVERRIDE: &str = "cdflow_secrets_override.tf.json";

/// The unpacked bundle, ready for Terraform.
pub(crate) struct WorkingFolder {
    pub(crate) infra: PathBuf,
    pub(crate) init: InitRequest,
    pub(crate) variables: VarFile,
    pub(crate) var_file: PathBuf,
    pub(crate) plan_file: PathBuf,
    pub(crate) has_ephemeral: bool,
}

impl WorkingFolder {
    /// Returns where the values of the var-file come from.
    pub(crate) fn origins(&self) -> ValueOrigins {
        self.variables.origins(&self.var_file)
    }

    /// Writes the values that the apply of a stored plan gets, and returns the file. The plan has
    /// the variable `release` of its own release, and Terraform rejects another value.
    pub(crate) fn write_ephemeral_variables(&self) -> Result<PathBuf> {
        let path = self.var_file.with_file_name("stored.tfvars.json");
        if !path.exists() {
            write_new(&path, self.variables.without(RELEASE).as_bytes())?;
        }
        Ok(path)
    }

    pub(crate) fn write_variables(&self) -> Result<()> {
        write_new(&self.var_file, self.variables.to_string().as_bytes())
    }
}

/// What is read from a release before Terraform is.
pub(crate) struct FromRelease<'a> {
    pub(crate) bundle: &'a Unpacked,
    pub(crate) facts: &'a ReleaseFacts,
    pub(crate) account: &'a FrozenAccount,
}

/// Arranges the bundle's files as Terraform needs them, and writes what the code declares.
pub(crate) fn prepare(
    context: &Context,
    subject: &Subject<'_>,
    private: &PrivateFolder,
    release: &FromRelease<'_>,
    tool: &Tool,
    backend: &Backend,
) -> Result<WorkingFolder> {
    let FromRelease { bundle, facts, account } = release;
    let root = &bundle.root;
    let infra = root.join("infra");
    if !infra.is_dir() {
        return Err(Error::integrity("the bundle has no infra/"));
    }
    let declared = Declarations::read(&infra, "infra", Dialect::of_tool(tool))?;
    declared.check_overrides()?;
    let mut variables =
        Variables::read(root, subject.environment(), account, facts.values(), &context.host.log)?;
    if let Some(preview) = subject.preview() {
        variables.set_preview(&preview.variable())?;
    }
    let variables = variables.file_for(&declared, subject.environment(), &context.host.log)?;
    if variables.has(SECRETS) {
        // Terraform then hides the values even if the code does not declare them sensitive.
        let sensitive = json!({"variable": {SECRETS: {"sensitive": true}}});
        write_new(&infra.join(SECRETS_OVERRIDE), sensitive.to_string().as_bytes())?;
    }
    let has_modules = place_modules(root, &infra, bundle.manifest.is_none())?;
    place_reference_files(root, &infra)?;
    write_new(&infra.join(backend::FILE), backend.file().as_bytes())?;
    make_folder(&root.join("providers"))?;
    if let Backend::Local { directory } = backend {
        // A state might contain secrets.
        create_folder(directory, 0o700)
            .map_err(|error| Error::io("cannot create the folder", directory, &error))?;
    }
    let init = InitRequest {
        providers: "../providers",
        is_locked: infra.join(lockfile::FILE).exists(),
        has_modules,
    };
    let has_ephemeral = declared.may_have_ephemeral();
    // Terraform would create it readable for everybody, and it contains the values of secrets. An
    // existing file keeps its mode.
    let plan_file = private.file("plan", b"")?;
    let var_file = private.path().join("variables.tfvars.json");
    Ok(WorkingFolder { infra, init, variables, var_file, plan_file, has_ephemeral })
}

/// Moves `modules/` of the bundle to where Terraform expects it. Returns whether it has an index.
fn place_modules(root: &Path, infra: &Path, is_reference: bool) -> Result<bool> {
    let from = root.join(if is_reference { ".terraform/modules" } else { "modules" });
    let to = infra.join(".terraform/modules");
    if !from.is_dir() {
        return Ok(false);
    }
    make_folder(&infra.join(".terraform"))?;
    fs::rename(&from, &to).map_err(|error| Error::io("can't move", &from, &error))?;
    let index = to.join(modules::INDEX);
    if is_reference && index.is_file() {
        let text =
            fs::read_to_string(&index).map_err(|error| Error::io("can't read", &index, &error))?;
        fs::write(&index, modules::index_from_reference(&text)?)
            .map_err(|error| Error::io("can't write", &index, &error))?;
    }
    Ok(index.is_file())
}

/// The reference program ran `terraform init` one folder higher, so its bundles have the providers
/// and the lock file there.
fn place_reference_files(root: &Path, infra: &Path) -> Result<()> {
    let moves = [
        (root.join(".terraform/providers"), root.join("providers")),
        (root.join(lockfile::FILE), infra.join(lockfile::FILE)),
    ];
    for (from, to) in moves {
        if from.exists() && !to.exists() {
            fs::rename(&from, &to).map_err(|error| Error::io("can't move", &from, &error))?;
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::io("cannot create the folder", path, &error))
}
