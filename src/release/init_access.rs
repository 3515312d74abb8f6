//! What `terraform init` gets at release in addition to its allow-listed environment: an SSH key, a
//! netrc, a provider cache. A container action sees neither `~/.ssh` nor `~/.netrc` of the runner,
//! nor a cache that an earlier step has set up.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use crate::{
    base::{
        error::{Error, Result},
        redact::Secret,
        run_as::RunAs,
        run_folder::PrivateFolder,
        shell_word::shell_word,
        small_file,
    },
    config::settings::{CacheChoice, FetchInputs, FileInput},
    release::{cache_dir::CacheDir, ssh_key},
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

/// The environment for init. Its files are in the private folder and are deleted with it.
pub(crate) struct InitAccess {
    pub(crate) env: BTreeMap<OsString, OsString>,
    /// None if the user has a cache of Terraform's own, or wants none.
    pub(crate) plugins: Option<Plugins>,
    cache: Option<CacheDir>,
}

/// The folder that Terraform takes for its own cache in this run, and where the real one is.
pub(crate) struct Plugins {
    pub(crate) folder: PathBuf,
    /// The folder that `cache-dir` names.
    asked: Option<PathBuf>,
}

impl InitAccess {
    pub(crate) fn prepare(
        inputs: &FetchInputs,
        cache: Option<&CacheChoice>,
        host: &Host,
        private: &PrivateFolder,
        pass_environment: &[String],
    ) -> Result<Self> {
        let is_off = matches!(cache, Some(CacheChoice::Off));
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
        let cache = match cache {
            Some(CacheChoice::Folder(folder)) => Some(CacheDir::open(folder, &host.environment)?),
            Some(CacheChoice::Off) | None => None,
        };
        let asked = cache.as_ref().map(|cache| cache.folder.clone());
        let has_own = asked.is_none() && host.environment.get(OWN_CACHE).is_some();
        let plugins = match has_own || is_off {
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

    /// Whether Terraform writes providers into a cache that the user has set up.
    pub(crate) fn has_own_cache(&self) -> bool {
        self.plugins.is_none()
    }

    /// Gives the cache to the owner of its parent folder: in a container cdflow is root, and the
    /// runner is not.
    pub(crate) fn restore_owner(&self, host: &Host) {
        if let Some(cache) = &self.cache {
            cache.restore_owner(&host.log);
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
