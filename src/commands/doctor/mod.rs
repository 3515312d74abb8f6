//! doctor: one report on everything that a release or a deploy needs. Every check runs, also after others have failed; nothing
//! is written anywhere.

use std::{collections::BTreeMap, path::Path};

use self::findings::Report;
use crate::{
    base::error::Result,
    cli::args::{DoctorInputs, Global},
    config::{
        component::{self, ComponentType, Manifest},
        names::Component,
    },
    context::{self, LoadedScheme, SchemeUpgrade},
    services::{aws::session::RootSession, ci::host::Host},
    terraform::code::variables::SECRETS,
};

mod access;
mod files;
mod findings;
mod github;
mod images;
mod places;
mod terraform;

pub(crate) async fn run(global: &Global, inputs: &DoctorInputs, host: &Host) -> Result<()> {
    let folder = context::working_directory(global)?;
    let report = examine(global, inputs, host, &folder).await;
    match inputs.json {
        true => host.log.json(&report.document()),
        false => report.lines().iter().for_each(|line| host.log.output(line)),
    }
    report.verdict().inspect(|good| host.log.done(good)).map(|_| ())
}

async fn examine(global: &Global, inputs: &DoctorInputs, host: &Host, folder: &Path) -> Report {
    let mut report = Report::default();
    github::token(&mut report, global, host).await;
    let manifest = report.take(component::FILE, context::read_manifest(folder));
    let manifest =
        manifest.map(|(manifest, _)| manifest.with_terraform(global.terraform_version.as_ref()));
    if let Some(manifest) = &manifest {
        let kind = match manifest.kind {
            ComponentType::Infrastructure => "infrastructure",
            ComponentType::Lambda => "lambda",
            ComponentType::Docker => "docker",
            ComponentType::Function => "function",
        };
        report.ok(component::FILE, format!("{kind} of the team {}", manifest.team));
    }
    let declared = files::code(&mut report, folder);
    files::config(&mut report, folder);
    let root = files::checkout(&mut report, folder, host).await;
    let Some(manifest) = &manifest else {
        for check in
            ["component", "terraform", "account scheme", "identity", "release role", "environments"]
        {
            report.skip(check, "cdflow.yml can't be read");
        }
        report.skip("stores, state and secrets", "cdflow.yml can't be read");
        return report;
    };
    let component =
        report.take("component", context::component_name(global, manifest, folder, host).await);
    let component = component.map(|(component, source)| {
        report.ok("component", format!("{component}, by {source}"));
        component
    });
    if manifest.kind.has_image() {
        images::engine(&mut report, host).await;
    }
    if manifest.kind == ComponentType::Function {
        files::functions(&mut report, manifest, folder, host);
    }
    if let (ComponentType::Lambda, Some(component)) = (manifest.kind, &component) {
        files::function(&mut report, manifest, component, folder, root.as_deref());
    }
    let tool = report.take("terraform", context::locate_tool(manifest, host).await);
    if let Some(tool) = &tool {
        report.ok(
            "terraform",
            format!("{} {} (`{}`)", tool.flavor.name(), tool.version, tool.program.display()),
        );
    }
    terraform::lock_file(&mut report, folder);

    let url = &manifest.account_scheme_url;
    let mut first = report.take("identity", context::first_session(url, &global.aws, host).await);
    let side = match (&component, &mut first) {
        (None, _) => not_read(&mut report, "the component has no name"),
        (_, None) => not_read(&mut report, "there is no identity to read it with"),
        (Some(component), Some(root)) => {
            let reading = scheme_in_use(global, manifest, component, folder, root, host);
            report.take("account scheme", reading.await)
        }
    };
    let (Some((LoadedScheme { scheme, identity, url }, upgrade)), Some(first)) = (side, first)
    else {
        for check in ["release role", "environments", "stores, state and secrets"] {
            report.skip(check, "the account scheme is not read");
        }
        return report;
    };
    match upgrade {
        SchemeUpgrade::None => report.ok("account scheme", url.to_string()),
        SchemeUpgrade::From(old) => report.warning(
            "account scheme",
            format!("{url}, to which {} has moved this component", old.url),
            format!("set `account-scheme-url` in cdflow.yml to {url} when every environment is deployed by it"),
        ),
        SchemeUpgrade::Postponed(new) => report.warning(
            "account scheme",
            format!("{url}, the old one; this component has moved to {}", new.url),
            "leave --old-account-scheme out",
        ),
    }
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
        Some(environment) => match report.take("environments", scheme.account_of(environment)) {
            Some((account, _)) => {
                BTreeMap::from([(account.alias.as_str(), (account, vec![environment.as_str()]))])
            }
            None => BTreeMap::new(),
        },
    };
    let sessions = access::environments(&mut report, &accounts, root.as_ref()).await;
    places.classic_states(&mut report, &sessions).await;
    if declared
        .is_some_and(|declared| declared.variables.iter().any(|variable| variable.name == SECRETS))
    {
        let environment = inputs.environment.as_ref();
        access::secrets(&mut report, manifest, &identity, environment, sessions.first(), host)
            .await;
    }
    report
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

fn not_read<T>(report: &mut Report, because: &str) -> Option<T> {
    report.skip("account scheme", because);
    None
}
