//! The newest commits of a pull request and of its base branch.

/// Where the pull request is when the comment is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) commit: String,
    /// The name and the newest commit of the base branch, if they could be read.
    pub(crate) base: Option<(String, String)>,
}
