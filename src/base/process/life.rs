//! How long a program may run, and what ends it.

use crate::base::limits::Limit;

/// How long a program may run, and what ends it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    /// It only reads, so nothing is lost: it is killed at the limit and at the first signal.
    Expendable(Limit),
    /// It gets an interrupt at the limit and at the first signal. It is killed after `stop`, or at
    /// the second signal.
    Stoppable { limit: Limit, stop: Limit },
    /// It gets an interrupt at the first signal, and is never killed: what it does could be lost.
    Protected,
}

impl Life {
    /// For Terraform, which might hold a state lock.
    pub(crate) fn of_terraform(limit: Limit) -> Self {
        Self::Stoppable { limit, stop: Limit::StopTerraform }
    }

    pub(super) fn limit(self) -> Option<Limit> {
        match self {
            Self::Expendable(limit) | Self::Stoppable { limit, .. } => Some(limit),
            Self::Protected => None,
        }
    }
}
