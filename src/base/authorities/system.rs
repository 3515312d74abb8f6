//! The authorities of this machine: its own list, or what SSL_CERT_FILE and SSL_CERT_DIR name
//! instead.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::pem;
use crate::base::{
    error::{Error, Result},
    process_env::ProcessEnv,
    small_file,
};

pub(super) const FILE: &str = "SSL_CERT_FILE";
const FOLDER: &str = "SSL_CERT_DIR";

/// Where distributions keep their list.
const USUAL: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const USUAL_FOLDER: &str = "/etc/ssl/certs";

const SET_FILE: &str =
    "set it to a file in PEM format; in a container, the file must be in the checkout";
const ADD_INSTEAD: &str = "to add to the public authorities instead of replacing them, use the \
     input `ca-certificates` (--ca-certificates FILE)";

/// Fails if there is no authority at all, because AWS clients then cannot be created.
pub(crate) fn check(environment: &ProcessEnv) -> Result<()> {
    let named = [FILE, FOLDER].into_iter().filter_map(|name| environment.get(name));
    if named.chain(USUAL).chain([USUAL_FOLDER]).any(|path| Path::new(path).exists()) {
        return Ok(());
    }
    Err(Error::input("there are no CA certificates, so AWS can't be reached safely")
        .hint("install the package ca-certificates, or set SSL_CERT_FILE"))
}

/// Returns the certificates of SSL_CERT_FILE and SSL_CERT_DIR; None if SSL_CERT_FILE is not set.
pub(super) fn replaced(environment: &ProcessEnv) -> Result<Option<String>> {
    if environment.is_empty(FILE) {
        return Err(Error::input(format!("{FILE} is empty, so no certificate can be checked"))
            .hint("remove it from the environment, or set it to a file in PEM format"));
    }
    let Some(path) = environment.get(FILE) else { return Ok(None) };
    let text = text(Path::new(path)).map_err(|error| {
        Error::input(format!("cannot read the file of {FILE}, `{path}`"))
            .why(error)
            .hint(SET_FILE)
            .hint(ADD_INSTEAD)
    })?;
    let found = pem::readable(&text);
    if found.is_empty() {
        let none = format!("the file of {FILE}, `{path}`, contains no certificate");
        return Err(Error::input(none).hint(SET_FILE).hint(ADD_INSTEAD));
    }
    Ok(Some(found + &of_folders(environment)))
}

/// Returns the list that the machine's programs use if SSL_CERT_FILE is not set.
pub(super) fn usual(environment: &ProcessEnv) -> String {
    if environment.get(FOLDER).is_some() {
        return of_folders(environment);
    }
    let text = USUAL.iter().find_map(|path| text(Path::new(path)).ok());
    text.map_or_else(|| of_folder(Path::new(USUAL_FOLDER)), |text| pem::readable(&text))
}

/// Reads a file whose comments can have any encoding.
fn text(path: &Path) -> io::Result<String> {
    small_file::read(path).map(|content| String::from_utf8_lossy(&content).into_owned())
}

fn of_folders(environment: &ProcessEnv) -> String {
    let folders = environment.get(FOLDER).into_iter().flat_map(std::env::split_paths);
    folders.map(|folder| of_folder(&folder)).collect()
}

/// Reads each file once: such a folder has several links to one file.
fn of_folder(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect();
    files.sort();
    files.dedup();
    let texts = files.iter().filter_map(|file| text(file).ok());
    texts.map(|text| pem::readable(&text)).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    fn environment(variables: &[(&str, &Path)]) -> ProcessEnv {
        ProcessEnv::new(variables.iter().map(|(name, path)| (name.into(), OsString::from(path))))
    }

    fn of(variables: &[(&str, &Path)]) -> Result<Option<String>> {
        replaced(&environment(variables))
    }

    #[test]
    fn what_the_variables_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.pem");
        fs::write(&file, format!("# ours\n{ONE}")).unwrap();
        let certs = folder.path().join("certs");
        fs::create_dir(&certs).unwrap();
        fs::write(certs.join("b.pem"), ONE.replace("AAEC", "AAED")).unwrap();
        std::os::unix::fs::symlink("b.pem", certs.join("1234.0")).unwrap();
        let second = ONE.replace("AAEC", "AAED");
        assert_eq!(of(&[(FILE, &file)]).unwrap().unwrap(), ONE);
        let both = of(&[(FILE, &file), (FOLDER, &certs)]).unwrap().unwrap();
        assert_eq!(both, format!("{ONE}{second}"));
        assert_eq!(of(&[(FOLDER, &certs)]).unwrap(), None);
        assert_eq!(usual(&environment(&[(FOLDER, &certs)])), second);
        for wrong in [Path::new(""), Path::new("/nowhere/ca.pem"), &certs, Path::new("/dev/null")] {
            assert!(of(&[(FILE, wrong)]).is_err(), "{}", wrong.display());
        }
        fs::write(&file, "none").unwrap();
        assert!(of(&[(FILE, &file)]).unwrap_err().to_string().contains("contains no certificate"));
    }
}
