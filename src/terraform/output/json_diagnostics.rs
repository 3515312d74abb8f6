//! Terraform's diagnostics as JSON, from `apply -json` and `validate -json`.

use serde::Deserialize;

use super::{diagnostics::Diagnostic, located::CodeNames};

#[derive(Deserialize)]
pub(crate) struct DiagnosticJson {
    severity: String,
    summary: String,
    #[serde(default)]
    detail: String,
    pub(super) address: Option<String>,
    range: Option<SourceRange>,
    snippet: Option<Snippet>,
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

/// The lines of code that a diagnostic is about.
#[derive(Deserialize)]
struct Snippet {
    /// Such as `output "url"`.
    context: Option<String>,
    code: String,
    start_line: u64,
}

/// What `validate -json` prints.
#[derive(Deserialize)]
struct Validation {
    diagnostics: Vec<DiagnosticJson>,
}

/// Parses the output of `validate -json`; None if it is something else, such as a panic.
pub(crate) fn of_validation(text: &str) -> Option<Vec<DiagnosticJson>> {
    Some(serde_json::from_str::<Validation>(text).ok()?.diagnostics)
}

/// Returns diagnostics as Terraform prints them, with the code, and with the names of files in the
/// checkout. Similar warnings are shown once.
pub(crate) fn shown(
    diagnostics: &[DiagnosticJson],
    names: &CodeNames<'_>,
    color: bool,
) -> Vec<String> {
    let is_similar = |one: &DiagnosticJson, other: &DiagnosticJson| {
        !one.is_error() && !other.is_error() && one.summary == other.summary
    };
    let mut texts = Vec::new();
    for (at, it) in diagnostics.iter().enumerate() {
        if diagnostics[..at].iter().any(|before| is_similar(before, it)) {
            continue;
        }
        let text = it.shown(names, color);
        texts.push(
            match diagnostics[at + 1..].iter().filter(|after| is_similar(it, after)).count() {
                0 => text,
                1 => format!("{text}\n\n(and 1 more similar warning)"),
                more => format!("{text}\n\n(and {more} more similar warnings)"),
            },
        );
    }
    texts
}

impl DiagnosticJson {
    pub(crate) fn located(&self) -> Option<Diagnostic> {
        let range = self.range.as_ref()?;
        Some(Diagnostic {
            is_error: self.is_error(),
            title: self.summary.clone(),
            detail: self.detail.clone(),
            file: range.filename.clone(),
            line: range.start.line,
            column: range.start.column,
        })
    }

    pub(super) fn is_error(&self) -> bool {
        self.severity == "error"
    }

    pub(super) fn message(&self) -> String {
        match self.detail.trim() {
            "" => self.summary.clone(),
            detail => format!("{}: {detail}", self.summary),
        }
    }

    pub(super) fn title(&self) -> String {
        let severity = if self.is_error() { "Error" } else { "Warning" };
        format!("{severity}: {}", self.summary)
    }

    pub(super) fn text(&self) -> String {
        let mut text = self.title();
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

    fn shown(&self, names: &CodeNames<'_>, color: bool) -> String {
        let title = self.title();
        let code = if self.is_error() { "31" } else { "33" };
        let mut text =
            if color { format!("\u{1b}[{code}m{title}\u{1b}[0m\n") } else { format!("{title}\n") };
        if let Some(address) = &self.address {
            text.push_str(&format!("\n  with {address},"));
        }
        if let Some(SourceRange { filename, start }) = &self.range {
            let context = self.snippet.as_ref().and_then(|it| it.context.as_ref());
            let context = context.map(|it| format!(", in {it}")).unwrap_or_default();
            let file = names.of(filename);
            text.push_str(&format!("\n  on {file} line {}{context}:", start.line));
        }
        if let Some(Snippet { code, start_line, .. }) = &self.snippet {
            for (line, number) in code.lines().zip(*start_line..) {
                text.push_str(&format!("\n{number:>4}: {line}"));
            }
        }
        match self.detail.trim() {
            "" => text,
            detail => format!("{}\n\n{detail}", text.trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_diagnostic_is_shown_as_terraform_does() {
        let names =
            CodeNames { infra: Path::new("/tmp/copy/app/infra"), root: Path::new("/tmp/copy") };
        let document = r#"{"format_version": "1.0", "valid": false, "diagnostics": [{
            "severity": "error", "summary": "Unsupported argument",
            "detail": "An argument named \"nope\" is not expected here.",
            "range": {"filename": "../../lib/x.tf", "start": {"line": 9, "column": 2, "byte": 3}},
            "snippet": {"context": "module \"l\"", "code": "  nope = [\n    1]", "start_line": 9}
        }, {"severity": "warning", "summary": "Deprecated", "address": "a.b"},
        {"severity": "warning", "summary": "Deprecated", "address": "a.c"}]}"#;
        let found = of_validation(document).unwrap();
        let texts = shown(&found, &names, false);
        assert_eq!(
            texts[0],
            "Error: Unsupported argument\n\n  on lib/x.tf line 9, in module \"l\":\n   9:   nope \
             = [\n  10:     1]\n\nAn argument named \"nope\" is not expected here."
        );
        let warning = "Warning: Deprecated\n\n  with a.b,\n\n(and 1 more similar warning)";
        assert_eq!(texts[1..], [warning]);
        let text = &shown(&found, &names, true)[0];
        assert!(text.starts_with("\u{1b}[31mError: Unsupported argument\u{1b}[0m\n\n"), "{text}");
        assert!(of_validation("panic: x").is_none());
    }
}
