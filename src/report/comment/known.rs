//! What the ledger and GitHub know about the rows of a comment.

use super::{head::Head, rows::Row};
use crate::report::LastStart;

#[derive(Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    /// Runs for the pull request. They are restored if the comment lacks them.
    pub(crate) rows: &'a [Row],
    /// The component of `starts`.
    pub(crate) component: &'a str,
    pub(crate) starts: &'a [LastStart],
    /// None if GitHub was not asked, or did not answer.
    pub(crate) head: Option<&'a Head>,
}
