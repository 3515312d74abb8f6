//! One hook: its files, its environment, its output and its end.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::changed::changed;
use crate::{
    base::{
        error::{Error, Exit, Result},
        limits::Limit,
        printable,
        process::{self, Life, Output, Program},
        run_folder::{read_left_file, write_new},
        small_file,
        units::bytes_text,
    },
    config::hooks::Hook,
    context::Context,
    deploy::{order::Order, prepare::Prepared},
};

/// In bytes. The log shows no more of a hook's output.
const OUTPUT_LIMIT: usize = 1 << 20;
/// In bytes. A larger report is not read.
const REPORT_LIMIT: u64 = 1 << 20;

/// What a hook can read.
pub(super) struct Documents<'a> {
    /// Terraform's JSON of the plan, masked.
    pub(super) plan: &'a str,
    /// After an apply: the outputs that are not sensitive, as JSON.
    pub(super) outputs: Option<&'a str>,
}

pub(super) struct HookRun<'a> {
    pub(super) context: &'a Context,
    pub(super) order: &'a Order<'a>,
    pub(super) prepared: &'a Prepared,
    pub(super) hook: &'a Hook,
    /// The name of the folder for its files.
    pub(super) folder: &'a str,
}

pub(super) struct Ended {
    /// None: it did not run to its end.
    pub(super) code: Option<i32>,
    /// Why it did not pass, on one line.
    pub(super) failure: Option<String>,
    /// What it wrote for the report, masked.
    pub(super) report: Option<String>,
}

impl Ended {
    fn without_end(why: impl Into<String>) -> Self {
        Self { code: None, failure: Some(why.into()), report: None }
    }
}

/// Passes on lines until there are too many.
struct Shown {
    /// Of the unpacked release, which is nothing to the reader.
    root: String,
    bytes: usize,
    left_out: usize,
}

impl Shown {
    fn line(&mut self, line: &str) -> Option<String> {
        self.bytes += line.len() + 1;
        if self.bytes > OUTPUT_LIMIT {
            self.left_out += 1;
            return None;
        }
        Some(line.replace(&self.root, ""))
    }
}

impl HookRun<'_> {
    /// Runs it to its end. An error is a problem of cdflow's own, such as a full disk.
    pub(super) async fn run(&self, documents: &Documents<'_>) -> Result<Ended> {
        let host = &self.context.host;
        let (folder, plan) = self.files(documents)?;
        let report = folder.join("report");
        let mut env = self.env();
        for (name, path) in [
            ("CDFLOW_PLAN_JSON", Some(plan.clone())),
            ("CDFLOW_HOOK_REPORT", Some(report.clone())),
            ("CDFLOW_OUTPUTS_JSON", documents.outputs.map(|_| folder.join("outputs.json"))),
            ("HOME", Some(folder.clone())),
            ("TMPDIR", Some(folder.join("tmp"))),
            // Python would add files to the release.
            ("PYTHONDONTWRITEBYTECODE", Some("1".into())),
        ] {
            env.extend(path.map(|path| (name.into(), path.into())));
        }
        let Some(program) = self.program(&env) else {
            let program = self.hook.program();
            return Ok(Ended::without_end(match self.hook.file() {
                Some(_) => format!("the release does not contain `{program}`"),
                None => format!("`{program}` is not in PATH"),
            }));
        };
        if let Some(manifest) = &self.prepared.bundle.manifest
            && let Some(change) = changed(&self.prepared.bundle.root, manifest, &self.hook.run)
        {
            return Ok(Ended::without_end(change));
        }
        let places = [("{plan}", &plan), ("{report}", &report)];
        let args = self.hook.run.iter().skip(1).map(|word| {
            places.iter().fold(word.clone(), |word, (name, path)| {
                word.replace(name, &path.to_string_lossy())
            })
        });
        let life = Life::Stoppable { limit: Limit::Hook, stop: Limit::Stop };
        let root = &self.prepared.bundle.root;
        let run_as = self.prepared.terraform.run_as();
        let program = Program::new(&program, root, &env, run_as, life).args(args);
        let program = program.with_output(Output::Pipe);
        let mut shown = Shown { root: format!("{}/", root.display()), bytes: 0, left_out: 0 };
        let mut sink = |line: &str| {
            if let Some(line) = shown.line(line) {
                host.log.program_output(&line);
            }
        };
        let ended = program.relay(&host.log, &host.interrupt, &mut sink).await;
        if shown.left_out > 0 {
            host.log.note(&format!("{} more line(s) are not shown", shown.left_out));
        }
        let code = match ended {
            Ok(ended) => ended.code,
            Err(error) => return self.without_end(&error),
        };
        let failure = match code {
            0 => None,
            // As a shell counts signals.
            code if code > 128 => Some(format!("ended by signal {}", code - 128)),
            code => Some(format!("exit code {code}")),
        };
        Ok(Ended { code: Some(code), failure, report: self.report(&report) })
    }

    fn without_end(&self, error: &Error) -> Result<Ended> {
        let why = match error.exit() {
            Exit::Refused => Limit::Hook.passed("it did not end"),
            // Such as a missing interpreter.
            Exit::Input => {
                let fixes = error.hints().iter().filter(|hint| *hint == process::FIRST_LINE);
                let fixes: String = fixes.map(|hint| format!("; {hint}")).collect();
                let why = self.absent_interpreter().unwrap_or_else(|| error.cause().to_string());
                format!("cannot start `{}`: {why}{fixes}", self.hook.program())
            }
            exit => {
                return Err(Error::new(exit, format!("the hook `{}` failed", self.hook.name))
                    .why(error.cause()));
            }
        };
        Ok(Ended::without_end(why))
    }

    /// The system reports a missing interpreter as if the script were missing.
    fn absent_interpreter(&self) -> Option<String> {
        let script = small_file::text(&self.prepared.bundle.root.join(self.hook.file()?)).ok()?;
        let interpreter = script.lines().next()?.strip_prefix("#!")?.split_whitespace().next()?;
        let is_absent = !Path::new(interpreter).exists();
        is_absent.then(|| {
            let interpreter = printable::excerpt(interpreter);
            format!("its interpreter `{interpreter}` does not exist here")
        })
    }

    /// Writes what the hook reads, into a folder that it can write to.
    fn files(&self, documents: &Documents<'_>) -> Result<(PathBuf, PathBuf)> {
        let folder = self.prepared.private.folder(self.folder)?;
        let plan = folder.join("plan.tfplan.json");
        write_new(&plan, documents.plan.as_bytes())?;
        if let Some(outputs) = documents.outputs {
            write_new(&folder.join("outputs.json"), outputs.as_bytes())?;
        }
        let temporary = folder.join("tmp");
        fs::create_dir(&temporary)
            .map_err(|error| Error::io("cannot create the folder", &temporary, &error))?;
        self.prepared.terraform.run_as().give(&folder)?;
        Ok((folder, plan))
    }

    /// Returns the variables of the hook: none of AWS, GitHub or the step, except those that
    /// `pass-environment` names.
    fn env(&self) -> BTreeMap<OsString, OsString> {
        let environment = &self.context.host.environment;
        let mut env = environment.for_programs();
        for name in &self.context.pass_environment {
            env.extend(environment.get(name).map(|value| (name.into(), value.into())));
        }
        let release = &self.order.subject.release;
        let commit = self.prepared.facts.commit().unwrap_or_default();
        for (name, value) in [
            ("CDFLOW_TEAM", release.identity.team.as_str()),
            ("CDFLOW_COMPONENT", release.identity.component.as_str()),
            ("CDFLOW_ENVIRONMENT", self.order.environment().as_str()),
            ("CDFLOW_VERSION", release.version.as_str()),
            ("CDFLOW_COMMIT", commit),
        ] {
            env.insert(name.into(), value.into());
        }
        env
    }

    fn program(&self, env: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
        match self.hook.file() {
            Some(file) => Some(self.prepared.bundle.root.join(file)).filter(|path| path.is_file()),
            None => {
                let path = env.get(std::ffi::OsStr::new("PATH"));
                process::find(self.hook.program(), path.map(OsString::as_os_str))
            }
        }
    }

    /// Reads what the hook wrote for the report. Trouble is a warning.
    fn report(&self, path: &Path) -> Option<String> {
        let log = &self.context.host.log;
        let not_shown = |why: &str| {
            log.warning(&format!(
                "the report of the hook `{}` is not shown: {why}",
                self.hook.name
            ));
        };
        let size = fs::symlink_metadata(path).map(|found| found.len()).unwrap_or_default();
        if size > REPORT_LIMIT {
            not_shown(&format!("it is larger than {}", bytes_text(REPORT_LIMIT)));
            return None;
        }
        match read_left_file(path) {
            Ok(content) => {
                let text = String::from_utf8_lossy(&content);
                let text = text.replace(&format!("{}/", self.prepared.bundle.root.display()), "");
                Some(log.redactor.apply(&text).into_owned())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                not_shown(&error.to_string());
                None
            }
        }
    }
}
