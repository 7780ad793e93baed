//! gzip, Python, zstd, skopeo and umoci as judges: they unpack what was written, and have the archive that was meant.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod alike;
mod outside;

use std::path::Path;
use std::process::{Command, Stdio};

use kimg_core::{Content, Digest, DigestWriter, Entry, ImagePath, Origin};
use kimg_layer::{BlobStore, Codec, Entries, LayerInfo, Options, Order, Window, write};
use outside::{has, run};
use proptest::prelude::*;

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

fn file(bytes: Vec<u8>) -> Entry {
    Entry::file(Content::from_bytes(bytes), 0o755, Origin::generated("test"))
}

fn stored(dir: &Path, entries: &Entries, codec: Codec) -> (std::path::PathBuf, LayerInfo) {
    let (blob, info) = write(entries, &Options { codec, ..Options::default() }, Vec::new()).unwrap();
    let file = dir.join("layer");
    fs_err::write(&file, blob).unwrap();
    (file, info)
}

/// The digest of what a program makes of a file.
fn unpacked(program: &str, arguments: &[&str], file: &Path) -> Digest {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(fs_err::File::open(file).unwrap().into_file())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut hash = DigestWriter::new(std::io::sink());
    std::io::copy(child.stdout.as_mut().unwrap(), &mut hash).unwrap();
    assert!(child.wait().unwrap().success(), "{program} {arguments:?}");
    hash.finish().1
}

/// Reads gzip from standard input as Python does.
const PYTHON: &str =
    "import gzip, shutil, sys; shutil.copyfileobj(gzip.open(sys.stdin.buffer), sys.stdout.buffer)";

fn judge(file: &Path, codec: Codec) -> Vec<Digest> {
    match codec {
        Codec::Gzip { .. } => {
            vec![unpacked("gzip", &["-dc"], file), unpacked("python3", &["-c", PYTHON], file)]
        }
        Codec::Zstd { .. } => vec![unpacked("zstd", &["-dc"], file)],
    }
}

#[test]
fn gzip_and_python_read_all_pieces() {
    if !has("gzip") || !has("python3") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let entries = Entries::from([(path("/x"), file(alike::text(5 << 20)))]);
    for level in [1, 9, 12] {
        let (file, info) = stored(dir.path(), &entries, Codec::Gzip { level });
        run(Command::new("gzip")
            .args(["--test", "--verbose"])
            .stdin(fs_err::File::open(&file).unwrap().into_file())
            .stderr(Stdio::null()));
        assert_eq!(judge(&file, Codec::Gzip { level }), [info.diff_id; 2], "level {level}");
    }
}

#[test]
fn zstd_reads_every_window() {
    if !has("zstd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = alike::text(5 << 20);
    for window in Window::ALL {
        // More than half of the window, so that the frame asks for all of it. zstd takes 128 MiB by itself.
        while bytes.len() as u64 <= window.bytes() / 2 {
            bytes.extend_from_within(..5 << 20);
        }
        let entries = Entries::from([(path("/x"), file(bytes.clone()))]);
        let codec = Codec::Zstd { level: 1, window: Some(window) };
        let (file, info) = stored(dir.path(), &entries, codec);
        let said = run(Command::new("zstd").args(["--list", "--verbose"]).arg(&file).stderr(Stdio::null()));
        assert!(said.contains(&format!("({} B)", window.bytes())), "{codec}: {said}");
        assert!(said.contains("XXH64"), "{said}");
        assert_eq!(judge(&file, codec), [info.diff_id], "{codec}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_layer_is_unpacked_by_others(
        sizes in prop::collection::vec(prop_oneof![0..5_000_usize, 0..300_000_usize], 0..5),
        level in 1..=22_i32, window in prop::option::of(prop::sample::select(&Window::ALL))
    ) {
        if !["gzip", "python3", "zstd"].into_iter().all(has) {
            return Ok(());
        }
        let dir = tempfile::tempdir().unwrap();
        let entries = sizes.iter().enumerate().map(|(n, size)| (path(&format!("/{n}")), file(alike::text(*size))));
        let entries: Entries = entries.collect();
        for codec in [Codec::Gzip { level: level.unsigned_abs().min(12) }, Codec::Zstd { level, window }] {
            let (file, info) = stored(dir.path(), &entries, codec);
            for digest in judge(&file, codec) {
                prop_assert_eq!(digest, info.diff_id, "{}", codec);
            }
        }
    }
}

/// An image of one layer, as an OCI layout with the tag `v1` (image-spec, image-layout.md).
fn layout(dir: &Path, entries: &Entries, codec: Codec) -> LayerInfo {
    let blobs = BlobStore::open(dir).unwrap();
    let info = blobs.put_layer(entries, &Options { codec, order: Order::Alike, epoch: None }).unwrap();
    let put = |value: serde_json::Value| {
        let (digest, size) = blobs.put_bytes(value.to_string().as_bytes()).unwrap();
        serde_json::json!({ "digest": digest.to_string(), "size": size })
    };
    let typed = |media: &str, mut descriptor: serde_json::Value| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{media}+json").into();
        descriptor
    };
    let config = put(serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [info.diff_id.to_string()] },
    }));
    let manifest = put(serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": typed("config.v1", config),
        "layers": [{ "mediaType": info.media_type, "digest": info.digest.to_string(), "size": info.size }],
    }));
    let mut manifest = typed("manifest.v1", manifest);
    manifest["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "v1" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs_err::write(dir.join("index.json"), index.to_string()).unwrap();
    fs_err::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    info
}

#[test]
fn skopeo_and_umoci_unpack_layers_of_many_pieces_and_long_windows() {
    if !has("skopeo") || !has("umoci") {
        return;
    }
    let large = alike::text(5 << 20);
    let entries = Entries::from([(path("/x"), file(large.clone())), (path("/y"), file(large.clone()))]);
    for codec in ["gzip:6", "zstd:3:window=64MiB"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let info = layout(&out, &entries, codec.parse().unwrap());
        let from = format!("oci:{}:v1", out.display());
        let to = dir.path().join("copy");
        let copy = ["--insecure-policy", "copy", "--quiet", "--dest-decompress", &from];
        run(Command::new("skopeo").args(copy).arg(format!("dir:{}", to.display())));
        // An unpacked layer has its diff ID as name.
        assert_eq!(Digest::of(fs_err::read(to.join(info.diff_id.hex())).unwrap()), info.diff_id, "{codec}");
        if codec.starts_with("gzip") {
            let bundle = dir.path().join("bundle");
            let image = format!("{}:v1", out.display());
            let unpack = ["unpack", "--rootless", "--image", &image];
            run(Command::new("umoci").args(unpack).arg(&bundle).stderr(Stdio::null()));
            for name in ["x", "y"] {
                assert!(fs_err::read(bundle.join("rootfs").join(name)).unwrap() == large, "{name}");
            }
        }
    }
}
