//! A provider registry with `hashicorp/tiny` 1.0.0, signed by a key of the test.

use super::Sandbox;
use super::providers::{tiny_archive, tiny_name};
use super::tool_mirror::{Fault, MirrorServer, SigningKey};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) struct ProviderRegistry {
    pub(crate) server: MirrorServer,
    config: PathBuf,
}

impl ProviderRegistry {
    pub(crate) fn serve(sandbox: &Sandbox, platforms: &[&str]) -> Self {
        let folder = sandbox.root().join("registry");
        let provider = folder.join("v1/providers/hashicorp/tiny");
        fs::create_dir_all(provider.join("1.0.0/download")).unwrap();
        let server = MirrorServer::start(folder.clone());
        let sums: String = platforms
            .iter()
            .map(|platform| format!("{}  {}\n", digest(platform), tiny_name(platform)))
            .collect();
        let key = SigningKey::new();
        fs::write(folder.join("SHA256SUMS"), &sums).unwrap();
        fs::write(folder.join("SHA256SUMS.sig"), key.sign(sums.as_bytes())).unwrap();
        let mut listed = Vec::new();
        for platform in platforms {
            let (os, arch) = platform.split_once('_').unwrap();
            listed.push(json!({ "os": os, "arch": arch }));
            let name = tiny_name(platform);
            fs::write(folder.join(&name), tiny_archive(platform)).unwrap();
            let at = server.address();
            let signer = json!({ "key_id": "0123456789ABCDEF", "ascii_armor": key.public() });
            let package = json!({
                "protocols": ["5.0"],
                "os": os,
                "arch": arch,
                "filename": name,
                "download_url": format!("{at}/{name}"),
                "shasum": digest(platform),
                "shasums_url": format!("{at}/SHA256SUMS"),
                "shasums_signature_url": format!("{at}/SHA256SUMS.sig"),
                "signing_keys": { "gpg_public_keys": [signer] },
            });
            write(&provider.join("1.0.0/download").join(os).join(arch), &package.to_string());
        }
        let version = json!({ "version": "1.0.0", "protocols": ["5.0"], "platforms": listed });
        write(&provider.join("versions"), &json!({ "versions": [version] }).to_string());
        let config = sandbox.root().join("registry.tfrc");
        let services = format!("\"providers.v1\" = \"{}/v1/providers/\"", server.address());
        let text = format!(
            "host \"registry.terraform.io\" {{\n  services = {{\n    {services}\n  }}\n}}\n\
             disable_checkpoint = true\n"
        );
        fs::write(&config, text).unwrap();
        Self { server, config }
    }

    /// For TF_CLI_CONFIG_FILE.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// From now on, the archive of a platform takes as long.
    pub(crate) fn slow(&self, platform: &str, time: Duration) {
        self.server.fault(&tiny_name(platform), Fault::Slow(time));
    }

    /// How often the archive of a platform was downloaded.
    pub(crate) fn downloads(&self, platform: &str) -> usize {
        self.server.asked(&tiny_name(platform)).len()
    }
}

fn digest(platform: &str) -> String {
    Sha256::digest(tiny_archive(platform)).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
