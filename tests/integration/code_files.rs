//! What Terraform reads is what cdflow reads: files, values and links.

use std::{fs, os::unix::fs::symlink};

use crate::support::Project;

#[test]
fn values_reach_variables_wherever_they_are_declared() {
    let project = Project::local("greeting");
    let deep = format!("{}1{}", "[".repeat(80), "]".repeat(80));
    project
        .write(
            "infra/size.tf",
            "\u{feff}variable \"size\" { default = \"small\" }\n\
             output \"size\" { value = var.size }\n",
        )
        .write("infra/list.tf.json", r#"[{"variable": [{"count_of": {"default": 0}}]}]"#)
        .write(
            "infra/deep.tf",
            &format!(
                "locals {{ deep = {deep} }}\nvariable \"kind\" {{ default = \"plain\" }}\n\
                 output \"kind\" {{ value = \"${{var.kind}} ${{var.count_of}}\" }}\n"
            ),
        )
        .write(
            "infra/huge.tf",
            "variable \"huge\" {}\nresource \"terraform_data\" \"huge\" {\n  input = var.huge\n}\n",
        )
        .write("infra/._main.tf", "variable \"gone\" {}")
        .write("infra/extra.tofu", "variable \"gone\" {}");
    fs::create_dir(project.path("infra/old.tf")).unwrap();
    symlink("nobody@nowhere", project.path("infra/.#main.tf")).unwrap();
    project
        .edit_json("config/live.json", |config| {
            config["size"] = "large".into();
            config["kind"] = "fancy".into();
        })
        .edit("config/live.json", "{", "{\"huge\": 1e400, \"count_of\": 100000000000000000001,")
        .commit("Files that are easily misread");
    project.release("1").success();
    project
        .deploy("live", "1")
        .success()
        .stdout_has("size = \"large\"")
        .stdout_has("kind = \"fancy 100000000000000000001\"");
}

#[test]
fn links_to_modules_are_resolved_as_terraform_does() {
    let project = Project::local("greeting");
    project
        .write(
            "lib/m/main.tf",
            "module \"n\" { source = \"../n\" }\noutput \"o\" { value = module.n.o }",
        )
        .write("lib/n/main.tf", "output \"o\" { value = \"from n\" }")
        .append(
            "infra/main.tf",
            "\nmodule \"m\" { source = \"./m\" }\noutput \"linked\" { value = module.m.o }\n",
        );
    fs::rename(project.path("infra"), project.path("code")).unwrap();
    fs::create_dir(project.path("deploy")).unwrap();
    fs::rename(project.path("code"), project.path("deploy/tf")).unwrap();
    symlink("deploy/tf", project.path("infra")).unwrap();
    symlink("../../lib/m", project.path("deploy/tf/m")).unwrap();
    project.commit("Links");
    project.release("1").success();
    project.deploy("live", "1").success().stdout_has("linked = \"from n\"");
}
