//! What several machines save.

use kimg_build::Settings;
use kimg_build::shared_cache::Programs;
use kimg_core::Platform;
use kimg_registry::Reference;
use kimg_testkit::{DockerRegistry, PeerSetup, RegistryPeer};

use crate::machine::{Machine, flags, reference, shared};

/// A exports, and B, whose cache is empty, compresses nothing and gets the same images.
fn the_second_compresses_nothing(cache: &Reference) {
    let (a, b) = (Machine::sample(), Machine::sample());
    let (first, exported) = a.export(cache);
    let layers = first.heard.compressed();
    assert!(layers > 2, "{layers}");
    assert_eq!((exported.entries, exported.added, exported.sent), (layers, layers, layers));
    assert!(exported.sent_bytes > 0);

    let second = b.build_from(&[cache]);
    assert_eq!(second.indexes, first.indexes);
    assert_eq!((second.heard.compressed(), second.heard.taken_over()), (0, layers));
    let tally = &second.tally;
    assert_eq!((tally.asked, tally.found, tally.used), (layers, layers, layers));
    assert_eq!((tally.fetched_bytes, &tally.refused[..]), (exported.sent_bytes, &[][..]));
    assert!(second.heard.warnings().is_empty(), "{:?}", second.heard.warnings());

    // What B took over is in its own cache now.
    let again = b.build_from(&[cache]);
    assert_eq!((again.tally.asked, again.heard.compressed()), (0, 0));
    assert_eq!(again.indexes, first.indexes);
}

#[test]
fn a_second_machine_compresses_nothing() {
    let peer = RegistryPeer::new(PeerSetup::default());
    the_second_compresses_nothing(&reference(&peer.name()));
    assert!(peer.broken().is_empty(), "{:?}", peer.broken());
}

#[test]
fn debians_registry_takes_a_cache_and_a_second_machine_compresses_nothing() {
    let Some(registry) = DockerRegistry::plain() else { return };
    the_second_compresses_nothing(&reference(&registry.name()));
}

#[test]
fn real_packages_for_two_platforms_are_shared_through_debians_registry() {
    let (Some(real), Some(registry)) = (kimg_testkit::real(), DockerRegistry::plain()) else { return };
    let flags = kimg_build::Overrides {
        variants: vec!["plain".into()],
        platforms: vec![Platform::Amd64, Platform::ArmV7],
        repositories: vec![real.repo().display().to_string()],
        keys: vec![real.keys()],
        pack: Some("never".into()),
        compression: Some("zstd:3".into()),
        ..kimg_build::Overrides::default()
    };
    let (a, b) = (Machine::new(&Settings::default(), &flags), Machine::new(&Settings::default(), &flags));
    let cache = reference(&registry.name());
    let (first, exported) = a.export(&cache);
    assert!(exported.sent_bytes > 30_000_000, "{exported:?}");
    let second = b.build_from(&[&cache]);
    assert_eq!((second.indexes, second.heard.compressed()), (first.indexes, 0));
    assert_eq!(second.tally.used, exported.entries);
}

#[test]
fn a_miss_costs_one_manifest_and_one_index_and_a_full_cache_of_ones_own_nothing() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let cache = reference(&peer.name());
    Machine::sample().export(&cache);

    peer.forget();
    let other = Machine::new(&Settings::default(), &flags(Platform::Arm64));
    let missed = other.build_from(&[&cache]);
    assert_eq!((missed.tally.found, missed.tally.used, missed.tally.fetched_bytes), (0, 0, 0));
    assert!(missed.tally.asked > 2 && missed.heard.compressed() == missed.tally.asked);
    let asked: Vec<_> = peer.requests().iter().map(|it| format!("{} {}", it.method, it.path)).collect();
    let count = |part: &str| asked.iter().filter(|it| it.starts_with("GET") && it.contains(part)).count();
    assert_eq!((count("/manifests/"), count("/blobs/")), (1, 1), "{asked:?}");

    peer.forget();
    assert_eq!(other.build_from(&[&cache]).heard.compressed(), 0);
    assert!(peer.requests().is_empty(), "{:?}", peer.requests());
}

#[test]
fn caches_are_asked_in_their_order_and_each_only_for_what_the_others_had_not() {
    let (first, second) = (RegistryPeer::new(PeerSetup::default()), RegistryPeer::new(PeerSetup::default()));
    let (of_arm, of_both) = (reference(&first.name()), reference(&second.name()));
    Machine::sample().export(&of_arm);
    let mut both = flags(Platform::ArmV7);
    both.platforms.push(Platform::Arm64);
    let (alone, exported) = Machine::new(&Settings::default(), &both).export(&of_both);
    let half = exported.entries / 2;

    let built = Machine::new(&Settings::default(), &both).build_from(&[&of_arm, &of_both]);
    assert_eq!((built.indexes, built.heard.compressed()), (alone.indexes, 0));
    assert_eq!((built.tally.found, built.tally.used), (2 * half, 2 * half));
    let blobs = |peer: &RegistryPeer| {
        let asked = peer.requests();
        asked.iter().filter(|it| it.method == "GET" && it.path.contains("/blobs/")).count()
    };
    // The index, and half of the layers each; the export of each read its index once again.
    assert!(blobs(&first) > half && blobs(&second) > half && blobs(&second) < 2 * half);
}

#[test]
fn caches_that_are_not_there_or_can_not_be_reached_are_warnings() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let good = reference(&peer.name());
    let (alone, _) = Machine::sample().export(&good);
    let nothing: Reference = format!("{}/acme/nothing:cache", peer.name()).parse().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = reference(&closed.to_string());

    let built = Machine::sample().build_from(&[&nothing, &unreachable, &good]);
    assert_eq!((&built.indexes, built.heard.compressed()), (&alone.indexes, 0));
    let caches: Vec<_> = built.tally.unusable.iter().map(|it| it.cache.clone()).collect();
    assert_eq!(caches, [nothing.to_string(), unreachable.to_string()]);
    let warnings = built.heard.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("there is none"), "{warnings:?}");

    let without = Machine::sample().build_from(&[&nothing, &unreachable]);
    assert_eq!(without.indexes, alone.indexes);
    assert_eq!((without.tally.asked, without.tally.used), (without.heard.compressed(), 0));
}

#[test]
fn a_registry_that_goes_away_in_the_middle_is_said_once() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let cache = reference(&peer.name());
    let (alone, _) = Machine::sample().export(&cache);
    peer.forget();
    let machine = Machine::sample();
    let shared = shared(&[&cache], Programs::OfTheLock);
    // The manifest and the index come, and then nothing any more.
    let before = {
        let probe = Machine::new(&Settings::default(), &flags(Platform::Arm64));
        probe.build_from(&[&cache]);
        peer.requests().len()
    };
    peer.from(before + 1, kimg_testkit::Misbehaviour::Reset);
    let built = machine.build(&shared);
    assert_eq!(built.indexes, alone.indexes);
    assert_eq!((built.tally.used, built.tally.refused.len()), (0, 0));
    assert_eq!(built.tally.unusable.len(), 1, "{:?}", built.heard.warnings());
    assert_eq!(built.heard.compressed(), built.tally.asked);
}
