//! Checks which Terraform or OpenTofu is used, and that the providers of the code are locked.

use std::{collections::BTreeSet, path::Path};

use super::report::{DoctorReport, counted};
use crate::{
    base::error::Result,
    config::{component::Manifest, scheme::AccountScheme},
    context::ToolWishes,
    services::{ci::host::Host, tool_site},
    terraform::{
        code::{
            declarations::Declarations,
            lockfile::{self, Locked, LockedProvider},
        },
        tool::{Choice, Chosen, Tool, platform},
    },
};

const PLATFORMS: &str = "platforms";
const CHECK: &str = "lock file";
const REMEDY: &str = "run `terraform -chdir=infra providers lock` with -platform for each platform \
                      that you use, and with -fs-mirror or -net-mirror if the providers come from \
                      a mirror; then commit infra/.terraform.lock.hcl";

/// Returns the tool if it is installed. Downloads nothing except the list of versions.
pub(crate) async fn tool(
    report: &mut DoctorReport,
    wishes: Result<ToolWishes>,
    declared: Option<&Declarations>,
    host: &Host,
) -> Option<Tool> {
    let choosing = async {
        let required = declared.map(Declarations::required_versions).transpose()?;
        let ToolWishes { flavor, wanted, pick, .. } = wishes?;
        let wanted = [wanted, required.unwrap_or_default()].concat();
        let pick = pick.as_ref();
        Choice { flavor, wanted: &wanted, pick, mirror_keys: &[], pinned: None }.choose(host).await
    };
    let chosen = report.record_error("terraform", choosing.await)?;
    match chosen {
        Chosen::Installed(tool) => {
            let (name, version) = (tool.flavor.name(), &tool.version);
            report.ok("terraform", format!("{name} {version} (`{}`)", tool.program.display()));
            Some(tool)
        }
        Chosen::Elsewhere(version) => {
            report.ok("terraform", format!("{version}, which a release or deploy downloads"));
            None
        }
    }
}

/// Checks the public keys that the account scheme adds for a mirror of Terraform.
pub(crate) fn mirror_keys(report: &mut DoctorReport, scheme: &AccountScheme) {
    let keys = &scheme.terraform_mirror_keys;
    if keys.is_empty() {
        return;
    }
    if report.record_error("mirror keys", tool_site::check_keys(keys)).is_some() {
        report.ok("mirror keys", format!("{} in the account scheme", counted(keys.len(), "key")));
    }
}

/// Shows the platforms that a release will have providers for.
pub(crate) fn platforms(report: &mut DoctorReport, manifest: &Manifest) {
    match &manifest.terraform_platforms {
        Some(platforms) => {
            report.ok(PLATFORMS, platforms.names().collect::<Vec<_>>().join(", "));
        }
        None => report.ok(PLATFORMS, format!("that of the runner, here {}", platform())),
    }
}

pub(crate) fn lock_file(
    report: &mut DoctorReport,
    folder: &Path,
    declared: Option<&Declarations>,
    manifest: &Manifest,
) {
    let Some(declared) = declared else { return report.skip(CHECK, "infra/ is not readable") };
    let (infra, used) = (folder.join("infra"), &declared.providers);
    let Some(locked) = report.record_error(CHECK, lockfile::read(&infra.join(lockfile::FILE)))
    else {
        return;
    };
    let wanted = manifest.terraform_platforms.as_ref();
    let wanted = wanted.map_or(1, |platforms| platforms.names().count());
    let problems = judge(used, &locked, wanted);
    let is_good = problems.is_empty();
    for sentence in problems {
        report.warning(CHECK, sentence, REMEDY);
    }
    if is_good {
        match locked.len() {
            0 => report.ok(CHECK, "not needed: no providers"),
            _ => {
                let each = locked.iter().map(|(address, provider)| {
                    format!("{address} {}{}", provider.version, remark(&provider.hashes))
                });
                report.ok(CHECK, each.collect::<Vec<_>>().join(", "));
            }
        }
    }
}

/// Returns a sentence per problem. An `h1:` hash does not name its platform; `zh:` hashes are for
/// all platforms. `wanted` is how many platforms a release has.
fn judge(used: &BTreeSet<String>, locked: &Locked, wanted: usize) -> Vec<String> {
    if locked.is_empty() && !used.is_empty() {
        let names = used.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return vec![format!(
            "providers are not locked ({names}): each release might contain other versions"
        )];
    }
    let problem = |(address, provider): (&String, &LockedProvider)| {
        let hashes = provider.hashes.len();
        let is_for_all = provider.hashes.iter().any(|hash| hash.starts_with("zh:"));
        match hashes {
            0 => Some(format!("{address} has no hashes")),
            _ if is_for_all || hashes >= wanted => None,
            _ => Some(format!(
                "{address} has hashes for {hashes} of the {wanted} platforms in \
                 `terraform-platforms`"
            )),
        }
    };
    locked.iter().filter_map(problem).collect()
}

/// Returns a remark if the hashes do not prove that this platform is locked.
fn remark(hashes: &[String]) -> &'static str {
    match hashes.iter().any(|hash| hash.starts_with("zh:")) {
        true => "",
        false => " (terraform init checks whether a hash is for this platform)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_or_not() {
        let aws = BTreeSet::from(["aws".to_owned()]);
        let with = |hashes: &[&str]| {
            let hashes = hashes.iter().map(|hash| (*hash).to_owned()).collect();
            Locked::from([(
                "r/hashicorp/aws".to_owned(),
                LockedProvider { version: "5.1.0".to_owned(), hashes },
            )])
        };
        assert!(judge(&BTreeSet::new(), &Locked::new(), 1).is_empty());
        assert!(judge(&aws, &Locked::new(), 1)[0].contains("(aws)"));
        assert!(judge(&aws, &with(&["zh:a"]), 2).is_empty());
        assert!(remark(&["h1:a".to_owned(), "zh:b".to_owned()]).is_empty());
        assert!(remark(&["h1:a".to_owned()]).contains("terraform init checks"));
        assert!(judge(&aws, &with(&[]), 1)[0].contains("no hash"));
        assert!(judge(&aws, &with(&["h1:a"]), 2)[0].contains("for 1 of the 2 platforms"));
        assert!(judge(&aws, &with(&["h1:a", "h1:b"]), 2).is_empty());
    }
}
