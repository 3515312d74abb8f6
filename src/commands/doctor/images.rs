//! Checks of the Docker engine and the image repository.

use super::report::DoctorReport;
use crate::{
    base::error::{Error, Exit, Result},
    config::{
        identity::Identity,
        scheme::{AccountScheme, ImageRegistry},
    },
    services::{
        aws::{ecr::Ecr, session::Session},
        ci::host::Host,
        docker::engine::{Engine, EngineAddress},
        registry::{Registry, is_local, login::Login, logins::Logins},
    },
};

const CHECK: &str = "image repository";

pub(crate) async fn engine(report: &mut DoctorReport, host: &Host) {
    let connected = Engine::connect(host).await;
    let Some(engine) = report.record_error("docker engine", connected) else { return };
    let Some(endpoint) =
        report.record_error("docker engine", EngineAddress::find(&host.environment))
    else {
        return;
    };
    report.ok("docker engine", format!("at {endpoint}, {}", engine.builder));
}

/// Checks that the image repository exists, or will be created, and accepts a push.
pub(crate) async fn repository(
    report: &mut DoctorReport,
    scheme: &AccountScheme,
    identity: &Identity,
    session: Option<&Session>,
    host: &Host,
) {
    let name = identity.component.as_str();
    let Some(registry) = report.record_error(CHECK, scheme.image_registry()) else { return };
    match registry {
        ImageRegistry::Host(at) => {
            let Some(login) = report.record_error(CHECK, login(&at, host).await) else { return };
            push(report, &at, name, login).await;
        }
        ImageRegistry::Ecr { account_id } => {
            let Some(session) = session else {
                return report.skip(CHECK, "no release role to access ECR with");
            };
            let ecr = Ecr::new(&session.config, account_id, scheme.default_region.clone());
            let Some(found) = report.record_error(CHECK, ecr.find(name).await) else { return };
            let Some(login) = report.record_error(CHECK, ecr.login(&host.log.redactor).await)
            else {
                return;
            };
            match found {
                None => report.ok(
                    CHECK,
                    format!(
                        "{}/{name} does not exist yet: the first release creates it",
                        ecr.host()
                    ),
                ),
                Some(_) => push(report, &ecr.host(), name, Some(login)).await,
            }
        }
    }
}

/// Asks the registry at `at` whether a push is allowed, without pushing.
async fn push(report: &mut DoctorReport, at: &str, repository: &str, login: Option<Login>) {
    let Some(registry) = report.record_error(CHECK, Registry::new(at, login)) else { return };
    let answer = match registry.may_push(repository).await {
        Err(error) if error.exit() == Exit::Unavailable && is_local(at) => {
            Err(with_local_advice(at, error).await)
        }
        answer => answer,
    };
    match report.record_error(CHECK, answer) {
        Some(true) => report.ok(CHECK, format!("{at}/{repository}, push allowed")),
        Some(false) => {
            let error = Error::input(format!("the repository {at}/{repository} does not exist"));
            report.record_error(
                CHECK,
                Err::<(), _>(error.hint("create it: this registry does not create it on push")),
            );
        }
        None => {}
    }
}

/// Adds the usual fixes if no registry listens at `at` on this machine.
async fn with_local_advice(at: &str, error: Error) -> Error {
    let port = at.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let address = port.map_or_else(|| format!("{at}:80"), |_| at.to_owned());
    if tokio::net::TcpStream::connect(&address).await.is_ok() {
        return error;
    }
    let port = port.unwrap_or(80);
    error
        .hint(format!(
            "start a registry, because nothing listens there: \
             docker run --detach --publish 127.0.0.1:{port}:5000 registry:2"
        ))
        .hint(
            "use the host's network or another `image-registry` if cdflow runs in a container: \
             `localhost` is the container itself",
        )
}

async fn login(at: &str, host: &Host) -> Result<Option<Login>> {
    Logins::gather(&[], &host.environment, &host.log.redactor)?.for_host(at, host).await
}
