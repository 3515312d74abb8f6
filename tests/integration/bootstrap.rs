//! The first hour on AWS: examples/bootstrap, then `init` with its account scheme, and what GitHub
//! runs then, with the roles that the module made and with no others.

use crate::support::github::GitHub;
use crate::support::workflow::{Event, Origin, Ran, run};
use crate::support::{
    Aws, DEV, Issuer, Mirror, PROD, RELEASE, RoleRequest, Runner, Sandbox, files_under, git,
    in_repository, terraform,
};
use crate::workflows::{NUMBER, has, pull_request, push, steps};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What examples/bootstrap/README.md says of the first hour, and of a release and a deploy.
const MOST_COMMANDS: usize = 12;
const MOST_LINES: usize = 40;
const MOST_WRITES: usize = 12;
const MOST_READS: usize = 20;

/// A person at a terminal, and everything that is not theirs to type.
struct Hour {
    aws: Aws,
    issuer: Issuer,
    github: GitHub,
    sandbox: Sandbox,
    /// The first part of every bucket and role.
    prefix: String,
    outputs: Value,
    typed: Vec<String>,
    written: Vec<String>,
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
            typed: Vec::new(),
            written: Vec::new(),
        }
    }

    fn types(&mut self, command: &str) {
        self.typed.push(command.to_owned());
    }

    fn writes(&mut self, file: &Path, text: &str) {
        self.written.extend(text.lines().map(str::to_owned));
        fs::write(file, text).unwrap();
    }

    /// Applies the module with the real provider.
    fn bootstrap(&mut self) {
        let folder = self.sandbox.work().join("bootstrap");
        self.types("cp -r cdflow/examples/bootstrap . && cd bootstrap");
        let from = in_repository("examples/bootstrap");
        for file in files_under(&from).iter().filter(|it| it.ends_with(".tf")) {
            fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
            fs::copy(from.join(file), folder.join(file)).unwrap();
        }
        let name = self.aws.name();
        let settings = format!(
            "prefix = \"{}\"\nregion = \"eu-west-1\"\nrepositories = [\"acme/checkout\"]\n\
             accounts = {{ release = \"{RELEASE}\", dev = \"{DEV}\", prod = \"{PROD}\" }}\n\
             access_roles = {{ release = \"OrganizationAccountAccessRole\" }}\n\
             deploy_policies = [\"{name}-parameters\"]\n",
            self.prefix
        );
        self.writes(&folder.join("terraform.tfvars"), &settings);
        self.types("terraform init");
        self.terraform(&["init", "-no-color", "-input=false"]);
        self.types("terraform apply");
        self.terraform(&["apply", "-no-color", "-input=false", "-auto-approve"]);
        let outputs = self.terraform(&["output", "-json"]);
        let outputs: Value = serde_json::from_str(&outputs).unwrap();
        let value = |(name, it): (&String, &Value)| (name.clone(), it["value"].clone());
        self.outputs = outputs.as_object().unwrap().iter().map(value).collect();
        for command in self.outputs["commands"].as_array().unwrap().clone() {
            self.types(command.as_str().unwrap());
        }
    }

    fn terraform(&self, arguments: &[&str]) -> String {
        let folder = self.sandbox.work().join("bootstrap");
        let output = terraform(&self.sandbox, folder, arguments)
            .providers(&Mirror::aws())
            .envs(self.aws.env())
            // moto has no policies of AWS.
            .env("TF_VAR_plan_policies", format!("[\"{}-parameters\"]", self.aws.name()))
            .timeout(Duration::from_secs(600))
            .run();
        eprintln!("terraform {} took {:?}", arguments[0], output.elapsed);
        output.success();
        output.stdout
    }

    /// `init` in a fresh folder, with the identity of the person.
    fn scaffold(&mut self) -> PathBuf {
        let url = self.outputs["account_scheme_url"].as_str().unwrap().to_owned();
        let arguments = ["init", "--type", "infrastructure", "--account-scheme-url", &url];
        self.types(&format!("cdflow {} checkout", arguments.join(" ")));
        let output = Runner::new(
            env!("CARGO_BIN_EXE_cdflow"),
            arguments.iter().chain([&"checkout"]),
            &self.sandbox,
        )
        .envs(self.aws.env())
        .run();
        output.success().lacks("warning").stderr_has("CDFLOW_ROLE_PREFIX");
        let folder = self.sandbox.work().join("checkout");
        for command in output.stdout.lines().take(2) {
            self.types(command);
        }
        self.git(&folder, &["init", "--quiet", "--initial-branch", "main"]);
        self.git(&folder, &["add", "--all"]);
        self.git(&folder, &["commit", "--quiet", "--message", "Add checkout"]);
        folder
    }

    fn git(&self, folder: &Path, arguments: &[&str]) -> String {
        git(&self.sandbox, folder, arguments).run().success().stdout.trim().to_owned()
    }

    /// GitHub runs a workflow of the component. Each job must be one that its role trusts.
    fn runs(&self, folder: &Path, file: &str, event: &Event, number: u64) -> Vec<Ran> {
        let origin = Origin {
            repository: folder.to_owned(),
            github: &self.github,
            vars: self.outputs["repository_variables"].clone(),
            aws: Some((&self.aws, &self.issuer)),
            lab: None,
        };
        let text = fs::read_to_string(folder.join(".github/workflows").join(file)).unwrap();
        let ran = run(file, &text, event, number, &origin);
        for Ran { job, role, subject, .. } in &ran {
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

#[test]
fn the_first_hour_on_aws() {
    let mut hour = Hour::new();
    hour.bootstrap();
    buckets(&hour);
    roles(&hour);

    // The first push.
    let folder = hour.scaffold();
    let head = hour.git(&folder, &["rev-parse", "HEAD"]);
    hour.types("git push --set-upstream origin main");
    let before = hour.requests().len();
    let ran = hour.runs(&folder, "deploy.yml", &push(&head), 1);
    assert_eq!(
        steps(&ran, &[]),
        ["release: release", "deploy (ci): deploy", "deploy (live): deploy"]
    );
    has(&ran, &format!("Deployed checkout 1-{} to live", &head[..7]));
    costs(&hour.requests()[before..]);

    // A pull request, its plan, the review, the merge.
    let common = folder.join("config/common.json");
    let text = fs::read_to_string(&common).unwrap();
    fs::write(&common, text.replace("Hello", "Welcome")).unwrap();
    hour.written.push("  \"greeting\": \"Welcome\"".to_owned());
    hour.git(&folder, &["commit", "--quiet", "--all", "--message", "Welcome people"]);
    hour.types("git switch --create welcome && git commit --all --message 'Welcome people'");
    hour.types("git push --set-upstream origin welcome && gh pr create --fill");
    let head = hour.git(&folder, &["rev-parse", "HEAD"]);
    hour.github.world().pull_request(NUMBER, &head);
    let before = hour.requests().len();
    let ran = hour.runs(&folder, "plan.yml", &pull_request(&head, "opened", "open"), 2);
    assert_eq!(steps(&ran, &[]), ["release: release", "plan (ci): deploy", "plan (live): deploy"]);
    of_the_pull_request(&hour, &hour.requests()[before..]);
    let comment = hour.github.world().comments.values().next().unwrap().body.clone();
    assert!(comment.contains("| **ci** |") && comment.contains("| **live** |"), "{comment}");
    assert!(comment.contains("Welcome"), "{comment}");
    hour.types("gh pr merge --merge");
    let ran = hour.runs(&folder, "deploy.yml", &push(&head), 3);
    steps(&ran, &[]);
    has(&ran, &format!("Deployed checkout 3-{} to live: 0 added, 1 changed", &head[..7]));

    // Nobody needed more than the module gives, and everything was done by its roles.
    let refused: BTreeSet<RoleRequest> =
        hour.requests().into_iter().filter(|it| !hour.aws.is_allowed(it)).collect();
    assert!(refused.is_empty(), "no policy allows {refused:#?}");
    let used: BTreeSet<String> = hour.requests().into_iter().map(|it| it.role).collect();
    let names = [
        "github-release",
        "github-ci",
        "github-live",
        "github-pull-request",
        "release",
        "release-plan",
    ];
    let arn = |name: &&str| format!("arn:aws:iam::{RELEASE}:role/{}-{name}", hour.prefix);
    assert_eq!(used, names.iter().map(arn).collect());
    let assumed = |name: &str, account: &str| {
        let role = format!("arn:aws:iam::{account}:role/{}-{name}", hour.prefix);
        hour.requests().iter().any(|it| it.resource == role)
    };
    for (name, account) in
        [("deploy-dev", DEV), ("deploy-prod", PROD), ("plan-dev", DEV), ("plan-prod", PROD)]
    {
        assert!(assumed(name, account), "{name} was not used");
    }

    eprintln!("{} commands:\n  {}", hour.typed.len(), hour.typed.join("\n  "));
    eprintln!("{} lines:\n  {}", hour.written.len(), hour.written.join("\n  "));
    assert!(hour.typed.len() <= MOST_COMMANDS && hour.written.len() <= MOST_LINES);
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
    assert_eq!(of("pull-request"), ["repo:acme/checkout:pull_request"]);
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
fn of_the_pull_request(hour: &Hour, requests: &[RoleRequest]) {
    let roles: BTreeSet<&str> =
        requests.iter().map(|it| it.role.rsplit(&hour.prefix).next().unwrap()).collect();
    assert_eq!(roles, BTreeSet::from(["-github-pull-request", "-release-plan"]));
    let written: Vec<&RoleRequest> =
        requests.iter().filter(|it| it.action == "s3:PutObject").collect();
    let is_own = |it: &&RoleRequest| {
        let is_record = it.resource.contains("/reviews/");
        is_record || it.resource.contains("-pr-7-") || it.resource.ends_with(".tflock")
    };
    assert!(!written.is_empty() && written.iter().all(is_own), "{written:#?}");
}

/// The requests of one release and two deploys, as S3 bills them.
fn costs(requests: &[RoleRequest]) {
    let count = |actions: &[&str]| {
        requests.iter().filter(|it| actions.contains(&it.action.as_str())).count()
    };
    let writes = count(&["s3:PutObject", "s3:ListBucket", "s3:ListBucketMultipartUploads"]);
    let reads = count(&["s3:GetObject"]);
    let of = |action: &str| count(&[action]);
    eprintln!(
        "a release and two deploys: {} puts, {} lists, {reads} gets, {} deletes, {} sessions",
        of("s3:PutObject"),
        writes - of("s3:PutObject"),
        of("s3:DeleteObject"),
        of("sts:AssumeRole"),
    );
    assert!(writes <= 3 * MOST_WRITES && reads <= 3 * MOST_READS, "{writes} {reads}");
}
