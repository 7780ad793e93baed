//! How long to wait before the next attempt.
//!
//! The waits have no chance in them: one machine fetches a few files at a time, so there is no crowd to spread, and
//! the same failures give the same run.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// No wait is longer, whatever a server asks for.
const LONGEST: Duration = Duration::from_secs(60);

/// An attempt that brought this many bytes more than any before it is a good one: the count begins again.
const PROGRESS: u64 = 1 << 20;

/// How often something is tried, and how long to wait in between.
#[derive(Debug)]
pub struct Patience {
    attempts: u32,
    failed: u32,
    first_wait: Duration,
    wait: Duration,
    brought: u64,
}

impl Patience {
    /// So many attempts, this long a wait after the first that fails, and twice as long after each later one.
    pub fn new(attempts: u32, first_wait: Duration) -> Self {
        Self { attempts, failed: 0, first_wait, wait: first_wait, brought: 0 }
    }

    /// How often it was tried since it last went well.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// Counts a failure after which `brought` bytes are there; gives how long to wait before the next attempt, if
    /// there shall be one.
    pub fn after(&mut self, brought: u64, asked_for: Option<Duration>) -> Option<Duration> {
        if brought >= self.brought + PROGRESS {
            (self.failed, self.wait, self.brought) = (0, self.first_wait, brought);
        }
        self.failed += 1;
        if self.failed >= self.attempts {
            return None;
        }
        let wait = asked_for.unwrap_or(self.wait).min(LONGEST);
        self.wait *= 2;
        Some(wait)
    }
}

/// `Retry-After`, as seconds or as a date (RFC 9110, 10.2.3). A date is taken from the answer's own `Date` on, so that
/// it does not matter whose clock is wrong; `now` is for servers that send none.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date(headers, &RETRY_AFTER)?;
    let from = date(headers, &DATE).or_else(|| Timestamp::try_from(now).ok())?;
    // A date that is over asks for no wait at all.
    Some(Duration::try_from(until.duration_since(from)).unwrap_or_default())
}

/// A header that is a date. Of the three forms of RFC 9110, 5.6.7 the one that is sent is read, and the two obsolete
/// ones are as good as none.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_end_with_the_attempts() {
        let mut patience = Patience::new(10, Duration::from_millis(500));
        let waits: Vec<_> = std::iter::from_fn(|| patience.after(0, None)).map(|w| w.as_secs_f32()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert_eq!(patience.failed(), 10);
    }

    #[test]
    fn what_a_server_asks_for_comes_first_within_a_minute() {
        let mut patience = Patience::new(4, Duration::from_millis(500));
        assert_eq!(patience.after(0, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(patience.after(0, Some(Duration::from_secs(3600))), Some(Duration::from_secs(60)));
        assert_eq!(patience.after(0, None), Some(Duration::from_secs(2)));
    }

    #[test]
    fn an_attempt_that_brought_much_does_not_count() {
        let mut patience = Patience::new(2, Duration::from_millis(500));
        for mebibytes in 1..20 {
            assert!(patience.after(mebibytes << 20, None).is_some());
        }
        assert!(patience.after((19 << 20) + 1, None).is_none());
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let read = |retry: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(read("120", None), Some(120));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:47 GMT", None), Some(10));
        assert_eq!(
            read("Fri, 31 Dec 1999 23:59:59 GMT", Some("Fri, 31 Dec 1999 23:59:30 GMT")),
            Some(29),
            "the server's own clock counts"
        );
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(0), "over already");
        assert_eq!(read("soon", None), None);
        assert_eq!(read("-1", None), None);
    }
}
