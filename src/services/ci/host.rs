//! The surroundings of a run: environment, log, cancellation, CI and the rate of writes to GitHub.

use std::{io, sync::Arc};

use terminal_size::{Width, terminal_size_of};

use super::{
    is_any,
    run::{Commanded, GitHubRun, Run},
};
use crate::{
    base::{
        interrupt::Interrupt,
        log::{Log, Progress},
        pace::Pace,
        process_env::ProcessEnv,
        question,
        run_as::RunAs,
        table::Screen,
    },
    services::github::PullRequest,
};

/// Variables that only terminals with links set.
const OF_LINKS: [&str; 4] = ["WT_SESSION", "KITTY_WINDOW_ID", "KONSOLE_VERSION", "DOMTERM"];
/// Programs with links, as they name themselves in TERM_PROGRAM.
const PROGRAMS: [&str; 6] = ["iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio"];
/// The first version of VTE (GNOME's terminals) whose links work.
const VTE: u32 = 5000;

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) environment: ProcessEnv,
    pub(crate) log: Log,
    pub(crate) interrupt: Interrupt,
    /// None outside of any CI.
    pub(crate) run: Option<Arc<Run>>,
    pub(crate) pace: Pace,
    /// The user of programs that run code of others.
    pub(crate) run_as: RunAs,
}

impl Host {
    /// Begins a phase that a signal ends, of `total` bytes if that is known.
    pub(crate) fn progress(&self, what: &str, total: impl Into<Option<u64>>) -> Progress {
        self.log.progress(what, total).until(&self.interrupt)
    }

    /// Whether a person can be asked: at a terminal, and outside of any CI.
    pub(crate) fn has_person(&self) -> bool {
        self.run.is_none() && !is_any(&self.environment) && question::can_be_answered()
    }

    /// Returns the terminal that standard output is; the default if it is none.
    pub(crate) fn screen(&self) -> Screen {
        let Some((Width(width), _)) = terminal_size_of(io::stdout()).filter(|_| self.run.is_none())
        else {
            return Screen::default();
        };
        let has_links = self.log.colors_output() && knows_links(&self.environment);
        Screen { width: Some(usize::from(width.max(1))), has_links }
    }

    /// Returns the facts of a GitHub Actions run; None on other CIs.
    pub(crate) fn github(&self) -> Option<&GitHubRun> {
        self.run.as_deref()?.github.as_ref()
    }

    /// Returns the number of the pull request that a merge queue tests in this run.
    pub(crate) fn queued(&self) -> Option<u64> {
        self.github()?.queued
    }

    /// Returns the pull request and its comment that commands the run.
    pub(crate) fn commanded(&self) -> Option<(&PullRequest, &Commanded)> {
        let run = self.github()?;
        run.pull_request.as_ref().zip(run.commanded.as_ref())
    }
}

/// Whether the terminal is known to show links. Others could print the codes.
fn knows_links(environment: &ProcessEnv) -> bool {
    let is =
        |name: &str, known: &[&str]| environment.get(name).is_some_and(|it| known.contains(&it));
    let vte = environment.get("VTE_VERSION").and_then(|version| version.parse().ok());
    // A multiplexer has the variables of the terminal that it was started in.
    let is_multiplexed = ["TMUX", "STY"].iter().any(|name| environment.get(name).is_some());
    !is_multiplexed
        && (OF_LINKS.iter().any(|name| environment.get(name).is_some())
            || is("TERM_PROGRAM", &PROGRAMS)
            || is("TERM", &["xterm-kitty", "alacritty", "foot", "xterm-ghostty"])
            || vte.is_some_and(|version: u32| version >= VTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_with_links() {
        let knows = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            knows_links(&ProcessEnv::new(variables))
        };
        for known in [("TERM", "xterm-kitty"), ("TERM_PROGRAM", "vscode"), ("VTE_VERSION", "7600")]
        {
            assert!(knows(&[known]), "{known:?}");
            assert!(!knows(&[known, ("TMUX", "/tmp/x")]), "{known:?}");
        }
        for other in [("TERM", "xterm-256color"), ("VTE_VERSION", "3405"), ("TERM_PROGRAM", "x")] {
            assert!(!knows(&[other]), "{other:?}");
        }
    }
}
