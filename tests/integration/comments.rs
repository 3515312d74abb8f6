//! Comments on a pull request that command cdflow: who may, what is answered, and that a comment
//! applies nothing but the plan that its author saw.

use crate::schemas::is_valid;
use crate::support::github::{Fault, GitHub, REPOSITORY_ID, TOKEN, World};
use crate::support::{Output, Project, Runner, entries_of_runner, pull_request_event};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const NUMBER: u64 = 7;
const CODE: &str = r#"variable "release" {
  type = map(string)
}

resource "terraform_data" "service" {
  input = { version = var.release.version, size = "small" }
}
"#;
const SETTINGS: &str = "comments: { plan: [ci, live], apply: [live], unlock: [live] }\n";

/// A component that is deployed, and an open pull request that changes it.
pub(crate) struct Talk {
    pub(crate) project: Project,
    pub(crate) github: GitHub,
    /// The newest commit of the default branch, which every run of a comment checks out.
    main: String,
    run: u64,
}

impl Talk {
    pub(crate) fn new(settings: &str) -> Self {
        let project = Project::local("greeting");
        project.write("infra/main.tf", CODE).commit("A service");
        project.release("1-aaaaaaa");
        project.deploy("live", "1-aaaaaaa");
        if !settings.is_empty() {
            project.append("cdflow.yml", settings).commit("Settings");
        }
        let main = project.head();
        let github = GitHub::start();
        let mut talk = Self { project, github, main, run: 100 };
        talk.push("\"small\"", "\"large\"");
        talk
    }

    /// Pushes a commit to the pull request's branch, as its workflow sees it.
    fn push(&mut self, from: &str, to: &str) {
        self.project.edit("infra/main.tf", from, to).commit(to);
        let head = self.project.head();
        let mut world = self.github.world();
        match world.pull_requests.get_mut(&NUMBER) {
            Some(found) => found.head_sha = head,
            None => drop(world.pull_request(NUMBER, &head)),
        }
    }

    pub(crate) fn head(&self) -> String {
        self.github.world().pull_requests[&NUMBER].head_sha.clone()
    }

    fn check_out(&self, commit: &str) {
        self.project.git(["checkout", "--quiet", "--detach", commit]);
    }

    /// A step of the pull request's workflow.
    fn on_pull_request(&mut self, arguments: &[&str]) -> Output {
        let head = self.head();
        self.check_out(&head);
        self.run += 1;
        let event = pull_request_event(NUMBER, &head, "open", &[]);
        self.project.for_pull_request(&self.github, &event, self.run, arguments).run()
    }

    fn write(&self, author: &str, body: &str) -> u64 {
        self.write_on(NUMBER, author, body)
    }

    fn write_on(&self, number: u64, author: &str, body: &str) -> u64 {
        self.github.world().comment_now(number, author, body)
    }

    /// A step of the workflow that runs for each commit of the default branch.
    fn on_main(&self, arguments: &[&str]) -> Output {
        self.check_out(&self.main);
        let runner = self.project.cdflow(arguments).envs(self.github.env());
        runner
            .env("GITHUB_TOKEN", TOKEN)
            .env("GITHUB_EVENT_NAME", "push")
            .env("GITHUB_RUN_ID", "900")
            .run()
    }

    /// The pull request that holds `live`, as `status` says it.
    fn holder(&self) -> Value {
        let status = self.project.cdflow(["status", "--json"]).run().json();
        is_valid("status.schema.json", std::slice::from_ref(&status));
        status["environments"][0]["held"]["pull_request"].clone()
    }

    /// A step of the run that a comment starts.
    fn step(&mut self, comment: u64, arguments: &[&str]) -> Runner {
        self.check_out(&self.main);
        self.run += 1;
        let found = self.github.world().comments.get(&comment).cloned();
        let found = found.map(|it| (it.issue, it.body, it.author));
        let (number, body, author) = found.unwrap_or((NUMBER, String::new(), String::new()));
        let event = json!({
            "action": "created",
            "repository":
                { "id": REPOSITORY_ID, "full_name": "acme/checkout", "default_branch": "main" },
            "issue": { "number": number, "pull_request": { "url": "https://example.com" } },
            "comment": { "id": comment, "body": body, "user": { "login": author } },
        });
        self.with_event(&event, arguments)
    }

    fn with_event(&self, event: &Value, arguments: &[&str]) -> Runner {
        let work = self.project.sandbox().work();
        let file = work.join(format!("event-{}.json", self.run));
        fs::write(&file, event.to_string()).unwrap();
        let output = work.join("outputs");
        fs::write(&output, "").unwrap();
        let runner = self.project.cdflow(arguments).envs(self.github.env());
        runner
            .env("GITHUB_TOKEN", TOKEN)
            .env("GITHUB_EVENT_NAME", "issue_comment")
            .env("GITHUB_EVENT_PATH", file)
            .env("GITHUB_OUTPUT", output)
            .env("GITHUB_RUN_ID", self.run.to_string())
            .env("GITHUB_SHA", &self.main)
    }

    /// Writes a comment, and runs the step that carries it out.
    fn command(&mut self, author: &str, body: &str) -> (u64, Output) {
        let id = self.write(author, body);
        let output = self.step(id, &["comment", "run"]).run();
        (id, output)
    }

    fn outputs(&self) -> BTreeMap<String, String> {
        let file = self.project.sandbox().work().join("outputs");
        entries_of_runner(&fs::read_to_string(file).unwrap()).into_iter().collect()
    }

    fn reactions(&self, comment: u64) -> Vec<String> {
        self.github.world().reactions_to(comment)
    }

    /// What cdflow wrote, oldest first.
    fn written(&self) -> Vec<String> {
        let world = self.github.world();
        let ours = world.comments.values().filter(|it| it.author == "github-actions[bot]");
        ours.map(|it| it.body.clone()).collect()
    }

    fn versions(&self) -> Vec<String> {
        self.project.ledger("live")
    }
}

#[test]
fn a_comment_plans_and_another_one_applies() {
    let mut talk = Talk::new(SETTINGS);
    talk.on_pull_request(&["release"]).success();
    let head = talk.head();
    let version = format!("pr-7-{}", &head[..7]);

    let plan = talk.write("grace", "/cdflow plan live\r\n");
    talk.step(plan, &["comment", "check"]).run().success();
    let expected = [
        ("comment-command", "plan"),
        ("environment", "live"),
        ("version", version.as_str()),
        ("head", head.as_str()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(talk.outputs(), BTreeMap::from(expected));
    assert_eq!(talk.reactions(plan), ["eyes"]);
    assert_eq!(talk.written(), [""; 0]);

    let planned = talk.step(plan, &["comment", "run", "--head", &head]).run();
    planned.success().stdout_has("Planned only").lacks("::group::Apply");
    assert_eq!(talk.reactions(plan), ["eyes", "rocket"]);
    let written = talk.written();
    assert!(written.len() == 1 && written[0].contains("greeting → live"), "{written:?}");
    assert!(written[0].contains(&format!("proposed: `{version}`")), "{written:?}");
    assert_eq!(talk.versions(), ["deploy 1-aaaaaaa succeeded"]);

    let (apply, applied) = talk.command("grace", "/cdflow apply live");
    applied.success().stdout_has("The plan does what pull request #7 showed");
    assert_eq!(talk.reactions(apply), ["eyes", "rocket"]);
    let (start, _) = &talk.project.ledger_entries("live")[1];
    assert_eq!(start["version"], version.as_str());
    assert_eq!(start["actor"], "grace");
    assert_eq!(start["pull_request"]["number"], NUMBER);
    assert_eq!(start["reviewed"], json!({ "pull_request": 7, "approved_by": [] }));
    let written = talk.written();
    let deployed = format!("Deployed now: `{version}`");
    assert!(written.len() == 1 && written[0].contains(&deployed), "{written:?}");
}

#[test]
fn a_comment_can_apply_the_stored_plan() {
    let mut talk = Talk::new(SETTINGS);
    talk.on_pull_request(&["release"]).success();
    let exact = ["comment", "run", "--reviewed=exact", "-vv"];
    let plan = talk.write("grace", "/cdflow plan live");
    let planned = talk.step(plan, &exact).run();
    planned
        .success()
        .stdout_has("the plan is stored for --reviewed=exact")
        .stdout_has("::group::Plan");

    // Another run changes the state: nothing is applied, and the next plan can be.
    talk.project
        .cdflow(["deploy", "live", "1-aaaaaaa", "--replace", "terraform_data.service"])
        .run()
        .success();
    let apply = talk.write("grace", "/cdflow apply live");
    let refused = talk.step(apply, &exact).run();
    refused
        .fails(3)
        .stdout_has("the stored plan of pull request #7 for `live` cannot be applied")
        .stdout_has("the state has changed since: stored: serial")
        .lacks("::group::Apply");
    assert_eq!(talk.reactions(apply), ["eyes", "-1"]);

    let plan = talk.write("grace", "/cdflow plan live");
    talk.step(plan, &exact).run().success();
    let apply = talk.write("grace", "/cdflow apply live");
    let applied = talk.step(apply, &exact).run();
    applied
        .success()
        .stdout_has("The plan is the one that pull request #7 stored")
        .lacks("::group::Plan");
    assert_eq!(talk.reactions(apply), ["eyes", "rocket"]);
    let entries = talk.project.ledger_entries("live");
    let (start, _) = entries.last().unwrap();
    assert_eq!(start["actor"], "grace");
    assert!(start["reviewed"]["plan"]["sha256"].is_string(), "{start}");
}

/// Neither GitHub's answer nor a later job of the workflow gets anything from such a comment.
#[test]
fn who_commands_what_is_checked() {
    let mut talk = Talk::new(SETTINGS);
    talk.github.world().roles.insert("guest".to_owned(), "read".to_owned());
    let none: fn(&mut World, u64) = |_, _| {};
    type Case<'c> = (&'c str, &'c str, fn(&mut World, u64), i32, &'c str, &'c [&'c str], bool);
    let cases: [Case<'_>; 18] = [
        // The author, the text, what happens meanwhile, and: exit code, message, reactions, reply.
        (
            "guest",
            "/cdflow apply live",
            none,
            3,
            "`guest` may not use cdflow's commands",
            &["-1"],
            false,
        ),
        ("robot[bot]", "/cdflow apply live", none, 0, "comments by bots are ignored", &[], false),
        ("grace", "looks good", none, 0, "the comment is not for cdflow", &[], false),
        ("grace", "> /cdflow apply live", none, 0, "the comment is not for cdflow", &[], false),
        ("grace", "/cdflow", none, 2, "the comment is not a command", &["confused"], true),
        ("guest", "/cdflow", none, 3, "`guest` may not use cdflow's commands", &["-1"], false),
        ("grace", "/cdflow paln ci", none, 2, "did you mean `plan`?", &["confused"], true),
        ("grace", "/cdflow plan ci\n\nplease", none, 2, "only the command", &["confused"], true),
        (
            "grace",
            "/cdflow apply live`\n```\n/cdflow apply live $(id) <!-- cdflow",
            none,
            2,
            "only the command",
            &["confused"],
            true,
        ),
        (
            "grace",
            "/cdflow plan `$(id)`@ada</pre>",
            none,
            2,
            "the comment is not a command",
            &["confused"],
            true,
        ),
        (
            "grace",
            "/cdflow apply ci",
            none,
            3,
            "`/cdflow apply` is not enabled for `ci`",
            &["-1"],
            true,
        ),
        ("grace", "/cdflow plan pr-8", none, 3, "names `ci`, `live`", &["-1"], true),
        (
            "grace",
            "/cdflow apply live",
            |world, id| world.comments.get_mut(&id).unwrap().updated_at += 1,
            3,
            "the comment was edited",
            &["-1"],
            true,
        ),
        (
            "grace",
            "/cdflow apply live",
            |world, id| drop(world.comments.remove(&id)),
            0,
            "the comment was deleted",
            &[],
            false,
        ),
        (
            "grace",
            "/cdflow apply live",
            |world, _| world.pull_requests.get_mut(&NUMBER).unwrap().is_open = false,
            3,
            "pull request #7 is closed",
            &["-1"],
            true,
        ),
        (
            "grace",
            "/cdflow plan live",
            |world, _| world.pull_requests.get_mut(&NUMBER).unwrap().head_repository = Some(2),
            3,
            "comes from a fork",
            &["-1"],
            true,
        ),
        (
            "grace",
            "/cdflow plan live",
            |world, _| {
                world.pull_requests.get_mut(&NUMBER).unwrap().author = "dependabot[bot]".to_owned();
            },
            3,
            "was opened by Dependabot",
            &["-1"],
            true,
        ),
        (
            "grace",
            "/cdflow plan live",
            |world, id| {
                let after = world.comments[&id].created_at + 1;
                world.pull_requests.get_mut(&NUMBER).unwrap().pushed_at = Some(after);
            },
            3,
            "it was pushed after the comment",
            &["-1"],
            true,
        ),
    ];
    let before = talk.github.world().pull_requests[&NUMBER].clone();
    for (author, body, meanwhile, code, says, reactions, has_reply) in cases {
        let replies = talk.written().len();
        let id = talk.write(author, body);
        let step = talk.step(id, &["comment", "check"]);
        meanwhile(&mut talk.github.world(), id);
        let output = step.run();
        assert_eq!(output.code, code, "{author}, {body:?}: {output}");
        assert!(output.stdout.contains(says), "{author}, {body:?}: {output}");
        assert_eq!(talk.reactions(id), reactions, "{author}, {body:?}");
        assert_eq!(talk.outputs(), BTreeMap::new(), "{author}, {body:?}");
        let written = talk.written();
        assert_eq!(written.len(), replies + usize::from(has_reply), "{author}, {body:?}");
        if has_reply {
            let reply = written.last().unwrap();
            assert!(reply.starts_with("cdflow did not carry out the command"), "{reply}");
            // What is quoted of the comment is in one block of code, and commands nothing.
            let fences = reply.lines().filter(|line| line.starts_with("```")).count();
            assert!(fences == 2 && !reply.contains("<!-- cdflow"), "{reply}");
            assert!(reply.lines().all(|line| !line.starts_with("/cdflow")), "{reply}");
        }
        talk.github.world().pull_requests.insert(NUMBER, before.clone());
    }
    assert_eq!(talk.versions(), ["deploy 1-aaaaaaa succeeded"]);
}

/// The pull request's own cdflow.yml does not count, and neither does an event of another kind.
#[test]
fn the_default_branch_decides_what_comments_command() {
    let mut talk = Talk::new("");
    let head = talk.head();
    talk.check_out(&head);
    talk.project.append("cdflow.yml", SETTINGS).commit("Permits itself");
    let head = talk.project.head();
    talk.github.world().pull_requests.get_mut(&NUMBER).unwrap().head_sha = head.clone();
    let (id, refused) = talk.command("ada", "/cdflow plan live");
    refused.fails(3).stdout_has("`comments.plan` in cdflow.yml of the default branch names none");
    assert_eq!(talk.reactions(id), ["-1"]);
    let step = talk.step(id, &["comment", "run"]);
    talk.check_out(&head);
    step.run().fails(3).stdout_has("the checkout is not at the commit of the run");

    let edited = json!({
        "action": "edited", "issue": { "number": NUMBER, "pull_request": {} },
        "comment": { "id": id, "body": "/cdflow plan live" },
    });
    talk.with_event(&edited, &["comment", "run"]).run().success().stdout_has("only new comments");
    let on_issue = json!({ "action": "created", "issue": { "number": 3 },
        "comment": { "id": id, "body": "/cdflow plan live" } });
    let says = "the run was not started by a comment on a pull request";
    talk.with_event(&on_issue, &["comment", "run"]).run().fails(2).stdout_has(says);
    let push = talk.with_event(&json!({}), &["comment", "check"]).env("GITHUB_EVENT_NAME", "push");
    push.run().fails(2).stdout_has(says);
}

#[test]
fn only_the_plan_that_was_seen_is_applied() {
    let mut talk = Talk::new(SETTINGS);
    talk.on_pull_request(&["release"]).success();
    let apply = "/cdflow apply live";
    let (id, refused) = talk.command("ada", apply);
    refused.fails(3).stdout_has("has no recorded plan for `live`").lacks("::group::Plan");
    refused.stdout_has("write `/cdflow plan live`, look at the plan");
    assert_eq!(talk.reactions(id), ["eyes", "-1"]);

    // The comment is there first.
    let early = talk.write("ada", apply);
    talk.github.world().comments.get_mut(&early).unwrap().created_at -= 60;
    talk.github.world().comments.get_mut(&early).unwrap().updated_at -= 60;
    talk.on_pull_request(&["deploy", "live", "--plan-only"]).success();
    let refused = talk.step(early, &["comment", "run"]).run();
    refused.fails(3).stdout_has("was written before the plan for `live`");

    // The head moves between the check and the run.
    let late = talk.write("ada", apply);
    let head = talk.head();
    talk.check_out(&head);
    talk.push("\"large\"", "\"huge\"");
    let refused = talk.step(late, &["comment", "run", "--head", &head]).run();
    refused.fails(3).stdout_has("was the newest commit when the comment was checked");
    // Without that, there is no plan of the new commit that the author could have seen.
    talk.on_pull_request(&["release"]).success();
    talk.step(late, &["comment", "run"]).run().fails(3).stdout_has("has no recorded plan");
    talk.on_pull_request(&["deploy", "live", "--plan-only"]).success();

    // Another deploy has changed the environment since the plan.
    let shell = ["shell", "live", "--", "terraform", "state", "rm", "terraform_data.service"];
    talk.project.cdflow(shell).run().success();
    let (_, refused) = talk.command("ada", apply);
    refused.fails(3).stdout_has("the plan is not the one that pull request #7 showed");
    refused.stdout_has("- terraform_data.service: reviewed: update; now: create");
    refused.stdout_has("write `/cdflow plan live`").lacks("::group::Apply");
    assert_eq!(talk.versions(), ["deploy 1-aaaaaaa succeeded"]);
}

/// Seven digits of a commit can be made to agree.
#[test]
fn a_release_of_another_commit_is_refused() {
    let mut talk = Talk::new(SETTINGS);
    let version = format!("pr-7-{}", &talk.head()[..7]);
    talk.check_out(&talk.main);
    talk.project.release(&version);
    let (_, refused) = talk.command("ada", "/cdflow plan live");
    refused
        .fails(3)
        .stdout_has("the release was not built from the newest commit of pull request #7");
    refused.lacks("::group::Plan");
}

#[test]
fn the_guards_of_the_environment_apply() {
    let rules = "deploy: { environments: { live: { require-review: true, branches: [main] } } }\n";
    let mut talk = Talk::new(&format!("{SETTINGS}{rules}"));
    let head = talk.head();
    talk.check_out(&head);
    talk.project.edit("cdflow.yml", rules, "").commit("Without rules");
    let head = talk.project.head();
    {
        let mut world = talk.github.world();
        world.pull_requests.get_mut(&NUMBER).unwrap().head_sha = head.clone();
        world.branches.insert("main".to_owned(), vec![talk.main.clone()]);
    }
    talk.on_pull_request(&["release"]).success();
    talk.on_pull_request(&["deploy", "live", "--plan-only"]).success();
    let (_, refused) = talk.command("ada", "/cdflow apply live");
    refused.fails(3).stdout_has("is not on `main`");
    talk.github.world().branches.insert("main".to_owned(), vec![talk.main.clone(), head]);
    let (_, refused) = talk.command("ada", "/cdflow apply live");
    refused.fails(3).stdout_has("pull request #7 was not approved").lacks("::group::Plan");
    talk.github.world().review(NUMBER, "grace", "APPROVED");
    let (_, applied) = talk.command("ada", "/cdflow apply live");
    applied.success().stdout_has("approved by grace");
}

/// The same rule as after a merge; the run of the comment is the one that is approved.
#[test]
fn an_apply_can_be_approved_in_the_environment_of_github() {
    let rules = "deploy: { environments: { live: { require-review: true, approvals: { count: 2, \
                 environment: production } } } }\n";
    let mut talk = Talk::new(&format!("{SETTINGS}{rules}"));
    talk.on_pull_request(&["release"]).success();
    talk.on_pull_request(&["deploy", "live", "--plan-only"]).success();
    talk.github.world().review(NUMBER, "linus", "APPROVED");
    let decided = |talk: &Talk, login: &str| {
        let decision = [login, "approved", "Production"].map(str::to_owned);
        let mut world = talk.github.world();
        world.run(talk.run + 1).decisions.push(decision.into());
    };
    decided(&talk, "ada");
    let (_, refused) = talk.command("ada", "/cdflow apply live");
    refused
        .fails(3)
        .stdout_has("needs 2 approvals and has 1")
        .stdout_has("the approval of the run by ada does not count, because ada is the author")
        .lacks("::group::Plan");
    decided(&talk, "grace");
    let (_, applied) = talk.command("ada", "/cdflow apply live");
    applied.success().stdout_has("approved by grace, linus");
}

#[test]
fn a_comment_shows_who_holds_a_lock() {
    let mut talk = Talk::new(SETTINGS);
    let (id, shown) = talk.command("grace", "/cdflow unlock live");
    shown.success();
    assert_eq!(talk.reactions(id), ["eyes", "rocket"]);
    let replies = talk.written();
    assert!(replies[0].contains("the state of live is not locked"), "{replies:?}");
    let holder = json!({ "ID": "5f3c8b9a-1111", "Who": "```\n@ada</pre>", "Operation": "apply" });
    let state = talk.project.state_file("live");
    let info = state.with_file_name(".terraform.tfstate.lock.info");
    fs::write(&info, holder.to_string()).unwrap();
    talk.command("grace", "/cdflow unlock live").1.success();
    let reply = talk.written().pop().unwrap();
    assert!(reply.contains("/cdflow unlock live 5f3c8b9a-1111"), "{reply}");
    assert!(!reply.lines().any(|line| line.trim() == "```"), "{reply}");
    talk.command("grace", "/cdflow unlock live 5f3c8b9a-2222").1.fails(3);
    let reply = talk.written().pop().unwrap();
    assert!(reply.contains("is not locked by `5f3c8b9a-2222`"), "{reply}");
    talk.command("grace", "/cdflow unlock live 5f3c8b9a-1111").1.success();
    let reply = talk.written().pop().unwrap();
    assert!(reply.contains("Released the lock 5f3c8b9a-1111 of the state of live"), "{reply}");
    assert!(!info.exists());
}

const WITH_HOLDS: &str = "comments: { plan: [live], apply: [live], hold: [live] }\n";

#[test]
fn a_pull_request_holds_an_environment() {
    let mut talk = Talk::new(WITH_HOLDS);
    talk.on_pull_request(&["release"]).success();
    let (id, held) = talk.command("grace", "/cdflow hold live");
    held.success();
    assert_eq!(talk.reactions(id), ["eyes", "rocket"]);
    let reply = talk.written().pop().unwrap();
    assert!(reply.contains("live is held by pull request #7 until it is merged"), "{reply}");
    let again = talk.command("grace", "/cdflow hold live").1;
    again.success().stdout_has("live was already held by pull request #7");
    assert_eq!(talk.holder(), NUMBER);
    let status = talk.project.cdflow(["status"]).run();
    status.success().stderr_has("live is held by pull request #7 since").stderr_has("by grace");

    // From a terminal, after a push, and from another pull request.
    let held = "`live` is held by pull request #7";
    let deploy = ["deploy", "live", "1-aaaaaaa"];
    let refused = talk.project.cdflow(deploy).run();
    refused.fails(3).stderr_has(held).stderr_has("only a run of GitHub Actions can ask");
    refused.stderr_has("run cdflow unhold live").lacks("==> Fetch");
    for command in [&deploy[..], &["destroy", "live", "--confirm", "live"]] {
        let refused = talk.on_main(command);
        refused.fails(3).stdout_has(held).stdout_has("https://github.com/acme/checkout/pull/7");
    }
    talk.github.fault("GET /repos/acme/checkout/pulls/7", 1, no_access());
    talk.on_main(&deploy).fails(3).stdout_has("GitHub did not answer whether it is open");
    let other = talk.head();
    talk.github.world().pull_request(8, &other).author = "linus".to_owned();
    let event = pull_request_event(8, &other, "open", &[]);
    talk.check_out(&other);
    let plan = ["deploy", "live", "1-aaaaaaa", "--plan-only"];
    let planned = talk.project.for_pull_request(&talk.github, &event, 800, &plan).run();
    planned.success().stdout_has(&format!("a deploy would be refused: {held}"));
    let shown = talk.written().pop().unwrap();
    assert!(shown.contains("is held by pull request"), "{shown}");
    for body in ["/cdflow hold live", "/cdflow unhold live"] {
        let id = talk.write_on(8, "linus", body);
        talk.step(id, &["comment", "run"]).run().fails(3).stdout_has(held);
    }
    // Previews are of one pull request.
    talk.on_main(&["hold", "pr-8", "--pull-request", "7"]).fails(2);
    talk.on_pull_request(&["deploy", "live", "1-aaaaaaa", "--plan-only"]).success().lacks(held);

    let released = talk.command("grace", "/cdflow unhold live").1;
    released.success().stdout_has("live was held by pull request #7");
    assert_eq!(talk.holder(), Value::Null);
    talk.command("grace", "/cdflow unhold live").1.success().stdout_has("live is not held");
    talk.on_main(&deploy).success();
    talk.on_main(&["hold", "live", "--pull-request", "8"]).success();
    assert_eq!(talk.holder(), 8);
    talk.project.cdflow(["unhold", "live"]).run().success();
    assert_eq!(talk.holder(), Value::Null);
    let terminal = talk.project.cdflow(["hold", "live", "--pull-request", "7"]).run();
    terminal.fails(2).stderr_has("only a run of GitHub Actions can hold");
}

fn no_access() -> Fault {
    Fault::Answer { status: 403, headers: Vec::new(), message: "Resource not accessible" }
}

#[test]
fn an_apply_holds_the_environment_until_the_merge() {
    let mut talk = Talk::new(WITH_HOLDS);
    talk.on_pull_request(&["release"]).success();
    talk.on_pull_request(&["deploy", "live", "--plan-only"]).success();
    assert_eq!(talk.holder(), Value::Null);
    talk.command("grace", "/cdflow apply live").1.success();
    assert_eq!(talk.holder(), NUMBER);
    for command in
        [&["deploy", "live", "1-aaaaaaa", "--allow-downgrade"][..], &["rollback", "live"]]
    {
        talk.on_main(command).fails(3).stdout_has("`live` is held by pull request #7");
    }
    {
        let mut world = talk.github.world();
        let pull_request = world.pull_requests.get_mut(&NUMBER).unwrap();
        (pull_request.is_open, pull_request.is_merged) = (false, true);
    }
    // What was merged is released from the default branch.
    talk.main = talk.head();
    talk.check_out(&talk.main);
    talk.project.release("2-bbbbbbb");
    let deployed = talk.on_main(&["deploy", "live", "2-bbbbbbb"]);
    deployed.success().stdout_has("pull request #7 is merged or closed, so its hold has ended");
    assert_eq!(talk.holder(), Value::Null);
    // Another pull request can hold it now, and the history of holds stays.
    talk.on_main(&["hold", "live", "--pull-request", "7"]).fails(3).stdout_has("is closed");
    let head = talk.head();
    talk.github.world().pull_request(8, &head);
    talk.on_main(&["hold", "live", "--pull-request", "8"]).success();
    let folder = talk.project.bundle("x").parent().unwrap().join("ledger/live/hold");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 3);
    assert_eq!(talk.versions().len(), 3);
}
