//! Reads files of a site: over HTTPS with retries, or from a folder.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_RANGE, RANGE},
    redirect,
};

use super::{destination::Destination, place::Address};
use crate::{
    base::{
        authorities::{self, Rejection},
        digest::{Hasher, Sha256},
        error::{Error, Exit, Result, chain},
        http_wait,
        limits::Limit,
        log::{Log, Progress},
        redact::Secret,
        retry::Retry,
        small_file, units,
    },
    services::registry::is_local,
};

/// Terraform's archive has 30 MB.
const LARGEST: u64 = 512 << 20;

const MOST_REDIRECTS: usize = 10;

const RETRY: Retry = Retry {
    attempts: 5,
    first_pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(10),
};

pub(super) struct Downloader {
    client: Client,
    log: Log,
    /// Sent to this host alone.
    token: Option<(String, Secret)>,
}

/// A file that arrived.
pub(super) struct Downloaded {
    pub(super) file: File,
    pub(super) digest: Sha256,
    pub(super) size: u64,
}

/// Why an attempt failed.
enum Failure {
    /// Another attempt could succeed.
    Passing(String, Option<Duration>),
    Final(Error),
}

impl Downloader {
    pub(super) fn new(allows_http: bool, log: Log) -> Result<Self> {
        let client = authorities::http_client()
            // This includes the targets of redirects. Plain http never leaves this machine.
            .https_only(!allows_http)
            .redirect(redirect::Policy::custom(follow))
            .connect_timeout(Limit::ToolConnect.time())
            .read_timeout(Limit::ToolIdle.time())
            .user_agent(concat!("cdflow/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::internal("cannot create an HTTP client").why(chain(&error)))?;
        Ok(Self { client, log, token: None })
    }

    pub(super) fn with_token(self, host: String, token: Option<Secret>) -> Self {
        Self { token: token.map(|token| (host, token)), ..self }
    }

    /// Returns a file of at most `largest` bytes; None if it does not exist.
    pub(super) async fn small(&self, address: &Address, largest: u64) -> Result<Option<Vec<u8>>> {
        let limit = Limit::ToolAnswer;
        let mut transfer = Transfer::new(Sink::Memory(Vec::new()), largest);
        let is_there = tokio::time::timeout(limit.time(), self.read(address, &mut transfer))
            .await
            .map_err(|_| unavailable(address, &limit.passed("no answer")))??;
        match transfer.to {
            Sink::Memory(bytes) if is_there && is_page(&bytes) => {
                Err(Error::integrity(format!("`{address}` is a web page"))
                    .why("it is HTML, as from a login or a proxy")
                    .hint("check the address of the mirror and its login, and the proxy"))
            }
            Sink::Memory(bytes) if is_there => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    /// Writes a large file, and shows progress. Returns None if it does not exist.
    pub(super) async fn large(
        &self,
        address: &Address,
        archive: File,
        to: &Destination,
    ) -> Result<Option<Downloaded>> {
        let limit = Limit::ToolDownload;
        let mut transfer = Transfer::new(Sink::File(archive, to.clone()), LARGEST);
        transfer.progress = Some(self.log.progress("downloading", None));
        let is_there = tokio::time::timeout(limit.time(), self.read(address, &mut transfer))
            .await
            .map_err(|_| unavailable(address, &limit.passed("not complete")))??;
        let Transfer { to: Sink::File(file, _), hasher, size, .. } = transfer else {
            return Ok(None);
        };
        Ok(is_there.then(|| Downloaded { file, digest: hasher.finish(), size }))
    }

    async fn read(&self, address: &Address, transfer: &mut Transfer) -> Result<bool> {
        let url = match address {
            Address::Url(url) => url,
            Address::File(path) => return transfer.copy(path),
        };
        let mut attempts = RETRY.start();
        loop {
            match self.attempt(url, address, transfer).await {
                Ok(is_there) => return Ok(is_there),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(why, after)) => {
                    if !attempts.again_after(after).await {
                        let why = format!("{why}, after {} attempts", attempts.made());
                        return Err(unavailable(address, &why));
                    }
                    self.log.detail(&format!("`{address}`: {why}; trying again"));
                }
            }
        }
    }

    /// Continues where the last attempt ended. Returns false if there is no such file.
    async fn attempt(
        &self,
        url: &str,
        address: &Address,
        transfer: &mut Transfer,
    ) -> Result<bool, Failure> {
        let mut request = self.client.get(url);
        if let Some((host, token)) = &self.token
            && Url::parse(url).is_ok_and(|url| url.authority() == host)
        {
            request = request.bearer_auth(token.expose());
        }
        if transfer.size > 0 {
            request = request.header(RANGE, format!("bytes={}-", transfer.size));
        }
        let mut response = request.send().await.map_err(|error| of_request(address, &error))?;
        match response.status() {
            StatusCode::OK => transfer.restart()?,
            StatusCode::PARTIAL_CONTENT if continues(&response, transfer.size) => {}
            // The file has another length than before, or the server cannot continue.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                transfer.restart()?;
                return Err(Failure::Passing("it cannot be continued".into(), None));
            }
            StatusCode::NOT_FOUND => return Ok(false),
            status if is_passing(status) => {
                return Err(Failure::Passing(
                    format!("the server answered {status}"),
                    http_wait::retry_after(&response),
                ));
            }
            status => {
                return Err(Failure::Final(unavailable(
                    address,
                    &format!("the server answered {status}"),
                )));
            }
        }
        let total = response.content_length().map(|left| left + transfer.size);
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => transfer.add(&bytes, total, address)?,
                Ok(None) => return Ok(true),
                Err(error) => {
                    let error = error.without_url();
                    let why = passed(&error).unwrap_or_else(|| chain(&error));
                    return Err(Failure::Passing(why, None));
                }
            }
        }
    }
}

/// A file on its way.
struct Transfer {
    to: Sink,
    hasher: Hasher,
    size: u64,
    largest: u64,
    progress: Option<Progress>,
}

enum Sink {
    Memory(Vec<u8>),
    File(File, Destination),
}

impl Transfer {
    fn new(to: Sink, largest: u64) -> Self {
        Self { to, hasher: Hasher::default(), size: 0, largest, progress: None }
    }

    fn restart(&mut self) -> Result<(), Failure> {
        (self.hasher, self.size) = (Hasher::default(), 0);
        match &mut self.to {
            Sink::Memory(bytes) => bytes.clear(),
            Sink::File(file, to) => file
                .set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)))
                .map(drop)
                .map_err(|error| Failure::Final(to.failed(&error)))?,
        }
        Ok(())
    }

    fn add(&mut self, bytes: &[u8], total: Option<u64>, address: &Address) -> Result<(), Failure> {
        self.size += bytes.len() as u64;
        if self.size > self.largest || total.is_some_and(|total| total > self.largest) {
            return Err(Failure::Final(too_large(address, self.largest)));
        }
        self.hasher.update(bytes);
        match &mut self.to {
            Sink::Memory(all) => all.extend_from_slice(bytes),
            Sink::File(file, to) => {
                file.write_all(bytes).map_err(|error| Failure::Final(to.failed(&error)))?;
            }
        }
        if let Some(progress) = &self.progress {
            progress.set_done(self.size);
            progress.set_total(total.unwrap_or_default());
        }
        Ok(())
    }

    /// Reads a file of a mirror that is a folder. Returns false if it does not exist.
    fn copy(&mut self, path: &Path) -> Result<bool> {
        let failed = |error: &io::Error| Error::io("cannot read", path, error);
        let mut from = match small_file::open(path) {
            Ok(from) => from,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(&error)),
        };
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = from.read(&mut buffer).map_err(|error| failed(&error))?;
            if read == 0 {
                return Ok(true);
            }
            self.add(&buffer[..read], None, &Address::File(path.to_owned())).map_err(
                |failure| match failure {
                    Failure::Final(error) => error,
                    Failure::Passing(why, _) => Error::internal("cannot copy").why(why),
                },
            )?;
        }
    }
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let host = attempt.url().host_str().unwrap_or_default();
    if attempt.url().scheme() == "http" && !is_local(host) {
        let why = format!("a redirect to plain http on another machine, `{host}`");
        return attempt.error(why);
    }
    match attempt.previous().len() > MOST_REDIRECTS {
        true => attempt.error("too many redirects"),
        false => attempt.follow(),
    }
}

/// Whether it is HTML instead of what was asked for.
fn is_page(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let start = start[..start.len().min(14)].to_ascii_lowercase();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

/// The server answers with the range that was asked for.
fn continues(response: &Response, from: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status)
}

fn of_request(address: &Address, error: &reqwest::Error) -> Failure {
    let why = passed(error).unwrap_or_else(|| chain(error));
    // A redirect to plain http, or a URL that cannot be requested.
    let is_final = error.is_builder() || error.is_redirect();
    match is_final || Rejection::of(&why, "").is_some() {
        true => Failure::Final(unavailable(address, &why)),
        false => Failure::Passing(why, None),
    }
}

fn passed(error: &reqwest::Error) -> Option<String> {
    http_wait::passed(error, Limit::ToolConnect, Limit::ToolIdle)
}

fn unavailable(address: &Address, why: &str) -> Error {
    let error = Error::new(Exit::Unavailable, format!("cannot download `{address}`"));
    match Rejection::of(why, "the server") {
        Some(Rejection { why, hint }) => error.why(why).hint(hint),
        None => error.why(why).hint(
            "run again later; behind a proxy, set HTTPS_PROXY; for a mirror, set \
             CDFLOW_TERRAFORM_MIRROR",
        ),
    }
}

fn too_large(address: &Address, largest: u64) -> Error {
    Error::integrity(format!("`{address}` has more than {}", units::bytes_text(largest)))
        .hint("check that the mirror serves the publisher's files")
}
