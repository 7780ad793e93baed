//! What a registry holds, and whether what a tag names is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use kimg_core::Digest;
use serde_json::Value;

/// Above this a blob lies in a file.
const IN_MEMORY: usize = 64 << 20;

/// A blob's bytes.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Memory(Arc<Vec<u8>>),
    File(Arc<tempfile::NamedTempFile>, u64),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

/// Bytes on their way in.
#[derive(Debug)]
pub(super) enum Spool {
    Memory(Vec<u8>),
    File(tempfile::NamedTempFile),
}

impl Spool {
    pub(super) fn content(self, length: u64) -> Content {
        match self {
            Self::Memory(bytes) => Content::Memory(Arc::new(bytes)),
            Self::File(file) => Content::File(Arc::new(file), length),
        }
    }
}

impl Write for Spool {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) if bytes.len() + piece.len() > IN_MEMORY => {
                let mut file = tempfile::NamedTempFile::new()?;
                file.write_all(bytes)?;
                file.write_all(piece)?;
                *self = Self::File(file);
            }
            Self::Memory(bytes) => bytes.extend_from_slice(piece),
            Self::File(file) => file.write_all(piece)?,
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A manifest or index as it was put there.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// Everything that a registry holds.
#[derive(Debug, Default)]
pub(super) struct Store {
    blobs: BTreeMap<(String, Digest), Content>,
    manifests: BTreeMap<(String, Digest), Manifest>,
    tags: BTreeMap<(String, String), Digest>,
    /// How often each blob came in, as bytes.
    pub(super) came: BTreeMap<Digest, usize>,
    /// What has to be there before any tag is set.
    pub(super) required: Vec<(String, Digest)>,
    /// Each time a tag named what was not whole.
    pub(super) broken: Vec<String>,
}

impl Store {
    pub(super) fn blob(&self, repository: &str, digest: Digest) -> Option<&Content> {
        self.blobs.get(&(repository.to_owned(), digest))
    }

    pub(super) fn put_blob(&mut self, repository: &str, digest: Digest, content: Content) {
        self.blobs.insert((repository.to_owned(), digest), content);
    }

    /// By digest or tag.
    pub(super) fn manifest(&self, repository: &str, name: &str) -> Option<(Digest, &Manifest)> {
        let digest = match name.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => *self.tags.get(&(repository.to_owned(), name.to_owned()))?,
        };
        Some((digest, self.manifests.get(&(repository.to_owned(), digest))?))
    }

    /// Puts a manifest there; and, under a tag, looks whether all that hangs below it is there at this moment.
    pub(super) fn put_manifest(&mut self, repository: &str, name: &str, manifest: Manifest) -> Digest {
        let digest = Digest::of(&manifest.bytes);
        if let Some(missing) = self.missing(repository, &manifest.bytes) {
            self.broken.push(format!("{repository}@{digest} came before {missing}"));
        }
        self.manifests.insert((repository.to_owned(), digest), manifest);
        if name.parse::<Digest>().is_err() {
            let lacking = self.required.iter().filter(|(place, digest)| {
                self.blob(place, *digest).is_none() && self.manifest(place, &digest.to_string()).is_none()
            });
            let lacking: Vec<_> = lacking.map(|(place, digest)| format!("{place}@{digest}")).collect();
            if !lacking.is_empty() {
                self.broken.push(format!("{repository}:{name} was set before {}", lacking.join(", ")));
            }
            self.tags.insert((repository.to_owned(), name.to_owned()), digest);
        }
        self.broken.extend(self.incomplete());
        digest
    }

    pub(super) fn tags(&self, repository: &str) -> Vec<(&str, Digest)> {
        let own = self.tags.iter().filter(|((place, _), _)| place == repository);
        own.map(|((_, tag), digest)| (tag.as_str(), *digest)).collect()
    }

    /// The manifests that refer to a digest.
    pub(super) fn referrers(&self, repository: &str, subject: Digest) -> Vec<(Digest, &Manifest, Value)> {
        let own = self.manifests.iter().filter(|((place, _), _)| place == repository);
        own.filter_map(|((_, digest), manifest)| {
            let value: Value = serde_json::from_slice(&manifest.bytes).ok()?;
            (value["subject"]["digest"] == subject.to_string()).then_some((*digest, manifest, value))
        })
        .collect()
    }

    /// Each tag that names what is not whole.
    pub(super) fn incomplete(&self) -> Vec<String> {
        let missing = |((repository, tag), digest): (&(String, String), &Digest)| {
            let missing = self.missing_below(repository, *digest)?;
            Some(format!("{repository}:{tag} names {digest}, and there is no {missing}"))
        };
        self.tags.iter().filter_map(missing).collect()
    }

    fn missing_below(&self, repository: &str, digest: Digest) -> Option<String> {
        match self.manifests.get(&(repository.to_owned(), digest)) {
            Some(manifest) => self.missing(repository, &manifest.bytes),
            None => Some(format!("manifest {digest}")),
        }
    }

    fn missing(&self, repository: &str, bytes: &[u8]) -> Option<String> {
        let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
        let digest = |descriptor: &Value| descriptor["digest"].as_str()?.parse::<Digest>().ok();
        let mut seen = BTreeSet::new();
        let children = list("manifests");
        let below = children.iter().filter_map(digest).filter(|it| seen.insert(*it));
        if let Some(missing) = below.into_iter().find_map(|child| self.missing_below(repository, child)) {
            return Some(missing);
        }
        let blobs = list("layers").into_iter().chain(value.get("config").cloned());
        blobs.into_iter().find_map(|blob| {
            let (digest, size) = (digest(&blob)?, blob["size"].as_u64()?);
            let there = self.blob(repository, digest).is_some_and(|content| content.len() == size);
            (!there).then(|| format!("blob {digest}"))
        })
    }
}
