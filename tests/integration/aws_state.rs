//! The state on S3: where it is, what locks it, whose credentials reach it. `terraform_data` is
//! enough for that.

use crate::support::{Aws, DEV, Output, Probe, Project, RELEASE, Reference, tool};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

pub(crate) fn with_locks(name: &str, lockfile: Option<bool>, table: bool) -> (Aws, Project) {
    let aws = Aws::new(name);
    let mut scheme = aws.scheme();
    if let Some(lockfile) = lockfile {
        scheme["terraform-backend-s3-use-lockfile"] = json!(lockfile);
    }
    if table {
        let name = table_name(&aws);
        scheme["terraform-backend-s3-dynamodb-table"] = json!(name);
        let args = json!({
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "LockID", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "LockID", "KeyType": "HASH" }],
        });
        aws.call(RELEASE, "dynamodb", "create_table", args);
    }
    aws.put_scheme(&scheme);
    let project = Project::aws("shop", &aws);
    (aws, project)
}

pub(crate) fn table_name(aws: &Aws) -> String {
    format!("{}-locks", aws.name())
}

pub(crate) fn table_rows(aws: &Aws) -> Vec<String> {
    let rows = aws.call(RELEASE, "dynamodb", "scan", json!({ "TableName": table_name(aws) }));
    rows["Items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["LockID"]["S"].as_str().unwrap().to_owned())
        .collect()
}

const STATE: &str = "platform/shop/ci/terraform.tfstate";
const LOCK: &str = "platform/shop/ci/terraform.tfstate.tflock";

/// Deploys twice and destroys; says how often the lock file was written.
#[track_caller]
fn life(aws: &Aws, project: &Project) -> usize {
    project.release("1");
    project.deploy("ci", "1").stdout_has("greeting = \"Hello from ci.dev.example, version 1\"");
    assert_eq!(aws.keys(&aws.state_bucket()), [STATE]);
    project.deploy("ci", "1").stderr_has("Deployed shop 1 to ci: no changes");
    project
        .cdflow(["destroy", "ci", "--confirm", "ci"])
        .run()
        .success()
        .stderr_has("Destroyed shop in ci: 1 destroyed");
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
    aws.requests(&format!("PUT /{}/{LOCK}", aws.state_bucket())).len()
}

#[test]
fn a_lock_file_guards_the_state_when_the_scheme_says_nothing() {
    let (aws, project) = with_locks("lockfile", None, false);
    assert!(life(&aws, &project) >= 5, "workspace, plan and apply, plan, plan and apply");
}

#[test]
fn a_table_guards_the_state() {
    let (aws, project) = with_locks("table", Some(false), true);
    project.release("1");
    project.deploy("ci", "1").stdout_has("1 to add");
    // Terraform keeps the digest of a state that it locks by a table there.
    assert_eq!(table_rows(&aws), [format!("{}/{STATE}-md5", aws.state_bucket())]);
    assert_eq!(life(&aws, &project), 0, "no lock file");
    assert!(table_rows(&aws).is_empty());
}

#[test]
fn a_table_and_a_lock_file_guard_the_state_together() {
    let (aws, project) = with_locks("both", None, true);
    assert!(life(&aws, &project) >= 5);
    assert!(table_rows(&aws).is_empty());
}

#[test]
fn without_a_lock_nothing_is_done() {
    let (aws, project) = with_locks("neither", Some(false), false);
    project.release("1");
    for command in [vec!["deploy", "ci", "1"], vec!["destroy", "ci", "1", "--confirm", "ci"]] {
        let output = project.cdflow(command).run();
        output
            .fails(2)
            .stderr_has("error: no state lock is configured")
            .stderr_has("`terraform-backend-s3-use-lockfile: true`");
        output.stderr_has("`terraform-backend-s3-dynamodb-table`");
    }
    assert!(aws.calls(&format!("/{}/", aws.state_bucket())).is_empty());
    assert_eq!(aws.keys(&aws.release_bucket()), [project.release_key("1")]);
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

const LOCK_ID: &str = "5f3c8b9a-1111-2222-3333-444455556666";

fn lock_info(aws: &Aws) -> String {
    let lock = json!({
        "ID": LOCK_ID, "Operation": "OperationTypeApply", "Info": "", "Who": "ada@build-7",
        "Version": "1.11.4", "Created": "2026-11-20T10:00:00.123456789Z",
        "Path": format!("{}/{STATE}", aws.state_bucket()),
    });
    lock.to_string()
}

fn lock(aws: &Aws) {
    aws.put(&aws.state_bucket(), LOCK, lock_info(aws).as_bytes());
}

/// As Terraform holds a lock in the table.
fn lock_row(aws: &Aws) {
    let row = json!({ "LockID": { "S": format!("{}/{STATE}", aws.state_bucket()) },
        "Info": { "S": lock_info(aws) } });
    aws.call(RELEASE, "dynamodb", "put_item", json!({ "TableName": table_name(aws), "Item": row }));
}

#[track_caller]
fn names_the_holder(output: &Output, aws: &Aws) {
    output.fails(8).stderr_has(
        "error: the state of `ci` is locked: apply by ada@build-7 since 2026-11-20 \
        10:00:00.123456789 +0000 UTC",
    );
    output.stderr_has(&format!(
        "(lock 5f3c8b9a-1111-2222-3333-444455556666 on {}/{STATE})",
        aws.state_bucket()
    ));
    output
        .stderr_has("--lock-timeout 5m")
        .stderr_has("cdflow unlock ci --force 5f3c8b9a-1111-2222-3333-444455556666");
}

#[test]
fn a_held_lock_says_who_holds_it() {
    let (aws, project) = with_locks("held", None, false);
    project.release("1");
    lock(&aws);
    let new = project.cdflow(["deploy", "ci", "1"]).run();
    names_the_holder(&new, &aws);
    // OpenTofu is asked for the workspace, and meets the lock itself.
    if tool::name() == "terraform" {
        new.stderr_has("the empty workspace `ci` is kept, because the state is locked at");
        assert_eq!(aws.keys(&aws.state_bucket()), [STATE, LOCK]);
    }
    aws.delete(&aws.state_bucket(), LOCK);
    project.deploy("ci", "1");
    let entries = aws.keys(&aws.release_bucket());
    lock(&aws);
    names_the_holder(&project.cdflow(["deploy", "ci", "1"]).run(), &aws);
    names_the_holder(&project.cdflow(["destroy", "ci", "--confirm", "ci"]).run(), &aws);
    // Somebody else's lock is left alone, and nothing was recorded.
    assert_eq!(aws.keys(&aws.state_bucket()), [STATE, LOCK]);
    assert_eq!(aws.keys(&aws.release_bucket()), entries);
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

/// Nobody releases such a lock, so waiting for it would never end.
#[test]
fn a_damaged_lock_is_not_waited_for() {
    let (aws, project) = with_locks("damaged", None, false);
    project.release("1");
    for content in ["garbage", "", "{}"] {
        aws.put(&aws.state_bucket(), LOCK, content.as_bytes());
        let output = project.cdflow(["deploy", "ci", "1"]).run();
        output
            .fails(8)
            .stderr_has("the lock is damaged: it does not name the run that holds it")
            .stderr_has("cdflow unlock ci")
            .lacks("lock-timeout");
        let command = format!("remove it: aws s3 rm s3://{}/{LOCK}\n", aws.state_bucket());
        let output = project.cdflow(["unlock", "ci"]).run();
        output.fails(9).stderr_has("is not a Terraform lock").stderr_has(&command);
    }
    aws.delete(&aws.state_bucket(), LOCK);
    project.deploy("ci", "1");
    aws.put(&aws.state_bucket(), LOCK, b"garbage");
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(8).stderr_has("the lock is damaged").stderr_has("cdflow unlock ci");
}

#[test]
fn a_lock_file_is_released_on_its_id_alone() {
    let (aws, project) = with_locks("unlock", None, false);
    let unlock = |more: &[&str]| project.cdflow(["unlock", "ci"]).args(more).run();
    unlock(&[]).success().stdout_is("the state of ci is not locked\n");
    unlock(&["--force", LOCK_ID]).success().stdout_is("the state of ci is not locked\n");
    lock(&aws);
    unlock(&[]).success().stdout_is(&format!(
        "the state of ci is locked\n  s3://[NAME]-state/{LOCK}\n    ID:        [UUID]\n    \
        Who:       ada@build-7\n    \
         Created:   [TIME]\n    Operation: OperationTypeApply\n    Path:      \
         [NAME]-state/{STATE}\n"
    ));
    let refused = unlock(&["--force", "5f3c8b9a"]);
    refused.fails(3).stderr_has(&format!("is not locked by `5f3c8b9a`: it is locked by {LOCK_ID}"));
    assert_eq!(aws.keys(&aws.state_bucket()), [LOCK]);
    unlock(&["--force", LOCK_ID])
        .success()
        .stderr_has(&format!("Released the lock {LOCK_ID} of the state of ci"));
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    // Neither Terraform nor a release was needed, nor anything but the release account.
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
    let deletes = aws.requests(&format!("DELETE /{}/{LOCK}", aws.state_bucket()));
    assert_eq!(deletes.len(), 1, "{deletes:?}");
}

#[test]
fn a_lock_that_is_taken_meanwhile_stays() {
    let (aws, project) = with_locks("retaken", None, false);
    lock(&aws);
    let line = format!("DELETE /{}/{LOCK}", aws.state_bucket());
    let error = |code: &str| format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    aws.rule(
        json!({ "matching": line, "times": 1, "status": 412, "body": error("PreconditionFailed") }),
    );
    let unlock = || project.cdflow(["unlock", "ci", "--force", LOCK_ID]).run();
    unlock().fails(3).stderr_has("has changed").stderr_has("show the new lock: cdflow unlock ci");
    // An S3 that has no conditional delete.
    aws.rule(
        json!({ "matching": line, "times": 1, "status": 501, "body": error("NotImplemented") }),
    );
    unlock().success();
    assert!(aws.keys(&aws.state_bucket()).is_empty());
}

/// The plan is of a state that is removed before its apply.
#[test]
fn a_deploy_that_a_destroy_overtakes_plans_again() {
    let (aws, project) = with_locks("overtaken", None, false);
    project.release("1");
    project.edit("infra/main.tf", "from ${var.env}", "to ${var.env}").commit("A change");
    project.release("2");
    // Without changes, and with them.
    for (version, command) in [("1", "plan"), ("2", "apply")] {
        project.deploy("ci", "1");
        let paused = |name: &str| project.sandbox().root().join(format!("{name}-{version}"));
        let [waiting, open] = ["waiting", "open"].map(paused);
        let pause = format!(
            "touch {}; while [ ! -e {} ]; do sleep 0.05; done",
            waiting.display(),
            open.display()
        );
        let path = project.terraform_but(&match command {
            "plan" => format!("plan) \"$real\" \"$@\"; code=$?; {pause}; exit $code;;"),
            _ => format!("{command}) {pause};;"),
        });
        let mut deploy = project.cdflow(["deploy", "ci", version]).env("PATH", path).spawn();
        deploy.wait_until("the pause", |_| waiting.exists());
        project.cdflow(["destroy", "ci", "--confirm", "ci"]).run().success();
        assert!(aws.keys(&aws.state_bucket()).is_empty());
        std::fs::write(&open, "").unwrap();
        deploy.wait().success().stderr_has("another run destroyed the environment meanwhile");
        assert_eq!(aws.keys(&aws.state_bucket()), [STATE]);
        project.deploy("ci", version).stderr_has("no changes");
    }
}

/// Terraform would start every provider only to compare the state.
#[test]
fn a_deploy_without_changes_applies_nothing() {
    for (lockfile, table) in [(None, false), (Some(false), true), (Some(true), true)] {
        let (aws, project) = with_locks("unchanged", lockfile, table);
        project.release("1");
        project.deploy("ci", "1");
        let state = || aws.get_json(&aws.state_bucket(), STATE);
        let before = state();
        let log = project.sandbox().root().join("commands");
        let path = project.terraform_but(&format!("*) echo \"$1\" >>{};;", log.display()));
        let commands = |args: &[&str], version: &str| {
            let _ = std::fs::remove_file(&log);
            let deploy = project.cdflow(["deploy", "ci", version]).args(args);
            let output = deploy.env("PATH", path.clone()).run();
            output.success();
            let text = std::fs::read_to_string(&log).unwrap();
            let words = text.split_whitespace().filter(|it| *it != "version");
            (words.collect::<Vec<_>>().join(" "), output)
        };
        let (ran, output) = commands(&[], "1");
        output.stderr_has("Deployed shop 1 to ci: no changes");
        assert_eq!(ran, "init plan");
        assert_eq!(state(), before);
        let history = project.cdflow(["history", "ci"]).run();
        assert_eq!(history.success().stdout.matches("succeeded").count(), 2, "{history}");
        assert_eq!(aws.keys(&aws.state_bucket()), [STATE], "no lock is left");
        let target = ["--target", "terraform_data.greeting"];
        assert_eq!(commands(&target, "1").0, "init plan show apply");
    }
}

/// The lock of cdflow itself, while it removes an empty workspace.
#[test]
fn a_lost_answer_to_the_release_of_a_lock_is_no_error() {
    let (aws, project) = with_locks("answer", None, false);
    project.release("1");
    let line = format!("DELETE /{}/{LOCK}", aws.state_bucket());
    for (status, is_lost) in [(400, true), (403, false)] {
        let how = if is_lost { "lost" } else { "status" };
        let body = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        aws.rule(json!({ "matching": line, "agent": "rust", how: status, "body": body }));
        let output = project.cdflow(["deploy", "ci", "1", "--plan-only"]).run();
        output.success();
        if is_lost {
            output.lacks("failed to release");
        } else {
            output.stderr_has("cdflow unlock ci --force ").lacks("unlock environment");
        }
        assert_eq!(aws.keys(&aws.state_bucket()).is_empty(), is_lost, "{output}");
    }
    project.cdflow(["unlock", "ci"]).run().success().stdout_has("@");
}

/// The lock of cdflow itself, while it compares the state. Its ID says whose it is.
#[test]
fn a_lost_answer_to_cdflows_own_lock_leaves_the_lock_its_own() {
    for (name, is_row) in [("ownfile", false), ("ownrow", true)] {
        let (aws, project) = with_locks(name, Some(!is_row), is_row);
        project.release("1");
        project.deploy("ci", "1");
        let matching = match is_row {
            true => format!("PutItem {{\"TableName\":\"{}\"", table_name(&aws)),
            false => format!("PUT /{}/{LOCK}", aws.state_bucket()),
        };
        aws.rule(json!({ "matching": matching, "agent": "rust", "times": 1, "lost": 500 }));
        let output = project.cdflow(["-v", "deploy", "ci", "1"]).run();
        output
            .success()
            .stderr_has("Deployed shop 1 to ci: no changes")
            .lacks("Terraform compares the state");
        assert!(aws.matched(&matching) >= 2, "{} requests", aws.matched(&matching));
        assert_eq!(aws.keys(&aws.state_bucket()), [STATE], "no lock file is left");
        if is_row {
            assert_eq!(table_rows(&aws), [format!("{}/{STATE}-md5", aws.state_bucket())]);
        }
    }
}

/// As `a_lock_whose_answer_is_lost_is_named_as_the_runs_own`, in a table.
#[test]
fn a_row_whose_answer_is_lost_is_named_as_the_runs_own() {
    let (aws, project) = with_locks("lostrow", Some(false), true);
    project.release("1");
    project.deploy("ci", "1");
    let matching = format!("\"TableName\":\"{}\"", table_name(&aws));
    let target = "DynamoDB_20120810.PutItem";
    aws.rule(json!({ "matching": matching, "target": target, "times": 1, "lost": 500 }));
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(8).stderr_has("-> release the lock unless another run on this machine holds it");
    let id = output.stderr.rsplit("--force ").next().unwrap().lines().next().unwrap().to_owned();
    project.cdflow(["unlock", "ci", "--force", &id]).run().success();
    project.deploy("ci", "1");
}

/// Its object was deleted without cdflow: nothing else knows of the state.
#[test]
fn a_digest_without_a_state_is_not_forgotten() {
    let (aws, project) = with_locks("digest", Some(false), true);
    project.release("1");
    let row = format!("{}/{STATE}-md5", aws.state_bucket());
    let item = json!({ "LockID": { "S": row }, "Digest": { "S": "0".repeat(32) } });
    let put = || {
        let args = json!({ "TableName": table_name(&aws), "Item": item });
        aws.call(RELEASE, "dynamodb", "put_item", args)
    };
    put();
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(3).stderr_has("the lock table has the digest of one");
    assert_eq!(table_rows(&aws), std::slice::from_ref(&row));
    let new = project.cdflow(["deploy", "ci", "1", "--new-environment"]).run();
    new.success().stderr_has("the old digest is removed");
}

#[test]
fn a_row_and_a_lock_file_are_released_together() {
    let (aws, project) = with_locks("unlock-both", None, true);
    project.release("1");
    project.deploy("ci", "1");
    let rows = table_rows(&aws);
    let unlock = |more: &[&str]| project.cdflow(["unlock", "ci"]).args(more).run();
    unlock(&[]).success().stdout_is("the state of ci is not locked\n");
    lock(&aws);
    lock_row(&aws);
    assert_eq!(table_rows(&aws).len(), 2);
    names_the_holder(&project.cdflow(["deploy", "ci", "1"]).run(), &aws);
    let shown = unlock(&[]);
    shown.success().stdout_has(&format!(
        "  DynamoDB table {}, {}/{STATE}\n",
        table_name(&aws),
        aws.state_bucket()
    ));
    shown.stdout_has(&format!("  s3://{}/{LOCK}\n", aws.state_bucket()));
    assert_eq!(shown.stdout.matches(LOCK_ID).count(), 2);
    unlock(&["--force", "other"]).fails(3).stderr_has(&format!("it is locked by {LOCK_ID}\n"));
    assert_eq!((table_rows(&aws).len(), aws.keys(&aws.state_bucket()).len()), (2, 2));
    unlock(&["--force", LOCK_ID]).success();
    assert_eq!((table_rows(&aws), aws.keys(&aws.state_bucket())), (rows, vec![STATE.to_owned()]));
    project.deploy("ci", "1").stderr_has("no changes");
}

#[test]
fn a_row_alone_is_released() {
    let (aws, project) = with_locks("unlock-row", Some(false), true);
    lock_row(&aws);
    // Nobody looks at a lock file where none is used.
    lock(&aws);
    let output = project.cdflow(["unlock", "ci", "--force", LOCK_ID]).run();
    output.success().lacks(".tflock");
    assert!(table_rows(&aws).is_empty());
    let (aws, project) = with_locks("unlock-none", Some(false), false);
    project.cdflow(["unlock", "ci"]).run().fails(2).stderr_has("no state lock is configured");
    let mut scheme = aws.scheme();
    scheme["terraform-backend-s3-dynamodb-table"] = json!(table_name(&aws));
    aws.put_scheme(&scheme);
    let output = project.cdflow(["unlock", "ci"]).run();
    output
        .fails(2)
        .stderr_has("the lock table `")
        .stderr_has("`terraform-backend-s3-dynamodb-table`");
}

#[test]
fn a_held_lock_is_waited_for() {
    let (aws, project) = with_locks("waited", None, false);
    project.release("1");
    project.deploy("ci", "1");
    lock(&aws);
    // Having failed to write the lock Terraform reads it. One that is gone by then it does not wait
    // for.
    let reads = || aws.requests(&format!("GET /{}/{LOCK}", aws.state_bucket())).len();
    let before = reads();
    let mut deploy = project.cdflow(["deploy", "ci", "1", "--lock-timeout", "1m"]).spawn();
    deploy.wait_until("a look at the lock", |_| reads() > before);
    aws.delete(&aws.state_bucket(), LOCK);
    deploy.wait().success().stderr_has("no changes");
}

#[test]
fn credentials_that_run_out_are_renewed() {
    let aws = Aws::new("renewed");
    let mut scheme = aws.scheme();
    for account in ["release", "dev"] {
        scheme["accounts"][account]["role"] = json!(format!("{}-{account}", aws.name()));
    }
    aws.put_scheme(&scheme);
    // Every session of these roles ends in a minute.
    aws.rule(json!({
        "matching": format!("role%2F{}-", aws.name()),
        "response": ["<Expiration>.*</Expiration>", "<Expiration>{now+60}</Expiration>"],
    }));
    let project = Project::aws("shop", &aws);
    let probe = Probe::add(&project, "terraform_data.greeting");
    project.release("1");
    project.deploy("ci", "1");
    let (first, second) = (probe.provider(), probe.provider_again());
    for field in ["AccessKeyId", "SecretAccessKey", "Token"] {
        assert_ne!(first[field], second[field], "{field}");
    }
    let expiry = |credentials: &Value| credentials["Expiration"].as_str().unwrap().to_owned();
    assert!(expiry(&first).ends_with('Z') && expiry(&probe.backend()).ends_with('Z'));
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn a_failed_apply_leaves_its_state_and_nothing_of_ours() {
    let aws = Aws::new("failed");
    let project = Project::aws("shop", &aws);
    let failing = "resource \"terraform_data\" \"bad\" {\n  depends_on = \
    [terraform_data.greeting]\n\n  provisioner \"local-exec\" {\n    \
                   command = \"exit 3\"\n  }\n}\n";
    project.append("infra/main.tf", failing).commit("Fail");
    project.release("1");
    project.cdflow(["deploy", "ci", "1"]).run().fails(6);
    assert_eq!(aws.keys(&aws.state_bucket()), [STATE]);
    let state = aws.get_json(&aws.state_bucket(), STATE);
    assert_eq!(state["resources"].as_array().unwrap().len(), 2, "the tainted one too: {state}");
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
    let status = project.cdflow(["status"]).run();
    status.success().stdout_has("ci           -").stdout_has("deploy of 1 failed");
}

#[test]
fn an_environment_may_be_in_another_region_than_its_state() {
    let (aws, project) = with_locks("region", None, false);
    let mut scheme = aws.scheme();
    scheme["accounts"]["dev"]["region"] = json!("eu-central-1");
    aws.put_scheme(&scheme);
    let probe = Probe::add(&project, "terraform_data.greeting");
    project
        .write("platform-config/dev/eu-central-1.json", "{\"domain\": \"frankfurt.example\"}")
        .commit("Frankfurt");
    project.release("1");
    project
        .deploy("ci", "1")
        .stdout_has("greeting = \"Hello from ci.frankfurt.example, version 1\"");
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        assert_eq!(probe.environment()[name], "eu-central-1");
    }
    let calls = aws.calls(&format!("/{}/{STATE}", aws.state_bucket()));
    assert!(
        !calls.is_empty() && calls.iter().all(|call| call["region"] == "eu-west-1"),
        "{calls:?}"
    );
}

#[test]
fn a_bundle_of_the_reference_is_deployed_from_s3() {
    let (aws, project) = with_locks("reference", None, false);
    Reference::new(&project, "7").upload(&aws);
    let output = project.deploy("ci", "7");
    output.stderr_has("warning: this bundle has no manifest.json").stdout_has("version 7");
    project.cdflow(["destroy", "ci", "--confirm", "ci"]).run().success();
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    let output = project.cdflow(["release", "7", "--platform-config", "platform-config"]).run();
    output.fails(3).stderr_has("another program made it");
}

#[test]
fn a_cancelled_apply_saves_its_state_and_releases_its_lock() {
    let (aws, project) = with_locks("cancel", None, false);
    let slow = "resource \"terraform_data\" \"slow\" {\n  depends_on = \
    [terraform_data.greeting]\n\n  provisioner \"local-exec\" {\n    \
                command = \"exec sleep 60\"\n  }\n}\n";
    project.append("infra/main.tf", slow).commit("Slow");
    project.release("1");
    let mut deploy = project.cdflow(["deploy", "ci", "1"]).spawn();
    deploy.wait_for("terraform_data.slow: Provisioning with");
    assert_eq!(aws.keys(&aws.state_bucket()), [STATE, LOCK]);
    deploy.signal(Signal::SIGINT);
    deploy
        .wait()
        .fails(130)
        .stderr_has("cancelled during apply: Terraform stopped and saved the state");
    assert_eq!(aws.keys(&aws.state_bucket()), [STATE]);
    let state = aws.get_json(&aws.state_bucket(), STATE);
    assert!(state["resources"].to_string().contains("\"greeting\""), "{state}");
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
    project.cdflow(["status"]).run().success().stdout_has("deploy of 1 was interrupted");
}

/// A first deploy, and then an AWS that refuses to take the state `times` times.
fn refuses_the_state(name: &str, times: u32) -> (Aws, Project) {
    let (aws, project) = with_locks(name, None, false);
    project.release("1");
    project.deploy("ci", "1");
    project.release("2");
    aws.rule(json!({
        "matching": format!("PUT /{}/{STATE}?", aws.state_bucket()), "times": times, "status": 403,
        "body": "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    }));
    (aws, project)
}

#[test]
fn a_state_that_can_not_be_saved_is_kept_beside_it() {
    let (aws, project) = refuses_the_state("unsaved", 1000);
    let output = project.cdflow(["deploy", "ci", "2"]).run();
    let keys = aws.keys(&aws.state_bucket());
    let [copy, state] = &keys[..] else { panic!("{keys:?}\n{output}") };
    assert!(
        copy.starts_with("platform/shop/ci/") || copy.starts_with("recovery/platform/shop/ci/"),
        "{copy}"
    );
    let (copy, state) = if copy == STATE { (state, copy) } else { (copy, state) };
    assert_eq!(state, STATE);
    output.fails(7).stderr_has(&format!(
        "error: failed to save the state of `ci`; a copy is at s3://{}/{copy}",
        aws.state_bucket()
    ));
    output.stderr_has("terraform state push");
    let greeting =
        |key: &str| aws.get_json(&aws.state_bucket(), key)["outputs"]["greeting"]["value"].clone();
    assert_eq!(greeting(STATE), "Hello from ci.dev.example, version 1");
    assert_eq!(greeting(copy), "Hello from ci.dev.example, version 2");
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
    assert_eq!(project.git(["status", "--porcelain"]), "");
}

#[test]
fn a_state_that_can_be_saved_at_the_second_try_is_saved() {
    let (aws, project) = refuses_the_state("second", 1);
    let output = project.cdflow(["deploy", "ci", "2"]).run();
    output.fails(6).stderr_has("the state was saved at the second try");
    assert_eq!(aws.keys(&aws.state_bucket()), [STATE]);
    let state = aws.get_json(&aws.state_bucket(), STATE);
    assert_eq!(state["outputs"]["greeting"]["value"], "Hello from ci.dev.example, version 2");
    project.deploy("ci", "2").stderr_has("no changes");
}

/// As on a runner that trades its OIDC token for a role.
#[test]
fn an_identity_token_is_enough() {
    let (aws, project) = with_locks("oidc", None, false);
    let token = project.sandbox().root().join("token");
    // Moto looks at its form only.
    std::fs::write(&token, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln").unwrap();
    let role = format!("arn:aws:iam::{RELEASE}:role/{}-ci", aws.name());
    for command in
        [vec!["release", "1", "--platform-config", "platform-config"], vec!["deploy", "ci", "1"]]
    {
        let run = project
            .cdflow(command)
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY");
        run.env("AWS_WEB_IDENTITY_TOKEN_FILE", &token).env("AWS_ROLE_ARN", &role).run().success();
    }
    assert_eq!(aws.calls(&format!("%3Arole%2F{}-ci", aws.name())).len(), 2);
}

#[test]
fn a_folder_too_deep_for_a_socket_is_refused() {
    let (aws, project) = with_locks("deep", None, false);
    project.release("1");
    let deep = project.sandbox().tmp().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    let output = project.cdflow(["deploy", "ci", "1"]).env("TMPDIR", &deep).run();
    output.fails(2).stderr_has("TMPDIR");
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

/// Where an environment is, is frozen in the release; how to get there is read when it is deployed.
#[test]
fn a_role_may_be_renamed_and_an_environment_may_not_move() {
    let (aws, project) = with_locks("moved", None, false);
    project.release("1");
    let mut scheme = aws.scheme();
    scheme["accounts"]["dev"]["role"] = json!(format!("{}-new", aws.name()));
    scheme["accounts"]["dev"]["plan-role"] = json!(format!("{}-plan", aws.name()));
    aws.put_scheme(&scheme);
    let assumed = |role: &str| aws.calls(&format!("{DEV}%3Arole%2F{}-{role}", aws.name())).len();
    project
        .cdflow(["deploy", "ci", "1", "--plan-only"])
        .run()
        .success()
        .stderr_has("Planned only: 1 to add");
    assert_eq!((assumed("plan"), assumed("new")), (1, 0));
    assert!(aws.keys(&aws.state_bucket()).is_empty(), "the workspace of the plan is gone");
    project.deploy("ci", "1");
    assert_eq!((assumed("plan"), assumed("new")), (1, 1));

    scheme["accounts"]["dev"]["id"] = json!("555555555555");
    aws.put_scheme(&scheme);
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output
        .fails(2)
        .stderr_has("error: the environment `ci` has moved since the release")
        .stderr_has(&format!(
            "it was in account {DEV} in eu-west-1, and the account scheme now has it in account \
        555555555555 in eu-west-1"
        ));
}
