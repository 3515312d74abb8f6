//! The pairs: the code of each in three states, and what the refusal must name.

use std::collections::BTreeMap;

/// The code of a case in three states: deployed, reviewed, and now.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) deployed: String,
    pub(super) reviewed: String,
    pub(super) now: String,
    /// The start of each difference: address and attribute, or address and actions. Empty: both
    /// plans do the same.
    pub(super) refusal: Vec<String>,
}

impl Case {
    pub(super) fn is_same(&self) -> bool {
        self.refusal.is_empty()
    }

    /// Whether a text begins with an address of the case.
    pub(super) fn has(&self, text: &str) -> bool {
        let kinds = ["data.terraform_remote_state.", "terraform_data.", "output."];
        let name = kinds.iter().find_map(|kind| text.strip_prefix(kind)).unwrap_or(text);
        let name = name.split(['[', ':', ' ', '.']).next().unwrap();
        name.split("__").next() == Some(self.name.as_str())
    }
}

/// A value where `V` is, in each place where a value can be, and the paths of that value.
const PLACES: [(&str, &str, &[&str]); 8] = [
    ("input", "  input = V\n", &["input"]),
    ("nested", "  input = { a = { b = V }, c = \"same\" }\n", &["input.a.b"]),
    ("list", "  input = [\"first\", V, { x = 1 }]\n", &["input[1]"]),
    ("map", "  input = { \"a.b c\" = V }\n", &["input[\"a.b c\"]"]),
    ("set", "  input = toset([V, \"z\"])\n", &["input[0]"]),
    ("json", "  input = jsonencode({ b = V, a = [1, 2] })\n", &["input"]),
    ("replace", "  triggers_replace = [V]\n", &["triggers_replace[0]"]),
    ("both", "  input = V\n  triggers_replace = { a = V }\n", &["input", "triggers_replace.a"]),
];

/// How the plan of now differs from the reviewed one.
#[derive(Clone, Copy)]
enum Differs {
    No,
    /// Another value.
    Value,
    /// Only now, something is changed.
    New,
    /// Now, nothing is changed.
    Gone,
}

/// What changes: deployed, reviewed, and now.
const KINDS: [(&str, &str, &str, &str, Differs); 10] = [
    ("same", "\"a\"", "\"b\"", "\"b\"", Differs::No),
    ("other", "\"a\"", "\"b\"", "\"c\"", Differs::Value),
    ("extra", "\"a\"", "\"a\"", "\"c\"", Differs::New),
    ("undone", "\"a\"", "\"b\"", "\"a\"", Differs::Gone),
    ("version", "var.release", "var.release", "var.release", Differs::No),
    ("image", "\"i:v\"", "\"i:${var.release}\"", "\"i:${var.release}\"", Differs::No),
    ("commit", "\"c\"", "\"c ${var.commit}\"", "\"c ${var.commit}\"", Differs::No),
    ("number", "1", "2", "3", Differs::Value),
    ("case", "\"a\"", "\"True\"", "\"true\"", Differs::Value),
    ("sensitive", "\"a\"", "sensitive(\"b1\")", "sensitive(\"b2\")", Differs::Value),
];

/// The other pairs. The file describes its format.
const OTHERS: &str = include_str!("cases.txt");

pub(super) fn all() -> Vec<Case> {
    values().into_iter().chain(OTHERS.split("\n== ").skip(1).map(other)).collect()
}

fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    for (place, body, paths) in PLACES {
        for (kind, deployed, reviewed, now, differs) in KINDS {
            let name = format!("{place}_{kind}");
            let code = |value: &str| resource(&name, &body.replace('V', value));
            let [deployed, reviewed, now] = [deployed, reviewed, now].map(code);
            let address = format!("terraform_data.{name}");
            let action = match body.contains("triggers_replace") {
                true => "replace (destroy first)",
                false => "update",
            };
            // Terraform marks a set as a whole.
            let paths: &[&str] = if name == "set_sensitive" { &["input"] } else { paths };
            let refusal = match differs {
                Differs::No => Vec::new(),
                Differs::Value => {
                    paths.iter().map(|path| format!("{address}: {path}: reviewed: ")).collect()
                }
                Differs::New => vec![format!("{address}: {action}; not reviewed")],
                Differs::Gone => vec![format!("{address}: reviewed: {action}; now: nothing to do")],
            };
            cases.push(Case { name, deployed, reviewed, now, refusal });
        }
    }
    cases
}

/// Reads a case of [`OTHERS`]. An empty line ends it.
fn other(text: &str) -> Case {
    let (name, text) = text.split_once('\n').unwrap();
    let text = text.split("\n\n").next().unwrap();
    let mut refusal = Vec::new();
    let mut states: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut state = "";
    for line in text.lines() {
        if let Some(difference) = line.strip_prefix("! ") {
            refusal.push(difference.replace("NAME", name));
        } else if let Some(title) = line.strip_prefix("-- ") {
            state = title;
            states.entry(state).or_default();
        } else {
            states.entry(state).or_default().push(line);
        }
    }
    let code = |state: &str| states.get(state).map(|lines| code(name, lines));
    let reviewed = code("reviewed").unwrap();
    Case {
        name: name.to_owned(),
        deployed: code("deployed").unwrap_or_default(),
        now: code("now").unwrap_or_else(|| reviewed.clone()),
        reviewed,
        refusal,
    }
}

fn code(name: &str, lines: &[&str]) -> String {
    let text: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
    let is_body = !lines.is_empty() && lines.iter().all(|line| line.starts_with(' '));
    let text = if is_body { resource(name, &text) } else { text };
    text.replace("NAME", name)
}

fn resource(name: &str, body: &str) -> String {
    format!("resource \"terraform_data\" \"{name}\" {{\n{body}}}\n")
}
