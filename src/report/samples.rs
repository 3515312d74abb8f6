//! Sample reports for tests.

use std::collections::BTreeMap;

use super::{
    Lifetime, Outcome, PlanReport, Report, RunContext, RunRef,
    plan::tests::{change, plan},
    run_context,
};
use crate::{
    base::{
        error::{Error, Exit},
        json::Json,
        redact::Redactor,
    },
    terraform::output::{changes::ChangeAction, unknown::UnknownChange},
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
    let resources = vec![
        change("aws_cloudwatch_log_group.checkout", ChangeAction::Update),
        change("aws_db_instance.orders", ChangeAction::Replace),
        change("aws_ecs_service.checkout", ChangeAction::Update),
        change("aws_sqs_queue.legacy", ChangeAction::Delete),
        change("aws_sqs_queue.orders", ChangeAction::Create),
    ];
    Report {
        plan: Some(plan(SMALL, resources, &Redactor::default())),
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

fn deployed() -> Report {
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
        ..small_plan()
    }
}

fn unknown(address: &str) -> UnknownChange {
    UnknownChange {
        address: address.to_owned(),
        kind: "aws_db_instance".to_owned(),
        action: "create".to_owned(),
        names: BTreeMap::from([("identifier".to_owned(), "orders".to_owned())]),
        import_id: Some("orders".to_owned()),
    }
}

fn failed() -> Report {
    let mut report =
        Report { unknown_changes: vec![unknown("aws_db_instance.orders")], ..small_plan() };
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
    Report {
        plan: Some(plan(&printed, changes, &Redactor::default())),
        state_serial: Some(9),
        seconds: 95,
        context: RunContext {
            is_destroy: true,
            before_merge: Some(false),
            ..report.context.clone()
        },
        ..report
    }
}

/// Returns the report of a preview.
fn preview() -> Report {
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
        ..report("preview up", "pr-123", Outcome::Deployed)
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
mod tests;
