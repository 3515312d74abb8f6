//! Which commands exist for what they print.

use super::args::{Command, ComponentCommand, PreviewCommand};

impl Command {
    /// Whether the result of the command is its output. The other commands change something, and
    /// their output is a record of it that is also elsewhere.
    pub(crate) fn prints_its_result(&self) -> bool {
        match self {
            Self::Component(command) => command.prints_its_result(),
            // The answer is on the pull request, and the outputs are files.
            Self::Comment(_) | Self::Unaffected(_) => false,
            Self::Build(it) => it.dry_run,
            Self::Dockerfile(it) => !it.write,
            Self::Doctor(_) | Self::Completions(_) | Self::CredentialProcess { .. } => true,
            Self::Init(_) | Self::Man { .. } | Self::Post => false,
        }
    }

    /// Whether standard output is a document for a program.
    pub(crate) fn prints_json(&self) -> bool {
        match self {
            Self::Doctor(it) => it.json,
            Self::Component(command) => match command {
                ComponentCommand::Releases(it) => it.json,
                ComponentCommand::Inspect(it) => it.json,
                ComponentCommand::Status(it) => it.json,
                ComponentCommand::History(it) => it.json,
                ComponentCommand::Prune(it) => it.json,
                ComponentCommand::Preview(PreviewCommand::Reap(it)) => it.json,
                _ => false,
            },
            _ => false,
        }
    }
}

impl ComponentCommand {
    /// Whether the command changes nothing but GitHub's pages and, while it plans, a state lock.
    pub(crate) fn only_reads(&self) -> bool {
        !matches!(self, Self::Shell(_)) && self.prints_its_result()
    }

    fn prints_its_result(&self) -> bool {
        match self {
            Self::Releases(_)
            | Self::Inspect(_)
            | Self::Status(_)
            | Self::History(_)
            | Self::Shell(_) => true,
            Self::Release(it) => it.dry_run,
            Self::Deploy(it) => it.plan.plan_only,
            Self::Destroy(it) => it.plan.plan_only,
            Self::Rollback(it) => it.plan.plan_only,
            Self::Preview(PreviewCommand::Up(it)) => it.plan.plan_only,
            Self::Preview(PreviewCommand::Down(it)) => it.plan.plan_only,
            Self::Preview(PreviewCommand::Reap(it)) => it.dry_run,
            Self::Prune(it) => it.dry_run,
            Self::Unlock(it) => it.force.is_none(),
            Self::Adopt(_) | Self::Hold(_) | Self::Unhold(_) => false,
        }
    }
}
