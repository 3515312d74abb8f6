//! A company's network: the host `ghes.test` has a certificate of the company's own authority, and
//! is reached only through the company's proxy.

use super::{Runner, Running, Sandbox, in_repository, python};
use std::fs;
use std::path::PathBuf;

pub(crate) struct Company {
    /// Ends the network when it is dropped.
    tls: Running,
    folder: PathBuf,
}

impl Company {
    /// `url` is where requests to `https://ghes.test` go.
    pub(crate) fn start(sandbox: &Sandbox, url: &str) -> Self {
        Self::with_direct(sandbox, url, None)
    }

    /// In addition, `https://127.0.0.1` at `Company::direct` leads to `direct`, without the proxy.
    pub(crate) fn with_direct(sandbox: &Sandbox, url: &str, direct: Option<&str>) -> Self {
        let folder = sandbox.root().join("company");
        fs::create_dir(&folder).unwrap();
        let script = in_repository("tests/integration/support/tls.py");
        let mut tls = python(sandbox, [script.as_os_str(), port(url).as_ref(), folder.as_os_str()]);
        if let Some(direct) = direct {
            tls = tls.arg(port(direct));
        }
        let mut tls = tls.spawn();
        tls.wait_until("a port", |running| running.said().contains('\n'));
        Self { tls, folder }
    }

    /// The proxy's port.
    pub(crate) fn proxy(&self) -> u16 {
        self.ports()[0]
    }

    /// `https://127.0.0.1:<port>`
    pub(crate) fn direct(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports()[1])
    }

    fn ports(&self) -> Vec<u16> {
        let said = self.tls.said();
        said.lines().next().unwrap().split(' ').map(|port| port.parse().unwrap()).collect()
    }

    /// The certificate of the authority, a PEM file.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub(crate) fn pem(&self) -> String {
        fs::read_to_string(self.authority()).unwrap()
    }

    /// What `PROXY` was asked to connect to.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.tls.said().lines().skip(1).map(str::to_owned).collect()
    }

    /// The runner of the company's GitHub Enterprise Server starts a program.
    pub(crate) fn on(&self, runner: Runner) -> Runner {
        runner
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{}", self.proxy()))
            .env("NO_PROXY", "127.0.0.1")
            .envs(Self::ADDRESSES)
    }

    /// As the runner gives them.
    pub(crate) const ADDRESSES: [(&'static str, &'static str); 3] = [
        ("GITHUB_SERVER_URL", "https://ghes.test"),
        ("GITHUB_API_URL", "https://ghes.test/api/v3"),
        ("GITHUB_GRAPHQL_URL", "https://ghes.test/api/graphql"),
    ];
}

/// The port of `http://127.0.0.1:<port>/…`
fn port(url: &str) -> String {
    url.split([':', '/']).nth(4).unwrap().to_owned()
}
