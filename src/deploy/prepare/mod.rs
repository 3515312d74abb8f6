//! Turns the name of a release into a Terraform that is ready to plan in an environment.

mod credentials;
mod fetch;
mod terraform_user;
mod working_folder;

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
    config::scheme::FrozenAccount,
    context::Context,
    release::{bundle::Unpacked, facts::ReleaseFacts},
    services::aws::credentials::CredentialsEndpoint,
    terraform::{
        Folder, Initialised,
        state::backend::Backend,
        tool::{Flavor, Tool},
    },
};

/// An unpacked release and a Terraform initialised with it. Dropping it removes every file.
pub(crate) struct Prepared {
    pub(crate) terraform: Initialised,
    pub(crate) folder: WorkingFolder,
    pub(crate) bundle: Unpacked,
    pub(crate) facts: ReleaseFacts,
    pub(crate) tool: Tool,
    pub(crate) account: FrozenAccount,
    pub(crate) state_home: StateHome,
    /// The account that Terraform's providers act in; None if a local scheme names no role.
    pub(crate) account_id: Option<String>,
    /// Serves Terraform's credentials until it is dropped.
    _endpoint: Option<CredentialsEndpoint>,
    /// What Terraform takes for its folder. `None` if another run has it, or if it cannot be made.
    _link: Option<WorkingLink>,
    pub(crate) private: PrivateFolder,
}

/// Fetches and checks the release, then initialises Terraform with it.
pub(crate) async fn prepare(context: &Context, subject: &Subject<'_>) -> Result<Prepared> {
    let host = &context.host;
    let private = PrivateFolder::create(&host.environment, &host.log)?;
    let bundle = fetch::fetch(context, subject, &private).await?;
    let facts = ReleaseFacts::read(&bundle.root)?;
    let account = fetch::check_bundle(context, subject, &bundle, &facts)?;
    let tool = locate(context, &bundle).await?;
    // From here on no step is dropped half way: a state is copied under locks that must be
    // released.
    host.interrupt.check("looking for the state")?;
    let state_home = state_home(context, subject).await?;
    host.interrupt.check("terraform init")?;
    let backend = Backend::choose(&state_home.place, &tool, &host.environment)?;
    let release = FromRelease { bundle: &bundle, facts: &facts, account: &account };
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
    let link = working_link(subject, &private, &bundle);
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
    host.log.step(&format!("Initialize {} {}", tool.flavor.name(), tool.version));
    let terraform = infra.init(subject.environment(), &folder.init, &backend).await?;
    Ok(Prepared {
        terraform,
        folder,
        bundle,
        facts,
        tool,
        account,
        state_home,
        account_id: session.and_then(|session| session.account_id.clone()),
        _endpoint: endpoint,
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

/// Finds the program that made the release, Terraform or OpenTofu, in a version that is not older.
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
            "{} {} is older than the version that made the release",
            tool.flavor.name(),
            tool.version
        ))
        .why(format!("the release was initialized with {}", made_with.version))
        .hint(format!(
            "install {} {} and put it first in PATH",
            made_with.name, made_with.version
        )));
    }
    if tool.version.to_string() != made_with.version {
        context.host.log.note(&format!(
            "{} {} (the release was made with {})",
            tool.flavor.name(),
            tool.version,
            made_with.version
        ));
    }
    Ok(tool)
}
