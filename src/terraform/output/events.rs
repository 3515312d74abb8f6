//! Renders the events of `terraform apply -json`, and keeps the changes that did not end.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    by_address::ByAddress,
    diagnostics::Diagnostic,
    json_diagnostics::DiagnosticJson,
    unknown::{BegunChange, ChangeEnd, is_open},
};
use crate::base::process::JsonLines;

/// What each event begins with: Terraform sorts the keys.
const EVENT: &str = "{\"@level\"";
/// The lines of events. One of them, with Terraform's message about the state that it could neither
/// save nor write to a file, contains that state.
pub(crate) const EVENTS: JsonLines = JsonLines {
    beginning: EVENT,
    long_beginning: "{\"@level\":\"info\",\"@message\":\"Emergency state dump\"",
    longest: 256 << 20,
};
/// The number of other lines that are kept: a trace (`TF_LOG`) can have millions.
const MAX_OTHER_LINES: usize = 200;

/// Follows the events of one apply.
#[derive(Default)]
pub(crate) struct ApplyProgress {
    /// The changes that have started, in that order.
    changes: Vec<StartedChange>,
    /// The positions of those that have not ended, by address.
    open: HashMap<String, Vec<usize>>,
    /// The text of each diagnostic, without duplicates.
    diagnostics: Vec<String>,
    known: HashSet<String>,
    /// The errors that name an address.
    errors: Vec<ChangeError>,
    /// The diagnostics that name a line of code.
    pub(crate) located: Vec<Diagnostic>,
    /// The last lines that were not events.
    other_lines: VecDeque<String>,
    /// A state that Terraform could neither save nor write to a file.
    pub(crate) printed_state: Option<PrintedState>,
    color: bool,
}

/// A state in the output of Terraform.
pub(crate) enum PrintedState {
    Whole(Box<RawValue>),
    /// It is larger than the longest event.
    TooLarge,
}

/// An error that names an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeError {
    pub(crate) address: String,
    /// The summary and the details.
    pub(crate) message: String,
    /// As the log shows it.
    text: String,
}

#[cfg(test)]
impl ChangeError {
    pub(super) fn new(address: &str, message: &str) -> Self {
        let [address, message, text] = [address, message, message].map(str::to_owned);
        Self { address, message, text }
    }
}

struct StartedChange {
    address: String,
    /// The ID of the object that exists.
    id: Option<String>,
    kind: String,
    action: String,
    /// A provisioner has started.
    is_provisioning: bool,
    ended: Option<Ended>,
}

enum Ended {
    Made { id: Option<String> },
    Errored,
}

#[derive(Deserialize)]
struct ApplyEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "@message", default)]
    message: String,
    hook: Option<EventHook>,
    diagnostic: Option<DiagnosticJson>,
    state: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct EventHook {
    resource: Option<EventResource>,
    #[serde(default)]
    action: String,
    id_value: Option<String>,
    provisioner: Option<String>,
    output: Option<String>,
}

#[derive(Deserialize)]
struct EventResource {
    addr: String,
    #[serde(default)]
    resource_type: String,
}

impl ApplyProgress {
    pub(crate) fn new(color: bool) -> Self {
        Self { color, ..Self::default() }
    }

    /// Returns what to show for one line of output, or None.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        // Not every line is JSON: an early crash, a plugin's panic.
        let Ok(event) = serde_json::from_str::<ApplyEvent>(line) else {
            // An event that was cut because of its length repeats what is shown otherwise.
            if line.starts_with(EVENTS.long_beginning) {
                self.printed_state.get_or_insert(PrintedState::TooLarge);
            }
            if line.starts_with(EVENT) {
                return None;
            }
            if self.other_lines.len() == MAX_OTHER_LINES {
                self.other_lines.pop_front();
            }
            self.other_lines.push_back(line.to_owned());
            return Some(line.to_owned());
        };
        match event.kind.as_str() {
            "apply_start" => {
                let hook = event.hook?;
                let EventResource { addr: address, resource_type: kind } = hook.resource?;
                let id = hook.id_value.filter(|id| !id.is_empty());
                let (action, is_provisioning, ended) = (hook.action, false, None);
                let change = StartedChange { address, id, kind, action, is_provisioning, ended };
                let open = self.open.entry(change.address.clone()).or_default();
                open.push(self.changes.len());
                self.changes.push(change);
                Some(event.message)
            }
            "apply_complete" => {
                let hook = event.hook?;
                let id = hook.id_value.filter(|id| !id.is_empty());
                self.ended(&hook.resource?.addr, &hook.action, Ended::Made { id });
                Some(self.paint("32", &event.message))
            }
            "apply_errored" => {
                let hook = event.hook?;
                self.ended(&hook.resource?.addr, &hook.action, Ended::Errored);
                Some(self.paint("31", &event.message))
            }
            "provision_progress" => {
                let hook = event.hook?;
                Some(format!("{} ({}): {}", hook.resource?.addr, hook.provisioner?, hook.output?))
            }
            "provision_start" => {
                self.provisions(&event.hook?.resource?.addr);
                Some(event.message)
            }
            "apply_progress" | "provision_complete" | "provision_errored" => Some(event.message),
            "diagnostic" => self.diagnostic(&event.diagnostic?),
            "log" => match event.state {
                // Terraform prints one: another is not Terraform's.
                Some(state) if line.starts_with(EVENTS.long_beginning) => {
                    self.printed_state.get_or_insert(PrintedState::Whole(state));
                    None
                }
                _ => Some(event.message),
            },
            // version, planned_change, change_summary, outputs, refresh_*: shown otherwise.
            _ => None,
        }
    }

    /// Returns the diagnostics and the lines that were not events, for the error of a failed apply.
    pub(crate) fn diagnostics(&self) -> Vec<String> {
        self.diagnostics.iter().chain(&self.other_lines).cloned().collect()
    }

    /// Returns the changes that started, and how each ended by the provider's answers.
    /// `was_stopped`: Terraform did not end by itself.
    pub(crate) fn begun(&self, was_stopped: bool) -> Vec<BegunChange> {
        let errors = ByAddress::of(&self.errors, |error| &error.address);
        let has_answer = |address: &str| {
            let errors = errors.at(address).iter().map(|it| it.text.as_str());
            !is_open(&errors.collect::<Vec<_>>(), was_stopped)
        };
        let begun = |change: &StartedChange| BegunChange {
            address: change.address.clone(),
            id: change.id.clone(),
            kind: change.kind.clone(),
            action: change.action.clone(),
            end: match &change.ended {
                Some(Ended::Made { id }) => ChangeEnd::Made { id: id.clone() },
                Some(Ended::Errored) if has_answer(&change.address) => ChangeEnd::Failed,
                // Terraform reports the end of a change after its last provisioner.
                None if change.is_provisioning => ChangeEnd::Provisioning,
                Some(Ended::Errored) | None => ChangeEnd::Unknown,
            },
        };
        // Data sources are read, which changes nothing.
        let changes = self.changes.iter().filter(|it| !["read", "noop"].contains(&&*it.action));
        changes.map(begun).collect()
    }

    /// Returns the errors that name an address.
    pub(crate) fn errors(&self) -> &[ChangeError] {
        &self.errors
    }

    fn provisions(&mut self, address: &str) {
        let first = self.open.get(address).and_then(|open| open.first());
        if let Some(change) = first.and_then(|at| self.changes.get_mut(*at)) {
            change.is_provisioning = true;
        }
    }

    fn ended(&mut self, address: &str, action: &str, how: Ended) {
        let Some(open) = self.open.get_mut(address) else { return };
        let is_it = |at: &usize| self.changes.get(*at).is_some_and(|it| it.action == action);
        let Some(position) = open.iter().position(is_it) else { return };
        if let Some(change) = self.changes.get_mut(open.remove(position)) {
            change.ended = Some(how);
        }
    }

    fn diagnostic(&mut self, diagnostic: &DiagnosticJson) -> Option<String> {
        let text = diagnostic.text();
        if !self.known.insert(text.clone()) {
            return None;
        }
        self.diagnostics.push(text.clone());
        if diagnostic.is_error()
            && let Some(address) = &diagnostic.address
        {
            let (address, message) = (address.clone(), diagnostic.message());
            self.errors.push(ChangeError { address, message, text: text.clone() });
        }
        self.located.extend(diagnostic.located());
        let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let color = if diagnostic.is_error() { "31" } else { "33" };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, rest: &str) -> String {
        format!(r#"{{"@level":"info","@message":"m","type":"{kind}"{rest}}}"#)
    }

    #[test]
    fn a_change_is_made_or_failed_or_unknown() {
        let mut applying = ApplyProgress::new(false);
        let hook = |address: &str, action: &str| {
            format!(
                r#","hook":{{"resource":{{"addr":"{address}","resource_type":"a"}},
                    "action":"{action}","id_key":"id","id_value":"i"}}"#
            )
            .replace('\n', "")
        };
        let all = ["a.made", "a.open", "a.refused", "a.lost", "a.silent"];
        for address in all {
            let shown = applying.line(&event("apply_start", &hook(address, "create")));
            assert_eq!(shown.as_deref(), Some("m"));
        }
        // A replacement has two changes at one address.
        applying.line(&event("apply_start", &hook("a.made", "delete")));
        applying.line(&event("apply_complete", &hook("a.made", "create")));
        for address in &all[2..] {
            applying.line(&event("apply_errored", &hook(address, "create")));
        }
        for (address, text) in [
            ("a.refused", "api error AccessDenied"),
            ("a.lost", "StatusCode: 0, canceled, context canceled"),
        ] {
            applying.line(&event(
                "diagnostic",
                &format!(
                    r#","diagnostic":{{"severity":"error","summary":"no","detail":"{text}","address":"{address}"}}"#
                ),
            ));
        }
        let ends = |was_stopped| -> Vec<ChangeEnd> {
            applying.begun(was_stopped).into_iter().map(|it| it.end).collect()
        };
        let made = ChangeEnd::Made { id: Some("i".to_owned()) };
        let (open, failed) = (ChangeEnd::Unknown, ChangeEnd::Failed);
        let expected = |silent: &ChangeEnd| {
            [&made, &open, &failed, &open, silent, &open].map(Clone::clone).to_vec()
        };
        assert_eq!(ends(true), expected(&open));
        assert_eq!(ends(false), expected(&failed));
    }

    #[test]
    fn provisioners_of_a_change_that_did_not_end() {
        let mut applying = ApplyProgress::new(false);
        let hook = |address: &str, rest: &str| {
            format!(r#","hook":{{"resource":{{"addr":"{address}","resource_type":"a"}}{rest}}}"#)
        };
        let (action, exec) = (r#","action":"create""#, r#","provisioner":"local-exec""#);
        for address in ["a.done", "a.killed", "a.plain"] {
            applying.line(&event("apply_start", &hook(address, action)));
        }
        for address in ["a.done", "a.killed"] {
            let shown = applying.line(&event("provision_start", &hook(address, exec)));
            assert_eq!(shown.as_deref(), Some("m"));
            applying.line(&event("provision_complete", &hook(address, exec)));
        }
        applying.line(&event("apply_complete", &hook("a.done", action)));
        let ends: Vec<ChangeEnd> = applying.begun(true).into_iter().map(|it| it.end).collect();
        let done = ChangeEnd::Made { id: None };
        assert_eq!(ends, [done, ChangeEnd::Provisioning, ChangeEnd::Unknown]);
    }

    #[test]
    fn a_diagnostic_is_shown_once() {
        let mut applying = ApplyProgress::new(false);
        let line = event(
            "diagnostic",
            r#","diagnostic":{"severity":"error","summary":"no","detail":"one\ntwo",
                "address":"a.a",
                "range":{"filename":"main.tf","start":{"line":3,"column":1,"byte":2}}}"#,
        );
        assert_eq!(
            applying.line(&line).as_deref(),
            Some("Error: no\n  with a.a\n  on main.tf line 3\n  one\n  two")
        );
        assert_eq!(applying.line(&line), None);
    }

    #[test]
    fn a_printed_state_is_kept_and_not_shown() {
        let mut applying = ApplyProgress::new(false);
        let begin = format!("{}{}", EVENTS.long_beginning, r#","state":{"version":4,"serial":"#);
        let event = |serial: &str| format!("{begin}{serial}}},\"type\":\"log\"}}");
        for line in [&event("1.50"), &begin, &event("2")] {
            assert_eq!(applying.line(line), None);
        }
        let mut cut = ApplyProgress::new(false);
        assert_eq!(cut.line(&begin), None);
        assert!(matches!(cut.printed_state, Some(PrintedState::TooLarge)));
        let Some(PrintedState::Whole(state)) = applying.printed_state else { panic!("no state") };
        assert_eq!(state.get(), r#"{"version":4,"serial":1.50}"#);
    }

    #[test]
    fn lines_that_are_not_events_are_shown() {
        let mut applying = ApplyProgress::new(false);
        assert_eq!(applying.line("panic: x").as_deref(), Some("panic: x"));
        assert_eq!(applying.line(&event("outputs", "")), None);
    }
}
