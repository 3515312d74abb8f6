//! What stands between a release and an environment: what a deploy may destroy, where a release
//! must have been before, and that no older one replaces a newer one.

use crate::support::github::{Fault, GitHub, TOKEN};
use crate::support::{Project, Runner, pull_request_event};
use serde_json::{Value, json};
use std::fs;

/// Released as 1 with three resources, and as 2 with one of them.
fn shrinking(deploy: &str) -> Project {
    let project = Project::local("greeting");
    project.append("cdflow.yml", &format!("deploy: {deploy}\n"));
    project.write(
        "infra/more.tf",
        "resource \"terraform_data\" \"a\" {}\nmodule \"data\" {\n  source = \"./data\"\n}\n",
    );
    project
        .write("infra/data/main.tf", "resource \"terraform_data\" \"events\" {}\n")
        .commit("More");
    project.release("1");
    project.remove("infra/more.tf").commit("Less");
    project.release("2");
    project
}

#[test]
fn what_is_protected_is_not_destroyed() {
    let project = shrinking("{protect: [module.data.terraform_data.events]}");
    project.deploy("live", "1");
    let state = || fs::read_to_string(project.state_file("live")).unwrap();
    let before = state();
    let planned = project.cdflow(["deploy", "live", "2", "--plan-only"]).run();
    planned
        .success()
        .stderr_has("a deploy would be refused: the plan would destroy protected resources");
    let refused = project.refuses(
        ["deploy", "live", "2"],
        3,
        &["protected resources", "module.data.terraform_data.events"],
    );
    refused.stderr_has("--allow-destroy 'module.data.terraform_data.events'");
    assert_eq!(state(), before);
    let other = ["deploy", "live", "2", "--allow-destroy", "terraform_data.a"];
    project.refuses(other, 3, &["protected resources"]);
    let allowed = ["deploy", "live", "2", "--allow-destroy", "module.data.terraform_data.events"];
    project.cdflow(allowed).run().success();
    let entry = project.ledger_folder("live").join("9999999997.start.json");
    let entry: Value = serde_json::from_str(&fs::read_to_string(entry).unwrap()).unwrap();
    assert_eq!(entry["allowed_destroy"], json!(["module.data.terraform_data.events"]), "{entry}");
    assert_eq!(entry["allowed_by"], "--allow-destroy", "{entry}");
    // Who destroys an environment means all of it.
    project.cdflow(["destroy", "live", "--confirm", "live"]).run().success();
}

/// Terraform prints such a key escaped, and people may write it in other ways.
#[test]
fn a_protected_key_can_have_any_characters() {
    const KEYS: [&str; 5] = ["a\"b", "a.b", "${x}", "é \u{1f600}", "a]\\["];
    let project = Project::local("greeting");
    let written = [r#""a\"b""#, r#""a.b""#, r#""$${x}""#, r#""\u00e9 \U0001F600""#, r#""a]\\[""#];
    let protect: String =
        written.iter().map(|key| format!("    - 'terraform_data.each[{key}]'\n")).collect();
    project.append("cdflow.yml", &format!("deploy:\n  protect:\n{protect}"));
    let code = |keys: &[&str]| {
        let keys: Vec<String> = keys
            .iter()
            .map(|key| serde_json::to_string(key).unwrap().replace("${", "$${"))
            .collect();
        format!(
            "resource \"terraform_data\" \"each\" {{\n  for_each = toset([{}])\n}}\n",
            keys.join(", ")
        )
    };
    project.write("infra/more.tf", &code(&[&KEYS[..], &["free"]].concat())).commit("All");
    project.release("all");
    project.deploy("live", "all").lacks("protects nothing");
    for (index, key) in KEYS.iter().enumerate() {
        let others: Vec<&str> = KEYS.into_iter().filter(|other| other != key).collect();
        project.write("infra/more.tf", &code(&others)).commit("Without one");
        let version = index.to_string();
        project.release(&version);
        let output = project.cdflow(["deploy", "live", &version]).run();
        output.fails(3).stderr_has("protected resources: terraform_data.each[\"");
    }
    project.write("infra/more.tf", &code(&KEYS)).commit("Without the free one");
    project.release("free");
    project.deploy("live", "free");
}

#[test]
fn so_many_are_destroyed_and_no_more() {
    let project =
        shrinking("{max-destroy: 1, environments: {live: {max-destroy: 0}, ci: {max-destroy: 2}}}");
    for environment in ["live", "ci", "pr-1"] {
        project.deploy(environment, "1");
    }
    project.refuses(
        ["deploy", "live", "2"],
        3,
        &["would destroy or replace 2 resources, but `max-destroy` is 0", "terraform_data.a"],
    );
    project.deploy("ci", "2");
    project.deploy("pr-1", "2").lacks("refused");
    let inputs = [
        ("INPUT_COMMAND", "deploy"),
        ("INPUT_ENVIRONMENT", "live"),
        ("INPUT_VERSION", "2"),
        ("INPUT_ALLOW-DESTROY", "terraform_data.a\nmodule.data.terraform_data.events\n"),
    ];
    project.cdflow([] as [&str; 0]).envs(inputs).run().success();
    // A replacement counts.
    project.refuses(
        ["deploy", "live", "2", "--replace", "terraform_data.greeting"],
        3,
        &["(replaced)"],
    );
}

#[test]
fn the_organisation_has_the_last_word() {
    let project = shrinking("{max-destroy: 9}");
    project.deploy("live", "1");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({"max-destroy": 0, "environments": {"live": {"requires": "ci"}}})
    });
    project.refuses(["deploy", "live", "2"], 3, &["must be deployed to `ci` before `live`"]);
    project.deploy("ci", "2");
    project.refuses(["deploy", "live", "2"], 3, &["but `max-destroy` is 0"]);
}

#[test]
fn a_release_comes_from_the_environment_before() {
    let project = Project::local("greeting");
    project
        .append("cdflow.yml", "deploy: {environments: {live: {requires: ci}}}\n")
        .commit("Promotion");
    project.release("1");
    project.release("2");
    let refused = ["deploy", "live", "2"];
    project.refuses(
        refused,
        3,
        &["release 2 must be deployed to `ci` before `live`", "cdflow deploy ci 2"],
    );
    project.deploy("ci", "1");
    project.refuses(refused, 3, &["must be deployed to `ci` before `live`"]);
    project.cdflow(["deploy", "ci", "2", "--target", "terraform_data.greeting"]).run().success();
    project.refuses(refused, 3, &["the ledger has no complete, successful deploy of it to `ci`"]);
    let planned = project.cdflow(["deploy", "live", "2", "--plan-only"]).run();
    planned
        .success()
        .stderr_has("a deploy would be refused: release 2 must be deployed to `ci` before `live`");
    project.deploy("ci", "2");
    project.deploy("live", "2");
}

#[test]
fn an_older_release_does_not_replace_a_newer_one() {
    let project = Project::local("greeting");
    project.release("old");
    project.append("infra/main.tf", "# newer\n").commit("Newer");
    project.release("new");
    let at = |version: &str, seconds: u64| {
        let file = fs::File::options().append(true).open(project.bundle(version)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    };
    at("old", 1_700_000_000);
    at("new", 1_700_000_600);
    let run = [
        ("GITLAB_CI", "true"),
        ("GITLAB_USER_LOGIN", "ada"),
        ("CI_JOB_URL", "https://gitlab.example/jobs/77"),
    ];
    project.cdflow(["deploy", "live", "new"]).envs(run).run().success();
    let refused = project.refuses(
        ["deploy", "live", "old"],
        3,
        &["release old is older than new", "2023-11-14"],
    );
    refused
        .stderr_has("ada at")
        .stderr_has("https://gitlab.example/jobs/77")
        .stderr_has("cdflow rollback live");
    project.deploy("live", "new");
    project.cdflow(["deploy", "live", "old", "--allow-downgrade"]).run().success();
    project.deploy("live", "new");
    project
        .cdflow(["rollback", "live"])
        .run()
        .success()
        .stderr_has("Deployed greeting old to live");
}

const LABELLED: &str = "{protect: [module.data.terraform_data.events], max-destroy: 0, \
allow-destroy-label: may-destroy}";
const DOOMED: [&str; 2] = ["terraform_data.a", "module.data.terraform_data.events"];

/// Release 1 is deployed, 2 was made from the merge of pull request 7.
fn merged(deploy: &str) -> (Project, GitHub) {
    let project = shrinking(deploy);
    project.deploy("live", "1");
    let github = GitHub::start();
    let mut world = github.world();
    let merged = world.pull_request(7, "0123456789012345678901234567890123456789");
    (merged.is_open, merged.is_merged, merged.merge_commit_sha) =
        (false, true, Some(project.head()));
    drop(world);
    (project, github)
}

/// A step of a run for a push.
fn pushed(project: &Project, github: &GitHub, arguments: &[&str]) -> Runner {
    let runner = project.cdflow(arguments).envs(github.env()).env("GITHUB_TOKEN", TOKEN);
    runner
        .env("GITHUB_EVENT_NAME", "push")
        .env("GITHUB_SHA", project.head())
        .env("GITHUB_RUN_ID", "1")
}

/// A step of a run for pull request 7, which had the label when the event was sent.
fn for_pull_request(project: &Project, github: &GitHub, arguments: &[&str]) -> Runner {
    let event = pull_request_event(7, &project.head(), "open", &["may-destroy"]);
    project.for_pull_request(github, &event, 1, arguments)
}

fn labels(github: &GitHub, number: u64, labels: &[&str]) {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    github.world().pull_requests.get_mut(&number).unwrap().labels = labels;
}

/// Nothing was applied, and no run recorded.
#[track_caller]
fn refuses(project: &Project, runner: Runner, says: &[&str]) {
    let before = project.snapshot();
    let output = runner.run();
    output.fails(3).stdout_has("the plan would destroy protected resources");
    for text in says {
        output.stdout_has(text);
    }
    project.unchanged_since(&before, &output);
}

#[test]
fn a_label_of_the_pull_request_that_was_merged_allows_it() {
    let (project, github) = merged(LABELLED);
    let deploy = ["deploy", "live", "2"];
    let lacks = [
        "add the label `may-destroy` to the pull request",
        "according to GitHub, #7 lacks the label `may-destroy`",
    ];
    refuses(&project, pushed(&project, &github, &deploy), &lacks);
    // One that only came along the commit, one that is not merged, and one that was closed.
    for number in [8, 9, 10] {
        github.world().pull_request(number, &project.head());
        labels(&github, number, &["may-destroy"]);
    }
    let mut world = github.world();
    let along = world.pull_requests.get_mut(&8).unwrap();
    (along.is_open, along.is_merged, along.head_sha) = (false, true, "f".repeat(40));
    along.other_commits.push(project.head());
    world.pull_requests.get_mut(&10).unwrap().is_open = false;
    drop(world);
    refuses(&project, pushed(&project, &github, &deploy), &lacks);
    // One that somebody has merged, and labelled, in a fork, which has the commit as well.
    github.world().pull_request(11, &project.head());
    labels(&github, 11, &["may-destroy"]);
    let mut world = github.world();
    let elsewhere = world.pull_requests.get_mut(&11).unwrap();
    (elsewhere.is_open, elsewhere.is_merged, elsewhere.base_repository) = (false, true, 1);
    drop(world);
    refuses(&project, pushed(&project, &github, &deploy), &lacks);
    let sha = github.world().pull_requests.get_mut(&7).unwrap().merge_commit_sha.take();
    let none = format!("no merged pull request created the release's commit {}", project.head());
    refuses(&project, pushed(&project, &github, &deploy), &[&none]);
    github.world().pull_requests.get_mut(&7).unwrap().merge_commit_sha = sha;

    labels(&github, 7, &["other", "May-Destroy"]);
    let allowed = pushed(&project, &github, &deploy).run();
    allowed.success().stdout_has(
        "::warning::deploy guards overridden by the label `may-destroy` of pull request #7",
    );
    let (start, _) = &project.ledger_entries("live")[1];
    let by = "the label `may-destroy` of pull request #7";
    assert_eq!(
        (&start["allowed_destroy"], &start["allowed_by"]),
        (&json!(DOOMED), &json!(by)),
        "{start}"
    );
    let said = format!("allowed to destroy {} by {by}", DOOMED.join(", "));
    project.cdflow(["history", "live"]).run().success().stdout_has(&said);
    let history = project.cdflow(["history", "live", "--json"]).run().json();
    assert_eq!(
        (&history["runs"][0]["allowed_by"], &history["runs"][0]["allowed_destroy"]),
        (&json!(by), &json!(DOOMED))
    );
    assert_eq!(history["runs"][1]["allowed_by"], Value::Null);

    // The label was for the way there, not for a way back.
    let back = ["rollback", "live"];
    pushed(&project, &github, &back).run().success().stdout_has("Deployed greeting 1 to live");
    let asked = github.exchanges("/commits/").len();
    refuses(&project, pushed(&project, &github, &back), &["--allow-destroy"]);
    refuses(
        &project,
        pushed(&project, &github, &["deploy", "live", "2", "--allow-downgrade"]),
        &["--allow-destroy"],
    );
    assert_eq!(github.exchanges("/commits/").len(), asked);

    // An entry of a cdflow that did not say by what.
    let file = project.ledger_folder("live").join("9999999997.start.json");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("allowed_by", "of_the_future"))
        .unwrap();
    let history = project.cdflow(["history", "live"]).run();
    history
        .success()
        .stdout_has(&format!("allowed to destroy {}\n", DOOMED.join(", ")))
        .lacks("by the label");
}

#[test]
fn what_github_does_not_say_allows_nothing() {
    let (project, github) = merged(LABELLED);
    labels(&github, 7, &["may-destroy"]);
    let unknown = "cannot check whether a pull request has the label `may-destroy`";
    let deploy = ["deploy", "live", "2"];
    let no_token = pushed(&project, &github, &deploy).env_remove("GITHUB_TOKEN");
    refuses(&project, no_token, &[unknown, "no token is set"]);
    project.refuses(
        deploy,
        3,
        &[unknown, "so this is not a run of GitHub Actions", "protected resources"],
    );
    for (status, times) in [(403, 1), (404, 1), (422, 1), (500, 4)] {
        github.fault(
            "/commits/",
            times,
            Fault::Answer { status, headers: vec![], message: "a fault" },
        );
        refuses(&project, pushed(&project, &github, &deploy), &[unknown, "a fault"]);
    }
    github.world().token("weak", "github-actions[bot]", &[("contents", "read")]);
    let weak = pushed(&project, &github, &deploy).env("GITHUB_TOKEN", "weak");
    refuses(&project, weak, &[unknown, "pull-requests: read"]);
    // A fault that passes is none.
    github.fault("/commits/", 1, Fault::HangUp);
    pushed(&project, &github, &deploy).run().success();
}

#[test]
fn on_a_pull_request_its_label_counts_as_it_is_now() {
    let (project, github) = merged(LABELLED);
    let deploy = ["deploy", "live", "2"];
    let plan = ["deploy", "live", "2", "--plan-only"];
    refuses(
        &project,
        for_pull_request(&project, &github, &deploy),
        &["according to GitHub, #7 lacks the label"],
    );
    let planned = for_pull_request(&project, &github, &plan).run();
    planned
        .success()
        .stdout_has("a deploy would be refused")
        .stdout_has("add the label `may-destroy` to the pull request");
    let comment = || github.world().comments.values().next().unwrap().body.clone();
    let caution = "> [!CAUTION]\n> greeting → live: a deploy **would be refused**: the plan would \
    destroy protected resources";
    assert!(
        comment().contains(caution) && comment().contains("add the label \\`may\\-destroy\\` to"),
        "{}",
        comment()
    );
    labels(&github, 7, &["may-destroy"]);
    github.fault(
        "GET /repos/acme/checkout/pulls/7",
        1,
        Fault::Answer { status: 404, headers: vec![], message: "gone" },
    );
    refuses(
        &project,
        for_pull_request(&project, &github, &deploy),
        &["cannot check whether", "gone"],
    );
    let planned = for_pull_request(&project, &github, &plan).run();
    planned
        .success()
        .stdout_has("deploy guards overridden by the label `may-destroy` of pull request #7")
        .lacks("would be refused");
    assert!(
        comment().contains("overrode the deploy guards for")
            && !comment().contains("would be refused"),
        "{}",
        comment()
    );
    assert_eq!(project.ledger("live").len(), 1);
    let named = ["deploy", "live", "2", "--allow-destroy", "terraform_data.a"];
    for_pull_request(&project, &github, &named).run().success();
    let (start, _) = &project.ledger_entries("live")[1];
    assert_eq!(start["allowed_destroy"], json!(DOOMED), "{start}");
    assert_eq!(
        start["allowed_by"],
        "--allow-destroy, and the label `may-destroy` of pull request #7"
    );
    assert!(github.exchanges("/commits/").is_empty());
}

#[test]
fn a_label_of_the_component_is_not_for_the_policy() {
    let (project, github) = merged(LABELLED);
    labels(&github, 7, &["may-destroy"]);
    let policy = |policy: Value| {
        project.edit_json("account-scheme.json", |scheme| scheme["policy"] = policy)
    };
    policy(json!({ "max-destroy": 1 }));
    let deploy = ["deploy", "live", "2"];
    let not_enough = "a label is not enough: `policy` of the account scheme refuses it too";
    refuses(&project, pushed(&project, &github, &deploy), &[not_enough]);
    assert!(github.exchanges("/commits/").is_empty(), "nobody has to be asked");
    policy(json!({ "max-destroy": 1, "allow-destroy-label": "org-destroy" }));
    let both = [
        "add the labels `may-destroy` and `org-destroy` to the pull request",
        "#7 lacks the labels",
    ];
    refuses(&project, pushed(&project, &github, &deploy), &both);
    labels(&github, 7, &["may-destroy", "org-destroy"]);
    pushed(&project, &github, &deploy).run().success();
    assert!(
        project.ledger_entries("live")[1].0["allowed_by"]
            .as_str()
            .unwrap()
            .contains("`org-destroy`")
    );
}

#[test]
fn what_nothing_is_called_is_told() {
    let project = shrinking(
        "{protect: [terraform_data.greting, aws_db_instance, module.data], max-destroy: 0}",
    );
    let first = project.deploy("live", "1");
    first
        .stderr_has("`protect` in cdflow.yml names `terraform_data.greting`")
        .stderr_has("did you mean `terraform_data.greeting`?");
    first.lacks("`module.data`").lacks("aws_db_instance");
    let mistyped = ["deploy", "live", "2", "--allow-destroy", "terraform_data.aa"];
    project.refuses(
        mistyped,
        2,
        &[
            "--allow-destroy `terraform_data.aa` matches no resource",
            "did you mean `terraform_data.a`?",
        ],
    );
    let named = ["--allow-destroy", DOOMED[0], "--allow-destroy", DOOMED[1]];
    let allowed: Vec<&str> = ["deploy", "live", "2"].into_iter().chain(named).collect();
    project.cdflow(&allowed).run().success();
    // The same step, run again.
    project.cdflow(&allowed).run().success().stderr_has("names `module.data`");
}

/// What is left of a replacement is not the resource: nobody has to allow its end, because that
/// would allow the end of the resource too.
#[test]
fn a_deposed_object_is_named_and_not_guarded() {
    let project = Project::local("greeting");
    project
        .append("cdflow.yml", "deploy: { protect: [terraform_data.greeting], max-destroy: 0 }\n")
        .commit("Protected");
    project.release("1");
    project.deploy("live", "1");
    let mut state = project.state("live").unwrap();
    let instances = state["resources"][0]["instances"].as_array_mut().unwrap();
    let mut deposed = instances[0].clone();
    deposed["deposed"] = "0a1b2c3d".into();
    instances.push(deposed);
    fs::write(project.state_file("live"), state.to_string()).unwrap();
    let report = project.sandbox().work().join("r.json");
    let output = project.cdflow(["deploy", "live", "1", "--report-json"]).args([&report]).run();
    output.success().stderr_has("0 added, 0 changed, 1 destroyed");
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    let planned = &report["plan"]["resources"];
    assert_eq!(planned[0]["deposed"], "0a1b2c3d", "{planned}");
    assert!(planned[0]["title"].as_str().unwrap().contains("(deposed object 0a1b2c3d)"));
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);
    // The current object is still guarded, and a move is counted.
    let moved = "moved {\n  from = terraform_data.greeting\n  to   = terraform_data.hello\n}\n";
    project
        .write(
            "infra/main.tf",
            &project.read("infra/main.tf").replace("data.greeting", "data.hello"),
        )
        .write(
            "infra/main.tf",
            &project
                .read("infra/main.tf")
                .replace("\"greeting\" {\n  input", "\"hello\" {\n  input"),
        )
        .append("infra/main.tf", moved)
        .commit("Moved");
    project.release("2");
    project.deploy("live", "2").stderr_has("0 added, 1 changed, 0 destroyed, 1 moved");
}
