//! Whether the providers that the code uses are locked.

use std::{collections::BTreeSet, fs, path::Path};

use hcl_edit::structure::Body;

use super::{files, findings::Report};
use crate::terraform::code::lockfile::{self, Locked};

const CHECK: &str = "lock file";
const REMEDY: &str = "run `terraform -chdir=infra providers lock` with -platform for each platform you use, and commit infra/.terraform.lock.hcl";

pub(crate) fn lock_file(report: &mut Report, folder: &Path) {
    let infra = folder.join("infra");
    let Ok(names) = files::names(&infra) else { return report.skip(CHECK, "there is no infra/") };
    let mut used = BTreeSet::new();
    for name in names.iter().filter(|name| name.ends_with(".tf")) {
        let text = fs::read_to_string(infra.join(name)).unwrap_or_default();
        used.extend(hcl_edit::parser::parse_body(&text).iter().flat_map(providers));
    }
    let Some(locked) = report.take(CHECK, lockfile::read(&infra.join(lockfile::FILE))) else {
        return;
    };
    for sentence in judge(&used, &locked) {
        report.warning(CHECK, sentence, REMEDY);
    }
    if judge(&used, &locked).is_empty() {
        match locked.len() {
            0 => report.ok(CHECK, "none, and no provider to lock"),
            _ => {
                let each = locked.iter().map(|(address, provider)| {
                    format!("{address} {}{}", provider.version, platforms(&provider.hashes))
                });
                report.ok(CHECK, each.collect::<Vec<_>>().join(", "));
            }
        }
    }
}

/// The local names of the providers that a file needs. Modules are not followed.
fn providers(body: &Body) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for block in body.blocks() {
        let label = block.labels.first().map(|label| label.as_str().to_owned());
        match (block.ident.as_str(), label) {
            ("provider", Some(name)) => _ = used.insert(name),
            ("resource" | "data" | "ephemeral", Some(kind)) => {
                used.insert(kind.split('_').next().unwrap_or_default().to_owned());
            }
            ("terraform", _) => {
                let required = block
                    .body
                    .get_blocks("required_providers")
                    .flat_map(|block| block.body.attributes());
                used.extend(required.map(|attribute| attribute.key.as_str().to_owned()));
            }
            _ => {}
        }
    }
    // It is a part of the program.
    used.remove("terraform");
    used
}

/// A sentence for each thing that is amiss. A lock file does not say to which platform an `h1:` belongs; `zh:` are those of all.
fn judge(used: &BTreeSet<String>, locked: &Locked) -> Vec<String> {
    if locked.is_empty() && !used.is_empty() {
        let names = used.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return vec![format!("providers are not locked ({names}): each release may carry others")];
    }
    let without = locked.iter().filter(|(_, provider)| provider.hashes.is_empty());
    without
        .map(|(address, _)| format!("{address} has no hash for this platform, nor for any other"))
        .collect()
}

/// What the hashes leave open.
fn platforms(hashes: &[String]) -> &'static str {
    match hashes.iter().any(|hash| hash.starts_with("zh:")) {
        true => "",
        false => " (whether one of its hashes is for this platform shows at init)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::code::lockfile::LockedProvider;

    fn used(text: &str) -> Vec<String> {
        providers(&hcl_edit::parser::parse_body(text).unwrap()).into_iter().collect()
    }

    #[test]
    fn providers_of_code() {
        assert_eq!(used("resource \"terraform_data\" \"x\" {}\nvariable \"aws\" {}\n"), [""; 0]);
        assert_eq!(used("data \"aws_region\" \"x\" {}\nprovider \"null\" {}\n"), ["aws", "null"]);
        assert_eq!(
            used(
                "terraform {\n  required_providers {\n    tiny = { source = \"a/tiny\" }\n  }\n}\n"
            ),
            ["tiny"]
        );
    }

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
        assert!(judge(&BTreeSet::new(), &Locked::new()).is_empty());
        assert!(judge(&aws, &Locked::new())[0].contains("(aws)"));
        assert!(judge(&aws, &with(&["zh:a"])).is_empty());
        assert!(platforms(&["h1:a".to_owned(), "zh:b".to_owned()]).is_empty());
        assert!(platforms(&["h1:a".to_owned()]).contains("at init"));
        assert!(judge(&aws, &with(&[]))[0].contains("no hash"));
    }
}
