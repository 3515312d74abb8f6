//! `release.json`: what a release says about itself. Terraform gets it as `var.release`.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::error::{Error, Result};

/// The file's name in a bundle.
pub(crate) const FILE: &str = "release.json";

/// The content of `release.json`. Release data is free-form, so every key is kept, and values
/// that cdflow did not write may have any JSON type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReleaseFacts {
    #[serde(default)]
    release: Map<String, Value>,
}

/// The Lambda zip that a release refers to.
#[derive(Debug, PartialEq)]
pub(crate) struct LambdaZipObject<'f> {
    pub(crate) bucket: &'f str,
    pub(crate) key: &'f str,
}

impl ReleaseFacts {
    pub(crate) fn new(facts: &BTreeMap<String, String>) -> Self {
        let pairs = facts.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        Self { release: pairs.collect() }
    }

    /// Fails with `Exit::Integrity` if `bytes` is not a JSON object with an object `release`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::integrity(format!("cannot parse {FILE}")).why(error))
    }

    /// Reads the file from an unpacked bundle.
    pub(crate) fn read(bundle: &Path) -> Result<Self> {
        let bytes = fs::read(bundle.join(FILE)).map_err(|error| {
            Error::integrity(format!("cannot read {FILE} of the bundle")).why(error)
        })?;
        Self::parse(&bytes)
    }

    /// Indented JSON with a newline at the end: the bytes of the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        format!("{:#}\n", serde_json::json!({"release": self.release})).into_bytes()
    }

    pub(crate) fn get(&self, key: &str) -> &Value {
        self.release.get(key).unwrap_or(&Value::Null)
    }

    /// Returns the value of `key` if it is a string.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).as_str()
    }

    pub(crate) fn commit(&self) -> Option<&str> {
        self.text("commit")
    }

    /// `<repository>@<digest>` of a release with an image.
    pub(crate) fn image_id(&self) -> Option<&str> {
        self.text("image_id")
    }

    /// The object key of the Lambda zip.
    pub(crate) fn lambda_key(&self) -> Option<&str> {
        self.text("s3_key")
    }

    /// The Lambda zip for functions in `region`.
    pub(crate) fn lambda_zip(&self, region: &str) -> Option<LambdaZipObject<'_>> {
        let of_region = self.text(&format!("s3_bucket.{region}"));
        let bucket = of_region.or_else(|| self.text("s3_bucket"))?;
        Some(LambdaZipObject { bucket, key: self.lambda_key()? })
    }

    pub(crate) fn values(&self) -> &Map<String, Value> {
        &self.release
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Exit;

    #[test]
    fn free_form_keys_survive() {
        let text = r#"{"release": {"commit": "abc", "odd": [1, {"a": null},
            166666666666666666666666666661666666666666666666666666], "s3_key": "k"}}"#;
        let facts = ReleaseFacts::parse(text.as_bytes()).unwrap();
        assert_eq!(facts.commit(), Some("abc"));
        assert_eq!(facts.text("odd"), None);
        assert_eq!(ReleaseFacts::parse(&facts.to_bytes()).unwrap(), facts);
        assert_eq!(facts.values().len(), 3);
    }

    #[test]
    fn the_zip_of_a_region() {
        let facts = |text: &str| ReleaseFacts::parse(text.as_bytes()).unwrap();
        let both = facts(
            r#"{"release": {"s3_key": "k", "s3_bucket": "one", "s3_bucket.eu-west-1": "two"}}"#,
        );
        assert_eq!(both.lambda_zip("eu-west-1").unwrap().bucket, "two");
        assert_eq!(both.lambda_zip("us-east-1").unwrap().bucket, "one");
        assert_eq!(facts(r#"{"release": {"s3_bucket": "one"}}"#).lambda_zip("r"), None);
    }

    #[test]
    fn damaged() {
        for text in ["", "5", "{\"release\": 5}"] {
            let error = ReleaseFacts::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.exit(), Exit::Integrity, "{text}");
        }
        assert_eq!(ReleaseFacts::parse(b"{}").unwrap(), ReleaseFacts::default());
    }
}
