//! What came of asking shared caches, for reports.

use serde::Serialize;

/// What was asked, found, used and refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Layers and programs that the local cache did not have.
    pub asked: usize,
    /// Those of them that some cache has, whether they were used or not.
    pub found: usize,
    /// Those that were used.
    pub used: usize,
    /// What was not, with the reason. Another cache may have had the same, and better.
    pub refused: Vec<Refused>,
    /// Caches that could not be used at all.
    pub unusable: Vec<Unusable>,
    /// Bytes of blobs that were fetched, also of those that were then refused.
    pub fetched_bytes: u64,
}

/// Something in a cache that was not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The cache.
    pub cache: String,
    /// `layer base for linux/amd64`, `program /usr/bin/kubeadm for linux/amd64`
    pub what: String,
    /// What was found and expected.
    pub why: String,
}

/// A cache that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unusable {
    /// The cache.
    pub cache: String,
    /// Why.
    pub why: String,
}
