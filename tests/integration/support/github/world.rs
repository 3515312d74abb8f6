//! What there is on GitHub: one repository, and who may do what in it.

use super::{Exchange, Fault, TOKEN};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// 2026-01-02T03:04:05Z, in seconds.
const BEGINNING: i64 = 1_767_323_045;

pub(crate) struct World {
    /// Of the API, for the URLs in answers.
    pub(super) url: String,
    /// In seconds since 1970; every write takes one.
    pub(crate) now: i64,
    next_id: u64,
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) pull_requests: BTreeMap<u64, PullRequest>,
    pub(crate) comments: BTreeMap<u64, Comment>,
    /// Comment, login and content, in the order in which they came.
    pub(crate) reactions: Vec<(u64, String, String)>,
    pub(crate) releases: BTreeMap<u64, Release>,
    pub(crate) deployments: BTreeMap<u64, Deployment>,
    pub(crate) environments: Vec<String>,
    pub(crate) check_runs: BTreeMap<u64, CheckRun>,
    /// The commits of each branch, oldest first.
    pub(crate) branches: BTreeMap<String, Vec<String>>,
    /// Of people with less than `write`: `read` or `none`.
    pub(crate) roles: BTreeMap<String, String>,
    /// The members of each team: `acme/platform`. A login with a final `?` has been invited.
    pub(crate) teams: BTreeMap<String, Vec<String>>,
    /// Of the repository, by commit and path.
    pub(crate) files: BTreeMap<(String, String), Vec<u8>>,
    /// Of GitHub Actions.
    pub(crate) runs: BTreeMap<u64, Run>,
    /// What `generate-notes` says.
    pub(crate) notes: String,
    pub(crate) faults: Vec<(String, usize, Fault)>,
    pub(crate) weather: Option<Weather>,
    pub(super) exchanges: Vec<Exchange>,
    /// How long a new comment is missing from the list of comments.
    pub(crate) list_lag: Duration,
    pub(super) created: BTreeMap<u64, Instant>,
}

/// Faults as they come and go, and yet the same in every run of a test: by what is asked and how
/// often it was asked before, not by the order in which several ask at once.
pub(crate) struct Weather {
    pub(super) seed: u64,
    pub(super) percent: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) asked: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// `github-actions[bot]` and other bots end so.
    pub(crate) login: String,
    /// `pull_requests` to `read` or `write`; None: all of them.
    pub(crate) permissions: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug)]
pub(crate) struct PullRequest {
    pub(crate) author: String,
    pub(crate) is_open: bool,
    pub(crate) is_merged: bool,
    pub(crate) is_draft: bool,
    pub(crate) head_sha: String,
    /// Of the base branch.
    pub(crate) base_sha: String,
    pub(crate) base_branch: String,
    /// When the branch got it, in seconds since 1970. None: GitHub lists no such push.
    pub(crate) pushed_at: Option<i64>,
    /// The commit that the base branch has by it.
    pub(crate) merge_commit_sha: Option<String>,
    /// That came with it, besides these two.
    pub(crate) other_commits: Vec<String>,
    /// None: the fork was deleted.
    pub(crate) head_repository: Option<u64>,
    /// Another one than ours: only a list for a commit tells of it.
    pub(crate) base_repository: u64,
    pub(crate) labels: Vec<String>,
    /// That it changes.
    pub(crate) files: Vec<String>,
    /// The old name of each of these that was renamed.
    pub(crate) renamed: BTreeMap<String, String>,
    /// Oldest first.
    pub(crate) reviews: Vec<Review>,
    pub(crate) updated_at: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Review {
    pub(crate) login: String,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED` or `DISMISSED`.
    pub(crate) state: String,
    pub(crate) commit: String,
    /// In seconds since 1970: cdflow compares it with its own clock.
    pub(crate) at: i64,
}

/// A run of a workflow with its decisions.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// In seconds since 1970, of the first attempt and of those after it.
    pub(crate) started_at: Vec<i64>,
    /// Login, state and environment.
    pub(crate) decisions: Vec<(String, String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) issue: u64,
    pub(crate) author: String,
    pub(crate) body: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) tag: String,
    pub(crate) name: String,
    pub(crate) body: String,
    pub(crate) is_prerelease: bool,
    pub(crate) author: String,
    pub(crate) created_at: i64,
    pub(crate) assets: BTreeMap<u64, Asset>,
}

#[derive(Clone, Debug)]
pub(crate) struct Asset {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) git_ref: String,
    pub(crate) environment: String,
    pub(crate) is_transient: bool,
    pub(crate) payload: Value,
    pub(crate) created_at: i64,
    /// As they were sent, oldest first.
    pub(crate) statuses: Vec<Value>,
}

/// As it was sent last.
#[derive(Clone, Debug)]
pub(crate) struct CheckRun {
    pub(crate) head_sha: String,
    pub(crate) sent: Value,
}

impl Weather {
    pub(super) fn fault(&mut self, line: &str) -> Option<Fault> {
        use sha2::Digest;
        let times = self.asked.entry(line.to_owned()).or_default();
        *times += 1;
        let digest = sha2::Sha256::digest(format!("{} {times} {line}", self.seed));
        let number = u64::from_be_bytes(digest[..8].try_into().unwrap());
        let which = usize::try_from(number / 100).unwrap() % self.faults.len();
        (number % 100 < self.percent).then(|| self.faults[which].clone())
    }
}

impl World {
    pub(super) fn new(url: &str) -> Self {
        let actions = Token { login: "github-actions[bot]".to_owned(), permissions: None };
        Self {
            url: url.to_owned(),
            now: BEGINNING,
            next_id: 1000,
            tokens: BTreeMap::from([(TOKEN.to_owned(), actions)]),
            pull_requests: BTreeMap::new(),
            comments: BTreeMap::new(),
            reactions: Vec::new(),
            releases: BTreeMap::new(),
            deployments: BTreeMap::new(),
            environments: Vec::new(),
            check_runs: BTreeMap::new(),
            branches: BTreeMap::new(),
            roles: BTreeMap::new(),
            teams: BTreeMap::new(),
            files: BTreeMap::new(),
            runs: BTreeMap::new(),
            notes: "## What's Changed\n* A change by @ada in #7\n".to_owned(),
            faults: Vec::new(),
            weather: None,
            exchanges: Vec::new(),
            list_lag: Duration::ZERO,
            created: BTreeMap::new(),
        }
    }

    /// The API's URL as its clients know it: of a host before the double.
    pub(crate) fn seen_at(&mut self, url: &str) {
        url.clone_into(&mut self.url);
    }

    /// Somebody else's token, or the workflow's with less: `("pull_requests", "read")`.
    pub(crate) fn token(&mut self, token: &str, login: &str, permissions: &[(&str, &str)]) {
        let permissions = permissions
            .iter()
            .map(|(name, level)| ((*name).to_owned(), (*level).to_owned()))
            .collect();
        self.tokens.insert(
            token.to_owned(),
            Token { login: login.to_owned(), permissions: Some(permissions) },
        );
    }

    /// Open, of a branch of the repository.
    pub(crate) fn pull_request(&mut self, number: u64, head_sha: &str) -> &mut PullRequest {
        let pull_request = PullRequest {
            author: "ada".to_owned(),
            is_open: true,
            is_merged: false,
            is_draft: false,
            head_sha: head_sha.to_owned(),
            base_sha: "b".repeat(40),
            base_branch: "main".to_owned(),
            pushed_at: Some(BEGINNING),
            merge_commit_sha: None,
            other_commits: Vec::new(),
            head_repository: Some(super::REPOSITORY_ID),
            base_repository: super::REPOSITORY_ID,
            labels: Vec::new(),
            files: Vec::new(),
            renamed: BTreeMap::new(),
            reviews: Vec::new(),
            updated_at: self.tick(),
        };
        self.pull_requests.entry(number).insert_entry(pull_request).into_mut()
    }

    /// A file on the base branch, as a pull request sees it.
    pub(crate) fn base_file(&mut self, number: u64, path: &str, content: &[u8]) {
        let commit = self.pull_requests[&number].base_sha.clone();
        self.files.insert((commit, path.to_owned()), content.to_owned());
    }

    /// A review of the newest commit, made now. An empty login: the account was deleted.
    pub(crate) fn review(&mut self, number: u64, login: &str, state: &str) {
        let pull_request = self.pull_requests.get_mut(&number).unwrap();
        let review = Review {
            login: login.to_owned(),
            state: state.to_owned(),
            commit: pull_request.head_sha.clone(),
            // GitHub counts in seconds, and the plan might have been made in this one.
            at: jiff::Timestamp::now().as_second() + 1,
        };
        pull_request.reviews.push(review);
    }

    /// A run that starts now, for which a job waits until somebody decides.
    pub(crate) fn run(&mut self, id: u64) -> &mut Run {
        // GitHub counts in seconds, and the plan might have been made in this one.
        let now = jiff::Timestamp::now().as_second() + 1;
        let run = Run { started_at: vec![now], decisions: Vec::new() };
        self.runs.entry(id).or_insert(run)
    }

    /// A comment of now, by the clock that cdflow has too.
    pub(crate) fn comment_now(&mut self, issue: u64, author: &str, body: &str) -> u64 {
        let id = self.comment(issue, author, body);
        let comment = self.comments.get_mut(&id).unwrap();
        // GitHub counts in seconds, and a plan might have been made in this one.
        comment.created_at = jiff::Timestamp::now().as_second() + 1;
        comment.updated_at = comment.created_at;
        id
    }

    /// What was answered to a comment, in the order in which it came.
    pub(crate) fn reactions_to(&self, comment: u64) -> Vec<String> {
        let found = self.reactions.iter().filter(|(to, ..)| *to == comment);
        found.map(|(_, _, content)| content.clone()).collect()
    }

    pub(crate) fn comment(&mut self, issue: u64, author: &str, body: &str) -> u64 {
        let (id, now) = (self.id(), self.tick());
        let comment = Comment {
            issue,
            author: author.to_owned(),
            body: body.to_owned(),
            created_at: now,
            updated_at: now,
        };
        self.comments.insert(id, comment);
        self.created.insert(id, Instant::now());
        id
    }

    /// As a run would have told it: a deployment of a preview, with its environment.
    pub(crate) fn deployed(&mut self, environment: &str, payload: Value) {
        let (id, now) = (self.id(), self.tick());
        let deployment = Deployment {
            git_ref: "abc".to_owned(),
            environment: environment.to_owned(),
            is_transient: true,
            payload,
            created_at: now,
            statuses: vec![json!({ "state": "success" })],
        };
        self.deployments.insert(id, deployment);
        self.environments.push(environment.to_owned());
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn tick(&mut self) -> i64 {
        self.now += 1;
        self.now
    }
}
