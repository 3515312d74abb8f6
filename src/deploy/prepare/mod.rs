//! From the name of a release to a Terraform that is ready to work on an environment with it.

mod credentials;
mod fetch;
mod working_folder;

pub(crate) use self::working_folder::Prepared;
use super::{
    ledger::Start,
    state::{location::StateHome, migration},
};
use crate::{
    base::{
        error::{Error, Result},
        run_folder::PrivateFolder,
    },
    config::{identity::Release, names::Environment, preview::PreviewOf, scheme::FrozenAccount},
    context::Context,
    release::{bundle::Unpacked, facts::ReleaseFacts},
    services::aws::credentials::Endpoint,
    terraform::{
        Folder, Initialised,
        state::backend::Backend,
        tool::{Flavor, Tool},
    },
};

/// Which release for which environment.
pub(crate) struct Wanted {
    pub(crate) environment: Environment,
    pub(crate) release: Release,
    /// What the ledger says is deployed there, or, of a version to go back to, was.
    pub(crate) recorded: Option<Start>,
    /// Of which pull request it is a preview from now on.
    pub(crate) preview: Option<PreviewOf>,
    /// Nothing will be applied: the account's `plan-role` will do.
    pub(crate) plan_only: bool,
}

/// A release, unpacked, and Terraform initialised with it. Everything is gone when this is dropped.
pub(crate) struct Opened {
    pub(crate) terraform: Initialised,
    pub(crate) prepared: Prepared,
    pub(crate) bundle: Unpacked,
    pub(crate) facts: ReleaseFacts,
    pub(crate) tool: Tool,
    pub(crate) account: FrozenAccount,
    pub(crate) home: StateHome,
    /// As whom Terraform's providers act; None where a local scheme names no role.
    pub(crate) account_id: Option<String>,
    /// Serves Terraform's credentials as long as it lives.
    _endpoint: Option<Endpoint>,
    pub(crate) private: PrivateFolder,
}

impl Wanted {
    /// Of which pull request it is a preview; who doesn't say it leaves it as it was.
    pub(crate) fn preview(&self) -> Option<&PreviewOf> {
        self.preview.as_ref().or_else(|| self.recorded.as_ref()?.preview.as_ref())
    }
}

pub(crate) async fn open(context: &Context, wanted: &Wanted) -> Result<Opened> {
    let host = &context.host;
    let private = PrivateFolder::create(&host.environment, &host.log)?;
    let bundle = fetch::fetch(context, wanted, &private).await?;
    let facts = ReleaseFacts::read(&bundle.root)?;
    let accounts = fetch::check_bundle(context, wanted, &bundle, &facts)?;
    let tool = locate(context, &bundle).await?;
    // Not called off half way: a copy of a state is made under locks, which must be released.
    host.interrupt.check("looking for the state")?;
    let home = home(context, wanted).await?;
    host.interrupt.check("terraform init")?;
    let backend = Backend::choose(&home.place, &tool)?;
    let mut prepared = working_folder::prepare(
        context,
        wanted,
        &private,
        &bundle,
        &facts,
        &backend,
        &accounts.frozen,
    )?;

    let assuming =
        credentials::credentials(context, wanted, &private, accounts.live, home.session.as_ref());
    let (session, endpoint) = host.interrupt.or_cancel("assuming the roles", assuming).await?;
    let reading = credentials::read_secrets(context, wanted, &mut prepared, session.as_deref());
    host.interrupt.or_cancel("reading the secrets", reading).await?;
    prepared.write_variables()?;

    let env =
        credentials::terraform_env(context, &private, &accounts.frozen.region, endpoint.as_ref())?;
    let original = context.folder.join("infra");
    let folder = Folder {
        tool: tool.clone(),
        host: host.clone(),
        infra: prepared.infra.clone(),
        original,
        env,
    };
    host.log.step(&format!("Initialise {} {}", tool.flavor.name(), tool.version));
    let terraform = folder.init(&wanted.environment, &prepared.init, &backend).await?;
    Ok(Opened {
        terraform,
        prepared,
        bundle,
        facts,
        tool,
        account: accounts.frozen,
        home,
        account_id: session.and_then(|session| session.account_id.clone()),
        _endpoint: endpoint,
        private,
    })
}

/// Where the state is, or will be. A plan alone makes no place for it.
async fn home(context: &Context, wanted: &Wanted) -> Result<StateHome> {
    migration::home(context, &wanted.environment, wanted.plan_only).await?.ok_or_else(|| {
        Error::input(format!(
            "there is no state bucket yet for `{}`, and a plan alone makes none",
            wanted.environment
        ))
        .hint("deploy without --plan-only: the account's first deploy makes the bucket")
    })
}

/// The kind of Terraform that made the release, not older than it was then.
async fn locate(context: &Context, bundle: &Unpacked) -> Result<Tool> {
    let manifest = &context.manifest;
    let made_with = bundle.manifest.as_ref().map(|manifest| &manifest.terraform);
    let is_opentofu = made_with.map_or(manifest.opentofu_version.is_some(), |made_with| {
        made_with.name == Flavor::OpenTofu.name()
    });
    let tool = match is_opentofu {
        true => {
            Tool::locate(Flavor::OpenTofu, manifest.opentofu_version.as_ref(), &context.host)
                .await?
        }
        false => {
            Tool::locate(Flavor::Terraform, manifest.terraform_version.as_ref(), &context.host)
                .await?
        }
    };
    let Some(made_with) = made_with else { return Ok(tool) };
    let then = made_with.version.parse::<semver::Version>();
    if then.is_ok_and(|then| (tool.version.major, tool.version.minor) < (then.major, then.minor)) {
        return Err(Error::input(format!(
            "{} {} is older than the release's",
            tool.flavor.name(),
            tool.version
        ))
        .why(format!("the release was initialised with {}", made_with.version))
        .hint(format!("put {} {} into PATH", made_with.name, made_with.version)));
    }
    if tool.version.to_string() != made_with.version {
        context.host.log.note(&format!(
            "{} {}; the release was made with {}",
            tool.flavor.name(),
            tool.version,
            made_with.version
        ));
    }
    Ok(tool)
}
