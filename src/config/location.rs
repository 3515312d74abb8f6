//! Locations as people write them: `s3://bucket/key`, `file:path` or a path.

use std::path::PathBuf;

use crate::base::printable;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Object {
        bucket: String,
        key: String,
    },
    /// `file:path` or `file:///path`, without the prefix.
    File(PathBuf),
    Path(PathBuf),
}

impl Location {
    /// Returns None for an incomplete location and for other URLs.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return (!path.is_empty()).then(|| Self::File(path.into()));
        }
        if let Some(object) = text.strip_prefix("s3://") {
            let (bucket, key) = object.split_once('/')?;
            return (!bucket.is_empty() && !key.is_empty())
                .then(|| Self::Object { bucket: bucket.to_owned(), key: key.to_owned() });
        }
        // One slash, or none, is a mistake: no path begins like that.
        let is_path = !text.is_empty() && !text.contains("://") && !text.starts_with("s3:");
        is_path.then(|| Self::Path(text.into()))
    }
}

/// The message about `text`, which is not a location of `what`.
pub(crate) fn rejected(text: &str, what: &str, expected: &str) -> String {
    let shown = match text.split_once("://").zip(text.rsplit_once('@')) {
        Some(((scheme, _), (_, host))) => format!("{scheme}://***@{host}"),
        None => text.to_owned(),
    };
    let rest = text.strip_prefix("s3:").filter(|rest| !rest.starts_with("//"));
    let meant = rest.map(|rest| format!("s3://{}", rest.trim_start_matches('/')));
    let meant = meant.map_or_else(String::new, |meant| {
        format!("; did you mean `{}`?", printable::excerpt(&meant))
    });
    format!("`{}` is not {what}: expected {expected}{meant}", printable::excerpt(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling() {
        let object = |bucket: &str, key: &str| {
            Some(Location::Object { bucket: bucket.to_owned(), key: key.to_owned() })
        };
        let file = |path: &str| Some(Location::File(path.into()));
        for (text, expected) in [
            ("s3://bucket/a/key", object("bucket", "a/key")),
            ("file:a/b", file("a/b")),
            ("file:///a/b", file("/a/b")),
            ("../a b", Some(Location::Path("../a b".into()))),
            ("", None),
            ("file:", None),
            ("s3://bucket", None),
            ("s3://bucket/", None),
            ("s3:///key", None),
            ("s3:/bucket/key", None),
            ("s3:bucket/key", None),
            ("https://example.com/key", None),
        ] {
            assert_eq!(Location::parse(text), expected, "{text}");
        }
    }
}
