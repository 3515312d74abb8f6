//! Releases of the reference program are still deployed.

use crate::support::{Project, Reference};

#[test]
fn a_release_of_the_reference_is_deployed_with_a_warning() {
    let project = Project::local("greeting");
    project
        .append(
            "infra/main.tf",
            "module \"inner\" {\n  source = \"./inner\"\n}\noutput \"inner\" {\n  value = \
            module.inner.text\n}\n",
        )
        .append("infra/main.tf", "output \"colour\" {\n  value = var.release[\"colour\"]\n}\n")
        .write("infra/inner/main.tf", "output \"text\" {\n  value = \"from within\"\n}\n")
        .commit("A module");
    Reference::new(&project, "1").data("colour", "red").publish();

    let inspected = project.cdflow(["inspect", "1", "--json"]).run();
    let document = inspected.success().json();
    assert_eq!(
        (&document["bundle_digest"], &document["release"]["colour"]),
        (&serde_json::Value::Null, &"red".into())
    );
    project.cdflow(["inspect", "1"]).run().success().stdout_has("bundle digest      -");

    let output = project.deploy("live", "1");
    output
        .stderr_has(
            "warning: this bundle has no manifest.json (another program made it), so its \
        content is not verified",
        )
        .stdout_has("Good day from live.local.example, version 1")
        .stdout_has("inner = \"from within\"")
        .stdout_has("colour = \"red\"");
    project.left_no_trace(&output);
    assert_eq!(project.ledger("live"), ["deploy 1 succeeded"]);
    assert!(project.ledger_entries("live")[0].0["bundle_digest"].is_null());

    project.deploy("live", "1").stderr_has("no changes");
    // The version is taken, also by a release of ours.
    let says = [
        "version 1 of `greeting` is already published from other sources",
        "another program made it",
    ];
    project.refuses_run(project.releasing("1"), 3, &says);
    // And a release of ours takes its place.
    project
        .edit("infra/main.tf", "output \"colour\" {\n  value = var.release[\"colour\"]\n}\n", "")
        .commit("No colour");
    project.release("2");
    project.deploy("live", "2").stderr_has("0 added, 1 changed, 0 destroyed");
    project.cdflow(["destroy", "live", "1", "--confirm", "live"]).run().success();
    assert_eq!(project.ledger("live").last().unwrap(), "destroy 1 succeeded");
}
