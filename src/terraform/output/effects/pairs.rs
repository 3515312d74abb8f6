//! Pairs of plans from the real Terraform. Each case is one resource of a large configuration,
//! which is applied once and planned twice, as the pull request and as the deploy after the merge.
//!
//! The rules of two other tools, as their documents describe them, judge the same pairs: one
//! compares the text of a plan, the other one the values in its JSON without data sources and
//! without what is known only after the apply.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::{Sealer, Words, differences};
use crate::{
    base::redact::{Redactor, Secret},
    terraform::output::{changes::Changes, plan_text::PlanText},
};

/// The code of a case in three states: deployed, reviewed, and of now.
struct Case {
    name: String,
    deployed: String,
    reviewed: String,
    now: String,
    is_same: bool,
}

/// A value where `V` is, in each place where a value can be.
const PLACES: [(&str, &str); 8] = [
    ("input", "  input = V\n"),
    ("nested", "  input = { a = { b = V }, c = \"same\" }\n"),
    ("list", "  input = [\"first\", V, { x = 1 }]\n"),
    ("map", "  input = { \"a.b c\" = V }\n"),
    ("set", "  input = toset([V, \"z\"])\n"),
    ("json", "  input = jsonencode({ b = V, a = [1, 2] })\n"),
    ("replace", "  triggers_replace = [V]\n"),
    ("both", "  input = V\n  triggers_replace = { a = V }\n"),
];

/// What changes: deployed, reviewed, now, and whether the last two are the same change.
const KINDS: [(&str, &str, &str, &str, bool); 10] = [
    ("same", "\"a\"", "\"b\"", "\"b\"", true),
    ("other", "\"a\"", "\"b\"", "\"c\"", false),
    ("extra", "\"a\"", "\"a\"", "\"c\"", false),
    ("undone", "\"a\"", "\"b\"", "\"a\"", false),
    ("version", "var.release", "var.release", "var.release", true),
    ("image", "\"i:v\"", "\"i:${var.release}\"", "\"i:${var.release}\"", true),
    ("commit", "\"c\"", "\"c ${var.commit}\"", "\"c ${var.commit}\"", true),
    ("number", "1", "2", "3", false),
    ("case", "\"a\"", "\"True\"", "\"true\"", false),
    ("sensitive", "\"a\"", "sensitive(\"b1\")", "sensitive(\"b2\")", false),
];

fn cases() -> Vec<Case> {
    let resource =
        |name: &str, body: &str| format!("resource \"terraform_data\" \"{name}\" {{\n{body}}}\n");
    let mut cases = Vec::new();
    for (place, body) in PLACES {
        for (kind, deployed, reviewed, now, is_same) in KINDS {
            let name = format!("{place}_{kind}");
            let code = |value: &str| resource(&name, &body.replace('V', value));
            let [deployed, reviewed, now] = [deployed, reviewed, now].map(code);
            cases.push(Case { name, deployed, reviewed, now, is_same });
        }
    }
    let mut add = |name: &str, [deployed, reviewed, now]: [&str; 3], is_same| {
        let code = |body: &str| match body {
            "" => String::new(),
            body if body.contains("resource") || body.contains("moved") => body.replace('#', name),
            body => resource(name, body),
        };
        cases.push(Case {
            name: name.to_owned(),
            deployed: code(deployed),
            reviewed: code(reviewed),
            now: code(now),
            is_same,
        });
    };
    let (a, b) = ("  input = \"a\"\n", "  input = \"b\"\n");
    add("new", ["", a, a], true);
    add("new_other", ["", a, b], false);
    add("gone", [a, "", ""], true);
    add("gone_now", [a, a, ""], false);
    add("gone_before", [a, "", a], false);
    add(
        "unknown",
        [a, "  input = terraform_data.new.id\n", "  input = terraform_data.new.id\n"],
        true,
    );
    add("resolved", [a, "  input = terraform_data.new.id\n", b], false);
    add("replaced", [a, b, "  input = \"b\"\n  triggers_replace = 1\n"], false);
    let first = "  input = \"b\"\n  triggers_replace = 1\n  lifecycle {\n    \
                 create_before_destroy = true\n  }\n";
    add("order", [a, "  input = \"b\"\n  triggers_replace = 1\n", first], false);
    let each = |keys: &str, value: &str| {
        format!("  for_each = toset({keys})\n  input = \"${{each.key}}{value}\"\n")
    };
    let (two, more, other) =
        (each("[\"x\", \"y\"]", ""), each("[\"y\", \"x\"]", "1"), each("[\"x\", \"y\"]", "1"));
    add("each_order", [&two, &more, &other], true);
    let less = each("[\"x\"]", "1");
    add("each_less", [&two, &other, &less], false);
    let moved = "resource \"terraform_data\" \"#\" {\n  input = \"a\"\n}\nmoved {\n  from = \
                 terraform_data.#_old\n  to = terraform_data.#\n}\n";
    let old = "resource \"terraform_data\" \"#_old\" {\n  input = \"a\"\n}\n";
    let output = |role: &str| {
        format!(
            "resource \"terraform_data\" \"#\" {{\n  input = \"a\"\n}}\noutput \"#\" {{\n  \
             value = {{ role = \"{role}\", id = terraform_data.new.id }}\n}}\n"
        )
    };
    add("value", [a, &output("reader"), &output("admin")], false);
    add("value_same", [a, &output("reader"), &output("reader")], true);
    let (one, nulls) = ("  input = [\"x\"]\n", "  input = [\"x\", null, null]\n");
    add("nulls", [a, one, nulls], false);
    let (old_image, pinned) = ("  input = \"s:${var.release}\"\n", "  input = \"s:40-0000000\"\n");
    add("pinned", ["", old_image, pinned], false);
    add("with_v", [a, "  input = \"v${var.release}\"\n", "  input = \"v${var.release}\"\n"], true);
    add("moved", [old, moved, moved], true);
    let apart = "resource \"terraform_data\" \"#\" {\n  input = \"a\"\n}\n";
    add("not_moved", [old, moved, apart], false);
    cases
}

#[expect(clippy::disallowed_methods, reason = "the test's own Terraform")]
fn terraform(root: &Path, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new("terraform");
    command.current_dir(root).env("CHECKPOINT_DISABLE", "1").env_remove("TF_CLI_CONFIG_FILE");
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{}{}", text(output.stdout), text(output.stderr));
    text(output.stdout)
}

/// A plan of one of the states: its text and its JSON.
struct Planned {
    words: Words,
    changes: Changes,
    text: String,
    json: Value,
}

const VARIABLES: &str = "variable \"release\" {\n  type = string\n}\nvariable \"commit\" {\n  type \
                         = string\n}\n";

fn write(root: &Path, cases: &[Case], code: impl Fn(&Case) -> &String, release: [&str; 2]) {
    let parts: String = cases.iter().map(|case| code(case).as_str()).collect();
    fs::write(root.join("main.tf"), format!("{VARIABLES}{parts}")).unwrap();
    let [version, commit] = release;
    let values = format!("release = \"{version}\"\ncommit = \"{commit}\"\n");
    fs::write(root.join("terraform.tfvars"), values).unwrap();
}

fn plan(root: &Path, release: [&str; 2]) -> Planned {
    terraform(root, &["plan", "-input=false", "-out=plan"]);
    let json = terraform(root, &["show", "-json", "plan"]);
    let deployed = ["40-0000000", "0000000000000000000000000000000000000000"];
    Planned {
        words: Words::new(
            release.map(str::to_owned).to_vec(),
            deployed.map(str::to_owned).to_vec(),
        ),
        changes: Changes::parse(&mut json.as_bytes()).unwrap(),
        text: terraform(root, &["show", "-no-color", "plan"]),
        json: serde_json::from_str(&json).unwrap(),
    }
}

/// Of a case: an address begins with its name.
fn is_of(case: &Case, address: &str) -> bool {
    let name = address.trim_start_matches("terraform_data.").trim_start_matches("output.");
    let name = name.split(['[', ':', ' ', '.']).next().unwrap();
    name == case.name || name == format!("{}_old", case.name)
}

/// The sections of a plan's text about a case.
fn text_of(planned: &Planned, case: &Case) -> Vec<String> {
    let mut text = PlanText::default();
    planned.text.lines().for_each(|line| text.push(line));
    let sections = text.sections().into_iter();
    let of_case = sections.filter(|it| is_of(case, it.title));
    let mut found: Vec<String> =
        of_case.map(|it| format!("{}\n{}", it.title, it.lines.join("\n"))).collect();
    found.sort();
    found
}

/// The values of a plan's JSON about a case, without what is unknown.
fn json_of(planned: &Planned, case: &Case) -> BTreeMap<String, Value> {
    let changes = planned.json["resource_changes"].as_array().unwrap().iter();
    let of_case =
        changes.filter(|it| it["mode"] != "data" && is_of(case, it["address"].as_str().unwrap()));
    of_case
        .map(|it| {
            let change = &it["change"];
            let parts = ["actions", "before", "after"].map(|key| change[key].clone());
            (it["address"].as_str().unwrap().to_owned(), Value::from(parts.to_vec()))
        })
        .collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "the table of the documents")]
fn equal_and_different_plans_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let cases = cases();
    assert!(cases.len() >= 80, "{}", cases.len());
    let releases = [
        ["40-0000000", "0000000000000000000000000000000000000000"],
        ["pr-7-1111111", "1111111222222233333334444444555555566666"],
        ["41-2222222", "2222222333333344444445555555666666677777"],
    ];
    write(root, &cases, |case| &case.deployed, releases[0]);
    terraform(root, &["init", "-input=false"]);
    terraform(root, &["apply", "-auto-approve", "-input=false"]);
    write(root, &cases, |case| &case.reviewed, releases[1]);
    let reviewed = plan(root, releases[1]);
    // In another order.
    let reversed: Vec<Case> = self::cases().into_iter().rev().collect();
    write(root, &reversed, |case| &case.now, releases[2]);
    let now = plan(root, releases[2]);

    let (key, redactor) = (Secret::new("key"), Redactor::default());
    let sealed = |planned: &Planned| {
        let sealer = Sealer { key: &key, words: &planned.words, redactor: &redactor };
        sealer.seal(&planned.changes.effects)
    };
    let (was, is) = (sealed(&reviewed), sealed(&now));
    let found: Vec<String> = differences((&was, &reviewed.words), (&is, &now.words))
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut table = BTreeMap::from([("text", [0, 0]), ("json", [0, 0]), ("cdflow", [0, 0])]);
    let mut wrong = Vec::new();
    for case in &cases {
        let ours: Vec<&String> = found.iter().filter(|it| is_of(case, it)).collect();
        let judged = [
            ("text", text_of(&reviewed, case) == text_of(&now, case)),
            ("json", json_of(&reviewed, case) == json_of(&now, case)),
            ("cdflow", ours.is_empty()),
        ];
        // The other rules are for resources here.
        let counted = judged.into_iter().filter(|_| !case.name.starts_with("value"));
        for (rule, is_same) in counted {
            let [alarms, misses] = table.get_mut(rule).unwrap();
            *alarms += usize::from(case.is_same && !is_same);
            *misses += usize::from(!case.is_same && is_same);
        }
        if ours.is_empty() != case.is_same {
            wrong.push(format!("{}: {ours:?}", case.name));
        }
    }
    let shown = cases.iter().filter(|case| !case.name.starts_with("value"));
    let same = shown.filter(|case| case.is_same).count();
    eprintln!("{same} of {} pairs do the same", cases.len() - 2);
    eprintln!("| rule | pairs | false alarms | misses |\n|---|---|---|---|");
    for (rule, [alarms, misses]) in &table {
        eprintln!("| {rule} | {} | {alarms} | {misses} |", cases.len() - 2);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(table["cdflow"], [0, 0]);
}
