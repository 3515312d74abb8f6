//! `manifest.json`, the list of a bundle's content. Its SHA-256 is the bundle digest.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::layout::{MANIFEST, NameTree, SEGMENT, check_name, reject, reject_archive};
use crate::base::{
    digest::Sha256,
    error::{Error, Result},
};

/// The format of a bundle whose providers are those of the platform that made it, or that has none.
const PLAIN: u32 = 1;
/// The format of a bundle that names the platforms of its providers.
const WITH_PLATFORMS: u32 = 2;

/// The manifest. Each content has exactly one spelling (`to_bytes`), and others are
/// rejected. So two readers cannot see different contents (a duplicate key, a number as text), and
/// the digest is that of the bytes in the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BundleManifest {
    pub(crate) format: u32,
    pub(crate) source_digest: Sha256,
    pub(crate) terraform: TerraformIdentity,
    /// The platforms of the providers, sorted; only in format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platforms: Option<Vec<String>>,
    /// Digest of `infra/.terraform.lock.hcl`, if it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lock_file: Option<Sha256>,
    /// Every entry except the manifest itself.
    pub(crate) files: BTreeMap<String, FileEntry>,
}

/// The Terraform program that made the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TerraformIdentity {
    /// `terraform` or `opentofu`.
    pub(crate) name: String,
    pub(crate) version: String,
    /// `linux_amd64`. Bundles of cdflow 0.1 do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<String>,
    /// Digest of the program.
    pub(crate) sha256: Sha256,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    pub(crate) sha256: Sha256,
    /// Uncompressed size in bytes.
    pub(crate) size: u64,
    #[serde(rename = "mode", with = "mode")]
    pub(crate) executable: bool,
}

impl FileEntry {
    /// Whether a machine keeps the file for other deploys.
    pub(crate) fn is_kept(&self, name: &str) -> bool {
        is_kept(name, self.executable, self.size)
    }
}

/// Whether a file is kept for others: only big programs of providers, which Terraform reads and
/// never writes.
pub(crate) fn is_kept(name: &str, executable: bool, size: u64) -> bool {
    name.starts_with("providers/") && executable && size >= SEGMENT
}

impl BundleManifest {
    pub(crate) fn new(
        source_digest: Sha256,
        terraform: TerraformIdentity,
        files: BTreeMap<String, FileEntry>,
    ) -> Self {
        let lock_file = files.get(super::layout::LOCK_FILE).map(|file| file.sha256);
        let platforms = Some(platforms_of(&files)).filter(|platforms| match &platforms[..] {
            [] => false,
            [one] => terraform.platform.as_ref().is_some_and(|maker| maker != one),
            _ => true,
        });
        let format = if platforms.is_some() { WITH_PLATFORMS } else { PLAIN };
        Self { format, source_digest, terraform, platforms, lock_file, files }
    }

    /// Returns the platforms that every provider has a build for, sorted. None if the release has
    /// no providers, and so can be deployed on every platform.
    pub(crate) fn provider_platforms(&self) -> Option<Vec<String>> {
        let has_providers = self.files.keys().any(|name| name.starts_with("providers/"));
        has_providers.then(|| platforms_of(&self.files))
    }

    /// Returns the entries that decide what a plan and its apply do.
    pub(crate) fn code(&self) -> impl Iterator<Item = (&String, &FileEntry)> {
        const CODE: [&str; 6] =
            ["infra/", "modules/", "config/", "platform-config/", "hooks/", "hooks.json"];
        self.files.iter().filter(|(name, _)| CODE.iter().any(|start| name.starts_with(start)))
    }

    /// Fails with `Exit::Input` for a newer format, and with `Exit::Integrity` for anything that is
    /// not a manifest.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Probe {
            format: u32,
        }
        let not_one = |error: serde_json::Error| reject(MANIFEST, error);
        let Probe { format } = serde_json::from_slice(bytes).map_err(not_one)?;
        if format > WITH_PLATFORMS {
            return Err(Error::input(format!("the bundle has format {format}"))
                .why(format!("made by a newer cdflow; this one reads format {WITH_PLATFORMS}"))
                .hint("use the cdflow version that made the release, or a later one"));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(not_one)?;
        manifest.check()?;
        if manifest.to_bytes()? != bytes {
            return Err(reject(MANIFEST, "its spelling differs from what cdflow writes"));
        }
        Ok(manifest)
    }

    /// Returns indented JSON with files sorted by name and a newline at the end.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal("cannot write the manifest").why(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn check(&self) -> Result<()> {
        let platforms = match self.format {
            PLAIN => None,
            WITH_PLATFORMS => Some(platforms_of(&self.files)),
            unknown => return Err(reject_archive(format!("unknown bundle format {unknown}"))),
        };
        if self.platforms != platforms {
            return Err(reject(MANIFEST, "`platforms` differs from the providers in `files`"));
        }
        if !matches!(self.terraform.name.as_str(), "terraform" | "opentofu") {
            let name = self.terraform.name.escape_debug();
            return Err(reject(MANIFEST, format!("`{name}` is neither terraform nor opentofu")));
        }
        if self.lock_file != self.files.get(super::layout::LOCK_FILE).map(|file| file.sha256) {
            return Err(reject(
                MANIFEST,
                "`lock_file` differs from the digest of the lock file in `files`",
            ));
        }
        check_names(self.files.keys())
    }
}

fn platforms_of(files: &BTreeMap<String, FileEntry>) -> Vec<String> {
    let mut by_provider: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for name in files.keys() {
        if let ["providers", host, namespace, kind, _, platform, _, ..] =
            name.split('/').collect::<Vec<_>>()[..]
        {
            let provider = format!("{host}/{namespace}/{kind}");
            by_provider.entry(provider).or_default().insert(platform);
        }
    }
    let shared = by_provider.into_values().reduce(|one, other| &one & &other).unwrap_or_default();
    shared.into_iter().map(str::to_owned).collect()
}

/// Checks the names of a native bundle, including the manifest.
pub(crate) fn check_names<'a>(names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut tree = NameTree::default();
    tree.add_file(MANIFEST).map_err(|why| reject(MANIFEST, why))?;
    for name in names {
        check_name(name).map_err(|why| reject(name, why))?;
        tree.add_file(name).map_err(|why| reject(name, why))?;
    }
    Ok(())
}

/// Writes `executable` as the mode of the extracted file.
mod mode {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(crate) fn serialize<S: Serializer>(executable: &bool, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(if *executable { "0755" } else { "0644" })
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
        match String::deserialize(from)?.as_str() {
            "0644" => Ok(false),
            "0755" => Ok(true),
            other => Err(D::Error::custom(format_args!(
                "mode `{}` is neither 0644 nor 0755",
                other.escape_debug()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Exit;

    fn manifest() -> BundleManifest {
        let sha256 = Sha256::of(b"x");
        let terraform = TerraformIdentity {
            name: "terraform".into(),
            version: "1.11.4".into(),
            platform: None,
            sha256,
        };
        let file = |executable| FileEntry { sha256, size: 1, executable };
        let files = [("run.sh", true), ("infra/.terraform.lock.hcl", false)];
        let files = files
            .into_iter()
            .map(|(name, executable)| (name.to_owned(), file(executable)))
            .collect();
        BundleManifest::new(sha256, terraform, files)
    }

    fn rejection(change: impl Fn(String) -> String) -> Error {
        let text = String::from_utf8(manifest().to_bytes().unwrap()).unwrap();
        let changed = change(text.clone());
        assert_ne!(changed, text, "the test must change something");
        BundleManifest::parse(changed.as_bytes()).unwrap_err()
    }

    #[test]
    fn spelling() {
        let digest = Sha256::of(b"x");
        let bytes = manifest().to_bytes().unwrap();
        let expected = r#"{
  "format": 1,
  "source_digest": "DIGEST",
  "terraform": {
    "name": "terraform",
    "version": "1.11.4",
    "sha256": "DIGEST"
  },
  "lock_file": "DIGEST",
  "files": {
    "infra/.terraform.lock.hcl": {
      "sha256": "DIGEST",
      "size": 1,
      "mode": "0644"
    },
    "run.sh": {
      "sha256": "DIGEST",
      "size": 1,
      "mode": "0755"
    }
  }
}
"#;
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            expected.replace("DIGEST", &digest.to_string())
        );
        let read = BundleManifest::parse(&bytes).unwrap();
        assert_eq!(read, manifest());
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn the_platforms_of_its_providers() {
        let sha256 = Sha256::of(b"x");
        let made = |platforms: &[(&str, &str)], maker: Option<&str>| {
            let terraform =
                TerraformIdentity { platform: maker.map(str::to_owned), ..manifest().terraform };
            let names = platforms.iter().map(|(provider, platform)| {
                format!("providers/registry.terraform.io/hashicorp/{provider}/1.0.0/{platform}/x")
            });
            let entry = || FileEntry { sha256, size: 1, executable: true };
            let files = names.map(|name| (name, entry())).collect();
            let manifest = BundleManifest::new(sha256, terraform, files);
            assert_eq!(BundleManifest::parse(&manifest.to_bytes().unwrap()).unwrap(), manifest);
            let recorded = manifest.platforms.as_ref().map(|platforms| platforms.join(" "));
            let all = manifest.provider_platforms().map(|platforms| platforms.join(" "));
            (manifest.format, recorded.unwrap_or_default(), all.unwrap_or("any".into()))
        };
        let (amd, arm) = ("linux_amd64", "linux_arm64");
        let case = |format, recorded: &str, all: &str| (format, recorded.into(), all.into());
        let both = "linux_amd64 linux_arm64";
        assert_eq!(made(&[], Some(amd)), case(1, "", "any"));
        assert_eq!(made(&[("a", amd), ("b", amd)], Some(amd)), case(1, "", amd));
        assert_eq!(made(&[("a", amd)], None), case(1, "", amd));
        assert_eq!(made(&[("a", arm)], Some(amd)), case(2, arm, arm));
        assert_eq!(made(&[("a", arm), ("a", amd)], Some(amd)), case(2, both, both));
        let uneven = [("a", arm), ("a", amd), ("b", amd)];
        assert_eq!(made(&uneven, Some(amd)), case(1, "", amd));
    }

    #[test]
    fn newer_format() {
        let error =
            rejection(|text| text.replace("\"format\": 1,", "\"format\": 3, \"novel\": true,"));
        assert_eq!(error.exit(), Exit::Input);
        assert!(error.to_string().contains("made by a newer cdflow"), "{error}");
    }

    #[test]
    fn rejected() {
        let cases: [(&str, &str, &str); 11] = [
            ("\"format\": 1", "\"format\": 0", "unknown bundle format 0"),
            ("\"format\": 1", "\"format\": 2", "`platforms` differs"),
            ("run.sh", "../run.sh", "`..`"),
            ("run.sh", "manifest.json", "manifest.json` is rejected: the name appears twice"),
            ("run.sh", "infra/.terraform.lock.hcl/x", "both a file and a folder"),
            ("run.sh", "Infra/.terraform.lock.hcl", "only in case"),
            ("\"0755\"", "\"0777\"", "neither 0644 nor 0755"),
            ("\"format\"", "\"odd\": 1, \"format\"", "odd"),
            ("\"format\"", "\"\\u001b[2J\": 1, \"format\"", "`\u{fffd}[2J`"),
            ("  \"format\"", " \"format\"", "its spelling differs"),
            ("\"name\": \"terraform\"", "\"name\": \"pulumi\"", "pulumi"),
        ];
        for (from, to, why) in cases {
            let error = rejection(|text| text.replace(from, to));
            assert_eq!(error.exit(), Exit::Integrity);
            assert!(error.to_string().contains(why), "{to}: {error}");
        }
        let twice = rejection(|text| {
            text.replace(
                "\"mode\": \"0755\"\n    }",
                "\"mode\": \"0755\"\n    },\n    \
                 \"run.sh\": {\"sha256\": \"\", \"size\": 2, \"mode\": \"0644\"}",
            )
        });
        assert_eq!(twice.exit(), Exit::Integrity);
    }
}
