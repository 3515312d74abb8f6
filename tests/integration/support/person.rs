//! A person who follows a section of a document: the shell runs its commands as they are written
//! there, and its other code blocks are files that the person writes.

use super::{Aws, Mirror, Output, Runner, Sandbox, in_repository};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One step of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Type(String),
    /// The paragraph before the block names the file, and says so if the lines are added to it.
    Write {
        file: String,
        lines: String,
        is_added: bool,
    },
}

impl Step {
    /// Whether it is a command that begins so.
    pub(crate) fn types(&self, start: &str) -> bool {
        matches!(self, Self::Type(command) if command.starts_with(start))
    }
}

/// The steps of a section, in their order. `title` is its heading.
pub(crate) fn steps_of(document: &str, title: &str) -> Vec<Step> {
    let (_, section) = document.split_once(&format!("\n## {title}\n")).unwrap();
    let mut lines = section.split("\n## ").next().unwrap().lines();
    let (mut steps, mut paragraph, mut is_new) = (Vec::new(), String::new(), true);
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if is_new && !line.trim().is_empty() {
                paragraph.clear();
            }
            is_new = line.trim().is_empty();
            paragraph += &format!("{line} ");
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        let block = block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default()));
        if language == "sh" {
            steps.extend(block.map(|line| Step::Type(line.trim_end().to_owned())));
            continue;
        }
        let named = paragraph.split('`').skip(1).step_by(2).find(|word| word.contains('.'));
        steps.push(Step::Write {
            file: named.unwrap_or_else(|| panic!("no file is named: {paragraph}")).to_owned(),
            lines: block.collect(),
            is_added: paragraph.contains("to the end of"),
        });
    }
    steps
}

/// GitHub's own program does more; this does what the checkout sees of it.
const GH: &str = r#"#!/bin/sh
set -eu
case "$*" in
"repo create acme/checkout --private --source .")
    git remote add origin https://github.com/acme/checkout.git
    ;;
"variable set --env-file -") cat >"$HOME/variables" ;;
"pr create --fill") git push --quiet --set-upstream origin HEAD ;;
"pr merge --merge") ;;
*) echo "gh $*: not known here" >&2 && exit 1 ;;
esac
"#;

/// A build that finds its work done.
const CARGO: &str = "#!/bin/sh\nset -eu\nmkdir -p target/debug\nln -s BUILT target/debug/cdflow\n";

pub(crate) struct Person {
    sandbox: Sandbox,
    /// Where the shell is.
    pub(crate) folder: PathBuf,
    /// What the document says, and what it is in this test.
    instead: Vec<(String, String)>,
    variables: Vec<(String, String)>,
}

impl Person {
    /// `variables` are further ones of the person's environment.
    pub(crate) fn new(
        sandbox: &Sandbox,
        aws: &Aws,
        instead: &[(&str, String)],
        variables: &[(&str, String)],
    ) -> Self {
        let programs = sandbox.root().join("programs");
        fs::create_dir(&programs).unwrap();
        let built = CARGO.replace("BUILT", env!("CARGO_BIN_EXE_cdflow"));
        for (name, script) in [("gh", GH), ("cargo", &built)] {
            fs::write(programs.join(name), script).unwrap();
            fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let owned = |pairs: &[(&str, String)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, it)| ((*name).to_owned(), it.clone())).collect()
        };
        let of_aws = aws.env().into_iter().map(|(name, it)| (name.to_owned(), it.to_owned()));
        let person = Self {
            sandbox: sandbox.clone(),
            folder: sandbox.work(),
            instead: owned(instead),
            variables: of_aws.chain(owned(variables)).collect(),
        };
        let work = sandbox.work();
        person.git(&work, &["config", "--global", "user.name", "Ada"]);
        person.git(&work, &["config", "--global", "user.email", "ada@example.com"]);
        person
    }

    /// An empty repository on GitHub.
    pub(crate) fn hosts(&self, name: &str) -> PathBuf {
        let hosted = self.hosted(name);
        let path = hosted.to_str().unwrap();
        self.git(&self.folder, &["init", "--quiet", "--bare", "--initial-branch", "main", path]);
        let key = format!("url.{path}.insteadOf");
        let url = format!("https://github.com/{name}");
        self.git(&self.folder, &["config", "--global", "--add", &key, &format!("{url}.git")]);
        self.git(&self.folder, &["config", "--global", "--add", &key, &url]);
        hosted
    }

    /// The repository on GitHub.
    pub(crate) fn hosted(&self, name: &str) -> PathBuf {
        self.sandbox.root().join("github").join(name)
    }

    /// Hosts what is in cdflow's own repository now, so that a clone has what a commit would have.
    pub(crate) fn hosts_cdflow(&self) {
        let hosted = self.hosts("org/cdflow-action");
        let checkout = self.sandbox.root().join("cdflow");
        let root = in_repository("");
        let is_ours = |entry: &walkdir::DirEntry| {
            let others = ["target", ".git", ".venv", ".demo"];
            !others.iter().any(|other| entry.file_name() == *other)
        };
        let entries = walkdir::WalkDir::new(&root).into_iter().filter_entry(is_ours);
        for entry in entries.map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
            let target = checkout.join(entry.path().strip_prefix(&root).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(entry.path(), target).unwrap();
        }
        self.git(&checkout, &["init", "--quiet", "--initial-branch", "main"]);
        self.git(&checkout, &["add", "--all"]);
        self.git(&checkout, &["commit", "--quiet", "--message", "cdflow"]);
        self.git(&checkout, &["push", "--quiet", hosted.to_str().unwrap(), "main"]);
    }

    /// What GitHub does when a person clicks on "Merge": a commit of both. Returns it.
    pub(crate) fn merges(&self, name: &str, branch: &str) -> String {
        let (hosted, folder) = (self.hosted(name), self.sandbox.root().join("merging"));
        let into = folder.to_str().unwrap();
        self.git(&self.folder, &["clone", "--quiet", hosted.to_str().unwrap(), into]);
        let branch = format!("origin/{branch}");
        self.git(&folder, &["merge", "--quiet", "--no-ff", "--no-edit", &branch]);
        self.git(&folder, &["push", "--quiet", "origin", "main"]);
        self.git(&folder, &["rev-parse", "HEAD"])
    }

    pub(crate) fn git(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.runner("git", arguments).cwd(folder).run();
        output.success().stdout.trim().to_owned()
    }

    /// Does a step as the document has it.
    pub(crate) fn does(&mut self, step: &Step) -> Option<Output> {
        match step {
            Step::Type(command) => {
                // An empty line ends no question; `terraform apply` asks for a `yes`.
                let script = "set -eu\neval \"$0\"\npwd >\"$HOME/folder\"";
                let command = self.here(command);
                let runner = self.runner("bash", ["-o", "pipefail", "-c", script, &command]);
                let output = runner.cwd(&self.folder).stdin("yes\n").run();
                eprintln!("{command}: {:?}", output.elapsed);
                output.success();
                let folder = fs::read_to_string(self.sandbox.home().join("folder")).unwrap();
                self.folder = folder.trim_end().into();
                Some(output)
            }
            Step::Write { file, lines, is_added } => {
                let path = self.folder.join(file);
                let before = fs::read_to_string(&path);
                assert_eq!(before.is_ok(), *is_added, "{file}");
                fs::write(path, before.unwrap_or_default() + &self.here(lines)).unwrap();
                None
            }
        }
    }

    fn here(&self, text: &str) -> String {
        let replaced = |text: String, (from, to): &(String, String)| text.replace(from, to);
        self.instead.iter().fold(text.to_owned(), replaced)
    }

    fn runner(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Runner {
        let programs = self.sandbox.root().join("programs");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        Runner::new(program, arguments, &self.sandbox)
            .providers(&Mirror::aws())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("PATH", path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.sandbox.root().join("gitconfig"))
            .timeout(Duration::from_secs(600))
    }
}
