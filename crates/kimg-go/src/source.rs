//! Where a source lies, and what it says of itself.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use fs_err as fs;
use kimg_core::{Content, Digest};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::error::GoError;
use crate::recipe::{Layout, Recipe};
use crate::version::GoVersion;

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A tar archive, gzipped or not, with one folder around all or none.
    Archive(Content),
}

/// The oldest Go that a source can be built with, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// The version.
    #[serde(deserialize_with = "version")]
    pub version: GoVersion,
    /// `go.mod`, `go.work`, …
    pub says: String,
}

/// What a source says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its module, as go.mod has it.
    pub module: Option<String>,
    /// The oldest Go that it can be built with.
    pub needed: Option<Needed>,
    /// The Go that upstream builds it with (`.go-version`).
    pub upstream: Option<String>,
    /// Whether everything it needs lies in its `vendor/`.
    pub vendored: bool,
    /// Whether it is a workspace (`go.work`).
    pub workspace: bool,
}

/// A private copy of a source, which is removed when this is dropped.
#[derive(Debug)]
pub struct Unpacked {
    /// Everything.
    pub(crate) folder: TempDir,
    /// Where the source begins.
    pub(crate) root: PathBuf,
}

/// More than this an archive may not unpack to, in bytes: 8 GiB. Kubernetes is 0.3.
const LIMIT: u64 = 8 << 30;
/// The most of go.mod and its like that is read, in bytes.
const TEXT_LIMIT: u64 = 4 << 20;

fn version<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<GoVersion, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl Source {
    /// What the source is known by: the SHA-256 of an archive's bytes, or of a folder's names, modes and bytes, without
    /// `.git`.
    ///
    /// # Errors
    /// A folder that can't be read, or a link in it that leads out of it.
    pub fn digest(&self, what: &str) -> Result<Digest, GoError> {
        match self {
            Self::Archive(content) => Ok(content.digest()),
            Self::Folder(folder) => tree_digest(what, folder),
        }
    }

    /// What the source says of itself. An archive is read through for it: keep the answer.
    ///
    /// # Errors
    /// A folder or archive that can't be read.
    pub fn facts(&self, what: &str) -> Result<Facts, GoError> {
        let mut texts = Texts::default();
        match self {
            Self::Folder(folder) => {
                for name in NAMES {
                    let path = folder.join(name);
                    if path.is_file() {
                        let file = fs::File::open(&path).map_err(GoError::disk("reading a source"))?;
                        texts.take(name, file).map_err(GoError::disk("reading a source"))?;
                    }
                }
            }
            Self::Archive(content) => {
                let wrong = |why: io::Error| source(what, &why.to_string());
                let mut archive = open(what, content)?;
                // The shallowest wins: `go.mod` before `vendor/x/go.mod`.
                let mut depths = std::collections::BTreeMap::<&str, usize>::new();
                for entry in archive.entries().map_err(wrong)? {
                    let entry = entry.map_err(wrong)?;
                    let path = entry.path().map_err(wrong)?.into_owned();
                    let parts: Vec<_> = path.components().filter(|part| *part != Component::CurDir).collect();
                    for name in NAMES {
                        let own = Path::new(name).components().count();
                        let depth = parts.len().wrapping_sub(own);
                        let nearest = depths.get(name).copied().unwrap_or(usize::MAX);
                        if path.ends_with(name) && depth <= 1 && depth < nearest {
                            depths.insert(name, depth);
                            texts.take(name, entry).map_err(wrong)?;
                            break;
                        }
                    }
                }
            }
        }
        Ok(texts.facts())
    }

    /// Makes a private copy in `work`, laid out as the recipe says.
    ///
    /// # Errors
    /// A source that can't be read, or that is not the one of this digest any more; a disk that is full.
    pub fn unpack(
        &self,
        recipe: &Recipe,
        facts: &Facts,
        digest: Digest,
        work: &Path,
    ) -> Result<Unpacked, GoError> {
        let what = &recipe.what;
        let folder = tempfile::Builder::new()
            .prefix("source-")
            .tempdir_in(work)
            .map_err(GoError::disk(format!("making a folder in {}", work.display())))?;
        let place = match &recipe.layout {
            Layout::Modules => folder.path().join("src"),
            Layout::Gopath(said) => {
                let import = said.as_ref().or(facts.module.as_ref());
                let import =
                    import.ok_or_else(|| source(what, "it has no go.mod, and no `import-path` is said"))?;
                if !Path::new(import).components().all(|part| matches!(part, Component::Normal(_))) {
                    return Err(source(what, &format!("`{import}` is no import path")));
                }
                folder.path().join("gopath/src").join(import)
            }
        };
        let unpacking = || GoError::disk(format!("unpacking the source of {what} into {}", work.display()));
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(unpacking())?;
        }
        match self {
            Self::Folder(from) => {
                copy_tree(from, &place).map_err(unpacking())?;
                if tree_digest(what, &place)? != digest {
                    return Err(source(what, "it was changed while it was copied"));
                }
            }
            Self::Archive(content) => {
                let whole = folder.path().join("whole");
                fs::create_dir(&whole).map_err(unpacking())?;
                let mut archive = open(what, content)?;
                // Nothing is written outside of the folder, whatever the archive names: `unpack` sees to that.
                archive.set_preserve_permissions(false);
                archive.set_preserve_mtime(false);
                archive.unpack(&whole).map_err(unpacking())?;
                fs::rename(root_of(&whole).map_err(unpacking())?, &place).map_err(unpacking())?;
            }
        }
        Ok(Unpacked { folder, root: place })
    }
}

fn source(what: &str, why: &str) -> GoError {
    GoError::Source { what: what.to_owned(), why: why.to_owned() }
}

fn open(what: &str, content: &Content) -> Result<tar::Archive<Box<dyn Read>>, GoError> {
    let mut reader = content.open().map_err(|e| source(what, &e.to_string()))?;
    let mut magic = [0; 6];
    let read = reader.read(&mut magic).map_err(GoError::disk("reading a source"))?;
    reader.rewind().map_err(GoError::disk("reading a source"))?;
    let plain: Box<dyn Read> = match &magic[..read] {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            return Err(source(what, "it is compressed with xz: unpack it, or pack it as .tar.gz"));
        }
        _ => Box::new(reader),
    };
    Ok(tar::Archive::new(Box::new(plain.take(LIMIT))))
}

/// Where a source begins in what was unpacked: in the one folder around it, if there is nothing beside that.
fn root_of(whole: &Path) -> io::Result<PathBuf> {
    let mut items = fs::read_dir(whole)?.collect::<Result<Vec<_>, _>>()?;
    // What `git archive` says of itself.
    items.retain(|item| item.file_name() != "pax_global_header");
    match &items[..] {
        [only] if only.file_type()?.is_dir() => Ok(only.path()),
        _ => Ok(whole.to_owned()),
    }
}

const NAMES: [&str; 4] = ["go.mod", "go.work", ".go-version", "vendor/modules.txt"];

/// The few files of a source that say what it is.
#[derive(Debug, Default)]
struct Texts([Option<String>; 4]);

impl Texts {
    fn take(&mut self, name: &str, reader: impl Read) -> io::Result<()> {
        let mut text = Vec::new();
        reader.take(TEXT_LIMIT).read_to_end(&mut text)?;
        if let Some(place) = NAMES.iter().position(|known| *known == name) {
            self.0[place] = Some(String::from_utf8_lossy(&text).into_owned());
        }
        Ok(())
    }

    fn facts(&self) -> Facts {
        let [module, work, upstream, vendored] = &self.0;
        let first = |text: &str, word: &str| {
            text.lines().find_map(|line| {
                let rest = line.split("//").next()?.trim().strip_prefix(word)?;
                rest.starts_with(char::is_whitespace).then(|| rest.trim().trim_matches('"').to_owned())
            })
        };
        let needs = [("go.work", work), ("go.mod", module)].into_iter().filter_map(|(name, text)| {
            let version = first(text.as_deref()?, "go")?.parse().ok()?;
            Some(Needed { version, says: format!("its {name}") })
        });
        let text = module.as_deref().unwrap_or_default();
        Facts {
            module: first(text, "module"),
            needed: needs.max_by(|a, b| a.version.cmp(&b.version)),
            upstream: upstream.as_ref().map(|text| text.trim().to_owned()),
            vendored: vendored.is_some(),
            workspace: work.is_some(),
        }
    }
}

/// Copies folders, files and links; without `.git`.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for item in fs::read_dir(from)? {
        let item = item?;
        let (kind, target) = (item.file_type()?, to.join(item.file_name()));
        if kind.is_dir() {
            if item.file_name() != ".git" {
                copy_tree(&item.path(), &target)?;
            }
        } else if kind.is_symlink() {
            fs_err::os::unix::fs::symlink(fs::read_link(item.path())?, target)?;
        } else if kind.is_file() {
            fs::copy(item.path(), target)?;
        }
    }
    Ok(())
}

/// The SHA-256 of a folder: of a line for each file and link, sorted.
///
/// # Errors
/// A folder that can't be read, or a link in it that leads out of it: what it leads to would not be in the digest.
pub fn tree_digest(what: &str, folder: &Path) -> Result<Digest, GoError> {
    let mut lines = Vec::new();
    if !folder.is_dir() {
        return Err(source(what, &format!("{} is no folder", folder.display())));
    }
    list(what, folder, Path::new(""), &mut lines)?;
    lines.sort();
    Ok(Digest::of(lines.concat()))
}

fn list(what: &str, root: &Path, below: &Path, lines: &mut Vec<String>) -> Result<(), GoError> {
    let reading = || GoError::disk(format!("reading the source of {what}"));
    for item in fs::read_dir(root.join(below)).map_err(reading())? {
        let item = item.map_err(reading())?;
        let kind = item.file_type().map_err(reading())?;
        let path = below.join(item.file_name());
        if kind.is_dir() {
            if item.file_name() != ".git" {
                list(what, root, &path, lines)?;
            }
        } else if kind.is_symlink() {
            let target = fs::read_link(item.path()).map_err(reading())?;
            // One that leads nowhere, as tests of sources have, brings nothing in.
            if leads_out(below, &target) && item.path().exists() {
                let why =
                    format!("the link {} leads out of it, to {}", item.path().display(), target.display());
                return Err(source(what, &why));
            }
            lines.push(format!("link {} {}\n", escaped(&path), escaped(&target)));
        } else if kind.is_file() {
            let mut file = fs::File::open(item.path()).map_err(reading())?;
            let runs = file.metadata().map_err(reading())?.permissions().mode() & 0o111 != 0;
            let mut hashing = kimg_core::DigestWriter::new(io::sink());
            io::copy(&mut file, &mut hashing).map_err(reading())?;
            let (_, digest, _) = hashing.finish();
            lines.push(format!("file {} {runs} {digest}\n", escaped(&path)));
        }
    }
    Ok(())
}

/// A path as one word on one line.
fn escaped(path: &Path) -> String {
    path.as_os_str().as_encoded_bytes().escape_ascii().to_string().replace(' ', "\\x20")
}

/// Whether a link in a folder of the source leads out of the source.
fn leads_out(folder: &Path, target: &Path) -> bool {
    let mut depth = folder.components().count();
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests;
