//! BuildKit's session: the engine calls back for the files, for secrets and for the credentials of
//! registries, so that none of them is part of the request. It is gRPC over a connection of its own
//! that the engine turns around.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use bollard::{
    health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        health_check_response::ServingStatus,
        health_server::{Health, HealthServer},
    },
    moby::{
        buildkit::secrets::v1::{
            GetSecretRequest, GetSecretResponse,
            secrets_server::{Secrets, SecretsServer},
        },
        filesync::v1::{
            CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
            GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
            VerifyTokenAuthorityResponse,
            auth_server::{Auth, AuthServer},
        },
        upload::v1::{
            BytesMessage,
            upload_server::{Upload, UploadServer},
        },
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::{Certificate, Client, Identity, StatusCode};
use tonic::{Request, Response, Status, Streaming, server::NamedService};

use super::{address::EngineAddress, credentials::RegistryCredentials};
use crate::{
    base::{
        authorities,
        error::{Error, Result},
        http_wait,
        limits::Limit,
        redact::Secret,
        small_file,
    },
    services::registry::login::Login,
};

/// The engine asks this now and then; without an answer it drops the session.
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const BUFFER: usize = 64 * 1024;

type Files = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Open as long as this value lives.
pub(crate) struct BuildKitSession {
    pub(crate) id: String,
    tasks: tokio::task::JoinSet<()>,
}

impl BuildKitSession {
    pub(crate) async fn open(
        address: &EngineAddress,
        files: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        secrets: BTreeMap<String, Secret>,
        credentials: RegistryCredentials,
    ) -> Result<Self> {
        let id = Secret::random()
            .map_err(|error| Error::internal("there are no random numbers").why(error))?;
        let id = id.expose().to_owned();
        let failed = |error: &dyn std::fmt::Display| {
            Error::input(format!("the engine at {address} opens no BuildKit session"))
                .why(error)
                .hint("set DOCKER_BUILDKIT=0 to build with the classic builder")
        };
        let (client, url) = client(address)?;
        let methods = [
            HEALTH.to_owned(),
            format!("/{}/Pull", UploadServer::<Answers>::NAME),
            format!("/{}/GetSecret", SecretsServer::<Answers>::NAME),
            format!("/{}/Credentials", AuthServer::<Answers>::NAME),
        ];
        let mut request = client
            .post(url)
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", &id);
        for method in methods {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
        }
        let response = request.send().await.map_err(|error| {
            failed(&http_wait::why(error, Limit::EngineConnect, Limit::ImageBuild))
        })?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(failed(&format!("it answers HTTP {}", response.status())));
        }
        let mut connection = response.upgrade().await.map_err(|error| failed(&error))?;
        let (near, mut far) = tokio::io::duplex(BUFFER);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            // It ends when either side hangs up, which is how every session ends.
            let _ = tokio::io::copy_bidirectional(&mut connection, &mut far).await;
        });
        let files = Mutex::new(Some(Box::pin(files) as Files));
        let answers = Arc::new(Answers { files, secrets, credentials });
        tasks.spawn(async move {
            let services = tonic::transport::Server::builder()
                .add_service(HealthServer::from_arc(answers.clone()))
                .add_service(UploadServer::from_arc(answers.clone()))
                .add_service(SecretsServer::from_arc(answers.clone()))
                .add_service(AuthServer::from_arc(answers));
            let incoming = futures_util::stream::iter([Ok::<_, std::io::Error>(near)]);
            let _ = services.serve_with_incoming(incoming).await;
        });
        Ok(Self { id, tasks })
    }

    /// The place of the files in a build's request; unlike any other, because BuildKit takes one
    /// name for one content. Files in the request's own body are lost where the engine keeps its
    /// images in containerd (moby/moby#47717).
    pub(crate) fn files(&self) -> String {
        format!("http://buildkit-session/{}", self.id)
    }

    pub(crate) fn close(mut self) {
        self.tasks.abort_all();
    }
}

/// Returns a client of our own for the same engine, because bollard does not expose its connection.
#[expect(clippy::disallowed_methods, reason = "an engine's address comes with its own authority")]
fn client(address: &EngineAddress) -> Result<(Client, String)> {
    let builder =
        Client::builder().no_proxy().http1_only().connect_timeout(Limit::EngineConnect.time());
    let (builder, url) = match address {
        EngineAddress::Unix(path) => {
            (builder.unix_socket(path.as_path()), "http://docker/session".to_owned())
        }
        EngineAddress::Tcp(address) => (builder, format!("http://{address}/session")),
        EngineAddress::Tls { address, certificates } => {
            let read = |name: &str| {
                let path = certificates.join(name);
                small_file::read(&path).map_err(|error| {
                    Error::io("can't read the engine's certificate", &path, &error)
                })
            };
            let bad = |error: reqwest::Error| {
                Error::input(format!(
                    "the certificates in `{}` can't be used",
                    certificates.display()
                ))
                .why(error)
            };
            let identity = [read("cert.pem")?, read("key.pem")?].concat();
            let authority = Certificate::from_pem(&read("ca.pem")?).map_err(bad)?;
            let builder = builder
                .tls_certs_merge([authority])
                .identity(Identity::from_pem(&identity).map_err(bad)?);
            (builder, format!("https://{address}/session"))
        }
    };
    let client = builder
        .build()
        .map_err(|error| Error::internal("no HTTP client can be made").why(error))?;
    Ok((client, url))
}

/// The name of the secret by which a build requests the certificate authorities.
const AUTHORITIES: &str = "ca-certificates";

/// What the engine may ask for, and nothing else.
struct Answers {
    /// The first request takes it.
    files: Mutex<Option<Files>>,
    secrets: BTreeMap<String, Secret>,
    credentials: RegistryCredentials,
}

#[tonic::async_trait]
impl Upload for Answers {
    type PullStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn pull(
        &self,
        _: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner).take();
        let files =
            files.ok_or_else(|| Status::failed_precondition("the files were sent already"))?;
        let messages = files.map(|piece| match piece {
            Ok(piece) => Ok(BytesMessage { data: piece.into() }),
            Err(error) => Err(Status::aborted(error.to_string())),
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

#[tonic::async_trait]
impl Secrets for Answers {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        // Certificates are not secret, but a secret is how a build gets a file outside its layers.
        let certificates = authorities::all_pem().filter(|_| id == AUTHORITIES);
        let value = self.secrets.get(&id).map(Secret::expose).or(certificates);
        let value = value.ok_or_else(|| Status::not_found(format!("no secret `{id}`")))?;
        Ok(Response::new(GetSecretResponse { data: value.as_bytes().to_vec() }))
    }
}

#[tonic::async_trait]
impl Health for Answers {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("there is one service"))
    }

    type WatchStream = futures_util::stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("ask again"))
    }
}

/// The engine fetches tokens by itself, with the credentials it is given here.
#[tonic::async_trait]
impl Auth for Answers {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let (username, secret) = match self.credentials.of(&host) {
            Some(Login::Password { user, password }) => {
                (user.clone(), password.expose().to_owned())
            }
            Some(Login::IdentityToken(token)) => (String::new(), token.expose().to_owned()),
            None => (String::new(), String::new()),
        };
        Ok(Response::new(CredentialsResponse { username, secret }))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens"))
    }
}
