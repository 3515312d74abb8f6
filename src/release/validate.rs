//! `terraform validate` at release, on the copy of the code that init has prepared.

use std::path::Path;

use super::{init_access::InitAccess, source::Staged};
use crate::{
    base::error::Result,
    services::ci::host::Host,
    terraform::{Folder, tool::Tool},
};

/// Returns `staged` as the folder that Terraform works in. `component` is the folder of cdflow.yml,
/// which messages name instead of the copy.
pub(super) fn folder(
    host: &Host,
    tool: &Tool,
    component: &Path,
    staged: &Staged,
    access: &InitAccess,
) -> Folder {
    Folder {
        tool: tool.clone(),
        host: host.clone(),
        infra: staged.infra.clone(),
        original: component.join("infra"),
        env: access.env.clone(),
        run_as: host.run_as,
    }
}

/// Fails if Terraform finds the code invalid.
pub(crate) async fn validate(
    host: &Host,
    tool: &Tool,
    component: &Path,
    staged: &Staged,
    access: &InitAccess,
) -> Result<()> {
    host.log.step(&format!("Validate with {}", tool.label()));
    folder(host, tool, component, staged, access).validate(&staged.names()).await
}
