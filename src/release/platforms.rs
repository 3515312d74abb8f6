//! Providers for the platforms that `terraform-platforms` names, in addition to those of the runner
//! that `terraform init` installs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde_json::{Map, json};

use super::{
    init_access::InitAccess,
    lock_command::LockCommand,
    platform_check::{self, Ready},
    source::Staged,
};
use crate::{
    base::{
        blocking::blocking,
        error::{Error, Exit, Result},
        log::Progress,
        run_folder::PrivateFolder,
        small_file,
    },
    services::{
        ci::host::Host,
        tool_site::{Destination, ProviderMirror},
    },
    terraform::{
        Folder,
        code::lockfile::{self, Locked},
        providers::{
            Package,
            cache::{Content, ProviderCache},
            hash,
            sources::{Source, Sources},
            unpack,
        },
        tool::{Tool, platform},
    },
};

const NO_SPACE: &str = "free some space, or set TMPDIR to a folder on a larger disk";

/// How providers are found and verified.
pub(crate) struct Platforms<'a> {
    pub(crate) host: &'a Host,
    pub(crate) tool: &'a Tool,
    pub(crate) access: &'a InitAccess,
    /// The lock file of the checkout.
    pub(crate) committed: &'a Locked,
    pub(crate) lock: &'a LockCommand<'a>,
    pub(crate) folders: Folders<'a>,
}

/// Where init has run, and where packages are unpacked.
pub(crate) struct Folders<'a> {
    pub(crate) staged: &'a Staged,
    pub(crate) private: &'a PrivateFolder,
}

impl Platforms<'_> {
    /// Adds the providers of the other platforms, and their hashes to the lock file of the release.
    /// Removes those of this one if it is not in `wanted`.
    pub(crate) async fn complete(&self, wanted: &[&str]) -> Result<()> {
        let here = platform();
        let lock = self.folders.staged.infra.join(lockfile::FILE);
        let locked = self.folders.staged.locked()?;
        let providers = self.folders.staged.infra.join(".terraform/providers");
        let mut packages = Vec::new();
        for (address, provider) in &locked {
            for platform in wanted.iter().filter(|platform| **platform != here) {
                packages.push(Package::new(address, &provider.version, platform)?);
            }
        }
        let turn = self.turn(&packages).await?;
        let ready = self.obtain(packages).await?;
        self.check(&ready, &locked).await?;
        let mut more: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Ready { package, folder, h1, .. } in &ready {
            place(package, folder, &providers)?;
            more.entry(package.address.clone()).or_default().push(h1.clone());
        }
        self.keep(&ready, &locked);
        drop(turn);
        if !wanted.contains(&here.as_str()) {
            for (address, provider) in &locked {
                remove(&Package::new(address, &provider.version, &here)?.folder(&providers))?;
            }
        }
        add_hashes(&lock, &more)
    }

    /// Adds both hashes to the error of an init that got another package than the locked one.
    pub(crate) async fn explain(&self, error: Error) -> Error {
        if error.exit() != Exit::Integrity {
            return error;
        }
        let here = platform();
        let packages = self
            .committed
            .iter()
            .map(|(address, provider)| Package::new(address, &provider.version, &here));
        let Ok(packages) = packages.collect() else { return error };
        let Ok(ready) = self.obtain(packages).await else { return error };
        self.check(&ready, self.committed).await.err().unwrap_or(error)
    }

    /// Compares the packages with the lock file. The error has the command that adds them to it.
    async fn check(&self, ready: &[Ready], locked: &Locked) -> Result<()> {
        let checked = platform_check::check(ready, |address| self.hashes(address, locked));
        let Err(error) = checked else { return Ok(()) };
        let providers: BTreeSet<(&str, &str)> = ready
            .iter()
            .map(|Ready { package, .. }| (package.address.as_str(), package.version.as_str()))
            .collect();
        let command = self.lock.with_runner(&providers.into_iter().collect::<Vec<_>>()).await;
        Err(error.hint(format!(
            "if the lock file was not made for this platform, run `{command}`, review and commit \
             infra/.terraform.lock.hcl"
        )))
    }

    /// Returns the hashes that a package must have: those of the checkout if it has any.
    fn hashes(&self, address: &str, locked: &Locked) -> Vec<String> {
        let found = self.committed.get(address).or_else(|| locked.get(address));
        found.map(|provider| provider.hashes.clone()).unwrap_or_default()
    }

    fn cache(&self) -> Option<ProviderCache> {
        self.access.plugins.as_ref()?.cache(self.host)
    }

    /// Waits until no other release downloads one of the packages. Returns the locks of those that
    /// this release downloads.
    async fn turn(&self, packages: &[Package]) -> Result<Vec<File>> {
        let Some(cache) = self.cache() else { return Ok(Vec::new()) };
        let sources = Sources::read(self.tool.flavor, &self.access.env)?;
        let mut locks = Vec::new();
        for package in packages {
            if !sources.downloads(package, &self.folders.staged.infra) {
                continue;
            }
            let hashes = self.committed.get(&package.address).map(|it| it.hashes.as_slice());
            let turn = cache.turn(package, hashes.unwrap_or_default(), self.host);
            let turn = async { Ok(turn.await) };
            locks.extend(self.host.interrupt.or_cancel("waiting for a download", turn).await?);
        }
        Ok(locks)
    }

    async fn obtain(&self, packages: Vec<Package>) -> Result<Vec<Ready>> {
        let sources = Sources::read(self.tool.flavor, &self.access.env)?;
        let into = self.folders.private.folder("platforms")?;
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for package in packages {
            match self.look(&package, &sources).await? {
                Some(content) => found.push((package, content)),
                None => missing.push(package),
            }
        }
        if !missing.is_empty() {
            found.extend(self.download(missing).await?);
        }
        let mut ready = Vec::new();
        for (package, content) in found {
            self.host.interrupt.check("unpacking providers")?;
            let into = package.folder(&into);
            let progress = self.host.progress(&format!("unpacking {}", package.address), None);
            let prepared = blocking(move || {
                let prepared = prepare(package, content, into, &progress);
                prepared.map_err(|error| progress.or_cancelled(error))
            });
            ready.push(prepared.await?);
        }
        Ok(ready)
    }

    /// Looks in the cache, then in mirrors. None if the registry has to be asked.
    async fn look(&self, package: &Package, sources: &Sources) -> Result<Option<Content>> {
        let Package { address, version, platform } = package;
        let log = &self.host.log;
        let hashing = self.host.progress(&format!("hashing {address}"), None);
        let pinned = self.committed.get(address).map(|it| it.hashes.as_slice()).unwrap_or_default();
        if let Some(cache) = self.cache()
            && let Some(content) = cache.find(package, pinned, log, &hashing)?
        {
            log.note(&format!("{address} {version} for {platform} from the cache"));
            return Ok(Some(content));
        }
        let found = sources.of(address);
        for source in &found {
            match source {
                Source::Folder(root) => {
                    let root = self.folders.staged.infra.join(root);
                    let (archive, folder) = (package.archive(&root), package.folder(&root));
                    let content = match () {
                        () if folder.is_dir() => Content::Folder(folder),
                        () if archive.is_file() => Content::Archive(archive),
                        () => continue,
                    };
                    let root = root.display();
                    log.note(&format!("{address} {version} for {platform} from `{root}`"));
                    return Ok(Some(content));
                }
                Source::Network(url) => {
                    let mirror = ProviderMirror::open(url, |host| sources.token(host), log)?;
                    if let Some(archive) = self.fetch(&mirror, package).await? {
                        return Ok(Some(Content::Archive(archive)));
                    }
                }
                Source::Registry => return Ok(None),
            }
        }
        let shown = found.iter().filter_map(|source| match source {
            Source::Folder(root) => Some(format!("`{}`", root.display())),
            Source::Network(url) => Some(format!("`{}`", without_password(url))),
            Source::Registry => None,
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        Err(not_in_mirror(package, &shown))
    }

    /// Downloads a package from a network mirror. None if it does not have it.
    async fn fetch(&self, mirror: &ProviderMirror, package: &Package) -> Result<Option<PathBuf>> {
        let Package { address, version, platform } = package;
        let root = self.folders.private.path().join("network");
        let archive = package.archive(&root);
        let folder = archive.parent().unwrap_or(&root);
        let to = Destination::new(archive.clone(), folder, NO_SPACE);
        let failed = |error: io::Error| Error::io("cannot write", folder, &error);
        fs::create_dir_all(folder).map_err(failed)?;
        // Another mirror might have been asked before, in vain.
        let file = File::create(&archive).map_err(failed)?;
        let fetching = mirror.fetch((address, version, platform), file, &to);
        let is_there = self.host.interrupt.or_cancel("downloading a provider", fetching).await?;
        if is_there {
            let host = mirror.host();
            self.host.log.note(&format!("{address} {version} for {platform} from {host}"));
        }
        Ok(is_there.then_some(archive))
    }

    /// Downloads packages from the registries.
    async fn download(&self, packages: Vec<Package>) -> Result<Vec<(Package, Content)>> {
        let folder = self.folders.private.folder("registry")?;
        let mirror = folder.join("mirror");
        let failed = |error: io::Error| Error::io("cannot write", &folder, &error);
        fs::create_dir(&mirror).map_err(failed)?;
        let versions: BTreeSet<_> =
            packages.iter().map(|package| (&package.address, &package.version)).collect();
        let required: Map<_, _> = versions
            .iter()
            .enumerate()
            .map(|(index, (address, version))| {
                let provider = json!({"source": address, "version": format!("= {version}")});
                (format!("p{index}"), provider)
            })
            .collect();
        let code = json!({"terraform": {"required_providers": required}});
        fs::write(folder.join("main.tf.json"), code.to_string()).map_err(failed)?;
        self.host.run_as.give(&folder)?;
        let platforms: BTreeSet<&str> =
            packages.iter().map(|package| package.platform.as_str()).collect();
        let code = Folder {
            tool: self.tool.clone(),
            host: self.host.clone(),
            infra: folder.clone(),
            original: folder,
            env: self.access.env.clone(),
            run_as: self.host.run_as,
        };
        let platforms: Vec<&str> = platforms.into_iter().collect();
        let output = code.mirror_providers(&platforms, &mirror).await?;
        let mut found = Vec::new();
        for package in packages {
            let archive = package.archive(&mirror);
            if archive.is_file() {
                found.push((package, Content::Archive(archive)));
                continue;
            }
            let error = match &output {
                Some(output) if output.contains("not available for") => {
                    no_build(&package).why("the registry lists none")
                }
                _ => {
                    let Package { address, version, platform } = &package;
                    let what = format!("cannot download {address} {version} for {platform}");
                    let why = output.as_ref().and_then(|output| output.first_error());
                    let why = why.unwrap_or_else(|| "see Terraform's output above".into());
                    Error::new(Exit::BuildFailed, what)
                        .why(why)
                        .hint("see Terraform's output above, and release again")
                }
            };
            return Err(error);
        }
        Ok(found)
    }

    /// Keeps packages for the next release: unpacked if the lock file has the hash of the content,
    /// and as an archive otherwise.
    fn keep(&self, ready: &[Ready], locked: &Locked) {
        let Some(cache) = self.cache() else { return };
        for Ready { package, folder, h1, archive } in ready {
            let Some((archive, zh)) = archive else { continue };
            let (content, hash) = match self.hashes(&package.address, locked).contains(h1) {
                true => (Content::Folder(folder.clone()), h1),
                false => (Content::Archive(archive.clone()), zh),
            };
            cache.keep(package, &content, hash, self.host.run_as, &self.host.log);
        }
    }
}

/// Unpacks an archive into `into`, where Terraform's user cannot write.
fn prepare(
    package: Package,
    content: Content,
    into: PathBuf,
    progress: &Progress,
) -> Result<Ready> {
    let (folder, archive) = match content {
        Content::Folder(folder) => (folder, None),
        Content::Archive(file) => {
            let shown = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let zh = hash::of_archive(&file, progress);
            let zh = zh.map_err(|error| Error::io("cannot read", &file, &error))?;
            unpack(&file, &shown, &into, progress)?;
            (into, Some((file, zh)))
        }
    };
    let h1 = hash::of_folder(&folder, progress);
    let h1 = h1.map_err(|error| Error::io("cannot read", &folder, &error))?;
    Ok(Ready { package, folder, h1, archive })
}

/// Puts a link where the bundle's files are collected.
fn place(package: &Package, folder: &Path, providers: &Path) -> Result<()> {
    let place = package.folder(providers);
    let failed = |error: io::Error| Error::io("cannot create the link", &place, &error);
    fs::create_dir_all(place.parent().unwrap_or(providers)).map_err(failed)?;
    let folder = fs::canonicalize(folder).map_err(failed)?;
    std::os::unix::fs::symlink(folder, &place).map_err(failed)
}

fn remove(folder: &Path) -> Result<()> {
    let removed = match folder.is_symlink() {
        true => fs::remove_file(folder),
        false if folder.exists() => fs::remove_dir_all(folder),
        false => Ok(()),
    };
    removed.map_err(|error| Error::io("cannot remove", folder, &error))
}

fn add_hashes(lock: &Path, more: &BTreeMap<String, Vec<String>>) -> Result<()> {
    if more.is_empty() {
        return Ok(());
    }
    let text = small_file::text(lock).map_err(|error| Error::io("cannot read", lock, &error))?;
    let changed = lockfile::with_hashes(&text, more)
        .ok_or_else(|| Error::integrity("cannot add hashes to the lock file that init left"))?;
    fs::write(lock, changed).map_err(|error| Error::io("cannot write", lock, &error))
}

fn no_build(package: &Package) -> Error {
    let Package { address, version, platform } = package;
    Error::input(format!("{address} {version} has no build for {platform}")).hint(format!(
        "remove `{platform}` from `terraform-platforms` in cdflow.yml, or use a version of the \
         provider that has a build for it"
    ))
}

/// Terraform may use nothing but mirrors.
fn not_in_mirror(package: &Package, mirrors: &str) -> Error {
    let Package { address, version, platform } = package;
    Error::input(format!("no mirror has {address} {version} for {platform}"))
        .why(format!("it is not in {mirrors}, and Terraform's CLI configuration has no `direct`"))
        .hint(format!(
            "add it to a mirror, where the registry can be reached: terraform providers mirror \
             -platform={platform} FOLDER"
        ))
        .hint(format!("or remove `{platform}` from `terraform-platforms` in cdflow.yml"))
}

fn without_password(url: &str) -> &str {
    url.split_once('@').map_or(url, |(_, host)| host)
}
