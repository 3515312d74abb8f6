//! Servers on loopback that let their clients wait: one takes no connection, one answers by a rule,
//! and perhaps never. They end with the process.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What a request gets.
pub(crate) enum Reply {
    /// A status, more lines of the head (each with its CRLF), and a body.
    Http(u16, &'static str, String),
    /// The head of an answer, the first bytes of its body, and nothing more.
    Begun,
    /// The head of an answer, and a byte of its body now and then.
    Drip,
    Nothing,
}

/// Answers each request by its head. Returns `127.0.0.1:<port>`.
pub(crate) fn answering(rule: impl Fn(&str) -> Reply + Send + Sync + 'static) -> String {
    hearing(move |head, _| rule(head))
}

/// Answers each request by its head and its body. Returns `127.0.0.1:<port>`.
pub(crate) fn hearing(rule: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let rule = Arc::new(rule);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let rule = rule.clone();
            thread::spawn(move || serve(&stream, &*rule));
        }
    });
    address
}

/// Answers the requests on one connection, and takes no other.
pub(crate) fn answering_once(rule: impl Fn(&str) -> Reply + Send + Sync + 'static) -> String {
    let listener = narrow();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let waiting = fill(address);
        serve(&stream, &|head: &str, _: &str| rule(head));
        thread::park();
        drop((listener, waiting));
    });
    address.to_string()
}

/// A listener that takes no connection. Returns `127.0.0.1:<port>`.
pub(crate) fn full() -> String {
    let listener = narrow();
    let address = listener.local_addr().unwrap();
    let waiting = fill(address);
    thread::spawn(move || {
        thread::park();
        drop((listener, waiting));
    });
    address.to_string()
}

/// A listener with room for one connection that nobody has accepted.
fn narrow() -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap().into_std().unwrap();
        listener.set_nonblocking(false).unwrap();
        listener
    })
}

fn fill(address: SocketAddr) -> Vec<TcpStream> {
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    std::iter::from_fn(connect).collect()
}

fn serve(stream: &TcpStream, rule: &(dyn Fn(&str, &str) -> Reply + Send + Sync)) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some((head, body)) = request(&mut reader) {
        // A client that has gone is what many tests are about.
        let _ = match rule(&head, &body) {
            Reply::Http(status, more, body) => write!(
                writer,
                "HTTP/1.1 {status} -\r\n{more}content-length: {}\r\n\r\n{body}",
                body.len()
            ),
            Reply::Begun => write!(writer, "HTTP/1.1 200 -\r\ncontent-length: 1000\r\n\r\n{{"),
            Reply::Drip => {
                let mut sent = write!(writer, "HTTP/1.1 200 -\r\ncontent-length: 1000\r\n\r\n");
                while sent.is_ok() {
                    thread::sleep(Duration::from_millis(300));
                    sent = writer.write_all(b" ");
                }
                sent
            }
            Reply::Nothing => Ok(()),
        };
    }
}

/// Reads a request to its end. Returns its head, and its body unless that comes in chunks.
fn request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    let header = |name: &str| {
        lower.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let mut body = Vec::new();
    if header("transfer-encoding:").as_deref() == Some("chunked") {
        let mut size = usize::MAX;
        while size > 0 {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            size = usize::from_str_radix(line.trim(), 16).ok()?;
            reader.read_exact(&mut vec![0; size + 2]).ok()?;
        }
    } else if let Some(length) = header("content-length:") {
        body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
    }
    Some((head, String::from_utf8_lossy(&body).into_owned()))
}
