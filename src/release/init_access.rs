//! What `terraform init` gets at release in addition to its allow-listed environment: an SSH key, a
//! netrc, a provider cache. A container action sees neither `~/.ssh` nor `~/.netrc` of the runner,
//! nor a cache that an earlier step has set up.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::{Path, PathBuf},
};

use crate::{
    base::{
        checkout_path,
        error::{Error, Result},
        process_env::ProcessEnv,
        redact::Secret,
        run_as::RunAs,
        run_folder::PrivateFolder,
        shell_word::shell_word,
        small_file,
    },
    config::settings::{FetchInputs, FileInput},
    release::ssh_key,
    services::ci::host::Host,
    terraform::providers::{cache::ProviderCache, sources::Sources},
};

/// GitHub's host keys, as published at <https://api.github.com/meta>. Unknown hosts are trusted on
/// first use, because a CI run cannot ask.
const KNOWN_HOSTS: &str = "\
github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl
github.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=
";
/// The folder of Terraform's own cache.
const OWN_CACHE: &str = "TF_PLUGIN_CACHE_DIR";
/// Where the runner mounts the checkout into a container action.
const IN_CONTAINER: &str = "/github/workspace";

/// The environment for init. Its files are in the private folder and are deleted with it.
pub(crate) struct InitAccess {
    pub(crate) env: BTreeMap<OsString, OsString>,
    /// None if the user has a cache of Terraform's own.
    pub(crate) plugins: Option<Plugins>,
    cache: Option<PluginCache>,
}

/// The folder that Terraform takes for its own cache in this run, and where the real one is.
pub(crate) struct Plugins {
    pub(crate) folder: PathBuf,
    /// The folder that `cache-dir` names.
    asked: Option<PathBuf>,
}

struct PluginCache {
    folder: PathBuf,
    /// The topmost folder that cdflow created.
    created: PathBuf,
    /// User and group of the folder that contains it. They get the cache too, so that the runner
    /// can delete the checkout.
    owner: (u32, u32),
}

impl InitAccess {
    pub(crate) fn prepare(
        inputs: &FetchInputs,
        host: &Host,
        private: &PrivateFolder,
        pass_environment: &[String],
    ) -> Result<Self> {
        let mut env = host.environment.for_fetching(pass_environment);
        // Terraform's user can write in neither our home nor our TMPDIR.
        let is_other_user = host.run_as != RunAs::Ourselves;
        let mut set = |name: &str, value: OsString| drop(env.insert(name.into(), value));
        if inputs.ssh_key.is_some() || inputs.ssh_known_hosts.is_some() {
            set("GIT_SSH_COMMAND", ssh(inputs, host, private)?.into());
        }
        if let Some(netrc) = &inputs.netrc {
            let home = home_with_netrc(netrc, host, private)?;
            // Git asks its home, Terraform's own downloads ask the variable.
            set("NETRC", home.join(".netrc").into());
            set("HOME", home.into());
        } else if is_other_user {
            set("HOME", private.home(host.environment.get("HOME"), None)?.into());
        }
        if is_other_user {
            set("TMPDIR", private.folder("tmp")?.into());
        }
        let cache = inputs
            .cache_dir
            .as_deref()
            .map(|folder| PluginCache::open(folder, &host.environment))
            .transpose()?;
        let asked = cache.as_ref().map(|cache| cache.folder.clone());
        let has_own = asked.is_none() && host.environment.get(OWN_CACHE).is_some();
        let plugins = match has_own {
            true => None,
            false => Some(Plugins { folder: private.folder("plugins")?, asked }),
        };
        if let Some(plugins) = &plugins {
            set(OWN_CACHE, plugins.folder.clone().into());
        }
        private.give_content(host.run_as)?;
        Ok(Self { env, plugins, cache })
    }

    /// Leaves providers to the cache that Terraform's CLI configuration names, unless `cache-dir`
    /// does.
    pub(crate) fn leave_cache_to(&mut self, sources: &Sources) {
        if sources.has_cache && self.plugins.take_if(|plugins| plugins.asked.is_none()).is_some() {
            self.env.remove(OsStr::new(OWN_CACHE));
        }
    }

    /// Gives the cache to the owner of its parent folder: in a container cdflow is root, and the
    /// runner is not.
    pub(crate) fn restore_owner(&self, host: &Host) {
        let Some(PluginCache { created, owner: (user, group), .. }) = &self.cache else { return };
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let entries = walkdir::WalkDir::new(created).into_iter().filter_map(Result::ok);
        if let Some(error) =
            entries.filter_map(|it| lchown(it.path(), Some(*user), Some(*group)).err()).next()
        {
            host.log.warning(&format!("`{}` still belongs to root: {error}", created.display()));
        }
    }
}

impl Plugins {
    /// Opens the cache, which creates its folder. None if it cannot be written.
    pub(crate) fn cache(&self, host: &Host) -> Option<ProviderCache> {
        match &self.asked {
            Some(folder) => Some(ProviderCache::at(folder.clone())),
            None => ProviderCache::open(host),
        }
    }
}

fn read(input: &FileInput, name: &str) -> Result<Secret> {
    match input {
        FileInput::Content(content) => Ok(content.clone()),
        FileInput::File(path) => small_file::text(path)
            .map(Secret::new)
            .map_err(|error| Error::io(format!("cannot read the file of --{name}"), path, &error)),
    }
}

fn ssh(inputs: &FetchInputs, host: &Host, private: &PrivateFolder) -> Result<String> {
    let mut command = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new".to_owned();
    if let Some(key) = &inputs.ssh_key {
        let key = read(key, "ssh-key")?;
        let text = ssh_key::canonical(key.expose())?;
        host.log.redactor.add(&key);
        host.log.redactor.add(&Secret::new(&text));
        let path = private.file("ssh-key", text.as_bytes())?;
        let path = shell_word(&path.to_string_lossy());
        command += &format!(" -o IdentitiesOnly=yes -i {path}");
    }
    let mut known = KNOWN_HOSTS.to_owned();
    if let Some(more) = &inputs.ssh_known_hosts {
        known = format!("{}\n{known}", read(more, "ssh-known-hosts")?.expose().trim());
    }
    let known = private.file("known-hosts", known.as_bytes())?;
    let files = format!("UserKnownHostsFile=\"{}\" ~/.ssh/known_hosts", known.display());
    Ok(format!("{command} -o {}", shell_word(&files)))
}

/// Creates a copy of the home folder, made of links, with another `.netrc`: git reads no other
/// file.
fn home_with_netrc(netrc: &FileInput, host: &Host, private: &PrivateFolder) -> Result<PathBuf> {
    let netrc = read(netrc, "netrc")?;
    let words: Vec<&str> = netrc.expose().split_whitespace().collect();
    if !words.iter().any(|word| ["machine", "default"].contains(word)) {
        return Err(Error::input("`netrc` is not a netrc file").why("it names no `machine`").hint(
            "set the input to the content, `machine HOST login USER password PASSWORD`; set the \
             flag to the path of the file",
        ));
    }
    for pair in words.windows(2).filter(|pair| pair[0] == "password") {
        host.log.redactor.add(&Secret::new(pair[1]));
    }
    let home = private.home(host.environment.get("HOME"), Some(".netrc"))?;
    private.file("home/.netrc", format!("{}\n", netrc.expose().trim()).as_bytes())?;
    Ok(home)
}

impl PluginCache {
    fn open(folder: &Path, environment: &ProcessEnv) -> Result<Self> {
        let failed = |error: io::Error| Error::io("cannot create the cache", folder, &error);
        let absolute = std::path::absolute(folder).map_err(failed)?;
        if environment.get("GITHUB_WORKSPACE") == Some(IN_CONTAINER)
            && !is_seen_outside(&absolute, environment)
        {
            return Err(Error::input(format!(
                "`cache-dir` is `{}`, which other steps cannot see",
                folder.display()
            ))
            .why("a container action shares only the checkout and its home with other steps")
            .hint("use a path relative to the checkout, such as `.cdflow-cache`"));
        }
        // Its owner is changed at the end, and with it that of everything in it.
        if absolute.is_symlink() {
            return Err(Error::refused(format!("`cache-dir` is `{}`, a link", folder.display()))
                .why("cdflow changes the owner of the files in it")
                .hint("remove the link, or name another folder"));
        }
        let absolute = checkout_path::resolve(&absolute)?;
        let is_new = !absolute.exists();
        let missing = absolute.ancestors().take_while(|folder| !folder.exists()).last();
        let created = missing.unwrap_or(&absolute).to_owned();
        let parent = created.parent().unwrap_or(&created);
        let owner = fs::metadata(parent).map(|found| (found.uid(), found.gid())).map_err(failed)?;
        fs::create_dir_all(&absolute).map_err(failed)?;
        if is_new {
            // Otherwise a cache in the checkout counts as uncommitted changes.
            fs::write(absolute.join(".gitignore"), "*\n").map_err(failed)?;
        }
        Ok(Self { folder: absolute, created, owner })
    }
}

fn is_seen_outside(path: &Path, environment: &ProcessEnv) -> bool {
    let seen = [Some(IN_CONTAINER), environment.get("HOME")];
    seen.iter().flatten().any(|folder| path.starts_with(folder))
        && !path.components().any(|it| it.as_os_str() == "..")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::base::error::Exit;

    #[test]
    fn a_cache_behind_a_link_of_the_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["checkout/.git", "checkout/app", "victim"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        for (target, link) in [("../victim", "cache"), ("app", "inside"), ("../victim", "out")] {
            symlink(target, path("checkout").join(link)).unwrap();
        }
        let open =
            |name: &str| PluginCache::open(&path("checkout").join(name), &Default::default());
        for refused in ["cache", "inside", "out/cache"] {
            let error = open(refused).err().unwrap();
            assert_eq!(error.exit(), Exit::Refused, "{refused}");
        }
        assert_eq!(fs::read_dir(path("victim")).unwrap().count(), 0);
        let cache = open("inside/cache").unwrap_or_else(|error| panic!("{error}"));
        assert!(cache.folder.ends_with("checkout/app/cache"));
        assert!(path("checkout/app/cache/.gitignore").exists());
    }

    #[test]
    fn cache_folders_that_other_steps_see() {
        let environment = ProcessEnv::new([("HOME".into(), "/github/home".into())]);
        let seen = |path: &str| is_seen_outside(Path::new(path), &environment);
        assert!(seen("/github/workspace/cache") && seen("/github/home/.cache"));
        assert!(
            !seen("/home/runner/work/a/a/cache")
                && !seen("/github/workspace/../cache")
                && !seen("/tmp/cache")
        );
    }
}
