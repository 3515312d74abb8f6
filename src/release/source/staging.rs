//! A copy of what `terraform init` needs, and what is carried into the bundle once it has run.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Boundary, SourceFile, Sources, walk};
use crate::{
    base::{
        error::{Error, Result},
        run_folder::PrivateFolder,
    },
    release::bundle::{EntrySource, StagedFile, check_name},
    terraform::code::modules,
};

/// A copy of what init needs, in the layout of the checkout, because init writes into the folder it runs in.
pub(crate) struct Staged {
    pub(crate) infra: PathBuf,
    root: PathBuf,
}

impl Staged {
    pub(crate) fn create(sources: &Sources, private: &PrivateFolder) -> Result<Self> {
        let root = private.folder("checkout")?;
        let component = root.join(&sources.component_folder);
        let infra = component.join("infra");
        // Also when infra/ has no file that is carried, init must find a folder.
        fs::create_dir_all(&infra)
            .map_err(|error| Error::io("can't make the folder", &infra, &error))?;
        for (name, file) in &sources.outside {
            copy(file, &root, name)?;
        }
        for (name, file) in sources.files.iter().filter(|(name, _)| name.starts_with("infra/")) {
            copy(file, &component, name)?;
        }
        Ok(Staged { infra, root })
    }

    /// What init has made or left: code with its lock file, modules, providers as real files.
    pub(crate) fn files(&self, sources: &Sources) -> Result<Vec<StagedFile>> {
        let work = self.infra.join(".terraform");
        let mut files =
            tree("infra", &self.infra, &self.infra, |path| path.starts_with(".terraform"))?;
        let module_folder = work.join("modules");
        if module_folder.is_dir() {
            let index = module_folder.join(modules::INDEX);
            let of_git = |path: &Path| {
                path.file_name().is_some_and(|name| name == ".git")
                    || path == Path::new(modules::INDEX)
            };
            files.extend(tree("modules", &module_folder, &module_folder, of_git)?);
            let text = fs::read_to_string(&index)
                .map_err(|error| Error::io("can't read", &index, &error))?;
            files.push(generated(
                "modules/modules.json",
                modules::index_for_bundle(&text, &sources.component_folder)?,
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
            // Init links each provider to wherever it was found.
            files.extend(tree("providers", &providers, Path::new("/"), |_| false)?);
        }
        Ok(files)
    }
}

/// Below `folder`, and nowhere else: a name that is no plain relative path would lead out of it.
fn copy(file: &SourceFile, folder: &Path, name: &str) -> Result<()> {
    check_name(name).map_err(|rule| {
        Error::input(format!("`{}` can't be released: {rule}", name.escape_debug()))
    })?;
    let to = &folder.join(name);
    let failed = |error: std::io::Error| Error::io("can't copy", &file.path, &error);
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
        fs::canonicalize(boundary).map_err(|error| Error::io("can't read", boundary, &error))?;
    let files = walk(folder, &Boundary::new(&boundary, "its module folder"), skip)?;
    let staged = files.into_iter().map(|file| StagedFile {
        name: format!("{prefix}/{}", file.name),
        source: EntrySource::Path(file.path),
        executable: file.executable,
    });
    Ok(staged.collect())
}

/// A small file whose content is made here.
pub(crate) fn generated(name: &str, content: Vec<u8>) -> StagedFile {
    StagedFile { name: name.to_owned(), source: EntrySource::Bytes(content), executable: false }
}
