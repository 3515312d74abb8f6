//! release, inspect, and what a bundle is made of.

use crate::support::{Mirror, Project, Running, entries, git, tool};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const LOCK: &str = "infra/.terraform.lock.hcl";
const TINY: &str = "registry.terraform.io/hashicorp/tiny";

#[test]
fn a_release_is_published_and_inspected() {
    let project = Project::local("greeting");
    let output = project
        .releasing("42-a1b2c3d")
        .args(["--release-data", "query=a=b=c", "--release-data", "empty="])
        .run();
    output
        .success()
        .stderr_has("Released greeting 42-a1b2c3d")
        .stdout_has("Initializing provider plugins");
    project.left_no_trace(&output);
    assert_eq!(project.stored(), ["releases/platform/greeting/greeting-42-a1b2c3d.zip"]);

    let bundle = entries(&project.bundle("42-a1b2c3d"));
    let names: Vec<&str> = bundle.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "account-scheme.json",
            "config/common.json",
            "config/live.json",
            "infra/main.tf",
            "manifest.json",
            "platform-config/local/eu-west-1.json",
            "release.json"
        ]
    );
    assert_eq!(bundle["account-scheme.json"].text(), project.read("account-scheme.json"));
    let release: Value = serde_json::from_str(bundle["release.json"].text()).unwrap();
    let expected = serde_json::json!({ "release": {
        "commit": project.head(), "version": "42-a1b2c3d", "component": "greeting",
        "team": "platform",
        "query": "a=b=c", "empty": "",
    }});
    assert_eq!(release, expected);

    let inspected = project.cdflow(["inspect", "42-a1b2c3d", "--json"]).run();
    let document = inspected.success().json();
    assert_eq!(document["release"], expected["release"]);
    assert_eq!(document["terraform"]["name"], tool::name());
    let listed: BTreeSet<&str> = document["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    assert_eq!(listed, names.into_iter().collect());
    let digest = document["bundle_digest"].as_str().unwrap();
    output.stderr_has(digest);
    let table = project.cdflow(["inspect", "42-a1b2c3d"]).run();
    table.success().stderr_is("").stdout_has_in_order(&[
        "object ",
        "bundle digest      ",
        digest,
        &format!("initialised with   {} 1.", tool::name()),
        "release.commit     ",
        "release.query      a=b=c",
        "infra/main.tf",
        "manifest.json",
    ]);
    project.left_no_trace(&table);
}

#[test]
fn a_dry_run_shows_the_release_and_writes_nothing() {
    let project = Project::local("greeting");
    let commit = project.head();
    let before = project.snapshot();
    let output = project.releasing("1").args(["--dry-run", "--release-data", "colour=red"]).run();
    output.success().stdout_has_in_order(&[
        "would be published as  file:",
        "/store/releases/platform/greeting/greeting-1.zip",
        "source digest          ",
        &format!("initialised with       {} 1.", tool::name()),
        &format!("release.commit         {commit}"),
        "release.colour         red",
        "config/live.json",
        "infra/main.tf",
        "platform-config/local/eu-west-1.json",
    ]);
    project.unchanged_since(&before, &output);
    project.left_no_trace(&output);

    let project = lambda("function");
    let before = project.snapshot();
    let output = project.releasing("1").arg("--dry-run").run();
    output.success().stdout_has_in_order(&[
        "Lambda zip             file:",
        "/store/lambda/platform/function/function-1.zip",
        "function  ",
        "handler.py",
    ]);
    project.unchanged_since(&before, &output);
}

#[test]
fn a_lambda_is_released_with_its_zip() {
    let project = lambda("function");
    project.releasing("1").run().success();
    assert_eq!(
        project.stored(),
        ["lambda/platform/function/function-1.zip", "releases/platform/function/function-1.zip"]
    );
    let zip = entries(&project.store().join("lambda/platform/function/function-1.zip"));
    assert_eq!(zip.keys().collect::<Vec<_>>(), ["handler.py"]);
    let release = project.cdflow(["inspect", "1", "--json"]).run().json()["release"].clone();
    assert_eq!(release["s3_key"], "platform/function/function-1.zip");
    assert!(release["source_code_hash"].as_str().unwrap().ends_with('='), "{release}");
    project.deploy("ci", "1").stdout_has(release["source_code_hash"].as_str().unwrap());

    // The zip alone is there, as after a run that ended in between: the next one goes on.
    fs::remove_file(project.bundle("1")).unwrap();
    project.releasing("1").run().success().stderr_has("exists already, with the same bytes");
    fs::remove_file(project.bundle("1")).unwrap();
    project.edit("src/handler.py", "Hello", "Good day");
    project.refuses_run(
        project.releasing("1"),
        3,
        &["exists with other content", "release under a new version"],
    );
}

#[test]
fn the_component_is_named_by_flag_manifest_remote_or_github() {
    let project = Project::local("greeting");
    let named = |runner: crate::support::Runner, name: &str| {
        runner.arg("--dry-run").run().success().stdout_has(&format!("/{name}/{name}-1.zip"));
    };
    named(project.releasing("1"), "greeting");
    project.git(["remote", "set-url", "origin", "git@github.com:acme/by-remote.git"]);
    named(project.releasing("1").env("GITHUB_REPOSITORY", "acme/by-github"), "by-remote");
    project.git(["remote", "remove", "origin"]);
    named(project.releasing("1").env("GITHUB_REPOSITORY", "acme/by-github"), "by-github");
    project.refuses_run(
        project.releasing("1"),
        2,
        &["cannot determine the name of the component", "add `component: NAME` to cdflow.yml"],
    );
    project.append("cdflow.yml", "component: by-manifest\n");
    named(project.releasing("1").env("GITHUB_REPOSITORY", "acme/by-github"), "by-manifest");
    named(project.releasing("1").args(["--component", "by-flag"]), "by-flag");
    named(project.cdflow(["-c", "by-flag", "release", "1"]), "by-flag");
}

#[test]
fn of_several_platform_configs_the_later_wins() {
    let project = Project::local("greeting");
    project
        .write("other/local/eu-west-1.json", "{\"domain\": \"other.example\"}\n")
        .write("other/local/eu-central-1.json", "{}\n")
        .write("other/unknown-account/eu-west-1.json", "{}\n")
        .commit("A second platform config");
    project.releasing("1").args(["--platform-config", "other"]).run().success();
    let bundle = entries(&project.bundle("1"));
    let platform: Vec<&String> =
        bundle.keys().filter(|name| name.starts_with("platform-config/")).collect();
    assert_eq!(
        platform,
        ["platform-config/local/eu-central-1.json", "platform-config/local/eu-west-1.json"]
    );
    project.deploy("ci", "1").stdout_has("from ci.other.example");
    project
        .cdflow([
            "release",
            "2",
            "--platform-config",
            "other",
            "--platform-config",
            "platform-config",
        ])
        .run()
        .success();
    project.deploy("ci", "2").stdout_has("from ci.local.example");
}

#[test]
fn the_same_sources_are_released_once() {
    let project = Project::local("greeting");
    project.release("1");
    let before = project.snapshot();
    // Also where nothing could be built any more.
    let path = project.terraform_but("init) echo 'must not be run' >&2; exit 1;;");
    let output = project.releasing("1").env("PATH", path).run();
    output.success().stderr_has("Already released").lacks("must not be run");
    project.unchanged_since(&before, &output);
}

#[test]
fn a_version_is_immutable() {
    let project = Project::local("greeting");
    project.release("1");
    let refused = "version 1 of `greeting` is already published from other sources";
    project.edit("config/live.json", "Good day", "Goodbye");
    project.refuses_run(
        project.releasing("1"),
        3,
        &[
            refused,
            "with the source digest ",
            "these sources have ",
            "differs in config/live.json\n",
            "-> release under a new version",
        ],
    );
    project.git(["checkout", "."]);
    project.remove("config/live.json");
    project.refuses_run(project.releasing("1"), 3, &["differs in config/live.json\n"]);
    project.git(["checkout", "."]);
    project.write("infra/more.tf", "locals {}\n");
    project.refuses_run(project.releasing("1"), 3, &["differs in infra/more.tf\n"]);
    project.remove("infra/more.tf");
    let data = project.releasing("1").args(["--release-data", "colour=red"]);
    project.refuses_run(data, 3, &[refused, "cdflow.yml or the release data"]);
    project.releasing("1").run().success().stderr_has("Already released");
}

#[test]
fn of_parallel_releases_from_the_same_sources_all_succeed() {
    let project = Project::local("greeting");
    let running: Vec<Running> = (0..8).map(|_| project.releasing("1").spawn()).collect();
    let outputs: Vec<_> = running.into_iter().map(Running::wait).collect();
    outputs.iter().for_each(|output| {
        output.success();
    });
    assert_eq!(
        outputs.iter().filter(|output| output.stderr.contains("Released greeting 1")).count(),
        1
    );
    assert_eq!(project.stored(), ["releases/platform/greeting/greeting-1.zip"]);
    project.left_no_trace(&outputs[0]);
    project.deploy("ci", "1");
}

#[test]
fn of_parallel_releases_from_different_sources_one_succeeds() {
    let project = Project::local("greeting");
    let run = |number| {
        project.releasing("1").args(["--release-data".to_owned(), format!("run={number}")]).spawn()
    };
    let running: Vec<Running> = (0..8).map(run).collect();
    let outputs: Vec<_> = running.into_iter().map(Running::wait).collect();
    let won: Vec<usize> = (0..8).filter(|number| outputs[*number].code == 0).collect();
    assert_eq!(won.len(), 1, "{}", outputs[0]);
    for output in outputs.iter().filter(|output| output.code != 0) {
        output.fails(3).stderr_has("already published from other sources");
    }
    assert_eq!(project.stored(), ["releases/platform/greeting/greeting-1.zip"]);
    let release = project.cdflow(["inspect", "1", "--json"]).run().json()["release"].clone();
    assert_eq!(release["run"], won[0].to_string());
    project.left_no_trace(&outputs[0]);
}

/// Neither the folder nor the umask nor the times of files decide what a bundle is.
#[test]
fn a_tree_gives_the_same_bytes_anywhere_and_at_any_time() {
    let mirror = Mirror::tiny();
    let project = lambda("function").with_tiny_provider(mirror.clone());
    project
        .write("infra/inner/main.tf", "locals {}\n")
        .write("infra/script.sh", "#!/bin/sh\n")
        .append("infra/main.tf", "module \"inner\" {\n  source = \"./inner\"\n}\n");
    fs::set_permissions(
        project.path("infra/script.sh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    project.commit("More");
    let work = project.sandbox().work();
    let other = work.join("else/where/function");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    let clone = format!(
        "umask 077 && git clone --quiet {} {} && find {} -exec touch -d 2001-02-03 {{}} +",
        project.dir().display(),
        other.display(),
        other.display(),
    );
    crate::support::Runner::new("sh", ["-c", &clone], project.sandbox()).run().success();
    project.release("1").stderr_has("bundle digest");
    let run = "umask 077; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_cdflow");
    let arguments = [
        "-c",
        run,
        "sh",
        program,
        "release",
        "1",
        "--platform-config",
        "platform-config",
        "--no-validate",
        "--component",
        "function",
    ];
    let umasked = crate::support::Runner::new("sh", arguments, project.sandbox())
        .cwd(&other)
        .env("TZ", "Asia/Tokyo")
        .providers(&mirror);
    umasked.run().success();
    for file in
        ["releases/platform/function/function-1.zip", "lambda/platform/function/function-1.zip"]
    {
        let (here, there) = (
            fs::read(project.store().join(file)),
            fs::read(work.join("else/where/store").join(file)),
        );
        assert!(here.unwrap() == there.unwrap(), "{file} differs");
    }
}

#[test]
fn modules_of_the_checkout_are_carried() {
    let project = Project::local("greeting");
    project
        .append(
            "infra/main.tf",
            "module \"inside\" {\n  source = \"./inside\"\n}\n\
             module \"outside\" {\n  source = \"../lib/outside\"\n}\n\
             output \"modules\" {\n  value = \"${module.inside.text} ${module.outside.text}\"\n}\n",
        )
        .write("infra/inside/main.tf", "output \"text\" {\n  value = \"from within\"\n}\n")
        .write(
            "lib/outside/main.tf",
            "module \"next\" {\n  source = \"../next\"\n}\noutput \"text\" {\n  value = \"and \
            ${module.next.text}\"\n}\n",
        )
        .write(
            "lib/next/main.tf",
            "output \"text\" {\n  value = \
        file(\"${path.module}/text.txt\")\n}\n",
        )
        .write("lib/next/text.txt", "from without")
        .commit("Modules");
    let output = project.release("1");
    project.left_no_trace(&output);
    let bundle = entries(&project.bundle("1"));
    for name in
        ["infra/inside/main.tf", "modules/@checkout/lib/next/text.txt", "modules/modules.json"]
    {
        assert!(bundle.contains_key(name), "{name} is not in {:?}", bundle.keys());
    }
    // The checkout is not needed any more.
    fs::remove_dir_all(project.path("lib")).unwrap();
    fs::remove_dir_all(project.path("infra")).unwrap();
    project.deploy("ci", "1").stdout_has("modules = \"from within and from without\"");
}

#[test]
fn a_file_that_a_deploy_will_not_have_is_named_in_the_report() {
    let project = Project::local("greeting");
    project
        .append("infra/main.tf", "output \"text\" {\n  value = file(\"../README.md\")\n}\n")
        .write("README.md", "Good day")
        .commit("A file outside infra/");
    let summary = project.sandbox().work().join("summary.md");
    // Without the file, Terraform finds the code invalid too.
    project.releasing("1").run().fails(11).stderr_has("Invalid function argument");
    let release = project.releasing("1").arg("--no-validate");
    let output = release.env("GITHUB_STEP_SUMMARY", &summary).run();
    let warning = "`file` reads `../README.md`, which is not part of the release";
    output.success().stderr_has(warning);
    let summary = fs::read_to_string(summary).unwrap();
    let shown = ["[!WARNING]", "which is not part of the release"];
    assert!(shown.iter().all(|text| summary.contains(text)), "{summary}");
}

#[test]
fn a_module_of_git_is_carried_without_its_git_folder() {
    let project = Project::local("greeting");
    let module = project.sandbox().work().join("module");
    fs::create_dir(&module).unwrap();
    fs::write(module.join("main.tf"), "output \"text\" {\n  value = \"from git\"\n}\n").unwrap();
    for arguments in
        [vec!["init", "--quiet"], vec!["add", "."], vec!["commit", "--quiet", "-m", "First"]]
    {
        git(project.sandbox(), &module, arguments).run().success();
    }
    let source = format!("git::file://{}", module.display());
    project
        .append(
            "infra/main.tf",
            &format!(
                "module \"remote\" {{\n  source = \"{source}\"\n}}\noutput \"remote\" {{\n  value \
                = module.remote.text\n}}\n"
            ),
        )
        .commit("A module of git");
    project.release("1");
    let bundle = entries(&project.bundle("1"));
    assert!(bundle.contains_key("modules/remote/main.tf"), "{:?}", bundle.keys());
    assert!(!bundle.keys().any(|name| name.contains(".git/")), "{:?}", bundle.keys());
    fs::remove_dir_all(&module).unwrap();
    project.deploy("ci", "1").stdout_has("remote = \"from git\"");
}

#[test]
fn what_lies_outside_the_checkout_is_refused() {
    let project = Project::local("greeting");
    let elsewhere = project.sandbox().work().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("main.tf"), "").unwrap();
    project
        .append("infra/main.tf", "\nmodule \"stray\" {\n  source = \"../../elsewhere\"\n}\n")
        .commit("Stray");
    let line = project
        .read("infra/main.tf")
        .lines()
        .position(|line| line.contains("module \"stray\""))
        .unwrap()
        + 1;
    project.refuses_run(
        project.releasing("1"),
        2,
        &[
            &format!(
                "infra/main.tf:{line}: module `stray` is outside the checkout: `../../elsewhere`"
            ),
            "-> move the module",
        ],
    );
    project.git(["reset", "--quiet", "--hard", "HEAD^"]);
    for (link, target) in
        [("infra/link", elsewhere.as_path()), ("config/link.json", Path::new("/etc/passwd"))]
    {
        symlink(target, project.path(link)).unwrap();
        project.refuses_run(
            project.releasing("1"),
            2,
            &[
                link,
                "leads out of the checkout",
                target.to_str().unwrap(),
                "-> replace the link with",
            ],
        );
        fs::remove_file(project.path(link)).unwrap();
    }
    // Also where the whole folder is a link.
    for folder in ["infra", "config"] {
        let away = project.sandbox().work().join(folder);
        fs::rename(project.path(folder), &away).unwrap();
        symlink(&away, project.path(folder)).unwrap();
        let runner = project.releasing("1");
        project.refuses_run(
            runner,
            2,
            &[folder, "leads out of the checkout", away.to_str().unwrap()],
        );
        fs::remove_file(project.path(folder)).unwrap();
        fs::rename(&away, project.path(folder)).unwrap();
    }
    symlink("/etc/passwd", project.path("platform-config/local/link.json")).unwrap();
    project.refuses_run(
        project.releasing("1"),
        2,
        &["platform-config/local/link.json", "leads out of the platform config"],
    );
}

/// Terraform links to what an unpacked mirror holds; a bundle has files.
#[test]
fn providers_are_carried_as_files() {
    let linked = Project::local("greeting").with_tiny_provider(Mirror::tiny());
    let packed = Project::local("greeting").with_tiny_provider(Mirror::tiny_packed());
    for project in [linked, packed] {
        let output = project.release("1");
        output.stderr_has(&format!(
            "{LOCK} is missing: the next release might use other versions than {TINY} 1.0.0\n  -> \
             run `{} -chdir=infra providers lock -fs-mirror=/",
            if tool::name() == "opentofu" { "tofu" } else { "terraform" }
        ));
        output.lacks("has created a lock file").lacks("Include this file");
        assert_eq!(output.stderr.matches("providers lock").count(), 1, "{output}");
        project.left_no_trace(&output);
        let bundle = entries(&project.bundle("1"));
        let folder = format!("providers/{TINY}/1.0.0/{}", crate::support::platform());
        let program = &bundle[&format!("{folder}/terraform-provider-tiny_v1.0.0_x5")];
        assert_eq!((program.mode, program.text()), (0o100_755, "#!/bin/sh\nexit 1\n"));
        assert_eq!(bundle[&format!("{folder}/LICENSE.txt")].mode, 0o100_644);
        let lock = bundle[LOCK].text();
        assert!(lock.contains("version     = \"1.0.0\"") && lock.contains("\"h1:"), "{lock}");
        let inspected = project.cdflow(["inspect", "1", "--json"]).run();
        assert_eq!(
            inspected.json()["providers"][0],
            serde_json::json!({ "source": TINY, "version": "1.0.0",
                "platform": crate::support::platform() })
        );
    }
}

#[test]
fn a_committed_lock_file_is_kept_and_loses_what_nothing_uses() {
    let project = Project::local("greeting").with_tiny_provider(Mirror::tiny_packed());
    project.release("1");
    let lock = entries(&project.bundle("1"))[LOCK].text().to_owned();
    let kept = format!("\"zh:{}\"", "0".repeat(64));
    let unused = "\nprovider \"registry.terraform.io/hashicorp/unused\" {\n  version = \
    \"3.0.0\"\n  hashes = [\n    \"h1:x\",\n  ]\n}\n";
    let committed =
        lock.replace("  hashes = [\n", &format!("  hashes = [\n    {kept},\n")) + unused;
    project.write(LOCK, &committed).commit("Lock");
    let output = project.release("2");
    output.lacks("warning");
    project.left_no_trace(&output);
    let shipped = entries(&project.bundle("2"))[LOCK].text().to_owned();
    assert!(
        shipped.contains(&kept) && shipped.contains("\"h1:") && !shipped.contains("unused"),
        "{shipped}"
    );
    assert_eq!(project.read(LOCK), committed);

    // A lock file that has the registry's hash alone gains the one of what is carried.
    let zip = format!("{TINY}/terraform-provider-tiny_1.0.0_{}.zip", crate::support::platform());
    let mirror = Mirror::tiny_packed();
    let sum =
        crate::support::Runner::new("sha256sum", [mirror.root().join(zip)], project.sandbox())
            .run();
    let registry = format!(
        "provider \"{TINY}\" {{\n  version     = \"1.0.0\"\n  constraints = \"1.0.0\"\n  hashes = \
        [\n    \"zh:{}\",\n  ]\n}}\n",
        &sum.stdout[..64]
    );
    project.write(LOCK, &registry).commit("The registry's hash");
    project.releasing("3").providers(&mirror).run().success();
    let shipped = entries(&project.bundle("3"))[LOCK].text().to_owned();
    assert!(shipped.contains(&sum.stdout[..64]) && shipped.contains("\"h1:"), "{shipped}");

    // Other bytes, or another version, than the lock file says.
    project.edit(LOCK, &sum.stdout[..64], &"1".repeat(64));
    let refused = project.refuses_run(
        project.releasing("4").providers(&mirror),
        9,
        &["is not what the lock file pins: its hash is h1:", &sum.stdout[..64], &"1".repeat(64)],
    );
    refused.stdout_has("checksums");
    project.write(LOCK, &lock.replace("\"1.0.0\"", "\"0.9.0\""));
    project.refuses_run(project.releasing("4"), 11, &["terraform init failed"]);
}

#[test]
fn an_unreachable_provider_fails_the_build() {
    let project = Project::local("greeting").with_tiny_provider(Mirror::tiny());
    let without = project.sandbox().cli_config();
    let runner = project.releasing("1").env("TF_CLI_CONFIG_FILE", without);
    project
        .refuses_run(runner, 11, &["error: no mirror has the provider "])
        .stdout_has("hashicorp/tiny");
}

#[test]
fn uncommitted_changes_are_told() {
    let project = Project::local("greeting");
    let commit = project.write("old.txt", "old").commit("A note");
    project.edit("config/live.json", "Good day", "Goodbye");
    let records = format!("; the release records commit {}\n", &commit[..7]);
    let output = project.release("1");
    output.stderr_has(&format!("has uncommitted changes: config/live.json{records}"));
    project.git(["mv", "old.txt", "new.txt"]);
    project.write("infra/one.tf", "").write("infra/two.tf", "");
    let changes = "config/live.json, infra/one.tf, infra/two.tf and 1 more";
    project.release("2").stderr_has(&format!("has uncommitted changes: {changes}{records}"));
}

#[test]
fn a_checkout_that_git_cannot_read_is_told() {
    let project = Project::local("greeting");
    let (head, index) = (project.path(".git/HEAD"), project.path(".git/index"));
    let (old_head, old_index) = (fs::read(&head).unwrap(), fs::read(&index).unwrap());
    let unknown = "a".repeat(40);
    fs::write(&head, &unknown).unwrap();
    let says = format!("lacks its commit `{unknown}`");
    project.refuses_run(
        project.releasing("1"),
        2,
        &[says.as_str(), "check the repository out again"],
    );
    fs::write(&head, old_head).unwrap();
    fs::write(&index, "damaged").unwrap();
    project
        .release("1")
        .stderr_has("cannot find out whether the checkout has uncommitted changes")
        .stderr_has("git status failed");
    fs::write(&index, old_index).unwrap();
}

#[test]
fn config_that_nothing_reads_is_told() {
    let project = Project::local("greeting");
    project.write("config/CI.json", "{}\n").commit("Case");
    project
        .release("1")
        .stderr_has("warning: `config/CI.json` is ignored: the names of these files are lower case")
        .stderr_has("rename it to `config/ci.json`");
    fs::remove_file(project.path("config/CI.json")).unwrap();
    project.write("config/preview.json/x", "{}\n").commit("Folder");
    let says = "`config/preview.json` is a folder, not a file of variables";
    project.refuses_run(project.releasing("2"), 2, &[says]);
}

#[test]
fn a_component_in_a_folder_of_the_checkout() {
    let project = Project::local("greeting");
    let folder = project.path("apps/one");
    fs::create_dir_all(&folder).unwrap();
    for name in ["cdflow.yml", "infra", "config", "platform-config", "account-scheme.json"] {
        fs::rename(project.path(name), folder.join(name)).unwrap();
    }
    project
        .append("apps/one/infra/main.tf", "module \"shared\" {\n  source = \"../../../lib\"\n}\n")
        .append("apps/one/infra/main.tf", "output \"shared\" {\n  value = module.shared.text\n}\n")
        .write("lib/main.tf", "output \"text\" {\n  value = \"shared\"\n}\n")
        .edit("apps/one/account-scheme.json", "file:../store", "file:../../../store")
        .commit("A folder");
    let output = project
        .cdflow(["-C", "apps/one", "release", "1", "--platform-config", "apps/one/platform-config"])
        .run();
    output.success();
    project.left_no_trace(&output);
    project
        .cdflow(["deploy", "ci", "1"])
        .cwd(&folder)
        .run()
        .success()
        .stdout_has("shared = \"shared\"");
}

fn lambda(name: &str) -> Project {
    let project = Project::local(name);
    project
        .edit("cdflow.yml", "type: infrastructure", "type: lambda")
        .append("cdflow.yml", "lambda: { exclude: [\"**/*.pyc\"] }\n")
        .append(
            "infra/main.tf",
            "output \"hash\" {\n  value = var.release[\"source_code_hash\"]\n}\n",
        )
        .write("src/handler.py", "def handler(event, context):\n    return 'Hello'\n")
        .write("src/handler.pyc", "")
        .commit("A function");
    project
}

/// A value that no deploy would use is named, and Terraform's own format is rejected.
#[test]
fn values_that_no_deploy_reads() {
    let project = Project::local("greeting");
    project
        .write("config/cl.json", "{}\n")
        .write("config/live.json", "{\"greeting\": \"Good day\", \"greting\": \"typo\"}\n")
        .commit("Mistakes");
    let output = project.releasing("1").env("GITHUB_ACTIONS", "true").run();
    output
        .success()
        .stdout_has("`config/cl.json` is for the environment `cl`")
        .stdout_has("did you mean `ci`?")
        .stdout_has("::warning::`config/live.json` sets `greting`, which infra/ does not declare");
    assert_eq!(output.stdout.matches("::warning::").count(), 2, "{output}");
    let report = project.path("../report.json");
    project
        .releasing("2")
        .args(["--report-json", report.to_str().unwrap()])
        .run()
        .success()
        .stderr_has("correct the name: did you mean `greeting`?");
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["warnings"].as_array().map(Vec::len), Some(2), "{report}");
    let doctor = project.cdflow(["doctor"]).run();
    doctor.stdout_has("`config/live.json` sets `greting`").stdout_has("did you mean `ci`?");

    for (file, target) in [
        ("config/live.tfvars", "into `config/live.json`"),
        ("config/live.tfvars.json", "rename it to `config/live.json`"),
        ("platform-config/local/eu-west-1.tfvars", "into `platform-config/local/eu-west-1.json`"),
    ] {
        project.write(file, "{}").commit("Values");
        let says = format!("`{file}` would be ignored");
        project.refuses_run(project.releasing("3"), 2, &[&says, target]);
        project.remove(file).commit("None");
    }
}

#[test]
fn a_missing_lock_file_is_written_and_one_that_exists_is_kept() {
    use std::os::unix::fs::MetadataExt;
    let project = Project::local("greeting").with_tiny_provider(Mirror::tiny_packed());
    let write = [
        "release",
        "1",
        "--platform-config",
        "platform-config",
        "--write-lock-file",
        "--no-validate",
    ];
    let owner = fs::metadata(project.path("infra")).unwrap().uid();
    let output = project.cdflow(write).run();
    output.success().stderr_has(&format!("{LOCK} is written: commit it")).lacks("is missing");
    assert_eq!(project.read(LOCK), entries(&project.bundle("1"))[LOCK].text());
    let found = fs::metadata(project.path(LOCK)).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (owner, 0o644));
    assert_eq!(project.git(["status", "--porcelain"]), format!("?? {LOCK}"));
    project.remove(LOCK);
    project.cdflow(write).run().success().stderr_has("--write-lock-file wrote nothing");
    assert!(!project.path(LOCK).exists());

    let other = "provider \"registry.terraform.io/hashicorp/other\" {\n  version = \"1.0.0\"\n}\n";
    project.write(LOCK, other).commit("Another provider");
    let again = [
        "release",
        "2",
        "--platform-config",
        "platform-config",
        "--write-lock-file",
        "--no-validate",
    ];
    project.refuses(
        again,
        3,
        &["--write-lock-file does not replace", &format!("does not lock {TINY} 1.0.0")],
    );
    assert_eq!(project.read(LOCK), other);
    project.release("2").stderr_has(&format!("{LOCK} does not lock {TINY} 1.0.0"));
    project.refuses(
        ["release", "3", "--write-lock-file", "--dry-run"],
        2,
        &["cannot be used with"],
    );
}
