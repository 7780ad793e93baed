//! The compressor alone: the same library, level and pieces as kimg's layers have, over files in memory, on so many
//! threads. No archive, no digest, nothing written.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow};
use libdeflater::{CompressionLvl, Compressor};
use rayon::prelude::*;

/// kimg's gzip level when none is said (`gzip:9`).
pub(crate) const LEVEL: i32 = 9;

/// Bytes of a piece, as kimg-layer cuts archives.
const PIECE: usize = 2 << 20;

/// Seconds that libdeflate needs for these files.
pub(crate) fn gzip(files: &[PathBuf], threads: usize) -> Result<f64> {
    let contents: Vec<Vec<u8>> = files.iter().map(fs_err::read).collect::<std::io::Result<_>>()?;
    let pieces: Vec<&[u8]> = contents.iter().flat_map(|content| content.chunks(PIECE)).collect();
    let level = CompressionLvl::new(LEVEL).map_err(|_| anyhow!("libdeflate has no level {LEVEL}"))?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let begin = Instant::now();
    pool.install(|| {
        pieces.par_iter().with_max_len(1).try_for_each(|piece| {
            let mut compressor = Compressor::new(level);
            let mut out = vec![0; compressor.deflate_compress_bound(piece.len())];
            compressor.deflate_compress(piece, &mut out).map(|_| ()).map_err(|error| anyhow!("{error}"))
        })
    })?;
    Ok(begin.elapsed().as_secs_f64())
}
