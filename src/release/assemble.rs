//! Puts the bundle of a release together once `terraform init` has run.

use std::path::Path;

use super::{
    bundle,
    bundle::{Bundle, BundleHeader, EntrySource, StagedFile, TerraformIdentity},
    facts,
    facts::ReleaseFacts,
    hooks, source,
    source::{SourceFile, Sources, Staged, generated},
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        log::Log,
        units::bytes_text,
    },
    config::scheme::AccountScheme,
    terraform::{
        code::{lockfile, modules},
        tool::{Tool, platform},
    },
};

/// The copy of the account scheme in a bundle.
pub(crate) const ACCOUNT_SCHEME: &str = "account-scheme.json";

/// Writes `bundle.zip` into the folder `to`.
pub(crate) async fn assemble(
    log: &Log,
    sources: &Sources,
    staged: &Staged,
    tool: &Tool,
    facts: &ReleaseFacts,
    scheme: &AccountScheme,
    to: &Path,
) -> Result<Bundle> {
    log.step("Bundle");
    let mut files = staged.files(sources, log)?;
    let unchanged = sources.files.iter().filter(|(name, _)| !name.starts_with("infra/"));
    files.extend(unchanged.map(|(name, file)| StagedFile {
        name: name.clone(),
        source: EntrySource::Path(file.path.clone()),
        executable: file.executable,
    }));
    files.push(generated(facts::FILE, facts.to_bytes()));
    if !sources.hooks.is_empty() {
        files.push(generated(hooks::FILE, hooks::to_bytes(&sources.hooks)));
    }
    files.push(generated(ACCOUNT_SCHEME, scheme.raw.clone().into_bytes()));
    let (source_digest, tool, to) = (sources.digest, tool.clone(), to.join("bundle.zip"));
    let written = tokio::task::spawn_blocking(move || {
        let header = BundleHeader { source_digest, terraform: identity(&tool)? };
        bundle::write(files, header, &to)
    });
    let bundle = written
        .await
        .map_err(|error| Error::internal("failed to write the bundle").why(error))??;
    check_unchanged(sources, &bundle)?;
    let counts = format!("{} files, {}", bundle.manifest.files.len(), bytes_text(bundle.size));
    log.note(&format!("{counts}, bundle digest {}", bundle.digest));
    Ok(bundle)
}

/// Checks that the bundle has the files that the source digest covers. Only the lock file may
/// differ, because init adds to it.
fn check_unchanged(sources: &Sources, bundle: &Bundle) -> Result<()> {
    let lock_file = format!("infra/{}", lockfile::FILE);
    let is_same = |name: &str, file: &SourceFile| {
        bundle.manifest.files.get(name).map(|it| it.sha256) == Some(file.sha256)
    };
    for (name, file) in sources.files.iter().filter(|(name, _)| **name != lock_file) {
        if !is_same(name, file) {
            return Err(source::changed(name));
        }
    }
    for (name, file) in &sources.outside {
        if !is_same(&format!("modules/{}/{name}", modules::FROM_CHECKOUT), file) {
            return Err(source::changed(name));
        }
    }
    Ok(())
}

fn identity(tool: &Tool) -> Result<TerraformIdentity> {
    let sha256 = Sha256::of_file(&tool.program)
        .map_err(|error| Error::io("cannot read", &tool.program, &error))?;
    Ok(TerraformIdentity {
        name: tool.flavor.name().to_owned(),
        version: tool.version.to_string(),
        platform: Some(platform()),
        sha256,
    })
}
