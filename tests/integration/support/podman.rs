//! A real podman in the lab's network, with images of its own.

use std::{ffi::OsStr, fs, path::PathBuf};

use super::{Lab, Runner, Running, Sandbox};

const SETTINGS: &str = "[containers]\nnetns = \"host\"\ndefault_ulimits = [\"nofile=1024:1024\", \
                        \"nproc=1024:1024\"]\n[engine]\nruntime = \"runc\"\ncgroup_manager = \
                        \"cgroupfs\"\nevents_logger = \"file\"\n";

pub(crate) struct Podman<'a> {
    lab: &'a Lab,
    sandbox: &'a Sandbox,
    storage: PathBuf,
    settings: PathBuf,
}

impl<'a> Podman<'a> {
    /// `name` is the folder of its images.
    pub(crate) fn new(lab: &'a Lab, sandbox: &'a Sandbox, name: &str) -> Self {
        let settings = sandbox.root().join("containers.conf");
        fs::write(&settings, SETTINGS).unwrap();
        Self { lab, sandbox, storage: lab.folder().join("lab").join(name), settings }
    }

    pub(crate) fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Runner {
        let root = self.storage.join("root");
        let own = ["--root".as_ref(), root.as_os_str()];
        Runner::new("podman", own, self.sandbox)
            .arg("--runroot")
            .arg(self.storage.join("run"))
            .args(["--storage-driver", "overlay"])
            .args(arguments)
            .in_lab(self.lab)
            .env("CONTAINERS_CONF", &self.settings)
    }

    /// Returns a service that answers, and its `DOCKER_HOST`.
    pub(crate) fn serve(&self, registries: Option<&str>) -> (Running, String) {
        let kind = if registries.is_some() { "set" } else { "plain" };
        let socket = self.sandbox.root().join(format!("podman-{kind}.sock"));
        let address = format!("unix://{}", socket.display());
        let mut command = self.command(["system", "service", "--time", "0", &address]);
        if let Some(text) = registries {
            let file = self.sandbox.root().join("registries.conf");
            fs::write(&file, text).unwrap();
            command = command.env("CONTAINERS_REGISTRIES_CONF", &file);
        }
        let mut service = command.spawn();
        service.wait_until("podman's socket", |_| {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        (service, address)
    }
}
