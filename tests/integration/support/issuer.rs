//! GitHub's issuer of ID tokens: it vouches for a run to whoever has the right to ask.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// Distinctive: it is looked for in what is shown.
pub(crate) const RIGHT_TO_ASK: &str = "rightToAskRightToAskRightToAsk000001";

pub(crate) struct Issuer {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    /// Statuses of the next answers; then 200.
    pub(crate) failures: Arc<Mutex<Vec<u16>>>,
}

impl Issuer {
    /// Ends with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/idtoken/run?api-version=2.0", listener.local_addr().unwrap());
        let (asked, failures) =
            (Arc::new(Mutex::new(Vec::<String>::new())), Arc::new(Mutex::new(Vec::new())));
        let issuer = Self { url, asked: asked.clone(), failures: failures.clone() };
        std::thread::spawn(move || {
            for mut stream in listener.incoming().filter_map(Result::ok) {
                let head: Vec<String> = BufReader::new(&stream)
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let head = head.join("\n");
                let is_allowed = head
                    .to_lowercase()
                    .contains(&format!("authorization: bearer {RIGHT_TO_ASK}").to_lowercase());
                let mut asked = asked.lock().unwrap();
                asked.push(head.lines().next().unwrap_or_default().to_owned());
                let status =
                    failures.lock().unwrap().pop().unwrap_or(if is_allowed { 200 } else { 401 });
                let body = format!("{{\"count\":1,\"value\":\"{}\"}}", token(asked.len()));
                let answer = format!(
                    "HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                // Whoever asked may have gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        issuer
    }

    /// The variables that a job with `id-token: write` has.
    pub(crate) fn env(&self) -> [(&'static str, &str); 2] {
        [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", &self.url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", RIGHT_TO_ASK),
        ]
    }

    /// `http://127.0.0.1:<port>`
    pub(crate) fn origin(&self) -> &str {
        self.url.split("/idtoken").next().unwrap()
    }

    /// The lines of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// What the issuer answers to the request of that number.
pub(crate) fn token(number: usize) -> String {
    format!("header.payloadOfTheIdToken{number:06}.signature")
}
