//! What the environment decides: proxies and certificates. Each test runs itself once more, in a process whose
//! environment is as the test wants it.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kimg_source::{Fetcher, SourceError};
use kimg_testkit::{Fault, FolderServer, ForwardProxy, TempDir, run, tempdir};

const URL: &str = "KIMG_TEST_URL";

/// In the process that a test was started in by itself: fetches the file and prints what came of it. Gives whether
/// this is that process.
fn fetched_here() -> bool {
    let Ok(url) = std::env::var(URL) else { return false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fetcher = Fetcher::new(1).first_wait(Duration::ZERO);
    match runtime.block_on(fetcher.get(&url, 1000)) {
        Ok(bytes) => println!("fetched: {}", String::from_utf8(bytes).unwrap()),
        Err(error @ SourceError::Network { .. }) => {
            println!("failed: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(why) = cause {
                println!("because: {why}");
                cause = why.source();
            }
        }
        Err(error) => println!("failed: {error}"),
    }
    true
}

/// Runs the test `name` in a process of its own; gives what it printed.
fn elsewhere(name: &str, url: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(variable).env_remove(variable.to_lowercase());
    }
    run(command.env(URL, url).envs(variables.iter().copied()))
}

fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    fs_err::write(folder.path().join("file"), "hello").unwrap();
    folder
}

fn authority(folder: &Path) -> String {
    let path = folder.join("authority.pem");
    fs_err::write(&path, FolderServer::authority()).unwrap();
    path.display().to_string()
}

#[test]
fn plain_http_goes_through_the_proxy_and_not_where_no_proxy_says_so() {
    if fetched_here() {
        return;
    }
    let this = "plain_http_goes_through_the_proxy_and_not_where_no_proxy_says_so";
    let folder = folder();
    let (server, proxy) = (FolderServer::new(folder.path()), ForwardProxy::start());
    let url = server.url("file");
    assert!(elsewhere(this, &url, &[("HTTP_PROXY", &proxy.url())]).contains("fetched: hello"));
    assert_eq!(proxy.asked(), [url.as_str()]);
    let around = [("HTTP_PROXY", proxy.url()), ("NO_PROXY", "127.0.0.1".into())];
    let around = around.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert!(elsewhere(this, &url, &around).contains("fetched: hello"));
    assert_eq!(proxy.asked().len(), 1, "the second time nobody asked the proxy");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn https_goes_through_a_tunnel_of_the_proxy() {
    if fetched_here() {
        return;
    }
    let folder = folder();
    let (server, proxy) = (FolderServer::over_tls(folder.path()), ForwardProxy::start());
    let variables = [("HTTPS_PROXY", proxy.url()), ("SSL_CERT_FILE", authority(folder.path()))];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let said = elsewhere("https_goes_through_a_tunnel_of_the_proxy", &server.url("file"), &variables);
    assert!(said.contains("fetched: hello"), "{said}");
    assert_eq!(proxy.asked(), [server.address().to_string()]);
}

#[test]
fn a_server_whose_certificate_nobody_vouches_for_is_refused() {
    if fetched_here() {
        return;
    }
    let this = "a_server_whose_certificate_nobody_vouches_for_is_refused";
    let folder = folder();
    let server = FolderServer::over_tls(folder.path());
    let said = elsewhere(this, &server.url("file"), &[("SSL_CERT_FILE", &authority(folder.path()))]);
    assert!(said.contains("fetched: hello"), "{said}");
    // The certificate vouches for itself, which is not enough: its authority has to be trusted.
    let other = folder.path().join("other.pem");
    fs_err::write(&other, include_str!("../../kimg-testkit/src/server/keys/worthless-loopback.cert.pem"))
        .unwrap();
    let said = elsewhere(this, &server.url("file"), &[("SSL_CERT_FILE", &other.display().to_string())]);
    assert!(said.contains("failed: ") && said.contains("certificate"), "{said}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    if fetched_here() {
        return;
    }
    let folder = folder();
    let (secure, plain) = (FolderServer::over_tls(folder.path()), FolderServer::new(folder.path()));
    secure.next("moved", Fault::Redirect(secure.url("file")));
    secure.next("down", Fault::Redirect(plain.url("file")));
    let trusted = authority(folder.path());
    let this = "a_redirect_from_https_to_http_is_refused";
    let said = elsewhere(this, &secure.url("moved"), &[("SSL_CERT_FILE", &trusted)]);
    assert!(said.contains("fetched: hello"), "{said}");
    let said = elsewhere(this, &secure.url("down"), &[("SSL_CERT_FILE", &trusted)]);
    assert!(
        said.contains("failed: ") && said.contains("it redirects from https to http, to 127.0.0.1"),
        "{said}"
    );
    assert!(plain.asked().is_empty());
}
