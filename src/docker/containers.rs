//! A container that was started by somebody else: whether it runs, what it says, how it ends.

use std::{pin::pin, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    container::LogOutput,
    errors::Error as Failure,
    query_parameters::{LogsOptionsBuilder, WaitContainerOptions},
};
use futures_util::StreamExt;

use crate::{
    environment::Environment,
    error::{Error, Exit, Result},
};

/// Where the runner mounts the engine's socket.
const SOCKET: &str = "/var/run/docker.sock";
/// An engine that is there answers at once; the wait for an end is not one answer.
const TIMEOUT: Duration = Duration::from_secs(300);
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// One that the engine knows.
pub(crate) struct Container {
    docker: Docker,
    id: String,
}

impl Container {
    /// None when the engine has no such container, or none that runs.
    pub(crate) async fn running(environment: &Environment, id: &str) -> Result<Option<Self>> {
        let named = environment.get("DOCKER_HOST").and_then(|host| host.strip_prefix("unix://")).unwrap_or(SOCKET);
        let connect = async {
            let docker = Docker::connect_with_unix(named, TIMEOUT.as_secs(), API_DEFAULT_VERSION)?;
            let docker = docker.negotiate_version().await?;
            let inspected = docker.inspect_container(id, None).await;
            Ok((docker, inspected))
        };
        let answered = tokio::time::timeout(FIRST_ANSWER, connect).await.unwrap_or(Err(Failure::RequestTimeoutError));
        let (docker, inspected) = answered.map_err(|failure| unanswered(named, &failure))?;
        match inspected {
            Ok(found) if found.state.as_ref().and_then(|state| state.running) == Some(true) => {
                Ok(Some(Self { docker, id: id.to_owned() }))
            }
            Ok(_) | Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(failure) => Err(unanswered(named, &failure)),
        }
    }

    /// Waits for its end. The exit code, unless it was gone before the engine could tell.
    pub(crate) async fn ended(&self) -> Result<Option<i64>> {
        let mut waited = pin!(self.docker.wait_container(&self.id, None::<WaitContainerOptions>));
        match waited.next().await {
            Some(Ok(ended)) => Ok(Some(ended.status_code)),
            Some(Err(Failure::DockerContainerWaitError { code, .. })) => Ok(Some(code)),
            Some(Err(Failure::DockerResponseServerError { status_code: 404, .. })) | None => Ok(None),
            Some(Err(failure)) => Err(unanswered(SOCKET, &failure)),
        }
    }

    /// Each line that it has said since then (seconds since 1970), and says from now on, until it ends.
    pub(crate) async fn follow(&self, since: i64, sink: &mut (dyn FnMut(&str) + Send)) -> Result<()> {
        let since = i32::try_from(since).unwrap_or_default();
        let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).since(since).build();
        let mut said = pin!(self.docker.logs(&self.id, Some(options)));
        let mut partial = Vec::new();
        while let Some(piece) = said.next().await {
            let piece = piece.map(LogOutput::into_bytes).map_err(|failure| unanswered(SOCKET, &failure))?;
            for part in piece.split_inclusive(|byte| *byte == b'\n') {
                partial.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    sink(String::from_utf8_lossy(&partial).trim_end());
                    partial.clear();
                }
            }
        }
        if !partial.is_empty() {
            sink(&String::from_utf8_lossy(&partial));
        }
        Ok(())
    }
}

fn unanswered(socket: &str, failure: &Failure) -> Error {
    Error::new(Exit::Unavailable, format!("the Docker engine at `{socket}` does not answer"))
        .why(crate::aws::failure::chain(failure))
}
