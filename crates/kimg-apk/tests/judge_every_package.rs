//! Every real package there is, beside what the real apk 2.12 makes of it: each path with its kind, mode, owner, time,
//! bytes or target, hard links and extended attributes, and each line of the package in the database.
//!
//! Most of these packages need something that is not in their repository. So apk gets an index from which everything
//! that packages say about each other was taken away, and installs what it is told to. No two packages of one
//! root share a path, so that each is compared whole.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod judge;
mod made;
mod real;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::MultiGzDecoder;
use kimg_apk::{Limits, Package, install, installed_db, read_package};
use kimg_core::ImagePath;
use tar::EntryType;

use judge::{Judge, blocks, on_disk, on_paper, same};
use real::{Repository, SmallOnly};

/// The repository's `APKINDEX` without dependencies, provides and `install_if`, packed again.
fn index_without_wishes(repository: &Repository) -> Vec<u8> {
    let packed = fs_err::File::open(repository.folder.join("APKINDEX.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(MultiGzDecoder::new(packed));
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut text = String::new();
    entries.find(|entry| &*entry.path_bytes() == b"APKINDEX").unwrap().read_to_string(&mut text).unwrap();
    let kept: String = text
        .split_inclusive('\n')
        .filter(|line| !["D:", "p:", "i:"].iter().any(|field| line.starts_with(field)))
        .collect();
    made::gzip(&made::entry(EntryType::Regular, "APKINDEX", "", 0o644, b"", kept.as_bytes()))
}

/// Packages for one root, and the paths they take there.
#[derive(Default)]
struct Part {
    packages: Vec<Package>,
    files: BTreeSet<ImagePath>,
    folders: BTreeSet<ImagePath>,
}

/// Parts packages so that no two in a part have one name, or a path in common that is not a folder of both.
///
/// A link of one where another has a folder would not do either: with `--root`, apk 2.12 follows an absolute link out of
/// the root.
fn apart(packages: Vec<Package>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for package in packages {
        let (folders, files): (Vec<_>, Vec<_>) =
            package.entries.iter().partition(|(_, entry)| entry.is_directory());
        let [files, folders] = [files, folders]
            .map(|paths| paths.into_iter().map(|(path, _)| path.clone()).collect::<BTreeSet<_>>());
        let fits = |part: &Part| {
            part.packages.iter().all(|other| other.record.name != package.record.name)
                && part.files.is_disjoint(&files)
                && part.files.is_disjoint(&folders)
                && part.folders.is_disjoint(&files)
        };
        let place = parts.iter().position(fits).unwrap_or_else(|| {
            parts.push(Part::default());
            parts.len() - 1
        });
        parts[place].files.extend(files);
        parts[place].folders.extend(folders);
        parts[place].packages.push(package);
    }
    parts
}

/// What the database says of the paths of each package.
///
/// The mode of a folder that several packages ship is left aside: apk writes down what each of them says of it, and
/// kimg what they make of it together, which is what apk finds on reading either, and what is on the disk.
fn paths_of(database: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = blocks(database);
    let mut shipped: BTreeMap<String, usize> = BTreeMap::new();
    for (_, folder) in all.values().flatten().filter_map(|line| line.split_once("||F:")) {
        *shipped.entry(folder.to_owned()).or_default() += 1;
    }
    for lines in all.values_mut() {
        // `folder|file|X:value`: the fields of the package itself have neither folder nor file.
        lines.retain(|line| {
            let [folder, _, field] = line.splitn(3, '|').collect::<Vec<_>>()[..] else { unreachable!() };
            match &field[..2] {
                "M:" => shipped[folder] == 1,
                "F:" | "R:" | "a:" | "Z:" => true,
                _ => false,
            }
        });
    }
    all
}

/// Lets apk install every package of the repository, and compares. Gives how many packages there were, in how many
/// roots, with how many paths.
fn compare(repository: &Repository) -> Option<(usize, usize, usize)> {
    let judge = Judge::new()?;
    let arch = repository.arch.as_str();
    let offered = format!("bare/{arch}");
    judge.share(&repository.folder, &offered, |name| name != "APKINDEX.tar.gz");
    fs_err::write(judge.path(&offered).join("APKINDEX.tar.gz"), index_without_wishes(repository)).unwrap();

    let mut packages = Vec::new();
    for record in &repository.index.packages {
        let (bytes, limits) = (repository.bytes(record), Limits::default());
        let package = read_package(&bytes, &repository.keys, Some(record), arch, &limits, &mut SmallOnly);
        packages.push(package.unwrap_or_else(|error| panic!("a wrong refusal: {error}")));
    }
    let (mut compared, mut paths) = (0, 0);
    let parts = apart(packages);
    for (number, Part { packages: part, .. }) in parts.iter().enumerate() {
        let target = format!("out-{number}");
        let apks_own = judge.empty_root(&target, arch);
        let wishes: Vec<String> = part
            .iter()
            .map(|package| format!("{}={}", package.record.name, package.record.version))
            .collect();
        let mut arguments =
            vec!["add", "--arch", arch, "--no-scripts", "--allow-untrusted", "-X", "/bare", "--"];
        arguments.extend(wishes.iter().map(String::as_str));
        judge.apk(&target, &arguments);

        let installation = install(part).unwrap();
        assert!(installation.replaced.is_empty(), "{:?}", installation.replaced);
        let root = judge.path(&target);
        let expected = on_disk(&root);
        same(&expected, &on_paper(&installation.tree), &apks_own);

        let theirs = paths_of(&fs_err::read_to_string(root.join("lib/apk/db/installed")).unwrap());
        let ours = paths_of(&installed_db(&part.iter().collect::<Vec<_>>(), &installation.tree));
        let names: BTreeSet<&String> = part.iter().map(|package| &package.record.name).collect();
        assert_eq!(theirs.keys().collect::<BTreeSet<_>>(), names, "apk did not install what it was told to");
        for name in names {
            assert_eq!(ours[name], theirs[name], "{name}");
        }
        compared += theirs.len();
        paths += expected.len() - apks_own.len();
        fs_err::remove_dir_all(root).unwrap();
    }
    Some((compared, parts.len(), paths))
}

#[test]
fn every_package_that_alpine_signed_holds_what_apk_installs_of_it() {
    let Some(repositories) = real::genuine() else { return };
    for (repository, number) in repositories.iter().zip([100, 65]) {
        assert_eq!(repository.index.packages.len(), number);
        let Some((compared, roots, paths)) = compare(repository) else { return };
        println!("{}: {compared} packages in {roots} roots, {paths} paths", repository.arch);
        assert_eq!(compared, number);
    }
}

fn every_assembled_package(arch: &str) {
    let Some(repository) = real::of_arch(arch) else { return };
    let Some((compared, roots, paths)) = compare(&repository) else { return };
    println!("{arch}: {compared} packages in {roots} roots, {paths} paths");
    assert_eq!((compared, repository.index.packages.len()), (40, 40));
}

#[test]
fn every_assembled_package_holds_what_apk_installs_of_it_on_x86_64() {
    every_assembled_package("x86_64");
}

#[test]
fn every_assembled_package_holds_what_apk_installs_of_it_on_aarch64() {
    every_assembled_package("aarch64");
}

#[test]
fn every_assembled_package_holds_what_apk_installs_of_it_on_armv7() {
    every_assembled_package("armv7");
}
