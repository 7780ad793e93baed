//! Packages laid over each other: the tree that apk would have made of them, without running a script.
//!
//! What is here: the order, who keeps a path (`ownership`), where a path lands when a folder on its way is a symbolic
//! link (`landing`), how shared folders merge, and hard links. What scripts would have done and an assembler must do instead
//! is in `applets` and `certificates`.

mod applets;
mod certificates;
mod error;
mod landing;
mod ownership;

use std::collections::BTreeMap;

use kimg_core::{Entry, FileTree, ImagePath, Kind, Origin};

pub use self::applets::{Applets, link_applets};
pub use self::error::InstallError;
pub(crate) use self::landing::Landing;
use self::ownership::{Keeps, keeper};
use crate::Package;

/// What installing a set of packages gives.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Every path, each with the package it came from. Folders that several packages ship carry the first of them by name.
    pub tree: FileTree,
    /// Scripts that apk would have run, and that nothing here stands in for.
    pub not_run: Vec<NotRun>,
    /// Paths that more than one package ships, and which of them has it now.
    pub replaced: Vec<Replaced>,
}

/// A script of a package that apk would have run when installing it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotRun {
    /// The package's name.
    pub package: String,
    /// `.pre-install`, `.post-install` or `.trigger`.
    pub script: String,
}

/// A path that one package took over from another (`replaces`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replaced {
    /// The path.
    pub path: ImagePath,
    /// The name of the package that has it.
    pub kept: String,
    /// The name of the package that shipped it too.
    pub dropped: String,
}

/// Scripts that apk runs when a package is installed for the first time.
const RUN_AT_INSTALL: [&str; 3] = [".pre-install", ".post-install", ".trigger"];

/// Scripts whose work is done here: the applet links of busybox by [`link_applets`], and the bundle of certificates.
const DONE_HERE: [(&str, &str); 5] = [
    ("busybox", ".post-install"),
    ("busybox", ".trigger"),
    ("busybox-extras", ".post-install"),
    ("busybox-extras", ".trigger"),
    ("ca-certificates", ".trigger"),
];

/// Lays packages over each other. The order in which they are given does not matter.
///
/// - A path that two packages ship goes to the one whose `replaces` and `replaces_priority` say so, as in apk; if neither
///   says so, it is refused, also when both ship the same bytes.
/// - Folders merge. As in apk 2.12, the smaller owner decides, and between equal owners a mode only keeps the bits
///   that all of them have.
/// - Where a package ships a symbolic link in place of a folder of another (`/lib` to `usr/lib`), the other's files land
///   where the link points to.
/// - Folders that no package ships are added 0755 root.
/// - Certificates of `/usr/share/ca-certificates` are joined into `/etc/ssl/certs/ca-certificates.crt` if no package ships it.
///
/// Owners are the numbers in the archive. (apk asks the `etc/passwd` of the root for the archive's *names* first; a user that
/// a script would have made is not there, and then it takes the numbers too.)
///
/// # Errors
/// The same package twice; a path that two packages claim; links that lead nowhere; certificates that can't be read.
pub fn install(packages: &[Package]) -> Result<Installation, InstallError> {
    let mut sorted: Vec<&Package> = packages.iter().collect();
    sorted.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].record.name == pair[1].record.name) {
        return Err(InstallError::Twice { first: pair[0].record.id(), second: pair[1].record.id() });
    }
    // Within one package, the later of two entries with the same path counts.
    let shipped: Vec<BTreeMap<&ImagePath, &Entry>> = sorted
        .iter()
        .map(|package| package.entries.iter().map(|(path, entry)| (path, entry)).collect())
        .collect();

    let (owners, landing, replaced) = owners(&sorted, &shipped)?;
    let mut tree = FileTree::new();
    for (path, owner) in &owners {
        tree.insert(path.clone(), owner.entry.clone());
    }
    for (package, entries) in sorted.iter().zip(&shipped) {
        for (path, entry) in entries.iter().filter(|(_, entry)| entry.is_directory()) {
            let place = landing.of(path, true)?;
            merge_folder(&mut tree, place, entry, &package.record.id())?;
        }
    }
    tree.add_parents(&Origin::generated("a folder that no package ships"));
    folders_hold_everything(&tree)?;
    join_hard_links(&mut tree, &owners);
    certificates::bundle(&mut tree)?;
    Ok(Installation { tree, not_run: not_run(&sorted), replaced })
}

/// Who has a path that is no folder.
#[derive(Clone, Copy)]
struct Owner<'a> {
    package: usize,
    /// The path as the package wrote it.
    shipped_as: &'a ImagePath,
    entry: &'a Entry,
}

type Owners<'a> = BTreeMap<ImagePath, Owner<'a>>;

/// Decides who has each path that is no folder, and where paths land.
///
/// Both hang on each other: a link decides where other paths land, and another package may take that link over.
/// So it is done again until nothing moves; without links in place of folders that is after the second time.
fn owners<'a>(
    packages: &[&Package],
    shipped: &[BTreeMap<&'a ImagePath, &'a Entry>],
) -> Result<(Owners<'a>, Landing, Vec<Replaced>), InstallError> {
    let mut landing = Landing::default();
    for _ in 0..ROUNDS {
        let mut owners: Owners<'a> = BTreeMap::new();
        let mut replaced = Vec::new();
        for (package, entries) in shipped.iter().enumerate() {
            for (shipped_as, entry) in entries.iter().filter(|(_, entry)| !entry.is_directory()) {
                let place = landing.of(shipped_as, false)?;
                let new = Owner { package, shipped_as, entry };
                let Some(old) = owners.get(&place) else {
                    owners.insert(place, new);
                    continue;
                };
                if old.package == package {
                    // `/lib/x` and `/usr/lib/x` of one package, and `/lib` is a link: the file, not a link to it.
                    if entry.target().is_none() || old.entry.target().is_some() {
                        owners.insert(place, new);
                    }
                    continue;
                }
                let (first, second) = (&packages[old.package].record, &packages[package].record);
                let (kept, dropped) = match keeper(first, second) {
                    Keeps::First => (first, second),
                    Keeps::Second => (second, first),
                    Keeps::Neither => {
                        return Err(InstallError::Conflict {
                            path: place,
                            first: first.id(),
                            second: second.id(),
                        });
                    }
                };
                let (kept, dropped) = (kept.name.clone(), dropped.name.clone());
                if kept == second.name {
                    owners.insert(place.clone(), new);
                }
                replaced.push(Replaced { path: place, kept, dropped });
            }
        }
        let links =
            owners.iter().filter_map(|(path, owner)| Some((path.clone(), owner.entry.target()?.to_owned())));
        let next = Landing::new(links.collect());
        if next == landing {
            replaced.sort();
            return Ok((owners, landing, replaced));
        }
        landing = next;
    }
    Err(InstallError::Unsettled)
}

/// Links that stand in the way of other links, at most so many deep.
const ROUNDS: usize = 20;

/// apk 2.12, `apk_db_dir_apply_diri_permissions`: the smaller owner decides; between equals only shared bits stay.
fn merge_folder(tree: &mut FileTree, place: ImagePath, entry: &Entry, id: &str) -> Result<(), InstallError> {
    if place.is_root() {
        return Ok(());
    }
    let Some(there) = tree.get_mut(&place) else {
        tree.insert(place, entry.clone());
        return Ok(());
    };
    if !there.is_directory() {
        return Err(InstallError::NotAFolder {
            path: place,
            of: there.origin.to_string(),
            wanted_by: id.to_owned(),
        });
    }
    match (entry.uid, entry.gid).cmp(&(there.uid, there.gid)) {
        std::cmp::Ordering::Less => (there.uid, there.gid, there.mode) = (entry.uid, entry.gid, entry.mode),
        std::cmp::Ordering::Equal => there.mode &= entry.mode,
        std::cmp::Ordering::Greater => {}
    }
    there.mtime = there.mtime.max(entry.mtime);
    for (name, value) in &entry.xattrs {
        there.xattrs.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(())
}

fn folders_hold_everything(tree: &FileTree) -> Result<(), InstallError> {
    for (path, entry) in tree.iter() {
        let Some(parent) = path.parent().and_then(|parent| tree.get(&parent).map(|found| (parent, found)))
        else {
            continue;
        };
        if !parent.1.is_directory() {
            let (of, wanted_by) = (parent.1.origin.to_string(), entry.origin.to_string());
            return Err(InstallError::NotAFolder { path: parent.0, of, wanted_by });
        }
    }
    Ok(())
}

/// Points every hard link to one that is in the tree, and makes the last one left of a group a file of its own.
fn join_hard_links(tree: &mut FileTree, owners: &Owners<'_>) {
    let mut groups: BTreeMap<(usize, &ImagePath), Vec<(&ImagePath, &ImagePath)>> = BTreeMap::new();
    for (place, owner) in owners {
        if let Kind::File { inode: Some(first), .. } = &owner.entry.kind {
            groups.entry((owner.package, first)).or_default().push((place, owner.shipped_as));
        }
    }
    for ((_, first), members) in groups {
        let leader = members.iter().find(|(_, shipped_as)| *shipped_as == first).unwrap_or(&members[0]).0;
        for (place, _) in &members {
            if let Some(Entry { kind: Kind::File { inode, .. }, .. }) = tree.get_mut(place) {
                *inode = (members.len() > 1).then(|| leader.clone());
            }
        }
    }
}

fn not_run(packages: &[&Package]) -> Vec<NotRun> {
    let mut all: Vec<NotRun> = packages
        .iter()
        .flat_map(|package| {
            package.scripts.iter().map(|script| (package.record.name.as_str(), script.as_str()))
        })
        .filter(|(package, script)| {
            RUN_AT_INSTALL.contains(script) && !DONE_HERE.contains(&(package, script))
        })
        .map(|(package, script)| NotRun { package: package.to_owned(), script: script.to_owned() })
        .collect();
    all.sort();
    all.dedup();
    all
}
