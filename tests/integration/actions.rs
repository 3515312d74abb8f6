//! On GitHub Actions: neither Terraform's output nor the names of files and values can command the
//! runner.

use crate::support::Project;

/// Returns the commands that the runner would execute. A line that starts with `::` after white
/// space is a command, and so is `##[` anywhere. After `::stop-commands::<token>` only
/// `::<token>::` is one.
fn commands(stdout: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut stopped: Option<String> = None;
    for line in stdout.lines() {
        let trimmed = line.trim_start();
        match &stopped {
            Some(token) => {
                if trimmed == format!("::{token}::") {
                    stopped = None;
                }
            }
            None => match trimmed.strip_prefix("::stop-commands::") {
                Some(token) => stopped = Some(token.to_owned()),
                None if trimmed.starts_with("::") || line.contains("##[") => {
                    found.push(trimmed.to_owned())
                }
                None => {}
            },
        }
    }
    assert_eq!(stopped, None, "steps after this one would not be heard");
    found
}

/// Removes the commands that fold the lines of a step, which must be closed one by one.
fn without_groups(commands: Vec<String>) -> Vec<String> {
    let (groups, others): (Vec<_>, Vec<_>) =
        commands.into_iter().partition(|it| it.starts_with("::group::") || it == "::endgroup::");
    assert!(
        groups.chunks(2).all(|pair| pair[0].starts_with("::group::")
            && pair.get(1).is_some_and(|it| it == "::endgroup::")),
        "{groups:?}"
    );
    others
}

#[test]
fn output_can_not_command_the_runner() {
    let project = Project::local("greeting");
    project.append(
        "infra/main.tf",
        "\noutput \"hostile\" {\n  value = \"x\\n::stop-commands::abc\\n::error::from \
        terraform\\n##[add-mask]y\\n::add-mask::z\"\n}\n",
    );
    project.write("config/##[error]evil.json", "{}").commit("Hostile");
    for arguments in [
        &["release", "1", "--dry-run"][..],
        &["release", "1", "--platform-config", "platform-config"],
    ] {
        let output = project.cdflow(arguments).env("GITHUB_ACTIONS", "true").run();
        output.success();
        let found = without_groups(commands(&output.stdout));
        // The one command is cdflow's own warning about the name.
        assert_eq!(found.len(), 1, "{output}");
        assert!(found[0].starts_with("::warning::`config/##[error]evil.json` is ignored"));
    }
    for arguments in [&["deploy", "live", "1"][..], &["inspect", "1"], &["status"]] {
        let output = project.cdflow(arguments).env("GITHUB_ACTIONS", "true").run();
        output.success();
        assert!(
            arguments[0] != "deploy" || output.stdout.contains("::error::from terraform"),
            "{output}"
        );
        assert_eq!(without_groups(commands(&output.stdout)), [""; 0], "{output}");
    }
}

#[test]
fn a_step_is_folded_and_the_end_is_not() {
    let project = Project::local("greeting");
    project.release("1");
    let output = project
        .cdflow(["deploy", "live", "1"])
        .env("GITHUB_ACTIONS", "true")
        .env("NO_COLOR", "1")
        .run();
    output.success().stdout_has_in_order(&[
        "::group::Plan\n",
        "Terraform will perform",
        "::endgroup::",
        "::group::Apply",
        "::endgroup::",
        "\nDeployed greeting 1 to live",
    ]);
}

#[test]
fn mistakes_are_annotations_of_their_line() {
    let project = Project::local("greeting");
    project.release("1");
    let start = |arguments: &[&str]| {
        let root = project.dir().parent().unwrap().to_owned();
        project.cdflow(arguments).env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", root)
    };
    project.append(
        "infra/main.tf",
        "\nresource \"terraform_data\" \"bad\" {\n  input = file(\"no,such:file\")\n}\n",
    );
    project.commit("A mistake in the code");
    project.release_unchecked("2");
    let line =
        project.read("infra/main.tf").lines().position(|line| line.contains("file(")).unwrap() + 1;
    let output = start(&["deploy", "live", "2"]).run();
    output.fails(5).stdout_has(&format!(
        "::error file=greeting/infra/main.tf,line={line},title=Invalid function argument::"
    ));
    assert_eq!(output.stdout.matches("::error file=").count(), 1, "{output}");

    project.edit(
        "infra/main.tf",
        "file(\"no,such:file\")",
        "\"x\"\n  provisioner \"local-exec\" {\n    command = \"exit 7\"\n  }",
    );
    project.commit("A mistake that shows only at apply");
    project.release("3");
    let output = start(&["deploy", "live", "3"]).run();
    output.fails(6).stdout_has("::error file=greeting/infra/main.tf,line=");
    assert!(
        output.stdout.contains(",col=")
            && output.stdout.contains("title=local-exec provisioner error::"),
        "{output}"
    );

    project.append("cdflow.yml", "temm: 1\n");
    let output = start(&["status"]).run();
    let line = project.read("cdflow.yml").lines().count();
    output.fails(2).stdout_has(&format!(
        "::error file=greeting/cdflow.yml,line={line},col=1::cdflow.yml:{line}:1: unknown key"
    ));
}

#[test]
fn our_own_words_are_commands_of_one_line() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "\"a%0A::error::b\": 1\n");
    let output = project.cdflow(["status"]).env("GITHUB_ACTIONS", "true").run();
    output.fails(2);
    let commands = commands(&output.stdout);
    assert_eq!(commands.len(), 1, "{output}");
    assert!(
        commands[0].starts_with("::error::cdflow.yml:") && commands[0].contains("a%250A::error::b"),
        "{output}"
    );
    assert_eq!(output.stderr, "");
}
