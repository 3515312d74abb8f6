//! What every command needs: the component, its account scheme, its release store, and the
//! AWS identities of the run.

pub(crate) mod comment;
mod component;
mod empty_role;
mod scheme;
mod sessions;
mod tool;
pub(crate) mod trust;
mod version_files;
mod warnings;

use std::{path::PathBuf, sync::Arc};

use self::trust::Trusted;
pub(crate) use self::{
    component::{component_name, folder, read_manifest, working_directory},
    scheme::{LoadedScheme, SchemeUpgrade, follow_upgrade, load},
    sessions::{first_session, foreign_store, needs_aws, root_session, session, store_at},
    tool::ToolWishes,
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        redact::Secret,
    },
    cli::{args::Global, report_flags::ReportFlags},
    config::{
        component::Manifest,
        guards::DeployGuards,
        identity::{Identity, Release},
        names::{Environment, Version},
        scheme::{Account, AccountScheme, Storage},
        settings::{AwsInputs, CacheChoice},
        version_constraint::Wanted,
    },
    report,
    services::{
        aws::session::{RootSession, Session},
        ci::{self, host::Host},
        git::Git,
        store::ReleaseStore,
    },
    terraform::tool::{Choice, Chosen, Tool},
};

/// The inputs of a command, resolved. `open` makes it.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) host: Host,
    /// The files of the checkout that the run may use.
    pub(crate) trusted: Trusted,
    /// The folder of cdflow.yml, canonical.
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Manifest,
    /// The text of cdflow.yml, as a bundle records it.
    pub(crate) manifest_text: String,
    /// Which Terraform or OpenTofu is asked for.
    pub(crate) tool: ToolWishes,
    /// The setting that names the output with the environment's URL, for messages.
    pub(crate) url_output_by: &'static str,
    pub(crate) identity: Identity,
    /// The account scheme in use, which `upgrade` relates to the other one.
    pub(crate) scheme: AccountScheme,
    pub(crate) upgrade: SchemeUpgrade,
    pub(crate) store: ReleaseStore,
    /// The names of the variables that are passed on to Terraform.
    pub(crate) pass_environment: Vec<String>,
    /// Where downloads are kept for later runs.
    pub(crate) cache_dir: Option<CacheChoice>,
    pub(crate) github_token: Option<Secret>,
    /// Where the run's report goes.
    pub(crate) reporting: report::Destinations,
    aws: AwsInputs,
    root: Option<RootSession>,
    /// Whether the run changes nothing that an environment uses.
    only_reads: bool,
    /// The session in the release account; `None` if the scheme is local.
    pub(crate) release_session: Option<Arc<Session>>,
}

/// Reads cdflow.yml and the account scheme, and assumes the role of the release account; with
/// `only_reads`, its role for plans.
pub(crate) async fn open(
    global: &Global,
    flags: &ReportFlags,
    host: Host,
    trusted: Trusted,
    only_reads: bool,
) -> Result<Context> {
    let folder = folder(global)?;
    warnings::malformed_proxies(&host);
    for unset in host.environment.check_passed(&global.pass_environment)? {
        host.log.warning(&format!("`{unset}` is not set, so it is not passed on to Terraform"));
    }
    for name in &global.pass_environment {
        if let Some(value) = host.environment.get(name) {
            host.log.redactor.add_variable(name, value);
        }
    }
    let (mut manifest, manifest_text) = read_manifest(&folder)?;
    let tool = ToolWishes::read(global, &manifest, &folder, &host.log)?;
    trusted.check_files(tool.files.iter().map(PathBuf::as_path))?;
    let mut url_output_by = "`deploy.url-output` of cdflow.yml";
    if let Some(output) = &flags.url_output {
        manifest.deploy.url_output = Some(output.clone());
        url_output_by = "--url-output (the Action's input `url-output`)";
    }
    let (component, source) = component_name(global, &manifest, &folder, &host).await?;
    host.log.detail(&format!("component `{component}`, from {source}"));
    let url = &manifest.account_scheme_url;
    let mut root = first_session(url, &global.aws, &host).await?;
    let named = load(url, &folder, &manifest.team, &component, root.as_ref()).await?;
    let (mut used, mut upgrade) = follow_upgrade(named, global, &folder, &mut root, &host).await?;
    let files = [&used].into_iter().chain(upgrade.loaded()).filter_map(|it| it.file(&folder));
    trusted.check_files(files.collect::<Vec<_>>().iter().map(PathBuf::as_path))?;
    let tool = tool.or_default(&manifest, &used.scheme);
    let filled = used.scheme.defaults.fill(&mut manifest, &used.scheme.file)?;
    if filled.contains(&"deploy.url-output") {
        url_output_by = "`defaults.deploy.url-output` of the account scheme";
    }
    if !filled.is_empty() {
        let from = &used.scheme.file;
        host.log.detail(&format!("from `defaults` of {from}: {}", filled.join(", ")));
    }
    for scheme in std::iter::once(&mut used.scheme).chain(upgrade.other()) {
        scheme.previews.clone_from(&manifest.preview.account_environment);
    }
    upgrade.log(&host);
    warnings::misspelled_environments(&manifest, &used.scheme, &host);
    warnings::lost_store(&used.scheme, &host);
    let LoadedScheme { scheme, identity, .. } = used;
    let root = match root {
        None if needs_aws(&scheme) => Some(root_session(&scheme, &global.aws, &host).await?),
        root => root,
    };
    if root.is_some() {
        empty_role::warn(&global.aws, &host);
    }
    let release_session =
        session(root.as_ref(), &scheme.release_account, scheme.release_role(only_reads)).await?;
    let store = store_at(
        &scheme.release_bucket,
        &scheme.release_account.region,
        release_session.as_deref(),
        |bucket| scheme.encryption_of(bucket),
    )?;
    let pass_environment = global.pass_environment.clone();
    Ok(Context {
        host,
        trusted,
        folder,
        manifest,
        manifest_text,
        tool,
        url_output_by,
        identity,
        scheme,
        upgrade,
        store,
        pass_environment,
        cache_dir: global.cache_dir.clone(),
        github_token: global.github_token.clone(),
        reporting: report_destinations(flags, global),
        aws: global.aws.clone(),
        root,
        only_reads,
        release_session,
    })
}

/// Returns where the flags and inputs send the report.
pub(crate) fn report_destinations(flags: &ReportFlags, global: &Global) -> report::Destinations {
    report::Destinations {
        markdown: flags.markdown.clone(),
        json: flags.json.clone(),
        plan: flags.plan_out.clone(),
        comment: flags.comment,
        check: flags.check,
        token: global.github_token.clone(),
    }
}

/// Returns the refusal of a version that the component asks for.
fn not_allowed(version: &str, wanted: &[Wanted], rule: &Wanted) -> Error {
    let asked: Vec<String> =
        wanted.iter().map(|it| format!("{} ({})", it.constraint, it.place)).collect();
    let asked = match asked.is_empty() {
        true => String::new(),
        false => format!("; required: {}", asked.join(", ")),
    };
    let Wanted { constraint, place } = rule;
    Error::refused(format!("{version} is not allowed"))
        .why(format!("{place} allows `{constraint}`{asked}"))
        .hint(format!("use a version that is `{constraint}`, or change the policy"))
}

impl Context {
    /// Returns a context for one of several concurrent tasks: its log lines begin with `label`.
    pub(crate) fn labelled(&self, label: &str) -> Self {
        let host = Host { log: self.host.log.labelled(label), ..self.host.clone() };
        Self { host, ..self.clone() }
    }

    pub(crate) fn release(&self, version: Version) -> Release {
        Release { identity: self.identity.clone(), version }
    }

    /// Returns `given`, or else the version of the tag, the pull request or the commit that the
    /// run is for.
    pub(crate) async fn version(&self, given: Option<Version>) -> Result<Version> {
        if let Some(version) = given {
            return Ok(version);
        }
        let git = Git::find(&self.host)?;
        let version =
            ci::version(self.host.run.as_deref(), &git.checkout(&self.folder).await?.commit)?;
        self.host.log.note(&format!("version {version}, derived from what triggered the run"));
        Ok(version)
    }

    /// Returns the guards of an environment: those of cdflow.yml and those of the policy.
    pub(crate) fn guards(&self, environment: &Environment) -> DeployGuards {
        let policy = (&self.scheme.policy.guards, self.scheme.file.as_str());
        DeployGuards::of(environment, &self.manifest.deploy.limits(), policy)
    }

    /// Returns the program for a release whose code requires `required`. If several versions do,
    /// one that the policy allows.
    pub(crate) async fn obtain_tool(&self, required: &[Wanted]) -> Result<Tool> {
        let wanted = [&self.tool.wanted, required].concat();
        let choice = |wanted| Choice {
            flavor: self.tool.flavor,
            wanted,
            pick: self.tool.pick.as_ref(),
            mirror_keys: &self.scheme.terraform_mirror_keys,
            pinned: None,
        };
        let Some(rule) = self.scheme.policy.wanted(self.tool.flavor, &self.scheme.file) else {
            return choice(&wanted).obtain(&self.host).await;
        };
        let limited = [wanted.as_slice(), std::slice::from_ref(&rule)].concat();
        match choice(&limited).obtain(&self.host).await {
            // The component might ask for another version than the policy.
            Err(error) if error.exit() == Exit::Input => {
                let Ok(chosen) = choice(&wanted).choose(&self.host).await else {
                    return Err(error);
                };
                let version = match chosen {
                    Chosen::Installed(tool) => tool.version,
                    Chosen::Elsewhere(version) => version,
                };
                if rule.constraint.allows(&version) {
                    return Err(error);
                }
                Err(not_allowed(&format!("{} {version}", self.tool.flavor.title()), &wanted, &rule))
            }
            obtained => obtained,
        }
    }

    /// Assumes `role` in `account`. Returns `None` if a local scheme names no role.
    pub(crate) async fn session(
        &self,
        account: &Account,
        role: Option<&str>,
    ) -> Result<Option<Arc<Session>>> {
        match (&self.root, role) {
            // A local scheme needs credentials only for an environment that has a role.
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

    /// Returns the identity that can read the states of a scheme that keeps all of them in its
    /// release account.
    pub(crate) async fn session_of_state(
        &self,
        scheme: &AccountScheme,
    ) -> Result<Option<Arc<Session>>> {
        let account = &scheme.release_account;
        match *account == self.scheme.release_account {
            true => Ok(self.release_session.clone()),
            false => self.session(account, scheme.release_role(self.only_reads)).await,
        }
    }

    /// Returns the store at `place`, with the identity of the release account.
    pub(crate) fn store_at(&self, place: &Storage, region: &str) -> Result<ReleaseStore> {
        let encryption = |bucket: &str| self.scheme.encryption_of(bucket);
        store_at(place, region, self.release_session.as_deref(), encryption)
    }
}
