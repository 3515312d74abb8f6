//! Puts the bundle of a release together once `terraform init` has run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    bundle,
    bundle::{Bundle, BundleHeader, EntrySource, SegmentPlan, StagedFile, TerraformIdentity},
    facts,
    facts::ReleaseFacts,
    hashed_files::{FileState, HashedFiles},
    hooks,
    known_segments::SegmentSearch,
    shared_segments::SegmentStorage,
    source,
    source::{SourceFile, Sources, Staged, generated},
};
use crate::{
    base::{
        blocking::blocking,
        digest::Sha256,
        error::{Error, Result},
        units::bytes_text,
    },
    config::{identity::Release, scheme::AccountScheme},
    services::{ci::host::Host, store::ReleaseStore},
    terraform::{
        code::{lockfile, modules},
        tool::{Tool, platform},
    },
};

/// The copy of the account scheme in a bundle.
pub(crate) const ACCOUNT_SCHEME: &str = "account-scheme.json";

/// What a bundle is made of.
pub(crate) struct Assembly<'a> {
    pub(crate) host: &'a Host,
    pub(crate) sources: &'a Sources,
    pub(crate) staged: &'a Staged,
    pub(crate) tool: &'a Tool,
    pub(crate) facts: &'a ReleaseFacts,
    pub(crate) scheme: &'a AccountScheme,
    /// The folder for the bundle.
    pub(crate) to: &'a Path,
}

impl Assembly<'_> {
    /// Writes a bundle without the segments that `release` shares, or can copy from other releases
    /// in `store`.
    pub(crate) async fn write(
        &self,
        store: &ReleaseStore,
        release: &Release,
        storage: SegmentStorage,
    ) -> Result<Bundle> {
        let Host { log, interrupt, .. } = self.host;
        log.step("Bundle");
        let files = self.files()?;
        let sources = self.sources.files.iter();
        let hashed = sources.map(|(name, file)| (name.clone(), file.sha256)).collect();
        let machine = Arc::new(HashedFiles::open(self.host));
        let host = self.host;
        let search =
            SegmentSearch { store, release, storage, hashed, machine: Arc::clone(&machine), host };
        let finding = async { Ok(search.find(&files).await) };
        let known = interrupt.or_cancel("asking the release store", finding).await?;
        let states = states(&files);
        let share_in = match storage {
            SegmentStorage::Shared => {
                let folder = self.to.join("segments");
                fs::create_dir(&folder)
                    .map_err(|error| Error::io("cannot create folder", &folder, &error))?;
                Some(folder)
            }
            SegmentStorage::InBundle | SegmentStorage::SharedIfThere => None,
        };
        let bundle = self.pack(files, SegmentPlan { known, share_in }, "bundle.zip").await?;
        check_unchanged(self.sources, &bundle)?;
        keep_hashes(&machine, states, &bundle);
        let counts =
            format!("{} files, {}", bundle.manifest.files.len(), bytes_text(bundle.size()));
        let digest = self.host.screen().digest(bundle.digest);
        log.note(&format!("{counts}, bundle digest {digest}"));
        Ok(bundle)
    }

    /// Writes the same bundle with all its bytes.
    pub(crate) async fn write_whole(&self) -> Result<Bundle> {
        let plan = SegmentPlan::default();
        let bundle = self.pack(self.files()?, plan, "whole-bundle.zip").await?;
        check_unchanged(self.sources, &bundle)?;
        Ok(bundle)
    }

    fn files(&self) -> Result<Vec<StagedFile>> {
        let mut files = self.staged.files(self.sources, &self.host.log)?;
        let sources = self.sources.files.iter();
        let unchanged = sources.filter(|(name, _)| !name.starts_with("infra/"));
        files.extend(unchanged.map(|(name, file)| StagedFile {
            name: name.clone(),
            source: EntrySource::Path(file.path.clone()),
            executable: file.executable,
        }));
        files.push(generated(facts::FILE, self.facts.to_bytes()));
        if !self.sources.hooks.is_empty() {
            files.push(generated(hooks::FILE, hooks::to_bytes(&self.sources.hooks)));
        }
        files.push(generated(ACCOUNT_SCHEME, self.scheme.raw.clone().into_bytes()));
        Ok(files)
    }

    async fn pack(
        &self,
        files: Vec<StagedFile>,
        segments: SegmentPlan,
        name: &str,
    ) -> Result<Bundle> {
        let (source_digest, tool, to) =
            (self.sources.digest, self.tool.clone(), self.to.join(name));
        let progress = self.host.progress("packing the bundle", None);
        blocking(move || {
            let header = BundleHeader { source_digest, terraform: identity(&tool)? };
            bundle::write(files, header, &segments, &to, &progress)
        })
        .await
    }
}

/// Returns the name, the path and the state of every file that becomes a segment.
fn states(files: &[StagedFile]) -> Vec<(String, PathBuf, FileState)> {
    let paths = bundle::segments(files).into_iter().filter_map(|(file, _)| match &file.source {
        EntrySource::Path(path) => Some((file.name.clone(), path.clone())),
        EntrySource::Bytes(_) => None,
    });
    paths.filter_map(|(name, path)| Some((name, path.clone(), state_of(&path)?))).collect()
}

fn state_of(path: &Path) -> Option<FileState> {
    fs::metadata(path).ok().and_then(|found| FileState::of(&found))
}

/// Keeps the hashes of files that have not changed since before they were packed.
fn keep_hashes(machine: &HashedFiles, before: Vec<(String, PathBuf, FileState)>, bundle: &Bundle) {
    for (name, path, state) in before {
        let packed = bundle.manifest.files.get(&name);
        if let Some(entry) = packed.filter(|_| state_of(&path).as_ref() == Some(&state)) {
            machine.keep(Some(&state), entry.sha256);
        }
    }
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
