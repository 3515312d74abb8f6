//! Where the engine listens, decided as Docker's own client decides it, from the environment as a
//! value.

use std::{
    fmt, fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use crate::base::{
    error::{Error, Result},
    process_env::ProcessEnv,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineAddress {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
    /// `certificates` has ca.pem, cert.pem and key.pem.
    Tls {
        address: String,
        certificates: PathBuf,
    },
}

impl EngineAddress {
    /// DOCKER_HOST; without it the first socket that is there: Docker's, a rootless Docker's,
    /// Podman's.
    pub(crate) fn find(environment: &ProcessEnv) -> Result<Self> {
        if let Some(named) = environment.get("DOCKER_HOST") {
            return Self::parse(named, environment);
        }
        let places = sockets(environment);
        if let Some(socket) = places.iter().find(|path| is_socket(path)) {
            return Ok(Self::Unix(socket.clone()));
        }
        let places: Vec<String> =
            places.iter().map(|path| format!("`{}`", path.display())).collect();
        Err(Error::input("no Docker engine found")
            .why(format!(
                "DOCKER_HOST is not set, and none of these sockets exists: {}",
                places.join(", ")
            ))
            .hint("start Docker or Podman's socket, or set DOCKER_HOST to the engine's address")
            .hint(
                "on GitHub Actions, use a Linux runner with Docker: \
                 it mounts its socket into a container action",
            ))
    }

    fn parse(named: &str, environment: &ProcessEnv) -> Result<Self> {
        let refuse = |why: &str| {
            Error::input(format!("DOCKER_HOST `{}` can't be used", named.escape_debug()))
                .why(why)
                .hint("use unix:///path, tcp://host:port, http://host:port or https://host:port")
        };
        let (scheme, rest) = named.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let address = rest.trim_end_matches('/');
        if address.is_empty() {
            return Err(refuse("it has no address"));
        }
        let verify = environment.get("DOCKER_TLS_VERIFY").is_some();
        match (scheme, verify) {
            ("unix", _) => Ok(Self::Unix(PathBuf::from(rest))),
            ("tcp", true) | ("https", _) => Ok(Self::Tls {
                address: address.to_owned(),
                certificates: certificates(environment)
                    .ok_or_else(|| refuse("DOCKER_CERT_PATH and HOME are unset"))?,
            }),
            ("tcp" | "http", _) => Ok(Self::Tcp(address.to_owned())),
            ("ssh", _) => Err(refuse("an engine behind ssh is not supported")),
            _ => Err(refuse("its scheme is unknown")),
        }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls { address, .. } => write!(f, "https://{address}"),
        }
    }
}

fn certificates(environment: &ProcessEnv) -> Option<PathBuf> {
    let home = || environment.get("HOME").map(|home| Path::new(home).join(".docker"));
    environment.get("DOCKER_CERT_PATH").map(PathBuf::from).or_else(home)
}

fn sockets(environment: &ProcessEnv) -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("/var/run/docker.sock")];
    let run = environment.get("XDG_RUNTIME_DIR").map(Path::new);
    places.extend(run.map(|run| run.join("docker.sock")));
    places.extend(run.map(|run| run.join("podman/podman.sock")));
    places.push(PathBuf::from("/run/podman/podman.sock"));
    places
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> ProcessEnv {
        ProcessEnv::new(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    fn named(host: &str, others: &[(&str, &str)]) -> Result<EngineAddress> {
        EngineAddress::find(&environment(&[&[("DOCKER_HOST", host)], others].concat()))
    }

    #[test]
    fn what_docker_host_says() {
        assert_eq!(
            named("unix:///run/x.sock", &[]).unwrap(),
            EngineAddress::Unix("/run/x.sock".into())
        );
        for plain in ["tcp://10.0.0.1:2375", "http://10.0.0.1:2375/"] {
            assert_eq!(named(plain, &[]).unwrap(), EngineAddress::Tcp("10.0.0.1:2375".into()));
        }
        let tls = |certificates: &str| EngineAddress::Tls {
            address: "h:2376".into(),
            certificates: certificates.into(),
        };
        let verify = ("DOCKER_TLS_VERIFY", "1");
        assert_eq!(
            named("tcp://h:2376", &[verify, ("DOCKER_CERT_PATH", "/c")]).unwrap(),
            tls("/c")
        );
        assert_eq!(
            named("https://h:2376", &[("HOME", "/home/u")]).unwrap(),
            tls("/home/u/.docker")
        );
        for bad in ["ssh://me@host", "docker.sock", "npipe:////./pipe/x", "tcp://", "unix://"] {
            let refused = named(bad, &[]).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("`{bad}`")) && refused.contains("unix:///path"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_rootless_socket_and_podmans() {
        if is_socket(Path::new("/var/run/docker.sock")) {
            // This machine's own engine comes first, whatever else there is.
            assert_eq!(
                EngineAddress::find(&environment(&[])).unwrap(),
                EngineAddress::Unix("/var/run/docker.sock".into())
            );
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let found = || {
            EngineAddress::find(&environment(&[(
                "XDG_RUNTIME_DIR",
                folder.path().to_str().unwrap(),
            )]))
        };
        let podman = folder.path().join("podman/podman.sock");
        fs::create_dir(podman.parent().unwrap()).unwrap();
        if !is_socket(Path::new("/run/podman/podman.sock")) {
            let missing = found().unwrap_err().to_string();
            assert!(
                missing.contains("/var/run/docker.sock")
                    && missing.contains(podman.to_str().unwrap()),
                "{missing}"
            );
        }
        let _podman = UnixListener::bind(&podman).unwrap();
        assert_eq!(found().unwrap(), EngineAddress::Unix(podman));
        let docker = folder.path().join("docker.sock");
        let _docker = UnixListener::bind(&docker).unwrap();
        assert_eq!(found().unwrap(), EngineAddress::Unix(docker));
    }
}
