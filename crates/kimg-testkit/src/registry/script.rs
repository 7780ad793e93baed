//! What goes wrong, and at which request.

use std::collections::BTreeMap;
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// The connection ends before anything is done.
    Reset,
    /// The connection ends in the middle of what is being sent; without a body, before anything is done.
    ResetMidway,
    /// Nothing is done and nothing answered.
    Stall,
    /// No more is read from the middle of what is being sent on; without a body, as [`Self::Stall`].
    StallMidway,
    /// Another status, with these headers, and nothing done.
    Status(u16, Vec<(&'static str, String)>),
    /// All tokens are void from now on: this request is answered with 401.
    Revoke,
    /// It is done, and the connection ends without an answer.
    LostAnswer,
    /// It is done, and `Range` in the answer says one byte less.
    WrongRange,
    /// It is done, and `Docker-Content-Digest` in the answer is another.
    WrongDigest,
    /// It is done, and `Location` in the answer points to this address.
    ForeignLocation(String),
    /// 401, with this address as the token service.
    ForeignRealm(String),
    /// A blob is not taken over from another repository: 202.
    NoMount,
    /// Nothing is known of referrers: 404.
    NoReferrers,
    /// The answer comes in pieces of a few bytes with a pause in between.
    Drip(Duration),
    /// One bit of the answer's body is another.
    Flip,
    /// The connection ends in the middle of the answer's body.
    Cut,
    /// The answer is a redirect (307) to this address.
    Redirect(String),
    /// What is uploaded is forgotten: the upload is unknown (404).
    Forget,
    /// A manifest is not taken, since a blob that it names is said to be unknown (400), as a registry does that is just
    /// taking the same blob from somebody else.
    Overlook,
    /// An error whose message repeats what was sent as `Authorization`.
    Tattle,
}

/// What goes wrong at which request.
#[derive(Debug, Default)]
pub(super) struct Script {
    count: usize,
    at: BTreeMap<usize, Misbehaviour>,
    from: Option<(usize, Misbehaviour)>,
    /// Requests at which something went wrong that the client could see.
    pub(super) felt: usize,
}

impl Script {
    /// The next request: its number, and what goes wrong with it.
    pub(super) fn next(&mut self) -> Option<Misbehaviour> {
        self.count += 1;
        let from = self.from.as_ref().filter(|(first, _)| self.count >= *first);
        self.at.remove(&self.count).or_else(|| from.map(|(_, fault)| fault.clone()))
    }

    /// The `nth` request from now on.
    pub(super) fn at(&mut self, nth: usize, fault: Misbehaviour) {
        self.at.insert(self.count + nth, fault);
    }

    /// Every request from the `nth` from now on.
    pub(super) fn from(&mut self, nth: usize, fault: Misbehaviour) {
        self.from = Some((self.count + nth, fault));
    }

    pub(super) fn clear(&mut self) {
        self.at.clear();
        self.from = None;
    }
}
