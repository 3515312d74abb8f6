//! Who starts a run, for the ledger.

use nix::unistd::{User, geteuid};

use crate::{
    base::{printable, process_env::ProcessEnv},
    context::Context,
    services::git::Git,
    terraform::state::lock::host_name,
};

/// In characters.
const LONGEST: usize = 200;

/// Returns the name that the CI gives the person. On the command line: the address that git writes
/// into commits, or else `user@host`.
pub(crate) async fn actor(context: &Context) -> Option<String> {
    let host = &context.host;
    let found = match host.run.as_deref() {
        Some(run) => run.actor.clone().or_else(|| host.environment.get("USER").map(str::to_owned)),
        None => match Git::find(host) {
            Ok(git) => git.email(&context.folder).await,
            Err(_) => None,
        }
        .or_else(|| user_and_host(&host.environment)),
    };
    found.map(|name| printable::line(&name).chars().take(LONGEST).collect())
}

fn user_and_host(environment: &ProcessEnv) -> Option<String> {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| environment.get(name));
    let user = named
        .map(str::to_owned)
        .or_else(|| User::from_uid(geteuid()).ok().flatten().map(|user| user.name))?;
    Some(match host_name().as_str() {
        "" => user,
        host => format!("{user}@{host}"),
    })
}
