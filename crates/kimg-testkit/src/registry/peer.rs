//! A registry in memory that follows the OCI distribution spec, and misbehaves as it is told.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use kimg_core::Digest;

use super::faulty::answer;
use super::guard::{Guard, PeerAuth};
use super::script::{Misbehaviour, Script};
use super::store::{Content, Manifest, Store};
use super::uploads::Uploads;
use super::wire::{Body, Head};
use crate::server::{Listening, locked};

/// What a registry is like when nothing goes wrong.
#[expect(clippy::struct_excessive_bools, reason = "each says whether a registry can do one thing")]
#[derive(Debug, Clone)]
pub struct PeerSetup {
    /// Whom it lets in.
    pub auth: PeerAuth,
    /// Whether it takes blobs over from other repositories.
    pub mounts: bool,
    /// Whether it has the referrers API.
    pub referrers: bool,
    /// How many chunks of a blob it takes.
    pub chunks: u64,
    /// Whether it gives parts of blobs.
    pub parts: bool,
    /// Whether it keeps what came of a request that broke off. Debian's `docker-registry` does not.
    pub keeps_partial: bool,
    /// The smallest chunk that it asks for, in bytes; 0 for none.
    pub smallest_chunk: u64,
    /// How many tags it gives at once.
    pub page: usize,
}

impl Default for PeerSetup {
    fn default() -> Self {
        Self {
            auth: PeerAuth::Open,
            mounts: true,
            referrers: true,
            chunks: u64::MAX,
            parts: true,
            keeps_partial: true,
            smallest_chunk: 0,
            page: 100,
        }
    }
}

/// A request that was made.
#[derive(Debug, Clone)]
pub struct PeerRequest {
    /// `PUT`
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The status of the answer; 0 for none.
    pub status: u16,
    /// Bytes of the body that came.
    pub body: u64,
}

/// A registry in this process. Ends when dropped.
#[derive(Debug)]
pub struct RegistryPeer {
    listening: Listening,
    state: Arc<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) setup: PeerSetup,
    pub(super) store: Mutex<Store>,
    pub(super) uploads: Mutex<Uploads>,
    pub(super) guard: Mutex<Guard>,
    pub(super) script: Mutex<Script>,
    requests: Mutex<Vec<PeerRequest>>,
    address: Mutex<String>,
    received: AtomicU64,
    ending: AtomicBool,
    /// How often something stalled.
    stalled: (Mutex<usize>, Condvar),
}

impl State {
    pub(super) fn realm(&self) -> String {
        format!("http://{}/token", locked(&self.address))
    }

    /// Holds a connection on which nothing more happens.
    pub(super) fn hold(&self) {
        *locked(&self.stalled.0) += 1;
        self.stalled.1.notify_all();
        for _ in 0..1500 {
            if self.ending.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl RegistryPeer {
    /// Starts one.
    pub fn new(setup: PeerSetup) -> Self {
        let state = Arc::new(State {
            store: Mutex::default(),
            uploads: Mutex::default(),
            guard: Mutex::new(Guard::new(setup.auth.clone())),
            script: Mutex::default(),
            requests: Mutex::default(),
            address: Mutex::default(),
            received: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            stalled: (Mutex::new(0), Condvar::new()),
            setup,
        });
        let shared = Arc::clone(&state);
        let listening = Listening::start(move |stream| serve(stream, &shared));
        *locked(&state.address) = listening.address.to_string();
        Self { listening, state }
    }

    /// `127.0.0.1:PORT`, as it stands in references.
    pub fn name(&self) -> String {
        self.listening.address.to_string()
    }

    /// Something goes wrong with the `nth` request from now on; the next one is the first.
    pub fn at(&self, nth: usize, fault: Misbehaviour) {
        locked(&self.state.script).at(nth, fault);
    }

    /// The same goes wrong with every request from the `nth` on.
    pub fn from(&self, nth: usize, fault: Misbehaviour) {
        locked(&self.state.script).from(nth, fault);
    }

    /// From now on nothing goes wrong any more.
    pub fn behave(&self) {
        locked(&self.state.script).clear();
    }

    /// How often something went wrong that the client could see.
    pub fn felt(&self) -> usize {
        locked(&self.state.script).felt
    }

    /// The requests that were made, in order.
    pub fn requests(&self) -> Vec<PeerRequest> {
        locked(&self.state.requests).clone()
    }

    /// Forgets the requests that were made, and how many bytes came.
    pub fn forget(&self) {
        locked(&self.state.requests).clear();
        self.state.received.store(0, Ordering::SeqCst);
    }

    /// Bytes of blobs that came, also of those that broke off.
    pub fn received(&self) -> u64 {
        self.state.received.load(Ordering::SeqCst)
    }

    /// How often a blob's bytes came, whole.
    pub fn came(&self, digest: Digest) -> usize {
        locked(&self.state.store).came.get(&digest).copied().unwrap_or(0)
    }

    /// The tags of a repository.
    pub fn tags(&self, repository: &str) -> BTreeMap<String, Digest> {
        locked(&self.state.store)
            .tags(repository)
            .into_iter()
            .map(|(tag, digest)| (tag.to_owned(), digest))
            .collect()
    }

    /// The bytes of a manifest, by its digest or a tag.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<Vec<u8>> {
        locked(&self.state.store).manifest(repository, name).map(|(_, manifest)| manifest.bytes.clone())
    }

    /// Puts a blob there, whatever it is called.
    pub fn put_blob(&self, repository: &str, digest: Digest, bytes: &[u8]) {
        let content = Content::Memory(Arc::new(bytes.to_vec()));
        locked(&self.state.store).put_blob(repository, digest, content);
    }

    /// Puts a manifest there, whatever it names.
    pub fn put_manifest(&self, repository: &str, name: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let manifest = Manifest { media_type: media_type.to_owned(), bytes: bytes.to_vec() };
        locked(&self.state.store).put_manifest(repository, name, manifest)
    }

    /// From now on a tag may only be set when these manifests and blobs, each with its repository, are there.
    pub fn require(&self, all: impl IntoIterator<Item = (String, Digest)>) {
        locked(&self.state.store).required = all.into_iter().collect();
    }

    /// Each time a tag named what was not whole, or a manifest came before what it names; and the tags that do now.
    pub fn broken(&self) -> Vec<String> {
        let store = locked(&self.state.store);
        store.broken.iter().cloned().chain(store.incomplete()).collect()
    }

    /// All tokens are void from now on.
    pub fn revoke(&self) {
        locked(&self.state.guard).revoke();
    }

    /// Waits until something stalled so many times; gives whether it did, within a minute.
    pub fn wait_for_stall(&self, times: usize) -> bool {
        let (count, changed) = &self.state.stalled;
        let waited =
            changed.wait_timeout_while(locked(count), Duration::from_secs(60), |count| *count < times);
        waited.is_ok_and(|(count, _)| *count >= times)
    }
}

impl Drop for RegistryPeer {
    fn drop(&mut self) {
        self.state.ending.store(true, Ordering::SeqCst);
    }
}

fn serve(stream: &TcpStream, state: &State) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::with_capacity(128 << 10, stream);
    while let Some(head) = Head::read(&mut reader) {
        let fault = locked(&state.script).next();
        let uploading = head.path.contains("/blobs/uploads/");
        let mut body = Body::new(&head, &mut reader, uploading.then_some(&state.received));
        let answer = answer(state, &head, &mut body, fault.as_ref());
        let came = body.read;
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        let Head { method, path, query, headers } = head;
        let only_head = method == "HEAD";
        // Before anything is sent: who has the answer finds the request in the list.
        locked(&state.requests).push(PeerRequest { method, path, query, headers, status, body: came });
        let Some(answer) = answer else { break };
        let pause = match &fault {
            Some(Misbehaviour::Drip(pause)) => Some(*pause),
            _ => None,
        };
        let cut = fault == Some(Misbehaviour::Cut) && !only_head && answer.length() > 0;
        let at_most = cut.then(|| answer.length() / 2);
        if answer.send(&mut &*stream, only_head, pause, at_most).is_err() || cut {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
