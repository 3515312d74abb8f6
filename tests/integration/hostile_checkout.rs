//! A checkout in which every setting, attribute and hook of git names a program that leaves a
//! trace: plain git runs them, and no command of cdflow does.

use crate::support::{Project, Runner, git, in_repository};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The settings of git that name a program.
const SETTINGS: [&str; 34] = [
    "alias.cat-file",
    "alias.diff-index",
    "alias.ls-tree",
    "alias.rev-parse",
    "alias.status",
    "core.alternateRefsCommand",
    "core.askPass",
    "core.editor",
    "core.fsmonitor",
    "core.gitProxy",
    "core.pager",
    "core.sshCommand",
    "credential.helper",
    "diff.external",
    "diff.x.command",
    "diff.x.textconv",
    "filter.x.clean",
    "filter.x.process",
    "filter.x.smudge",
    "filter.y.clean",
    "filter.y.smudge",
    "gpg.program",
    "gpg.ssh.defaultKeyCommand",
    "gpg.ssh.program",
    "interactive.diffFilter",
    "merge.x.driver",
    "pager.diff",
    "pager.log",
    "pager.status",
    "remote.origin.receivepack",
    "remote.origin.uploadpack",
    "sequence.editor",
    "trace2.eventTarget",
    "uploadpack.packObjectsHook",
];

/// See githooks(5).
const HOOKS: [&str; 24] = [
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-receive",
    "post-rewrite",
    "post-update",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "pre-receive",
    "prepare-commit-msg",
    "proc-receive",
    "push-to-checkout",
    "reference-transaction",
    "sendemail-validate",
    "update",
];

/// What plain git runs at least in such a checkout, of each kind one.
const RUN_BY_GIT: [&str; 8] = [
    "core.fsmonitor",
    "core.sshCommand",
    "diff.external",
    "diff.x.command",
    "diff.x.textconv",
    "filter.x.process",
    "filter.y.clean",
    "post-index-change",
];

/// The commands that help and manual pages do not name.
const HIDDEN: [&str; 3] = ["credential-process", "man", "post"];

/// Command lines of every command, in an order in which each has something to do. True: it reads
/// the checkout, so it is refused in a run for `issues`.
const COMMANDS: [(&str, &[&str], bool); 34] = [
    ("release", &["2", "--dry-run"], true),
    ("release", &["2"], true),
    ("releases", &[], true),
    ("inspect", &["1"], true),
    ("deploy", &["ci", "1", "--plan-only"], true),
    ("deploy", &["ci", "1"], true),
    ("deploy", &["ci"], true),
    ("rollback", &["ci"], true),
    ("shell", &["ci", "--", "true"], true),
    ("preview up", &["--pull-request", "7"], true),
    ("preview down", &["--pull-request", "7"], true),
    ("preview reap", &[], true),
    ("status", &[], true),
    ("history", &["ci"], true),
    ("prune", &["--keep", "9"], true),
    ("unlock", &["ci"], true),
    ("hold", &["ci", "--pull-request", "7"], true),
    ("unhold", &["ci"], true),
    ("adopt", &["new", "1", "--from", "s3://nowhere/x.tfstate"], true),
    ("doctor", &[], true),
    ("doctor", &["ci"], true),
    ("destroy", &["ci", "--confirm", "ci"], true),
    ("comment check", &[], false),
    ("comment run", &[], false),
    ("unaffected", &[], false),
    ("build", &["--dry-run"], false),
    ("build", &["--dev", "--dry-run"], false),
    ("dockerfile", &[], false),
    ("init", &["--type", "infrastructure", "new"], false),
    ("init", &["--type", "function", "other"], false),
    ("completions", &["bash"], false),
    ("man", &["pages"], false),
    ("credential-process", &["socket"], false),
    ("post", &[], false),
];

/// A checkout whose programs are files named as their settings and hooks. Each leaves a file of its
/// name in `traces`.
struct Hostile {
    project: Project,
    traces: PathBuf,
}

impl Hostile {
    fn new(project: Project) -> Self {
        project.write(".gitattributes", ATTRIBUTES).commit("Attributes");
        let work = project.sandbox().work().to_owned();
        let (programs, traces) = (work.join("programs"), work.join("traces"));
        let hooks = project.path(".git/hooks");
        for folder in [&programs, &traces, &hooks] {
            fs::create_dir_all(folder).unwrap();
        }
        let program = |path: PathBuf| {
            let trace = traces.join(path.file_name().unwrap());
            fs::write(&path, format!("#!/bin/sh\n: >'{}'\nexit 1\n", trace.display())).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        };
        for hook in HOOKS {
            program(hooks.join(hook));
        }
        let mut settings: Vec<(&str, String)> =
            SETTINGS.iter().map(|name| (*name, program(programs.join(name)))).collect();
        for (name, value) in settings.iter_mut().filter(|it| it.0.starts_with("alias.")) {
            *value = format!("!{}", programs.join(name).display());
        }
        let promised = [
            ("core.repositoryformatversion", "1"),
            ("extensions.partialClone", "origin"),
            ("remote.origin.url", "ssh://example.invalid/acme/greeting.git"),
            ("remote.origin.promisor", "true"),
        ];
        settings.extend(promised.map(|(name, value)| (name, value.to_owned())));
        // Only plain text is written: git itself would run some of them.
        let file = project.path(".git/config");
        let blob = project.git(["rev-parse", "HEAD:config/common.json"]);
        for (name, value) in &settings {
            project.git(["config", "--file", file.to_str().unwrap(), name, value]);
        }
        // Changed files, and an object that git would fetch to compare one of them.
        project.append("config/common.json", "\n").append("infra/main.tf", "\n");
        project.append("config/live.json", "\n").append("extra/x", "\n");
        let (folder, name) = blob.split_at(2);
        fs::remove_file(project.path(&format!(".git/objects/{folder}/{name}"))).unwrap();
        let it = Self { project, traces };
        it.traced();
        it
    }

    /// Runs plain git, whose traces show that the programs would be run.
    fn check_armed(&self) {
        for arguments in [
            &["status"][..],
            &["diff", "--", "extra"],
            &["diff", "--no-ext-diff", "--", "extra"],
            &["diff", "--", "infra"],
            &["diff", "--", "config/live.json"],
            &["fetch", "origin"],
        ] {
            git(self.project.sandbox(), self.project.dir(), arguments).run();
        }
        let traced = self.traced();
        for program in RUN_BY_GIT {
            assert!(traced.contains(program), "{program} is not run: {traced:?}");
        }
    }

    /// Returns the programs that were run since the last call.
    fn traced(&self) -> BTreeSet<String> {
        let found = fs::read_dir(&self.traces).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            fs::remove_file(&path).unwrap();
            path.file_name().unwrap().to_str().unwrap().to_owned()
        });
        found.collect()
    }

    fn step(&self, command: &str, arguments: &[&str], event: &str) -> Runner {
        let project = &self.project;
        let file = project.sandbox().work().join("event.json");
        let content = json!({
            "action": "created",
            "repository": { "id": 1, "full_name": "acme/greeting" },
            "issue": { "number": 7, "pull_request": {} },
            "comment": { "id": 1, "body": "/cdflow plan ci", "user": { "login": "ada" } },
        });
        fs::write(&file, content.to_string()).unwrap();
        let head = fs::read_to_string(project.path(".git/refs/heads/main")).unwrap();
        project
            .cdflow(command.split(' ').chain(arguments.iter().copied()))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_EVENT_NAME", event)
            .env("GITHUB_EVENT_PATH", file)
            .env("GITHUB_SHA", head.trim())
    }
}

/// git ends at the first filter or diff that fails, so each has files of its own. `x` has a
/// process, which comes before its other programs.
const ATTRIBUTES: &str = "* filter=y\nconfig/* filter=x\nextra/* -filter diff=x merge=x\n";

#[test]
fn no_command_runs_a_program_of_the_checkout() {
    let project = Project::local("greeting");
    project.write("extra/x", "").commit("More");
    project.release("1");
    project.deploy("ci", "1");
    let hostile = Hostile::new(project);
    let function = Project::local("function");
    function.edit("cdflow.yml", "type: infrastructure", "type: function");
    function.write("functions.rs", "pub fn handler() {}\n").write("extra/x", "").commit("More");
    let function = Hostile::new(function);
    for it in [&hostile, &function] {
        it.check_armed();
    }
    for (command, arguments, reads) in COMMANDS {
        let it = if ["build", "dockerfile"].contains(&command) { &function } else { &hostile };
        for event in ["push", "issues", "issue_comment"] {
            // A comment leads to the same checks as any other event.
            if event == "issue_comment" && !command.starts_with("comment") {
                continue;
            }
            let output = it.step(command, arguments, event).run();
            let is_restricted =
                output.stdout.contains(&format!("a run for `{event}` must not use"));
            let expected = match event {
                "issues" => reads,
                "issue_comment" => true,
                _ => false,
            };
            assert_eq!(is_restricted, expected, "{command} {arguments:?} {event}: {output}");
            let traced = it.traced();
            assert!(traced.is_empty(), "{command} {arguments:?} {event} runs {traced:?}");
        }
    }
    for it in [&hostile, &function] {
        it.check_armed();
    }
}

/// The test above has a command line of each command.
#[test]
fn every_command_is_tried() {
    let project = Project::local("greeting");
    project.cdflow(["man", "pages"]).run().success();
    let pages = fs::read_dir(project.path("pages")).unwrap().map(|page| {
        let name = page.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".1").unwrap().to_owned()
    });
    let pages: BTreeSet<String> = pages.collect();
    let has_pages_below = |page: &str| {
        let below = format!("{page}-");
        pages.iter().any(|other| other.starts_with(&below))
    };
    let visible = pages.iter().filter(|page| !has_pages_below(page));
    let visible = visible.map(|page| page.strip_prefix("cdflow-").unwrap().replace('-', " "));
    let all: BTreeSet<String> = visible.chain(HIDDEN.map(str::to_owned)).collect();
    let tried: BTreeSet<String> = COMMANDS.iter().map(|it| it.0.to_owned()).collect();
    assert_eq!(tried, all);
    let source = fs::read_to_string(in_repository("src/cli/args/mod.rs")).unwrap();
    assert_eq!(source.matches("#[command(hide = true)]").count(), HIDDEN.len());
}
