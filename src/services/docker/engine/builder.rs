//! Which of its two builders an engine uses.

use std::fmt;

use bollard::models::SystemVersion;

use crate::base::process_env::ProcessEnv;

/// Which of its two builders an engine is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builder {
    BuildKit,
    Classic { because: &'static str },
}

impl Builder {
    /// BuildKit, unless the engine has none or DOCKER_BUILDKIT=0 says otherwise, as for Docker's
    /// own client.
    pub(crate) fn choose(version: &SystemVersion, environment: &ProcessEnv) -> Self {
        if environment.get("DOCKER_BUILDKIT").is_some_and(|value| ["0", "false"].contains(&value)) {
            return Self::Classic { because: "DOCKER_BUILDKIT says so" };
        }
        if is_podman(version) {
            return Self::Classic { because: "Podman has no BuildKit" };
        }
        match version.api_version.as_deref().and_then(minor) {
            Some((major, minor)) if (major, minor) < (1, 39) => {
                Self::Classic { because: "the engine is too old" }
            }
            _ => Self::BuildKit,
        }
    }
}

impl fmt::Display for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuildKit => f.write_str("BuildKit"),
            Self::Classic { because } => write!(f, "the classic builder ({because})"),
        }
    }
}

pub(super) fn is_podman(version: &SystemVersion) -> bool {
    version.components.iter().flatten().any(|component| component.name.contains("Podman"))
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use bollard::models::SystemVersionComponents;

    use super::*;

    fn choose(api: &str, component: &str, buildkit: Option<&str>) -> Builder {
        let version = SystemVersion {
            api_version: Some(api.to_owned()),
            components: Some(vec![SystemVersionComponents {
                name: component.to_owned(),
                ..<_>::default()
            }]),
            ..SystemVersion::default()
        };
        Builder::choose(
            &version,
            &ProcessEnv::new(buildkit.map(|value| ("DOCKER_BUILDKIT".into(), value.into()))),
        )
    }

    #[test]
    fn which_builder() {
        assert_eq!(choose("1.41", "Engine", None), Builder::BuildKit);
        assert_eq!(choose("1.41", "Engine", Some("1")), Builder::BuildKit);
        for classic in [
            choose("1.41", "Engine", Some("0")),
            choose("1.38", "Engine", None),
            choose("1.40", "Podman Engine", None),
        ] {
            assert!(matches!(classic, Builder::Classic { .. }), "{classic:?}");
        }
    }
}
