//! The limit of every wait: one table, which docs/limits.md shows and `CDFLOW_LIMITS` changes.
//!
//! No other file may contain a duration to wait for, so a wait cannot be added without a row.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use super::{
    error::{Error, Result},
    spelling::nearest,
};

/// A wait with a limit. The names are those of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    Git,
    CredentialHelper,
    TerraformVersion,
    TerraformInit,
    TerraformWorkspace,
    TerraformPlan,
    TerraformRead,
    TerraformPush,
    BuildHook,
    Hook,
    ImageBuild,
    ImagePush,
    Output,
    Stop,
    StopTerraform,
    End,
    LastAnswer,
    Cancel,
    AwsConnect,
    AwsAnswer,
    AwsPatience,
    AwsTransfer,
    AwsIdle,
    AwsTable,
    IdConnect,
    IdAnswer,
    IdPatience,
    CredentialsSocket,
    GitHubConnect,
    GitHubAnswer,
    GitHubPatience,
    RegistryConnect,
    RegistryIdle,
    RegistryAnswer,
    RegistryPause,
    ToolConnect,
    ToolIdle,
    ToolAnswer,
    ToolDownload,
    ToolLock,
    ProviderLock,
    Engine,
    EngineAnswer,
    EngineConnect,
    ArtifactCheck,
    StateLock,
    RunningDestroy,
    Deployment,
    CommentRead,
    Comment,
    CommentStop,
    Announcement,
    Webhook,
    PostRun,
    PostLines,
    Question,
}

/// Every limit with its name and its default in seconds, in the order of docs/limits.md.
pub(crate) const TABLE: [(Limit, &str, u64); 56] = [
    (Limit::Git, "git", 60),
    (Limit::CredentialHelper, "credential-helper", 60),
    (Limit::TerraformVersion, "terraform-version", 60),
    (Limit::TerraformInit, "terraform-init", 1800),
    (Limit::TerraformWorkspace, "terraform-workspace", 900),
    (Limit::TerraformPlan, "terraform-plan", 7200),
    (Limit::TerraformRead, "terraform-read", 900),
    (Limit::TerraformPush, "terraform-push", 900),
    (Limit::BuildHook, "build-hook", 3600),
    (Limit::Hook, "hook", 600),
    (Limit::ImageBuild, "image-build", 7200),
    (Limit::ImagePush, "image-push", 3600),
    (Limit::Output, "output", 5),
    (Limit::Stop, "stop", 5),
    (Limit::StopTerraform, "stop-terraform", 8),
    (Limit::End, "end", 2),
    (Limit::LastAnswer, "last-answer", 4),
    (Limit::Cancel, "cancel", 9),
    (Limit::AwsConnect, "aws-connect", 5),
    (Limit::AwsAnswer, "aws-answer", 20),
    (Limit::AwsPatience, "aws-patience", 60),
    (Limit::AwsTransfer, "aws-transfer", 300),
    (Limit::AwsIdle, "aws-idle", 20),
    (Limit::AwsTable, "aws-table", 60),
    (Limit::IdConnect, "id-connect", 10),
    (Limit::IdAnswer, "id-answer", 30),
    (Limit::IdPatience, "id-patience", 60),
    (Limit::CredentialsSocket, "credentials-socket", 100),
    (Limit::GitHubConnect, "github-connect", 10),
    (Limit::GitHubAnswer, "github-answer", 30),
    (Limit::GitHubPatience, "github-patience", 65),
    (Limit::RegistryConnect, "registry-connect", 10),
    (Limit::RegistryIdle, "registry-idle", 30),
    (Limit::RegistryAnswer, "registry-answer", 120),
    (Limit::RegistryPause, "registry-pause", 30),
    (Limit::ToolConnect, "tool-connect", 10),
    (Limit::ToolIdle, "tool-idle", 30),
    (Limit::ToolAnswer, "tool-answer", 120),
    (Limit::ToolDownload, "tool-download", 1800),
    (Limit::ToolLock, "tool-lock", 1900),
    (Limit::ProviderLock, "provider-lock", 1900),
    (Limit::Engine, "engine", 1800),
    (Limit::EngineAnswer, "engine-answer", 20),
    (Limit::EngineConnect, "engine-connect", 10),
    (Limit::ArtifactCheck, "artifact-check", 20),
    (Limit::StateLock, "state-lock", 15),
    (Limit::RunningDestroy, "running-destroy", 5),
    (Limit::Deployment, "deployment", 30),
    (Limit::CommentRead, "comment-read", 10),
    (Limit::Comment, "comment", 150),
    (Limit::CommentStop, "comment-stop", 4),
    (Limit::Announcement, "announcement", 20),
    (Limit::Webhook, "webhook", 10),
    (Limit::PostRun, "post-run", 240),
    (Limit::PostLines, "post-lines", 5),
    (Limit::Question, "question", 3600),
];

/// The pause between two looks at what another run might change at any moment.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// What `CDFLOW_LIMITS` changes. It is set once, before anything waits.
static CHANGED: RwLock<BTreeMap<Limit, Duration>> = RwLock::new(BTreeMap::new());

impl Limit {
    pub(crate) fn time(self) -> Duration {
        let changed = CHANGED.read().unwrap_or_else(PoisonError::into_inner).get(&self).copied();
        changed.unwrap_or_else(|| Duration::from_secs(self.row().2))
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the end of a message: "no answer within 20 s (the limit `aws-answer`)".
    pub(crate) fn passed(self, what: &str) -> String {
        format!("{what} within {} s (the limit `{}`)", self.time().as_secs(), self.name())
    }

    fn row(self) -> &'static (Self, &'static str, u64) {
        // `a_limit_has_one_row` checks that the table has each.
        TABLE.iter().find(|(limit, ..)| *limit == self).unwrap_or(&TABLE[0])
    }

    fn of_name(name: &str) -> Result<Self, String> {
        if let Some((limit, ..)) = TABLE.iter().find(|(_, known, _)| *known == name) {
            return Ok(*limit);
        }
        let meant = nearest(name, TABLE.iter().map(|(_, known, _)| *known))
            .map(|known| format!("; did you mean `{known}`?"));
        Err(format!("`{}` is not a limit{}", name.escape_debug(), meant.unwrap_or_default()))
    }
}

/// Reads `CDFLOW_LIMITS`: `name=duration` with commas in between. `duration` parses one.
pub(crate) fn change(text: &str, duration: fn(&str) -> Result<Duration, String>) -> Result<()> {
    let failed = |why: String| {
        Error::input("the environment variable CDFLOW_LIMITS is invalid")
            .why(why)
            .hint("write `name=duration`, with commas in between; docs/limits.md has the names")
    };
    let mut changed = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, time) = pair
            .split_once('=')
            .ok_or_else(|| failed(format!("`{}` has no `=`", pair.escape_debug())))?;
        let time = duration(time.trim()).map_err(failed)?;
        let limit = Limit::of_name(name.trim()).map_err(failed)?;
        if changed.insert(limit, time).is_some() {
            return Err(failed(format!("`{}` is set twice", limit.name())));
        }
    }
    *CHANGED.write().unwrap_or_else(PoisonError::into_inner) = changed;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_limit_has_one_row() {
        let limits: BTreeSet<Limit> = TABLE.iter().map(|(limit, ..)| *limit).collect();
        let names: BTreeSet<&str> = TABLE.iter().map(|(_, name, _)| *name).collect();
        assert_eq!((limits.len(), names.len()), (TABLE.len(), TABLE.len()));
        // The last variant is the last row, so no variant is without one.
        assert_eq!(Limit::Question as usize + 1, TABLE.len());
        assert!(TABLE.iter().all(|(_, _, seconds)| *seconds > 0));
    }

    #[test]
    fn an_unknown_limit_is_rejected() {
        let seconds = |text: &str| {
            text.parse().map(Duration::from_secs).map_err(|_| format!("`{text}`: not a number"))
        };
        for (text, why) in [
            ("gti=5", "`gti` is not a limit; did you mean `git`?"),
            ("git", "`git` has no `=`"),
            ("git=soon", "`soon`: not a number"),
            ("git=5, aws-answer=1, git=5", "`git` is set twice"),
        ] {
            let error = change(text, seconds).unwrap_err();
            assert_eq!(error.exit(), crate::base::error::Exit::Input);
            assert!(error.to_string().contains(why), "{error}");
        }
        change(" , ", seconds).unwrap();
    }
}
