//! Gets the program: from PATH, from a cache, or by a download.

use std::{path::Path, sync::Arc};

use semver::Version;

use super::{
    Tool,
    cache::{self, Cache},
    choice::Choice,
    installed::{self, VersionAnswer},
    platform::platform,
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        run_folder::PrivateFolder,
    },
    config::version_constraint::Wanted,
    services::{
        ci::host::Host,
        tool_site::{Destination, Fetched, ToolSite},
    },
};

/// EACCES, as the message of a failed start has it.
const FORBIDDEN: &str = "(os error 13)";

/// What PATH has.
struct InPath {
    tool: Option<Tool>,
    /// Why its program cannot be used.
    broken: Option<Error>,
}

/// A version that is chosen, and perhaps not yet here.
pub(crate) enum Chosen {
    Installed(Tool),
    Elsewhere(Version),
}

impl Choice<'_> {
    /// Returns the program: the one in PATH if its version fits, else one from the cache or a
    /// download.
    pub(crate) async fn obtain(&self, host: &Host) -> Result<Tool> {
        let InPath { tool: in_path, broken } = self.in_path(host).await?;
        let (tool, origin) = match self.fitting(in_path.as_ref()) {
            Some(tool) => (tool.clone(), "PATH"),
            None => {
                self.check_agreement()?;
                match (self.obtain_elsewhere(in_path.as_ref(), host).await, broken) {
                    (Ok(obtained), broken) => {
                        broken.iter().for_each(|why| host.log.warning(&format!("not used: {why}")));
                        obtained
                    }
                    (Err(error), Some(broken)) if error.exit() == Exit::Input => {
                        return Err(broken.hint(format!("or let cdflow download it: {error}")));
                    }
                    (Err(error), _) => return Err(self.with_hints(error, in_path.as_ref())),
                }
            }
        };
        let name = self.flavor.name();
        let reason = self.reason();
        host.log.note(&format!("{name} {} from {origin} ({reason})", tool.version));
        self.series().for_each(|(wanted, series)| {
            let Wanted { constraint, place } = wanted;
            host.log.note(&format!(
                "`{constraint}` means {name} {} only; for the whole series, write `{series}` \
                 ({place})",
                tool.version
            ));
        });
        Ok(tool)
    }

    /// Chooses, but downloads nothing except the list of versions.
    pub(crate) async fn choose(&self, host: &Host) -> Result<Chosen> {
        let InPath { tool: in_path, broken } = self.in_path(host).await?;
        if let Some(tool) = self.fitting(in_path.as_ref()) {
            return Ok(Chosen::Installed(tool.clone()));
        }
        self.check_agreement()?;
        let site = self.site(host)?;
        let chosen = match self.choose_at(&site, host).await {
            Ok(version) => self.check_existing(version, &site, host).await,
            failed => failed,
        };
        let version = chosen.map_err(|error| match broken {
            Some(broken) => broken,
            None => self.with_hints(error, in_path.as_ref()),
        })?;
        Ok(match in_path.filter(|tool| tool.version == version) {
            Some(tool) => Chosen::Installed(tool),
            None => Chosen::Elsewhere(version),
        })
    }

    /// Fails if the site's list lacks the version, and no cache has it. An exact version is chosen
    /// without the list, which a download does not need.
    async fn check_existing(
        &self,
        version: Version,
        site: &ToolSite,
        host: &Host,
    ) -> Result<Version> {
        if Cache::versions(self.flavor, host).contains(&version) {
            return Ok(version);
        }
        let listing = site.versions();
        match host.interrupt.or_cancel("reading the list of versions", listing).await {
            Ok(listed) if !listed.contains(&version) => Err(self.none_of(listed, site.name())),
            Err(cancelled) if host.interrupt.requested().is_some() => Err(cancelled),
            _ => Ok(version),
        }
    }

    /// Looks into PATH. A program that gives no version might be a switcher without one.
    async fn in_path(&self, host: &Host) -> Result<InPath> {
        match installed::find(self.flavor, host).await {
            Ok(tool) => Ok(InPath { tool, broken: None }),
            Err(error) if error.exit() == Exit::Input => {
                Ok(InPath { tool: None, broken: Some(error) })
            }
            Err(error) => Err(error),
        }
    }

    fn site(&self, host: &Host) -> Result<ToolSite> {
        ToolSite::open(self.flavor, host, self.mirror_keys)
    }

    async fn obtain_elsewhere(
        &self,
        in_path: Option<&Tool>,
        host: &Host,
    ) -> Result<(Tool, &'static str)> {
        let site = self.site(host)?;
        let version = match self.choose_at(&site, host).await {
            Err(error) if error.exit() == Exit::Unavailable => {
                return self.newest_cached(&site, host)?.ok_or(error).inspect(|(tool, _)| {
                    host.log.warning(&format!(
                        "the list of versions cannot be read: {} is the newest one in the cache",
                        tool.label()
                    ));
                });
            }
            chosen => chosen?,
        };
        if let Some(tool) = in_path.filter(|tool| tool.version == version) {
            return Ok((tool.clone(), "PATH"));
        }
        self.fetch(&site, version, host).await
    }

    /// Returns the best program that a cache has, for a machine that cannot read the list of
    /// versions.
    fn newest_cached(&self, site: &ToolSite, host: &Host) -> Result<Option<(Tool, &'static str)>> {
        if self.pick.is_some() {
            return Ok(None);
        }
        let mut versions = Cache::versions(self.flavor, host);
        while let Some(version) = self.best(&versions) {
            if let Some(tool) = self.cached(site, &version, host)? {
                return Ok(Some((tool, "the cache")));
            }
            versions.retain(|other| *other != version);
        }
        Ok(None)
    }

    /// Returns the program of a version from the first cache that has it.
    fn cached(&self, site: &ToolSite, version: &Version, host: &Host) -> Result<Option<Tool>> {
        for cache in Cache::existing(self.flavor, version, host) {
            let trusts = |key: &str| site.trusts(key);
            if let Some((program, digest)) = cache.find(self.pinned, &trusts, &host.log)? {
                self.check_pin(version, digest, host);
                return Ok(Some(Tool::installed(program, self.flavor, version.clone())));
            }
        }
        Ok(None)
    }

    /// Warns of a program that is not the one that made the release.
    fn check_pin(&self, version: &Version, digest: Sha256, host: &Host) {
        if let Some(pinned) = self.pinned.filter(|pinned| *pinned != digest) {
            host.log.warning(&format!(
                "this {} {version} is not the file that made the release: its SHA-256 is \
                 {digest}, recorded is {pinned}",
                self.flavor.name()
            ));
        }
    }

    async fn fetch(
        &self,
        site: &ToolSite,
        version: Version,
        host: &Host,
    ) -> Result<(Tool, &'static str)> {
        if let Some(tool) = self.cached(site, &version, host)? {
            return Ok((tool, "the cache"));
        }
        let cache = Cache::open(self.flavor, &version, host);
        let tool = |program, folder| Tool {
            _folder: folder,
            ..Tool::installed(program, self.flavor, version.clone())
        };
        let Some(cache) = cache else {
            let folder = PrivateFolder::create(&host.environment, &host.log)?;
            let program = folder.path().join(self.flavor.program());
            let remedy = "free some space, or set TMPDIR to a folder on a larger disk";
            let shown = folder.path().parent().unwrap_or(folder.path());
            let to = Destination::new(program.clone(), shown, remedy);
            self.download(site, &version, &program, &to, host).await?;
            folder.give_content(host.run_as)?;
            return Ok((tool(program, Some(Arc::new(folder))), site_word(site)));
        };
        let _lock = host.interrupt.or_cancel("waiting for a download", cache.lock(host)).await?;
        // Another run may have downloaded it in the meantime.
        if let Some(tool) = self.cached(site, &version, host)? {
            return Ok((tool, "the cache"));
        }
        let staged = cache.stage()?;
        let program = staged.path().join(self.flavor.program());
        let to = Destination::new(program.clone(), cache.folder(), cache::REMEDY);
        let Fetched { digest, signed_by } =
            self.download(site, &version, &program, &to, host).await?;
        let program = cache.keep(staged, digest, &signed_by)?;
        Ok((tool(program, None), site_word(site)))
    }

    async fn download(
        &self,
        site: &ToolSite,
        version: &Version,
        program: &Path,
        to: &Destination,
        host: &Host,
    ) -> Result<Fetched> {
        let platform = platform();
        let fetching = site.fetch(version, &platform, to);
        let name = self.flavor.name();
        let fetched = host.interrupt.or_cancel("downloading", fetching).await?;
        let answer = installed::version_of(program, host).await.map_err(|error| {
            if host.interrupt.requested().is_some() {
                return error;
            }
            if error.story().contains(FORBIDDEN) {
                let folder = to.shown_folder().display();
                return Error::input(format!("no program can be started from `{folder}`"))
                    .why("permission denied: its file system might be mounted with `noexec`")
                    .hint("set RUNNER_TOOL_CACHE to a folder where programs can start");
            }
            // The program is in a temporary folder.
            let shown = format!("{name} {version} of {}", site.name());
            let why = error.story().replace(&program.display().to_string(), &shown);
            Error::integrity(format!("the downloaded {name} {version} does not run")).why(why).hint(
                format!(
                    "check that the archive for {platform} is one for this machine, and complete"
                ),
            )
        })?;
        let VersionAnswer { version: found, platform: of } = answer;
        if found != *version {
            return Err(Error::integrity(format!(
                "the archive of {name} {version} contains another version"
            ))
            .why(format!("the program says that it is {found}")));
        }
        if let Some(of) = of.filter(|of| *of != platform) {
            return Err(Error::integrity(format!(
                "the archive of {name} {version} for {platform} contains another program"
            ))
            .why(format!("the program says that it is for {}", of.escape_debug())));
        }
        self.check_pin(version, fetched.digest, host);
        Ok(fetched)
    }
}

fn site_word(site: &ToolSite) -> &'static str {
    match site.is_mirror() {
        true => "the mirror",
        false => "the publisher's site",
    }
}
