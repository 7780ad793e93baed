//! gzip on several threads: the archive is cut into blocks, each of which becomes a gzip member of its own.
//!
//! libdeflate compresses what is in memory as a whole, so there have to be blocks; and members, one after the other,
//! are one file (RFC 1952, 2.2), whose bytes don't depend on who compressed which block.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use libdeflater::{CompressionLvl, Compressor};

/// Bytes of the archive in one member; only the last one is smaller. It decides the bytes. See the table in the crate's
/// documentation for what it costs.
pub(crate) const BLOCK: usize = 2 << 20;

/// The most blocks that one layer has in memory, whatever the number of threads.
const MOST_AHEAD: usize = 16;

/// Compresses on the threads of the current rayon pool, and on the caller's.
///
/// A block waits until somebody begins it: an idle thread of the pool, or the caller, when it has no room for more.
/// The caller never waits for a block that nobody has begun, so it may itself be a thread of a pool all of whose
/// threads write layers: each then compresses its own. However many layers are written at once in a pool, no more
/// threads than the pool has are at work.
pub(crate) struct Members<W> {
    out: W,
    level: CompressionLvl,
    /// The block that is being filled.
    block: Vec<u8>,
    /// Blocks that are not written yet, in order.
    ahead: VecDeque<Arc<Slot>>,
    room: usize,
    empty: bool,
}

impl<W: Write> Members<W> {
    pub(crate) fn new(level: u32, out: W) -> io::Result<Self> {
        let level = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
        let level =
            level.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "gzip has levels 1 to 12"))?;
        let room = (rayon::current_num_threads() + 1).min(MOST_AHEAD);
        Ok(Self { out, level, block: Vec::new(), ahead: VecDeque::new(), room, empty: true })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        if self.empty || !self.block.is_empty() {
            self.pass_on();
        }
        self.write_until(0)?;
        Ok(self.out)
    }

    /// Puts the filled block where a thread of the pool finds it.
    fn pass_on(&mut self) {
        let slot = Arc::new(Slot::new(mem::take(&mut self.block)));
        // When the layer is given up, nobody compresses what nobody will write.
        let (level, waiting) = (self.level, Arc::downgrade(&slot));
        rayon::spawn_fifo(move || {
            if let Some(slot) = waiting.upgrade() {
                slot.work(level);
            }
        });
        self.ahead.push_back(slot);
        self.empty = false;
    }

    /// Writes members until at most `left` blocks are ahead, compressing some where nobody else does.
    fn write_until(&mut self, left: usize) -> io::Result<()> {
        while self.ahead.len() > left {
            let Some(first) = self.ahead.front() else { break };
            if !first.is_done() && self.ahead.iter().any(|slot| slot.work(self.level)) {
                continue;
            }
            let member = first.wait();
            self.out.write_all(&member)?;
            self.ahead.pop_front();
        }
        Ok(())
    }
}

impl<W: Write> Write for Members<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(BLOCK);
        }
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == BLOCK {
            self.pass_on();
            self.write_until(self.room)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One block on its way.
struct Slot {
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    Waiting(Vec<u8>),
    Begun,
    Done(Vec<u8>),
}

impl Slot {
    fn new(block: Vec<u8>) -> Self {
        Self { state: Mutex::new(State::Waiting(block)), done: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compresses the block, unless somebody has begun it; tells whether it did.
    fn work(&self, level: CompressionLvl) -> bool {
        let mut state = self.lock();
        let block = match mem::replace(&mut *state, State::Begun) {
            State::Waiting(block) => block,
            other => {
                *state = other;
                return false;
            }
        };
        drop(state);
        let member = compress(level, &block);
        *self.lock() = State::Done(member);
        self.done.notify_one();
        true
    }

    fn is_done(&self) -> bool {
        matches!(*self.lock(), State::Done(_))
    }

    /// The member, when it is done. Only for a block that somebody has begun.
    fn wait(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            if let State::Done(member) = &mut *state {
                return mem::take(member);
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// One member: no name, no time, operating system 255, "unknown" (libdeflate's `gzip_compress.c`).
fn compress(level: CompressionLvl, block: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(level);
    let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
    let size = compressor
        .gzip_compress(block, &mut member)
        .expect("the member has room for the bound that libdeflate itself gave");
    member.truncate(size);
    member.shrink_to_fit();
    member
}
