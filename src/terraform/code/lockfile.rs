//! `.terraform.lock.hcl`: the versions and hashes of providers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use hcl_edit::{
    Decorate,
    expr::{Array, Expression},
};

use crate::base::{
    error::{Error, Result},
    small_file,
};

pub(crate) const FILE: &str = ".terraform.lock.hcl";

/// Locked providers by address, such as `registry.terraform.io/hashicorp/aws`.
pub(crate) type Locked = BTreeMap<String, LockedProvider>;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LockedProvider {
    pub(crate) version: String,
    pub(crate) hashes: Vec<String>,
}

/// Reads a lock file. A missing file locks nothing.
pub(crate) fn read(path: &Path) -> Result<Locked> {
    let text = match small_file::text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Locked::new()),
        Err(error) => return Err(Error::io("cannot read", path, &error)),
    };
    parse(&text).ok_or_else(|| {
        Error::input(format!("`{}` is not a valid dependency lock file", path.display()))
            .hint("restore it from git, or run `terraform init`")
    })
}

fn parse(text: &str) -> Option<Locked> {
    // Terraform skips a byte order mark.
    let body = hcl_edit::parser::parse_body(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()?;
    let mut locked = Locked::new();
    for block in body.get_blocks("provider") {
        let address = block.labels.first()?.as_str().to_owned();
        let version = block.body.get_attribute("version")?.value.as_str()?.to_owned();
        let hashes = match block.body.get_attribute("hashes").map(|hashes| &hashes.value) {
            Some(Expression::Array(hashes)) => {
                hashes.iter().filter_map(Expression::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        locked.insert(address, LockedProvider { version, hashes });
    }
    Some(locked)
}

/// Returns the text of a lock file with more hashes by provider, as Terraform would write it.
pub(crate) fn with_hashes(text: &str, more: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let mut body = hcl_edit::parser::parse_body(text).ok()?;
    for block in body.get_blocks_mut("provider") {
        let address = block.labels.first()?.as_str().to_owned();
        let Some(more) = more.get(&address) else { continue };
        let mut attribute = block.body.get_attribute_mut("hashes")?;
        let Expression::Array(found) = attribute.value_mut() else { return None };
        let known: BTreeSet<&str> = found.iter().filter_map(Expression::as_str).collect();
        if more.iter().all(|hash| known.contains(hash.as_str())) {
            continue;
        }
        let all: BTreeSet<&str> =
            known.into_iter().chain(more.iter().map(String::as_str)).collect();
        let mut array = Array::new();
        for hash in all {
            array.push(Expression::from(hash.to_owned()).decorated(("\n    ", "")));
        }
        array.set_trailing("\n  ");
        array.set_trailing_comma(true);
        array.decorate(found.decor().clone());
        *found = array;
    }
    Some(body.to_string())
}

/// Checks that init kept all versions and hashes of the committed lock file.
/// It may add hashes and remove unused providers.
pub(crate) fn check_kept(committed: &Locked, after: &Locked) -> Result<()> {
    for (address, before) in committed {
        let Some(now) = after.get(address) else { continue };
        if now.version != before.version {
            return Err(Error::integrity(format!(
                "the lock file pins {address} {}, but init chose {}",
                before.version, now.version
            ))
            .hint("run `terraform init -upgrade` in infra/, review and commit the lock file"));
        }
        if let Some(lost) = before.hashes.iter().find(|hash| !now.hashes.contains(hash)) {
            return Err(Error::integrity(format!(
                "init dropped the hash {lost} of {address} from the lock file"
            ))
            .hint("run `terraform init` in infra/, review and commit the lock file"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# comment
provider "registry.terraform.io/hashicorp/aws" {
  version     = "5.100.0"
  constraints = "~> 5.0"
  hashes = [
    "h1:abc=",
    "zh:def",
  ]
}
"#;

    #[test]
    fn reading() {
        let locked = parse(TEXT).unwrap();
        let aws = &locked["registry.terraform.io/hashicorp/aws"];
        assert_eq!(
            (aws.version.as_str(), aws.hashes.as_slice()),
            ("5.100.0", &["h1:abc=".to_owned(), "zh:def".to_owned()][..])
        );
        assert!(parse("provider {").is_none());
        assert_eq!(parse(&format!("\u{feff}{TEXT}")), Some(locked));
    }

    #[test]
    fn adding_hashes_as_terraform_does() {
        let address = "registry.terraform.io/hashicorp/aws".to_owned();
        let more = |hash: &str| BTreeMap::from([(address.clone(), vec![hash.to_owned()])]);
        assert_eq!(with_hashes(TEXT, &more("zh:def")).unwrap(), TEXT);
        assert_eq!(with_hashes(TEXT, &BTreeMap::new()).unwrap(), TEXT);
        let both = TEXT.replace("    \"zh:def\",", "    \"h1:new=\",\n    \"zh:def\",");
        assert_eq!(with_hashes(TEXT, &more("h1:new=")).unwrap(), both);
        assert_eq!(with_hashes("provider {", &more("h1:new=")), None);
    }

    #[test]
    fn keeping() {
        let committed = parse(TEXT).unwrap();
        assert!(
            check_kept(
                &committed,
                &parse(&TEXT.replace("\"zh:def\"", "\"zh:def\", \"h1:new=\"")).unwrap()
            )
            .is_ok()
        );
        assert!(check_kept(&committed, &Locked::new()).is_ok());
        assert!(
            check_kept(&committed, &parse(&TEXT.replace("5.100.0", "5.101.0")).unwrap()).is_err()
        );
        assert!(
            check_kept(&committed, &parse(&TEXT.replace("zh:def", "zh:xyz")).unwrap()).is_err()
        );
    }
}
