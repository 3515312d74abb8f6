//! What a hostile or unlucky checkout tried, and what must hold.

use crate::support::Project;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A module call that leads to the checkout's root: everything is carried below the bundle's own
/// folder, nothing is written elsewhere.
#[test]
fn a_module_at_the_root_of_the_checkout() {
    let project = Project::local("greeting");
    let victim = project.sandbox().work().join("victim");
    fs::write(&victim, "mine").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).unwrap();
    let inside = format!("{}", victim.strip_prefix("/").unwrap().display());
    project.write(&inside, "hostile").write("main.tf", "resource \"terraform_data\" \"root\" {}\n");
    project
        .append("infra/main.tf", "\nmodule \"root\" {\n  source = \"../\"\n}\n")
        .commit("A module at the root");
    project.release("1");
    project.deploy("live", "1").stdout_has("module.root.terraform_data.root");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Also one that git ignores would be released.
#[test]
fn an_override_file_can_not_move_the_state() {
    for text in [
        "terraform {\n  backend \"local\" {}\n}\n",
        "variable \"secrets\" {\n  sensitive = false\n}\n",
    ] {
        let project = Project::local("greeting");
        project.write("infra/zz_override.tf", text).commit("Override");
        project.refuses(
            ["release", "1"],
            3,
            &["infra/zz_override.tf:1: an override file sets", "-> remove it"],
        );
    }
}

/// Terraform's own record of the backend is what counts, whatever name the code found to change it.
#[test]
fn another_backend_is_noticed_after_init() {
    let project = Project::local("greeting");
    project.release("1");
    let moved = r#"init) "$real" "$@" || exit
        sed -i 's/"type": "local"/"type": "other"/' .terraform/terraform.tfstate; exit 0;;"#;
    let path = project.terraform_but(moved);
    let output = project.cdflow(["deploy", "live", "1"]).env("PATH", path).run();
    output.fails(3).stderr_has("the code overrides cdflow's backend");
}

/// A repository that was committed as files is no checkout.
#[test]
fn a_checkout_can_not_make_git_run_programs() {
    let project = Project::local("greeting");
    let mark = project.sandbox().work().join("pwned");
    project.git(["config", "core.fsmonitor", &format!("touch {}; false", mark.display())]);
    project.cdflow(["release", "1", "--dry-run"]).run().success();
    project.git(["config", "--unset", "core.fsmonitor"]);
    for (name, text) in [
        ("HEAD", "ref: refs/heads/main\n"),
        ("objects/info/x", ""),
        ("refs/heads/x", ""),
        (
            "config",
            "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = .\n\tfsmonitor = \
            \"touch pwned\"\n",
        ),
    ] {
        fs::create_dir_all(project.path("app").join(name).parent().unwrap()).unwrap();
        fs::write(project.path("app").join(name), text).unwrap();
    }
    for file in ["cdflow.yml", "account-scheme.json", "infra/main.tf"] {
        project.write(&format!("app/{file}"), &project.read(file));
    }
    project.cdflow(["-C", "app", "release", "1", "--dry-run"]).run();
    assert!(!mark.exists() && !project.path("app/pwned").exists());
}

/// git waits for a pipe that nobody writes to; a signal ends the run, and the program with it.
#[test]
fn a_git_that_hangs_can_be_cancelled() {
    let project = Project::local("greeting");
    let bin = project.sandbox().work().join("slow");
    let at = project.sandbox().work().join("at");
    fs::create_dir_all(&bin).unwrap();
    let script = format!("#!/bin/sh\ntrap '' INT TERM\necho $$ > {}\nsleep 600\n", at.display());
    fs::write(bin.join("git"), script).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut running = project.cdflow(["release", "1"]).env("PATH", path).spawn();
    // The file exists a moment before it has the line.
    let is_started = || fs::read_to_string(&at).is_ok_and(|id| id.ends_with('\n'));
    running.wait_until("git is started", |_| is_started());
    running.signal(Signal::SIGINT);
    running.wait().fails(130).stderr_has("nothing was changed");
    let is_alive = || {
        let state = format!("/proc/{}/stat", fs::read_to_string(&at).unwrap().trim());
        fs::read_to_string(state).is_ok_and(|text| !text.contains(") Z "))
    };
    assert!(!is_alive());
    // And without a signal, at its limit.
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let limited = project.cdflow(["release", "1"]).env("PATH", path);
    let output = limited.env("CDFLOW_LIMITS", "git=1s").run();
    output.fails(2).stderr_has("within 1 s (the limit `git`)");
    assert!(!is_alive());
}

/// What is written for later steps stays in the checkout.
#[test]
fn links_of_the_checkout_do_not_redirect_what_is_written() {
    let project = Project::local("greeting");
    let outside = project.sandbox().work().join("outside");
    fs::create_dir_all(&outside).unwrap();
    symlink("../outside", project.path("out")).unwrap();
    symlink("out", project.path("twice")).unwrap();
    project.commit("Links");
    project.release("1");
    let commands: [&[&str]; 6] = [
        &["release", "2", "--report-json", "out/r.json"],
        &["release", "2", "--report-markdown", "twice/r.md"],
        &["release", "2", "--cache-dir", "out"],
        &["release", "2", "--cache-dir", "twice/cache"],
        &["deploy", "ci", "1", "--plan-out", "out/plan"],
        &["deploy", "ci", "1", "--plan-out", "out"],
    ];
    for command in commands {
        project.cdflow(command).run().fails(3).stderr_has("link");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{command:?}");
    }
    fs::create_dir(project.path("in")).unwrap();
    let deploy = ["deploy", "ci", "1", "--plan-out", "in/plan", "--report-json", "in/r.json"];
    project.cdflow(deploy).run().success();
    assert!(project.path("in/plan/plan.txt").exists() && project.path("in/r.json").exists());
}

/// The checkout's token is in `.git/config`, and what git keeps differs between checkouts.
#[test]
fn a_function_that_is_the_whole_checkout() {
    let project = Project::local("greeting");
    project.edit("cdflow.yml", "type: infrastructure", "type: lambda\nlambda: {source: .}");
    project.commit("The whole checkout");
    project.git(["config", "http.extraheader", "AUTHORIZATION: basic c2VjcmV0"]);
    let release = ["release", "1", "--platform-config", "platform-config"];
    let output = project.cdflow(release.iter().chain(&["--cache-dir", ".cdflow-cache"])).run();
    output.success();
    let stored = project.stored();
    let zip = stored.iter().find(|name| name.starts_with("lambda/")).unwrap();
    let bytes = fs::read(project.store().join(zip)).unwrap();
    let names = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
    assert!(names(b"infra/main.tf") && !names(b".git/") && !names(b".cdflow-cache"));
    project.git(["tag", "v1"]);
    project.cdflow(release).run().success().stderr_has("Already released");
}

/// A device has no end, and a pipe no writer.
#[test]
fn settings_that_lead_to_devices_and_pipes() {
    let project = Project::local("greeting");
    let pipe = project.sandbox().work().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for file in ["cdflow.yml", "account-scheme.json", "infra/main.tf", "config/live.json"] {
        for target in [std::path::Path::new("/dev/zero"), &pipe] {
            project.remove(file);
            symlink(target, project.path(file)).unwrap();
            for command in [&["release", "1", "--dry-run"][..], &["doctor"]] {
                let output = project.cdflow(command).run();
                output.fails(2);
            }
        }
        project.git(["checkout", "--quiet", "--", file]);
    }
    for target in [std::path::Path::new("/dev/zero"), &pipe] {
        let runner = project.cdflow(["status"]).env("GITHUB_ACTIONS", "true");
        let runner = runner.env("GITHUB_EVENT_NAME", "push").env("GITHUB_EVENT_PATH", target);
        runner.run().fails(2).stdout_has("it is not a regular file");
    }
}

/// Others write into the store too: a name in it must not act on the terminal.
#[test]
fn what_the_store_says_is_printed_as_text() {
    let project = Project::local("greeting");
    let data = "note=a\u{1b}[2Jb\nobject  other";
    let release = ["release", "1", "--platform-config", "platform-config", "--release-data", data];
    project.cdflow(release).run().success();
    let shown = project.cdflow(["inspect", "1"]).run().success().stdout.clone();
    assert!(!shown.contains('\u{1b}') && !shown.contains("\nobject  other"), "{shown:?}");
    project.deploy("ci", "1");
    let file = project.ledger_folder("ci").join("9999999998.start.json");
    let mut start: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    start["actor"] = "ada\u{1b}[2J\n9  deploy  9  succeeded\u{9b}".into();
    start["run_url"] = "https://x/\u{202e}\r".into();
    fs::write(&file, start.to_string()).unwrap();
    for command in [&["history", "ci"][..], &["status"], &["history", "ci", "--json"]] {
        let output = project.cdflow(command).run();
        output.success();
        let shown = output.stdout.replace('\n', "");
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\r']), "{shown:?}");
        assert!(!output.stdout.contains("\n9  deploy"), "{}", output.stdout);
    }
}

/// Programs of the release could hide lines of cdflow, or print some in its name.
#[test]
fn what_a_program_prints_does_not_act_on_the_terminal() {
    let project = Project::local("greeting");
    let print = r#"printf '\033[2J\033]0;title\007\033[31mred\rand \033[8mhidden\n'"#;
    let script = format!("#!/bin/sh\n{print}\n");
    project
        .write("hooks/print.sh", &script)
        .append("cdflow.yml", "hooks: {on-plan: [hooks/print.sh]}\n");
    fs::set_permissions(project.path("hooks/print.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let command = serde_json::json!(print).to_string();
    project.append(
        "infra/main.tf",
        &format!(
            "resource \"terraform_data\" \"prints\" {{\n  provisioner \"local-exec\" {{\n    \
             command = {command}\n  }}\n}}\n"
        ),
    );
    project.commit("Print");
    project.release("1");
    let output = project.deploy("ci", "1");
    let [red, hidden] = ["\u{fffd}[2J\u{fffd}]0;title\u{fffd}red", "and \u{fffd}[8mhidden"];
    output.stdout_has(&format!("\n{red}\u{fffd}{hidden}\n"));
    // Terraform ends a line at a carriage return.
    output.stdout_has(&format!("(local-exec): {red}\n"));
    output.stdout_has(&format!("(local-exec): {hidden}\n"));
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r']), "{text:?}");
    }
}

/// The code under review can't end the plan that the reviewer sees.
#[test]
fn a_plan_is_shown_to_its_end() {
    let project = Project::local("greeting");
    project.append(
        "infra/main.tf",
        "\nresource \"terraform_data\" \"a_first\" {\n  input = \"Saved the plan to: /x\\nSaved \
        the plan to: /x\"\n}\n\nresource \"terraform_data\" \"z_last\" {}\n",
    );
    project.commit("Hide");
    project.release("1");
    project.deploy("live", "1").stdout_has("terraform_data.z_last will be created");
}

/// A folder that only looks like one of ours.
#[test]
fn folders_of_others_stay() {
    let project = Project::local("greeting");
    let precious = project.sandbox().tmp().join("cdflow-run-mine");
    fs::create_dir_all(precious.join("lock")).unwrap();
    project.release("1");
    assert!(precious.join("lock").exists());
    fs::remove_dir_all(precious).unwrap();
}

/// Another run applies between the plan and the record of a run that has nothing to change.
#[test]
fn a_plan_without_changes_is_stale_as_well() {
    let project = Project::local("greeting");
    project.release("1");
    project.deploy("live", "1");
    project.edit("config/common.json", "Hello", "Good morning").commit("Change");
    project.release("2");
    let gate = project.sandbox().work().join("go-on");
    let slow = format!(
        "plan) \"$real\" \"$@\"; code=$?; touch {0}.at\n\
         while [ ! -e {0} ]; do sleep 0.05; done; exit $code;;",
        gate.display()
    );
    // Without the flag it would be refused as the older one.
    let first = ["deploy", "live", "1", "--allow-downgrade"];
    let mut first = project.cdflow(first).env("PATH", project.terraform_but(&slow)).spawn();
    first.wait_until("the end of the plan", |_| gate.with_extension("at").exists());
    project.deploy("live", "2");
    fs::write(&gate, "").unwrap();
    first.wait().fails(9).stderr_has("the plan is stale");
    let status = project.cdflow(["status", "--json"]).run().json();
    assert_eq!(status["environments"][0]["version"], "2");
}

/// What a run left that died between making the workspace and applying anything: a typing error is
/// still asked about, and the answer is still taken.
#[test]
fn an_empty_workspace_is_no_state() {
    let project = Project::local("greeting");
    project.release("1");
    let path = project.terraform_but("plan) kill -9 $PPID; sleep 0.2; exit 1;;");
    project
        .cdflow(["deploy", "staging", "1", "--new-environment"])
        .env("PATH", path)
        .run()
        .fails(137);
    // What it started holds its folder until it has ended as well.
    std::thread::sleep(std::time::Duration::from_secs(1));
    project.refuses(
        ["deploy", "staging", "1"],
        3,
        &["only \"*\" of the account scheme matches it", "--new-environment"],
    );
    project
        .cdflow(["deploy", "staging", "1", "--new-environment"])
        .run()
        .success()
        .stderr_has("is a new environment");
    project.refuses(["deploy", "staging", "1", "--new-environment"], 3, &["already has a state"]);
}

/// A newer release is deployed after the older one was let through and before it has planned.
#[test]
fn a_slow_run_does_not_put_an_older_release_over_a_newer_one() {
    let project = Project::local("greeting");
    for (version, seconds) in [("old", 1_700_000_000), ("new", 1_700_000_600)] {
        project.append("infra/main.tf", &format!("# {version}\n")).commit(version);
        project.release(version);
        let file = fs::File::options().append(true).open(project.bundle(version)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    project.deploy("live", "old");
    project.deploy("live", "new");
    let (ledger, aside) = (project.ledger_folder("live"), project.sandbox().work().join("aside"));
    let state = || fs::read_to_string(project.state_file("live")).unwrap();
    let before = state();
    for finished in [true, false] {
        fs::create_dir_all(&aside).unwrap();
        for kind in ["start", "end"] {
            let name = format!("9999999997.{kind}.json");
            fs::rename(ledger.join(&name), aside.join(&name)).unwrap();
        }
        let which = if finished { "*" } else { "*.start.json" };
        let back = format!("plan) cp {}/{which} {};;", aside.display(), ledger.display());
        let path = project.terraform_but(&back);
        let refused = project.cdflow(["deploy", "live", "old"]).env("PATH", path).run();
        refused.fails(3).stderr_has("release old is older than new");
        assert_eq!(state(), before);
        fs::copy(aside.join("9999999997.end.json"), ledger.join("9999999997.end.json")).unwrap();
    }
}

/// An environment that has limits is one that people count on, also where only "*" of the scheme
/// matches it.
#[test]
fn an_environment_with_limits_is_not_destroyed_by_a_slip() {
    let project = Project::local("greeting");
    project
        .append("cdflow.yml", "deploy: {environments: {staging: {max-destroy: 0}}}\n")
        .commit("Limits");
    project.release("1");
    for environment in ["staging", "other"] {
        project.cdflow(["deploy", environment, "1", "--new-environment"]).run().success();
    }
    let says = [
        "destroying `staging`, which cdflow.yml names, must be confirmed",
        "-> confirm: --confirm staging",
    ];
    project.refuses(["destroy", "staging"], 3, &says);
    project.edit("cdflow.yml", "deploy: {environments: {staging: {max-destroy: 0}}}", "");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["policy"] =
            serde_json::json!({ "environments": { "staging": { "max-destroy": 0 } } });
    });
    project.refuses(
        ["destroy", "staging"],
        3,
        &["which `policy` of the account scheme names, must be confirmed"],
    );
    project.cdflow(["destroy", "staging", "--confirm", "staging"]).run().success();
    project.cdflow(["destroy", "other"]).run().success();
}
