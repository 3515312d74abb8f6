//! What every command needs: the component, its account scheme, and who we are.

pub(crate) mod trust;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{
        error::{Error, Result},
        redact::Secret,
    },
    cli::{args::Global, report_flags::ReportFlags},
    config::{
        component::{self, Manifest, SchemeUrl},
        identity::{Identity, Release},
        names::{Component, Team, Version},
        scheme::{Account, AccountScheme, Place, StateBackend},
        settings::AwsInputs,
    },
    report,
    services::{
        aws::session::{RootSession, Session},
        ci::{self, host::Host},
        git::{self, Git},
        store::{DirectoryStore, ReleaseStore, S3Store},
    },
    terraform::tool::{Flavor, Tool},
};

/// Where the account scheme's bucket is taken to be when nobody says otherwise; S3 tells the right region if it is another.
const FIRST_REGION: &str = "us-east-1";
const SCHEME_LIMIT: u64 = 1 << 20;

#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) host: Host,
    /// The folder of cdflow.yml, canonical.
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_text: String,
    /// Who names the output that is an environment's address, as a message says it.
    pub(crate) url_output_by: &'static str,
    pub(crate) identity: Identity,
    pub(crate) scheme: AccountScheme,
    pub(crate) upgrade: Upgrade,
    pub(crate) store: ReleaseStore,
    pub(crate) pass_environment: Vec<String>,
    pub(crate) github_token: Option<Secret>,
    /// Where the run's report goes.
    pub(crate) reporting: report::Destinations,
    aws: AwsInputs,
    root: Option<RootSession>,
    /// Of the release account; None where the scheme is local.
    pub(crate) release_session: Option<Arc<Session>>,
}

/// Which of two account schemes is used, where the one that cdflow.yml names says that the component has moved to another.
#[derive(Clone)]
pub(crate) enum Upgrade {
    /// It has not.
    None,
    /// The other is used; this one is left.
    From(Side),
    /// `--old-account-scheme`: the other, which is this, is not used yet.
    HeldBack(Side),
}

/// An account scheme, and the component as its keys have it.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) url: SchemeUrl,
    pub(crate) scheme: AccountScheme,
    pub(crate) identity: Identity,
}

pub(crate) async fn open(global: &Global, flags: &ReportFlags, host: Host) -> Result<Context> {
    let folder = folder(global)?;
    for unset in host.environment.check_passed(&global.pass_environment)? {
        host.log.warning(&format!("`{unset}` shall be passed on to Terraform, but is not set"));
    }
    let (manifest, manifest_text) = read_manifest(&folder)?;
    let mut manifest = manifest.with_terraform(global.terraform_version.as_ref());
    let mut url_output_by = "`deploy.url-output` of cdflow.yml";
    if let Some(output) = &flags.url_output {
        manifest.deploy.url_output = Some(output.clone());
        url_output_by = "--url-output (the Action's input `url-output`)";
    }
    let (component, source) = component(global, &manifest, &folder, &host).await?;
    host.log.detail(&format!("component `{component}`, by {source}"));
    let url = &manifest.account_scheme_url;
    let mut root = first_session(url, &global.aws, &host).await?;
    let named = read_side(url, &folder, &manifest.team, &component, root.as_ref()).await?;
    let (mut side, mut upgrade) = follow(named, global, &folder, &mut root, &host).await?;
    for scheme in std::iter::once(&mut side.scheme).chain(upgrade.other()) {
        scheme.previews.clone_from(&manifest.preview.account_environment);
    }
    tell_upgrade(&upgrade, &host);
    tell_slips(&manifest, &side.scheme, &host);
    let Side { scheme, identity, .. } = side;
    let root = match root {
        None if needs_aws(&scheme) => Some(root_session(&scheme, &global.aws, &host).await?),
        root => root,
    };
    let release_session =
        session(root.as_ref(), &scheme.release_account, scheme.release_account.role.as_deref())
            .await?;
    let store = store_at(
        &scheme.release_bucket,
        &scheme.release_account.region,
        release_session.as_deref(),
    )?;
    let pass_environment = global.pass_environment.clone();
    Ok(Context {
        host,
        folder,
        manifest,
        manifest_text,
        url_output_by,
        identity,
        scheme,
        upgrade,
        store,
        pass_environment,
        github_token: global.github_token.clone(),
        reporting: report_destinations(flags, global),
        aws: global.aws.clone(),
        root,
        release_session,
    })
}

/// Where the flags and inputs send the report.
pub(crate) fn report_destinations(flags: &ReportFlags, global: &Global) -> report::Destinations {
    report::Destinations {
        markdown: flags.markdown.clone(),
        json: flags.json.clone(),
        plan: flags.plan_out.clone(),
        comment: flags.comment,
        token: global.github_token.clone(),
    }
}

impl Upgrade {
    fn other(&mut self) -> Option<&mut AccountScheme> {
        match self {
            Self::None => None,
            Self::From(side) | Self::HeldBack(side) => Some(&mut side.scheme),
        }
    }
}

impl Context {
    /// The same, for one of several things that are done at once: each line of the log begins with `label`.
    pub(crate) fn labelled(&self, label: &str) -> Self {
        let host = Host { log: self.host.log.labelled(label), ..self.host.clone() };
        Self { host, ..self.clone() }
    }

    pub(crate) fn release(&self, version: Version) -> Release {
        Release { identity: self.identity.clone(), version }
    }

    /// The version that is meant where none is given: that of the tag, of the pull request, or of the run.
    pub(crate) async fn version(&self, given: Option<Version>) -> Result<Version> {
        if let Some(version) = given {
            return Ok(version);
        }
        let git =
            Git::find(&self.host.environment.for_programs(), &self.host.log, &self.host.interrupt)?;
        let version =
            ci::version(self.host.run.as_deref(), &git.checkout(&self.folder).await?.commit)?;
        self.host.log.note(&format!("version {version}, by what the run is for"));
        Ok(version)
    }

    /// An identity in `account`; None where a local scheme names no role.
    pub(crate) async fn session(
        &self,
        account: &Account,
        role: Option<&str>,
    ) -> Result<Option<Arc<Session>>> {
        match (&self.root, role) {
            // A local scheme asks for credentials only where an environment has a role.
            (None, Some(_)) => {
                session(
                    Some(&root_session(&self.scheme, &self.aws, &self.host).await?),
                    account,
                    role,
                )
                .await
            }
            (root, role) => session(root.as_ref(), account, role).await,
        }
    }

    /// Whoever reaches the states of a scheme that keeps them all in one place.
    pub(crate) async fn session_of_state(
        &self,
        scheme: &AccountScheme,
    ) -> Result<Option<Arc<Session>>> {
        let account = &scheme.release_account;
        match *account == self.scheme.release_account {
            true => Ok(self.release_session.clone()),
            false => self.session(account, account.role.as_deref()).await,
        }
    }

    /// A store at another place than the releases', with the release account's identity.
    pub(crate) fn store_at(&self, place: &Place, region: &str) -> Result<ReleaseStore> {
        store_at(place, region, self.release_session.as_deref())
    }
}

/// A guard of an environment that is spelled wrong guards nothing.
fn tell_slips(manifest: &Manifest, scheme: &AccountScheme, host: &Host) {
    let limits = manifest.deploy.limits();
    let named = limits.named().map(|environment| ("deploy.environments", environment));
    let lives_in =
        manifest.preview.account_environment.iter().map(|it| ("preview.account-environment", it));
    for (key, environment) in named.chain(lives_in).collect::<BTreeSet<_>>() {
        if let Some(near) = scheme.spelled_nearly(environment) {
            host.log.warning(&format!(
                "`{key}` in cdflow.yml names `{environment}`, which the account scheme does not name: is `{near}` meant?"
            ));
        }
    }
}

/// `--directory`, canonical.
pub(crate) fn entered(global: &Global) -> Result<PathBuf> {
    let directory = &global.directory;
    let enter = || {
        let folder = fs::canonicalize(directory)?;
        fs::read_dir(&folder).map(|_| folder)
    };
    enter().map_err(|error| {
        Error::io("can't enter", directory, &error).hint(
            "-C DIR (the Action's input `working-directory`, relative to the checkout) is the folder of cdflow.yml",
        )
    })
}

/// The folder of cdflow.yml, canonical; the one above the current one where that is the `src` of a function.
pub(crate) fn folder(global: &Global) -> Result<PathBuf> {
    let folder = entered(global)?;
    let is_src = folder.ends_with("src") && folder.join("functions.rs").is_file();
    match folder.parent() {
        Some(above) if is_src && !folder.join(component::FILE).exists() => Ok(above.to_owned()),
        _ => Ok(folder),
    }
}

pub(crate) fn read_manifest(folder: &Path) -> Result<(Manifest, String)> {
    let path = folder.join(component::FILE);
    let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::input(format!("there is no {} in `{}`", component::FILE, folder.display())).hint(
                "run cdflow in the component's folder, or name it: -C DIR (the Action's input `working-directory`)",
            )
        }
        _ => Error::io("can't read", &path, &error),
    })?;
    Ok((Manifest::parse(component::FILE, &text).map_err(|error| error.below(folder))?, text))
}

/// From the flag, cdflow.yml, the git remote, or GITHUB_REPOSITORY; the first that says it, and which one that was.
pub(crate) async fn component(
    global: &Global,
    manifest: &Manifest,
    folder: &Path,
    host: &Host,
) -> Result<(Component, &'static str)> {
    match (&global.component, &manifest.component) {
        (Some(component), _) => return Ok((component.clone(), "--component")),
        (None, Some(component)) => return Ok((component.clone(), component::FILE)),
        (None, None) => {}
    }
    let origin = match Git::find(&host.environment.for_programs(), &host.log, &host.interrupt) {
        Ok(git) => git.origin(folder).await?,
        Err(_) => None,
    };
    let source = if origin.is_some() { "the git remote" } else { "GITHUB_REPOSITORY" };
    let remote = origin.or_else(|| host.environment.get("GITHUB_REPOSITORY").map(str::to_owned));
    let remote = remote.ok_or_else(|| {
        Error::input(
            "the component has no name: there is no git remote `origin` and no GITHUB_REPOSITORY",
        )
        .hint("add `component: NAME` to cdflow.yml, or give --component NAME")
    })?;
    let name = git::repository_name(&remote).ok_or_else(|| {
        Error::input(format!("{source} `{}` gives the component no name", remote.escape_debug()))
            .hint("add `component: NAME` to cdflow.yml, or give --component NAME")
    })?;
    Ok((name.parse()?, source))
}

/// Who we are before the scheme is known; None where that needs no AWS.
pub(crate) async fn first_session(
    url: &SchemeUrl,
    aws: &AwsInputs,
    host: &Host,
) -> Result<Option<RootSession>> {
    match url {
        SchemeUrl::Path(_) => Ok(None),
        SchemeUrl::S3 { .. } => {
            RootSession::start(first_region(aws, host), aws, &host.environment, &host.log.redactor)
                .await
                .map(Some)
        }
    }
}

fn first_region<'h>(aws: &'h AwsInputs, host: &'h Host) -> &'h str {
    let named =
        || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| host.environment.get(name));
    aws.aws_region.as_deref().or_else(named).unwrap_or(FIRST_REGION)
}

/// `root` is the first session, by which a scheme in S3 is read.
pub(crate) async fn read_side(
    url: &SchemeUrl,
    folder: &Path,
    team: &Team,
    component: &Component,
    root: Option<&RootSession>,
) -> Result<Side> {
    let scheme = read_scheme(url, folder, (team, component), root).await?;
    let identity =
        Identity { team: team.clone(), component: component.clone(), layout: scheme.layout };
    Ok(Side { url: url.clone(), scheme, identity })
}

/// The side that is to be used, where `named` is cdflow.yml's.
pub(crate) async fn follow(
    named: Side,
    global: &Global,
    folder: &Path,
    root: &mut Option<RootSession>,
    host: &Host,
) -> Result<(Side, Upgrade)> {
    let Some(text) = &named.scheme.moved_to else {
        return match global.old_account_scheme {
            true => Err(Error::input(format!(
                "there is no old account scheme: {} says of no new one",
                named.url
            ))
            .hint("leave --old-account-scheme out")),
            false => Ok((named, Upgrade::None)),
        };
    };
    let url = new_url(&named.url, text)?;
    if root.is_none() {
        *root = first_session(&url, &global.aws, host).await?;
    }
    let Identity { team, component, .. } = &named.identity;
    let other = read_side(&url, folder, team, component, root.as_ref()).await?;
    if let Some(next) = &other.scheme.moved_to {
        return Err(Error::input(format!(
            "`{component}` has moved twice: from {} to {url}, and on to {next}",
            named.url
        ))
        .why("states are migrated from one account scheme to the next only")
        .hint(format!("set `account-scheme-url` in cdflow.yml to {url}")));
    }
    Ok(match global.old_account_scheme {
        true => (named, Upgrade::HeldBack(other)),
        false => (other, Upgrade::From(named)),
    })
}

/// A path is relative to the scheme that says it.
fn new_url(old: &SchemeUrl, text: &str) -> Result<SchemeUrl> {
    let refused = |why: String| {
        Error::input(format!(
            "`new-url` of the account scheme {old} can't be used: `{}`",
            text.escape_debug()
        ))
        .why(why)
    };
    match (old, text.parse::<SchemeUrl>().map_err(refused)?) {
        (SchemeUrl::Path(old), SchemeUrl::Path(path)) => {
            Ok(SchemeUrl::Path(old.parent().unwrap_or(Path::new("")).join(path)))
        }
        (SchemeUrl::S3 { .. }, SchemeUrl::Path(_)) => {
            Err(refused("a scheme in S3 has no folder".to_owned()))
        }
        (_, url) => Ok(url),
    }
}

fn tell_upgrade(upgrade: &Upgrade, host: &Host) {
    match upgrade {
        Upgrade::None => {}
        Upgrade::From(old) => {
            let to = old.scheme.moved_to.as_deref().unwrap_or_default();
            host.log.note(&format!(
                "the account scheme {} says that this component has moved to {to}",
                old.url
            ));
        }
        Upgrade::HeldBack(new) => {
            host.log.warning(&format!(
                "the old account scheme is used, although the component has moved to {}",
                new.url
            ));
        }
    }
}

async fn read_scheme(
    url: &SchemeUrl,
    folder: &Path,
    (team, component): (&Team, &Component),
    root: Option<&RootSession>,
) -> Result<AccountScheme> {
    match url {
        SchemeUrl::Path(path) => {
            let path = folder.join(path);
            let text = fs::read_to_string(&path).map_err(|error| {
                Error::io("can't read the account scheme", &path, &error)
                    .hint("check `account-scheme-url` in cdflow.yml")
            })?;
            let beside = path.parent().unwrap_or(folder);
            AccountScheme::parse(&url.to_string(), Some(beside), &text, team, component)
                .map_err(|error| error.below(folder))
        }
        SchemeUrl::S3 { bucket, key } => {
            let root = root.ok_or_else(|| {
                Error::internal("there is no identity to read the account scheme with")
            })?;
            let region = root.config().region().map_or(FIRST_REGION, |region| region.as_ref());
            // Whose bucket it is, is not known yet: the scheme says so.
            let store =
                |region: &str| S3Store::new(root.config(), bucket.clone(), region.to_owned(), None);
            let text = match store(region).get(key, SCHEME_LIMIT).await {
                Err(error) => {
                    match store(region).real_region().await.filter(|real| real != region) {
                        Some(real) => store(&real).get(key, SCHEME_LIMIT).await?,
                        None => {
                            return Err(error
                                .hint("the scheme's place is `account-scheme-url` in cdflow.yml"));
                        }
                    }
                }
                read => read?,
            };
            let text = text.ok_or_else(|| {
                Error::input(format!("there is no account scheme at {url}"))
                    .hint("check `account-scheme-url` in cdflow.yml")
            })?;
            let text = String::from_utf8(text)
                .map_err(|_| Error::input(format!("the account scheme at {url} is not UTF-8")))?;
            AccountScheme::parse(&url.to_string(), None, &text, team, component)
        }
    }
}

pub(crate) async fn root_session(
    scheme: &AccountScheme,
    aws: &AwsInputs,
    host: &Host,
) -> Result<RootSession> {
    RootSession::start(&scheme.default_region, aws, &host.environment, &host.log.redactor).await
}

pub(crate) fn needs_aws(scheme: &AccountScheme) -> bool {
    matches!(scheme.release_bucket, Place::Bucket(_))
        || !matches!(scheme.backend, StateBackend::Local { .. })
        || scheme.release_account.role.is_some()
}

pub(crate) async fn session(
    root: Option<&RootSession>,
    account: &Account,
    role: Option<&str>,
) -> Result<Option<Arc<Session>>> {
    match (root, role, &account.id) {
        (Some(root), Some(role), Some(_)) => {
            Ok(Some(Arc::new(root.assume(account, role, &account.region).await?)))
        }
        _ => Ok(None),
    }
}

pub(crate) fn store_at(
    place: &Place,
    region: &str,
    session: Option<&Session>,
) -> Result<ReleaseStore> {
    match (place, session) {
        (Place::Directory(directory), _) => {
            Ok(ReleaseStore::Directory(DirectoryStore::new(directory.clone())))
        }
        (Place::Bucket(bucket), Some(session)) => {
            let owner = session.account_id.clone();
            Ok(ReleaseStore::S3(S3Store::new(
                &session.config,
                bucket.clone(),
                region.to_owned(),
                owner,
            )))
        }
        (Place::Bucket(bucket), None) => {
            Err(Error::input(format!("the bucket `{bucket}` can't be reached without a role"))
                .hint("give the release account an `id` and a `role` in the account scheme"))
        }
    }
}

/// A bucket of which neither the region nor the owner is known.
pub(crate) async fn foreign_store(session: &Session, bucket: &str, region: &str) -> S3Store {
    let store =
        |region: &str| S3Store::new(&session.config, bucket.to_owned(), region.to_owned(), None);
    match store(region).real_region().await {
        Some(real) => store(&real),
        None => store(region),
    }
}

/// The program that cdflow.yml asks for.
pub(crate) async fn tool(manifest: &Manifest, host: &Host) -> Result<Tool> {
    match &manifest.opentofu_version {
        Some(wanted) => Tool::locate(Flavor::OpenTofu, Some(wanted), host).await,
        None => Tool::locate(Flavor::Terraform, manifest.terraform_version.as_ref(), host).await,
    }
}
