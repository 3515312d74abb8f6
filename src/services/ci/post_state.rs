//! The state that a step of the container Action saves for its post step (`post-entrypoint`).
//!
//! The runner kills `docker run` ten seconds after a cancel, and the container goes on. While a run
//! lasts, the step's state names its container; a run that ends clears the name. So a remaining
//! name belongs to a run that did not end in time.

use jiff::Timestamp;

use super::own_container;
use crate::{
    base::{error::Result, log::Log, process_env::ProcessEnv},
    services::ci::runner_files::RunnerFiles,
};

const CONTAINER: &str = "container";
const CANCELLED: &str = "cancelled";

/// The state of the current step.
#[derive(Clone)]
pub(crate) struct Handover {
    environment: ProcessEnv,
    log: Log,
    container: Option<String>,
}

/// A run that did not end before its post step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftBehind {
    pub(crate) container: String,
    /// Time of the cancellation, in seconds since 1970.
    pub(crate) cancelled: Option<i64>,
}

impl Handover {
    /// Saves the container's ID. Does nothing outside of a container on Actions, or if this is not
    /// a step; later calls then do nothing either.
    pub(crate) fn begin(environment: &ProcessEnv, log: &Log, is_step: bool) -> Self {
        let is_step = is_step
            && environment.get("GITHUB_ACTIONS") == Some("true")
            && environment.get("GITHUB_STATE").is_some();
        let container = if is_step { own_container::own_id(environment) } else { None };
        let handover = Self { environment: environment.clone(), log: log.clone(), container };
        handover.say(CONTAINER, handover.container.as_deref().unwrap_or_default());
        handover
    }

    pub(crate) fn cancelled(&self) {
        self.say(CANCELLED, &Timestamp::now().as_second().to_string());
    }

    pub(crate) fn end(&self) {
        self.say(CONTAINER, "");
    }

    fn say(&self, name: &str, value: &str) {
        if self.container.is_some()
            && let Err(error) = self.save(name, value)
        {
            self.log.warning(&format!(
                "nothing would wait for this step's end if it is cancelled: {error}"
            ));
        }
    }

    fn save(&self, name: &str, value: &str) -> Result<()> {
        RunnerFiles::of(&self.environment, &self.log.redactor).save_state(name, value)
    }
}

impl LeftBehind {
    /// Reads the state that the runner passes to the post step.
    pub(crate) fn read(environment: &ProcessEnv) -> Option<Self> {
        let container =
            environment.get("STATE_container").filter(|id| own_container::is_id(id))?.to_owned();
        let cancelled = environment.get("STATE_cancelled").and_then(|seconds| seconds.parse().ok());
        Some(Self { container, cancelled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<LeftBehind> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        LeftBehind::read(&ProcessEnv::new(variables))
    }

    #[test]
    fn what_was_left() {
        let container = "3f5ae2b1c0d9".to_owned();
        assert_eq!(
            read(&[("STATE_container", "3f5ae2b1c0d9"), ("STATE_cancelled", "1700000000")]),
            Some(LeftBehind { container: container.clone(), cancelled: Some(1_700_000_000) })
        );
        assert_eq!(
            read(&[("STATE_container", "3f5ae2b1c0d9"), ("STATE_cancelled", "soon")]),
            Some(LeftBehind { container, cancelled: None })
        );
        // Taken back; not ours.
        assert_eq!(read(&[("STATE_container", ""), ("STATE_cancelled", "1")]), None);
        assert_eq!(read(&[("STATE_container", "../../info")]), None);
    }
}
