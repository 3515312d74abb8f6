//! The road that deploy and destroy share: fetch, verify, prepare, plan, record, apply, record.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{context::Context, rescue};
use crate::{
    account::{Account, FrozenAccount},
    aws::{credentials::Endpoint, session::Session},
    bundle::{self, Unpacked},
    error::{Error, Exit, Result},
    inputs::PlanInputs,
    ledger::{Action, End, Ledger, Outcome, Start},
    log::{bytes_text, duration_text},
    names::Environment,
    private::{PrivateFolder, write_new},
    published,
    release::Release,
    terraform::{
        Applied, Folder, InitRequest, Initialised, Plan, PlanMode, PlanRequest,
        backend::{self, Backend, PROFILE},
        declarations::Declarations,
        lockfile, modules,
        state::StateSummary,
        tool::{Flavor, Tool},
        variables::Variables,
    },
};

/// What is to be done where.
pub(crate) struct Order {
    pub(crate) action: Action,
    pub(crate) environment: Environment,
    pub(crate) release: Release,
    pub(crate) mode: PlanMode,
    pub(crate) plan: PlanInputs,
    pub(crate) target: Vec<String>,
    pub(crate) replace: Vec<String>,
    /// The refusal for an environment without a state, where that is not fine.
    pub(crate) missing_state: Option<Error>,
    /// The refusal for an environment with one, likewise.
    pub(crate) refuse_existing_state: Option<Error>,
    /// What the ledger says is deployed.
    pub(crate) recorded: Option<Start>,
}

pub(crate) async fn run(context: &Context, mut order: Order) -> Result<()> {
    let started = Instant::now();
    let private = PrivateFolder::create(&context.host.environment)?;
    let bundle = fetch(context, &order, &private).await?;
    let account = check_bundle(context, &order, &bundle)?;
    let tool = locate(context, &bundle).await?;
    let backend = Backend::choose(&context.scheme, &context.identity, &context.manifest.tfstate_filename, &tool)?;
    let prepared = prepare(context, &order, &private, &bundle, &backend, &account.frozen)?;

    let (session, endpoint) = credentials(context, &order, &private, account.live).await?;
    let env = terraform_env(context, &private, &account.frozen.region, endpoint.as_ref())?;
    let folder = Folder { tool: tool.clone(), host: context.host.clone(), infra: prepared.infra.clone(), env };
    context.host.log.step(&format!("Initialise {} {}", tool.flavor.name(), tool.version));
    let terraform = folder.init(&order.environment, &prepared.init).await?;

    let Some(is_new) = enter_workspace(context, &mut order, &terraform).await? else {
        context.host.log.done(&format!("Nothing to destroy: {} has no state", order.environment));
        return Ok(());
    };
    let request = prepared.plan_request(context, &order);
    let facts = Facts {
        account_id: session.as_ref().and_then(|session| session.account_id.clone()),
        bundle: &bundle,
        tool: &tool,
    };
    // With the start entry, from which on the run must record its end.
    let begun = match plan(context, &order, &terraform, request).await {
        Ok(planned) if order.plan.plan_only => Ok((planned, None)),
        Ok(planned) => {
            record_start(context, &order, &planned, &facts, &account.frozen).await.map(|entry| (planned, Some(entry)))
        }
        Err(error) => Err(error),
    };
    let (planned, entry) = match begun {
        Ok((planned, Some(entry))) => (planned, entry),
        // Nothing was applied: a workspace that was made for this plan goes again.
        ended => {
            if is_new && let Err(error) = terraform.delete_workspace().await {
                context.host.log.warning(&format!("the empty workspace `{}` is left: {error}", order.environment));
            }
            return ended.map(|(planned, _)| context.host.log.done(&format!("Planned only: {}", summary_of(&planned))));
        }
    };
    let ended = carry_out(context, &order, &terraform, &planned, &entry).await;
    // The endpoint serves until here.
    drop(endpoint);
    let text = ended?;
    context.host.log.done(&format!("{text} in {}", duration_text(started.elapsed())));
    Ok(())
}

struct Facts<'a> {
    account_id: Option<String>,
    bundle: &'a Unpacked,
    tool: &'a Tool,
}

/// Where the environment is: as it was at release, and how to get there now.
struct Accounts<'a> {
    frozen: FrozenAccount,
    live: &'a Account,
}

async fn fetch(context: &Context, order: &Order, private: &PrivateFolder) -> Result<Unpacked> {
    let (log, store) = (&context.host.log, &context.store);
    let key = order.release.key();
    log.step(&format!("Fetch {}", store.describe(&key)));
    let Some(found) = store.head(&key).await? else {
        return Err(published::missing(store, &order.release).await);
    };
    let archive = private.path().join("bundle.zip");
    let progress = log.progress("downloading", found.size);
    let advance = |bytes| progress.advance(bytes);
    let fetched = tokio::select! {
        fetched = store.fetch(&key, &archive, &advance) => fetched?,
        () = context.host.interrupt.arrived() => None,
    };
    drop(progress);
    context.host.interrupt.check("unpacking the release")?;
    let found = fetched
        .ok_or_else(|| Error::new(Exit::Unavailable, format!("{} was there and is gone", store.describe(&key))))?;
    let (into, expected) = (private.folder("bundle")?, published::promised_digest(&found));
    let from = archive.clone();
    let unpacked = tokio::task::spawn_blocking(move || bundle::unpack(&from, &into, expected));
    let unpacked = unpacked.await.map_err(|error| Error::internal("the bundle's reader failed").why(error))??;
    // Twice the space would be needed otherwise.
    fs::remove_file(&archive).map_err(|error| Error::io("can't remove", &archive, &error))?;
    check_recorded(order, &unpacked)?;
    match (&unpacked.digest, &unpacked.manifest) {
        (Some(digest), Some(manifest)) => {
            log.note(&format!(
                "{}, {} files verified, bundle digest {digest}",
                bytes_text(found.size),
                manifest.files.len()
            ));
        }
        _ => log.warning("this bundle has no manifest.json (another program made it): its content is unverified"),
    }
    Ok(unpacked)
}

/// A version that was deployed here before must still be the same bytes.
fn check_recorded(order: &Order, unpacked: &Unpacked) -> Result<()> {
    let Some(recorded) = order.recorded.as_ref().filter(|recorded| recorded.version == order.release.version) else {
        return Ok(());
    };
    if recorded.bundle_digest == unpacked.digest {
        return Ok(());
    }
    let text =
        |digest: Option<crate::digest::Sha256>| digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
    Err(Error::integrity(format!(
        "release {} is not the one that was deployed to `{}`",
        order.release.version, order.environment
    ))
    .why(format!(
        "the ledger has the bundle digest {}, the store {}",
        text(recorded.bundle_digest),
        text(unpacked.digest)
    ))
    .hint("somebody replaced a published release: find out who; deploy a new version"))
}

/// The bundle is of this component and version, and its environment has not moved since.
fn check_bundle<'a>(context: &'a Context, order: &Order, bundle: &Unpacked) -> Result<Accounts<'a>> {
    let facts: Value = serde_json::from_str(&read(&bundle.root, "release.json")?)
        .map_err(|error| Error::integrity("release.json of the bundle can't be read").why(error))?;
    let identity = &order.release.identity;
    let expected = [
        ("team", identity.team.as_str()),
        ("component", identity.component.as_str()),
        ("version", order.release.version.as_str()),
    ];
    for (key, expected) in expected {
        let found = &facts["release"][key];
        if *found != *expected {
            return Err(Error::input(format!(
                "the bundle is not what was asked for: its {key} is {found}, not \"{expected}\""
            ))
            .hint("check `team` and `component` of cdflow.yml; was the bundle copied?"));
        }
    }
    let raw = read(&bundle.root, "account-scheme.json")?;
    let frozen = FrozenAccount::find(&raw, &identity.team, &order.environment)?;
    let (live, _) = context.scheme.account_of(&order.environment)?;
    if frozen.id != live.id || frozen.region != live.region {
        let place =
            |id: &Option<String>, region: &str| format!("account {} in {region}", id.as_deref().unwrap_or("(local)"));
        return Err(Error::input(format!(
            "the environment `{}` has moved since this release was made",
            order.environment
        ))
        .why(format!(
            "it was in {}, the account scheme now says {}",
            place(&frozen.id, &frozen.region),
            place(&live.id, &live.region)
        ))
        .hint("make a new release for the new place, or correct the account scheme"));
    }
    Ok(Accounts { frozen, live })
}

fn read(root: &Path, name: &str) -> Result<String> {
    fs::read_to_string(root.join(name))
        .map_err(|error| Error::integrity(format!("the bundle's {name} can't be read")).why(error))
}

/// The kind of Terraform that made the release, not older than it was then.
async fn locate(context: &Context, bundle: &Unpacked) -> Result<Tool> {
    let manifest = &context.manifest;
    let made_with = bundle.manifest.as_ref().map(|manifest| &manifest.terraform);
    let is_opentofu =
        made_with.map_or(manifest.opentofu_version.is_some(), |made_with| made_with.name == Flavor::OpenTofu.name());
    let tool = match is_opentofu {
        true => Tool::locate(Flavor::OpenTofu, manifest.opentofu_version.as_ref(), &context.host).await?,
        false => Tool::locate(Flavor::Terraform, manifest.terraform_version.as_ref(), &context.host).await?,
    };
    let Some(made_with) = made_with else { return Ok(tool) };
    let then = made_with.version.parse::<semver::Version>();
    if then.is_ok_and(|then| (tool.version.major, tool.version.minor) < (then.major, then.minor)) {
        return Err(Error::input(format!("{} {} is older than the release's", tool.flavor.name(), tool.version))
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

/// The unpacked bundle, made ready for Terraform.
struct Prepared {
    infra: PathBuf,
    init: InitRequest,
    var_file: PathBuf,
    plan_file: PathBuf,
    has_ephemeral: bool,
}

impl Prepared {
    fn plan_request(&self, context: &Context, order: &Order) -> PlanRequest {
        PlanRequest {
            mode: order.mode,
            var_file: self.var_file.clone(),
            plan_file: self.plan_file.clone(),
            targets: order.target.clone(),
            replace: order.replace.clone(),
            lock_timeout: order.plan.lock_timeout.or(context.manifest.deploy.lock_timeout),
            parallelism: order.plan.parallelism,
            has_ephemeral: self.has_ephemeral,
        }
    }
}

fn prepare(
    context: &Context,
    order: &Order,
    private: &PrivateFolder,
    bundle: &Unpacked,
    backend: &Backend,
    account: &FrozenAccount,
) -> Result<Prepared> {
    let root = &bundle.root;
    let infra = root.join("infra");
    if !infra.is_dir() {
        return Err(Error::integrity("the bundle has no infra/"));
    }
    let declared = Declarations::read(&infra, "infra")?;
    let variables = Variables::read(root, &order.environment, account, &context.host.log)?;
    let values = variables.file_for(&declared, &order.environment, &context.host.log)?;
    let var_file = private.file("variables.tfvars.json", Value::Object(values).to_string().as_bytes())?;

    let has_modules = place_modules(root, &infra, bundle.manifest.is_none())?;
    place_reference_files(root, &infra)?;
    write_new(&infra.join(backend::FILE), backend.file().as_bytes())?;
    make_folder(&root.join("providers"))?;
    if let Backend::Local { directory } = backend {
        make_folder(directory)?;
    }
    let init = InitRequest { providers: "../providers", is_locked: infra.join(lockfile::FILE).exists(), has_modules };
    let has_ephemeral = declared.variables.iter().any(|variable| variable.is_ephemeral);
    Ok(Prepared { infra, init, var_file, plan_file: private.path().join("plan"), has_ephemeral })
}

/// `modules/` of the bundle is Terraform's own folder. True when it has an index.
fn place_modules(root: &Path, infra: &Path, is_reference: bool) -> Result<bool> {
    let from = root.join(if is_reference { ".terraform/modules" } else { "modules" });
    let to = infra.join(".terraform/modules");
    if !from.is_dir() {
        return Ok(false);
    }
    make_folder(&infra.join(".terraform"))?;
    fs::rename(&from, &to).map_err(|error| Error::io("can't move", &from, &error))?;
    let index = to.join(modules::INDEX);
    if is_reference && index.is_file() {
        let text = fs::read_to_string(&index).map_err(|error| Error::io("can't read", &index, &error))?;
        fs::write(&index, modules::index_from_reference(&text)?)
            .map_err(|error| Error::io("can't write", &index, &error))?;
    }
    Ok(index.is_file())
}

/// The reference ran init one folder higher: its providers and its lock file are there.
fn place_reference_files(root: &Path, infra: &Path) -> Result<()> {
    let moves = [
        (root.join(".terraform/providers"), root.join("providers")),
        (root.join(lockfile::FILE), infra.join(lockfile::FILE)),
    ];
    for (from, to) in moves {
        if from.exists() && !to.exists() {
            fs::rename(&from, &to).map_err(|error| Error::io("can't move", &from, &error))?;
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::io("can't make the folder", path, &error))
}

/// Two identities: the environment's account for the providers, the release account for the state.
async fn credentials(
    context: &Context,
    order: &Order,
    private: &PrivateFolder,
    account: &Account,
) -> Result<(Option<Arc<Session>>, Option<Endpoint>)> {
    let role = match &account.plan_role {
        Some(plan_role) if order.plan.plan_only => Some(plan_role),
        _ => account.role.as_ref(),
    };
    let session = context.session(account, role.map(String::as_str)).await?;
    let provider = session.as_ref().or(context.release_session.as_ref());
    let state = context.release_session.as_ref().or(session.as_ref());
    let endpoint = match (provider, state) {
        (Some(provider), Some(state)) => {
            Some(Endpoint::start(private.path(), provider.clone(), state.clone(), &context.host.log.redactor).await?)
        }
        _ => None,
    };
    Ok((session, endpoint))
}

/// All that Terraform sees: where to find credentials, never a credential.
fn terraform_env(
    context: &Context,
    private: &PrivateFolder,
    region: &str,
    endpoint: Option<&Endpoint>,
) -> Result<BTreeMap<OsString, OsString>> {
    let mut env = context.host.environment.for_terraform(&context.pass_environment);
    // Nothing is fetched at deploy: only the bundle's providers, which -plugin-dir names, can be found.
    let cli_config = private.file("terraform.rc", b"disable_checkpoint = true\nprovider_installation {\n}\n")?;
    env.insert("TF_CLI_CONFIG_FILE".into(), cli_config.into());
    let Some(endpoint) = endpoint else { return Ok(env) };
    let program =
        std::env::current_exe().map_err(|error| Error::internal("cdflow does not know where it lies").why(error))?;
    let profile = format!(
        "[profile {PROFILE}]\ncredential_process = \"{}\" credential-process \"{}\"\n",
        program.display(),
        endpoint.socket.display()
    );
    env.insert("AWS_CONFIG_FILE".into(), private.file("aws-config", profile.as_bytes())?.into());
    env.insert("AWS_SHARED_CREDENTIALS_FILE".into(), private.file("aws-credentials", b"")?.into());
    env.insert("AWS_CONTAINER_CREDENTIALS_FULL_URI".into(), endpoint.url.clone().into());
    env.insert("AWS_CONTAINER_AUTHORIZATION_TOKEN".into(), endpoint.token.expose().into());
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        env.insert(name.into(), region.into());
    }
    Ok(env)
}

/// True for a workspace that was made just now; None when there is none and nothing to destroy.
async fn enter_workspace(context: &Context, order: &mut Order, terraform: &Initialised) -> Result<Option<bool>> {
    if !terraform.has_workspace().await? {
        if order.mode == PlanMode::Destroy {
            return Ok(None);
        }
        if let Some(refused) = order.missing_state.take() {
            return Err(refused);
        }
        context.host.log.note(&format!("{} is a new environment", order.environment));
        if terraform.create_workspace().await? {
            return Ok(Some(true));
        }
        context.host.log.note("another run has made it at the same time");
    }
    if let Some(refused) = order.refuse_existing_state.take() {
        return Err(refused);
    }
    terraform.select_workspace().await?;
    Ok(Some(false))
}

async fn plan(context: &Context, order: &Order, terraform: &Initialised, request: PlanRequest) -> Result<Plan> {
    context.host.log.step(match order.mode {
        PlanMode::Deploy => "Plan",
        PlanMode::RefreshOnly => "Plan a refresh of the state",
        PlanMode::Destroy => "Plan the destruction",
    });
    terraform.plan(request).await
}

fn summary_of(plan: &Plan) -> String {
    match (plan.has_changes, plan.changes.resources.is_empty()) {
        (false, _) => "no changes".to_owned(),
        (true, true) => format!("{} output(s) or the state alone", plan.changes.outputs.len()),
        (true, false) => plan.changes.counts().to_string(),
    }
}

/// Nothing is changed before the ledger says that it will be.
async fn record_start(
    context: &Context,
    order: &Order,
    plan: &Plan,
    facts: &Facts<'_>,
    account: &FrozenAccount,
) -> Result<Start> {
    context.host.interrupt.check("apply")?;
    let ledger = Ledger::new(&context.store, &context.identity, &order.environment);
    ledger.start(start_entry(context, order, plan, facts, account)).await
}

/// Applies and records. Returns what was done.
async fn carry_out(
    context: &Context,
    order: &Order,
    terraform: &Initialised,
    plan: &Plan,
    entry: &Start,
) -> Result<String> {
    let applied = match plan.has_changes {
        true => {
            context.host.log.step("Apply");
            terraform.apply(plan).await?
        }
        false => Applied { result: Ok(()), in_flight: Vec::new(), errored_state: None },
    };
    let result = settle(context, order, terraform, applied).await;
    let state = match terraform.state().await {
        Ok(state) => state,
        Err(error) => {
            context.host.log.warning(&format!("the state can't be read back: {error}"));
            None
        }
    };
    let result = match (result, order.mode) {
        (Ok(()), PlanMode::Destroy) => leave_workspace(context, order, terraform, state.as_ref()).await,
        (result, _) => result,
    };
    let end = end_entry(context, entry, result.as_ref().err(), state.as_ref());
    if let Err(error) = Ledger::new(&context.store, &context.identity, &order.environment).end(&end).await {
        context
            .host
            .log
            .warning(&format!("the ledger's end entry is lost, so this run will show as unfinished: {error}"));
    }
    result?;
    show_outputs(context, order, state.as_ref());
    Ok(done_text(context, order, plan))
}

/// What an apply left behind is told and, if need be, rescued, before its result counts.
async fn settle(context: &Context, order: &Order, terraform: &Initialised, applied: Applied) -> Result<()> {
    let Applied { result, in_flight, errored_state, .. } = applied;
    if !in_flight.is_empty() {
        context.host.log.warning(&format!(
            "these were under way when Terraform ended, and may exist without being in the state: {}",
            in_flight.join(", ")
        ));
    }
    match errored_state {
        Some(file) => rescue::state(context, order, terraform, &file, result.err()).await,
        None => result,
    }
}

/// An empty workspace is of no use to anybody.
async fn leave_workspace(
    context: &Context,
    order: &Order,
    terraform: &Initialised,
    state: Option<&StateSummary>,
) -> Result<()> {
    if state.is_some_and(|state| state.resources > 0) {
        context.host.log.warning("the state still has resources, so the workspace stays");
        return Ok(());
    }
    if let Err(error) = terraform.delete_workspace().await {
        context.host.log.warning(&format!("the empty workspace `{}` is left: {error}", order.environment));
    }
    Ok(())
}

fn start_entry(context: &Context, order: &Order, plan: &Plan, facts: &Facts<'_>, account: &FrozenAccount) -> Start {
    let environment = &context.host.environment;
    let run_url = || {
        let [server, repository, run] =
            ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"].map(|name| environment.get(name));
        Some(format!("{}/{}/actions/runs/{}", server?, repository?, run?))
    };
    Start {
        format: Start::FORMAT,
        number: Start::UNNUMBERED,
        action: order.action,
        version: order.release.version.clone(),
        bundle_digest: facts.bundle.digest,
        account: facts.account_id.clone(),
        region: account.region.clone(),
        plan: plan.changes.counts(),
        terraform: format!("{} {}", facts.tool.flavor.name(), facts.tool.version),
        cdflow: env!("CARGO_PKG_VERSION").to_owned(),
        actor: ["GITHUB_ACTOR", "USER"].iter().find_map(|name| environment.get(name)).map(str::to_owned),
        run_url: run_url(),
        started: Timestamp::now(),
    }
}

fn end_entry(context: &Context, start: &Start, error: Option<&Error>, state: Option<&StateSummary>) -> End {
    let outcome = match error.map(Error::exit) {
        None => Outcome::Succeeded,
        Some(Exit::Interrupted | Exit::Terminated) => Outcome::Interrupted,
        Some(_) => Outcome::Failed,
    };
    End {
        format: Start::FORMAT,
        number: start.number,
        outcome,
        state_serial: state.map(|state| state.serial),
        state_lineage: state.map(|state| state.lineage.clone()),
        reason: error.map(|error| context.host.log.redactor.apply(&error.to_string()).into_owned()),
        finished: Timestamp::now(),
    }
}

fn show_outputs(context: &Context, order: &Order, state: Option<&StateSummary>) {
    let Some(state) = state.filter(|_| order.mode != PlanMode::Destroy) else { return };
    if state.outputs.is_empty() && state.sensitive_outputs.is_empty() {
        return;
    }
    context.host.log.step("Outputs");
    for (name, value) in &state.outputs {
        context.host.log.output(&format!("{name} = {value}"));
    }
    for name in &state.sensitive_outputs {
        context.host.log.output(&format!("{name} = (sensitive)"));
    }
}

fn done_text(context: &Context, order: &Order, plan: &Plan) -> String {
    let counts = plan.changes.counts();
    let what = format!("{} added, {} changed, {} destroyed", counts.add, counts.change, counts.destroy);
    let (component, version, environment) = (&context.identity.component, &order.release.version, &order.environment);
    match order.mode {
        PlanMode::Deploy if !plan.has_changes => format!("Deployed {component} {version} to {environment}: no changes"),
        PlanMode::Deploy => format!("Deployed {component} {version} to {environment}: {what}"),
        PlanMode::RefreshOnly => format!("Refreshed the state of {component} in {environment}"),
        PlanMode::Destroy => format!("Destroyed {component} in {environment}: {} destroyed", counts.destroy),
    }
}
