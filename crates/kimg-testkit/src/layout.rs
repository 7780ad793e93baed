//! What `skopeo` and `umoci` make of an OCI layout.

use std::path::{Path, PathBuf};
use std::process::Command;

use kimg_core::{Digest, Platform};
use serde_json::Value;

use crate::{Root, run, superuser, tool};

/// An OCI layout on the disk, read with nothing of kimg's.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// A layout in a folder. Panics if `index.json` is not there.
    pub fn open(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        assert!(folder.join("index.json").is_file(), "{} is no OCI layout", folder.display());
        Self { folder }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `index.json`
    pub fn index(&self) -> Value {
        json(&self.folder.join("index.json"))
    }

    /// The file of a blob.
    pub fn blob(&self, digest: Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    /// A blob that is JSON.
    pub fn json(&self, digest: Digest) -> Value {
        json(&self.blob(digest))
    }

    /// Every name that `index.json` gives, with the digest it stands for, sorted.
    pub fn names(&self) -> Vec<(String, Digest)> {
        let index = self.index();
        let mut names: Vec<(String, Digest)> = members(&index, "manifests")
            .filter_map(|entry| {
                let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str()?;
                Some((name.to_owned(), digest(entry)))
            })
            .collect();
        names.sort();
        names
    }

    /// The digest of the manifest for a platform under an index.
    pub fn manifest(&self, index: Digest, platform: Platform) -> Option<Digest> {
        members(&self.json(index), "manifests").find(|entry| is_for(entry, platform)).map(digest)
    }

    /// The digests of an image's layers, bottom first.
    pub fn layers(&self, manifest: Digest) -> Vec<Digest> {
        members(&self.json(manifest), "layers").map(digest).collect()
    }

    /// The config of an image.
    pub fn config(&self, manifest: Digest) -> Value {
        self.json(digest(&self.json(manifest)["config"]))
    }

    /// Hashes every blob and panics where one is not what its name says.
    pub fn check(&self) {
        for entry in fs_err::read_dir(self.folder.join("blobs/sha256")).expect("the layout has blobs") {
            let path = entry.expect("the layout can be read").path();
            let found = Digest::of(fs_err::read(&path).expect("the blob can be read"));
            assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(&*found.hex()), "{}", path.display());
        }
    }
}

fn json(path: &Path) -> Value {
    let bytes = fs_err::read(path).expect("the file can be read");
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn digest(descriptor: &Value) -> Digest {
    let text = descriptor["digest"].as_str().unwrap_or_default();
    text.parse().unwrap_or_else(|error| panic!("{descriptor}: {error}"))
}

fn is_for(entry: &Value, platform: Platform) -> bool {
    let wanted = &entry["platform"];
    wanted["os"] == "linux"
        && wanted["architecture"] == platform.oci_architecture()
        && platform.oci_variant().is_none_or(|variant| wanted["variant"] == variant)
}

/// `skopeo` for one platform.
fn skopeo(verb: &str, platform: Platform) -> Option<Command> {
    let mut command = Command::new(tool("skopeo")?);
    command.args(["--override-os", "linux", "--override-arch", platform.oci_architecture()]);
    if let Some(variant) = platform.oci_variant() {
        command.args(["--override-variant", variant]);
    }
    command.args(["--insecure-policy", verb]);
    Some(command)
}

/// `skopeo inspect` of a reference (`oci:FOLDER:NAME`, or `docker://…` of a registry on the loopback address) for a platform.
/// `None` after a visible skip.
pub fn skopeo_inspect(reference: &str, platform: Platform) -> Option<Value> {
    let mut command = skopeo("inspect", platform)?;
    if reference.starts_with("docker://127.0.0.1:") {
        command.arg("--tls-verify=false");
    }
    let text = run(command.args(["--no-tags", reference]));
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{reference}: {error}\n{text}")))
}

/// `skopeo copy` of one platform's image. `None` after a visible skip.
pub fn skopeo_copy(from: &str, to: &str, platform: Platform) -> Option<()> {
    run(skopeo("copy", platform)?.args(["--quiet", from, to]));
    Some(())
}

/// Unpacks one platform's image with `umoci`, as a runtime would. `None` after a visible skip.
///
/// umoci takes a name that leads to one manifest, so skopeo picks it out first. `folder` must not exist.
pub fn umoci_unpack(layout: &Path, name: &str, platform: Platform, folder: &Path) -> Option<Root> {
    let umoci = tool("umoci")?;
    if !superuser() {
        return None;
    }
    fs_err::create_dir_all(folder).expect("the folder can be made");
    let single = folder.join("single");
    let from = format!("oci:{}:{name}", layout.display());
    skopeo_copy(&from, &format!("oci:{}:one", single.display()), platform)?;
    let bundle = folder.join("bundle");
    run(Command::new(umoci)
        .args(["unpack", "--image"])
        .arg(format!("{}:one", single.display()))
        .arg(&bundle));
    fs_err::remove_dir_all(&single).expect("the copy can be taken away");
    Some(Root::new(bundle.join("rootfs"), platform))
}

/// A layout in a folder that is not there yet, made by `umoci`: one image for this machine's processor, `name`, of
/// uncompressed archives as its layers, bottom first. `None` after a visible skip.
pub fn umoci_stack(layout: &Path, name: &str, layers: &[impl AsRef<Path>]) -> Option<()> {
    let umoci = tool("umoci")?;
    run(Command::new(&umoci).args(["init", "--layout"]).arg(layout));
    let image = format!("{}:{name}", layout.display());
    run(Command::new(&umoci).args(["new", "--image", &image]));
    for layer in layers {
        run(Command::new(&umoci).args(["raw", "add-layer", "--image", &image]).arg(layer.as_ref()));
    }
    Some(())
}
