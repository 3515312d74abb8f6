//! Deploys wait in a queue: no document, example or scaffold shows a concurrency group in which
//! GitHub cancels a deploy, be it a running or a waiting one.

use crate::support::in_repository;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Parts of the commands that change an environment.
const DEPLOYS: [&str; 5] = ["deploy", "destroy", "rollback", "preview up", "preview reap"];

/// A step of cdflow, and whether it changes an environment.
fn changes(step: &Value) -> Option<bool> {
    let uses = step["uses"].as_str().unwrap_or_default();
    let script = step["run"].as_str().unwrap_or_default();
    let command = step["with"]["command"].as_str().unwrap_or(script);
    let is_ours = uses.contains("cdflow") || script.contains("cdflow ");
    let is_plan = step["with"]["plan-only"] == true || script.contains("--plan-only");
    is_ours.then(|| !is_plan && DEPLOYS.iter().any(|it| command.contains(it)))
}

/// Adds the steps below a part of a workflow.
fn steps<'w>(part: &'w Value, found: &mut Vec<&'w Value>) {
    match part {
        Value::Object(fields) => {
            found.extend(fields.get("steps").and_then(Value::as_array).into_iter().flatten());
            fields.values().for_each(|field| steps(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| steps(item, found)),
        _ => {}
    }
}

/// Whether the group is one of deploys. In a part of a workflow without any step of cdflow, it is.
fn is_of_deploys(part: &Value) -> bool {
    let mut found = Vec::new();
    steps(part, &mut found);
    let ours: Vec<bool> = found.into_iter().filter_map(changes).collect();
    ours.is_empty() || ours.contains(&true)
}

/// How many concurrency groups of deploys there are, and what is wrong with them.
#[derive(Default, Debug, PartialEq)]
struct Groups {
    count: usize,
    wrong: Vec<String>,
}

fn judge(part: &Value, groups: &mut Groups) {
    match part {
        Value::Object(fields) => {
            if let Some(group) = fields.get("concurrency").filter(|_| is_of_deploys(part)) {
                groups.count += 1;
                if group["queue"] != "max" || group["cancel-in-progress"] != false {
                    groups.wrong.push(group.to_string());
                }
            }
            fields.values().for_each(|field| judge(field, groups));
        }
        Value::Array(items) => items.iter().for_each(|item| judge(item, groups)),
        _ => {}
    }
}

/// The jobs that deploy in no group, neither of their own nor of the workflow.
fn without_group(workflow: &Value) -> Vec<&String> {
    let jobs = workflow["jobs"].as_object().into_iter().flatten();
    let deploys = jobs.filter(|(_, job)| {
        let steps = job["steps"].as_array().into_iter().flatten();
        steps.filter_map(changes).any(|it| it)
    });
    let is_alone = |job: &Value| {
        [&job["concurrency"], &workflow["concurrency"]].iter().all(|group| group.is_null())
    };
    deploys.filter(|(_, job)| is_alone(job)).map(|(name, _)| name).collect()
}

/// The YAML of a page. In a list, a block is indented.
fn blocks(page: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None::<(usize, bool, String)>);
    for line in page.lines() {
        let text = line.trim_start();
        match (text.strip_prefix("```"), open.as_mut()) {
            (Some(language), None) => {
                let is_yaml = ["yaml", "yml"].contains(&language.trim());
                open = Some((line.len() - text.len(), is_yaml, String::new()));
            }
            (Some(_), Some(_)) => {
                found.extend(open.take().filter(|(_, wanted, _)| *wanted).map(|(.., text)| text))
            }
            (None, Some((indent, _, block))) => {
                *block += &format!("{}\n", line.get(*indent..).unwrap_or_default());
            }
            (None, None) => {}
        }
    }
    found
}

fn files(folders: &[&str], endings: &[&str]) -> Vec<(PathBuf, String)> {
    let entries = folders.iter().flat_map(|it| walkdir::WalkDir::new(in_repository(it)));
    let paths = entries.map(|it| it.unwrap().into_path()).filter(|path| {
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        path.is_file() && endings.contains(&extension)
    });
    paths.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

fn parse(name: &str, text: &str) -> Value {
    // What `init` replaces.
    let text = text.replace("@ENVIRONMENTS@", "ci, live").replace('@', "");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}:\n{text}"))
}

#[test]
fn every_shown_deploy_waits_in_a_queue() {
    let mut groups = Groups::default();
    for (path, page) in files(&["README.md", "docs", "examples"], &["md"]) {
        let name = path.display().to_string();
        for block in blocks(&page) {
            let mut own = Groups::default();
            judge(&parse(&name, &block), &mut own);
            assert_eq!(own.wrong, [""; 0], "{name}");
            groups.count += own.count;
        }
    }
    assert!(groups.count >= 2, "{groups:?}");
    let workflows = files(&["examples/workflows", "src/commands/init/templates"], &["yml"]);
    let workflows: Vec<_> = workflows.into_iter().filter(|(_, it)| it.contains("jobs:")).collect();
    assert!(workflows.len() >= 10, "{workflows:?}");
    for (path, text) in workflows {
        let (name, mut own) = (path.display().to_string(), Groups::default());
        let workflow = parse(&name, &text);
        judge(&workflow, &mut own);
        assert_eq!(own.wrong, [""; 0], "{name}");
        assert_eq!(without_group(&workflow), Vec::<&String>::new(), "{name}");
    }
}

#[test]
fn the_wrong_groups_are_found() {
    let of = |group: &str, command: &str| {
        let step = format!("uses: org/cdflow-action@v1, with: {command}");
        let text = format!("concurrency: {group}\njobs: {{ a: {{ steps: [{{ {step} }}] }} }}\n");
        let mut groups = Groups::default();
        judge(&parse("x", &text), &mut groups);
        (groups.count, groups.wrong.len())
    };
    let deploy = "{ command: deploy }";
    assert_eq!(of("{ group: a, cancel-in-progress: false, queue: max }", deploy), (1, 0));
    let plan = "{ command: deploy, plan-only: true }";
    for wrong in [
        "live",
        "{ group: a, cancel-in-progress: false }",
        "{ group: a, cancel-in-progress: true, queue: max }",
        "{ group: a, queue: single, cancel-in-progress: false }",
    ] {
        assert_eq!(of(wrong, deploy), (1, 1), "{wrong}");
        assert_eq!(of(wrong, plan), (0, 0), "{wrong}");
    }
    let alone = parse("x", "jobs: { a: { steps: [{ run: cdflow rollback live }] } }");
    assert_eq!(without_group(&alone), ["a"]);
    let mut groups = Groups::default();
    judge(&parse("x", "concurrency: { group: a, cancel-in-progress: true }"), &mut groups);
    assert_eq!((groups.count, groups.wrong.len()), (1, 1));
}
