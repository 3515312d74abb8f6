//! GitHub's API for one repository: the requests that several commands make.

use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::{Call, Client},
    error::{GitHubError, GitHubErrorKind},
    pull_request::PullRequest,
    repository::{Repository, RepositoryName},
};
use crate::{
    base::{log::Log, pace::Pace, process_env::ProcessEnv, redact::Secret, url},
    services::ci::host::Host,
};

/// Where GITHUB_API_URL is not set.
const API: &str = "https://api.github.com";
/// As whom a workflow's own token writes.
const ACTIONS_BOT: &str = "github-actions[bot]";

pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) repository: RepositoryName,
    graphql: String,
    /// Once GitHub has told it.
    me: OnceLock<String>,
}

impl Api {
    /// Of the repository that the run is in. `token` is the input `github-token`; GITHUB_TOKEN will
    /// do.
    pub(crate) fn of(host: &Host, token: Option<&Secret>) -> Result<Self, GitHubError> {
        let run = host.github();
        let repository = run.and_then(|run| run.repository.clone()).ok_or_else(|| {
            GitHubError::new(
                GitHubErrorKind::NoRepository,
                "cannot call GitHub",
                "GITHUB_REPOSITORY is not set, so this is not a run of GitHub Actions",
            )
        })?;
        Self::new(&host.environment, token, repository, host.log.clone(), host.pace.clone())
    }

    pub(crate) fn new(
        environment: &ProcessEnv,
        token: Option<&Secret>,
        repository: RepositoryName,
        log: Log,
        pace: Pace,
    ) -> Result<Self, GitHubError> {
        let token = token.cloned().or_else(|| environment.get("GITHUB_TOKEN").map(Secret::new));
        let token = token.ok_or_else(|| {
            GitHubError::new(GitHubErrorKind::NoToken, "cannot call GitHub", "no token is set")
        })?;
        let url = environment.get("GITHUB_API_URL").unwrap_or(API);
        let graphql = environment
            .get("GITHUB_GRAPHQL_URL")
            .map_or_else(|| format!("{url}/graphql"), str::to_owned);
        Ok(Self {
            client: Client::new(url, &token, log, pace)?,
            repository,
            graphql,
            me: OnceLock::new(),
        })
    }

    /// Returns when a write would be sent at once: for who reads first, and must write before
    /// others do.
    pub(crate) async fn ready_to_write(&self) {
        self.client.pace.ready().await;
    }

    /// `/repos/acme/checkout` and what follows.
    pub(crate) fn route(&self, rest: &str) -> String {
        format!("/repos/{}{rest}", self.repository)
    }

    pub(crate) async fn pull_request(&self, number: u64) -> Result<PullRequest, GitHubError> {
        let doing = format!("read pull request #{number}");
        self.client
            .ask(Call::get(self.route(&format!("/pulls/{number}")), &doing, "pull-requests: read"))
            .await
    }

    /// The merged ones of this repository that made just this commit: its head, or what the base
    /// branch got by it. Forks have their commits in common, and GitHub may list pull requests of
    /// another one, where others put the labels.
    pub(crate) async fn merged_as(&self, commit: &str) -> Result<Vec<PullRequest>, GitHubError> {
        let doing = format!("read the pull requests of the commit {commit}");
        let route = self.route(&format!("/commits/{}/pulls", segment(commit)));
        let found: Vec<PullRequest> =
            self.client.list(Call::get(route, &doing, "pull-requests: read")).await?;
        let made_it = |it: &PullRequest| {
            it.head.sha == commit || it.merge_commit_sha.as_deref() == Some(commit)
        };
        let merged: Vec<PullRequest> =
            found.into_iter().filter(|it| it.merged_at.is_some() && made_it(it)).collect();
        if merged.is_empty() {
            return Ok(merged);
        }
        let ours = self.repository_id().await?;
        let is_ours = |it: &PullRequest| it.base.repo.as_ref().is_some_and(|base| base.id == ours);
        Ok(merged.into_iter().filter(is_ours).collect())
    }

    /// The numbers of all that are open.
    pub(crate) async fn open_pull_requests(&self) -> Result<Vec<u64>, GitHubError> {
        #[derive(Deserialize)]
        struct Numbered {
            number: u64,
        }
        // Oldest first: one that is opened meanwhile comes last, and moves none from a page that is
        // to come to one that was read.
        let route = self.route("/pulls?state=open&sort=created&direction=asc");
        let call = Call::get(route, "list the open pull requests", "pull-requests: read");
        let open: Vec<Numbered> = self.client.list(call).await?;
        Ok(open.into_iter().map(|it| it.number).collect())
    }

    /// The names of all files that a pull request changes; GitHub tells 3,000 at most.
    pub(crate) async fn changed_files(&self, number: u64) -> Result<Vec<String>, GitHubError> {
        #[derive(Deserialize)]
        struct ChangedFile {
            filename: String,
        }
        let doing = format!("read the files of pull request #{number}");
        let call =
            Call::get(self.route(&format!("/pulls/{number}/files")), &doing, "pull-requests: read");
        let files: Vec<ChangedFile> = self.client.list(call).await?;
        Ok(files.into_iter().map(|file| file.filename).collect())
    }

    /// GitHub's number of the repository. That it answers tells a pull request that is gone from a
    /// token that sees nothing.
    pub(crate) async fn repository_id(&self) -> Result<u64, GitHubError> {
        let call = Call::get(self.route(""), "read the repository", "metadata: read");
        self.client.ask::<Repository>(call).await.map(|repository| repository.id)
    }

    /// The login that our token writes as. The token of a workflow is a bot's, and only GraphQL
    /// tells that to it.
    pub(crate) async fn me(&self) -> Result<String, GitHubError> {
        if let Some(me) = self.me.get() {
            return Ok(me.clone());
        }
        let query = json!({ "query": "query { viewer { login } }" });
        let call = Call::new(
            hyper::Method::POST,
            self.graphql.clone(),
            "identify the token's account",
            "contents: read",
        );
        let answer: Value = match self.client.ask(call.json(query).question()).await {
            // A GitHub without GraphQL, or a token that it is not for.
            Err(trouble)
                if [GitHubErrorKind::NotFound, GitHubErrorKind::Invalid]
                    .contains(&trouble.kind) =>
            {
                Value::Null
            }
            answer => answer?,
        };
        let login = answer["data"]["viewer"]["login"].as_str();
        Ok(login.map_or_else(
            || ACTIONS_BOT.to_owned(),
            |login| self.me.get_or_init(|| login.to_owned()).clone(),
        ))
    }
}

/// A name as a part of a route: tags and environments may hold anything.
pub(crate) fn segment(name: &str) -> String {
    url::encode(name)
}
