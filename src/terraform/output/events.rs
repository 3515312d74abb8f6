//! `terraform apply -json`, rendered for people; and what was under way when it ended.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;

use super::diagnostics::Diagnostic;

/// No words of Terraform are as long as this; the rest of a cut event is.
const LONG: usize = 64 * 1024;
/// A trace (TF_LOG) may have millions of lines.
const WORDS_KEPT: usize = 200;

/// Follows the events of one apply.
#[derive(Default)]
pub(crate) struct ApplyProgress {
    /// Address to what is being done with it: started, not ended.
    in_flight: BTreeMap<String, String>,
    /// Each diagnostic once, as text: also for the judgement of a failure.
    diagnostics: Vec<String>,
    /// Those that name a line of code.
    pub(crate) findings: Vec<Diagnostic>,
    /// The last words that were no events.
    words: VecDeque<String>,
    color: bool,
}

#[derive(Deserialize)]
struct ApplyEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "@message", default)]
    message: String,
    hook: Option<EventHook>,
    diagnostic: Option<DiagnosticJson>,
}

#[derive(Deserialize)]
struct EventHook {
    resource: Option<EventResource>,
    #[serde(default)]
    action: String,
    provisioner: Option<String>,
    output: Option<String>,
}

#[derive(Deserialize)]
struct EventResource {
    addr: String,
}

#[derive(Deserialize)]
struct DiagnosticJson {
    severity: String,
    summary: String,
    #[serde(default)]
    detail: String,
    address: Option<String>,
    range: Option<SourceRange>,
}

#[derive(Deserialize)]
struct SourceRange {
    filename: String,
    start: SourcePosition,
}

#[derive(Deserialize)]
struct SourcePosition {
    line: u64,
    #[serde(default)]
    column: u64,
}

impl ApplyProgress {
    pub(crate) fn new(color: bool) -> Self {
        Self { color, ..Self::default() }
    }

    /// What to show for one line of output; None for what people need not see.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        // Not every word of Terraform is JSON: an early crash, a plugin's panic.
        let Ok(event) = serde_json::from_str::<ApplyEvent>(line) else {
            // An event that was cut because of its length: what it holds is shown elsewhere.
            if line.starts_with("{\"@level\"") || line.len() > LONG {
                return None;
            }
            if self.words.len() == WORDS_KEPT {
                self.words.pop_front();
            }
            self.words.push_back(line.to_owned());
            return Some(line.to_owned());
        };
        match event.kind.as_str() {
            "apply_start" => {
                let hook = event.hook?;
                self.in_flight.insert(hook.resource?.addr, hook.action);
                Some(event.message)
            }
            "apply_complete" => {
                self.in_flight.remove(&event.hook?.resource?.addr);
                Some(self.paint("32", &event.message))
            }
            "apply_errored" => {
                self.in_flight.remove(&event.hook?.resource?.addr);
                Some(self.paint("31", &event.message))
            }
            "provision_progress" => {
                let hook = event.hook?;
                Some(format!("{} ({}): {}", hook.resource?.addr, hook.provisioner?, hook.output?))
            }
            "apply_progress" | "provision_start" | "provision_complete" | "provision_errored" => {
                Some(event.message)
            }
            "diagnostic" => self.diagnostic(&event.diagnostic?),
            "log" => Some(event.message),
            // version, planned_change, change_summary, outputs, refresh_*: said elsewhere.
            _ => None,
        }
    }

    /// What went wrong, in Terraform's words.
    pub(crate) fn diagnostics(&self) -> Vec<String> {
        self.diagnostics.iter().chain(&self.words).cloned().collect()
    }

    /// Addresses whose change was started and neither completed nor failed: the provider may have done it all the same.
    pub(crate) fn in_flight(&self) -> Vec<String> {
        self.in_flight.iter().map(|(address, action)| format!("{address} ({action})")).collect()
    }

    fn diagnostic(&mut self, diagnostic: &DiagnosticJson) -> Option<String> {
        let text = diagnostic.text();
        if self.diagnostics.contains(&text) {
            return None;
        }
        self.diagnostics.push(text.clone());
        self.findings.extend(diagnostic.finding());
        let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let color = if diagnostic.severity == "error" { "31" } else { "33" };
        Some(format!(
            "{}{}{rest}",
            self.paint(color, title),
            if rest.is_empty() { "" } else { "\n" }
        ))
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

impl DiagnosticJson {
    fn finding(&self) -> Option<Diagnostic> {
        let range = self.range.as_ref()?;
        Some(Diagnostic {
            is_error: self.severity == "error",
            title: self.summary.clone(),
            detail: self.detail.clone(),
            file: range.filename.clone(),
            line: range.start.line,
            column: range.start.column,
        })
    }

    fn text(&self) -> String {
        let severity = if self.severity == "error" { "Error" } else { "Warning" };
        let mut text = format!("{severity}: {}", self.summary);
        if let Some(address) = &self.address {
            text.push_str(&format!("\n  with {address}"));
        }
        if let Some(range) = &self.range {
            text.push_str(&format!("\n  on {} line {}", range.filename, range.start.line));
        }
        for line in self.detail.lines() {
            text.push_str(&format!("\n  {line}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, rest: &str) -> String {
        format!(r#"{{"@level":"info","@message":"m","type":"{kind}"{rest}}}"#)
    }

    #[test]
    fn what_has_started_and_not_ended_is_in_flight() {
        let mut applying = ApplyProgress::new(false);
        let hook = |address: &str| {
            format!(r#","hook":{{"resource":{{"addr":"{address}"}},"action":"create"}}"#)
        };
        for address in ["a.a", "b.b", "c.c"] {
            assert_eq!(applying.line(&event("apply_start", &hook(address))).as_deref(), Some("m"));
        }
        applying.line(&event("apply_complete", &hook("a.a")));
        applying.line(&event("apply_errored", &hook("c.c")));
        assert_eq!(applying.in_flight(), ["b.b (create)"]);
    }

    #[test]
    fn a_diagnostic_is_shown_once() {
        let mut applying = ApplyProgress::new(false);
        let line = event(
            "diagnostic",
            r#","diagnostic":{"severity":"error","summary":"no","detail":"one\ntwo","address":"a.a","range":{"filename":"main.tf","start":{"line":3,"column":1,"byte":2}}}"#,
        );
        assert_eq!(
            applying.line(&line).as_deref(),
            Some("Error: no\n  with a.a\n  on main.tf line 3\n  one\n  two")
        );
        assert_eq!(applying.line(&line), None);
    }

    #[test]
    fn words_that_are_no_events_are_passed_on() {
        let mut applying = ApplyProgress::new(false);
        assert_eq!(applying.line("panic: x").as_deref(), Some("panic: x"));
        assert_eq!(applying.line(&event("outputs", "")), None);
    }
}
