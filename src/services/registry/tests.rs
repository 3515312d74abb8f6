//! Against the real docker-registry, and against answers that it does not give.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::header::CONTENT_TYPE;
use serde_json::json;

use super::{
    auth::is_safe,
    login::Login,
    request::{LIMIT, RETRY},
    *,
};
use crate::{
    base::{authorities, error::Exit, redact::Secret},
    services::store::testing::{Fault, proxy},
};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// `127.0.0.1:PORT` of a docker-registry that ends with this process.
fn registry() -> &'static str {
    static REGISTRY: OnceLock<(Child, tempfile::TempDir, String)> = OnceLock::new();
    &REGISTRY.get_or_init(start).2
}

#[expect(clippy::disallowed_methods, reason = "a server for tests, not a program that cdflow runs")]
fn start() -> (Child, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    // Content in memory: nothing runs at the end of a test process.
    let config =
        json!({"version": 0.1, "storage": {"inmemory": {}}, "http": {"addr": "127.0.0.1:0"}});
    std::fs::write(&file, config.to_string()).unwrap();
    let watch = r#"docker-registry serve "$0" 2>&1 & cat >/dev/null; kill $!"#;
    let mut child = std::process::Command::new("sh")
        .args(["-c", watch])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        let (_, rest) = line.split_once("listening on ")?;
        Some(rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect())
    });
    std::thread::spawn(move || lines.for_each(drop));
    let address = address.expect("docker-registry did not start: `make test` says what is missing");
    (child, folder, address)
}

/// Uploads a configuration with one label and a manifest of it. Returns the manifest's digest.
async fn push(repository: &str, reference: &str, label: &str) -> String {
    let config = json!({"config": {"Labels": {"label": label}}}).to_string();
    let base = format!("http://{}/v2/{repository}", registry());
    let client = authorities::http_client().build().unwrap();
    let begun = client.post(format!("{base}/blobs/uploads/")).send().await.unwrap();
    let place = begun.headers()["location"].to_str().unwrap().to_owned();
    let digest = digest_of(config.as_bytes());
    let put =
        client.put(format!("{place}&digest={digest}")).body(config.clone()).send().await.unwrap();
    assert_eq!(put.status(), 201);
    let config = json!({
        "mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(),
        "digest": digest,
    });
    let manifest =
        json!({"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": []}).to_string();
    put_manifest(repository, reference, OCI, manifest).await
}

async fn put_manifest(
    repository: &str,
    reference: &str,
    media_type: &str,
    manifest: String,
) -> String {
    let digest = digest_of(manifest.as_bytes());
    let reference = if reference.is_empty() { &digest } else { reference };
    let url = format!("http://{}/v2/{repository}/manifests/{reference}", registry());
    let put = authorities::http_client()
        .build()
        .unwrap()
        .put(url)
        .header(CONTENT_TYPE, media_type)
        .body(manifest)
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 201, "{}", put.text().await.unwrap());
    digest
}

/// A registry that gives these answers; all requests' heads are kept.
async fn answering(
    rule: impl Fn(&str) -> (&'static str, String, String) + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let address = proxy(move |head| {
        seen.lock().unwrap().push(head.to_owned());
        let (status, headers, body) = rule(head);
        Fault::Answer(status, headers, body)
    });
    (address.await, heads)
}

fn header(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
        .unwrap_or_default()
}

#[tokio::test]
async fn an_image_and_an_index_are_read_with_their_labels() {
    let client = Registry::new(registry(), None).unwrap();
    let digest = push("team/app", "1", "source").await;
    let found = client.manifest("team/app", "1").await.unwrap().unwrap();
    assert_eq!((found.digest.as_str(), found.media_type.as_str()), (digest.as_str(), OCI));
    assert_eq!(found.labels, BTreeMap::from([("label".to_owned(), "source".to_owned())]));
    assert_eq!(client.manifest("team/app", &digest).await.unwrap(), Some(found));
    assert!(
        client.has("team/app", &digest).await.unwrap()
            && client.has("team/app", "1").await.unwrap()
    );
    assert_eq!(client.digest("team/app", "1").await.unwrap(), Some(digest.clone()));

    let size = 2;
    let images = json!([
        {"mediaType": OCI, "size": size, "digest": push("team/app", "", "attested").await,
            "platform": {"os": "unknown", "architecture": "unknown"}},
        {"mediaType": OCI, "size": size, "digest": digest,
            "platform": {"os": "linux", "architecture": "arm64"}},
    ]);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images}).to_string();
    let digest = put_manifest("team/app", "many", INDEX, index).await;
    let found = client.manifest("team/app", "many").await.unwrap().unwrap();
    assert_eq!((found.digest, found.media_type.as_str()), (digest, INDEX));
    assert_eq!(found.labels["label"], "source");
}

#[tokio::test]
async fn what_is_not_there_is_none() {
    let client = Registry::new(registry(), None).unwrap();
    push("there", "1", "x").await;
    let unknown = format!("sha256:{}", "0".repeat(64));
    for (repository, reference) in [("there", "2"), ("there", &unknown), ("never", "1")] {
        assert_eq!(client.manifest(repository, reference).await.unwrap(), None);
        assert!(!client.has(repository, reference).await.unwrap());
        assert_eq!(client.digest(repository, reference).await.unwrap(), None);
    }
}

#[tokio::test]
async fn who_may_push_is_found_out_and_nothing_is_left() {
    let client = Registry::new(registry(), None).unwrap();
    assert!(client.may_push("new/repository").await.unwrap());
    assert!(!client.has("new/repository", "1").await.unwrap());

    let (address, heads) = answering(|head| match head.starts_with("POST") {
        true => ("202 Accepted", "location: /v2/a/blobs/uploads/1\r\n".to_owned(), String::new()),
        false => ("404 Not Found", String::new(), String::new()),
    })
    .await;
    assert!(Registry::new(&address, None).unwrap().may_push("a").await.unwrap());
    assert!(heads.lock().unwrap()[1].starts_with("DELETE /v2/a/blobs/uploads/1 "));

    let (address, _) = answering(|_| ("403 Forbidden", String::new(), String::new())).await;
    let login = Login::Password { user: "ada".to_owned(), password: Secret::new("secret") };
    let error = Registry::new(&address, Some(login)).unwrap().may_push("a").await.unwrap_err();
    assert_eq!(error.exit(), Exit::Credentials);
    assert!(error.to_string().contains("must be allowed to push to `a`"), "{error}");
    let (address, _) = answering(|_| ("404 Not Found", String::new(), String::new())).await;
    assert!(!Registry::new(&address, None).unwrap().may_push("a").await.unwrap());
}

#[tokio::test]
async fn basic_is_given_where_it_is_asked_for() {
    let challenge = "www-authenticate: Basic realm=\"x\"\r\n".to_owned();
    let rule = move |head: &str| match header(head, "authorization").as_str() {
        "Basic YWRhOnNlY3JldA==" => ("200 OK", String::new(), String::new()),
        _ => ("401 Unauthorized", challenge.clone(), String::new()),
    };
    let (address, heads) = answering(rule).await;
    let login = |password: &str| Login::Password {
        user: "ada".to_owned(),
        password: Secret::new(password),
    };
    let good = Registry::new(&address, Some(login("secret"))).unwrap();
    assert!(good.has("a/b", "1").await.unwrap() && good.has("a/b", "2").await.unwrap());
    // Asked once, and remembered.
    assert_eq!(heads.lock().unwrap().len(), 3);
    for (login, hint) in
        [(Some(login("wrong")), "check the login for"), (None, "log in: docker login")]
    {
        let error = Registry::new(&address, login).unwrap().has("a/b", "1").await.unwrap_err();
        assert_eq!(error.exit(), Exit::Credentials);
        let text = error.to_string();
        assert!(text.contains(&format!("`{address}/a/b:1`")) && text.contains(hint), "{text}");
        assert!(!text.contains("wrong"), "{text}");
    }
}

#[tokio::test]
async fn a_token_is_fetched_with_what_the_login_gives() {
    let (tokens, asked) = answering(|head| match head.starts_with("POST") {
        true => ("200 OK", String::new(), json!({"access_token": "by-refresh"}).to_string()),
        false => (
            "200 OK",
            String::new(),
            json!({"token": "by-get", "access_token": "by-get"}).to_string(),
        ),
    })
    .await;
    let challenge =
        format!("www-authenticate: Bearer realm=\"http://{tokens}/t\",service=\"r\"\r\n");
    let rule = move |head: &str| match header(head, "authorization").as_str() {
        "Bearer by-get" | "Bearer by-refresh" => ("200 OK", String::new(), String::new()),
        _ => ("401 Unauthorized", challenge.clone(), String::new()),
    };
    let (address, _) = answering(rule).await;
    let password = Login::Password { user: "ada".to_owned(), password: Secret::new("secret") };
    for login in [None, Some(password), Some(Login::IdentityToken(Secret::new("refresh")))] {
        assert!(Registry::new(&address, login).unwrap().has("a/b", "1").await.unwrap());
    }
    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with("GET /t?scope=repository%3Aa%2Fb%3Apull&service=r "), "{asked:?}");
    assert_eq!(header(&asked[0], "authorization"), "");
    assert_eq!(header(&asked[1], "authorization"), "Basic YWRhOnNlY3JldA==");
    assert!(asked[2].starts_with("POST /t "), "{asked:?}");
}

fn logins() -> [Login; 2] {
    let password = Login::Password { user: "ada".to_owned(), password: Secret::new("secret") };
    [password, Login::IdentityToken(Secret::new("refresh"))]
}

#[tokio::test]
async fn a_token_service_does_not_pass_a_login_on() {
    let (elsewhere, reached) =
        answering(|_| ("200 OK", String::new(), r#"{"token": "t"}"#.to_owned())).await;
    let location = format!("location: http://{elsewhere}/t\r\n");
    let (tokens, _) =
        answering(move |_| ("307 Temporary Redirect", location.clone(), String::new())).await;
    let challenge = format!("www-authenticate: Bearer realm=\"http://{tokens}/t\"\r\n");
    let (address, _) =
        answering(move |_| ("401 Unauthorized", challenge.clone(), String::new())).await;
    for login in logins() {
        let error =
            Registry::new(&address, Some(login)).unwrap().has("a/b", "1").await.unwrap_err();
        assert!(error.to_string().contains("its token service answers 307"), "{error}");
    }
    assert!(reached.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_login_goes_nowhere_without_tls() {
    let challenge = "www-authenticate: Bearer realm=\"http://tokens.example/t\"\r\n";
    let (address, _) =
        answering(move |_| ("401 Unauthorized", challenge.to_owned(), String::new())).await;
    for login in logins() {
        let error =
            Registry::new(&address, Some(login)).unwrap().has("a/b", "1").await.unwrap_err();
        assert!(
            error.exit() == Exit::Refused && error.to_string().contains("tokens.example"),
            "{error}"
        );
    }
    let safe = ["https://auth.docker.io/token", "http://localhost:5001/t", "http://[::1]:5001/t"];
    assert!(safe.iter().all(|realm| is_safe(realm)));
    assert!(
        !["http://localhost.example/t", "ftp://localhost/t", "localhost"]
            .iter()
            .any(|realm| is_safe(realm))
    );
}

#[tokio::test]
async fn a_registry_without_tls_is_asked_once() {
    let count = Arc::new(AtomicUsize::new(0));
    // An address that leads to loopback, and does not look like it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::clone(&count);
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            connections.fetch_add(1, Ordering::Relaxed);
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            let _ = std::io::Write::write_all(&mut &connection, answer);
        }
    });
    let host = format!("[::ffff:127.0.0.1]:{port}");
    let error = Registry::new(&host, None).unwrap().has("a", "1").await.unwrap_err();
    let says = format!("the registry {host} uses HTTP, and cdflow expects HTTPS");
    assert!(error.exit() == Exit::Input && error.to_string().contains(&says), "{error}");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_token_has_an_end() {
    let endless = "x".repeat(LIMIT + 1);
    let (tokens, _) = answering(move |_| ("200 OK", String::new(), endless.clone())).await;
    let challenge = format!("www-authenticate: Bearer realm=\"http://{tokens}/t\"\r\n");
    let (address, _) =
        answering(move |_| ("401 Unauthorized", challenge.clone(), String::new())).await;
    let error = Registry::new(&address, None).unwrap().has("a/b", "1").await.unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_and_not_for_ever() {
    let count = AtomicUsize::new(0);
    let (address, _) = answering(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => ("429 Too Many Requests", "retry-after: 0\r\n".to_owned(), String::new()),
        1 => ("503 Service Unavailable", "retry-after: 0\r\n".to_owned(), String::new()),
        _ => ("200 OK", String::new(), String::new()),
    })
    .await;
    assert!(Registry::new(&address, None).unwrap().has("a", "1").await.unwrap());

    let (address, heads) =
        answering(|_| ("500 No", "retry-after: 0\r\n".to_owned(), String::new())).await;
    let error = Registry::new(&address, None).unwrap().has("a", "1").await.unwrap_err();
    assert_eq!(
        (error.exit(), heads.lock().unwrap().len()),
        (Exit::Unavailable, RETRY.attempts as usize)
    );

    let (address, heads) = answering(|_| ("403 Forbidden", String::new(), String::new())).await;
    let error = Registry::new(&address, None).unwrap().has("a", "1").await.unwrap_err();
    assert_eq!((error.exit(), heads.lock().unwrap().len()), (Exit::Credentials, 1));
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_refused() {
    let (address, _) = answering(|_| ("200 OK", String::new(), "{}".to_owned())).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    let error = Registry::new(&address, None).unwrap().manifest("a", &digest).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Integrity);
    let (address, _) = answering(|_| ("200 OK", String::new(), "no JSON".to_owned())).await;
    let error = Registry::new(&address, None).unwrap().manifest("a", "1").await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unavailable);
}

#[test]
fn only_this_machine_is_spoken_to_without_tls() {
    for host in ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000"] {
        assert!(is_local(host), "{host}");
    }
    for host in ["localhost.example", "registry.test:5000", "10.0.0.1", "[fe80::1]"] {
        assert!(!is_local(host), "{host}");
    }
}
