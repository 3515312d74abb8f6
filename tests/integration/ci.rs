//! What a run takes from its CI: the version that nobody names, who is recorded, and which runs are
//! refused before anything is asked of the cloud.

use crate::support::github::{GitHub, REPOSITORY_ID, TOKEN};
use crate::support::{Aws, Project, Runner};
use serde_json::{Value, json};

const OTHER: &str = "1111111111111111111111111111111111111111";

/// A step of a workflow that runs for this event.
fn step(project: &Project, event: &str, content: &Value, arguments: &[&str]) -> Runner {
    let file = project.sandbox().root().join("event.json");
    std::fs::write(&file, content.to_string()).unwrap();
    project
        .cdflow(arguments)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_EVENT_NAME", event)
        .env("GITHUB_EVENT_PATH", file)
        .env("GITHUB_REPOSITORY", "acme/checkout")
        .env("GITHUB_SHA", project.head())
        .env("GITHUB_RUN_NUMBER", "42")
        .env("GITHUB_ACTOR", "ada")
        .env("NO_COLOR", "1")
}

fn repository(id: u64) -> Value {
    let owner = if id == REPOSITORY_ID { "acme" } else { "mallory" };
    json!({ "id": id, "full_name": format!("{owner}/checkout"), "default_branch": "main" })
}

/// Of an event: pull request 7 from a repository; from none if it was deleted.
fn pull_request(head: Option<u64>, sha: &str, author: &str) -> Value {
    json!({
        "repository": repository(REPOSITORY_ID),
        "pull_request": {
            "number": 7, "draft": false, "labels": [{ "name": "preview" }],
            "user": { "login": author },
            "head": { "sha": sha, "ref": "$(evil)", "repo": head.map(repository) },
            "base": { "sha": OTHER, "ref": "main", "repo": repository(REPOSITORY_ID) },
        },
    })
}

#[test]
fn a_version_that_nobody_names() {
    let project = Project::local("greeting");
    let sha = project.head()[..7].to_owned();
    let push = json!({ "repository": repository(REPOSITORY_ID) });
    let dry_run = ["release", "--dry-run"];
    let released = |runner: Runner| {
        let output = runner.run();
        output.success();
        let line = output
            .stdout
            .lines()
            .find(|line| line.contains("would be published as"))
            .unwrap()
            .to_owned();
        line.rsplit("greeting-").next().unwrap().trim_end_matches(".zip").to_owned()
    };
    let by_push = |kind, name| {
        step(&project, "push", &push, &dry_run)
            .env("GITHUB_REF_TYPE", kind)
            .env("GITHUB_REF_NAME", name)
    };
    assert_eq!(released(by_push("branch", "main")), format!("42-{sha}"));
    assert_eq!(
        released(by_push("branch", "main").env("GITHUB_RUN_ATTEMPT", "2")),
        format!("42-{sha}")
    );
    assert_eq!(released(by_push("tag", "v1.2.3")), "1.2.3");
    assert_eq!(released(by_push("tag", "nightly")), format!("42-{sha}"));
    by_push("tag", "v1.0+5").run().fails(2).stdout_has("the tag gives the release no version");
    // By the commit that is checked out, which for a pull request is a merge and not its head.
    let change = pull_request(Some(REPOSITORY_ID), OTHER, "ada");
    assert_eq!(released(step(&project, "pull_request", &change, &dry_run)), format!("pr-7-{sha}"));
    let elsewhere = |variables: &[(&str, &str)]| {
        released(project.cdflow(dry_run).envs(variables.iter().copied()))
    };
    assert_eq!(elsewhere(&[("GITLAB_CI", "true"), ("CI_PIPELINE_IID", "5")]), format!("5-{sha}"));
    assert_eq!(elsewhere(&[("JENKINS_URL", "x"), ("TAG_NAME", "v3"), ("BUILD_NUMBER", "5")]), "3");
    assert_eq!(
        elsewhere(&[("BUILDKITE", "true"), ("BUILDKITE_PULL_REQUEST", "8")]),
        format!("pr-8-{sha}")
    );
    project.refuses(["release"], 2, &["the version is missing", "name it after the command"]);
    project.refuses(["deploy", "live"], 2, &["the version is missing"]);
}

#[test]
fn a_release_and_its_deploy_find_each_other() {
    let project = Project::local("greeting");
    let push = json!({ "repository": repository(REPOSITORY_ID) });
    step(&project, "push", &push, &["release", "--platform-config", "platform-config"])
        .run()
        .success();
    step(&project, "push", &push, &["deploy", "live"]).run().success();
    let version = format!("42-{}", &project.head()[..7]);
    assert_eq!(project.ledger("live"), [format!("deploy {version} succeeded")]);
    let jenkins = [
        ("JENKINS_URL", "x"),
        ("BUILD_URL", "https://ci.example/job/5"),
        ("BUILD_USER_ID", "grace"),
    ];
    project.cdflow(["deploy", "live", &version]).envs(jenkins).run().success();
    let (start, _) = project.ledger_entries("live").pop().unwrap();
    assert_eq!(
        (&start["actor"], &start["run_url"]),
        (&json!("grace"), &json!("https://ci.example/job/5"))
    );
}

/// A bundle does not name who made it, because its bytes depend on the sources alone.
#[test]
fn a_refused_version_names_who_published_it() {
    let aws = Aws::new("who");
    let project = Project::aws("who", &aws);
    let push = json!({ "repository": repository(REPOSITORY_ID) });
    let release = || {
        let args = ["release", "1", "--platform-config", "platform-config"];
        step(&project, "push", &push, &args)
            .env("GITHUB_SERVER_URL", "https://github.com")
            .env("GITHUB_RUN_ID", "77")
    };
    release().run().success();
    project.append("config/common.json", "\n");
    let output = release().env("GITHUB_ACTOR", "grace").run();
    output
        .fails(3)
        .stdout_has(" by ada (https://github.com/acme/checkout/actions/runs/77) with the");
}

#[test]
fn pull_requests_of_outsiders_reach_no_cloud() {
    let aws = Aws::new("outsiders");
    let project = Project::aws("outsiders", &aws);
    // The first thing that would be asked for is the account scheme, in a bucket of that name.
    let before = aws.requests(aws.name()).len();
    let commands: [&[&str]; 6] = [
        &["release", "1"],
        &["release", "1", "--dry-run"],
        &["deploy", "ci", "1", "--plan-only"],
        &["destroy", "ci"],
        &["status"],
        &["doctor"],
    ];
    let fork = pull_request(Some(2), OTHER, "mallory");
    for arguments in commands {
        let output = step(&project, "pull_request", &fork, arguments).run();
        output.fails(3).stdout_has("pull request #7 comes from a fork (`mallory/checkout`)");
        output.stdout_has("run only checks that need no cloud access, such as tests");
    }
    let deleted = pull_request(None, OTHER, "mallory");
    step(&project, "pull_request", &deleted, &["deploy", "ci", "1"])
        .run()
        .fails(3)
        .stdout_has("(deleted since)");
    let dependabot = pull_request(Some(REPOSITORY_ID), OTHER, "dependabot[bot]");
    step(&project, "pull_request", &dependabot, &["deploy", "ci", "1"])
        .run()
        .fails(3)
        .stdout_has("was opened by Dependabot");
    for fork in [
        [("JENKINS_URL", "x"), ("CHANGE_FORK", "mallory")],
        [("GITLAB_CI", "true"), ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "2")],
    ] {
        let output = project.cdflow(["deploy", "ci", "1", "--plan-only"]).envs(fork).run();
        output.fails(3).stderr_has("the run is for a change from a fork (`");
    }
    assert_eq!(aws.requests(aws.name()).len(), before);
    let own = pull_request(Some(REPOSITORY_ID), OTHER, "ada");
    step(&project, "pull_request", &own, &["status"]).run().success();
    assert!(aws.requests(aws.name()).len() > before);
}

#[test]
fn code_of_outsiders_in_a_trusted_run() {
    let project = Project::local("greeting");
    project.git(["switch", "--quiet", "--create", "change"]);
    let head = project.append("infra/main.tf", "\n").commit("A change");
    project.git(["switch", "--quiet", "main"]);
    let base = project.head();
    let run = |event: &str, content: &Value, checked_out: &str| {
        project.git(["checkout", "--quiet", checked_out]);
        step(&project, event, content, &["status"]).env("GITHUB_SHA", &base).run()
    };
    for (owner, author) in [(Some(2), "mallory"), (None, "mallory"), (Some(REPOSITORY_ID), "ada")] {
        let change = pull_request(owner, &head, author);
        run("pull_request_target", &change, "main").success();
        let output = run("pull_request_target", &change, &head);
        output
            .fails(3)
            .stdout_has("code of pull request #7 is checked out")
            .stdout_has(&head)
            .stdout_has(&base);
    }
    // A merge of it.
    project.git(["switch", "--quiet", "--create", "merged", "main"]);
    project.git(["merge", "--quiet", "--no-ff", "--message", "Merge", "change"]);
    let ours = pull_request(Some(REPOSITORY_ID), &head, "ada");
    run("pull_request_target", &ours, "merged").fails(3);
    // A rebased head has another name: of a fork nothing but the base will do.
    project.git(["switch", "--quiet", "--create", "rebased", "main"]);
    project.append("infra/main.tf", "\n\n").commit("The change, rebased");
    run("pull_request_target", &pull_request(Some(2), &head, "mallory"), "rebased").fails(3);
    // A merge that is not committed has none at all.
    project.git(["switch", "--quiet", "main"]);
    project.git(["merge", "--quiet", "--squash", "change"]);
    run("pull_request_target", &pull_request(Some(2), &head, "mallory"), "main")
        .fails(3)
        .stdout_has(&format!("checked out is {base} with changes"));
    project.git(["reset", "--quiet", "--hard"]);

    let workflow_run = |repository_id: Option<u64>, event: &str, actor: &str| {
        json!({
            "repository": repository(REPOSITORY_ID),
            "workflow_run": {
                "event": event, "head_sha": head, "head_repository": repository_id.map(repository),
                "actor": { "login": actor },
            },
        })
    };
    run("workflow_run", &workflow_run(Some(2), "pull_request", "mallory"), &head)
        .fails(3)
        .stdout_has("code of the fork `mallory/checkout` is checked out");
    run("workflow_run", &workflow_run(None, "pull_request", "mallory"), &head)
        .fails(3)
        .stdout_has("fork that was deleted");
    for event in ["pull_request", "push"] {
        let dependabots = workflow_run(Some(REPOSITORY_ID), event, "dependabot[bot]");
        run("workflow_run", &dependabots, &head)
            .fails(3)
            .stdout_has("code of Dependabot is checked out");
    }
    run("workflow_run", &workflow_run(Some(2), "pull_request", "mallory"), "main").success();
    run("workflow_run", &workflow_run(Some(REPOSITORY_ID), "push", "ada"), &head).success();
}

/// What lies in the checkout besides the commit: a fork's files after a download, and in a run of
/// the repository itself what an earlier step has built.
#[test]
fn files_that_no_commit_contains() {
    let project = Project::local("greeting");
    project.write(".gitignore", "ignored.tf\n").commit("Ignore");
    let base = project.head();
    let evil = "resource \"terraform_data\" \"evil\" {}\n";
    let run = |event: &str, content: &Value| {
        step(&project, event, content, &["release", "1", "--dry-run"])
            .env("GITHUB_SHA", &base)
            .run()
    };
    let own = json!({ "repository": repository(REPOSITORY_ID) });
    let from = |owner: u64, actor: &str| {
        json!({
            "repository": repository(REPOSITORY_ID),
            "workflow_run": { "event": "push", "head_sha": OTHER,
                "head_repository": repository(owner), "actor": { "login": actor } },
        })
    };
    let on_pull_request = json!({ "repository": repository(REPOSITORY_ID),
        "issue": { "number": 7, "pull_request": {} } });
    let of_commit = [
        ("pull_request_target", pull_request(Some(2), OTHER, "mallory")),
        ("pull_request_target", pull_request(Some(REPOSITORY_ID), OTHER, "ada")),
        ("workflow_run", from(2, "mallory")),
        ("workflow_run", from(REPOSITORY_ID, "dependabot[bot]")),
        ("issue_comment", on_pull_request),
        ("check_suite", own.clone()),
        ("repository_dispatch", own.clone()),
    ];
    let of_anything = [
        ("push", own.clone()),
        ("workflow_dispatch", own),
        ("workflow_run", from(REPOSITORY_ID, "ada")),
        ("pull_request", pull_request(Some(REPOSITORY_ID), OTHER, "ada")),
    ];
    for (event, content) in of_commit.iter().chain(&of_anything) {
        run(event, content).success();
    }
    type Spoil = fn(&Project, &str);
    let spoils: [(&str, Spoil); 6] = [
        ("infra/evil.tf", |it, text| {
            it.write("infra/evil.tf", text);
        }),
        ("infra/ignored.tf", |it, text| {
            it.write("infra/ignored.tf", text);
        }),
        ("config/evil.json", |it, _| {
            it.write("config/evil.json", "{}\n");
        }),
        ("infra/evil.tf", |it, _| {
            std::os::unix::fs::symlink("main.tf", it.path("infra/evil.tf")).unwrap();
        }),
        ("infra/main.tf", |it, text| {
            it.append("infra/main.tf", text);
        }),
        ("config/live.json", |it, _| {
            it.remove("config/live.json");
        }),
    ];
    for (name, spoil) in spoils {
        spoil(&project, evil);
        for (event, content) in &of_commit {
            let output = run(event, content);
            output.fails(3).stdout_has(&format!("a run for `{event}` must not use"));
            output.stdout_has(&format!("`{name}`")).lacks("would be published");
        }
        for (event, content) in &of_anything {
            run(event, content).success().stdout_has("would be published");
        }
        project.git(["reset", "--quiet", "--hard"]);
        project.git(["clean", "--quiet", "-d", "-x", "--force"]);
    }
    // Of another checkout, next to the component.
    let file = "config-checkout/local/eu-west-1.json";
    project.write(file, "{\"domain\": \"evil.example\"}\n");
    let arguments = ["release", "1", "--dry-run", "--platform-config", "config-checkout"];
    for (event, content, is_allowed) in
        [(&of_commit[0].0, &of_commit[0].1, false), (&of_anything[0].0, &of_anything[0].1, true)]
    {
        let output = step(&project, event, content, &arguments).env("GITHUB_SHA", &base).run();
        match is_allowed {
            true => output.success(),
            false => output.fails(3).stdout_has(&format!("`{file}`")),
        };
    }
}

/// What decides how an image is built is in no list of files: the hook, the rules of the context,
/// its links.
#[test]
fn files_of_an_image_that_no_commit_contains() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let project = Project::local("greeting");
    project.edit("cdflow.yml", "type: infrastructure", "type: docker");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["image-registry"] = json!("localhost:5000");
    });
    project.write("Dockerfile", "FROM scratch\nCOPY app /app\n").write("app", "x").commit("Image");
    let event = json!({ "repository": repository(REPOSITORY_ID) });
    let run = |name: &str| {
        let arguments = ["release", "1", "--dry-run"];
        let runner = step(&project, name, &event, &arguments);
        runner.env("DOCKER_HOST", "unix:///nowhere/docker.sock").run()
    };
    run("check_suite").success();
    type Spoil = fn(&Project);
    let spoils: [(&str, Spoil); 5] = [
        ("on-docker-build", |it| {
            it.write("on-docker-build", "#!/bin/sh\n");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(it.path("on-docker-build"), mode).unwrap();
        }),
        (".dockerignore", |it| drop(std::fs::write(it.path(".dockerignore"), "README\n"))),
        ("Dockerfile.dockerignore", |it| {
            std::fs::write(it.path("Dockerfile.dockerignore"), "README\n").unwrap();
        }),
        ("evil", |it| symlink("/etc/passwd", it.path("evil")).unwrap()),
        ("sub/evil", |it| {
            it.write("sub/evil", "x");
        }),
    ];
    for (name, spoil) in spoils {
        spoil(&project);
        run("check_suite").fails(3).stdout_has(&format!("`{name}`"));
        run("push").success();
        project.git(["clean", "--quiet", "-d", "-x", "--force"]);
    }
}

/// cdflow.yml and a local account scheme decide where a run goes, so they are judged for every
/// command.
#[test]
fn settings_that_no_commit_contains() {
    let project = Project::local("greeting");
    for file in ["cdflow.yml", "account-scheme.json", "infra/main.tf"] {
        project.write(&format!("evil/{file}"), &project.read(file));
    }
    let event = json!({ "repository": repository(REPOSITORY_ID) });
    for command in ["status", "doctor"] {
        let arguments = ["-C", "evil", command];
        let output = step(&project, "check_run", &event, &arguments).run();
        output.fails(3).stdout_has("`evil/cdflow.yml`");
    }
    project.git(["add", "evil/cdflow.yml"]);
    project.git(["commit", "--quiet", "--message", "Half of it"]);
    let output = step(&project, "check_run", &event, &["-C", "evil", "status"]).run();
    output.fails(3).stdout_has("`evil/account-scheme.json`");
    project.commit("All of it");
    step(&project, "check_run", &event, &["-C", "evil", "status"]).run().success();
}

/// A fork's head in a run that no pull request started. Only a branch, a tag or a pull request of
/// the repository itself shows that a commit is its own.
#[test]
fn another_commit_than_that_of_the_run() {
    let project = Project::local("greeting");
    let base = project.head();
    let head = project.append("infra/main.tf", "\n").commit("A change");
    let event = json!({ "repository": repository(REPOSITORY_ID) });
    let events = [
        "merge_group",
        "repository_dispatch",
        "workflow_dispatch",
        "schedule",
        "check_run",
        "check_suite",
        "status",
        "issues",
        "deployment_status",
        "push",
    ];
    let run = |event_name: &str| {
        step(&project, event_name, &event, &["status"]).env("GITHUB_SHA", &base).run()
    };
    for name in events {
        let output = run(name);
        output.fails(3).stdout_has(&format!("in a run for `{name}`, and could be one of a fork"));
        output.stdout_has(&head).stdout_has(&base).stdout_has("`fetch-depth: 0`");
    }
    let github = GitHub::start();
    let asked = || {
        let runner = step(&project, "push", &event, &["status"]).env("GITHUB_SHA", &base);
        runner.envs(github.env()).env("GITHUB_TOKEN", TOKEN).run()
    };
    asked().fails(3).stdout_has("no branch, tag or pull request of the repository");
    github.world().pull_request(7, &head).head_repository = Some(2);
    asked().fails(3);
    github.world().pull_request(7, &head).head_repository = Some(REPOSITORY_ID);
    asked().success();
    project.git(["update-ref", "refs/remotes/pull/7/head", &head]);
    run("push").fails(3);
    project.git(["update-ref", "refs/remotes/origin/topic", &head]);
    for name in events {
        run(name).success();
    }
    project.git(["remote", "set-url", "origin", "https://github.com/mallory/checkout"]);
    run("push").fails(3);
}

#[test]
fn a_comment_starts_a_run() {
    let project = Project::local("greeting");
    let base = project.head();
    let head = project.append("infra/main.tf", "\n").commit("A change");
    let github = GitHub::start();
    github.world().pull_request(7, &head);
    let event = json!({ "repository": repository(REPOSITORY_ID), "issue": { "number": 7,
        "pull_request": {} } });
    let run = || {
        let runner = step(&project, "issue_comment", &event, &["status"]).env("GITHUB_SHA", &base);
        runner.envs(github.env()).env("GITHUB_TOKEN", TOKEN).run()
    };
    run().success();
    // Anyone can write a comment, so an earlier step can have brought in what an outsider made.
    let release = || {
        let runner = step(&project, "issue_comment", &event, &["release", "1", "--dry-run"]);
        let runner = runner.env("GITHUB_SHA", &base);
        runner.envs(github.env()).env("GITHUB_TOKEN", TOKEN).run()
    };
    release().success();
    project.write("infra/evil.tf", "");
    release().fails(3).stdout_has("not in commit").stdout_has("`infra/evil.tf`");
    project.remove("infra/evil.tf");
    github.world().pull_request(7, &head).head_repository = Some(2);
    run().fails(3).stdout_has("it comes from a fork").lacks(TOKEN);
    github.world().pull_request(7, &head).author = "dependabot[bot]".to_owned();
    run().fails(3).stdout_has("it was opened by Dependabot");
    // Another commit than that of the pull request is checked out.
    github.world().pull_request(7, OTHER).head_repository = Some(REPOSITORY_ID);
    run().fails(3).stdout_has("could be one of a fork");
    github.world().pull_requests.clear();
    run().fails(3).stdout_has("GitHub did not say whether it comes from a fork");
    let asked = github.exchanges("").len();
    step(&project, "issue_comment", &event, &["status"])
        .env("GITHUB_SHA", &base)
        .run()
        .fails(3)
        .stdout_has("no token");
    step(&project, "issue_comment", &event, &["status"]).run().success();
    assert_eq!(github.exchanges("").len(), asked);
}

#[test]
fn an_event_file_that_says_nothing() {
    let project = Project::local("greeting");
    let run = |event: &str, content: &Value| step(&project, event, content, &["status"]).run();
    run("pull_request", &json!({}))
        .fails(2)
        .stdout_has("it has no `pull_request`")
        .stdout_has("GITHUB_EVENT_PATH");
    run("pull_request", &json!({ "pull_request": { "number": "x" } }))
        .fails(2)
        .stdout_has("cannot read the event file");
    run("push", &json!("x")).fails(2).stdout_has("cannot read the event file");
    run("push", &json!({})).success();
    let without = step(&project, "pull_request_target", &json!({}), &["status"])
        .env_remove("GITHUB_EVENT_PATH");
    without.run().fails(2).stdout_has("the event file is missing");
    let missing = step(&project, "push", &json!({}), &["status"])
        .env("GITHUB_EVENT_PATH", "/nowhere/event.json");
    missing.run().fails(2).stdout_has("/nowhere/event.json");
    step(&project, "push", &json!({}), &["status"])
        .env("GITHUB_REPOSITORY", "../..")
        .run()
        .fails(2)
        .stdout_has("owner/name");
}
