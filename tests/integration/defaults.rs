//! `defaults` of the account scheme: settings of components that have no own.

use crate::support::Project;
use serde_json::{Value, json};

fn with_defaults(defaults: Value) -> Project {
    let project = Project::local("greeting");
    project.edit_json("account-scheme.json", |scheme| scheme["defaults"] = defaults);
    project.commit("Defaults");
    project
}

#[test]
fn a_component_without_own_settings_has_those_of_the_organisation() {
    let project = with_defaults(json!({ "deploy": { "require-state": true, "url-output": "no" } }));
    project.release("1");
    let says =
        ["`deploy.require-state` is set in cdflow.yml, or in `defaults` of the account scheme"];
    project.refuses(["deploy", "ci", "1"], 3, &says);
    let deployed = project.cdflow(["deploy", "ci", "1", "--new-environment", "-v"]).run();
    deployed
        .success()
        .stderr_has("from `defaults` of ./account-scheme.json: deploy.require-state, deploy.url-")
        .stderr_has("`defaults.deploy.url-output` of the account scheme");
    project.cdflow(["doctor"]).run().stdout_has("deploy.require-state, deploy.url-output");
    // One key of its own replaces one key.
    project.append("cdflow.yml", "deploy: { require-state: false }\n").commit("Its own");
    let own = project.cdflow(["deploy", "live", "1", "-v"]).run();
    own.success().stderr_has("account-scheme.json: deploy.url-output\n");
}

#[test]
fn a_default_version_yields_to_every_other_source() {
    let project = with_defaults(json!({ "terraform-version": ">= 99" }));
    let place = "`defaults.terraform-version` in ./account-scheme.json";
    let release = ["release", "1", "--platform-config", "platform-config", "--dry-run"];
    project.refuses(release, 2, &[place, ">= 99"]);
    project.cdflow(["doctor"]).run().stdout_has(place);
    project.write(".terraform-version", "1.11.4\n").commit("A version file");
    project.cdflow(release).run().success();
    project.remove(".terraform-version").append("cdflow.yml", "terraform-version: '>= 1.6'\n");
    project.commit("A version in cdflow.yml");
    project.cdflow(release).run().success();
    let flag = with_defaults(json!({ "terraform-version": ">= 99" }));
    flag.cdflow(release).args(["--terraform-version", "1.11.4"]).run().success();
}

/// A limit would look like one, and every component could loosen it.
#[test]
fn guards_are_no_defaults() {
    let project = with_defaults(json!({ "deploy": { "max-destroy": 1 } }));
    project.refuses(["release", "1"], 2, &["account-scheme.json:", "unknown key `max-destroy`"]);
    let project = with_defaults(json!({ "team": "other" }));
    project.refuses(["release", "1"], 2, &["account-scheme.json:", "unknown key `team`"]);
}
