//! Where the state of one environment is, and what may lock it.

use std::path::PathBuf;

use crate::config::{
    component::StateFilename,
    identity::Identity,
    names::Environment,
    scheme::{Account, AccountScheme, StateBackend},
};

/// The one table of the classic layout.
pub(crate) const CLASSIC_TABLE: &str = "terraform_locks";
/// Terraform's own name for a state, which a local workspace always has.
const LOCAL_FILE: &str = "terraform.tfstate";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StatePlace {
    S3(S3Place),
    Local {
        /// Of the states of all components.
        root: PathBuf,
        /// Of this component's environments, below `root`.
        prefix: String,
        environment: Environment,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Place {
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) account_id: Option<String>,
    /// Of the state's object.
    pub(crate) key: String,
    /// What comes before `/<environment>/` in the keys of workspaces; None where the state is not a workspace's.
    pub(crate) workspaces: Option<String>,
    /// S3's own lock object. None: wherever Terraform can (1.10).
    pub(crate) use_lockfile: Option<bool>,
    pub(crate) dynamodb_table: Option<String>,
}

impl StatePlace {
    /// None in the classic layout, whose bucket must be looked for: see [`Self::classic`].
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
            })),
        }
    }

    /// In `bucket` of the environment's own account, with the classic table if that is there.
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
        })
    }

    /// Of the state's object, in its bucket or root.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::S3(place) => place.key.clone(),
            Self::Local { prefix, environment, .. } => {
                format!("{prefix}/{environment}/{LOCAL_FILE}")
            }
        }
    }

    /// What says that the state came from another account scheme, so that it is never copied once more. Terraform removes the
    /// whole folder of a local workspace.
    pub(crate) fn migrated_marker(&self) -> String {
        match self {
            Self::S3(place) => {
                let folder = place.key.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/MIGRATED")
            }
            Self::Local { prefix, environment, .. } => format!("{prefix}/{environment}.MIGRATED"),
        }
    }

    /// As messages name the state.
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
    fn the_classic_key_begins_with_the_environment() {
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
