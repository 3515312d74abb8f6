//! What a run is to do: which release in which environment, how to plan it, and which guards apply.

use std::collections::BTreeSet;

use super::{
    ledger::{Action, LastState, Record, Start},
    preview::watch::Watch,
    target::Target,
};
use crate::{
    base::error::Error,
    cli::args::PlanInputs,
    config::{
        guards::DeployGuards,
        identity::Release,
        names::{Environment, Version},
        preview::PreviewOf,
        review_rule::ReviewRule,
        settings::FileInput,
    },
    context::Context,
    terraform::{PlanMode, output::unknown::UnknownChange},
};

/// A release in an environment: what a run works on.
pub(crate) struct Subject<'c> {
    pub(crate) target: Target<'c>,
    pub(crate) release: Release,
    /// The ledger's entry of the deployed release; for a rollback, of the release to return to.
    pub(crate) recorded: Option<Start>,
    /// The version of the last successful deploy; None if nothing is deployed.
    pub(crate) deployed: Option<Version>,
    /// The pull request whose preview the environment becomes.
    pub(crate) preview: Option<PreviewOf>,
    /// Nothing is applied, so the account's `plan-role` is enough.
    pub(crate) plan_only: bool,
}

/// Built by the constructor of a verb; the caller then sets only what its flags change.
pub(crate) struct Order<'c> {
    pub(crate) subject: Subject<'c>,
    pub(crate) mode: PlanMode,
    pub(crate) plan: PlanInputs,
    /// The addresses of `--target`; empty: the whole component.
    pub(crate) targets: Vec<String>,
    pub(crate) replace: Vec<String>,
    /// Whether the policy judges the tool, the providers and the modules of the release, and the
    /// branch of its commit.
    pub(crate) guards_release: bool,
    /// Whether the guards of an environment without state apply.
    pub(crate) guards_missing_state: bool,
    /// What the ledger knows about the state; None: the state there is accepted.
    pub(crate) last_state: Option<LastState>,
    /// The error if the environment has a state; None: that is allowed.
    pub(crate) refuse_existing_state: Option<Error>,
    pub(crate) limits: DeployGuards,
    /// The addresses of `--allow-destroy`.
    pub(crate) allow_destroy: Vec<String>,
    /// What earlier runs were allowed to destroy, and so might no longer exist.
    pub(crate) allowed_before: BTreeSet<String>,
    /// The newest run in the ledger when the release was found not to be a downgrade; None: a
    /// downgrade is allowed.
    pub(crate) newest_known_run: Option<u64>,
    /// Changes of which no answer says whether they were made, with the number of their run.
    pub(crate) earlier: Vec<(u64, UnknownChange)>,
    /// How many more of them the ledger had no room for, with the number of their run.
    pub(crate) left_out: Vec<(u64, usize)>,
    /// Whether a person at the terminal is asked before anything is changed.
    pub(crate) asks: bool,
    /// The release of an earlier run is deployed again.
    pub(crate) is_rollback: bool,
    /// When the plan counts as reviewed; None: no review is needed.
    pub(crate) review: Option<ReviewRule>,
    /// Whether the stored plan of the pull request is applied, and no new one made.
    pub(crate) is_exact: bool,
    /// Whether to store the plan for that. None: if it can be.
    pub(crate) store_plan: Option<bool>,
    /// The key that decrypts a stored plan.
    pub(crate) age_identity: Option<FileInput>,
    /// What is checked again between plan and apply.
    pub(crate) watch: Option<Watch>,
}

impl<'c> Subject<'c> {
    pub(crate) fn new(
        context: &Context,
        target: Target<'c>,
        version: Version,
        record: &Record,
    ) -> Self {
        Self {
            target,
            release: context.release(version),
            recorded: record.deployed().cloned(),
            deployed: record.running().map(|start| start.version.clone()),
            preview: None,
            plan_only: false,
        }
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.target.environment
    }

    /// Returns the pull request of the preview. A run that names none keeps the recorded one.
    pub(crate) fn preview(&self) -> Option<&PreviewOf> {
        self.preview.as_ref().or_else(|| self.recorded.as_ref()?.preview.as_ref())
    }
}

impl<'c> Order<'c> {
    /// Deploys `version` under the guards of the environment.
    pub(crate) fn deploy(
        context: &Context,
        target: Target<'c>,
        version: Version,
        record: &Record,
        plan: PlanInputs,
    ) -> Self {
        let limits = context.guards(&target.environment);
        Self {
            guards_release: true,
            guards_missing_state: true,
            limits,
            allowed_before: record.allowed_before().cloned().collect(),
            newest_known_run: Some(record.newest()),
            ..Self::unguarded(context, PlanMode::Deploy, target, version, record, plan)
        }
    }

    /// Deploys the release of an earlier run again.
    pub(crate) fn rollback(
        context: &Context,
        target: Target<'c>,
        earlier: Start,
        record: &Record,
        plan: PlanInputs,
    ) -> Self {
        let version = earlier.version.clone();
        let mut order = Self::deploy(context, target, version, record, plan).allow_downgrade();
        order.subject.recorded = Some(earlier);
        // The way back must be open when a rule has changed since.
        order.guards_release = false;
        order.is_rollback = true;
        order
    }

    /// Destroys what is deployed, with the release `version`.
    pub(crate) fn destroy(
        context: &Context,
        target: Target<'c>,
        version: Version,
        record: &Record,
        plan: PlanInputs,
    ) -> Self {
        Self::unguarded(context, PlanMode::Destroy, target, version, record, plan)
    }

    /// Deploys `version` as the preview of a pull request, unless `watch` reports a newer commit.
    pub(crate) fn preview(
        context: &Context,
        target: Target<'c>,
        version: Version,
        record: &Record,
        plan: PlanInputs,
        (preview, watch): (PreviewOf, Watch),
    ) -> Self {
        let order = Self::unguarded(context, PlanMode::Deploy, target, version, record, plan);
        let subject = Subject { preview: Some(preview), ..order.subject };
        Self { subject, watch: Some(watch), guards_release: true, ..order }
    }

    /// Permits a release that is older than the deployed one. Labels of a pull request no longer
    /// count: they were given to the way forward, not to the way back.
    pub(crate) fn allow_downgrade(self) -> Self {
        Self { limits: self.limits.without_labels(), newest_known_run: None, ..self }
    }

    fn unguarded(
        context: &Context,
        mode: PlanMode,
        target: Target<'c>,
        version: Version,
        record: &Record,
        plan: PlanInputs,
    ) -> Self {
        let plan_only = plan.plan_only;
        let subject = Subject::new(context, target, version, record);
        Self {
            subject: Subject { plan_only, ..subject },
            mode,
            plan,
            targets: Vec::new(),
            replace: Vec::new(),
            guards_release: false,
            guards_missing_state: false,
            last_state: record.last_state(),
            refuse_existing_state: None,
            limits: DeployGuards::default(),
            allow_destroy: Vec::new(),
            allowed_before: BTreeSet::new(),
            newest_known_run: None,
            earlier: record.unknown_changes(),
            left_out: record.left_out(),
            asks: false,
            is_rollback: false,
            review: None,
            is_exact: false,
            store_plan: None,
            age_identity: None,
            watch: None,
        }
    }

    pub(crate) fn environment(&self) -> &Environment {
        self.subject.environment()
    }

    pub(crate) fn version(&self) -> &Version {
        &self.subject.release.version
    }

    /// What the ledger records.
    pub(crate) fn action(&self) -> Action {
        match self.mode {
            PlanMode::Deploy => Action::Deploy,
            PlanMode::RefreshOnly => Action::Refresh,
            PlanMode::Destroy => Action::Destroy,
        }
    }

    /// The heading of the run in the log.
    pub(crate) fn title(&self) -> String {
        let Release { identity, version } = &self.subject.release;
        let (component, environment) = (&identity.component, self.environment());
        match self.mode {
            PlanMode::Deploy => format!("Deploy {component} {version} to {environment}"),
            PlanMode::RefreshOnly => {
                format!("Refresh the state of {component} {version} in {environment}")
            }
            PlanMode::Destroy => format!("Destroy {component} {version} in {environment}"),
        }
    }
}
