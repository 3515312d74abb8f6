//! Rules of the organisation for every component: `policy` of the account scheme.

use crate::support::github::{GitHub, TOKEN};
use crate::support::{Aws, Mirror, Project, Runner, pull_request_event};
use serde_json::{Value, json};

fn with_policy(project: &Project, policy: Value) {
    project.edit_json("account-scheme.json", |scheme| scheme["policy"] = policy);
    project.commit("A policy");
}

#[test]
fn a_release_is_made_of_what_the_policy_allows() {
    let mirror = Mirror::tiny();
    let project = Project::local("greeting").with_tiny_provider(mirror);
    project.append("infra/main.tf", "\nmodule \"own\" {\n  source = \"./own\"\n}\n");
    project.write("infra/own/main.tf", "resource \"terraform_data\" \"x\" {}\n").commit("Own");
    let refused = |policy: Value, says: &[&str]| {
        with_policy(&project, policy);
        let release = ["release", "1", "--platform-config", "platform-config"];
        project.refuses(release, 3, says);
    };
    refused(
        json!({ "provider-sources": ["acme"], "module-sources": [],
            "providers": { "hashicorp/tiny": "~> 2.0" } }),
        &[
            "release 1 uses what the policy does not allow",
            "provider registry.terraform.io/hashicorp/tiny 1.0.0: `policy.provider-sources` in \
             ./account-scheme.json allows only the sources that it lists",
            "`policy.providers.hashicorp/tiny` in ./account-scheme.json allows `~> 2.0`",
        ],
    );
    refused(
        json!({ "terraform-version": "< 1.6.1" }),
        &["is not allowed: `policy.terraform-version` in ./account-scheme.json allows `< 1.6.1`"],
    );
    with_policy(&project, json!({ "terraform-versoin": "1" }));
    project.refuses(["release", "1"], 2, &["account-scheme.json:", "`terraform-version`?"]);
    with_policy(&project, json!({ "provider-sources": ["hashicorp"], "module-sources": [] }));
    project.release("1");
}

/// A release that was made before the rule is judged by it.
#[test]
fn an_older_release_is_judged_by_the_policy_of_today() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.edit("infra/main.tf", "from ${var.env}", "in ${var.env}").commit("Another text");
    project.release("2");
    project.deploy("live", "2");
    with_policy(&project, json!({ "terraform-version": "> 99" }));
    let says = ["release 1 uses what the policy does not allow", "`policy.terraform-version`"];
    project.refuses(["deploy", "ci", "1"], 3, &says);
    project.refuses(["deploy", "ci", "1", "--plan-only"], 3, &says);
    // The way back stays open.
    project.cdflow(["rollback", "live"]).run().success();
    with_policy(&project, json!({ "environments": { "live": { "prevent-destroy": true } } }));
    let destroy = ["destroy", "live", "--confirm", "live"];
    let rule = "the rule is `policy.environments.live.prevent-destroy` in ./account-scheme.json";
    project.refuses(destroy, 3, &["cannot destroy the environment `live`", rule]);
    let planned = project.cdflow(["destroy", "live", "--plan-only"]).run();
    planned
        .success()
        .stderr_has("a destroy would be refused: cannot destroy the environment `live`");
}

#[test]
fn only_commits_of_a_branch_are_deployed() {
    let project = Project::local("greeting");
    let github = GitHub::start();
    let on_branch = project.head();
    project.release("1");
    let topic = project.edit("infra/main.tf", "from ${", "in ${").commit("A topic");
    project.append(
        "cdflow.yml",
        "deploy: {environments: {live: {branches: [main]}, ci: {branches: ['release/*']}}}\n",
    );
    project.release("2");
    let deploy = |environment: &str, version: &str, more: &[&str]| {
        let arguments = [&["deploy", environment, version], more].concat();
        project.cdflow(arguments).envs(github.env()).env("GITHUB_TOKEN", TOKEN)
    };
    let newer = "c".repeat(40);
    github.world().branches.extend([
        ("main".to_owned(), vec![on_branch.clone(), newer.clone()]),
        // A name that begins in the same way.
        ("mainline".to_owned(), vec![on_branch.clone(), topic.clone()]),
        ("release/1".to_owned(), vec![on_branch.clone()]),
    ]);
    let says = format!(
        "release 2 may not be deployed to `live`: its commit {topic} is not on `main`: the rule is \
         `deploy.environments.live.branches` in cdflow.yml"
    );
    let fails = |runner: Runner, code: i32, says: &str| {
        let output = runner.run();
        assert_eq!(output.code, code, "{output}");
        output.stdout_has(says);
    };
    fails(deploy("live", "2", &[]), 3, &says);
    deploy("live", "2", &["--plan-only"]).run().success().stdout_has(&says);
    fails(deploy("ci", "2", &[]), 3, "is not on `release/*`");
    deploy("live", "1", &[]).run().success();
    deploy("ci", "1", &[]).run().success();
    // Where GitHub cannot be asked, nobody knows.
    project.refuses(["deploy", "live", "2"], 2, &["deploy from a workflow of the repository"]);
    let event = pull_request_event(7, &project.head(), "open", &[]);
    let plan = ["deploy", "live", "2", "--plan-only"];
    project.for_pull_request(&github, &event, 1, &plan).run().success().lacks("is not on");
}

#[test]
fn a_pull_request_plans_with_the_role_for_plans() {
    let aws = Aws::new("planrole");
    let mut scheme = aws.scheme();
    scheme["policy"] = json!({ "require-plan-role": true });
    aws.put_scheme(&scheme);
    let project = Project::aws("greeting", &aws);
    project.release("1");
    let github = GitHub::start();
    let event = pull_request_event(7, &project.head(), "open", &[]);
    let plan = || {
        let arguments = ["deploy", "ci", "1", "--plan-only", "--new-environment"];
        project.for_pull_request(&github, &event, 1, &arguments)
    };
    let refused = plan().run();
    refused.fails(3).stdout_has("the account `dev` has no `plan-role` for the plan");
    refused.stdout_has("`policy.require-plan-role` in s3://");
    // Outside of pull requests, who plans may deploy.
    project.cdflow(["deploy", "ci", "1", "--plan-only", "--new-environment"]).run().success();
    scheme["policy"] = json!({});
    aws.put_scheme(&scheme);
    plan().run().success().stdout_has("this pull request plans with `");
    scheme["policy"] = json!({ "require-plan-role": true });
    scheme["accounts"]["dev"]["plan-role"] = format!("{}-plan", aws.name()).into();
    aws.put_scheme(&scheme);
    plan().run().success().lacks("this pull request plans with");
}
