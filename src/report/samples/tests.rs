//! The test of the Markdown of sample reports against tests/fixtures/report/.

use std::{fs, path::Path};

use super::*;
use crate::report::{
    PLAN_BEFORE, check,
    comment::{
        render::render,
        rows::{self, Row, Rows},
    },
    pages, summary,
};

/// Returns the comment that has the rows of these reports.
fn comment(reports: &[Report]) -> String {
    let rows = reports.iter().filter_map(Row::of).fold(Rows::default(), rows::merge);
    render(&rows, rows::LIMIT)
}

fn many() -> Vec<Report> {
    let preview = Report {
        environment: Some("pr-123".to_owned()),
        context: report_context("pr-123"),
        ..deployed()
    };
    let search = Report { component: Some("search".to_owned()), ..unchanged() };
    vec![
        small_plan(),
        unchanged(),
        preview,
        Report {
            environment: Some("aslive".to_owned()),
            context: report_context("aslive"),
            unknown_changes: vec![UnknownChange {
                import_id: Some("https://sqs.eu-west-1.amazonaws.com/111111111111/orders".into()),
                ..unknown("aws_sqs_queue.orders")
            }],
            ..failed()
        },
        search,
    ]
}

/// Returns twelve components in one environment: some with the same changes, most without.
fn twelve() -> Vec<Report> {
    let names = [
        "accounts", "billing", "cart", "checkout", "emails", "fraud", "orders", "payments",
        "reports", "search", "stock", "users",
    ];
    let of = |name: &&str| {
        let report = match *name {
            "orders" => Report { environment: Some("live".to_owned()), ..large_plan(14, 6) },
            "checkout" => small_plan(),
            "billing" | "cart" => Report {
                version: Some("42-a1b2c3d".to_owned()),
                outcome: Outcome::Planned,
                ..preview_plan()
            },
            _ => unchanged(),
        };
        Report {
            component: Some((*name).to_owned()),
            environment: Some("live".to_owned()),
            terraform_outputs: BTreeMap::new(),
            environment_url: None,
            preview: None,
            context: report_context("live"),
            ..report
        }
    };
    names.iter().map(of).collect()
}

fn report_context(environment: &str) -> RunContext {
    report("deploy", environment, Outcome::Planned).context
}

/// Returns two plans of one row: the second, for a newer commit, destroys less.
fn since_last_plan() -> [Report; 2] {
    let mut earlier = small_plan();
    earlier.version = Some("41-0d1e2f3".to_owned());
    earlier.run = Some(RunRef { id: 9_876_543_000, attempt: 1, url: None });
    let mut later = small_plan();
    let plan = later.plan.as_mut().unwrap();
    plan.resources.retain(|it| it.action != ChangeAction::Delete);
    plan.resources[1].diff = plan.resources[1].diff.replace("90", "365");
    plan.counts.destroy -= 1;
    [earlier, later]
}

/// `CDFLOW_TEST_WRITE_FIXTURES=1` updates the fixtures: review the diff, and update `docs/images/`.
#[test]
#[expect(clippy::disallowed_methods, reason = "the environment selects what this test does")]
fn markdown_matches_the_fixtures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/report");
    let is_update = std::env::var_os("CDFLOW_TEST_WRITE_FIXTURES").is_some();
    for (name, made) in [
        ("comment-plan", comment(&[small_plan()])),
        ("comment-large-plan", comment(&[large_plan(60, 24)])),
        ("comment-deployed", comment(&[deployed()])),
        ("comment-failed", comment(&[failed()])),
        ("comment-destroyed", comment(&[destroyed()])),
        ("comment-many", comment(&many())),
        ("comment-preview", comment(&[preview()])),
        ("comment-components", comment(&twelve())),
        ("comment-since", comment(&since_last_plan())),
        ("comment-data-loss", comment(&[data_loss()])),
        ("comment-security", comment(&[security()])),
        ("comment-moved", comment(&[moved()])),
        ("comment-long-values", comment(&[long_values()])),
        ("summary-status", pages::tests::status_page()),
        ("summary-reap", pages::tests::reap_page()),
        ("summary-plan", summary::render(&small_plan(), summary::LIMIT)),
        ("summary-failed", summary::render(&failed(), summary::LIMIT)),
        ("summary-deployed", summary::render(&deployed(), summary::LIMIT)),
        ("summary-refused", summary::render(&refused(), summary::LIMIT)),
        ("check-run", check::tests::page()),
        ("check-run-unaffected", check::tests::unaffected_page()),
    ] {
        let file = folder.join(name).with_extension("md");
        if is_update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &made).unwrap();
        }
        assert_eq!(made, fs::read_to_string(&file).unwrap(), "{name}");
    }
}

/// Returns the text without the folded plan of an apply.
fn without_plan_before(text: &str) -> String {
    let (before, rest) = text.split_once(PLAN_BEFORE).unwrap_or((text, ""));
    let after = rest.split_once("</details>").map_or("", |(_, after)| after);
    format!("{before}{after}")
}

#[test]
fn after_an_apply_nothing_is_in_the_future() {
    let past = [deployed(), failed(), destroyed(), preview()];
    // A plan of which the results are unknown.
    let unknown = [small_plan(), preview_plan()]
        .map(|report| Report { outcome: Outcome::Deployed, ..report });
    for report in past.into_iter().chain(unknown) {
        let outcome = report.outcome;
        let page = summary::render(&report, summary::LIMIT);
        assert!(page.contains(&format!("<summary>{PLAN_BEFORE}</summary>")), "{outcome:?}: {page}");
        assert!(page.contains("will be") || page.contains("must be"), "{outcome:?}: {page}");
        let shown = [without_plan_before(&page), comment(&[report])];
        let future = ["will be", "must be", "to replace", "to destroy,", "to change", "to add"];
        for (text, word) in shown.iter().flat_map(|text| future.map(|word| (text, word))) {
            assert!(!text.contains(word), "{outcome:?}, {word}: {text}");
        }
    }
}

#[test]
fn a_preview_names_its_lifetime() {
    let rendered = |ttl_seconds| {
        let report = preview();
        let lifetime = Lifetime { ttl_seconds, ..report.preview.clone().unwrap() };
        comment(&[Report { preview: Some(lifetime), ..report }])
    };
    assert!(
        rendered(Some(36 * 3600))
            .contains("or 36 hours after its last deploy (about 2026-11-23 00:00 UTC)\n")
    );
    assert!(rendered(Some(24 * 3600)).contains("or 1 day after"));
    assert!(rendered(Some(90)).contains("or 1m 30s after"));
    let endless = rendered(None);
    assert!(
        endless.contains("when the pull request is closed\n") && !endless.contains("keep-preview"),
        "{endless}"
    );
    // A time beyond every calendar.
    assert!(
        rendered(Some(u64::MAX / 4)).contains("To keep it longer")
            && !rendered(Some(u64::MAX / 4)).contains("(about")
    );
    // A destroyed preview has no lifetime.
    let destroyed = comment(&[Report { outcome: Outcome::Destroyed, ..preview() }]);
    assert!(!destroyed.contains("keep-preview"), "{destroyed}");
}
