//! The table of a comment: one line per row that changes something.

use super::facts::Facts;
use crate::report::{
    markdown::{capital, code_cell, link, words},
    verdict::Verdict,
};

/// `rows` are in the order in which they are shown. The last part replaces the changes of a row
/// that repeats those of a row above.
pub(super) fn table(rows: &[(&Facts, Verdict, Option<String>)]) -> String {
    let mut table =
        "| Verdict | Component | Environment | Changes | Version |\n|:--|:--|:--|:--|:--|"
            .to_owned();
    for (facts, verdict, same) in rows {
        let place = format!("**{}**", words(&facts.environment));
        let environment = link(&place, facts.environment_url.as_deref());
        let changes = match same {
            Some(same) => same.clone(),
            None if facts.changes.is_empty() => "–".to_owned(),
            None => words(&facts.changes),
        };
        table.push_str(&format!(
            "\n| {} | {} | {environment} | {changes} | {} |",
            result(facts, *verdict),
            words(&facts.component),
            code_cell(&facts.version),
        ));
    }
    table
}

/// Returns icon, verdict and outcome. The words say everything without the icon.
fn result(facts: &Facts, verdict: Verdict) -> String {
    let outcome = link(&capital(facts.outcome.word()), facts.url.as_deref());
    match verdict.word() {
        Some(word) => format!("{} **{}** · {outcome}", icon(facts, verdict), capital(word)),
        None => format!("{} {outcome}", icon(facts, verdict)),
    }
}

pub(super) fn icon(facts: &Facts, verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Blocked => "⛔",
        Verdict::Waiting => "⏳",
        Verdict::Review => "⚠️",
        Verdict::Safe => "✅",
        Verdict::Done | Verdict::Unchanged => facts.outcome.icon(),
    }
}
