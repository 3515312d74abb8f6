//! Which Terraform is used, where it comes from, and that only what its publisher or the mirror's
//! key signed is ever run.

use crate::support::silent::{Reply, answering, full};
use crate::support::{
    Fault, MirrorServer, Output, Project, Runner, SigningKey, ToolMirror, archive, archive_name,
    archive_of_link, on_a_small_disk, path_without_terraform, platform, real_terraform,
    signature_name, stamped,
};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

const VERSIONS: [&str; 3] = ["1.10.5", "1.11.4", "1.12.0"];

/// A component on a machine without Terraform, and a mirror whose key its scheme names.
pub(crate) struct Bare {
    pub(crate) project: Project,
    pub(crate) mirror: ToolMirror,
}

impl Bare {
    pub(crate) fn new(name: &str) -> Self {
        let project = Project::local(name);
        let mirror = ToolMirror::new(project.sandbox(), &VERSIONS);
        let key = mirror.public_key();
        project.edit_json("account-scheme.json", |scheme| {
            scheme["terraform-mirror-keys"] = json!([key]);
        });
        project.commit("The mirror's key");
        Self { project, mirror }
    }

    pub(crate) fn cdflow(&self, arguments: &[&str]) -> Runner {
        self.project
            .cdflow(arguments)
            .env("PATH", path_without_terraform(self.project.sandbox()))
            .env("CDFLOW_TERRAFORM_MIRROR", self.mirror.address())
            .env("RUNNER_TOOL_CACHE", self.cache())
    }

    pub(crate) fn releasing(&self, version: &str) -> Runner {
        self.cdflow(&["release", version, "--platform-config", "platform-config"])
    }

    pub(crate) fn served(&self, server: &MirrorServer) -> Runner {
        self.releasing("1").env("CDFLOW_TERRAFORM_MIRROR", server.address())
    }

    fn cache(&self) -> PathBuf {
        self.project.sandbox().root().join("tool-cache")
    }

    /// The programs in the cache, and whatever is not expected beside them.
    pub(crate) fn cached(&self) -> Vec<PathBuf> {
        let files = walk(&self.cache()).into_iter();
        let is_beside = |path: &PathBuf| path.ends_with(".lock") || path.ends_with("signed-by");
        files.filter(|path| !is_beside(path)).collect()
    }

    pub(crate) fn made_with(&self, version: &str) -> Value {
        let bundle = crate::support::entries(&self.project.bundle(version));
        let manifest: Value = serde_json::from_str(bundle["manifest.json"].text()).unwrap();
        manifest["terraform"].clone()
    }

    #[track_caller]
    pub(crate) fn rejects(&self, code: i32, says: &str) -> Output {
        let output = self.releasing("1").run();
        output.fails(code).stderr_has(says);
        let mut left = walk(&self.cache());
        left.retain(|path| !path.ends_with(".lock"));
        assert_eq!(left, Vec::<PathBuf>::new(), "{output}");
        output
    }
}

fn walk(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_machine_without_terraform_releases_and_deploys() {
    let bare = Bare::new("bare");
    let output = bare.releasing("1").run();
    output.success().stderr_has("download terraform 1.12.0 from the mirror");
    output.stderr_has("terraform 1.12.0 from the mirror (no version is required)");
    let pinned = bare.made_with("1");
    assert_eq!((&pinned["name"], &pinned["version"]), (&json!("terraform"), &json!("1.12.0")));
    assert_eq!(pinned["platform"], crate::support::platform());
    let output = bare.cdflow(&["deploy", "ci", "1"]).run();
    output
        .success()
        .stderr_has("terraform 1.12.0 from the cache (required by the release: 1.12.0)");
    assert_eq!(bare.project.resources("ci"), ["terraform_data.greeting"]);
    let output = bare.cdflow(&["destroy", "ci", "--confirm", "ci"]).run();
    output.success().lacks("download terraform");
}

/// A file or flag, its content, the tool and version that it leads to, and what the log says.
const SOURCES: [[&str; 4]; 11] = [
    ["", "", "terraform 1.12.0", "(no version is required)"],
    [
        "infra/v.tf",
        "terraform {\n  required_version = \"< 1.12\"\n}",
        "terraform 1.11.4",
        "infra/v.tf:2:",
    ],
    [".tool-versions", "nodejs 20.1.0\nterraform 1.10.5", "terraform 1.10.5", ".tool-versions:2"],
    [".tfswitchrc", "1.11.4", "terraform 1.11.4", ".tfswitchrc"],
    [".opentofu-version", "1.10.6", "opentofu 1.10.6", ".opentofu-version:1"],
    [".tool-versions", "opentofu 1.10.6", "opentofu 1.10.6", ".tool-versions:1"],
    // Outside of the repository.
    ["../.terraform-version", "1.10.5", "terraform 1.12.0", "(no version is required)"],
    [".terraform-version", "1.10.5", "terraform 1.10.5", ".terraform-version"],
    [
        "cdflow.yml",
        "terraform-version: ~> 1.10.0",
        "terraform 1.10.5",
        "`terraform-version` in cdflow.yml: ~> 1.10.0",
    ],
    [
        "--terraform-version",
        "1.11.4",
        "terraform 1.11.4",
        "`terraform-version` of this run: 1.11.4",
    ],
    [
        "cdflow.yml",
        "opentofu-version: 1.10.6",
        "opentofu 1.10.6",
        "`opentofu-version` in cdflow.yml: 1.10.6",
    ],
];

#[test]
fn each_source_chooses_its_version() {
    for (number, [source, content, chosen, named]) in SOURCES.into_iter().enumerate() {
        let bare = Bare::new(&format!("source{number}"));
        bare.mirror.add("opentofu", "1.10.6");
        let mut release = bare.releasing("1");
        match source {
            "" => {}
            flag if flag.starts_with("--") => release = release.args([flag, content]),
            "cdflow.yml" => drop(bare.project.append(source, &format!("{content}\n"))),
            file => drop(bare.project.write(file, &format!("{content}\n"))),
        }
        bare.project.commit("A source");
        let output = release.run();
        output.success().stderr_has(named);
        let made = bare.made_with("1");
        let made = [&made["name"], &made["version"]].map(|it| it.as_str().unwrap()).join(" ");
        assert_eq!(made, chosen, "{source}: {output}");
    }
}

/// Sources that are neither a file of the component nor a flag.
#[test]
fn a_folder_above_a_release_and_path_choose_a_version() {
    let bare = Bare::new("above");
    // Several components can be in one repository.
    fs::create_dir(bare.project.path("app")).unwrap();
    for name in ["cdflow.yml", "infra", "config", "platform-config"] {
        fs::rename(bare.project.path(name), bare.project.path("app").join(name)).unwrap();
    }
    bare.project.edit("app/cdflow.yml", "./account-scheme.json", "../account-scheme.json");
    let run = |arguments: &[&str]| bare.cdflow(arguments).cwd(bare.project.path("app"));
    let release = |version| run(&["release", version, "--platform-config", "platform-config"]);
    let made_with = |version: &str| bare.made_with(version)["version"].clone();

    bare.project.write(".terraform-version", "1.10.5\n").commit("A version for all components");
    let output = release("1").run();
    output.success().stderr_has("terraform 1.10.5 from the mirror (required by .terraform-version");
    assert_eq!(made_with("1"), "1.10.5");

    // The release keeps its version.
    bare.project.write(".terraform-version", "1.11.4\n").commit("Another version");
    let output = run(&["deploy", "ci", "1"]).run();
    output
        .success()
        .stderr_has("terraform 1.10.5 from the cache (required by the release: 1.10.5)");

    // A program in PATH that fits is used as it is, whatever a mirror has.
    let path = std::env::var("PATH").unwrap();
    let output = release("2").env("PATH", &path).run();
    output.success().stderr_has("terraform 1.11.4 from PATH (required by .terraform-version");
    assert_eq!(made_with("2"), "1.11.4");
    bare.project.remove(".terraform-version").commit("No version");
    let output = release("3").env("PATH", path).run();
    output.success().stderr_has("terraform 1.11.4 from PATH (no version is required)");
}

#[test]
fn a_release_is_deployed_with_its_own_version() {
    let bare = Bare::new("pinned");
    bare.project.append("cdflow.yml", "terraform-version: 1.10.5\n");
    bare.project.commit("Require a version");
    bare.releasing("1").run().success();
    // Later settings and a newer program in PATH do not matter to it.
    bare.project.edit("cdflow.yml", "1.10.5", "1.12.0");
    bare.project.commit("Require another");
    let path = std::env::var("PATH").unwrap();
    let output = bare.cdflow(&["deploy", "ci", "1"]).env("PATH", &path).run();
    output
        .success()
        .stderr_has("terraform 1.10.5 from the cache (required by the release: 1.10.5)");
    let report = bare.project.path("report.json");
    let output = bare
        .cdflow(&["deploy", "ci", "1", "--terraform-version", "1.12.0", "--report-json"])
        .args([&report])
        .run();
    output.success().stderr_has("terraform 1.12.0 is used because this run asks for it");
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert!(report["warnings"][0].as_str().unwrap().contains("made with 1.10.5"), "{report}");
}

#[test]
fn a_state_of_a_newer_version_is_found_before_the_plan() {
    let bare = Bare::new("newer");
    bare.releasing("1").run().success();
    bare.cdflow(&["deploy", "ci", "1"]).run().success();
    let file = bare.project.state_file("ci");
    let state = fs::read_to_string(&file).unwrap();
    let newer =
        state.replace("\"terraform_version\": \"1.11.4\"", "\"terraform_version\": \"1.13.0\"");
    assert_ne!(state, newer);
    fs::write(&file, newer).unwrap();
    let output = bare.cdflow(&["deploy", "ci", "1"]).run();
    output.fails(2).stderr_has("the state was written by terraform 1.13.0").lacks("==> Plan");
}

#[test]
fn nothing_that_is_not_signed_is_run() {
    let version = "1.12.0";
    let change = |name: &str, change: &dyn Fn(&Bare, PathBuf)| {
        let bare = Bare::new(name);
        change(&bare, bare.mirror.version("terraform", version));
        bare
    };
    let sums = format!("terraform_{version}_SHA256SUMS");
    let zip = archive_name("terraform", version);
    let signature = signature_name("terraform", version);

    change("wrongzip", &|_, folder| fs::write(folder.join(&zip), "other").unwrap())
        .rejects(9, "is not what SHA256SUMS lists");
    change("wrongsums", &|_, folder| {
        let path = folder.join(&sums);
        fs::write(&path, fs::read_to_string(&path).unwrap() + "\n").unwrap();
    })
    .rejects(9, "it does not match the file")
    .stderr_has("-> copy both files to the mirror again")
    .lacks("terraform-mirror-keys");
    change("unsigned", &|_, folder| fs::remove_file(folder.join(&signature)).unwrap())
        .rejects(9, "are not signed");
    change("nosums", &|_, folder| fs::remove_file(folder.join(&sums)).unwrap())
        .rejects(2, "terraform 1.12.0 is not at the mirror");
    change("nozip", &|_, folder| fs::remove_file(folder.join(&zip)).unwrap())
        .rejects(2, "SHA256SUMS of 1.12.0 lists it");
    change("othersums", &|bare, folder| {
        // Signed, but those of another version.
        let other = bare.mirror.version("terraform", "1.11.4");
        fs::copy(other.join("terraform_1.11.4_SHA256SUMS"), folder.join(&sums)).unwrap();
        fs::copy(other.join(signature_name("terraform", "1.11.4")), folder.join(&signature))
            .unwrap();
    })
    .rejects(9, "lists no valid SHA-256 of terraform_1.12.0");
    change("unknownkey", &|bare, _| {
        let key = SigningKey::new().public();
        bare.project.edit_json("account-scheme.json", |scheme| {
            scheme["terraform-mirror-keys"] = json!([key]);
        });
        bare.project.commit("Another key");
    })
    .rejects(9, "by a key that cdflow does not know")
    .stderr_has("add the mirror's key to `terraform-mirror-keys`");
    change("expiredkey", &|bare, _| {
        let key = SigningKey::expired();
        bare.mirror.sign_by(&key, "terraform", version);
        bare.project.edit_json("account-scheme.json", |scheme| {
            scheme["terraform-mirror-keys"] = json!([key.public()]);
        });
        bare.project.commit("The key of last year");
    })
    .rejects(9, " has expired")
    .stderr_has("the signature of `");
    change("twoprograms", &|bare, _| {
        let archive = archive("tofu", stamped(version));
        bare.mirror.add_archive("terraform", version, &archive);
    })
    .rejects(9, "it contains `tofu`");
    change("otherversion", &|bare, _| {
        let archive = archive("terraform", stamped("1.11.0"));
        bare.mirror.add_archive("terraform", version, &archive);
    })
    .rejects(9, "the program says that it is 1.11.0");
    change("foreign", &|bare, _| {
        let foreign = stamped(version).replace(&platform(), "plan9_mips");
        assert!(foreign.contains("plan9"), "{foreign}");
        bare.mirror.add_archive("terraform", version, &archive("terraform", foreign));
    })
    .rejects(9, "the program says that it is for plan9_mips");
    change("otherplatform", &|bare, _| {
        let archive = archive("terraform", "\u{7f}ELF of another machine");
        bare.mirror.add_archive("terraform", version, &archive);
    })
    .rejects(9, "the downloaded terraform 1.12.0 does not run: ")
    .stderr_has("-> check that the archive for ")
    .lacks(".new-");
}

/// The sums list it, and a key that may sign has signed them.
#[test]
fn an_archive_without_the_program_or_with_more_is_rejected() {
    let link = archive_of_link("terraform", &real_terraform());
    for (name, archive, says) in [
        ("noprogram", archive("LICENSE", "A license.\n"), "`terraform` is not in it"),
        ("link", link, "`terraform` is not a regular file"),
        ("outside", archive("../terraform", stamped("1.12.0")), "it contains `../terraform`"),
    ] {
        let bare = Bare::new(name);
        bare.mirror.add_archive("terraform", "1.12.0", &archive);
        bare.rejects(9, says).stderr_has("is not an archive of terraform");
    }
}

#[test]
fn constraints_that_nothing_satisfies() {
    let bare = Bare::new("unsatisfied");
    let output = bare.releasing("1").args(["--terraform-version", ">= 1.13"]).run();
    output.fails(2).stderr_has("no version of terraform at the mirror can be used");
    output.stderr_has("it has 3 version(s): 1.10.5, 1.11.4, 1.12.0\n");
    output.stderr_has("`terraform-version` of this run requires >= 1.13: none of them");
    let output = bare.releasing("1").args(["--terraform-version", "1.9.8x"]).run();
    output.fails(2).stderr_has("`1.9.8x` has `x` directly after the number");
    let output = bare.releasing("1").args(["--terraform-version", "1.5.7"]).run();
    output.fails(2).stderr_has("cdflow needs terraform 1.6.0 or newer");
    bare.project.append("infra/main.tf", "terraform {\n  required_version = \"~> 1.10.0\"\n}\n");
    bare.project.commit("Code requires another");
    let output = bare.releasing("1").args(["--terraform-version", "1.11.4"]).run();
    output.fails(2).stderr_has("`terraform-version` of this run requires 1.11.4; infra/main.tf:");
    output.stderr_has("-> change one of the two").lacks("PATH");
    let ranges = bare.releasing("1").args(["--terraform-version", ">= 1.11"]).run();
    ranges.fails(2).stderr_has("of this run requires >= 1.11; infra/main.tf:");
    // A version could fulfil both, and the mirror has none.
    let ranges = bare.releasing("1").args(["--terraform-version", "> 1.10.5"]).run();
    ranges
        .fails(2)
        .stderr_has("`terraform-version` of this run requires > 1.10.5: 1.11.4 to 1.12.0")
        .stderr_has(" requires ~> 1.10.0: only 1.10.5");
    // All requirements are named, and what a version without a patch means.
    bare.project.edit("infra/main.tf", "~> 1.10.0", ">= 1.6").commit("Any");
    bare.project.append("cdflow.yml", "terraform-version: 1.12\n").commit("Exactly");
    bare.releasing("1")
        .run()
        .success()
        .stderr_has("(required by `terraform-version` in cdflow.yml: 1.12; infra/main.tf:")
        .stderr_has("`1.12` means terraform 1.12.0 only; for the whole series, write `~> 1.12.0`");
    bare.project.edit("cdflow.yml", "terraform-version: 1.12", "terraform-version:").commit("None");
    let output = bare.releasing("2").run();
    output.fails(2).stderr_has("`terraform-version`: the value is missing");
}

/// Wherever the constraint is: the message names the file and the line.
#[test]
fn a_malformed_constraint_names_its_file_and_line() {
    let bare = Bare::new("malformed");
    let [manifest, code] = ["cdflow.yml", "infra/main.tf"].map(|file| bare.project.read(file));
    let line = manifest.lines().count() + 1;
    for (file, content, says) in [
        (
            "cdflow.yml",
            format!("{manifest}terraform-version: \">= 1.9, x\"\n"),
            format!("cdflow.yml:{line}:20: "),
        ),
        (
            "infra/main.tf",
            format!("terraform {{\n  required_version = \"~> 1.x\"\n}}\n{code}"),
            "infra/main.tf:2: `required_version` is malformed".to_owned(),
        ),
        (".terraform-version", "# why\n1.9.\n".to_owned(), ".terraform-version:2: ".to_owned()),
        (".opentofu-version", "1.8 || 1.9\n".to_owned(), ".opentofu-version:1: ".to_owned()),
        (".tfswitchrc", "version = \"1.9.8\"\n".to_owned(), ".tfswitchrc:1: ".to_owned()),
        (
            ".tool-versions",
            "node 20\nterraform = \"1.9.8\"\n".to_owned(),
            ".tool-versions:2: the version is malformed: the line is TOML".to_owned(),
        ),
    ] {
        let before = bare.project.path(file).exists().then(|| bare.project.read(file));
        bare.project.write(file, &content).commit("Malformed");
        bare.rejects(2, &says);
        match before {
            Some(text) => bare.project.write(file, &text),
            None => bare.project.remove(file),
        };
        assert!(bare.project.stored().is_empty(), "{:?}", bare.project.stored());
    }
}

/// Settings that exclude each other: nothing is chosen, and both places are named.
#[test]
fn two_sources_that_contradict_each_other() {
    let cases = [
        (
            "terraform-version: 1.11.4",
            &[(".terraform-version", "1.12.0")][..],
            "`terraform-version` in cdflow.yml and .terraform-version:1 contradict each other",
        ),
        (
            "terraform-version: ~> 1.11.0",
            &[(".tool-versions", "terraform 1.10.5")],
            "`terraform-version` in cdflow.yml and .tool-versions:1 contradict each other",
        ),
        (
            "# no version here",
            &[(".tfswitchrc", "1.11.4"), (".terraform-version", "1.12.0")],
            "contradict each other",
        ),
        (
            "# no tool here",
            &[(".opentofu-version", "1.10.6"), (".terraform-version", "1.12.0")],
            "it is not clear whether the component uses Terraform or OpenTofu",
        ),
    ];
    let bare = Bare::new("contradiction");
    let manifest = bare.project.read("cdflow.yml");
    for (line, files, says) in cases {
        bare.project.write("cdflow.yml", &format!("{manifest}{line}\n"));
        for (name, content) in files {
            bare.project.write(name, content);
        }
        bare.project.commit("Two sources");
        let output = bare.rejects(2, says);
        for (name, _) in files {
            assert!(output.stderr.contains(name), "{name}: {output}");
            bare.project.remove(name);
        }
        assert!(bare.project.stored().is_empty(), "{:?}", bare.project.stored());
    }
}

#[test]
fn a_download_that_breaks_is_continued() {
    let bare = Bare::new("broken");
    let server = bare.mirror.serve();
    let zip = archive_name("terraform", "1.12.0");
    server.fault(&zip, Fault::Cut(2));
    server.fault("SHA256SUMS", Fault::Busy(2));
    bare.served(&server).run().success();
    let asked = server.asked(&zip);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[1].contains(" from ") && asked[2].contains(" from "), "{asked:?}");
    assert_eq!(bare.cached().len(), 1);
}

#[test]
fn a_mirror_in_trouble_is_named() {
    let bare = Bare::new("trouble");
    let rejects = |fault: Option<(&str, Fault)>, limits: &str, code: i32, says: &str| {
        let server = bare.mirror.serve();
        if let Some((part, fault)) = fault {
            server.fault(part, fault);
        }
        let output = bare.served(&server).env("CDFLOW_LIMITS", limits).run();
        output.fails(code).stderr_has(says);
        assert!(bare.cached().is_empty(), "{output}");
    };
    for name in ["index.json", "SHA256SUMS.sig"] {
        rejects(Some((name, Fault::Html)), "", 9, "it is HTML, as from a login or a proxy");
    }
    rejects(Some((".zip", Fault::Html)), "", 9, "is not what SHA256SUMS lists");
    let slow = Fault::Slow(Duration::from_secs(20));
    rejects(Some(("index.json", slow.clone())), "tool-answer=1s", 10, "(the limit `tool-answer`)");
    rejects(Some((".zip", slow)), "tool-download=1s", 10, "(the limit `tool-download`)");
    let away = Fault::Redirect("http://mirror.example/elsewhere".into());
    rejects(Some((".zip", away)), "tool-download=2s", 10, "plain http on another machine");
    let output = bare
        .releasing("1")
        .env("CDFLOW_TERRAFORM_MIRROR", "http://127.0.0.1:9")
        .env("CDFLOW_LIMITS", "tool-answer=2s")
        .run();
    output.fails(10).stderr_has("cannot download `http://127.0.0.1:9/terraform/index.json`");
    let output = bare.releasing("1").env("CDFLOW_TERRAFORM_MIRROR", "ftp://a.example").run();
    output.fails(2).stderr_has("CDFLOW_TERRAFORM_MIRROR is `ftp://a.example`, not a mirror");
}

/// `tool-connect`, `tool-idle` and `tool-lock`
#[test]
fn neither_a_silent_mirror_nor_another_download_is_waited_for_without_end() {
    let bare = Bare::new("silent");
    let run = |address: &str, limits: &str| {
        let run = bare.releasing("1").env("CDFLOW_LIMITS", limits);
        // What another run downloads would be used instead.
        let own = bare.project.sandbox().root().join("own-cache");
        let run = run.env("RUNNER_TOOL_CACHE", own);
        run.env("CDFLOW_TERRAFORM_MIRROR", format!("http://{address}")).spawn()
    };
    let silent = answering(|_| Reply::Nothing);
    let silent = [run(&full(), "tool-connect=1s"), run(&silent, "tool-idle=1s")];
    let server = bare.mirror.serve();
    server.fault(".zip", Fault::Slow(Duration::from_secs(6)));
    let mut first = bare.served(&server).spawn();
    first.wait_until("the download", |_| !server.asked(".zip").is_empty());
    let second = bare.served(&server).env("CDFLOW_LIMITS", "tool-lock=1s").run();
    second.fails(10).stderr_has("did not finish its download within 1 s (the limit `tool-lock`)");
    first.wait().success();
    for (run, says) in silent.into_iter().zip([
        "no connection within 1 s (the limit `tool-connect`), after 5 attempts",
        "no answer within 1 s (the limit `tool-idle`), after 5 attempts",
    ]) {
        run.wait().fails(10).stderr_has(says);
    }
}

#[test]
fn ten_runs_at_once_download_once() {
    let bare = Bare::new("crowd");
    let server = bare.mirror.serve();
    let zip = archive_name("terraform", "1.12.0");
    server.fault(&zip, Fault::Slow(Duration::from_millis(300)));
    let runs: Vec<_> = (0..10)
        .map(|number| {
            let runner = bare.releasing(&format!("r{number}"));
            runner.env("CDFLOW_TERRAFORM_MIRROR", server.address()).spawn()
        })
        .collect();
    for run in runs {
        run.wait().success();
    }
    assert_eq!(server.asked(&zip).len(), 1);
    assert_eq!(bare.cached().len(), 1);
}

#[test]
fn a_cache_that_is_damaged_or_read_only() {
    let bare = Bare::new("cache");
    bare.releasing("1").run().success();
    let [program] = bare.cached().try_into().unwrap();
    fs::write(&program, "#!/bin/sh\nexit 1\n").unwrap();
    let output = bare.releasing("2").run();
    output.success().stderr_has("is damaged: it is removed, and downloaded again");
    // Half written by a run that was killed.
    let left = program.parent().unwrap().with_file_name(".new-abc");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("terraform"), "half").unwrap();
    fs::remove_dir_all(program.parent().unwrap()).unwrap();
    bare.releasing("3").run().success();
    assert!(!left.exists() && program.exists());
    // No folder to keep it in: a file is where the cache would be.
    let file = bare.project.sandbox().root().join("file");
    fs::write(&file, "").unwrap();
    let output = bare
        .releasing("4")
        .env("RUNNER_TOOL_CACHE", &file)
        .env("XDG_CACHE_HOME", &file)
        .env("HOME", &file)
        .run();
    output.success().stderr_has("no folder for a cache");
    bare.project.left_no_trace(&output);
}

/// A folder of the machine is used by several components, and might be part of an image.
#[test]
fn what_the_cache_has_is_used_only_by_those_who_trust_it() {
    let bare = Bare::new("trust");
    let offline = |version: &str| {
        let release = bare.releasing(version).env("CDFLOW_TERRAFORM_MIRROR", "http://127.0.0.1:9");
        release.env("CDFLOW_LIMITS", "tool-answer=1s")
    };
    offline("1").run().fails(10);
    bare.releasing("1").run().success();
    let range = ["--terraform-version", ">= 1.11, < 1.13"];
    let says = "the list of versions cannot be read: terraform 1.12.0 is the newest one in the";
    offline("2").args(range).run().success().stderr_has(says);
    offline("3").args(["--terraform-version", "~> 1.10.0"]).run().fails(10);
    let read_only = "command -p unshare --user --map-root-user --mount sh -c \
                     'command -p mount --bind \"$FOLDER\" \"$FOLDER\" && \
                     command -p mount -o remount,ro,bind \"$FOLDER\" && exec \"$0\" \"$@\"' \
                     \"$0\" \"$@\"";
    let output = bare.releasing("4").env("FOLDER", bare.cache()).in_shell(read_only).run();
    output.success().stderr_has("terraform 1.12.0 from the cache").lacks("no folder for a cache");
    let key = SigningKey::new().public();
    bare.project.edit_json("account-scheme.json", |scheme| {
        scheme["terraform-mirror-keys"] = json!([key]);
    });
    bare.project.commit("Another key");
    let output = bare.releasing("5").run();
    output.fails(9).stderr_has("by a key that cdflow does not know");
}

#[test]
fn a_cache_where_no_program_can_start() {
    let bare = Bare::new("noexec");
    fs::create_dir(bare.cache()).unwrap();
    let shell = "command -p unshare --user --map-root-user --mount sh -c \
                 'command -p mount -t tmpfs -o noexec none \"$FOLDER\" && exec \"$0\" \"$@\"' \
                 \"$0\" \"$@\"";
    let output = bare.releasing("1").env("FOLDER", bare.cache()).in_shell(shell).run();
    output.fails(2).stderr_has("no program can be started from `").stderr_has("`noexec`");
}

/// The mirror has another file under the same version now.
#[test]
fn a_program_that_did_not_make_the_release_is_named() {
    let bare = Bare::new("pin");
    bare.releasing("1").run().success();
    let other = archive("terraform", stamped("1.12.0") + "# Built again\n");
    bare.mirror.add_archive("terraform", "1.12.0", &other);
    let says = "this terraform 1.12.0 is not the file that made the release: its SHA-256 is ";
    bare.cdflow(&["deploy", "ci", "1"]).run().success().lacks(says);
    fs::remove_dir_all(bare.cache()).unwrap();
    bare.cdflow(&["deploy", "ci", "1"]).run().success().stderr_has(says);
    bare.cdflow(&["deploy", "ci", "1"]).run().success().stderr_has(says);
}

/// tenv, tfenv, asdf and mise: a small program in PATH that starts another one.
#[test]
fn a_switcher_of_versions_in_path() {
    let bare = Bare::new("switcher");
    let folder = PathBuf::from(path_without_terraform(bare.project.sandbox()));
    let program = folder.join("terraform");
    let switcher = |first: &str| {
        let script = format!(
            "#!/bin/sh\n{first}\nif [ \"$1 $2\" = 'version -json' ]; then\n  \
             echo \"{{\\\"terraform_version\\\": \\\"$v\\\"}}\"\n  exit\nfi\nexec '{}' \"$@\"\n",
            real_terraform().display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let by_file = "v=1.11.4; [ ! -f .terraform-version ] || read -r v < .terraform-version";
    switcher(by_file);
    bare.releasing("1").run().success().stderr_has("terraform 1.11.4 from PATH");
    bare.project.write("infra/.terraform-version", "1.10.5\n").commit("A file for the switcher");
    let release = bare.releasing("2").args(["--terraform-version", "1.11.4"]).run();
    release
        .fails(2)
        .stderr_has("terraform 1.11.4 was chosen, but 1.10.5 would run")
        .stderr_has("by the file infra/.terraform-version");
    // Without a version for this folder, it starts nothing.
    switcher("[ -f .terraform-version ] || { echo 'no version set' >&2; exit 1; }; v=1.10.5");
    let output = bare.releasing("3").run();
    output
        .success()
        .stderr_has("warning: not used: `")
        .stderr_has("exit code 1: no version set")
        .stderr_has("terraform 1.10.5 from the mirror");
}

#[test]
fn a_full_disk_below_the_cache() {
    // What does not fit: the program, or already its archive.
    for more in [6 << 10, 300 << 10] {
        let bare = Bare::new("full");
        let noise = "# 0123456789abcdefghijklmnopqrstuvwxyz\n".repeat(more / 39);
        let noise = match more > 100 << 10 {
            // Nothing that can be compressed.
            true => (0..more / 8).map(|n: usize| format!("#{:x}\n", n * n * 2_654_435)).collect(),
            false => noise,
        };
        let archive = archive("terraform", stamped("1.12.0") + &noise);
        bare.mirror.add_archive("terraform", "1.12.0", &archive);
        let release = bare.cdflow(&["release", "--platform-config", "platform-config"]);
        let (full, output) = on_a_small_disk(release, &bare.cache());
        output.success().stderr_has("terraform 1.12.0 from the cache");
        let says = format!("cannot write to `{}/cdflow/tools/terraform/", bare.cache().display());
        assert!(full.contains(&says) && !full.contains(".new-"), "{output}");
        assert!(full.contains("-> free some space there, or set RUNNER_TOOL_CACHE"), "{output}");
        assert!(full.trim_end().ends_with("FIRST 2"), "nothing is left: {output}");
    }
}

#[test]
fn the_ends_of_the_list_of_versions() {
    let bare = Bare::new("ends");
    bare.mirror.add("opentofu", "1.9.1");
    bare.mirror.add("opentofu", "1.10.6");
    let path = std::env::var("PATH").unwrap();
    let run = |version: &str, says: &str| {
        // A program in PATH does not count, unless it has that very version.
        let output = bare.releasing(version).env("PATH", &path).run();
        output.success().stderr_has(says);
        let made = bare.made_with(version);
        format!("{} {}", made["name"].as_str().unwrap(), made["version"].as_str().unwrap())
    };
    let file = |name: &str, text: &str| {
        bare.project.write(name, text).commit("Change a version file");
    };
    file(".opentofu-version", "latest\n");
    assert_eq!(run("tofu", "(required by `latest` in "), "opentofu 1.10.6");
    bare.project.remove(".opentofu-version").commit("No OpenTofu");
    file(".terraform-version", "latest\n");
    assert_eq!(run("latest", "(required by `latest` in "), "terraform 1.12.0");
    file(".terraform-version", "min-required\n");
    let output = bare.releasing("none").run();
    output.fails(2).stderr_has("names no version: infra/ has no `required_version`");
    let code = bare.project.read("infra/main.tf");
    file("infra/main.tf", &format!("{code}terraform {{\n  required_version = \"< 1.12\"\n}}\n"));
    assert_eq!(run("min", "(required by `min-required` in "), "terraform 1.10.5");
    file(".terraform-version", "latest-allowed\n");
    assert_eq!(run("allowed", "terraform 1.11.4 from PATH"), "terraform 1.11.4");
    file(".terraform-version", "latest:^1.10\n");
    bare.releasing("pattern")
        .run()
        .fails(2)
        .stderr_has(".terraform-version:1: `latest:^1.10` is not supported")
        .stderr_has("-> write a constraint, such as `~> 1.10.0`, or `latest`");
    file(".terraform-version", "latest\n");
    let output = bare.releasing("away").env("CDFLOW_TERRAFORM_MIRROR", "http://127.0.0.1:9");
    output
        .env("CDFLOW_LIMITS", "tool-answer=1s")
        .run()
        .fails(10)
        .stderr_has("write a version instead of `latest` in ");
}

#[test]
fn opentofu_comes_from_the_mirror_as_well() {
    let bare = Bare::new("tofu");
    bare.mirror.add("opentofu", "1.9.1");
    bare.project.append("cdflow.yml", "opentofu-version: ~> 1.9.0\n");
    bare.project.commit("Use OpenTofu");
    let output = bare.releasing("1").run();
    output.success().stderr_has("opentofu 1.9.1 from the mirror (required by `opentofu-version`");
    assert_eq!(bare.made_with("1")["name"], "opentofu");
    let output = bare.cdflow(&["deploy", "ci", "1"]).run();
    output.success().stderr_has("opentofu 1.9.1 from the cache (required by the release: 1.9.1)");
}

/// Asking costs as much as the rest of a small run. A script is asked each time: it may be a
/// switcher.
#[test]
fn the_version_of_a_large_program_is_remembered() {
    let project = Project::local("greeting");
    let cache = project.sandbox().root().join("tool-cache");
    let folder = project.sandbox().root().join("programs");
    let program = folder.join("terraform");
    fs::create_dir_all(&folder).unwrap();
    let script = |version: &str, padding: usize| {
        let answer = format!("{{\"terraform_version\": \"{version}\"}}");
        let text = format!("#!/bin/sh\necho '{answer}'\nexit\n{}", "#".repeat(padding));
        fs::write(program.with_extension("new"), text).unwrap();
        fs::set_permissions(program.with_extension("new"), fs::Permissions::from_mode(0o755))
            .unwrap();
        fs::rename(program.with_extension("new"), &program).unwrap();
    };
    let chosen = || {
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let doctor = project.cdflow(["doctor"]).env("PATH", path).env("RUNNER_TOOL_CACHE", &cache);
        let output = doctor.run();
        ["1.10.1", "1.10.2"].into_iter().filter(|it| output.stdout.contains(it)).collect::<String>()
    };
    let kept = || fs::read_dir(cache.join("cdflow/versions")).map_or(0, Iterator::count);
    script("1.10.1", 0);
    assert_eq!((chosen().as_str(), kept()), ("1.10.1", 0), "a script is asked each time");
    script("1.10.1", 41 << 20);
    assert_eq!((chosen().as_str(), kept()), ("1.10.1", 1));
    let [entry] = [fs::read_dir(cache.join("cdflow/versions")).unwrap().next().unwrap().unwrap()];
    fs::write(entry.path(), "1.10.2\n").unwrap();
    assert_eq!(chosen(), "1.10.2", "it is not asked again");
    fs::write(entry.path(), "\0 no version").unwrap();
    assert_eq!(chosen(), "1.10.1", "a damaged answer does not count");
    script("1.10.2", 41 << 20);
    assert_eq!((chosen().as_str(), kept()), ("1.10.2", 2), "another file is another program");
}

/// An exact version is chosen without the list, so only the download would fail.
#[test]
fn doctor_knows_what_the_mirror_lacks() {
    let bare = Bare::new("lacks");
    let doctor = |version: &str| {
        bare.project.write("infra/.terraform-version", version);
        bare.cdflow(&["doctor"]).run()
    };
    let output = doctor("1.11.9");
    output
        .fails(2)
        .stdout_has("no version of terraform at the mirror can be used")
        .stdout_has("infra/.terraform-version:1 requires 1.11.9: none of them");
    doctor("1.11.4").success().stdout_has("1.11.4, which a release or deploy downloads");
}
