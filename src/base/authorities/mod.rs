//! The certificate authorities that cdflow and its programs trust: those of the machine, or of
//! SSL_CERT_FILE, and those that the user adds.

mod pem;
mod rejection;
mod system;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::OnceLock,
};

use reqwest::{Certificate, ClientBuilder};

pub(crate) use self::{
    rejection::{ADD_AUTHORITY, Rejection},
    system::check as check_system,
};
use super::{
    error::{Error, Result},
    log::Log,
    process_env::ProcessEnv,
    run_as::RunAs,
    run_folder::PrivateFolder,
};

/// Set once, before the first connection.
static ADDED: OnceLock<Added> = OnceLock::new();

/// All trusted certificates as PEM, unless they are the machine's own list.
static ALL: OnceLock<String> = OnceLock::new();

/// The variables that programs read. cdflow always sets the first, and the others only if the user
/// has not: git, the AWS CLI and SDKs, curl, Python and node do not read the first.
const VARIABLES: [&str; 6] = [
    system::FILE,
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];

/// The certificates that the user adds, as text.
pub(crate) struct Given {
    pub(crate) text: String,
    /// Where the text is from, for messages.
    pub(crate) origin: String,
}

struct Added {
    certificates: Vec<Certificate>,
    pem: String,
}

/// The file for programs, which is deleted with this value.
pub(crate) struct ProgramAuthorities {
    _folder: PrivateFolder,
}

/// Makes this process trust `given` in addition to the authorities of the machine. Returns the
/// environment that makes programs do so too. Changes nothing if nothing is given and SSL_CERT_FILE
/// is not set.
pub(crate) fn install(
    given: Option<&Given>,
    environment: ProcessEnv,
    run_as: RunAs,
    log: &Log,
) -> Result<(ProcessEnv, Option<ProgramAuthorities>)> {
    let replaced = system::replaced(&environment)?;
    let added = given.map(Added::read).transpose()?;
    if replaced.is_none() && added.is_none() {
        return Ok((environment, None));
    }
    // Programs start in other folders and as other users than cdflow, so they get a copy.
    let mut all = replaced.unwrap_or_else(|| system::usual(&environment));
    if let (Some(added), Some(given)) = (added, given) {
        let count = added.certificates.len();
        log.detail(&format!("certificates added from {}: {count}", given.origin));
        all.push_str(&added.pem);
        // Only an earlier run of the same process can have set another value.
        let _ = ADDED.set(added);
    }
    let all = ALL.get_or_init(|| all);
    let folder = PrivateFolder::create(&environment, log)?;
    let file = readable(&folder, all)?;
    folder.give_content(run_as)?;
    let unset = |name: &&&str| **name == system::FILE || environment.get(name).is_none();
    let names: Vec<&str> = VARIABLES.iter().filter(unset).copied().collect();
    let environment = names.iter().fold(environment, |it, name| it.with(name, &file));
    Ok((environment, Some(ProgramAuthorities { _folder: folder })))
}

/// Returns the builder of every HTTP client of cdflow. Only the engine's client has its own
/// certificates.
pub(crate) fn http_client() -> ClientBuilder {
    let added = ADDED.get().map(|it| it.certificates.clone()).unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "this is the builder that all other clients use")]
    reqwest::Client::builder().tls_certs_merge(added)
}

/// Returns the added certificates as PEM, for clients of another library.
pub(crate) fn added_pem() -> Option<&'static str> {
    ADDED.get().map(|it| it.pem.as_str())
}

/// Returns all trusted authorities as PEM; None if they are those of the machine.
pub(crate) fn all_pem() -> Option<&'static str> {
    ALL.get().map(String::as_str)
}

/// Returns how many certificates were added.
pub(crate) fn count() -> usize {
    ADDED.get().map_or(0, |it| it.certificates.len())
}

impl Added {
    fn read(given: &Given) -> Result<Self> {
        let (mut certificates, mut pem) = (Vec::new(), String::new());
        for (number, block) in pem::certificates(&given.text)
            .map_err(|fault| fault.into_error(&given.origin))?
            .iter()
            .enumerate()
        {
            certificates.push(checked(&block.der).map_err(|why| {
                Error::input(format!("{}: certificate {} is invalid", given.origin, number + 1))
                    .why(why)
                    .hint("export it again from the authority, in PEM format")
            })?);
            pem.push_str(&block.text());
        }
        Ok(Self { certificates, pem })
    }
}

/// Parses a certificate in the same way as the clients, which would fail much later or panic.
fn checked(der: &[u8]) -> Result<Certificate, String> {
    let certificate = Certificate::from_der(der).map_err(|error| super::error::chain(&error))?;
    #[expect(clippy::disallowed_methods, reason = "a client that makes no request")]
    let client = reqwest::Client::builder().tls_certs_only([certificate.clone()]).build();
    client.map(|_| certificate).map_err(|error| super::error::chain(&error))
}

/// Writes the file that programs of all users can read: certificates are public.
fn readable(folder: &PrivateFolder, content: &str) -> Result<PathBuf> {
    let path = folder.file("ca-certificates.pem", content.as_bytes())?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))
        .map_err(|error| Error::io("cannot open to other users", &path, &error))?;
    Ok(path)
}
