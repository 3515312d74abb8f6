//! A lock file that the checkout lacks, or that lacks a provider: what to run, and how a release
//! writes it.

use std::{
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use super::{lock_command::LockCommand, source::Staged};
use crate::{
    base::{
        checkout_path,
        error::{Error, Result},
        log::Log,
        owner, small_file,
    },
    terraform::code::lockfile::{self, Locked},
};

/// The path of the lock file as users know it.
const SHOWN: &str = "infra/.terraform.lock.hcl";

/// What init made of the lock file, and what the checkout has.
pub(crate) struct LockFile<'a> {
    /// The folder of cdflow.yml.
    pub(crate) component: &'a Path,
    pub(crate) staged: &'a Staged,
    /// The lock file of the checkout.
    pub(crate) committed: &'a Locked,
    pub(crate) command: &'a LockCommand<'a>,
}

impl LockFile<'_> {
    /// Returns the warning about providers that are not locked, if there are any.
    pub(crate) async fn warning(&self) -> Result<Option<String>> {
        let unlocked = self.unlocked()?;
        if unlocked.is_empty() {
            return Ok(None);
        }
        let command = self.command().await?;
        Ok(Some(match self.is_missing() {
            true => format!(
                "{SHOWN} is missing: the next release might use other versions than {unlocked}\n  \
                 -> run `{command}`, and commit the file\n  -> or run `cdflow release` once with \
                 --write-lock-file"
            ),
            false => format!(
                "{SHOWN} does not lock {unlocked}: the next release might use another version\n  \
                 -> run `{command}`, and commit the file"
            ),
        }))
    }

    /// Writes the lock file into the checkout. Never replaces a file. One that exists must lock all
    /// providers.
    pub(crate) async fn write(&self, log: &Log) -> Result<()> {
        let path = self.component.join("infra").join(lockfile::FILE);
        if !self.is_missing() {
            return self.check_existing(log).await;
        }
        let text = match small_file::read(&self.staged.infra.join(lockfile::FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                log.note(&format!("{SHOWN} is not needed: infra/ uses no provider"));
                return Ok(());
            }
            Err(error) => return Err(Error::io("cannot read", Path::new(SHOWN), &error)),
        };
        if let Err(error) = create(&checkout_path::resolve(&path)?, &text) {
            let command = self.command().await?;
            return Err(Error::io("cannot write", &path, &error)
                .hint(format!("run `{command}` instead of --write-lock-file")));
        }
        log.note(&format!("{SHOWN} is written: commit it before the next release"));
        Ok(())
    }

    async fn check_existing(&self, log: &Log) -> Result<()> {
        let unlocked = self.unlocked()?;
        if unlocked.is_empty() {
            log.note(&format!("{SHOWN} locks all providers, and is unchanged"));
            return Ok(());
        }
        Err(Error::refused(format!("--write-lock-file does not replace {SHOWN}"))
            .why(format!("the file exists, and does not lock {unlocked}"))
            .hint(format!("run `{}`, and commit the file", self.command().await?)))
    }

    fn is_missing(&self) -> bool {
        let path = self.component.join("infra").join(lockfile::FILE);
        path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Returns the providers that only init has locked, as a text.
    fn unlocked(&self) -> Result<String> {
        let locked = self.staged.locked()?;
        let missing = locked.iter().filter(|(address, _)| !self.committed.contains_key(*address));
        let named = missing.map(|(address, provider)| format!("{address} {}", provider.version));
        Ok(named.collect::<Vec<_>>().join(", "))
    }

    /// Returns the command that locks all providers.
    async fn command(&self) -> Result<String> {
        let locked = self.staged.locked()?;
        let providers: Vec<(&str, &str)> = locked
            .iter()
            .map(|(address, provider)| (address.as_str(), provider.version.as_str()))
            .collect();
        Ok(self.command.text(&providers).await)
    }
}

/// Creates `path` with all of its content at once. Fails if something exists there.
fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut draft = tempfile::Builder::new().prefix(".terraform.lock.hcl-").tempfile_in(folder)?;
    draft.write_all(content)?;
    draft.as_file().set_permissions(Permissions::from_mode(0o644))?;
    owner::give_to_owner_of(folder, draft.as_file())?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(path).map_err(|failed| failed.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    #[test]
    fn a_file_is_created_whole_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let is_root = std::os::unix::fs::chown(folder.path(), Some(1001), Some(1001)).is_ok();
        let path = folder.path().join(".terraform.lock.hcl");
        create(&path, b"one").unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o777, 0o644);
        assert!(!is_root || found.uid() == 1001);
        assert_eq!(create(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        fs::remove_file(&path).unwrap();
        symlink("nowhere", &path).unwrap();
        assert!(create(&path, b"two").is_err());
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 1, "a draft is left");
    }
}
