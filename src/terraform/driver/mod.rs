//! The verbs of Terraform. `Folder` -> `Initialised` -> `Plan` -> `Applied`: only a plan can be applied, and a plan exists only
//! after init.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    output::{
        changes::Changes,
        diagnostics,
        events::ApplyProgress,
        failure::{OutputLines, TerraformStep, plain},
        plan_text::PlanText,
    },
    state::{backend::Backend, summary::StateSummary},
    tool::Tool,
};
use crate::{
    base::{
        error::{Error, Exit, Result},
        interrupt::Interrupt,
        process::{Captured, Program},
    },
    config::{component::Wait, names::Environment},
    services::ci::host::Host,
};

/// An exit code above this is a signal's number more.
const SIGNALLED: i32 = 128;
/// How Go ends a program that panics; `apply` itself never ends so.
const PANICKED: i32 = 2;
/// Where Terraform leaves the state that it could not save.
const ERRORED_STATE: &str = "errored.tfstate";

/// A folder of Terraform code, and how Terraform is run in it.
pub(crate) struct Folder {
    pub(crate) tool: Tool,
    pub(crate) host: Host,
    pub(crate) infra: PathBuf,
    /// The folder in the checkout that it is a copy of.
    pub(crate) original: PathBuf,
    /// All that Terraform sees of the environment.
    pub(crate) env: BTreeMap<OsString, OsString>,
}

/// How a deploy's init finds what the bundle carries.
pub(crate) struct InitRequest {
    /// A filesystem mirror, relative to the folder. Nothing is fetched from anywhere else.
    pub(crate) providers: &'static str,
    /// The bundle has a lock file, which must not change.
    pub(crate) is_locked: bool,
    /// The bundle has an index of modules, which is taken as it is.
    pub(crate) has_modules: bool,
}

/// A folder whose backend, providers and modules are ready.
pub(crate) struct Initialised {
    folder: Folder,
    environment: Environment,
    /// Whether the environment is a workspace, or the backend leads to its state alone.
    has_workspaces: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlanMode {
    Deploy,
    RefreshOnly,
    Destroy,
}

pub(crate) struct PlanRequest {
    pub(crate) mode: PlanMode,
    pub(crate) var_file: PathBuf,
    pub(crate) plan_file: PathBuf,
    pub(crate) targets: Vec<String>,
    pub(crate) replace: Vec<String>,
    pub(crate) lock_timeout: Option<Wait>,
    pub(crate) parallelism: Option<u32>,
    /// Some variable's value is in no plan, so apply needs the var-file again.
    pub(crate) has_ephemeral: bool,
}

/// What would be done, and the file with which exactly that can be done.
pub(crate) struct Plan {
    pub(crate) changes: Changes,
    /// Terraform's own word (exit code 2): also a change of outputs alone.
    pub(crate) has_changes: bool,
    /// As Terraform words it.
    pub(crate) text: PlanText,
    request: PlanRequest,
}

/// How an apply ended. Also a failed one has facts that must not be lost.
pub(crate) struct Applied {
    pub(crate) result: Result<()>,
    /// All was applied, also when a signal makes the result an error.
    pub(crate) is_complete: bool,
    /// Started and never ended: may exist and be in no state.
    pub(crate) in_flight: Vec<String>,
    /// The state that Terraform could not save.
    pub(crate) errored_state: Option<PathBuf>,
}

impl Applied {
    /// There was nothing to apply, or Terraform was not even started.
    pub(crate) fn without_apply(result: Result<()>) -> Self {
        Self { is_complete: result.is_ok(), result, in_flight: Vec::new(), errored_state: None }
    }
}

impl Folder {
    /// Fetches modules and providers; touches no backend.
    pub(crate) async fn init_for_release(&self) -> Result<()> {
        let (code, words) =
            self.relay(&["init", "-input=false", "-backend=false"], &mut until_advice()).await?;
        self.done("terraform init", code, || words.error(TerraformStep::InitAtRelease, ""))
    }

    /// Takes everything from the bundle, and opens the state's backend.
    pub(crate) async fn init(
        self,
        environment: &Environment,
        request: &InitRequest,
        backend: &Backend,
    ) -> Result<Initialised> {
        let plugin_dir = format!("-plugin-dir={}", request.providers);
        let mut args = vec!["init", "-input=false", plugin_dir.as_str()];
        if request.is_locked {
            args.push("-lockfile=readonly");
        }
        if request.has_modules {
            args.push("-get=false");
        }
        let (code, words) = self.relay(&args, &mut until_advice()).await?;
        self.done("terraform init", code, || {
            words.error(TerraformStep::InitAtDeploy, environment.as_str())
        })?;
        backend.check(&self.infra)?;
        Ok(Initialised {
            folder: self,
            environment: environment.clone(),
            has_workspaces: backend.has_workspaces(),
        })
    }

    fn program(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Program {
        Program::new(&self.tool.program, &self.infra, &self.env).args(args)
    }

    /// Runs with its output shown live, as `filter` lets it through.
    async fn relay(
        &self,
        args: &[&str],
        filter: &mut (dyn FnMut(&str) -> Option<String> + Send),
    ) -> Result<(i32, OutputLines)> {
        let mut args = args.to_vec();
        if !self.host.log.colors_output() {
            args.insert(1, "-no-color");
        }
        let mut words = OutputLines::default();
        let mut show = |line: &str| {
            words.push(line);
            if let Some(shown) = filter(line) {
                self.host.log.output(&shown);
            }
        };
        let finished =
            self.program(&args).relay(&self.host.log, &self.host.interrupt, &mut show).await?;
        diagnostics::annotate(&self.host.log, &self.original, &words.findings());
        Ok((finished.code, words))
    }

    /// Runs silently; its words are shown only when it fails.
    async fn quiet(
        &self,
        args: &[&str],
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<String> {
        self.quiet_until(&self.host.interrupt, args, step, environment).await
    }

    /// As `quiet`, and not cancelled by a signal: it tidies up, also after one.
    async fn settle(
        &self,
        args: &[&str],
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<String> {
        self.quiet_until(&Interrupt::never(), args, step, environment).await
    }

    async fn quiet_until(
        &self,
        interrupt: &Interrupt,
        args: &[&str],
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<String> {
        let captured = self.program(args).capture(&self.host.log, interrupt).await?;
        self.judge_quiet(interrupt, args, &captured, step, environment)?;
        Ok(String::from_utf8_lossy(&captured.stdout).into_owned())
    }

    fn judge_quiet(
        &self,
        interrupt: &Interrupt,
        args: &[&str],
        captured: &Captured,
        step: TerraformStep,
        environment: &Environment,
    ) -> Result<()> {
        done(interrupt, &format!("terraform {}", args[0]), captured.code, || {
            captured.stderr.lines().for_each(|line| self.host.log.output(line));
            OutputLines::from_text(&captured.stderr).error(step, environment.as_str())
        })
    }

    fn done(&self, what: &str, code: i32, failed: impl FnOnce() -> Error) -> Result<()> {
        done(&self.host.interrupt, what, code, failed)
    }
}

impl Initialised {
    pub(crate) fn has_workspaces(&self) -> bool {
        self.has_workspaces
    }

    /// Whether the environment has a state, be it an empty one.
    pub(crate) async fn has_workspace(&self) -> Result<bool> {
        if !self.has_workspaces {
            return Ok(self.state().await?.is_some());
        }
        let list = self
            .folder
            .quiet(&["workspace", "list", "-no-color"], TerraformStep::Workspace, &self.environment)
            .await?;
        Ok(list
            .lines()
            .any(|line| line.trim_start_matches('*').trim() == self.environment.as_str()))
    }

    pub(crate) async fn select_workspace(&self) -> Result<()> {
        if !self.has_workspaces {
            return Ok(());
        }
        let args = ["workspace", "select", "-no-color", self.environment.as_str()];
        self.folder.quiet(&args, TerraformStep::Workspace, &self.environment).await.map(drop)
    }

    /// Makes and selects it. Locks to write an empty state, and doesn't wait for the lock: on S3 it ignores `-lock-timeout`.
    /// False when another run has made it meanwhile: then it is not selected.
    pub(crate) async fn create_workspace(&self) -> Result<bool> {
        if !self.has_workspaces {
            return Ok(true);
        }
        let folder = &self.folder;
        let args = ["workspace", "new", "-no-color", self.environment.as_str()];
        let captured =
            folder.program(&args).capture(&folder.host.log, &folder.host.interrupt).await?;
        if captured.code != 0
            && captured.stderr.contains("already exists")
            && self.has_workspace().await?
        {
            return Ok(false);
        }
        folder.judge_quiet(
            &folder.host.interrupt,
            &args,
            &captured,
            TerraformStep::Workspace,
            &self.environment,
        )?;
        Ok(true)
    }

    /// Terraform refuses to delete a workspace whose state still has resources, and that is right.
    pub(crate) async fn delete_workspace(&self) -> Result<()> {
        if !self.has_workspaces {
            return Ok(());
        }
        for (verb, name) in [("select", "default"), ("delete", self.environment.as_str())] {
            self.folder
                .settle(
                    &["workspace", verb, "-no-color", name],
                    TerraformStep::Workspace,
                    &self.environment,
                )
                .await?;
        }
        Ok(())
    }

    /// What a person types `plan` for: the command of `plan`, as one types it, with an exit code that says "failed" alone.
    pub(crate) fn plan_command(&self, request: &PlanRequest) -> Vec<String> {
        let program = self.folder.tool.program.display().to_string();
        let colors =
            if self.folder.host.log.colors_output() { None } else { Some("-no-color".to_owned()) };
        std::iter::once(program)
            .chain(plan_args(request).into_iter().filter(|arg| arg != "-detailed-exitcode"))
            .chain(colors)
            .collect()
    }

    /// A program of the user's in Terraform's folder, which sees what Terraform sees and what `change` makes of it.
    pub(crate) fn program(
        &self,
        program: &Path,
        change: impl FnOnce(&mut BTreeMap<OsString, OsString>),
    ) -> Program {
        let mut env = self.folder.env.clone();
        change(&mut env);
        Program::new(program, &self.folder.infra, &env)
    }

    pub(crate) async fn plan(&self, request: PlanRequest) -> Result<Plan> {
        let mut text = PlanText::default();
        let mut until_saved = until_saved(&request.plan_file);
        let mut kept = |line: &str| {
            let shown = until_saved(line);
            shown.iter().for_each(|shown| text.push(shown));
            shown
        };
        let (code, words) = self.folder.relay(&strs(&plan_args(&request)), &mut kept).await?;
        // 0: nothing to do; 2: changes.
        let ended = if code == 2 { 0 } else { code };
        self.folder.done("terraform plan", ended, || {
            words.error(TerraformStep::Plan, self.environment.as_str())
        })?;
        let changes = self.read_plan(&request.plan_file).await?;
        // A truth value as text, or the name of the environment, would mask half of what people read.
        let harmless = ["true", "false", "null", "none", self.environment.as_str()];
        for secret in changes.sensitive.iter().filter(|secret| !harmless.contains(&secret.expose()))
        {
            self.folder.host.log.redactor.add(secret);
        }
        Ok(Plan { changes, has_changes: code == 2, text, request })
    }

    async fn read_plan(&self, file: &Path) -> Result<Changes> {
        let folder = &self.folder;
        let show = folder.program(&["show".into(), "-json".into(), file.as_os_str().to_owned()]);
        let (changes, ended) =
            show.parse(&folder.host.log, &folder.host.interrupt, |out| Changes::parse(out)).await?;
        folder.done("terraform show", ended.code, || {
            OutputLines::from_text(&ended.stderr)
                .error(TerraformStep::Plan, self.environment.as_str())
        })?;
        changes.map_err(|error| {
            Error::new(Exit::PlanFailed, "the plan's JSON can't be read").why(error)
        })
    }

    /// Applies exactly `plan`. Not cancelled by a signal: Terraform is told once and then waited for.
    pub(crate) async fn apply(&self, plan: &Plan) -> Result<Applied> {
        let log = &self.folder.host.log;
        let mut applying = ApplyProgress::new(log.colors_output());
        let mut show = |line: &str| {
            for line in applying.line(line).iter().flat_map(|shown| shown.lines()) {
                log.output(line);
            }
        };
        let program = self.folder.program(&apply_args(&plan.request));
        let finished = program.relay(log, &self.folder.host.interrupt, &mut show).await?;
        diagnostics::annotate(log, &self.folder.original, &applying.findings);
        let errored = self.folder.infra.join(ERRORED_STATE);
        Ok(Applied {
            result: self.judge(finished.code, &applying),
            is_complete: finished.code == 0,
            in_flight: applying.in_flight(),
            errored_state: errored.exists().then_some(errored),
        })
    }

    fn judge(&self, code: i32, applying: &ApplyProgress) -> Result<()> {
        let failed = || {
            OutputLines::from_text(&applying.diagnostics().join("\n"))
                .error(TerraformStep::Apply, self.environment.as_str())
        };
        match self.folder.host.interrupt.requested() {
            // Terraform itself never dies of an interrupt: it had not even begun.
            Some(exit) if code == SIGNALLED + 2 => {
                Err(Error::new(exit, "cancelled at the beginning of apply; nothing was applied")
                    .hint("deploy again"))
            }
            _ if code > SIGNALLED || code == PANICKED => Err(self.killed(code)),
            Some(exit) if code == 0 => {
                Err(Error::new(exit, "cancelled during apply, which was completed all the same"))
            }
            Some(exit) => {
                let stopped = Error::new(
                    exit,
                    "cancelled during apply: Terraform stopped and saved the state",
                );
                Err(stopped
                    .why(failed().cause())
                    .hint("see what is deployed with `cdflow status`, then deploy again"))
            }
            None if code == 0 => Ok(()),
            None => Err(failed()),
        }
    }

    /// Terraform had no time to save anything.
    fn killed(&self, code: i32) -> Error {
        let how = if code == PANICKED {
            "crashed".to_owned()
        } else {
            format!("was killed by signal {}", code - SIGNALLED)
        };
        Error::new(Exit::StateNotSaved, format!("terraform {how} during apply of `{}`", self.environment))
            .why("what it did in the last seconds may exist without being in the state, and the lock may be left")
            .hint("look at what there is before anything else is deployed here; `cdflow deploy … --plan-only` shows what the state lacks")
            .hint("if the lock is left, release it (`cdflow unlock`; docs/terraform.md, \"State\")")
    }

    /// None where there is no state yet.
    pub(crate) async fn state(&self) -> Result<Option<StateSummary>> {
        let folder = &self.folder;
        // Also after a signal: what was saved is what people then want to know.
        let pull = folder.program(&["state", "pull"]);
        let (state, ended) = pull
            .parse(&folder.host.log, &Interrupt::never(), |out| StateSummary::parse(out))
            .await?;
        if ended.code != 0 {
            return Err(OutputLines::from_text(&ended.stderr)
                .error(TerraformStep::Workspace, self.environment.as_str()));
        }
        state.map_err(|error| Error::new(Exit::PlanFailed, "the state can't be read").why(error))
    }

    /// A second try to save a state that Terraform could not.
    pub(crate) async fn push_state(&self, file: &Path) -> Result<()> {
        let file = file.to_string_lossy();
        self.folder
            .settle(
                &["state", "push", "-no-color", &file],
                TerraformStep::PushState,
                &self.environment,
            )
            .await
            .map(drop)
    }
}

/// An error when a signal has come, whatever the program made of it; else by its exit code.
fn done(
    interrupt: &Interrupt,
    what: &str,
    code: i32,
    failed: impl FnOnce() -> Error,
) -> Result<()> {
    match interrupt.requested() {
        Some(exit) => {
            Err(Error::new(exit, format!("cancelled during {what}; no resource was changed")))
        }
        None if code == 0 => Ok(()),
        None => Err(failed()),
    }
}

fn plan_args(request: &PlanRequest) -> Vec<String> {
    let mut args =
        vec!["plan".to_owned(), "-input=false".to_owned(), "-detailed-exitcode".to_owned()];
    args.push(format!("-out={}", request.plan_file.display()));
    args.push(format!("-var-file={}", request.var_file.display()));
    args.extend(common_args(request));
    args.extend(request.targets.iter().map(|address| format!("-target={address}")));
    args.extend(request.replace.iter().map(|address| format!("-replace={address}")));
    match request.mode {
        PlanMode::Deploy => {}
        PlanMode::RefreshOnly => args.push("-refresh-only".to_owned()),
        PlanMode::Destroy => args.push("-destroy".to_owned()),
    }
    args
}

fn apply_args(request: &PlanRequest) -> Vec<String> {
    let mut args = vec!["apply".to_owned(), "-input=false".to_owned(), "-json".to_owned()];
    args.extend(common_args(request));
    if request.has_ephemeral {
        args.push(format!("-var-file={}", request.var_file.display()));
    }
    args.push(request.plan_file.display().to_string());
    args
}

fn common_args(request: &PlanRequest) -> Vec<String> {
    let timeout = request.lock_timeout.map(|wait| format!("-lock-timeout={wait}"));
    let parallelism = request.parallelism.map(|n| format!("-parallelism={n}"));
    timeout.into_iter().chain(parallelism).collect()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// After its success, init advises what to type next; here nobody types.
fn until_advice() -> impl FnMut(&str) -> Option<String> + Send {
    let mut is_over = false;
    move |line| {
        is_over |= plain(line).trim().ends_with(" has been successfully initialized!")
            && !line.starts_with(' ');
        (!is_over && !line.trim().is_empty()).then(|| line.to_owned())
    }
}

/// Below a saved plan Terraform draws a line and advises how to apply the file, which is in our private folder.
/// Only the line with our own path ends the plan: the code under review can't know it.
fn until_saved(plan_file: &Path) -> impl FnMut(&str) -> Option<String> + Send + use<> {
    let saved = format!("Saved the plan to: {}", plan_file.display());
    let mut held: Vec<String> = Vec::new();
    let mut is_over = false;
    move |line| {
        is_over |= plain(line).trim() == saved;
        if is_over {
            return None;
        }
        // The same line also stands between drift and plan: it is held until what follows is known.
        if line.contains("────") || (!held.is_empty() && line.trim().is_empty()) {
            held.push(line.to_owned());
            return None;
        }
        let mut lines = std::mem::take(&mut held);
        lines.push(line.to_owned());
        Some(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(filter: impl FnMut(&str) -> Option<String>, text: &str) -> String {
        text.lines().filter_map(filter).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_advice_below_a_plan_is_left_out() {
        let text = "drift\n\n─────────\n\nPlan: 1\n\n─────────\n\nSaved the plan to: /p/plan\n\nTo perform\n  terraform apply";
        assert_eq!(
            through(until_saved(Path::new("/p/plan")), text),
            "drift\n\n─────────\n\nPlan: 1\n"
        );
        let hostile = "a\n  + input = \"Saved the plan to: \"\nSaved the plan to: /p/other\nb";
        assert_eq!(through(until_saved(Path::new("/p/plan")), hostile), hostile);
        let text = "Initializing...\n\nTerraform has been successfully initialized!\n\nYou may now";
        assert_eq!(through(until_advice(), text), "Initializing...");
    }

    #[test]
    fn arguments() {
        let request = PlanRequest {
            mode: PlanMode::Destroy,
            var_file: "/p/v.json".into(),
            plan_file: "/p/plan".into(),
            targets: vec!["a.b".into()],
            replace: vec!["c.d".into()],
            lock_timeout: Some("5m".parse().unwrap()),
            parallelism: Some(3),
            has_ephemeral: true,
        };
        assert_eq!(
            plan_args(&request).join(" "),
            "plan -input=false -detailed-exitcode -out=/p/plan -var-file=/p/v.json -lock-timeout=300s -parallelism=3 -target=a.b -replace=c.d -destroy"
        );
        assert_eq!(
            apply_args(&request).join(" "),
            "apply -input=false -json -lock-timeout=300s -parallelism=3 -var-file=/p/v.json /p/plan"
        );
    }
}
