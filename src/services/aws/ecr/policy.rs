//! Who may pull from a repository, and which images go by themselves, as documents.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Of new policies; the reference's, and one that the action list needs nothing newer than.
const VERSION: &str = "2008-10-17";
const PULL: [&str; 3] =
    ["ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability"];
const UNTAGGED_DAYS: u32 = 14;

/// Who may pull from a repository, in addition to its own account.
pub(crate) struct Pullers<'a> {
    /// The account of the repository.
    pub(crate) owner: &'a str,
    pub(crate) region: &'a str,
    /// The ids of the scheme's accounts, in any order; the owner's is passed over.
    pub(crate) others: &'a [&'a str],
    /// Functions of all these accounts as well: the Lambda service pulls in its own name.
    pub(crate) lambda: bool,
}

pub(crate) enum PolicyChange {
    None,
    To(String),
    /// Why the current policy is invalid.
    Unreadable(String),
}

impl Pullers<'_> {
    /// From the present policy to one with our statements. Ours are known by their Sid, all others
    /// stay.
    pub(crate) fn change(&self, current: Option<&str>) -> PolicyChange {
        let mut policy = match current.map(serde_json::from_str::<Value>) {
            None => json!({"Version": VERSION, "Statement": []}),
            Some(Ok(policy)) if policy.is_object() => policy,
            Some(Ok(_)) => return PolicyChange::Unreadable("it is not a JSON object".to_owned()),
            Some(Err(error)) => return PolicyChange::Unreadable(error.to_string()),
        };
        let before = match policy["Statement"].take() {
            Value::Array(statements) => statements,
            Value::Null => Vec::new(),
            one => vec![one],
        };
        let mut ours = self.statements();
        let mut after = Vec::new();
        for statement in &before {
            let sid = statement["Sid"].as_str().unwrap_or_default();
            after.push(ours.remove(sid).unwrap_or_else(|| statement.clone()));
        }
        after.extend(ours.into_values());
        if after.is_empty() || after.iter().map(normal).eq(before.iter().map(normal)) {
            return PolicyChange::None;
        }
        policy["Statement"] = after.into();
        PolicyChange::To(policy.to_string())
    }

    /// By Sid, and so in the order of the ids.
    fn statements(&self) -> BTreeMap<String, Value> {
        let mut others: Vec<&str> =
            self.others.iter().copied().filter(|id| *id != self.owner).collect();
        others.sort_unstable();
        others.dedup();
        let mut statements: BTreeMap<String, Value> = others
            .iter()
            .map(|id| {
                let sid = format!("allow {id}");
                let principal = json!({"AWS": format!("arn:{}:iam::{id}:root", self.partition())});
                (
                    sid.clone(),
                    json!({"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": PULL}),
                )
            })
            .collect();
        if self.lambda {
            let functions: Vec<String> = std::iter::once(self.owner)
                .chain(others)
                .map(|id| {
                    format!("arn:{}:lambda:{}:{id}:function:*", self.partition(), self.region)
                })
                .collect();
            let statement = json!({
                "Sid": "allow lambda",
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                "Condition": {"StringLike": {"aws:sourceArn": functions}},
            });
            statements.insert("allow lambda".to_owned(), statement);
        }
        statements
    }

    fn partition(&self) -> &'static str {
        match self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

/// AWS may give back a list of one as the one, and lists in another order.
fn normal(value: &Value) -> Value {
    match value {
        Value::Array(items) => match items.as_slice() {
            [one] => normal(one),
            items => {
                let mut items: Vec<Value> = items.iter().map(normal).collect();
                items.sort_by_key(Value::to_string);
                items.into()
            }
        },
        Value::Object(fields) => {
            let fields: BTreeMap<&String, Value> =
                fields.iter().map(|(name, value)| (name, normal(value))).collect();
            json!(fields)
        }
        other => other.clone(),
    }
}

/// Images go by rule only when they have no tag: they are tries whose release never came.
/// Everything with a tag may be deployed somewhere, also a preview's: built from the same files it
/// may be the same image as a version that is live. Those are for `prune`, which asks the ledger.
/// ECR keeps the untagged parts of an index as long as the index.
pub(crate) fn lifecycle() -> String {
    json!({"rules": [{
        "rulePriority": 1,
        "description": "cdflow: images without a tag belong to no release",
        "selection": {
            "tagStatus": "untagged",
            "countType": "sinceImagePushed",
            "countUnit": "days",
            "countNumber": UNTAGGED_DAYS,
        },
        "action": {"type": "expire"},
    }]})
    .to_string()
}

pub(crate) fn is_our_lifecycle(text: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    parsed(text).is_some_and(|found| parsed(&lifecycle()) == Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pullers<'a>(others: &'a [&'a str], lambda: bool) -> Pullers<'a> {
        Pullers { owner: "111111111111", region: "eu-west-1", others, lambda }
    }

    fn changed(pullers: &Pullers<'_>, current: Option<&str>) -> Value {
        match pullers.change(current) {
            PolicyChange::To(text) => serde_json::from_str(&text).unwrap(),
            _ => panic!("no change"),
        }
    }

    #[test]
    fn the_other_accounts_may_pull() {
        let policy =
            changed(&pullers(&["333333333333", "111111111111", "222222222222"], false), None);
        let statement = |id: &str| {
            json!({
                "Sid": format!("allow {id}"),
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{id}:root")},
                "Action": PULL,
            })
        };
        let statements = [statement("222222222222"), statement("333333333333")];
        assert_eq!(policy, json!({"Version": "2008-10-17", "Statement": statements}));
    }

    #[test]
    fn functions_may_be_pulled_for_in_every_account() {
        let policy = changed(&pullers(&["222222222222"], true), None);
        let statement = &policy["Statement"][1];
        assert_eq!(statement["Principal"], json!({"Service": "lambda.amazonaws.com"}));
        assert_eq!(
            statement["Condition"]["StringLike"]["aws:sourceArn"],
            json!([
                "arn:aws:lambda:eu-west-1:111111111111:function:*",
                "arn:aws:lambda:eu-west-1:222222222222:function:*"
            ])
        );
    }

    #[test]
    fn nothing_is_written_where_nothing_differs() {
        assert!(matches!(pullers(&[], false).change(None), PolicyChange::None));
        assert!(matches!(pullers(&["111111111111"], false).change(None), PolicyChange::None));
        let two = pullers(&["222222222222"], true);
        let mut policy = changed(&two, None);
        // Another order of actions, a foreign statement, and a single value instead of a list of
        // one.
        policy["Statement"][0]["Action"].as_array_mut().unwrap().reverse();
        let foreign =
            json!({"Sid": "x", "Effect": "Deny", "Principal": "*", "Action": "ecr:PutImage"});
        policy["Statement"].as_array_mut().unwrap().insert(0, foreign.clone());
        assert!(matches!(two.change(Some(&policy.to_string())), PolicyChange::None));
        // A changed statement of ours is restored at its position.
        policy["Statement"][1]["Effect"] = "Deny".into();
        let restored = changed(&two, Some(&policy.to_string()));
        assert_eq!(
            (&restored["Statement"][0], &restored["Statement"][1]["Effect"]),
            (&foreign, &"Allow".into())
        );
        assert_eq!(restored["Statement"].as_array().unwrap().len(), 3);
        // AWS takes a policy of one statement without the list, too.
        let alone = json!({"Version": "2012-10-17", "Statement": foreign}).to_string();
        assert!(matches!(pullers(&[], false).change(Some(&alone)), PolicyChange::None));
        assert!(matches!(two.change(Some("[]")), PolicyChange::Unreadable(_)));
    }

    #[test]
    fn a_lifecycle_policy_is_known_again() {
        assert!(is_our_lifecycle(&lifecycle().replace(',', " ,\n ")));
        assert!(!is_our_lifecycle(r#"{"rules": []}"#) && !is_our_lifecycle(""));
    }
}
