//! Checks that a release has providers for this machine.

use crate::{
    base::error::{Error, Result},
    config::names::Version,
    release::bundle::BundleManifest,
    terraform::tool::platform,
};

/// Fails for a release whose providers are all for other platforms.
pub(crate) fn check_platform(version: &Version, manifest: &BundleManifest) -> Result<()> {
    let here = platform();
    let Some(platforms) = manifest.provider_platforms() else { return Ok(()) };
    if platforms.contains(&here) {
        return Ok(());
    }
    let has = match platforms.is_empty() {
        true => "its providers have no platform in common".to_owned(),
        false => format!("it has those for {}", platforms.join(", ")),
    };
    let mut all = platforms.clone();
    all.push(here.clone());
    let error = Error::input(format!("release {version} has no providers for {here}")).why(has);
    let error = error.hint(format!(
        "set `terraform-platforms: [{}]` in cdflow.yml, and release a new version",
        all.join(", ")
    ));
    Err(match platforms.is_empty() {
        true => error,
        false => error.hint(format!("or deploy on a runner that is {}", platforms.join(" or "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{digest::Sha256, error::Exit},
        release::bundle::TerraformIdentity,
    };

    fn release(platforms: &[&str]) -> BundleManifest {
        let terraform = TerraformIdentity {
            name: "terraform".into(),
            version: "1.11.4".into(),
            platform: None,
            sha256: Sha256::of(b""),
        };
        let mut manifest = BundleManifest::new(Sha256::of(b""), terraform, Default::default());
        for platform in platforms {
            let entry = r#"{"sha256": "DIGEST", "size": 1, "mode": "0755"}"#
                .replace("DIGEST", &Sha256::of(b"").to_string());
            let name = format!("providers/r/hashicorp/tiny/1.0.0/{platform}/x");
            manifest.files.insert(name, serde_json::from_str(&entry).unwrap());
        }
        manifest
    }

    #[test]
    fn a_release_needs_providers_for_this_platform() {
        let check = |platforms: &[&str]| check_platform(&"1".parse().unwrap(), &release(platforms));
        let here = platform();
        check(&[]).unwrap();
        check(&[&here]).unwrap();
        check(&["plan9_mips", &here]).unwrap();
        let error = check(&["darwin_arm64", "plan9_mips"]).unwrap_err();
        assert_eq!(error.exit(), Exit::Input);
        for says in [
            format!(
                "release 1 has no providers for {here}: it has those for darwin_arm64, plan9_mips"
            ),
            format!("set `terraform-platforms: [darwin_arm64, plan9_mips, {here}]`"),
            "or deploy on a runner that is darwin_arm64 or plan9_mips".to_owned(),
        ] {
            assert!(error.to_string().contains(&says), "{error}");
        }
    }
}
