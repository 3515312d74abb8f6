//! The Action's image: its size, what it has and what it does not have, and git's ways out of it.

use crate::support::{
    Job, Lab, Project, Runner, Running, Sandbox, action_image, entries, git, in_repository,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// MB (1,000,000 bytes) to pull: the image without Terraform, and with it.
const LIMITS: [(&str, f64); 2] = [(":slim", 45.0), ("", 72.0)];
/// MB to pull for everything but cdflow and Terraform. The packages here are those of this machine,
/// which need not be the Debian of the published image.
const ROOT: f64 = 27.0;
/// MB to pull for Terraform.
const TERRAFORM: f64 = 29.0;
/// What is left for cdflow. A program without optimisation is larger, so it is not measured here.
const CDFLOW: f64 = 16.0;

#[test]
fn the_image_is_small() {
    let lab = Lab::get();
    assert!(ROOT + CDFLOW <= LIMITS[0].1 && ROOT + CDFLOW + TERRAFORM <= LIMITS[1].1);
    let (slim, full) = (action_image::slim(lab), action_image::full(lab));
    let output = sizes(lab, &[slim, full]).run();
    output.success();
    let layers: Vec<(&str, f64)> = output.stdout.lines().filter_map(layer).collect();
    let end = layers.iter().position(|(name, _)| *name == "all").unwrap();
    let (of_slim, of_full) = layers.split_at(end + 1);
    assert!(of_slim[0].1 <= ROOT, "{output}");
    let sum: f64 = of_slim[..end].iter().map(|(_, size)| size).sum();
    assert!((sum - of_slim[end].1).abs() < 0.3, "{output}");
    // The other image has the same layers, and then Terraform.
    assert_eq!(of_full[..end], of_slim[..end], "{output}");
    assert!(of_full[end].0.contains("/terraform"), "{output}");
    assert!(of_full[end].1 <= TERRAFORM, "{output}");

    // The same program holds the limits for what is published.
    for file in ["Makefile", ".github/workflows/release.yml"] {
        let text = fs::read_to_string(in_repository(file)).unwrap();
        for (name, limit) in LIMITS {
            assert!(text.contains(&format!("{name}={limit}")), "{file}: {name}={limit}");
        }
    }
    sizes(lab, &[&format!("{full}=20")]).run().fails(1).stderr_has("larger than 20 MB");
}

/// docs/ghes.md: the mirror has the bytes that were published, and `action.yml` another host with
/// the published digest.
#[test]
fn the_image_comes_from_a_mirror_by_its_digest() {
    let lab = Lab::get();
    let (published, mirror) = ("docker://ghcr.io/org", format!("docker://{}/public", Lab::TOKENS));
    let guide = fs::read_to_string(in_repository("docs/ghes.md")).unwrap();
    assert!(guide.contains(&format!("skopeo copy --all {published}/cdflow-action:")), "{guide}");
    let action = fs::read_to_string(in_repository("action.yml")).unwrap();
    let line = action.lines().find(|line| line.starts_with("  image: ")).unwrap();
    assert!(line.contains(&format!("{published}/cdflow-action:")), "{line}");
    // The registry has one store behind all of its names, as if the image had been copied.
    let pushed = format!("{}/public/cdflow-action:0.1.0", Lab::LOCAL);
    lab.docker(["tag", action_image::slim(lab), &pushed]);
    lab.docker(["push", "--quiet", &pushed]);
    let digest = lab.manifest("public/cdflow-action", "0.1.0").unwrap().digest;

    let run = |digest: &str| {
        // The release workflow writes the digest, and whoever mirrors the Action the host.
        let pinned = action.replace(line, &format!("  image: {published}/cdflow-action@{digest}"));
        let mirrored: Value = serde_saphyr::from_str(&pinned.replace(published, &mirror)).unwrap();
        let image = mirrored["runs"]["image"].as_str().unwrap().strip_prefix("docker://").unwrap();
        lab.try_docker(["run", "--rm", "--pull", "always", image, "--version"])
    };
    let version = format!("cdflow {}", env!("CARGO_PKG_VERSION"));
    run(&digest).success().stdout_has(&version);
    let asked = format!("{}/v2/public/cdflow-action/manifests/{digest}", Lab::TOKENS);
    assert!(!lab.requests(&asked).is_empty(), "{asked}");
    let other = format!("sha256:{}", "0".repeat(64));
    let output = run(&other);
    output.lacks(&version);
    assert_ne!(output.code, 0, "{output}");
}

fn sizes(lab: &Lab, arguments: &[&str]) -> Runner {
    // Compressing takes long on a busy machine.
    let patience = Duration::from_secs(600);
    Runner::new(in_repository("image/sizes"), arguments, &Sandbox::new())
        .timeout(patience)
        .in_lab(lab)
}

/// A line of the table: what made the layer, and MB to pull.
fn layer(line: &str) -> Option<(&str, f64)> {
    let mut words = line.strip_suffix(" MB")?.rsplitn(4, ' ').filter(|word| !word.is_empty());
    let size = words.next()?.parse().ok()?;
    Some((line.trim_start().split("  ").next()?, size))
}

/// Users of the container run hooks, provisioners, git and ssh in it.
#[test]
fn the_image_has_what_code_of_others_needs() {
    let lab = Lab::get();
    let slim = action_image::slim(lab);
    let run = |script: &str| {
        lab.docker(["run", "--rm", "--entrypoint", "sh", slim, "-c", script]).replace('\n', " ")
    };
    let programs = "awk bash cat cut date diff env find flock git grep gzip head hostname id ls \
                    mktemp scp sed sh sort ssh ssh-keygen ssh-keyscan tail tar timeout tr which \
                    xargs";
    assert_eq!(
        run(&format!("for it in {programs}; do which $it > /dev/null || echo $it; done")),
        ""
    );
    let absent = "terraform perl apt-get dpkg python3 git-daemon git-shell";
    assert_eq!(run(&format!("for it in {absent}; do which $it; done; true")), "");
    // Every library is there, and no file gives rights to whoever runs it.
    assert_eq!(
        run("find /usr -type f -perm /111 -exec ldd {} + 2> /dev/null | grep 'not found'; \
             find / -xdev -type f -perm /6000"),
        ""
    );
    assert_eq!(
        run("TZ=Asia/Kolkata date -d @0 +%H:%M; LC_ALL=C.UTF-8 locale charmap"),
        "05:30 UTF-8"
    );
    assert!(run("grep -c BEGIN /etc/ssl/certs/ca-certificates.crt").parse::<u32>().unwrap() > 100);
    assert_eq!(run("getent passwd 65532 0 | cut -d: -f1,3"), "cdflow:65532 root:0");
    // What a scanner for vulnerabilities reads, and the licenses.
    assert_eq!(
        run("sed -n 's/^Status: //p' /var/lib/dpkg/status.d/git; ls /usr/share/doc/git"),
        "install ok installed copyright"
    );
    let commands = "submodule remote-https remote-http http-fetch sh-i18n--envsubst rev-parse";
    let missing =
        format!("for it in {commands}; do [ -x $(git --exec-path)/git-$it ] || echo $it; done");
    assert_eq!(run(&missing), "");
}

/// As `infra/` of many a component wants them. The submodule is found only over https.
#[test]
fn modules_with_submodules_come_by_https_and_ssh() {
    let lab = Lab::get();
    let project = Project::local("modular");
    let folder = |name: &str| project.sandbox().work().join(name);
    let part = repository(&project, "part", |_| {});
    let part_at = git(project.sandbox(), &part, ["rev-parse", "HEAD"]).run().stdout;
    let modules = repository(&project, "modules", |folder| {
        let url = format!("https://{}/git{}", Lab::TOKENS, part.display());
        let text = format!("[submodule \"part\"]\n\tpath = part\n\turl = {url}\n");
        fs::write(folder.join(".gitmodules"), text).unwrap();
        let link = format!("160000,{},part", part_at.trim());
        for add in [&["add", ".gitmodules"][..], &["update-index", "--add", "--cacheinfo", &link]] {
            git(project.sandbox(), folder, add).run().success();
        }
    });
    let server = ssh_server(lab, project.sandbox());
    let key = fs::read_to_string(folder("key")).unwrap();
    for (name, source) in
        [("https", "https://registry.test/git"), ("ssh", "ssh://root@registry.test")]
    {
        let source = format!("git::{source}{}", modules.display());
        project.append(
            "infra/main.tf",
            &format!("module \"{name}\" {{\n  source = \"{source}\"\n}}\n"),
        );
    }
    project.commit("Modules");
    let job = Job::new(lab, &project).mounted(&project.store(), "/github/store");
    let release = [
        ("command", "release"),
        ("version", "1"),
        ("platform-config", "platform-config"),
        ("ssh-key", &key),
    ];
    let output = job.step(&release).run();
    output.success().lacks(key.lines().nth(1).unwrap());
    let bundle = entries(&project.bundle("1"));
    for file in ["https/main.tf", "https/part/main.tf", "ssh/main.tf", "ssh/part/main.tf"] {
        assert!(bundle.contains_key(&format!("modules/{file}")), "{file}: {:?}", bundle.keys());
    }
    assert_ne!(lab.requests(&format!("/git{}/git-upload-pack", modules.display())), [""; 0]);
    let log = fs::read_to_string(folder("sshd.log")).unwrap();
    assert!(log.contains("Accepted publickey for root"), "{log}");
    drop(server);
}

/// A repository with a module, and what `more` adds to its index.
fn repository(project: &Project, name: &str, more: impl FnOnce(&Path)) -> PathBuf {
    let folder = project.sandbox().work().join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("main.tf"), "locals {}\n").unwrap();
    let run = |arguments: &[&str]| {
        git(project.sandbox(), &folder, arguments).run().success();
    };
    run(&["init", "--quiet", "--initial-branch", "main"]);
    run(&["add", "--all"]);
    more(&folder);
    run(&["commit", "--quiet", "--message", "A module"]);
    folder
}

/// sshd where the laboratory has its registries, for the key in the file `key`.
fn ssh_server(lab: &Lab, sandbox: &Sandbox) -> Running {
    let work = sandbox.work();
    for name in ["key", "host"] {
        let arguments = ["-q", "-t", "ed25519", "-N", "", "-f", name];
        Runner::new("ssh-keygen", arguments, sandbox).cwd(&work).run().success();
    }
    let place = work.display();
    let settings = format!(
        "ListenAddress 10.99.0.1:22\nHostKey {place}/host\nAuthorizedKeysFile {place}/key.pub\n\
         StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\n"
    );
    fs::write(work.join("sshd"), settings).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    // sshd starts itself again in another folder.
    let [log, file] = ["sshd.log", "sshd"].map(|name| work.join(name).to_str().unwrap().to_owned());
    let arguments = ["-D", "-E", &log, "-f", &file];
    let mut server = Runner::new("/usr/sbin/sshd", arguments, sandbox).in_lab(lab).spawn();
    server.wait_until("a listening sshd", |_| {
        fs::read_to_string(&log).unwrap_or_default().contains("Server listening")
    });
    server
}
