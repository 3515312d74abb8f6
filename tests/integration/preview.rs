//! Previews: environments that live as long as their pull request.

use crate::support::github::{Fault, GitHub, REPOSITORY_ID, TOKEN};
use crate::support::{Aws, Output, Project, Runner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const NUMBER: u64 = 7;

/// A component with an address, and a config of its own for previews.
fn project(preview: &str) -> Project {
    furnished(Project::local("greeting"), preview)
}

fn furnished(project: Project, preview: &str) -> Project {
    project.append(
        "infra/main.tf",
        "\nvariable \"preview\" {\n  type    = object({ number = number, branch = string, sha = string, ttl = string })\n  default = null\n}\n\n\
         output \"url\" {\n  value = \"https://${var.env}.example\"\n}\n\noutput \"preview\" {\n  value = var.preview\n}\n",
    );
    project.append("cdflow.yml", &format!("deploy: {{url-output: url}}\npreview: {preview}\n"));
    project.write("config/preview.json", "{\"greeting\": \"Good preview\"}\n");
    project.commit("Previews");
    project
}

/// A step of a run for a pull request, whose newest commit was `sha` when the event was sent.
fn for_pull_request(
    project: &Project,
    github: &GitHub,
    number: u64,
    sha: &str,
    run: u64,
    arguments: &[&str],
) -> Runner {
    let repository = json!({ "id": REPOSITORY_ID, "full_name": "acme/checkout", "default_branch": "main" });
    let event = json!({
        "repository": repository,
        "pull_request": {
            "number": number, "draft": false, "labels": [], "user": { "login": "ada" },
            "head": { "sha": sha, "ref": "topic", "repo": repository },
            "base": { "sha": sha, "ref": "main", "repo": repository },
        },
    });
    let file = project.sandbox().work().join(format!("event-{run}.json"));
    fs::write(&file, event.to_string()).unwrap();
    let runner = project.cdflow(arguments).envs(github.env()).env("GITHUB_TOKEN", TOKEN);
    let runner = runner.env("GITHUB_EVENT_NAME", "pull_request").env("GITHUB_EVENT_PATH", file);
    runner.env("GITHUB_SHA", sha).env("GITHUB_RUN_ID", run.to_string())
}

fn up(project: &Project, github: &GitHub, run: u64) -> Output {
    let arguments = ["preview", "up", "--platform-config", "platform-config"];
    for_pull_request(project, github, NUMBER, &project.head(), run, &arguments).run()
}

fn down(project: &Project, github: &GitHub, run: u64) -> Output {
    for_pull_request(project, github, NUMBER, &project.head(), run, &["preview", "down"]).run()
}

/// A step of a run on a schedule.
fn scheduled(project: &Project, github: &GitHub, arguments: &[&str]) -> Runner {
    let runner = project.cdflow(arguments).envs(github.env()).env("GITHUB_TOKEN", TOKEN);
    runner.env("GITHUB_EVENT_NAME", "schedule").env("GITHUB_SHA", project.head()).env("GITHUB_RUN_ID", "900")
}

fn version(project: &Project, number: u64) -> String {
    format!("pr-{number}-{}", &project.head()[..7])
}

/// Each with its states, oldest first.
fn deployments(github: &GitHub) -> Vec<String> {
    let world = github.world();
    let states = |statuses: &[Value]| -> Vec<String> {
        statuses.iter().map(|status| status["state"].as_str().unwrap().to_owned()).collect()
    };
    world.deployments.values().map(|it| format!("{}: {}", it.environment, states(&it.statuses).join(" "))).collect()
}

/// As if `preview up` had made also this one: the ledger and the state of pull request 7 once more.
fn copy(project: &Project, number: u64, change: impl Fn(&mut Value)) {
    let (from, to) = (project.ledger_folder("pr-7"), project.ledger_folder(&format!("pr-{number}")));
    fs::create_dir_all(&to).unwrap();
    for name in ["9999999998.start.json", "9999999998.end.json"] {
        let mut entry: Value = serde_json::from_str(&fs::read_to_string(from.join(name)).unwrap()).unwrap();
        if name.contains("start") {
            entry["preview"]["number"] = number.into();
            change(&mut entry);
        }
        fs::write(to.join(name), entry.to_string()).unwrap();
    }
    let state = project.state_file(&format!("pr-{number}"));
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    fs::copy(project.state_file("pr-7"), state).unwrap();
}

/// What the table of `reap` says of each preview.
fn said(output: &Output) -> BTreeMap<String, String> {
    let lines = output.stdout.lines().filter_map(|line| line.strip_prefix("pr-")?.split_once("  "));
    lines.map(|(number, end)| (number.trim().to_owned(), end.trim().to_owned())).collect()
}

fn close(github: &GitHub, number: u64) {
    github.world().pull_request(number, "abc").is_open = false;
}

fn releases(project: &Project) -> Vec<String> {
    project.stored().into_iter().filter(|name| name.ends_with(".zip")).collect()
}

#[test]
fn a_preview_comes_and_goes_with_its_pull_request() {
    let project = project("{ttl: 72h, account-environment: ci, delete-releases: true}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    let body = || github.world().comments.values().next().unwrap().body.clone();

    // Opened.
    up(&project, &github, 1).success();
    let first = version(&project, NUMBER);
    assert_eq!(project.ledger("pr-7"), [format!("deploy {first} succeeded")]);
    let greeting = project.output_of("pr-7", "greeting");
    assert_eq!(greeting, format!("Good preview from pr-7.local.example, version {first}"));
    let of = project.output_of("pr-7", "preview");
    assert_eq!(of, json!({ "number": 7, "branch": "new-topic", "sha": project.head(), "ttl": "259200s" }));
    assert!(body().contains("pr-7") && body().contains("https://pr-7.example"), "{}", body());
    assert!(body().contains("the label `keep-preview` keeps it"), "{}", body());
    let entry = &project.ledger_entries("pr-7")[0].0;
    assert_eq!(entry["preview"]["repository"], REPOSITORY_ID);
    // The same once more: the release is there already.
    up(&project, &github, 2).success().stdout_has("is there already");

    let told = deployments(&github);
    assert_eq!(told, ["pr-7: in_progress success inactive", "pr-7: in_progress success"]);
    let last = github.world().deployments.values().next_back().unwrap().clone();
    assert!(last.is_transient && last.git_ref == project.head(), "{last:?}");
    assert_eq!(last.statuses[1]["environment_url"], "https://pr-7.example");
    assert_eq!(last.statuses[0]["log_url"], "https://github.com/acme/checkout/actions/runs/2");

    // Pushed to.
    project.append("infra/main.tf", "# second\n").commit("Second");
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 3).success();
    assert_eq!(releases(&project).len(), 2);

    // Closed; the branch is gone, and another commit is checked out.
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_open = false;
    project.append("infra/main.tf", "this is no Terraform\n").commit("Somewhere else");
    down(&project, &github, 4).success();
    assert_eq!(project.state("pr-7"), None);
    assert!(releases(&project).is_empty(), "{:?}", project.stored());
    assert!(body().contains("destroyed"), "{}", body());
    assert!(deployments(&github).iter().all(|it| it.ends_with("inactive")) && github.world().environments.is_empty());
    down(&project, &github, 5).success().stdout_has("pr-7 was destroyed before");

    // Reopened and merged.
    project.git(["reset", "--quiet", "--hard", "HEAD~1"]);
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 6).success();
    assert_eq!(project.resources("pr-7"), ["terraform_data.greeting"]);
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_merged = true;
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_open = false;
    down(&project, &github, 7).success();
    assert_eq!(project.state("pr-7"), None);
}

#[test]
fn only_the_newest_commit_is_deployed() {
    let project = project("{}");
    let github = GitHub::start();
    let older = project.head();
    project.append("infra/main.tf", "# newer\n").commit("Newer");
    let newer = project.head();
    github.world().pull_request(NUMBER, &newer);
    // The run of the older commit comes late.
    project.git(["checkout", "--quiet", &older]);
    up(&project, &github, 1).success().stdout_has("is the newest commit of pull request #7");
    assert!(project.ledger("pr-7").is_empty() && releases(&project).is_empty());
    assert!(github.world().comments.values().next().unwrap().body.contains("superseded"));

    // It is overtaken while it plans.
    github.world().pull_request(NUMBER, &older);
    let runner = for_pull_request(
        &project,
        &github,
        NUMBER,
        &older,
        2,
        &["preview", "up", "--platform-config", "platform-config"],
    );
    let planning = project.sandbox().root().join("planning");
    let wait = format!("plan) touch {0}; while [ -e {0} ]; do sleep 0.1; done ;;", planning.display());
    let path = project.terraform_but(&wait);
    let running = runner.env("PATH", path).spawn();
    while !planning.exists() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    github.world().pull_requests.get_mut(&NUMBER).unwrap().head_sha = newer.clone();
    fs::remove_file(planning).unwrap();
    running.wait().success().stdout_has("Stopped before anything was applied");
    assert!(project.ledger("pr-7").is_empty() && project.state("pr-7").is_none());

    // Closed meanwhile.
    project.git(["checkout", "--quiet", &newer]);
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_open = false;
    up(&project, &github, 3).success().stdout_has("pull request #7 is closed");
    assert!(project.ledger("pr-7").is_empty());
}

#[test]
fn who_gets_none() {
    let project = project("{label: preview, drafts: false}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success().stdout_has("it has no label `preview`");
    github.world().pull_requests.get_mut(&NUMBER).unwrap().labels = vec!["Preview".to_owned()];
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_draft = true;
    up(&project, &github, 2).success().stdout_has("it is a draft");
    assert!(github.world().comments.is_empty() && project.stored().is_empty());
    github.world().pull_requests.get_mut(&NUMBER).unwrap().head_repository = Some(1);
    let by_hand = ["preview", "up", "--pull-request", "7"];
    scheduled(&project, &github, &by_hand).run().fails(3).stdout_has("comes from a fork");
    project.refuses(["preview", "up"], 2, &["the number of the pull request is missing", "--pull-request"]);
    github.world().pull_requests.get_mut(&NUMBER).unwrap().head_repository = Some(REPOSITORY_ID);
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_draft = false;
    up(&project, &github, 3).success();
    assert_eq!(project.resources("pr-7"), ["terraform_data.greeting"]);
}

#[test]
fn what_was_never_there_or_is_locked_or_lost() {
    let project = project("{}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    down(&project, &github, 1).success().stdout_has("Nothing to destroy: pr-7 never existed");
    assert!(github.world().comments.is_empty());
    up(&project, &github, 2).success();

    let locked = for_pull_request(&project, &github, NUMBER, &project.head(), 3, &["preview", "down"]);
    let path = project.terraform_but(
        "plan) echo 'Error: Error acquiring the state lock: resource temporarily unavailable' >&2; exit 1 ;;",
    );
    locked.env("PATH", path).run().fails(8);
    assert_eq!(project.resources("pr-7"), ["terraform_data.greeting"]);

    // Of a repository with a component of the same name.
    let entry = project.ledger_folder("pr-7").join("9999999998.start.json");
    let ours = fs::read_to_string(&entry).unwrap();
    fs::write(&entry, ours.replace(&REPOSITORY_ID.to_string(), "1")).unwrap();
    down(&project, &github, 7).fails(3).stdout_has("belongs to another repository");
    up(&project, &github, 8).fails(3).stdout_has("belongs to another repository");
    fs::write(&entry, ours).unwrap();

    // By hand, outside.
    fs::remove_dir_all(project.state_file("pr-7").parent().unwrap()).unwrap();
    down(&project, &github, 4).fails(3).stdout_has("`pr-7` has no state, but by the ledger it is deployed");
    // A state alone.
    up(&project, &github, 5).success();
    fs::remove_dir_all(project.ledger_folder("pr-7")).unwrap();
    down(&project, &github, 6).fails(3).stdout_has("the ledger knows of no deploy there");
}

#[test]
fn two_that_close_at_once() {
    let project = project("{}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success();
    let closing =
        |run: u64| for_pull_request(&project, &github, NUMBER, &project.head(), run, &["preview", "down"]).spawn();
    let ended = [closing(2), closing(3)].map(|running| running.wait());
    let codes = ended.each_ref().map(|output| output.code);
    assert!(
        codes.contains(&0) && codes.iter().all(|code| [0, 8].contains(code)),
        "{codes:?}\n{}\n{}",
        ended[0],
        ended[1]
    );
    assert_eq!(project.state("pr-7"), None);
}

#[test]
fn reap_destroys_what_nobody_needs() {
    let project = project("{ttl: 72h}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success();
    for number in [8, 9, 10, 15, 16, 17] {
        copy(&project, number, |_| {});
    }
    for number in [11, 12] {
        copy(&project, number, |start| start["started"] = "2026-01-01T00:00:00Z".into());
        github.world().pull_request(number, "abc");
    }
    github.world().pull_requests.get_mut(&12).unwrap().labels = vec!["keep-preview".to_owned()];
    copy(&project, 13, |start| start["preview"]["repository"] = 1.into());
    copy(&project, 14, |start| start["preview"] = Value::Null);
    [8, 13, 14, 16, 17].into_iter().for_each(|number| close(&github, number));
    close(&github, 9);
    github.world().pull_requests.get_mut(&9).unwrap().is_merged = true;
    fs::remove_dir_all(project.ledger_folder("pr-15")).unwrap();
    let damaged = project.ledger_folder("pr-16").join("9999999998.start.json");
    let whole = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, &whole[..40]).unwrap();
    let forbidden = Fault::Answer { status: 403, headers: vec![], message: "Resource not accessible by integration" };
    github.fault("/pulls/17", 2, forbidden);

    let before = project.snapshot();
    let listed = scheduled(&project, &github, &["preview", "reap", "--dry-run"]).run();
    listed.fails(6);
    project.unchanged_since(&before, &listed);
    let said_of = said(&listed);
    let expected = [
        ("7", "left: its pull request is open"),
        ("8", "would be destroyed: its pull request is closed"),
        ("9", "would be destroyed: its pull request is merged"),
        ("10", "would be destroyed: its pull request is gone"),
        ("11", "would be destroyed: it was not deployed to for"),
        ("12", "left: the label `keep-preview` keeps it"),
        ("13", "left: it belongs to another repository"),
        ("14", "left: `preview up` has not made it"),
        ("15", "left: only its state tells of it: cdflow destroy pr-15 VERSION"),
        ("16", "failed: the ledger entry"),
        ("17", "failed: can't read pull request #17"),
    ];
    for (number, text) in expected {
        assert!(said_of[number].starts_with(text), "{number}: {said_of:?}");
    }

    let reaped = scheduled(&project, &github, &["preview", "reap"]).run();
    reaped.fails(6).stdout_has("2 preview(s) could not be reaped: pr-16, pr-17");
    for number in 7..=17 {
        let is_gone = (8..=11).contains(&number);
        assert_eq!(project.state(&format!("pr-{number}")).is_none(), is_gone, "{number}\n{reaped}");
    }
    fs::write(&damaged, whole).unwrap();
    let reaped = scheduled(&project, &github, &["preview", "reap"]).run();
    reaped.success().stdout_has("Destroyed 2 of 7 preview(s)");
    let before = project.snapshot();
    project.unchanged_since(&before, &scheduled(&project, &github, &["preview", "reap"]).run());

    // Nothing can be seen any more: that is no reason to destroy anything.
    let nothing = Fault::Answer { status: 404, headers: vec![], message: "Not Found" };
    github.fault("GET /repos/acme/checkout", 999, nothing);
    close(&github, NUMBER);
    let refused = scheduled(&project, &github, &["preview", "reap"]).run();
    refused.fails(2).stdout_has("can't read the repository");
    project.unchanged_since(&before, &refused);
}

/// Every tenth question to GitHub fails once. More previews would only take longer.
#[test]
fn many_are_reaped_at_once() {
    let project = project("{}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success();
    for number in 101..=120 {
        copy(&project, number, |_| {});
        match number <= 116 {
            true => close(&github, number),
            false => drop(github.world().pull_request(number, "abc")),
        }
        if number % 10 == 0 {
            github.fault(&format!("/pulls/{number}"), 1, if number == 110 { Fault::HangUp } else { Fault::DoneBut502 });
        }
    }
    let running = [0, 1].map(|_| scheduled(&project, &github, &["preview", "reap"]).spawn());
    let ended = running.map(|running| running.wait());
    for output in &ended {
        output.success();
    }
    scheduled(&project, &github, &["preview", "reap"]).run().success().stdout_has("Destroyed 0 of 5");
    for number in 101..=120 {
        assert_eq!(
            project.state(&format!("pr-{number}")).is_none(),
            number <= 116,
            "{number}\n{}\n{}",
            ended[0],
            ended[1]
        );
    }
    // The repository, each pull request, and once more where an answer was lost: twice, and for the third run.
    let asked = github.exchanges("/pulls/").len();
    assert!(asked <= 2 * 21 + 2 + 21, "{asked}");
}

#[test]
fn only_some_files_are_worth_a_preview() {
    let project = project("{paths: ['infra/**', config/preview.json]}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head()).files = vec!["README.md".to_owned(), "src/infra/x".to_owned()];
    up(&project, &github, 1).success().stdout_has("it changes nothing in infra/**, config/preview.json");
    assert!(project.stored().is_empty());
    github.world().pull_requests.get_mut(&NUMBER).unwrap().files.push("infra/main.tf".to_owned());
    up(&project, &github, 2).success();
    assert_eq!(project.resources("pr-7"), ["terraform_data.greeting"]);
}

#[test]
fn deploys_of_other_environments_are_told_as_well() {
    let project = project("{}");
    let github = GitHub::start();
    let version = version(&project, NUMBER);
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success();
    scheduled(&project, &github, &["deploy", "live", &version]).run().success();
    scheduled(&project, &github, &["deploy", "live", &version]).run().success();
    let told = deployments(&github);
    assert_eq!(told, ["pr-7: in_progress success", "live: in_progress success inactive", "live: in_progress success"]);
    let sent = github.exchanges("POST /repos/acme/checkout/deployments");
    let of_live = sent.iter().find(|it| it.body["environment"] == "live").unwrap();
    assert_eq!((&of_live.body["production_environment"], &of_live.body["auto_merge"]), (&json!(true), &json!(false)));
    assert_eq!(of_live.body["required_contexts"], json!([]));
    // A deploy that fails, and a GitHub that does not want to know.
    let path = project.terraform_but("apply) exit 1 ;;");
    scheduled(&project, &github, &["deploy", "ci", &version]).env("PATH", path).run().fails(6);
    assert_eq!(deployments(&github).last().unwrap(), "ci: in_progress failure");
    github.world().token(TOKEN, "github-actions[bot]", &[("contents", "read")]);
    let output = scheduled(&project, &github, &["deploy", "aslive", &version]).run();
    output.success().stdout_has("::warning::can't record the deployment to `aslive`").stdout_has("deployments: write");
    project.append("cdflow.yml", "").edit(
        "cdflow.yml",
        "url-output: url",
        "url-output: url, github-deployments: false",
    );
    scheduled(&project, &github, &["deploy", "aslive", &version]).run().success().lacks("record the deployment");
}

#[test]
fn on_aws_a_preview_is_in_the_account_that_is_named() {
    let aws = Aws::new("preview");
    let project = furnished(Project::aws("greeting", &aws), "{account-environment: live, delete-releases: true}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success().stdout_has("account prod");
    // cdflow.yml leads elsewhere now, where Terraform would look for resources in vain.
    close(&github, NUMBER);
    project.edit("cdflow.yml", "account-environment: live", "account-environment: ci");
    let refused = scheduled(&project, &github, &["preview", "reap"]).run();
    refused.fails(6).stdout_has("is not where previews are made now");
    project.edit("cdflow.yml", "account-environment: ci", "account-environment: live");
    let reaped = scheduled(&project, &github, &["preview", "reap"]).run();
    reaped.success().stdout_has("destroyed: its pull request is closed").stdout_has("Destroyed 1 of 1");
    down(&project, &github, 2).success().stdout_has("pr-7 was destroyed before");
    assert!(aws.keys(&aws.state_bucket()).iter().all(|key| !key.contains("pr-7")));
}

#[test]
fn status_tells_of_previews_and_of_what_is_behind() {
    let project = project("{}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success();
    project.release("1");
    project.append("infra/main.tf", "# newer\n").commit("Newer");
    project.release("2");
    for (version, seconds) in [("1", 1_700_000_000), ("2", 1_700_000_600)] {
        let file = fs::File::options().append(true).open(project.bundle(version)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    project.deploy("live", "1");
    project.deploy("ci", "2");
    let summary = project.sandbox().work().join("summary");
    fs::write(&summary, "").unwrap();
    let shown = scheduled(&project, &github, &["status"]).env("GITHUB_STEP_SUMMARY", &summary).run();
    shown.success().stdout_has("live is behind ci (2)");
    let page = fs::read_to_string(&summary).unwrap();
    for text in ["```mermaid", "[\"2\"] --> e0([\"ci\"])", "| **live** | `1` |", "behind ci (2)", "pull request #7"] {
        assert!(page.contains(text), "no {text}: {page}");
    }
    let json = project.cdflow(["status", "--json"]).run().json();
    let of = |name: &str| {
        let all = json["environments"].as_array().unwrap();
        all.iter().find(|it| it["environment"] == name).unwrap().clone()
    };
    assert_eq!((&of("live")["behind"], &of("ci")["behind"]), (&json!(["ci (2)"]), &Value::Null));
    assert_eq!(of("pr-7")["preview"]["number"], NUMBER);
}
