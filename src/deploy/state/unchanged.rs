//! Whether the apply of a plan without changes would leave everything as it is.

use super::migration::holder;
use crate::{
    context::Context,
    deploy::{order::Order, prepare::Prepared},
    terraform::{Plan, PlanMode, state::stored},
};

/// Whether the stored state is, byte by byte, the one that the apply would save. Asked under the
/// lock of the state, as Terraform would ask. Terraform starts all providers for the same answer.
///
/// If this cannot be found out, for example because another run holds the lock, Terraform applies.
pub(crate) async fn is_unchanged(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    plan: &Plan,
) -> bool {
    let home = &prepared.state_home;
    if order.mode != PlanMode::Deploy {
        return false;
    }
    let Some(planned) = plan.unchanged_state() else { return false };
    let asked = async {
        let place = home.place.describe();
        let holder = holder(context, order.environment(), "cdflow deploy", &place)?;
        stored::is_exactly(&home.object()?, &planned, &holder).await
    };
    match asked.await {
        Ok(is_unchanged) => is_unchanged,
        Err(error) => {
            context.host.log.detail(&format!("Terraform compares the state: {}", error.story()));
            false
        }
    }
}
