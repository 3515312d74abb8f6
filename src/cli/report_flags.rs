//! The report flags of a command, and whether its files can be written, which is checked before
//! anything is done.

use std::path::{Path, PathBuf};

use super::{
    args::{Command, CommentStep, ComponentCommand, PlanInputs, PreviewCommand, ReportInputs},
    values::MergeDeploys,
};
use crate::{
    base::{
        checkout_path,
        error::{Error, Result},
    },
    config::settings::Commenting,
};

/// Where a run reports, apart from the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportFlags {
    /// The command's name; empty for a command without a report.
    pub(crate) command: &'static str,
    /// A file.
    pub(crate) markdown: Option<PathBuf>,
    /// A file.
    pub(crate) json: Option<PathBuf>,
    pub(crate) comment: Option<Commenting>,
    /// How many rows the check run waits for.
    pub(crate) check: Option<usize>,
    /// The environments to which merging deploys.
    pub(crate) merge_deploys: Option<MergeDeploys>,
    /// A folder.
    pub(crate) plan_out: Option<PathBuf>,
    /// The Terraform output with the environment's URL.
    pub(crate) url_output: Option<String>,
}

impl ReportFlags {
    /// Collects the report flags of `command`, wherever it declares them.
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::Component(command) => Self::of_component(command),
            Command::Comment(CommentStep::Run(it)) => {
                Self::new("comment run", &it.report).with_url(&it.url_output)
            }
            _ => Self::default(),
        }
    }

    pub(crate) fn of_component(command: &ComponentCommand) -> Self {
        match command {
            ComponentCommand::Release(it) => Self::new("release", &it.report),
            ComponentCommand::Deploy(it) => {
                Self::new("deploy", &it.report).with_plan(&it.plan).with_url(&it.url_output)
            }
            ComponentCommand::Destroy(it) => Self::new("destroy", &it.report).with_plan(&it.plan),
            ComponentCommand::Rollback(it) => {
                Self::new("rollback", &it.report).with_plan(&it.plan).with_url(&it.url_output)
            }
            ComponentCommand::Preview(PreviewCommand::Up(it)) => {
                Self::new("preview up", &it.report).with_plan(&it.plan).with_url(&it.url_output)
            }
            ComponentCommand::Preview(PreviewCommand::Down(it)) => {
                Self::new("preview down", &it.report).with_plan(&it.plan)
            }
            ComponentCommand::Preview(PreviewCommand::Reap(it)) => {
                Self::new("preview reap", &it.report)
            }
            _ => Self::default(),
        }
    }

    fn new(command: &'static str, inputs: &ReportInputs) -> Self {
        let ReportInputs { report_markdown, report_json, comment, check, merge_deploys } =
            inputs.clone();
        let (markdown, json) = (report_markdown, report_json);
        Self { command, markdown, json, comment, check, merge_deploys, ..Self::default() }
    }

    fn with_plan(self, plan: &PlanInputs) -> Self {
        Self { plan_out: plan.plan_out.clone(), ..self }
    }

    fn with_url(self, output: &Option<String>) -> Self {
        Self { url_output: output.clone(), ..self }
    }

    /// Fails if a file or folder of the report cannot be written. Leaves nothing behind.
    pub(crate) fn check(&self) -> Result<()> {
        for (flag, path) in [("--report-markdown", &self.markdown), ("--report-json", &self.json)] {
            if let Some(path) = path {
                check_file(flag, path)?;
            }
        }
        self.plan_out.as_deref().map_or(Ok(()), check_folder)
    }
}

fn check_file(flag: &str, path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::input(format!("the report `{}` is a folder", path.display()))
            .hint(format!("name a file in it: {flag} {}", path.join("report").display())));
    }
    let folder =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    checkout_path::resolve(folder)?;
    check_writable(folder).map_err(|error| {
        Error::io("cannot write the report", path, &error)
            .hint(format!("name a file in a folder that exists and is writable: {flag} FILE"))
    })
}

/// The folder itself is created only when there is a plan: until then its nearest existing ancestor
/// must be writable.
fn check_folder(folder: &Path) -> Result<()> {
    checkout_path::resolve(folder)?;
    let exists = |folder: &&Path| folder.symlink_metadata().is_ok();
    let nearest = folder.ancestors().filter(|folder| !folder.as_os_str().is_empty()).find(exists);
    check_writable(nearest.unwrap_or(Path::new("."))).map_err(|error| {
        Error::io("cannot create the folder of `--plan-out`", folder, &error)
            .hint("name a folder that is writable, or that cdflow can create")
    })
}

fn check_writable(folder: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}
