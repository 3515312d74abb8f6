//! The laboratory: a Docker engine, ECR under its real names, two other registries and moto, where
//! nothing else is reached.

use super::helper::Helper;
use super::runner::{Runner, python_path};
use super::{Output, REGION, RELEASE, Sandbox, aws, in_repository, repository};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::{fs, io, thread};

/// A statically linked busybox, of which the laboratory's one base image is made. tests/prepare
/// puts it there.
const BUSYBOX: &str = "target/lab/busybox";

const IMAGES: &str = "tests/integration/support/images.py";

static BUILD_CACHE: RwLock<()> = RwLock::new(());

/// One for all tests, started by the first that asks. Repositories should bear names of the test.
pub(crate) struct Lab {
    helper: Helper,
    folder: PathBuf,
}

impl Lab {
    /// Over http, no login: what `localhost` means to a Docker engine. Shares its repositories with
    /// the other two.
    pub(crate) const LOCAL: &'static str = "localhost:5000";
    /// Over https, with Bearer tokens for `USER`, and for anybody below `public/` (to pull).
    pub(crate) const TOKENS: &'static str = "registry.test";
    pub(crate) const USER: &'static str = "robot";
    pub(crate) const PASSWORD: &'static str = "robot-password-robot";
    /// Stands for user and password, as an `identitytoken` of Docker's configuration.
    pub(crate) const REFRESH_TOKEN: &'static str = "robot-refresh-token-robot";

    /// Until the end of the guard, no test removes the engine's build cache.
    pub(crate) fn keep_build_cache() -> RwLockReadGuard<'static, ()> {
        BUILD_CACHE.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the end of the guard, no other test removes the engine's build cache, or needs it.
    pub(crate) fn own_build_cache() -> RwLockWriteGuard<'static, ()> {
        BUILD_CACHE.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get() -> &'static Self {
        static LAB: OnceLock<Lab> = OnceLock::new();
        LAB.get_or_init(Self::start)
    }

    /// ECR of the release account. As the real one, it has the repositories that were made, and
    /// moto knows the images.
    pub(crate) fn ecr() -> String {
        format!("{RELEASE}.dkr.ecr.{REGION}.amazonaws.com")
    }

    pub(crate) fn start() -> Self {
        let busybox = in_repository(BUSYBOX);
        assert!(
            busybox.exists(),
            "`{}` is missing: run `make test`, which gets it",
            busybox.display()
        );
        // The program removes it at its end.
        let folder = tempfile::Builder::new().prefix("cdflow-test-lab-").tempdir().unwrap().keep();
        fs::create_dir(folder.join("lab")).unwrap();
        aws::relay(&folder.join("moto.sock"));
        let mut command = Command::new("unshare");
        // A proxy of this machine is not reached from inside.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &folder);
        command
            .args(["--net", "--mount", "--propagation", "slave"])
            .arg(python_path())
            .args(["-I", "-B"]);
        command.arg(in_repository("tests/integration/support/lab.py")).arg(&folder);
        command.arg(aws::endpoint().rsplit(':').next().unwrap()).arg(busybox);
        Self { helper: Helper::start("the laboratory", command), folder }
    }

    /// A process that is in it.
    pub(crate) fn pid(&self) -> u32 {
        self.helper.pid()
    }

    pub(crate) fn docker_host(&self) -> String {
        format!("unix://{}", self.folder.join("lab/docker.sock").display())
    }

    /// Docker's own client, which must succeed; its output without the last newline.
    /// `busybox:latest` is the one image that is there from the beginning.
    #[track_caller]
    pub(crate) fn docker(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let output = self.try_docker(arguments);
        output.success().stdout.trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn try_docker(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Output {
        Runner::new("docker", arguments, &Sandbox::new()).in_lab(self).run()
    }

    /// Pushes an image of one file (`content`) and one label (`label=<content>`) to the registry's
    /// data behind all names, as `<repository>:<tag>`. Returns its digest.
    #[track_caller]
    pub(crate) fn push(&self, repository: &str, tag: &str, content: &str) -> String {
        let sandbox = Sandbox::new();
        fs::write(sandbox.work().join("file"), content).unwrap();
        fs::write(sandbox.work().join("Dockerfile"), "FROM scratch\nCOPY file /\n").unwrap();
        let name = format!("{}/{repository}:{tag}", Self::LOCAL);
        let label = format!("label={content}");
        Runner::new("docker", ["build", "--label", &label, "--tag", &name, "."], &sandbox)
            .in_lab(self)
            .run()
            .success();
        self.docker(["push", "--quiet", &name]);
        self.manifest(repository, tag).expect("it was pushed").digest
    }

    /// An image of this machine's own programs (images.py says which there are).
    #[track_caller]
    pub(crate) fn import(&self, what: &str, name: &str) {
        self.docker(["import", "--change", Self::PATH, Self::tar(what).to_str().unwrap(), name]);
    }

    /// What these images need beside their files.
    pub(crate) const PATH: &'static str = "ENV PATH=/usr/local/bin:/usr/bin:/bin";

    /// Made once per toolchain, and kept in target/.
    #[track_caller]
    pub(crate) fn tar(what: &str) -> PathBuf {
        let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
        let version = String::from_utf8(version).unwrap();
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap();
        let made_of = fs::read(in_repository(IMAGES)).unwrap();
        let tar = in_repository("target/lab").join(format!(
            "{what}-{}-{:08x}.tar",
            &commit[..9],
            crc32fast::hash(&made_of)
        ));
        if !tar.exists() {
            let of_before = format!("target/lab/{what}-*.tar");
            Command::new("sh")
                .args(["-c", &format!("rm -f {of_before}")])
                .current_dir(repository())
                .status()
                .unwrap();
            let mut command = Command::new(python_path());
            command
                .args(["-I", "-B"])
                .arg(in_repository(IMAGES))
                .arg(what)
                .arg(&tar)
                .arg(in_repository(BUSYBOX));
            assert!(command.status().unwrap().success(), "{what} can't be made");
        }
        tar
    }

    /// The tags of a repository, sorted; none for one that does not exist.
    pub(crate) fn registry_tags(&self, repository: &str) -> Vec<String> {
        let answer = self
            .http(json!({ "url": format!("http://{}/v2/{repository}/tags/list", Self::LOCAL) }));
        let listed: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let mut tags: Vec<String> = listed["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect();
        tags.sort();
        tags
    }

    /// What the registry has under a tag or digest.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Option<RegistryManifest> {
        let accept = "application/vnd.docker.distribution.manifest.v2+json, \
        application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.index.v1+json";
        let url = format!("http://{}/v2/{repository}/manifests/{reference}", Self::LOCAL);
        let answer = self.http(json!({ "url": url, "headers": { "Accept": accept } }));
        (answer["status"] == 200).then(|| RegistryManifest {
            digest: answer["headers"]["docker-content-digest"].as_str().unwrap().to_owned(),
            text: answer["body"].as_str().unwrap().to_owned(),
        })
    }

    /// The configuration of an image that is no index: labels are at `["config"]["Labels"]`.
    pub(crate) fn config(&self, repository: &str, reference: &str) -> Value {
        let manifest: Value =
            serde_json::from_str(&self.manifest(repository, reference).unwrap().text).unwrap();
        let digest = manifest["config"]["digest"].as_str().unwrap();
        let answer = self.http(
            json!({ "url": format!("http://{}/v2/{repository}/blobs/{digest}", Self::LOCAL) }),
        );
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    }

    #[track_caller]
    pub(crate) fn delete_image(&self, repository: &str, digest: &str) {
        let url = format!("http://{}/v2/{repository}/manifests/{digest}", Self::LOCAL);
        assert_eq!(self.http(json!({ "method": "DELETE", "url": url }))["status"], 202);
    }

    /// A request from inside: `method`, `url`, `headers`, `body`. The answer: `status`, `headers`
    /// (in lower case), `body`.
    #[track_caller]
    pub(crate) fn http(&self, request: Value) -> Value {
        self.try_http(request).unwrap()
    }

    /// An error where nobody answers.
    pub(crate) fn try_http(&self, mut request: Value) -> Result<Value, String> {
        request["op"] = "http".into();
        self.helper.ask(&request)
    }

    /// Makes the https registries misbehave. `matching` is part of the lines that are meant, `PUT
    /// <host>/v2/<repository>/…`. `times` of them, or all: `delay` seconds first, then end the
    /// connection without an answer (`cut: true`), or answer with `status`, `headers` and `body`.
    pub(crate) fn rule(&self, rule: Value) {
        self.helper.ask(&json!({ "op": "rule", "rule": rule })).unwrap();
    }

    /// The requests to the https registries so far whose line contains this text.
    pub(crate) fn requests(&self, containing: &str) -> Vec<String> {
        let lines =
            self.helper.ask(&json!({ "op": "requests", "containing": containing })).unwrap();
        lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// A server of this test on loopback is reached inside at the same address.
    pub(crate) fn relay(&self, port: u16) {
        let path = self.folder.join(format!("{port}.sock"));
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
                let (mut near_reader, mut far_writer) =
                    (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = io::copy(&mut near_reader, &mut far_writer);
                    let _ = far_writer.shutdown(Shutdown::Write);
                });
                let (mut near, mut far) = (near, far);
                thread::spawn(move || {
                    let _ = io::copy(&mut far, &mut near);
                    let _ = near.shutdown(Shutdown::Write);
                });
            }
        });
        self.helper.ask(&json!({ "op": "relay", "port": port, "path": path })).unwrap();
    }

    /// The folder that holds all of it; to see that it ends.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

pub(crate) struct RegistryManifest {
    pub(crate) digest: String,
    pub(crate) text: String,
}
