//! Bills of a small image, and of one with everything that is awkward in names and licences.

use super::*;

fn file(path: &str, text: &str) -> SbomFile {
    SbomFile {
        path: ImagePath::new(path).unwrap(),
        sha1: <sha1::Sha1 as sha1::Digest>::digest(text).into(),
        sha256: Digest::of(text),
        size: text.len() as u64,
        original: None,
    }
}

fn package(name: &str, files: Vec<SbomFile>) -> SbomPackage {
    SbomPackage {
        name: name.to_owned(),
        version: Some("1.2.3_git20250101-r0".into()),
        source: SbomSource::Apk {
            vendor: "alpine".into(),
            distribution: Some("alpine-3.22".into()),
            arch: "x86_64".into(),
            origin: Some("musl".into()),
            commit: None,
        },
        licence: "MIT".into(),
        description: "the C library".into(),
        homepage: "https://musl.libc.org/".into(),
        download: None,
        digest: Some(Digest::of(name)),
        depends_on: Vec::new(),
        files,
    }
}

fn sbom() -> Sbom {
    let kubelet = SbomFile { original: Some(Digest::of("before")), ..file("/usr/bin/kubelet", "kubelet") };
    Sbom {
        name: "kubelet".into(),
        version: "v1.34.2".into(),
        platform: Platform::Amd64,
        digest: Digest::of("manifest"),
        tool: "kimg".into(),
        tool_version: "0.1.0".into(),
        created: 1_700_000_000,
        packages: vec![
            SbomPackage {
                source: SbomSource::Program,
                version: None,
                licence: String::new(),
                description: String::new(),
                homepage: String::new(),
                depends_on: vec!["musl".into()],
                ..package("kubelet", vec![kubelet])
            },
            SbomPackage {
                licence: "MIT BSD GPL2+".into(),
                depends_on: vec!["musl".into(), "not-in-the-image".into()],
                download: Some("https://example.org/libstdc++-1.apk".into()),
                ..package("libstdc++", vec![])
            },
            package("musl", vec![file("/lib/ld-musl-x86_64.so.1", "musl")]),
        ],
        files: vec![file("/etc/apk/world", "musl\n")],
    }
}

#[test]
fn a_small_image_as_spdx_reads_like_this() {
    insta::assert_snapshot!(sbom().to_spdx());
}

#[test]
fn a_small_image_as_cyclonedx_reads_like_this() {
    insta::assert_snapshot!(sbom().to_cyclonedx());
}

#[test]
fn another_image_or_tool_is_another_document_and_the_same_is_the_same() {
    let names = |sbom: &Sbom| {
        let spdx: serde_json::Value = serde_json::from_str(&sbom.to_spdx()).unwrap();
        let cyclonedx: serde_json::Value = serde_json::from_str(&sbom.to_cyclonedx()).unwrap();
        (spdx["documentNamespace"].clone(), cyclonedx["serialNumber"].clone())
    };
    let one = names(&sbom());
    assert_eq!(one, names(&sbom()));
    for other in [Sbom { digest: Digest::of("x"), ..sbom() }, Sbom { tool_version: "0.2.0".into(), ..sbom() }]
    {
        let other = names(&other);
        assert!(other.0 != one.0 && other.1 != one.1, "{other:?}");
    }
}

#[test]
fn names_with_signs_in_them_stay_apart() {
    let mut sbom = sbom();
    sbom.packages = vec![package("a+b", vec![]), package("a_b", vec![]), package("a-b", vec![])];
    let spdx: serde_json::Value = serde_json::from_str(&sbom.to_spdx()).unwrap();
    let mut ids: Vec<_> =
        spdx["packages"].as_array().unwrap().iter().map(|it| it["SPDXID"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert!(
        sbom.to_spdx().contains(
            "pkg:apk/alpine/a%2Bb@1.2.3_git20250101-r0?arch=x86_64&distro=alpine-3.22&upstream=musl"
        )
    );
}

#[test]
fn a_file_that_was_packed_has_its_own_digest_and_that_of_its_package_beside_it() {
    let before = Digest::of("before").hex();
    let now = Digest::of("kubelet").hex();
    for text in [sbom().to_spdx(), sbom().to_cyclonedx()] {
        assert_eq!((text.matches(&before).count(), text.matches(&now).count() >= 1), (1, true));
    }
}
