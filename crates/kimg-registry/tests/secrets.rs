//! Nobody sees a password or token: not in logs of any level, not in debug output, not in errors, and no other host.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use kimg_registry::{
    Client, Credentials, Journal, Keychain, Options, PushOptions, Reference, Release, Secret, store_login,
};
use kimg_testkit::{FolderServer, Misbehaviour, PeerAuth, PeerSetup, RegistryPeer, tempdir};
use made::{hasty, layout, repository};

const PASSWORD: &str = "hunter2-never-to-be-seen";

/// Everything that is logged, through `tracing` or `log`, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let _ = writeln!(self.clone(), "{} {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

fn captured() -> Log {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    log::set_logger(Box::leak(Box::new(log.clone()))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    log
}

#[tokio::test]
async fn no_secret_is_in_any_log_debug_output_error_or_journal() {
    let log = captured();
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 10_000);
    let mut shown: Vec<String> = Vec::new();
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("kimg:{PASSWORD}"));
    for auth in
        [PeerAuth::Basic("kimg".into(), PASSWORD.into()), PeerAuth::Token("kimg".into(), PASSWORD.into())]
    {
        for token in [false, true] {
            let peer = RegistryPeer::new(PeerSetup { auth: auth.clone(), ..PeerSetup::default() });
            let credentials = if token {
                Credentials::IdentityToken(Secret::new(PASSWORD))
            } else {
                Credentials::Basic { username: "kimg".into(), password: Secret::new(PASSWORD) }
            };
            shown.push(format!("{credentials:?}"));
            let options = Options { chunk_above: 4000, chunk: 3000, attempts: 2, ..hasty() };
            let client = Client::new(options, Keychain::anonymous().with(&peer.name(), credentials)).unwrap();
            let to = repository(&peer.name(), "acme/kubelet");
            let release = Release::of_layout(&layout, &to).unwrap();
            let journal = Journal::open(folder.path().join("journal")).unwrap();
            let push = PushOptions { journal: Some(&journal), ..PushOptions::default() };
            // An error that repeats what was sent, at the first requests and later; then it goes well, where it can.
            for nth in [1, 2, 3, 9] {
                peer.at(nth, Misbehaviour::Tattle);
                if let Err(error) = client.push(&release, &push, Arc::new(())).await {
                    shown.push(format!("{error} {error:?}"));
                }
                peer.behave();
            }
            let result = client.push(&release, &push, Arc::new(())).await;
            assert_eq!(result.is_ok(), !token || matches!(auth, PeerAuth::Token(..)), "{result:?}");
            shown.push(format!("{client:?} {journal:?} {release:?} {result:?}"));
        }
    }
    shown.push(fs_err::read_to_string(folder.path().join("journal/push.jsonl")).unwrap());
    let shown = shown.join("\n");
    assert!(shown.contains("you sent"), "the registry tattled, and what it said is shown: {shown}");
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("hyper"), "libraries log into it");
    for secret in [PASSWORD, &encoded, "worthless-token"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
        let line = logged.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret}: {line:?}");
    }
}

#[tokio::test]
async fn a_broken_file_of_credentials_is_not_repeated() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("auth.json");
    let keychain = Keychain::anonymous().with_auth_file(&path);
    let to = repository("reg.example", "a");
    let bad = [
        format!(r#"{{"auths": "{PASSWORD}"}}"#),
        format!(r#"{{"auths": {{"reg.example": {{"auth": "{PASSWORD}"}}}}}}"#),
        format!(r#"{{"auths": {{"reg.example": "{PASSWORD}"}}}}"#),
        PASSWORD.to_owned(),
    ];
    for text in bad {
        fs_err::write(&path, text).unwrap();
        let error = keychain.credentials_for(&to).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert!(error.to_string().contains("auth.json"), "{error}");
    }
    store_login(&path, "reg.example", "kimg", &Secret::new(PASSWORD)).unwrap_err();
}

#[tokio::test]
async fn a_blob_may_lie_elsewhere_and_nobody_there_is_told_who_asks() {
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 10_000);
    let auth = PeerAuth::Token("kimg".into(), PASSWORD.into());
    let peer = RegistryPeer::new(PeerSetup { auth, ..PeerSetup::default() });
    let credentials = Credentials::Basic { username: "kimg".into(), password: Secret::new(PASSWORD) };
    let keychain = Keychain::anonymous().with(&peer.name(), credentials);
    let client = Client::new(Options { concurrency: 1, ..hasty() }, keychain).unwrap();
    let to = repository(&peer.name(), "acme/kubelet");
    made::push(&client, &layout, &to).await.unwrap();
    // The store to which the registry sends its readers is the layout's own folder behind another address.
    let elsewhere = FolderServer::new(layout.dir());
    let image = layout.image("v1-plain", kimg_core::Platform::Amd64).unwrap();
    let (config, first) = (image.config.digest, image.layers[0].digest);
    let store = kimg_layer::BlobStore::open(folder.path().join("store-2")).unwrap();
    let reference: Reference = format!("{to}@{}", image.descriptor.digest).parse().unwrap();
    let blobs = [config, first, image.layers[1].digest];
    let mut sorted = blobs;
    sorted.sort();
    peer.at(2, Misbehaviour::Redirect(elsewhere.url(&format!("blobs/sha256/{}", sorted[0].hex()))));
    client.pull(&reference, None, &store, Arc::new(())).await.unwrap();
    let asked = elsewhere.requests();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].headers.contains_key("authorization"), "{asked:?}");
    // Uploads and manifests go nowhere else.
    let other = repository(&peer.name(), "acme/other");
    for fault in
        [Misbehaviour::ForeignLocation(elsewhere.url("x")), Misbehaviour::ForeignRealm(elsewhere.url("x"))]
    {
        elsewhere.forget();
        let before = peer.requests().len();
        peer.from(8, fault.clone());
        let error = made::push(&client, &layout, &other).await.unwrap_err();
        assert!(peer.requests().len() > before + 7, "{fault:?}: {error}");
        assert!(elsewhere.requests().is_empty(), "{fault:?}: nobody else was asked: {error}");
        peer.behave();
    }
}
