//! Statements about an image of real packages, whose programs lost their symbols or were packed.

use std::collections::BTreeMap;

use kimg_build::statements::ProvenanceWishes;
use kimg_build::{
    Build, LockUse, Overrides, Project, SbomFormat, Settings, Silent, StatementKind, StatementWishes,
};
use kimg_core::{Digest, Platform};
use kimg_source::{Cache, Fetcher};
use kimg_testkit::{real, tempdir, tool};
use serde_json::Value;

#[test]
fn what_was_packed_is_told_with_its_own_digest_and_that_of_the_package() {
    let Some(real) = real() else { return };
    let Some(upx) = tool("upx") else { return };
    let folder = tempdir().unwrap();
    let flags = Overrides {
        variants: vec!["cni".into()],
        platforms: vec![Platform::Amd64],
        repositories: vec![real.repo().display().to_string()],
        keys: vec![real.keys()],
        outputs: vec![format!("type=oci,dest={}", folder.path().join("out").display())],
        ..Overrides::default()
    };
    let mut project = Project::new(&Settings::default(), folder.path(), &flags).unwrap();
    project.statements =
        StatementWishes { sbom: Some(SbomFormat::Spdx), provenance: Some(ProvenanceWishes::default()) };
    let build = Build {
        project: &project,
        cache: Cache::open(&folder.path().join("cache")).unwrap(),
        fetcher: Fetcher::offline(),
        lock: LockUse::None,
        epoch: None,
        search_path: upx.parent().unwrap().into(),
        events: &Silent,
    };
    let sets = build.file_sets().unwrap();
    let shipped: BTreeMap<String, Digest> = sets.images[0]
        .files
        .keys()
        .filter_map(|path| Some((format!(".{path}"), sets.images[0].tree.get(path)?.content()?.digest())))
        .collect();
    let outcome = build.run().unwrap();
    let bill = outcome.statements.iter().find(|it| it.kind == StatementKind::Spdx).unwrap();
    let spdx: Value = serde_json::from_str(&bill.text).unwrap();
    let mut smaller = Vec::new();
    for file in spdx["files"].as_array().unwrap() {
        let name = file["fileName"].as_str().unwrap();
        let own = file["checksums"][1]["checksumValue"].as_str().unwrap();
        match (file["comment"].as_str(), shipped.get(name)) {
            (Some(comment), Some(before)) => {
                assert!(comment.ends_with(&before.hex()) && own != before.hex(), "{name}: {comment}");
                smaller.push(name);
            }
            (None, Some(before)) => assert_eq!(own, before.hex(), "{name}"),
            (comment, None) => assert_eq!(comment, None, "{name} was written by kimg"),
        }
    }
    assert!(smaller.contains(&"./usr/bin/kubelet"), "{smaller:?}");
    let packed = &outcome.report.images[0].packed;
    assert_eq!(smaller.len(), packed.iter().filter(|program| program.packed.is_some()).count());

    let packages =
        spdx["packages"].as_array().unwrap().iter().filter(|it| it["name"] != spdx["packages"][0]["name"]);
    assert!(packages.clone().count() > 5);
    assert!(packages.clone().all(|it| it["licenseDeclared"] != "NOASSERTION"), "{}", bill.text);
    let provenance = outcome.statements.iter().find(|it| it.kind == StatementKind::Provenance).unwrap();
    assert!(provenance.text.contains("pkg:generic/upx@"), "{}", provenance.text);
    assert!(!provenance.text.contains(&real.repo().display().to_string()));
}
