//! Statements about images of the sample.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kimg_core::Digest;
use kimg_source::{Cache, Fetcher};
use serde_json::Value;

use super::*;
use crate::{LockUse, Outcome, Overrides, Project, Settings, Silent};

fn outcome(folder: &Path, wishes: StatementWishes, settings: &str) -> Outcome {
    let flags = Overrides {
        variants: vec!["plain".into(), "cni".into()],
        platforms: vec!["amd64".parse().unwrap(), "armv7".parse().unwrap()],
        sample: true,
        pack: Some("never".into()),
        outputs: vec![format!("type=oci,dest={}", folder.join("out").display())],
        ..Overrides::default()
    };
    let settings = Settings::parse("kimg.toml", settings).unwrap();
    let mut project = Project::new(&settings, folder, &flags).unwrap();
    project.statements = wishes;
    let build = Build {
        project: &project,
        cache: Cache::open(&folder.join("cache")).unwrap(),
        fetcher: Fetcher::offline(),
        lock: LockUse::None,
        epoch: None,
        search_path: "/nowhere".into(),
        events: &Silent,
    };
    build.run().unwrap()
}

fn everything(format: SbomFormat) -> StatementWishes {
    StatementWishes { sbom: Some(format), provenance: Some(ProvenanceWishes::default()) }
}

fn json(statement: &Statement) -> Value {
    serde_json::from_str(&statement.text).unwrap()
}

/// The regular files of an image as its layers have them: path and SHA-256.
fn files_of(folder: &Path, outcome: &Outcome, statement: &Statement) -> BTreeMap<String, Digest> {
    let all = outcome.tagged.iter().flat_map(|tagged| &tagged.image.images);
    let image = all.clone().find(|image| image.descriptor.digest == statement.subject).unwrap();
    let layout = kimg_image::Layout::open(folder.join("out")).unwrap();
    let mut files = BTreeMap::new();
    for layer in &image.layers {
        let bytes = fs_err::read(layout.dir().join("blobs/sha256").join(layer.digest.hex())).unwrap();
        let tar = kimg_layer::decode(&bytes[..], &layer.media_type).unwrap();
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type() == tar::EntryType::Regular {
                let path = entry.path().unwrap().display().to_string();
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                files.insert(format!("./{}", path.trim_start_matches('/')), Digest::of(bytes));
            }
        }
    }
    files
}

#[test]
fn a_bill_lists_exactly_the_files_that_are_in_the_layers() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = outcome(folder.path(), everything(SbomFormat::Spdx), "");
    let bills: Vec<_> = outcome.statements.iter().filter(|it| it.kind == StatementKind::Spdx).collect();
    assert_eq!(bills.len(), 4);
    for bill in bills {
        let spdx = json(bill);
        let listed: BTreeMap<String, Digest> = spdx["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| {
                let sha256 = file["checksums"][1]["checksumValue"].as_str().unwrap();
                (file["fileName"].as_str().unwrap().to_owned(), Digest::from_hex(sha256).unwrap())
            })
            .collect();
        assert_eq!(listed, files_of(folder.path(), &outcome, bill));
        assert!(listed.len() > 5, "{listed:?}");
    }
}

#[test]
fn a_bill_lists_the_packages_that_the_images_own_database_lists() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = outcome(folder.path(), everything(SbomFormat::CycloneDx), "");
    let layout = kimg_image::Layout::open(folder.path().join("out")).unwrap();
    for bill in outcome.statements.iter().filter(|it| it.kind == StatementKind::CycloneDx) {
        let cyclonedx = json(bill);
        let components = cyclonedx["components"].as_array().unwrap();
        let named: BTreeSet<String> = components
            .iter()
            .filter(|it| it["type"] == "library")
            .map(|it| format!("{}-{}", it["name"].as_str().unwrap(), it["version"].as_str().unwrap()))
            .collect();
        let images = outcome.tagged.iter().flat_map(|tagged| &tagged.image.images);
        let image = images.clone().find(|image| image.descriptor.digest == bill.subject).unwrap();
        let top = image.layers.last().unwrap();
        let bytes = fs_err::read(layout.dir().join("blobs/sha256").join(top.digest.hex())).unwrap();
        let mut archive = tar::Archive::new(kimg_layer::decode(&bytes[..], &top.media_type).unwrap());
        let mut database = String::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().ends_with("lib/apk/db/installed") {
                std::io::Read::read_to_string(&mut entry, &mut database).unwrap();
            }
        }
        let field = |record: &str, key: &str| {
            record.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned()
        };
        let installed: BTreeSet<String> = database
            .split("\n\n")
            .filter(|record| record.contains("P:"))
            .map(|record| format!("{}-{}", field(record, "P:"), field(record, "V:")))
            .collect();
        assert!(!installed.is_empty());
        assert_eq!(named, installed);
        assert!(bill.text.contains("pkg:apk/kimg-sample/"), "a sample is no Alpine");
    }
}

#[test]
fn a_provenance_names_every_image_and_every_input() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("tool");
    fs_err::write(&own, "#!/bin/sh\n").unwrap();
    let settings = "[[program]]\nname = 'tool'\npath = 'tool'\ninstall = '/usr/bin/tool'\nversion = '1.2.3'";
    let outcome = outcome(folder.path(), everything(SbomFormat::Spdx), settings);
    let provenances: Vec<_> =
        outcome.statements.iter().filter(|it| it.kind == StatementKind::Provenance).collect();
    assert_eq!(provenances.len(), 2, "one for each index");
    assert_eq!(provenances[0].text, provenances[1].text);
    let provenance = json(provenances[0]);
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v1");
    let subjects: BTreeSet<String> = provenance["subject"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["digest"]["sha256"].as_str().unwrap().to_owned())
        .collect();
    let made: BTreeSet<String> = outcome
        .tagged
        .iter()
        .flat_map(|it| it.image.images.iter().map(|i| &i.descriptor).chain([&it.image.descriptor]))
        .map(|descriptor| descriptor.digest.hex())
        .collect();
    assert_eq!(subjects, made);

    let definition = &provenance["predicate"]["buildDefinition"];
    let inputs = definition["resolvedDependencies"].as_array().unwrap();
    let named = |name: &str| inputs.iter().filter(|it| it["name"] == name).collect::<Vec<_>>();
    assert!(named("APKINDEX.tar.gz").iter().all(|it| it["digest"]["sha256"].is_string()));
    assert!(!named("APKINDEX.tar.gz").is_empty());
    assert_eq!(named("tool")[0]["digest"]["sha256"], Digest::of("#!/bin/sh\n").hex());
    let chosen: BTreeSet<&str> = definition["internalParameters"]["images"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|it| it["packages"].as_array().unwrap())
        .map(|id| id.as_str().unwrap())
        .collect();
    assert!(chosen.len() > 5);
    for id in chosen {
        assert!(named(&format!("{id}.apk")).iter().all(|it| it["digest"]["sha256"].is_string()), "{id}");
        assert!(!named(&format!("{id}.apk")).is_empty(), "{id}");
    }
    let text = &provenances[0].text;
    assert!(!text.contains(folder.path().to_str().unwrap()), "folders of this machine are nobody's business");
    assert!(!text.contains("metadata"), "no time was given");

    let bill = outcome.statements.iter().find(|it| it.kind == StatementKind::Spdx).unwrap();
    assert!(bill.text.contains("pkg:generic/tool@v1.2.3?checksum=sha256:"), "{}", bill.text);
}

#[test]
fn the_same_build_says_the_same_and_one_that_nobody_asks_says_nothing() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = outcome(one.path(), everything(SbomFormat::Spdx), "");
    assert_eq!(first.statements, outcome(two.path(), everything(SbomFormat::Spdx), "").statements);
    let silent = outcome(one.path(), StatementWishes::default(), "");
    assert_eq!(silent.statements, []);
    assert_eq!(silent.tagged, first.tagged, "what is said about images changes nothing in them");
    let names: BTreeSet<String> = first.statements.iter().map(Statement::file_name).collect();
    assert_eq!(names.len(), first.statements.len());
    assert!(names.contains("kubelet-v1.34.2-cni-sample-armv7.spdx.json"), "{names:?}");
    assert!(names.contains("kubelet-v1.34.2-cni-sample.provenance.json"), "{names:?}");
}

#[test]
fn a_form_is_known_by_its_name() {
    assert_eq!("spdx".parse::<SbomFormat>().unwrap(), SbomFormat::Spdx);
    assert_eq!("cyclonedx".parse::<SbomFormat>().unwrap(), SbomFormat::CycloneDx);
    assert!("csv".parse::<SbomFormat>().is_err());
}
