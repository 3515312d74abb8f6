//! On GitHub Actions: nothing that Terraform prints, or that a file or a value is called, can command the runner.

use crate::support::Project;

/// The commands that the runner would carry out, read as it reads them: a line that begins with `::` after white space is a
/// command, so is `##[` anywhere, and after `::stop-commands::<token>` only `::<token>::` is.
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
                None if trimmed.starts_with("::") || line.contains("##[") => found.push(trimmed.to_owned()),
                None => {}
            },
        }
    }
    assert_eq!(stopped, None, "steps after this one would not be heard");
    found
}

#[test]
fn output_can_not_command_the_runner() {
    let project = Project::local("greeting");
    project.append(
        "infra/main.tf",
        "\noutput \"hostile\" {\n  value = \"x\\n::stop-commands::abc\\n::error::from terraform\\n##[add-mask]y\\n::add-mask::z\"\n}\n",
    );
    project.write("config/##[error]evil.json", "{}").commit("Hostile");
    for arguments in [&["release", "1", "--dry-run"][..], &["release", "1", "--platform-config", "platform-config"]] {
        let output = project.cdflow(arguments).env("GITHUB_ACTIONS", "true").run();
        output.success();
        assert_eq!(commands(&output.stdout), [""; 0], "{output}");
    }
    for arguments in [&["deploy", "live", "1"][..], &["inspect", "1"], &["status"]] {
        let output = project.cdflow(arguments).env("GITHUB_ACTIONS", "true").run();
        output.success();
        assert!(arguments[0] != "deploy" || output.stdout.contains("::error::from terraform"), "{output}");
        assert_eq!(commands(&output.stdout), [""; 0], "{output}");
    }
}

#[test]
fn our_own_words_are_commands_of_one_line() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "\"a%0A::error::b\": 1\n");
    let output = project.cdflow(["status"]).env("GITHUB_ACTIONS", "true").run();
    output.fails(2);
    let commands = commands(&output.stdout);
    assert_eq!(commands.len(), 1, "{output}");
    assert!(commands[0].starts_with("::error::cdflow.yml:") && commands[0].contains("a%250A::error::b"), "{output}");
    assert_eq!(output.stderr, "");
}
