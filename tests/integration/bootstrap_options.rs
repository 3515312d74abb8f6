//! The optional variables of examples/bootstrap, with the real provider: what each of them adds,
//! and what a wrong value is answered with.

use crate::support::{
    Aws, DEV, Mirror, Output, PROD, RELEASE, RoleRequest, Sandbox, files_under, in_repository,
    terraform,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const MODULE: &str = "examples/bootstrap";
const ISSUER: &str = "ghes.test/_services/token";

struct Module {
    aws: Aws,
    sandbox: Sandbox,
}

impl Module {
    fn new(name: &str) -> Self {
        let (aws, sandbox) = (Aws::new(name), Sandbox::new());
        let (from, folder) = (in_repository(MODULE), sandbox.work());
        for file in files_under(&from).iter().filter(|it| it.ends_with(".tf")) {
            fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
            fs::copy(from.join(file), folder.join(file)).unwrap();
        }
        let module = Self { aws, sandbox };
        module.terraform(&["init"]).success();
        module
    }

    fn terraform(&self, arguments: &[&str]) -> Output {
        let more = ["-no-color", "-input=false"];
        let arguments = arguments[..1].iter().chain(&more).chain(&arguments[1..]);
        terraform(&self.sandbox, self.sandbox.work(), arguments)
            .providers(&Mirror::aws())
            .envs(self.aws.env())
            .timeout(Duration::from_secs(600))
            .run()
    }

    fn prefix(&self) -> String {
        format!("{}-org", self.aws.name())
    }

    /// Gives the variables their values: the required ones, and these.
    fn sets(&self, optional: &Value) {
        let mut values = json!({
            "prefix": self.prefix(),
            "region": "eu-west-1",
            "accounts": { "release": RELEASE, "dev": DEV, "prod": PROD },
            "repositories": ["acme/checkout"],
            "deploy_policies": [format!("{}-all", self.aws.name())],
        });
        let values = values.as_object_mut().unwrap();
        values.extend(optional.as_object().unwrap().clone());
        let file = self.sandbox.work().join("terraform.tfvars.json");
        fs::write(file, json!(values).to_string()).unwrap();
    }

    fn role(&self, account: &str, name: &str) -> String {
        format!("arn:aws:iam::{account}:role/{}-{name}", self.prefix())
    }

    fn may(&self, role: &str, action: &str, resource: &str) -> bool {
        let (action, resource) = (action.to_owned(), resource.to_owned());
        self.aws.is_allowed(&RoleRequest { role: self.role(RELEASE, role), action, resource })
    }
}

fn code() -> String {
    fs::read_to_string(in_repository(MODULE).join("variables.tf")).unwrap()
}

#[test]
fn each_optional_variable_has_its_effect() {
    let module = Module::new("options");
    let (aws, prefix) = (&module.aws, module.prefix());
    let (all, plans) = (format!("{}-all", aws.name()), format!("{}-plans", aws.name()));
    let statement = json!({ "Effect": "Allow", "Action": "ssm:*", "Resource": "*" });
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
    for (account, name) in [(DEV, &all), (PROD, &all), (DEV, &plans), (PROD, &plans)] {
        let args = json!({ "PolicyName": name, "PolicyDocument": document });
        aws.call(account, "iam", "create_policy", args);
    }
    let person = format!("arn:aws:iam::{RELEASE}:role/{}-person", aws.name());
    let provider = format!("arn:aws:iam::{RELEASE}:oidc-provider/{ISSUER}");
    let optional = json!({
        "access_roles": { "release": "Admin", "dev": "Admin", "prod": "Admin" },
        "environments": { "ci": "dev", "staging": "prod", "live": "prod", "*": "dev" },
        "release_refs": ["refs/heads/main", "refs/tags/v*"],
        "plan_policies": [plans],
        "images": true,
        "prune": true,
        "previews": true,
        "stored_plans": true,
        "people": [person],
        "old_versions_days": 30,
        "oidc_provider_arn": provider,
        "oidc_issuer": ISSUER,
    });
    // A new variable needs a value here, and a check below.
    let code = code();
    let with_default = code.split("\nvariable \"").filter_map(|block| {
        let is_optional = block.lines().any(|line| line.trim_start().starts_with("default "));
        is_optional.then(|| block.split('"').next().unwrap().to_owned())
    });
    let known: BTreeSet<String> = optional.as_object().unwrap().keys().cloned().collect();
    assert_eq!(with_default.collect::<BTreeSet<_>>(), known);
    module.sets(&optional);
    module.terraform(&["apply", "-auto-approve"]).success();

    // The provider for GitHub is the existing one, and every role for GitHub trusts its issuer.
    let listed = terraform(&module.sandbox, module.sandbox.work(), ["state", "list"]).run();
    listed.success().lacks("openid_connect_provider");
    let trust = aws.trust(&module.role(RELEASE, "github-preview"));
    let statement = &trust["Statement"][0];
    assert_eq!(statement["Principal"]["Federated"], provider.as_str());
    let subjects = &statement["Condition"]["StringLike"][format!("{ISSUER}:sub")];
    let of = |subject: &str| format!("repo:acme/checkout:{subject}");
    for subject in ["pull_request", "ref:refs/heads/main", "ref:refs/tags/v*"] {
        let listed = subjects.as_array().unwrap();
        assert!(listed.contains(&of(subject).into()), "{subject}: {trust}");
    }
    let trust = aws.trust(&module.role(RELEASE, "github-staging"));
    let subjects = &trust["Statement"][0]["Condition"]["StringEquals"][format!("{ISSUER}:sub")];
    assert_eq!(*subjects, of("environment:staging"));

    let images = format!("arn:aws:ecr:eu-west-1:{RELEASE}:repository/checkout");
    assert!(module.may("release", "ecr:GetAuthorizationToken", "*"));
    assert!(module.may("release-plan", "ecr:PutImage", &images));
    assert!(module.may("release", "ecr:BatchDeleteImage", &images));
    assert!(!module.may("release-plan", "ecr:BatchDeleteImage", &images));
    let object = |key: &str| format!("arn:aws:s3:::{prefix}-releases/platform/checkout/{key}");
    assert!(module.may("release", "s3:DeleteObject", &object("checkout-1.zip")));
    assert!(module.may("release", "s3:DeleteObject", &object("reviews/live/7/abcdef0/1.json")));
    assert!(!module.may("release", "s3:DeleteObject", &object("ledger/live/1.start.json")));
    assert!(!module.may("release-plan", "s3:DeleteObject", &object("checkout-1.zip")));
    let assumes = |role: &str, target: &str| module.may(role, "sts:AssumeRole", target);
    assert!(assumes("github-preview", &module.role(DEV, "deploy-dev")));
    assert!(!assumes("github-preview", &module.role(PROD, "deploy-prod")));
    assert!(assumes("github-staging", &module.role(PROD, "deploy-prod")));
    for (account, name) in
        [(RELEASE, "release"), (RELEASE, "release-plan"), (DEV, "deploy-dev"), (PROD, "plan-prod")]
    {
        let trust = aws.trust(&module.role(account, name));
        assert!(trust.to_string().contains(&person), "{name}: {trust}");
    }
    for (role, policy) in [("deploy-dev", &all), ("plan-dev", &plans)] {
        let name = json!({ "RoleName": format!("{prefix}-{role}") });
        let listed = "list_attached_role_policies";
        let attached = aws.list(DEV, "iam", listed, "AttachedPolicies", name);
        let names: Vec<&Value> = attached.iter().map(|it| &it["PolicyName"]).collect();
        assert_eq!(names, [policy]);
    }
    let bucket = json!({ "Bucket": format!("{prefix}-state") });
    let rules = aws.call(RELEASE, "s3", "get_bucket_lifecycle_configuration", bucket);
    assert!(rules.to_string().contains(r#""NoncurrentDays":30"#), "{rules}");
    let scheme = aws.get_json(&prefix, "account-scheme.json");
    stored_plans(&module, &scheme["plan-encryption"]);
    assert_eq!(scheme["environments"], optional["environments"]);
}

/// Who stores a plan cannot read it, and the key's own policy lets the accounts decide who does.
fn stored_plans(module: &Module, encryption: &Value) {
    assert_eq!(encryption["type"], "aws:kms");
    let key = encryption["key"].as_str().unwrap();
    let may = |(account, role): (&str, &str), action: &str| {
        let (role, action) = (module.role(account, role), format!("kms:{action}"));
        module.aws.is_allowed(&RoleRequest { role, action, resource: key.to_owned() })
    };
    for (deploy, plan) in
        [((DEV, "deploy-dev"), (DEV, "plan-dev")), ((PROD, "deploy-prod"), (PROD, "plan-prod"))]
    {
        assert!(may(deploy, "Decrypt") && !may(deploy, "GenerateDataKey"), "{deploy:?}");
        assert!(may(plan, "GenerateDataKey") && !may(plan, "Decrypt"), "{plan:?}");
    }
    let args = json!({ "KeyId": key, "PolicyName": "default" });
    let policy = module.aws.call(RELEASE, "kms", "get_key_policy", args)["Policy"].clone();
    let policy: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    let roles = &policy["Statement"][1];
    assert_eq!(roles["Action"], json!(["kms:GenerateDataKey", "kms:Decrypt"]));
    let roots = [DEV, PROD].map(|account| format!("arn:aws:iam::{account}:root"));
    let mut named: Vec<String> = serde_json::from_value(roles["Principal"]["AWS"].clone()).unwrap();
    named.sort();
    assert_eq!(named, roots);
}

/// Every validation of the module is seen to refuse something.
#[test]
fn wrong_values_are_refused_with_what_is_right() {
    let module = Module::new("wrong");
    let refused = |optional: &Value| {
        module.sets(optional);
        let output = module.terraform(&["plan"]);
        output.fails(1);
        // Terraform breaks the lines.
        let words = output.stderr.split_whitespace().filter(|word| !"╷│╵".contains(word));
        words.collect::<Vec<_>>().join(" ")
    };
    let said = refused(&json!({
        "prefix": "Acme",
        "region": "Ireland",
        "accounts": { "release": "1", "dev": "2", "prod": "3" },
        "environments": { "Live!": "elsewhere", "preview": "dev" },
        "repositories": ["acme/*"],
        "release_refs": ["main"],
        "deploy_policies": [],
        "plan_policies": ["a b"],
        "people": ["ada"],
        "old_versions_days": 0.5,
    })) + &refused(&json!({ "environments": { "ci": "dev" }, "previews": true }));
    let code = code();
    let messages: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("error_message = \"")?.strip_suffix('"'))
        .collect();
    assert!(messages.len() >= 11, "{messages:?}");
    for message in messages {
        let message = message.replace("\\\"", "\"");
        assert!(said.contains(&message), "{message}: not in {said}");
    }
}
