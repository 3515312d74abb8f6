//! The first hour on AWS, as docs/aws.md has it: a person who types its commands and writes its
//! lines, and what GitHub runs then, with the roles of examples/bootstrap and with no others.

use crate::support::github::GitHub;
use crate::support::person::{Person, Step, steps_of};
use crate::support::workflow::{Event, Origin, Ran, run};
use crate::support::{
    Aws, DEV, Issuer, Mirror, Output, PROD, RELEASE, RoleRequest, Sandbox, in_repository,
};
use crate::workflows::{NUMBER, has, pull_request, push, steps};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const PAGE: &str = "docs/aws.md";
/// What an hour has room for.
const MOST_COMMANDS: usize = 12;
const MOST_LINES: usize = 39;
const REPOSITORY: &str = "acme/checkout";
/// The component has no lock file yet, and docs/aws.md says how to make one.
const NO_LOCK_FILE: &str = "::warning::infra/.terraform.lock.hcl is missing";

/// What is not the person's.
struct Hour {
    aws: Aws,
    issuer: Issuer,
    github: GitHub,
    sandbox: Sandbox,
    /// The first part of every bucket and role.
    prefix: String,
    outputs: Value,
}

impl Hour {
    fn new() -> Self {
        let aws = Aws::new("bootstrap");
        let prefix = format!("{}-org", aws.name());
        let document = json!({ "Version": "2012-10-17", "Statement":
            [{ "Effect": "Allow", "Action": "ssm:*", "Resource": "*" }] });
        for account in [DEV, PROD] {
            let name = format!("{}-parameters", aws.name());
            let args = json!({ "PolicyName": name, "PolicyDocument": document.to_string() });
            aws.call(account, "iam", "create_policy", args);
        }
        Self {
            aws,
            issuer: Issuer::start(),
            github: GitHub::start(),
            sandbox: Sandbox::new(),
            prefix,
            outputs: Value::Null,
        }
    }

    fn person(&self) -> Person {
        let policy = format!("{}-parameters", self.aws.name());
        let instead = [
            // All tests share the names of buckets, roles and parameters.
            ("acme-cdflow", self.prefix.clone()),
            ("/checkout/${var.env}", format!("/{}/${{var.env}}", self.aws.name())),
            // moto has no policies of AWS.
            ("arn:aws:iam::aws:policy/PowerUserAccess", policy.clone()),
        ];
        let access = json!({ "release": "OrganizationAccountAccessRole" });
        let variables = [
            ("TF_VAR_plan_policies", json!([policy]).to_string()),
            // The person's credentials are of no account of the organisation.
            ("TF_VAR_access_roles", access.to_string()),
        ];
        Person::new(&self.sandbox, &self.aws, &instead, &variables)
    }

    fn read_outputs(&mut self) {
        let folder = self.sandbox.work().join("bootstrap");
        let output = crate::support::terraform(&self.sandbox, folder, ["output", "-json"]);
        let outputs: Value = output.providers(&Mirror::aws()).run().json();
        let value = |(name, it): (&String, &Value)| (name.clone(), it["value"].clone());
        self.outputs = outputs.as_object().unwrap().iter().map(value).collect();
    }

    /// GitHub runs a workflow of the component. Each job must be one that its role trusts.
    fn runs(&self, person: &Person, file: &str, event: &Event, number: u64) -> Vec<Ran> {
        let repository = person.hosted(REPOSITORY);
        let mirror = Mirror::aws();
        let place = format!("{}:.github/workflows/{file}", event.sha);
        let text = person.git(&repository, &["show", &place]);
        let origin = Origin {
            repository,
            github: &self.github,
            vars: self.outputs["repository_variables"].clone(),
            aws: Some((&self.aws, &self.issuer)),
            providers: Some(&mirror),
            lab: None,
        };
        let ran = run(file, &text, event, number, &origin);
        for Ran { job, role, subject, output, .. } in &ran {
            eprintln!("{file}, {job}: {:?}", output.elapsed);
            let trust = self.aws.trust(role);
            let subjects = subjects(&trust);
            assert!(subjects.contains(subject), "{job}: {subject} is not in {subjects:?}");
        }
        ran
    }

    fn requests(&self) -> Vec<RoleRequest> {
        self.aws.requests_of_roles(&format!("{}-", self.prefix))
    }
}

/// Whom a role for GitHub trusts; exact ones alone.
fn subjects(trust: &Value) -> Vec<String> {
    let condition = &trust["Statement"][0]["Condition"];
    let issuer = "token.actions.githubusercontent.com";
    assert_eq!(condition.as_object().unwrap().len(), 1, "{trust}");
    assert_eq!(condition["StringEquals"][format!("{issuer}:aud")], "sts.amazonaws.com", "{trust}");
    match &condition["StringEquals"][format!("{issuer}:sub")] {
        Value::Array(subjects) => {
            subjects.iter().map(|it| it.as_str().unwrap().to_owned()).collect()
        }
        subject => vec![subject.as_str().unwrap().to_owned()],
    }
}

/// Follows the page up to and with the command that begins with `command`.
fn until(person: &mut Person, rest: &mut std::vec::IntoIter<Step>, command: &str) -> Output {
    for step in rest.by_ref() {
        let output = person.does(&step);
        if let Some(output) = output.filter(|_| step.types(command)) {
            return output;
        }
    }
    panic!("{PAGE} has no command `{command}` here");
}

#[test]
fn the_first_hour_on_aws() {
    let mut hour = Hour::new();
    let page = fs::read_to_string(in_repository(PAGE)).unwrap();
    let all = steps_of(&page, "Set up");
    effort(&page, &all);
    let (aws, sandbox) = (hour.aws.name().to_owned(), hour.sandbox.clone());
    let mut rest = all.into_iter();
    let rest = &mut rest;
    let person = &mut hour.person();
    person.hosts_cdflow();
    let repository = person.hosts(REPOSITORY);
    until(person, rest, "make").stderr_has("Destroyed greeting in ci");
    until(person, rest, "terraform -chdir=bootstrap init").stdout_has("Apply complete!");
    hour.read_outputs();
    buckets(&hour);
    roles(&hour);

    // The first push.
    let said = until(person, rest, "cdflow/target/debug/cdflow init");
    said.lacks("warning").stderr_has("CDFLOW_ROLE_PREFIX").stdout_has(
        "git init --initial-branch main && git add --all . && git commit --message \"Add \
         checkout\"\n",
    );
    until(person, rest, "terraform -chdir=../bootstrap output");
    let variables = fs::read_to_string(sandbox.home().join("variables")).unwrap();
    let pairs = variables.lines().map(|line| line.split_once('=').unwrap());
    let pairs: Value = pairs.map(|(name, it)| (name.to_owned(), Value::from(it))).collect();
    assert_eq!(pairs, hour.outputs["repository_variables"]);
    until(person, rest, "git push");
    let head = person.git(&repository, &["rev-parse", "main"]);
    let before = hour.requests().len();
    let ran = hour.runs(person, "deploy.yml", &push(&head), 1);
    assert_eq!(
        steps(&ran, &[]),
        ["release: release", "deploy (ci): deploy", "deploy (live): deploy"]
    );
    has(&ran, &format!("Deployed checkout 1-{} to live", &head[..7]));
    costs(&hour, &hour.requests()[before..]);

    // A pull request, its plan, the review, the merge.
    until(person, rest, "gh pr create");
    let head = person.git(&repository, &["rev-parse", "parameter"]);
    hour.github.world().pull_request(NUMBER, &head);
    let before = hour.requests().len();
    let ran = hour.runs(person, "plan.yml", &pull_request(&head, "opened", "open"), 2);
    let expected = ["release: release", "plan (ci): deploy", "plan (live): deploy"];
    assert_eq!(steps(&ran, &[NO_LOCK_FILE]), expected);
    of_the_pull_request(&hour, &hour.requests()[before..], &head);
    let comment = hour.github.world().comments.values().next().unwrap().body.clone();
    assert!(comment.contains("| **ci** |") && comment.contains("| **live** |"), "{comment}");
    assert!(comment.contains("aws_ssm_parameter.greeting"), "{comment}");
    assert!(hour.aws.parameters(DEV).is_empty() && hour.aws.parameters(PROD).is_empty());
    hour.github.world().review(NUMBER, "grace", "APPROVED");
    until(person, rest, "gh pr merge");
    assert_eq!(rest.next(), None, "steps after the merge");
    let merged = person.merges(REPOSITORY, "parameter");
    {
        let mut world = hour.github.world();
        let pull_request = world.pull_requests.get_mut(&NUMBER).unwrap();
        (pull_request.is_open, pull_request.is_merged) = (false, true);
        pull_request.merge_commit_sha = Some(merged.clone());
    }
    let ran = hour.runs(person, "deploy.yml", &push(&merged), 3);
    steps(&ran, &[NO_LOCK_FILE]);
    for (environment, account) in [("ci", DEV), ("live", PROD)] {
        let version = format!("3-{}", &merged[..7]);
        has(&ran, &format!("Deployed checkout {version} to {environment}: 1 added, 1 changed"));
        assert_eq!(hour.aws.parameters(account), [format!("/{aws}/{environment}/greeting")]);
    }
    let reviewed = "The plan does what pull request #7 showed, approved by grace";
    let count = ran.iter().filter(|it| it.output.stdout.contains(reviewed)).count();
    assert_eq!(count, 2, "{}", ran[1].output);
    of_the_roles(&hour);
}

/// What the person types and writes. The page says how much it is.
fn effort(page: &str, steps: &[Step]) {
    let (mut typed, mut written) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Type(command) => typed.push(command.as_str()),
            Step::Write { lines, .. } => written.extend(lines.lines()),
        }
    }
    written.retain(|line| !line.trim().is_empty());
    let parts = typed.iter().flat_map(|line| line.split(" && ")).count();
    eprintln!("{} commands ({parts} parts):\n  {}", typed.len(), typed.join("\n  "));
    eprintln!("{} lines:\n  {}", written.len(), written.join("\n  "));
    assert!(typed.len() <= MOST_COMMANDS && written.len() <= MOST_LINES);
    let said = format!("{} commands to type, and {} lines to write", typed.len(), written.len());
    assert!(page.contains(&said), "{PAGE} does not say: {said}");
    // The README of the module has a part of the steps.
    let readme = fs::read_to_string(in_repository("examples/bootstrap/README.md")).unwrap();
    let own = steps_of(&readme, "Apply");
    assert_eq!(own.len(), 3);
    for step in own {
        assert!(steps.contains(&step), "examples/bootstrap/README.md, not in {PAGE}: {step:?}");
    }
}

/// Nothing needed more than the module gives, and everything was done by its roles.
fn of_the_roles(hour: &Hour) {
    let requests = hour.requests();
    let different: BTreeSet<&RoleRequest> = requests.iter().collect();
    let refused: Vec<_> = different.into_iter().filter(|it| !hour.aws.is_allowed(it)).collect();
    assert!(refused.is_empty(), "no policy allows {refused:#?}");
    let used: BTreeSet<&str> = requests.iter().map(|it| it.role.as_str()).collect();
    let names = [
        (RELEASE, "github-release"),
        (RELEASE, "github-ci"),
        (RELEASE, "github-live"),
        (RELEASE, "github-pull-request"),
        (RELEASE, "release"),
        (RELEASE, "release-plan"),
        (DEV, "deploy-dev"),
        (PROD, "deploy-prod"),
    ];
    let expected =
        names.map(|(account, name)| format!("arn:aws:iam::{account}:role/{}-{name}", hour.prefix));
    assert_eq!(used, expected.iter().map(String::as_str).collect());
    // A plan that only creates reads nothing of AWS.
    for (account, name) in [(DEV, "plan-dev"), (PROD, "plan-prod")] {
        let role = format!("arn:aws:iam::{account}:role/{}-{name}", hour.prefix);
        assert!(requests.iter().any(|it| it.resource == role), "{name} was not assumed");
    }
}

/// Each is private, encrypted and versioned, and its rules delete nothing that is current.
fn buckets(hour: &Hour) {
    let buckets: BTreeMap<String, String> =
        serde_json::from_value(hour.outputs["buckets"].clone()).unwrap();
    let kinds: Vec<&str> = buckets.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["lambda", "releases", "scheme", "state"]);
    for bucket in buckets.values() {
        let ask = |method: &str| hour.aws.call(RELEASE, "s3", method, json!({ "Bucket": bucket }));
        assert_eq!(ask("get_bucket_versioning")["Status"], "Enabled");
        let rule =
            ask("get_bucket_encryption")["ServerSideEncryptionConfiguration"]["Rules"][0].clone();
        assert_eq!(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], "AES256");
        let block = ask("get_public_access_block")["PublicAccessBlockConfiguration"].clone();
        let block = block.as_object().unwrap();
        assert!(block.len() == 4 && block.values().all(|it| *it == true), "{block:?}");
        let rules = ask("get_bucket_lifecycle_configuration")["Rules"].clone();
        for rule in rules.as_array().unwrap() {
            let expiration = &rule["Expiration"];
            assert!(expiration["Days"].is_null() && expiration["Date"].is_null(), "{rule}");
            assert_eq!(rule["Status"], "Enabled");
        }
        assert!(rules.to_string().contains(r#""DaysAfterInitiation":1"#), "{rules}");
        assert!(rules.to_string().contains(r#""NoncurrentDays":90"#), "{rules}");
        let policy = ask("get_bucket_policy")["Policy"].as_str().unwrap().to_owned();
        assert!(policy.contains("aws:SecureTransport"), "{policy}");
        assert_eq!(policy.contains(DEV), *bucket == buckets["lambda"], "{policy}");
    }
}

/// No role trusts more than a job, and no role of a job reaches another's account.
fn roles(hour: &Hour) {
    let roles: BTreeMap<String, String> =
        serde_json::from_value(hour.outputs["github_role_arns"].clone()).unwrap();
    let names: Vec<&str> = roles.keys().map(String::as_str).collect();
    assert_eq!(names, ["ci", "live", "pull-request", "release"]);
    let of = |name: &str| subjects(&hour.aws.trust(&roles[name]));
    assert_eq!(of("ci"), ["repo:acme/checkout:environment:ci"]);
    assert_eq!(of("live"), ["repo:acme/checkout:environment:live"]);
    let of_pull_requests =
        ["repo:acme/checkout:pull_request", "repo:acme/checkout:environment:pull-request"];
    assert_eq!(of("pull-request"), of_pull_requests);
    assert_eq!(of("release"), ["repo:acme/checkout:ref:refs/heads/main"]);
    let may = |name: &str, account: &str, target: &str| {
        hour.aws.is_allowed(&RoleRequest {
            role: roles[name].clone(),
            action: "sts:AssumeRole".to_owned(),
            resource: format!("arn:aws:iam::{account}:role/{}-{target}", hour.prefix),
        })
    };
    assert!(may("ci", DEV, "deploy-dev") && !may("ci", PROD, "deploy-prod"));
    assert!(may("live", PROD, "deploy-prod") && !may("live", DEV, "deploy-dev"));
    assert!(may("release", RELEASE, "release") && !may("release", DEV, "deploy-dev"));
    assert!(may("pull-request", PROD, "plan-prod") && !may("pull-request", RELEASE, "release"));
    assert!(!may("pull-request", DEV, "deploy-dev") && !may("pull-request", PROD, "deploy-prod"));

    // What a pull request can write.
    let writes = |bucket: &str, key: &str| {
        hour.aws.is_allowed(&RoleRequest {
            role: format!("arn:aws:iam::{RELEASE}:role/{}-release-plan", hour.prefix),
            action: "s3:PutObject".to_owned(),
            resource: format!("arn:aws:s3:::{}-{bucket}/platform/checkout/{key}", hour.prefix),
        })
    };
    assert!(writes("releases", "checkout-pr-7-abcdef0.zip"));
    assert!(writes("releases", "reviews/live/7/abcdef0/1.json"));
    assert!(writes("state", "live/terraform.tfstate.tflock"));
    assert!(!writes("releases", "checkout-1.zip"));
    assert!(!writes("releases", "ledger/live/9999999998.start.json"));
    assert!(!writes("state", "live/terraform.tfstate"));
}

/// A run for a pull request assumed no role that writes more than its own release.
fn of_the_pull_request(hour: &Hour, requests: &[RoleRequest], head: &str) {
    let roles: BTreeSet<&str> =
        requests.iter().map(|it| it.role.rsplit(&hour.prefix).next().unwrap()).collect();
    assert_eq!(roles, BTreeSet::from(["-github-pull-request", "-release-plan"]));
    let written: Vec<&RoleRequest> =
        requests.iter().filter(|it| it.action == "s3:PutObject").collect();
    let is_own = |it: &&RoleRequest| {
        let is_record = ["/reviews/", "/built/"].iter().any(|folder| it.resource.contains(folder));
        is_record || it.resource.contains("-pr-7-") || it.resource.ends_with(".tflock")
    };
    assert!(!written.is_empty() && written.iter().all(is_own), "{written:#?}");
    let changes = requests.iter().find(|it| it.action.starts_with("ssm:Put"));
    assert_eq!(changes, None);

    // The first release with a provider sends all of it.
    let key = format!("platform/checkout/checkout-pr-{NUMBER}-{}.zip", &head[..7]);
    let bucket = format!("{}-releases", hour.prefix);
    let size = hour.aws.head(&bucket, &key).unwrap()["ContentLength"].as_u64().unwrap();
    let object = format!("arn:aws:s3:::{bucket}/{key}");
    let parts = written.iter().filter(|it| it.resource == object).count();
    let stated = stated("a release with the AWS provider");
    eprintln!("with the AWS provider: {size} bytes, {parts} requests; stated: {stated:?}");
    let [megabytes, further] = stated[..] else { panic!("{stated:?}") };
    assert!(is_near(megabytes, size as f64 / 1e6) && is_near(further, parts as f64));
}

/// The numbers in the second column of a row of the table of costs.
fn stated(row: &str) -> Vec<f64> {
    let readme = fs::read_to_string(in_repository("examples/bootstrap/README.md")).unwrap();
    let start = format!("| {row} | ");
    let cells = readme.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
    let cell = cells.split(" | ").next().unwrap();
    cell.split(' ').filter_map(|word| word.parse().ok()).collect()
}

/// The README says that its numbers are right within a quarter, or one request.
fn is_near(stated: f64, measured: f64) -> bool {
    (stated - measured).abs() <= f64::max(stated / 4.0, 1.0)
}

/// The requests of a release without providers and of the deploys, as S3 bills them, are those of
/// the README.
fn costs(hour: &Hour, requests: &[RoleRequest]) {
    let first = |name: &str| {
        let role = format!("{}-github-{name}", hour.prefix);
        requests.iter().position(|it| it.role.ends_with(&role)).unwrap()
    };
    let (ci, live) = (first("ci"), first("live"));
    for (what, of) in [
        ("a release", &requests[..ci]),
        ("a deploy", &requests[ci..live]),
        ("a deploy", &requests[live..]),
    ] {
        let count = |actions: &[&str]| {
            of.iter().filter(|it| actions.contains(&it.action.as_str())).count() as f64
        };
        let writes = count(&["s3:PutObject", "s3:ListBucket", "s3:ListBucketMultipartUploads"]);
        let reads = count(&["s3:GetObject"]);
        let stated = stated(what);
        eprintln!("{what}: {writes} writes, {reads} reads; stated: {stated:?}");
        let [said_writes, said_reads] = stated[..] else { panic!("{stated:?}") };
        assert!(is_near(said_writes, writes) && is_near(said_reads, reads), "{what}: {of:#?}");
    }
}
