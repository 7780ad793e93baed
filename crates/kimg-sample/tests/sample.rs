//! What the embedded sample holds: everything that the compiled-in variants name, and nothing that passes for real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod judges;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use kimg_core::variant::{COMMAND_PATH, Locate, resolve, written};
use kimg_core::{Digest, KubernetesVersion, Platform};
use kimg_sample::{KUBERNETES_VERSION, Sample, sample};

/// The records of a platform's index, each by letter.
fn records(sample: &Sample, platform: Platform) -> Vec<BTreeMap<char, String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    fs::write(&path, &sample.files[&format!("{}/APKINDEX.tar.gz", platform.alpine())]).unwrap();
    let index = judges::output(Command::new("tar").arg("-xzOf").arg(path).arg("APKINDEX"));
    let field = |line: &str| Some((line.chars().next()?, line.get(2..)?.to_owned()));
    index.split_terminator("\n\n").map(|record| record.lines().filter_map(field).collect()).collect()
}

fn words(record: &BTreeMap<char, String>, letter: char) -> Vec<&str> {
    record.get(&letter).map(|text| text.split(' ').collect()).unwrap_or_default()
}

/// A dependency or provided name without its version.
fn bare(word: &str) -> &str {
    word.split(['=', '<', '>', '~']).next().unwrap_or(word)
}

/// Unpacks every package of a platform into one folder.
fn unpack(sample: &Sample, platform: Platform, folder: &Path) {
    for (name, bytes) in &sample.files {
        if name.strip_prefix(platform.alpine()).is_some_and(|rest| rest != "/APKINDEX.tar.gz") {
            let path = folder.join("package.apk");
            fs::write(&path, bytes).unwrap();
            let mut tar = Command::new("tar");
            tar.args(["--warning=no-unknown-keyword", "--no-same-owner", "-xzf"])
                .arg(&path)
                .arg("-C")
                .arg(folder);
            judges::output(&mut tar);
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn the_sample_is_the_same_every_time() {
    let once = sample();
    assert_eq!(once, sample());
    let mut listing = String::new();
    for (name, bytes) in &once.files {
        writeln!(listing, "{name} {}", Digest::of(bytes)).unwrap();
    }
    // Changes with every change of the sample or of the compressor, and with nothing else: not with the machine.
    let pinned = "sha256:403fc79f18346152f564947b87bee61e22f65a06e6395eeab326be1537d0a804";
    assert_eq!(Digest::of(&listing).to_string(), pinned);
}

#[test]
fn every_package_says_that_it_is_a_sample() {
    for platform in Platform::DEFAULT {
        for record in records(&sample(), platform) {
            assert!(record[&'T'].starts_with("SAMPLE"), "{record:?}");
        }
    }
}

#[test]
fn every_dependency_is_provided_except_of_what_nobody_can_install() {
    let sample = sample();
    for platform in Platform::DEFAULT {
        let records = records(&sample, platform);
        let provided: BTreeSet<&str> = records
            .iter()
            .flat_map(|r| words(r, 'p').into_iter().map(bare).chain([r[&'P'].as_str()]))
            .collect();
        let missing: Vec<(&str, &str)> = records
            .iter()
            .flat_map(|r| words(r, 'D').into_iter().map(move |d| (r[&'P'].as_str(), bare(d))))
            .filter(|(_, dependency)| !provided.contains(dependency))
            .collect();
        assert_eq!(missing, [("kubelet-openrc", "openrc")], "{platform}");
    }
}

#[test]
fn every_root_of_every_variant_is_there_the_optional_ones_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../variants");
    let mut variants = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let variant: written::Variant = toml::from_str(&text).unwrap();
        variants.insert(variant.name.clone(), variant);
    }
    assert!(variants.len() > 1);

    let sample = sample();
    let version: KubernetesVersion = KUBERNETES_VERSION.parse().unwrap();
    for platform in Platform::DEFAULT {
        let root = tempfile::tempdir().unwrap();
        unpack(&sample, platform, root.path());
        let records = records(&sample, platform);
        let provided: BTreeSet<&str> =
            records.iter().flat_map(|r| words(r, 'p').into_iter().map(bare)).collect();
        let there = |path: &str| root.path().join(path.trim_start_matches('/')).symlink_metadata().is_ok();
        for name in variants.keys() {
            let variant = resolve(name, &variants).unwrap();
            for package in &variant.packages {
                assert!(
                    records.iter().any(|r| r[&'P'] == bare(&package.wish)),
                    "{name}: package {}",
                    package.wish
                );
            }
            for wanted in variant.roots_for(&version) {
                if let Some(package) = &wanted.package {
                    assert!(records.iter().any(|r| r[&'P'] == *package), "{name}: package {package}");
                }
                match &wanted.locate {
                    Locate::Command(command) => {
                        assert!(
                            provided.contains(format!("cmd:{command}").as_str()),
                            "{name}: cmd:{command}"
                        );
                        assert!(
                            COMMAND_PATH.iter().any(|f| there(&format!("{f}/{command}"))),
                            "{name}: {command}"
                        );
                    }
                    Locate::Path(path) => {
                        assert!(there(path.trim_end_matches("/*")), "{name}: {path}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_program_of_every_platform_starts_and_says_that_it_is_a_sample() {
    let sample = sample();
    for platform in Platform::DEFAULT {
        let root = tempfile::tempdir().unwrap();
        unpack(&sample, platform, root.path());
        let mut started = 0;
        for folder in COMMAND_PATH.into_iter().chain(["/usr/libexec/cni"]) {
            let Ok(entries) = fs::read_dir(root.path().join(&folder[1..])) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                // Links are followed by a kernel in its root; here only the programs themselves are started.
                if !path.symlink_metadata().unwrap().is_file()
                    || !fs::read(&path).unwrap().starts_with(b"\x7fELF")
                {
                    continue;
                }
                let Some(output) = judges::start(platform, root.path(), &path, &["--version"]) else {
                    return;
                };
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(said.starts_with(&format!("{name} sample v")), "{platform} {name}: {output:?}");
                assert!(
                    said.contains(&format!("({platform}): this is a sample, not ")),
                    "{platform}: {said}"
                );
                started += 1;
            }
        }
        assert!(started > 40, "{platform}: only {started} programs");
    }
}

#[test]
fn plugins_are_named_by_no_need() {
    let Some(readelf) = judges::program("readelf") else { return };
    let root = tempfile::tempdir().unwrap();
    unpack(&sample(), Platform::ArmV7, root.path());
    let dynamic =
        |path: &str| judges::output(Command::new(&readelf).args(["-W", "-d"]).arg(root.path().join(path)));
    for program in
        ["usr/sbin/xtables-nft-multi", "usr/sbin/xtables-legacy-multi", "usr/lib/libxtables.so.12.7.0"]
    {
        assert!(!dynamic(program).contains("libxt_"), "{program}");
    }
    let plugin = dynamic("usr/lib/xtables/libxt_comment.so");
    assert!(plugin.contains("[libxtables.so.12]") && !plugin.contains("SONAME"), "{plugin}");
}

#[test]
fn the_worthless_key_says_so_in_its_name_and_file() {
    let sample = sample();
    assert!(sample.keys.iter().all(|(name, _)| name.contains("worthless")));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/keys");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("PRIVATE KEY") || text.starts_with("WORTHLESS"), "{}", path.display());
    }
}
