//! Images: layers become something that registries, skopeo, containerd and Docker understand.
//!
//! An *image* is three kinds of blob (OCI image-spec): layers, a *config* (what to run, and the digests of the
//! uncompressed layers), and a *manifest* that names them. An *index* joins the manifests of several architectures,
//! so that one tag serves all of them. All of it is JSON named by its digest; hence the bytes must be the same
//! every time: fields in a fixed order, maps sorted, no white space, hashed exactly as written.
//!
//! | function | does |
//! | --- | --- |
//! | [`assemble`] | layers and settings → config and manifest of one platform |
//! | [`join`] | images of several platforms → one index |
//! | [`write_layout`] | indexes under tags → a folder (OCI image layout), added to what is there |
//! | [`write_oci_archive`] | the same as one tar |
//! | [`write_docker_archive`] | what `docker load` takes: one platform |
//! | [`Layout`] | reads such a folder, verifying every blob |
//!
//! ```
//! use std::collections::BTreeMap;
//! use kimg_core::{Content, Entry, ImagePath, Origin, Platform};
//! use kimg_image::{ImageLayer, ImageSpec, Layout, RunConfig, Tagged, assemble, join, write_layout};
//! use kimg_layer::{BlobStore, Options};
//!
//! let dir = tempfile::tempdir()?;
//! let blobs = BlobStore::open(dir.path().join("cache"))?;
//! let hello = Entry::file(Content::from_bytes("hello\n"), 0o644, Origin::generated("example"));
//! let info = blobs.put_layer(&BTreeMap::from([(ImagePath::new("/hello")?, hello)]), &Options::default())?;
//!
//! let image = assemble(&ImageSpec {
//!     platform: Platform::Amd64,
//!     created: Some(0),
//!     author: None,
//!     config: RunConfig { entrypoint: vec!["/hello".into()], ..RunConfig::default() },
//!     layers: vec![ImageLayer { info, created_by: "kimg: hello".into(), comment: None }],
//!     annotations: BTreeMap::new(),
//! })?;
//! let tagged = Tagged { tags: vec!["v1".into()], image: join(vec![image], BTreeMap::new())? };
//! write_layout(&dir.path().join("out"), &[tagged], &blobs)?;
//!
//! let layout = Layout::open(dir.path().join("out"))?;
//! assert_eq!(layout.image("v1", Platform::Amd64)?.layers.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What other programs make of it
//!
//! A tag always names an index, even with one platform in it. skopeo and all that is built on its library (buildah,
//! podman) choose the platform from it. umoci 0.4.7 looks through an index with one image, and calls a tag with
//! several "ambiguous"; for it, copy one platform out first:
//! `skopeo copy --override-arch arm --override-variant v7 oci:out:v1 oci:one:v1`.

mod archive;
mod assemble;
mod blobs;
mod descriptor;
mod docker;
mod error;
mod index;
mod layout;
mod spec;

pub use archive::write_oci_archive;
pub use assemble::{Image, assemble};
pub use descriptor::{Descriptor, OciPlatform, media_type};
pub use docker::write_docker_archive;
pub use error::ImageError;
pub use index::{MultiArch, Tagged, join};
pub use layout::{Layout, LayoutImage, LayoutReport, write_layout};
pub use spec::{ImageLayer, ImageSpec, RunConfig};
