//! Reads the parameters `/cdflow/<environment>/<component>/<name>` of AWS Systems Manager, of any
//! type.

use aws_sdk_ssm::types::Parameter;

use super::request::{Secrets, SecretsRequest};
use crate::{
    base::{error::Result, redact::Secret},
    services::aws::failure::Failure,
};

pub(crate) async fn read(request: &SecretsRequest<'_>) -> Result<Secrets> {
    let found = parameters(request, true).await?;
    let secrets =
        found.iter().filter_map(|(name, it)| Some((name.clone(), Secret::new(it.value()?))));
    Ok(secrets.collect())
}

/// Returns the names alone: nothing is decrypted.
pub(super) async fn names(request: &SecretsRequest<'_>) -> Result<Vec<String>> {
    Ok(parameters(request, false).await?.into_iter().map(|(name, _)| name).collect())
}

/// Returns the parameters by their short names.
async fn parameters(
    request: &SecretsRequest<'_>,
    decrypted: bool,
) -> Result<Vec<(String, Parameter)>> {
    let path = format!("/cdflow/{}/{}/", request.environment_name(), request.identity.component);
    let client = aws_sdk_ssm::Client::new(&request.session.config);
    let asked = client.get_parameters_by_path().path(&path).with_decryption(decrypted);
    let pages: Vec<_> =
        asked.into_paginator().send().collect::<Result<_, _>>().await.map_err(|error| {
            Failure::of(&error)
                .into_error(format!("cannot read the parameters under `{path}`"), request.region())
        })?;
    let short = |name: &str| name.strip_prefix(&path).unwrap_or(name).to_owned();
    let found = pages.into_iter().flat_map(|page| page.parameters.unwrap_or_default());
    Ok(found.filter_map(|parameter| Some((short(parameter.name()?), parameter))).collect())
}
