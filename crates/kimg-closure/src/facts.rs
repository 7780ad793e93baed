//! What a file is, as far as the walk is concerned, and a store that remembers it by content.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use kimg_core::{Content, Digest, ImagePath, ReadSeek};
use serde::{Deserialize, Serialize};

use crate::Files;
use crate::elf::{ElfError, ElfFacts, read_opened};
use crate::script::{FIRST_BYTES, Script};

/// What a regular file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFacts {
    /// An ELF file.
    Elf(Box<ElfFacts>),
    /// A script with a `#!` line.
    Script(Script),
    /// Anything else: nothing comes with it but what a rule says.
    Data,
}

impl FileFacts {
    /// Looks at a content: its first bytes and, of an ELF file, some headers.
    ///
    /// # Errors
    /// As [`read_elf`](crate::read_elf).
    pub fn read(content: &Content) -> Result<Self, ElfError> {
        Self::of(content.open()?)
    }

    /// Looks at the regular file at exactly this path.
    ///
    /// # Errors
    /// As [`read_elf`](crate::read_elf), and when there is no such file.
    pub fn read_at(files: &dyn Files, path: &ImagePath) -> Result<Self, ElfError> {
        Self::of(files.open(path).map_err(|source| ElfError::Read { part: "first bytes", source })?)
    }

    fn of(mut opened: Box<dyn ReadSeek>) -> Result<Self, ElfError> {
        let mut first = Vec::with_capacity(FIRST_BYTES);
        (&mut opened)
            .take(FIRST_BYTES as u64)
            .read_to_end(&mut first)
            .map_err(|source| ElfError::Read { part: "first bytes", source })?;
        match read_opened(opened, &first)? {
            Some(elf) => Ok(Self::Elf(Box::new(elf))),
            None => Ok(Script::parse(&first).map_or(Self::Data, Self::Script)),
        }
    }
}

/// Remembers the facts of contents, because the same file is met in many variants.
///
/// A store may forget; it must never give the facts of another content.
pub trait FactStore: Sync {
    /// The facts of a content, if they are known.
    fn get(&self, content: &Digest) -> Option<Arc<FileFacts>>;
    /// Keeps the facts of a content.
    fn put(&self, content: Digest, facts: &Arc<FileFacts>);
}

/// Remembers facts as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryFacts(Mutex<BTreeMap<Digest, Arc<FileFacts>>>);

impl FactStore for MemoryFacts {
    fn get(&self, content: &Digest) -> Option<Arc<FileFacts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(content).cloned()
    }

    fn put(&self, content: Digest, facts: &Arc<FileFacts>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(content, facts.clone());
    }
}
