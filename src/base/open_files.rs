//! The limit of open files. With too few, a run fails at any step, and cannot remove its files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::error::{Error, Result};

/// A deploy needs about 20, and more if it talks to AWS.
const NEEDED: u64 = 64;
/// What a lower limit is raised to, if that is permitted. It is the usual one; `status` of many
/// environments has some hundred connections.
const USUAL: u64 = 1024;

/// Raises the limit if it is low, also for the programs that cdflow starts. Fails if it is too low
/// and that is not permitted.
pub(crate) fn ensure() -> Result<()> {
    let Ok((limit, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    let wanted = most.min(USUAL);
    let is_raised = limit < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, most).is_ok();
    if limit >= NEEDED || (is_raised && wanted >= NEEDED) {
        return Ok(());
    }
    Err(Error::input(format!("this process can open only {limit} files"))
        .why(format!("cdflow needs at least {NEEDED}"))
        .hint(format!("raise the limit: `ulimit -n {USUAL}`, or that of the container or service")))
}
