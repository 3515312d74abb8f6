//! doctor: checks everything that a release or a deploy needs. Every check runs, even after others
//! have failed, and none writes anything.

use std::{collections::BTreeMap, path::Path};

use self::report::DoctorReport;
use crate::{
    base::{authorities, error::Result},
    cli::args::{DoctorInputs, Global},
    config::{
        component::{self, ComponentType, Manifest},
        names::Component,
        scheme::AccountScheme,
    },
    context::{self, LoadedScheme, SchemeUpgrade, ToolWishes},
    release::namesakes,
    services::{aws::session::RootSession, ci::host::Host},
    terraform::code::{files::Dialect, variables::SECRETS},
};

mod access;
mod cache;
mod environment;
mod files;
mod github;
mod images;
mod places;
mod plans;
mod powers;
pub(super) mod report;
mod terraform;
mod workflow_rules;
mod workflow_scripts;
mod workflows;

/// Prints the findings; the error says how many are problems.
pub(crate) async fn run(global: &Global, inputs: &DoctorInputs, host: &Host) -> Result<()> {
    let folder = context::working_directory(global)?;
    let report = examine(global, inputs, host, &folder).await;
    match inputs.json {
        true => host.log.json(&report.document()),
        false => report.lines(host.screen()).iter().for_each(|line| host.log.output(line)),
    }
    report.verdict().inspect(|good| host.log.done(good)).map(|_| ())
}

async fn examine(
    global: &Global,
    inputs: &DoctorInputs,
    host: &Host,
    folder: &Path,
) -> DoctorReport {
    let mut report = DoctorReport::default();
    certificates(&mut report);
    github::token(&mut report, global, host).await;
    let manifest = report.record_error(component::FILE, context::read_manifest(folder));
    let mut manifest = manifest.map(|(manifest, _)| manifest);
    let found = match &manifest {
        Some(manifest) => Some(find(global, manifest, folder, host).await),
        None => None,
    };
    let scheme = found.as_ref().and_then(Found::scheme);
    let wishes = manifest.as_ref().map(|manifest| wishes(global, manifest, scheme, folder, host));
    let flavor = wishes.as_ref().and_then(|wishes| wishes.as_ref().ok()).map(|it| it.flavor);
    let dialect = flavor.map_or(Dialect::Terraform, Dialect::of_flavor);
    if let (Some(manifest), Some(scheme)) = (&mut manifest, scheme) {
        defaults(&mut report, manifest, scheme);
    }
    if let Some(manifest) = &manifest {
        let kind = match manifest.kind {
            ComponentType::Infrastructure => "infrastructure",
            ComponentType::Lambda => "lambda",
            ComponentType::Docker => "docker",
            ComponentType::Function => "function",
        };
        report.ok(component::FILE, format!("{kind} of the team {}", manifest.team));
    }
    let declared = files::code(&mut report, folder, dialect);
    files::config(&mut report, folder, declared.as_ref());
    let root = files::checkout(&mut report, folder, host).await;
    workflows::workflows(&mut report, root.as_deref(), manifest.as_ref());
    let (Some(manifest), Some(found), Some(wishes)) = (&manifest, found, wishes) else {
        for check in
            ["component", "terraform", "account scheme", "identity", "release role", "environments"]
        {
            report.skip(check, "cdflow.yml is missing or invalid");
        }
        report.skip("stores, state and secrets", "cdflow.yml is missing or invalid");
        return report;
    };
    let Found { component, first, side } = found;
    let component = report.record_error("component", component).map(|(component, source)| {
        report.ok("component", format!("{component}, from {source}"));
        component
    });
    if manifest.kind.has_image() {
        images::engine(&mut report, host).await;
    }
    if manifest.kind == ComponentType::Function {
        files::rust_function(&mut report, manifest, folder, host);
    }
    if let (ComponentType::Lambda, Some(component)) = (manifest.kind, &component) {
        files::lambda_function(&mut report, manifest, component, folder, root.as_deref());
    }
    let tool = terraform::tool(&mut report, wishes, declared.as_ref(), host).await;
    terraform::platforms(&mut report, manifest);
    terraform::lock_file(&mut report, folder, declared.as_ref(), manifest);
    cache::files(&mut report, global.cache_dir.as_ref(), &host.environment);

    let first = report.record_error("identity", first);
    let side = match (&component, &first, side) {
        (None, ..) => skip_scheme(&mut report, "the component has no name"),
        (_, None, _) | (_, _, None) => skip_scheme(&mut report, "no identity to read it with"),
        (Some(_), Some(_), Some(read)) => report.record_error("account scheme", read),
    };
    let (Some((LoadedScheme { scheme, identity, url }, upgrade)), Some(first)) = (side, first)
    else {
        for check in ["release role", "environments", "stores, state and secrets"] {
            report.skip(check, "the account scheme is missing or invalid");
        }
        return report;
    };
    match upgrade {
        SchemeUpgrade::None => report.ok("account scheme", url.to_string()),
        SchemeUpgrade::From(old) => report.warning(
            "account scheme",
            format!("{url}; {} has moved this component there", old.url),
            format!(
                "deploy every environment with it, then set `account-scheme-url` in cdflow.yml \
                 to {url}"
            ),
        ),
        SchemeUpgrade::Postponed(new) => report.warning(
            "account scheme",
            format!("{url}, the old one; the component has moved to {}", new.url),
            "remove --old-account-scheme",
        ),
    }
    files::config_of(&mut report, folder, &scheme);
    if let Some(root) = &root {
        let scheme = &manifest.account_scheme_url;
        let own = namesakes::Own { folder, root, identity: &identity, scheme };
        files::namesakes(&mut report, &own, host).await;
    }
    terraform::mirror_keys(&mut report, &scheme);
    let root = access::identity(&mut report, &scheme, first, global, host).await;
    let release = access::release_role(&mut report, &scheme, root.as_ref()).await;
    let places =
        places::Places { scheme: &scheme, identity: &identity, session: release.as_deref() };
    places.releases(&mut report).await;
    if manifest.kind == ComponentType::Lambda {
        places.lambda(&mut report, manifest.multi_region).await;
    }
    if manifest.kind.has_image() {
        images::repository(&mut report, &scheme, &identity, release.as_deref(), host).await;
    }
    places.state(&mut report, tool.as_ref()).await;
    let accounts = match &inputs.environment {
        None => access::accounts(&scheme),
        Some(environment) => match report
            .record_error("environments", scheme.account_of(environment))
        {
            Some((account, _)) => {
                if let Some(near) = scheme.spelled_nearly(environment) {
                    report.warning(
                        "environments",
                        format!("only \"*\" of the account scheme matches `{environment}`"),
                        format!("did you mean `{near}`?"),
                    );
                }
                BTreeMap::from([(account.alias.as_str(), (account, vec![environment.as_str()]))])
            }
            None => BTreeMap::new(),
        },
    };
    let sessions = access::environments(&mut report, &accounts, root.as_ref()).await;
    powers::powers(&mut report, &scheme, manifest, &accounts);
    places.classic_states(&mut report, &sessions.deploy).await;
    let (deploy, plan) = (sessions.deploy.first(), sessions.plan.first());
    let of_environment = accounts.values().next().filter(|_| inputs.environment.is_some());
    let check = plans::PlanKeyCheck {
        scheme: &scheme,
        identity: &identity,
        manifest,
        environment: inputs.environment.as_ref(),
        deploy,
        has_plan_role: of_environment.is_some_and(|(account, _)| account.plan_role.is_some()),
        plan,
    };
    check.run(&mut report).await;
    if let Some(environment) = &inputs.environment {
        let checks = environment::EnvironmentChecks {
            scheme: &scheme,
            identity: &identity,
            manifest,
            environment,
            release: release.as_ref(),
            account: deploy,
        };
        checks.run(&mut report).await;
    }
    if declared.is_some_and(|declared| declared.may_declare(SECRETS)) {
        let environment = inputs.environment.as_ref();
        access::secrets(&mut report, manifest, &identity, environment, deploy, host).await;
    }
    report
}

fn certificates(report: &mut DoctorReport) {
    let count = authorities::count();
    if count > 0 {
        report.ok("certificates", format!("{count} added by `ca-certificates`"));
    }
}

/// What is read before the other checks, because they depend on the account scheme's `defaults`.
struct Found {
    component: Result<(Component, &'static str)>,
    first: Result<Option<RootSession>>,
    /// None without one of the others.
    side: Option<Result<(LoadedScheme, SchemeUpgrade)>>,
}

impl Found {
    fn scheme(&self) -> Option<&AccountScheme> {
        let (loaded, _) = self.side.as_ref()?.as_ref().ok()?;
        Some(&loaded.scheme)
    }
}

async fn find(global: &Global, manifest: &Manifest, folder: &Path, host: &Host) -> Found {
    let component = context::component_name(global, manifest, folder, host).await;
    let url = &manifest.account_scheme_url;
    let mut first = context::first_session(url, &global.aws, host).await;
    let side = match (&component, &mut first) {
        (Ok((component, _)), Ok(root)) => {
            Some(scheme_in_use(global, manifest, component, folder, root, host).await)
        }
        _ => None,
    };
    Found { component, first, side }
}

/// Returns which Terraform or OpenTofu the component asks for, as every command decides it.
fn wishes(
    global: &Global,
    manifest: &Manifest,
    scheme: Option<&AccountScheme>,
    folder: &Path,
    host: &Host,
) -> Result<ToolWishes> {
    let wishes = ToolWishes::read(global, manifest, folder, &host.log)?;
    Ok(match scheme {
        Some(scheme) => wishes.or_default(manifest, scheme),
        None => wishes,
    })
}

/// Fills in the account scheme's `defaults`, as every command does.
fn defaults(report: &mut DoctorReport, manifest: &mut Manifest, scheme: &AccountScheme) {
    let filled = scheme.defaults.fill(manifest, &scheme.file);
    match report.record_error("defaults", filled).as_deref() {
        None | Some([]) => {}
        Some(keys) => report.ok("defaults", format!("{}: {}", scheme.file, keys.join(", "))),
    }
}

async fn scheme_in_use(
    global: &Global,
    manifest: &Manifest,
    component: &Component,
    folder: &Path,
    root: &mut Option<RootSession>,
    host: &Host,
) -> Result<(LoadedScheme, SchemeUpgrade)> {
    let url = &manifest.account_scheme_url;
    let named = context::load(url, folder, &manifest.team, component, root.as_ref()).await?;
    context::follow_upgrade(named, global, folder, root, host).await
}

fn skip_scheme<T>(report: &mut DoctorReport, because: &str) -> Option<T> {
    report.skip("account scheme", because);
    None
}
