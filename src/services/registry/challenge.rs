//! The authorization that a registry asks for: the header `WWW-Authenticate`.

use crate::base::url;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    /// A token is fetched at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut fields = fields(rest);
        let mut take = |name: &str| {
            fields.iter().position(|(n, _)| n == name).map(|at| fields.swap_remove(at).1)
        };
        Some(Self::Bearer { realm: take("realm")?, service: take("service"), scope: take("scope") })
    }
}

/// `name="value",…`: a comma inside the quotes does not separate.
fn fields(text: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        fields.push((name.trim_matches([',', ' ']).to_ascii_lowercase(), value.trim().to_owned()));
        rest = after;
    }
    fields
}

/// A realm may have a query already.
pub(crate) fn with_query(realm: &str, fields: &[(&str, String)]) -> String {
    let separator = if realm.contains('?') { '&' } else { '?' };
    format!("{realm}{separator}{}", encoded(fields))
}

/// As a query, or as the body of a form.
pub(crate) fn encoded(fields: &[(&str, String)]) -> String {
    let pairs: Vec<_> =
        fields.iter().map(|(name, value)| format!("{name}={}", url::encode(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        assert_eq!(
            Challenge::parse("Basic realm=\"https://x/\",service=\"ecr\""),
            Some(Challenge::Basic)
        );
        let bearer = |service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: "https://auth/token?x=1".to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        let header = "bearer realm=\"https://auth/token?x=1\", \
        service=\"r.io\",scope=\"repository:a/b:pull,push\"";
        assert_eq!(
            Challenge::parse(header),
            Some(bearer(Some("r.io"), Some("repository:a/b:pull,push")))
        );
        assert_eq!(
            Challenge::parse("Bearer realm=https://auth/token?x=1"),
            Some(bearer(None, None))
        );
        assert_eq!(Challenge::parse("Bearer service=\"x\""), None);
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn queries() {
        let fields =
            [("scope", "repository:a/b:pull,push".to_owned()), ("service", "r.io".to_owned())];
        let query = "scope=repository%3Aa%2Fb%3Apull%2Cpush&service=r.io";
        assert_eq!(
            with_query("https://auth/token", &fields),
            format!("https://auth/token?{query}")
        );
        assert_eq!(
            with_query("https://auth/token?x=1", &fields),
            format!("https://auth/token?x=1&{query}")
        );
    }
}
