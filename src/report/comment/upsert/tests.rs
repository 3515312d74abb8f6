//! Many writers of one comment, against a GitHub that answers late, loses answers or holds other
//! comments.

use super::*;
use crate::{
    base::redact::Secret,
    report::{Outcome, PastRun, Report, RunRef, samples},
    services::github::tests::{
        api, api_with,
        double::{Fault, GitHub, TOKEN},
        refusal,
    },
};
use jiff::Timestamp;

const BOT: &str = "github-actions[bot]";

fn github() -> GitHub {
    let github = GitHub::start();
    github.world().pull_request(7, "abc");
    github
}

fn row(environment: &str, run: u64, outcome: Outcome) -> Row {
    let mut report = samples::small_plan();
    report.environment = Some(environment.to_owned());
    report.run = Some(RunRef { id: run, attempt: 1, url: None });
    report.outcome = outcome;
    Row::of(&report).unwrap()
}

async fn put(github: &GitHub, row: &Row) -> Result<Option<String>, String> {
    put_as(github, row, false, &Redactor::default()).await
}

async fn put_with(
    github: &GitHub,
    row: &Row,
    changes_only: bool,
    known: &[Row],
) -> Result<Option<String>, String> {
    let (api, redactor) = (api(github), Redactor::default());
    let place = CommentTarget {
        api: &api,
        pull_request: 7,
        changes_only,
        known: Known { rows: known, ..Known::default() },
        redactor: &redactor,
    };
    upsert(&place, row).await.map_err(|failed| failed.to_string())
}

/// Returns a row from the ledger. `ended` is in seconds since 1970.
fn past(environment: &str, run: u64, outcome: Outcome, ended: Option<i64>) -> Row {
    let past = PastRun {
        environment: environment.to_owned(),
        version: "42-a1b2c3d".to_owned(),
        outcome,
        counts: crate::terraform::output::changes::Counts { add: 2, change: 0, destroy: 1 }.into(),
        run: RunRef {
            id: run,
            attempt: 1,
            url: Some(format!("https://github.com/acme/checkout/actions/runs/{run}")),
        },
        started: Timestamp::UNIX_EPOCH,
        ended: ended.map(|second| Timestamp::from_second(second).unwrap()),
        context: crate::report::RunContext::default(),
    };
    Row::of_past("checkout", &past)
}

async fn put_as(
    github: &GitHub,
    row: &Row,
    changes_only: bool,
    redactor: &Redactor,
) -> Result<Option<String>, String> {
    let api = api(github);
    let place = CommentTarget {
        api: &api,
        pull_request: 7,
        changes_only,
        known: Known::default(),
        redactor,
    };
    upsert(&place, row).await.map_err(|failed| failed.to_string())
}

/// Returns the bodies of the comments that look like cdflow's.
fn bodies(github: &GitHub) -> Vec<String> {
    let world = github.world();
    let all = world.comments.values().filter(|comment| comment.body.contains("<!-- cdflow {"));
    all.map(|comment| comment.body.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_jobs_at_once_make_one_comment_of_twenty_rows() {
    let github = std::sync::Arc::new(github());
    // Between what a job reads and what it writes, others write.
    github.fault("GET /repos/acme/checkout/issues/7/comments", 60, Fault::Late(120));
    let jobs = (0..20).map(|number| {
        let github = github.clone();
        tokio::spawn(async move {
            put(&github, &row(&format!("env-{number}"), 1, Outcome::Planned)).await
        })
    });
    for job in futures_util::future::join_all(jobs).await {
        assert!(job.unwrap().unwrap().unwrap().contains("/pull/7#issuecomment-"));
    }
    let bodies = bodies(&github);
    assert_eq!(bodies.len(), 1);
    for number in 0..20 {
        assert!(
            bodies[0].contains(&format!("**env\\-{number}**")),
            "env-{number} is missing: {}",
            bodies[0]
        );
    }
}

/// Each run announces its apply and then writes its result, with the ledger's rows of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_deploys_at_once_lose_no_row() {
    let github = std::sync::Arc::new(github());
    let other =
        Row::of(&Report { component: Some("search".to_owned()), ..samples::small_plan() }).unwrap();
    put(&github, &other).await.unwrap();
    github.fault("GET /repos/acme/checkout/issues/7/comments", 60, Fault::Late(120));
    let known: Vec<Row> =
        (0..20).map(|number| past(&format!("env-{number}"), 1, Outcome::Applying, None)).collect();
    let known = std::sync::Arc::new(known);
    let jobs = (0..20).map(|number| {
        let (github, known) = (github.clone(), known.clone());
        tokio::spawn(async move {
            let environment = format!("env-{number}");
            let (api, redactor) = (api(&github), Redactor::default());
            let place = CommentTarget {
                api: &api,
                pull_request: 7,
                changes_only: false,
                known: Known::default(),
                redactor: &redactor,
            };
            assert!(announce(&place, &row(&environment, 1, Outcome::Applying)).await.is_ok());
            sleep(Duration::from_secs(3)).await;
            put_with(&github, &row(&environment, 1, Outcome::Deployed), false, &known).await
        })
    });
    for job in futures_util::future::join_all(jobs).await {
        job.unwrap().unwrap().unwrap();
    }
    let bodies = bodies(&github);
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].contains("cdflow: 1 planned, 20 deployed\n"), "{}", bodies[0]);
    assert!(bodies[0].contains("| search |"), "{}", bodies[0]);
}

/// For example, if a matrix has an environment twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_jobs_with_the_same_row_the_last_to_end_wins() {
    let github = std::sync::Arc::new(github());
    put(&github, &row("ci", 1, Outcome::Planned)).await.unwrap();
    let at = |outcome, second: i64| {
        let mut report = samples::small_plan();
        (report.environment, report.run) =
            (Some("live".to_owned()), Some(RunRef { id: 1, attempt: 1, url: None }));
        (report.outcome, report.ended) = (outcome, Some(Timestamp::from_second(second).unwrap()));
        Row::of(&report).unwrap()
    };
    let rows = [at(Outcome::Failed, 100), at(Outcome::Deployed, 102), at(Outcome::Planned, 101)];
    github.fault("GET /repos/acme/checkout/issues/7/comments", 9, Fault::Late(300));
    let jobs = rows.map(|row| {
        let github = github.clone();
        tokio::spawn(async move { put(&github, &row).await })
    });
    let all = futures_util::future::join_all(jobs);
    for job in
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("no endless overwriting")
    {
        job.unwrap().unwrap().unwrap();
    }
    assert!(
        bodies(&github)[0].contains("cdflow: 1 planned, 1 deployed\n"),
        "{}",
        bodies(&github)[0]
    );
    // Without overlap, the later write wins, whatever the clock of its machine says.
    put(&github, &at(Outcome::Destroyed, 50)).await.unwrap();
    assert!(
        bodies(&github)[0].contains("cdflow: 1 planned, 1 destroyed\n"),
        "{}",
        bodies(&github)[0]
    );
}

#[tokio::test]
async fn missing_rows_are_restored_from_the_ledger() {
    let github = github();
    let ours = row("live", 9, Outcome::Deployed);
    let known = [
        past("ci", 8, Outcome::Deployed, Some(200)),
        past("aslive", 9, Outcome::Applying, None),
        past("eu", 7, Outcome::Failed, Some(100)),
        past("us", 7, Outcome::Unfinished, None),
    ];
    put_with(&github, &ours, false, &known).await.unwrap();
    let body = bodies(&github).remove(0);
    let heading = "cdflow: 1 failed, 1 unfinished, 1 applying, 2 deployed\n";
    assert!(
        body.contains(heading)
            && body.contains("(https://github.com/acme/checkout/actions/runs/7)"),
        "{body}"
    );
    let restored = "| ✅ [Deployed](https://github.com/acme/checkout/actions/runs/8) | checkout | \
                    **ci** | 1 destroyed, 2 added | `42-a1b2c3d` |";
    assert!(body.contains(restored), "{body}");
    assert!(body.contains("**did not finish**: apply started at 1970-01-01 00:00 UTC"), "{body}");
    // After the comment was deleted, the next write restores it, without rows that have no changes.
    github.world().comments.clear();
    let nothing = past("us", 9, Outcome::NoChanges, Some(300));
    put_with(&github, &row("zone", 9, Outcome::Deployed), true, &[known[0].clone(), nothing])
        .await
        .unwrap();
    assert!(bodies(&github)[0].contains("cdflow: 2 deployed\n"), "{}", bodies(&github)[0]);
}

#[tokio::test]
async fn a_row_is_updated_and_never_reverted() {
    let at = |run, outcome, second: Option<i64>| {
        let mut report = Report {
            run: Some(RunRef { id: run, attempt: 1, url: None }),
            outcome,
            ..samples::small_plan()
        };
        report.environment = Some("ci".to_owned());
        report.ended = second.map(|second| Timestamp::from_second(second).unwrap());
        Row::of(&report).unwrap()
    };
    let ended = past("ci", 5, Outcome::Deployed, Some(100));
    for (there, known, shows) in [
        // The job died before it wrote its result.
        (at(5, Outcome::Applying, Some(50)), &ended, "deployed"),
        (at(5, Outcome::Planned, Some(50)), &ended, "deployed"),
        (at(4, Outcome::Planned, Some(500)), &ended, "deployed"),
        (
            at(5, Outcome::Applying, Some(50)),
            &past("ci", 5, Outcome::Unfinished, None),
            "unfinished",
        ),
        (
            at(4, Outcome::Deployed, Some(50)),
            &past("ci", 5, Outcome::Unfinished, None),
            "unfinished",
        ),
        // The row in the comment is newer, or has more.
        (
            at(5, Outcome::Deployed, Some(101)),
            &past("ci", 5, Outcome::Failed, Some(100)),
            "deployed",
        ),
        (at(5, Outcome::Planned, Some(101)), &ended, "planned"),
        (at(5, Outcome::Planned, None), &ended, "planned"),
        (at(6, Outcome::Planned, Some(50)), &ended, "planned"),
        (at(5, Outcome::Applying, Some(50)), &past("ci", 5, Outcome::Applying, None), "applying"),
    ] {
        let github = github();
        let alone = render(&merge(Rows::default(), there), LIMIT);
        github.world().comment(7, BOT, &alone);
        put_with(&github, &row("live", 9, Outcome::NoChanges), false, std::slice::from_ref(known))
            .await
            .unwrap();
        let body = bodies(&github).remove(0);
        assert!(body.contains(&format!("cdflow: 1 {shows}, 1 unchanged\n")), "{shows}: {body}");
    }
}

#[tokio::test]
async fn the_applied_plan_stays() {
    let github = github();
    let mut planned = samples::small_plan();
    planned.environment = Some("ci".to_owned());
    put(&github, &Row::of(&planned).unwrap()).await.unwrap();
    let counts = planned.plan.as_ref().unwrap().counts;
    let known = |outcome, ended: Option<i64>| {
        let past = PastRun {
            environment: "ci".to_owned(),
            version: planned.version.clone().unwrap(),
            outcome,
            counts: crate::terraform::output::changes::Counts {
                add: counts.add,
                change: counts.change,
                destroy: counts.destroy,
            }
            .into(),
            run: RunRef { id: 9_999_999_999, attempt: 1, url: None },
            started: Timestamp::UNIX_EPOCH,
            ended: ended.map(|second| Timestamp::from_second(second).unwrap()),
            context: crate::report::RunContext::default(),
        };
        Row::of_past("checkout", &past)
    };
    let live = |run| row("live", run, Outcome::NoChanges);
    for (number, (row, says)) in [
        (known(Outcome::Applying, None), "1 applying"),
        (known(Outcome::Unfinished, None), "1 unfinished"),
        (known(Outcome::Failed, Some(100)), "1 failed"),
        (known(Outcome::Deployed, Some(200)), "1 deployed"),
    ]
    .into_iter()
    .enumerate()
    {
        put_with(&github, &live(number as u64), false, &[row]).await.unwrap();
        let body = bodies(&github).remove(0);
        assert!(body.contains(&format!("cdflow: {says}, 1 unchanged\n")), "{body}");
        assert!(body.matches("# aws_sqs_queue.orders will be created").count() == 2, "{body}");
        assert!(body.matches("Restored from the ledger").count() == 1, "{body}");
        // The plan's alert stays until the apply has succeeded.
        assert_eq!(
            body.matches("`aws_sqs_queue.legacy` will be destroyed").count(),
            if number < 3 { 2 } else { 1 },
            "{body}"
        );
        assert_eq!(body.matches("did not finish**").count(), usize::from(number == 1), "{body}");
    }
    // The text of another plan is not kept.
    let other = past("ci", 99_999_999_999, Outcome::Failed, Some(300));
    put_with(&github, &live(9), false, &[other]).await.unwrap();
    let body = bodies(&github).remove(0);
    assert_eq!(body.matches("# aws_sqs_queue.orders will be created").count(), 1, "{body}");
}

#[tokio::test]
async fn an_announcement_makes_no_comment_and_replaces_no_newer_row() {
    let github = github();
    let (api, redactor) = (api(&github), Redactor::default());
    let place = CommentTarget {
        api: &api,
        pull_request: 7,
        changes_only: false,
        known: Known::default(),
        redactor: &redactor,
    };
    assert!(announce(&place, &row("live", 5, Outcome::Applying)).await.is_ok());
    assert!(bodies(&github).is_empty());
    put(&github, &row("live", 4, Outcome::Planned)).await.unwrap();
    assert!(announce(&place, &row("live", 5, Outcome::Applying)).await.is_ok());
    assert!(bodies(&github)[0].contains("cdflow: applying\n"), "{}", bodies(&github)[0]);
    assert!(announce(&place, &row("live", 3, Outcome::Applying)).await.is_ok());
    assert_eq!(github.exchanges("PATCH").len(), 1);
    // After a slow read, writing could overwrite the rows of others.
    github.fault("GET /repos/acme/checkout/issues/7/comments", 1, Fault::Late(900));
    assert!(announce(&place, &row("live", 6, Outcome::Applying)).await.is_ok());
    assert_eq!(github.exchanges("PATCH").len(), 1);
}

#[tokio::test]
async fn the_comment_is_found_after_hundreds_of_others() {
    let github = github();
    for number in 0..220 {
        github.world().comment(7, "ada", &format!("{number}"));
    }
    put(&github, &row("live", 1, Outcome::Planned)).await.unwrap();
    for number in 0..30 {
        github.world().comment(7, "ada", &format!("{number}"));
    }
    put(&github, &row("live", 1, Outcome::Deployed)).await.unwrap();
    let bodies = bodies(&github);
    assert!(bodies.len() == 1 && bodies[0].contains("cdflow: deployed"), "{bodies:?}");
}

#[tokio::test]
async fn a_deleted_comment_is_created_again() {
    let github = github();
    put(&github, &row("live", 1, Outcome::Planned)).await.unwrap();
    github.world().comments.clear();
    put(&github, &row("live", 2, Outcome::Planned)).await.unwrap();
    assert_eq!(bodies(&github).len(), 1);
    // Between reading and writing.
    github.fault(
        "PATCH ",
        1,
        Fault::Answer { status: 404, headers: Vec::new(), message: "Not Found" },
    );
    put(&github, &row("live", 3, Outcome::Deployed)).await.unwrap();
    assert!(bodies(&github)[0].contains("cdflow: deployed"));
}

#[tokio::test]
async fn a_comment_of_another_user_is_ignored() {
    let github = github();
    let spoofed = render(&merge(Rows::default(), row("live", 99, Outcome::Deployed)), LIMIT);
    let spoof = github.world().comment(7, "mallory", &spoofed);
    put(&github, &row("live", 1, Outcome::Planned)).await.unwrap();
    let world = github.world();
    assert_eq!(world.comments[&spoof].body, spoofed);
    let ours: Vec<_> = world.comments.values().filter(|comment| comment.author == BOT).collect();
    assert!(ours.len() == 1 && ours[0].body.contains("cdflow: planned"), "{ours:?}");
}

#[tokio::test]
async fn duplicates_become_one_and_an_older_run_changes_nothing() {
    let github = github();
    for (environment, run) in [("live", 5), ("ci", 5), ("live", 4)] {
        let rows = merge(Rows::default(), row(environment, run, Outcome::Deployed));
        github.world().comment(7, BOT, &render(&rows, LIMIT));
    }
    put(&github, &row("live", 3, Outcome::Failed)).await.unwrap();
    let bodies = bodies(&github);
    assert!(bodies.len() == 1 && bodies[0].contains("cdflow: 2 deployed"), "{bodies:?}");
}

#[tokio::test]
async fn changes_only_adds_no_row_without_changes() {
    let github = github();
    let put = async |row: &Row| put_as(&github, row, true, &Redactor::default()).await;
    assert_eq!(put(&row("live", 1, Outcome::NoChanges)).await, Ok(None));
    assert!(put(&row("live", 2, Outcome::Planned)).await.unwrap().is_some());
    assert_eq!(put(&row("ci", 2, Outcome::NoChanges)).await, Ok(None));
    assert!(put(&row("live", 3, Outcome::NoChanges)).await.unwrap().is_some());
    assert!(bodies(&github)[0].contains("cdflow: no changes"));
}

#[tokio::test]
async fn a_secret_is_not_posted() {
    let github = github();
    let redactor = Redactor::default();
    redactor.add(&Secret::new("db-5WQ7XK2N"));
    let refused = put_as(&github, &row("live", 1, Outcome::Planned), false, &redactor).await;
    assert!(refused.unwrap_err().contains("it would contain a secret"));
    assert!(github.world().comments.is_empty());
}

#[tokio::test]
async fn a_lost_answer_creates_no_second_comment() {
    let github = github();
    github.fault("POST /repos/acme/checkout/issues/7/comments", 1, Fault::DoneBut502);
    put(&github, &row("live", 1, Outcome::Planned)).await.unwrap();
    assert_eq!(bodies(&github).len(), 1);
    github.world().token(TOKEN, BOT, &[("pull_requests", "read"), ("contents", "read")]);
    let refused = put(&github, &row("live", 2, Outcome::Planned)).await.unwrap_err();
    assert!(refused.contains("pull-requests: write"), "{refused}");
}

/// Writes a row with `token`, whose account GraphQL does not name.
async fn put_as_unnamed(github: &GitHub, token: &str, row: &Row) -> Option<String> {
    github.fault("/graphql", 1, refusal(404, &[], "Not Found"));
    let (api, redactor) = (api_with(github, token).unwrap(), Redactor::default());
    let place = CommentTarget {
        api: &api,
        pull_request: 7,
        changes_only: false,
        known: Known::default(),
        redactor: &redactor,
    };
    upsert(&place, row).await.map_err(|failed| failed.to_string()).unwrap()
}

#[tokio::test]
async fn a_token_of_an_unnamed_account_makes_one_comment() {
    for (account, runs) in [("ada", 3), ("deploy-app[bot]", 1)] {
        let github = github();
        github.world().token("ghp_other", account, &[("pull_requests", "write")]);
        for run in 1..=runs {
            put_as_unnamed(&github, "ghp_other", &row("ci", run, Outcome::Planned)).await.unwrap();
        }
        assert_eq!(bodies(&github).len(), 1, "{account}");
        assert_eq!(posts(&github), 1, "{account}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_that_lags_makes_one_comment() {
    let github = std::sync::Arc::new(github());
    github.world().list_lag = Duration::from_millis(1500);
    let jobs = ["ci", "live"].map(|environment| {
        let github = github.clone();
        tokio::spawn(async move { put(&github, &row(environment, 1, Outcome::Planned)).await })
    });
    for job in jobs {
        assert!(job.await.unwrap().unwrap().is_some());
    }
    // At worst each of the two made one before it could see the other's.
    assert!(posts(&github) <= 2, "{}", posts(&github));
    let bodies = bodies(&github);
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(bodies[0].contains("**ci**") && bodies[0].contains("**live**"), "{}", bodies[0]);
}

/// The answer to the creation is lost, and the list lags, and nothing names the account.
#[tokio::test]
async fn a_lost_answer_and_a_list_that_lags_make_one_comment() {
    let github = github();
    github.world().token("ghp_ada", "ada", &[("pull_requests", "write")]);
    github.world().list_lag = Duration::from_millis(1500);
    github.fault("POST /repos/acme/checkout/issues/7/comments", 1, Fault::DoneBut502);
    put_as_unnamed(&github, "ghp_ada", &row("ci", 1, Outcome::Planned)).await.unwrap();
    assert_eq!((bodies(&github).len(), posts(&github)), (1, 1));
}

/// After a long lag the comment is created again: the run finds both, and leaves one.
#[tokio::test]
async fn a_second_creation_is_merged_into_the_first() {
    let github = std::sync::Arc::new(github());
    github.world().list_lag = Duration::from_secs(600);
    github.fault("POST /repos/acme/checkout/issues/7/comments", 1, Fault::DoneBut502);
    let writer = github.clone();
    let run = tokio::spawn(async move { put(&writer, &row("ci", 1, Outcome::Planned)).await });
    while posts(&github) < 2 {
        sleep(Duration::from_millis(50)).await;
    }
    // The first is listed now, the second is not yet.
    github.world().list_lag = Duration::from_secs(3);
    run.await.unwrap().unwrap();
    assert_eq!((bodies(&github).len(), posts(&github)), (1, 2));
}

fn posts(github: &GitHub) -> usize {
    github.exchanges("POST /repos/acme/checkout/issues/7/comments").len()
}
