//! The rules for values that are hidden, unchanged or missing. `report/real_plan.rs` has the rules
//! for real plans.

use serde_json::{Value, json};

use super::Risk;
use crate::terraform::output::effects::EffectJson;

fn risk(kind: &str, change: &Value) -> Risk {
    let actions: Vec<String> = serde_json::from_value(change["actions"].clone()).unwrap();
    let parts = EffectJson {
        actions: &actions,
        before: &change["before"],
        after: &change["after"],
        after_unknown: &change["after_unknown"],
        before_sensitive: &change["before_sensitive"],
        after_sensitive: &change["after_sensitive"],
        replace_paths: &change["replace_paths"],
        importing: &change["importing"],
    };
    Risk::of(kind, &parts)
}

fn security(kind: &str, change: &Value) -> Vec<String> {
    risk(kind, change).security
}

#[test]
fn hidden_values_meet_no_condition() {
    let create = |more: Value| {
        let mut change = json!({"actions": ["create"], "before": null,
            "after": {"publicly_accessible": true, "storage_encrypted": null}});
        change.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        security("aws_db_instance", &change)
    };
    assert_eq!(create(json!({})), ["publicly accessible", "not encrypted at rest"]);
    assert_eq!(
        create(json!({"after_sensitive": {"publicly_accessible": true}})),
        ["not encrypted at rest"]
    );
    assert_eq!(
        create(json!({"after_unknown": {"storage_encrypted": true}})),
        ["publicly accessible"]
    );
    assert!(create(json!({"after_sensitive": true})).is_empty());
    let lost = |sensitive: Value| {
        risk(
            "aws_db_instance",
            &json!({"actions": ["delete"], "before_sensitive": sensitive,
                "before": {"skip_final_snapshot": true, "deletion_protection": true}}),
        )
    };
    let all = lost(json!({}));
    assert_eq!(all.protects, ["deletion protection makes the destroy fail"]);
    assert_eq!(all.lacks, ["no final snapshot"]);
    assert!(lost(json!({"skip_final_snapshot": true})).lacks.is_empty());
    assert_eq!(lost(json!(true)), Risk::default());
}

#[test]
fn versions_of_objects_are_named() {
    let lost = |versioning: Value, force: bool| {
        let before = json!({"force_destroy": force, "versioning": versioning});
        let found = risk("aws_s3_bucket", &json!({"actions": ["delete"], "before": before}));
        (found.protects.join("; "), found.lacks.join("; "))
    };
    let empty = "only an empty bucket can be deleted";
    let on = json!([{"enabled": true, "mfa_delete": false}]);
    assert_eq!(lost(on.clone(), false), (format!("{empty}; versioning on"), String::new()));
    let forced = "`force_destroy` deletes its objects".to_owned();
    assert_eq!(lost(on, true), ("versioning on".to_owned(), forced));
    for off in [json!([{"enabled": false}]), json!([]), Value::Null] {
        assert_eq!(lost(off.clone(), false), (empty.to_owned(), String::new()), "{off}");
    }
}

#[test]
fn only_what_is_new_is_marked() {
    let open = |ports: &[u16]| -> Value {
        let rule = |port: &u16| {
            json!({"protocol": "tcp", "from_port": port, "to_port": port,
                "cidr_blocks": ["10.0.0.0/8", "0.0.0.0/0"], "ipv6_cidr_blocks": []})
        };
        json!({ "ingress": ports.iter().map(rule).collect::<Vec<_>>() })
    };
    let found = security(
        "aws_security_group",
        &json!({"actions": ["update"], "before": open(&[443]), "after": open(&[443, 22])}),
    );
    assert_eq!(found, ["tcp 22 open to 0.0.0.0/0"]);
    let turned = |actions: &[&str], before: Value| {
        security(
            "aws_rds_cluster",
            &json!({"actions": actions, "before": before,
                "after": {"deletion_protection": false, "storage_encrypted": true}}),
        )
    };
    let on = json!({"deletion_protection": true, "storage_encrypted": true});
    assert_eq!(turned(&["update"], on), ["deletion protection turned off"]);
    // A new object had none to turn off.
    assert!(turned(&["create"], Value::Null).is_empty());
}

#[test]
fn a_policy_can_have_several_shapes() {
    let policy = |kind: &str, statement: Value| {
        let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        security(kind, &json!({"actions": ["create"], "after": {"policy": policy}}))
    };
    let identity = |statement: Value| policy("aws_iam_policy", statement);
    let all = "allows every action";
    assert_eq!(identity(json!({"Effect": "Allow", "Action": "*", "Resource": "*"})), [all]);
    assert_eq!(identity(json!([{"Effect": "Allow", "Action": ["s3:Get", "*"]}])), [all]);
    assert_eq!(identity(json!({"Effect": "Allow", "Action": ["s3:*"]})), ["allows `s3:*`"]);
    assert!(identity(json!({"Effect": "Deny", "Action": "*"})).is_empty());
    assert!(identity(json!({"Effect": "Allow", "Action": ["s3:Get*"]})).is_empty());
    let resource = |principal: Value, condition: Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "s3:*", "Principal": principal});
        if !condition.is_null() {
            statement["Condition"] = condition;
        }
        policy("aws_s3_bucket_policy", statement)
    };
    assert_eq!(resource(json!("*"), Value::Null), ["any principal is allowed"]);
    assert_eq!(resource(json!({"AWS": ["*"]}), Value::Null), ["any principal is allowed"]);
    assert_eq!(
        resource(json!("*"), json!({"StringEquals": {"aws:PrincipalOrgID": "o"}})),
        ["any principal is allowed, under conditions"]
    );
    assert!(resource(json!({"AWS": "arn:aws:iam::1:root"}), Value::Null).is_empty());
    for text in ["", "{", "[]", "{\"Statement\": 1}"] {
        let change = json!({"actions": ["create"], "after": {"policy": text}});
        assert!(security("aws_iam_policy", &change).is_empty(), "{text}");
    }
}

#[test]
fn a_removed_protection_is_marked() {
    let kind = "aws_s3_bucket_public_access_block";
    let before = json!({"block_public_acls": true});
    let removed = |actions: &[&str]| {
        security(
            kind,
            &json!({"actions": actions, "before": before, "after": {"block_public_acls": true}}),
        )
    };
    assert_eq!(removed(&["delete"]), ["block of public access removed"]);
    assert!(removed(&["delete", "create"]).is_empty() && removed(&["no-op"]).is_empty());
}
