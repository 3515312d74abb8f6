//! What `init` writes and what the examples show works on its first run: each workflow is run as
//! GitHub would run it, with a checkout, a token and inputs per job.

use crate::check_run::shown;
use crate::function_release;
use crate::support::github::GitHub;
use crate::support::workflow::{Event, Origin, Ran, run};
use crate::support::{
    Aws, Issuer, Lab, Output, Project, REGION, RELEASE, Runner, Sandbox, git, in_repository,
    pull_request_event,
};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const NUMBER: u64 = 7;
/// What every run under a local account scheme warns about.
const LOCAL: &str = "::warning::the account scheme is local: releases, states and the ledger are \
                     in `.cdflow/releases` of this job";

/// In the laboratory, the base images of a function have no registry.
const OFFLINE: &str = "::warning::the engine's own copy of the base image";

pub(crate) fn push(sha: &str) -> Event {
    let repository = pull_request_event(NUMBER, sha, "open", &[])["repository"].clone();
    let payload = json!({ "ref": "refs/heads/main", "repository": repository });
    Event { name: "push", payload, sha: sha.to_owned(), reference: "refs/heads/main".to_owned() }
}

pub(crate) fn pull_request(sha: &str, action: &str, state: &str) -> Event {
    let mut payload = pull_request_event(NUMBER, sha, state, &[]);
    payload["action"] = action.into();
    let reference = format!("refs/pull/{NUMBER}/merge");
    Event { name: "pull_request", payload, sha: sha.to_owned(), reference }
}

/// The merge queue tests `sha`, which contains the pull request and `base`.
fn merge_group(sha: &str, base: &str) -> Event {
    let repository = pull_request_event(NUMBER, sha, "open", &[])["repository"].clone();
    let reference = format!("refs/heads/gh-readonly-queue/main/pr-{NUMBER}-{base}");
    let group = json!({
        "head_sha": sha, "head_ref": reference, "base_sha": base, "base_ref": "refs/heads/main",
    });
    let payload = json!({
        "action": "checks_requested", "merge_group": group, "repository": repository,
    });
    Event { name: "merge_group", payload, sha: sha.to_owned(), reference }
}

/// `job: command`, for each step that ran. All of them must succeed, and warn about nothing but
/// `warnings`.
#[track_caller]
pub(crate) fn steps(ran: &[Ran], warnings: &[&str]) -> Vec<String> {
    for Ran { output, .. } in ran {
        output.success();
        for line in output.stdout.lines().filter(|line| line.starts_with("::warning")) {
            assert!(warnings.iter().any(|it| line.starts_with(it)), "{line}\n{output}");
        }
    }
    ran.iter().map(|it| format!("{}: {}", it.job, it.command)).collect()
}

#[track_caller]
pub(crate) fn has(ran: &[Ran], text: &str) {
    let found = |output: &Output| output.stdout.contains(text);
    assert!(ran.iter().any(|it| found(&it.output)), "no step says `{text}`:\n{}", ran[0].output);
}

/// A component of this type as `init` writes it, committed. With `aws`, for its account scheme.
fn scaffold(sandbox: &Sandbox, kind: &str, aws: Option<&Aws>) -> (PathBuf, String) {
    let name = format!("first-{kind}");
    let mut runner = Runner::new(env!("CARGO_BIN_EXE_cdflow"), ["init", "--type", kind], sandbox);
    if let Some(aws) = aws {
        runner = runner.args(["--account-scheme-url", &aws.scheme_url()]).envs(aws.env());
    }
    runner.arg(&name).cwd(sandbox.work()).run().success().lacks("warning");
    let folder = sandbox.work().join(&name);
    for arguments in
        [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "First"]]
    {
        git(sandbox, &folder, arguments).run().success();
    }
    let head =
        git(sandbox, &folder, ["rev-parse", "HEAD"]).run().success().stdout.trim().to_owned();
    (folder, head)
}

/// Where the account scheme is: in the component, or in S3.
enum Scheme {
    Local,
    Shared,
}

fn first_runs_of_a_scaffold(kind: &str, scheme: &Scheme, lab: Option<&Lab>) {
    let (sandbox, github) = (Sandbox::new(), GitHub::start());
    let shared = matches!(scheme, Scheme::Shared).then(|| {
        let aws = Aws::new("scaffold");
        put_scheme_with_plan_roles(&aws);
        (aws, Issuer::start())
    });
    let aws = shared.as_ref().map(|(aws, issuer)| (aws, issuer));
    let (folder, head) = scaffold(&sandbox, kind, aws.map(|(aws, _)| aws));
    if let Some(lab) = lab {
        let urls = [Some(github.url()), aws.map(|(_, issuer)| issuer.origin())];
        for url in urls.into_iter().flatten() {
            lab.relay(url.rsplit(':').next().unwrap().parse().unwrap());
        }
    }
    github.world().pull_request(NUMBER, &head);
    let vars = aws.map_or_else(|| json!({}), |(aws, _)| variables(aws));
    let repository = folder.clone();
    let origin = Origin { repository, github: &github, vars, aws, providers: None, lab };
    let read =
        |name: &str| fs::read_to_string(folder.join(".github/workflows").join(name)).unwrap();
    let ran = run("deploy.yml", &read("deploy.yml"), &push(&head), 1, &origin);
    let warnings: &[&str] = if aws.is_some() { &[OFFLINE] } else { &[LOCAL, OFFLINE] };
    let environments = ["ci", "aslive", "live"];
    // One job does it all, or each environment has one.
    let (expected, deployed) = match scheme {
        Scheme::Local => (["deploy: release", "deploy: deploy", "deploy: deploy"].to_vec(), 2),
        Scheme::Shared => {
            let deploys =
                ["deploy (ci): deploy", "deploy (aslive): deploy", "deploy (live): deploy"];
            ([&["release: release"], &deploys[..]].concat(), 3)
        }
    };
    assert_eq!(steps(&ran, warnings), expected);
    let is_used = |it: &&&str| deployed == 3 || **it != "aslive";
    for environment in environments.iter().filter(is_used) {
        has(&ran, &format!("Deployed first-{kind} 1-{} to {environment}", &head[..7]));
    }

    let event = pull_request(&head, "opened", "open");
    let ran = run("plan.yml", &read("plan.yml"), &event, 2, &origin);
    let expected: Vec<String> = match scheme {
        Scheme::Local => expected.iter().map(|it| it.replace("deploy:", "plan:")).collect(),
        Scheme::Shared => expected.iter().map(|it| it.replace("deploy (", "plan (")).collect(),
    };
    assert_eq!(steps(&ran, warnings), expected);
    assert!(ran.iter().all(|it| !it.output.stdout.contains("Deployed")), "{}", ran[1].output);
    let world = github.world();
    let comments: Vec<&str> = world.comments.values().map(|it| it.body.as_str()).collect();
    assert_eq!(comments.len(), 1, "{comments:?}");
    for environment in environments.iter().filter(is_used) {
        assert!(comments[0].contains(&format!("| **{environment}** |")), "{comments:?}");
    }
}

#[test]
fn the_first_run_of_an_infrastructure_scaffold() {
    first_runs_of_a_scaffold("infrastructure", &Scheme::Local, None);
}

#[test]
fn the_first_run_of_a_lambda_scaffold() {
    first_runs_of_a_scaffold("lambda", &Scheme::Local, None);
}

#[test]
fn the_first_run_of_a_docker_scaffold() {
    let lab = Lab::get();
    lab.docker(["tag", "busybox", "busybox:1.36"]);
    first_runs_of_a_scaffold("docker", &Scheme::Local, Some(lab));
}

#[test]
fn the_first_run_of_a_function_scaffold() {
    first_runs_of_a_scaffold("function", &Scheme::Local, Some(function_release::lab()));
}

/// That of an infrastructure component is in bootstrap.rs.
#[test]
fn the_first_run_of_a_lambda_scaffold_on_aws() {
    first_runs_of_a_scaffold("lambda", &Scheme::Shared, None);
}

#[test]
fn the_first_run_of_a_docker_scaffold_on_aws() {
    let lab = Lab::get();
    lab.docker(["tag", "busybox", "busybox:1.36"]);
    first_runs_of_a_scaffold("docker", &Scheme::Shared, Some(lab));
}

#[test]
fn the_first_run_of_a_function_scaffold_on_aws() {
    first_runs_of_a_scaffold("function", &Scheme::Shared, Some(function_release::lab()));
}

fn put_scheme_with_plan_roles(aws: &Aws) {
    let mut scheme = aws.scheme();
    for alias in ["dev", "prod"] {
        scheme["accounts"][alias]["plan-role"] = format!("{}-plan", aws.name()).into();
    }
    aws.put_scheme(&scheme);
}

/// The variables of the repository.
fn variables(aws: &Aws) -> Value {
    let prefix = format!("arn:aws:iam::{RELEASE}:role/{}-github", aws.name());
    json!({ "CDFLOW_ROLE_PREFIX": prefix, "CDFLOW_REGION": REGION })
}

/// An example that runs in moto, by the role that GitHub vouches for.
struct Company {
    aws: Aws,
    issuer: Issuer,
    github: GitHub,
    project: Project,
}

impl Company {
    fn new() -> Self {
        let aws = Aws::new("workflows");
        put_scheme_with_plan_roles(&aws);
        let project = Project::aws("checkout", &aws);
        project.append("cdflow.yml", "deploy: { github-deployments: false }\n").commit("Settings");
        let github = GitHub::start();
        github.world().pull_request(NUMBER, &project.head());
        Self { aws, issuer: Issuer::start(), github, project }
    }

    fn run(&self, file: &str, event: &Event, number: u64) -> Vec<Ran> {
        let origin = Origin {
            repository: self.project.dir(),
            github: &self.github,
            vars: variables(&self.aws),
            aws: Some((&self.aws, &self.issuer)),
            providers: None,
            lab: None,
        };
        let path = in_repository("examples/workflows").join(file);
        run(file, &fs::read_to_string(path).unwrap(), event, number, &origin)
    }

    fn comments(&self) -> Vec<String> {
        self.github.world().comments.values().map(|it| it.body.clone()).collect()
    }
}

#[test]
fn the_example_that_deploys_each_commit() {
    let company = Company::new();
    let ran = company.run("deploy.yml", &push(&company.project.head()), 1);
    let expected = [
        "release: release",
        "deploy (ci): deploy",
        "deploy (aslive): deploy",
        "deploy (live): deploy",
    ];
    assert_eq!(steps(&ran, &[]), expected);
    has(&ran, "to live");
}

#[test]
fn the_example_for_a_tag() {
    let company = Company::new();
    company.project.git(["tag", "v1.2.3"]);
    let mut event = push(&company.project.head());
    event.reference = "refs/tags/v1.2.3".to_owned();
    event.payload["ref"] = "refs/tags/v1.2.3".into();
    let ran = company.run("tag-release.yml", &event, 1);
    assert_eq!(steps(&ran, &[]), ["release: release", "deploy: deploy"]);
    has(&ran, "Deployed checkout 1.2.3 to live");
    assert_eq!(company.github.world().releases.len(), 1);
}

#[test]
fn the_examples_for_pull_requests() {
    let company = Company::new();
    let head = company.project.head();
    let event = pull_request(&head, "opened", "open");
    let ran = company.run("pull-request.yml", &event, 1);
    assert_eq!(steps(&ran, &[]), ["release: release", "plan (ci): deploy", "plan (live): deploy"]);
    let comments = company.comments();
    assert!(comments.len() == 1 && comments[0].contains("| **live** |"), "{comments:?}");

    // A fork gets no role, and no failed run.
    let mut event = pull_request(&head, "opened", "open");
    event.payload["pull_request"]["head"]["repo"]["full_name"] = "eve/checkout".into();
    for file in ["pull-request.yml", "preview.yml", "matrix.yml"] {
        assert!(company.run(file, &event, 2).is_empty(), "{file}");
    }
}

#[test]
fn the_examples_for_previews() {
    let company = Company::new();
    company.project.write("config/preview.json", "{}\n").commit("Previews");
    let head = company.project.head();
    company.github.world().pull_request(NUMBER, &head);
    let ran = company.run("preview.yml", &pull_request(&head, "opened", "open"), 1);
    assert_eq!(steps(&ran, &[]), ["preview: preview up"]);
    has(&ran, "to pr-7");
    let mut event = push(&head);
    event.name = "schedule";
    assert_eq!(steps(&company.run("reap.yml", &event, 2), &[]), ["reap: preview reap"]);
    company.github.world().pull_requests.get_mut(&NUMBER).unwrap().is_open = false;
    let ran = company.run("preview.yml", &pull_request(&head, "closed", "closed"), 3);
    assert_eq!(steps(&ran, &[]), ["preview: preview down"]);
    has(&ran, "pr-7");
}

#[test]
fn the_example_for_comments() {
    let company = Company::new();
    let main = company
        .project
        .append("cdflow.yml", "comments: { plan: [ci], apply: [ci], hold: [ci] }\n")
        .commit("Comments");
    let head = company.project.append("infra/main.tf", "\n# A change\n").commit("A change");
    company.github.world().pull_request(NUMBER, &head);
    let comment = |body: &str| {
        let id = company.github.world().comment_now(NUMBER, "grace", body);
        let mut event = push(&main);
        event.name = "issue_comment";
        event.payload["action"] = "created".into();
        event.payload["issue"] = json!({ "number": NUMBER, "pull_request": {} });
        event.payload["comment"] = json!({ "id": id, "body": body });
        event
    };
    let ran = company.run("comment.yml", &comment("/cdflow plan ci"), 1);
    assert_eq!(steps(&ran, &[]), ["check: comment check", "release: release", "plan: comment run"]);
    // Only a job with an environment gets its role, and the check gets none.
    assert_eq!((ran[0].role.as_str(), ran[2].role.ends_with("-pull-request")), ("", true));
    // A job with code of the pull request must not have the identity of the default branch.
    for job in &ran[1..] {
        assert!(job.subject.ends_with(":environment:pull-request"), "{}", job.subject);
    }
    let comments = company.comments();
    assert!(comments.iter().any(|it| it.contains("checkout → ci")), "{comments:?}");

    let ran = company.run("comment.yml", &comment("/cdflow apply ci"), 2);
    assert_eq!(steps(&ran, &[]), ["check: comment check", "apply: comment run"]);
    has(&ran, &format!("Deployed checkout pr-{NUMBER}-{} to ci", &head[..7]));
    assert!(ran[1].subject.ends_with(":environment:ci") && ran[1].role.ends_with("-ci"));

    let ran = company.run("comment.yml", &comment("/cdflow unhold ci"), 3);
    assert_eq!(steps(&ran, &[]), ["check: comment check", "apply: comment run"]);
    has(&ran, "ci was held by pull request #7");

    assert!(company.run("comment.yml", &comment("looks good"), 4).is_empty());
    // A comment on an issue.
    let mut event = comment("/cdflow apply ci");
    event.payload["issue"] = json!({ "number": 3 });
    assert!(company.run("comment.yml", &event, 5).is_empty());
}

#[test]
fn the_example_with_several_components() {
    let company = Company::new();
    for name in ["checkout", "catalogue", "search"] {
        for file in ["cdflow.yml", "infra/main.tf", "config/common.json"] {
            let text = company.project.read(file);
            company.project.write(&format!("components/{name}/{file}"), &text);
        }
        let file = format!("components/{name}/cdflow.yml");
        company.project.append(&file, &format!("component: {name}\n"));
    }
    // The one at the root has the name of the repository, as one of these has.
    company.project.remove("cdflow.yml");
    let base = company.project.commit("Components");
    // What the pull request changes, by the files of its commit.
    let of_commit = |head: &str, number: u64| {
        company.github.world().pull_request(NUMBER, head);
        let mut event = pull_request(head, "opened", "open");
        event.payload["pull_request"]["base"]["sha"] = base.as_str().into();
        company.run("matrix.yml", &event, number)
    };
    let of = |name: &str| [format!("plan ({name}): release"), format!("plan ({name}): deploy")];
    let conclusion = |commit: &str| shown(&company.github, commit).0;

    let head = company.project.write("modules/shared/main.tf", "").commit("For all");
    let ran = of_commit(&head, 1);
    assert_eq!(steps(&ran, &[]), ["checkout", "catalogue", "search"].map(of).concat());
    let comments = company.comments();
    assert!(comments.len() == 1 && comments[0].contains("catalogue"), "{comments:?}");
    assert_eq!(conclusion(&head), "success");

    company.project.git(["checkout", "--quiet", "--detach", &base]);
    let head = company.project.append("components/search/infra/main.tf", "\n# x\n").commit("One");
    let ran = of_commit(&head, 2);
    assert_eq!(steps(&ran, &[]), of("search"));
    assert_eq!(conclusion(&head), "success");

    // The next push takes the change back, and documents are for nobody.
    company.project.git(["checkout", "--quiet", "--detach", &base]);
    let head = company.project.write("README.md", "Words\n").commit("Documents");
    let ran = of_commit(&head, 3);
    assert_eq!(steps(&ran, &[]), ["affected: unaffected"]);
    assert_eq!(conclusion(&head), "neutral");

    let head = company.project.write("OTHER.md", "Words\n").commit("The merge of the queue");
    let queue =
        |base: &str, number: u64| company.run("matrix.yml", &merge_group(&head, base), number);
    assert_eq!(steps(&queue(&base, 4), &[]), ["affected: unaffected"]);
    assert_eq!(conclusion(&head), "neutral");
}

#[test]
fn the_example_that_deploys_what_was_reviewed() {
    let company = Company::new();
    let head = company.project.head();
    let ran = company.run("reviewed.yml", &pull_request(&head, "opened", "open"), 1);
    let planned =
        ["release-change: release", "plan (ci): deploy", "plan (live): deploy"].map(str::to_owned);
    assert_eq!(steps(&ran, &[]), planned);
    assert_eq!(shown(&company.github, &head).0, "success");
    company.github.world().review(NUMBER, "grace", "APPROVED");

    // The base branch has moved, so that the code of the queue is not that of the pull request.
    let merged = company.project.append("infra/main.tf", "\n# Of the base\n").commit("Merge");
    let ran = company.run("reviewed.yml", &merge_group(&merged, &head), 2);
    assert_eq!(steps(&ran, &[]), planned);
    has(&ran, &format!("version pr-{NUMBER}-{}", &merged[..7]));
    let same = "The plan does what pull request #7 showed";
    has(&ran, same);
    assert_eq!(shown(&company.github, &merged).0, "success");
    for job in &ran {
        assert!(job.subject.ends_with(":environment:pull-request"), "{}", job.subject);
        assert!(job.role.ends_with("-pull-request"), "{}", job.role);
    }

    {
        let mut world = company.github.world();
        let change = world.pull_requests.get_mut(&NUMBER).unwrap();
        (change.is_open, change.is_merged) = (false, true);
        change.merge_commit_sha = Some(merged.clone());
    }
    let ran = company.run("reviewed.yml", &push(&merged), 3);
    assert_eq!(
        steps(&ran, &[]),
        ["release: release", "deploy (ci): deploy", "deploy (live): deploy"]
    );
    has(&ran, &format!("{same}, approved by grace"));
    has(&ran, &format!("Deployed checkout 3-{} to live", &merged[..7]));

    // A commit that no pull request has shown.
    let direct = company.project.append("infra/main.tf", "\n# Direct\n").commit("Direct");
    let ran = company.run("reviewed.yml", &push(&direct), 4);
    ran[0].output.success();
    ran[1].output.fails(3);
}

/// A scaffold may name only what its own account scheme has, and doctor has nothing to say.
#[test]
fn each_workflow_passes_the_checks_of_doctor() {
    let sandbox = Sandbox::new();
    let (folder, _) = scaffold(&sandbox, "infrastructure", None);
    let doctor =
        || Runner::new(env!("CARGO_BIN_EXE_cdflow"), ["doctor"], &sandbox).cwd(&folder).run();
    doctor().success().stdout_has("2 jobs in .github/workflows use cdflow").lacks("warning  ");
    let scheme = fs::read_to_string(folder.join("account-scheme.json")).unwrap();
    let scheme: Value = serde_json::from_str(&scheme).unwrap();
    for file in ["deploy.yml", "plan.yml"] {
        let path = folder.join(".github/workflows").join(file);
        let text = fs::read_to_string(path).unwrap();
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("environment: ")) {
            assert!(scheme["environments"][line].is_string(), "{file}: {line}");
        }
    }
    copy(&in_repository("examples/workflows"), &folder.join(".github/workflows"));
    for arguments in [&["add", "--all"][..], &["commit", "--quiet", "--message", "Examples"]] {
        git(&sandbox, &folder, arguments).run().success();
    }
    doctor().success().stdout_has("in .github/workflows use cdflow").lacks("warning  ");

    let path = folder.join(".github/workflows/deploy.yml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("      queue: max\n", "")).unwrap();
    doctor().success().stdout_has(
        ".github/workflows/deploy.yml, job `deploy`: its concurrency group has no `queue: max`",
    );
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
