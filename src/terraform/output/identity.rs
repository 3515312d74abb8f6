//! What identifies the object of a resource outside of Terraform: the names in its plan, and the
//! ID with which Terraform would import it.

use std::collections::BTreeMap;

use serde_json::Value;

/// The import ID of common types, made of attributes that a plan knows before the object exists.
/// Each is documented under "Import" on the provider's page of the type.
const IMPORT_IDS: [(&str, &str); 52] = [
    ("aws_athena_workgroup", "{name}"),
    ("aws_autoscaling_group", "{name}"),
    ("aws_cloudwatch_dashboard", "{dashboard_name}"),
    ("aws_cloudwatch_event_rule", "{event_bus_name}/{name}"),
    ("aws_cloudwatch_log_group", "{name}"),
    ("aws_cloudwatch_metric_alarm", "{alarm_name}"),
    ("aws_db_instance", "{identifier}"),
    ("aws_db_parameter_group", "{name}"),
    ("aws_db_subnet_group", "{name}"),
    ("aws_dynamodb_table", "{name}"),
    ("aws_ecr_lifecycle_policy", "{repository}"),
    ("aws_ecr_repository", "{name}"),
    ("aws_ecr_repository_policy", "{repository}"),
    ("aws_ecs_cluster", "{name}"),
    ("aws_eks_cluster", "{name}"),
    ("aws_eks_node_group", "{cluster_name}:{node_group_name}"),
    ("aws_elasticache_cluster", "{cluster_id}"),
    ("aws_elasticache_parameter_group", "{name}"),
    ("aws_elasticache_replication_group", "{replication_group_id}"),
    ("aws_elasticache_subnet_group", "{name}"),
    ("aws_iam_group", "{name}"),
    ("aws_iam_instance_profile", "{name}"),
    ("aws_iam_role", "{name}"),
    ("aws_iam_role_policy", "{role}:{name}"),
    ("aws_iam_role_policy_attachment", "{role}/{policy_arn}"),
    ("aws_iam_user", "{name}"),
    ("aws_iam_user_policy", "{user}:{name}"),
    ("aws_iam_user_policy_attachment", "{user}/{policy_arn}"),
    ("aws_key_pair", "{key_name}"),
    ("aws_kinesis_stream", "{name}"),
    ("aws_kms_alias", "{name}"),
    ("aws_lambda_alias", "{function_name}/{name}"),
    ("aws_lambda_function", "{function_name}"),
    ("aws_lambda_permission", "{function_name}/{statement_id}"),
    ("aws_launch_configuration", "{name}"),
    ("aws_rds_cluster", "{cluster_identifier}"),
    ("aws_rds_cluster_instance", "{identifier}"),
    ("aws_rds_cluster_parameter_group", "{name}"),
    ("aws_redshift_cluster", "{cluster_identifier}"),
    ("aws_s3_bucket", "{bucket}"),
    ("aws_s3_bucket_cors_configuration", "{bucket}"),
    ("aws_s3_bucket_lifecycle_configuration", "{bucket}"),
    ("aws_s3_bucket_notification", "{bucket}"),
    ("aws_s3_bucket_ownership_controls", "{bucket}"),
    ("aws_s3_bucket_policy", "{bucket}"),
    ("aws_s3_bucket_public_access_block", "{bucket}"),
    ("aws_s3_bucket_server_side_encryption_configuration", "{bucket}"),
    ("aws_s3_bucket_versioning", "{bucket}"),
    ("aws_s3_bucket_website_configuration", "{bucket}"),
    ("aws_s3_object", "{bucket}/{key}"),
    ("aws_ssm_document", "{name}"),
    ("aws_ssm_parameter", "{name}"),
];
/// Attributes that name an object in many types. Others whose name ends as in [`NAME_ENDS`] do too.
const NAMES: [&str; 6] = ["arn", "bucket", "id", "identifier", "key", "name"];
const NAME_ENDS: [&str; 3] = ["_name", "_identifier", "_prefix"];
/// In bytes. A longer value is not a name.
const MAX_NAME: usize = 512;

/// The attributes that name an object, and its import ID if they are enough for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) names: BTreeMap<String, String>,
    pub(crate) import_id: Option<String>,
}

impl Identity {
    /// `values` are the attributes that the plan knows; `sensitive` marks those that it hides.
    pub(super) fn of(kind: &str, values: &Value, sensitive: &Value) -> Self {
        let attribute = |name: &str| {
            let is_open = matches!(sensitive.get(name), None | Some(Value::Bool(false)))
                && *sensitive != Value::Bool(true);
            let text = values.get(name)?.as_str()?;
            let is_name = (1..=MAX_NAME).contains(&text.len()) && !text.contains(char::is_control);
            (is_open && is_name).then(|| text.to_owned())
        };
        let template = IMPORT_IDS.iter().find(|(of, _)| *of == kind).map(|(_, template)| *template);
        let fields = values.as_object().into_iter().flat_map(|fields| fields.keys());
        let is_name = |name: &str| {
            NAMES.contains(&name)
                || NAME_ENDS.iter().any(|end| name.ends_with(end))
                || template.is_some_and(|template| template.contains(&format!("{{{name}}}")))
        };
        Self {
            names: fields
                .filter(|name| is_name(name))
                .filter_map(|name| Some((name.clone(), attribute(name)?)))
                .collect(),
            import_id: template.and_then(|template| fill(template, attribute)),
        }
    }
}

/// Replaces each `{name}` by its attribute. None if one is unknown.
fn fill(template: &str, attribute: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut parts = template.split('{');
    let mut filled = parts.next()?.to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}')?;
        filled.push_str(&attribute(name)?);
        filled.push_str(rest);
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_import_id_needs_every_part() {
        let of = |kind: &str, values: Value| Identity::of(kind, &values, &json!({})).import_id;
        for (kind, values, id) in [
            ("aws_ssm_parameter", json!({"name": "/a/b"}), Some("/a/b")),
            ("aws_ssm_parameter", json!({"name": null}), None),
            ("aws_s3_object", json!({"bucket": "b", "key": "k/l"}), Some("b/k/l")),
            ("aws_s3_object", json!({"bucket": "b"}), None),
            ("aws_iam_role_policy", json!({"role": "r", "name": "n"}), Some("r:n")),
            ("aws_sns_topic", json!({"name": "n"}), None),
        ] {
            assert_eq!(of(kind, values.clone()).as_deref(), id, "{kind} {values}");
        }
        assert!(IMPORT_IDS.is_sorted(), "sorted, so that no type is listed twice");
    }

    #[test]
    fn sensitive_values_and_contents_are_no_names() {
        let values = json!({"name": "n", "value": "v", "user_name": "u", "key": "a\nb", "id": ""});
        let found = Identity::of("aws_ssm_parameter", &values, &json!({"user_name": true}));
        assert_eq!(found.names, BTreeMap::from([("name".to_owned(), "n".to_owned())]));
        let values = json!({"name": "n"});
        let hidden = Identity::of("aws_ssm_parameter", &values, &json!({"name": true}));
        assert_eq!(hidden, Identity::default());
        assert_eq!(Identity::of("aws_ssm_parameter", &values, &json!(true)), Identity::default());
    }
}
