//! An S3 to test with: one moto server per test process, and a proxy before it that answers as moto
//! can't.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::S3Store;

pub(crate) const REGION: &str = "eu-west-1";

/// The server's address, `127.0.0.1:PORT`. It ends with this process.
pub(crate) fn moto() -> &'static str {
    static MOTO: OnceLock<(Child, String)> = OnceLock::new();
    &MOTO.get_or_init(start).1
}

#[expect(clippy::disallowed_methods, reason = "a server for tests, not a program that cdflow runs")]
fn start() -> (Child, String) {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv/bin/moto_server");
    assert!(
        std::path::Path::new(program).exists(),
        "{program} is missing: run `make test`, which installs moto"
    );
    // Nothing runs at the end of a test process. But its end of the pipe closes, however it ends,
    // and then `cat` ends.
    let watch = r#""$0" -H 127.0.0.1 -p 0 2>&1 & cat >/dev/null; kill $!"#;
    let mut child = std::process::Command::new("sh")
        .args(["-c", watch, program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address =
        lines.find_map(|line| Some(line.split_once("Running on http://")?.1.trim().to_owned()));
    // It logs every request, and would wait for us with a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address.expect("moto_server ended without an address"))
}

/// A bucket of its own for each test.
pub(crate) async fn bucket() -> S3Store {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("bucket-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let store = store(moto(), &name, None);
    let here = aws_sdk_s3::types::CreateBucketConfiguration::builder()
        .location_constraint(REGION.into())
        .build();
    store
        .client
        .create_bucket()
        .bucket(&name)
        .create_bucket_configuration(here)
        .send()
        .await
        .unwrap();
    store
}

pub(crate) fn store(address: &str, bucket: &str, owner: Option<&str>) -> S3Store {
    S3Store::new(&config(address), bucket.to_owned(), REGION.to_owned(), owner.map(str::to_owned))
}

/// Of a client that takes this address for AWS.
pub(crate) fn config(address: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(format!("http://{address}"))
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::standard().with_max_attempts(4))
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(Duration::from_secs(1)).build(),
        )
        .build()
}

/// What the proxy does with a request.
pub(crate) enum Fault {
    Pass,
    /// This status (`409 Conflict`), header lines (each with its CRLF) and body instead of moto's
    /// answer.
    Answer(&'static str, String, String),
    /// Moto's answer, with the connection cut after this number of bytes.
    Cut(usize),
    /// Like `Cut`, but the connection stays open.
    Stall(usize),
    /// Pass, and keep the answer back.
    Lose,
    /// No answer, on a connection that stays open.
    Hang,
}

/// An error as S3 writes it.
pub(crate) fn refusal(status: &'static str, code: &str) -> Fault {
    let body = format!("<Error><Code>{code}</Code><Message>said the test</Message></Error>");
    Fault::Answer(status, "x-amz-request-id: REQ1\r\n".to_owned(), body)
}

/// A proxy before moto; `rule` sees the head of each request. Returns its address.
pub(crate) async fn proxy(rule: impl Fn(&str) -> Fault + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let rule = Arc::new(rule);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let rule = Arc::clone(&rule);
            tokio::spawn(async move {
                let _ = serve(client, &*rule).await;
            });
        }
    });
    address
}

/// One request, then the connection closes.
async fn serve(
    mut client: TcpStream,
    rule: &(impl Fn(&str) -> Fault + Sync),
) -> std::io::Result<()> {
    let (head, mut body) = head(&mut client).await?;
    let value = |name: &str| {
        head.lines().find_map(|l| {
            l.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
        })
    };
    if value("expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let len: usize = value("content-length").map_or(0, |len| len.parse().unwrap());
    let there = body.len();
    body.resize(len, 0);
    client.read_exact(&mut body[there..]).await?;
    let fault = rule(&head);
    if matches!(fault, Fault::Hang) {
        return std::future::pending().await;
    }
    if let Fault::Answer(status, headers, text) = &fault {
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
            text.len()
        );
        return client.write_all(format!("{head}{text}").as_bytes()).await;
    }
    // Moto looks, and then writes: of two conditional writes at the same moment both may succeed.
    // S3 is not like that.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn =
        if value("if-none-match").is_some() { Some(ONE_AT_A_TIME.lock().await) } else { None };
    let mut server = TcpStream::connect(moto()).await?;
    let lines =
        head.lines().filter(|l| !l.is_empty() && !l.to_ascii_lowercase().starts_with("expect:"));
    let head: String =
        lines.flat_map(|line| [line, "\r\n"]).chain(["connection: close\r\n\r\n"]).collect();
    server.write_all(head.as_bytes()).await?;
    server.write_all(&body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match fault {
        Fault::Cut(len) => client.write_all(&answer[..len.min(answer.len())]).await,
        Fault::Stall(len) => {
            client.write_all(&answer[..len.min(answer.len())]).await?;
            std::future::pending().await
        }
        Fault::Lose => Ok(()),
        _ => client.write_all(&answer).await,
    }
}

/// The head of a request, and what came of its body with it.
async fn head(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
