//! What a release is made of, checked against `policy` of the account scheme.

use std::path::Path;

use crate::{
    base::{
        error::{Error, Result},
        small_file,
    },
    config::{
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

/// Returns the keys and sources of all modules. Code without modules has no index.
fn called_modules(index: &Path) -> Result<Vec<(String, String)>> {
    match small_file::text(index) {
        Ok(text) => modules::sources(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("cannot read", index, &error)),
    }
}
