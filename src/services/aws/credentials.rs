//! Credentials for Terraform without a key in argv, configuration, plan or workspace. Two
//! identities at once: the provider's through a loopback HTTP endpoint, which the AWS SDKs ask by
//! AWS_CONTAINER_CREDENTIALS_FULL_URI, and the backend's through a profile whose
//! `credential_process` asks a Unix socket in our private folder. Both SDKs come back when
//! credentials run out, and then get renewed ones.

use std::{
    convert::Infallible,
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener, UnixStream},
    task::JoinHandle,
};

use super::session::Session;
use crate::base::{
    error::{Error, Exit, Result},
    limits::Limit,
    redact::{Redactor, Secret},
};

/// Whether credentials are given. Clones are the same gate.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Opens the endpoint again when it is dropped.
pub(crate) struct Closed(Gate);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// What is answered while it is closed.
const CLOSED: &str = "credentials are only for Terraform, which does not run now";

/// Serves until it is dropped.
pub(crate) struct CredentialsEndpoint {
    /// For AWS_CONTAINER_CREDENTIALS_FULL_URI.
    pub(crate) url: String,
    /// For AWS_CONTAINER_AUTHORIZATION_TOKEN.
    pub(crate) token: Secret,
    /// For `cdflow credential-process`.
    pub(crate) socket: PathBuf,
    gate: Gate,
    tasks: [JoinHandle<()>; 2],
}

impl CredentialsEndpoint {
    /// `provider` is whom Terraform's providers act as, `backend` whom its state backend acts as.
    /// The socket is made in `private`, a folder that only we can enter.
    pub(crate) async fn start(
        private: &Path,
        provider: Arc<Session>,
        backend: Arc<Session>,
        redactor: &Redactor,
    ) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::internal("the credentials endpoint can't be opened").why(error)
        };
        let token = Secret::random()
            .map_err(|error| Error::internal("the system gives no random bytes").why(error))?;
        redactor.add(&token);
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let url = format!("http://{}/credentials", http.local_addr().map_err(failed)?);
        let socket = private.join("backend.sock");
        let unix = UnixListener::bind(&socket).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => too_deep(&socket),
            _ => failed(error),
        })?;
        let gate = Gate::default();
        let tasks = [
            tokio::spawn(serve_http(http, provider, token.expose().to_owned(), gate.clone())),
            tokio::spawn(serve_unix(unix, backend, gate.clone())),
        ];
        Ok(Self { url, token, socket, gate, tasks })
    }

    /// Gives no credentials until the returned value is dropped: for programs of others that can
    /// reach the socket, such as hooks.
    pub(crate) fn close(&self) -> Closed {
        self.gate.0.store(true, Ordering::Relaxed);
        Closed(self.gate.clone())
    }
}

impl Drop for CredentialsEndpoint {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve_http(listener: TcpListener, session: Arc<Session>, token: String, gate: Gate) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            pause().await;
            continue;
        };
        let (session, token, gate) = (session.clone(), token.clone(), gate.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &session, &token, &gate));
            // A client that breaks off asks again.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer<B>(
    request: Request<B>,
    session: &Session,
    token: &str,
    gate: &Gate,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let given = request.headers().get("authorization").map(|value| value.as_bytes());
    let (status, body) = if given != Some(token.as_bytes()) {
        (
            StatusCode::FORBIDDEN,
            json!({"code": "Forbidden", "message": "the authorization token is missing or wrong"}),
        )
    } else if gate.is_closed() {
        (StatusCode::FORBIDDEN, json!({"code": "Forbidden", "message": CLOSED}))
    } else {
        match session.credentials().await {
            Ok(credentials) => (StatusCode::OK, container_answer(&credentials)),
            Err(why) => {
                (StatusCode::SERVICE_UNAVAILABLE, json!({"code": "Unavailable", "message": why}))
            }
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

async fn serve_unix(listener: UnixListener, session: Arc<Session>, gate: Gate) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            pause().await;
            continue;
        };
        let (session, gate) = (session.clone(), gate.clone());
        tokio::spawn(async move {
            let answer = match session.credentials().await {
                _ if gate.is_closed() => json!({"error": CLOSED}),
                Ok(credentials) => process_answer(&credentials),
                Err(why) => json!({"error": why}),
            };
            let _ = stream.write_all(answer.to_string().as_bytes()).await;
        });
    }
}

/// After a connection that could not be taken, for want of file descriptors perhaps.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// The answer of a container credentials endpoint.
fn container_answer(credentials: &Credentials) -> serde_json::Value {
    json!({
        "AccessKeyId": credentials.access_key_id(),
        "SecretAccessKey": credentials.secret_access_key(),
        "Token": credentials.session_token(),
        "Expiration": credentials.expiry().map(timestamp),
    })
}

/// The answer of a `credential_process`.
fn process_answer(credentials: &Credentials) -> serde_json::Value {
    json!({
        "Version": 1,
        "AccessKeyId": credentials.access_key_id(),
        "SecretAccessKey": credentials.secret_access_key(),
        "SessionToken": credentials.session_token(),
        "Expiration": credentials.expiry().map(timestamp),
    })
}

/// RFC 3339, whole seconds: some SDKs read no fractions.
fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// `cdflow credential-process SOCKET`, which the backend's SDK starts: fetches what the running
/// cdflow serves.
pub(crate) async fn ask(socket: &Path) -> Result<serde_json::Value> {
    let failed = |error: io::Error| {
        Error::new(
            Exit::Credentials,
            format!("no cdflow run serves credentials at `{}`", socket.display()),
        )
        .why(error)
    };
    let mut text = String::new();
    let asking = async { UnixStream::connect(socket).await?.read_to_string(&mut text).await };
    let asked = tokio::time::timeout(Limit::CredentialsSocket.time(), asking).await;
    asked
        .unwrap_or_else(|_| {
            let why = Limit::CredentialsSocket.passed("no answer");
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        })
        .map_err(failed)?;
    let refused = |why: String| {
        Error::new(Exit::Credentials, "the state backend's credentials can't be renewed").why(why)
    };
    let answer: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    match answer.get("error") {
        Some(why) => Err(refused(why.to_string())),
        None => Ok(answer),
    }
}

/// The address of a Unix socket has some hundred bytes, on any system.
fn too_deep(socket: &Path) -> Error {
    Error::input(format!("the path `{}` is too long for a socket", socket.display()))
        .hint("set TMPDIR to a folder with a shorter path")
}
