//! Reads the parameters `/cdflow/<environment>/<component>/<name>` of AWS Systems Manager, of any
//! type.

use super::request::{Secrets, SecretsRequest};
use crate::{
    base::{error::Result, redact::Secret},
    services::aws::failure::Failure,
};

pub(crate) async fn read(request: &SecretsRequest<'_>) -> Result<Secrets> {
    let path = format!("/cdflow/{}/{}/", request.environment_name(), request.identity.component);
    let client = aws_sdk_ssm::Client::new(&request.session.config);
    let pages =
        client.get_parameters_by_path().path(&path).with_decryption(true).into_paginator().send();
    let pages: Vec<_> = pages.collect::<Result<_, _>>().await.map_err(|error| {
        Failure::of(&error)
            .into_error(format!("cannot read the parameters under `{path}`"), request.region())
    })?;
    let short = |name: &str| name.strip_prefix(&path).unwrap_or(name).to_owned();
    let found = pages.iter().flat_map(|page| page.parameters());
    let secrets = found
        .filter_map(|parameter| Some((short(parameter.name()?), Secret::new(parameter.value()?))));
    Ok(secrets.collect())
}
