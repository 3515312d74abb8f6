//! All rules of an organization, for many components.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use semver::Version;
use serde_json::{Value, json};

use super::plan;
use crate::{
    base::{
        digest::Sha256,
        document,
        error::{Exit, Result},
    },
    config::{
        guards::{DeployGuards, GuardSettings},
        hooks::Hooks,
        names::Environment,
        scheme::AccountScheme,
    },
    release::policy_check,
    terraform::{
        output::{
            changes::{ChangeAction, Changes, ResourceChange},
            identity::Identity,
        },
        tool::{Flavor, Tool},
    },
};

const COMPONENTS: usize = 200;
/// The digest of every program of a hook.
const PROGRAM: &[u8] = b"#!/bin/sh\n";

/// What the rules judge: the texts that a release has, and what its plan does.
struct Judged {
    number: usize,
    /// Has the lock file and `modules.json`.
    infra: PathBuf,
    /// `deploy` of cdflow.yml.
    deploy: String,
    /// `hooks.json`
    hooks: String,
    changes: Changes,
}

impl Judged {
    /// No two are the same. Of fifty, each of five breaks one rule.
    fn new(folder: &Path, number: usize) -> Self {
        let infra = folder.join(format!("component-{number}"));
        let modules = infra.join(".terraform/modules");
        fs::create_dir_all(&modules).unwrap();
        fs::write(infra.join(".terraform.lock.hcl"), lock_file(number)).unwrap();
        fs::write(modules.join("modules.json"), index(number).to_string()).unwrap();
        let policy = json!({ "name": "policy", "run": format!("hooks/policy-{number}.sh") });
        let hooks = match number % 50 {
            13 => json!({ "on-plan": ["lint"] }),
            _ => json!({ "on-plan": ["lint", policy] }),
        };
        let deploy = format!(
            "max-destroy: {}\nprotect: [aws_s3_bucket.of_{number}]\nenvironments: {{live: \
             {{requires: aslive}}}}\n",
            number + 10
        );
        let changes = changes(number);
        Self { number, infra, deploy, hooks: hooks.to_string(), changes }
    }

    /// Returns the part of the one refusal; None if every rule allows the release.
    fn expected(&self) -> Option<&'static str> {
        match self.number % 50 {
            7 => Some(": `policy.providers.hashicorp/p"),
            11 => Some("`policy.module-sources` in scheme.json allows"),
            13 => Some("there is no hook `policy` (`policy.required-hooks` in scheme.json)"),
            17 => Some("but `max-destroy` is 2"),
            19 => Some("the plan would destroy protected resources"),
            _ => None,
        }
    }

    fn refusals(&self, scheme: &AccountScheme, tool: &Tool, live: &Environment) -> Vec<String> {
        let what = format!("release {}", self.number);
        let hooks: Hooks = serde_json::from_str(&self.hooks).unwrap();
        let deploy: GuardSettings = document::from_yaml("cdflow.yml", &self.deploy).unwrap();
        let guards = DeployGuards::of(live, &deploy, (&scheme.policy.guards, scheme.file.as_str()));
        assert!(guards.requires_review && guards.review.count == 2 && guards.requires.len() == 1);
        let judged: [Result<()>; 3] = [
            policy_check::check(scheme, tool, &self.infra, &what),
            policy_check::check_hooks(scheme, &hooks, |_| Some(Sha256::of(PROGRAM)), &what),
            plan::judge(&self.changes, &guards, &[]).map(drop),
        ];
        let refused = judged.into_iter().filter_map(Result::err);
        refused
            .map(|error| {
                assert_eq!(error.exit(), Exit::Refused);
                error.to_string()
            })
            .collect()
    }
}

/// Four providers of the fifteen that the policy names.
fn lock_file(number: usize) -> String {
    let block = |provider: usize| {
        let major = if number % 50 == 7 && provider == number % 15 { 6 } else { 5 };
        let digest = |part: usize| Sha256::of(format!("{number} {provider} {part}").as_bytes());
        format!(
            "provider \"registry.terraform.io/hashicorp/p{provider}\" {{\n  version     = \
             \"{major}.{}.{number}\"\n  constraints = \">= 5.0.0\"\n  hashes = [\n    \
             \"zh:{}\",\n    \"zh:{}\",\n  ]\n}}\n",
            provider + 1,
            digest(1),
            digest(2)
        )
    };
    (number..number + 4).map(|provider| block(provider % 15)).collect()
}

/// Ten modules, and the root module.
fn index(number: usize) -> Value {
    let module = |key: String| {
        let source = match number % 50 {
            11 if key == "m3" => format!("git::https://evil.example/acme/m{number}.git"),
            _ => format!("registry.terraform.io/acme/{key}-of-{number}/aws"),
        };
        json!({ "Key": key, "Source": source, "Version": "1.0.0",
            "Dir": format!(".terraform/modules/{key}") })
    };
    let root = json!({ "Key": "", "Source": "", "Dir": "." });
    let modules = (0..10).map(|it| module(format!("m{it}")));
    json!({ "Modules": std::iter::once(root).chain(modules).collect::<Vec<_>>() })
}

/// Twenty changes, of which two or three destroy something.
fn changes(number: usize) -> Changes {
    let change = |kind: &str, name: usize, action: ChangeAction| ResourceChange {
        address: format!("{kind}.of_{number}[{name}]"),
        moved_from: None,
        is_import: false,
        kind: kind.to_owned(),
        action,
        deposed: None,
        reason: None,
        identity: Identity::default(),
        risk: Default::default(),
    };
    let queues = (0..18).map(|name| change("aws_sqs_queue", name, ChangeAction::Update));
    let mut resources: Vec<ResourceChange> = queues.collect();
    resources.push(change("aws_sqs_queue", 18, ChangeAction::Replace));
    resources.push(match number % 50 {
        19 => change("aws_db_instance", 0, ChangeAction::Delete),
        _ => change("aws_sqs_queue", 19, ChangeAction::Delete),
    });
    if number % 50 == 17 {
        resources.push(change("aws_sqs_queue", 20, ChangeAction::Delete));
    }
    Changes { resources, ..Changes::default() }
}

fn scheme() -> AccountScheme {
    let providers: serde_json::Map<String, Value> =
        (0..15).map(|it| (format!("hashicorp/p{it}"), json!(">= 5.0, < 6.0"))).collect();
    let text = json!({
        "accounts": { "prod": { "id": "123456789012", "role": "cdflow" } },
        "release-account": "prod",
        "release-bucket": "acme-releases",
        "lambda-bucket": "acme-lambdas",
        "default-region": "eu-west-1",
        "terraform-backend-s3-bucket": "acme-state",
        "environments": { "live": "prod", "aslive": "prod", "*": "prod" },
        "policy": {
            "terraform-version": ">= 1.9",
            "providers": providers,
            "provider-sources": ["acme", "registry.acme.example", "hashicorp"],
            "module-sources": ["terraform-aws-modules/", "git::https://github.com/acme/", "acme/"],
            "required-hooks": ["lint", { "name": "policy", "sha256": Sha256::of(PROGRAM) }],
            "max-destroy": 2,
            "protect": ["aws_db_instance", "module.data"],
            "require-review": true,
            "approvals": { "count": 2, "teams": ["platform"] },
            "environments": { "live": { "requires": "aslive", "branches": ["main"] } },
        },
    });
    let (team, component) = ("platform".parse().unwrap(), "checkout".parse().unwrap());
    AccountScheme::parse("scheme.json", None, &text.to_string(), &team, &component).unwrap()
}

/// Returns the time for which this thread had a processor: other programs do not change it.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn two_hundred_components_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<Judged> = (0..COMPONENTS).map(|it| Judged::new(folder.path(), it)).collect();
    let (scheme, live) = (scheme(), "live".parse().unwrap());
    let tool = Tool::installed("/bin/terraform".into(), Flavor::Terraform, Version::new(1, 11, 4));
    let judge = || {
        let began = processor_time();
        let refusals = all.iter().map(|it| it.refusals(&scheme, &tool, &live));
        let refusals: Vec<Vec<String>> = refusals.collect();
        (processor_time() - began, refusals)
    };
    let (took, refusals) = judge();
    for (judged, refused) in all.iter().zip(&refusals) {
        match (judged.expected(), &refused[..]) {
            (None, []) => {}
            (Some(part), [one]) if one.contains(part) => {}
            (expected, _) => panic!("{}: {expected:?}: {refused:?}", judged.number),
        }
    }
    // The fastest of three rounds counts: a processor that others use too has less of a cache.
    let is_slow = |took: &Duration| *took >= Duration::from_secs(1);
    let mut rounds = vec![took];
    while rounds.iter().all(is_slow) && rounds.len() < 3 {
        rounds.push(judge().0);
    }
    assert!(!rounds.iter().all(is_slow), "{rounds:?}");
}
