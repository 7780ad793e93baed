//! Writes deterministic layers: sorted tar, gzip or zstd, digests.
