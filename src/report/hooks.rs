//! What the hooks of a run said, as data and as Markdown.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    markdown::{counted, cut_lines, fence, html, words},
    sarif,
};

/// In bytes, of one hook. Its file and the log can have more.
const SHOWN: usize = 6_000;

/// The end of one hook, as redacted text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "hook")]
pub(crate) struct HookReport {
    /// Its name.
    pub(crate) name: String,
    /// When it ran.
    pub(crate) stage: HookStage,
    /// Whether it ended with exit code 0.
    pub(crate) passed: bool,
    /// Whether a failure is only reported.
    pub(crate) advisory: bool,
    /// Null: it did not run to its end.
    pub(crate) exit_code: Option<i32>,
    /// Why it did not pass. Null: it passed.
    pub(crate) message: Option<String>,
    /// What it wrote for the report: Markdown or SARIF. Null: nothing.
    pub(crate) report: Option<String>,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum HookStage {
    OnPlan,
    AfterApply,
}

impl HookStage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OnPlan => "on-plan",
            Self::AfterApply => "after-apply",
        }
    }
}

/// Returns a line for each hook, and what each wrote, folded.
pub(super) fn show(hooks: &[HookReport], place: &str) -> String {
    if hooks.is_empty() {
        return String::new();
    }
    let is_refused = hooks.iter().any(|hook| !hook.passed && !hook.advisory);
    let kind = match (is_refused, hooks.iter().all(|hook| hook.passed)) {
        (true, _) => "CAUTION",
        (false, false) => "WARNING",
        (false, true) => "NOTE",
    };
    let head = counted(hooks.len(), "hook");
    let lines: String = hooks.iter().map(line).collect();
    let details = hooks.iter().filter_map(details);
    let details: String = details.map(|it| format!("\n\n{it}")).collect();
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    format!("> [!{kind}]\n> {place}{head}{lines}{details}")
}

fn line(hook: &HookReport) -> String {
    let name = words(&hook.name);
    match (&hook.message, hook.advisory) {
        (None, _) => format!("\n> - ✓ {name}"),
        (Some(why), true) => format!("\n> - ⚠ {name}, advisory: {}", words(why)),
        (Some(why), false) => format!("\n> - ✗ {name}: {}", words(why)),
    }
}

fn details(hook: &HookReport) -> Option<String> {
    let text = hook.report.as_deref().filter(|text| !text.trim().is_empty())?;
    let shown = match sarif::findings(text) {
        Some(findings) => sarif::list(&findings),
        // Its own Markdown could look like a part of the comment, and mention people.
        None => fence("markdown", &cut_lines(text.trim_end(), SHOWN)),
    };
    let name = html(&hook.name);
    Some(format!("<details><summary>{name}</summary>\n\n{shown}\n\n</details>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(name: &str, message: Option<&str>, advisory: bool, report: Option<&str>) -> HookReport {
        HookReport {
            name: name.to_owned(),
            stage: HookStage::OnPlan,
            passed: message.is_none(),
            advisory,
            exit_code: Some(i32::from(message.is_some())),
            message: message.map(str::to_owned),
            report: report.map(str::to_owned),
        }
    }

    #[test]
    fn lines_and_details() {
        assert_eq!(show(&[], "x"), "");
        let passed = [hook("lint", None, false, None)];
        assert_eq!(show(&passed, "shop → live"), "> [!NOTE]\n> shop → live: 1 hook\n> - ✓ lint");
        let all = [
            hook("lint", None, false, Some("```\n@team <b>\n<!-- cdflow:changes -->\n")),
            hook("cost", Some("exit code 2"), true, None),
            hook("policy", Some("exit code 1"), false, None),
        ];
        let shown = show(&all, "");
        let begin = "> [!CAUTION]\n> 3 hooks\n> - ✓ lint\n> - ⚠ cost, advisory: exit code 2\n> - ✗ \
                     policy: exit code 1\n\n<details><summary>lint</summary>\n\n````markdown\n\
                     ```\n";
        assert!(shown.starts_with(begin), "{shown}");
        assert!(!shown.contains("<!-- cdflow"), "{shown}");
        assert!(show(&all[..2], "").starts_with("> [!WARNING]"));
        let long = hook("long", None, false, Some(&"a line of text\n".repeat(10_000)));
        assert!(show(&[long], "").len() < SHOWN + 500);
    }
}
