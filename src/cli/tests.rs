//! Flags and inputs become the same value, and mistakes in a step are explained in its own words.

use clap::CommandFactory;

use super::*;

fn action(inputs: &[(&str, &str)]) -> Result<Inputs> {
    let variables =
        inputs.iter().map(|(name, value)| (format!("INPUT_{name}").into(), OsString::from(value)));
    match parse(vec!["cdflow".into()], &ProcessEnv::new(variables))? {
        Parsed::Run(inputs) => Ok(*inputs),
        Parsed::Usage { .. } => unreachable!(),
    }
}

fn rejected(inputs: &[(&str, &str)]) -> String {
    action(inputs).unwrap_err().to_string()
}

#[test]
fn the_command_line_is_sound() {
    Inputs::command().debug_assert();
}

#[test]
fn flags_and_inputs_become_one_value() {
    let by_input = action(&[
        ("COMMAND", "deploy"),
        ("ENVIRONMENT", "live"),
        ("VERSION", " 42 "),
        ("PLAN-ONLY", "True"),
        ("TARGET", "a.b\n\n c.d \n"),
        ("LOCK-TIMEOUT", "5m"),
        ("PARALLELISM", ""),
        ("WORKING-DIRECTORY", "app"),
    ]);
    let args = [
        "cdflow",
        "-C",
        "app",
        "deploy",
        "live",
        "42",
        "--plan-only",
        "--target",
        "a.b",
        "--target=c.d",
        "--lock-timeout",
        "5m",
    ];
    let by_flag = Inputs::try_parse_from(args).unwrap();
    assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
    let by_input = action(&[
        ("COMMAND", "release"),
        ("VERSION", "1"),
        ("RELEASE-DATA", "a=b=c\nd=e"),
        ("PLATFORM-CONFIG", "p q"),
    ]);
    let args = [
        "cdflow",
        "release",
        "1",
        "--release-data",
        "a=b=c",
        "--release-data",
        "d=e",
        "--platform-config",
        "p q",
    ];
    let by_flag = Inputs::try_parse_from(args).unwrap();
    assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
    let by_input =
        action(&[("COMMAND", "preview up"), ("PULL-REQUEST", "7"), ("PLATFORM-CONFIG", "p")]);
    let args = ["cdflow", "preview", "up", "--pull-request", "7", "--platform-config", "p"];
    let by_flag = Inputs::try_parse_from(args).unwrap();
    assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
    let by_input =
        action(&[("COMMAND", "preview down"), ("PLATFORM-CONFIG", "p"), ("PLAN-ONLY", "true")]);
    let by_flag = Inputs::try_parse_from(["cdflow", "preview", "down", "--plan-only"]).unwrap();
    assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
    let by_input = action(&[("COMMAND", "doctor"), ("ENVIRONMENT", "live")]);
    let by_flag = Inputs::try_parse_from(["cdflow", "doctor", "live"]).unwrap();
    assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
}

#[test]
fn mistakes_in_a_step() {
    assert!(
        rejected(&[("VERSION", "1"), ("COMMAND", "depoly")]).contains("did you mean `deploy`?")
    );
    assert!(rejected(&[("COMMAND", "shell"), ("ENVIRONMENT", "ci")]).contains("not for a step"));
    assert!(rejected(&[("COMMAND", "preview"), ("PULL-REQUEST", "7")]).contains("preview up"));
    assert!(
        rejected(&[("COMMAND", "preview up"), ("PULL-REQUEST", "#7")])
            .contains("the input `pull-request` is invalid: `#7` is not a pull request number")
    );
    assert!(
        rejected(&[("COMMAND", "inspect")])
            .contains("`version` is missing\n  -> add `version:` to the step")
    );
    assert!(
        rejected(&[("COMMAND", "deploy"), ("ENVIROMENT", "ci")])
            .contains("rename the input `enviroment`: is it `environment`?")
    );
    assert!(
        rejected(&[("COMMAND", "release"), ("VERSION", "1"), ("PLATFROM-CONFIG", "x")])
            .contains("did you mean `platform-config`?")
    );
    assert!(
        rejected(&[("COMMAND", "release"), ("VERSION", "1"), ("ENVIRONMENT", "x")])
            .contains("not for the command `release`")
    );
    assert!(
        rejected(&[("COMMAND", "release"), ("VERSION", "1"), ("DRY-RUN", "yes")])
            .contains("`true` or `false`")
    );
    assert!(
        rejected(&[("COMMAND", "release"), ("VERSION", "1"), ("RELEASE-DATA", "novalue")])
            .contains("KEY=VALUE")
    );
    assert!(rejected(&[("COMMAND", "release"), ("VERSION", "v/1")]).contains("Docker tag"));
    assert!(
        rejected(&[("COMMAND", "destroy"), ("ENVIRONMENT", "ci"), ("PARALLELISM", "0")])
            .contains("1 to 256")
    );
    assert!(rejected(&[("COMMAND", "status"), ("command", "status")]).contains("twice"));
    assert!(
        rejected(&[("COMMAND", "release"), ("COMMENT", "changes")])
            .contains("`changes-only` or `false`")
    );
    for arn in [
        "ci-runner",
        "arn:aws:iam::1:role/a",
        "arn:aws:iam::111111111111:user/a",
        "arn:aws:iam::111111111111:role/",
    ] {
        assert!(
            rejected(&[("COMMAND", "status"), ("AWS-ROLE-TO-ASSUME", arn)]).contains("12 digits"),
            "{arn}"
        );
    }
}

#[test]
fn other_variables_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let variables = [
        ("OTHER".into(), OsString::from_vec(vec![0xff])),
        ("INPUT_COMMAND".into(), "status".into()),
    ];
    assert!(parse(vec!["cdflow".into()], &ProcessEnv::new(variables)).is_ok());
    let variables = [("INPUT_COMMAND".into(), OsString::from_vec(vec![0xff]))];
    assert!(parse(vec!["cdflow".into()], &ProcessEnv::new(variables)).is_err());
}

/// Every command with its name as typed, groups such as `preview` and the root included.
fn all_commands(root: &clap::Command) -> Vec<(String, &clap::Command)> {
    let mut all = args::leaf_commands(root);
    all.push((String::new(), root));
    let groups = root.get_subcommands().filter(|it| it.has_subcommands() && !it.is_hide_set());
    let groups = groups.filter(|it| it.get_name() != "help");
    all.extend(groups.map(|it| (it.get_name().to_owned(), it)));
    all
}

/// What a command alone can do is on the first screen.
#[test]
fn the_help_of_a_command_is_short_before_the_shared_options() {
    let mut root = Inputs::command().term_width(100);
    root.build();
    for (name, command) in all_commands(&root) {
        let help = command.clone().render_help().to_string();
        let shared =
            ["Download", "Function", "Global", "Report"].map(|it| format!("{it} options:"));
        let is_shared = |line: &&str| shared.iter().any(|heading| heading == line);
        let own = help.lines().take_while(|line| !is_shared(line)).count();
        assert!(help.lines().any(|line| is_shared(&line)), "{name}: {help}");
        // The root lists the commands, and little else.
        let most = if name.is_empty() { root.get_subcommands().count() + 12 } else { 25 };
        assert!(own <= most, "{name}: {own} lines\n{help}");
    }
}

#[test]
fn every_command_has_examples_that_parse() {
    let mut root = Inputs::command();
    root.build();
    let all = all_commands(&root);
    assert!(all.len() > 20 && all.iter().any(|(name, _)| name == "preview"));
    for (name, command) in all {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = text.lines().skip(1).take_while(|line| !line.is_empty());
        let examples: Vec<&str> =
            examples.map(|line| line.split(" > ").next().unwrap().trim()).collect();
        assert!((1..=3).contains(&examples.len()), "{name}: {text}");
        for example in examples {
            let start = format!("cdflow {name}");
            assert!(example.starts_with(start.trim_end()), "{name}: {example}");
            Inputs::try_parse_from(example.split(' '))
                .unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}

#[test]
fn a_letter_of_another_command_is_explained() {
    let args = ["cdflow", "status", "-p"].map(OsString::from);
    let mut error = Inputs::try_parse_from(&args).unwrap_err();
    correct_tip(&mut error, &args);
    let text = error.to_string();
    assert!(
        text.contains("-p is --plan-only, a flag of other commands: deploy, destroy"),
        "{text}"
    );
    assert!(!text.contains("as a value"), "{text}");
}

#[test]
fn words_of_other_programs_are_explained() {
    for (words, says) in [
        (&["deploy", "live", "1", "--plan"][..], "VERSION --plan-only`"),
        (&["deploy", "live", "1", "--dry-run"], "VERSION --plan-only`"),
        (&["deploy", "live", "1", "--auto-approve"], "--yes"),
        (&["deploy", "live", "1", "-auto-approve"], "--yes"),
        (&["deploy", "live", "1", "-var=x=1"], "values are in config/"),
        (&["status", "-json"], "a flag has two hyphens: --json"),
        (&["status", "-vp"], "-p is --plan-only"),
        (&["release", "1", "--data", "a=b"], "--release-data KEY=VALUE"),
        (&["status", "--format", "json"], "as JSON: --json"),
        (&["plan"], "VERSION --plan-only`"),
        (&["ls"], "cdflow releases"),
        (&["promote"], "the same release"),
        (&["versionn"], "unrecognized subcommand"),
    ] {
        let args: Vec<OsString> = ["cdflow"].iter().chain(words).map(OsString::from).collect();
        let mut error = Inputs::try_parse_from(&args).map(|_| ()).unwrap_err();
        correct_tip(&mut error, &args);
        let text = error.to_string();
        assert!(text.contains(says), "{words:?}: {text}");
        for hidden in ["'man'", "'post'", "--plan-out"] {
            assert!(!text.contains(hidden), "{words:?}: {text}");
        }
    }
}

#[test]
fn yes_is_a_flag_and_not_an_input() {
    let text = rejected(&[("COMMAND", "deploy"), ("ENVIRONMENT", "live"), ("YES", "true")]);
    assert!(text.contains("unknown input `yes`"), "{text}");
}
