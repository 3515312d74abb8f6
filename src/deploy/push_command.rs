//! The command that saves a copy of a state, which an apply or a shell could not save, in its
//! environment.

use std::path::PathBuf;

use crate::{
    base::shell_word::shell_word,
    config::{
        flavor::Flavor,
        names::{Environment, Version},
    },
};

/// What `push_command` returns contains this, whichever tool it runs.
pub(crate) const PUSH: &str = " state push ";

/// Where a copy of a state is.
#[derive(Clone, Debug)]
pub(crate) enum StateCopy {
    /// An absolute path.
    File(PathBuf),
    /// The URL of an object in S3.
    Object(String),
}

/// Returns a command for a POSIX shell in the folder of cdflow.yml.
pub(crate) fn push_command(
    flavor: Flavor,
    version: &Version,
    environment: &Environment,
    copy: &StateCopy,
) -> String {
    let push = format!("cdflow shell {environment} {version} -- {}{PUSH}", flavor.program());
    match copy {
        StateCopy::File(path) => format!("{push}{}", shell_word(&path.to_string_lossy())),
        StateCopy::Object(url) => format!("aws s3 cp {} - | {push}-", shell_word(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_an_object() {
        let (version, environment) = ("42".parse().unwrap(), "live".parse().unwrap());
        let push = |flavor, copy| push_command(flavor, &version, &environment, &copy);
        assert_eq!(
            push(Flavor::Terraform, StateCopy::File("/my states/a.tfstate".into())),
            "cdflow shell live 42 -- terraform state push '/my states/a.tfstate'"
        );
        assert_eq!(
            push(Flavor::OpenTofu, StateCopy::Object("s3://b/recovery/a.tfstate".into())),
            "aws s3 cp s3://b/recovery/a.tfstate - | cdflow shell live 42 -- tofu state push -"
        );
    }
}
