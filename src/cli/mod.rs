//! The command line and the inputs of the Action.

pub(crate) mod args;
pub(crate) mod report_flags;
