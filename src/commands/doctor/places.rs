//! Checks of the release store, the Lambda buckets, the state and its lock.

use std::{path::Path, sync::Arc};

use nix::unistd::{AccessFlags, eaccess};

use super::report::{DoctorReport, Level};
use crate::{
    base::error::{Error, Result},
    config::{
        identity::Identity,
        scheme::{AccountScheme, StateBackend, Storage},
    },
    context,
    services::{
        aws::{failure::Failure, session::Session},
        store::ReleaseStore,
    },
    terraform::{
        state::{backend::S3Locks, classic::ClassicAccount, place::CLASSIC_TABLE},
        tool::Tool,
    },
};

/// The buckets and folders of an account scheme.
pub(crate) struct Places<'a> {
    pub(crate) scheme: &'a AccountScheme,
    pub(crate) identity: &'a Identity,
    /// Of the release account.
    pub(crate) session: Option<&'a Session>,
}

impl Places<'_> {
    pub(crate) async fn releases(&self, report: &mut DoctorReport) {
        let region = &self.scheme.release_account.region;
        self.examine(report, "release store", &self.scheme.release_bucket, region).await;
    }

    pub(crate) async fn lambda(&self, report: &mut DoctorReport, multi_region: bool) {
        let Some(places) =
            report.record_error("lambda bucket", self.scheme.lambda_places(multi_region))
        else {
            return;
        };
        for (region, place) in &places {
            self.examine(report, "lambda bucket", place, region).await;
        }
    }

    /// Checks the state and its lock, for a scheme that keeps all states in one location.
    pub(crate) async fn state(&self, report: &mut DoctorReport, tool: Option<&Tool>) {
        let region = &self.scheme.release_account.region;
        let (bucket, use_lockfile, table) = match &self.scheme.backend {
            StateBackend::Classic { .. } => return,
            StateBackend::S3 { bucket, use_lockfile, dynamodb_table } => {
                (bucket, *use_lockfile, dynamodb_table)
            }
            StateBackend::Local { directory } => {
                self.examine(report, "state", &Storage::Directory(directory.clone()), region).await;
                return report.ok("state lock", "a lock of the file system");
            }
        };
        self.examine(report, "state", &Storage::Bucket(bucket.clone()), region).await;
        let Some(tool) = tool else {
            return report.skip("state lock", "it depends on the version of Terraform");
        };
        let locks =
            report.record_error("state lock", S3Locks::choose(use_lockfile, table.as_ref(), tool));
        let Some(S3Locks { use_lockfile, dynamodb_table }) = locks else { return };
        if use_lockfile {
            report.ok("state lock", "a lock file next to the state");
        }
        if let Some(table) = dynamodb_table {
            self.lock_table(report, &table).await;
        }
    }

    /// Checks the classic layout: a bucket and a lock table in each environment's account.
    pub(crate) async fn classic_states(
        &self,
        report: &mut DoctorReport,
        sessions: &[Arc<Session>],
    ) {
        let StateBackend::Classic { .. } = self.scheme.backend else { return };
        for session in sessions {
            let region = session.config.region().map(ToString::to_string).unwrap_or_default();
            let account = ClassicAccount::new(session, &region);
            let place = account.describe();
            match report.record_error("state", account.bucket().await) {
                Some(Some(bucket)) => report.ok("state", format!("s3://{bucket}/ in {place}")),
                Some(None) => report
                    .ok("state", format!("no bucket in {place} yet: the first deploy creates it")),
                None => {}
            }
            match report.record_error("state lock", account.has_table().await) {
                Some(true) => {
                    report.ok("state lock", format!("the table {CLASSIC_TABLE} in {place}"))
                }
                Some(false) => {
                    report.ok(
                        "state lock",
                        format!(
                            "no table {CLASSIC_TABLE} in {place} yet: the first deploy creates it"
                        ),
                    );
                }
                None => {}
            }
        }
    }

    /// Checks that the location is reachable, in the right account and region, by listing one name.
    async fn examine(&self, report: &mut DoctorReport, check: &str, place: &Storage, region: &str) {
        if let Storage::Directory(directory) = place {
            if report.record_error(check, writable(directory)).is_some() {
                report.ok(check, format!("file:{}, writable", directory.display()));
            }
            return;
        }
        if self.session.is_none() {
            return report.skip(check, "no release role to access it with");
        }
        let Some(ReleaseStore::S3(store)) =
            report.record_error(check, context::store_at(place, region, self.session, |_| None))
        else {
            return;
        };
        let prefix = format!("{}/", self.identity.prefix());
        if report.record_error(check, store.list(&prefix, None, 1).await).is_none() {
            return;
        }
        let name = store.describe("");
        match store.is_versioned().await {
            Ok(true) => report.ok(check, format!("{name} in {region}, versioned")),
            Ok(false) => report.warning(
                check,
                format!("{name} in {region} is not versioned: deleted objects cannot be restored"),
                "run `aws s3api put-bucket-versioning --bucket … \
                 --versioning-configuration Status=Enabled`",
            ),
            Err(error) => {
                let error = error.hint("allow the action s3:GetBucketVersioning");
                report.error(check, Level::Warning, &error);
            }
        }
    }

    async fn lock_table(&self, report: &mut DoctorReport, table: &str) {
        let Some(session) = self.session else {
            return report.skip("state lock", "no release role to access the table with");
        };
        let region = &self.scheme.release_account.region;
        let client = aws_sdk_dynamodb::Client::new(&session.config);
        let asked = client.describe_table().table_name(table).send().await.map_err(|error| {
            let what = format!("cannot read the lock table `{table}`");
            Failure::of(&error)
                .into_error(what, region)
                .hint("create it, or correct the account scheme")
        });
        let Some(answer) = report.record_error("state lock", asked) else { return };
        let keys = answer.table().map(|table| table.key_schema()).unwrap_or_default();
        match keys.iter().any(|key| key.attribute_name() == "LockID") {
            true => report.ok("state lock", format!("the table {table}")),
            false => {
                let error = Error::input(format!("the lock table `{table}` has no key `LockID`"));
                report.error(
                    "state lock",
                    Level::Problem,
                    &error.hint("create a table with that key, which Terraform requires"),
                );
            }
        }
    }
}

/// Checks the nearest folder that exists: the first release creates the rest.
pub(super) fn writable(directory: &Path) -> Result<()> {
    let nearest = directory.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if !nearest.is_dir() {
        return Err(Error::input(format!("`{}` is not a folder", nearest.display()))
            .hint("correct the account scheme, or move that file"));
    }
    eaccess(nearest, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
        Error::input(format!("`{}` is not writable", nearest.display()))
            .why(error)
            .hint("change its owner or mode, or the account scheme")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_exist_can_be_created_or_cannot() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(writable(folder.path()).is_ok() && writable(&folder.path().join("a/b")).is_ok());
        assert!(!folder.path().join("a").exists());
        assert!(
            writable(&folder.path().join("file")).is_err()
                && writable(&folder.path().join("file/a")).is_err()
        );
    }
}
