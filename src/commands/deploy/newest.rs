//! The newest release, for a person who names none.

use crate::{
    base::error::{Error, Result},
    config::names::{Environment, Version},
    context::Context,
    deploy::confirmation,
    release::listing,
};

/// Asks whether to deploy the newest release, and returns it. Releases of previews are not offered.
pub(super) async fn offer(context: &Context, environment: &Environment) -> Result<Version> {
    let listing = listing::list(&context.store, &context.identity);
    let listed = context.host.interrupt.or_cancel("listing the releases", listing).await?;
    let component = &context.identity.component;
    let newest =
        listed.into_iter().find(|release| !release.version.is_of_preview()).ok_or_else(|| {
            Error::input(format!("`{component}` has no release to deploy"))
                .hint("publish one: cdflow release VERSION")
        })?;
    let published = newest
        .published
        .map(|time| format!(", published {}", time.strftime("%Y-%m-%d %H:%MZ")))
        .unwrap_or_default();
    let version = newest.version;
    confirmation::yes(
        context,
        &format!("Deploy {component} {version}, the newest release{published}, to {environment}?"),
    )
    .await?;
    Ok(version)
}
