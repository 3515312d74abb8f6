//! Keeps one comment per pull request, even if many runs write to it at the same time.
//!
//! GitHub has no compare-and-swap. So a run that has written reads the comment again, after the
//! time that others need between reading and writing, and writes again if its row is missing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    known::Known,
    render::render,
    rows::{LIMIT, Row, Rows, merge, merge_all, parse, restore},
};
use crate::{
    base::{redact::Redactor, retry::jitter},
    services::github::{Api, Comment, GitHubError, GitHubErrorKind},
};

/// How often a run reads the comment before it gives up.
const ATTEMPTS: u32 = 40;
/// How many attempts wait for the created comment to be listed: about 30 seconds.
const LIST_ATTEMPTS: u32 = 9;
/// The minimum time between writing and reading again.
const PAUSE: Duration = Duration::from_millis(700);
const MAX_PAUSE: Duration = Duration::from_secs(6);

/// Why the row was not written.
pub(crate) enum UpsertError {
    GitHub(GitHubError),
    /// The comment would contain a known secret.
    Secret,
    /// Other runs have overwritten the row again and again.
    Lost,
}

impl From<GitHubError> for UpsertError {
    fn from(error: GitHubError) -> Self {
        Self::GitHub(error)
    }
}

impl std::fmt::Display for UpsertError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GitHub(error) => error.fmt(f),
            Self::Secret => f.write_str("the comment was not written: it would contain a secret"),
            Self::Lost => f.write_str(
                "the comment does not show this run: too many runs write to it at the same time",
            ),
        }
    }
}

/// The pull request whose comment is written, and what must be known for that.
pub(crate) struct CommentTarget<'a> {
    pub(crate) api: &'a Api,
    pub(crate) pull_request: u64,
    /// A row without changes is written only if the environment already has a row.
    pub(crate) changes_only: bool,
    pub(crate) known: Known<'a>,
    pub(crate) redactor: &'a Redactor,
}

impl CommentTarget<'_> {
    fn with(&self, rows: Rows, row: &Row) -> Rows {
        let rows = restore(rows, self.known.rows, self.changes_only);
        let mut rows = merge(rows, row.clone());
        rows.mark_outdated(self.known.component, self.known.starts);
        if let Some(head) = self.known.head {
            rows.mark_moved(head);
        }
        rows
    }
}

/// Writes the row to an existing comment, once. Does nothing without a comment, or with a newer
/// row.
///
/// If reading took longer than others wait before they read again, nothing is written: a lost
/// announcement matters less than a lost result.
pub(crate) async fn announce(target: &CommentTarget<'_>, row: &Row) -> Result<(), UpsertError> {
    let me = target.api.me().await?;
    target.api.ready_to_write().await;
    let began = Instant::now();
    let ours = ours(target.api.comments(target.pull_request).await?, &me);
    // Several comments are merged by the run that writes its result.
    let [(comment, rows)] = ours.as_slice() else { return Ok(()) };
    if began.elapsed() > PAUSE || rows.has(row) {
        return Ok(());
    }
    let text = checked(&target.with(rows.clone(), row), target.redactor)?;
    target.api.update_comment(comment.id, &text).await?;
    Ok(())
}

/// Writes the row until the comment has it, or one of a newer run. Returns the URL of the comment.
/// None if no comment is wanted, because nothing changed.
///
/// Creates at most one comment. GitHub's list of comments can lag behind what was written, and the
/// token's account can be unknown before the answer to the creation names it. So a comment that was
/// created and is not listed is waited for, never created again.
pub(crate) async fn upsert(
    target: &CommentTarget<'_>,
    row: &Row,
) -> Result<Option<String>, UpsertError> {
    let (mut pause, mut has_written) = (PAUSE, false);
    let mut created: Option<Comment> = None;
    for attempt in 0..ATTEMPTS {
        // Anyone can write a comment with such a first line: only comments of this user count.
        let me = match &created {
            Some(created) => created.author_login.clone(),
            None => target.api.me().await?,
        };
        // A wait between reading and writing would lose what others write meanwhile.
        target.api.ready_to_write().await;
        let began = Instant::now();
        let ours = ours(target.api.comments(target.pull_request).await?, &me);
        let is_listed = |it: &Comment| ours.iter().any(|(listed, _)| listed.id == it.id);
        let is_unlisted = created.as_ref().is_some_and(|created| !is_listed(created));
        let Some(((oldest, oldest_rows), others)) = ours.split_first() else {
            if let Some(created) = &created {
                if attempt >= LIST_ATTEMPTS {
                    return Ok(Some(created.html_url.clone()));
                }
                wait(&mut pause, began).await;
                continue;
            }
            if target.changes_only && !row.has_changes() {
                return Ok(None);
            }
            let text = checked(&target.with(Rows::default(), row), target.redactor)?;
            created = Some(target.api.create_comment(target.pull_request, &text, &me).await?);
            has_written = true;
            wait(&mut pause, began).await;
            continue;
        };
        let rows = others
            .iter()
            .fold(oldest_rows.clone(), |rows, (_, more)| merge_all(rows, more.clone()));
        if target.changes_only && !row.has_changes() && !rows.has_environment_of(row) {
            return Ok(None);
        }
        // Either the list lags, or another run has merged the created comment into this one. The
        // listed comment might have this row: the first of two creations, whose answer was lost.
        if let Some(unlisted) = created.as_ref().filter(|_| is_unlisted)
            && attempt < LIST_ATTEMPTS
            && target.api.has_comment(unlisted.id).await?
        {
            wait(&mut pause, began).await;
            continue;
        }
        // Without this, two jobs for the same environment would overwrite each other forever.
        let is_superseded = has_written && rows.has_later_of_run(row);
        if others.is_empty() && (rows.has(row) || is_superseded) {
            return Ok(Some(oldest.html_url.clone()));
        }
        let text = checked(&target.with(rows, row), target.redactor)?;
        match target.api.update_comment(oldest.id, &text).await {
            // The comment was deleted meanwhile.
            Err(error) if error.kind == GitHubErrorKind::NotFound => continue,
            updated => updated?,
        };
        has_written = true;
        for (other, _) in others {
            target.api.delete_comment(other.id).await?;
        }
        wait(&mut pause, began).await;
    }
    Err(UpsertError::Lost)
}

/// Waits until others have written: a run that read before this run's write will write within about
/// the time that this run needed.
async fn wait(pause: &mut Duration, began: Instant) {
    sleep(jitter((*pause).max(began.elapsed() * 2).min(MAX_PAUSE))).await;
    *pause = (*pause * 3 / 2).min(MAX_PAUSE);
}

/// Returns cdflow's comments, oldest first, without those of a newer cdflow.
fn ours(comments: Vec<Comment>, me: &str) -> Vec<(Comment, Rows)> {
    let mut ours: Vec<(Comment, Rows)> = comments
        .into_iter()
        .filter(|comment| comment.author_login == me)
        .filter_map(|comment| parse(&comment.body).map(|rows| (comment, rows)))
        .collect();
    ours.sort_by_key(|(comment, _)| comment.id);
    ours
}

/// Renders the comment. Its parts are redacted already; this checks the whole text again.
fn checked(rows: &Rows, redactor: &Redactor) -> Result<String, UpsertError> {
    let text = render(rows, LIMIT);
    if redactor.apply(&text) == text { Ok(text) } else { Err(UpsertError::Secret) }
}

#[cfg(test)]
mod tests;
