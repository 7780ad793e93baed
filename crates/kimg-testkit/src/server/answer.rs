//! One answer: what a good mirror would say (RFC 9110), and what is wrong with it this time.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::time::SystemTime;

use kimg_core::Digest;

use super::{Fault, Request, State, locked, read_request};

/// An answer before it is sent.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

pub(super) fn answer(stream: &mut (impl Read + Write), state: &State) {
    let Some((line, headers)) = read_request(stream) else { return };
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or("/").trim_start_matches('/').to_owned();
    let mut request = Request { method, path, headers, status: 0, sent: 0 };
    let fault = state.fault(&request.path);
    let answer = match &fault {
        Some(Fault::Hangup) => None,
        Some(Fault::Status(status, headers)) => {
            Some(Answer { status: *status, headers: headers.clone(), body: Vec::new() })
        }
        Some(Fault::Redirect(to)) => {
            Some(Answer { status: 302, headers: vec![("Location", to.clone())], body: Vec::new() })
        }
        _ => Some(good(&request, state, fault.as_ref())),
    };
    if let Some(answer) = &answer {
        request.status = answer.status;
        request.sent = match (&fault, request.method.as_str()) {
            (_, "HEAD") => 0,
            (Some(Fault::Cut { after }), _) => answer.body.len().min(*after),
            _ => answer.body.len(),
        };
    }
    let sent = request.sent;
    // Before anything is sent: who has the whole answer finds the request in the list.
    locked(&state.requests).push(request);
    if let Some(answer) = answer {
        send(stream, &answer, sent, fault.as_ref());
    }
    let _ = stream.flush();
}

fn good(request: &Request, state: &State, fault: Option<&Fault>) -> Answer {
    let climbs = request.path.split('/').any(|name| name == "..");
    let file = state.folder.join(&request.path);
    let found = (!climbs).then(|| fs_err::read(&file).ok().zip(fs_err::metadata(&file).ok())).flatten();
    let Some((mut body, metadata)) = found else {
        return Answer { status: 404, headers: Vec::new(), body: Vec::new() };
    };
    if matches!(fault, Some(Fault::Plain)) {
        return Answer { status: 200, headers: Vec::new(), body };
    }
    let weak = if matches!(fault, Some(Fault::WeakTag)) { "W/" } else { "" };
    let tag = format!("{weak}\"{}\"", &Digest::of(&body).hex()[..16]);
    if let Some(Fault::Bytes(bytes)) = fault {
        body.clone_from(bytes);
    }
    let changed = http_date(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
    let mut headers =
        vec![("ETag", tag.clone()), ("Last-Modified", changed.clone()), ("Accept-Ranges", "bytes".into())];
    let said = |name: &str| request.headers.get(name).map(String::as_str);
    let same = match (said("if-none-match"), said("if-modified-since")) {
        (Some(tags), _) => tags.split(',').any(|other| other.trim() == tag),
        (None, date) => date == Some(changed.as_str()),
    };
    if same {
        return Answer { status: 304, headers, body: Vec::new() };
    }
    let range = said("range").filter(|_| {
        // A weak tag does not hold for a part (RFC 9110, 13.1.5).
        said("if-range").is_none_or(|it| (it == tag && weak.is_empty()) || it == changed)
    });
    let Some(first) = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
    else {
        return Answer { status: 200, headers, body };
    };
    let total = body.len();
    if first >= total {
        headers.push(("Content-Range", format!("bytes */{total}")));
        return Answer { status: 416, headers, body: Vec::new() };
    }
    headers.push(("Content-Range", format!("bytes {first}-{}/{total}", total - 1)));
    Answer { status: 206, headers, body: body.split_off(first) }
}

fn send(stream: &mut impl Write, answer: &Answer, sent: usize, fault: Option<&Fault>) {
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", answer.status);
    if !matches!(fault, Some(Fault::Plain)) {
        let _ = write!(head, "Date: {}\r\n", http_date(SystemTime::now()));
        // An answer of 304 has no body, and its length would be that of the file.
        if answer.status != 304 {
            let _ = write!(head, "Content-Length: {}\r\n", answer.body.len());
        }
    }
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = stream.write_all((head + "\r\n").as_bytes());
    let body = &answer.body[..sent];
    let Some(Fault::Slow { piece, pause }) = fault else {
        let _ = stream.write_all(body);
        return;
    };
    for piece in body.chunks((*piece).max(1)) {
        if stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
            return;
        }
        std::thread::sleep(*pause);
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn http_date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days % 7).unwrap_or(0)];
    // The days of the civil calendar, counted in eras of 400 years that begin in March.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let name = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"]
        [usize::try_from(month).unwrap_or(0)];
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    format!("{weekday}, {day:02} {name} {year} {:02}:{:02}:{:02} GMT", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FolderServer;
    use std::net::TcpStream;
    use std::time::Duration;

    fn get(server: &FolderServer, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    }

    fn server() -> (crate::TempDir, FolderServer) {
        let folder = crate::tempdir().unwrap();
        fs_err::write(folder.path().join("a"), "hello").unwrap();
        let server = FolderServer::new(folder.path());
        (folder, server)
    }

    #[test]
    fn a_file_is_served_and_what_is_not_there_is_a_404() {
        let (_folder, server) = server();
        assert!(get(&server, "a", "").ends_with("\r\n\r\nhello"));
        assert!(get(&server, "../etc/passwd", "").starts_with("HTTP/1.1 404"));
        assert_eq!(server.asked(), ["a", "../etc/passwd"]);
    }

    #[test]
    fn parts_are_sent_as_long_as_the_file_is_the_same() {
        let (_folder, server) = server();
        let whole = get(&server, "a", "");
        let tag = whole.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        let part = get(&server, "a", &format!("Range: bytes=2-\r\nIf-Range: {tag}\r\n"));
        assert!(
            part.starts_with("HTTP/1.1 206") && part.contains("bytes 2-4/5") && part.ends_with("\r\n\r\nllo")
        );
        let other = get(&server, "a", "Range: bytes=2-\r\nIf-Range: \"other\"\r\n");
        assert!(other.starts_with("HTTP/1.1 200") && other.ends_with("\r\n\r\nhello"));
        assert!(get(&server, "a", "Range: bytes=5-\r\n").starts_with("HTTP/1.1 416"));
        let same = get(&server, "a", &format!("If-None-Match: {tag}\r\n"));
        assert!(same.starts_with("HTTP/1.1 304") && same.ends_with("\r\n\r\n"));
    }

    #[test]
    fn faults_come_in_their_order() {
        let (_folder, server) = server();
        server.next("a", Fault::Status(503, vec![("Retry-After", "1".into())]));
        server.next("a", Fault::Cut { after: 2 });
        assert!(get(&server, "a", "").contains("Retry-After: 1\r\n"));
        assert!(get(&server, "a", "").ends_with("\r\n\r\nhe"));
        assert!(get(&server, "a", "").ends_with("\r\n\r\nhello"));
    }

    #[test]
    fn dates_are_written_as_http_wants_them() {
        let date = |seconds| http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
