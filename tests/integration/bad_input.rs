//! Invalid input is rejected with an exit code and a message that says what to do; nothing is
//! written.

use crate::support::{Aws, Project, Runner, cdflow, in_repository, with_own_mounts};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const ALL: [&[&str]; 5] = [
    &["release", "1"],
    &["inspect", "1"],
    &["deploy", "live", "1"],
    &["destroy", "live", "--confirm", "live"],
    &["status"],
];

#[test]
fn no_manifest() {
    let project = Project::local("greeting");
    project.remove("cdflow.yml");
    for command in ALL {
        project.refuses(
            command,
            2,
            &["error: cdflow.yml not found in `", "run cdflow in the component's folder", "-C DIR"],
        );
    }
    project.write("cdflow.yaml", "team: platform\n");
    let says = ["there is a cdflow.yaml", "rename it: git mv cdflow.yaml cdflow.yml"];
    project.refuses(["status"], 2, &says);
    project.refuses(["-C", "none", "status"], 2, &["cannot open the folder `none`"]);
}

#[test]
fn mistakes_in_the_manifest() {
    let project = Project::local("greeting");
    let good = project.read("cdflow.yml");
    for (manifest, says) in [
        (
            good.replace("team:", "taem:"),
            &["cdflow.yml:2:1: unknown key `taem`", "-> did you mean `team`?"][..],
        ),
        (
            good.clone() + "deploy:\n  lock-timeuot: 5m\n",
            &["cdflow.yml:5:3: unknown key `lock-timeuot`", "`lock-timeout`?"],
        ),
        (good.clone() + "deploy:\n  lock-timeout: long\n", &["cdflow.yml:5:17: "]),
        (
            good.replace("infrastructure", "infrastrukture"),
            &["unknown value `infrastrukture`", "did you mean `infrastructure`?"],
        ),
        (
            good.replace("infrastructure", "helm"),
            &["cdflow.yml:3:7: unknown value `helm`", "expected one of: infrastructure, lambda"],
        ),
        (good.replace("team: platform\n", ""), &["cdflow.yml", "missing field `team`"]),
        (
            good.replace("platform", "Plat.form"),
            &["cdflow.yml:2:7: invalid team `Plat.form`", "for example `platform`"],
        ),
        (good.replace("platform", "recovery"), &["invalid team `recovery`"]),
        (good.clone() + "component: ../up\n", &["cdflow.yml:4:12: invalid component `../up`"]),
        (
            good.clone() + "team: other\n",
            &["cdflow.yml:4:1: duplicate key `team`", "keep one of the two"],
        ),
        (
            good.clone() + "multi-region: yes\n",
            &["cdflow.yml:4:15: `multi-region`: expected `true` or `false`"],
        ),
        (
            good.clone() + "preview: true\n",
            &["cdflow.yml:4:10: ", "expected keys and values", "`{key: value}`"],
        ),
        (
            good.clone() + "preview: {paths: infra/**}\n",
            &["cdflow.yml:4:18: ", "expected a list", "`[one, two]`"],
        ),
        (
            good.clone() + "preview: {paths: []}\n",
            &["cdflow.yml:4:18: `preview.paths`: an empty list matches no pull request"],
        ),
        (
            good.clone() + "preview: {label: [a]}\n",
            &["cdflow.yml:4:18: `preview.label`: expected a string"],
        ),
        (
            good.clone() + "preview: {label: ' '}\n",
            &["cdflow.yml:4:18: ", "expected the name of a label"],
        ),
        (
            good.clone() + "preview: {label: a, keep-label: A}\n",
            &["`label` and `keep-label` are the same"],
        ),
        (
            good.clone() + "preview: {ttl: 0h}\n",
            &["cdflow.yml:4:16: ", "`ttl` must be longer than zero"],
        ),
        (
            good.clone() + "deploy: {allow-destroy-label: ''}\n",
            &["cdflow.yml:4:31: ", "expected the name of a label"],
        ),
        (
            good.clone() + "deploy: {environments: {live: {requires: live}}}\n",
            &["cdflow.yml: `live` in `deploy.environments` requires itself", "remove `requires`"],
        ),
        (good.clone() + "terraform-version: new\n", &["cdflow.yml:4:20: "]),
        (
            good.replace("./account-scheme.json", "https://example.com/x"),
            &["cdflow.yml:1:21: ", "`https://example.com/x` is not an account scheme location"],
        ),
        (
            good.replace("./account-scheme.json", "none.json"),
            &["cannot read the account scheme `", "none.json", "check `account-scheme-url`"],
        ),
        (String::new(), &["cdflow.yml is empty"]),
        ("a: [".to_owned(), &["cdflow.yml:1:"]),
    ] {
        project.write("cdflow.yml", &manifest);
        project.refuses(["release", "1"], 2, says);
    }
}

#[test]
fn mistakes_in_the_account_scheme() {
    let project = Project::local("greeting");
    let good = project.read("account-scheme.json");
    for (from, to, says) in [
        (
            "\"release-bucket\"",
            "\"release-bukcet\"",
            &[
                "./account-scheme.json:",
                "unknown key `release-bukcet`",
                "did you mean `release-bucket`?",
            ][..],
        ),
        ("\"release-bucket\"", "release-bucket", &["./account-scheme.json:", "not valid JSON"]),
        (
            "store/lambda",
            "store/releases",
            &["`release-bucket` and a lambda bucket are the same place", "use two buckets"],
        ),
        (
            "\"release-account\": \"local\"",
            "\"release-account\": \"locla\"",
            &["`release-account` names the account `locla`", "did you mean `local`?"],
        ),
        ("\"ci\"", "\"c.i\"", &["invalid environment `c.i`"]),
        (
            "file:../store/releases",
            "Not A Bucket",
            &["`release-bucket`: `Not A Bucket` is not a storage location"],
        ),
        ("\"type\": \"local\"", "\"type\": \"azure\"", &["unknown value `azure`"]),
    ] {
        assert!(good.contains(from), "{from}");
        project.write("account-scheme.json", &good.replace(from, to));
        project.refuses(["deploy", "live", "1"], 2, says);
    }
}

#[test]
fn names_are_refused_and_quoted() {
    let project = Project::local("greeting");
    let long = "a".repeat(129);
    for version in ["1.0+5", "v/1", long.as_str(), "", ".", "..", "a b", "é", "1\n"] {
        let says = [
            ": expected 1 to 128 letters, digits",
            "as a Docker tag needs (for example `42-a1b2c3d`)",
        ];
        project.refuses(["release", version], 2, &says);
        project.refuses(["deploy", "live", version], 2, &says);
    }
    for version in ["-xm", "--rm"] {
        project.refuses(["release", version], 2, &["unexpected argument"]);
        project.refuses(
            ["release", "--", version],
            2,
            &["invalid version", "as a Docker tag needs"],
        );
    }
    for range in [">= 1.2", "~> 1", "=1.2", "^1.2", "1.*", ">1,<2", "1 || 2"] {
        let says = ["invalid version", "as a Docker tag needs", "a release has one exact version"];
        project.refuses(["release", range], 2, &says);
        project.refuses(["deploy", "live", range], 2, &says);
    }
    for environment in ["../x", "a b", "", "default", "ledger", "live.a", "Live", "x-", "a/b"] {
        let says = [
            ": expected 1 to 63 lowercase letters",
            "no dots, because secret names are split at dots",
        ];
        project.refuses(["deploy", environment, "1"], 2, &says);
        project.refuses(["destroy", environment], 2, &says);
    }
    project.refuses(["deploy", "-x", "1"], 2, &["unexpected argument '-x'", "\n  -> "]);
    for (arguments, says) in [
        (&["deploy", "live", "1", "--parallelism", "x"][..], "invalid value 'x' for"),
        (&["deploy"], "were not provided: <ENVIRONMENT>"),
        (&["deplyo", "live"], "unrecognized subcommand 'deplyo'"),
    ] {
        let output = project.refuses_run(project.cdflow(arguments), 2, &[says, "\n  -> "]);
        output.stderr_has(" --help`").lacks("For more information").lacks("tip:");
    }
    project.refuses(["deploy", "--", "-x", "1"], 2, &["invalid environment `-x`"]);
    project.refuses(["status", "-c", "a/b"], 2, &["invalid component `a/b`"]);
    // Control sequences of a terminal are shown as text.
    project.refuses(["release", "1\u{1b}[2J"], 2, &["`1\\u{1b}[2J`"]);
}

#[test]
fn an_unknown_environment() {
    let project = Project::local("greeting");
    project.release("1");
    project.edit("account-scheme.json", "\"*\": \"local\"", "\"qa\": \"local\"");
    let says =
        ["the account scheme has no environment `lvie` and no \"*\"", "did you mean `live`?"];
    project.refuses(["deploy", "lvie", "1"], 2, &says);
    project.refuses(
        ["deploy", "somewhere", "1"],
        2,
        &["no environment `somewhere`", "it has: ", "aslive"],
    );
    project.refuses(["destroy", "lvie"], 2, &says);
    // A misspelled name in cdflow.yml would guard nothing.
    let good = project.read("cdflow.yml");
    for (yaml, key) in [
        ("deploy: {environments: {lvie: {max-destroy: 0}}}\n", "deploy.environments"),
        ("deploy: {environments: {qa: {requires: lvie}}}\n", "deploy.environments"),
        ("preview: {account-environment: lvie}\n", "preview.account-environment"),
    ] {
        project.write("cdflow.yml", &(good.clone() + yaml));
        let warning = format!(
            "`{key}` in cdflow.yml names `lvie`, which is not in the account scheme: did you mean \
            `live`?"
        );
        project.cdflow(["status"]).run().success().stderr_has(&warning);
    }
    project.write(
        "cdflow.yml",
        &(good.clone()
            + "deploy: {environments: {live: {requires: qa}, zzzz: {max-destroy: 0}}}\n"),
    );
    project.cdflow(["status"]).run().success().lacks("warning");
    project.write("cdflow.yml", &good);
    // An environment that was added to the scheme later.
    project.release("2");
    project.edit("account-scheme.json", "\"qa\"", "\"new\"");
    project.refuses(
        ["deploy", "new", "2"],
        2,
        &["before the account scheme had an environment `new`", "make a new release"],
    );
}

#[test]
fn mistakes_in_release_data() {
    let project = Project::local("greeting");
    for datum in ["colour", "=red", ""] {
        project.refuses(["release", "1", "--release-data", datum], 2, &["expected KEY=VALUE"]);
    }
    for key in ["commit", "version", "component", "team", "s3_key", "source_code_hash", "image_id"]
    {
        let says = format!("release data cannot set `{key}`, which cdflow sets itself");
        project.refuses(
            ["release", "1", "--release-data", &format!("{key}=x")],
            2,
            &[&says, "-> use another key"],
        );
    }
    let twice = ["release", "1", "--release-data", "a=1", "--release-data", "a=2"];
    project.refuses(twice, 2, &["release data sets `a` twice"]);
}

#[test]
fn mistakes_of_the_command_line() {
    let project = Project::local("greeting");
    project.refuses(["depoly"], 2, &["unrecognized subcommand 'depoly'", "deploy"]);
    project.refuses(["deploy"], 2, &["<ENVIRONMENT>"]);
    project.refuses(["deploy", "live"], 2, &["the version is missing"]);
    project.refuses(["deploy", "live", "1", "--parallelism", "0"], 2, &["--parallelism"]);
    project.refuses(["deploy", "live", "1", "--lock-timeout", "soon"], 2, &["--lock-timeout"]);
    for flag in ["--environment", "--version=1"] {
        let output = project.refuses(
            ["deploy", flag, "live"],
            2,
            &["is not a flag; write it after the command: `cdflow deploy ENVIRONMENT VERSION`"],
        );
        output.lacks("new-environment").lacks("pass-environment").lacks("aws-region");
    }
    for pull_request in ["#7", "0", "x"] {
        project.refuses(
            ["preview", "up", "--pull-request", pull_request],
            2,
            &["is not a pull request number, such as `7`"],
        );
    }
    project.refuses(
        ["release", "1", "--tag", "x"],
        2,
        &["--tag is for `cdflow build`", "remove --tag"],
    );
    project.refuses(["release", "1", "--local"], 2, &["cannot be used with"]);
    project.refuses(["release", "1", "--dev"], 2, &["--dev is for `cdflow build`"]);
    project.refuses(
        ["release", "1", "--url-output", "x"],
        2,
        &[
            "unexpected argument '--url-output'",
            "a flag of other commands: deploy, preview up, rollback",
        ],
    );
    project.refuses(
        ["-C", "cdflow.yml", "status"],
        2,
        &[
            "cannot open the folder `cdflow.yml`",
            "-> set -C DIR (the Action's input `working-directory`",
        ],
    );
    project.refuses(
        ["preview", "reap"],
        2,
        &["GITHUB_REPOSITORY is not set", "-> run this on GitHub Actions"],
    );
    project.refuses([] as [&str; 0], 2, &["Usage"]);
    let help = cdflow(["deploy", "--help"]).run().success().stdout.clone();
    let (own, global) = help.split_once("Global options:").unwrap();
    assert!(
        own.contains("--allow-destroy")
            && !own.contains("--aws-region")
            && global.contains("--aws-region"),
        "{help}"
    );
    cdflow(["--version"]).run().success().stdout_has("cdflow 0.");
    cdflow(["--help"])
        .run()
        .success()
        .stdout_has("release")
        .stdout_has("destroy")
        .lacks("credential-process");
}

#[test]
fn mistakes_in_a_step() {
    let project = Project::local("greeting");
    for (inputs, says) in [
        (
            &[("COMMAND", "depoly")][..],
            &["unknown command `depoly` in the input `command`", "did you mean `deploy`?"][..],
        ),
        (
            &[("VERSION", "1")],
            &["the input `command` is missing", "add `command:` to the step's `with:`"],
        ),
        (&[("COMMAND", "inspect")], &["the input `version` is missing"]),
        (
            &[("COMMAND", "release")],
            &["the version is missing", "`version:` in the step's `with:`"],
        ),
        (
            &[("COMMAND", "release"), ("VERSION", "1"), ("PLATFROM-CONFIG", "x")],
            &["unknown input `platfrom-config`", "did you mean `platform-config`?"],
        ),
        (
            &[("COMMAND", "release"), ("VERSION", "1"), ("ENVIRONMENT", "live")],
            &["`environment` is not for the command `release`"],
        ),
        (
            &[("COMMAND", "deploy"), ("ENVIRONMENT", "live"), ("PLAN-ONLY", "yes")],
            &["the input `plan-only` is `yes`", "set it to `true` or `false`"],
        ),
        (
            &[("COMMAND", "preview up"), ("PULL-REQUEST", "#7")],
            &["the input `pull-request` is invalid: `#7` is not a pull request number"],
        ),
        (
            &[("COMMAND", "release"), ("VERSION", "v/1")],
            &["the input `version` is invalid", "Docker tag"],
        ),
        (
            &[("COMMAND", "release"), ("VERSION", "1"), ("RELEASE-DATA", "a=1\nb")],
            &["the input `release-data` has an invalid line: `b`"],
        ),
    ] {
        let before = project.snapshot();
        let inputs = inputs.iter().map(|(name, value)| (format!("INPUT_{name}"), *value));
        let output =
            project.cdflow([] as [&str; 0]).env("GITHUB_ACTIONS", "true").envs(inputs).run();
        output.fails(2).stderr_is("").stdout_has("::error::");
        says.iter().for_each(|text| {
            output.stdout_has(text);
        });
        project.unchanged_since(&before, &output);
    }
}

#[test]
fn no_checkout_no_commit_no_remote_no_git() {
    let project = Project::local("greeting");
    project.git(["remote", "remove", "origin"]);
    let says = ["there is neither a git remote `origin` nor GITHUB_REPOSITORY", "--component NAME"];
    for command in ALL {
        project.refuses(command, 2, &says);
    }
    project.append("cdflow.yml", "component: greeting\n");
    let without_git = project.releasing("1").env("PATH", "/nowhere");
    project.refuses_run(without_git, 2, &["`git` is not in PATH", "install git"]);
    fs::rename(project.path(".git"), project.sandbox().root().join("git")).unwrap();
    project.refuses(["release", "1"], 2, &["is not in a git checkout", "run cdflow in a checkout"]);
    project.git(["init", "--quiet"]);
    project.refuses(["release", "1"], 2, &["has no commit", "commit, then release"]);
}

#[test]
fn no_infra() {
    let project = Project::local("greeting");
    project.remove("infra/main.tf").write("infra/README.md", "Nothing yet.\n");
    project.refuses_run(
        project.releasing("1"),
        2,
        &["` contains no Terraform code", "infra/, next to cdflow.yml"],
    );
    fs::remove_dir_all(project.path("infra")).unwrap();
    project.refuses_run(
        project.releasing("1"),
        2,
        &["/infra` not found", "infra/, next to cdflow.yml"],
    );
}

#[test]
fn a_release_that_is_not_there() {
    let project = Project::local("greeting");
    let says = [
        "release 1 of `greeting` is not published: file:",
        "to publish the first release",
        "cdflow release 1",
    ];
    project.refuses(["deploy", "live", "1"], 2, &says);
    project.refuses(["inspect", "1"], 2, &says);
    for version in ["41-aaaaaaa", "42-a1b2c3d", "43-ccccccc"] {
        project.release(version);
    }
    let says = [
        "release 42-a1b2c3e of `greeting` is not published",
        "for example 42-a1b2c3d, 43-ccccccc, 41-aaaaaaa",
    ];
    project.refuses(["deploy", "live", "42-a1b2c3e"], 2, &says);
    project.refuses(["destroy", "live", "42-a1b2c3e", "--confirm", "live"], 2, &says);
}

#[test]
fn a_release_of_something_else() {
    let project = Project::local("greeting");
    project.release("1");
    for (copy, says) in [
        ("platform/greeting/greeting-2.zip", "its version is \"1\", not \"2\""),
        ("platform/other/other-1.zip", "its component is \"greeting\", not \"other\""),
        ("web/greeting/greeting-1.zip", "its team is \"platform\", not \"web\""),
    ] {
        let to = project.store().join("releases").join(copy);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(project.bundle("1"), &to).unwrap();
        let name = copy.rsplit_once('/').unwrap().1.trim_end_matches(".zip");
        let (component, version) = name.split_once('-').unwrap();
        project.edit(
            "cdflow.yml",
            "team: platform",
            &format!("team: {}", copy.split('/').next().unwrap()),
        );
        let arguments = ["deploy", "live", version, "--component", component];
        project.refuses(arguments, 2, &["the bundle is not the requested release", says]);
        project.git(["checkout", "."]);
    }
}

#[test]
fn terraform_is_missing_too_old_or_another() {
    let project = Project::local("greeting");
    project.release("1");
    let tools = project.sandbox().root().join("tools");
    fs::create_dir(&tools).unwrap();
    let path = std::env::var("PATH").unwrap();
    let git = std::env::split_paths(&path)
        .map(|folder| folder.join("git"))
        .find(|file| file.is_file())
        .unwrap();
    std::os::unix::fs::symlink(git, tools.join("git")).unwrap();
    let with_tools = |arguments: [&str; 3]| project.cdflow(arguments).env("PATH", &tools);
    let release = ["release", "2", "--platform-config=platform-config"];
    for arguments in [release, ["deploy", "live", "1"]] {
        project.refuses_run(
            with_tools(arguments),
            2,
            &[
                "no-mirror/terraform/",
                "-> or install Terraform 1.",
                "PATH has no program `terraform`",
            ],
        );
    }
    for (answer, says) in [
        (
            "echo '{\"terraform_version\": \"1.5.7\"}'",
            &["no-mirror/terraform/", "-> or put Terraform ", ", which is 1.5.7"][..],
        ),
        (
            "echo Terraform v0.11.14",
            &["returned no version", "check that it is Terraform or OpenTofu"],
        ),
        ("echo broken >&2; exit 3", &["returned no version", "exit code 3", "broken"]),
    ] {
        fs::write(tools.join("terraform"), format!("#!/bin/sh\n{answer}\n")).unwrap();
        fs::set_permissions(tools.join("terraform"), fs::Permissions::from_mode(0o755)).unwrap();
        for arguments in [release, ["deploy", "live", "1"]] {
            project.refuses_run(with_tools(arguments), 2, says);
        }
    }
    // Another version than the one that made the release.
    fs::write(tools.join("terraform"), "#!/bin/sh\necho '{\"terraform_version\": \"1.6.0\"}'\n")
        .unwrap();
    project.refuses_run(
        with_tools(["deploy", "live", "1"]),
        2,
        &[
            "terraform 1.11.4 is not at the mirror",
            "or put Terraform 1.11.4 into PATH, before `",
            "which is 1.6.0",
        ],
    );
    fs::write(tools.join("terraform"), "#!/bin/sh\necho '{\"terraform_version\": \"1.11.4\"}'\n")
        .unwrap();
    for (asked, series) in [("1.11", "~> 1.11.0"), ("1.11.3", ""), ("1.10", "~> 1.10.0")] {
        let release = with_tools(["release", "2", &format!("--terraform-version={asked}")]);
        let output = project.refuses_run(release, 2, &["is not at the mirror"]);
        match series {
            "" => _ = output.lacks("whole series"),
            series => {
                output.stderr_has(&format!("whole series, write `{series}` instead of `{asked}`"));
            }
        }
    }
    project.append("cdflow.yml", "terraform-version: \"~> 1.2.0\"\n");
    let says = "requires ~> 1.2.0; cdflow needs terraform 1.6.0 or newer";
    project.refuses_run(project.releasing("2"), 2, &[says]);
    project.edit("cdflow.yml", "~> 1.2.0", "~> 1.9.0");
    project.refuses_run(project.releasing("2"), 2, &["the mirror has no list of versions"]);
    // The version of a release does not change with cdflow.yml.
    project.deploy("live", "1");
    project.edit("cdflow.yml", "terraform-version", "opentofu-version");
    project.refuses_run(
        project.releasing("2").env("PATH", &tools),
        2,
        &["no-mirror/opentofu/index.json", "install OpenTofu ~> 1.9.0: PATH has no program `tofu`"],
    );
}

#[test]
fn a_full_disk() {
    let project = Project::local("greeting");
    // Small as a zip, large when unpacked.
    project
        .write("config/large.json", &format!("{{\"large\": \"{}\"}}", "0".repeat(3 << 20)))
        .commit("Large");
    project.release("1");
    let says =
        ["error: cannot unpack the bundle into `/", "set TMPDIR to a folder on a larger disk"];
    project.refuses_run(on_a_small_disk(&project, 1024, &["deploy", "live", "1"]), 2, &says);
    let says = ["error: can't ", "cdflow-", "set TMPDIR to a folder on a larger disk"];
    project.refuses_run(on_a_small_disk(&project, 8, &["deploy", "live", "1"]), 2, &says);
    let says = ["error: can't write ", "cdflow-", "set TMPDIR to a folder on a larger disk"];
    project.refuses_run(
        on_a_small_disk(&project, 8, &["release", "2", "--platform-config", "platform-config"]),
        2,
        &says,
    );
}

#[test]
fn a_temporary_folder_that_is_not_there() {
    let project = Project::local("greeting");
    let says = [
        "failed to create a private folder in `/nowhere`",
        "set TMPDIR to a folder that can be written",
    ];
    project.refuses_run(project.releasing("1").env("TMPDIR", "/nowhere"), 2, &says);
}

/// Users start from the examples: each is released, as far as that needs no AWS.
#[test]
fn every_example_loads() {
    let aws = Aws::new("examples");
    for example in
        ["infrastructure-component", "infrastructure-aws", "lambda-component", "docker-component"]
    {
        let project = Project::copied(example, &in_repository("examples").join(example));
        let output = project.releasing("1").arg("--dry-run").envs(aws.env()).run();
        output
            .success()
            .stdout_has("would be published as")
            .stdout_has("infra/main.tf")
            .lacks("warning");
        project.left_no_trace(&output);
    }
    let project = Project::copied("greeting", &in_repository("examples/infrastructure-component"));
    let run = |arguments: &[&str]| project.cdflow(arguments).run().success().stdout.clone();
    run(&["release", "1", "--platform-config", "platform-config"]);
    assert!(run(&["deploy", "live", "1"]).contains("greeting = \""));
    run(&["destroy", "live", "--confirm", "live"]);
    // Its store is a folder of the checkout that git ignores.
    assert_eq!(project.git(["status", "--porcelain"]), "");
}

/// TMPDIR is a file system of its own, of this many KiB.
fn on_a_small_disk(project: &Project, kib: u32, arguments: &[&str]) -> Runner {
    let script = format!("mount -t tmpfs -o size={kib}k none \"$TMPDIR\" && exec \"$@\"");
    let cdflow = ["sh", env!("CARGO_BIN_EXE_cdflow")];
    with_own_mounts(project, &script).args(cdflow).args(arguments)
}

/// People put secrets where their names or a location belong.
#[test]
fn a_secret_in_cdflow_yml_is_not_shown() {
    let project = Project::local("greeting");
    let good = fs::read_to_string(project.path("cdflow.yml")).unwrap();
    let url = "https://bot:hunter2-Qx7@example.com/scheme.json";
    for manifest in [
        format!("{good}secrets: [hunter2-Qx7]\n"),
        format!("{good}secrets: hunter2-Qx7\n"),
        format!("{good}token: hunter2-Qx7\n"),
        format!("{good}docker: {{secrets: [NPM_TOKEN=hunter2-Qx7]}}\n"),
        good.replace("./account-scheme.json", url),
    ] {
        assert_ne!(manifest, good);
        project.write("cdflow.yml", &manifest);
        project.cdflow(["release", "1"]).run().fails(2).lacks("hunter2");
    }
}

#[test]
fn a_version_before_the_environment() {
    let project = Project::local("greeting");
    project.release("1");
    let says = ["did you mean: cdflow deploy live 1"];
    project.refuses(["deploy", "1", "live"], 2, &says);
    for command in ["rollback", "shell"] {
        project.refuses([command, "lvie"], 2, &["did you mean `live`?"]);
    }
    let output = project.cdflow(["history", "lvie"]).run();
    output.success().stderr_has("did you mean `live`?");
    project.refuses(["rollback", "live"], 2, &["-> deploy first: cdflow deploy live VERSION"]);
}

/// The objects of a ledger are files that a person can reach.
#[test]
fn a_ledger_that_somebody_edited_is_not_used() {
    let project = Project::local("greeting");
    project.release("1");
    for environment in ["ci", "live"] {
        project.deploy(environment, "1");
    }
    let folder = project.ledger_folder("live");
    let (start, end) = (folder.join("9999999998.start.json"), folder.join("9999999998.end.json"));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let other = read(&project.ledger_folder("ci").join("9999999998.start.json"));
    let state = || fs::read_to_string(project.state_file("live")).unwrap();
    let (text, before) = ((read(&start), read(&end)), state());
    let cases = [
        (&start, "not JSON".to_owned(), "expected ident at line 1"),
        (&start, text.0.replace("\"version\": \"1\",", ""), "missing field `version`"),
        (&start, text.0.replace("\"number\": 1", "\"number\": \"1\""), "invalid type: string"),
        (&start, other, "it is an entry of `ci`"),
        (&end, text.1.replace("\"number\": 1", "\"number\": 2"), "it is entry 2, and its name is"),
        (&end, text.1.replace("succeeded", "suceeded"), "unknown variant `suceeded`"),
    ];
    for (path, edited, why) in cases {
        let kept = read(path);
        assert_ne!(edited, kept, "{why}");
        fs::write(path, &edited).unwrap();
        let name = format!("ledger/live/{}`: ", path.file_name().unwrap().display());
        let fix = "-> restore it from a backup or an older version";
        let says = ["error: invalid ledger entry `file:/", &name, why, fix];
        for command in [
            &["status"][..],
            &["history", "live"],
            &["deploy", "live", "1"],
            &["destroy", "live", "--confirm", "live"],
            &["rollback", "live"],
            &["prune", "--keep", "0", "--older-than", "0s"],
        ] {
            project.refuses(command, 9, &says);
        }
        assert_eq!((read(path), state()), (edited, before.clone()));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::write(path, kept).unwrap();
    }
    // A newer cdflow can have written more.
    fs::write(&start, text.0.replacen('{', "{\"newer\": 1,", 1)).unwrap();
    project.cdflow(["status"]).run().success().stdout_has("live");
    project.deploy("live", "1");
}
