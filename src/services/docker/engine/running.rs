//! A container that another process started: whether it runs, its log and its exit code.

use std::pin::pin;

use bollard::{
    container::LogOutput,
    errors::Error as Failure,
    query_parameters::{InspectContainerOptions, LogsOptionsBuilder, WaitContainerOptions},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::connection::{Engine, lost};
use crate::base::{
    error::{Error, Exit, Result},
    limits::Limit,
};

pub(crate) struct Running<'e> {
    engine: &'e Engine,
    id: &'e str,
}

impl Engine {
    /// None when the engine knows no such container, or none that runs.
    pub(crate) async fn running<'e>(&'e self, id: &'e str) -> Result<Option<Running<'e>>> {
        let asking = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let asked = timeout(Limit::EngineAnswer.time(), asking).await.map_err(|_| {
            Error::new(Exit::Unavailable, "the engine does not say whether a container runs")
                .why(Limit::EngineAnswer.passed("no answer"))
                .hint("try again")
        });
        let found = match asked? {
            Ok(found) => found,
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            Err(failure) => return Err(lost("it was asked for a container", &failure)),
        };
        let runs = found.state.and_then(|state| state.running) == Some(true);
        Ok(runs.then_some(Running { engine: self, id }))
    }
}

impl Running<'_> {
    /// Waits for the container's end. Returns its exit code, or None if it was removed before the
    /// engine could report one.
    pub(crate) async fn ended(&self) -> Result<Option<i64>> {
        let mut waited =
            pin!(self.engine.docker.wait_container(self.id, None::<WaitContainerOptions>));
        match waited.next().await {
            Some(Ok(ended)) => Ok(Some(ended.status_code)),
            // bollard's word for an exit code above 0.
            Some(Err(Failure::DockerContainerWaitError { code, .. })) => Ok(Some(code)),
            Some(Err(Failure::DockerResponseServerError { status_code: 404, .. })) | None => {
                Ok(None)
            }
            Some(Err(failure)) => Err(lost("a container was waited for", &failure)),
        }
    }

    /// Each line that it has said since then (seconds since 1970), and says from now on, until it
    /// ends.
    pub(crate) async fn follow(
        &self,
        since: i64,
        sink: &mut (dyn FnMut(&str) + Send),
    ) -> Result<()> {
        let since = i32::try_from(since).unwrap_or_default();
        let options =
            LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).since(since).build();
        let mut said = pin!(self.engine.docker.logs(self.id, Some(options)));
        let mut partial = Vec::new();
        while let Some(piece) = said.next().await {
            let piece = piece
                .map(LogOutput::into_bytes)
                .map_err(|failure| lost("a log was read", &failure))?;
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
