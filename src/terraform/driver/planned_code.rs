//! The code in a saved plan, which is what an apply runs: it must be the code of the release.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use serde::Deserialize;
use zip::ZipArchive;

use super::planned_state::{CODE, whole};
use crate::{
    base::small_file,
    terraform::code::files::{self, Dialect, Role},
};

/// The list of the modules in the file of a plan.
const MODULES: &str = "tfconfig/modules.json";
/// The folder of a module is this, and its key.
const MODULE: &str = "m-";
/// The list of the modules that init has placed.
const INDEX: &str = ".terraform/modules/modules.json";

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Dir")]
    folder: String,
}

#[derive(Deserialize)]
struct Index {
    #[serde(rename = "Modules")]
    modules: Vec<Module>,
}

/// Fails unless the code in the plan is, byte by byte, that of `infra` and its modules. The error
/// names the first file that differs.
pub(crate) fn check_code(plan_file: &Path, infra: &Path, dialect: Dialect) -> io::Result<()> {
    let mut archive = ZipArchive::new(small_file::open(plan_file)?)
        .map_err(|_| io::Error::other("it is not a zip file, or it is encrypted"))?;
    let known = placed(infra)?;
    let modules: Vec<Module> = match archive.by_name(MODULES) {
        Ok(member) => serde_json::from_slice(&whole(member)?)?,
        Err(_) => return Err(io::Error::other("it has no code")),
    };
    let mut code = members(&mut archive)?;
    for Module { key, folder } in modules {
        if known.get(&key) != Some(&folder) {
            return Err(io::Error::other(format!("its module `{key}` is another one")));
        }
        let prefix = format!("{CODE}{MODULE}{key}/");
        let folder = infra.join(folder);
        for name in code_files(&folder, dialect)? {
            let planned = code.remove(&format!("{prefix}{name}"));
            if planned != Some(small_file::read(&folder.join(&name))?) {
                return Err(io::Error::other(format!("its `{name}` is another one")));
            }
        }
    }
    match code.keys().next() {
        None => Ok(()),
        Some(more) => Err(io::Error::other(format!("it has more code: `{more}`"))),
    }
}

/// Returns the folder of each module, relative to the code.
fn placed(infra: &Path) -> io::Result<BTreeMap<String, String>> {
    let modules = match small_file::read(&infra.join(INDEX)) {
        Ok(text) => serde_json::from_slice::<Index>(&text)?.modules,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let root = (String::new(), ".".to_owned());
    Ok(modules.into_iter().map(|it| (it.key, it.folder)).chain([root]).collect())
}

/// Returns the code by its place in the file of the plan.
fn members(archive: &mut ZipArchive<File>) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        let name = member.name()?.into_owned();
        if name.starts_with(CODE) && name != MODULES && !member.is_dir() {
            let is_twice = found.insert(name, whole(member)?).is_some();
            if is_twice {
                return Err(io::Error::other("it has a file twice"));
            }
        }
    }
    Ok(found)
}

/// Returns the names of the files that are read in the folder of a module.
fn code_files(folder: &Path, dialect: Dialect) -> io::Result<Vec<String>> {
    let listed = files::list(folder, dialect).map_err(|error| io::Error::other(error.story()))?;
    let code = listed.into_iter().filter(|file| file.role != Role::Values);
    Ok(code.map(|file| file.name).collect())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    const MODULES_JSON: &str = r#"[{"Key":"","Dir":"."},{"Key":"net","Dir":"net"}]"#;

    /// The plan of a component with one module.
    fn plan(members: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let infra = folder.path().join("infra");
        let files = [
            ("main.tf", "a"),
            ("net/main.tf", "b"),
            ("notes.txt", "n"),
            (INDEX, r#"{"Modules":[{"Key":"","Dir":"."},{"Key":"net","Dir":"net"}]}"#),
        ];
        for (name, text) in files {
            let path = infra.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut zip = ZipWriter::new(File::create(folder.path().join("plan")).unwrap());
        for (name, text) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        folder
    }

    fn checked(members: &[(&str, &str)]) -> Result<(), String> {
        let folder = plan(members);
        check(&folder, Dialect::Terraform)
    }

    fn check(folder: &tempfile::TempDir, dialect: Dialect) -> Result<(), String> {
        check_code(&folder.path().join("plan"), &folder.path().join("infra"), dialect)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_files_are_those_that_the_program_reads() {
        let planned = |name: &'static str| {
            let folder = plan(&[
                (MODULES, MODULES_JSON),
                (name, "a"),
                ("tfconfig/m-/#more.tf", "m"),
                ("tfconfig/m-net/main.tf", "b"),
            ]);
            for (name, text) in
                [("main.tofu", "a"), ("#more.tf", "m"), ("#main.tf#", "e"), ("x.tfvars", "v")]
            {
                fs::write(folder.path().join("infra").join(name), text).unwrap();
            }
            folder
        };
        let terraform = planned("tfconfig/m-/main.tf");
        check(&terraform, Dialect::Terraform).unwrap();
        assert!(check(&terraform, Dialect::OpenTofu).is_err());
        check(&planned("tfconfig/m-/main.tofu"), Dialect::OpenTofu).unwrap();
    }

    #[test]
    fn other_code_is_found() {
        let whole = [
            ("tfplan", "p"),
            (MODULES, MODULES_JSON),
            ("tfconfig/m-/main.tf", "a"),
            ("tfconfig/m-net/main.tf", "b"),
        ];
        checked(&whole).unwrap();
        let with = |at: usize, member: (&'static str, &'static str)| {
            let mut members = whole.to_vec();
            members[at] = member;
            checked(&members).unwrap_err()
        };
        assert_eq!(with(2, ("tfconfig/m-/main.tf", "x")), "its `main.tf` is another one");
        assert_eq!(with(3, ("tfconfig/m-net/other.tf", "b")), "its `main.tf` is another one");
        let swapped = r#"[{"Key":"","Dir":"."},{"Key":"net","Dir":"."}]"#;
        assert_eq!(with(1, (MODULES, swapped)), "its module `net` is another one");
        assert_eq!(with(1, ("tfconfig/none", "")), "it has no code");
        let more = [&whole[..], &[("tfconfig/m-/more.tf", "m")]].concat();
        assert_eq!(checked(&more).unwrap_err(), "it has more code: `tfconfig/m-/more.tf`");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_rejected() {
        let folder = plan(&[]);
        fs::write(folder.path().join("plan"), "{\"encrypted_data\": \"\"}").unwrap();
        let checked = check(&folder, Dialect::Terraform);
        assert!(checked.unwrap_err().contains("it is encrypted"));
    }
}
