//! What was reviewed is what is applied: a pull request shows a plan, and `deploy --reviewed`
//! applies only a plan that does the same.

use crate::support::github::{GitHub, TOKEN};
use crate::support::{Output, Project, Reference, Runner, git, pull_request_event};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const CODE: &str = r#"variable "release" {
  type = map(string)
}

variable "size" {
  type    = string
  default = "small"
}

resource "terraform_data" "service" {
  input = { image = "service:${var.release.version}", commit = var.release.commit, size = var.size }
}

resource "terraform_data" "queue" {
  for_each         = toset(["a", "b"])
  triggers_replace = [var.size]
}
"#;

pub(crate) const NUMBER: u64 = 7;

/// A component that is deployed, and a pull request that changes it.
pub(crate) struct Change {
    pub(crate) project: Project,
    pub(crate) github: GitHub,
    /// Of the newest run.
    run: u64,
}

impl Change {
    pub(crate) fn new() -> Self {
        Self::of(Project::local("greeting"))
    }

    pub(crate) fn of(project: Project) -> Self {
        project.write("infra/main.tf", CODE).commit("A service");
        project.release("1-aaaaaaa");
        project.deploy("live", "1-aaaaaaa");
        let github = GitHub::start();
        let mut change = Self { project, github, run: 100 };
        change.project.edit("infra/main.tf", "\"small\"", "\"large\"");
        change.push("Larger");
        change
    }

    /// Pushes to the pull request's branch.
    pub(crate) fn push(&mut self, message: &str) {
        self.project.commit(message);
        let head = self.project.head();
        let mut world = self.github.world();
        match world.pull_requests.get_mut(&NUMBER) {
            Some(found) => found.head_sha = head,
            None => drop(world.pull_request(NUMBER, &head)),
        }
    }

    /// A step of the pull request's workflow.
    pub(crate) fn on_pull_request(&mut self, arguments: &[&str]) -> Runner {
        self.run += 1;
        let event = pull_request_event(NUMBER, &self.project.head(), "open", &[]);
        self.project.for_pull_request(&self.github, &event, self.run, arguments)
    }

    /// Releases the branch and shows the plan.
    pub(crate) fn plan(&mut self) {
        self.on_pull_request(&["release"]).run().success();
        self.on_pull_request(&["deploy", "live", "--plan-only"]).run().success();
    }

    pub(crate) fn review(&self, login: &str, state: &str) {
        self.github.world().review(NUMBER, login, state);
    }

    /// Squashes the branch into one new commit.
    pub(crate) fn merge(&self) {
        self.project.write("merged.txt", "squashed\n").commit("Larger (#7)");
        self.mark_merged();
    }

    /// The newest commit is what the merge created.
    pub(crate) fn mark_merged(&self) {
        let mut world = self.github.world();
        let pull_request = world.pull_requests.get_mut(&NUMBER).unwrap();
        (pull_request.is_open, pull_request.is_merged) = (false, true);
        pull_request.merge_commit_sha = Some(self.project.head());
    }

    pub(crate) fn on_main(&self, arguments: &[&str]) -> Runner {
        let runner = self.project.cdflow(arguments).envs(self.github.env());
        runner.env("GITHUB_TOKEN", TOKEN).env("GITHUB_EVENT_NAME", "push")
    }

    pub(crate) fn release_main(&self) {
        self.on_main(&["release", "2-bbbbbbb"]).run().success();
    }

    fn deploy(&self) -> Runner {
        self.on_main(&["deploy", "live", "2-bbbbbbb", "--reviewed"])
    }

    #[track_caller]
    fn refuses(&self, code: i32, says: &[&str]) -> Output {
        refuses(self.deploy(), code, says)
    }

    pub(crate) fn reviews(&self) -> PathBuf {
        self.project.bundle("1-aaaaaaa").parent().unwrap().join("reviews")
    }

    /// The files of the records, oldest first.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let folder = self.reviews().join("live");
        let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
            .into_iter()
            .filter_map(|entry| Some(entry.ok()?.into_path()))
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        files.sort();
        files
    }
}

/// Fails with this exit code and these words, and leaves the environment as it is.
#[track_caller]
pub(crate) fn refuses(runner: Runner, code: i32, says: &[&str]) -> Output {
    let output = runner.run();
    assert_eq!(output.code, code, "{output}");
    for text in says {
        output.stdout_has(text);
    }
    assert!(!output.stdout.contains("::group::Apply"), "{output}");
    output
}

#[test]
fn what_a_pull_request_showed_is_applied_after_the_merge() {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
    let deployed = change.deploy().run();
    deployed.success().stdout_has("The plan does what pull request #7 showed, approved by grace");
    let (start, _) = &change.project.ledger_entries("live")[1];
    assert_eq!(
        start["reviewed"],
        json!({ "pull_request": 7, "approved_by": ["grace"] }),
        "{start}"
    );
}

#[test]
fn a_release_of_the_same_content_changes_only_its_version() {
    let mut change = Change::new();
    change.project.edit("infra/main.tf", "\"large\"", "\"small\"");
    change.push("As before");
    let said = "Only the version, the commit or the build number of the release changes";
    change.on_pull_request(&["release"]).run().success();
    let planned = change.on_pull_request(&["deploy", "live", "--plan-only"]).run();
    planned.success().stdout_has(said);
    let comment = change.github.world().comments.values().next().unwrap().body.clone();
    assert!(comment.contains(said), "{comment}");
    change.project.edit("infra/main.tf", "\"small\"", "\"large\"");
    change.push("Larger");
    change.on_pull_request(&["release"]).run().success();
    change.on_pull_request(&["deploy", "live", "--plan-only"]).run().success().lacks(said);
}

#[test]
fn a_plan_that_does_something_else_is_refused_with_the_attributes() {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    change.merge();
    change.project.edit("infra/main.tf", "\"large\"", "\"huge\"").edit(
        "infra/main.tf",
        "[\"a\", \"b\"]",
        "[\"b\", \"c\"]",
    );
    change.merge();
    change.release_main();
    let refused = change.refuses(
        3,
        &[
            "the plan is not the one that pull request #7 showed for `live`",
            "- terraform_data.queue[\"a\"]: reviewed: replace (destroy first); now: destroy",
            "- terraform_data.queue[\"b\"]: triggers_replace[0]: reviewed: \"small\" -> \"large\"; \
             now: \"small\" -> \"huge\"",
            "- terraform_data.queue[\"c\"]: create; not reviewed",
            "- terraform_data.service: input.size: reviewed: \"small\" -> \"large\"; now: \
             \"small\" -> \"huge\"",
        ],
    );
    refused.lacks("input.image").lacks("input.commit");
    // What does not need a review is deployed as before.
    change.on_main(&["deploy", "live", "2-bbbbbbb"]).run().success();
}

/// The command of a provisioner is in no plan.
#[test]
fn other_code_behind_the_same_plan_is_refused() {
    let mut change = Change::new();
    let command = |command: &str| {
        format!(
            "resource \"terraform_data\" \"run\" {{\n  provisioner \"local-exec\" {{\n    \
             command = \"{command}\"\n  }}\n}}\n"
        )
    };
    change.project.write("infra/run.tf", &command("true"));
    change.push("A command");
    change.plan();
    change.review("grace", "APPROVED");
    change.project.write("infra/run.tf", &command("touch /tmp/cdflow-other-command"));
    change.merge();
    change.release_main();
    let says =
        ["the code is not the one that pull request #7 showed a plan of", "update the branch"];
    change.refuses(3, &says);
    change.project.write("infra/run.tf", &command("true"));
    change.merge();
    change.on_main(&["release", "3-ccccccc"]).run().success();
    let deploy = || change.on_main(&["deploy", "live", "3-ccccccc", "--reviewed"]);
    deploy().run().success();
    // The job runs again, and there is nothing left to do.
    deploy().run().success();
}

/// A bundle of the original program has no digests of its files.
#[test]
fn a_release_whose_code_is_not_verified_is_refused() {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    change.merge();
    Reference::new(&change.project, "2-bbbbbbb").publish();
    let says = [
        "release 2-bbbbbbb cannot be compared with what was reviewed",
        "its bundle has no manifest.json",
        "release the same commit again",
    ];
    change.refuses(3, &says).lacks("::group::Plan");
    let exact = ["deploy", "live", "2-bbbbbbb", "--reviewed=exact"];
    refuses(change.on_main(&exact), 3, &says);
    change.project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({ "require-review": true });
    });
    refuses(change.on_main(&["deploy", "live", "2-bbbbbbb"]), 3, &says);

    // The pull request showed a plan of such a release.
    let mut change = Change::new();
    let version = format!("pr-{NUMBER}-{}", &change.project.head()[..7]);
    Reference::new(&change.project, &version).publish();
    let plan = ["deploy", "live", version.as_str(), "--plan-only"];
    let refused = "the plan of pull request #7 for `live` cannot be compared";
    let planned = change.on_pull_request(&plan).run();
    let warning = format!("a deploy with --reviewed would be refused: {refused}");
    planned.success().stdout_has(&warning);
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
    let made_from = format!("it was made from release {version}, whose bundle has no manifest");
    change.refuses(3, &[refused, &made_from]).lacks("::group::Plan");
}

/// Each approval is for the plan that was the newest one when it was given.
#[test]
fn an_approval_is_for_the_plan_that_was_seen() {
    let mut change = Change::new();
    change.project.append("cdflow.yml", "deploy: { approvals: 2 }\n");
    change.push("Two");
    change.plan();
    change.review("grace", "APPROVED");
    // The base has moved, so that the next plan of the same commit is another one.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let head = change.project.head();
    change.project.edit("infra/main.tf", "\"large\"", "\"huge\"").commit("Merged with main");
    change.on_pull_request(&["release"]).run().success();
    let event = pull_request_event(NUMBER, &head, "open", &[]);
    let version = format!("pr-{NUMBER}-{}", &change.project.head()[..7]);
    let again = ["deploy", "live", version.as_str(), "--plan-only"];
    change.project.for_pull_request(&change.github, &event, 300, &again).run().success();
    change.review("linus", "APPROVED");
    change.project.edit("infra/main.tf", "\"huge\"", "\"large\"");
    change.merge();
    change.release_main();
    change.refuses(3, &["was approved before it showed a plan for `live`"]);
}

/// The new commit has a plan, but the approval is older.
#[test]
fn an_approval_does_not_survive_a_force_push() {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    change.project.git(["reset", "--quiet", "--hard", "HEAD~1"]);
    change.project.edit("infra/main.tf", "\"small\"", "\"huge\"");
    change.push("Huge");
    change.plan();
    change.merge();
    change.release_main();
    let says = ["pull request #7 was not approved", "because grace approved an older commit"];
    change.refuses(3, &says).lacks("::group::Plan");
    change.review("grace", "APPROVED");
    change.deploy().run().success().stdout_has("approved by grace");
}

/// A rebase creates a commit for each one of the pull request, and GitHub names the last of them as
/// the merge. The others have only a part of what the pull request showed.
#[test]
fn only_the_newest_commit_of_a_rebase_was_reviewed() {
    let mut change = Change::new();
    change.project.edit("infra/main.tf", "[\"a\", \"b\"]", "[\"a\", \"b\", \"c\"]");
    change.push("One more queue");
    change.plan();
    change.review("grace", "APPROVED");
    let git = |arguments: &[&str]| change.project.git(arguments);
    let [first, second] = ["HEAD~1", "HEAD"].map(|commit| git(&["rev-parse", commit]));
    git(&["reset", "--quiet", "--hard", "HEAD~2"]);
    change.project.write("base.txt", "moved\n").commit("The base branch has moved");
    git(&["cherry-pick", &first]);
    let earlier = change.project.head();
    change.on_main(&["release", "2-aaaaaaa"]).run().success();
    git(&["cherry-pick", &second]);
    let newest = change.project.head();
    assert!(earlier != first && newest != second, "the commits are new");
    change.mark_merged();
    change.github.world().pull_requests.get_mut(&NUMBER).unwrap().other_commits =
        vec![earlier.clone()];
    let created = format!("no merged pull request created its commit {earlier}");
    refuses(
        change.on_main(&["deploy", "live", "2-aaaaaaa", "--reviewed"]),
        3,
        &["the release was not reviewed", &created],
    );
    change.release_main();
    change.deploy().run().success().stdout_has("approved by grace");
}

#[test]
fn a_change_of_the_environment_since_the_review_is_found() {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    // Another deploy makes a part of the change.
    change.project.cdflow(["deploy", "live", "1-aaaaaaa"]).run().success();
    let shell = ["shell", "live", "1-aaaaaaa", "--", "terraform", "state", "rm"];
    let forgotten = [&shell[..], &["terraform_data.queue[\"b\"]"]].concat();
    change.project.cdflow(forgotten).run().success();
    change.merge();
    change.release_main();
    change.refuses(
        3,
        &["- terraform_data.queue[\"b\"]: reviewed: replace (destroy first); now: create"],
    );
}

#[test]
fn only_approvals_that_count_are_approvals() {
    let mut change = Change::new();
    change.project.append(
        "cdflow.yml",
        "deploy: { environments: { live: { require-review: true, \
        approvals: 2 } } }\n",
    );
    change.push("A rule");
    change.plan();
    change.github.world().roles.insert("guest".to_owned(), "read".to_owned());
    for (login, state) in [
        ("ada", "APPROVED"),
        ("robot[bot]", "APPROVED"),
        ("guest", "APPROVED"),
        ("linus", "APPROVED"),
        ("linus", "CHANGES_REQUESTED"),
        ("grace", "APPROVED"),
        ("grace", "COMMENTED"),
        ("barbara", "DISMISSED"),
    ] {
        change.review(login, state);
    }
    change.merge();
    change.release_main();
    // The rule of cdflow.yml needs no flag.
    let deploy = || change.on_main(&["deploy", "live", "2-bbbbbbb"]);
    let refused =
        refuses(deploy(), 3, &["pull request #7 was not approved", "needs 2 approvals and has 1"]);
    // The providers and data sources of such a release do not run.
    refused
        .lacks("::group::Plan")
        .stdout_has("because ada is the author of the pull request")
        .stdout_has("because robot[bot] is a bot")
        .stdout_has("because guest may not push to the repository");
    change.review("linus", "APPROVED");
    let make_older = |commit: String| {
        let mut world = change.github.world();
        let reviews = &mut world.pull_requests.get_mut(&NUMBER).unwrap().reviews;
        reviews.last_mut().unwrap().commit = commit;
    };
    make_older("0".repeat(40));
    refuses(deploy(), 3, &["because linus approved an older commit"]);
    change.review("linus", "APPROVED");
    deploy().run().success().stdout_has("approved by grace, linus");
    // A way back needs no review, and neither does the end of the environment.
    change.on_main(&["rollback", "live"]).run().success();
}

#[test]
fn an_approval_can_be_withdrawn_during_the_plan() {
    let mut change = Change::new();
    change.project.append("cdflow.yml", "hooks: {on-plan: [hooks/slow.sh]}\n");
    change.project.write("hooks/slow.sh", "#!/bin/sh\necho planned\nsleep 2\n");
    let hook = change.project.path("hooks/slow.sh");
    fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
    change.push("A hook");
    change.plan();
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
    let mut running = change.deploy().spawn();
    running.wait_for("planned");
    change.review("grace", "DISMISSED");
    let output = running.wait();
    output.fails(3).stdout_has("pull request #7 was not approved").lacks("::group::Apply");
    assert_eq!(change.project.ledger("live"), ["deploy 1-aaaaaaa succeeded"]);
}

/// The newest ones stay, and so does their key.
#[test]
fn old_records_are_pruned() {
    let mut change = Change::new();
    change.plan();
    change.plan();
    let records = change.records();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100 * 86400);
    fs::File::options().write(true).open(&records[0]).unwrap().set_modified(old).unwrap();
    let prune = |more: &[&str]| change.project.cdflow([&["prune"], more].concat()).run();
    prune(&["--older-than", "101d"]).success().lacks("recorded plan");
    prune(&["--dry-run"]).success().stderr_has("would delete 1 old recorded plan(s)");
    assert_eq!(change.records(), records);
    let pruned = prune(&["--json"]);
    let document: Value = serde_json::from_str(&pruned.success().stdout).unwrap();
    assert_eq!(document["recorded_plans"], 1, "{document}");
    assert_eq!(change.records(), records[1..]);
    assert!(change.reviews().join("key").exists());
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
    change.deploy().run().success();
}

#[test]
fn only_a_plan_that_was_seen_is_reviewed() {
    let change = Change::new();
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
    change.refuses(3, &["has no recorded plan for `live`", "`plan-only: true`"]);

    let mut change = Change::new();
    change.review("grace", "APPROVED");
    change.github.world().pull_requests.get_mut(&NUMBER).unwrap().reviews[0].at -= 3600;
    change.plan();
    change.merge();
    change.release_main();
    change.refuses(3, &["was approved before it showed a plan for `live`"]);
    change.review("grace", "APPROVED");
    change.deploy().run().success();

    // A commit that no pull request brought.
    change.project.write("direct.txt", "pushed\n").commit("Pushed to main");
    change.on_main(&["release", "3-ccccccc"]).run().success();
    refuses(
        change.on_main(&["deploy", "live", "3-ccccccc", "--reviewed"]),
        3,
        &["the release was not reviewed", "no merged pull request created its commit"],
    );
}

#[test]
fn a_record_that_somebody_made_or_changed_is_found() {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
    let file = change.records().pop().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let rewrite = |to: &str| {
        fs::remove_file(&file).unwrap();
        fs::write(&file, to).unwrap();
    };
    assert!(text.contains("large"), "{text}");
    rewrite(&text.replace("large", "huge"));
    change.refuses(9, &["it was changed after cdflow wrote it", "greeting/reviews/live/7/"]);
    rewrite("{}");
    change.refuses(9, &["the record of the reviewed plan is not valid"]);
    rewrite(&text);
    // Copied to the place of another environment.
    let other = file.to_string_lossy().replace("/live/", "/ci/");
    fs::create_dir_all(PathBuf::from(&other).parent().unwrap()).unwrap();
    fs::copy(&file, &other).unwrap();
    refuses(
        change.on_main(&["deploy", "ci", "2-bbbbbbb", "--reviewed"]),
        9,
        &["it is a copy of the record of another plan"],
    );
    let key = change.reviews().join("key");
    let old = fs::read_to_string(&key).unwrap();
    fs::remove_file(&key).unwrap();
    fs::write(&key, "0".repeat(64)).unwrap();
    change.refuses(9, &["it was made with another key, which has been replaced since"]);
    fs::write(&key, "short").unwrap();
    change.refuses(9, &["the key of reviewed plans is damaged"]);
    fs::write(&key, old).unwrap();
    change.deploy().run().success();
}

/// Who can write to the release store can copy records, but not sign them for another place.
#[test]
fn a_record_of_another_change_is_found() {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
    let file = change.records().pop().unwrap();
    let head = change.github.world().pull_requests[&NUMBER].head_sha.clone();
    let copy_to = |copy: PathBuf| {
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&file, copy).unwrap();
    };
    let elsewhere = |from: &str, to: &str| PathBuf::from(file.to_string_lossy().replace(from, to));
    let says = ["it is a copy of the record of another plan"];
    // As a newer plan of the same commit.
    let newer = file.with_file_name("9999999999999-1-1.json");
    copy_to(newer.clone());
    change.refuses(9, &says);
    fs::remove_file(newer).unwrap();
    // Of another commit.
    let commit = "c".repeat(40);
    copy_to(elsewhere(&head, &commit));
    change.github.world().pull_requests.get_mut(&NUMBER).unwrap().head_sha = commit;
    change.review("grace", "APPROVED");
    change.refuses(9, &says);
    // Of another pull request, which has the commit that was planned.
    copy_to(elsewhere("/live/7/", "/live/8/"));
    let mut world = change.github.world();
    let mut other = world.pull_requests.remove(&NUMBER).unwrap();
    other.head_sha = head;
    world.pull_requests.insert(8, other);
    world.review(8, "grace", "APPROVED");
    drop(world);
    change.refuses(9, &says);
}

/// Two repositories with the same team and component have the same records.
#[test]
fn a_record_of_another_repository_is_found() {
    let mut change = Change::new();
    change.on_pull_request(&["release"]).run().success();
    let plan = change.on_pull_request(&["deploy", "live", "--plan-only"]);
    plan.env("GITHUB_REPOSITORY_ID", "42").run().success();
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
    let says = [
        "the plan of pull request #7 was recorded for another repository",
        "its repository has the ID 42",
    ];
    change.refuses(9, &says);
}

#[test]
fn a_secret_is_compared_and_never_recorded() {
    let mut change = Change::new();
    change.project.append(
        "infra/main.tf",
        "variable \"secrets\" {\n  type = map(string)\n}\n\nresource \"terraform_data\" \"login\" \
         {\n  input = sensitive(\"hunter22-of-live\")\n}\n",
    );
    change.project.edit("infra/main.tf", "variable \"secrets\" {\n  type = map(string)\n}\n\n", "");
    change.push("A login");
    change.plan();
    change.review("grace", "APPROVED");
    let records = change.records();
    assert!(!records.is_empty());
    for record in records {
        let text = fs::read_to_string(record).unwrap();
        assert!(!text.contains("hunter22"), "{text}");
        let record: Value = serde_json::from_str(&text).unwrap();
        let login = &record["record"]["effects"]["resources"]["terraform_data.login"];
        assert!(login["attributes"]["input"]["after"]["secret"]["exact"].is_string(), "{login}");
    }
    change.project.edit("infra/main.tf", "hunter22", "hunter23");
    change.merge();
    change.release_main();
    change
        .refuses(3, &["- terraform_data.login: input: reviewed: (sensitive); now: (sensitive)"])
        .lacks("hunter2");
}

#[test]
fn code_that_moved_since_the_pull_request_is_named() {
    let mut change = Change::new();
    let module = change.project.sandbox().work().join("module");
    fs::create_dir(&module).unwrap();
    let commit = |change: &Change, text: &str| {
        fs::write(module.join("main.tf"), text).unwrap();
        for arguments in [vec!["init", "--quiet"], vec!["add", "."], vec!["commit", "-qm", "Text"]]
        {
            git(change.project.sandbox(), &module, arguments).run().success();
        }
    };
    commit(&change, "output \"text\" {\n  value = \"reviewed\"\n}\n");
    let source = format!("git::file://{}", module.display());
    change
        .project
        .append("infra/main.tf", &format!("\nmodule \"text\" {{\n  source = \"{source}\"\n}}\n"));
    change.push("A module of another repository");
    change.plan();
    change.merge();
    let release = |version| change.on_main(&["release", version]).run();
    let same = release("2-bbbbbbb");
    same.success().stdout_has("the same code and modules as in release pr-7-");
    commit(&change, "output \"text\" {\n  value = \"moved\"\n}\n");
    let moved = release("3-ccccccc");
    moved.success().lacks("the same code and modules");
    moved.stdout_has("sources, in modules/text/main.tf; a deploy with --reviewed can refuse it");
}
