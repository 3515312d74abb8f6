//! The pages of `status` and `preview reap` for the job summary: tables of environments.

use jiff::Timestamp;

use super::markdown::{capital, code_cell, counted, html, link, time, words};

/// The most environments in the picture. A larger one is not readable.
const DRAWN: usize = 40;
/// With fewer environments or versions, the table says the same.
const WORTH_DRAWING: (usize, usize) = (3, 2);
/// Colors that are readable in GitHub's light and dark themes.
const BEHIND: &str = "  classDef behind fill:#fff8c5,stroke:#9a6700,color:#1f2328\n";
const LEGEND: &str = "Left: releases. Right: the environments that run them. Yellow and _behind_: \
                      an environment with an older release than another one.\n";
const COMMITS: &str =
    "_Commits behind_: how many commits of the checkout the deployed one lacks.\n";

/// The results of `preview reap`, in the order in which they are counted.
const RESULTS: [&str; 5] = ["destroyed", "would be destroyed", "kept", "skipped", "not destroyed"];

/// What is deployed in an environment, as the ledger and the checkout know it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deployed {
    pub(crate) environment: String,
    pub(crate) is_preview: bool,
    pub(crate) version: Option<String>,
    /// The commit of the version.
    pub(crate) commit: Option<String>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) actor: Option<String>,
    pub(crate) run_url: Option<String>,
    pub(crate) pull_request: Option<u64>,
    /// When a preview expires if it is not deployed to again.
    pub(crate) expires: Option<Timestamp>,
    /// None if the checkout does not have the commit.
    pub(crate) commits_behind: Option<u64>,
    /// The environments with a release that was published later.
    pub(crate) behind: Vec<String>,
    /// The newest later run, if it did not succeed.
    pub(crate) last_try: Option<String>,
    /// Which pull request holds it.
    pub(crate) held: Option<String>,
}

/// What `preview reap` did with a preview.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaped {
    pub(crate) preview: Deployed,
    /// One of [`RESULTS`].
    pub(crate) result: &'static str,
    pub(crate) why: String,
}

/// Returns the page of `status`.
pub(crate) fn status(component: &str, all: &[Deployed]) -> String {
    let mut page = format!("## {}: deployed versions\n\n", html(component));
    let (previews, lasting): (Vec<&Deployed>, Vec<&Deployed>) =
        all.iter().partition(|it| it.is_preview);
    if all.is_empty() {
        return page + "Nothing.\n";
    }
    page.push_str(&format!("{}\n", totals(&lasting, &previews)));
    if !lasting.is_empty() {
        page.push_str(&format!("\n{}", table(&columns("Environment", &lasting))));
    }
    if is_worth_drawing(&lasting) {
        page.push_str(&format!("\n{}\n{LEGEND}", picture(&lasting)));
    }
    if !previews.is_empty() {
        page.push_str(&format!("\n### Previews\n\n{}", table(&columns("Preview", &previews))));
    }
    page + &legend_of_commits(all.iter())
}

/// Returns the page of `preview reap`.
pub(crate) fn reap(component: &str, all: &[Reaped]) -> String {
    let count = |result: &str| all.iter().filter(|it| it.result == result).count();
    let counts = RESULTS.map(|result| (count(result), result)).into_iter();
    let counts: Vec<String> = counts
        .filter(|(count, _)| *count > 0)
        .map(|(count, result)| format!("{count} {result}"))
        .collect();
    let previews: Vec<&Deployed> = all.iter().map(|it| &it.preview).collect();
    let mut columns = columns("Preview", &previews);
    let of = |text: fn(&Reaped) -> String| all.iter().map(text).collect::<Vec<_>>();
    columns.insert(1, ("Result", of(|it| format!("**{}**", words(&capital(it.result))))));
    columns.insert(2, ("Why", of(|it| words(it.why.lines().next().unwrap_or_default()))));
    format!(
        "## {}: previews\n\n{}: {}.\n\n{}{}",
        html(component),
        counted(all.len(), "preview"),
        counts.join(", "),
        table(&columns),
        legend_of_commits(previews.into_iter())
    )
}

fn totals(lasting: &[&Deployed], previews: &[&Deployed]) -> String {
    let mut parts = Vec::new();
    if !lasting.is_empty() {
        parts.push(counted(lasting.len(), "environment"));
    }
    if !previews.is_empty() {
        parts.push(counted(previews.len(), "preview"));
    }
    let count = |is: fn(&&&Deployed) -> bool| lasting.iter().chain(previews).filter(is).count();
    let behind = count(|it| !it.behind.is_empty());
    let failed = count(|it| it.last_try.is_some());
    let mut text = parts.join(" and ");
    if behind > 0 {
        text.push_str(&format!("; {behind} behind another environment"));
    }
    if failed > 0 {
        text.push_str(&format!("; {failed} with a later run that did not succeed"));
    }
    text + "."
}

fn is_worth_drawing(lasting: &[&Deployed]) -> bool {
    let (environments, versions) = WORTH_DRAWING;
    versions_of(lasting).len() >= versions && lasting.len() >= environments
}

fn versions_of<'a>(lasting: &[&'a Deployed]) -> Vec<&'a str> {
    let mut versions: Vec<&str> = lasting.iter().filter_map(|it| it.version.as_deref()).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// Draws the releases and their environments. Names and versions have no character with a meaning
/// in Mermaid.
fn picture(lasting: &[&Deployed]) -> String {
    let shown = &lasting[..lasting.len().min(DRAWN)];
    let versions = versions_of(shown);
    let mut picture = "```mermaid\nflowchart LR\n".to_owned();
    for (number, it) in shown.iter().enumerate() {
        let Some(version) = &it.version else { continue };
        let at = versions.iter().position(|known| known == version).unwrap_or_default();
        let (note, class) = match it.behind.is_empty() {
            true => ("", ""),
            false => (": behind", ":::behind"),
        };
        picture.push_str(&format!(
            "  r{at}[\"{version}\"] --> e{number}([\"{}{note}\"]){class}\n",
            it.environment
        ));
    }
    picture + BEHIND + "```\n"
}

type Column = (&'static str, Vec<String>);

fn columns(first: &'static str, all: &[&Deployed]) -> Vec<Column> {
    let of = |cell: fn(&Deployed) -> String| all.iter().map(|it| cell(it)).collect::<Vec<_>>();
    let date = |at: Option<Timestamp>| at.map(time).unwrap_or_default();
    vec![
        (first, of(|it| format!("**{}**", words(&it.environment)))),
        ("Version", of(|it| it.version.as_deref().map(code_cell).unwrap_or_default())),
        ("Deployed", all.iter().map(|it| date(it.at)).collect()),
        ("By", of(by)),
        ("Pull request", of(pull_request)),
        ("Expires", all.iter().map(|it| date(it.expires)).collect()),
        ("Commits behind", of(|it| it.commits_behind.map(|it| it.to_string()).unwrap_or_default())),
        ("Note", of(note)),
    ]
}

/// Returns the table without its empty columns.
fn table(columns: &[Column]) -> String {
    let shown: Vec<&Column> =
        columns.iter().filter(|(_, cells)| cells.iter().any(|it| !it.is_empty())).collect();
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut table = line(shown.iter().map(|(name, _)| *name).collect());
    table.push_str(&format!("|{}\n", ":--|".repeat(shown.len())));
    let rows = shown.first().map_or(0, |(_, cells)| cells.len());
    for row in 0..rows {
        let cells = shown.iter().filter_map(|(_, cells)| cells.get(row).map(String::as_str));
        table.push_str(&line(cells.collect()));
    }
    table
}

/// Returns who deployed, with a link to the run.
fn by(it: &Deployed) -> String {
    match (&it.actor, &it.run_url) {
        (Some(actor), url) => link(&words(actor), url.as_deref()),
        (None, Some(url)) => link("run", Some(url)),
        (None, None) => String::new(),
    }
}

fn pull_request(it: &Deployed) -> String {
    let Some(number) = it.pull_request else { return String::new() };
    let run = it.run_url.as_deref().and_then(|url| url.split_once("/actions/runs/"));
    let url = run.map(|(repository, _)| format!("{repository}/pull/{number}"));
    link(&words(&format!("#{number}")), url.as_deref())
}

fn note(it: &Deployed) -> String {
    let behind = (!it.behind.is_empty()).then(|| format!("behind {}", it.behind.join(", ")));
    let parts: Vec<String> = [behind, it.last_try.clone(), it.held.clone()]
        .into_iter()
        .flatten()
        .map(|part| words(&part))
        .collect();
    parts.join("; ")
}

fn legend_of_commits<'a>(mut all: impl Iterator<Item = &'a Deployed>) -> String {
    match all.any(|it| it.commits_behind.is_some()) {
        true => format!("\n{COMMITS}"),
        false => String::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn deployed(environment: &str, version: &str, hour: u32) -> Deployed {
        Deployed {
            environment: environment.to_owned(),
            version: Some(version.to_owned()),
            at: Some(format!("2026-11-21T{hour:02}:00:00Z").parse().unwrap()),
            actor: Some("ada".to_owned()),
            run_url: Some("https://github.com/acme/checkout/actions/runs/9876543210".to_owned()),
            ..Deployed::default()
        }
    }

    fn preview(number: u64, expires: Option<&str>) -> Deployed {
        Deployed {
            is_preview: true,
            pull_request: Some(number),
            expires: expires.map(|at| at.parse().unwrap()),
            commits_behind: Some(number % 7),
            ..deployed(&format!("pr-{number}"), &format!("pr-{number}-a1b2c3d"), 9)
        }
    }

    /// Returns a sample of the page of `status`.
    pub(in crate::report) fn status_page() -> String {
        let behind = vec!["ci (42-a1b2c3d)".to_owned(), "aslive (42-a1b2c3d)".to_owned()];
        let all = [
            Deployed { commits_behind: Some(0), ..deployed("ci", "42-a1b2c3d", 12) },
            Deployed { commits_behind: Some(0), ..deployed("aslive", "42-a1b2c3d", 13) },
            Deployed {
                behind,
                commits_behind: Some(4),
                last_try: Some("deploy of 42-a1b2c3d failed".to_owned()),
                ..deployed("live", "41-9e8d7c6", 8)
            },
            preview(123, Some("2026-11-24T09:00:00Z")),
            preview(124, Some("2026-11-24T09:00:00Z")),
        ];
        status("checkout", &all)
    }

    /// Returns a sample of the page of `preview reap`.
    pub(in crate::report) fn reap_page() -> String {
        let of = |number, result, why: &str, expires| {
            let preview = preview(number, expires);
            Reaped { preview, result, why: why.to_owned() }
        };
        let open = "its pull request is open";
        reap(
            "checkout",
            &[
                of(123, "kept", open, Some("2026-11-24T09:00:00Z")),
                of(119, "kept", "the label `keep-preview` keeps it", None),
                of(117, "destroyed", "its pull request is merged", None),
                of(116, "destroyed", "its pull request is closed", None),
                of(115, "destroyed", "it was not deployed to for 3d", None),
                of(111, "skipped", "locked by another run", None),
            ],
        )
    }

    fn plain(page: &str) -> String {
        page.replace(['\\', '\u{200b}'], "")
    }

    #[test]
    fn a_picture_is_drawn_if_it_says_more_than_the_table() {
        let of = |versions: &[&str]| {
            let all: Vec<Deployed> = versions
                .iter()
                .enumerate()
                .map(|(at, version)| deployed(&format!("e{at}"), version, 1))
                .collect();
            status("a", &all)
        };
        for versions in [["1", "2"].as_slice(), &["1"], &["1", "1", "1", "1"]] {
            let page = of(versions);
            assert!(!page.contains("mermaid") && !page.contains("Yellow"), "{page}");
        }
        let page = of(&["1", "2", "1"]);
        assert!(page.contains("  r0[\"1\"] --> e2([\"e2\"])\n") && page.contains(LEGEND), "{page}");
        assert_eq!(status("a", &[]), "## a: deployed versions\n\nNothing.\n");
    }

    #[test]
    fn the_pages_say_who_when_and_how_far_behind() {
        let page = plain(&status_page());
        for text in [
            "3 environments and 2 previews; 1 behind another environment; 1 with a later run that \
             did not succeed.",
            "| **live** | `41-9e8d7c6` | 2026-11-21 08:00 UTC | \
             [ada](https://github.com/acme/checkout/actions/runs/9876543210) | 4 | \
             behind ci (42-a1b2c3d), aslive (42-a1b2c3d); deploy of 42-a1b2c3d failed |\n",
            "[\"live: behind\"]):::behind",
            "[#124](https://github.com/acme/checkout/pull/124) | 2026-11-24 09:00 UTC | 5 |\n",
            COMMITS,
        ] {
            assert!(page.contains(text), "no {text}: {page}");
        }
        let page = plain(&reap_page());
        for text in [
            "6 previews: 3 destroyed, 2 kept, 1 skipped.\n",
            "| **pr-123** | **Kept** | its pull request is open | `pr-123-a1b2c3d` |",
            " | 2026-11-24 09:00 UTC | 4 |\n",
        ] {
            assert!(page.contains(text), "no {text}: {page}");
        }
    }

    #[test]
    fn text_from_outside_has_no_effect() {
        let it = Deployed {
            actor: Some("@team | <script>".to_owned()),
            run_url: Some("javascript:x".to_owned()),
            last_try: Some("a | b\n# c".to_owned()),
            pull_request: Some(7),
            ..deployed("live", "1|2", 1)
        };
        let why = "a | b\nsecond".to_owned();
        let reaped = Reaped { preview: it.clone(), result: "not destroyed", why };
        for page in [status("a", &[it]), reap("a", &[reaped])] {
            let row = page.lines().find(|line| line.contains("**live**")).unwrap();
            let head = page.lines().find(|line| line.contains("| Version |")).unwrap();
            let bars = |line: &str| line.replace("\\|", "").matches('|').count();
            assert_eq!(bars(row), bars(head), "{page}");
            assert!(!page.contains("@team") && !page.contains("<script"), "{page}");
            assert!(!page.contains("](javascript"), "{page}");
        }
    }
}
