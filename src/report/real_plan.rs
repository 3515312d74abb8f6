//! A plan of the real AWS provider: reasons, data loss and security marks. tests/fixtures/plans has
//! its code, and how it is made.

use super::{Outcome, PlanReport, losses, results, security, verdict::Risk};
use crate::{
    base::redact::Redactor,
    config::guards::Protected,
    terraform::output::{changes::Changes, plan_text::PlanText},
};

const JSON: &str = include_str!("../../tests/fixtures/plans/plan.json");
const TEXT: &str = include_str!("../../tests/fixtures/plans/plan.txt");

/// Returns the report of the resources that `is_kept` selects by their address.
pub(super) fn plan(is_kept: impl Fn(&str) -> bool) -> PlanReport {
    with_stateful(is_kept, &[])
}

/// `stateful` is what `report.stateful` of cdflow.yml has.
fn with_stateful(is_kept: impl Fn(&str) -> bool, stateful: &[&str]) -> PlanReport {
    let stateful: Vec<Protected> = stateful.iter().map(|it| it.parse().unwrap()).collect();
    let mut changes = Changes::parse(&mut JSON.as_bytes()).unwrap();
    changes.resources.retain(|change| is_kept(&change.address));
    let redactor = Redactor::default();
    changes.sensitive.iter().for_each(|secret| {
        redactor.add(secret);
    });
    let mut text = PlanText::default();
    TEXT.lines().for_each(|line| text.push(line));
    PlanReport::of(&changes, &text, true, &stateful, &redactor)
}

/// Returns the line above the diff of a resource.
fn heading(plan: &PlanReport, address: &str) -> String {
    let resource = plan.resources.iter().find(|it| it.address == address).unwrap();
    results::heading(resource, Outcome::Planned)
}

#[test]
fn each_change_has_its_reason() {
    let plan = plan(|_| true);
    assert!(plan.resources.len() > 30, "{}", plan.resources.len());
    for (address, expected) in [
        (
            "aws_db_instance.orders",
            "aws_db_instance.orders must be replaced (storage_encrypted false -> true forces \
             replacement) [security: publicly accessible]",
        ),
        ("aws_sqs_queue.old[\"b\"]", "will be destroyed (for_each key removed)"),
        ("aws_s3_bucket.data[0]", "will be destroyed (count lowered)"),
        ("aws_s3_bucket.logs", "(bucket \"logs-1\" -> \"logs-2\" forces replacement)"),
        ("aws_ssm_parameter.now[0]", "aws_ssm_parameter.was[0] has moved to"),
        ("aws_ssm_parameter.adopted[0]", "(imports /adopted)"),
    ] {
        let heading = heading(&plan, address);
        assert!(heading.contains(expected), "{heading}");
    }
    let moved = heading(&plan, "aws_ssm_parameter.now[0]");
    assert_eq!(moved.matches("aws_ssm_parameter.was[0]").count(), 1, "each fact once: {moved}");
    let shown = serde_json::to_string(&plan).unwrap();
    assert!(!shown.contains("correct-horse"), "a sensitive value is shown");
}

#[test]
fn data_loss_names_what_protects_it() {
    let plan = plan(|_| true);
    let shown = losses::show(&plan, "shop → live", Outcome::Planned, 50_000);
    let plain = shown.replace(['\\', '\u{200b}'], "");
    let of = |address: &str| {
        let line = plain.lines().find(|it| it.contains(&format!("`{address}`")));
        line.unwrap_or_else(|| panic!("{address}: {plain}")).to_owned()
    };
    assert!(plain.contains("**data loss**: **1 database will be replaced**"), "{plain}");
    let database = of("aws_db_instance.orders");
    assert!(
        database.starts_with("> - database `aws_db_instance.orders` will be replaced: ")
            && database.ends_with(
                "<br>**Nothing protects it**: no deletion protection, no final snapshot"
            ),
        "{database}"
    );
    let protection = |address: &str| {
        let found = plan.resources.iter().find(|it| it.address == address).unwrap();
        (found.protected_by.join("; "), found.unprotected.join("; "))
    };
    for (address, protects, lacks) in [
        (
            "aws_dynamodb_table.sessions",
            "deletion protection makes the destroy fail; point-in-time recovery keeps a backup \
             for 35 days",
            "",
        ),
        ("aws_s3_bucket.data[0]", "", "`force_destroy` deletes its objects"),
        ("aws_s3_bucket.logs", "only an empty bucket can be deleted", ""),
        ("aws_kms_key.main[0]", "waiting period of 7 days", ""),
        ("aws_secretsmanager_secret.token[0]", "recovery window of 14 days", ""),
        ("aws_secretsmanager_secret.gone[0]", "", "no recovery window"),
        ("aws_cognito_user_pool.people[0]", "", "no deletion protection"),
        ("aws_ebs_volume.disk[0]", "final snapshot", ""),
        ("aws_ecr_repository.images[0]", "only an empty repository can be deleted", ""),
        ("aws_route53_zone.main[0]", "only an empty zone can be deleted", ""),
        ("aws_sqs_queue.old[\"b\"]", "", ""),
        ("aws_cloudwatch_log_group.app[0]", "", ""),
    ] {
        assert_eq!(protection(address), (protects.to_owned(), lacks.to_owned()), "{address}");
    }
    // Not stateful: a setting of a bucket. It has an alert of its own, after the stores.
    let others = plain.find("other resource will be destroyed").unwrap();
    assert!(plain.find("data loss").unwrap() < others);
    assert!(plain[others..].contains("`aws_s3_bucket_public_access_block.old[0]`"), "{plain}");
    // Every one is in the list, because there are more than an alert names.
    assert!(plan.losses().all(|loss| plain.contains(&loss.address)), "{plain}");
}

/// A type that is not in the built-in list becomes one whose loss is a loss of data, by its name or
/// by an address. Without that it is another destroyed resource.
#[test]
fn report_stateful_adds_types_and_addresses() {
    let kind = "aws_s3_bucket_public_access_block";
    let address = "aws_s3_bucket_public_access_block.old[0]";
    let shown = |stateful: &[&str]| {
        let plan = with_stateful(|it| it == address, stateful);
        let shown = losses::show(&plan, "shop → live", Outcome::Planned, 50_000);
        let stateful = plan.resources[0].stateful.clone();
        (stateful, Risk::of(&plan).stateful_lost, shown.replace(['\\', '\u{200b}'], ""))
    };
    for stateful in [[].as_slice(), &["aws_s3_bucket"], &["aws_s3_bucket_public_access_block.web"]]
    {
        let (held, lost, text) = shown(stateful);
        assert_eq!((held, lost), (None, 0), "{stateful:?}");
        assert!(text.contains("**1 resource will be destroyed**"), "{text}");
        assert!(!text.contains("data loss"), "{text}");
    }
    for stateful in [kind, address, "aws_s3_bucket_public_access_block.old"] {
        let (held, lost, text) = shown(&[stateful]);
        assert_eq!((held.as_deref(), lost), (Some("stateful resource"), 1), "{stateful}");
        assert!(
            text.contains("**data loss**: **1 stateful resource will be destroyed**"),
            "{text}"
        );
        assert!(text.contains(&format!("\n> - stateful resource `{address}` will")), "{text}");
    }
}

#[test]
fn security_marks_name_what_becomes_possible() {
    let plan = plan(|_| true);
    let marks = |address: &str| {
        plan.resources.iter().find(|it| it.address == address).unwrap().security.join("; ")
    };
    for (address, expected) in [
        ("aws_security_group.web", "tcp 22 open to 0.0.0.0/0; tcp 22 open to ::/0"),
        ("aws_security_group_rule.all[0]", "all ports open to 0.0.0.0/0"),
        ("aws_vpc_security_group_ingress_rule.range[0]", "tcp 8000-8999 open to 0.0.0.0/0"),
        ("aws_iam_policy.app", "allows `s3:*`"),
        ("aws_iam_role.app", "any principal may assume it"),
        ("aws_iam_role_policy.admin[0]", "allows every action"),
        (
            "aws_iam_role_policy_attachment.admin[0]",
            "grants `arn:aws:iam::aws:policy/AdministratorAccess`",
        ),
        ("aws_lambda_permission.all[0]", "any principal may invoke it"),
        ("aws_db_instance.orders", "publicly accessible"),
        ("aws_rds_cluster.ledger", "deletion protection turned off"),
        ("aws_kms_key.rotated", "key rotation turned off"),
        (
            "aws_s3_bucket_public_access_block.web",
            "public ACLs not blocked; public policies not blocked",
        ),
        ("aws_s3_bucket_public_access_block.old[0]", "block of public access removed"),
        ("aws_s3_bucket_versioning.web", "versioning off"),
        ("aws_s3_bucket_policy.web[0]", "any principal is allowed"),
        ("aws_sqs_queue.open", "not encrypted at rest"),
        // Encryption is turned on.
        ("aws_efs_file_system.files", ""),
        ("aws_launch_template.app", ""),
    ] {
        assert_eq!(marks(address), expected, "{address}");
    }
    let shown = security::alert(&plan, "shop → live").replace(['\\', '\u{200b}'], "");
    assert!(shown.contains("**16 security-relevant changes**:"), "{shown}");
    assert!(shown.contains("\n> - `aws_iam_policy.app`: allows `s3:*`"), "{shown}");
}
