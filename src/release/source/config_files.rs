//! Files and keys in `config/` that no deploy would read: a value must not be ignored in silence.

use std::{collections::BTreeSet, fmt};

use crate::{
    base::{
        error::{Error, Result},
        spelling::nearest,
    },
    config::{names::Environment, scheme::AccountScheme},
    terraform::code::{declarations::Declarations, variables::nearly_a_layer},
};

/// The names of config files that are for more than one environment.
const SHARED: [&str; 2] = ["common", "preview"];
/// How many keys of one file a message names.
const NAMED: usize = 5;

/// A file or some keys that no deploy reads, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  -> {}", self.what, self.remedy)
    }
}

/// Rejects a file of values in Terraform's own format. `name` is its path in the component.
///
/// Terraform does not see `config/`, and cdflow reads only JSON: one format has one order of
/// layers.
pub(crate) fn check_format(name: &str) -> Result<()> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let (stem, is_json) = match (file.strip_suffix(".tfvars"), file.strip_suffix(".tfvars.json")) {
        (Some(stem), _) => (stem, false),
        (None, Some(stem)) => (stem, true),
        (None, None) => return Ok(()),
    };
    let stem = stem.strip_suffix(".auto").unwrap_or(stem);
    let stem = if matches!(stem, "" | "terraform") { SHARED[0] } else { stem };
    let target = format!("{folder}/{stem}.json");
    let error = Error::input(format!("`{}` would be ignored", name.escape_debug()))
        .why("values come from `.json` files without `.tfvars` in their name");
    Err(match is_json {
        true => error.hint(format!("rename it to `{}`", target.escape_debug())),
        false => error.hint(format!(
            "write its values as a JSON object, `{{\"name\": value}}`, into `{}`, and remove it",
            target.escape_debug()
        )),
    })
}

/// Returns the files directly in `config/` that no environment of the scheme reads. `names` are
/// the names of files without their folder.
pub(crate) fn without_environment<'a>(
    names: impl IntoIterator<Item = &'a str>,
    scheme: &AccountScheme,
) -> Vec<Ignored> {
    names.into_iter().filter_map(|name| unread(name, scheme)).collect()
}

fn unread(name: &str, scheme: &AccountScheme) -> Option<Ignored> {
    let environments = scheme.environments();
    let named: Vec<&str> =
        environments.keys().map(String::as_str).filter(|it| *it != "*").chain(SHARED).collect();
    let shown = name.escape_debug();
    let ignored = |why: String, remedy: String| {
        Some(Ignored { what: format!("`config/{shown}` {why}"), remedy })
    };
    if let Some(stem) = other_format(name) {
        return match named.contains(&stem) {
            true => ignored(
                "is ignored: cdflow reads values only from JSON".to_owned(),
                format!("write them into `config/{stem}.json`"),
            ),
            false => None,
        };
    }
    if let Some(right) = nearly_a_layer(name) {
        return ignored(
            "is ignored: the names of these files are lower case".to_owned(),
            format!("rename it to `config/{}`", layer_meant(&right, &named)),
        );
    }
    let stem = name.strip_suffix(".json")?;
    if named.contains(&stem) {
        return None;
    }
    let meant = nearest(&stem.to_lowercase(), named.iter().copied());
    let rename = |meant: &str| format!("rename it to `config/{meant}.json` if you mean that");
    match stem.parse::<Environment>() {
        Err(_) => ignored(
            "is ignored: no environment can have this name".to_owned(),
            meant.map_or_else(|| "rename or remove it".to_owned(), rename),
        ),
        Ok(environment) if environment.is_preview() => ignored(
            "is ignored: all previews read `config/preview.json`".to_owned(),
            "move its values there".to_owned(),
        ),
        Ok(environment) => match (meant, environments.contains_key("*")) {
            (Some(meant), _) => ignored(
                format!(
                    "is for the environment `{environment}`, which the account scheme does not \
                     name: did you mean `{meant}`?"
                ),
                format!("rename the file, or add `{environment}` to the account scheme"),
            ),
            (None, false) => ignored(
                format!(
                    "is ignored: the account scheme has no environment `{environment}` and no \
                     \"*\""
                ),
                format!("add `{environment}` to the account scheme, or remove the file"),
            ),
            (None, true) => None,
        },
    }
}

/// Returns the files directly in infra/ that have values in Terraform's format and that Terraform
/// does not load. `names` are their paths in the component.
pub(crate) fn not_loaded<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Ignored> {
    let ignored = |name: &'a str| {
        let file = name.strip_prefix("infra/").filter(|file| !file.contains('/'))?;
        let stem = file.strip_suffix(".json").unwrap_or(file).strip_suffix(".tfvars")?;
        let is_loaded = stem == "terraform" || stem.ends_with(".auto");
        (!is_loaded).then(|| Ignored {
            what: format!("`{}` is ignored: Terraform does not load it", name.escape_debug()),
            remedy: format!("write its values into `config/{}.json`", stem.escape_debug()),
        })
    };
    names.into_iter().filter_map(ignored).collect()
}

/// Returns the values in files of infra/ that a file of `config/` replaces. `name` is its path in
/// the component.
pub(crate) fn replaced<'k>(
    name: &str,
    keys: impl IntoIterator<Item = &'k str>,
    declared: &Declarations,
) -> Vec<Ignored> {
    let both = keys.into_iter().filter_map(|key| Some((key, declared.assigned.get(key)?)));
    let ignored = |(key, place): (&str, &String)| Ignored {
        what: format!(
            "`{place}` sets `{}`, but the value in `{}` is used",
            key.escape_debug(),
            name.escape_debug()
        ),
        remedy: "remove one of the two".to_owned(),
    };
    both.map(ignored).collect()
}

/// Returns the name of a file without its ending, if that is neither JSON nor a text for people.
fn other_format(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let is_other = !["json", "md", "txt"].iter().any(|it| ending.eq_ignore_ascii_case(it));
    is_other.then_some(stem)
}

/// Returns the name of the file that one with the name of a layer is meant to be: that of the
/// environment with the nearest name, or the one that all previews read.
fn layer_meant(layer: &str, named: &[&str]) -> String {
    let stem = layer.strip_suffix(".json").unwrap_or(layer);
    let is_preview = stem.parse::<Environment>().is_ok_and(|it| it.is_preview());
    let meant = if is_preview { "preview" } else { stem };
    format!("{}.json", nearest(meant, named.iter().copied()).unwrap_or(meant))
}

/// Returns the keys of a config file that no variable declares. `name` is its path in the
/// component. Platform config is for many components, so its keys need no variable.
pub(crate) fn undeclared<'k>(
    name: &str,
    keys: impl IntoIterator<Item = &'k str>,
    declared: &Declarations,
) -> Option<Ignored> {
    if name.strip_prefix("config/").is_none_or(|file| file.contains('/')) {
        return None;
    }
    // A file that cdflow cannot parse might declare any variable.
    let unknown: Vec<&str> = keys.into_iter().filter(|key| !declared.may_declare(key)).collect();
    let first = *unknown.first()?;
    let shown = unknown.iter().take(NAMED).map(|key| format!("`{}`", key.escape_debug()));
    let mut keys = shown.collect::<Vec<_>>().join(", ");
    if unknown.len() > NAMED {
        keys.push_str(&format!(" and {} more", unknown.len() - NAMED));
    }
    let variables: BTreeSet<&str> = declared.variables.iter().map(|it| it.name.as_str()).collect();
    let remedy = match nearest(first, variables).filter(|_| unknown.len() == 1) {
        Some(near) => format!("correct the name: did you mean `{near}`?"),
        None => "declare a variable of that name, or remove the key".to_owned(),
    };
    Some(Ignored {
        what: format!(
            "`{}` sets {keys}, which infra/ does not declare: no deploy uses that value",
            name.escape_debug()
        ),
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::code::files::Dialect;

    fn scheme(environments: &str) -> AccountScheme {
        let text = format!(
            r#"{{"accounts": {{"local": {{}}}}, "release-account": "local",
            "default-region": "eu-west-1", "release-bucket": "file:r",
            "terraform-backend": {{"type": "local", "path": "file:s"}},
            "environments": {environments}}}"#
        );
        let (team, component) = ("platform".parse().unwrap(), "shop".parse().unwrap());
        let base = Some(std::path::Path::new("/"));
        AccountScheme::parse("account-scheme.json", base, &text, &team, &component).unwrap()
    }

    fn said(name: &str, scheme: &AccountScheme) -> String {
        without_environment([name], scheme).first().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn terraforms_own_format_is_rejected_with_the_file_to_write() {
        for (name, target) in [
            ("config/live.tfvars", "into `config/live.json`"),
            ("config/live.tfvars.json", "rename it to `config/live.json`"),
            ("config/terraform.tfvars", "into `config/common.json`"),
            ("config/ci.auto.tfvars.json", "rename it to `config/ci.json`"),
            ("platform-config/dev/eu-west-1.tfvars", "into `platform-config/dev/eu-west-1.json`"),
        ] {
            let error = check_format(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}` would be ignored")), "{error}");
            assert!(error.contains(target), "{error}");
        }
        for name in ["config/live.json", "config/tfvars", "config/live.tfvars.md"] {
            assert!(check_format(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn files_that_no_environment_reads() {
        let open = scheme(r#"{"ci": "local", "live": "local", "*": "local"}"#);
        let closed = scheme(r#"{"ci": "local", "live": "local"}"#);
        for name in ["ci.json", "common.json", "preview.json", "readme.md", "live.md", "x.yml"] {
            assert_eq!(said(name, &open) + &said(name, &closed), "", "{name}");
        }
        for scheme in [&open, &closed] {
            assert!(said("cl.json", scheme).contains("did you mean `ci`?"));
            assert!(said("comon.json", scheme).contains("did you mean `common`?"));
            for name in ["live.yaml", "live.josn", "live"] {
                assert!(
                    said(name, scheme).contains("write them into `config/live.json`"),
                    "{name}"
                );
            }
            assert!(said("Live.json", scheme).contains("rename it to `config/live.json`"));
            assert!(said("pr-7.json", scheme).contains("`config/preview.json`"));
            for (name, right) in [
                ("CI.json", "ci"),
                ("ci.JSON", "ci"),
                ("Comon.json", "common"),
                ("PR-7.json", "preview"),
                ("Staging.json", "staging"),
            ] {
                let said = said(name, scheme);
                assert!(said.contains("the names of these files are lower case"), "{said}");
                assert!(said.ends_with(&format!("rename it to `config/{right}.json`")), "{said}");
            }
        }
        assert_eq!(said("staging.json", &open), "");
        assert!(said("staging.json", &closed).contains("no environment `staging` and no \"*\""));
        assert!(!said("\u{1b}[2J.json", &open).contains('\u{1b}'));
    }

    #[test]
    fn keys_that_no_variable_declares() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("main.tf"), "variable \"replicas\" {}\n").unwrap();
        let read = || Declarations::read(folder.path(), "infra", Dialect::Terraform).unwrap();
        let said = |name: &str, keys: &[&str]| {
            let found = undeclared(name, keys.iter().copied(), &read());
            found.map(|it| it.to_string()).unwrap_or_default()
        };
        assert_eq!(said("config/live.json", &["replicas"]), "");
        assert_eq!(
            said("config/live.json", &["replicas", "replica"]),
            "`config/live.json` sets `replica`, which infra/ does not declare: no deploy uses \
             that value\n  -> correct the name: did you mean `replicas`?"
        );
        let many = said("config/common.json", &["a", "b", "c", "d", "e", "f", "g"]);
        assert!(many.contains("`e` and 2 more, which"), "{many}");
        assert_eq!(said("platform-config/dev/eu-west-1.json", &["x"]), "");
        assert_eq!(said("config/dashboards/one.json", &["x"]), "");
        std::fs::write(folder.path().join("broken.tf"), "variable \"x\" {").unwrap();
        assert_eq!(said("config/live.json", &["x"]), "");
    }
}
