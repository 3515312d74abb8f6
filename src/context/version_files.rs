//! The files by which other tools choose a version of Terraform or OpenTofu.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    base::{
        error::{Error, Result},
        small_file,
    },
    config::{
        flavor::Flavor,
        version_constraint::{Constraint, Wanted},
    },
};

/// In each folder, they are read in this order: tfenv, tofuenv, tfswitch, asdf and mise.
const FILES: [&str; 4] =
    [".terraform-version", ".opentofu-version", ".tfswitchrc", ".tool-versions"];

/// What the files of the nearest folder that has one say, for each tool.
#[derive(Debug, Default)]
pub(super) struct VersionFiles {
    pub(super) terraform: Option<Wanted>,
    pub(super) opentofu: Option<Wanted>,
    /// What the files say and cdflow does not use.
    pub(super) unused: Vec<String>,
    pub(super) paths: Vec<PathBuf>,
}

impl VersionFiles {
    /// Reads from `folder` up to the root of its repository. Without a repository, only `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let has_git = |above: &&Path| above.join(".git").exists();
        let root = folder.ancestors().find(has_git).unwrap_or(folder);
        let mut found = Self::default();
        for above in folder.ancestors() {
            found.add_folder(above, root)?;
            if above == root {
                break;
            }
        }
        Ok(found)
    }

    fn add_folder(&mut self, folder: &Path, root: &Path) -> Result<()> {
        let mut here = Self::default();
        for name in FILES {
            let path = folder.join(name);
            let text = match small_file::text(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("cannot read", &path, &error)),
            };
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            here.paths.push(path);
            here.add_file(name, &shown, text.trim_start_matches('\u{feff}'))?;
        }
        self.terraform = self.terraform.take().or(here.terraform);
        self.opentofu = self.opentofu.take().or(here.opentofu);
        self.unused.extend(here.unused);
        self.paths.extend(here.paths);
        Ok(())
    }

    fn add_file(&mut self, name: &str, shown: &str, text: &str) -> Result<()> {
        let lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default().trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let place = format!("{shown}:{number}");
            match name {
                ".tool-versions" => {
                    let mut words = line.split_whitespace();
                    let flavor = match words.next() {
                        Some("terraform") => Flavor::Terraform,
                        Some("opentofu") => Flavor::OpenTofu,
                        _ => continue,
                    };
                    let Some(first) = words.next() else {
                        self.unused.push(format!("{place}: no version"));
                        continue;
                    };
                    let others: Vec<&str> = words.collect();
                    if !others.is_empty() {
                        let others = others.join(" ");
                        self.unused
                            .push(format!("{place}: of several, only {first} (not {others})"));
                    }
                    self.add(flavor, first, place)?;
                }
                ".opentofu-version" => return self.add(Flavor::OpenTofu, line, place),
                _ => return self.add(Flavor::Terraform, line, place),
            }
        }
        Ok(())
    }

    fn add(&mut self, flavor: Flavor, text: &str, place: String) -> Result<()> {
        // These say: as `required_version` in the code says, which holds in any case.
        if ["min-required", "latest-allowed"].contains(&text) {
            return Ok(());
        }
        let Ok(constraint) = text.parse::<Constraint>() else {
            let text = text.escape_debug();
            self.unused.push(format!("{place}: `{text}` is neither a version nor a constraint"));
            return Ok(());
        };
        let wanted = Wanted { constraint, place };
        let known = match flavor {
            Flavor::Terraform => &mut self.terraform,
            Flavor::OpenTofu => &mut self.opentofu,
        };
        match known {
            Some(before) => check_agree(before, &wanted),
            None => {
                *known = Some(wanted);
                Ok(())
            }
        }
    }
}

/// Fails if one place names a version that another does not allow.
pub(super) fn check_agree(one: &Wanted, other: &Wanted) -> Result<()> {
    let refuses = |exact: &Wanted, range: &Wanted| {
        exact.constraint.exact().is_some_and(|version| !range.constraint.allows(&version))
    };
    if !refuses(one, other) && !refuses(other, one) {
        return Ok(());
    }
    Err(Error::input(format!("{} and {} contradict each other", one.place, other.place))
        .why(format!("the first requires {}, the second {}", one.constraint, other.constraint))
        .hint("change one of the two, or set --terraform-version for this run"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A repository with the component in `a/b`.
    fn read(files: &[(&str, &str)]) -> Result<VersionFiles> {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("repo/a/b");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir(root.path().join("repo/.git")).unwrap();
        for (name, text) in files {
            fs::write(root.path().join("repo").join(name), text).unwrap();
        }
        VersionFiles::read(&folder)
    }

    fn shown(wanted: Option<&Wanted>) -> String {
        wanted.map(|it| format!("{} {}", it.place, it.constraint)).unwrap_or_default()
    }

    #[test]
    fn the_nearest_file_counts() {
        for (files, terraform, opentofu) in [
            (&[("a/b/.terraform-version", "1.9.8\n")][..], "a/b/.terraform-version:1 1.9.8", ""),
            (
                &[(".terraform-version", "# why\n\nv1.9.8 # here\r\n")],
                ".terraform-version:3 v1.9.8",
                "",
            ),
            (&[("a/.tfswitchrc", "~> 1.9.0")], "a/.tfswitchrc:1 ~> 1.9.0", ""),
            (
                &[(".terraform-version", "1.8.0"), ("a/.tfswitchrc", "1.9.0")],
                "a/.tfswitchrc:1 1.9.0",
                "",
            ),
            (
                &[(".tool-versions", "nodejs 20\nterraform 1.9.8\nopentofu 1.8.2\n")],
                ".tool-versions:2 1.9.8",
                ".tool-versions:3 1.8.2",
            ),
            (&[(".opentofu-version", "\u{feff}1.8.2")], "", ".opentofu-version:1 1.8.2"),
            (&[("../.terraform-version", "1.9.8")], "", ""),
            (&[(".terraform-version", "min-required\n")], "", ""),
            (
                &[(".terraform-version", "1.9.8"), (".tfswitchrc", "~> 1.9.0")],
                ".terraform-version:1 1.9.8",
                "",
            ),
        ] {
            let found = read(files).unwrap();
            assert_eq!(shown(found.terraform.as_ref()), terraform, "{files:?}");
            assert_eq!(shown(found.opentofu.as_ref()), opentofu, "{files:?}");
            assert!(found.unused.is_empty(), "{files:?}: {:?}", found.unused);
        }
    }

    #[test]
    fn what_is_not_used_is_named() {
        for (name, text, unused) in [
            (".terraform-version", "latest\n", ".terraform-version:1: `latest` is neither"),
            (".terraform-version", "latest:^1.8\n", "`latest:^1.8` is neither"),
            (".tool-versions", "terraform 1.9.8 1.8.0\n", "of several, only 1.9.8 (not 1.8.0)"),
            (".tool-versions", "terraform\n", ".tool-versions:1: no version"),
            (".tool-versions", "terraform ref:main\n", "`ref:main` is neither"),
        ] {
            let found = read(&[(name, text)]).unwrap();
            assert!(found.unused[0].contains(unused), "{text}: {:?}", found.unused);
        }
    }

    #[test]
    fn contradictions_name_both_places() {
        let error = read(&[(".terraform-version", "1.9.8"), (".tool-versions", "terraform 1.8.0")]);
        let error = error.unwrap_err().story();
        let says = ".terraform-version:1 and .tool-versions:1 contradict each other: the first \
                    requires 1.9.8, the second 1.8.0";
        assert!(error.contains(says), "{error}");
        assert!(read(&[(".terraform-version", "1.9.8"), (".tfswitchrc", "~> 1.8.0")]).is_err());
    }
}
