//! Where Terraform takes providers from: `provider_installation` in its CLI configuration.
//!
//! `terraform init` follows it only for the platform that it runs on, so cdflow reads it for the
//! others.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use hcl_edit::{
    expr::Expression,
    structure::{Block, Structure},
};

use super::Package;
use crate::{
    base::{
        error::{Error, Result},
        redact::Secret,
        small_file,
    },
    config::flavor::Flavor,
};

/// One way to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A filesystem mirror.
    Folder(PathBuf),
    /// The base URL of a network mirror.
    Network(String),
    /// The registry that the provider's address names.
    Registry,
}

/// The sources, in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Sources {
    rules: Vec<Rule>,
    registry: &'static str,
    /// Whether `plugin_cache_dir` names a cache of Terraform's own.
    pub(crate) has_cache: bool,
    /// By host.
    tokens: BTreeMap<String, Secret>,
}

#[derive(Debug)]
struct Rule {
    source: Source,
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Sources {
    /// Reads the CLI configuration that the tool reads with this environment.
    pub(crate) fn read(flavor: Flavor, env: &BTreeMap<OsString, OsString>) -> Result<Self> {
        let variable = |name: &str| env.get(OsStr::new(name)).map(PathBuf::from);
        let home = variable("HOME");
        let registry = match flavor {
            Flavor::Terraform => "registry.terraform.io",
            Flavor::OpenTofu => "registry.opentofu.org",
        };
        let mut files: Vec<PathBuf> = match variable("TF_CLI_CONFIG_FILE") {
            Some(file) => vec![file],
            None => {
                let names: &[&str] = match flavor {
                    Flavor::Terraform => &[".terraformrc"],
                    Flavor::OpenTofu => &[".tofurc", ".terraformrc"],
                };
                let files = home.iter().flat_map(|home| names.iter().map(|name| home.join(name)));
                files.filter(|file| file.is_file()).take(1).collect()
            }
        };
        files.extend(more_files(home.as_deref()));
        let (mut rules, mut has_cache) = (None, false);
        let mut tokens = BTreeMap::new();
        for file in files.iter().filter(|file| file.is_file()) {
            let text =
                small_file::text(file).map_err(|error| Error::io("cannot read", file, &error))?;
            let found = parse(&text).map_err(|why| unreadable(file, &why))?;
            has_cache |= found.has_cache;
            rules = rules.or(found.rules);
            tokens.extend(found.tokens);
        }
        tokens.extend(tokens_of(env));
        let implied = || implied(home.as_deref(), variable("XDG_DATA_HOME"));
        Ok(Self { rules: rules.unwrap_or_else(implied), registry, has_cache, tokens })
    }

    /// Returns what Terraform is given for a host: by `TF_TOKEN_<host>`, else by `credentials`.
    pub(crate) fn token(&self, host: &str) -> Option<Secret> {
        self.tokens.get(host).cloned()
    }

    /// Returns where a provider is looked for.
    pub(crate) fn of(&self, address: &str) -> Vec<&Source> {
        let matches = |pattern: &String| is_match(pattern, address, self.registry);
        let applies = |rule: &&Rule| {
            (rule.include.is_empty() || rule.include.iter().any(matches))
                && !rule.exclude.iter().any(matches)
        };
        self.rules.iter().filter(applies).map(|rule| &rule.source).collect()
    }
}

impl Sources {
    /// Whether a package comes from the network. `base` is where relative folders begin.
    pub(crate) fn downloads(&self, package: &Package, base: &Path) -> bool {
        !self.of(&package.address).into_iter().any(|source| source.has(package, base))
    }
}

impl Source {
    /// Whether it is a folder with the package. `base` is where relative folders begin.
    pub(crate) fn has(&self, package: &Package, base: &Path) -> bool {
        let Self::Folder(root) = self else { return false };
        let root = base.join(root);
        package.folder(&root).is_dir() || package.archive(&root).is_file()
    }
}

/// The folder `~/.terraform.d` can have more configuration.
fn more_files(home: Option<&Path>) -> Vec<PathBuf> {
    let folder = home.map(|home| home.join(".terraform.d"));
    let entries = folder.into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter());
    let paths = entries.flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension() == Some(OsStr::new("tfrc"))).collect();
    files.sort();
    files
}

/// The folders that Terraform searches without a configuration, then the registry.
fn implied(home: Option<&Path>, data: Option<PathBuf>) -> Vec<Rule> {
    let data = data.or_else(|| Some(home?.join(".local/share")));
    let folders = [
        home.map(|home| home.join(".terraform.d/plugins")),
        data.map(|data| data.join("terraform/plugins")),
        Some("/usr/local/share/terraform/plugins".into()),
        Some("/usr/share/terraform/plugins".into()),
    ];
    let sources = folders.into_iter().flatten().map(Source::Folder).chain([Source::Registry]);
    sources.map(|source| Rule { source, include: Vec::new(), exclude: Vec::new() }).collect()
}

/// In the name of a variable, `_` is a dot and `__` a hyphen.
fn tokens_of(env: &BTreeMap<OsString, OsString>) -> BTreeMap<String, Secret> {
    let variables = env.iter().filter_map(|(name, token)| Some((name.to_str()?, token.to_str()?)));
    let named = variables.filter_map(|(name, token)| {
        let host = name.strip_prefix("TF_TOKEN_")?.replace("__", "-").replace('_', ".");
        Some((host, Secret::new(token)))
    });
    named.collect()
}

/// What one file says.
struct Configuration {
    tokens: BTreeMap<String, Secret>,
    /// None without `provider_installation`.
    rules: Option<Vec<Rule>>,
    has_cache: bool,
}

/// Terraform reads this file by the rules of HCL 1, and also as JSON.
fn parse(text: &str) -> Result<Configuration, String> {
    if text.trim_start().starts_with('{') {
        return cli_json::parse(text);
    }
    let body = hcl_edit::parser::parse_body(text)
        .or_else(|error| hcl_edit::parser::parse_body(&spread(text)).map_err(|_| error))
        .map_err(|error| error.to_string())?;
    let installation = body.get_blocks("provider_installation").next();
    let rules = installation.map(|installation| {
        let blocks = installation.body.iter().filter_map(Structure::as_block).map(rule);
        blocks.filter_map(Result::transpose).collect()
    });
    let credentials = body.get_blocks("credentials").filter_map(|block| {
        let token = block.body.get_attribute("token")?.value.as_str()?;
        Some((block.labels.first()?.as_str().to_owned(), Secret::new(token)))
    });
    Ok(Configuration {
        tokens: credentials.collect(),
        rules: rules.transpose()?,
        has_cache: body.has_attribute("plugin_cache_dir"),
    })
}

/// Starts a line after `{` and before `}`, because HCL 2 has no nested blocks in one line.
fn spread(text: &str) -> String {
    let (mut spread, mut is_quoted) = (String::new(), false);
    for line in text.lines() {
        let is_comment = ["#", "//"].iter().any(|mark| line.trim_start().starts_with(mark));
        for (at, letter) in line.char_indices() {
            is_quoted ^= letter == '"' && !line[..at].ends_with('\\');
            match letter {
                '{' if !is_quoted && !is_comment => spread.push_str("{\n"),
                '}' if !is_quoted && !is_comment => spread.push_str("\n}\n"),
                other => spread.push(other),
            }
        }
        spread.push('\n');
    }
    spread
}

fn rule(block: &Block) -> Result<Option<Rule>, String> {
    let text = |name: &str| {
        block.body.get_attribute(name).and_then(|found| found.value.as_str()).map(str::to_owned)
    };
    let Some(source) = source(block.ident.as_str(), text)? else { return Ok(None) };
    let list = |name: &str| match block.body.get_attribute(name).map(|found| &found.value) {
        Some(Expression::Array(items)) => {
            items.iter().filter_map(Expression::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    Ok(Some(Rule { source, include: list("include"), exclude: list("exclude") }))
}

/// Returns the source of a method of installation; None for `dev_overrides`, which are for people
/// who write providers.
fn source(method: &str, text: impl Fn(&str) -> Option<String>) -> Result<Option<Source>, String> {
    let text = |name: &str| text(name).ok_or_else(|| format!("`{method}` has no `{name}`"));
    Ok(match method {
        "filesystem_mirror" => Some(Source::Folder(text("path")?.into())),
        "network_mirror" => Some(Source::Network(text("url")?)),
        "direct" => Some(Source::Registry),
        _ => None,
    })
}

/// The configuration as JSON: a block is an object, or a list of objects.
mod cli_json {
    use serde_json::{Map, Value};

    use super::{Configuration, Rule, Secret, source};

    pub(super) fn parse(text: &str) -> Result<Configuration, String> {
        let root: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut configuration = Configuration {
            tokens: Default::default(),
            rules: None,
            has_cache: root.contains_key("plugin_cache_dir"),
        };
        for host in objects(root.get("credentials")) {
            for (name, block) in host {
                let token = objects(Some(block)).find_map(|block| block.get("token")?.as_str());
                let token = token.map(|token| (name.clone(), Secret::new(token)));
                configuration.tokens.extend(token);
            }
        }
        for installation in objects(root.get("provider_installation")).take(1) {
            let rules = configuration.rules.get_or_insert_default();
            for (method, blocks) in installation {
                for block in objects(Some(blocks)) {
                    rules.extend(rule(method, block)?);
                }
            }
        }
        Ok(configuration)
    }

    fn rule(method: &str, block: &Map<String, Value>) -> Result<Option<Rule>, String> {
        let text = |name: &str| Some(block.get(name)?.as_str()?.to_owned());
        let list = |name: &str| {
            let items = block.get(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let source = source(method, text)?;
        Ok(source.map(|source| Rule { source, include: list("include"), exclude: list("exclude") }))
    }

    fn objects(value: Option<&Value>) -> impl Iterator<Item = &Map<String, Value>> {
        let (one, several) = match value {
            Some(Value::Array(items)) => (None, items.as_slice()),
            one => (one, &[][..]),
        };
        one.into_iter().chain(several).filter_map(Value::as_object)
    }
}

fn is_match(pattern: &str, address: &str, registry: &str) -> bool {
    let mut parts: Vec<&str> = pattern.split('/').collect();
    if parts.len() == 1 {
        parts.insert(0, "hashicorp");
    }
    if parts.len() == 2 {
        parts.insert(0, registry);
    }
    let address: Vec<&str> = address.split('/').collect();
    parts.len() == address.len()
        && parts.iter().zip(address).all(|(part, real)| *part == "*" || *part == real)
}

fn unreadable(file: &Path, why: &str) -> Error {
    Error::input(format!("cannot read where providers come from in `{}`", file.display()))
        .why(why)
        .hint("correct Terraform's CLI configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
plugin_cache_dir = "/c"
provider_installation {
  filesystem_mirror {
    path    = "/m"
    include = ["example.com/*/*", "aws"]
  }
  network_mirror {
    url     = "https://mirror.example/"
    include = ["acme/*"]
  }
  direct {
    exclude = ["example.com/*/*"]
  }
}
"#;

    #[test]
    fn the_sources_of_a_provider() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rc");
        std::fs::write(&file, TEXT).unwrap();
        let env = BTreeMap::from([("TF_CLI_CONFIG_FILE".into(), file.clone().into())]);
        let sources = Sources::read(Flavor::Terraform, &env).unwrap();
        let (mirror, network) =
            (Source::Folder("/m".into()), Source::Network("https://mirror.example/".into()));
        for (address, expected) in [
            ("example.com/a/b", vec![&mirror]),
            ("registry.terraform.io/hashicorp/aws", vec![&mirror, &Source::Registry]),
            ("registry.terraform.io/acme/x", vec![&network, &Source::Registry]),
            ("registry.terraform.io/hashicorp/random", vec![&Source::Registry]),
        ] {
            assert_eq!(sources.of(address), expected, "{address}");
        }
        assert!(sources.token("mirror.example").is_none());
        let token = "credentials \"mirror.example\" {\n  token = \"one\"\n}\n";
        std::fs::write(&file, token).unwrap();
        let mut more = env.clone();
        more.insert("TF_TOKEN_a__b_example".into(), "two".into());
        let both = Sources::read(Flavor::Terraform, &more).unwrap();
        let token = |host: &str| both.token(host).map(|it| it.expose().to_owned());
        assert_eq!(token("mirror.example").as_deref(), Some("one"));
        assert_eq!(token("a-b.example").as_deref(), Some("two"));
        // Terraform's own reader takes these as well.
        let one_line = "# a { comment\nprovider_installation { filesystem_mirror { path = \"/m\" } \
                        direct { exclude = [\"a/b\"] } }\n";
        let json = r#"{"credentials": {"mirror.example": {"token": "three"}},
            "provider_installation": [{"filesystem_mirror": {"path": "/m"},
            "direct": [{"exclude": ["a/b"]}]}]}"#;
        for text in [one_line, json] {
            std::fs::write(&file, text).unwrap();
            let sources = Sources::read(Flavor::Terraform, &env).unwrap();
            assert_eq!(sources.of("example.com/a/b"), vec![&mirror, &Source::Registry], "{text}");
            let excluded = sources.of("registry.terraform.io/a/b");
            assert_eq!(excluded, vec![&mirror], "{text}");
        }
        let token = Sources::read(Flavor::Terraform, &env).unwrap().token("mirror.example");
        assert_eq!(token.unwrap().expose(), "three");
        for bad in ["{", "provider_installation { filesystem_mirror { path = \"/m\" }"] {
            std::fs::write(&file, bad).unwrap();
            assert!(Sources::read(Flavor::Terraform, &env).is_err(), "{bad}");
        }
        std::fs::write(&file, "provider_installation {\n  filesystem_mirror {\n  }\n}\n").unwrap();
        let refused = Sources::read(Flavor::Terraform, &env).unwrap_err().to_string();
        assert!(sources.has_cache, "{sources:?}");
        assert!(refused.contains("`filesystem_mirror` has no `path`"), "{refused}");
    }

    #[test]
    fn without_a_configuration_the_registry_is_last() {
        let home = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("HOME".into(), home.path().into())]);
        let sources = Sources::read(Flavor::OpenTofu, &env).unwrap();
        let found = sources.of("registry.opentofu.org/hashicorp/aws");
        assert_eq!(found.len(), 5);
        assert_eq!(found[4], &Source::Registry);
        std::fs::write(home.path().join(".terraformrc"), TEXT).unwrap();
        let sources = Sources::read(Flavor::OpenTofu, &env).unwrap();
        let mirror = Source::Folder("/m".into());
        assert_eq!(sources.of("registry.opentofu.org/hashicorp/aws")[0], &mirror);
    }
}
