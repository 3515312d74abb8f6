//! The state that a step of the Action saves for its post step.
//!
//! The runner kills `docker run` or node ten seconds after a cancel, and cdflow continues to run.
//! While a run lasts, the step's state names its container, or its folder on the runner; at the end
//! of a run the name is cleared. So a remaining name belongs to a run that did not end in time.

use std::{fs::File, sync::Arc};

use jiff::Timestamp;

use super::{own_container, step_folder::StepFolder};
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
    place: Option<Place>,
}

/// Where the post step finds the run.
#[derive(Clone)]
enum Place {
    /// By the ID in the step's state, for the container Action.
    Container,
    /// For the Action on the runner, whose node saves and clears the name. The open file shows that
    /// the run lasts.
    Folder(StepFolder, #[expect(dead_code, reason = "kept open")] Arc<File>),
}

/// A run that did not end before its post step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LeftBehind {
    /// With the time of the cancellation, in seconds since 1970.
    Container {
        id: String,
        cancelled: Option<i64>,
    },
    Folder(StepFolder),
}

impl Handover {
    /// Saves where the run is. Does nothing outside of Actions, or if this is not a step; later
    /// calls then do nothing either.
    pub(crate) fn begin(environment: &ProcessEnv, log: &Log, is_step: bool) -> Self {
        let mut handover = Self { environment: environment.clone(), log: log.clone(), place: None };
        let is_step = is_step
            && environment.get("GITHUB_ACTIONS") == Some("true")
            && environment.get("GITHUB_STATE").is_some();
        if !is_step {
            return handover;
        }
        // First the folder: a runner can itself be in a container, which outlives its steps.
        if let Some(folder) = StepFolder::of(environment) {
            match folder.begin() {
                Ok(file) => handover.place = Some(Place::Folder(folder, Arc::new(file))),
                Err(error) => handover.check(Err(error)),
            }
        } else if let Some(id) = own_container::own_id(environment) {
            handover.check(handover.save(CONTAINER, &id));
            handover.place = Some(Place::Container);
        }
        handover
    }

    pub(crate) fn cancelled(&self) {
        self.check(match &self.place {
            None => Ok(()),
            Some(Place::Container) => {
                self.save(CANCELLED, &Timestamp::now().as_second().to_string())
            }
            Some(Place::Folder(folder, _)) => folder.cancelled(),
        });
    }

    pub(crate) fn end(&self, exit: u8) {
        self.check(match &self.place {
            None => Ok(()),
            Some(Place::Container) => self.save(CONTAINER, ""),
            Some(Place::Folder(folder, _)) => folder.end(exit),
        });
    }

    fn check(&self, saved: Result<()>) {
        if let Err(error) = saved {
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
        if let Some(folder) = environment.get("STATE_folder").filter(|path| !path.is_empty()) {
            return Some(Self::Folder(StepFolder::at(folder)));
        }
        let id =
            environment.get("STATE_container").filter(|id| own_container::is_id(id))?.to_owned();
        let cancelled = environment.get("STATE_cancelled").and_then(|seconds| seconds.parse().ok());
        Some(Self::Container { id, cancelled })
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
        let id = "3f5ae2b1c0d9".to_owned();
        assert_eq!(
            read(&[("STATE_container", "3f5ae2b1c0d9"), ("STATE_cancelled", "1700000000")]),
            Some(LeftBehind::Container { id: id.clone(), cancelled: Some(1_700_000_000) })
        );
        assert_eq!(
            read(&[("STATE_container", "3f5ae2b1c0d9"), ("STATE_cancelled", "soon")]),
            Some(LeftBehind::Container { id, cancelled: None })
        );
        // Taken back; not ours.
        assert_eq!(read(&[("STATE_container", ""), ("STATE_cancelled", "1")]), None);
        assert_eq!(read(&[("STATE_container", "../../info")]), None);
        assert_eq!(
            read(&[("STATE_folder", "/tmp/x")]),
            Some(LeftBehind::Folder(StepFolder::at("/tmp/x")))
        );
        assert_eq!(read(&[("STATE_folder", "")]), None);
    }
}
