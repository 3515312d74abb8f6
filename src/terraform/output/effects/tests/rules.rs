//! How two other tools decide whether a plan is still the reviewed one, written from their public
//! source: dflook/terraform-github-actions at bbf40206cab4 (`image/src/github_pr_comment/cmp.py`,
//! `image/tools/compact_plan.py`) and cloudposse/atmos at 0a1cb4480b3d
//! (`internal/exec/terraform_plan_diff_comparison.go`).
//!
//! Both compare whole plans. All pairs are in one plan, so each rule returns what it compares of
//! one pair.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cases::Case;

/// The starts of the first line of a plan: the lines about refreshing are left out.
const FIRST_LINES: [&str; 4] = [
    "Terraform used the selected providers",
    "No changes",
    "Changes to Outputs:",
    "Terraform will perform the following actions:",
];

/// Returns what dflook compares: the text of the plan, without the numbers of unchanged attributes
/// and without the warnings at its end.
pub(super) fn dflook(plan: &str, case: &Case) -> Vec<String> {
    let is_first = |line: &str| FIRST_LINES.iter().any(|first| line.starts_with(first));
    let lines = plan.lines().skip_while(|line| !is_first(line)).filter(|line| !is_hidden(line));
    let mut is_summed_up = false;
    let lines = lines.take_while(|line| {
        let is_warning = line.starts_with("Warning") || line.starts_with('╷');
        let is_end = is_summed_up && is_warning;
        is_summed_up |= is_summary(line);
        !is_end
    });
    let mut found: Vec<String> = parts(lines)
        .into_iter()
        .filter(|(title, _)| case.has(title))
        .map(|(_, lines)| lines.join("\n").trim_end().to_owned())
        .collect();
    found.sort();
    found
}

/// Cuts the text of a plan per resource and output. A part has its address and its lines.
fn parts<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<(&'t str, Vec<String>)> {
    let mut parts: Vec<(&'t str, Vec<String>)> = Vec::new();
    let (mut is_open, mut is_outputs, mut is_after_blank) = (false, false, false);
    for line in lines {
        let after = |starts: &[&str]| starts.iter().find_map(|start| line.strip_prefix(start));
        // The title of a resource that is removed from the state is indented by one space.
        let title = after(&["  # ", " # "]).filter(|_| is_after_blank && !is_outputs);
        let output = after(&["  + ", "  ~ ", "  - "]).filter(|_| is_outputs);
        if let Some(title) = title {
            parts.push((title, vec![line.to_owned()]));
            is_open = true;
        } else if let Some(output) = output {
            // The longest name of all pairs decides how many spaces precede `=`.
            let words: Vec<&str> = line.split_whitespace().collect();
            parts.push((output, vec![words.join(" ")]));
            is_open = true;
        } else if line.starts_with("Changes to Outputs:") {
            (is_open, is_outputs) = (false, true);
        } else if !line.is_empty() && !line.starts_with([' ', '+', '-', '~', '<']) {
            is_open = false;
        } else if let Some((_, lines)) = parts.last_mut().filter(|_| is_open) {
            lines.push(line.to_owned());
        }
        is_after_blank = line.is_empty();
    }
    parts
}

/// Whether `\s+# \(\d+ unchanged attributes hidden\)` matches at the start of a line.
fn is_hidden(line: &str) -> bool {
    let text = line.trim_start();
    text.len() < line.len()
        && after_number(text, "# (")
            .is_some_and(|it| it.starts_with(" unchanged attributes hidden)"))
}

/// Whether `Plan: \d+ to \S+` matches at the start of a line.
fn is_summary(line: &str) -> bool {
    let rest = after_number(line, "Plan: ").and_then(|it| it.strip_prefix(" to "));
    rest.is_some_and(|it| it.starts_with(|char: char| !char.is_whitespace()))
}

/// Returns what follows `prefix` and a number.
fn after_number<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let number = text.strip_prefix(prefix)?;
    let rest = number.trim_start_matches(|char: char| char.is_ascii_digit());
    (rest.len() < number.len()).then_some(rest)
}

/// Returns what Atmos compares: the resources, the outputs and the variables of the plan's JSON.
/// Data sources are left out. A change of a resource is compared as a whole, also what is known
/// only after the apply. The hashes that Atmos skips are not shown, but they are compared.
pub(super) fn atmos<'p>(plan: &'p Value, case: &Case) -> [BTreeMap<&'p str, &'p Value>; 3] {
    let lists = [
        &plan["prior_state"]["values"]["root_module"]["resources"],
        &plan["planned_values"]["root_module"]["resources"],
        &plan["resource_changes"],
    ];
    let mut resources: BTreeMap<&str, &Value> = BTreeMap::new();
    for resource in lists.into_iter().filter_map(|list| list.as_array()).flatten() {
        let address = resource["address"].as_str().unwrap();
        if resource["mode"] != "data" && case.has(address) {
            resources.insert(address, resource);
        }
    }
    let mut outputs: BTreeMap<&str, &Value> = BTreeMap::new();
    for object in [&plan["output_changes"], &plan["planned_values"]["outputs"]] {
        outputs.extend(fields(object).filter(|(name, _)| *name == case.name));
    }
    // A plan of one pair would have only the variables that its code uses.
    let is_used = |name: &str| {
        let variable = format!("var.{name}");
        case.reviewed.contains(&variable) || case.now.contains(&variable)
    };
    let variables = fields(&plan["variables"])
        .filter(|(name, _)| is_used(name))
        .map(|(name, variable)| (name, &variable["value"]))
        .collect();
    [resources, outputs, variables]
}

fn fields(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

#[test]
fn dflook_leaves_out_only_these_lines() {
    for (line, is_left_out) in [
        ("        # (32 unchanged attributes hidden)", true),
        ("        # (1 unchanged attribute hidden)", false),
        ("        # (2 unchanged elements hidden)", false),
        ("# (2 unchanged attributes hidden)", false),
    ] {
        assert_eq!(is_hidden(line), is_left_out, "{line}");
    }
    assert!(is_summary("Plan: 1 to add, 0 to change, 0 to destroy."));
    assert!(is_summary("Plan: 3 to import, 1 to add, 0 to change, 0 to destroy."));
    assert!(!is_summary("Plan: none"));
}
