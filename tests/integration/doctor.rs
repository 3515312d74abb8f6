//! `doctor`: it checks everything and changes nothing.

use crate::support::{AMBIENT_SECRET, Aws, DEV, Mirror, Output, PROD, Project, RELEASE, Runner};
use serde_json::{Value, json};
use std::fs;

/// Creates a setup without findings: plan roles and versioned buckets.
fn sound(name: &str) -> (Aws, Project, Value) {
    let aws = Aws::new(name);
    let mut scheme = aws.scheme();
    for (alias, role) in [("dev", "deploy"), ("prod", "deploy"), ("release", "release")] {
        scheme["accounts"][alias]["role"] = format!("{}-{alias}-{role}", aws.name()).into();
    }
    for alias in ["dev", "prod"] {
        scheme["accounts"][alias]["plan-role"] = format!("{}-{alias}-plan", aws.name()).into();
    }
    aws.put_scheme(&scheme);
    for bucket in [aws.release_bucket(), aws.lambda_bucket(), aws.state_bucket()] {
        let versioned =
            json!({ "Bucket": bucket, "VersioningConfiguration": { "Status": "Enabled" } });
        aws.call(RELEASE, "s3", "put_bucket_versioning", versioned);
        // Moto names the answer's root by the operation; this is S3's own.
        let root = ["GetBucketVersioningResponse", "VersioningConfiguration"];
        aws.rule(json!({ "matching": format!("GET /{bucket}"), "response": root }));
    }
    let project = Project::aws("greeting", &aws);
    (aws, project, scheme)
}

/// Runs doctor, checks that it changed nothing, and returns the findings.
#[track_caller]
fn examined(project: &Project, runner: Runner, code: i32) -> (Vec<Value>, Output) {
    let before = project.snapshot();
    let output = runner.run();
    output.fails(code).lacks("panicked").lacks(AMBIENT_SECRET);
    project.unchanged_since(&before, &output);
    (output.json()["findings"].as_array().unwrap().clone(), output)
}

#[track_caller]
fn doctor(project: &Project, code: i32) -> (Vec<Value>, Output) {
    examined(project, project.cdflow(["doctor", "--json"]), code)
}

/// Returns the check as people read it.
fn check(finding: &Value) -> String {
    let id = finding["id"].as_str().unwrap();
    let Some(subject) = finding["subject"].as_str() else { return id.replace('-', " ") };
    match id.strip_prefix("environment-") {
        Some(thing) => format!("{thing} of {subject}"),
        None => format!("{} {subject}", id.replace('-', " ")),
    }
}

/// Returns `<level> <message>` of each finding of a check.
fn of(findings: &[Value], name: &str) -> Vec<String> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let found = findings.iter().filter(|finding| check(finding).contains(name));
    found.map(|it| format!("{} {}", text(it, "level"), text(it, "message"))).collect()
}

/// Returns the checks with this level.
fn at(findings: &[Value], level: &str) -> Vec<String> {
    findings.iter().filter(|it| it["level"] == level).map(check).collect()
}

/// Only OpenTofu reads `.tofu`.
#[test]
fn the_code_is_read_by_the_rules_of_the_program_that_is_used() {
    let project = Project::local("greeting");
    project.write("infra/extra.tofu", "output \"tofu\" {\n  value = 1\n}\n").commit("For OpenTofu");
    let files = || {
        let output = project.cdflow(["doctor", "--json"]).run();
        let document = output.json();
        of(document["findings"].as_array().unwrap(), "infra")
    };
    let (terraform, opentofu) = (["ok 1 file of Terraform code"], ["ok 2 files of Terraform code"]);
    assert_eq!(files(), terraform);
    project.edit_json("account-scheme.json", |scheme| {
        scheme["defaults"] = json!({ "opentofu-version": ">= 1.7" });
    });
    assert_eq!(files(), opentofu);
    // The component's own version file wins over the default, in the code as well.
    project.write(".terraform-version", "1.11.4\n");
    assert_eq!(files(), terraform);
    fs::rename(project.path(".terraform-version"), project.path(".opentofu-version")).unwrap();
    project.edit_json("account-scheme.json", |scheme| scheme["defaults"] = json!({}));
    assert_eq!(files(), opentofu);
    project.append("cdflow.yml", "terraform-version: \">= 1\"\n");
    assert_eq!(files(), terraform);
}

#[test]
fn a_component_without_a_cloud_is_well() {
    let project = Project::local("greeting");
    let before = project.snapshot();
    let output = project.cdflow(["doctor"]).run();
    output.success().stderr_is("No problems, 0 warnings\n").stdout_has_in_order(&[
        "ok       cdflow.yml",
        "infrastructure of the team platform",
        "ok       infra/",
        "ok       config/",
        "common.json, live.json",
        "no uncommitted changes",
        "greeting, from the git remote",
        "ok       terraform",
        "not needed: no providers",
        "./account-scheme.json",
        "not needed: the account scheme is local",
        "ok       release store",
        "writable",
        "ok       state lock",
        "ok       environment *, aslive, ci, live",
    ]);
    project.unchanged_since(&before, &output);
    assert!(
        doctor(&project, 0)
            .0
            .iter()
            .all(|finding| finding["level"] == "ok" && finding["remedy"].is_null())
    );
}

#[test]
fn a_component_on_aws_is_well() {
    let (aws, project, mut scheme) = sound("doctorwell");
    let (findings, output) = doctor(&project, 0);
    assert_eq!(output.json()["problems"], 0, "{output}");
    assert_eq!(at(&findings, "warning"), [""; 0], "{output}");
    for (check, says) in [
        ("identity", "ok arn:aws:".to_owned()),
        ("account scheme", format!("ok {}", aws.scheme_url())),
        ("release role", format!("ok role {}-release-release of account {RELEASE}", aws.name())),
        ("release store", format!("ok s3://{}/ in eu-west-1, versioned", aws.release_bucket())),
        ("state", format!("ok s3://{}/ in eu-west-1, versioned", aws.state_bucket())),
        ("state lock", "ok a lock file next to the state".to_owned()),
        ("environment *, ci", format!("ok role {}-dev-deploy of account {DEV}", aws.name())),
        (
            "environment aslive, live",
            format!("ok role {}-prod-deploy of account {PROD}", aws.name()),
        ),
    ] {
        assert!(
            of(&findings, check).first().is_some_and(|it| it.starts_with(&says)),
            "{check}: {says}\n{output}"
        );
    }
    assert!(aws.keys(&aws.release_bucket()).is_empty() && aws.keys(&aws.state_bucket()).is_empty());
    for written in ["PUT", "POST", "DELETE"] {
        let calls = aws.requests(&format!("{written} /{}-", aws.name()));
        // The calls that created and filled the buckets.
        assert!(
            calls.iter().all(|call| !call.contains("uploads") && !call.contains("greeting")),
            "{calls:?}"
        );
    }

    // With one environment, only its roles are checked.
    let (findings, output) = examined(&project, project.cdflow(["doctor", "live", "--json"]), 0);
    assert_eq!(of(&findings, "environment live").len(), 2, "{output}");
    assert_eq!(of(&findings, "environment").len(), 2, "{output}");

    // The role for plans in the release account is assumed as well.
    scheme["release-plan-role"] = format!("{}-release-plan", aws.name()).into();
    aws.put_scheme(&scheme);
    let (findings, output) = doctor(&project, 0);
    let plans = format!("ok role {}-release-plan of account {RELEASE}", aws.name());
    assert_eq!(of(&findings, "release role")[0], plans, "{output}");
    assert_eq!(of(&findings, "release role").len(), 2, "{output}");
}

#[test]
fn a_lambda_needs_its_bucket_and_its_code() {
    let (aws, project, _) = sound("doctorlambda");
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda");
    project.write("src/handler.py", "def handle(event, context): return {}\n").commit("A function");
    let (findings, output) = doctor(&project, 0);
    assert_eq!(of(&findings, "function"), ["ok 1 file of code"], "{output}");
    assert!(of(&findings, "lambda bucket")[0].contains(&aws.lambda_bucket()), "{output}");

    // Without versions a bucket is a warning; without code a function is a problem.
    let suspended = json!({ "Bucket": aws.lambda_bucket(),
        "VersioningConfiguration": { "Status": "Suspended" } });
    aws.call(RELEASE, "s3", "put_bucket_versioning", suspended);
    project.remove("src/handler.py").commit("No function");
    let (findings, output) = doctor(&project, 2);
    assert_eq!(
        (at(&findings, "problem"), at(&findings, "warning")),
        (vec!["function".to_owned()], vec!["lambda bucket".to_owned()]),
        "{output}"
    );
}

#[test]
fn everything_broken_in_the_folder_is_reported_at_once() {
    let project = Project::local("greeting");
    project
        .write("config/live.json", "{\"greeting\": }")
        .write("account-scheme.json", "{\"accounts\": 1}");
    let runner = project.cdflow(["doctor", "--json"]).env("PATH", "/nowhere");
    let (findings, output) = examined(&project, runner, 2);
    assert_eq!(at(&findings, "problem"), ["config", "git", "component", "terraform"], "{output}");
    assert!(
        of(&findings, "config")[0].contains("config/live.json:1:14: not a JSON object"),
        "{output}"
    );
    assert!(of(&findings, "config")[1].contains("ok common.json"), "{output}");
    assert!(of(&findings, "terraform")[0].contains("no list of versions"), "{output}");
    assert_eq!(
        of(&findings, "account scheme"),
        ["warning not checked: the component has no name"],
        "{output}"
    );
    assert!(
        findings
            .iter()
            .all(|it| it["level"] != "problem" || it["remedy"].is_string() || it["id"] == "config")
    );

    let (findings, output) = doctor(&project, 2);
    assert_eq!(at(&findings, "problem"), ["config", "account scheme"], "{output}");
    assert!(of(&findings, "git")[0].starts_with("warning uncommitted changes"), "{output}");
    assert_eq!(
        of(&findings, "environments"),
        ["warning not checked: the account scheme is missing or invalid"],
        "{output}"
    );

    project.remove("cdflow.yml");
    let (findings, output) = doctor(&project, 2);
    assert!(of(&findings, "cdflow.yml")[0].contains("cdflow.yml not found in"), "{output}");
    assert_eq!(of(&findings, "infra"), ["ok 1 file of Terraform code"], "{output}");
}

#[test]
fn providers_that_are_not_locked() {
    let project = Project::local("greeting").with_tiny_provider(Mirror::tiny());
    let (findings, output) = doctor(&project, 0);
    assert_eq!(at(&findings, "warning"), ["lock file"], "{output}");
    assert!(of(&findings, "lock file")[0].contains("not locked (tiny)"), "{output}");
}

#[test]
fn a_role_that_is_refused_is_about_access() {
    let (aws, project, _) = sound("doctorrole");
    let refused = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not \
    authorized to perform: \
                   sts:AssumeRole</Message></Error><RequestId>7a62c49f</RequestId></ErrorResponse>";
    aws.rule(json!({ "matching": format!("role%2F{}-dev-plan", aws.name()), "status": 403,
        "body": refused }));
    let (findings, output) = doctor(&project, 4);
    assert_eq!(at(&findings, "problem"), ["environment *, ci"], "{output}");
    assert!(
        output.stdout.contains("trust policy") && output.stdout.contains("AccessDenied"),
        "{output}"
    );

    // Without the release role the buckets cannot be checked; the environments still are.
    aws.rule(json!({ "matching": format!("role%2F{}-release", aws.name()), "status": 403,
        "body": refused }));
    let (findings, output) = doctor(&project, 4);
    assert_eq!(at(&findings, "problem"), ["release role", "environment *, ci"], "{output}");
    assert_eq!(at(&findings, "warning"), ["release store", "state"], "{output}");
    assert_eq!(of(&findings, "environment aslive, live").len(), 2, "{output}");
}

#[test]
fn no_identity_and_no_bucket() {
    let (aws, project, mut scheme) = sound("doctorbucket");
    scheme["release-bucket"] = format!("{}-missing", aws.name()).into();
    scheme["accounts"]["dev"].as_object_mut().unwrap().remove("plan-role");
    scheme["terraform-backend-s3-use-lockfile"] = false.into();
    scheme["policy"] = json!({ "max-destroy": 2, "protect": ["aws_db_instance"],
        "environments": {
            "live": { "branches": ["main", "release/*"], "prevent-destroy": true }
        } });
    aws.put_scheme(&scheme);
    let (findings, output) = doctor(&project, 2);
    assert_eq!(at(&findings, "problem"), ["release store", "state lock"], "{output}");
    assert!(of(&findings, "release store")[0].contains("NoSuchBucket"), "{output}");
    assert!(of(&findings, "environment *, ci")[1].contains("no `plan-role`"), "{output}");
    let name = aws.name();
    assert_eq!(
        [
            of(&findings, "may release"),
            of(&findings, "may change ci"),
            of(&findings, "change live")
        ],
        [
            [format!("ok {name}-release-release of `release`, also in runs that only read")],
            [format!(
                "ok plan and deploy as {name}-dev-deploy of `dev`; max-destroy 2; \
                 1 protected types or addresses"
            )],
            [format!(
                "ok plan as {name}-prod-plan, deploy as {name}-prod-deploy of `prod`; commits of \
                 main, release/*; max-destroy 2; 1 protected types or addresses; cdflow \
                 destroy is refused"
            )],
        ],
        "{output}"
    );

    let without_identity = project
        .cdflow(["doctor", "--json"])
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    let (findings, output) = examined(&project, without_identity, 4);
    assert_eq!(at(&findings, "problem"), ["identity"], "{output}");
    assert!(of(&findings, "terraform")[0].starts_with("ok"), "{output}");
}

#[test]
fn secrets_are_read_and_never_shown() {
    let (aws, project, _) = sound("doctorsecrets");
    project.append("cdflow.yml", "secrets: [ssm]\n");
    project
        .append("infra/main.tf", "\nvariable \"secrets\" {\n  type = map(string)\n}\n")
        .commit("With secrets");
    let name = "/cdflow/live/greeting/doctor-password";
    let put = json!({ "Name": name, "Value": "correct horse \
    battery", "Type": "SecureString", "Overwrite": true });
    aws.call(PROD, "ssm", "put_parameter", put);
    let (findings, output) =
        examined(&project, project.cdflow(["doctor", "live", "--json", "-vv"]), 0);
    assert_eq!(of(&findings, "secrets"), ["ok 1 from ssm"], "{output}");
    output.lacks("correct horse");
    let (findings, output) = doctor(&project, 0);
    assert!(of(&findings, "secrets")[0].contains("`cdflow doctor ENVIRONMENT` reads"), "{output}");
}

#[test]
fn a_lock_table_must_be_one() {
    let (aws, project, mut scheme) = sound("doctortable");
    let table = |name: &str, key: &str| {
        let name = format!("{}-{name}", aws.name());
        let args = json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{ "AttributeName": key, "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": key, "AttributeType": "S" }],
        });
        aws.call(RELEASE, "dynamodb", "create_table", args);
    };
    table("good", "LockID");
    table("other", "Name");
    for (name, code, says) in [
        ("good", 0, "ok the table"),
        ("other", 2, "has no key `LockID`"),
        ("missing", 2, "-missing`: ResourceNotFoundException"),
    ] {
        scheme["terraform-backend-s3-dynamodb-table"] = format!("{}-{name}", aws.name()).into();
        aws.put_scheme(&scheme);
        let (findings, output) = doctor(&project, code);
        let locks = of(&findings, "state lock");
        assert!(
            locks.len() == 2 && locks[0].starts_with("ok") && locks[1].contains(says),
            "{output}"
        );
    }
}

#[test]
fn an_environment_has_a_state_a_lock_and_a_ledger() {
    let project = Project::local("greeting");
    let live = |code: i32| examined(&project, project.cdflow(["doctor", "live", "--json"]), code).0;
    let findings = live(0);
    assert!(of(&findings, "state of live")[0].starts_with("ok none yet at file:"), "{findings:?}");
    assert!(of(&findings, "ledger of live")[0].starts_with("ok no run yet"), "{findings:?}");
    project.release("1");
    project.deploy("live", "1");
    let findings = live(0);
    assert!(of(&findings, "state of live")[0].contains(", serial number "), "{findings:?}");
    assert!(of(&findings, "lock of live")[0].starts_with("ok free: no file:"), "{findings:?}");
    assert!(
        of(&findings, "ledger of live")[0].starts_with("ok run 1 (deploy of 1"),
        "{findings:?}"
    );

    let state = project.state_file("live");
    let note = state.with_file_name(".terraform.tfstate.lock.info");
    std::fs::write(&note, "{").unwrap();
    std::fs::write(&state, "{").unwrap();
    std::fs::write(project.ledger_folder("live").join("9999999998.start.json"), "{").unwrap();
    let findings = live(2);
    let all = ["state of live", "lock of live", "ledger of live"];
    assert_eq!(at(&findings, "problem"), all, "{findings:?}");
    assert!(of(&findings, "lock of live")[0].contains("is not a Terraform lock"), "{findings:?}");
}

#[test]
fn an_environment_on_aws() {
    // The answers of moto that `sound` changes are not those that a deploy needs.
    let aws = Aws::new("doctorenv");
    let project = Project::aws("greeting", &aws);
    project.release("1");
    project.deploy("ci", "1");
    let ci = |code: i32| examined(&project, project.cdflow(["doctor", "ci", "--json"]), code).0;
    let findings = ci(0);
    assert!(of(&findings, "state of ci")[0].contains("ok s3://"), "{findings:?}");
    assert!(of(&findings, "lock of ci")[0].starts_with("ok free: no s3://"), "{findings:?}");
    assert!(of(&findings, "ledger of ci")[0].ends_with("; can be written"), "{findings:?}");

    let key = "platform/greeting/ci/terraform.tfstate.tflock";
    let lock = json!({ "ID": "0c2b-11", "Who": "ada@laptop", "Created": "2026-01-02" });
    aws.put(&aws.state_bucket(), key, lock.to_string().as_bytes());
    let refused = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let matching = format!("PUT /{}/platform/greeting/ledger/ci/", aws.release_bucket());
    aws.rule(json!({ "matching": matching, "status": 403, "body": refused }));
    let findings = ci(4);
    assert_eq!(at(&findings, "problem"), ["ledger of ci"], "{findings:?}");
    let held = &of(&findings, "lock of ci")[0];
    assert_eq!(held, "warning held by ada@laptop since 2026-01-02 (`0c2b-11`)");
}

#[test]
fn keys_of_a_mirror_are_checked() {
    let project = Project::local("greeting");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["terraform-mirror-keys"] = json!(["hello"]);
    });
    let (findings, output) = doctor(&project, 2);
    assert_eq!(at(&findings, "problem"), ["mirror keys"], "{output}");
}
