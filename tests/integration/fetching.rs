//! What a release hands to Terraform's init for modules and providers: keys, logins, a cache; and
//! which Terraform it may be.

use crate::support::{Fault, Mirror, MirrorServer, Project, Runner, entries, git};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

/// Not a key, but it looks like one. A secret's editor has made it end lines as Windows does.
const KEY: &str = "-----BEGIN OPENSSH PRIVATE \
KEY-----\r\nbm90IGEga2V5LCBidXQgbG9uZyBlbm91Z2g\r\n-----END OPENSSH PRIVATE KEY-----";

#[test]
fn modules_by_ssh_with_a_key() {
    let project = with_module("git::ssh://git@git.example/modules.git");
    let modules = bare_repository(&project);
    let log = project.sandbox().work().join("ssh.log");
    let path = project.terraform_but("");
    // In the place of ssh: says what it was given, and is the other side.
    let ssh = format!(
        "#!/bin/bash\nexec 3>>{log}\nprintf '%s\\n' \"$@\" >&3\nwhile [ $# -gt 1 ]; do\n\
         case \"$1\" in -i) stat -c 'mode %a' \"$2\" >&3; cat \"$2\" >&3;; UserKnown*) \
         f=${{1#*=\\\"}}; cat \"${{f%%\\\"*}}\" >&3;; esac\n\
         shift; done\nexec git upload-pack {modules}\n",
        log = log.display(),
        modules = modules.display()
    );
    let program = project.sandbox().root().join("bin/ssh");
    fs::write(&program, ssh).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let [key, hosts] =
        [("key", KEY), ("hosts", "git.example ssh-ed25519 AAAA")].map(|(name, content)| {
            let path = project.sandbox().work().join(name);
            fs::write(&path, content).unwrap();
            path
        });

    let by_flag =
        project.releasing("1").arg("--ssh-key").arg(&key).arg("--ssh-known-hosts").arg(&hosts);
    let by_input = as_step(&project, "2")
        .env("INPUT_SSH-KEY", KEY)
        .env("INPUT_SSH-KNOWN-HOSTS", "git.example ssh-ed25519 AAAA");
    for (runner, version) in [(by_flag, "1"), (by_input, "2")] {
        let _ = fs::remove_file(&log);
        let output = runner.env("PATH", &path).run();
        output.success().lacks("bm90IGEga2V5");
        assert!(
            entries(&project.bundle(version)).contains_key("modules/shared/main.tf"),
            "{output}"
        );
        let told = fs::read_to_string(&log).unwrap();
        assert!(told.contains(&format!("mode 600\n{}\n", KEY.replace("\r\n", "\n"))), "{told}");
        for word in
            ["IdentitiesOnly=yes\n", "StrictHostKeyChecking=accept-new\n", "BatchMode=yes\n"]
        {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(
            told.contains("git.example ssh-ed25519 AAAA\ngithub.com ssh-ed25519 AAAAC3"),
            "{told}"
        );
        assert_eq!(project.sandbox().left_behind(), [""; 0]);
    }
    fs::write(&key, "ssh-ed25519 AAAA me@here\n").unwrap();
    project.refuses_run(
        project.releasing("3").arg("--ssh-key").arg(&key),
        2,
        &["`ssh-key` is not a private key", "BEGIN"],
    );
}

#[test]
fn modules_by_https_with_a_netrc() {
    let server = Server::start();
    let project = with_module(&format!("http://{}/module.zip", server.address));
    fs::create_dir(project.sandbox().home().join(".terraform.d")).unwrap();
    fs::write(project.sandbox().home().join(".netrc"), "machine other login a password b\n")
        .unwrap();
    project.releasing("1").run().fails(11).stdout_has("bad response code: 401");

    // Terraform takes host and port for the machine.
    let netrc =
        &format!("machine {}\n  login bot\n  password netrc-password-netrc", server.address);
    let home = project.sandbox().work().join("home.log");
    let path = project.terraform_but(&format!(
        "init) ls -A \"$HOME\" | grep -v cache > {0}; cat \"$HOME/.netrc\" >> {0}; echo \"told: \
        $NETRC \
        netrc-password-netrc\";;",
        home.display()
    ));
    let output = as_step(&project, "1").env("INPUT_NETRC", netrc).env("PATH", path).run();
    output.success().stdout_has("told: ").lacks("netrc-password-netrc");
    assert!(entries(&project.bundle("1")).contains_key("modules/shared/main.tf"), "{output}");
    // The home is as it was, but for this one file.
    assert_eq!(fs::read_to_string(home).unwrap(), format!(".netrc\n.terraform.d\n{netrc}\n"));
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
    project.refuses_run(
        as_step(&project, "2").env("INPUT_NETRC", "bot:password"),
        2,
        &["`netrc` is not a netrc file", "`machine`"],
    );
}

/// Their constraint chooses the version, and the bundle has the module.
#[test]
fn modules_of_a_registry() {
    let project = with_module("modules.test/acme/shared/tiny\"\n  version = \"~> 1.0");
    let site = project.sandbox().root().join("registry");
    let listed = site.join("v1/modules/acme/shared/tiny/versions");
    fs::create_dir_all(listed.parent().unwrap()).unwrap();
    let versions = ["1.0.0", "1.2.0", "2.0.0"].map(|it| format!("{{\"version\": \"{it}\"}}"));
    fs::write(listed, format!("{{\"modules\": [{{\"versions\": [{}]}}]}}", versions.join(", ")))
        .unwrap();
    fs::write(site.join("shared.zip"), module()).unwrap();
    let server = MirrorServer::start(site);
    server.fault("1.2.0/download", Fault::Module(format!("{}/shared.zip", server.address())));
    let services = format!("\"modules.v1\" = \"{}/v1/modules/\"", server.address());
    let config = project.sandbox().root().join("registry.tfrc");
    fs::write(&config, format!("host \"modules.test\" {{\n  services = {{ {services} }}\n}}\n"))
        .unwrap();
    let release = || project.releasing("1").env("TF_CLI_CONFIG_FILE", &config);
    release().run().success();
    assert_eq!(server.asked("/download"), ["v1/modules/acme/shared/tiny/1.2.0/download"]);
    assert!(entries(&project.bundle("1")).contains_key("modules/shared/main.tf"));
    let asked = server.asked("").len();
    project.deploy("ci", "1");
    assert_eq!(server.asked("").len(), asked, "a deploy asks no registry");
}

#[test]
fn providers_are_kept_in_a_cache() {
    let project = Project::local("greeting").with_tiny_provider(Mirror::tiny_packed());
    let cached = |version: &str| project.releasing(version).args(["--cache-dir", "cache"]).run();
    cached("1").success().lacks("uncommitted");
    let lock = entries(&project.bundle("1"))["infra/.terraform.lock.hcl"].text().to_owned();
    assert!(lock.contains("\"h1:"), "{lock}");
    // Only what is locked is taken from a cache.
    project.write("infra/.terraform.lock.hcl", &lock).commit("Lock");
    cached("2").success().stdout_has("from the shared cache directory").lacks("uncommitted");
    let entries = entries(&project.bundle("2"));
    let programs = entries.iter().filter(|(name, _)| name.contains("terraform-provider-tiny"));
    assert_eq!(
        programs.map(|(_, entry)| entry.text()).collect::<Vec<_>>(),
        ["#!/bin/sh\nexit 1\n"]
    );
    assert_eq!(entries["infra/.terraform.lock.hcl"].text(), lock);
}

#[test]
fn a_run_may_ask_for_another_terraform_than_the_file() {
    let project = Project::local("greeting");
    project.release("1");
    let says = ["the mirror has no list of versions", "into PATH, before `", ", which is 1.11.4"];
    project.refuses(["release", "2", "--terraform-version", "~> 1.7.0"], 2, &says);
    project.refuses(["deploy", "live", "1", "--terraform-version", "~> 1.7.0"], 2, &says);
    project.append("cdflow.yml", "terraform-version: \"~> 1.7.0\"\n").commit("An old one");
    project.refuses(["release", "2"], 2, &says);
    project.cdflow(["deploy", "live", "1", "--terraform-version", ">= 1.6"]).run().success();
    project.refuses(
        ["deploy", "live", "1", "--terraform-version", "newest"],
        2,
        &["`newest` is not a version constraint"],
    );
}

/// `cdflow release VERSION` as a step of a workflow, but for the container.
fn as_step(project: &Project, version: &str) -> Runner {
    let inputs = [
        ("INPUT_COMMAND", "release"),
        ("INPUT_VERSION", version),
        ("INPUT_PLATFORM-CONFIG", "platform-config"),
    ];
    project.cdflow([""; 0]).envs(inputs)
}

fn with_module(source: &str) -> Project {
    let project = Project::local("greeting");
    project
        .append("infra/main.tf", &format!("\nmodule \"shared\" {{\n  source = \"{source}\"\n}}\n"))
        .commit("A module");
    project
}

fn bare_repository(project: &Project) -> PathBuf {
    let sandbox = project.sandbox();
    let folder = sandbox.work().join("modules");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("main.tf"), "# shared\n").unwrap();
    for arguments in [
        &["init", "--quiet", "--initial-branch", "main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "-m", "x"],
    ] {
        git(sandbox, &folder, arguments).run().success();
    }
    folder
}

/// A module as a zip, for whoever says who he is.
struct Server {
    address: String,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|connection| drop(Self::answer(&connection)))
        });
        Self { address }
    }

    fn answer(mut connection: &TcpStream) -> std::io::Result<()> {
        let lines = BufReader::new(connection)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty());
        let request: Vec<String> = lines.collect();
        // bot:netrc-password-netrc
        let is_known = request
            .iter()
            .any(|line| line == "Authorization: Basic Ym90Om5ldHJjLXBhc3N3b3JkLW5ldHJj");
        let (status, body) =
            if is_known { ("200 OK", module()) } else { ("401 Unauthorized", Vec::new()) };
        write!(
            connection,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        match request[0].starts_with("HEAD") {
            true => Ok(()),
            false => connection.write_all(&body),
        }
    }
}

fn module() -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("main.tf", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(b"# shared\n").unwrap();
    archive.finish().unwrap().into_inner()
}
