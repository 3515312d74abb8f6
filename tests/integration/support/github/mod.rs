//! GitHub, as far as cdflow speaks with it: a server on loopback with one repository, whose answers
//! are filled from GitHub's own description. When a test lets go of it, every request and answer
//! has been compared with that description.
#![allow(dead_code, reason = "the unit tests and the integration tests each use their share")]
#![allow(clippy::disallowed_methods, reason = "it starts Python, also as a part of the unit tests")]

mod answers;
mod routes;
mod world;

pub(crate) use routes::Fault;
pub(crate) use world::World;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) const REPOSITORY: &str = "acme/checkout";
pub(crate) const REPOSITORY_ID: u64 = 1_296_269;
/// May do all that a test asks for, and writes as `github-actions[bot]`.
pub(crate) const TOKEN: &str = "ghs_theTokenOfTheWorkflowOfTheTests00001";

/// What was asked, and what was answered.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    /// Without the prefix of the API, with the query.
    pub(crate) path: String,
    /// Whose token came with it; none came: None.
    pub(crate) login: Option<String>,
    pub(crate) content_type: Option<String>,
    /// JSON; null for anything else.
    pub(crate) body: Value,
    pub(crate) status: u16,
    pub(crate) answer: Value,
    /// The answer is a fault's, not GitHub's.
    pub(crate) is_fault: bool,
}

pub(crate) struct GitHub {
    world: Arc<Mutex<World>>,
    url: String,
    /// Ends the server's thread when it is dropped.
    _running: tokio::sync::oneshot::Sender<()>,
}

impl GitHub {
    pub(crate) fn start() -> Self {
        Self::with_prefix("")
    }

    /// `/api/v3` is GitHub Enterprise Server's.
    pub(crate) fn with_prefix(prefix: &'static str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}{prefix}", listener.local_addr().unwrap());
        let world = Arc::new(Mutex::new(World::new(&url)));
        let (running, ended) = tokio::sync::oneshot::channel();
        let served = world.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, served, prefix) => {}
                    _ = ended => {}
                }
            });
        });
        Self { world, url, _running: running }
    }

    /// What GITHUB_API_URL should be.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The variables by which a run of Actions finds it. The token is not among them.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_API_URL", self.url.clone()),
            ("GITHUB_GRAPHQL_URL", format!("{}/graphql", self.url)),
            ("GITHUB_SERVER_URL", "https://github.com".to_owned()),
            ("GITHUB_REPOSITORY", REPOSITORY.to_owned()),
            ("GITHUB_REPOSITORY_ID", REPOSITORY_ID.to_string()),
        ]
    }

    /// To look at and to change. Not to be held while a program is running.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` requests whose line (`POST /repos/acme/checkout/releases`) contains
    /// `matching` meet this.
    pub(crate) fn fault(&self, matching: &str, times: usize, fault: Fault) {
        self.world().faults.push((matching.to_owned(), times, fault));
    }

    /// From now on so many of a hundred requests meet one of these.
    pub(crate) fn weather(&self, seed: u64, percent: u64, faults: Vec<Fault>) {
        self.world().weather =
            Some(world::Weather { seed, percent, faults, asked: Default::default() });
    }

    /// How many requests there were so far.
    pub(crate) fn calls(&self) -> usize {
        self.world().exchanges.len()
    }

    /// So far, those whose line contains this.
    pub(crate) fn exchanges(&self, containing: &str) -> Vec<Exchange> {
        let all = self.world().exchanges.clone();
        all.into_iter()
            .filter(|it| format!("{} {}", it.method, it.path).contains(containing))
            .collect()
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            check(&self.world().exchanges);
        }
    }
}

/// Against GitHub's own description.
fn check(exchanges: &[Exchange]) {
    if exchanges.is_empty() {
        return;
    }
    let script = in_repository("tests/integration/support/github/check.py");
    let mut process = Command::new(in_repository(".venv/bin/python"))
        .args([Path::new("-I"), &script, &description_file()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`.venv` is missing: run `make test`, which makes it");
    process.stdin.take().unwrap().write_all(&serde_json::to_vec(exchanges).unwrap()).unwrap();
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.is_empty(), "not as GitHub describes it:\n{said}");
}

fn description_file() -> PathBuf {
    in_repository("tests/fixtures/github/openapi.json.gz")
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

async fn serve(listener: tokio::net::TcpListener, world: Arc<Mutex<World>>, prefix: &'static str) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let world = world.clone();
        let service = service_fn(move |request| respond(request, world.clone(), prefix));
        tokio::spawn(async move {
            // A client that hangs up is not the server's trouble; nor is a fault that does.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    request: Request<hyper::body::Incoming>,
    world: Arc<Mutex<World>>,
    prefix: &'static str,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let header = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let full = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let asked = routes::Asked {
        method: head.method.to_string(),
        path: full
            .strip_prefix(prefix)
            .or_else(|| full.strip_prefix("/api"))
            .unwrap_or("/outside")
            .to_owned(),
        token: header("authorization").and_then(|it| it.strip_prefix("Bearer ").map(str::to_owned)),
        content_type: header("content-type"),
        body,
    };
    let answered =
        routes::answer(&mut world.lock().unwrap_or_else(PoisonError::into_inner), &asked);
    if let Some(pause) = answered.pause {
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    if answered.hangs_up {
        return Err(std::io::Error::other("a fault"));
    }
    let mut response =
        Response::builder().status(answered.status).header("x-github-request-id", "C0DE:1234:ABCD");
    for (name, value) in &answered.headers {
        response = response.header(name, value);
    }
    let bytes =
        if answered.body.is_null() { Bytes::new() } else { Bytes::from(answered.body.to_string()) };
    let response = response.header("content-type", "application/json; charset=utf-8");
    Ok(response.body(Full::new(bytes)).unwrap())
}
