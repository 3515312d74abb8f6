//! The files that a release is made from, read before anything is built or initialised.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    base::{
        digest,
        digest::Sha256,
        error::{Error, Result},
        log::Progress,
        parallel::{Item, in_order, threads},
    },
    config::{hooks::Hooks, identity::Identity, scheme::AccountScheme, version_constraint::Wanted},
    terraform::code::{
        declarations::Declarations,
        file_calls::{self, FileCall},
        files::{self, Dialect},
        modules::{self, LocalModules, OutsideModule},
        variables,
    },
};

mod config;
pub(crate) mod config_files;
mod platform_config;
mod staging;
mod third_party;
mod tree;
mod twins;

use self::config_files::Ignored;
pub(crate) use self::staging::{Staged, generated};
pub(crate) use self::tree::{Boundary, TreeFile, walk};

/// The memory of a file that waits to be hashed, in bytes: its names.
const WAITING: usize = 1024;

/// The files of a release, and the digest over everything that decides what it contains.
pub(crate) struct Sources {
    /// Entry name (`infra/main.tf`, `config/live.json`, …) to file.
    pub(crate) files: BTreeMap<String, SourceFile>,
    /// Modules outside `infra/`, named by their path in the checkout (`lib/x/main.tf`).
    pub(crate) outside: BTreeMap<String, SourceFile>,
    /// Files of the artifact, named by their path in its folder.
    pub(crate) artifact: BTreeMap<String, SourceFile>,
    /// The real folder of infra/ relative to the checkout's root.
    pub(crate) infra_folder: PathBuf,
    /// Links that module calls lead through, as in [`modules::LocalModules`].
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
    /// Calls of file functions that lead to files that a deploy does not have.
    pub(crate) lost_files: Vec<FileCall>,
    /// Files and keys of `config/` that no deploy reads.
    pub(crate) ignored_config: Vec<Ignored>,
    pub(crate) dialect: Dialect,
    pub(crate) hooks: Hooks,
    /// What the code requires of Terraform's version.
    pub(crate) required_versions: Vec<Wanted>,
    /// The places of `required_version`s that only Terraform can read.
    pub(crate) unknown_requirements: Vec<String>,
    /// The places of blocks in infra/ that say where the state is, which cdflow replaces.
    pub(crate) backends: Vec<String>,
    pub(crate) digest: Sha256,
}

#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    pub(crate) executable: bool,
    pub(crate) size: u64,
    pub(crate) sha256: Sha256,
}

/// Where the files are, and the other inputs of a release.
pub(crate) struct SourcesRequest<'a> {
    pub(crate) identity: &'a Identity,
    /// The folder of cdflow.yml, canonical.
    pub(crate) folder: &'a Path,
    /// The checkout's root, canonical.
    pub(crate) root: &'a Path,
    pub(crate) manifest_text: &'a str,
    pub(crate) hooks: &'a Hooks,
    pub(crate) platform_config: &'a [PathBuf],
    pub(crate) release_data: &'a BTreeMap<String, String>,
    pub(crate) scheme: &'a AccountScheme,
    /// Whose rules decide which files are code.
    pub(crate) dialect: Dialect,
    pub(crate) artifact: Vec<TreeFile>,
    /// What the artifact is made of apart from files, such as links; null if nothing else.
    pub(crate) artifact_shape: serde_json::Value,
    pub(crate) progress: Progress,
}

impl Sources {
    /// Reads and hashes every file once.
    pub(crate) fn read(request: SourcesRequest<'_>) -> Result<Self> {
        let infra = request.folder.join("infra");
        if !infra.is_dir() {
            return Err(Error::input(format!("folder `{}` not found", infra.display()))
                .hint("put the component's Terraform code into infra/, next to cdflow.yml"));
        }
        let boundary = Boundary::new(request.root, "the checkout");
        let hashed = |files| hashed(files, &request.progress);
        let mut files = hashed(prefixed("infra", walk(&infra, &boundary, is_not_code)?))?;
        if !files::has_code(&infra, request.dialect)? {
            return Err(Error::input(format!("`{}` contains no Terraform code", infra.display()))
                .hint("put the component's Terraform code into infra/, next to cdflow.yml"));
        }
        let declared = Declarations::read(&infra, "infra", request.dialect)?;
        declared.check_overrides()?;
        if let Some(folder) = config::folder(request.folder)? {
            files.extend(hashed(prefixed("config", walk(&folder, &boundary, |_| false)?))?);
        }
        let hooks = request.folder.join("hooks");
        if !request.hooks.is_empty() && hooks.is_dir() {
            files.extend(hashed(prefixed("hooks", walk(&hooks, &boundary, is_not_code)?))?);
        }
        files.extend(hashed(platform_config::collect(request.platform_config, request.scheme)?)?);
        let ignored_config = check_config(&files, request.scheme, &declared)?;
        let mut outside = BTreeMap::new();
        // Terraform resolves `../` from the folder that infra/ might be a link to.
        let infra =
            fs::canonicalize(&infra).map_err(|error| Error::io("cannot follow", &infra, &error))?;
        let local = modules::local(request.root, &infra, request.dialect)?;
        let lost_files =
            file_calls::outside_of_release(request.root, &infra, &local, request.dialect)?;
        for OutsideModule(folder) in &local.outside {
            let found = walk(&request.root.join(folder), &boundary, is_not_code)?;
            outside.extend(hashed(prefixed(&folder.display().to_string(), found))?);
        }
        twins::check(files.keys())?;
        twins::check(outside.keys())?;
        let artifact = hashed(request.artifact)?;
        let digest = digest(
            request.identity,
            [request.manifest_text, &request.scheme.raw],
            request.release_data,
            [&files, &outside, &artifact],
            request.artifact_shape,
        );
        let infra_folder = infra.strip_prefix(request.root).unwrap_or(Path::new("")).to_owned();
        let LocalModules { links, required_versions, unknown_requirements, .. } = local;
        let dialect = request.dialect;
        Ok(Self {
            files,
            outside,
            artifact,
            infra_folder,
            links,
            lost_files,
            ignored_config,
            dialect,
            hooks: request.hooks.clone(),
            required_versions,
            unknown_requirements,
            backends: declared.backends,
            digest,
        })
    }
}

/// Checks the files of values, and returns those, and their keys, that no deploy would read.
fn check_config(
    files: &BTreeMap<String, SourceFile>,
    scheme: &AccountScheme,
    declared: &Declarations,
) -> Result<Vec<Ignored>> {
    let is_config =
        |name: &str| name.starts_with("config/") || name.starts_with("platform-config/");
    let mut keys = Vec::new();
    for (name, file) in files.iter().filter(|(name, _)| is_config(name)) {
        config_files::check_format(name)?;
        let found = variables::check_layer(name, &file.path)?;
        keys.extend(config_files::undeclared(name, found.iter().map(String::as_str), declared));
        keys.extend(config_files::replaced(name, found.iter().map(String::as_str), declared));
    }
    let names = files.keys().filter_map(|name| name.strip_prefix("config/"));
    let names = names.filter(|name| !name.contains('/'));
    let mut ignored = config_files::without_environment(names, scheme);
    ignored.extend(config_files::not_loaded(files.keys().map(String::as_str)));
    ignored.extend(keys);
    Ok(ignored)
}

/// Returns the error for a file that changed while the release was made.
pub(crate) fn changed(name: &str) -> Error {
    Error::input(format!("`{name}` changed while the release was made"))
        .hint("make sure that nothing else writes into the checkout, then run the release again")
}

/// Returns true for Terraform's working data, for the locks of an editor, which are links to
/// nowhere, and for states, which might contain secrets.
fn is_not_code(relative: &Path) -> bool {
    let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    matches!(
        name,
        ".terraform"
            | ".cdflow"
            | ".git"
            | "terraform.tfstate.d"
            | ".terraform.tfstate.lock.info"
            | "crash.log"
    ) || name.starts_with(".#")
        || name.ends_with(".tfstate")
        || name.ends_with(".tfstate.backup")
}

fn prefixed(prefix: &str, files: Vec<TreeFile>) -> Vec<TreeFile> {
    let named =
        |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    files.into_iter().map(|file| TreeFile { name: named(&file.name), ..file }).collect()
}

/// Hashes each file on a thread.
fn hashed(files: Vec<TreeFile>, progress: &Progress) -> Result<BTreeMap<String, SourceFile>> {
    let mut hashed = BTreeMap::new();
    in_order(
        threads().min(files.len()),
        files.into_iter().map(|item| Ok(Item { cost: WAITING, work: item.size, item })),
        || Ok(digest::buffer()),
        |buffer, file| {
            let sha256 = progress.hash(&file.path, buffer)?;
            let TreeFile { name, path, executable, size } = file;
            Ok((name, SourceFile { path, executable, size, sha256 }))
        },
        |(name, file)| {
            hashed.insert(name, file);
            Ok(())
        },
    )?;
    Ok(hashed)
}

/// Returns the source digest. It covers names, modes and contents, but not the paths or times of
/// files, nor the versions of tools: the same commit must give the same digest on every machine.
fn digest(
    identity: &Identity,
    [manifest, scheme]: [&str; 2],
    release_data: &BTreeMap<String, String>,
    groups: [&BTreeMap<String, SourceFile>; 3],
    shape: serde_json::Value,
) -> Sha256 {
    let [files, outside, artifact] = groups.map(|group| {
        let listed = |file: &SourceFile| json!([file.sha256, file.executable]);
        group
            .iter()
            .map(|(name, file)| (name.clone(), listed(file)))
            .collect::<serde_json::Map<_, _>>()
    });
    let document = json!({
        "format": 1,
        "team": identity.team,
        "component": identity.component,
        "manifest": Sha256::of(manifest.as_bytes()),
        "account_scheme": Sha256::of(scheme.as_bytes()),
        "release_data": release_data,
        "files": files,
        "outside": outside,
        "artifact": artifact,
        "artifact_shape": shape,
    });
    Sha256::of(document.to_string().as_bytes())
}
