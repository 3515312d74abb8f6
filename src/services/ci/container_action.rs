//! What a container action sees of its runner.

use crate::base::process_env::ProcessEnv;

/// Where the runner mounts the checkout.
pub(crate) const WORKSPACE: &str = "/github/workspace";

/// Whether cdflow runs in a container action.
pub(crate) fn is_container_action(environment: &ProcessEnv) -> bool {
    environment.get("GITHUB_WORKSPACE") == Some(WORKSPACE)
}
