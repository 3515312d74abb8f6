//! Whether the apply of a plan without changes would leave everything as it is.

use super::migration::holder;
use crate::{
    base::error::Result,
    config::flavor::Flavor,
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    terraform::{Plan, PlanMode, state::stored},
};

/// With it, OpenTofu can write the state once more.
const ENCRYPTION: &str = "TF_ENCRYPTION";

/// Whether the stored state is, byte by byte, the one that the apply would save. Asked under the
/// lock of the state, as Terraform would ask. Terraform starts all providers for the same answer.
///
/// If this cannot be found out, for example because another run holds the lock, Terraform applies.
/// Fails only after a signal.
pub(crate) async fn is_unchanged(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    plan: &Plan,
) -> Result<bool> {
    let (home, flavor) = (&prepared.state_home, prepared.tool.flavor);
    let is_encrypted =
        flavor == Flavor::OpenTofu && context.host.environment.get(ENCRYPTION).is_some();
    if order.mode != PlanMode::Deploy || is_encrypted {
        return Ok(false);
    }
    let Some(planned) = plan.unchanged_state(flavor) else { return Ok(false) };
    let asked = async {
        let place = home.place.describe();
        let holder = holder(context, order.environment(), "cdflow deploy", &place)?;
        stored::is_exactly(&home.object()?, &planned, &holder, &context.host.interrupt).await
    };
    let log = &context.host.log;
    match asked.await {
        Ok((is_unchanged, released)) => {
            if let Err(error) = released {
                log.warning(&error.to_string());
            }
            Ok(is_unchanged)
        }
        Err(error) if context.host.interrupt.requested().is_some() => Err(error),
        Err(error) => {
            log.detail(&format!("Terraform compares the state: {}", error.story()));
            Ok(false)
        }
    }
}
