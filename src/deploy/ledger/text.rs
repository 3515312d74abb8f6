//! Ledger entries as text, for `status` and `history`.

use super::entry::{Action, Entry, Start};
use crate::base::{
    printable,
    table::{Cell, Screen},
};

/// The most characters of a person's name in a row of a terminal.
const LONGEST_ACTOR: usize = 20;

/// Returns "run 3 (deploy of 1 by ada https://…, started 2026-11-20 10:00Z)".
pub(crate) fn run(start: &Start) -> String {
    let action = phrase(start);
    let by = match (&start.actor, &start.run_url) {
        (Some(actor), Some(url)) => format!(" by {actor} {url}"),
        (Some(one), None) | (None, Some(one)) => format!(" by {one}"),
        (None, None) => String::new(),
    };
    let time = start.started.strftime("%Y-%m-%d %H:%MZ");
    printable::line(&format!("run {} ({action}{by}, started {time})", start.number))
}

/// Returns what a run did, such as "deploy of 1".
pub(crate) fn phrase(start: &Start) -> String {
    match start.action {
        Action::Deploy if start.rollback => format!("rollback to {}", start.version),
        Action::Deploy => format!("deploy of {}", start.version),
        Action::Destroy => "destroy".to_owned(),
        Action::Refresh => "refresh".to_owned(),
        Action::Other => "action of a newer cdflow".to_owned(),
    }
}

/// Returns the command of a run in one word.
pub(crate) fn command(start: &Start) -> &'static str {
    match start.action {
        Action::Deploy if start.rollback => "rollback",
        Action::Deploy => "deploy",
        Action::Destroy => "destroy",
        Action::Refresh => "refresh",
        Action::Other => "(other)",
    }
}

/// Returns the version; `(in part)` marks a run with targets.
pub(crate) fn version(entry: &Entry) -> String {
    let partly = if entry.start.targets.is_empty() { "" } else { " (in part)" };
    format!("{}{partly}", entry.start.version)
}

/// Returns when the run ended, or else when it started, in UTC.
pub(crate) fn when(entry: &Entry) -> String {
    let time = entry.end.as_ref().map_or(entry.start.started, |end| end.finished);
    time.strftime("%Y-%m-%d %H:%MZ").to_string()
}

/// Returns who started the run, and its URL; on a terminal, a short name that leads to the URL.
pub(crate) fn by(entry: &Entry, screen: Screen) -> Cell {
    let Start { actor, run_url, .. } = &entry.start;
    let is_short = screen.width.is_some();
    let run = run_url.as_deref().map(|url| if is_short { run_name(url) } else { url.to_owned() });
    let actor =
        actor.as_deref().map(|actor| if is_short { short(actor) } else { actor.to_owned() });
    let words = [actor, run];
    let text = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Cell { text, link: run_url.clone().filter(|url| is_short && is_web(url)) }
}

/// Cuts a long name, and the domain of a long address first.
fn short(actor: &str) -> String {
    let is_long = |text: &str| text.chars().count() > LONGEST_ACTOR;
    let name = match actor.split_once('@') {
        Some((name, _)) if is_long(actor) => format!("{name}@…"),
        _ => actor.to_owned(),
    };
    match is_long(&name) {
        true => format!("{}…", name.chars().take(LONGEST_ACTOR - 1).collect::<String>()),
        false => name,
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Returns the number of a run in its URL, such as `#42`; a URL without one as it is.
fn run_name(url: &str) -> String {
    let parts: Vec<&str> = url.split(['/', '#', '?']).skip(3).collect();
    let is_number = |part: &&&str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let mut named = parts.windows(2).filter(|pair| {
        ["runs", "jobs", "builds", "pipelines"].contains(&pair[0]) && is_number(&&pair[1])
    });
    let named = named.next().map(|pair| &pair[1]);
    match named.or_else(|| parts.iter().rev().find(is_number)) {
        Some(number) => format!("#{number}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_short_on_a_terminal() {
        for (actor, shown) in [
            ("ada", "ada"),
            ("ada@example.com", "ada@example.com"),
            ("ada.lovelace@engineering.example.com", "ada.lovelace@…"),
            ("augusta.ada.king.lovelace@example.com", "augusta.ada.king.lo…"),
            ("renovate-of-the-platform[bot]", "renovate-of-the-pla…"),
        ] {
            assert_eq!(short(actor), shown);
            assert!(shown.chars().count() <= LONGEST_ACTOR);
        }
    }

    #[test]
    fn the_number_of_a_run() {
        for (url, name) in [
            ("https://github.com/o/r/actions/runs/123/attempts/2", "#123"),
            ("https://gitlab.com/g/p2/-/jobs/77", "#77"),
            ("https://buildkite.com/o/p/builds/9#018f", "#9"),
            ("https://jenkins.example/job/shop/12/", "#12"),
            ("https://ci.example/x", "https://ci.example/x"),
            ("https://10", "https://10"),
        ] {
            assert_eq!(run_name(url), name);
        }
    }
}
