//! A root file system that lies unpacked in a folder: what is in it, with owner, mode and attributes, and its bytes.
//!
//! No symbolic link is ever followed by the system: every name is opened in the folder above it with `O_NOFOLLOW`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use kimg_core::{
    Content, ContentSource, Digest, DigestWriter, Entry, FileTree, ImagePath, Kind, Origin, ReadSeek,
};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

/// How deep folders are looked into.
const MAX_DEPTH: usize = 128;
/// `PROC_SUPER_MAGIC` and `SYSFS_MAGIC` (`linux/magic.h`): what a kernel shows of itself is nobody's file.
const KERNEL_S_OWN: [u64; 2] = [0x9fa0, 0x6265_6572];
/// The most bytes of one extended attribute (`XATTR_SIZE_MAX`) and of the list of their names (`XATTR_LIST_MAX`).
const MAX_ATTRIBUTE: usize = 64 << 10;

/// A folder with a root file system.
#[derive(Debug)]
pub(super) struct RootFolder {
    root: OwnedFd,
}

/// What lies in a root folder.
pub(super) struct Listing {
    /// Every folder, link and regular file. The digests of contents are not known yet: [`RootFolder::whole`] gives an
    /// entry with its own.
    pub(super) tree: FileTree,
    /// What no image can hold or this process can't see, each with the reason.
    pub(super) passed_over: Vec<(String, &'static str)>,
}

impl RootFolder {
    /// The root in a folder. The path to the folder itself may lead through links.
    pub(super) fn open(folder: &Path) -> io::Result<Arc<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Arc::new(Self { root: rustix::fs::open(folder, flags, Mode::empty())? }))
    }

    /// Looks at everything once; no file is opened.
    pub(super) fn list(self: &Arc<Self>) -> Listing {
        let listing = Listing { tree: FileTree::new(), passed_over: Vec::new() };
        let mut lister = Lister { folder: self, listing, linked: HashMap::new() };
        lister.list(self.root.as_fd(), &ImagePath::root(), 0);
        lister.listing
    }

    /// An entry of the listing with what only opening tells: digest and extended attributes. Bytes are streamed.
    ///
    /// # Errors
    /// A file that can't be read.
    pub(super) fn whole(self: &Arc<Self>, path: &ImagePath, listed: &Entry) -> io::Result<Entry> {
        let mut entry = listed.clone();
        let opened = match &listed.kind {
            Kind::Symlink { .. } => return Ok(entry),
            // A folder that may be entered and not listed has no attributes to be seen.
            Kind::Directory => match self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(opened) => opened,
                Err(_) => return Ok(entry),
            },
            Kind::File { .. } => self.open_file(path)?,
        };
        entry.xattrs = attributes(&opened);
        if let Kind::File { content, .. } = &mut entry.kind {
            let mut writer = DigestWriter::new(io::sink());
            let mut file = File::from(opened);
            io::copy(&mut file, &mut writer)?;
            let (_, digest, size) = writer.finish();
            let source = Unhashed { folder: self.clone(), path: path.clone() };
            *content = Content::new(digest, size, Arc::new(source));
        }
        Ok(entry)
    }

    fn open_file(&self, path: &ImagePath) -> io::Result<OwnedFd> {
        // A pipe put there meanwhile must not make the open wait.
        let opened = self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) {
            FileType::RegularFile => Ok(opened),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn open_at(&self, path: &ImagePath, flags: OFlags) -> io::Result<OwnedFd> {
        let common = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut names: Vec<&str> = path.names().collect();
        let Some(last) = names.pop() else { return Err(io::ErrorKind::IsADirectory.into()) };
        let mut above: Option<OwnedFd> = None;
        for name in names {
            let folder = above.as_ref().unwrap_or(&self.root);
            let flags = OFlags::PATH | OFlags::DIRECTORY | common;
            above = Some(rustix::fs::openat(folder, name, flags, Mode::empty())?);
        }
        let folder = above.as_ref().unwrap_or(&self.root);
        Ok(rustix::fs::openat(folder, last, flags | common, Mode::empty())?)
    }
}

struct Lister<'a> {
    folder: &'a Arc<RootFolder>,
    listing: Listing,
    /// The first name of each file that has several.
    linked: HashMap<(u64, u64), ImagePath>,
}

impl Lister<'_> {
    fn list(&mut self, folder: impl AsFd, at: &ImagePath, depth: usize) {
        let unseen = "this process may not look into it";
        let is_kernel_s = rustix::fs::fstatfs(&folder)
            .is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| KERNEL_S_OWN.contains(&kind)));
        if is_kernel_s && !at.is_root() {
            return self.pass_over(at.to_string(), "the kernel's own, mounted there");
        }
        let Ok(entries) = Dir::read_from(&folder) else { return self.pass_over(at.to_string(), unseen) };
        let mut names: Vec<Vec<u8>> =
            entries.flatten().map(|entry| entry.file_name().to_bytes().to_vec()).collect();
        names.sort();
        for name in names.iter().filter(|name| !matches!(name.as_slice(), b"." | b"..")) {
            let shown = || format!("{}/{}", at.as_str().trim_end_matches('/'), String::from_utf8_lossy(name));
            let Some(path) = std::str::from_utf8(name).ok().and_then(|name| at.join(name).ok()) else {
                self.pass_over(shown(), "its name is not text");
                continue;
            };
            let Ok(stat) = rustix::fs::statat(&folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) else {
                self.pass_over(shown(), unseen);
                continue;
            };
            let kind = match self.kind(&folder, name, &path, &stat) {
                Ok(kind) => kind,
                Err(why) => {
                    self.pass_over(shown(), why);
                    continue;
                }
            };
            let is_folder = matches!(kind, Kind::Directory);
            self.listing.tree.insert(path.clone(), entry(kind, &stat));
            if is_folder && depth < MAX_DEPTH {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(&folder, name.as_slice(), flags, Mode::empty()) {
                    Ok(inner) => self.list(inner, &path, depth + 1),
                    Err(_) => self.pass_over(path.to_string(), unseen),
                }
            } else if is_folder {
                self.pass_over(path.to_string(), "it lies too deep to be looked into");
            }
        }
    }

    /// What an entry is; why no image holds it, if none does.
    fn kind(
        &mut self,
        folder: impl AsFd,
        name: &[u8],
        path: &ImagePath,
        stat: &Stat,
    ) -> Result<Kind, &'static str> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(Kind::Directory),
            FileType::RegularFile => Ok(self.file(path, stat)),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, name, Vec::new()).ok();
                let target = target.and_then(|target| target.into_string().ok());
                target.map(|target| Kind::Symlink { target }).ok_or("its target is not text")
            }
            FileType::Socket => Err("a socket"),
            FileType::Fifo => Err("a named pipe"),
            _ => Err("a device"),
        }
    }

    fn file(&mut self, path: &ImagePath, stat: &Stat) -> Kind {
        let content = Unhashed { folder: self.folder.clone(), path: path.clone() }.content(stat);
        let inode = (stat.st_nlink > 1)
            .then(|| self.linked.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.clone()).clone());
        Kind::File { content, inode }
    }

    fn pass_over(&mut self, what: String, why: &'static str) {
        self.listing.passed_over.push((what, why));
    }
}

fn entry(kind: Kind, stat: &Stat) -> Entry {
    Entry {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        // Times before 1970 are none that an archive of ours holds.
        mtime: u64::try_from(stat.st_mtime).unwrap_or(0),
        xattrs: BTreeMap::new(),
        origin: Origin::generated("found in a folder"),
    }
}

/// The bytes of a file of the folder.
#[derive(Debug)]
struct Unhashed {
    folder: Arc<RootFolder>,
    path: ImagePath,
}

impl Unhashed {
    fn content(self, stat: &Stat) -> Content {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // No bytes hash to this: what forgets to ask for the entry as a whole is refused when it is written.
        Content::new(Digest::from_raw([0; 32]), size, Arc::new(self))
    }
}

impl ContentSource for Unhashed {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(File::from(self.folder.open_file(&self.path)?)))
    }
}

/// The attributes that belong to a file wherever it lies: capabilities and those that users set. Labels and access
/// lists are this machine's.
fn attributes(opened: &OwnedFd) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; MAX_ATTRIBUTE];
    let Ok(length) = rustix::fs::flistxattr(opened, &mut names[..]) else { return BTreeMap::new() };
    let names = names[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let kept = names.filter(|name| {
        *name == "security.capability" || (name.starts_with("user.") && !name.starts_with("user.overlay."))
    });
    let read = |name: &str| {
        let mut value = vec![0; MAX_ATTRIBUTE];
        let length = rustix::fs::fgetxattr(opened, name, &mut value[..]).ok()?;
        value.truncate(length);
        Some((name.to_owned(), value))
    };
    kept.filter_map(read).collect()
}
