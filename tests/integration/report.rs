//! What a run tells elsewhere than in its log: files, the job's summary and outputs, the pull
//! request's comment.

use crate::support::github::{GitHub, REPOSITORY_ID, TOKEN};
use crate::support::{Output, Project, Runner, entries_of_runner, pull_request_event};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

fn outputs(project: &Project) -> BTreeMap<String, String> {
    entries_of_runner(&fs::read_to_string(project.sandbox().work().join("output")).unwrap())
}

fn summary(project: &Project) -> String {
    fs::read_to_string(project.sandbox().work().join("summary")).unwrap()
}

/// As the runner starts a step; files of the step before are gone.
fn step(project: &Project, arguments: &[&str]) -> Output {
    let work = project.sandbox().work();
    for file in ["output", "summary"] {
        fs::write(work.join(file), "").unwrap();
    }
    let runner =
        project.cdflow(arguments).env("GITHUB_ACTIONS", "true").env("GITHUB_EVENT_NAME", "push");
    let runner = runner.env("GITHUB_REPOSITORY", "acme/greeting").env("GITHUB_RUN_ID", "77");
    let runner =
        runner.env("GITHUB_SERVER_URL", "https://github.com").env("GITHUB_SHA", project.head());
    runner
        .env("GITHUB_OUTPUT", work.join("output"))
        .env("GITHUB_STEP_SUMMARY", work.join("summary"))
        .run()
}

/// A 64-bit float would round each.
const NUMBERS: &str = "100000000000000000001,0.10000000000000000000000000001,-9007199254740993";

#[test]
fn outputs_and_summary_of_a_step() {
    let project = Project::local("greeting");
    project.append(
        "infra/main.tf",
        &format!("\noutput \"numbers\" {{ value = {{ list = [{NUMBERS}] }} }}\n"),
    );
    project.commit("Add long numbers");
    step(&project, &["release", "1", "--platform-config", "platform-config"]).success();
    let released = outputs(&project);
    assert_eq!(released["version"], "1");
    assert_eq!(released["release-digest"].len(), 64);
    assert!(released["release-key"].ends_with("/platform/greeting/greeting-1.zip"), "{released:?}");
    assert!(summary(&project).starts_with("## ✅ greeting: Released"));

    step(&project, &["deploy", "live", "1", "--plan-only"]).success();
    let planned = outputs(&project);
    for (name, value) in [
        ("changes", "true"),
        ("to-add", "1"),
        ("to-change", "0"),
        ("to-destroy", "0"),
        ("exit-code", "0"),
        ("failure-reason", ""),
    ] {
        assert_eq!(planned[name], value, "{name}");
    }
    assert_eq!(planned["release-digest"], released["release-digest"]);
    let shown = summary(&project);
    assert!(
        shown.contains("greeting → live: Planned")
            && shown.contains("# terraform_data.greeting will be created"),
        "{shown}"
    );
    assert!(
        shown.contains("\n  # terraform_data.greeting will be created\n"),
        "Terraform's own words: {shown}"
    );

    let json = project.sandbox().work().join("report.json");
    let json_report = ["--report-json", json.to_str().unwrap()];
    step(&project, &[&["deploy", "live", "1"][..], &json_report].concat()).success();
    let deployed = outputs(&project);
    let numbers = format!(r#""numbers":{{"list":[{NUMBERS}]}}"#);
    let reported: String = fs::read_to_string(json).unwrap().split_whitespace().collect();
    for printed in [&deployed["terraform-outputs"], &reported] {
        assert!(printed.contains(&numbers), "{printed}");
    }
    assert!(summary(&project).contains(NUMBERS), "{}", summary(&project));
    let terraform: Value = serde_json::from_str(&deployed["terraform-outputs"]).unwrap();
    assert_eq!(terraform["greeting"], "Good day from live.local.example, version 1");
    assert!(
        summary(&project)
            .contains("[77, attempt 1](https://github.com/acme/greeting/actions/runs/77)")
    );

    step(&project, &["deploy", "live", "1", "--plan-only"]).success();
    assert_eq!(outputs(&project)["changes"], "false");
    assert!(summary(&project).contains("No changes"));

    step(&project, &["destroy", "live", "--confirm", "live"]).success();
    assert_eq!(outputs(&project)["to-destroy"], "1");
    let shown = summary(&project);
    assert!(
        shown.contains("Destroyed") && shown.contains("`terraform_data.greeting` was destroyed"),
        "{shown}"
    );
}

#[test]
fn a_failure_says_why_also_there() {
    let project = Project::local("greeting");
    project.append(
        "infra/main.tf",
        "\nresource \"terraform_data\" \"bad\" {\n  input = file(\"nothing\")\n}\n",
    );
    project.commit("Break");
    project.release_unchecked("1");
    step(&project, &["deploy", "live", "1"]).fails(5);
    let failed = outputs(&project);
    assert_eq!(
        (failed["exit-code"].as_str(), failed["failure-reason"].as_str()),
        ("5", "plan-failed")
    );
    let shown = summary(&project);
    assert!(shown.contains("greeting → live: Failed") && shown.contains("exit code 5"), "{shown}");
    step(&project, &["deploy", "live", "2"]).fails(2);
    assert_eq!(outputs(&project)["failure-reason"], "invalid-input");
}

/// Before there is an environment or even a command: what went wrong, why, and what to do.
#[test]
fn a_run_that_never_began_says_so_in_its_summary() {
    let project = Project::local("greeting");
    let work = project.sandbox().work();
    let said = |arguments: &[&str], variables: &[(&str, &str)]| -> String {
        for file in ["output", "summary"] {
            fs::write(work.join(file), "").unwrap();
        }
        let runner = project.cdflow(arguments).env("GITHUB_ACTIONS", "true");
        let runner = runner
            .env("GITHUB_OUTPUT", work.join("output"))
            .env("GITHUB_STEP_SUMMARY", work.join("summary"));
        runner.envs(variables.iter().copied()).run().fails(2);
        let given = outputs(&project);
        assert_eq!(
            (given["exit-code"].as_str(), given["failure-reason"].as_str()),
            ("2", "invalid-input")
        );
        assert!(
            given
                .iter()
                .all(|(name, value)| ["exit-code", "failure-reason"].contains(&name.as_str())
                    || value.is_empty())
        );
        summary(&project)
    };
    let step =
        [("INPUT_COMMAND", "release"), ("INPUT_VERSION", "1"), ("INPUT_PLATFROM-CONFIG", "x")];
    let shown = said(&[], &step);
    assert!(shown.starts_with("## ❌ cdflow: Failed"), "{shown}");
    assert!(shown.contains("(exit code 2)") && shown.contains("did you mean"), "{shown}");
    let shown = said(&[], &[("INPUT_COMMAND", "<script>\n@team | [a](http://evil.example)")]);
    assert!(
        shown.contains("script") && !shown.contains("<script>") && !shown.contains(" @team"),
        "{shown}"
    );

    let shown = said(&["deploy", "live"], &[("INPUT_UNKNOWN", "")]);
    assert!(shown.contains("the version is missing"), "{shown}");
    let shown = said(&["depoly"], &[]);
    assert!(
        shown.contains("unrecognized subcommand") && shown.contains("a similar subcommand exists"),
        "{shown}"
    );

    fs::write(work.join("event.json"), "{\"pull_request\": ").unwrap();
    let event = work.join("event.json").display().to_string();
    let shown = said(
        &["deploy", "live", "1"],
        &[("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_EVENT_PATH", &event)],
    );
    assert!(shown.contains("the event file") && shown.contains("EOF while parsing"), "{shown}");

    project.append("cdflow.yml", "depoly: {}\n");
    let shown = said(&["deploy", "live", "1"], &[]);
    assert!(
        shown.starts_with("## ❌ cdflow deploy: Failed") && shown.contains("did you mean"),
        "{shown}"
    );
    fs::write(work.join("summary"), "").unwrap();
    let runner = project.cdflow(["status"]).env("GITHUB_ACTIONS", "true");
    runner.env("GITHUB_STEP_SUMMARY", work.join("summary")).run().fails(2);
    assert!(summary(&project).contains("did you mean"), "{}", summary(&project));
}

#[test]
fn a_report_as_files_in_any_ci() {
    let project = Project::local("greeting");
    project.release("1");
    let arguments = [
        "deploy",
        "live",
        "1",
        "--report-markdown",
        "../report.md",
        "--report-json",
        "../report.json",
    ];
    project.cdflow(arguments).run().success();
    let work = project.sandbox().work();
    let report: Value =
        serde_json::from_str(&fs::read_to_string(work.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["outcome"], "deployed");
    assert_eq!(report["plan"]["counts"]["add"], 1);
    assert_eq!(report["plan"]["resources"][0]["address"], "terraform_data.greeting");
    assert_eq!(report["state_serial"], report["state_serial"].as_u64().unwrap());
    assert!(
        fs::read_to_string(work.join("report.md")).unwrap().contains("greeting → live: Deployed")
    );
}

/// Terraform hides a value where it is marked as sensitive; a resource may repeat it elsewhere.
#[test]
fn what_a_plan_marks_sensitive_is_in_no_report() {
    let project = Project::local("greeting");
    project.append(
        "infra/main.tf",
        "\nvariable \"token\" {\n  type = string\n  sensitive = true\n}\n\nresource \
        \"terraform_data\" \"secret\" {\n  input = var.token\n}\n",
    );
    project.edit_json("config/common.json", |config| config["token"] = "tr0ub4dor-and-3".into());
    project.commit("A sensitive value");
    project.release("1");
    project.deploy("live", "1");
    project.edit_json("config/common.json", |config| config["token"] = "another-horse".into());
    project.commit("Another");
    project.release("2");
    let output =
        step(&project, &["deploy", "live", "2", "--plan-only", "--report-json", "../report.json"]);
    output.success();
    let json = fs::read_to_string(project.sandbox().work().join("report.json")).unwrap();
    for text in [summary(&project), json, format!("{:?}", outputs(&project))] {
        assert!(text.contains("terraform_data.secret") || text.contains("to-change"));
        assert!(!text.contains("tr0ub4dor") && !text.contains("another-horse"), "{text}");
    }
}

/// A step of a workflow that runs for pull request 7.
fn for_pull_request(project: &Project, github: &GitHub, run: u64, arguments: &[&str]) -> Runner {
    let output = project.sandbox().work().join("output");
    fs::write(&output, "").unwrap();
    let event = pull_request_event(7, &project.head(), "open", &[]);
    project.for_pull_request(github, &event, run, arguments).env("GITHUB_OUTPUT", output)
}

#[test]
fn a_pull_request_has_one_comment_that_follows_its_runs() {
    let project = Project::local("greeting");
    project.release("1");
    let github = GitHub::start();
    github.world().pull_request(7, &project.head());
    let bodies =
        || -> Vec<String> { github.world().comments.values().map(|it| it.body.clone()).collect() };

    for_pull_request(&project, &github, 1, &["deploy", "ci", "1", "--plan-only"]).run().success();
    assert!(
        bodies()[0].contains("cdflow: planned")
            && bodies()[0].contains("# terraform_data.greeting will be created")
    );
    assert!(outputs(&project)["comment-url"].contains("/pull/7#issuecomment-"));
    for_pull_request(&project, &github, 2, &["deploy", "live", "1"]).run().success();
    for_pull_request(&project, &github, 1, &["deploy", "live", "1", "--plan-only"]).run().success();
    for_pull_request(&project, &github, 3, &["deploy", "live", "2"]).run().fails(2);
    let bodies = bodies();
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].contains("cdflow: 1 failed, 1 planned"), "{}", bodies[0]);
    assert!(bodies[0].contains("/actions/runs/3)"), "{}", bodies[0]);
    let silent =
        for_pull_request(&project, &github, 4, &["deploy", "live", "1", "--comment", "false"])
            .run();
    silent.success();
    assert!(!outputs(&project).contains_key("comment-url"));
}

/// The only comment.
fn comment(github: &GitHub) -> String {
    let world = github.world();
    assert_eq!(world.comments.len(), 1);
    world.comments.values().next().unwrap().body.clone()
}

#[test]
fn rows_come_back_from_the_ledger() {
    let project = Project::local("greeting");
    project.release("1");
    let github = GitHub::start();
    github.world().pull_request(7, &project.head());
    let run = |run, arguments: &[&str]| for_pull_request(&project, &github, run, arguments);
    run(1, &["deploy", "ci", "1"]).run().success();
    let entry = &project.ledger_entries("ci")[0].0;
    assert_eq!(
        entry["pull_request"],
        json!({ "repository": REPOSITORY_ID, "number": 7, "run": 1, "attempt": 1 })
    );

    // Somebody deletes the comment.
    github.world().comments.clear();
    run(1, &["deploy", "aslive", "1"]).run().success();
    let body = comment(&github);
    assert!(body.contains("cdflow: 2 deployed\n") && body.contains("**ci**"), "{body}");
    assert!(
        body.contains("Restored from the ledger") && body.contains("/actions/runs/1)"),
        "{body}"
    );

    // A run for nobody's pull request, for another one's, and of another repository: none has a
    // row.
    project.cdflow(["deploy", "live", "1"]).run().success();
    let folder =
        |environment: &str| project.ledger_folder(environment).join("9999999998.start.json");
    for (environment, key, value) in [("other", "number", 8), ("foreign", "repository", 1)] {
        fs::create_dir_all(project.ledger_folder(environment)).unwrap();
        let entry = fs::read_to_string(folder("ci")).unwrap();
        let mut entry: Value = serde_json::from_str(&entry).unwrap();
        entry["pull_request"][key] = value.into();
        entry["environment"] = environment.into();
        fs::write(folder(environment), entry.to_string()).unwrap();
    }
    github.world().comments.clear();
    run(2, &["deploy", "aslive", "1"]).run().success().lacks("::warning::");
    let body = comment(&github);
    assert!(body.contains("cdflow: 2 deployed\n"), "{body}");

    // Why it failed stays in the log; the row says where.
    project.append(
        "infra/main.tf",
        "\nresource \"terraform_data\" \"bad\" {\n  provisioner \
    \"local-exec\" {\n    command = \"echo sesame-open; exit 3\"\n  }\n}\n",
    );
    project.commit("Break");
    project.release("2");
    run(3, &["deploy", "ci", "2"]).run().fails(6);
    github.world().comments.clear();
    run(4, &["deploy", "aslive", "1"]).run().success();
    let body = comment(&github);
    assert!(
        body.contains("cdflow: 1 failed, 1 deployed\n") && body.contains("/actions/runs/3)"),
        "{body}"
    );
    assert!(!body.contains("sesame") && !body.contains("exit code"), "{body}");

    // A ledger that can't be read costs its own row at most.
    fs::write(project.ledger_folder("ci").join("9999999997.start.json"), "damaged").unwrap();
    github.world().comments.clear();
    let output = run(5, &["deploy", "aslive", "1", "--plan-only"]).run();
    output
        .success()
        .stdout_has("::warning::cannot restore lost rows of the comment from the ledger");
    assert!(comment(&github).contains("cdflow: no changes\n"), "{}", comment(&github));
}

/// The comment says that a deploy is under way; and when the run is killed, the next one says that
/// it never came to its end.
#[test]
fn a_run_that_dies_is_not_applying_for_ever() {
    let project = Project::local("greeting");
    project.release("1");
    let github = GitHub::start();
    github.world().pull_request(7, &project.head());
    let run = |run, arguments: &[&str]| for_pull_request(&project, &github, run, arguments);
    run(1, &["deploy", "ci", "1", "--plan-only"]).run().success();
    let gate = project.sandbox().root().join("gate");
    let wait = format!(
        "apply) echo waiting; while [ -e {} ]; do sleep 0.1; done; exit 1 ;;",
        gate.display()
    );
    let path = project.terraform_but(&wait);
    fs::write(&gate, "").unwrap();
    let mut running = run(2, &["deploy", "ci", "1"]).env("PATH", path).spawn();
    running.wait_for("waiting");
    running.wait_until("the comment says so", |_| comment(&github).contains("cdflow: applying\n"));
    let body = comment(&github);
    assert!(body.starts_with("### ⏳ Wait before merging: greeting → ci is applying\n"), "{body}");
    assert!(body.contains("[run log](") && body.contains("/actions/runs/2)"), "{body}");
    // The plan is still to be seen.
    assert!(body.contains("# terraform_data.greeting will be created"), "{body}");
    kill(Pid::from_raw(running.pid()), Signal::SIGKILL).unwrap();
    fs::remove_file(&gate).unwrap();
    running.wait();
    assert_eq!(project.ledger("ci"), ["deploy 1 unfinished"]);

    run(3, &["deploy", "live", "1"]).run().success();
    let body = comment(&github);
    assert!(body.contains("cdflow: 1 unfinished, 1 deployed\n"), "{body}");
    assert!(body.contains("ci: **did not finish**") && body.contains("/actions/runs/2)"), "{body}");
    // A plan for the same environment has the row, and says it as well.
    run(4, &["deploy", "ci", "1", "--plan-only", "--new-environment"]).run().success();
    let body = comment(&github);
    assert!(
        body.contains("cdflow: 1 planned, 1 deployed\n") && body.contains("ci: **did not finish**"),
        "{body}"
    );
    // Once that is deployed, it is history.
    run(5, &["deploy", "ci", "1", "--new-environment"]).run().success();
    assert!(!comment(&github).contains("did not finish"), "{}", comment(&github));
}

#[test]
fn the_address_of_an_environment_is_an_output_of_the_code() {
    let project = Project::local("greeting");
    project.append(
        "infra/main.tf",
        "\noutput \"url\" {\n  value = \"https://${var.env}.example\"\n}\n",
    );
    project.append("cdflow.yml", "deploy: {url-output: url}\n").commit("An address");
    project.release("1");
    step(&project, &["deploy", "live", "1"]).success();
    assert_eq!(outputs(&project)["environment-url"], "https://live.example");
    assert!(summary(&project).contains("[Open the environment](https://live.example)"));
    step(&project, &["deploy", "live", "1", "--url-output", "nothing"])
        .success()
        .stdout_has("names `nothing`");
    project.edit("cdflow.yml", "url-output: url", "url-output: greeting");
    step(&project, &["deploy", "live", "1", "--url-output", "url"]).success();
    assert_eq!(outputs(&project)["environment-url"], "https://live.example");
    let output = step(&project, &["deploy", "live", "1"]);
    output.success().stdout_has("`deploy.url-output` of cdflow.yml names `greeting`");
}

#[test]
fn trouble_with_github_changes_no_result() {
    let project = Project::local("greeting");
    project.release("1");
    let github = GitHub::start();
    github.world().pull_request(7, &project.head());
    github.world().token(
        TOKEN,
        "github-actions[bot]",
        &[("contents", "read"), ("pull_requests", "read")],
    );
    let output = for_pull_request(&project, &github, 1, &["deploy", "live", "1"]).run();
    output
        .success()
        .stdout_has("::warning::failed to comment on #7")
        .stdout_has("pull-requests: write");
    assert_eq!(outputs(&project)["exit-code"], "0");
    let without_token =
        for_pull_request(&project, &github, 1, &["deploy", "live", "1", "--comment", "true"]);
    without_token
        .env_remove("GITHUB_TOKEN")
        .run()
        .success()
        .stdout_has("::warning::cannot call GitHub: no token is set");
}

#[test]
fn doctor_looks_at_the_token() {
    let project = Project::local("greeting");
    let github = GitHub::start();
    github.world().pull_request(7, &project.head());
    let well = for_pull_request(&project, &github, 1, &["doctor"]).run();
    well.success().stdout_has("authenticated as github-actions[bot]").stdout_has("can read #7");
    github.world().token(TOKEN, "github-actions[bot]", &[("contents", "read")]);
    let poor = for_pull_request(&project, &github, 1, &["doctor"]).run();
    poor.success()
        .stdout_has("-> add these permissions to the workflow's job:\n")
        .stdout_has("  pull-requests: read\n");
    let none = for_pull_request(&project, &github, 1, &["doctor"]).env_remove("GITHUB_TOKEN").run();
    none.success().stdout_has("no token is set").stdout_has("github-token: ${{ github.token }}");
}

#[test]
fn a_plan_is_written_for_people_and_for_programs() {
    let project = Project::local("greeting");
    project.release("1");
    step(&project, &["deploy", "live", "1", "--plan-only", "--plan-out", "../plan/live"]).success();
    let given = outputs(&project);
    assert_eq!(
        (given["plan-path"].as_str(), given["plan-json-path"].as_str()),
        ("../plan/live/plan.txt", "../plan/live/plan.json")
    );
    let read = |name: &str| {
        fs::read_to_string(project.sandbox().work().join("plan/live").join(name)).unwrap()
    };
    assert!(read("plan.txt").contains("# terraform_data.greeting will be created"));
    let plan: Value = serde_json::from_str(&read("plan.json")).unwrap();
    assert_eq!(
        (&plan["counts"]["add"], &plan["resources"][0]["address"]),
        (&json!(1), &json!("terraform_data.greeting"))
    );
    let file = given["terraform-plan-json-path"].as_str();
    assert_eq!(file, "../plan/live/plan.tfplan.json");
    let plan: Value = serde_json::from_str(&read("plan.tfplan.json")).unwrap();
    assert_eq!(plan["format_version"], "1.2");
    assert_eq!(plan["resource_changes"][0]["change"]["actions"], json!(["create"]));
    assert!(plan["configuration"]["root_module"]["resources"].is_array(), "{plan}");
    // Also of a plan without changes.
    project.deploy("live", "1");
    step(&project, &["deploy", "live", "1", "--plan-only", "--plan-out", "../plan/live"]).success();
    let plan: Value = serde_json::from_str(&read("plan.tfplan.json")).unwrap();
    assert_eq!(plan["resource_changes"][0]["change"]["actions"], json!(["no-op"]));
}

/// Terraform indents the title of such a resource in its own way.
#[test]
fn a_resource_that_is_no_longer_managed_is_shown_with_its_text() {
    let kept = "resource \"terraform_data\" \"b\" {\n  input = \"old\"\n}\n";
    let project = Project::local("greeting");
    project.append("infra/main.tf", kept);
    project.append("infra/main.tf", &kept.replace("\"b\"", "\"c\"")).commit("Two");
    project.release("1");
    project.deploy("live", "1");
    let removed = "removed {\n  from = terraform_data.c\n  lifecycle {\n    destroy = false\n  \
                   }\n}\n";
    project.edit("infra/main.tf", &kept.replace("\"b\"", "\"c\""), removed);
    project.edit("infra/main.tf", "\"old\"", "\"new\"").commit("One");
    project.release("2");
    step(&project, &["deploy", "live", "2", "--plan-only", "--plan-out", "../plan"]).success();
    let plan = fs::read_to_string(project.dir().join("../plan/plan.json")).unwrap();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let of = |address: &str| {
        let resources = plan["resources"].as_array().unwrap();
        resources.iter().find(|it| it["address"] == address).unwrap().clone()
    };
    let (changed, forgotten) = (of("terraform_data.b"), of("terraform_data.c"));
    assert_eq!(forgotten["action"], "forget");
    assert_eq!(
        forgotten["title"],
        "terraform_data.c will no longer be managed by Terraform, but will not be destroyed"
    );
    let diff = forgotten["diff"].as_str().unwrap();
    assert!(
        diff.contains("destroy = false") && diff.contains("\"terraform_data\" \"c\""),
        "{diff}"
    );
    let diff = changed["diff"].as_str().unwrap();
    assert!(diff.contains("\"new\"") && !diff.contains("no longer be managed"), "{diff}");
}

#[test]
fn a_report_that_can_not_be_written_is_known_before_anything_is_done() {
    let project = Project::local("greeting");
    project.release("1");
    let work = project.sandbox().work();
    fs::write(work.join("file"), "").unwrap();
    let refuses = |flag: &str, place: &str, says: &str| {
        project.refuses(["deploy", "live", "1", flag, place], 2, &[says]);
    };
    refuses(
        "--report-json",
        "no/such/folder.json",
        "cannot write the report `no/such/folder.json`",
    );
    refuses("--report-markdown", "../store", "the report `../store` is a folder");
    refuses(
        "--plan-out",
        "../file/plan",
        "cannot create the folder of `--plan-out` `../file/plan`",
    );
    let on_actions =
        step(&project, &["deploy", "live", "1", "--report-json", "no/such/folder.json"]);
    on_actions.fails(2).stdout_has("::error").lacks("::warning");
    assert!(project.ledger("live").is_empty());
    // A folder that is not there yet is made with the plan, and not before.
    let failed = project.cdflow(["deploy", "live", "2", "--plan-out", "../plans/of/live"]).run();
    failed.fails(2);
    assert!(!work.join("plans").exists());
    project.cdflow(["deploy", "live", "1", "--plan-out", "../plans/of/live"]).run().success();
    assert!(work.join("plans/of/live/plan.txt").is_file());

    let given = [
        ("--report-json", "r"),
        ("--report-markdown", "r"),
        ("--comment", "true"),
        ("--plan-out", "p"),
    ];
    for command in [
        &["status"][..],
        &["history", "live"],
        &["doctor"],
        &["prune"],
        &["shell", "live", "--", "true"],
    ] {
        for (flag, value) in given {
            let arguments = [&command[..1], &[flag, value], &command[1..]].concat();
            project
                .cdflow(arguments)
                .run()
                .fails(2)
                .stderr_has(&format!("unexpected argument '{flag}'"))
                .stderr_has(&format!("{flag} is a flag of other commands: "))
                .stderr_has("rollback");
        }
    }
    let input = [("INPUT_COMMAND", "status"), ("INPUT_REPORT-JSON", "r")];
    project
        .cdflow([] as [&str; 0])
        .envs(input)
        .run()
        .fails(2)
        .stderr_has("the input `report-json` is not for the command `status`")
        .stderr_has(
            "it is for release, deploy, destroy, preview up, preview down, preview reap, rollback",
        );
    let release = ["release", "2", "--plan-out", "plans"];
    project.refuses(
        release,
        2,
        &[
            "unexpected argument '--plan-out'",
            "a flag of other commands: deploy, destroy, preview up, preview down, rollback",
        ],
    );
}
