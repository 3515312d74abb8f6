//! Sample reports for tests.

use std::collections::BTreeMap;

use super::{
    Lifetime, Outcome, PlanReport, Report, RunContext, RunRef,
    plan::tests::{change, plan},
    real_plan, run_context,
};
use crate::{
    base::{
        error::{Error, Exit},
        json::Json,
        redact::Redactor,
    },
    terraform::output::{
        changes::{ChangeAction, Changes},
        plan_text::PlanText,
        results::{ResourceOutcome, ResourceResult},
        unknown::UnknownChange,
    },
};

const SMALL: &str = r#"Terraform used the selected providers to generate the following execution
plan. Resource actions are indicated with the following symbols:
  + create
  ~ update in-place
  - destroy
-/+ destroy and then create replacement

Terraform will perform the following actions:

  # aws_cloudwatch_log_group.checkout will be updated in-place
  ~ resource "aws_cloudwatch_log_group" "checkout" {
        id                = "/ecs/checkout"
        name              = "/ecs/checkout"
      ~ retention_in_days = 30 -> 90
        # (4 unchanged attributes hidden)
    }

  # aws_db_instance.orders must be replaced
-/+ resource "aws_db_instance" "orders" {
      ~ engine_version = "14.11" -> "16.3" # forces replacement
      ~ id             = "db-5WQ7XK2N" -> (known after apply)
        # (21 unchanged attributes hidden)
    }

  # aws_ecs_service.checkout will be updated in-place
  ~ resource "aws_ecs_service" "checkout" {
      ~ desired_count   = 2 -> 3
        id              = "arn:aws:ecs:eu-west-1:222222222222:service/live/checkout"
        name            = "checkout"
      ~ task_definition = "checkout:41" -> "checkout:42"
        # (12 unchanged attributes hidden)
    }

  # aws_sqs_queue.legacy will be destroyed
  # (because aws_sqs_queue.legacy is not in configuration)
  - resource "aws_sqs_queue" "legacy" {
      - id   = "https://sqs.eu-west-1.amazonaws.com/222222222222/legacy" -> null
      - name = "legacy" -> null
    }

  # aws_sqs_queue.orders will be created
  + resource "aws_sqs_queue" "orders" {
      + arn                        = (known after apply)
      + id                         = (known after apply)
      + message_retention_seconds  = 1209600
      + name                       = "orders"
      + visibility_timeout_seconds = 30
    }

Plan: 2 to add, 2 to change, 2 to destroy.

Changes to Outputs:
  ~ queue_url = "https://sqs.eu-west-1.amazonaws.com/222222222222/legacy" -> (known after apply)
"#;

/// The parts of the same plan's JSON that the report needs.
const SMALL_JSON: &str = r#"{"resource_changes": [
  {"address": "aws_cloudwatch_log_group.checkout", "type": "aws_cloudwatch_log_group",
   "change": {"actions": ["update"], "before": {"retention_in_days": 30},
              "after": {"retention_in_days": 90}}},
  {"address": "aws_db_instance.orders", "type": "aws_db_instance",
   "action_reason": "replace_because_cannot_update",
   "change": {"actions": ["delete", "create"],
              "before": {"engine_version": "14.11", "skip_final_snapshot": false,
                         "storage_encrypted": true, "deletion_protection": false},
              "after": {"engine_version": "16.3", "skip_final_snapshot": false,
                        "storage_encrypted": true, "deletion_protection": false},
              "replace_paths": [["engine_version"]]}},
  {"address": "aws_ecs_service.checkout", "type": "aws_ecs_service",
   "change": {"actions": ["update"], "before": {}, "after": {}}},
  {"address": "aws_sqs_queue.legacy", "type": "aws_sqs_queue",
   "action_reason": "delete_because_no_resource_config",
   "change": {"actions": ["delete"], "before": {"name": "legacy"}, "after": null}},
  {"address": "aws_sqs_queue.orders", "type": "aws_sqs_queue",
   "change": {"actions": ["create"], "before": null, "after": {"name": "orders"}}}
]}"#;

fn report(command: &str, environment: &str, outcome: Outcome) -> Report {
    Report {
        command: command.to_owned(),
        component: Some("checkout".to_owned()),
        team: Some("payments".to_owned()),
        environment: Some(environment.to_owned()),
        version: Some("42-a1b2c3d".to_owned()),
        release_key: Some(
            "s3://acme-releases/payments/checkout/checkout-42-a1b2c3d.zip".to_owned(),
        ),
        release_digest: Some(
            "5f2b7c0e9a417d3380f1c46b2e5d90aa7716c3f08b2d4e6195a7c8d3e0f1b264".to_owned(),
        ),
        outcome,
        seconds: 48,
        run: Some(RunRef {
            id: 9_876_543_210,
            attempt: 1,
            url: Some("https://github.com/acme/checkout/actions/runs/9876543210".to_owned()),
        }),
        commit: Some("a1b2c3d4e5f60718293a4b5c6d7e8f9012345678".to_owned()),
        context: RunContext {
            account_alias: Some(if environment == "live" { "prod" } else { "dev" }.to_owned()),
            account_id: Some(
                if environment == "live" { "222222222222" } else { "111111111111" }.to_owned(),
            ),
            ..run_context::tests::full()
        },
        ended: Some("2026-11-21T12:00:00Z".parse().unwrap()),
        ..Report::default()
    }
}

pub(super) fn small_plan() -> Report {
    let changes = Changes::parse(&mut SMALL_JSON.as_bytes()).unwrap();
    let mut text = PlanText::default();
    SMALL.lines().for_each(|line| text.push(line));
    Report {
        plan: Some(PlanReport::of(&changes, &text, true, &[], &Redactor::default())),
        ..report("deploy", "live", Outcome::Planned)
    }
}

/// Returns the report of a plan that destroys `destroyed` of its `resources`.
pub(super) fn large_plan(resources: usize, destroyed: usize) -> Report {
    let mut printed = "Terraform will perform the following actions:\n".to_owned();
    printed
        .insert_str(0, "Terraform used the selected providers to generate the following plan.\n\n");
    let mut changes = Vec::new();
    for number in 0..resources {
        let is_lost = number >= resources - destroyed;
        let (name, sign, verb) =
            if is_lost { ("old", '-', "destroyed") } else { ("orders", '+', "created") };
        let address = format!(
            "aws_sqs_queue.{name}[{}]",
            if is_lost { number + destroyed - resources } else { number }
        );
        printed.push_str(&format!(
            "\n  # {address} will be {verb}\n  {sign} resource \"aws_sqs_queue\" \"{name}\" {{\n"
        ));
        for attribute in [
            "arn",
            "delay_seconds",
            "fifo_queue",
            "id",
            "kms_master_key_id",
            "max_message_size",
            "name",
            "policy",
            "tags_all",
            "url",
        ] {
            printed.push_str(&format!(
                "      {sign} {attribute:<26} = \"{attribute} of {address}\"\n"
            ));
        }
        printed.push_str("    }\n");
        changes.push(change(
            &address,
            if is_lost { ChangeAction::Delete } else { ChangeAction::Create },
        ));
    }
    printed.push_str("\nPlan: some.\n");
    Report {
        plan: Some(plan(&printed, changes, &Redactor::default())),
        ..report("deploy", "aslive", Outcome::Planned)
    }
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// Returns the report after an apply that changed everything.
fn applied(mut report: Report) -> Report {
    let plan = report.plan.as_mut().unwrap();
    let done = ResourceResult { outcome: ResourceOutcome::Done, error: None };
    plan.set_results(&vec![done; plan.resources.len()], &Redactor::default());
    report
}

fn deployed() -> Report {
    let planned = applied(small_plan());
    Report {
        outcome: Outcome::Deployed,
        state_serial: Some(118),
        seconds: 214,
        terraform_outputs: BTreeMap::from([
            (
                "queue_url".to_owned(),
                json("\"https://sqs.eu-west-1.amazonaws.com/222222222222/orders\""),
            ),
            ("replicas".to_owned(), json("3")),
            ("url".to_owned(), json("\"https://checkout.acme.example\"")),
        ]),
        sensitive_outputs: vec!["db_password".to_owned()],
        environment_url: Some("https://checkout.acme.example".to_owned()),
        ..planned
    }
}

fn unknown(address: &str) -> UnknownChange {
    UnknownChange {
        address: address.to_owned(),
        kind: "aws_sqs_queue".to_owned(),
        action: "create".to_owned(),
        names: BTreeMap::from([("name".to_owned(), "orders".to_owned())]),
        import_id: Some("https://sqs.eu-west-1.amazonaws.com/222222222222/orders".to_owned()),
    }
}

pub(super) fn failed() -> Report {
    let mut report = small_plan();
    let rejected = "creating RDS DB Instance (orders): InvalidParameterCombination: \
                    db.t3.micro does not support 16.3";
    let result = |outcome, error: Option<&str>| {
        let error = error.map(str::to_owned);
        ResourceResult { outcome, error }
    };
    let done = result(ResourceOutcome::Done, None);
    let results = [
        done.clone(),
        result(ResourceOutcome::DeletedNotRecreated, Some(rejected)),
        result(ResourceOutcome::NotStarted, None),
        done.clone(),
        result(ResourceOutcome::Unknown, None),
    ];
    report.plan.as_mut().unwrap().set_results(&results, &Redactor::default());
    report.unknown_changes = vec![unknown("aws_sqs_queue.orders")];
    let error = Error::new(Exit::ApplyFailed, "terraform apply failed")
        .why(
            "creating RDS DB Instance (orders): \
             InvalidParameterCombination: db.t3.micro does not support 16.3",
        )
        .hint(
            "see Terraform's output above, fix the cause and deploy again; \
             completed changes are in the state",
        );
    report.end(Some(&error), std::time::Duration::from_secs(377), &Redactor::default());
    report.state_serial = Some(117);
    report.ended = Some("2026-11-21T12:06:00Z".parse().unwrap());
    report
}

/// A deploy whose plan is not the reviewed one.
fn refused() -> Report {
    let mut report = small_plan();
    (report.context.pull_request, report.context.before_merge) = (None, None);
    let error = Error::refused("the plan is not the one that pull request #128 showed for `live`")
        .why(
            "nothing was applied, because these changes differ:\n  - aws_ecs_service.checkout: \
             desired_count: reviewed: 2 -> 4; now: 2 -> 3\n  - aws_sqs_queue.legacy: destroy; not \
             reviewed",
        )
        .hint(
            "something has changed since the review: another deploy, the real resources, or the \
             code. Open a pull request with what is still to do, and have its plan approved",
        )
        .hint("or deploy without --reviewed, if the rules of the environment allow it");
    report.end(Some(&error), std::time::Duration::from_secs(31), &Redactor::default());
    report.ended = Some("2026-11-21T12:01:00Z".parse().unwrap());
    report
}

/// Returns the report of a part of a real plan.
fn real(is_kept: impl Fn(&str) -> bool) -> Report {
    let report = report("deploy", "live", Outcome::Planned);
    Report {
        plan: Some(real_plan::plan(is_kept)),
        context: RunContext {
            account_id: Some("123456789012".to_owned()),
            ..report.context.clone()
        },
        ..report
    }
}

fn data_loss() -> Report {
    let stores = ["aws_db_instance", "aws_dynamodb_table", "aws_s3_bucket.", "aws_kms_key.main"];
    real(|address| stores.iter().any(|store| address.starts_with(store)))
}

fn security() -> Report {
    real(|address| {
        ["aws_security_group.web", "aws_iam_policy.app", "aws_rds_cluster.ledger"]
            .contains(&address)
    })
}

fn moved() -> Report {
    real(|address| ["aws_ssm_parameter.now[0]", "aws_ssm_parameter.adopted[0]"].contains(&address))
}

fn long_values() -> Report {
    let long = ["aws_launch_template.app", "aws_ssm_parameter.config", "aws_iam_role.app"];
    real(|address| long.contains(&address))
}

fn destroyed() -> Report {
    let resources = ["aws_ecs_service.checkout", "aws_lb.checkout", "aws_sqs_queue.orders"];
    let printed = resources.map(|address| {
        let (kind, name) = address.split_once('.').unwrap();
        format!(
            "\n  # {address} will be destroyed\n  - resource \"{kind}\" \"{name}\" {{\n      \
             - name = \"{name}\" -> null\n    }}\n"
        )
    });
    let printed = format!(
        "Terraform used the selected providers\n\n\
         Terraform will perform the following actions:\n{}",
        printed.concat()
    );
    let changes = resources.map(|address| change(address, ChangeAction::Delete)).to_vec();
    let report = report("destroy", "pr-123", Outcome::Destroyed);
    applied(Report {
        plan: Some(plan(&printed, changes, &Redactor::default())),
        state_serial: Some(9),
        seconds: 95,
        context: RunContext {
            is_destroy: true,
            before_merge: Some(false),
            pull_request: Some(123),
            planned_serial: Some(8),
            ..report.context.clone()
        },
        ..report
    })
}

fn preview() -> Report {
    applied(preview_plan())
}

/// Returns the report of a preview, without the results of its apply.
fn preview_plan() -> Report {
    let printed = r#"Terraform used the selected providers to generate the following execution
plan. Resource actions are indicated with the following symbols:
  ~ update in-place

Terraform will perform the following actions:

  # aws_ecs_service.checkout will be updated in-place
  ~ resource "aws_ecs_service" "checkout" {
        id              = "arn:aws:ecs:eu-west-1:111111111111:service/pr-123/checkout"
        name            = "checkout"
      ~ task_definition = "checkout-pr-123:2" -> "checkout-pr-123:3"
        # (13 unchanged attributes hidden)
    }

Plan: 0 to add, 1 to change, 0 to destroy.
"#;
    let changes = vec![change("aws_ecs_service.checkout", ChangeAction::Update)];
    let url = "https://pr-123.checkout.acme.example";
    let report = report("preview up", "pr-123", Outcome::Deployed);
    Report {
        version: Some("pr-123-a1b2c3d".to_owned()),
        plan: Some(plan(printed, changes, &Redactor::default())),
        state_serial: Some(7),
        seconds: 71,
        terraform_outputs: BTreeMap::from([("url".to_owned(), json(&format!("\"{url}\"")))]),
        environment_url: Some(url.to_owned()),
        preview: Some(Lifetime {
            pull_request: 123,
            ttl_seconds: Some(3 * 24 * 3600),
            keep_label: "keep-preview".to_owned(),
            deployed: "2026-11-21T12:00:00Z".parse().unwrap(),
        }),
        context: RunContext {
            pull_request: Some(123),
            deployed: Some("pr-123-9e8d7c6".to_owned()),
            planned_serial: Some(6),
            ..report.context.clone()
        },
        ..report
    }
}

fn unchanged() -> Report {
    let plan = PlanReport {
        text: "No changes. Your infrastructure matches the configuration.".to_owned(),
        ..PlanReport::default()
    };
    Report { plan: Some(plan), seconds: 12, ..report("deploy", "ci", Outcome::NoChanges) }
}

pub(super) fn hostile() -> Report {
    let evil = "x``` @team <!-- cdflow:row 1 -->\n<!-- cdflow:changes -->\n```diff\n\
                # @team | </details><script>\n::error::x \u{1b}[31m[a](http://evil.example)\n\
                <!-- cdflow:end -->";
    let mut report = small_plan();
    let plan = report.plan.as_mut().unwrap();
    plan.text = format!("Terraform used\n{evil}");
    plan.outputs = evil.to_owned();
    for resource in &mut plan.resources {
        resource.address = format!("a.b[\"{evil}\"]");
        resource.diff = evil.to_owned();
        resource.title = evil.replace('\n', " ");
    }
    let error = Error::input(evil).why(evil).hint(evil);
    report.end(Some(&error), std::time::Duration::from_secs(1), &Redactor::default());
    report.terraform_outputs =
        BTreeMap::from([(evil.to_owned(), json(&serde_json::json!([evil]).to_string()))]);
    report.sensitive_outputs = vec![evil.to_owned()];
    report.unknown_changes = vec![unknown(evil)];
    report.version = Some("1|2".to_owned());
    report
}

#[cfg(test)]
mod growth;
#[cfg(test)]
mod tests;
