//! gzip on several threads: the archive is cut into pieces, each compressed by itself, that become one stream.
//!
//! libdeflate compresses what is in memory as a whole, so there have to be pieces; and who compressed which doesn't
//! change the bytes. They could simply be gzip members, one after the other (RFC 1952, 2.2), which Go, pigz and
//! containerd read. But there are clients that stop after the first member, and then miss the rest of the layer: the
//! SOCI snapshotter before February 2026 (awslabs/soci-snapshotter, pull request 1871), composefs-rs before August
//! 2026 (pull request 381), Confidential Containers before May 2024 (guest-components, pull request 561). So the
//! pieces are put together into one member with one checksum, as pigz does.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use libdeflater::{CompressionLvl, Compressor, Crc, Decompressor};

use crate::deflate::{END, open_end};

/// Bytes of the archive in one piece; only the last one is smaller. It decides the bytes: of the CNI plugins, pieces of
/// 1 MiB make 0.09 % more than one piece, of 2 MiB 0.04 %, of 4 MiB 0.02 %, of 8 MiB 0.01 %.
const PIECE: usize = 2 << 20;

/// The most pieces that one layer has in memory, whatever the number of threads.
const MOST_AHEAD: usize = 16;

/// Compresses on the threads of the current rayon pool, and on the caller's.
///
/// A piece waits until somebody begins it: an idle thread of the pool, or the caller, when it has no room for more.
/// The caller never waits for a piece that nobody has begun, so it may itself be a thread of a pool all of whose
/// threads write layers: each then compresses its own. However many layers are written at once in a pool, no more
/// threads than the pool has are at work.
pub(crate) struct Gzip<W> {
    out: W,
    level: CompressionLvl,
    /// What is being filled.
    piece: Vec<u8>,
    /// Pieces that are not written yet, in order.
    ahead: VecDeque<Arc<Slot>>,
    room: usize,
    checksum: Crc,
    /// Bytes so far, modulo 2³² (RFC 1952, 2.3.1, ISIZE).
    size: u32,
}

impl<W: Write> Gzip<W> {
    pub(crate) fn new(level: u32, mut out: W) -> io::Result<Self> {
        let libdeflates = i32::try_from(level).ok().filter(|level| (1..=12).contains(level));
        let Some(libdeflates) = libdeflates.and_then(|level| CompressionLvl::new(level).ok()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "gzip has levels 1 to 12"));
        };
        // RFC 1952, 2.3.1: deflate, no flags, no time, "slowest" or "fastest algorithm", unknown operating system.
        let effort = match level {
            1 => 4,
            2..8 => 0,
            _ => 2,
        };
        out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 255])?;
        let room = (rayon::current_num_threads() + 1).min(MOST_AHEAD);
        Ok(Self {
            out,
            level: libdeflates,
            piece: Vec::new(),
            ahead: VecDeque::new(),
            room,
            checksum: Crc::new(),
            size: 0,
        })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.piece.is_empty() {
            self.pass_on();
        }
        self.write_until(0)?;
        self.out.write_all(&END)?;
        self.out.write_all(&self.checksum.sum().to_le_bytes())?;
        self.out.write_all(&self.size.to_le_bytes())?;
        Ok(self.out)
    }

    /// Puts the filled piece where a thread of the pool finds it.
    fn pass_on(&mut self) {
        let piece = mem::take(&mut self.piece);
        self.checksum.update(&piece);
        let size = u32::try_from(piece.len()).expect("a piece is at most 2 MiB");
        self.size = self.size.wrapping_add(size);
        let slot = Arc::new(Slot::new(piece));
        // When the layer is given up, nobody compresses what nobody will write.
        let (level, waiting) = (self.level, Arc::downgrade(&slot));
        rayon::spawn_fifo(move || {
            if let Some(slot) = waiting.upgrade() {
                slot.work(level);
            }
        });
        self.ahead.push_back(slot);
    }

    /// Writes parts until at most `left` pieces are ahead, compressing some where nobody else does.
    fn write_until(&mut self, left: usize) -> io::Result<()> {
        while self.ahead.len() > left {
            let Some(first) = self.ahead.front() else { break };
            if !first.is_done() && self.ahead.iter().any(|slot| slot.work(self.level)) {
                continue;
            }
            let part = first.wait()?;
            self.out.write_all(&part)?;
            self.ahead.pop_front();
        }
        Ok(())
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve_exact(PIECE);
        }
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.pass_on();
            self.write_until(self.room)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One piece on its way.
struct Slot {
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    Waiting(Vec<u8>),
    Begun,
    Done(Option<Vec<u8>>),
}

impl Slot {
    fn new(piece: Vec<u8>) -> Self {
        Self { state: Mutex::new(State::Waiting(piece)), done: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compresses the piece, unless somebody has begun it; tells whether it did.
    fn work(&self, level: CompressionLvl) -> bool {
        let mut state = self.lock();
        let piece = match mem::replace(&mut *state, State::Begun) {
            State::Waiting(piece) => piece,
            other => {
                *state = other;
                return false;
            }
        };
        drop(state);
        let part = compress(level, &piece);
        *self.lock() = State::Done(part);
        self.done.notify_one();
        true
    }

    fn is_done(&self) -> bool {
        matches!(*self.lock(), State::Done(_))
    }

    /// The part, when it is done. Only for a piece that somebody has begun.
    fn wait(&self) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if let State::Done(part) = &mut *state {
                return part.take().ok_or_else(|| io::Error::other("libdeflate made what does not unpack"));
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The blocks of one piece, which others can follow. Nothing, if they can't be unpacked to what the piece was.
fn compress(level: CompressionLvl, piece: &[u8]) -> Option<Vec<u8>> {
    let mut compressor = Compressor::new(level);
    let mut part = vec![0; compressor.deflate_compress_bound(piece.len())];
    let size = compressor.deflate_compress(piece, &mut part).ok()?;
    drop(compressor);
    part.truncate(size);
    open_end(&mut part)?;
    let size = part.len();
    part.extend_from_slice(&END);
    let mut unpacked = vec![0; piece.len()];
    let count = Decompressor::new().deflate_decompress(&part, &mut unpacked).ok()?;
    part.truncate(size);
    part.shrink_to_fit();
    (unpacked[..count] == *piece).then_some(part)
}
