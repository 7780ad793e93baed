//! HTTP/1.1, as far as a registry needs it: one request after the other on a connection.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::{self, BufRead, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The head of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) path: String,
    /// Decoded, in order.
    pub(super) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
}

impl Head {
    /// The next request of a connection; `None` at its end, or for what is no request (a TLS handshake).
    pub(super) fn read(stream: &mut impl BufRead) -> Option<Self> {
        if !stream.fill_buf().ok()?.first()?.is_ascii_uppercase() {
            return None;
        }
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let mut words = line.split_ascii_whitespace();
        let method = words.next()?.to_owned();
        let target = words.next()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        Some(Self { method, path: decoded(path), query: pairs(query), headers })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body's length, if it is said.
    pub(super) fn length(&self) -> u64 {
        self.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(super) fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|text| text.eq_ignore_ascii_case("chunked"))
    }
}

/// `a=1&b=2`, decoded.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    text.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The body of a request. It ends early with an error where the connection does.
pub(super) struct Body<'a, R> {
    stream: &'a mut R,
    /// Bytes left of the body, or of the chunk.
    left: u64,
    chunked: bool,
    over: bool,
    pub(super) read: u64,
    /// Is told of each byte as it comes.
    count: Option<&'a AtomicU64>,
}

impl<'a, R: BufRead> Body<'a, R> {
    pub(super) fn new(head: &Head, stream: &'a mut R, count: Option<&'a AtomicU64>) -> Self {
        let chunked = head.is_chunked();
        let left = if chunked { 0 } else { head.length() };
        Self { stream, left, chunked, over: !chunked && left == 0, read: 0, count }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        if self.read > 0 {
            self.stream.read_line(&mut line)?;
            line.clear();
        }
        self.stream.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        self.left = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if self.left == 0 {
            self.stream.read_line(&mut line)?;
            self.over = true;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunked && self.left == 0 && !self.over {
            self.next_chunk()?;
        }
        if self.over {
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.stream.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.read += read as u64;
        if let Some(count) = self.count {
            count.fetch_add(read as u64, Ordering::SeqCst);
        }
        self.over = !self.chunked && self.left == 0;
        Ok(read)
    }
}

/// What an answer carries.
pub(super) enum Carried {
    Bytes(Vec<u8>),
    /// A file, from a byte on.
    File(fs_err::File, u64),
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Carried,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Carried::Bytes(Vec::new()) }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(super) fn json(self, value: &serde_json::Value) -> Self {
        Self { body: Carried::Bytes(value.to_string().into_bytes()), ..self }
            .with("Content-Type", "application/json")
    }

    /// An error as the distribution spec has it ("Error Codes").
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let value = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        Self::new(status).json(&value)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn replace(&mut self, name: &'static str, value: impl Display) -> bool {
        let found = self.headers.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name));
        let there = found.is_some();
        if let Some((_, old)) = found {
            *old = value.to_string();
        }
        there
    }

    pub(super) fn length(&self) -> u64 {
        match &self.body {
            Carried::Bytes(bytes) => bytes.len() as u64,
            Carried::File(_, length) => *length,
        }
    }

    /// Writes it. `length` stands in for the body's where only the head is asked for; with a pause it comes in drops.
    pub(super) fn send(
        self,
        stream: &mut impl Write,
        only_head: bool,
        pause: Option<Duration>,
        at_most: Option<u64>,
    ) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} -\r\n", self.status);
        if self.status != 204 && self.header("content-length").is_none() {
            let _ = write!(head, "Content-Length: {}\r\n", self.length());
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let length = at_most.unwrap_or(u64::MAX).min(self.length());
        let body: Box<dyn Read> = match self.body {
            _ if only_head => Box::new(io::empty()),
            Carried::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            Carried::File(file, _) => Box::new(file),
        };
        let mut whole = io::Cursor::new(head.into_bytes()).chain(body.take(length));
        match pause {
            None => drop(io::copy(&mut whole, stream)?),
            Some(pause) => {
                // So many drops, however long it is.
                let total = length + 400;
                let mut drop = vec![0; usize::try_from(total / 12 + 1).unwrap_or(1)];
                loop {
                    let read = whole.read(&mut drop)?;
                    if read == 0 {
                        break;
                    }
                    stream.write_all(&drop[..read])?;
                    stream.flush()?;
                    std::thread::sleep(pause);
                }
            }
        }
        stream.flush()
    }
}
