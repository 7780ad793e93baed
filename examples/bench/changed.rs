//! A real package of which one file changed: a repository that holds only it, in a newer version, signed with the key that
//! is worth nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use kimg_core::Platform;
use kimg_testkit::sample::Signer;
use kimg_testkit::sample::package::{PackageBuilder, TarEntry};
use kimg_testkit::sample::repository::RepositoryBuilder;

use crate::bench::Bench;

/// Packs `package` again with some bytes more behind one of its files, another version for each `number`; for every
/// platform. Gives the repository and its key.
pub(crate) fn repository(
    bench: &Bench,
    platforms: &[Platform],
    package: &str,
    file: &str,
    number: usize,
) -> Result<(PathBuf, PathBuf)> {
    let folder = bench.path(&format!("changed-{number}"));
    let mut repository = RepositoryBuilder::new(Signer::sample());
    for platform in platforms {
        let unpacked = folder.join("unpacked").join(platform.alpine());
        fs_err::create_dir_all(&unpacked)?;
        let apk = bench.real.package(*platform, package);
        // A package is three gzip members with a tar archive: tar reads them as one.
        kimg_testkit::run(Command::new("tar").arg("-xzpf").arg(&apk).arg("-C").arg(&unpacked));
        change(&unpacked.join(file), number)?;
        let info = fs_err::read_to_string(unpacked.join(".PKGINFO"))?;
        let all = |key: &str| {
            let lines = info.lines().filter_map(|line| line.split_once(" = "));
            lines.filter(|(found, _)| *found == key).map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
        };
        let [version] = &all("pkgver")[..] else { bail!("{} has no version", apk.display()) };
        let (upstream, _) = version.rsplit_once("-r").context("the version has no release")?;
        let mut entries = Vec::new();
        read(&unpacked, "", &mut entries)?;
        let newer = PackageBuilder::new(package, format!("{upstream}-r{}", 1000 + number), *platform)
            .depends(all("depend"))
            .provides(all("provides"))
            .replaces(all("replaces"))
            .entries(entries)
            .build(&Signer::sample());
        repository = repository.package(*platform, newer);
    }
    repository.build().write_to(&folder.join("repository"))?;
    let key = folder.join(Signer::sample().key_name());
    fs_err::write(&key, Signer::sample().public_pem())?;
    Ok((folder.join("repository"), key))
}

/// Puts some bytes behind a file: a program starts and a bundle of certificates reads as before.
pub(crate) fn change(file: &Path, number: usize) -> Result<()> {
    let mut bytes = fs_err::read(file)?;
    bytes.extend_from_slice(format!("\n# changed {number}\n").as_bytes());
    Ok(fs_err::write(file, bytes)?)
}

/// Everything below a folder but the package's own files, as a package ships it.
fn read(folder: &Path, inside: &str, entries: &mut Vec<TarEntry>) -> Result<()> {
    let mut found: Vec<_> = fs_err::read_dir(folder)?.collect::<std::io::Result<_>>()?;
    found.sort_by_key(fs_err::DirEntry::file_name);
    for entry in found {
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| anyhow::anyhow!("{} is no UTF-8", name.display()))?;
        if inside.is_empty() && name.starts_with('.') {
            continue;
        }
        let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
        let metadata = fs_err::symlink_metadata(entry.path())?;
        if metadata.is_dir() {
            entries.push(TarEntry::directory(&path));
            read(&entry.path(), &path, entries)?;
        } else if metadata.is_symlink() {
            let target = fs_err::read_link(entry.path())?;
            entries.push(TarEntry::symlink(path, target.to_str().context("a link's target is no UTF-8")?));
        } else {
            let file = TarEntry::file(path, fs_err::read(entry.path())?);
            entries.push(file.mode(metadata.permissions().mode() & 0o7777));
        }
    }
    Ok(())
}
