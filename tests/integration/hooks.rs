//! Programs of a release that judge its plan before it is applied, or follow its apply.

use crate::schemas::problems;
use crate::support::{Aws, DEV, Mirror, Output, Project, Runner, in_repository, terraform};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Reads the plan as policy tools do.
const POLICY: &str = r##"#!/usr/bin/env python3
import json, os, sys
plan = json.load(open(os.environ["CDFLOW_PLAN_JSON"]))
changes = [it for it in plan["resource_changes"] if it["change"]["actions"] != ["no-op"]]
bad = [it["address"] for it in changes if "forbidden" in str(it["change"]["after"])]
print(f"{len(changes)} change(s) judged for {os.environ['CDFLOW_ENVIRONMENT']}")
with open(os.environ["CDFLOW_HOOK_REPORT"], "w") as report:
    report.write("# Policy\n\n" + "".join(f"- {it} is forbidden\n" for it in bad))
    report.write("<!-- cdflow:changes -->")
sys.exit(1 if bad else 0)
"##;

/// Planned without AWS. checkov complains about all of it.
const RISKY: &str = r#"terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variable "password" {
  type      = string
  sensitive = true
}

resource "aws_s3_bucket" "data" {
  bucket = "data"
}

resource "aws_db_instance" "orders" {
  identifier          = "orders"
  engine              = "postgres"
  instance_class      = "db.t3.micro"
  allocated_storage   = 20
  username            = "app"
  password            = var.password
  publicly_accessible = true
  skip_final_snapshot = true
}

resource "aws_security_group" "open" {
  name = "open"
  ingress {
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}
"#;

fn script(project: &Project, name: &str, text: &str) {
    project.write(name, text);
    fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_hooks(hooks: &str) -> Project {
    let project = Project::local("greeting");
    project.append("cdflow.yml", &format!("hooks: {hooks}\n"));
    project
}

/// Runs with a JSON report, and returns it.
fn reported(project: &Project, runner: Runner) -> (Output, Value) {
    let file = project.sandbox().work().join("report.json");
    let output = runner.arg("--report-json").arg(&file).run();
    (output, serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap())
}

#[test]
fn a_hook_judges_the_plan_before_it_is_applied() {
    let project = with_hooks("{on-plan: [hooks/policy.py]}");
    script(&project, "hooks/policy.py", POLICY);
    project.commit("A policy");
    project.release("1");
    project.deploy("live", "1").stdout_has("change(s) judged for live");
    project.edit("infra/main.tf", "from ${var.env}", "forbidden ${var.env}").commit("Forbidden");
    project.release("2");
    let says = ["the hook of the release refuses the plan for `live`: `policy.py`: exit code 1"];
    project.refuses(["deploy", "live", "2"], 3, &says);
    let (refused, report) = reported(&project, project.cdflow(["deploy", "live", "2"]));
    refused.fails(3);
    let hook = &report["hooks"][0];
    assert_eq!(
        (&hook["name"], &hook["passed"], &hook["exit_code"]),
        (&json!("policy.py"), &json!(false), &json!(1)),
        "{report}"
    );
    let text = hook["report"].as_str().unwrap();
    assert!(text.contains("terraform_data.greeting is forbidden"), "{text}");
    let markdown = project.sandbox().work().join("report.md");
    let plan = project.cdflow(["deploy", "live", "2", "--plan-only"]);
    plan.arg("--report-markdown").arg(&markdown).run().success().stderr_has(
        "a deploy would be refused: the hook of the release refuses the plan for `live`",
    );
    let shown = fs::read_to_string(markdown).unwrap();
    assert!(shown.contains("is forbidden") && shown.contains("**would be refused**"), "{shown}");
    let marks = shown.matches("<!-- cdflow:changes -->").count();
    assert_eq!(marks, 1, "the one of the hook has no effect: {shown}");
    // The hooks of the checkout have no say about a release, in either direction.
    script(&project, "hooks/policy.py", "#!/bin/sh\nexit 0\n");
    project.edit("cdflow.yml", "hooks:", "#").commit("No hooks");
    project.refuses(["deploy", "live", "2"], 3, &says);
}

#[test]
fn an_advisory_hook_warns() {
    let project = with_hooks(
        "{on-plan: [{name: cost, run: hooks/fails.sh, advisory: true}, {run: ['true']}]}",
    );
    script(&project, "hooks/fails.sh", "#!/bin/sh\necho expensive\nexit 7\n");
    project.commit("Hooks");
    project.release("1");
    let (output, report) = reported(&project, project.cdflow(["deploy", "live", "1"]));
    output.success().stderr_has("the advisory hook `cost` failed: exit code 7");
    assert_eq!(report["hooks"][0]["exit_code"], 7, "{report}");
    assert_eq!(report["hooks"][1]["passed"], true, "{report}");
}

/// The usual ways of a script to write an error message.
#[test]
fn a_hook_can_open_its_output_again() {
    let project = with_hooks("{on-plan: [{run: hooks/speaks.sh}]}");
    script(
        &project,
        "hooks/speaks.sh",
        "#!/bin/sh\nset -e\necho line 1\necho line 2 >&2\necho line 3 > /dev/stderr\n\
         echo line 4 >> /dev/stdout\necho line 5 | tee /dev/stderr\necho line 6\n",
    );
    project.commit("Hooks");
    project.release("1");
    let lines = ["line 1\n", "line 2\n", "line 3\n", "line 4\n", "line 5\nline 5\n", "line 6\n"];
    let output = project.cdflow(["deploy", "live", "1"]).run();
    output.success().stdout_has(&lines.concat());
}

/// What a hook gets, and what of it leaves the run.
#[test]
fn a_hook_sees_no_secret_and_prints_none() {
    let project = with_hooks("{on-plan: [{run: [hooks/look.sh, '{plan}']}]}");
    script(
        &project,
        "hooks/look.sh",
        "#!/bin/sh\nenv\necho \"plan: $1\"\ntest \"$1\" = \"$CDFLOW_PLAN_JSON\" || exit 9\n\
         grep -q correct-horse \"$1\" && exit 8\nls hooks infra/main.tf\necho \"token $PASSED\"\n\
         echo \"token $PASSED\" > \"$CDFLOW_HOOK_REPORT\"\n",
    );
    project.append(
        "infra/main.tf",
        "\nresource \"terraform_data\" \"secret\" {\n  input = sensitive(\"correct-horse\")\n}\n",
    );
    project.commit("Secrets");
    project.release("1");
    let deploy = project.cdflow(["deploy", "live", "1", "--pass-environment", "PASSED"]);
    let deploy =
        deploy.env("PASSED", "battery-staple-4711").env("GITHUB_TOKEN", "ghs_theToken0815");
    let (output, report) = reported(&project, deploy.env("AWS_SECRET_ACCESS_KEY", "aws-key-0815"));
    output.success().lacks("battery-staple-4711").lacks("ghs_theToken0815").lacks("aws-key-0815");
    output.stdout_has("token ***").stdout_has("CDFLOW_VERSION=1").stdout_has("hooks:");
    assert_eq!(report["hooks"][0]["report"], "token ***\n", "{report}");
}

#[test]
fn a_hook_that_does_not_end_is_ended_with_its_children() {
    let project = with_hooks("{on-plan: [hooks/slow.sh]}");
    let child = project.sandbox().work().join("child");
    script(
        &project,
        "hooks/slow.sh",
        &format!("#!/bin/sh\ntrap '' INT TERM\nsleep 300 &\necho $! > {}\nwait\n", child.display()),
    );
    project.commit("A slow hook");
    project.release("1");
    let deploy = project.cdflow(["deploy", "live", "1"]).env("CDFLOW_LIMITS", "hook=1s,stop=1s");
    let output = deploy.run();
    output.fails(3).stderr_has("`slow.sh`: it did not end within 1 s (the limit `hook`)");
    assert!(!project.state_file("live").exists(), "{output}");
    let child = fs::read_to_string(child).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(status.is_empty() || status.contains(") Z "), "{status}");
}

#[test]
fn a_hook_that_cannot_run_refuses() {
    let project = with_hooks(
        "{on-plan: [no-such-program, {name: odd, run: hooks/odd.sh}, {name: dies, run: \
         hooks/dies.sh}]}",
    );
    project.write("hooks/odd.sh", "#!/no/such/interpreter\n");
    project.refuses(["release", "1"], 2, &["cannot run `hooks/odd.sh`: it is not executable"]);
    script(&project, "hooks/odd.sh", "#!/no/such/interpreter\n");
    project.refuses(["release", "1"], 2, &["names `hooks/dies.sh`, which does not exist"]);
    script(&project, "hooks/dies.sh", "kill -KILL $$\n");
    let says = ["cannot run `hooks/dies.sh`: it is a script without an interpreter", "`#!/bin/sh`"];
    project.refuses(["release", "1"], 2, &says);
    script(&project, "hooks/dies.sh", "#!/bin/sh\r\nkill -KILL $$\r\n");
    let says = ["its lines end as on Windows", "sed -i 's/\\r$//' hooks/dies.sh"];
    project.refuses(["release", "1"], 2, &says);
    script(&project, "hooks/dies.sh", "#!/bin/sh\nkill -KILL $$\n");
    project.commit("Hooks");
    project.release("1");
    let says = [
        "the hooks of the release refuse the plan for `live`",
        "`no-such-program`: `no-such-program` is not in PATH",
        "`odd`: cannot start `hooks/odd.sh`: its interpreter `/no/such/interpreter` does not",
        "`dies`: ended by signal 9",
    ];
    project.refuses(["deploy", "live", "1"], 3, &says);
}

#[test]
fn a_hook_after_the_apply_cannot_undo_it() {
    let project = with_hooks("{after-apply: [hooks/smoke.sh]}");
    let smoke = "#!/bin/sh\ncat \"$CDFLOW_OUTPUTS_JSON\"\ntest $CDFLOW_ENVIRONMENT = ci\n";
    script(&project, "hooks/smoke.sh", smoke);
    project.commit("A smoke test");
    project.release("1");
    project.deploy("ci", "1").stderr_has("Hook smoke.sh (after-apply)");
    let failed = project.cdflow(["deploy", "live", "1"]).run();
    failed
        .fails(11)
        .stderr_has("release 1 is deployed to `live`, but the hook `smoke.sh` failed: exit code 1");
    let (_, end) = &project.ledger_entries("live")[0];
    assert_eq!(end.as_ref().unwrap()["outcome"], "succeeded");
}

#[test]
fn the_policy_requires_hooks() {
    let project = with_hooks("{on-plan: [{name: lint, run: hooks/lint.sh, advisory: true}]}");
    script(&project, "hooks/lint.sh", "#!/bin/sh\n");
    project.commit("A hook");
    project.release("1");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] = json!({ "required-hooks": ["lint", "conftest"] });
    });
    let says = [
        "release 1 does not have the hooks that the policy requires: the hook `lint` is advisory; \
         there is no hook `conftest` (`policy.required-hooks` in ./account-scheme.json)",
    ];
    project.refuses(["deploy", "live", "1"], 3, &says);
    let planned = project.cdflow(["deploy", "live", "1", "--plan-only"]).run();
    planned.success().stderr_has("a deploy would be refused: release 1 does not have the hooks");
    project.refuses(["release", "2"], 3, &["release 2 does not have the hooks"]);
}

/// All hooks have the same rights on the unpacked release.
#[test]
fn a_hook_cannot_replace_another() {
    let project = with_hooks(
        "{on-plan: [hooks/first.sh, {name: judge, run: [sh, infra/judge, --rules=./infra/rules]}]}",
    );
    script(&project, "hooks/first.sh", "#!/bin/sh\n[ ! -e \"$EVIL\" ] || sh \"$EVIL\"\n");
    script(&project, "hooks/words", "forbidden\n");
    project.write("infra/judge", "exit 0\n").write("infra/rules/one", "x\n").commit("Hooks");
    project.release("1");
    let evil = project.sandbox().work().join("evil");
    let deploy = || {
        let run = project.cdflow(["deploy", "live", "1", "--pass-environment", "EVIL"]);
        run.env("EVIL", &evil)
    };
    for (command, says) in [
        ("rm infra/judge", "`judge`: `infra/judge` is no longer the file of the release"),
        ("echo >hooks/words", "`hooks/words` is no longer the file of the release"),
        ("echo >infra/rules/one", "`infra/rules/one` is no longer the file of the release"),
        ("echo >infra/rules/two", "`infra/rules/two` is not in the release"),
        ("mkdir hooks/x; echo >hooks/x/json.py", "`hooks/x/json.py` is not in the release"),
    ] {
        fs::write(&evil, command).unwrap();
        deploy().run().fails(3).stderr_has(says);
        assert!(!project.state_file("live").exists());
    }
    fs::remove_file(&evil).unwrap();
    deploy().run().success();
}

/// The plan is a file of the user who runs the hooks.
#[test]
fn a_hook_cannot_replace_the_plan() {
    let project = with_hooks("{on-plan: [hooks/other.sh]}");
    let plan = "#!/bin/sh\ncd infra\nterraform plan -destroy -input=false -out=../../plan \
                -var-file=../../variables.tfvars.json >/dev/null || exit 9\necho replaced\n";
    script(&project, "hooks/other.sh", "#!/bin/sh\necho nothing\n");
    project.commit("A hook");
    project.release("1");
    project.deploy("live", "1");
    script(&project, "hooks/other.sh", plan);
    project.edit("infra/main.tf", "from ${var.env}", "in ${var.env}").commit("Another plan");
    project.release("2");
    let output = project.cdflow(["deploy", "live", "2"]).run();
    output
        .fails(9)
        .stdout_has("replaced")
        .stderr_has("the plan was changed after it was shown")
        .lacks("Destroying");
    assert_eq!(project.resources("live"), ["terraform_data.greeting"]);
    assert_eq!(project.ledger("live").last().unwrap(), "deploy 2 failed");
}

/// Terraform's state backend gets its role from a socket in the folder of the run.
#[test]
fn a_hook_gets_no_credentials_of_terraform() {
    let aws = Aws::new("hook-role");
    let project = Project::aws("greeting", &aws);
    project.append("cdflow.yml", "hooks: {on-plan: [hooks/ask.sh], after-apply: [hooks/ask.sh]}\n");
    let ask = format!(
        "#!/bin/sh\nls ../backend.sock && echo 'the socket is there'\n\
         '{}' credential-process ../backend.sock 2>&1 | sed 's/^/asked: /'\n",
        env!("CARGO_BIN_EXE_cdflow")
    );
    script(&project, "hooks/ask.sh", &ask);
    project.commit("A curious hook");
    project.release("1");
    let output = project.deploy("live", "1");
    output
        .stdout_has("the socket is there")
        .stdout_has("credentials are only for Terraform, which does not run now")
        .lacks("AccessKeyId");
}

/// A secret can be a number, and reach an output.
#[test]
fn documents_of_hooks_have_no_secret() {
    let aws = Aws::new("hook-secret");
    let project = Project::aws("greeting", &aws);
    let secret = json!({ "pin": 8_392_017_455_u64, "password": "Tr0ub4dor&3<x>" }).to_string();
    aws.call(
        DEV,
        "ssm",
        "put_parameter",
        json!({"Name": "/cdflow/ci/greeting/json", "Value": secret, "Type": "SecureString"}),
    );
    project.append(
        "cdflow.yml",
        "secrets: [ssm]\nhooks: {on-plan: [hooks/show.sh], after-apply: [hooks/show.sh]}\n",
    );
    project.append(
        "infra/main.tf",
        "variable \"secrets\" {\n  type = map(string)\n}\n\
         locals {\n  all = jsondecode(nonsensitive(var.secrets[\"json\"]))\n}\n\
         resource \"terraform_data\" \"pin\" {\n  input = local.all\n}\n\
         output \"login\" {\n  value = \"login:${local.all.password}\"\n}\n\
         output \"auths\" {\n  value = base64encode(jsonencode({ a = local.all.password }))\n}\n\
         output \"fine\" {\n  value = \"fine\"\n}\n",
    );
    let kept = project.sandbox().work().join("kept");
    fs::create_dir(&kept).unwrap();
    let show = "#!/bin/sh\ncp \"$CDFLOW_PLAN_JSON\" \"$KEPT/plan\"\n\
                [ -z \"$CDFLOW_OUTPUTS_JSON\" ] || cp \"$CDFLOW_OUTPUTS_JSON\" \"$KEPT/outputs\"\n";
    script(&project, "hooks/show.sh", show);
    project.commit("Hooks that keep their documents");
    project.release("1");
    let plans = project.sandbox().work().join("plans");
    let output = project
        .cdflow(["deploy", "ci", "1", "--pass-environment", "KEPT", "--new-environment"])
        .arg("--plan-out")
        .arg(&plans)
        .env("KEPT", &kept)
        .run();
    output.success().lacks("Tr0ub4dor").lacks("8392017455");
    for file in [kept.join("plan"), kept.join("outputs"), plans.join("plan.tfplan.json")] {
        let text = fs::read_to_string(&file).unwrap();
        let value: Result<Value, _> = serde_json::from_str(&text);
        assert!(value.is_ok(), "{}: {value:?}", file.display());
        for secret in ["8392017455", "Tr0ub4dor", "VHIwdWI0ZG9y", "cm91YjRkb3"] {
            assert!(!text.contains(secret), "{secret} is in {}", file.display());
        }
    }
    let outputs = fs::read_to_string(kept.join("outputs")).unwrap();
    let outputs: Value = serde_json::from_str(&outputs).unwrap();
    let names: Vec<&String> = outputs.as_object().unwrap().keys().collect();
    assert_eq!(names, ["fine", "greeting"]);
}

const PLAN_OUT: &str = "--plan-out=../plan";

/// What checkov says of a plan: each check with its result and its resource.
fn findings(json: &Value) -> Vec<String> {
    let results = &json["results"];
    let checks = ["passed_checks", "failed_checks"];
    let all = checks.iter().flat_map(|kind| results[kind].as_array().unwrap());
    let mut all: Vec<String> = all
        .map(|it| format!("{} {} {}", it["check_id"], it["check_result"]["result"], it["resource"]))
        .collect();
    all.sort();
    all
}

#[test]
fn checkov_finds_the_same_in_a_masked_plan() {
    let program = in_repository("target/checkov/bin/checkov");
    assert!(program.exists(), "`{}` is missing: run `make test`", program.display());
    let checkov = format!(
        "'{}' --framework terraform_plan --compact --skip-download --soft-fail",
        program.display()
    );
    let project = Project::local("storage").with_aws_provider();
    project.write("infra/main.tf", RISKY);
    project.edit_json("config/common.json", |values| values["password"] = json!("hunter-Zz91-pw"));
    let work = project.sandbox().work();
    let (masked, raw) = (work.join("masked.json"), work.join("raw.json"));
    let out = masked.display();
    let hook = format!(
        "exec {checkov} --output sarif --output json --file \"$CDFLOW_PLAN_JSON\" \
         --output-file-path \"$CDFLOW_HOOK_REPORT,{out}\""
    );
    script(&project, "hooks/checkov.sh", &format!("#!/bin/sh\n{hook}\n"));
    project.append("cdflow.yml", "hooks: {on-plan: [hooks/checkov.sh]}\n");
    project.commit("checkov");
    project.release("1");
    let (planned, report) =
        reported(&project, project.cdflow(["deploy", "live", "1", "--plan-only", PLAN_OUT]));
    planned.success().lacks("hunter-Zz91");
    let shown = report["hooks"][0]["report"].as_str().unwrap();
    assert!(shown.contains("CKV_AWS_17") && !shown.contains("hunter-Zz91"), "{report}");

    // The same plan as Terraform shows it.
    let plain = |arguments: &[&str]| {
        let terraform = terraform(project.sandbox(), project.path("infra"), arguments);
        let run = terraform.providers(&Mirror::aws()).env("TF_VAR_password", "hunter-Zz91-pw");
        run.run().success().stdout.clone()
    };
    plain(&["init", "-input=false"]);
    plain(&["plan", "-input=false", "-out=../../raw.plan"]);
    fs::write(&raw, plain(&["show", "-json", "../../raw.plan"])).unwrap();
    let own = format!("{checkov} --file {} --output json", raw.display());
    let own = Runner::new("sh", ["-c", &own], project.sandbox()).run();
    let read =
        |path| -> Value { serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    assert!(fs::read_to_string(&raw).unwrap().contains("hunter-Zz91"));
    assert!(!fs::read_to_string(&masked).unwrap().contains("hunter-Zz91"));
    let found = findings(&own.success().json());
    assert!(found.iter().any(|it| it.contains("FAILED")) && found.len() > 20, "{found:?}");
    assert_eq!(findings(&read(&masked)), found);

    // It is what Terraform documents, with the same keys.
    let written = work.join("plan/plan.tfplan.json");
    let documents = [written.clone(), raw.clone()];
    assert_eq!(problems("../../tests/fixtures/terraform-plan.schema.json", &documents), "");
    let (ours, theirs) = (read(&written), read(&raw));
    assert_eq!(ours["resource_changes"][0]["change"]["after"]["password"], "***");
    assert_eq!(shape(&ours), shape(&theirs));
    let mut wrong = ours;
    wrong["resource_changes"][0]["change"]["actions"] = json!(["destroy"]);
    fs::write(&written, wrong.to_string()).unwrap();
    let found = problems("../../tests/fixtures/terraform-plan.schema.json", &documents);
    assert!(found.contains("resource_changes[0].change.actions"), "{found}");
}

/// The keys and the lengths of lists, without values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(keys) => {
            keys.iter().map(|(key, value)| (key.clone(), shape(value))).collect()
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        _ => Value::Null,
    }
}
