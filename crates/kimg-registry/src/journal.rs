//! What a run leaves for the next one, should it be interrupted: which uploads are open, and which repositories are known
//! to hold a blob.
//!
//! All of it is a hint. The registry is asked whether an upload is still open and how far it came; that a repository is
//! said to hold a blob only means that mounting it from there is tried.
//!
//! The file is one JSON object a line, appended as things happen, so that a run can be killed at any moment; a line that is
//! not whole is passed over. An upload's address may be all that is needed to add to it: the file is for its owner only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use kimg_core::Digest;
use serde::{Deserialize, Serialize};

use crate::{RegistryError, Repository};

/// What earlier runs left, and where this one writes it.
pub struct Journal {
    inner: Mutex<Inner>,
}

struct Inner {
    file: fs::File,
    state: State,
}

#[derive(Default)]
struct State {
    /// By repository and digest.
    uploads: BTreeMap<(String, Digest), String>,
    there: BTreeMap<Digest, BTreeSet<String>>,
    lines: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    /// An upload was begun, or goes on at another address.
    Upload { repository: String, digest: Digest, location: String },
    /// A repository holds a blob; what was uploaded is complete.
    There { repository: String, digest: Digest },
    /// An upload came to nothing.
    Lost { repository: String, digest: Digest },
}

/// The file in the journal's folder.
const NAME: &str = "push.jsonl";

/// A larger file has no hints that are worth reading: 16 MiB.
const MAX_FILE: u64 = 16 << 20;

/// So many lines that say nothing any more are put up with.
const MAX_DEAD: usize = 1000;

impl Journal {
    /// The journal in this folder, which is made if it isn't there.
    ///
    /// # Errors
    /// The disk. A file that can't be understood is begun anew.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, RegistryError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder)?;
        let path = folder.join(NAME);
        let state = State::read(&path)?;
        if state.lines > state.live() + MAX_DEAD {
            state.rewrite(folder, &path)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        let mut file = fs::OpenOptions::from_options(options).open(&path)?;
        // What was killed in the middle of a line does not spoil the next one.
        file.write_all(b"\n")?;
        Ok(Self { inner: Mutex::new(Inner { file, state }) })
    }

    /// Where the upload of a blob goes on, if one was begun and not completed.
    pub(crate) fn upload(&self, repository: &Repository, digest: Digest) -> Option<String> {
        self.locked().state.uploads.get(&(repository.to_string(), digest)).cloned()
    }

    /// The other repositories of the same registry that held a blob once.
    pub(crate) fn holders(&self, repository: &Repository, digest: Digest) -> Vec<Repository> {
        let inner = self.locked();
        let holders = inner.state.there.get(&digest).into_iter().flatten();
        let holders = holders.filter_map(|holder| holder.parse::<Repository>().ok());
        holders.filter(|it| it.registry() == repository.registry() && it != repository).collect()
    }

    pub(crate) fn begun(&self, repository: &Repository, digest: Digest, location: &str) {
        let (repository, location) = (repository.to_string(), location.to_owned());
        self.write(Line::Upload { repository, digest, location });
    }

    pub(crate) fn there(&self, repository: &Repository, digest: Digest) {
        let repository = repository.to_string();
        let known = self.locked().state.there.get(&digest).is_some_and(|all| all.contains(&repository));
        if !known {
            self.write(Line::There { repository, digest });
        }
    }

    pub(crate) fn lost(&self, repository: &Repository, digest: Digest) {
        let repository = repository.to_string();
        self.write(Line::Lost { repository, digest });
    }

    /// Hints are not worth failing for.
    fn write(&self, line: Line) {
        let mut inner = self.locked();
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        if let Err(error) = inner.file.write_all(text.as_bytes()) {
            tracing::debug!("the journal can't be written: {error}");
        }
        inner.state.take(line);
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the addresses of uploads: they are nobody's business.
impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uploads = self.locked().state.uploads.len();
        f.debug_struct("Journal").field("uploads", &uploads).finish_non_exhaustive()
    }
}

impl State {
    fn read(path: &Path) -> Result<Self, RegistryError> {
        let mut state = Self::default();
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(state),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            state.lines += 1;
            if let Ok(line) = serde_json::from_slice(line) {
                state.take(line);
            }
        }
        Ok(state)
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Upload { repository, digest, location } => {
                self.uploads.insert((repository, digest), location);
            }
            Line::There { repository, digest } => {
                self.uploads.remove(&(repository.clone(), digest));
                self.there.entry(digest).or_default().insert(repository);
            }
            Line::Lost { repository, digest } => {
                self.uploads.remove(&(repository.clone(), digest));
                if let Some(all) = self.there.get_mut(&digest) {
                    all.remove(&repository);
                }
            }
        }
    }

    fn live(&self) -> usize {
        self.uploads.len() + self.there.values().map(BTreeSet::len).sum::<usize>()
    }

    /// Writes only what still says something.
    fn rewrite(&self, folder: &Path, path: &PathBuf) -> Result<(), RegistryError> {
        let uploads = self.uploads.iter().map(|((repository, digest), location)| Line::Upload {
            repository: repository.clone(),
            digest: *digest,
            location: location.clone(),
        });
        let there = self.there.iter().flat_map(|(digest, all)| {
            all.iter().map(|repository| Line::There { repository: repository.clone(), digest: *digest })
        });
        let mut text = String::new();
        for line in uploads.chain(there) {
            text.push_str(&serde_json::to_string(&line).unwrap_or_default());
            text.push('\n');
        }
        let mut file = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> Repository {
        format!("reg.example/{name}").parse().unwrap()
    }

    #[test]
    fn the_next_run_knows_what_this_one_began_and_finished() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Digest::of("one"), Digest::of("two"));
        let journal = Journal::open(folder.path()).unwrap();
        journal.begun(&repository("a"), one, "https://reg.example/1");
        journal.begun(&repository("a"), one, "https://reg.example/1b");
        journal.begun(&repository("a"), two, "https://reg.example/2");
        journal.there(&repository("a"), two);
        drop(journal);
        // Killed in the middle of a line.
        let path = folder.path().join(NAME);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"there\":{\"repos").unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.there(&repository("b"), one);
        drop(journal);
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!(journal.upload(&repository("a"), one).as_deref(), Some("https://reg.example/1b"));
        assert_eq!(journal.upload(&repository("a"), two), None);
        assert_eq!(journal.holders(&repository("a"), one), [repository("b")]);
        assert_eq!(journal.holders(&repository("a"), two), [], "itself");
        let elsewhere: Repository = "other.example/x".parse().unwrap();
        assert_eq!(journal.holders(&elsewhere, one), [], "another registry");
    }

    #[test]
    fn what_says_nothing_any_more_is_dropped_and_only_the_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        for n in 0..1200 {
            journal.begun(&repository("a"), Digest::of("x"), &n.to_string());
        }
        drop(journal);
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!(journal.upload(&repository("a"), Digest::of("x")).as_deref(), Some("1199"));
        let path = folder.path().join(NAME);
        assert!(fs::read_to_string(&path).unwrap().lines().count() < 5);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
