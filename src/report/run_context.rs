//! Where a plan or an apply happened: commit, person, account, versions. One line or two of the
//! comment and the job summary.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Outcome,
    markdown::{capital, code, link, time, words},
};
use crate::{
    base::units::duration_text,
    services::{
        ci::{self, short},
        github::PullRequest,
    },
};

/// Where and for whom a run was. A field that is unknown is absent.
// It is part of the hidden data of the comment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "context")]
pub(crate) struct RunContext {
    /// The commit of the change, in full. For a pull request: its newest commit, not the merge that
    /// a CI checks out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// The pull request that the run is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pull_request: Option<u64>,
    /// The URL of the repository, without a slash at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    /// Who started the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    /// The alias of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_alias: Option<String>,
    /// The ID of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_id: Option<String>,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// The version that was deployed before the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deployed: Option<String>,
    /// Whether nothing was deployed before the run. Absent: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_first: bool,
    /// Whether the run destroys the environment. Absent: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_destroy: bool,
    /// Name and version of Terraform or OpenTofu, such as `terraform 1.11.4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool: Option<String>,
    /// The serial of the state that the plan was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) planned_serial: Option<u64>,
    /// Whether the run's pull request was open. Absent without a pull request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before_merge: Option<bool>,
    /// The branch that the pull request is to be merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_branch: Option<String>,
    /// The newest commit of that branch when the run started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_commit: Option<String>,
    /// The environments to which merging deploys, as the workflow says. Absent if it does not
    /// say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) merge_deploys: Vec<String>,
}

/// The facts of a run that a line about it needs apart from its context.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) version: Option<&'a str>,
    pub(super) outcome: Outcome,
    pub(super) at: Option<Timestamp>,
    pub(super) run_url: Option<&'a str>,
    /// In seconds; 0 if unknown.
    pub(super) seconds: u64,
}

/// What all rows of a comment have in common, which is said once above them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shared {
    commit: bool,
    pull_request: bool,
    actor: bool,
    tool: bool,
}

impl Shared {
    /// With one row, nothing is shared.
    pub(super) fn of(contexts: &[&RunContext]) -> Self {
        let (Some((first, others)), true) = (contexts.split_first(), contexts.len() > 1) else {
            return Self::default();
        };
        let all = |is: &dyn Fn(&RunContext) -> bool| others.iter().all(|it| is(it));
        let repository = all(&|it| it.repository == first.repository);
        Self {
            commit: repository && first.commit.is_some() && all(&|it| it.commit == first.commit),
            pull_request: repository
                && first.pull_request.is_some()
                && all(&|it| it.pull_request == first.pull_request),
            actor: first.actor.is_some() && all(&|it| it.actor == first.actor),
            tool: first.tool.is_some() && all(&|it| it.tool == first.tool),
        }
    }

    /// Returns the line above the rows, in small print; empty if nothing is shared. `first` is the
    /// context of any row.
    pub(super) fn line(self, first: &RunContext) -> String {
        let facts = [
            first.commit_fact().filter(|_| self.commit),
            first.pull_request_fact().filter(|_| self.pull_request),
            first.actor_fact().filter(|_| self.actor),
            first.tool_fact().filter(|_| self.tool),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        match facts.is_empty() {
            true => String::new(),
            false => format!("<sub>All rows: {}</sub>", facts.join(" · ")),
        }
    }
}

impl RunContext {
    /// Returns what the CI says about its run.
    pub(crate) fn of(run: &ci::Run) -> Self {
        let change = run.github.as_ref().and_then(|github| github.pull_request.as_ref());
        let head = change.map(|change| change.head.sha.clone());
        let repository = run.url.as_deref().and_then(|url| url.split_once("/actions/runs/"));
        Self {
            commit: head.or_else(|| run.commit.clone()),
            pull_request: change.map(|change| change.number),
            repository: repository.map(|(repository, _)| repository.to_owned()),
            actor: run.actor.clone(),
            before_merge: change.map(PullRequest::is_open),
            base_branch: change.map(|change| change.base.name.clone()),
            base_commit: change.map(|change| change.base.sha.clone()),
            ..Self::default()
        }
    }

    /// Returns two lines of Markdown: versions and account, then the rest in small print, without
    /// what is shared.
    pub(super) fn lines(&self, shown: Shown<'_>, shared: Shared) -> String {
        let first = [self.versions(shown.version, shown.outcome), self.account()];
        let first: Vec<String> = first.into_iter().flatten().collect();
        let rest: Vec<String> = self.rest(shown, shared).into_iter().flatten().collect();
        let rest = match rest.is_empty() {
            true => None,
            false => Some(format!("<sub>{}</sub>", rest.join(" · "))),
        };
        let first = (!first.is_empty()).then(|| first.join(" · "));
        first.into_iter().chain(rest).collect::<Vec<_>>().join("\\\n")
    }

    /// Returns which version is deployed, and what the run makes of it.
    fn versions(&self, version: Option<&str>, outcome: Outcome) -> Option<String> {
        let version = code(version?);
        let before = self.deployed.as_deref().map(code);
        Some(match (outcome, before) {
            (Outcome::Destroyed, _) => format!("Destroyed {version}"),
            (Outcome::Deployed | Outcome::Refreshed, None) if self.is_first => {
                format!("Deployed now: {version}, for the first time")
            }
            (Outcome::Deployed | Outcome::Refreshed, Some(before)) if before != version => {
                format!("Deployed now: {version} (before: {before})")
            }
            (Outcome::Deployed | Outcome::Refreshed, _) => format!("Deployed now: {version}"),
            (Outcome::Failed | Outcome::Interrupted | Outcome::Unfinished, before) => {
                match (before, self.is_destroy) {
                    (_, true) => format!("Tried to destroy {version}"),
                    (None, _) if self.is_first => {
                        format!("Tried {version}; nothing was deployed before")
                    }
                    (None, _) => format!("Tried {version}"),
                    (Some(before), _) => format!("Tried {version}; last deployed: {before}"),
                }
            }
            (_, _) if self.is_destroy => format!("Deployed now: {version} → to be destroyed"),
            (_, None) if self.is_first => format!("Deployed now: nothing → proposed: {version}"),
            (_, Some(before)) if before != version => {
                format!("Deployed now: {before} → proposed: {version}")
            }
            (_, Some(_)) => format!("Deployed now and proposed: {version}"),
            (_, None) => format!("Proposed: {version}"),
        })
    }

    fn account(&self) -> Option<String> {
        let alias = self.account_alias.as_deref().map(words);
        let account = match (&self.account_id, alias) {
            // As plain text, GitHub takes twelve digits for a commit.
            (Some(id), Some(alias)) => Some(format!("account {} ({alias})", code(id))),
            (Some(id), None) => Some(format!("account {}", code(id))),
            (None, alias) => alias.map(|alias| format!("account {alias}")),
        };
        let parts: Vec<String> =
            account.into_iter().chain(self.region.as_deref().map(words)).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn url(&self, kind: &str, name: &str) -> Option<String> {
        self.repository.as_ref().map(|repository| format!("{repository}/{kind}/{name}"))
    }

    /// Returns a commit of the repository, shortened, with a link.
    pub(super) fn commit_link(&self, commit: &str) -> String {
        link(&code(short(commit)), self.url("commit", commit).as_deref())
    }

    fn commit_fact(&self) -> Option<String> {
        self.commit.as_deref().map(|commit| format!("commit {}", self.commit_link(commit)))
    }

    fn pull_request_fact(&self) -> Option<String> {
        self.pull_request.map(|number| {
            let url = self.url("pull", &number.to_string());
            format!("pull request {}", link(&words(&format!("#{number}")), url.as_deref()))
        })
    }

    fn actor_fact(&self) -> Option<String> {
        self.actor.as_deref().map(|actor| format!("by {}", words(actor)))
    }

    fn tool_fact(&self) -> Option<String> {
        self.tool.as_deref().map(|tool| words(&capital(tool)))
    }

    fn rest(&self, shown: Shown<'_>, shared: Shared) -> [Option<String>; 7] {
        let took = std::time::Duration::from_secs(shown.seconds);
        let took = match shown.seconds {
            0 => String::new(),
            _ => format!(" ({})", duration_text(took)),
        };
        let run = shown.run_url.map(|url| format!("{}{took}", link("run log", Some(url))));
        [
            self.commit_fact().filter(|_| !shared.commit),
            self.pull_request_fact().filter(|_| !shared.pull_request),
            self.actor_fact().filter(|_| !shared.actor),
            shown.at.map(time),
            self.tool_fact().filter(|_| !shared.tool),
            self.planned_serial.map(|serial| format!("planned from state serial {serial}")),
            run,
        ]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a context in which everything is known.
    pub(in crate::report) fn full() -> RunContext {
        RunContext {
            commit: Some("a1b2c3d4e5f60718293a4b5c6d7e8f9012345678".to_owned()),
            pull_request: Some(128),
            repository: Some("https://github.com/acme/checkout".to_owned()),
            actor: Some("ada".to_owned()),
            account_alias: Some("prod".to_owned()),
            account_id: Some("222222222222".to_owned()),
            region: Some("eu-west-1".to_owned()),
            deployed: Some("41-9e8d7c6".to_owned()),
            is_first: false,
            is_destroy: false,
            tool: Some("terraform 1.11.4".to_owned()),
            planned_serial: Some(117),
            before_merge: Some(true),
            base_branch: None,
            base_commit: None,
            merge_deploys: Vec::new(),
        }
    }

    fn versions(context: &RunContext, outcome: Outcome) -> String {
        context.versions(Some("42"), outcome).unwrap()
    }

    #[test]
    fn versions_say_what_is_deployed() {
        let again = RunContext { deployed: Some("42".to_owned()), ..full() };
        let first = RunContext { deployed: None, is_first: true, ..full() };
        let destroy = RunContext { is_destroy: true, ..again.clone() };
        let unknown = RunContext::default();
        for (context, outcome, shown) in [
            (&full(), Outcome::Planned, "Deployed now: `41-9e8d7c6` → proposed: `42`"),
            (&full(), Outcome::Deployed, "Deployed now: `42` (before: `41-9e8d7c6`)"),
            (&full(), Outcome::Failed, "Tried `42`; last deployed: `41-9e8d7c6`"),
            (&again, Outcome::Planned, "Deployed now and proposed: `42`"),
            (&again, Outcome::Deployed, "Deployed now: `42`"),
            (&first, Outcome::Planned, "Deployed now: nothing → proposed: `42`"),
            (&first, Outcome::Deployed, "Deployed now: `42`, for the first time"),
            (&first, Outcome::Failed, "Tried `42`; nothing was deployed before"),
            (&destroy, Outcome::Planned, "Deployed now: `42` → to be destroyed"),
            (&destroy, Outcome::Destroyed, "Destroyed `42`"),
            (&destroy, Outcome::Failed, "Tried to destroy `42`"),
            (&unknown, Outcome::Planned, "Proposed: `42`"),
            (&unknown, Outcome::Failed, "Tried `42`"),
        ] {
            assert_eq!(versions(context, outcome), shown);
        }
    }

    #[test]
    fn every_fact_is_shown() {
        let facts = Shown {
            version: Some("42-a1b2c3d"),
            outcome: Outcome::Planned,
            at: Some("2026-11-21T12:00:00Z".parse().unwrap()),
            run_url: Some("https://github.com/acme/checkout/actions/runs/1"),
            seconds: 48,
        };
        let shown = full().lines(facts, Shared::default());
        let expected = "Deployed now: `41-9e8d7c6` → proposed: `42-a1b2c3d` · account \
            `222222222222` (prod), eu-west-1\\\n<sub>commit \
            [`a1b2c3d`](https://github.com/acme/checkout/commit/\
            a1b2c3d4e5f60718293a4b5c6d7e8f9012345678) · pull request \
            [#128](https://github.com/acme/checkout/pull/128) · by ada · 2026-11-21 12:00 UTC · \
            Terraform 1.11.4 · planned from state serial 117 · \
            [run log](https://github.com/acme/checkout/actions/runs/1) (48s)</sub>";
        assert_eq!(shown.replace('\u{200b}', "").replace("\\-", "-"), expected);
        let nothing =
            Shown { version: None, outcome: Outcome::Done, at: None, run_url: None, seconds: 0 };
        assert_eq!(RunContext::default().lines(nothing, Shared::default()), "");
    }

    #[test]
    fn what_all_rows_share_is_said_once() {
        let facts = Shown {
            version: None,
            outcome: Outcome::Planned,
            at: None,
            run_url: Some("https://github.com/acme/checkout/actions/runs/1"),
            seconds: 0,
        };
        let (first, same) = (full(), RunContext { region: None, ..full() });
        let shared = Shared::of(&[&first, &same]);
        let plain = |text: String| text.replace('\u{200b}', "");
        let once = plain(shared.line(&first));
        let rest = plain(first.lines(facts, shared));
        for fact in ["commit [`a1b2c3d`](", "pull request [#128](", "by ada", "Terraform 1.11.4"] {
            assert_eq!((once.matches(fact).count(), rest.matches(fact).count()), (1, 0), "{fact}");
        }
        assert!(rest.contains("state serial 117") && rest.contains("account `222222222222`"));
        let other = RunContext { actor: Some("bob".to_owned()), tool: None, ..full() };
        let shared = Shared::of(&[&first, &other]);
        assert_eq!(shared, Shared { commit: true, pull_request: true, actor: false, tool: false });
        assert!(plain(other.lines(facts, shared)).contains("by bob"));
        let elsewhere = RunContext { repository: None, ..full() };
        assert!(!Shared::of(&[&first, &elsewhere]).commit, "the links differ");
        assert_eq!(Shared::of(&[&first]), Shared::default());
        assert_eq!(Shared::of(&[&RunContext::default(); 2]).line(&first), "");
    }
}
