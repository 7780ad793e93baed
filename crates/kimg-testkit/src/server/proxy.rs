//! A forward proxy: plain HTTP with the whole address in the request (RFC 9112, 3.2.2), anything else through a tunnel
//! (`CONNECT`; RFC 9110, 9.3.6).

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use super::{Listening, locked, read_request};

/// Passes requests on and remembers them. Ends when dropped.
#[derive(Debug)]
pub struct ForwardProxy {
    listening: Listening,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// Starts it on a port that the system chooses.
    pub fn start() -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        Self { listening: Listening::start(move |stream| forward(stream, &log)), asked }
    }

    /// What `HTTP_PROXY` has to say.
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    /// The addresses that were asked for, in order; `host:port` of tunnels.
    pub fn asked(&self) -> Vec<String> {
        locked(&self.asked).clone()
    }
}

fn forward(mut stream: &TcpStream, log: &Mutex<Vec<String>>) {
    let Some((line, headers)) = read_request(&mut stream) else { return };
    let url = line.split(' ').nth(1).unwrap_or_default().to_owned();
    locked(log).push(url.clone());
    if line.starts_with("CONNECT ") {
        tunnel(stream, &url);
        return;
    }
    let Some((host, path)) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')) else {
        return;
    };
    let Ok(mut server) = TcpStream::connect(host) else { return };
    let mut request = format!("GET /{path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in
        headers.iter().filter(|(name, _)| !name.starts_with("proxy-") && *name != "connection")
    {
        let _ = std::fmt::Write::write_fmt(&mut request, format_args!("{name}: {value}\r\n"));
    }
    let mut answer = Vec::new();
    let passed =
        server.write_all((request + "\r\n").as_bytes()).and_then(|()| server.read_to_end(&mut answer));
    if passed.is_ok() {
        let _ = stream.write_all(&answer);
    }
}

fn tunnel(mut stream: &TcpStream, host: &str) {
    let Ok(server) = TcpStream::connect(host) else { return };
    if stream.write_all(b"HTTP/1.1 200 -\r\n\r\n").is_err() {
        return;
    }
    let pass = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pass(stream, &server));
        pass(&server, stream);
    });
}
