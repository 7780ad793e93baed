//! What a lock keeps, reads and merges.

use super::*;

pub(crate) fn package(name: &str, version: &str, bytes: &str) -> LockedPackage {
    LockedPackage {
        name: name.into(),
        version: version.into(),
        platform: Platform::ArmV7,
        identity: format!("Q1{bytes}"),
        size: 7,
        sha256: Digest::of(bytes),
    }
}

pub(crate) fn lock(packages: &[LockedPackage]) -> Lock {
    let image = LockedImage {
        variant: "cni".into(),
        platform: Platform::ArmV7,
        packages: packages.iter().map(LockedPackage::id).collect(),
    };
    Lock { images: vec![image], packages: packages.to_vec(), ..Lock::new() }
}

#[test]
fn a_lock_is_read_as_it_is_written_and_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kimg.lock");
    assert_eq!(Lock::read(&path).unwrap(), None);
    let lock = lock(&[package("musl", "1.2.2-r9", "a")]);
    assert!(lock.write(&path).unwrap());
    assert!(!lock.write(&path).unwrap());
    assert_eq!(Lock::read(&path).unwrap(), Some(lock));
}

#[test]
fn merging_keeps_other_images_and_drops_what_nobody_names() {
    let mut all = lock(&[package("a", "1", "a")]);
    let mut plain = lock(&[package("a", "1", "a"), package("z", "1", "z")]);
    plain.images[0].variant = "plain".into();
    all.merge(&plain);
    assert_eq!((all.images.len(), all.packages.len()), (2, 2));
    all.merge(&lock(&[package("a", "2", "a2")]));
    let ids: BTreeSet<_> = all.packages.iter().map(LockedPackage::id).collect();
    assert_eq!(ids, ["a-1", "a-2", "z-1"].map(str::to_owned).into());
}

#[test]
fn newer_indexes_alone_do_not_change_the_file_and_none_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kimg.lock");
    let seen = |newest| LockedIndex {
        repository: "https://a".into(),
        platform: Platform::ArmV7,
        newest,
        description: String::new(),
    };
    let mut all = lock(&[package("a", "1", "a")]);
    all.indexes.push(seen(7));
    assert!(all.write(&path).unwrap());
    let mut newer = all.clone();
    newer.indexes = vec![seen(9)];
    all.merge(&newer);
    assert_eq!(all.indexes, [seen(9)]);
    assert!(!all.write(&path).unwrap());
    newer.indexes = vec![seen(8)];
    all.merge(&newer);
    assert_eq!(all.indexes, [seen(9)], "the newest that was ever seen counts");
}

#[test]
fn a_lock_of_version_1_is_read_and_written_in_today_s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kimg.lock");
    let text = lock(&[package("a", "1", "a")]).to_text();
    fs::write(&path, text.replace("version = 3", "version = 1")).unwrap();
    let lock = Lock::read(&path).unwrap().unwrap();
    assert_eq!(lock.packages[0].id(), "a-1");
    assert!(lock.write(&path).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn the_packer_of_an_older_lock_is_known_by_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kimg.lock");
    fs::write(&path, "version = 2\npacker = 'upx 4.2.2 --best --lzma'\n").unwrap();
    assert_eq!(Lock::read(&path).unwrap().unwrap().packer.as_deref(), Some("upx 4.2.2"));
}

#[test]
fn a_decision_stays_until_another_is_made_about_the_same() {
    let packing = |program: &str, packing: &str| LockedPacking {
        aims: "pull gzip shared".into(),
        platform: Platform::ArmV7,
        program: program.into(),
        sha256: Digest::of(program),
        packing: packing.into(),
        result: None,
    };
    let mut all = lock(&[package("a", "1", "a")]);
    all.packings = vec![packing("/a", "plain"), packing("/b", "plain")];
    all.merge(&lock(&[package("a", "1", "a")]));
    assert_eq!(all.packings.len(), 2);
    all.decide(&Lock { packings: vec![packing("/b", "strip")], ..Lock::new() });
    assert_eq!(all.packings, [packing("/a", "plain"), packing("/b", "strip")]);
}

#[test]
fn the_versions_of_an_image_s_own_come_before_those_of_others() {
    let mut all = lock(&[package("a", "1", "a"), package("b", "1", "b")]);
    let mut plain = lock(&[package("a", "2", "a2")]);
    plain.images[0].variant = "plain".into();
    all.merge(&plain);
    let versions = |variant| all.versions(variant, Platform::ArmV7).into_iter().collect::<Vec<_>>();
    assert_eq!(versions("cni"), [("a", "1"), ("b", "1")]);
    assert_eq!(versions("plain"), [("a", "2"), ("b", "1")]);
}

#[test]
fn a_lock_that_forgets_a_pin_is_malformed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kimg.lock");
    fs::write(&path, "version = 1\n[[image]]\nvariant = 'cni'\nplatform = 'armv7'\npackages = ['a-1']\n")
        .unwrap();
    assert!(matches!(Lock::read(&path), Err(LockError::Malformed { .. })));
    fs::write(&path, "version = 9\n").unwrap();
    assert!(matches!(Lock::read(&path), Err(LockError::Version { found: 9, .. })));
}

#[test]
fn only_a_lock_with_compiled_programs_has_the_newer_version_and_each_change_of_them_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kimg.lock");
    let program = |toolchain: Option<&str>, result: &str| LockedProgram {
        name: "kubelet".into(),
        platform: Platform::ArmV7,
        sha256: Digest::of("source"),
        source: None,
        toolchain: toolchain.map(str::to_owned),
        result: toolchain.map(|_| Digest::of(result)),
    };
    let with = |program: LockedProgram| Lock { programs: vec![program], ..lock(&[package("a", "1", "a")]) };
    let plain = with(program(None, ""));
    assert!(plain.to_text().contains("version = 3\n"));
    let old = with(program(Some("go1.19.8, zig 0.17.1"), "one"));
    assert!(old.write(&path).unwrap() && !old.write(&path).unwrap());
    let read = Lock::read(&path).unwrap().unwrap();
    assert_eq!((read.version, &read.programs), (4, &old.programs));

    let told = |new: &Lock| old.compare(new).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(told(&old).is_empty());
    let toolchain = told(&with(program(Some("go1.23.5, zig 0.17.1"), "two")));
    let said = "linux/arm/v7: kubelet was compiled with go1.19.8, zig 0.17.1, found go1.23.5, zig 0.17.1";
    assert_eq!(toolchain, [said]);
    let bytes = told(&with(program(Some("go1.19.8, zig 0.17.1"), "two")));
    assert_eq!(bytes, ["linux/arm/v7: kubelet was compiled into other bytes"]);
}
