//! A GitHub account: a person or a bot.

use serde::Deserialize;

/// The bot whose pull requests GitHub treats like those of forks: no secrets, a token that only
/// reads.
const DEPENDABOT: &str = "dependabot[bot]";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct GitHubAccount {
    pub(crate) login: String,
    /// `User`, `Bot`, …
    #[serde(default, rename = "type")]
    kind: String,
}

impl GitHubAccount {
    pub(crate) fn is_bot(&self) -> bool {
        self.kind == "Bot"
    }

    pub(crate) fn is_dependabot(&self) -> bool {
        self.login == DEPENDABOT
    }
}
