//! The location of an environment's state, and its locks.

use std::path::PathBuf;

use crate::config::{
    component::StateFilename,
    identity::Identity,
    names::Environment,
    scheme::{Account, AccountScheme, Encryption, StateBackend},
};

/// The lock table of the classic layout, which has only one name.
pub(crate) const CLASSIC_TABLE: &str = "terraform_locks";
/// Terraform's name for the state file of a local workspace, which cannot be changed.
const LOCAL_FILE: &str = "terraform.tfstate";

/// The location of one environment's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatePlace {
    S3(S3Place),
    Local {
        /// The folder with the states of all components.
        root: PathBuf,
        /// The folder with this component's states, relative to `root`.
        prefix: String,
        environment: Environment,
    },
}

/// The location of a state in S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Place {
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) account_id: Option<String>,
    /// The key of the state's object.
    pub(crate) key: String,
    /// The part of the key before `/<environment>/`. None if environments are not workspaces.
    pub(crate) workspaces: Option<String>,
    /// Lock by a file in S3. None if not set: use it if Terraform supports it (1.10).
    pub(crate) use_lockfile: Option<bool>,
    pub(crate) dynamodb_table: Option<String>,
    /// None: the bucket decides.
    pub(crate) encryption: Option<Encryption>,
}

impl StatePlace {
    /// Returns None in the classic layout, whose bucket must be found first: see [`Self::classic`].
    pub(crate) fn of(
        scheme: &AccountScheme,
        identity: &Identity,
        environment: &Environment,
        filename: &StateFilename,
    ) -> Option<Self> {
        let prefix = identity.prefix();
        match &scheme.backend {
            StateBackend::Classic { .. } => None,
            StateBackend::Local { directory } => Some(Self::Local {
                root: directory.clone(),
                prefix,
                environment: environment.clone(),
            }),
            StateBackend::S3 { bucket, use_lockfile, dynamodb_table } => Some(Self::S3(S3Place {
                bucket: bucket.clone(),
                region: scheme.release_account.region.clone(),
                account_id: scheme.release_account.id.clone(),
                key: format!("{prefix}/{environment}/{}", filename.0),
                workspaces: Some(prefix),
                use_lockfile: *use_lockfile,
                dynamodb_table: dynamodb_table.clone(),
                encryption: scheme.encryption_of(bucket),
            })),
        }
    }

    /// Returns the location in the classic layout: `bucket` of the environment's account, and the
    /// lock table if it exists.
    pub(crate) fn classic(
        bucket: String,
        has_table: bool,
        account: &Account,
        use_lockfile: Option<bool>,
        identity: &Identity,
        environment: &Environment,
        filename: &StateFilename,
    ) -> Self {
        Self::S3(S3Place {
            bucket,
            region: account.region.clone(),
            account_id: account.id.clone(),
            key: format!("{environment}/{}/{}", identity.component, filename.0),
            workspaces: None,
            use_lockfile,
            dynamodb_table: has_table.then(|| CLASSIC_TABLE.to_owned()),
            encryption: None,
        })
    }

    /// The same place, with the encryption that `scheme` asks for.
    pub(crate) fn encrypted(mut self, scheme: &AccountScheme) -> Self {
        if let Self::S3(place) = &mut self {
            place.encryption = scheme.encryption_of(&place.bucket);
        }
        self
    }

    /// Returns the key of the state, relative to its bucket or `root`.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::S3(place) => place.key.clone(),
            Self::Local { prefix, environment, .. } => {
                format!("{prefix}/{environment}/{LOCAL_FILE}")
            }
        }
    }

    /// Returns the path of a local state.
    pub(crate) fn local_file(&self) -> Option<PathBuf> {
        match self {
            Self::S3(_) => None,
            Self::Local { root, .. } => Some(root.join(self.key())),
        }
    }

    /// Returns the key of the marker for a state that was migrated from another account scheme, so
    /// that it is never copied again. A local marker is outside the workspace's folder, because
    /// Terraform removes that with the workspace.
    pub(crate) fn migrated_marker(&self) -> String {
        match self {
            Self::S3(place) => {
                let folder = place.key.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/MIGRATED")
            }
            Self::Local { prefix, environment, .. } => format!("{prefix}/{environment}.MIGRATED"),
        }
    }

    /// Returns the URL of the state for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::S3(place) => format!("s3://{}/{}", place.bucket, place.key),
            Self::Local { root, .. } => format!("file:{}", root.join(self.key()).display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::identity::Layout;

    #[test]
    fn a_classic_key_starts_with_the_environment() {
        let identity = Identity {
            team: "t".parse().unwrap(),
            component: "c".parse().unwrap(),
            layout: Layout::Classic,
        };
        let account = Account {
            alias: "dev".into(),
            id: Some("123456789012".into()),
            role: Some("r".into()),
            plan_role: None,
            region: "eu-west-1".into(),
            region_key: "default-region".into(),
            file: "scheme.json".into(),
        };
        let place = StatePlace::classic(
            "b".into(),
            true,
            &account,
            None,
            &identity,
            &"live".parse().unwrap(),
            &"my.tfstate".parse().unwrap(),
        );
        assert_eq!(place.describe(), "s3://b/live/c/my.tfstate");
        let StatePlace::S3(place) = place else { unreachable!() };
        assert_eq!(
            (place.workspaces, place.dynamodb_table.as_deref()),
            (None, Some("terraform_locks"))
        );
    }
}
