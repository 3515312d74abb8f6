//! Previews: environments that live as long as their pull request.

use crate::support::github::{GitHub, REPOSITORY_ID, TOKEN, World};
use crate::support::{Aws, Output, Project, Runner, Running, pull_request_event};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

pub(crate) const NUMBER: u64 = 7;

/// A component with an address, and a config of its own for previews.
pub(crate) fn project(preview: &str) -> Project {
    furnished(Project::local("greeting"), preview)
}

pub(crate) fn furnished(project: Project, preview: &str) -> Project {
    project.append(
        "infra/main.tf",
        "\nvariable \"preview\" {\n  type    = object({ number = number, branch = string, sha = \
        string, ttl = string })\n  default = null\n}\n\n\
         output \"url\" {\n  value = \"https://${var.env}.example\"\n}\n\noutput \"preview\" {\n  \
         value = var.preview\n}\n",
    );
    project.append("cdflow.yml", &format!("deploy: {{url-output: url}}\npreview: {preview}\n"));
    project.write("config/preview.json", "{\"greeting\": \"Good preview\"}\n");
    project.commit("Previews");
    project
}

/// A step of a run for a pull request, whose newest commit was `sha` when the event was sent.
pub(crate) fn for_pull_request(
    project: &Project,
    github: &GitHub,
    number: u64,
    sha: &str,
    run: u64,
    arguments: &[&str],
) -> Runner {
    let state = if arguments.contains(&"down") { "closed" } else { "open" };
    project.for_pull_request(github, &pull_request_event(number, sha, state, &[]), run, arguments)
}

pub(crate) fn up(project: &Project, github: &GitHub, run: u64) -> Output {
    let arguments = ["preview", "up", "--platform-config", "platform-config"];
    for_pull_request(project, github, NUMBER, &project.head(), run, &arguments).run()
}

pub(crate) fn down(project: &Project, github: &GitHub, run: u64) -> Output {
    for_pull_request(project, github, NUMBER, &project.head(), run, &["preview", "down"]).run()
}

/// A step of a run on a schedule.
pub(crate) fn scheduled(project: &Project, github: &GitHub, arguments: &[&str]) -> Runner {
    let runner = project.cdflow(arguments).envs(github.env()).env("GITHUB_TOKEN", TOKEN);
    runner
        .env("GITHUB_EVENT_NAME", "schedule")
        .env("GITHUB_SHA", project.head())
        .env("GITHUB_RUN_ID", "900")
}

pub(crate) fn version(project: &Project, number: u64) -> String {
    format!("pr-{number}-{}", &project.head()[..7])
}

/// Each with its states, oldest first.
pub(crate) fn deployments(github: &GitHub) -> Vec<String> {
    let world = github.world();
    let states = |statuses: &[Value]| -> Vec<String> {
        statuses.iter().map(|status| status["state"].as_str().unwrap().to_owned()).collect()
    };
    world
        .deployments
        .values()
        .map(|it| format!("{}: {}", it.environment, states(&it.statuses).join(" ")))
        .collect()
}

pub(crate) fn close(github: &GitHub, number: u64) {
    github.world().pull_request(number, "abc").is_open = false;
}

pub(crate) fn releases(project: &Project) -> Vec<String> {
    project.stored().into_iter().filter(|name| name.ends_with(".zip")).collect()
}

/// Terraform waits before each plan, until it is let go.
pub(crate) struct Pause {
    pub(crate) path: String,
    waiting: PathBuf,
    go: PathBuf,
}

impl Pause {
    pub(crate) fn new(project: &Project) -> Self {
        let [waiting, go] = ["waiting", "go"].map(|name| project.sandbox().root().join(name));
        let wait = format!(
            "plan) case \"$*\" in *-out=*) echo >>{}; while [ ! -e {} ]; do sleep 0.05; done ;; \
             esac ;;",
            waiting.display(),
            go.display()
        );
        [&waiting, &go].map(fs::remove_file).into_iter().for_each(drop);
        Self { path: project.terraform_but(&wait), waiting, go }
    }

    pub(crate) fn is_waiting(&self, plans: usize) -> bool {
        fs::read(&self.waiting).is_ok_and(|lines| lines.len() == plans)
    }

    /// Changes what there is on GitHub while so many plan.
    pub(crate) fn meanwhile(
        &self,
        running: &mut Running,
        plans: usize,
        github: &GitHub,
        change: impl FnOnce(&mut World),
    ) {
        running.wait_until("plan", |_| self.is_waiting(plans));
        change(&mut github.world());
        self.end();
    }

    pub(crate) fn end(&self) {
        fs::write(&self.go, "").unwrap();
    }
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
    assert_eq!(
        of,
        json!({ "number": 7, "branch": "new-topic", "sha": project.head(), "ttl": "259200s" })
    );
    assert!(body().contains("pr-7") && body().contains("https://pr-7.example"), "{}", body());
    assert!(body().contains("To keep it longer, add the label `keep-preview`"), "{}", body());
    let entry = &project.ledger_entries("pr-7")[0].0;
    assert_eq!(entry["preview"]["repository"], REPOSITORY_ID);
    // The same once more: the release is there already.
    up(&project, &github, 2).success().stdout_has("is already published");

    let told = deployments(&github);
    assert_eq!(
        told,
        ["pr-7: queued in_progress success inactive", "pr-7: queued in_progress success"]
    );
    let last = github.world().deployments.values().next_back().unwrap().clone();
    assert!(last.is_transient && last.git_ref == project.head(), "{last:?}");
    assert_eq!(last.statuses[2]["environment_url"], "https://pr-7.example");
    assert_eq!(last.statuses[0]["log_url"], "https://github.com/acme/checkout/actions/runs/2");

    // Pushed to.
    project.append("infra/main.tf", "# second\n").commit("Second");
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 3).success();
    assert_eq!(releases(&project).len(), 2);
    // What is inactive already is not told so again.
    let told = deployments(&github);
    assert_eq!(
        told[..2],
        ["pr-7: queued in_progress success inactive", "pr-7: queued in_progress success inactive"]
    );

    // Closed; the branch is gone, and another commit is checked out.
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_open = false;
    project.append("infra/main.tf", "this is no Terraform\n").commit("Somewhere else");
    down(&project, &github, 4).success();
    assert_eq!(project.state("pr-7"), None);
    assert!(releases(&project).is_empty(), "{:?}", project.stored());
    assert!(body().contains("destroyed"), "{}", body());
    assert!(
        deployments(&github).iter().all(|it| it.ends_with("inactive"))
            && github.world().environments.is_empty()
    );
    down(&project, &github, 5).success().stdout_has("pr-7 is already destroyed");

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
    let pause = Pause::new(&project);
    let mut running = runner.env("PATH", &pause.path).spawn();
    pause.meanwhile(&mut running, 1, &github, |world| {
        world.pull_requests.get_mut(&NUMBER).unwrap().head_sha = newer.clone();
    });
    running.wait().success().stdout_has("Stopped before the apply");
    assert!(project.ledger("pr-7").is_empty() && project.state("pr-7").is_none());
    assert_eq!(deployments(&github), ["pr-7: queued inactive"]);
    let why =
        github.world().deployments.values().next().unwrap().statuses[1]["description"].clone();
    assert!(why.as_str().unwrap().contains("is the newest commit of pull request #7"), "{why}");

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
    project.refuses(
        ["preview", "up"],
        2,
        &["the number of the pull request is missing", "--pull-request"],
    );
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

    let locked =
        for_pull_request(&project, &github, NUMBER, &project.head(), 3, &["preview", "down"]);
    let path = project.terraform_but(
        "plan) echo 'Error: Error acquiring the state lock: resource temporarily unavailable' >&2; \
        exit 1 ;;",
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
    down(&project, &github, 4)
        .fails(3)
        .stdout_has("`pr-7` has no state, but the ledger says that it is deployed");
    // A state alone.
    up(&project, &github, 5).success();
    fs::remove_dir_all(project.ledger_folder("pr-7")).unwrap();
    down(&project, &github, 6).fails(3).stdout_has("the ledger has no deploy to it");
}

#[test]
fn two_that_close_at_once() {
    let project = project("{}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success();
    close(&github, NUMBER);
    let closing = |run: u64| {
        for_pull_request(&project, &github, NUMBER, &project.head(), run, &["preview", "down"])
            .spawn()
    };
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
fn only_some_files_are_worth_a_preview() {
    let project = project("{paths: ['infra/**', config/preview.json]}");
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head()).files =
        vec!["README.md".to_owned(), "src/infra/x".to_owned()];
    up(&project, &github, 1)
        .success()
        .stdout_has("it changes nothing in infra/**, config/preview.json");
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
    assert_eq!(
        told,
        [
            "pr-7: queued in_progress success",
            "live: queued in_progress success inactive",
            "live: queued in_progress success"
        ]
    );
    let sent = github.exchanges("POST /repos/acme/checkout/deployments");
    let of_live = sent.iter().find(|it| it.body["environment"] == "live").unwrap();
    assert_eq!(
        (&of_live.body["production_environment"], &of_live.body["auto_merge"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(of_live.body["required_contexts"], json!([]));
    // A deploy that fails, and a GitHub that does not want to know.
    let path = project.terraform_but("apply) exit 1 ;;");
    scheduled(&project, &github, &["deploy", "ci", &version]).env("PATH", path).run().fails(6);
    assert_eq!(deployments(&github).last().unwrap(), "ci: queued in_progress failure");
    github.world().token(TOKEN, "github-actions[bot]", &[("contents", "read")]);
    let output = scheduled(&project, &github, &["deploy", "aslive", &version]).run();
    output
        .success()
        .stdout_has("::warning::failed to record the deployment to `aslive`")
        .stdout_has("deployments: write");
    project.append("cdflow.yml", "").edit(
        "cdflow.yml",
        "url-output: url",
        "url-output: url, github-deployments: false",
    );
    scheduled(&project, &github, &["deploy", "aslive", &version])
        .run()
        .success()
        .lacks("record the deployment");
}

/// What GitHub shows is what is true at that moment.
#[test]
fn a_deploy_is_queued_until_it_applies() {
    let (project, github) = (project("{}"), GitHub::start());
    project.release("1");
    let deploying = |arguments: &[&str]| {
        scheduled(&project, &github, &[&["deploy", "ci", "1"], arguments].concat())
    };
    let last = || {
        let world = github.world();
        let (_, last) = world.deployments.last_key_value().unwrap();
        let status = last.statuses.last().unwrap();
        format!("{} {} {}", last.statuses.len(), status["state"], status["description"])
    };
    scheduled(&project, &github, &["deploy", "ci", "none-such"]).run().fails(2);
    deploying(&["--plan-only"]).run().success();
    assert!(deployments(&github).is_empty());

    let pause = Pause::new(&project);
    let mut running = deploying(&[]).env("PATH", &pause.path).spawn();
    pause.meanwhile(&mut running, 1, &github, |world| {
        assert_eq!(world.deployments.values().next().unwrap().statuses.len(), 1);
    });
    running.wait().success();
    assert_eq!(deployments(&github), ["ci: queued in_progress success"]);

    let pause = Pause::new(&project);
    let mut running = deploying(&[]).env("PATH", &pause.path).spawn();
    running.wait_until("plan", |_| pause.is_waiting(1)).signal(nix::sys::signal::Signal::SIGTERM);
    running.wait_for("cancelled: cdflow stops as soon as");
    pause.end();
    running.wait().fails(143);
    assert_eq!(last(), "2 \"error\" \"cancelled\"");

    let locked = "plan) echo 'Error: Error acquiring the state lock: resource temporarily \
    unavailable' >&2; exit 1 ;;";
    deploying(&[]).env("PATH", project.terraform_but(locked)).run().fails(8);
    assert_eq!(last(), "2 \"failure\" \"state-locked\"");
    project.append("cdflow.yml", "").edit(
        "cdflow.yml",
        "deploy: {",
        "deploy: {protect: [terraform_data], ",
    );
    let refused = deploying(&["--replace", "terraform_data.greeting"]).run();
    refused.fails(3);
    assert_eq!(last(), "2 \"failure\" \"refused\"");
}

#[test]
fn on_aws_a_preview_is_in_the_account_that_is_named() {
    let aws = Aws::new("preview");
    let project = furnished(
        Project::aws("greeting", &aws),
        "{account-environment: live, delete-releases: true}",
    );
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    up(&project, &github, 1).success().stdout_has("account prod");
    // cdflow.yml leads elsewhere now, where Terraform would look for resources in vain.
    close(&github, NUMBER);
    project.edit("cdflow.yml", "account-environment: live", "account-environment: ci");
    let refused = scheduled(&project, &github, &["preview", "reap"]).run();
    refused.fails(6).stdout_has("is not where previews are deployed now");
    project.edit("cdflow.yml", "account-environment: ci", "account-environment: live");
    let reaped = scheduled(&project, &github, &["preview", "reap"]).run();
    reaped
        .success()
        .stdout_has("destroyed: its pull request is closed")
        .stdout_has("Destroyed 1 of 1");
    down(&project, &github, 2).success().stdout_has("pr-7 is already destroyed");
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
    project.deploy("aslive", "2");
    project.deploy("ci", "2");
    let summary = project.sandbox().work().join("summary");
    fs::write(&summary, "").unwrap();
    let shown =
        scheduled(&project, &github, &["status"]).env("GITHUB_STEP_SUMMARY", &summary).run();
    shown.success().stdout_has("live is behind aslive (2), ci (2)");
    let page = fs::read_to_string(&summary).unwrap().replace(['\\', '\u{200b}'], "");
    for text in [
        "3 environments and 1 preview; 1 behind another environment.",
        "```mermaid",
        "[\"2\"] --> e1([\"ci\"])",
        "([\"live: behind\"]):::behind",
        "| **live** | `1` |",
        " | 1 | behind aslive (2), ci (2) |\n",
        "| Preview | Version | Deployed | By | Pull request | Commits behind |\n",
        "| [#7](https://github.com/acme/checkout/pull/7) | 1 |",
    ] {
        assert!(page.contains(text), "no {text}: {page}");
    }
    let json = project.cdflow(["status", "--json"]).run().json();
    let of = |name: &str| {
        let all = json["environments"].as_array().unwrap();
        all.iter().find(|it| it["environment"] == name).unwrap().clone()
    };
    assert_eq!(
        (&of("live")["behind"], &of("ci")["behind"]),
        (&json!(["aslive (2)", "ci (2)"]), &Value::Null)
    );
    assert_eq!(of("pr-7")["preview"]["number"], NUMBER);
}
