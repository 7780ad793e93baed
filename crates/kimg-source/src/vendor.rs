//! A folder with every locked input, from which a build can be repeated when mirrors have dropped the versions.
//!
//! ```text
//! kimg-vendor.toml            says what the folder is: its format's version, and the tags of repositories
//! kimg.lock                   what it was made from
//! packages/armv7/*.apk        the packages as their repositories served them
//! packages/armv7/APKINDEX.tar.gz   an index of just these, unsigned
//! packages@edge/…             the same for packages from repositories with a tag
//! programs/<sha256>           programs of one's own: files and archives as they were
//! keys/armv7/*.pub            the public keys that were trusted
//! ```
//! The index is not signed, for nobody here has the keys: each package has to carry a good signature itself, and a
//! lock holds its SHA-256. That was made sure of when it was copied, too. apk reads such a folder with
//! `--allow-untrusted`. The keys are there for people who keep such a folder for years; they are trusted only when
//! they are named (`--keys DIR/keys`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use kimg_apk::{Record, write_index};
use kimg_core::{Content, Digest, Platform};
use serde::{Deserialize, Serialize};

use crate::location::Location;
use crate::{Lock, Repository, SourceError};

/// The file that makes a folder a vendored one.
pub const MARKER: &str = "kimg-vendor.toml";

const VERSION: u32 = 1;

/// A marker is a few lines.
const MARKER_LIMIT: u64 = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    version: u32,
    /// Tags of repositories that have a folder of their own.
    #[serde(default)]
    tags: Vec<String>,
}

fn packages_folder(tag: Option<&str>) -> String {
    tag.map_or_else(|| "packages".to_owned(), |tag| format!("packages@{tag}"))
}

/// A tag becomes a part of a folder's name.
fn is_plain(tag: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    !tag.is_empty() && tag.len() <= 64 && tag.chars().all(plain)
}

/// The repositories of a vendored folder; `None` when the folder is none.
///
/// # Errors
/// A marker that can't be read, or is of a later version.
pub fn repositories(folder: &Path) -> Result<Option<Vec<Repository>>, SourceError> {
    let path = folder.join(MARKER);
    let what = || format!("reading {}", path.display());
    let size = match fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => return Err(SourceError::disk(what())(error)),
    };
    if size > MARKER_LIMIT {
        return Err(SourceError::TooLarge { what: path.display().to_string(), limit: MARKER_LIMIT });
    }
    let text = fs::read_to_string(&path).map_err(SourceError::disk(what()))?;
    let unreadable = |why: String| SourceError::Vendored { path: path.display().to_string(), why };
    let marker: Marker = toml::from_str(&text).map_err(|error| unreadable(error.message().to_owned()))?;
    if marker.version != VERSION {
        return Err(unreadable(format!(
            "it has version {}; this kimg knows version {VERSION}",
            marker.version
        )));
    }
    if let Some(tag) = marker.tags.iter().find(|tag| !is_plain(tag)) {
        return Err(unreadable(format!("`{}` is no tag", tag.escape_debug())));
    }
    let repository = |tag: Option<&String>| Repository {
        mirrors: vec![Location::Path(folder.join(packages_folder(tag.map(String::as_str))))],
        tag: tag.cloned(),
        signed: false,
    };
    Ok(Some([None].into_iter().chain(marker.tags.iter().map(Some)).map(repository).collect()))
}

/// Where a vendored folder keeps a program of one's own, if this is such a folder and it has it.
pub fn program(folder: &Path, sha256: Digest) -> Option<PathBuf> {
    let path = folder.join("programs").join(sha256.hex());
    (folder.join(MARKER).is_file() && path.is_file()).then_some(path)
}

/// Writes a vendored folder: beside the place first, and in it when it is whole.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    draft: tempfile::TempDir,
    /// By tag and platform.
    records: BTreeMap<(Option<String>, Platform), Vec<Record>>,
    platforms: Vec<Platform>,
    done: Vendored,
}

/// What a vendored folder holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Vendored {
    /// Packages.
    pub packages: usize,
    /// Programs of one's own.
    pub programs: usize,
    /// Bytes of both.
    pub bytes: u64,
}

impl Writer {
    /// Begins. The folder must not be there yet, or be empty, or be a vendored one, which will be replaced.
    pub fn new(folder: &Path, platforms: &[Platform]) -> Result<Self, SourceError> {
        let what = || format!("making {}", folder.display());
        let folder = std::path::absolute(folder).map_err(SourceError::disk(what()))?;
        let strange = match fs::read_dir(&folder) {
            Ok(mut entries) => entries.next().is_some() && !folder.join(MARKER).is_file(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(SourceError::disk(what())(error)),
        };
        if strange {
            return Err(SourceError::InTheWay { path: folder.display().to_string() });
        }
        let parent = folder.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(SourceError::disk(what()))?;
        let draft = tempfile::Builder::new()
            .prefix(".kimg-vendor-")
            .tempdir_in(parent)
            .map_err(SourceError::disk(what()))?;
        let done = Vendored::default();
        Ok(Self { folder, draft, records: BTreeMap::new(), platforms: platforms.to_vec(), done })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
        let path = self.draft.path().join(path);
        let result = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        result.map_err(SourceError::disk(format!("writing {}", self.folder.display())))
    }

    /// Adds a package. The caller has verified the bytes against the record.
    pub fn package(
        &mut self,
        platform: Platform,
        tag: Option<&str>,
        record: &Record,
        bytes: &[u8],
    ) -> Result<(), SourceError> {
        let name = record.file_name();
        if name.contains('/') || tag.is_some_and(|tag| !is_plain(tag)) {
            return Err(SourceError::Vendored {
                path: self.folder.display().to_string(),
                why: format!("`{}` can't be a file's name in it", name.escape_debug()),
            });
        }
        let path = Path::new(&packages_folder(tag)).join(platform.alpine()).join(name);
        self.write(&path, bytes)?;
        self.records.entry((tag.map(str::to_owned), platform)).or_default().push(record.clone());
        self.done.packages += 1;
        self.done.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Adds a program of one's own: the file or archive as it was.
    pub fn program(&mut self, whole: &Content) -> Result<(), SourceError> {
        let folder = self.draft.path().join("programs");
        let copy = || {
            fs::create_dir_all(&folder)?;
            let mut file = fs::File::create(folder.join(whole.digest().hex()))?;
            whole.copy_to(&mut file).map_err(io::Error::other)
        };
        copy().map_err(SourceError::disk(format!("writing {}", self.folder.display())))?;
        self.done.programs += 1;
        self.done.bytes += whole.size();
        Ok(())
    }

    /// Adds a public key. `name` is its file's name.
    pub fn key(&mut self, platform: Platform, name: &str, pem: &str) -> Result<(), SourceError> {
        let file = Path::new(name).file_name().filter(|file| *file == name).ok_or_else(|| {
            SourceError::Vendored {
                path: self.folder.display().to_string(),
                why: format!("`{}` can't be a file's name in it", name.escape_debug()),
            }
        })?;
        self.write(&Path::new("keys").join(platform.alpine()).join(file), pem.as_bytes())
    }

    /// Writes the indexes, the lock and the marker, and puts the whole in its place. The indexes describe themselves as
    /// of this branch of Alpine (`3.22`), if it is known, so that a build from them has the same name.
    pub fn finish(mut self, lock: &Lock, branch: Option<&str>) -> Result<Vendored, SourceError> {
        let description = match branch {
            Some(branch) => format!("v{branch} vendored by kimg"),
            None => "vendored by kimg".to_owned(),
        };
        let mut tags: Vec<_> = self.records.keys().filter_map(|(tag, _)| tag.clone()).collect();
        tags.dedup();
        // An index for every platform, so that one without packages is no missing file.
        for tag in [None].into_iter().chain(tags.iter().cloned().map(Some)) {
            for platform in self.platforms.clone() {
                let mut records = self.records.remove(&(tag.clone(), platform)).unwrap_or_default();
                records.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.version.cmp(&b.version)));
                let index = write_index(&description, &records.iter().collect::<Vec<_>>());
                let folder = Path::new(&packages_folder(tag.as_deref())).join(platform.alpine());
                self.write(&folder.join("APKINDEX.tar.gz"), &index)?;
            }
        }
        self.write(Path::new("kimg.lock"), lock.to_text().as_bytes())?;
        let marker = toml::to_string(&Marker { version: VERSION, tags }).unwrap_or_default();
        let marker =
            format!("# Written by `kimg vendor`; `--repository` of this folder builds from it.\n{marker}");
        self.write(Path::new(MARKER), marker.as_bytes())?;
        self.put_in_place().map_err(SourceError::disk(format!("replacing {}", self.folder.display())))?;
        Ok(self.done)
    }

    fn put_in_place(&self) -> io::Result<()> {
        let open = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(self.draft.path(), open(0o755))?;
        // The folder that was there goes into a temporary one: it is deleted when the new one stands.
        let old = tempfile::Builder::new()
            .prefix(".kimg-vendor-old-")
            .tempdir_in(self.folder.parent().unwrap_or(Path::new("/")))?;
        let aside = old.path().join("folder");
        let replaced = match fs::rename(&self.folder, &aside) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if let Err(error) = fs::rename(self.draft.path(), &self.folder) {
            if replaced {
                fs::rename(&aside, &self.folder)?;
            }
            return Err(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kimg_core::{ContentSink as _, ImagePath};

    use super::*;

    fn record() -> Record {
        Record::new("musl", "1.2.5-r0".parse().unwrap())
    }

    #[test]
    fn what_was_vendored_is_read_back_as_its_repositories() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("vendor");
        let mut writer = Writer::new(&folder, &[Platform::ArmV7]).unwrap();
        writer.package(Platform::ArmV7, None, &record(), b"apk").unwrap();
        writer.package(Platform::ArmV7, Some("edge"), &record(), b"newer").unwrap();
        let place_of_program = tempfile::tempdir().unwrap();
        let cache = crate::Cache::open(place_of_program.path()).unwrap();
        let path = ImagePath::new("/program").unwrap();
        writer.program(&cache.contents().store(&path, &mut &b"program"[..]).unwrap()).unwrap();
        writer.key(Platform::ArmV7, "a.rsa.pub", "pem").unwrap();
        assert!(!folder.exists(), "nothing is there before it is whole");
        let done = writer.finish(&Lock::new(), Some("3.22")).unwrap();
        assert_eq!(done, Vendored { packages: 2, programs: 1, bytes: 15 });

        let repositories = repositories(&folder).unwrap().unwrap();
        let named: Vec<_> = repositories.iter().map(|r| (r.name(), r.tag.clone(), r.signed)).collect();
        let at = |name: &str| folder.join(name).display().to_string();
        assert_eq!(
            named,
            [(at("packages"), None, false), (at("packages@edge"), Some("edge".to_owned()), false)]
        );
        assert_eq!(fs::read(program(&folder, Digest::of("program")).unwrap()).unwrap(), b"program");
        assert_eq!(program(&folder, Digest::of("another")), None);
        assert!(folder.join("packages/armv7/musl-1.2.5-r0.apk").is_file());
        let beside: Vec<_> = fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(beside, ["vendor"], "nothing is left beside it");
    }

    #[test]
    fn a_vendored_folder_is_replaced_and_any_other_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("vendor");
        for _ in 0..2 {
            let mut writer = Writer::new(&folder, &[Platform::Amd64]).unwrap();
            writer.package(Platform::Amd64, None, &record(), b"apk").unwrap();
            writer.finish(&Lock::new(), None).unwrap();
        }
        let other = place.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("mine"), "mine").unwrap();
        let error = Writer::new(&other, &[]).unwrap_err();
        assert!(matches!(error, SourceError::InTheWay { .. }), "{error}");
        assert_eq!(repositories(&other).unwrap(), None);
    }

    #[test]
    fn what_is_abandoned_leaves_nothing_and_the_old_folder_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("vendor");
        Writer::new(&folder, &[]).unwrap().finish(&Lock::new(), None).unwrap();
        let mut writer = Writer::new(&folder, &[]).unwrap();
        writer.package(Platform::Amd64, None, &record(), b"apk").unwrap();
        drop(writer);
        assert!(!folder.join("packages/x86_64").exists());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_marker_that_leads_elsewhere_or_is_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (text, said) in [
            ("version = 1\ntags = ['../../etc']", "is no tag"),
            ("version = 7", "has version 7"),
            ("tags = 'edge'", "invalid type"),
        ] {
            fs::write(folder.path().join(MARKER), text).unwrap();
            let error = repositories(folder.path()).unwrap_err();
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
        let mut writer = Writer::new(&folder.path().join("new"), &[]).unwrap();
        assert!(writer.key(Platform::Amd64, "../key.pub", "pem").is_err());
        let mut escaping = record();
        escaping.name = "../../x".into();
        assert!(writer.package(Platform::Amd64, None, &escaping, b"apk").is_err());
    }
}
