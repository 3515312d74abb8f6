//! The GitHub of a run: github.com, a company's part of GHE.com, or a GitHub Enterprise Server.
//! Derives its addresses.

use std::fmt;

use crate::base::process_env::ProcessEnv;

const PUBLIC: &str = "github.com";
/// Data residency: `acme.ghe.com`.
const CLOUD: &str = ".ghe.com";
/// The path of the API on a GitHub Enterprise Server.
const API_PATH: &str = "/api/v3";

/// A GitHub, by its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Public,
    /// `acme.ghe.com`
    Cloud {
        host: String,
    },
    /// A GitHub Enterprise Server.
    Own {
        scheme: String,
        host: String,
    },
}

impl Server {
    /// Reads GITHUB_SERVER_URL, which the runner sets.
    pub(crate) fn of(environment: &ProcessEnv) -> Self {
        let url = environment.get("GITHUB_SERVER_URL").unwrap_or_default();
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
        match host.as_str() {
            "" | PUBLIC => Self::Public,
            name if name.ends_with(CLOUD) => Self::Cloud { host },
            _ => Self::Own { scheme: scheme.to_owned(), host },
        }
    }

    /// Returns the address of the REST API.
    pub(crate) fn api(&self) -> String {
        match self {
            Self::Public => format!("https://api.{PUBLIC}"),
            Self::Cloud { host } => format!("https://api.{host}"),
            Self::Own { scheme, host } => format!("{scheme}://{host}{API_PATH}"),
        }
    }

    /// Returns the issuer of ID tokens without its scheme, as trust policies name it.
    pub(crate) fn issuer(&self) -> String {
        match self {
            Self::Public => "token.actions.githubusercontent.com".to_owned(),
            Self::Cloud { host } => format!("token.actions.{host}"),
            Self::Own { host, .. } => format!("{host}/_services/token"),
        }
    }
}

/// Returns the address of GraphQL for `url`, the address of the REST API.
pub(crate) fn graphql(url: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.strip_suffix(API_PATH) {
        Some(origin) => format!("{origin}/api/graphql"),
        None => format!("{url}/graphql"),
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str(PUBLIC),
            Self::Cloud { host } => write!(f, "GHE.com ({host})"),
            Self::Own { host, .. } => write!(f, "GitHub Enterprise Server ({host})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_follow_from_the_host() {
        let of = |url: &str| {
            let server = Server::of(&ProcessEnv::new([("GITHUB_SERVER_URL".into(), url.into())]));
            [server.api(), graphql(&server.api()), server.issuer(), server.to_string()]
        };
        let public = [
            "https://api.github.com",
            "https://api.github.com/graphql",
            "token.actions.githubusercontent.com",
            "github.com",
        ];
        assert_eq!([of(""), of("https://github.com"), of("https://GitHub.com/")], [public; 3]);
        let cloud = [
            "https://api.acme.ghe.com",
            "https://api.acme.ghe.com/graphql",
            "token.actions.acme.ghe.com",
            "GHE.com (acme.ghe.com)",
        ];
        assert_eq!(of("https://acme.ghe.com"), cloud);
        let own = [
            "https://git.acme.com:8443/api/v3",
            "https://git.acme.com:8443/api/graphql",
            "git.acme.com:8443/_services/token",
            "GitHub Enterprise Server (git.acme.com:8443)",
        ];
        assert_eq!(of("https://git.acme.com:8443"), own);
        assert_eq!(
            of("https://github.com.evil.example")[0],
            "https://github.com.evil.example/api/v3"
        );
    }
}
