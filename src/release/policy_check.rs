//! What a release is made of, checked against `policy` of the account scheme.

use std::path::Path;

use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        small_file,
    },
    config::{
        hooks::Hooks,
        policy::{Ingredients, bullets},
        scheme::AccountScheme,
    },
    terraform::{
        code::{lockfile, modules},
        tool::Tool,
    },
};

/// Refuses (3) a tool, providers or modules that the policy does not allow. `infra` is the code
/// after `terraform init`, `what` the release in the message.
pub(crate) fn check(scheme: &AccountScheme, tool: &Tool, infra: &Path, what: &str) -> Result<()> {
    let locked = lockfile::read(&infra.join(lockfile::FILE))?;
    let modules = called_modules(&infra.join(".terraform/modules").join(modules::INDEX))?;
    let providers = locked.iter().map(|(address, it)| (address.as_str(), it.version.as_str()));
    let of = Ingredients {
        tool: (tool.flavor, &tool.version),
        providers: providers.collect(),
        modules: modules.iter().map(|(key, source)| (key.as_str(), source.as_str())).collect(),
    };
    let violations = scheme.policy.violations(&of);
    if violations.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("{what} uses what the policy does not allow"))
        .why(bullets(&violations, &scheme.file))
        .hint("use what the policy allows, or ask the owners of the account scheme to change it"))
}

/// Refuses (3) a release without the hooks that the policy requires. `digest` returns that of a
/// file of the release.
pub(crate) fn check_hooks(
    scheme: &AccountScheme,
    hooks: &Hooks,
    digest: impl Fn(&str) -> Option<Sha256>,
    what: &str,
) -> Result<()> {
    let missing = scheme.policy.missing_hooks(hooks, digest);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("{what} does not have the hooks that the policy requires"))
        .why(format!("{} (`policy.required-hooks` in {})", missing.join("; "), scheme.file))
        .hint("add them to `hooks.on-plan` in cdflow.yml, and release a new version"))
}

/// Returns the keys and sources of all modules. Code without modules has no index.
fn called_modules(index: &Path) -> Result<Vec<(String, String)>> {
    match small_file::text(index) {
        Ok(text) => modules::sources(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("cannot read", index, &error)),
    }
}
