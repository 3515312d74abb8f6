//! The copy of the code that `terraform init` runs in, and the files that the bundle gets from it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use super::{Boundary, SourceFile, Sources, third_party, walk};
use crate::{
    base::{
        error::{Error, Result},
        log::Log,
        run_folder::PrivateFolder,
    },
    release::bundle::{EntrySource, StagedFile, check_name},
    terraform::{
        code::{
            lockfile::{self, Locked},
            modules,
        },
        output::located::CodeNames,
    },
};

/// A copy of the Terraform code in the layout of the checkout. Init writes into its folder, and the
/// checkout must stay unchanged.
pub(crate) struct Staged {
    pub(crate) infra: PathBuf,
    root: PathBuf,
}

impl Staged {
    pub(crate) fn create(sources: &Sources, private: &PrivateFolder) -> Result<Self> {
        let root = private.folder("checkout")?;
        let infra = root.join(&sources.infra_folder);
        // Init needs the folder even if no file is copied into it.
        fs::create_dir_all(&infra)
            .map_err(|error| Error::io("cannot create the folder", &infra, &error))?;
        for (name, file) in &sources.outside {
            copy(file, &root, name)?;
        }
        for (name, file) in &sources.files {
            if let Some(name) = name.strip_prefix("infra/") {
                copy(file, &infra, name)?;
            }
        }
        for (from, to) in &sources.links {
            link(&root.join(from), &root.join(to))?;
        }
        Ok(Staged { infra, root })
    }

    pub(crate) fn names(&self) -> CodeNames<'_> {
        CodeNames { infra: &self.infra, root: &self.root }
    }

    /// Reads the lock file: that of the checkout, or what init made of it.
    pub(crate) fn locked(&self) -> Result<Locked> {
        lockfile::read(&self.infra.join(lockfile::FILE))
    }

    /// Returns what init leaves: code with its lock file, modules, and providers as regular files.
    pub(crate) fn files(&self, sources: &Sources, log: &Log) -> Result<Vec<StagedFile>> {
        let work = self.infra.join(".terraform");
        let mut files =
            tree("infra", &self.infra, &self.root, |path| path.starts_with(".terraform"))?;
        let module_folder = work.join("modules");
        if module_folder.is_dir() {
            let index = module_folder.join(modules::INDEX);
            let text = fs::read_to_string(&index)
                .map_err(|error| Error::io("cannot read", &index, &error))?;
            files.extend(third_party::files(&module_folder, &text, sources.dialect, log)?);
            files.push(generated(
                "modules/modules.json",
                modules::index_for_bundle(&text, &sources.infra_folder)?,
            ));
        }
        for (name, file) in &sources.outside {
            let path = self.root.join(name);
            let name = format!("modules/{}/{name}", modules::FROM_CHECKOUT);
            files.push(StagedFile {
                name,
                source: EntrySource::Path(path),
                executable: file.executable,
            });
        }
        let providers = work.join("providers");
        if providers.is_dir() {
            // Init creates links to a provider cache, which can be anywhere.
            files.extend(tree("providers", &providers, Path::new("/"), |_| false)?);
        }
        Ok(files)
    }
}

/// Makes `path` a link to the folder `target`, as in the checkout: what was copied there has its
/// content. Terraform records what the link leads to, so the link is relative.
fn link(path: &Path, target: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("cannot create the link", path, &error);
    let target = fs::canonicalize(target).map_err(failed)?;
    match fs::canonicalize(path) {
        Ok(found) if found == target => return Ok(()),
        Ok(_) => fs::remove_dir_all(path).map_err(failed)?,
        Err(_) => {}
    }
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(failed)?;
    let parent = fs::canonicalize(parent).map_err(failed)?;
    let shared = parent.components().zip(target.components()).take_while(|(a, b)| a == b).count();
    let up = parent.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(target.components().skip(shared)).collect();
    std::os::unix::fs::symlink(relative, path).map_err(failed)
}

/// Copies `file` to `name` in `folder`. Rejects a name that could lead out of the folder.
fn copy(file: &SourceFile, folder: &Path, name: &str) -> Result<()> {
    check_name(name).map_err(|rule| {
        Error::input(format!("cannot release `{}`: {rule}", name.escape_debug()))
    })?;
    let to = &folder.join(name);
    let failed = |error: std::io::Error| Error::io("cannot copy", &file.path, &error);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::copy(&file.path, to).map_err(failed)?;
    // A copy keeps the mode, and init must be able to write the lock file.
    let mode = if file.executable { 0o755 } else { 0o644 };
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(failed)
}

fn tree(
    prefix: &str,
    folder: &Path,
    boundary: &Path,
    skip: impl Fn(&Path) -> bool,
) -> Result<Vec<StagedFile>> {
    let boundary =
        fs::canonicalize(boundary).map_err(|error| Error::io("cannot read", boundary, &error))?;
    let files = walk(folder, &Boundary::new(&boundary, "its module folder"), skip)?;
    let staged = files.into_iter().map(|file| StagedFile {
        name: format!("{prefix}/{}", file.name),
        source: EntrySource::Path(file.path),
        executable: file.executable,
    });
    Ok(staged.collect())
}

/// A file of the bundle that cdflow generates.
pub(crate) fn generated(name: &str, content: Vec<u8>) -> StagedFile {
    StagedFile { name: name.to_owned(), source: EntrySource::Bytes(content), executable: false }
}
