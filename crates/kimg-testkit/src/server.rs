//! A folder behind HTTP on the loopback address.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Serves the files of a folder on a port that the system chooses, and remembers what was asked for. Ends when dropped.
#[derive(Debug)]
pub struct FolderServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FolderServer {
    /// Starts it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback address is there");
        let address = listener.local_addr().expect("the listener is bound");
        let (asked, ending) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (folder, log, stop) = (folder.into(), asked.clone(), ending.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (folder, log) = (folder.clone(), log.clone());
                if let Ok(stream) = stream {
                    std::thread::spawn(move || answer(&stream, &folder, &log));
                }
            }
        });
        Self { address, asked, ending, thread: Some(thread) }
    }

    /// The address of a path below the folder.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{}", self.address, path.trim_start_matches('/'))
    }

    /// The paths that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

impl Drop for FolderServer {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // The accepting thread wakes up for a connection, and only then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: &TcpStream, folder: &Path, asked: &Mutex<Vec<String>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let _headers = lines.take_while(|line| !line.is_empty()).count();
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    let file = folder.join(&path);
    let body = (!path.split('/').any(|name| name == "..")).then(|| fs_err::read(file).ok()).flatten();
    if let Ok(mut asked) = asked.lock() {
        asked.push(path);
    }
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes());
    if !request.starts_with("HEAD ") {
        let _ = stream.write_all(&body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn get(server: &FolderServer, path: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_file_is_served_and_what_is_not_there_is_a_404() {
        let folder = crate::tempdir().unwrap();
        fs_err::write(folder.path().join("a"), "hello").unwrap();
        let server = FolderServer::new(folder.path());
        assert!(get(&server, "a").ends_with("\r\n\r\nhello"));
        assert!(get(&server, "../etc/passwd").starts_with("HTTP/1.1 404"));
        assert_eq!(server.asked(), ["a", "../etc/passwd"]);
    }
}
