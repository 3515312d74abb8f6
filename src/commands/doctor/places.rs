//! Where releases, functions' zips and states are kept.

use std::{path::Path, sync::Arc};

use nix::unistd::{AccessFlags, eaccess};

use super::findings::{Level, Report};
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

pub(crate) struct Places<'a> {
    pub(crate) scheme: &'a AccountScheme,
    pub(crate) identity: &'a Identity,
    /// Of the release account.
    pub(crate) session: Option<&'a Session>,
}

impl Places<'_> {
    pub(crate) async fn releases(&self, report: &mut Report) {
        let region = &self.scheme.release_account.region;
        self.examine(report, "release store", &self.scheme.release_bucket, region).await;
    }

    pub(crate) async fn lambda(&self, report: &mut Report, multi_region: bool) {
        let Some(places) = report.take("lambda bucket", self.scheme.lambda_places(multi_region))
        else {
            return;
        };
        for (region, place) in &places {
            self.examine(report, "lambda bucket", place, region).await;
        }
    }

    /// Of a scheme that keeps all states in one place.
    pub(crate) async fn state(&self, report: &mut Report, tool: Option<&Tool>) {
        let region = &self.scheme.release_account.region;
        let (bucket, use_lockfile, table) = match &self.scheme.backend {
            StateBackend::Classic { .. } => return,
            StateBackend::S3 { bucket, use_lockfile, dynamodb_table } => {
                (bucket, *use_lockfile, dynamodb_table)
            }
            StateBackend::Local { directory } => {
                self.examine(report, "state", &Storage::Directory(directory.clone()), region).await;
                return report.ok("state lock", "of the file system");
            }
        };
        self.examine(report, "state", &Storage::Bucket(bucket.clone()), region).await;
        let Some(tool) = tool else {
            return report.skip("state lock", "which lock there can be depends on Terraform");
        };
        let locks = report.take("state lock", S3Locks::choose(use_lockfile, table.as_ref(), tool));
        let Some(S3Locks { use_lockfile, dynamodb_table }) = locks else { return };
        if use_lockfile {
            report.ok("state lock", "an object beside the state");
        }
        if let Some(table) = dynamodb_table {
            self.lock_table(report, &table).await;
        }
    }

    /// Of the classic layout: a bucket and a table in each environment's account.
    pub(crate) async fn classic_states(&self, report: &mut Report, sessions: &[Arc<Session>]) {
        let StateBackend::Classic { .. } = self.scheme.backend else { return };
        for session in sessions {
            let region = session.config.region().map(ToString::to_string).unwrap_or_default();
            let account = ClassicAccount::new(session, &region);
            let place = account.describe();
            match report.take("state", account.bucket().await) {
                Some(Some(bucket)) => report.ok("state", format!("s3://{bucket}/ in {place}")),
                Some(None) => report
                    .ok("state", format!("no bucket in {place} yet: the first deploy makes it")),
                None => {}
            }
            match report.take("state lock", account.has_table().await) {
                Some(true) => {
                    report.ok("state lock", format!("the table {CLASSIC_TABLE} in {place}"))
                }
                Some(false) => {
                    report.ok(
                        "state lock",
                        format!(
                            "no table {CLASSIC_TABLE} in {place} yet: the first deploy makes it"
                        ),
                    );
                }
                None => {}
            }
        }
    }

    /// Reachable, of the right account, in the right region: a listing of one name says all of that.
    async fn examine(&self, report: &mut Report, check: &str, place: &Storage, region: &str) {
        if let Storage::Directory(directory) = place {
            if report.take(check, writable(directory)).is_some() {
                report.ok(check, format!("file:{}, writable", directory.display()));
            }
            return;
        }
        if self.session.is_none() {
            return report.skip(check, "there is no release role to reach it with");
        }
        let Some(ReleaseStore::S3(store)) =
            report.take(check, context::store_at(place, region, self.session))
        else {
            return;
        };
        let prefix = format!("{}/", self.identity.prefix());
        if report.take(check, store.list(&prefix, None, 1).await).is_none() {
            return;
        }
        let name = store.describe("");
        match store.is_versioned().await {
            Ok(true) => report.ok(check, format!("{name} in {region}, versioned")),
            Ok(false) => report.warning(
                check,
                format!("{name} in {region} is not versioned: what is deleted is gone"),
                "aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket …",
            ),
            Err(error) => report.failed(check, Level::Warning, &error.hint("the action is s3:GetBucketVersioning")),
        }
    }

    async fn lock_table(&self, report: &mut Report, table: &str) {
        let Some(session) = self.session else {
            return report.skip("state lock", "there is no release role to reach the table with");
        };
        let region = &self.scheme.release_account.region;
        let client = aws_sdk_dynamodb::Client::new(&session.config);
        let asked = client.describe_table().table_name(table).send().await.map_err(|error| {
            let what = format!("the lock table `{table}` can't be looked at");
            Failure::of(&error)
                .into_error(what, region)
                .hint("create it, or correct the account scheme")
        });
        let Some(answer) = report.take("state lock", asked) else { return };
        let keys = answer.table().map(|table| table.key_schema()).unwrap_or_default();
        match keys.iter().any(|key| key.attribute_name() == "LockID") {
            true => report.ok("state lock", format!("the table {table}")),
            false => {
                let error = Error::input(format!("the lock table `{table}` has no key `LockID`"));
                report.failed(
                    "state lock",
                    Level::Problem,
                    &error.hint("Terraform needs it: create another table"),
                );
            }
        }
    }
}

/// What does not exist yet is made by the first release, in the nearest folder that does.
fn writable(directory: &Path) -> Result<()> {
    let nearest = directory.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if !nearest.is_dir() {
        return Err(Error::input(format!("`{}` is not a folder", nearest.display()))
            .hint("correct the account scheme, or move what is there"));
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
    fn folders_that_are_there_will_be_or_can_not() {
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
