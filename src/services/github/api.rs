//! GitHub's API for one repository: the requests that several commands make.

use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    account::GitHubAccount,
    client::{Call, Client},
    error::{GitHubError, GitHubErrorKind},
    pull_request::PullRequest,
    repository::{Repository, RepositoryName},
    server::{self, Server},
};
use crate::{
    base::{log::Log, pace::Pace, process_env::ProcessEnv, redact::Secret, url},
    services::ci::host::Host,
};

/// The account of a workflow's own token.
const ACTIONS_BOT: &str = "github-actions[bot]";

pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) repository: RepositoryName,
    graphql: String,
    /// Cached after the first request.
    me: OnceLock<String>,
}

impl Api {
    /// Connects to the repository of the run. `token` is the input `github-token`; the default is
    /// GITHUB_TOKEN.
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
        let url =
            environment.text("GITHUB_API_URL").unwrap_or_else(|| Server::of(environment).api());
        let graphql =
            environment.text("GITHUB_GRAPHQL_URL").unwrap_or_else(|| server::graphql(&url));
        Ok(Self {
            client: Client::new(&url, &token, log, pace)?,
            repository,
            graphql,
            me: OnceLock::new(),
        })
    }

    /// Waits until a write would be sent at once, for callers that read first and must write before
    /// others.
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

    /// Returns the merged pull requests of this repository whose head or merge commit is `commit`.
    /// Forks share commits, so GitHub may list pull requests of other repositories, where other
    /// people set the labels.
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

    /// Returns true if a pull request from a branch of this repository, and not by Dependabot,
    /// contains the commit.
    pub(crate) async fn is_of_own_pull_request(&self, commit: &str) -> Result<bool, GitHubError> {
        let doing = format!("read the pull requests of the commit {commit}");
        let route = self.route(&format!("/commits/{}/pulls", segment(commit)));
        let found: Vec<PullRequest> =
            self.client.list(Call::get(route, &doing, "pull-requests: read")).await?;
        if found.is_empty() {
            return Ok(false);
        }
        let ours = self.repository_id().await?;
        let is_ours = |it: &PullRequest| it.base.repo.as_ref().is_some_and(|base| base.id == ours);
        Ok(found.iter().any(|it| is_ours(it) && !it.is_fork() && !it.is_by_dependabot()))
    }

    /// Returns the numbers of all open pull requests.
    pub(crate) async fn open_pull_requests(&self) -> Result<Vec<u64>, GitHubError> {
        #[derive(Deserialize)]
        struct Numbered {
            number: u64,
        }
        // Oldest first: a pull request opened during the listing comes last, and does not shift the
        // pages.
        let route = self.route("/pulls?state=open&sort=created&direction=asc");
        let call = Call::get(route, "list the open pull requests", "pull-requests: read");
        let open: Vec<Numbered> = self.client.list(call).await?;
        Ok(open.into_iter().map(|it| it.number).collect())
    }

    /// Returns the name of the default branch.
    pub(crate) async fn default_branch(&self) -> Result<String, GitHubError> {
        #[derive(Deserialize)]
        struct Described {
            default_branch: String,
        }
        let call = Call::get(self.route(""), "read the repository", "metadata: read");
        self.client.ask::<Described>(call).await.map(|repository| repository.default_branch)
    }

    /// Returns GitHub's id of the repository. An answer distinguishes a deleted pull request from a
    /// token without access.
    pub(crate) async fn repository_id(&self) -> Result<u64, GitHubError> {
        let call = Call::get(self.route(""), "read the repository", "metadata: read");
        self.client.ask::<Repository>(call).await.map(|repository| repository.id)
    }

    /// Returns the login of the token's account. A workflow's token belongs to a bot, and only
    /// GraphQL reveals it.
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
        let login = match answer["data"]["viewer"]["login"].as_str() {
            Some(login) => Some(login.to_owned()),
            None => self.user().await?,
        };
        Ok(login
            .map_or_else(|| ACTIONS_BOT.to_owned(), |login| self.me.get_or_init(|| login).clone()))
    }

    /// Returns the login of the person whose token this is. `None` for the token of an app, which
    /// GitHub does not allow to ask.
    async fn user(&self) -> Result<Option<String>, GitHubError> {
        let call = Call::get("/user".to_owned(), "identify the token's account", "metadata: read");
        match self.client.ask::<GitHubAccount>(call).await {
            Ok(account) => Ok(Some(account.login)),
            Err(error) if error.kind == GitHubErrorKind::Unavailable => Err(error),
            Err(_) => Ok(None),
        }
    }
}

/// Percent-encodes a name for a route: tags and environments may contain any character.
pub(crate) fn segment(name: &str) -> String {
    url::encode(name)
}
