//! Packed programs in a cache: a real CNI plugin, packed by the real UPX.

use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_build::shared_cache::Programs;
use kimg_build::{LockUse, Overrides, Settings};
use kimg_core::{Content, Digest, Platform};
use kimg_source::Lock;
use kimg_source::lock::LockedPacking;
use serde_json::json;

use crate::machine::{Built, Machine, TODAY, export, flags, shared};
use crate::poison::Spoiled;

/// Two real plugins, out of their package; `None` after a visible skip.
fn plugins(folder: &Path) -> Option<[PathBuf; 2]> {
    let real = kimg_testkit::real()?;
    kimg_testkit::tool("upx")?;
    let package = real.package(Platform::Amd64, "cni-plugins");
    let names = ["usr/libexec/cni/static", "usr/libexec/cni/loopback"];
    let mut tar = Command::new("tar");
    tar.arg("--warning=none").arg("-xzf").arg(package).arg("-C").arg(folder).args(names);
    kimg_testkit::run(&mut tar);
    Some(names.map(|name| folder.join(name)))
}

/// A machine whose image holds this plugin as flannel's, packed quickly.
fn machine(plugin: &Path) -> Machine {
    let settings: Settings = toml::from_str(&format!(
        "[[program]]\nname = 'flannel'\npath = '{}'\ninstall = '/opt/cni/bin/flannel'\nplatform = 'amd64'\n",
        plugin.display()
    ))
    .unwrap();
    let flags = Overrides { variants: vec!["flannel".into()], pack: None, ..flags(Platform::Amd64) };
    Machine::new(&settings, &flags)
}

/// A cache with the packed plugin; the place of its entry; and its plain and packed digests.
fn cache(plugin: &Path) -> (Spoiled, usize, Digest) {
    let spoiled = Spoiled::new(|cache| {
        let machine = machine(plugin);
        let shared = shared(&[], Programs::OfTheLock);
        let built = machine.build(&shared);
        assert_eq!(built.heard.packed(), 1, "the plugin, and nothing else, is large enough");
        shared.export(cache, &machine.cache, &export(TODAY), &built.heard).unwrap();
        built.indexes
    });
    let entries = spoiled.index["entries"].as_array().unwrap();
    let place = entries.iter().position(|entry| entry["kind"] == "program").expect("it was exported");
    let packed = entries[place]["digest"].as_str().unwrap().parse().unwrap();
    (spoiled, place, packed)
}

/// A lock that says what the plugin becomes.
fn pinned(machine: &mut Machine, plugin: &Path, result: Digest) {
    machine.lock = LockUse::Follow(machine.file("kimg.lock"));
    // Without UPX: what is chosen is all that the lock is to say.
    let path = std::mem::take(&mut machine.path);
    machine.build_alone();
    machine.path = path;
    let mut lock = Lock::read(&machine.file("kimg.lock")).unwrap().unwrap();
    let aims = machine.project.aims;
    lock.packings.push(LockedPacking {
        aims: aims.to_string(),
        platform: Platform::Amd64,
        program: "/opt/cni/bin/flannel".into(),
        sha256: Digest::of(fs_err::read(plugin).unwrap()),
        packing: aims.packing(kimg_build::aims::Use { daemon: false, often: true }).to_string(),
        result: Some(result),
    });
    lock.write(&machine.file("kimg.lock")).unwrap();
    // An empty cache again.
    let cache = machine.file("cache of its own");
    machine.cache = kimg_source::Cache::open(&cache).unwrap();
}

fn refused<'a>(built: &'a Built, what: &str) -> &'a str {
    let all: Vec<_> = built.tally.refused.iter().filter(|it| it.what.starts_with(what)).collect();
    assert_eq!(all.len(), 1, "{:?}", built.tally);
    &all[0].why
}

#[test]
fn a_second_machine_packs_nothing_where_the_writers_are_trusted_or_the_lock_says_what_comes_of_it() {
    let folder = kimg_testkit::tempdir().unwrap();
    let Some([plugin, _]) = plugins(folder.path()) else { return };
    let (spoiled, _, packed) = cache(&plugin);

    let trusting = machine(&plugin).build(&shared(&[&spoiled.cache], Programs::OfTrustedWriters));
    assert_eq!((trusting.heard.packed(), trusting.heard.compressed()), (0, 0), "{:?}", trusting.tally);
    assert_eq!(trusting.indexes, spoiled.right);
    assert_eq!(trusting.tally.used, trusting.tally.asked);
    assert!(trusting.heard.warnings().is_empty(), "{:?}", trusting.heard.warnings());

    let mut locked = machine(&plugin);
    pinned(&mut locked, &plugin, packed);
    let locked = locked.build(&shared(&[&spoiled.cache], Programs::OfTheLock));
    assert_eq!((locked.heard.packed(), &locked.indexes), (0, &spoiled.right), "{:?}", locked.tally);

    // Who does not trust the writers, and has no lock, packs it; what comes of it is the same, and so are the layers.
    let alone = machine(&plugin).build(&shared(&[&spoiled.cache], Programs::OfTheLock));
    assert_eq!((alone.heard.packed(), alone.heard.compressed()), (1, 0), "{:?}", alone.tally);
    assert_eq!(alone.indexes, spoiled.right);
    assert_eq!(refused(&alone, "program "), "the lock does not say what it becomes");
    assert!(alone.heard.warnings()[0].contains("`kimg tune` writes it"), "{:?}", alone.heard.warnings());
}

#[test]
fn without_upx_no_packed_program_is_used_and_that_is_said() {
    let folder = kimg_testkit::tempdir().unwrap();
    let Some([plugin, _]) = plugins(folder.path()) else { return };
    let (spoiled, ..) = cache(&plugin);
    let mut bare = machine(&plugin);
    bare.path = std::ffi::OsString::new();
    let built = bare.build(&shared(&[&spoiled.cache], Programs::OfTrustedWriters));
    let warnings = built.heard.warnings();
    assert!(warnings.iter().any(|it| it.contains("upx is not installed to check them")), "{warnings:?}");
    assert_ne!(built.indexes, spoiled.right);
    let mut alone = machine(&plugin);
    alone.path = std::ffi::OsString::new();
    assert_eq!(built.indexes, alone.build_alone().indexes);
}

#[test]
fn another_program_other_bytes_and_a_cut_one_are_refused_and_packed_here() {
    let folder = kimg_testkit::tempdir().unwrap();
    let Some([plugin, other]) = plugins(folder.path()) else { return };
    let (mut spoiled, place, packed) = cache(&plugin);
    let good = spoiled.blob(place);
    let packs_itself = |spoiled: &Spoiled, programs, machine: Machine| {
        let built = machine.build(&shared(&[&spoiled.cache], programs));
        assert_eq!((built.heard.packed(), &built.indexes), (1, &spoiled.right), "{:?}", built.tally);
        built
    };

    // The other plugin, packed well.
    let (theirs, at, _) = cache(&other);
    spoiled.put(place, &theirs.blob(at));
    spoiled.write();
    let built = packs_itself(&spoiled, Programs::OfTrustedWriters, machine(&plugin));
    assert!(refused(&built, "program ").contains("another program"), "{:?}", built.tally);
    // With a lock it is not even fetched.
    let mut locked = machine(&plugin);
    pinned(&mut locked, &plugin, packed);
    let built = packs_itself(&spoiled, Programs::OfTheLock, locked);
    assert!(refused(&built, "program ").contains("the lock says that it becomes"), "{:?}", built.tally);

    // One of its bytes.
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    spoiled.put(place, &changed);
    spoiled.write();
    let built = packs_itself(&spoiled, Programs::OfTrustedWriters, machine(&plugin));
    refused(&built, "program ");

    // Cut, under a name of its own.
    spoiled.put(place, &good[..good.len() / 2]);
    spoiled.write();
    let built = packs_itself(&spoiled, Programs::OfTrustedWriters, machine(&plugin));
    refused(&built, "program ");

    // Other bytes under the right name.
    spoiled.index["entries"][place]["digest"] = json!(packed);
    spoiled.index["entries"][place]["size"] = json!(good.len());
    spoiled.put_under_its_name(place, &changed);
    spoiled.write();
    let built = packs_itself(&spoiled, Programs::OfTrustedWriters, machine(&plugin));
    assert!(refused(&built, "program ").contains("is not what it should be"), "{:?}", built.tally);

    // The plain one, which is no smaller.
    let plain = Content::from_bytes(fs_err::read(&plugin).unwrap());
    spoiled.put(place, &plain.read(1 << 30).unwrap());
    spoiled.write();
    let built = packs_itself(&spoiled, Programs::OfTrustedWriters, machine(&plugin));
    assert!(refused(&built, "program ").contains("the plain one"), "{:?}", built.tally);
}

#[test]
fn a_change_that_the_gate_can_not_see_is_seen_by_who_goes_by_the_lock() {
    let folder = kimg_testkit::tempdir().unwrap();
    let Some([plugin, _]) = plugins(folder.path()) else { return };
    let (mut spoiled, place, packed) = cache(&plugin);
    // A byte of the ELF header that nobody reads: it stands for code in front of what UPX unpacks.
    let mut changed = spoiled.blob(place);
    changed[15] = 1;
    spoiled.put(place, &changed);
    spoiled.write();

    let trusting = machine(&plugin).build(&shared(&[&spoiled.cache], Programs::OfTrustedWriters));
    assert_eq!(trusting.heard.packed(), 0, "that is what trust means: {:?}", trusting.tally);
    assert_ne!(trusting.indexes, spoiled.right);

    let mut locked = machine(&plugin);
    pinned(&mut locked, &plugin, packed);
    spoiled.peer.forget();
    let locked = locked.build(&shared(&[&spoiled.cache], Programs::OfTheLock));
    assert_eq!((locked.heard.packed(), &locked.indexes), (1, &spoiled.right), "{:?}", locked.tally);
    assert!(refused(&locked, "program ").contains("the lock says that it becomes"), "{:?}", locked.tally);
    let name = Digest::of(&changed).to_string();
    assert!(spoiled.peer.requests().iter().all(|it| !it.path.contains(&name)), "it is not even fetched");
}
