//! Reads the secret `cdflow/<environment>/<component>` of AWS Secrets Manager, a JSON object of
//! strings.

use serde_json::{Map, Value};

use super::request::{Secrets, SecretsRequest};
use crate::{
    base::{
        error::{Error, Result},
        redact::Secret,
    },
    services::aws::failure::Failure,
};

pub(crate) async fn read(request: &SecretsRequest<'_>, may_be_missing: bool) -> Result<Secrets> {
    let id = format!("cdflow/{}/{}", request.environment_name(), request.identity.component);
    let client = aws_sdk_secretsmanager::Client::new(&request.session.config);
    match client.get_secret_value().secret_id(&id).send().await {
        Ok(answer) => parse(answer.secret_string().unwrap_or_default(), &id),
        Err(error) => match Failure::of(&error) {
            failure if failure.code() == Some("ResourceNotFoundException") && may_be_missing => {
                Ok(Secrets::new())
            }
            failure => Err(failure.into_error(
                format!("cannot read the secret `{id}` of Secrets Manager"),
                request.region(),
            )),
        },
    }
}

/// Drops the errors of the JSON parser, because they quote the secret text.
fn parse(text: &str, id: &str) -> Result<Secrets> {
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| {
        Error::input(format!(
            "the secret `{id}` of Secrets Manager is not a JSON object of strings"
        ))
    })?;
    let string = |(name, value): (String, Value)| match value {
        Value::String(value) => Ok((name, Secret::new(value))),
        _ => Err(Error::input(format!(
            "the value of `{}` in the secret `{id}` is not a string",
            name.escape_debug()
        ))
        .hint("put the value in quotes")),
    };
    object.into_iter().map(string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_strings() {
        let secrets = parse(r#"{"a": "1", "b": "x\ny"}"#, "id").unwrap();
        assert_eq!(secrets["b"].expose(), "x\ny");
        for bad in ["", "hunter2", "[\"hunter2\"]", "{\"a\": 42}", "{\"a\": \"hunter2\""] {
            let error = parse(bad, "cdflow/live/app").unwrap_err().to_string();
            assert!(error.contains("cdflow/live/app") && !error.contains("hunter2"), "{error}");
        }
    }
}
