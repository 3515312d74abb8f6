//! As whom programs run. In the Action's container cdflow is root, and the programs that it starts
//! are not: they can read neither its environment nor its files, nor use Docker's socket.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

use nix::unistd::geteuid;

use super::{
    error::{Error, Result},
    log::Log,
    process_env::ProcessEnv,
};

/// The user as a number, or `root`. The image of the Action sets it.
const VARIABLE: &str = "CDFLOW_PROGRAM_USER";

/// The user of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// The user of cdflow.
    Ourselves,
    /// A user without any privilege of root. It has one group, which no other user has: the group
    /// of the checkout's owner may be the one that Docker's socket belongs to.
    User { id: u32, group: u32 },
}

impl RunAs {
    /// Reads the variable, which matters only to root. From then on neither cdflow nor its programs
    /// gain privileges from a program file (setuid), so this comes before any thread starts.
    pub(crate) fn choose(environment: &ProcessEnv, log: &Log) -> Result<Self> {
        let wanted = environment.get(VARIABLE).filter(|_| geteuid().is_root());
        let Some(wanted) = wanted else { return Ok(Self::Ourselves) };
        if wanted == "root" {
            log.warning(&format!(
                "{VARIABLE} is `root`: Terraform, its providers and hooks can read the tokens of \
                 this step and control the Docker engine"
            ));
            return Ok(Self::Ourselves);
        }
        let is_user = |id: &u32| (1..u32::MAX).contains(id);
        let id = wanted.parse().ok().filter(is_user).ok_or_else(|| {
            Error::input(format!("{VARIABLE} is `{}`, not a user", wanted.escape_debug()))
                .why("it is the number of a user other than 0, or `root`")
                .hint(format!("remove {VARIABLE} from the step's `env`: the image sets it"))
        })?;
        #[cfg(target_os = "linux")]
        nix::sys::prctl::set_no_new_privs()
            .map_err(|error| Error::internal("cannot give up privileges").why(error))?;
        Ok(Self::User { id, group: id })
    }

    /// Returns the owner of `path`, in this group. Root's files do not make a program root.
    pub(crate) fn with_owner_of(self, path: &Path) -> Self {
        let owner = fs::metadata(path).map_or(0, |found| found.uid());
        match self {
            Self::User { group, .. } if owner != 0 => Self::User { id: owner, group },
            _ => self,
        }
    }

    /// Gives the user a file, or a folder with all that is in it. Links are not followed.
    pub(crate) fn give(self, path: &Path) -> Result<()> {
        self.give_if(path, |_| true)
    }

    /// Like [`Self::give`], without files that have another name as well.
    pub(crate) fn give_new(self, path: &Path) -> Result<()> {
        self.give_if(path, |found| found.is_dir() || found.nlink() == 1)
    }

    fn give_if(self, path: &Path, is_given: impl Fn(&Metadata) -> bool) -> Result<()> {
        let Self::User { id, group } = self else { return Ok(()) };
        for entry in walkdir::WalkDir::new(path) {
            let given = entry.map_err(io::Error::from).and_then(|entry| {
                match is_given(&entry.metadata()?) {
                    true => lchown(entry.path(), Some(id), Some(group)),
                    false => Ok(()),
                }
            });
            given.map_err(|error| {
                Error::io(format!("cannot give to user {id}"), path, &error).hint(
                    "run the container with the capabilities CHOWN, SETUID and SETGID, which \
                     Docker gives by default",
                )
            })?;
        }
        Ok(())
    }

    /// Lets the user pass through the folders from `first` down to the one above `last`.
    pub(crate) fn open_way(self, first: &Path, last: &Path) -> Result<()> {
        let Self::User { id, .. } = self else { return Ok(()) };
        let folders = last.ancestors().skip(1).take_while(|folder| folder.starts_with(first));
        for folder in folders {
            let opened = fs::metadata(folder).and_then(|found| match found.mode() & 0o001 {
                0 if found.uid() != id => {
                    fs::set_permissions(folder, Permissions::from_mode(found.mode() | 0o011))
                }
                _ => Ok(()),
            });
            opened.map_err(|error| Error::io("cannot open to other users", folder, &error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::redact::Redactor;

    fn choose(value: Option<&str>) -> Result<RunAs> {
        let variables = value.map(|value| (VARIABLE.into(), value.into()));
        let log = Log::new(Redactor::default(), 0, true, false);
        RunAs::choose(&ProcessEnv::new(variables), &log)
    }

    #[test]
    fn only_a_number_of_another_user_drops_privileges() {
        if !geteuid().is_root() {
            return assert_eq!(choose(Some("65532")).unwrap(), RunAs::Ourselves);
        }
        for value in ["0", "robot", "-1", "4294967295", "1 2"] {
            assert!(choose(Some(value)).is_err(), "{value}");
        }
        for value in [None, Some(""), Some("root")] {
            assert_eq!(choose(value).unwrap(), RunAs::Ourselves);
        }
        assert_eq!(choose(Some("65532")).unwrap(), RunAs::User { id: 65532, group: 65532 });
    }

    #[test]
    fn an_owner_lends_its_user_and_never_its_group() {
        let user = RunAs::User { id: 65532, group: 65532 };
        let folder = tempfile::tempdir().unwrap();
        if lchown(folder.path(), Some(1001), Some(999)).is_ok() {
            assert_eq!(user.with_owner_of(folder.path()), RunAs::User { id: 1001, group: 65532 });
            assert_eq!(RunAs::Ourselves.with_owner_of(folder.path()), RunAs::Ourselves);
        }
        assert_eq!(user.with_owner_of(Path::new("/")), user);
        assert_eq!(user.with_owner_of(Path::new("/does/not/exist")), user);
    }

    #[test]
    fn a_file_with_another_name_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("run")).unwrap();
        fs::write(path("cached"), "").unwrap();
        fs::hard_link(path("cached"), path("run/linked")).unwrap();
        fs::write(path("run/own"), "").unwrap();
        let owner = |name: &str| fs::symlink_metadata(path(name)).unwrap().uid();
        let user = RunAs::User { id: 12345, group: 12345 };
        user.give_new(&path("run")).unwrap();
        assert_eq!(["run", "run/own", "cached"].map(owner), [12345, 12345, 0]);
        user.give(&path("run")).unwrap();
        assert_eq!(owner("cached"), 12345);
    }
}
