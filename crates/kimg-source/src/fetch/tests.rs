//! A scripted peer on loopback: it answers what each test tells it to, in order.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;

/// Answers one connection after the other with these bytes; gives the address.
fn server(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}/file")
}

fn good(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_passing_failure_is_tried_again() {
    let busy =
        "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf".to_owned();
    let url = server(vec![busy, cut, good("whole")]);
    assert_eq!(Fetcher::new(3).get(&url, 100).await.unwrap(), b"whole");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_asked_for_once() {
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    let url = server(vec![missing, good("never asked for")]);
    let error = Fetcher::new(3).get(&url, 100).await.unwrap_err();
    assert!(matches!(error, SourceError::Status { status: 404, .. }), "{error}");
}

#[tokio::test]
async fn more_bytes_than_allowed_are_refused_with_and_without_a_length() {
    let endless = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(1000));
    for answer in [good(&"x".repeat(1000)), endless] {
        let error = Fetcher::new(1).get(&server(vec![answer]), 100).await.unwrap_err();
        assert!(matches!(error, SourceError::TooLarge { limit: 100, .. }), "{error}");
    }
}

#[tokio::test]
async fn offline_reaches_nobody() {
    let error = Fetcher::offline().get("http://127.0.0.1:9/", 1).await.unwrap_err();
    assert!(matches!(error, SourceError::Offline { .. }), "{error}");
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_not_put_behind_what_is_there() {
    let head =
        "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123".to_owned();
    let elsewhere = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-9/10\r\nContent-Length: 8\r\n\
                     Connection: close\r\n\r\n23456789"
        .to_owned();
    let url = server(vec![head, elsewhere, good("0123456789")]);
    let fetcher = Fetcher::new(3).first_wait(Duration::ZERO);
    assert_eq!(fetcher.get(&url, 100).await.unwrap(), b"0123456789");
}
