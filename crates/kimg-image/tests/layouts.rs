//! Layouts and archives: what is in them, what stays, what goes, and what is left of a failure.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod sample;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use kimg_core::{Classified, Digest, ErrorClass, Platform};
use kimg_image::{
    Descriptor, ImageError, Layout, Tagged, join, media_type, write_docker_archive, write_layout,
    write_oci_archive,
};
use kimg_layer::{BlobStore, Codec, LayerError};
use sample::{image, multi, spec, store, tagged};

/// Every file below a folder with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, fs_err::read(&path).unwrap());
            }
        }
    }
    found
}

fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    entries.filter(|(name, _)| !name.ends_with('/')).collect()
}

#[test]
fn a_layout_in_another_folder_has_the_same_bytes() {
    let (dir, blobs) = store();
    let images = [tagged(&blobs, "one", &["v1", "latest"]), tagged(&blobs, "two", &["v1-cni"])];
    let report = write_layout(&dir.path().join("a"), &images, &blobs).unwrap();
    write_layout(&dir.path().join("deep/er/b"), &[images[1].clone(), images[0].clone()], &blobs).unwrap();
    let found = files(&dir.path().join("a"));
    assert_eq!(found, files(&dir.path().join("deep/er/b")));
    // Shared layer, 2 × 3 own layers, 2 × 3 configs and manifests, 2 indexes; and the two files above.
    assert_eq!((report.added, report.reused, report.removed), (1 + 6 + 12 + 2, 0, 0));
    assert_eq!(found.len(), report.added + 2);
    assert_eq!(found["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    for (name, bytes) in found.iter().filter(|(name, _)| name.starts_with("blobs")) {
        assert_eq!(*name, format!("blobs/sha256/{}", Digest::of(bytes).hex()));
    }
}

#[test]
fn the_umask_changes_no_byte() {
    const OUT: &str = "KIMG_TEST_UMASK_OUT";
    let (dir, blobs) = store();
    let images = [tagged(&blobs, "one", &["v1"])];
    if let Some(out) = std::env::var_os(OUT) {
        write_layout(Path::new(&out), &images, &blobs).unwrap();
        return;
    }
    // This test once more, in a process of its own with another umask.
    let strict = dir.path().join("strict");
    let status = std::process::Command::new("sh")
        .args(["-c", r#"umask 077; exec "$0" --exact the_umask_changes_no_byte"#])
        .arg(std::env::current_exe().unwrap())
        .env(OUT, &strict)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let usual = dir.path().join("usual");
    write_layout(&usual, &images, &blobs).unwrap();
    assert_eq!(files(&usual), files(&strict));
    let mode = |dir: &Path| {
        let metadata = fs_err::metadata(dir.join("index.json")).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
    };
    assert_eq!(mode(&strict), 0o600);
    assert_ne!(mode(&usual), 0o600, "this test itself runs with the strict umask");
}

#[test]
fn a_tag_is_replaced_others_stay_and_unused_blobs_go() {
    let (dir, blobs) = store();
    let out = dir.path().join("out");
    write_layout(&out, &[tagged(&blobs, "old", &["v1"]), tagged(&blobs, "kept", &["v0"])], &blobs).unwrap();
    let new = tagged(&blobs, "new", &["v1"]);
    let report = write_layout(&out, std::slice::from_ref(&new), &blobs).unwrap();
    // An index, three manifests, configs and layers each; the shared layer was there.
    assert_eq!((report.added, report.reused, report.removed), (10, 1, 10));
    assert_eq!(report.tags, [("v1".to_owned(), new.image.descriptor.digest)]);
    let fresh = dir.path().join("fresh");
    write_layout(&fresh, &[new, tagged(&blobs, "kept", &["v0"])], &blobs).unwrap();
    assert_eq!(files(&out), files(&fresh));
}

#[test]
fn what_others_put_into_a_layout_stays() {
    let (dir, blobs) = store();
    let out = dir.path().join("out");
    write_layout(&out, &[tagged(&blobs, "one", &["v1"])], &blobs).unwrap();
    // A signature without a tag: it refers to a blob of its own, and to an image that isn't there.
    let layout = BlobStore::at(&out);
    let (signature, size) = layout.put_bytes(b"signature").unwrap();
    let subject = Descriptor::of(media_type::MANIFEST, b"elsewhere");
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[],"subject":{}}}"#,
        serde_json::to_string(&Descriptor::new("a/b", signature, size)).unwrap(),
        serde_json::to_string(&subject).unwrap()
    );
    layout.put_bytes(manifest.as_bytes()).unwrap();
    let mut index: serde_json::Value =
        serde_json::from_slice(&fs_err::read(out.join("index.json")).unwrap()).unwrap();
    let mut descriptor =
        serde_json::to_value(Descriptor::of(media_type::MANIFEST, manifest.as_bytes())).unwrap();
    descriptor["artifactType"] = "application/example".into();
    index["manifests"].as_array_mut().unwrap().push(descriptor.clone());
    index["annotations"] = serde_json::json!({"of": "others"});
    fs_err::write(out.join("index.json"), index.to_string()).unwrap();

    let report = write_layout(&out, &[tagged(&blobs, "two", &["v1"])], &blobs).unwrap();
    assert_eq!((report.removed, report.not_swept), (10, None));
    assert!(layout.contains(signature, size));
    let index: serde_json::Value =
        serde_json::from_slice(&fs_err::read(out.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["annotations"], serde_json::json!({"of": "others"}));
    assert!(index["manifests"].as_array().unwrap().contains(&descriptor));
}

#[test]
fn a_manifest_that_can_not_be_read_keeps_every_blob() {
    let (dir, blobs) = store();
    let out = dir.path().join("out");
    let first = tagged(&blobs, "one", &["v0"]);
    write_layout(&out, &[first.clone(), tagged(&blobs, "old", &["v1"])], &blobs).unwrap();
    fs_err::write(BlobStore::at(&out).path(first.image.descriptor.digest), "damaged").unwrap();
    let report = write_layout(&out, &[tagged(&blobs, "new", &["v1"])], &blobs).unwrap();
    assert_eq!(report.removed, 0);
    assert!(report.not_swept.unwrap().contains("damaged"));
}

#[test]
fn a_failure_leaves_a_layout_as_it_was_and_no_new_folder() {
    let (dir, blobs) = store();
    let broken = tagged(&blobs, "broken", &["v1"]);
    let last = broken.image.images[2].layers[1].digest;
    let original = fs_err::read(blobs.path(last)).unwrap();
    for damage in [Some(vec![0; original.len()]), Some(vec![]), None] {
        match &damage {
            Some(bytes) => fs_err::write(blobs.path(last), bytes).unwrap(),
            None => fs_err::remove_file(blobs.path(last)).unwrap(),
        }
        let new = dir.path().join("new");
        let error = write_layout(&new.join("er"), std::slice::from_ref(&broken), &blobs).unwrap_err();
        match damage {
            Some(_) => assert_eq!(error.class(), ErrorClass::Verification, "{error:?}"),
            None => assert!(matches!(error, ImageError::Layer(LayerError::NoBlob { .. })), "{error:?}"),
        }
        assert!(!new.exists());

        let old = dir.path().join("old");
        write_layout(&old, &[tagged(&blobs, "good", &["v1"])], &blobs).unwrap();
        let before = files(&old);
        write_layout(&old, std::slice::from_ref(&broken), &blobs).unwrap_err();
        assert_eq!(files(&old), before);
    }
    // And whole again, it goes through.
    fs_err::write(blobs.path(last), original).unwrap();
    write_layout(&dir.path().join("new"), &[broken], &blobs).unwrap();
}

#[test]
fn a_damaged_blob_in_the_layout_is_put_right() {
    let (dir, blobs) = store();
    let (out, images) = (dir.path().join("out"), [tagged(&blobs, "one", &["v1"])]);
    write_layout(&out, &images, &blobs).unwrap();
    let before = files(&out);
    let layer = &images[0].image.images[0].layers[0];
    let size = usize::try_from(layer.size).unwrap();
    fs_err::write(BlobStore::at(&out).path(layer.digest), vec![0; size]).unwrap();
    let report = write_layout(&out, &images, &blobs).unwrap();
    assert_eq!((report.added, report.reused), (1, 10));
    assert_eq!(files(&out), before);
}

#[test]
fn a_folder_with_other_things_under_these_names_is_left_alone() {
    let (dir, blobs) = store();
    let images = [tagged(&blobs, "one", &["v1"])];
    let before = files(blobs.root());
    assert!(matches!(write_layout(blobs.root(), &images, &blobs), Err(ImageError::NotALayout { .. })));
    assert_eq!(files(blobs.root()), before);

    for (name, text) in
        [("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#), ("index.json", "{}"), ("oci-layout", "")]
    {
        let other = tempfile::tempdir_in(dir.path()).unwrap();
        fs_err::write(other.path().join(name), text).unwrap();
        assert!(
            matches!(write_layout(other.path(), &images, &blobs), Err(ImageError::NotALayout { .. })),
            "{text}"
        );
        assert_eq!(files(other.path()).len(), 1);
    }
}

#[test]
fn tags_are_checked_before_anything_is_written() {
    let (dir, blobs) = store();
    let out = dir.path().join("out");
    let wrong = [
        &[][..],
        &[""],
        &["a b"],
        &["-v1"],
        &["v1-"],
        &["a//b"],
        &["/a"],
        &["v1", "v1"],
        &["../x"],
        &["a---b"],
    ];
    for tags in wrong {
        let error = write_layout(&out, &[tagged(&blobs, "one", tags)], &blobs).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Usage, "{tags:?}: {error}");
    }
    let twice = [tagged(&blobs, "one", &["v1"]), tagged(&blobs, "two", &["v1"])];
    assert!(matches!(write_layout(&out, &twice, &blobs), Err(ImageError::Together(_))));
    assert!(!out.exists());
    let tags = ["v1.34.2--r0", "kubelet:v1.34.2", "ghcr.io/acme/kubelet:v1_a+b"];
    write_layout(&out, &[tagged(&blobs, "one", &tags)], &blobs).unwrap();
}

#[test]
fn a_layout_is_read_by_tag_and_platform() {
    let (dir, blobs) = store();
    let images = [tagged(&blobs, "one", &["v1", "latest"])];
    write_layout(dir.path(), &images, &blobs).unwrap();
    let layout = Layout::open(dir.path()).unwrap();
    assert_eq!(layout.tags().keys().collect::<Vec<_>>(), [&"latest", &"v1"]);
    assert_eq!(layout.platforms("v1").unwrap(), Platform::DEFAULT);
    for (platform, written) in Platform::DEFAULT.into_iter().zip(&images[0].image.images) {
        let found = layout.image("latest", platform).unwrap();
        assert_eq!((&found.descriptor, &found.layers), (&written.descriptor, &written.layers));
        assert_eq!(layout.read_blob(&found.config, 1 << 20).unwrap(), written.config);
        let mut bytes = Vec::new();
        layout.copy_blob(&found.layers[0], &mut bytes).unwrap();
        let media = &found.layers[0].media_type;
        let mut sink = kimg_core::MemorySink;
        let (_, diff_id) =
            kimg_layer::read(&bytes[..], media, &kimg_layer::Limits::default(), &mut sink).unwrap();
        assert_eq!(diff_id, found.diff_ids[0]);
    }
    let error = layout.image("v2", Platform::Amd64).unwrap_err();
    assert_eq!(error.hint().unwrap(), "its tags are latest, v1");
    let error = layout.image("v1", Platform::ArmV6).unwrap_err();
    assert_eq!(error.hint().unwrap(), "it has linux/amd64, linux/arm64, linux/arm/v7");
    let layer = layout.image("v1", Platform::Amd64).unwrap().layers.remove(0);
    assert!(matches!(layout.read_blob(&layer, 10), Err(ImageError::TooLarge { limit: 10, .. })));
    fs_err::write(
        BlobStore::at(dir.path()).path(layer.digest),
        vec![0; usize::try_from(layer.size).unwrap()],
    )
    .unwrap();
    assert_eq!(layout.read_blob(&layer, 1 << 20).unwrap_err().class(), ErrorClass::Verification);
}

#[test]
fn an_image_whose_parts_contradict_each_other_is_refused() {
    let (dir, blobs) = store();
    let mut broken = image(&blobs, Codec::default(), Platform::Amd64, "one");
    // The index says arm64 of an amd64 image.
    broken.descriptor.platform = Some(Platform::Arm64.into());
    let tagged = Tagged { tags: vec!["v1".into()], image: join(vec![broken], BTreeMap::new()).unwrap() };
    write_layout(dir.path(), &[tagged], &blobs).unwrap();
    let error = Layout::open(dir.path()).unwrap().image("v1", Platform::Arm64).unwrap_err();
    assert!(matches!(error, ImageError::Contradiction { .. }), "{error:?}");
}

#[test]
fn bytes_that_are_not_what_their_descriptor_says_are_not_written() {
    let (dir, blobs) = store();
    let mut tagged = tagged(&blobs, "one", &["v1"]);
    tagged.image.images[1].config.push(b' ');
    let error = write_layout(&dir.path().join("out"), &[tagged], &blobs).unwrap_err();
    assert!(matches!(error, ImageError::Damaged { what: "config", .. }), "{error:?}");
}

#[test]
fn an_index_has_one_order_and_no_platform_twice() {
    let (_dir, blobs) = store();
    let of = |platform| image(&blobs, Codec::default(), platform, "one");
    let [amd64, arm64, armv7] = Platform::DEFAULT.map(of);
    let one = join(vec![amd64.clone(), arm64.clone(), armv7.clone()], BTreeMap::new()).unwrap();
    let other = join(vec![armv7, amd64.clone(), arm64], BTreeMap::new()).unwrap();
    assert_eq!(one, other);
    assert_eq!(one.images.iter().map(|i| i.platform).collect::<Vec<_>>(), Platform::DEFAULT);
    let error = join(vec![amd64.clone(), amd64], BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("linux/amd64"), "{error}");
    assert!(join(vec![], BTreeMap::new()).is_err());
}

#[test]
fn an_oci_archive_holds_the_layout_and_nothing_else() {
    let (dir, blobs) = store();
    let images = [tagged(&blobs, "one", &["v1", "latest"]), tagged(&blobs, "two", &["v2"])];
    write_layout(&dir.path().join("out"), &images, &blobs).unwrap();
    let archive = write_oci_archive(Vec::new(), &images, &blobs).unwrap();
    assert_eq!(members(&archive), files(&dir.path().join("out")));
    assert_eq!(archive, write_oci_archive(Vec::new(), &images, &blobs).unwrap());
}

#[test]
fn a_docker_archive_shares_layers_and_joins_names_of_one_image() {
    let (_dir, blobs) = store();
    let [one, two] = ["one", "two"].map(|text| image(&blobs, Codec::default(), Platform::ArmV7, text));
    let images = [("a/b:v1".to_owned(), &one), ("a/c:v1".to_owned(), &two), ("a/b:latest".to_owned(), &one)];
    let archive = members(&write_docker_archive(Vec::new(), &images, &blobs).unwrap());
    let manifest: serde_json::Value = serde_json::from_slice(&archive["manifest.json"]).unwrap();
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["a/b:v1", "a/b:latest"]));
    assert_eq!(manifest[1]["RepoTags"], serde_json::json!(["a/c:v1"]));
    assert_eq!(manifest[0]["Layers"][0], manifest[1]["Layers"][0]);
    // The list, two configs, the shared layer and two of their own.
    assert_eq!(archive.len(), 6);
    for item in manifest.as_array().unwrap() {
        let config = &archive[item["Config"].as_str().unwrap()];
        assert_eq!(item["Config"], format!("{}.json", Digest::of(config).hex()));
        assert!(
            item["Layers"]
                .as_array()
                .unwrap()
                .iter()
                .all(|layer| archive.contains_key(layer.as_str().unwrap()))
        );
    }
}

#[test]
fn a_docker_archive_unpacks_zstd_layers() {
    let (_dir, blobs) = store();
    let one = image(&blobs, Codec::Zstd { level: 3, window: None }, Platform::Amd64, "one");
    let images = [("a:v1".to_owned(), &one)];
    let archive = members(&write_docker_archive(Vec::new(), &images, &blobs).unwrap());
    let manifest: serde_json::Value = serde_json::from_slice(&archive["manifest.json"]).unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    for name in layers {
        let bytes = &archive[name.as_str().unwrap()];
        assert_eq!(*name, format!("{}.tar", Digest::of(bytes).hex()));
    }
    let path = blobs.path(one.layers[0].digest);
    let mut damaged = fs_err::read(&path).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs_err::write(path, damaged).unwrap();
    let error = write_docker_archive(Vec::new(), &images, &blobs).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Verification);
}

#[test]
fn a_docker_archive_refuses_two_platforms_and_names_without_a_tag() {
    let (_dir, blobs) = store();
    let [amd64, arm64, _] = Platform::DEFAULT.map(|p| image(&blobs, Codec::default(), p, "one"));
    let write = |images: &[(&str, &kimg_image::Image)]| {
        let images: Vec<_> = images.iter().map(|(name, image)| ((*name).to_owned(), *image)).collect();
        write_docker_archive(Vec::new(), &images, &blobs).map(drop).map_err(|e| e.class())
    };
    assert_eq!(write(&[("localhost:5000/a/b_c:V1", &amd64)]), Ok(()));
    assert_eq!(write(&[("a:v1", &amd64), ("a:v2", &arm64)]), Err(ErrorClass::Usage));
    for name in ["a", "a:", ":v1", "A:v1", "a@sha256:b", "localhost:5000/a", "a:v1 "] {
        assert_eq!(write(&[(name, &amd64)]), Err(ErrorClass::Usage), "{name}");
    }
    assert_eq!(write(&[("a:v1", &amd64), ("a:v1", &amd64)]), Err(ErrorClass::Usage));
    assert_eq!(write(&[]), Err(ErrorClass::Usage));
}

#[test]
fn oci_spec_reads_what_was_written() {
    use oci_spec::image::{Arch, ImageConfiguration, ImageIndex, ImageManifest};
    let (_dir, blobs) = store();
    let spec = spec(&blobs, Codec::default(), Platform::ArmV7, "one");
    let image = kimg_image::assemble(&spec).unwrap();
    let config = ImageConfiguration::from_reader(&image.config[..]).unwrap();
    assert_eq!((config.architecture(), config.variant().as_deref()), (&Arch::ARM, Some("v7")));
    assert_eq!(config.created().as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(config.author().as_deref(), Some("kimg"));
    let run = config.config().as_ref().unwrap();
    assert_eq!(run.entrypoint().as_ref().unwrap(), &spec.config.entrypoint);
    assert_eq!(run.cmd().as_ref().unwrap(), &spec.config.command);
    assert_eq!(run.env().as_ref().unwrap(), &["A=1=2", "PATH=/bin"]);
    assert_eq!(run.labels().as_ref().unwrap().len(), 2);
    assert_eq!(run.working_dir().as_deref(), Some("/bin"));
    assert_eq!(run.user().as_deref(), Some("0:0"));
    assert_eq!(run.volumes().as_ref().unwrap(), &["/var/lib/kubelet"]);
    assert_eq!(run.stop_signal().as_deref(), Some("SIGTERM"));
    let diff_ids: Vec<_> = spec.layers.iter().map(|layer| layer.info.diff_id.to_string()).collect();
    assert_eq!(config.rootfs().diff_ids(), &diff_ids);
    assert_eq!(config.history().as_ref().unwrap().len(), 2);

    let manifest = ImageManifest::from_reader(&image.manifest[..]).unwrap();
    assert_eq!(manifest.config().digest().to_string(), Digest::of(&image.config).to_string());
    assert_eq!(manifest.layers().len(), 2);
    assert_eq!(manifest.annotations().as_ref().unwrap()["org.opencontainers.image.title"], "test");

    let multi = multi(&blobs, Codec::default(), "one");
    let index = ImageIndex::from_reader(&multi.bytes[..]).unwrap();
    let arm = index.manifests()[2].platform().as_ref().unwrap();
    assert_eq!((arm.architecture(), arm.variant().as_deref()), (&Arch::ARM, Some("v7")));
}
