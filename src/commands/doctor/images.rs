//! What images are built with, where they go, and whether we may put them there.

use super::findings::Report;
use crate::{
    base::error::{Error, Exit, Result},
    config::{
        identity::Identity,
        scheme::{AccountScheme, ImageRegistry},
    },
    services::{
        aws::{ecr::Ecr, session::Session},
        ci::host::Host,
        docker::engine::{Endpoint, Engine},
        registry::{
            Registry, is_local,
            logins::{Login, Logins},
        },
    },
};

const CHECK: &str = "image repository";

pub(crate) async fn engine(report: &mut Report, host: &Host) {
    let connected = Engine::connect(host).await;
    let Some(engine) = report.take("docker engine", connected) else { return };
    let Some(endpoint) = report.take("docker engine", Endpoint::find(&host.environment)) else {
        return;
    };
    report.ok("docker engine", format!("at {endpoint}, {}", engine.builder));
}

pub(crate) async fn repository(
    report: &mut Report,
    scheme: &AccountScheme,
    identity: &Identity,
    session: Option<&Session>,
    host: &Host,
) {
    let name = identity.component.as_str();
    let Some(registry) = report.take(CHECK, scheme.image_registry()) else { return };
    match registry {
        ImageRegistry::Host(at) => {
            let Some(login) = report.take(CHECK, login(&at, host).await) else { return };
            push(report, &at, name, login).await;
        }
        ImageRegistry::Ecr { account_id } => {
            let Some(session) = session else {
                return report.skip(CHECK, "there is no release role to reach ECR with");
            };
            let ecr = Ecr::new(&session.config, account_id, scheme.default_region.clone());
            let Some(found) = report.take(CHECK, ecr.find(name).await) else { return };
            let Some(login) = report.take(CHECK, ecr.login(&host.log.redactor).await) else {
                return;
            };
            match found {
                None => report.ok(
                    CHECK,
                    format!("{}/{name} does not exist: the first release makes it", ecr.host()),
                ),
                Some(_) => push(report, &ecr.host(), name, Some(login)).await,
            }
        }
    }
}

async fn push(report: &mut Report, at: &str, repository: &str, login: Option<Login>) {
    let Some(registry) = report.take(CHECK, Registry::new(at, login)) else { return };
    let asked = match registry.may_push(repository).await {
        Err(error) if error.exit() == Exit::Unavailable && is_local(at) => {
            Err(nobody_there(at, error).await)
        }
        asked => asked,
    };
    match report.take(CHECK, asked) {
        Some(true) => report.ok(CHECK, format!("{at}/{repository}, and we may push to it")),
        Some(false) => {
            let error = Error::input(format!("there is no repository {at}/{repository}"));
            report.take(
                CHECK,
                Err::<(), _>(error.hint("make it: this registry takes no image without one")),
            );
        }
        None => {}
    }
}

/// Whoever tries things out on one machine has often not started it, or looks for it from inside a container.
async fn nobody_there(at: &str, error: Error) -> Error {
    let port = at.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let address = port.map_or_else(|| format!("{at}:80"), |_| at.to_owned());
    if tokio::net::TcpStream::connect(&address).await.is_ok() {
        return error;
    }
    error.hint(format!("nobody listens there: start a registry, docker run --detach --publish 127.0.0.1:{}:5000 registry:2", port.unwrap_or(80)))
        .hint("inside a container `localhost` is the container: give it the host's network, or set another `image-registry`")
}

async fn login(at: &str, host: &Host) -> Result<Option<Login>> {
    Logins::gather(&[], &host.environment, &host.log.redactor)?.for_host(at, host).await
}
