//! Releases with providers for several platforms, and the cache of providers.

use crate::support::{
    Company, Mirror, MirrorServer, Project, ProviderRegistry, Runner, ToolMirror, entries,
    on_a_small_disk, platform, tiny_archive,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LOCK: &str = "infra/.terraform.lock.hcl";

/// A platform that this machine is not.
fn other() -> &'static str {
    if platform() == "linux_arm64" { "linux_amd64" } else { "linux_arm64" }
}

fn project(platforms: &[&str], mirror: Mirror) -> Project {
    let project = Project::local("greeting").with_tiny_provider(mirror);
    project.append("cdflow.yml", &format!("terraform-platforms: [{}]\n", platforms.join(", ")));
    project.commit("Name the platforms");
    project
}

/// `terraform providers lock` in the checkout, as its user would run it.
fn lock(project: &Project, mirror: &Mirror, platforms: &[&str]) {
    let config = mirror.cli_config(project.sandbox());
    let locked = Command::new("terraform")
        .arg(format!("-chdir={}", project.path("infra").display()))
        .args(["providers", "lock", &format!("-fs-mirror={}", mirror.root().display())])
        .args(platforms.iter().map(|platform| format!("-platform={platform}")))
        .env("TF_CLI_CONFIG_FILE", config)
        .output()
        .unwrap();
    assert!(locked.status.success(), "{locked:?}");
    project.commit("Lock");
}

/// Runs the command that locks providers, as a message shows it.
fn run_shown(project: &Project, said: &str, config: &Path, env: &[(&str, &Path)]) {
    let (_, command) = said.split_once("run `").unwrap_or_else(|| panic!("{said}"));
    let (command, _) = command.split_once('`').unwrap();
    let command = command.replace("tofu -chdir", "terraform -chdir");
    let locked = Command::new("sh")
        .args(["-c", &command])
        .current_dir(project.dir())
        .env("TF_CLI_CONFIG_FILE", config)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    assert!(locked.status.success(), "{command}: {locked:?}");
}

/// The platforms of the providers in a bundle, and its manifest.
fn contents(project: &Project, version: &str) -> (Vec<String>, Value) {
    let bundle = entries(&project.bundle(version));
    let programs = bundle.iter().filter(|(name, _)| name.contains("terraform-provider-tiny"));
    let platforms = programs.map(|(name, entry)| {
        let platform = name.split('/').nth(5).unwrap().to_owned();
        assert!(entry.text().contains(&format!("# {platform}\n")), "{name}");
        assert_eq!(entry.mode & 0o777, 0o755, "{name}");
        platform
    });
    let platforms = platforms.collect();
    (platforms, serde_json::from_str(bundle["manifest.json"].text()).unwrap())
}

#[test]
fn a_release_for_two_platforms() {
    let here = platform();
    let both = [here.as_str(), other()];
    let mirror = Mirror::tiny_for(&both);
    let project = project(&both, mirror.clone());
    // The other platform has to be locked: with a lock file of this one alone it is not.
    lock(&project, &mirror, &[&here]);
    let says = format!(
        "the lock file has no hash of registry.terraform.io/hashicorp/tiny 1.0.0 for {}",
        other()
    );
    let flags = format!("providers lock -fs-mirror={} -platform=", mirror.root().display());
    let refused = project.refuses_run(project.releasing("1"), 2, &[&says, &flags]);
    // The registry cannot be reached here, so the command works only with the mirror.
    run_shown(&project, &refused.stderr, &mirror.cli_config(project.sandbox()), &[]);
    project.commit("Lock");

    project.release("1");
    let (found, manifest) = contents(&project, "1");
    let mut sorted = both.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(found, sorted);
    assert_eq!((&manifest["format"], &manifest["platforms"]), (&json!(2), &json!(sorted)));
    let bundle = entries(&project.bundle("1"));
    assert_eq!(bundle[LOCK].text(), project.read(LOCK));
    let shown = project.cdflow(["inspect", "1"]).run().success().stdout.clone();
    assert!(shown.contains(&format!("deploys on         {}", sorted.join(", "))), "{shown}");
    let shown = project.cdflow(["inspect", "1", "--json"]).run().success().json();
    assert_eq!(
        (&shown["platforms"], shown["providers"].as_array().unwrap().len()),
        (&json!(sorted), 2)
    );
    project.cdflow(["doctor"]).run().stdout_has(&both.join(", "));
    // Init has found the provider in the bundle and in the lock file; to run it is another matter.
    project.cdflow(["deploy", "ci", "1"]).run().fails(5).stderr_has("terraform plan failed");

    let foreign = Mirror::tiny_for(&["freebsd_arm"]);
    fs::copy(foreign.archive("freebsd_arm"), mirror.archive(other())).unwrap();
    fs::remove_dir_all(project.sandbox().home().join(".cache")).unwrap();
    let says = [
        "is not what the lock file pins: its hash is h1:",
        " and zh:",
        ", and the lock file has h1:",
    ];
    project.refuses_run(project.releasing("2"), 9, &says);
    fs::remove_file(mirror.archive(other())).unwrap();
    let says = format!("no mirror has registry.terraform.io/hashicorp/tiny 1.0.0 for {}", other());
    let fixes = ["add it to a mirror", "or remove `"];
    project.refuses_run(project.releasing("2"), 2, &[&says, fixes[0], fixes[1]]);
}

#[test]
fn a_release_for_another_platform_is_not_deployed_here() {
    let here = platform();
    let both = [here.as_str(), other()];
    let mirror = Mirror::tiny_for(&both);
    let project = project(&[other()], mirror.clone());
    lock(&project, &mirror, &both);
    project.release("1");
    let (found, manifest) = contents(&project, "1");
    assert_eq!((found, &manifest["platforms"]), (vec![other().to_owned()], &json!([other()])));
    let says = [
        format!("release 1 has no providers for {here}: it has those for {}", other()),
        format!("set `terraform-platforms: [{}, {here}]` in cdflow.yml", other()),
    ];
    let says = says.each_ref().map(String::as_str);
    project.refuses(["deploy", "ci", "1"], 2, &says);
    // This platform alone makes the bundle that a release without the list makes.
    let text = project.read("cdflow.yml");
    project.write("cdflow.yml", &text.replace(other(), &here)).commit("This platform");
    project.release("2");
    project.write("cdflow.yml", text.split_once("terraform-platforms").unwrap().0).commit("None");
    project.release("3");
    assert_eq!(made(&project, "2"), made(&project, "3"));
    assert_eq!(contents(&project, "3").1["format"], 1);
}

#[test]
fn opentofu_releases_for_two_platforms() {
    let here = platform();
    let both = [here.as_str(), other()];
    let mirror = Mirror::tiny_for(&both);
    let project = project(&both, mirror.clone());
    let tools = ToolMirror::new(project.sandbox(), &[]);
    tools.add("opentofu", "1.9.1");
    let key = tools.public_key();
    project.edit_json("account-scheme.json", |scheme| {
        scheme["terraform-mirror-keys"] = json!([key]);
    });
    project.append("cdflow.yml", "opentofu-version: 1.9.1\n");
    lock(&project, &mirror, &[&here]);
    let releasing = || project.releasing("1").env("CDFLOW_TERRAFORM_MIRROR", tools.address());
    let says =
        ["the lock file has no hash of", "run `tofu -chdir=infra providers lock -fs-mirror=/"];
    project.refuses_run(releasing(), 2, &says);
    lock(&project, &mirror, &both);
    releasing().run().success();
    let (found, manifest) = contents(&project, "1");
    assert_eq!((found.len(), &manifest["terraform"]["name"]), (2, &json!("opentofu")));
}

/// What is in a bundle, except what its version and commit change.
fn made(project: &Project, version: &str) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut bundle = entries(&project.bundle(version));
    bundle.remove("release.json");
    bundle.remove("manifest.json");
    bundle.into_iter().map(|(name, entry)| (name, (entry.mode, entry.bytes))).collect()
}

fn from_registry(project: &Project, registry: &ProviderRegistry, version: &str) -> Runner {
    project.releasing(version).env("TF_CLI_CONFIG_FILE", registry.config())
}

#[test]
fn providers_of_a_registry_are_downloaded_once() {
    let here = platform();
    let both = [here.as_str(), other()];
    let project = project(&both, Mirror::tiny());
    let registry = ProviderRegistry::serve(project.sandbox(), &both);
    let release = |version: &str| from_registry(&project, &registry, version).run();
    let downloads = || [registry.downloads(&here), registry.downloads(other())];
    lock_by_init(&project, &registry);
    release("1").success();
    assert_eq!((contents(&project, "1").0.len(), downloads()), (2, [2, 1]));
    let locked = entries(&project.bundle("1"))[LOCK].text().to_owned();
    assert_eq!((locked.matches("h1:").count(), locked.matches("zh:").count()), (2, 2), "{locked}");
    assert_eq!(project.read(LOCK).matches("h1:").count(), 1);
    release("2").success().stderr_has(&format!("1.0.0 for {} from the cache", other()));
    assert_eq!(made(&project, "1"), made(&project, "2"));
    let before = downloads();
    assert_eq!(before, [2, 1]);

    // What is damaged is never used.
    let cached = cached(&project);
    for file in &cached {
        fs::OpenOptions::new().append(true).open(file).unwrap().write_all(b"x").unwrap();
    }
    release("5").success().stderr_has("is damaged: it is removed, and downloaded again");
    assert_eq!(made(&project, "2"), made(&project, "5"));
    assert_eq!(downloads(), before.map(|count| count + 1));

    // Ten releases at once: one downloads, the others wait for it.
    fs::remove_dir_all(project.sandbox().home().join(".cache")).unwrap();
    both.iter().for_each(|platform| registry.slow(platform, Duration::from_millis(500)));
    let before = downloads();
    let runs: Vec<_> = (10..20)
        .map(|version| from_registry(&project, &registry, &version.to_string()).spawn())
        .collect();
    for run in runs {
        run.wait().success();
    }
    assert_eq!(downloads(), before.map(|count| count + 1));
    assert_eq!(made(&project, "2"), made(&project, "19"));

    let text = project.read("cdflow.yml").replace("]\n", ", darwin_arm64]\n");
    project.write("cdflow.yml", &text).commit("A platform without a build");
    release("9").fails(2).stderr_has("hashicorp/tiny 1.0.0 has no build for darwin_arm64");
}

/// The registry's hashes are for every platform; Terraform adds that of this one's content.
fn lock_by_init(project: &Project, registry: &ProviderRegistry) {
    let locked = Command::new("terraform")
        .arg(format!("-chdir={}", project.path("infra").display()))
        .args(["init", "-backend=false"])
        .env("TF_CLI_CONFIG_FILE", registry.config())
        .output()
        .unwrap();
    assert!(locked.status.success(), "{locked:?}");
    fs::remove_dir_all(project.path("infra/.terraform")).unwrap();
    project.commit("Lock");
}

/// A component whose provider comes from a registry, locked with one download.
fn registered() -> (Project, ProviderRegistry) {
    let project = Project::local("greeting").with_tiny_provider(Mirror::tiny());
    let registry = ProviderRegistry::serve(project.sandbox(), &[&platform()]);
    lock_by_init(&project, &registry);
    (project, registry)
}

/// `provider-lock`
#[test]
fn a_release_does_not_wait_for_another_without_end() {
    let (project, registry) = registered();
    registry.slow(&platform(), Duration::from_secs(5));
    let mut first = from_registry(&project, &registry, "1").spawn();
    first.wait_until("the download", |_| registry.downloads(&platform()) == 2);
    let second = from_registry(&project, &registry, "2").env("CDFLOW_LIMITS", "provider-lock=1s");
    second
        .run()
        .success()
        .stderr_has("another release downloads registry.terraform.io/hashicorp/tiny 1.0.0 for")
        .stderr_has("did not finish its download within 1 s (the limit `provider-lock`)")
        .stderr_has("this release downloads registry.terraform.io/hashicorp/tiny too");
    first.wait().success();
    assert_eq!(registry.downloads(&platform()), 3);
}

#[test]
fn a_full_disk_below_the_cache_of_providers() {
    let (project, registry) = registered();
    let disk = project.sandbox().root().join("small");
    let release = project
        .cdflow(["release", "--platform-config", "platform-config", "--no-validate"])
        .env("TF_CLI_CONFIG_FILE", registry.config())
        .env("XDG_CACHE_HOME", &disk);
    let (full, output) = on_a_small_disk(release, &disk);
    output.success();
    let says = format!("is not kept in `{}/cdflow/providers`, so the next", disk.display());
    assert!(full.contains(&says) && full.contains("free some space there"), "{output}");
    let left = full.split_once("FIRST 0").unwrap().1;
    assert!(!left.contains("/cdflow/providers/"), "nothing is left: {output}");
    assert_eq!(output.stderr.matches("is not kept").count(), 1, "{output}");
    // One for the lock file. The second keeps what it downloads, and the third uses it.
    assert_eq!(registry.downloads(&platform()), 3);
    assert_eq!(made(&project, "first"), made(&project, "third"));
}

/// The files of cached packages.
fn cached(project: &Project) -> Vec<PathBuf> {
    fn walk(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
    }
    walk(&project.sandbox().home().join(".cache/cdflow/providers"))
}

#[test]
fn a_release_of_another_platform_runs_the_same_version() {
    let project = Project::local("elsewhere");
    let tools = ToolMirror::new(project.sandbox(), &["1.10.5", "1.11.4"]);
    let key = tools.public_key();
    project.edit_json("account-scheme.json", |scheme| {
        scheme["terraform-mirror-keys"] = json!([key]);
    });
    project.append("cdflow.yml", "terraform-version: 1.10.5\n").commit("An older version");
    let cache = project.sandbox().root().join("tool-cache");
    let with_mirror = |runner: Runner| {
        runner.env("CDFLOW_TERRAFORM_MIRROR", tools.address()).env("RUNNER_TOOL_CACHE", &cache)
    };
    with_mirror(project.releasing("1")).run().success();
    let file = project.bundle("1");
    let mut files: Vec<(String, Vec<u8>)> =
        entries(&file).into_iter().map(|(name, entry)| (name, entry.bytes)).collect();
    files.sort_by_key(|(name, _)| name == "manifest.json");
    let (_, manifest) = files.last_mut().unwrap();
    let text = String::from_utf8(manifest.clone()).unwrap();
    let read: Value = serde_json::from_str(&text).unwrap();
    let digest = read["terraform"]["sha256"].as_str().unwrap();
    *manifest = text.replace(&platform(), other()).replace(digest, &"0".repeat(64)).into_bytes();
    fs::remove_file(&file).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(&file).unwrap());
    for (name, bytes) in files {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o644);
        zip.start_file(name, options).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
    fs::remove_dir_all(&cache).unwrap();
    let output = with_mirror(project.cdflow(["deploy", "ci", "1"])).run();
    output.success().stderr_has("download terraform 1.10.5 from the mirror");
    output.stderr_has("signature and SHA-256 verified");
    assert_eq!(project.resources("ci"), ["terraform_data.greeting"]);
}

/// `terraform init` asks it for this platform, cdflow for the other.
#[test]
fn a_network_mirror_has_every_platform() {
    let both = [platform().as_str(), other()].map(str::to_owned);
    let platforms = both.each_ref().map(String::as_str);
    let project = project(&platforms, Mirror::tiny_for(&platforms));
    let site = project.sandbox().root().join("site");
    let folder = site.join("mirror/registry.terraform.io/hashicorp/tiny");
    fs::create_dir_all(&folder).unwrap();
    let archives = both.each_ref().map(|platform| {
        fs::write(folder.join(format!("{platform}.zip")), tiny_archive(platform)).unwrap();
        let digest = Sha256::digest(tiny_archive(platform));
        let zh: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (
            platform.clone(),
            json!({ "url": format!("{platform}.zip"), "hashes": [format!("zh:{zh}")] }),
        )
    });
    let list = |archives: &[(String, Value)]| {
        let archives: serde_json::Map<_, _> = archives.iter().cloned().collect();
        fs::write(folder.join("1.0.0.json"), json!({ "archives": archives }).to_string()).unwrap();
    };
    fs::write(folder.join("index.json"), r#"{"versions": {"1.0.0": {}}}"#).unwrap();
    // The first mirror has this platform alone.
    list(&archives[..1]);
    let part = site.join("part/registry.terraform.io/hashicorp/tiny");
    fs::create_dir_all(&part).unwrap();
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), part.join(entry.file_name())).unwrap();
    }
    list(&archives);
    let server = MirrorServer::start(site);
    let company = Company::with_direct(project.sandbox(), server.address(), Some(server.address()));
    let config = project.sandbox().root().join("network.tfrc");
    let url = format!("{}/mirror/", company.direct());
    let mirrors = [format!("{}/part/", company.direct()), url]
        .map(|url| format!("  network_mirror {{\n    url = \"{url}\"\n  }}\n"));
    let text = format!("provider_installation {{\n{}}}\n", mirrors.concat());
    fs::write(&config, text).unwrap();
    lock(&project, &Mirror::tiny_for(&platforms), &platforms);
    let release = |version: &str| {
        let run = project.releasing(version).env("TF_CLI_CONFIG_FILE", &config);
        let cache = project.sandbox().root().join(format!("cache-{version}"));
        run.arg("--ca-certificates").arg(company.authority()).arg("--cache-dir").arg(cache)
    };
    // The command for the first mirror would not find the other platform.
    fs::remove_file(project.path(LOCK)).unwrap();
    project.commit("Nothing is locked");
    let unlocked = release("0").run();
    let mirrors = ["part", "mirror"].map(|name| format!("{}/{name}/", company.direct()));
    let [part, all] = mirrors.map(|url| format!("providers lock -net-mirror={url} -platform="));
    let tiny = "registry.terraform.io/hashicorp/tiny";
    unlocked.fails(2).stderr_has(&format!("{all}{} {tiny} && ", both[1]));
    unlocked.stderr_has(&format!("{part}{} {tiny}`", both[0]));
    let authority = company.authority();
    run_shown(&project, &unlocked.stderr, &config, &[("SSL_CERT_FILE", &authority)]);
    assert_eq!(project.read(LOCK).matches("h1:").count(), 2);
    project.commit("Lock");

    let output = release("1").run();
    output.success().stderr_has(&format!("tiny 1.0.0 for {} from 127.0.0.1", other()));
    let mut found = contents(&project, "1").0;
    found.sort();
    let mut expected = both.to_vec();
    expected.sort();
    assert_eq!(found, expected);

    let damaged = (other().to_owned(), json!({ "url": "x.zip", "hashes": ["zh:00"] }));
    fs::write(folder.join("x.zip"), "other").unwrap();
    list(&[archives[0].clone(), damaged]);
    release("2").run().fails(9).stderr_has("x.zip` is not what the mirror lists");
    list(&archives[..1]);
    let missing = release("3").run();
    let says = format!("no mirror has registry.terraform.io/hashicorp/tiny 1.0.0 for {}", other());
    missing.fails(2).stderr_has(&says);
}
