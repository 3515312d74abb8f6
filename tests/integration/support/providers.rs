//! Where Terraform finds providers in the tests: filesystem mirrors, never a registry.

use super::Sandbox;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// As `aws_version` in tests/prepare.
pub(crate) const AWS_PROVIDER: &str = "5.100.0";
const AWS: &str = "registry.terraform.io/hashicorp/aws";
const TINY: &str = "registry.terraform.io/hashicorp/tiny";
/// Enough for `terraform init`, which installs, hashes and locks a provider and never runs it.
const TINY_PROGRAM: &str = "#!/bin/sh\nexit 1\n";
const TINY_BINARY: &str = "terraform-provider-tiny_v1.0.0_x5";

/// A filesystem mirror.
#[derive(Clone)]
pub(crate) struct Mirror {
    root: PathBuf,
    /// Keeps a mirror that was made for the test.
    _made: Option<Arc<TempDir>>,
}

impl Mirror {
    /// The real AWS provider, 700 MB: for the few tests that need a provider that works.
    pub(crate) fn aws() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let data = std::env::var_os("XDG_DATA_HOME")
            .map_or_else(|| home.join(".local/share"), PathBuf::from);
        let named = std::env::var_os("CDFLOW_TEST_AWS_MIRROR").map(PathBuf::from);
        let implied = [
            home.join(".terraform.d/plugins"),
            data.join("terraform/plugins"),
            "/usr/local/share/terraform/plugins".into(),
            "/usr/share/terraform/plugins".into(),
        ];
        let root =
            named.into_iter().chain(implied).find(|root| holds_aws(root)).unwrap_or_else(|| {
                panic!(
                    "no mirror of the provider hashicorp/aws {AWS_PROVIDER} was found: `make test` \
                looks for one and says how \
                 to get it; CDFLOW_TEST_AWS_MIRROR names one"
                )
            });
        Self { root, _made: None }
    }

    /// A provider `hashicorp/tiny` 1.0.0 that can be installed but not run, unpacked: Terraform
    /// links to it.
    pub(crate) fn tiny() -> Self {
        let made = TempDir::new().unwrap();
        let folder = made.path().join(TINY).join("1.0.0").join(platform());
        fs::create_dir_all(&folder).unwrap();
        for (name, content, mode) in tiny_files() {
            fs::write(folder.join(name), content).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        Self { root: made.path().to_owned(), _made: Some(Arc::new(made)) }
    }

    /// A provider as `tiny`, with a program of 6 MiB, as real ones are big.
    pub(crate) fn big() -> Self {
        let mirror = Self::tiny();
        let program = mirror.root.join(TINY).join("1.0.0").join(platform()).join(TINY_BINARY);
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        let content: Vec<u8> = TINY_PROGRAM.bytes().chain(noise).take(6 << 20).collect();
        fs::write(program, content).unwrap();
        mirror
    }

    /// The provider of `tiny`, packed: Terraform unpacks it into real files, as from a registry.
    pub(crate) fn tiny_packed() -> Self {
        let made = TempDir::new().unwrap();
        let folder = made.path().join(TINY);
        fs::create_dir_all(&folder).unwrap();
        let file = fs::File::create(
            folder.join(format!("terraform-provider-tiny_1.0.0_{}.zip", platform())),
        )
        .unwrap();
        let mut archive = zip::ZipWriter::new(file);
        for (name, content, mode) in tiny_files() {
            let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
            archive.start_file(name, options).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
        Self { root: made.path().to_owned(), _made: Some(Arc::new(made)) }
    }

    /// The provider `hashicorp/tiny` for each of these platforms, packed and with another program
    /// for each.
    pub(crate) fn tiny_for(platforms: &[&str]) -> Self {
        let made = TempDir::new().unwrap();
        let folder = made.path().join(TINY);
        fs::create_dir_all(&folder).unwrap();
        for platform in platforms {
            fs::write(folder.join(tiny_name(platform)), tiny_archive(platform)).unwrap();
        }
        Self { root: made.path().to_owned(), _made: Some(Arc::new(made)) }
    }

    /// The archive of a platform in `tiny_for`.
    pub(crate) fn archive(&self, platform: &str) -> PathBuf {
        self.root.join(TINY).join(tiny_name(platform))
    }

    /// The folder above `registry.terraform.io`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a Terraform CLI configuration that knows this mirror alone.
    pub(crate) fn cli_config(&self, sandbox: &Sandbox) -> PathBuf {
        let name = self.root.to_str().unwrap().replace('/', "-");
        let file = sandbox.root().join(format!("terraform{name}.rc"));
        fs::write(&file, Self::configuration(&self.root)).unwrap();
        file
    }

    pub(super) fn configuration(root: &Path) -> String {
        let path = root.to_str().unwrap();
        format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = \"{path}\"\n  \
            }}\n}}\ndisable_checkpoint = true\n"
        )
    }
}

pub(crate) fn tiny_name(platform: &str) -> String {
    format!("terraform-provider-tiny_1.0.0_{platform}.zip")
}

pub(crate) fn tiny_archive(platform: &str) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content, mode) in tiny_files() {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        archive.start_file(name, options).unwrap();
        archive
            .write_all(content.replace("exit 1", &format!("# {platform}\nexit 1")).as_bytes())
            .unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn tiny_files() -> [(&'static str, &'static str, u32); 2] {
    [(TINY_BINARY, TINY_PROGRAM, 0o755), ("LICENSE.txt", "None.\n", 0o644)]
}

fn holds_aws(root: &Path) -> bool {
    let (folder, platform) = (root.join(AWS), platform());
    folder.join(AWS_PROVIDER).join(&platform).is_dir()
        || folder.join(format!("terraform-provider-aws_{AWS_PROVIDER}_{platform}.zip")).is_file()
}

/// This machine, in Terraform's words.
pub(crate) fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}_{architecture}", std::env::consts::OS.replace("macos", "darwin"))
}
