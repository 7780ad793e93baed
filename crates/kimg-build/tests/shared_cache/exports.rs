//! What is written to a cache: beside others, within bounds, and never over anything else.

use std::sync::Barrier;
use std::time::Duration;

use kimg_build::shared_cache::{Export, Programs};
use kimg_build::{BuildError, Settings};
use kimg_core::{Classified as _, Digest, ErrorClass, Platform};
use kimg_image::media_type;
use kimg_registry::Reference;
use kimg_testkit::{DockerRegistry, Misbehaviour, PeerSetup, RegistryPeer};

use crate::machine::{Heard, Machine, TODAY, export, flags, reference, repository, shared};

/// Each platform's job builds and exports at the same moment as the others; then nothing is left to compress for any.
fn nothing_is_lost(cache: &Reference) {
    let jobs = Platform::DEFAULT;
    let barrier = Barrier::new(jobs.len());
    let exported: Vec<_> = std::thread::scope(|scope| {
        let job = |platform| {
            let barrier = &barrier;
            scope.spawn(move || {
                let machine = Machine::new(&Settings::default(), &flags(platform));
                let shared = shared(&[], Programs::OfTheLock);
                let built = machine.build(&shared);
                barrier.wait();
                // Nothing is lost as long as no last round trip takes longer than this, also on a busy machine.
                let export = Export { settle: Duration::from_secs(1), ..export(TODAY) };
                shared.export(cache, &machine.cache, &export, &built.heard).unwrap()
            })
        };
        let running: Vec<_> = jobs.into_iter().map(job).collect();
        running.into_iter().map(|job| job.join().unwrap()).collect()
    });
    assert!(exported.iter().all(|it| it.added > 2), "{exported:?}");
    for platform in jobs {
        let built = Machine::new(&Settings::default(), &flags(platform)).build_from(&[cache]);
        assert_eq!(built.heard.compressed(), 0, "{platform} lost {:?} of {exported:?}", built.tally);
    }
}

#[test]
fn of_exports_at_the_same_moment_nothing_is_lost() {
    let peer = RegistryPeer::new(PeerSetup::default());
    for round in 0..3 {
        nothing_is_lost(&repository(&peer.name()).tagged(format!("cache-{round}").parse().unwrap()));
    }
    assert!(peer.broken().is_empty(), "{:?}", peer.broken());
}

#[test]
fn of_exports_at_the_same_moment_nothing_is_lost_in_debians_registry() {
    let Some(registry) = DockerRegistry::plain() else { return };
    nothing_is_lost(&reference(&registry.name()));
}

#[test]
fn what_another_wrote_over_ours_in_the_last_moment_is_added_again() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let cache = reference(&peer.name());
    Machine::new(&Settings::default(), &flags(Platform::Arm64)).export(&cache);
    let theirs = peer.manifest("acme/kubelet", "cache").unwrap();
    let machine = Machine::sample();
    let shared = shared(&[], Programs::OfTheLock);
    let built = machine.build(&shared);
    let settle = Duration::from_secs(1);
    let exported = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let export = Export { settle, ..export(TODAY) };
            shared.export(&cache, &machine.cache, &export, &Heard::default()).unwrap()
        });
        // As soon as ours is there, somebody who had read before it was writes.
        while peer.manifest("acme/kubelet", "cache").as_ref() == Some(&theirs) {
            std::thread::sleep(Duration::from_millis(5));
        }
        peer.put_manifest("acme/kubelet", "cache", media_type::MANIFEST, &theirs);
        writing.join().unwrap()
    });
    assert_eq!(exported.added, built.heard.compressed());
    assert_eq!(Machine::sample().build_from(&[&cache]).heard.compressed(), 0);
    let other = Machine::new(&Settings::default(), &flags(Platform::Arm64));
    assert_eq!(other.build_from(&[&cache]).heard.compressed(), 0);
}

#[test]
fn what_is_there_already_is_not_sent_again_and_changes_nothing() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let cache = reference(&peer.name());
    let machine = Machine::sample();
    let (_, first) = machine.export(&cache);
    let before = peer.manifest("acme/kubelet", "cache").unwrap();
    // From its own cache this time.
    let (built, again) = machine.export(&cache);
    assert_eq!(built.heard.compressed(), 0);
    assert_eq!((again.entries, again.added, again.sent, again.there), (first.entries, 0, 0, first.entries));
    assert_eq!(peer.manifest("acme/kubelet", "cache").unwrap(), before);
    // Another machine, elsewhere, the same bytes.
    let elsewhere = RegistryPeer::new(PeerSetup::default());
    Machine::sample().export(&reference(&elsewhere.name()));
    assert_eq!(elsewhere.manifest("acme/kubelet", "cache").unwrap(), before);
}

#[test]
fn blobs_of_the_release_are_taken_over_from_its_repository() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let release = repository(&peer.name());
    let cache: Reference = format!("{}/acme/cache:v1", peer.name()).parse().unwrap();
    let machine = Machine::sample();
    let shared = shared(&[], Programs::OfTheLock);
    let built = machine.build(&shared);
    let layout = kimg_image::Layout::open(machine.file("out")).unwrap();
    let pushing = kimg_registry::Release::of_layout(&layout, &release).unwrap();
    let client = crate::machine::client();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = kimg_registry::PushOptions::default();
    runtime.block_on(client.push(&pushing, &options, std::sync::Arc::new(()))).unwrap();

    peer.forget();
    let export = Export { mount_from: vec![release], ..export(TODAY) };
    let exported = shared.export(&cache, &machine.cache, &export, &built.heard).unwrap();
    assert_eq!((exported.mounted, exported.sent), (exported.entries, 0));
    // The index and the empty config are all that is sent.
    assert!(peer.received() < 10_000, "{}", peer.received());
    assert_eq!(Machine::sample().build_from(&[&cache]).heard.compressed(), 0);
}

#[test]
fn what_was_not_used_for_longest_goes_when_there_is_too_much() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let cache = reference(&peer.name());
    let machine = |platform| Machine::new(&Settings::default(), &flags(platform));
    let on = |day: u32, platform, from: &[&Reference], max_entries| {
        let (machine, shared) = (machine(platform), shared(from, Programs::OfTheLock));
        let built = machine.build(&shared);
        let export = Export { max_entries, ..export(day) };
        shared.export(&cache, &machine.cache, &export, &built.heard).unwrap()
    };
    let each = on(TODAY, Platform::Amd64, &[], 100).entries;
    on(TODAY + 1, Platform::Arm64, &[], 100);
    // amd64 is used again, by way of the cache: it is young again.
    on(TODAY + 2, Platform::Amd64, &[&cache], 100);
    let last = on(TODAY + 3, Platform::ArmV7, &[], 2 * each);
    assert_eq!((last.entries, last.dropped), (2 * each, each));
    let used = |platform| machine(platform).build_from(&[&cache]).tally.used;
    assert_eq!(
        [Platform::Amd64, Platform::Arm64, Platform::ArmV7].map(used),
        [each, 0, each],
        "the one that was not used for longest is gone"
    );

    let small = Export { max_bytes: 1000, ..export(TODAY + 4) };
    let (machine, shared) = (machine(Platform::ArmV7), shared(&[], Programs::OfTheLock));
    let built = machine.build(&shared);
    let exported = shared.export(&cache, &machine.cache, &small, &built.heard).unwrap();
    assert!(exported.entries < each, "{exported:?}");
}

#[test]
fn a_tag_that_names_an_image_is_never_written_over() {
    let peer = RegistryPeer::new(PeerSetup::default());
    let cache = reference(&peer.name());
    let image = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
    peer.put_manifest("acme/kubelet", "cache", media_type::MANIFEST, image);
    let machine = Machine::sample();
    let shared = shared(&[&cache], Programs::OfTheLock);
    let built = machine.build(&shared);
    assert!(built.tally.unusable[0].why.contains("it is an image"), "{:?}", built.tally);
    let error = shared.export(&cache, &machine.cache, &export(TODAY), &built.heard).unwrap_err();
    assert!(matches!(error, BuildError::Registry(_)) && error.class() == ErrorClass::Usage, "{error}");
    assert_eq!(peer.manifest("acme/kubelet", "cache").unwrap(), image);

    // Who only wants to be warned is warned.
    let heard = Heard::default();
    assert_eq!(shared.try_export(&cache, &machine.cache, &export(TODAY), &heard), None);
    let warnings = heard.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("was not written"), "{warnings:?}");
    peer.from(1, Misbehaviour::Reset);
    assert_eq!(shared.try_export(&cache, &machine.cache, &export(TODAY), &heard), None);
    assert_eq!(heard.warnings().len(), 2);
}

#[test]
fn entries_whose_blobs_are_gone_from_debians_registry_are_dropped_by_the_next_export() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let cache = reference(&registry.name());
    let (_, exported) = Machine::sample().export(&cache);
    let layers = layers_of(&cache);
    let (gone, _) = layers[0];
    fs_err::remove_dir_all(registry.blob(gone).parent().unwrap()).unwrap();

    let other = Machine::new(&Settings::default(), &flags(Platform::Arm64));
    let (_, next) = other.export(&cache);
    assert_eq!((next.entries, next.dropped), (2 * exported.entries - 1, 1));
    let again = Machine::sample().build_from(&[&cache]);
    assert_eq!((again.heard.compressed(), again.tally.used), (1, exported.entries - 1));
    // Whoever has it brings it back.
    Machine::sample().export(&cache);
    assert_eq!(Machine::sample().build_from(&[&cache]).heard.compressed(), 0);
}

/// The layers that a cache holds.
fn layers_of(cache: &Reference) -> Vec<(Digest, u64)> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let artifact = runtime.block_on(crate::machine::client().artifact(cache)).unwrap().unwrap();
    artifact.blobs[1..].iter().map(|blob| (blob.digest, blob.size)).collect()
}
