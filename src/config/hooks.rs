//! `hooks` of cdflow.yml: programs of a component that judge a plan or follow an apply.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::base::{
    error::{Error, Result},
    printable,
};

/// The hooks of a component, each list in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Hooks {
    /// Judge a plan before it is applied.
    #[serde(default)]
    pub(crate) on_plan: Vec<Hook>,
    /// Run after a successful apply.
    #[serde(default)]
    pub(crate) after_apply: Vec<Hook>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hook {
    pub(crate) name: String,
    /// The program, and its arguments.
    pub(crate) run: Vec<String>,
    /// Its failure is only reported.
    pub(crate) advisory: bool,
}

/// A hook as an object; a string is short for its `run`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct HookFile {
    name: Option<String>,
    run: Words,
    #[serde(default)]
    advisory: bool,
}

/// A program with its arguments, or only a program.
#[derive(Debug)]
struct Words(Vec<String>);

impl Hooks {
    pub(crate) fn is_empty(&self) -> bool {
        self.on_plan.is_empty() && self.after_apply.is_empty()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Hook> {
        self.on_plan.iter().chain(&self.after_apply)
    }

    /// Fails if two hooks of a list have one name: a report would not say which one is meant.
    pub(crate) fn check(&self, file: &str) -> Result<()> {
        for (key, hooks) in [("on-plan", &self.on_plan), ("after-apply", &self.after_apply)] {
            for (index, hook) in hooks.iter().enumerate() {
                if hooks[..index].iter().any(|other| other.name == hook.name) {
                    return Err(Error::input(format!(
                        "{file}: two hooks in `hooks.{key}` have the name `{}`",
                        hook.name
                    ))
                    .hint("give each its own `name`"));
                }
            }
        }
        Ok(())
    }
}

impl Hook {
    /// Returns the program's path in the component; None if it is looked for in PATH.
    pub(crate) fn file(&self) -> Option<&str> {
        self.run.first().map(String::as_str).filter(|program| program.contains('/'))
    }

    pub(crate) fn program(&self) -> &str {
        self.run.first().map_or("", String::as_str)
    }

    fn new(name: Option<String>, run: Vec<String>, advisory: bool) -> Result<Self, String> {
        let Some(program) = run.first() else {
            return Err("`run` is empty: expected a program and its arguments".to_owned());
        };
        check_program(program)?;
        if let Some(word) = run.iter().find(|word| word.contains('\0')) {
            return Err(format!("`{}` contains NUL", printable::excerpt(word)));
        }
        let name = match name {
            Some(name) => name,
            None => program.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
            return Err(format!(
                "`{}` is not the name of a hook: expected letters, digits, `.`, `_` and `-`",
                printable::excerpt(&name)
            ));
        }
        Ok(Self { name, run, advisory })
    }
}

/// A release contains `hooks/` and `infra/`, so that a deploy has the hooks of its release.
fn check_program(text: &str) -> Result<(), String> {
    let shown = printable::excerpt(text);
    if text.contains(char::is_whitespace) {
        return Err(format!(
            "`{shown}` has blanks: write a program with arguments as a list, such as \
             `run: [conftest, test, \"{{plan}}\"]`"
        ));
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-/".contains(&b);
    let is_part = |part: &str| !["", ".", ".."].contains(&part);
    let parts: Vec<&str> = text.split('/').collect();
    let is_inside = parts.len() == 1 || ["hooks", "infra"].contains(&parts[0]);
    match text.bytes().all(is_plain) && parts.iter().all(|part| is_part(part)) && is_inside {
        true => Ok(()),
        false => Err(format!(
            "`{shown}` is not a program: expected a file in `hooks/` or `infra/` of the component, \
             or the name of a program in PATH"
        )),
    }
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HookVisitor;

        impl<'de> Visitor<'de> for HookVisitor {
            type Value = Hook;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a program, or a hook with `run`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hook, E> {
                Hook::new(None, vec![text.to_owned()], false).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Hook, A::Error> {
                let file = HookFile::deserialize(MapAccessDeserializer::new(entries))?;
                Hook::new(file.name, file.run.0, file.advisory).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(HookVisitor)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;

        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a program, or a list of a program and its arguments")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = items.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }

        deserializer.deserialize_any(WordsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::document;

    fn parse(text: &str) -> Result<Hooks> {
        let hooks: Hooks = document::from_yaml("cdflow.yml", text)?;
        hooks.check("cdflow.yml").map(|()| hooks)
    }

    #[test]
    fn strings_and_objects() {
        let hooks = parse(
            "on-plan:\n  - hooks/check.sh\n  - {name: policy, run: [conftest, test, '{plan}'], \
             advisory: true}\nafter-apply: [{run: infra/smoke.sh}]\n",
        )
        .unwrap();
        let hook = |name: &str, run: &[&str], advisory| Hook {
            name: name.to_owned(),
            run: run.iter().map(|word| (*word).to_owned()).collect(),
            advisory,
        };
        assert_eq!(
            hooks.on_plan,
            [
                hook("check.sh", &["hooks/check.sh"], false),
                hook("policy", &["conftest", "test", "{plan}"], true)
            ]
        );
        assert_eq!(hooks.after_apply, [hook("smoke.sh", &["infra/smoke.sh"], false)]);
        assert_eq!(
            (hooks.on_plan[0].file(), hooks.on_plan[1].file()),
            (Some("hooks/check.sh"), None)
        );
        // As a release has them.
        let text = serde_json::to_string(&hooks).unwrap();
        assert_eq!(serde_json::from_str::<Hooks>(&text).unwrap(), hooks);
    }

    #[test]
    fn mistakes() {
        for (text, says) in [
            ("on-plan: [a b]", "`a b` has blanks: write a program with arguments as a list"),
            ("on-plan: [../x.sh]", "`../x.sh` is not a program"),
            ("on-plan: [/bin/sh]", "is not a program"),
            ("on-plan: [scripts/x.sh]", "expected a file in `hooks/` or `infra/`"),
            ("on-plan: [{name: x}]", "missing"),
            ("on-plan: [{run: []}]", "`run` is empty"),
            ("on-plan: [{run: x, advisry: true}]", "did you mean `advisory`?"),
            ("on-plan: [{run: x, name: 'a b'}]", "is not the name of a hook"),
            ("on-plam: [x]", "did you mean `on-plan`?"),
            ("on-plan: [hooks/x, infra/x]", "two hooks in `hooks.on-plan` have the name `x`"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("cdflow.yml:") && error.contains(says), "{text}: {error}");
        }
    }
}
