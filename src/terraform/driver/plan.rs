//! `terraform plan`, and reading the saved plan.

use std::{io::Read, time::Duration};

use super::{
    filters::until_saved,
    init::Initialised,
    request::{PlanRequest, plan_args},
};
use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        limits::Limit,
        log::Log,
        process::Life,
        redact::Secret,
    },
    config::duration::HumanDuration,
    terraform::{
        output::{
            changes::Changes,
            effects::Words,
            failure::{OutputLines, TerraformStep},
            plan_document,
            plan_text::PlanText,
            progress::progress,
        },
        state::summary::StateSummary,
    },
};

/// A saved plan: its changes, and the request with the file that apply needs.
pub(crate) struct Plan {
    pub(crate) changes: Changes,
    /// Terraform's exit code was 2. True also if only outputs change.
    pub(crate) has_changes: bool,
    /// Terraform's text.
    pub(crate) text: PlanText,
    /// Terraform's JSON, masked; None if it was not wanted.
    pub(crate) json: Option<String>,
    /// Where it comes from; None if this run has made it.
    pub(crate) stored: Option<StoredFrom>,
    pub(super) request: PlanRequest,
    /// Of the file as Terraform wrote it; None if it wrote none.
    digest: Option<Sha256>,
}

/// A plan that an earlier run has made and stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredFrom {
    /// Of the encrypted file.
    pub(crate) sha256: Sha256,
    /// The words of the release that it was made from.
    pub(crate) words: Words,
    /// Whether Terraform's exit code was 2.
    pub(crate) has_changes: bool,
    /// Of the state that it was made for; None if there was none.
    pub(crate) serial: Option<u64>,
}

impl Plan {
    /// Returns what the plan leaves to a later one, as [`Changes::left_out`] does.
    pub(crate) fn left_out(&self) -> Option<String> {
        self.changes.left_out(!self.request.targets.is_empty())
    }

    /// Fails unless the file is the plan that was shown: hooks run as the user who owns it.
    pub(crate) fn check_file(&self) -> Result<()> {
        match digest_of(&self.request) == self.digest {
            true => Ok(()),
            false => Err(Error::integrity("the plan was changed after it was shown")
                .why(
                    "its file has another SHA-256 than when Terraform made it; nothing was applied",
                )
                .hint("look at the hooks of the release: one of them wrote into the run's folder")),
        }
    }
}

fn digest_of(request: &PlanRequest) -> Option<Sha256> {
    Sha256::of_file(&request.plan_file).ok()
}

/// In bytes. More of a plan is not shown in the log.
const HELD: usize = 32 << 20;

/// The lines of a plan until they can be masked, all at once: a secret can go over several lines.
#[derive(Default)]
struct Held {
    text: String,
    is_cut: bool,
}

impl Held {
    /// Returns what can be shown at once.
    fn pass(&mut self, line: &str) -> Option<String> {
        if self.text.is_empty()
            && let Some(shown) = progress(line)
        {
            return Some(shown);
        }
        self.is_cut |= self.text.len() + line.len() > HELD;
        if !self.is_cut {
            self.text.push_str(line);
            self.text.push('\n');
        }
        None
    }

    fn show(&self, log: &Log) {
        log.redactor.apply(&self.text).lines().for_each(|line| log.program_output(line));
        if self.is_cut {
            log.warning("the log does not show the whole plan: it is longer than 32 MiB");
        }
    }
}

impl Initialised {
    /// Returns the command line of `plan` for an interactive shell, where an exit code of 2 would
    /// look like a failure.
    pub(crate) fn plan_command(&self, request: &PlanRequest) -> Vec<String> {
        let program = self.folder.tool.program.display().to_string();
        let colors =
            if self.folder.host.log.colors_output() { None } else { Some("-no-color".to_owned()) };
        std::iter::once(program)
            .chain(plan_args(request).into_iter().filter(|arg| arg != "-detailed-exitcode"))
            .chain(colors)
            .collect()
    }

    /// Plans. The progress is shown live, without values; everything else once the plan's sensitive
    /// values are known, which are redacted from then on.
    ///
    /// `before` is the state as cdflow has read it. If nothing differs from it, the plan has no
    /// other resources, and is not read: reading it starts the providers again.
    pub(crate) async fn plan(
        &self,
        request: PlanRequest,
        before: Option<&StateSummary>,
    ) -> Result<Plan> {
        let mut text = PlanText::default();
        let mut relocated = request.origins.filter();
        let mut until_saved = until_saved(&request.plan_file);
        let mut held = Held::default();
        let mut keep = |line: &str| {
            let shown = until_saved(&relocated(line)?)?;
            text.push(&shown);
            held.pass(&shown)
        };
        let waits = request.lock_timeout.map_or(Duration::ZERO, |HumanDuration(time)| time);
        let args = plan_args(&request);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let relayed = self.folder.relay(&args, (Limit::TerraformPlan, waits), &mut keep).await;
        let is_plain = request.is_of_everything() && text.is_plain_no_changes();
        let is_known = is_plain && !request.wants_json;
        let ended = match (&relayed, before.filter(|_| is_known)) {
            (Ok((0, _)), Some(state)) => Some(Ok((Changes::none(&state.addresses), None))),
            (Ok((0 | 2, _)), _) => Some(self.read_plan(&request).await),
            _ => None,
        };
        // A failed plan is saved as far as it got. Its errors can show its sensitive values.
        let failed = match &relayed {
            Ok((1, _)) if request.plan_file.is_file() => self.read_plan(&request).await.ok(),
            _ => None,
        };
        let log = &self.folder.host.log;
        let known = ended.iter().filter_map(|read| read.as_ref().ok()).chain(&failed);
        for secret in known.flat_map(|(changes, _)| &changes.sensitive) {
            log.redactor.add(secret);
        }
        // If the plan can't be read, its sensitive values are unknown.
        if !matches!(ended, Some(Err(_))) {
            held.show(log);
            relayed.iter().for_each(|(_, output)| self.folder.annotate(output));
        }
        let (code, output) = relayed?;
        // 0: nothing to do; 2: changes.
        self.folder.check("terraform plan", if code == 2 { 0 } else { code }, || {
            let component = self.folder.original.parent().unwrap_or(&self.folder.original);
            match request.origins.error(&output.diagnostics(), TerraformStep::Plan) {
                Some(error) => error.below(component),
                None => output.error(TerraformStep::Plan, self.environment.as_str()),
            }
        })?;
        let Some((changes, json)) = ended.transpose()? else {
            return Err(Error::internal("cannot read the plan").why("Terraform did not end well"));
        };
        self.finish(request, (changes, json), text, code == 2, None)
    }

    /// Reads and shows the plan that an earlier run has saved, which is in the file of `request`.
    pub(crate) async fn open_plan(&self, request: PlanRequest, from: StoredFrom) -> Result<Plan> {
        let (changes, json) = self.read_plan(&request).await?;
        let log = &self.folder.host.log;
        for secret in &changes.sensitive {
            log.redactor.add(secret);
        }
        let (mut text, mut held) = (PlanText::default(), Held::default());
        let mut keep = |line: &str| {
            text.push(line);
            held.pass(line)
        };
        let file = request.plan_file.to_string_lossy();
        let waits = (Limit::TerraformRead, Duration::ZERO);
        let (code, output) = self.folder.relay(&["show", &file], waits, &mut keep).await?;
        held.show(log);
        self.folder.check("terraform show", code, || {
            output.error(TerraformStep::Plan, self.environment.as_str())
        })?;
        let has_changes = from.has_changes;
        self.finish(request, (changes, json), text, has_changes, Some(from))
    }

    fn finish(
        &self,
        request: PlanRequest,
        (changes, json): (Changes, Option<Secret>),
        text: PlanText,
        has_changes: bool,
        stored: Option<StoredFrom>,
    ) -> Result<Plan> {
        let log = &self.folder.host.log;
        if changes.is_errored {
            return Err(Error::new(Exit::PlanFailed, "terraform plan failed")
                .why("the plan is incomplete, and Terraform would refuse to apply it")
                .hint("see Terraform's output above; nothing was applied"));
        }
        let json = json.and_then(|json| self.masked(&json));
        let digest = digest_of(&request);
        let plan = Plan { changes, has_changes, text, json, stored, request, digest };
        if let Some(left_out) = plan.left_out() {
            log.warning(&left_out);
        }
        Ok(plan)
    }

    fn masked(&self, json: &Secret) -> Option<String> {
        let log = &self.folder.host.log;
        let masked = plan_document::masked(json.expose(), &log.redactor);
        masked
            .inspect_err(|error| {
                log.warning(&format!("cannot write Terraform's JSON of the plan: {error}"));
            })
            .ok()
    }

    /// Returns the changes, and the JSON with every value in clear text if it is wanted.
    async fn read_plan(&self, request: &PlanRequest) -> Result<(Changes, Option<Secret>)> {
        let folder = &self.folder;
        let args = ["show".into(), "-json".into(), request.plan_file.as_os_str().to_owned()];
        let show = folder.program(&args, Life::of_terraform(Limit::TerraformRead));
        let wants_json = request.wants_json;
        let read = move |out: &mut dyn Read| match wants_json {
            true => {
                let mut text = String::new();
                out.read_to_string(&mut text).map_err(serde_json::Error::io)?;
                Ok((Changes::parse(&mut text.as_bytes())?, Some(Secret::new(text))))
            }
            false => Changes::parse(out).map(|changes| (changes, None)),
        };
        let (changes, ended) = show.parse(&folder.host.log, &folder.host.interrupt, read).await?;
        folder.check("terraform show", ended.code, || {
            OutputLines::from_text(&ended.stderr)
                .error(TerraformStep::Plan, self.environment.as_str())
        })?;
        changes.map_err(|error| {
            Error::new(Exit::PlanFailed, "cannot read the JSON of the plan").why(error)
        })
    }
}
