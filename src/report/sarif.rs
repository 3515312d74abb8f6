//! Findings in SARIF 2.1, the format of code scanners, as a list.

use serde::Deserialize;

use super::markdown::{code, words};

/// How many findings are shown.
const SHOWN: usize = 30;
/// In characters, of one message.
const MESSAGE: usize = 300;

#[derive(Debug, Deserialize)]
struct Log {
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    #[serde(default)]
    results: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    rule_id: Option<String>,
    level: Option<String>,
    message: Message,
    #[serde(default)]
    locations: Vec<Location>,
}

#[derive(Debug, Deserialize)]
struct Message {
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Option<Physical>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Option<Artifact>,
    region: Option<Region>,
}

#[derive(Debug, Deserialize)]
struct Artifact {
    uri: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: Option<u64>,
}

/// Returns the findings; None if the text is not SARIF.
pub(super) fn findings(text: &str) -> Option<Vec<Finding>> {
    let log: Log = serde_json::from_str(text).ok()?;
    Some(log.runs.into_iter().flat_map(|run| run.results).collect())
}

/// Lists findings, errors first.
pub(super) fn list(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|it| {
        ["error", "warning"].iter().position(|one| level(it) == *one).unwrap_or(2)
    });
    let lines = sorted.iter().take(SHOWN).map(|it| line(it));
    let mut shown: Vec<String> = lines.collect();
    if findings.len() > SHOWN {
        shown.push(format!("- and {} more", findings.len() - SHOWN));
    }
    match shown.is_empty() {
        true => "no findings".to_owned(),
        false => shown.join("\n"),
    }
}

/// SARIF's default is `warning`.
fn level(finding: &Finding) -> &str {
    finding.level.as_deref().unwrap_or("warning")
}

fn line(finding: &Finding) -> String {
    let rule =
        finding.rule_id.as_deref().map_or_else(String::new, |rule| format!(" {}", code(rule)));
    let message: String =
        finding.message.text.as_deref().unwrap_or_default().chars().take(MESSAGE).collect();
    let place = finding.locations.first().and_then(place);
    let place = place.map_or_else(String::new, |place| format!(" ({})", code(&place)));
    format!("- **{}**{rule}: {}{place}", words(level(finding)), words(&message))
}

fn place(location: &Location) -> Option<String> {
    let physical = location.physical_location.as_ref()?;
    let file = physical.artifact_location.as_ref()?.uri.as_deref()?;
    Some(match physical.region.as_ref().and_then(|region| region.start_line) {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_checkov_writes_it() {
        let text = r#"{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "Checkov"}},
            "results": [
              {"ruleId": "CKV_AWS_21", "level": "warning", "message": {"text": "versioning <b>"}},
              {"ruleId": "CKV_AWS_18", "level": "error", "message": {"text": "no log"},
               "locations": [{"physicalLocation": {"artifactLocation": {"uri": "infra/main.tf"},
                 "region": {"startLine": 3}}}]}]}]}"#;
        let shown = list(&findings(text).unwrap());
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "- **error** `CKV_AWS_18`: no log (`infra/main.tf:3`)");
        assert!(lines[1].starts_with("- **warning** `CKV_AWS_21`: versioning"), "{shown}");
        assert!(!shown.contains("<b>"), "{shown}");
        assert_eq!(list(&findings(r#"{"runs": [{"results": []}]}"#).unwrap()), "no findings");
        for other in ["# Report", "{}", "[]", "5"] {
            assert!(findings(other).is_none(), "{other}");
        }
    }
}
