//! Terraform or OpenTofu: their names, and what differs between the two.

use semver::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    Terraform,
    OpenTofu,
}

impl Flavor {
    /// Returns the name in `manifest.json` and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::OpenTofu => "opentofu",
        }
    }

    /// Returns the name of the product, in sentences.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Terraform => "Terraform",
            Self::OpenTofu => "OpenTofu",
        }
    }

    /// Returns the file name of the program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::OpenTofu => "tofu",
        }
    }

    /// Returns the oldest version with all options that cdflow uses.
    pub(crate) fn oldest(self) -> Version {
        match self {
            Self::Terraform => Version::new(1, 6, 0),
            Self::OpenTofu => Version::new(1, 7, 0),
        }
    }

    /// Returns the key in cdflow.yml for its version.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Terraform => "terraform-version",
            Self::OpenTofu => "opentofu-version",
        }
    }
}
