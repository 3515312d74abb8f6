//! What IAM would say to the requests of roles. moto allows everything, so their policies are
//! compared with the requests afterwards.

use super::Aws;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// A request that was signed with the credentials of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoleRequest {
    /// `arn:aws:iam::111111111111:role/name`
    pub(crate) role: String,
    /// `s3:GetObject`
    pub(crate) action: String,
    /// The ARN of what it is about.
    pub(crate) resource: String,
}

impl Aws {
    /// The requests of all roles whose name begins with `prefix`, in their order. Those that need
    /// no permission are left out.
    pub(crate) fn requests_of_roles(&self, prefix: &str) -> Vec<RoleRequest> {
        let roles = self.roles_of_keys();
        let of = |call: &Value| {
            let role = roles[call["key"].as_str()?].as_str()?;
            let is_meant = role_name(role).starts_with(prefix);
            let (line, target) = (call["line"].as_str()?, call["target"].as_str()?);
            let (action, resource) = is_meant.then(|| meaning(line, target))??;
            Some(RoleRequest { role: role.to_owned(), action, resource })
        };
        self.calls("").iter().filter_map(of).collect()
    }

    /// Whether the policies of the role allow it, and for another role, that role's trust.
    pub(crate) fn is_allowed(&self, request: &RoleRequest) -> bool {
        let RoleRequest { role, action, resource } = request;
        let account = account(role);
        let name = json!({ "RoleName": role_name(role) });
        let own = self.list(account, "iam", "list_role_policies", "PolicyNames", name.clone());
        let own = own.iter().map(|policy| {
            let args = json!({ "RoleName": role_name(role), "PolicyName": policy });
            self.call(account, "iam", "get_role_policy", args)["PolicyDocument"].clone()
        });
        let listed = "list_attached_role_policies";
        let attached = self.list(account, "iam", listed, "AttachedPolicies", name);
        let attached = attached.iter().map(|policy| {
            let arn = &policy["PolicyArn"];
            let found = self.call(account, "iam", "get_policy", json!({ "PolicyArn": arn }));
            let version = &found["Policy"]["DefaultVersionId"];
            let args = json!({ "PolicyArn": arn, "VersionId": version });
            self.call(account, "iam", "get_policy_version", args)["PolicyVersion"]["Document"]
                .clone()
        });
        let allows = own.chain(attached).any(|policy| {
            statements(&policy).iter().any(|it| {
                it["Effect"] == "Allow"
                    && matches(&it["Action"], action)
                    && matches(&it["Resource"], resource)
            })
        });
        let is_trusted = action != "sts:AssumeRole"
            || statements(&self.trust(resource))
                .iter()
                .any(|it| matches(&it["Principal"]["AWS"], role));
        allows && is_trusted
    }

    /// The trust policy of a role.
    pub(crate) fn trust(&self, role: &str) -> Value {
        let args = json!({ "RoleName": role_name(role) });
        self.call(account(role), "iam", "get_role", args)["Role"]["AssumeRolePolicyDocument"]
            .clone()
    }
}

fn account(role: &str) -> &str {
    role.split(':').nth(4).unwrap()
}

fn role_name(role: &str) -> &str {
    role.rsplit('/').next().unwrap()
}

/// The action and resource of a line of `Aws::calls`. None, if everyone may do it.
fn meaning(line: &str, target: &str) -> Option<(String, String)> {
    // The resource is in a body that is not kept.
    if let Some(action) = target.strip_prefix("AmazonSSM.") {
        return Some((format!("ssm:{action}"), "*".to_owned()));
    }
    let (method, rest) = line.split_once(' ').unwrap();
    let (path, query) = rest.split_once('?').unwrap();
    if path == "/" {
        let value = |name: &str| {
            let words = query.split([' ', '&']).filter_map(|word| word.split_once('='));
            let found = words.into_iter().find(|(it, _)| *it == name);
            found.map(|(_, it)| percent_decode_str(it).decode_utf8().unwrap().into_owned())
        };
        return match value("Action").as_deref() {
            Some("GetCallerIdentity") => None,
            Some("AssumeRole") => Some(("sts:AssumeRole".to_owned(), value("RoleArn").unwrap())),
            other => panic!("the action {other:?} has no known permission: {line}"),
        };
    }
    let has = |name: &str| query.split('&').any(|it| it.split('=').next() == Some(name));
    let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let action = match (method, key.is_empty()) {
        ("HEAD", true) => "ListBucket",
        ("GET", true) if has("uploads") => "ListBucketMultipartUploads",
        ("GET", true) if has("list-type") || has("prefix") => "ListBucket",
        ("GET", false) if has("uploadId") => "ListMultipartUploadParts",
        ("GET" | "HEAD", false) => "GetObject",
        ("PUT", false) => "PutObject",
        ("POST", false) if has("uploads") || has("uploadId") => "PutObject",
        ("DELETE", false) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", false) => "DeleteObject",
        _ => panic!("the request has no known permission: {line}"),
    };
    let resource = match key.is_empty() {
        true => format!("arn:aws:s3:::{bucket}"),
        false => format!("arn:aws:s3:::{bucket}/{key}"),
    };
    Some((format!("s3:{action}"), resource))
}

fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    }
}

/// One pattern or a list of them, with `*`.
fn matches(patterns: &Value, text: &str) -> bool {
    match patterns {
        Value::Array(patterns) => patterns.iter().any(|it| matches(it, text)),
        Value::String(pattern) => is_like(pattern, text),
        _ => false,
    }
}

/// Whether the text is like the pattern, in which `*` is any text.
pub(crate) fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).any(|at| text.get(at..).is_some_and(|it| is_like(rest, it)))
        }),
    }
}
