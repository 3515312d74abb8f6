//! One comment per pull request, also when many runs write it at once. GitHub has no compare-and-swap: who has written looks
//! again, after the time that others take between reading and writing, and repeats it if its row is gone.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    render::render,
    rows::{LIMIT, Row, Rows, merge, merge_all, parse, restore},
};
use crate::{
    base::{redact::Redactor, retry::jitter},
    services::github::{Api, Comment, Kind, Trouble},
};

const TRIES: u32 = 40;
/// The least time between writing and looking again.
const PAUSE: Duration = Duration::from_millis(700);
const LONGEST_PAUSE: Duration = Duration::from_secs(6);

/// Why there is no comment, or none with our row.
pub(crate) enum Failed {
    GitHub(Trouble),
    /// A known secret would stand in it.
    Secret,
    /// Others write faster than we do.
    Lost,
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self::GitHub(trouble)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GitHub(trouble) => trouble.fmt(f),
            Self::Secret => {
                f.write_str("the comment is not written: a secret would still show in it")
            }
            Self::Lost => {
                f.write_str("the comment lacks this run's row: too many runs write it at once")
            }
        }
    }
}

/// Where the row goes.
pub(crate) struct CommentTarget<'a> {
    pub(crate) api: &'a Api,
    pub(crate) pull_request: u64,
    /// Without changes there is a row only where one stands already.
    pub(crate) changes_only: bool,
    /// By the ledger: they go along with ours where the comment has lost them.
    pub(crate) known: &'a [Row],
    pub(crate) redactor: &'a Redactor,
}

impl CommentTarget<'_> {
    fn with(&self, rows: Rows, row: &Row) -> Rows {
        merge(restore(rows, self.known, self.changes_only), row.clone())
    }
}

/// Writes the row into the comment that is there, once; where none is, or a newer run's row, nothing. Whoever writes must not hold
/// what was read for longer than others wait before they look again: better no row than one that costs others theirs.
pub(crate) async fn announce(place: &CommentTarget<'_>, row: &Row) -> Result<(), Failed> {
    let me = place.api.me().await?;
    place.api.ready_to_write().await;
    let began = Instant::now();
    let ours = ours(place.api.comments(place.pull_request).await?, &me);
    // Several become one by who writes until it is so.
    let [(comment, rows)] = ours.as_slice() else { return Ok(()) };
    if began.elapsed() > PAUSE || rows.has(row) {
        return Ok(());
    }
    let text = checked(&place.with(rows.clone(), row), place.redactor)?;
    place.api.update_comment(comment.id, &text).await?;
    Ok(())
}

/// The address of the comment that has the row, or a newer run's; None where none is wanted.
pub(crate) async fn upsert(place: &CommentTarget<'_>, row: &Row) -> Result<Option<String>, Failed> {
    // A comment counts only if we ourselves wrote it: anybody can write a first line like ours.
    let me = place.api.me().await?;
    let (mut pause, mut has_written) = (PAUSE, false);
    for _ in 0..TRIES {
        // Not between reading and writing: what others write meanwhile would be lost.
        place.api.ready_to_write().await;
        let began = Instant::now();
        let ours = ours(place.api.comments(place.pull_request).await?, &me);
        let Some(((oldest, oldest_rows), others)) = ours.split_first() else {
            if place.changes_only && !row.has_something_to_say() {
                return Ok(None);
            }
            let text = checked(&place.with(Rows::default(), row), place.redactor)?;
            place.api.create_comment(place.pull_request, &text, &me).await?;
            has_written = true;
            sleep(jitter(pause.max(began.elapsed() * 2).min(LONGEST_PAUSE))).await;
            continue;
        };
        let rows = others
            .iter()
            .fold(oldest_rows.clone(), |rows, (_, more)| merge_all(rows, more.clone()));
        if place.changes_only && !row.has_something_to_say() && !rows.has_place_of(row) {
            return Ok(None);
        }
        // Two jobs that have one row would take it from each other for ever.
        let has_given_way = has_written && rows.has_later_of_run(row);
        if others.is_empty() && (rows.has(row) || has_given_way) {
            return Ok(Some(oldest.html_url.clone()));
        }
        let text = checked(&place.with(rows, row), place.redactor)?;
        match place.api.update_comment(oldest.id, &text).await {
            // Somebody has deleted it meanwhile.
            Err(trouble) if trouble.kind == Kind::NotFound => continue,
            updated => updated?,
        };
        has_written = true;
        for (other, _) in others {
            place.api.delete_comment(other.id).await?;
        }
        // Whoever read before we wrote writes within about the time that it took us.
        sleep(jitter(pause.max(began.elapsed() * 2).min(LONGEST_PAUSE))).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
    Err(Failed::Lost)
}

/// Oldest first; a comment that a newer cdflow has written is left alone.
fn ours(comments: Vec<Comment>, me: &str) -> Vec<(Comment, Rows)> {
    let mut ours: Vec<(Comment, Rows)> = comments
        .into_iter()
        .filter(|comment| comment.author_login == me)
        .filter_map(|comment| parse(&comment.body).map(|rows| (comment, rows)))
        .collect();
    ours.sort_by_key(|(comment, _)| comment.id);
    ours
}

/// The redactor has passed all that is in it; this looks once more.
fn checked(rows: &Rows, redactor: &Redactor) -> Result<String, Failed> {
    let text = render(rows, LIMIT);
    if redactor.apply(&text) == text { Ok(text) } else { Err(Failed::Secret) }
}

#[cfg(test)]
mod tests;
