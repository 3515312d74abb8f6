//! Secrets of an environment, from the real credstash, from parameters and from Secrets Manager,
//! into Terraform and nowhere else.

use serde_json::{Value, json};

use crate::support::{Aws, DEV, Output, Project, REGION, Runner, in_repository};

/// Shows the secrets' names, leaks one on purpose, and keeps all of them in the state.
const MAIN: &str = r#"variable "secrets" {
  type = map(string)
}

resource "terraform_data" "secrets" {
  input = var.secrets
}

output "names" {
  value = nonsensitive(keys(var.secrets))
}

output "leak" {
  value = [for value in values(nonsensitive(var.secrets)) : "<${value}>"]
}

output "encoded" {
  value = [for value in values(nonsensitive(var.secrets)) : base64encode(value)]
}
"#;

fn project(aws: &Aws, name: &str, secrets: &str) -> Project {
    let project = Project::aws(name, aws);
    project.write("infra/main.tf", MAIN);
    project.append("cdflow.yml", secrets);
    project.commit("Use secrets");
    project.release("1");
    project
}

fn deploy(project: &Project) -> Output {
    project.cdflow(["deploy", "ci", "1", "--new-environment"]).run()
}

/// What Terraform got, from the state.
fn received(aws: &Aws, project: &Project) -> Value {
    let state = aws.get_json(
        &aws.state_bucket(),
        &format!("platform/{}/ci/terraform.tfstate", project.name()),
    );
    state["resources"][0]["instances"][0]["attributes"]["input"]["value"].clone()
}

fn put_parameter(aws: &Aws, component: &str, name: &str, value: &str) {
    let name = format!("/cdflow/ci/{component}/{name}");
    aws.call(
        DEV,
        "ssm",
        "put_parameter",
        json!({"Name": name, "Value": value, "Type": "SecureString"}),
    );
}

/// The real program, in the environment's account.
fn credstash(aws: &Aws, project: &Project, arguments: &[&str]) -> Output {
    let role =
        json!({"RoleArn": format!("arn:aws:iam::{DEV}:role/x"), "RoleSessionName": "credstash"});
    let keys = aws.call(DEV, "sts", "assume_role", role)["Credentials"].clone();
    let key = |name: &str| keys[name].as_str().unwrap().to_owned();
    Runner::new(
        in_repository(".venv/bin/credstash"),
        ["-r", REGION].iter().chain(arguments),
        project.sandbox(),
    )
    .env("AWS_ENDPOINT_URL", aws.endpoint())
    .env("AWS_DEFAULT_REGION", REGION)
    .env("AWS_ACCESS_KEY_ID", key("AccessKeyId"))
    .env("AWS_SECRET_ACCESS_KEY", key("SecretAccessKey"))
    .env("AWS_SESSION_TOKEN", key("SessionToken"))
    .run()
}

/// A table of its own for each test, and the key that all share.
fn credstash_table(aws: &Aws, project: &Project) -> String {
    let table = format!("credstash-{}", aws.name());
    credstash(aws, project, &["-t", &table, "setup"]).success();
    let aliases = aws.call(DEV, "kms", "list_aliases", json!({}))["Aliases"].to_string();
    if !aliases.contains("alias/credstash") {
        let key = aws.call(DEV, "kms", "create_key", json!({}))["KeyMetadata"]["KeyId"].clone();
        // Another test may have been faster.
        let _ = aws.try_call(
            DEV,
            "kms",
            "create_alias",
            json!({"AliasName": "alias/credstash", "TargetKeyId": key}),
        );
    }
    table
}

#[test]
fn parameters_reach_terraform_and_are_masked_everywhere() {
    let aws = Aws::new("secrets-ssm");
    let project = project(&aws, "with-parameters", "secrets: [ssm]\n");
    let multi_line = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----";
    let values = [
        ("password", r#"hunter2"<&>\%0A"#),
        ("certificate", multi_line),
        ("document", r#"{"user": "root", "pass": "s3cr3t-in-json"}"#),
        ("short", "abc"),
        ("long", &"x1Y2".repeat(1000)),
    ];
    for (name, value) in values {
        put_parameter(&aws, project.name(), name, value);
    }
    put_parameter(&aws, "another-component", "theirs", "not-ours-at-all");
    let output = deploy(&project);
    output.success().stderr_has("the secret `short` is too short").stderr_has("5 secret(s)");
    for leaked in [
        "hunter2",
        "MIIEvQIBADANBg",
        "s3cr3t-in-json",
        "x1Y2x1Y2",
        "not-ours",
        "aHVudGVyM",
        "LS0tLS1CRUdJTiBLRVk",
    ] {
        output.lacks(leaked);
    }
    output.stdout_has(r#"names = ["certificate","document","long","password","short"]"#);
    let received = received(&aws, &project);
    for (name, value) in values {
        assert_eq!(received[name], value, "{name}");
    }
    assert_eq!(project.sandbox().left_behind(), Vec::<String>::new());
}

#[test]
fn what_the_real_credstash_wrote_is_read() {
    let aws = Aws::new("secrets-credstash");
    let project = project(&aws, "with-credstash", "");
    let table = credstash_table(&aws, &project);
    let secrets = format!(
        "secrets: [credstash]\ncredstash: {{table: {table}, context: {{purpose: test}}}}\n"
    );
    project.append("cdflow.yml", &secrets);
    let digests = ["SHA", "SHA224", "SHA256", "SHA384", "SHA512", "MD5"];
    for digest in digests {
        let name = format!("deploy.ci.with-credstash.with_{digest}");
        let value = format!("value-for-{digest}");
        credstash(
            &aws,
            &project,
            &["-t", &table, "put", "-d", digest, &name, &value, "purpose=test"],
        )
        .success();
    }
    let name = "deploy.ci.with-credstash.with_MD5";
    credstash(
        &aws,
        &project,
        &["-t", &table, "put", "-a", name, "the-newest-value", "purpose=test"],
    )
    .success();
    deploy(&project)
        .success()
        .stderr_has("6 secret(s)")
        .lacks("value-for-SHA512")
        .lacks("the-newest-value");
    let received = received(&aws, &project);
    for digest in &digests[..5] {
        assert_eq!(received[format!("with_{digest}")], format!("value-for-{digest}"));
    }
    assert_eq!(received["with_MD5"], "the-newest-value");

    // Tampered with: the HMAC is checked before anything is decrypted, and Terraform is not
    // started.
    let key = json!({"name": {"S": name}, "version": {"S": "0000000000000000002"}});
    let change = json!({
        "TableName": table, "Key": key, "UpdateExpression": "SET contents = :other",
        "ExpressionAttributeValues": {":other": {"S": "AAAA"}},
    });
    aws.call(DEV, "dynamodb", "update_item", change);
    let refused = project.cdflow(["deploy", "ci", "1"]).run();
    refused.fails(9).stderr_has("with_MD5").stderr_has("its HMAC does not match").lacks("Plan");

    // Another context than the one it was put with.
    project.edit("cdflow.yml", "purpose: test", "purpose: other");
    project.cdflow(["deploy", "ci", "1"]).run().fails(2).stderr_has("encryption context");
}

#[test]
fn a_json_object_in_secrets_manager() {
    let aws = Aws::new("secrets-manager");
    let project = project(&aws, "with-manager", "secrets: [secrets-manager, ssm]\n");
    let object = json!({"token": "from-the-manager", "other": "value-of-other"}).to_string();
    let secret = json!({"Name": "cdflow/ci/with-manager", "SecretString": object});
    aws.call(DEV, "secretsmanager", "create_secret", secret);
    deploy(&project).success().lacks("from-the-manager");
    assert_eq!(
        received(&aws, &project),
        json!({"token": "from-the-manager", "other": "value-of-other"})
    );

    put_parameter(&aws, project.name(), "token", "a-second-opinion");
    let refused = project.cdflow(["deploy", "ci", "1"]).run();
    refused
        .fails(2)
        .stderr_has("duplicate secret `token`: both secrets-manager and ssm have it")
        .lacks("second-opinion");
}

#[test]
fn where_secrets_are_must_be_said() {
    let aws = Aws::new("secrets-missing");
    let project = project(&aws, "without", "credstash: {table: credstash-nowhere}\n");
    let refused = deploy(&project);
    refused
        .fails(2)
        .stderr_has("credstash table not found: `credstash-nowhere`")
        .stderr_has("secrets: none")
        .stderr_has(DEV);
    assert_eq!(aws.keys(&aws.state_bucket()), Vec::<String>::new());
    project.append("cdflow.yml", "secrets: none\n");
    deploy(&project).success();
    assert_eq!(received(&aws, &project), json!({}));
}

/// What arrived where.
pub(crate) type Sinks = Vec<(&'static str, String)>;

/// cdflow with every sink of a run, and what arrived in them.
fn with_sinks(project: &Project, arguments: &[&str]) -> (Output, Sinks) {
    into_sinks(project, arguments, |all| project.cdflow(all))
}

pub(crate) fn into_sinks(
    project: &Project,
    arguments: &[&str],
    runner: impl FnOnce(&[&str]) -> Runner,
) -> (Output, Sinks) {
    let files = ["report.json", "report.md", "plan", "summary", "output"];
    let [json, markdown, plan, summary, outputs] =
        files.map(|name| project.sandbox().work().join(format!("{}-{name}", arguments[0])));
    let sinks = [("--report-json", &json), ("--report-markdown", &markdown), ("--plan-out", &plan)];
    let mut all: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    for (flag, path) in sinks {
        all.extend([flag.to_owned(), path.display().to_string()]);
    }
    std::fs::write(&summary, "").unwrap();
    std::fs::write(&outputs, "").unwrap();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let output = runner(&all)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_WORKSPACE", project.sandbox().work())
        .env("GITHUB_OUTPUT", &outputs)
        .env("GITHUB_STEP_SUMMARY", &summary)
        .run();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let texts = vec![
        ("stdout", output.stdout.clone()),
        ("stderr", output.stderr.clone()),
        ("report.json", read(&json)),
        ("report.md", read(&markdown)),
        ("plan.txt", read(&plan.join("plan.txt"))),
        ("plan.json", read(&plan.join("plan.json"))),
        ("summary", read(&summary)),
        ("outputs", read(&outputs)),
        ("plan.tfplan.json", read(&plan.join("plan.tfplan.json"))),
    ];
    (output, texts)
}

#[test]
fn a_leaf_of_a_json_secret_is_nowhere() {
    let aws = Aws::new("secrets-leaf");
    let project = Project::aws("with-leaf", &aws);
    project.write(
        "infra/main.tf",
        r#"variable "secrets" {
  type = map(string)
}

resource "terraform_data" "whole" {
  input = var.secrets["db"]
}

resource "terraform_data" "leaf" {
  input = jsondecode(var.secrets["db"]).password
}

resource "terraform_data" "url" {
  input = nonsensitive("postgres://app:${jsondecode(var.secrets["db"]).password}@h")
}

output "url" {
  value = nonsensitive("postgres://app:${jsondecode(var.secrets["db"]).password}@h")
}

output "plain" {
  value = "true-text"
}
"#,
    );
    project.append("cdflow.yml", "secrets: [ssm]\n");
    project.commit("Use a JSON secret");
    project.release("1");
    let value = r#"{"user":"app-user","password":"hunter-Zz91-pw"}"#;
    put_parameter(&aws, project.name(), "db", value);
    let runs: [&[&str]; 2] =
        [&["deploy", "ci", "1", "--new-environment"], &["destroy", "ci", "--confirm", "ci"]];
    for arguments in runs {
        let (output, texts) = with_sinks(&project, arguments);
        output.success();
        for (sink, text) in &texts {
            // A workflow command tells the runner what to mask, and the runner hides that line.
            let shown = text.lines().filter(|line| !line.starts_with("::add-mask::"));
            let hits = shown.filter(|line| line.contains("Zz91")).count();
            eprintln!("{} {sink}: {hits} hits in {} bytes", arguments[0], text.len());
            assert_eq!(hits, 0, "{} {sink}:\n{text}", arguments[0]);
            // In a run of Actions, everything is on stdout.
            assert!(!text.is_empty() || *sink == "stderr", "{} {sink}", arguments[0]);
        }
        if arguments[0] == "deploy" {
            let outputs = &texts[7].1;
            assert!(outputs.contains("true-text") && !outputs.contains("***"), "{outputs}");
            output.stdout_has("`url` was left out of outputs and reports: it holds a secret");
        }
    }
}

#[test]
fn an_output_is_true_or_absent() {
    let project = Project::local("checkout");
    project.write(
        "infra/main.tf",
        r#"resource "terraform_data" "name" {
  input = sensitive("checkout")
}

resource "terraform_data" "other" {
  input = sensitive("kestrel")
}

output "url" {
  value = "https://checkout.example.com"
}

output "hidden" {
  value = "https://kestrel.example.com"
}
"#,
    );
    project.commit("A secret that is a name");
    project.release("1");
    let (output, texts) = with_sinks(&project, &["deploy", "ci", "1"]);
    output.success();
    let outputs = &texts[7].1;
    assert!(outputs.contains("https://checkout.example.com"), "{outputs}");
    assert!(outputs.contains("release-key"), "{outputs}");
    assert!(!outputs.contains("***") && !outputs.contains("kestrel"), "{outputs}");
    output.stdout_has("`hidden` was left out of outputs and reports: it holds a secret");
    output.stdout_has("checkout");
}

/// Nothing is decrypted for it, except in Secrets Manager.
#[test]
fn a_release_asks_for_the_secrets_that_its_code_uses() {
    let aws = Aws::new("secrets-asked");
    let mut scheme = aws.scheme();
    scheme["accounts"]["dev"]["plan-role"] = json!(format!("{}-plan", aws.name()));
    aws.put_scheme(&scheme);
    let project = Project::aws("asked", &aws);
    project.append("infra/main.tf", "variable \"secrets\" {}\n");
    let used = "locals {\n  x = \"${var.secrets.one}${var.secrets[\"two\"]}\"\n}\n";
    project.write("infra/used.tf", used).write("config/ci.json", "{}");
    project.append("cdflow.yml", "secrets: [ssm, secrets-manager]\n").commit("Use secrets");
    let release = |version: &str| {
        project.cdflow(["release", version, "--platform-config", "platform-config"]).run()
    };
    let refused = release("1");
    refused.fails(2).stderr_has("infra/used.tf:2: `ci` has no secret `one`");
    refused.stderr_has("infra/used.tf:2: `ci` has no secret `two`");
    refused.stderr_has("store it in ssm or secrets-manager").stderr_has("--no-validate");
    put_parameter(&aws, project.name(), "one", "1st-of-the-secrets");
    release("1").fails(2).lacks("no secret `one`");
    let secret =
        json!({"Name": "cdflow/ci/asked", "SecretString": "{\"two\": \"2nd-of-the-secrets\"}"});
    aws.call(DEV, "secretsmanager", "create_secret", secret);
    release("1").success().lacks("of-the-secrets").lacks("not known");

    aws.rule(json!({ "matching": format!("role%2F{}-plan", aws.name()), "status": 403,
        "body": "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>" }));
    let unknown = release("2");
    unknown.success().stderr_has("whether `ci` has its secrets is not known: the role `");
}
