//! The container Action, started as GitHub's runner starts it (actions/runner,
//! ContainerActionHandler): by `docker run`, with the job's folders mounted, inputs and context as
//! variables, and the engine's socket.

use super::github::{GitHub, REPOSITORY_ID};
use super::{Lab, Output, Project, Runner, Running, Sandbox, action_image, git};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The user that runs the jobs on GitHub's own machines; in the container we are root.
pub(crate) const RUNNER: u32 = 1001;

/// A job whose checkout is the project's, with the folders that the runner keeps for it.
pub(crate) struct Job<'a> {
    lab: &'a Lab,
    project: &'a Project,
    sandbox: Sandbox,
    environment: BTreeMap<String, String>,
    mounts: Vec<(PathBuf, PathBuf)>,
    image: &'static str,
}

impl<'a> Job<'a> {
    /// For a push to `main`. From here on the checkout belongs to the runner's user.
    pub(crate) fn new(lab: &'a Lab, project: &'a Project) -> Self {
        let sandbox = Sandbox::new();
        for folder in ["home", "workflow", "file_commands", "runner_temp"] {
            fs::create_dir(sandbox.work().join(folder)).unwrap();
        }
        let repository = format!("acme/{}", project.name());
        let environment = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTION", "step"),
            ("GITHUB_ACTOR", "ada"),
            ("GITHUB_API_URL", "http://127.0.0.1:9"),
            ("GITHUB_EVENT_PATH", "/github/workflow/event.json"),
            ("GITHUB_JOB", "deploy"),
            ("GITHUB_OUTPUT", "/github/file_commands/set_output_1"),
            ("GITHUB_REPOSITORY", &repository),
            ("GITHUB_REPOSITORY_ID", &REPOSITORY_ID.to_string()),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_RUN_ID", "4711"),
            ("GITHUB_RUN_NUMBER", "42"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_SHA", &project.head()),
            ("GITHUB_STATE", "/github/file_commands/save_state_1"),
            ("GITHUB_STEP_SUMMARY", "/github/file_commands/step_summary_1"),
            ("GITHUB_WORKFLOW", "deploy"),
            ("GITHUB_WORKSPACE", "/github/workspace"),
            ("HOME", "/github/home"),
            ("RUNNER_OS", "Linux"),
            ("RUNNER_TEMP", "/github/runner_temp"),
            // The runner passes it on, but does not mount the folder.
            ("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache"),
        ];
        let environment =
            environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        own(&project.dir());
        let image = action_image::full(lab);
        let job = Self { lab, project, sandbox, environment, mounts: Vec::new(), image };
        job.event("push", "refs/heads/main", "branch", "main", json!({ "ref": "refs/heads/main" }))
    }

    /// What has started it.
    pub(crate) fn event(
        mut self,
        name: &str,
        reference: &str,
        kind: &str,
        short: &str,
        mut event: Value,
    ) -> Self {
        event["repository"] = json!({
            "id": REPOSITORY_ID, "full_name": format!("acme/{}", self.project.name()),
            "default_branch": "main",
            "owner": { "login": "acme" }, "name": self.project.name(),
        });
        fs::write(self.sandbox.work().join("workflow/event.json"), event.to_string()).unwrap();
        let set = [
            ("GITHUB_EVENT_NAME", name),
            ("GITHUB_REF", reference),
            ("GITHUB_REF_TYPE", kind),
            ("GITHUB_REF_NAME", short),
        ];
        self.environment.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// GitHub's API answers; without it there is none.
    pub(crate) fn github(self, github: &GitHub) -> Self {
        let url = github.url().to_owned();
        self.lab.relay(url.rsplit(':').next().unwrap().parse().unwrap());
        self.env([
            ("GITHUB_API_URL", url.as_str()),
            ("GITHUB_GRAPHQL_URL", &format!("{url}/graphql")),
        ])
    }

    /// With the image that has no Terraform.
    pub(crate) fn without_terraform(mut self) -> Self {
        self.image = action_image::slim(self.lab);
        self
    }

    /// In the environment of every step.
    pub(crate) fn env<'s>(mut self, pairs: impl IntoIterator<Item = (&'s str, &'s str)>) -> Self {
        self.environment
            .extend(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// A folder that no runner mounts: what a step would have from the network.
    pub(crate) fn mounted(mut self, folder: &Path, inside: impl AsRef<Path>) -> Self {
        fs::create_dir_all(folder).unwrap();
        self.mounts.push((folder.to_owned(), inside.as_ref().to_owned()));
        self
    }

    /// A step that uses the Action.
    pub(crate) fn step(&self, inputs: &[(&str, &str)]) -> Step<'_> {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        // The runner upper-cases names and keeps their hyphens.
        let inputs = inputs
            .iter()
            .map(|(name, value)| (format!("INPUT_{}", name.to_uppercase()), (*value).to_owned()));
        let name =
            format!("step-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        for file in ["set_output_1", "save_state_1", "step_summary_1"] {
            fs::write(self.file(file), "").unwrap();
        }
        Step {
            job: self,
            name,
            environment: self.environment.clone().into_iter().chain(inputs).collect(),
            post: false,
        }
    }

    /// A file of the step that ran last, as it is on the runner.
    fn file(&self, name: &str) -> PathBuf {
        self.sandbox.work().join("file_commands").join(name)
    }

    pub(crate) fn outputs(&self) -> BTreeMap<String, String> {
        entries_of_runner(&fs::read_to_string(self.file("set_output_1")).unwrap())
    }

    pub(crate) fn state(&self) -> BTreeMap<String, String> {
        entries_of_runner(&fs::read_to_string(self.file("save_state_1")).unwrap())
    }

    pub(crate) fn summary(&self) -> String {
        fs::read_to_string(self.file("step_summary_1")).unwrap()
    }

    /// Files in the checkout that a runner that is not root could not remove.
    pub(crate) fn not_the_runners(&self) -> Vec<PathBuf> {
        use std::os::unix::fs::MetadataExt;
        let entries = walkdir::WalkDir::new(self.project.dir()).into_iter().map(Result::unwrap);
        entries
            .filter(|it| it.metadata().unwrap().uid() != RUNNER)
            .map(walkdir::DirEntry::into_path)
            .collect()
    }

    /// Git in the checkout, as the runner's own user would use it.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let harmless = ["-c", "safe.directory=*"];
        let output = git(&self.sandbox, self.project.dir(), harmless.iter().chain(arguments)).run();
        output.success().stdout.trim_end().to_owned()
    }
}

/// A container about to be started.
pub(crate) struct Step<'a> {
    job: &'a Job<'a>,
    name: String,
    environment: BTreeMap<String, String>,
    post: bool,
}

impl Step<'_> {
    /// The clean-up that follows the step: the other entry point, with what the step saved.
    pub(crate) fn post(&self) -> Self {
        let saved =
            self.job.state().into_iter().map(|(name, value)| (format!("STATE_{name}"), value));
        let environment = self.environment.clone().into_iter().chain(saved).collect();
        Self { job: self.job, name: format!("{}-post", self.name), environment, post: true }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The container's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The network of the laboratory, in which alone moto is reached.
    #[track_caller]
    pub(crate) fn run(&self) -> Output {
        self.command("host").run()
    }

    #[track_caller]
    pub(crate) fn spawn(&self) -> Running {
        self.command("host").spawn()
    }

    /// `docker run`, as the runner words it. Values reach it through the environment, where names
    /// may have hyphens; a shell on the way would drop those.
    pub(crate) fn command(&self, network: &str) -> Runner {
        let Self { job, .. } = self;
        let mut words: Vec<String> =
            self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let engine = job.lab.docker_host();
        words.extend(["docker", "--host", &engine, "run", "--name", &self.name].map(str::to_owned));
        words.extend(["--workdir", "/github/workspace", "--rm"].map(str::to_owned));
        for name in self.environment.keys() {
            words.extend(["-e".to_owned(), name.clone()]);
        }
        if self.post {
            words.extend(["--entrypoint", "/usr/local/bin/cdflow-post"].map(str::to_owned));
        }
        let socket = engine.trim_start_matches("unix://").to_owned();
        let mut mounts =
            vec![(socket, "/var/run/docker.sock"), (text(&job.project.dir()), "/github/workspace")];
        for (folder, inside) in [
            ("home", "/github/home"),
            ("workflow", "/github/workflow"),
            ("file_commands", "/github/file_commands"),
            ("runner_temp", "/github/runner_temp"),
        ] {
            mounts.push((text(&job.sandbox.work().join(folder)), inside));
        }
        mounts.extend(
            job.mounts.iter().map(|(folder, inside)| (text(folder), inside.to_str().unwrap())),
        );
        for (outside, inside) in mounts {
            words.extend(["-v".to_owned(), format!("{outside}:{inside}")]);
        }
        words.extend(["--network".to_owned(), network.to_owned(), job.image.to_owned()]);
        Runner::new("env", words, &job.sandbox).in_lab(job.lab)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn own(folder: &Path) {
    for entry in walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap) {
        lchown(entry.path(), Some(RUNNER), Some(RUNNER)).unwrap();
    }
}

/// As the runner reads its files: `name<<delimiter`, lines, `delimiter`. A later entry takes the
/// place of an earlier one.
pub(crate) fn entries_of_runner(text: &str) -> BTreeMap<String, String> {
    let mut lines = text.lines();
    let mut found = BTreeMap::new();
    while let Some(line) = lines.next() {
        let (name, delimiter) =
            line.split_once("<<").unwrap_or_else(|| panic!("not `name<<delimiter`: {line}"));
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        found.insert(name.to_owned(), value.join("\n"));
    }
    found
}
