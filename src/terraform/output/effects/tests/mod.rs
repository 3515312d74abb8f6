//! Pairs of plans from the real Terraform. Each case is a part of a large configuration, which is
//! applied once and planned twice, as the pull request and as the deploy after the merge. Two other
//! tools judge the same pairs by their own rules.

mod cases;
mod rules;

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Sealer, Words, differences};
use crate::{
    base::redact::{Redactor, Secret},
    terraform::output::changes::Changes,
};

/// What differs between runs: the release, and an output of another state.
struct Run {
    version: &'static str,
    commit: &'static str,
    moving: &'static str,
}

const DEPLOYED: Run =
    Run { version: "40-0000000", commit: "0000000000000000000000000000000000000000", moving: "a" };
const REVIEWED: Run = Run {
    version: "pr-7-1111111",
    commit: "1111111222222233333334444444555555566666",
    moving: "b",
};
const NOW: Run =
    Run { version: "41-2222222", commit: "2222222333333344444445555555666666677777", moving: "c" };

impl Run {
    fn words(&self) -> Vec<String> {
        vec![self.version.to_owned(), self.commit.to_owned()]
    }
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

fn write<'c>(root: &Path, code: impl Iterator<Item = &'c String>, run: &Run) {
    let code: String = code.map(String::as_str).collect();
    fs::write(root.join("main.tf"), format!("{VARIABLES}{code}")).unwrap();
    let values = format!("release = \"{}\"\ncommit = \"{}\"\n", run.version, run.commit);
    fs::write(root.join("terraform.tfvars"), values).unwrap();
    let output = |value: &str| json!({ "value": value, "type": "string" });
    let remote = json!({
        "version": 4, "terraform_version": "1.6.0", "serial": 1, "lineage": "remote",
        "outputs": { "stable": output("a"), "moving": output(run.moving) }, "resources": [],
    });
    fs::write(root.join("remote.tfstate"), remote.to_string()).unwrap();
}

fn plan(root: &Path, run: &Run) -> Planned {
    let text = terraform(root, &["plan", "-input=false", "-no-color", "-out=plan"]);
    let json = terraform(root, &["show", "-json", "plan"]);
    Planned {
        words: Words::new(run.words(), DEPLOYED.words()),
        changes: Changes::parse(&mut json.as_bytes()).unwrap(),
        text,
        json: serde_json::from_str(&json).unwrap(),
    }
}

/// The cases with an object that changes elsewhere, and which of its attributes does.
const DRIFT: [(&str, &str); 7] = [
    ("drift_output", "output"),
    ("drift_kept", "output"),
    ("drift_replaced", "output"),
    ("drift_input", "input"),
    ("drift_undone", "input"),
    ("drift_object", "id"),
    ("drift_destroyed", "id"),
];

/// Changes the state, as a refresh does that finds another value. Terraform's own resource finds
/// none.
fn drift(root: &Path) {
    let path = root.join("terraform.tfstate");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut changed = 0;
    for resource in state["resources"].as_array_mut().unwrap() {
        let found = DRIFT.into_iter().find(|(name, _)| resource["name"] == *name);
        let Some((_, attribute)) = found else { continue };
        resource["instances"][0]["attributes"][attribute] = match attribute {
            "id" => json!("elsewhere"),
            _ => json!({ "value": "elsewhere", "type": "string" }),
        };
        changed += 1;
    }
    assert_eq!(changed, DRIFT.len());
    fs::write(path, state.to_string()).unwrap();
}

#[test]
#[expect(clippy::print_stderr, reason = "the table of the documents")]
fn equal_and_different_plans_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let cases = cases::all();
    write(root, cases.iter().map(|case| &case.deployed), &DEPLOYED);
    terraform(root, &["init", "-input=false"]);
    terraform(root, &["apply", "-auto-approve", "-input=false"]);
    write(root, cases.iter().map(|case| &case.reviewed), &REVIEWED);
    let reviewed = plan(root, &REVIEWED);
    drift(root);
    // In another order.
    write(root, cases.iter().rev().map(|case| &case.now), &NOW);
    let now = plan(root, &NOW);

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
    let mut table = [("dflook", [0, 0]), ("Atmos", [0, 0]), ("cdflow", [0, 0])];
    let mut wrong: Vec<String> =
        found.iter().filter(|it| !cases.iter().any(|case| case.has(it))).cloned().collect();
    for case in &cases {
        let ours: Vec<&String> = found.iter().filter(|it| case.has(it)).collect();
        let judged = [
            rules::dflook(&reviewed.text, case) == rules::dflook(&now.text, case),
            rules::atmos(&reviewed.json, case) == rules::atmos(&now.json, case),
            ours.is_empty(),
        ];
        for ((_, [alarms, misses]), is_same) in table.iter_mut().zip(judged) {
            *alarms += usize::from(case.is_same() && !is_same);
            *misses += usize::from(!case.is_same() && is_same);
        }
        // Each difference that the refusal must name, and no other one.
        let is_named = |start: &String| ours.iter().any(|it| it.starts_with(start.as_str()));
        let is_meant =
            |it: &&String| case.refusal.iter().any(|start| it.starts_with(start.as_str()));
        if !case.refusal.iter().all(is_named) || !ours.iter().all(is_meant) {
            wrong.push(format!("{}: {ours:#?}, not {:#?}", case.name, case.refusal));
        }
    }
    let same = cases.iter().filter(|case| case.is_same()).count();
    eprintln!("{} pairs, of which {same} do the same", cases.len());
    eprintln!("| rule | false alarms | misses |\n|---|---|---|");
    for (rule, [alarms, misses]) in table {
        eprintln!("| {rule} | {alarms} | {misses} |");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // docs/reviewed.md has these numbers.
    assert_eq!((cases.len(), same), (156, 61));
    assert_eq!(table, [("dflook", [30, 10]), ("Atmos", [31, 1]), ("cdflow", [0, 0])]);
}
