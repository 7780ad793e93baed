//! A folder behind HTTP on the loopback address: a mirror as good ones are, that misbehaves where a test wants it to.
//!
//! By itself it does what mirrors do: a strong `ETag` and `Last-Modified`, parts (`Range`, `If-Range`), conditional
//! requests (`If-None-Match`, `If-Modified-Since`). What goes wrong is said beforehand, answer by answer:
//!
//! ```
//! use kimg_testkit::{Fault, FolderServer};
//!
//! let folder = kimg_testkit::tempdir().unwrap();
//! let server = FolderServer::new(folder.path());
//! server.next("a", Fault::Status(503, vec![("Retry-After", "1".into())]));   // the first answer about `a`
//! server.next("a", Fault::Cut { after: 1000 });                              // the second
//! server.always("b", Fault::Status(404, vec![]));
//! ```

mod answer;
mod proxy;
pub(crate) mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use answer::answer;
pub use proxy::ForwardProxy;

/// What is wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, with these headers and no body.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection ends after so many bytes of the body.
    Cut {
        /// Bytes of the body that are sent.
        after: usize,
    },
    /// The connection ends before anything was answered.
    Hangup,
    /// The body comes in pieces with a pause in between.
    Slow {
        /// Bytes in a piece.
        piece: usize,
        /// The pause.
        pause: Duration,
    },
    /// Other bytes than the file's, under the file's own validators.
    Bytes(Vec<u8>),
    /// A redirect to this address (302).
    Redirect(String),
    /// As a server that knows nothing of parts, validators and conditions, and closes the body by its end alone.
    Plain,
    /// The file is as it should be, but its tag is weak.
    WeakTag,
}

/// A request that was made, and what was answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`
    pub method: String,
    /// Without the slash in front.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The status of the answer; 0 for none.
    pub status: u16,
    /// How many bytes of the body were sent.
    pub sent: usize,
}

/// Serves the files of a folder on a port that the system chooses, and remembers what was asked for. Ends when dropped.
#[derive(Debug)]
pub struct FolderServer {
    listening: Listening,
    scheme: &'static str,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    folder: PathBuf,
    requests: Mutex<Vec<Request>>,
    next: Mutex<BTreeMap<String, VecDeque<Fault>>>,
    always: Mutex<BTreeMap<String, Fault>>,
}

impl FolderServer {
    /// Starts it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self::start(folder.into(), "http", |mut stream, state| answer(&mut stream, state))
    }

    /// Starts it behind TLS, with a certificate of the [`authority`](Self::authority).
    pub fn over_tls(folder: impl Into<PathBuf>) -> Self {
        let config = tls::config();
        Self::start(folder.into(), "https", move |stream, state| {
            if let Some(mut stream) = tls::accept(stream, &config) {
                answer(&mut stream, state);
                tls::close(stream);
            }
        })
    }

    /// The certificate, in PEM, by which a client can trust what is served over TLS: for `SSL_CERT_FILE`.
    pub fn authority() -> &'static str {
        tls::AUTHORITY
    }

    fn start(
        folder: PathBuf,
        scheme: &'static str,
        serve: impl Fn(&TcpStream, &State) + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(State {
            folder,
            requests: Mutex::default(),
            next: Mutex::default(),
            always: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let listening = Listening::start(move |stream| serve(stream, &shared));
        Self { listening, scheme, state }
    }

    /// The address of a path below the folder.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}/{}", self.scheme, self.listening.address, path.trim_start_matches('/'))
    }

    /// The host and port it listens on.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// What is wrong with the next answer about a path; said several times, with the answers after it.
    pub fn next(&self, path: &str, fault: Fault) {
        locked(&self.state.next).entry(path.to_owned()).or_default().push_back(fault);
    }

    /// What is wrong with each answer about a path, or about every path if it is empty.
    pub fn always(&self, path: &str, fault: Fault) {
        locked(&self.state.always).insert(path.to_owned(), fault);
    }

    /// From now on nothing is wrong any more.
    pub fn behave(&self) {
        locked(&self.state.next).clear();
        locked(&self.state.always).clear();
    }

    /// The paths that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// The requests that were made, in order.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.state.requests).clone()
    }

    /// Forgets the requests that were made.
    pub fn forget(&self) {
        locked(&self.state.requests).clear();
    }
}

impl State {
    fn fault(&self, path: &str) -> Option<Fault> {
        let next = locked(&self.next).get_mut(path).and_then(VecDeque::pop_front);
        let always = locked(&self.always);
        next.or_else(|| always.get(path).or_else(|| always.get("")).cloned())
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that accepts connections, and one for each of them. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    pub(crate) fn start(serve: impl Fn(&TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback address is there");
        let address = listener.local_addr().expect("the listener is bound");
        let ending = Arc::new(AtomicBool::new(false));
        let (stop, serve) = (Arc::clone(&ending), Arc::new(serve));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let serve = Arc::clone(&serve);
                if let Ok(stream) = stream {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                    std::thread::spawn(move || serve(&stream));
                }
            }
        });
        Self { address, ending, thread: Some(thread) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // The accepting thread wakes up for a connection, and only then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The first line of a request, and its headers with names in lower case.
fn read_request(stream: &mut impl Read) -> Option<(String, BTreeMap<String, String>)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let line = lines.next()?;
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some((line, headers.collect()))
}
