//! Where providers and modules may come from, as `policy` names the places.

use std::{fmt, str::FromStr};

use crate::base::printable;

/// What Terraform and OpenTofu put before a source without a host.
const REGISTRIES: [&str; 2] = ["registry.terraform.io", "registry.opentofu.org"];

/// A provider: `hashicorp/aws`, `registry.acme.example/platform/cloud`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProviderName(ProviderSource);

/// A provider, or what begins its address: `registry.acme.example`, `hashicorp`, `hashicorp/aws`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProviderSource {
    /// None: a registry of Terraform or OpenTofu.
    host: Option<String>,
    /// The namespace and the type, as far as they are given.
    names: Vec<String>,
}

/// The beginning of a module's source, such as `terraform-aws-modules/` or
/// `git::https://github.com/acme/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModuleSource {
    /// How Terraform writes a source that begins so.
    beginnings: Vec<String>,
}

impl ProviderName {
    /// `address` is as in a lock file: with a host.
    pub(crate) fn is(&self, address: &str) -> bool {
        self.0.covers(address)
    }
}

impl ProviderSource {
    /// `address` is as in a lock file: with a host.
    pub(crate) fn covers(&self, address: &str) -> bool {
        let mut parts = address.split('/');
        let host = parts.next().unwrap_or_default();
        let is_host = match &self.host {
            Some(wanted) => wanted.eq_ignore_ascii_case(host),
            None => REGISTRIES.contains(&host),
        };
        let is_next = |name: &String| parts.next().is_some_and(|it| it.eq_ignore_ascii_case(name));
        is_host && self.names.iter().all(is_next)
    }
}

impl FromStr for ProviderSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let mut names: Vec<String> =
            lower.strip_suffix('/').unwrap_or(&lower).split('/').map(str::to_owned).collect();
        let is_host = |name: &String| name.contains(['.', ':']) || name == "localhost";
        let host = names.first().is_some_and(is_host).then(|| names.remove(0));
        let is_name = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        let has_place = host.is_some() || !names.is_empty();
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b".:-".contains(&c);
        let good_host = host.as_ref().is_none_or(|host| host.bytes().all(is_plain));
        if has_place && good_host && names.len() <= 2 && names.iter().all(is_name) {
            return Ok(Self { host, names });
        }
        Err(format!(
            "`{}` is not a source of providers: expected a namespace such as `hashicorp`, a \
             provider such as `hashicorp/aws`, or a host before them",
            printable::excerpt(text)
        ))
    }
}

impl FromStr for ProviderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ProviderSource>() {
            Ok(source) if source.names.len() == 2 => Ok(Self(source)),
            _ => Err(format!(
                "`{}` is not a provider: expected its namespace and name, such as `hashicorp/aws`",
                printable::excerpt(text)
            )),
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.host.iter().chain(&self.0.names);
        f.write_str(&parts.map(String::as_str).collect::<Vec<_>>().join("/"))
    }
}

impl ModuleSource {
    /// `source` is as in `modules.json`: complete, with a host or a scheme.
    pub(crate) fn covers(&self, source: &str) -> bool {
        !leads_elsewhere(source) && self.beginnings.iter().any(|start| begins(source, start))
    }
}

/// Whether a source leads elsewhere than its beginning says.
fn leads_elsewhere(source: &str) -> bool {
    let is_dot = |three: &[u8]| three.eq_ignore_ascii_case(b"%2e");
    source.split('/').any(|part| part == "..") || source.as_bytes().windows(3).any(is_dot)
}

/// Completes the beginning of a source as Terraform does.
fn complete(text: &str) -> Vec<String> {
    if text.contains("::") || text.contains("://") {
        return vec![text.to_owned()];
    }
    match text.split('/').next().unwrap_or_default() {
        // Terraform's short forms of git.
        "github.com" | "bitbucket.org" => vec![format!("git::https://{text}")],
        host if host.contains('.') => vec![text.to_owned()],
        _ => REGISTRIES.iter().map(|host| format!("{host}/{text}")).collect(),
    }
}

/// Whether `source` begins with whole parts of `start`: `…/acme` is not the beginning of
/// `…/acme-evil`.
fn begins(source: &str, start: &str) -> bool {
    let Some(rest) = source.strip_prefix(start) else { return false };
    start.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?']) || is_git(rest)
}

/// `acme/network` also begins `acme/network.git?ref=v1`.
fn is_git(rest: &str) -> bool {
    rest.strip_prefix(".git").is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

impl FromStr for ModuleSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || "*?%\\".contains(c);
        let is_local = text.starts_with(['.', '/']);
        if !text.is_empty() && !is_local && !text.contains(is_odd) && !text.contains("..") {
            return Ok(Self { beginnings: complete(text) });
        }
        Err(format!(
            "`{}` is not the beginning of a module's source, such as `terraform-aws-modules/` or \
             `git::https://github.com/acme/`; local modules are always allowed",
            printable::excerpt(text)
        ))
    }
}

deserialize_from_str!(ProviderName, ProviderSource, ModuleSource);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers() {
        let covers =
            |source: &str, address: &str| source.parse::<ProviderSource>().unwrap().covers(address);
        for (source, address, is_covered) in [
            ("hashicorp", "registry.terraform.io/hashicorp/aws", true),
            ("HashiCorp/", "registry.opentofu.org/hashicorp/aws", true),
            ("hashicorp/aws", "registry.terraform.io/hashicorp/aws", true),
            ("hashicorp/aws", "registry.terraform.io/hashicorp/awscc", false),
            ("hashicorp", "registry.terraform.io/hashicorp-evil/aws", false),
            ("hashicorp", "evil.example/hashicorp/aws", false),
            ("registry.acme.example", "registry.acme.example/platform/cloud", true),
            ("registry.acme.example/platform", "registry.acme.example/other/cloud", false),
            ("localhost:8080/a/b", "localhost:8080/a/b", true),
        ] {
            assert_eq!(covers(source, address), is_covered, "{source} {address}");
        }
        for bad in ["", "/", "a/b/c", "a//b", "a b", "*", "x.example/a/b/c", "https://x.example"] {
            assert!(bad.parse::<ProviderSource>().is_err(), "{bad}");
        }
        for bad in ["hashicorp", "x.example/a"] {
            assert!(bad.parse::<ProviderName>().is_err(), "{bad}");
        }
        assert_eq!("hashicorp/AWS".parse::<ProviderName>().unwrap().to_string(), "hashicorp/aws");
    }

    #[test]
    fn modules() {
        let covers =
            |start: &str, source: &str| start.parse::<ModuleSource>().unwrap().covers(source);
        let vpc = "registry.terraform.io/terraform-aws-modules/vpc/aws";
        let git = "git::https://github.com/acme/network.git?ref=v1";
        for (start, source, is_covered) in [
            ("terraform-aws-modules", vpc, true),
            ("terraform-aws-modules/", vpc, true),
            ("terraform-aws", vpc, false),
            ("terraform-aws-modules/vpc", vpc, true),
            ("registry.terraform.io/terraform-aws-modules/vpc/aws", vpc, true),
            ("github.com/acme", git, true),
            ("github.com/acme/network", git, true),
            ("github.com/acme/net", git, false),
            ("git::https://github.com/acme/", git, true),
            ("git::https://github.com", git, true),
            ("git::https://github.com", "git::https://github.com@evil.example/acme/x", false),
            ("git::https://github.com", "git::https://github.com.evil.example/acme/x", false),
            ("git::https://github.com/acme/", "git::https://github.com/acme/../evil/x", false),
            ("git::https://github.com/acme/", "git::https://github.com/acme/%2e%2e/evil/x", false),
            ("git::ssh://git@github.com/acme/", git, false),
        ] {
            assert_eq!(covers(start, source), is_covered, "{start} {source}");
        }
        for bad in ["", "./lib", "/lib", "../lib", "acme/*", "a b", "git::https://x/%61"] {
            assert!(bad.parse::<ModuleSource>().is_err(), "{bad}");
        }
    }
}
