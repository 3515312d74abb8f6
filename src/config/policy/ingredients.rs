//! What a release is made of, judged by `policy`: the tool, the providers and the modules.

use semver::Version;

use super::rules::Policy;
use crate::{
    base::printable,
    config::{flavor::Flavor, version_constraint::Constraint},
};

/// The parts of a release that others wrote.
#[derive(Debug)]
pub(crate) struct Ingredients<'a> {
    pub(crate) tool: (Flavor, &'a Version),
    /// The address with its host, and the version, as in a lock file.
    pub(crate) providers: Vec<(&'a str, &'a str)>,
    /// The key and the source, as in `modules.json`.
    pub(crate) modules: Vec<(&'a str, &'a str)>,
}

/// Something that a rule does not allow.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// What there is.
    pub(crate) found: String,
    /// The key below `policy`.
    key: String,
    /// What the rule allows.
    allowed: String,
}

impl Violation {
    /// Returns "Terraform 1.8.5: `policy.terraform-version` in FILE allows `>= 1.9`".
    pub(crate) fn text(&self, file: &str) -> String {
        let Self { found, key, allowed } = self;
        format!("{found}: `policy.{key}` in {file} allows {allowed}")
    }
}

/// Lists violations in a message.
pub(crate) fn bullets(violations: &[Violation], file: &str) -> String {
    violations.iter().map(|it| format!("\n  - {}", it.text(file))).collect()
}

impl Policy {
    /// Returns what the policy does not allow, in the order of the rules.
    pub(crate) fn violations(&self, of: &Ingredients<'_>) -> Vec<Violation> {
        let tool = self.of_tool(of.tool.0, of.tool.1);
        let providers = of.providers.iter().flat_map(|(address, version)| {
            self.of_version(address, version).into_iter().chain(self.of_source(address, version))
        });
        let modules = of.modules.iter().filter_map(|(key, source)| self.of_module(key, source));
        tool.into_iter().chain(providers).chain(modules).collect()
    }

    fn of_tool(&self, flavor: Flavor, version: &Version) -> Option<Violation> {
        let (constraint, key) = self.tool_version(flavor)?;
        (!constraint.allows(version)).then(|| Violation {
            found: format!("{} {version}", flavor.title()),
            key: key.to_owned(),
            allowed: format!("`{constraint}`"),
        })
    }

    fn of_version(&self, address: &str, version: &str) -> Vec<Violation> {
        let rules = self.providers.iter().filter(|(name, _)| name.is(address));
        // A version that cannot be read is not known to be allowed.
        let allows = |rule: &Constraint| version.parse().is_ok_and(|version| rule.allows(&version));
        let broken = rules.filter(|(_, rule)| !allows(rule)).map(|(name, rule)| Violation {
            found: provider(address, version),
            key: format!("providers.{name}"),
            allowed: format!("`{rule}`"),
        });
        broken.collect()
    }

    fn of_source(&self, address: &str, version: &str) -> Option<Violation> {
        let sources = self.provider_sources.as_ref()?;
        (!sources.iter().any(|source| source.covers(address))).then(|| Violation {
            found: provider(address, version),
            key: "provider-sources".to_owned(),
            allowed: "only the sources that it lists".to_owned(),
        })
    }

    fn of_module(&self, key: &str, source: &str) -> Option<Violation> {
        let sources = self.module_sources.as_ref()?;
        // A part of a downloaded module is local to it. The root module has no source.
        let is_local = source.is_empty() || source.starts_with("./") || source.starts_with("../");
        let is_allowed = is_local || sources.iter().any(|it| it.covers(source));
        (!is_allowed).then(|| Violation {
            found: format!("module `{}` from {}", printable::excerpt(key), without_login(source)),
            key: "module-sources".to_owned(),
            allowed: "only the sources that it lists".to_owned(),
        })
    }
}

fn provider(address: &str, version: &str) -> String {
    format!("provider {} {}", printable::excerpt(address), printable::excerpt(version))
}

/// Somebody might have written a password into a source.
fn without_login(source: &str) -> String {
    let shown = match source.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = match host.rsplit_once('@') {
                Some((login, host)) if login.contains(':') => format!("…@{host}"),
                _ => host.to_owned(),
            };
            format!("{scheme}://{host}/{path}")
        }
        None => source.to_owned(),
    };
    format!("`{}`", printable::excerpt(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{document, error::Result},
        config::policy::file::{PolicyFile, check_values},
    };

    fn policy(text: &str) -> Policy {
        document::from_json::<PolicyFile>("scheme.json", text).unwrap().checked("s.json").unwrap()
    }

    fn says(policy: &Policy, of: &Ingredients<'_>) -> Vec<String> {
        policy.violations(of).iter().map(|it| it.text("s.json")).collect()
    }

    const AWS: (&str, &str) = ("registry.terraform.io/hashicorp/aws", "5.100.0");

    fn of<'a>(
        version: &'a Version,
        providers: &[(&'a str, &'a str)],
        modules: &[(&'a str, &'a str)],
    ) -> Ingredients<'a> {
        let (providers, modules) = (providers.to_vec(), modules.to_vec());
        Ingredients { tool: (Flavor::Terraform, version), providers, modules }
    }

    #[test]
    fn each_rule() {
        let version = Version::new(1, 8, 5);
        let all = policy(
            r#"{"terraform-version": ">= 1.9", "providers": {"hashicorp/aws": "~> 4.0"},
                "provider-sources": ["hashicorp"],
                "module-sources": ["terraform-aws-modules"]}"#,
        );
        let evil = ("evil.example/hashicorp/aws", "4.1.0");
        let modules = [
            ("", ""),
            ("own", "./lib"),
            ("vpc", "registry.terraform.io/terraform-aws-modules/vpc/aws"),
            ("x", "git::https://ada:secret@github.com/other/x.git"),
        ];
        assert_eq!(
            says(&all, &of(&version, &[AWS, evil], &modules)),
            [
                "Terraform 1.8.5: `policy.terraform-version` in s.json allows `>= 1.9`",
                "provider registry.terraform.io/hashicorp/aws 5.100.0: \
                 `policy.providers.hashicorp/aws` in s.json allows `~> 4.0`",
                "provider evil.example/hashicorp/aws 4.1.0: `policy.provider-sources` in s.json \
                 allows only the sources that it lists",
                "module `x` from `git::https://…@github.com/other/x.git`: `policy.module-sources` \
                 in s.json allows only the sources that it lists",
            ]
        );
        let newer = Version::new(1, 11, 4);
        let fine = policy(
            r#"{"terraform-version": ">= 1.9", "opentofu-version": "> 9",
                "providers": {"hashicorp/aws": "~> 5.0", "hashicorp/random": "1.0"},
                "provider-sources": ["hashicorp"]}"#,
        );
        assert!(says(&fine, &of(&newer, &[AWS], &modules)).is_empty());
        assert!(says(&Policy::default(), &of(&version, &[AWS, evil], &modules)).is_empty());
        let none = policy(r#"{"provider-sources": [], "module-sources": []}"#);
        assert_eq!(says(&none, &of(&newer, &[AWS], &modules[..2])).len(), 1, "nothing is allowed");
        let odd = says(&fine, &of(&newer, &[(AWS.0, "five")], &[]));
        assert!(odd[0].contains("aws five: "), "{odd:?}");
    }

    #[test]
    fn a_malformed_policy_is_an_error() {
        let message = |text: &str| {
            let scheme = format!("{{\"policy\": {text}}}");
            let parsed: Result<PolicyFile> = document::from_json("s.json", text);
            let checked = parsed.and_then(|it| it.checked("s.json"));
            let checked = checked.and_then(|_| check_values("s.json", &scheme));
            let error = checked.unwrap_err();
            assert_eq!(error.exit(), crate::base::error::Exit::Input);
            error.to_string()
        };
        for (text, parts) in [
            (r#"{"providers-sources": []}"#, ["s.json:1:2", "did you mean `provider-sources`?"]),
            (r#"{"require-plan-role": "yes"}"#, ["s.json:1:23", "`require-plan-role`"]),
            (r#"{"require-plan-role": null}"#, ["s.json", "`require-plan-role`"]),
            (r#"{"terraform-version": "new"}"#, ["s.json:1:23", "`terraform-version`"]),
            (r#"{"providers": {"aws": "5"}}"#, ["s.json:1:16", "`aws` is not a provider"]),
            (r#"{"providers": {"a/b": "x"}}"#, ["s.json:1:23", "`providers.a/b`"]),
            (r#"{"required-hooks": [{"sha256": "x"}]}"#, ["s.json", "`required-hooks[0]"]),
            (r#"{"provider-sources": null}"#, ["s.json", "`policy.provider-sources`"]),
            (r#"{"module-sources": ["./x"]}"#, ["s.json:1:21", "`module-sources[0]`"]),
            (
                r#"{"environments": {"live": {"branches": ["a b"]}}}"#,
                ["s.json:1:41", "`environments.live.branches[0]`"],
            ),
            (r#"{"environments": {"live": {"requires": "live"}}}"#, ["s.json", "requires itself"]),
        ] {
            let message = message(text);
            assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
        }
    }
}
