//! Turns the name of a release into a Terraform that is ready to plan in an environment.

mod credentials;
mod fetch;
mod providers;
mod terraform_user;
mod working_folder;

use std::sync::{Arc, Mutex};

use self::working_folder::FromRelease;
pub(crate) use self::working_folder::WorkingFolder;
use super::{
    order::Subject,
    state::{location::StateHome, migration},
};
use crate::{
    base::{
        error::{Error, Result},
        run_folder::PrivateFolder,
        working_link::WorkingLink,
    },
    config::{
        hooks::Hooks,
        scheme::FrozenAccount,
        version_constraint::{Constraint, Wanted},
    },
    context::Context,
    release::{bundle::Unpacked, facts::ReleaseFacts, hooks},
    services::aws::{
        credentials::{Closed, CredentialsEndpoint},
        session::Session,
    },
    terraform::{
        Folder, Initialised,
        state::{backend::Backend, local_folder::UsedFolder},
        tool::{Choice, Flavor, Tool, platform},
    },
};

/// An unpacked release and a Terraform initialised with it. Dropping it removes every file.
pub(crate) struct Prepared {
    pub(crate) terraform: Initialised,
    pub(crate) folder: WorkingFolder,
    pub(crate) bundle: Unpacked,
    pub(crate) facts: ReleaseFacts,
    pub(crate) hooks: Hooks,
    pub(crate) tool: Tool,
    /// Says that this is not the version that made the release.
    pub(crate) tool_warning: Option<String>,
    pub(crate) account: FrozenAccount,
    pub(crate) state_home: StateHome,
    /// The account that Terraform's providers act in; None if a local scheme names no role.
    pub(crate) account_id: Option<String>,
    /// In that account.
    pub(crate) session: Option<Arc<Session>>,
    /// The folder of a local workspace, once it is entered.
    pub(crate) used_folder: Mutex<Option<UsedFolder>>,
    /// Serves Terraform's credentials until it is dropped.
    endpoint: Option<CredentialsEndpoint>,
    /// What Terraform takes for its folder. `None` if another run has it, or if it cannot be made.
    _link: Option<WorkingLink>,
    pub(crate) private: PrivateFolder,
}

impl Prepared {
    /// Gives Terraform's credentials to no program until the returned value is dropped.
    pub(crate) fn close_credentials(&self) -> Option<Closed> {
        self.endpoint.as_ref().map(CredentialsEndpoint::close)
    }
}

/// Fetches and checks the release, then initialises Terraform with it.
pub(crate) async fn prepare(context: &Context, subject: &Subject<'_>) -> Result<Prepared> {
    let host = &context.host;
    let private = PrivateFolder::create(&host.environment, &host.log)?;
    let fetched = fetch::fetch(context, subject, &private).await?;
    let bundle = &fetched.bundle;
    let facts = ReleaseFacts::read(&bundle.root)?;
    let hooks = hooks::read(&bundle.root)?;
    let account = fetch::check_bundle(context, subject, bundle, &facts)?;
    if let Some(manifest) = &bundle.manifest {
        providers::check_platform(&subject.release.version, manifest)?;
    }
    let (tool, tool_warning) = obtain_tool(context, bundle).await?;
    // From here on no step is dropped half way: a state is copied under locks that must be
    // released.
    host.interrupt.check("looking for the state")?;
    let state_home = state_home(context, subject).await?;
    host.interrupt.check("terraform init")?;
    let backend = Backend::choose(&state_home.place, &tool, &host.environment)?;
    let release = FromRelease { bundle, facts: &facts, account: &account };
    let mut folder =
        working_folder::prepare(context, subject, &private, &release, &tool, &backend)?;

    let assuming =
        credentials::credentials(context, subject, &private, state_home.session.as_ref());
    let (session, endpoint) = host.interrupt.or_cancel("assuming the roles", assuming).await?;
    let names = [subject.environment().to_string(), subject.release.version.to_string()];
    for name in names.iter().chain([&account.region]) {
        host.log.redactor.never_mask(name);
    }
    let reading = credentials::read_secrets(context, subject, &mut folder, session.as_deref());
    host.interrupt.or_cancel("reading the secrets", reading).await?;
    folder.write_variables()?;

    let mut env =
        credentials::terraform_env(context, &private, &account.region, endpoint.as_ref())?;
    let link = working_link(subject, &private, bundle);
    if let Some(link) = &link {
        env.insert("PWD".into(), link.path().join("infra").into());
    }
    let original = context.folder.join("infra");
    let run_as = terraform_user::give_files(host, &private, &state_home.place)?;
    let infra = Folder {
        tool: tool.clone(),
        host: host.clone(),
        infra: folder.infra.clone(),
        original,
        env,
        run_as,
    };
    host.log.step(&format!("Initialize {}", tool.label()));
    let initialised = infra.init(subject.environment(), &folder.init, &backend).await;
    let terraform = match initialised {
        Ok(terraform) => terraform,
        Err(error) => return Err(fetched.explain(error).await),
    };
    Ok(Prepared {
        terraform,
        folder,
        bundle: fetched.bundle,
        facts,
        hooks,
        tool,
        tool_warning,
        account,
        state_home,
        used_folder: Mutex::new(None),
        account_id: session.as_ref().and_then(|session| session.account_id.clone()),
        session,
        endpoint,
        _link: link,
        private,
    })
}

/// The code of an environment has the same path in every run on a machine, as far as runs follow
/// each other.
fn working_link(
    subject: &Subject<'_>,
    private: &PrivateFolder,
    bundle: &Unpacked,
) -> Option<WorkingLink> {
    let identity = &subject.release.identity;
    let name = format!("{}-{}-{}", identity.team, identity.component, subject.environment());
    WorkingLink::create(private.path().parent()?, &name, &bundle.root).ok()
}

/// Returns where the state is or will be. A plan-only run creates no bucket for it.
async fn state_home(context: &Context, subject: &Subject<'_>) -> Result<StateHome> {
    migration::home(context, subject.environment(), subject.plan_only).await?.ok_or_else(|| {
        Error::input(format!(
            "`{}` has no state bucket yet, and a plan-only run creates none",
            subject.environment()
        ))
        .hint("deploy without --plan-only: the first deploy to an account creates the bucket")
    })
}

/// Returns the program that made the release, in exactly its version. A version that this run asks
/// for overrides it.
async fn obtain_tool(context: &Context, bundle: &Unpacked) -> Result<(Tool, Option<String>)> {
    let mirror_keys = &context.scheme.terraform_mirror_keys;
    let made_with = bundle.manifest.as_ref().map(|manifest| &manifest.terraform);
    let asked = &context.tool;
    let Some(made_with) = made_with else {
        let (flavor, wanted, pick) = (asked.flavor, &asked.wanted, asked.pick.as_ref());
        let choice = Choice { flavor, wanted, pick, mirror_keys, pinned: None };
        return Ok((choice.obtain(&context.host).await?, None));
    };
    let (name, text) = (made_with.name.as_str(), &made_with.version);
    let flavor = match name == Flavor::OpenTofu.name() {
        true => Flavor::OpenTofu,
        false => Flavor::Terraform,
    };
    let version = text.parse().map_err(|error| {
        Error::integrity(format!("the release names `{}` as its {name}", text.escape_debug()))
            .why(error)
    })?;
    let pinned = Wanted { constraint: Constraint::only(&version), place: "the release".into() };
    let wanted = match asked.is_of_run {
        true => asked.wanted.clone(),
        false => vec![pinned],
    };
    let here = platform();
    let is_same_platform = made_with.platform.as_ref().is_none_or(|platform| *platform == here);
    let digest = is_same_platform.then_some(made_with.sha256);
    let choice = Choice { flavor, wanted: &wanted, pick: None, mirror_keys, pinned: digest };
    let tool = choice.obtain(&context.host).await?;
    let warning = (tool.version.to_string() != made_with.version).then(|| {
        format!(
            "{name} {} is used because this run asks for it; the release was made with {}",
            tool.version, made_with.version
        )
    });
    warning.iter().for_each(|warning| context.host.log.warning(warning));
    Ok((tool, warning))
}
