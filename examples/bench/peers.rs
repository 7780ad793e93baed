//! The same files made into images by `buildah` and `umoci`, each by the shortest way that it has.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::bench::{Bench, Times};

/// Another program that makes images of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// A container from scratch, everything copied into it and committed to an OCI layout, compressed. With a store of its
    /// own by plain folders (vfs): overlay does not work on every file system, and vfs costs a container from scratch
    /// nothing.
    Buildah,
    /// A new layout with an empty image, and everything inserted as one layer.
    Umoci,
}

/// What the shell does in the folder of the image: `$1` is the folder with the files, `$2` the layout.
const BUILDAH: &str = r#"set -e
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --storage-driver vfs --root "$2.store" --runroot "$2.run" "${@:3}"; }
container=$(buildah "$1" "$2" from scratch)
buildah "$1" "$2" copy --quiet "$container" "$1" /
buildah "$1" "$2" commit --quiet --disable-compression=false "$container" "oci:$2:one"
"#;

/// The same for umoci.
const UMOCI: &str = r#"set -e
umoci init --layout "$2"
umoci new --image "$2:one"
umoci insert --image "$2:one" "$1" /
"#;

impl Peer {
    /// Those that are here; the others are skipped visibly.
    pub(crate) fn installed() -> Vec<Self> {
        [Self::Buildah, Self::Umoci]
            .into_iter()
            .filter(|peer| kimg_testkit::tool(peer.name()).is_some())
            .collect()
    }

    /// Its name, as a program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Buildah => "buildah",
            Self::Umoci => "umoci",
        }
    }

    /// Makes one image of a folder; gives what that took and the bytes of the layout's blobs. Nothing of it stays.
    pub(crate) fn image(self, bench: &Bench, files: &Path) -> Result<(Times, u64)> {
        let layout = bench.path(&format!("{}-layout", self.name()));
        let script = match self {
            Self::Buildah => BUILDAH,
            Self::Umoci => UMOCI,
        };
        let mut command = bench.timed("bash");
        command.args(["-c", script, self.name()]).arg(files).arg(&layout);
        let (times, _) = bench.times(&mut command)?;
        let mut bytes = 0;
        for blob in fs_err::read_dir(layout.join("blobs/sha256"))? {
            bytes += blob?.metadata()?.len();
        }
        // A store may hold mounts of its own: only buildah knows.
        if self == Self::Buildah {
            let mut remove = Command::new("buildah");
            remove.args(["--storage-driver", "vfs", "--root"]).arg(format!("{}.store", layout.display()));
            remove.arg("--runroot").arg(format!("{}.run", layout.display())).args(["rm", "--all"]);
            kimg_testkit::run(&mut remove);
        }
        for name in ["", ".store", ".run"] {
            bench.remove(&format!("{}-layout{name}", self.name()))?;
        }
        Ok((times, bytes))
    }
}
