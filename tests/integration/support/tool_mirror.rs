//! A mirror of Terraform's site: versions that are the real Terraform behind a stamp, signed by a
//! key of the test. As a folder, or served over HTTP with faults.

use super::{Sandbox, tool};
use pgp::composed::{
    ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Password, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A key that signs for mirrors.
pub(crate) struct SigningKey(SignedSecretKey);

impl SigningKey {
    pub(crate) fn new() -> Self {
        Self::created_at(Timestamp::now())
    }

    /// A key of two hours ago that was valid for one.
    pub(crate) fn expired() -> Self {
        const HOUR: u32 = 3600;
        let created = Timestamp::from_secs(Timestamp::now().as_secs() - 2 * HOUR);
        let Self(mut secret) = Self::created_at(created);
        let key = &secret.primary_key;
        let mut statement =
            SignatureConfig::from_key(rand::thread_rng(), key, SignatureType::Key).unwrap();
        let data = [
            // The newest statement of a key counts.
            SubpacketData::SignatureCreationTime(Timestamp::now()),
            SubpacketData::IssuerFingerprint(key.fingerprint()),
            SubpacketData::KeyExpirationTime(pgp::types::Duration::from_secs(HOUR)),
        ];
        statement.hashed_subpackets = data.map(|data| Subpacket::regular(data).unwrap()).into();
        let signed = statement.sign_key(key, &Password::empty(), key.public_key()).unwrap();
        secret.details.direct_signatures.push(signed);
        Self(secret)
    }

    fn created_at(time: Timestamp) -> Self {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .created_at(time)
            .primary_user_id("Mirror <mirror@example.com>".into());
        Self(parameters.build().unwrap().generate(rand::thread_rng()).unwrap())
    }

    /// For the account scheme.
    pub(crate) fn public(&self) -> String {
        SignedPublicKey::from(self.0.clone()).to_armored_string(ArmorOptions::default()).unwrap()
    }

    pub(super) fn sign(&self, content: &[u8]) -> Vec<u8> {
        let signed = DetachedSignature::sign_binary_data(
            rand::thread_rng(),
            &self.0.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha256,
            content,
        );
        signed.unwrap().to_bytes().unwrap()
    }
}

/// A mirror that is a folder.
pub(crate) struct ToolMirror {
    folder: PathBuf,
    key: SigningKey,
}

impl ToolMirror {
    /// `terraform` in each of the versions.
    pub(crate) fn new(sandbox: &Sandbox, versions: &[&str]) -> Self {
        let mirror = Self { folder: sandbox.root().join("tool-mirror"), key: SigningKey::new() };
        for version in versions {
            mirror.add("terraform", version);
        }
        mirror
    }

    /// Adds a version of `terraform` or `opentofu`, which is the real Terraform and says that it is
    /// this version.
    pub(crate) fn add(&self, tool: &str, version: &str) {
        self.add_archive(tool, version, &archive(program(tool), stamped(version)));
    }

    /// Adds the real Terraform itself. Returns its version.
    pub(crate) fn add_real(&self, sandbox: &Sandbox) -> String {
        let said = super::terraform(sandbox, sandbox.work(), ["version", "-json"]).run();
        let said: Value = serde_json::from_str(&said.success().stdout).unwrap();
        let version = said["terraform_version"].as_str().unwrap();
        let content = fs::read(real_terraform()).unwrap();
        self.add_archive("terraform", version, &archive("terraform", content));
        version.to_owned()
    }

    /// Adds a version with any archive for this platform, listed and signed.
    pub(crate) fn add_archive(&self, tool: &str, version: &str, archive: &[u8]) {
        let folder = self.version(tool, version);
        fs::create_dir_all(&folder).unwrap();
        let program = program(tool);
        let name = archive_name(tool, version);
        fs::write(folder.join(&name), archive).unwrap();
        let digest: String =
            Sha256::digest(archive).iter().map(|byte| format!("{byte:02x}")).collect();
        let sums = format!("{digest}  {name}\n{digest}  {program}_{version}_plan9_mips.zip\n");
        fs::write(folder.join(format!("{program}_{version}_SHA256SUMS")), &sums).unwrap();
        fs::write(folder.join(signature_name(tool, version)), self.key.sign(sums.as_bytes()))
            .unwrap();
        self.write_index(tool);
    }

    /// Signs the sums of a version by another key.
    pub(crate) fn sign_by(&self, key: &SigningKey, tool: &str, version: &str) {
        let folder = self.version(tool, version);
        let sums = folder.join(format!("{}_{version}_SHA256SUMS", program(tool)));
        let signature = key.sign(&fs::read(sums).unwrap());
        fs::write(folder.join(signature_name(tool, version)), signature).unwrap();
    }

    pub(crate) fn version(&self, tool: &str, version: &str) -> PathBuf {
        self.folder.join(tool).join(version)
    }

    /// For CDFLOW_TERRAFORM_MIRROR.
    pub(crate) fn address(&self) -> String {
        format!("file:{}", self.folder.display())
    }

    pub(crate) fn public_key(&self) -> String {
        self.key.public()
    }

    pub(crate) fn serve(&self) -> MirrorServer {
        MirrorServer::start(self.folder.clone())
    }

    fn write_index(&self, tool: &str) {
        let mut versions = Map::new();
        for entry in fs::read_dir(self.folder.join(tool)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_dir() {
                let version = entry.file_name().into_string().unwrap();
                versions.insert(version.clone(), json!({ "name": tool, "version": version }));
            }
        }
        let index = json!({ "name": tool, "versions": versions });
        fs::write(self.folder.join(tool).join("index.json"), index.to_string()).unwrap();
    }
}

pub(crate) fn archive_name(tool: &str, version: &str) -> String {
    format!("{}_{version}_{}.zip", program(tool), super::platform())
}

pub(crate) fn signature_name(tool: &str, version: &str) -> String {
    let ending = if tool == "opentofu" { "gpgsig" } else { "sig" };
    format!("{}_{version}_SHA256SUMS.{ending}", program(tool))
}

fn program(tool: &str) -> &str {
    if tool == "opentofu" { "tofu" } else { tool }
}

/// An archive with one program and a license.
pub(crate) fn archive(program: &str, content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let plain = SimpleFileOptions::default();
    zip.start_file("LICENSE.txt", plain).unwrap();
    zip.write_all(b"A license.\n").unwrap();
    zip.start_file(program, plain.unix_permissions(0o755)).unwrap();
    zip.write_all(content.as_ref()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// An archive whose program is a link.
pub(crate) fn archive_of_link(program: &str, to: &Path) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink(program, to.to_str().unwrap(), SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// The real Terraform of this machine, under another version.
pub(crate) fn stamped(version: &str) -> String {
    format!(
        "#!/bin/sh\nif [ \"$1 $2\" = 'version -json' ]; then\n  \
         echo '{}'\n  exit\nfi\nexec '{}' \"$@\"\n",
        tool::version_answer(version),
        real_terraform().display()
    )
}

pub(crate) fn real_terraform() -> PathBuf {
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|it| it.join("terraform")).find(|it| it.is_file());
    real.expect("terraform is not in PATH: CONTRIBUTING.md says how to get it")
}

/// A PATH with the programs that cdflow needs, and no Terraform.
pub(crate) fn path_without_terraform(sandbox: &Sandbox) -> String {
    let folder = sandbox.root().join("few-programs");
    fs::create_dir_all(&folder).unwrap();
    let path = std::env::var("PATH").unwrap();
    for program in ["git", "sh", "ssh", "env"] {
        let found = std::env::split_paths(&path).map(|it| it.join(program)).find(|it| it.is_file());
        let link = folder.join(program);
        if let (Some(found), false) = (found, link.exists()) {
            std::os::unix::fs::symlink(found, link).unwrap();
        }
    }
    folder.to_str().unwrap().to_owned()
}

/// A PATH with every program of this machine but Terraform.
pub(crate) fn path_but_terraform(sandbox: &Sandbox) -> String {
    let folder = sandbox.root().join("all-programs");
    fs::create_dir_all(&folder).unwrap();
    let path = std::env::var("PATH").unwrap();
    let folders = std::env::split_paths(&path).filter_map(|it| fs::read_dir(it).ok());
    for program in folders.flatten().map(Result::unwrap) {
        let link = folder.join(program.file_name());
        // The first in PATH wins, as it does for the shell.
        if !["terraform", "tofu"].iter().any(|it| program.file_name() == *it) {
            let _ = std::os::unix::fs::symlink(program.path(), link);
        }
    }
    folder.to_str().unwrap().to_owned()
}

/// What goes wrong with answers whose path contains a text.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This many answers end after half of their bytes.
    Cut(usize),
    /// This many answers are 503.
    Busy(usize),
    /// A pause before the answer.
    Slow(Duration),
    /// A pause in the middle of the answer.
    Stall(Duration),
    Html,
    /// A redirect to this address.
    Redirect(String),
    /// The answer of a module registry: the module is at this address.
    Module(String),
}

/// Serves a folder on loopback, with `Range`.
pub(crate) struct MirrorServer {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    faults: Arc<Mutex<Vec<(String, Fault)>>>,
}

impl MirrorServer {
    pub(crate) fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            asked: Arc::default(),
            faults: Arc::default(),
        };
        let (asked, faults) = (server.asked.clone(), server.faults.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (folder, asked, faults) = (folder.clone(), asked.clone(), faults.clone());
                // A client that goes away is no error of the server.
                thread::spawn(move || drop(answer(stream, &folder, &asked, &faults)));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The requests so far whose path contains `part`, with their ranges.
    pub(crate) fn asked(&self, part: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|request| request.contains(part)).cloned().collect()
    }

    pub(crate) fn fault(&self, part: &str, fault: Fault) {
        self.faults.lock().unwrap().push((part.to_owned(), fault));
    }
}

fn answer(
    stream: TcpStream,
    folder: &Path,
    asked: &Mutex<Vec<String>>,
    faults: &Mutex<Vec<(String, Fault)>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = headers.iter().find_map(|line| {
        line.to_lowercase().strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
    });
    let shown = range.map(|from| format!(" from {from}")).unwrap_or_default();
    if !request.starts_with("HEAD ") {
        asked.lock().unwrap().push(format!("{path}{shown}"));
    }
    let fault = faults.lock().unwrap().iter_mut().find_map(|(part, fault)| {
        let left = match fault {
            _ if !path.contains(part.as_str()) => return None,
            Fault::Cut(left) | Fault::Busy(left) => left,
            other => return Some(other.clone()),
        };
        *left = left.checked_sub(1)?;
        Some(fault.clone())
    });
    let mut stream = stream;
    let head = |status: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n")
    };
    match &fault {
        Some(Fault::Busy(_)) => {
            return stream.write_all(head("503 Busy", 0, "Retry-After: 0\r\n").as_bytes());
        }
        Some(Fault::Redirect(to)) => {
            let location = format!("Location: {to}\r\n");
            return stream.write_all(head("302 Found", 0, &location).as_bytes());
        }
        Some(Fault::Module(at)) => {
            let place = format!("X-Terraform-Get: {at}\r\n");
            return stream.write_all(head("204 No Content", 0, &place).as_bytes());
        }
        Some(Fault::Slow(pause)) => thread::sleep(*pause),
        _ => {}
    }
    let file = folder.join(path.split('?').next().unwrap_or_default());
    let content = match (&fault, fs::read(file)) {
        (Some(Fault::Html), _) => b"<html>Please log in</html>".to_vec(),
        (_, Ok(content)) => content,
        (_, Err(_)) => return stream.write_all(head("404 Not Found", 0, "").as_bytes()),
    };
    let from = range.unwrap_or(0).min(content.len());
    let rest = &content[from..];
    // Terraform insists on it.
    let kind = if path.ends_with(".json") { "Content-Type: application/json\r\n" } else { "" };
    let (status, more) = match range {
        Some(_) => {
            let end = content.len() - 1;
            let range = format!("Content-Range: bytes {from}-{end}/{}\r\n", content.len());
            ("206 Partial Content", format!("{range}{kind}"))
        }
        None => ("200 OK", kind.to_owned()),
    };
    stream.write_all(head(status, rest.len(), &more).as_bytes())?;
    match fault {
        Some(Fault::Cut(_)) => stream.write_all(&rest[..rest.len() / 2]),
        Some(Fault::Stall(pause)) => {
            let (begin, end) = rest.split_at(rest.len() / 2);
            stream.write_all(begin)?;
            thread::sleep(pause);
            stream.write_all(end)
        }
        _ => stream.write_all(rest),
    }
}
