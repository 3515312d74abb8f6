//! The pull request comment, the way from a plan to it, and the commands in comments.

use super::{halves, text};
use crate::{
    base::redact::{Redactor, Secret},
    cli::comment::{CommentCommand, CommentVerb},
    report::{
        Outcome, Report,
        comment::{
            render::render,
            rows::{LIMIT, Row, Rows, merge, parse},
        },
        plan::PlanReport,
    },
    terraform::output::{
        changes::{ChangeAction, Changes},
        plan_text::PlanText,
    },
};

/// What is read from any text is written so that it is read again, and a comment keeps its limit.
pub fn comment(bytes: &[u8]) {
    let Some(rows) = parse(&text(bytes)) else { return };
    assert_eq!(parse(&render(&rows, usize::MAX)), Some(rows.clone()));
    let ours = row("app", "live", PlanReport::default());
    let merged = merge(rows, ours.clone());
    assert!(merged.has(&ours));
    let comment = render(&merged, LIMIT);
    assert!(comment.len() <= LIMIT, "{} bytes", comment.len());
    assert!(parse(&comment).is_some());
}

/// What is accepted is one line of plain characters and exactly the command that is shown; what is
/// refused is shown without control characters.
pub fn comment_command(bytes: &[u8]) {
    let body = text(bytes);
    let command = match CommentCommand::parse(&body) {
        None => return,
        Some(Ok(command)) => command,
        Some(Err(why)) => return assert!(!why.contains(char::is_control), "{why:?}"),
    };
    let shown = command.to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || " /-".contains(char);
    assert!(shown.chars().all(is_plain), "{shown:?}");
    assert!(body.split_ascii_whitespace().eq(shown.split(' ')), "{body:?} is not {shown:?}");
    assert!(command.lock.is_none() || command.verb == CommentVerb::Unlock);
    assert_eq!(CommentCommand::parse(&shown), Some(Ok(command)));
}

/// A plan's words cannot change the rows of the comment, every loss is counted, and no sensitive
/// value is in the report.
pub fn plan(bytes: &[u8]) {
    let text = text(bytes);
    let (json, printed) = halves(&text);
    let Ok(changes) = Changes::parse(&mut json.as_bytes()) else { return };
    let mut shown = PlanText::default();
    printed.lines().for_each(|line| shown.push(line));
    let redactor = Redactor::default();
    for secret in &changes.sensitive {
        redactor.add(secret);
    }
    let plan = PlanReport::of(&changes, &shown, true, &[], &redactor);
    let is_loss = |action| matches!(action, ChangeAction::Replace | ChangeAction::Delete);
    let lost = changes.resources.iter().filter(|change| is_loss(change.action)).count();
    assert_eq!(plan.losses().count(), lost);
    assert_eq!(plan.counts.destroy, lost);
    let hidden = changes.sensitive.iter().map(Secret::expose);
    // Other values could be made by the report's own indentation.
    let is_word =
        |value: &&str| value.len() >= 8 && value.bytes().all(|it| it.is_ascii_alphanumeric());
    for value in hidden.filter(is_word) {
        let parts = plan.resources.iter().flat_map(|it| [&it.address, &it.title, &it.diff]);
        assert!(!parts.chain([&plan.outputs, &plan.text]).any(|part| part.contains(value)));
    }
    let rows = merge(Rows::default(), row("app", "live", plan));
    let comment = render(&rows, LIMIT);
    assert!(comment.len() <= LIMIT, "{} bytes", comment.len());
    assert_eq!(parse(&comment), Some(rows));
}

fn row(component: &str, environment: &str, plan: PlanReport) -> Row {
    let report = Report {
        component: Some(component.to_owned()),
        environment: Some(environment.to_owned()),
        version: Some("1".to_owned()),
        outcome: Outcome::Planned,
        plan: Some(plan),
        ..Report::default()
    };
    Row::of(&report).expect("a row")
}
