//! The API against the double of the integration tests.

#[allow(unreachable_pub, reason = "it is part of another crate as well")]
#[path = "../../../tests/integration/support/github/mod.rs"]
pub(crate) mod double;

use double::{Fault, GitHub, TOKEN};
use serde_json::json;

use super::{
    Api, GitHubError, GitHubErrorKind, NewDeployment, NewRelease, NewStatus, Pace, RepositoryFile,
    Status, code_owners::SIZE_LIMIT,
};
use crate::base::{
    interrupt::Interrupt,
    log::Log,
    process_env::ProcessEnv,
    redact::{Redactor, Secret},
};

pub(crate) fn api_with(github: &GitHub, token: &str) -> Result<Api, GitHubError> {
    let variables = github.env().into_iter().map(|(name, value)| (name.into(), value.into()));
    let environment = ProcessEnv::new(variables);
    let log = Log::new(Redactor::default(), 0, true, false);
    Api::new(
        &environment,
        Some(&Secret::new(token)),
        "acme/checkout".parse().unwrap(),
        log,
        Pace::new(Interrupt::never()),
    )
}

pub(crate) fn api(github: &GitHub) -> Api {
    api_with(github, TOKEN).unwrap()
}

pub(crate) fn refusal(
    status: u16,
    headers: &[(&'static str, &str)],
    message: &'static str,
) -> Fault {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Fault::Answer { status, headers, message }
}

fn deployment(
    environment: &str,
    is_transient: bool,
    payload: serde_json::Value,
) -> NewDeployment<'_> {
    NewDeployment { git_ref: "main", environment, is_transient, is_production: false, payload }
}

#[tokio::test]
async fn the_life_of_a_comment() {
    let github = GitHub::start();
    github.world().pull_request(7, "abc");
    github.world().comment(7, "ada", "Nice");
    let api = api(&github);
    github.fault("/graphql", 1, refusal(404, &[], "Not Found"));
    assert_eq!(api.me().await.unwrap(), "github-actions[bot]");
    github.world().token("ghp_ada", "ada", &[]);
    assert_eq!(api_with(&github, "ghp_ada").unwrap().me().await.unwrap(), "ada");
    let me = api.me().await.unwrap();
    let ours = api.create_comment(7, "One", &me).await.unwrap();
    assert!(
        ours.author_is_bot
            && ours.author_login == me
            && ours.html_url.contains("/pull/7#issuecomment-")
    );
    assert_eq!(api.update_comment(ours.id, "Two").await.unwrap().body, "Two");
    let all = api.comments(7).await.unwrap();
    assert_eq!(
        all.iter().map(|it| (it.author_login.as_str(), it.body.as_str())).collect::<Vec<_>>(),
        [("ada", "Nice"), ("github-actions[bot]", "Two")]
    );
    api.delete_comment(ours.id).await.unwrap();
    api.delete_comment(ours.id).await.unwrap();
    assert_eq!(api.comments(7).await.unwrap().len(), 1);
}

#[tokio::test]
async fn all_pages_also_below_a_path() {
    let github = GitHub::with_prefix("/api/v3");
    github.world().pull_request(7, "abc");
    for number in 0..250 {
        github.world().comment(7, "ada", &number.to_string());
    }
    let comments = api(&github).comments(7).await.unwrap();
    assert_eq!((comments.len(), comments[249].body.as_str()), (250, "249"));
    assert_eq!(github.exchanges("GET /repos/acme/checkout/issues/7/comments").len(), 3);
}

#[tokio::test]
async fn the_open_pull_requests_on_all_pages() {
    let github = GitHub::start();
    for number in 1..=230 {
        github.world().pull_request(number, "abc").is_open = number % 10 != 0;
    }
    let open = api(&github).open_pull_requests().await.unwrap();
    assert_eq!(open, (1..=230).filter(|number| number % 10 != 0).collect::<Vec<_>>());
    assert_eq!(github.exchanges("GET /repos/acme/checkout/pulls?state=open").len(), 3);
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_not_written_twice() {
    let github = GitHub::start();
    github.world().pull_request(7, "abc");
    let api = api(&github);
    github.fault("POST /repos/acme/checkout/issues/7/comments", 1, Fault::DoneBut502);
    let ours = api.create_comment(7, "One", "github-actions[bot]").await.unwrap();
    assert_eq!(github.world().comments.len(), 1);
    assert_eq!(github.world().comments[&ours.id].body, "One");
    // And one that never came into being is written after all.
    github.fault("POST /repos/acme/checkout/issues/7/comments", 1, Fault::HangUp);
    api.create_comment(7, "Two", "github-actions[bot]").await.unwrap();
    assert_eq!(github.world().comments.len(), 2);
}

#[tokio::test]
async fn reads_are_repeated_and_writes_are_not() {
    let github = GitHub::start();
    github.world().pull_request(7, "abc");
    let api = api(&github);
    github.fault("GET /repos/acme/checkout/pulls/7", 1, refusal(503, &[], "Unavailable"));
    github.fault("GET /repos/acme/checkout/pulls/7", 1, Fault::HangUp);
    assert_eq!(api.pull_request(7).await.unwrap().head.sha, "abc");
    github.fault("POST /repos/acme/checkout/deployments", 1, refusal(500, &[], "Oops"));
    let trouble = api
        .create_deployment(deployment("live", false, json!({ "run": "7.1" })))
        .await
        .unwrap_err();
    assert_eq!((trouble.kind, github.exchanges("POST").len()), (GitHubErrorKind::Unavailable, 1));
}

#[tokio::test]
async fn limits_are_waited_for_but_not_for_ever() {
    let github = GitHub::start();
    github.world().pull_request(7, "abc");
    let api = api(&github);
    let started = std::time::Instant::now();
    github.fault("POST", 1, refusal(429, &[("retry-after", "1")], "Slow down"));
    api.create_comment(7, "One", "github-actions[bot]").await.unwrap();
    assert!(started.elapsed().as_secs() >= 1);
    assert_eq!(github.world().comments.len(), 1);
    github.fault(
        "GET",
        1,
        refusal(
            403,
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999999999")],
            "Limit",
        ),
    );
    let trouble = api.pull_request(7).await.unwrap_err();
    assert_eq!(trouble.kind, GitHubErrorKind::Limited);
    assert!(started.elapsed().as_secs() < 10);
}

#[tokio::test]
async fn a_missing_permission_is_named_to_be_pasted() {
    let github = GitHub::start();
    github.world().pull_request(7, "abc");
    github.world().token(
        "ghs_readOnly",
        "github-actions[bot]",
        &[("pull_requests", "read"), ("contents", "read")],
    );
    let api = api_with(&github, "ghs_readOnly").unwrap();
    let trouble = api.create_comment(7, "One", "x").await.unwrap_err();
    assert_eq!(
        trouble.kind,
        GitHubErrorKind::Forbidden { permissions: vec!["pull-requests: write".to_owned()] }
    );
    assert_eq!(
        trouble.to_string(),
        "failed to comment on #7: HTTP 403, Resource not accessible by integration (request \
         C0DE:1234:ABCD)\n  \
         -> add these permissions to the workflow's job:\n     permissions:\n       contents: \
         read\n       pull-requests: write"
    );
    let trouble = api_with(&github, "ghs_unknown").unwrap().pull_request(7).await.unwrap_err();
    assert_eq!(trouble.kind, GitHubErrorKind::NoToken);
    assert!(api_with(&github, "two\nlines").is_err());
}

#[tokio::test]
async fn the_token_goes_to_no_other_host() {
    let (github, other) = (GitHub::start(), GitHub::start());
    github.world().pull_request(7, "abc");
    other.world().pull_request(7, "abc");
    let elsewhere = format!("{}/repos/acme/checkout/pulls/7", other.url());
    github.fault("/pulls/7", 1, refusal(302, &[("location", &elsewhere)], "Moved"));
    assert_eq!(api(&github).pull_request(7).await.unwrap_err().kind, GitHubErrorKind::NoToken);
    assert_eq!(other.exchanges("").iter().map(|it| it.login.clone()).collect::<Vec<_>>(), [None]);
    let next =
        format!("<{}/repos/acme/checkout/issues/7/comments?page=2>; rel=\"next\"", other.url());
    let page = Fault::Answer { status: 200, headers: vec![("link", next)], message: "" };
    github.fault("/issues/7/comments", 1, page);
    assert_eq!(api(&github).comments(7).await.unwrap_err().kind, GitHubErrorKind::Invalid);
    assert_eq!(other.exchanges("").len(), 1);
}

#[tokio::test]
async fn a_release_and_its_files() {
    let github = GitHub::with_prefix("/api/v3");
    let api = api(&github);
    assert!(api.release_by_tag("v1.2.3").await.unwrap().is_none());
    let notes = api.generate_notes("v1.2.3").await.unwrap();
    let new = NewRelease { tag_name: "v1.2.3", name: "1.2.3", body: &notes, prerelease: false };
    github.fault("POST /repos/acme/checkout/releases", 1, Fault::DoneBut502);
    let release = api.create_release(&new).await.unwrap();
    assert_eq!(api.create_release(&new).await.unwrap().id, release.id);
    let asset = api
        .upload_asset(&release, "manifest a.json", "application/json", "{}".into())
        .await
        .unwrap();
    assert_eq!(api.assets(release.id).await.unwrap(), std::slice::from_ref(&asset));
    assert_eq!((asset.name.as_str(), asset.size), ("manifest a.json", 2));
    assert!(asset.digest.is_some_and(|digest| digest.starts_with("sha256:44136fa3")));
    let twice = api
        .upload_asset(&release, "manifest a.json", "application/json", "{}".into())
        .await
        .unwrap_err();
    assert_eq!(twice.kind, GitHubErrorKind::Invalid);
    api.delete_asset(asset.id).await.unwrap();
    assert_eq!(api.update_release(release.id, "New").await.unwrap().body.as_deref(), Some("New"));
    assert_eq!(github.world().releases.len(), 1);
}

#[tokio::test]
async fn deployments_and_their_end() {
    let github = GitHub::start();
    let api = api(&github);
    let payload = json!({ "run": "7.1" });
    github.fault("POST", 1, Fault::DoneBut502);
    let deployment =
        api.create_deployment(deployment("pr-7", true, payload.clone())).await.unwrap();
    assert_eq!((github.world().deployments.len(), deployment.payload), (1, payload));
    let long = "x".repeat(200);
    let urls = (Some("https://github.com/x"), Some("https://pr-7.example"));
    github.fault("/statuses", 1, refusal(502, &[], "Oops"));
    let status = NewStatus {
        state: Status::InProgress,
        description: &long,
        log_url: urls.0,
        environment_url: urls.1,
    };
    api.deployment_status(deployment.id, &status).await.unwrap();
    let sent = github.world().deployments[&deployment.id].statuses.clone();
    assert_eq!(
        (&sent[0]["state"], &sent[0]["environment_url"]),
        (&json!("in_progress"), &json!("https://pr-7.example"))
    );
    assert_eq!(api.deployments("pr-7").await.unwrap().len(), 1);
    assert_eq!(api.deployments("pr/8").await.unwrap().len(), 0);
    api.delete_environment("pr-7").await.unwrap();
    api.delete_environment("pr-7").await.unwrap();
    assert_eq!(github.world().environments, [""; 0]);
}

/// The comparison itself: what is wrong is found.
#[tokio::test]
#[should_panic(expected = "not as GitHub describes it")]
async fn a_request_that_github_does_not_know_is_found() {
    let github = GitHub::start();
    let api = api(&github);
    let call = super::client::Call::new(
        hyper::Method::POST,
        api.route("/releases"),
        "try",
        "contents: write",
    );
    let body = json!({ "tag_name": "v1", "prerelease": "no", "target": "main" });
    api.client.ask::<serde_json::Value>(call.json(body)).await.unwrap();
}

#[tokio::test]
async fn many_writes_keep_a_pace() {
    let github = GitHub::start();
    github.world().pull_request(7, "abc");
    let api = api(&github);
    let began = std::time::Instant::now();
    let id = api.create_comment(7, "One", "github-actions[bot]").await.unwrap().id;
    for _ in 0..4 {
        api.me().await.unwrap();
        api.update_comment(id, "Two").await.unwrap();
    }
    // Few, as of most runs, don't wait.
    assert!(began.elapsed().as_millis() < 900, "{:?}", began.elapsed());
    api.update_comment(id, "Three").await.unwrap();
    api.delete_comment(id).await.unwrap();
    assert!(began.elapsed().as_millis() >= 1_900, "{:?}", began.elapsed());
    // Reading goes on.
    let began = std::time::Instant::now();
    api.comments(7).await.unwrap();
    assert!(began.elapsed().as_millis() < 900, "{:?}", began.elapsed());
}

#[tokio::test]
async fn files_of_a_commit() {
    let github = GitHub::start();
    let large = "é".repeat(1 << 20);
    {
        let mut world = github.world();
        let mut put = |path: &str, text: &str| {
            world.files.insert(("c0ffee".to_owned(), path.to_owned()), text.into());
        };
        put(".github/CODEOWNERS", "* @ada\n");
        put("large file", &large);
    }
    let api = api(&github);
    let content = |text: &str| Some(RepositoryFile::Content(text.into()));
    let file = |path, commit| api.file(path, commit, SIZE_LIMIT);
    assert_eq!(file(".github/CODEOWNERS", "c0ffee").await.unwrap(), content("* @ada\n"));
    assert_eq!(file("large file", "c0ffee").await.unwrap(), content(&large));
    assert_eq!(file("CODEOWNERS", "c0ffee").await.unwrap(), None);
    assert_eq!(file(".github/CODEOWNERS", "abc").await.unwrap(), None);
    let found = api.file("large file", "c0ffee", 1000).await.unwrap();
    assert_eq!(found, Some(RepositoryFile::TooLarge(2 << 20)));
}

#[tokio::test]
async fn the_files_of_a_pull_request_have_their_old_names() {
    let github = GitHub::start();
    {
        let mut world = github.world();
        let found = world.pull_request(7, "abc");
        found.files = (0..250).map(|number| format!("{number}.tf")).collect();
        found.renamed.insert("3.tf".to_owned(), "three.tf".to_owned());
    }
    let files = api(&github).changed_files(7).await.unwrap();
    assert_eq!(files.len(), 250);
    assert_eq!(files[3].names().collect::<Vec<_>>(), ["3.tf", "three.tf"]);
    assert_eq!(files[4].names().collect::<Vec<_>>(), ["4.tf"]);
}

#[tokio::test]
async fn members_of_a_team() {
    let github = GitHub::start();
    {
        let mut world = github.world();
        world.token("ghs_app", "acme[bot]", &[("members", "read")]);
        let members = ["grace", "linus?"].map(str::to_owned);
        world.teams.insert("acme/platform".to_owned(), members.into());
    }
    let app = api_with(&github, "ghs_app").unwrap();
    let asked = ["grace", "linus", "barbara"];
    let platform = "platform".parse().unwrap();
    let members = app.members_among(&platform, &asked).await.unwrap();
    assert_eq!(members.into_iter().collect::<Vec<_>>(), ["grace"], "linus was only invited");
    let says = |error: GitHubError| {
        assert_eq!(error.kind, GitHubErrorKind::NoMembers);
        error.into_error().to_string()
    };
    let workflow = says(api(&github).members_among(&platform, &asked).await.unwrap_err());
    assert!(
        workflow.contains("failed to read the team acme/platform: HTTP 403")
            && workflow.contains("`github-token`")
            && workflow.contains("\"Members: read\""),
        "{workflow}"
    );
    let missing = app.members_among(&"other/gone".parse().unwrap(), &asked).await.unwrap_err();
    assert!(says(missing).contains("failed to read the team other/gone: HTTP 404"));
}

#[tokio::test]
async fn decisions_about_a_run() {
    let github = GitHub::start();
    {
        let mut world = github.world();
        let run = world.run(900);
        run.started_at = vec![1_800_000_000, 1_800_000_500];
        let decision =
            |login: &str, state: &str| (login.to_owned(), state.to_owned(), "Live".to_owned());
        run.decisions = vec![decision("grace", "approved"), decision("linus", "rejected")];
    }
    let api = api(&github);
    let decisions = api.run_reviews(900).await.unwrap();
    assert!(decisions[0].is_of("live") && !decisions[0].is_of("ci"));
    assert!(decisions[0].is_approved() && decisions[1].is_rejected());
    let first = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    assert_eq!(api.run_started_at(900).await.unwrap(), first);
    let error = api.run_reviews(901).await.unwrap_err();
    assert_eq!(error.kind, GitHubErrorKind::NotFound);
    github.world().token("ghs_less", "github-actions[bot]", &[("contents", "read")]);
    let error = api_with(&github, "ghs_less").unwrap().run_reviews(900).await.unwrap_err();
    assert!(error.to_string().contains("actions: read"), "{error}");
}
