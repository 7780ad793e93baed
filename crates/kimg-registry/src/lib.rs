//! Registries: images go in and come out, whole or not at all.
//!
//! A *release* is pushed in one order: blobs → configs → manifests by digest → indexes by digest → all of it is read back
//! and compared → tags. A tag moves only when everything of the release, all variants and architectures, is there; what
//! fails before leaves every tag as it was. Each blob is asked after before it is sent, taken over from another repository
//! where the registry lets one, and else sent once.
//!
//! ```no_run
//! use std::sync::Arc;
//! use kimg_image::Layout;
//! use kimg_registry::{Client, Journal, Keychain, Options, Proxies, PushOptions, Release, Repository};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let repository: Repository = "ghcr.io/acme/kubelet".parse()?;
//! let variable = |name: &str| std::env::var(name).ok();
//! let keychain = Keychain::from_variables(&variable).with_variables_for(repository.registry(), &variable);
//! let client = Client::new(Options { proxies: Proxies::from_variables(&variable), ..Options::default() }, keychain)?;
//!
//! let release = Release::of_layout(&Layout::open("out")?, &repository)?;
//! let journal = Journal::open(".kimg/push")?;
//! let options = PushOptions { journal: Some(&journal), ..PushOptions::default() };
//! println!("{} bytes to send", client.plan(&release, &options).await?.bytes_to_send());
//! for (tag, digest) in client.push(&release, &options, Arc::new(())).await?.tags {
//!     println!("{tag}@{digest}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | type | is |
//! | --- | --- |
//! | [`Reference`], [`Repository`], [`Tag`] | names, with Docker's defaults |
//! | [`Keychain`], [`Credentials`], [`Secret`] | who one is, from where Docker and podman keep it; never shown |
//! | [`Client`] | `push`, `plan`, `pull`, `copy`, `join`, `gather_parts`, `verify`, `manifest`, `head`, `tags`, `referrers`, `push_referrer` |
//! | [`Release`], [`PushOptions`], [`Plan`], [`Pushed`] | what is pushed together, how, what that would change, what it did |
//! | [`Signing`], [`Signed`], [`SignatureOf`] | `sign`, `verify_signed`, `attest`, `attestations`: signatures by key as cosign keeps them |
//! | [`TaggedArtifact`] | blobs under a tag that are no image: `artifact`, `fetch_blobs`, `upload_blobs`, `tag_artifact` |
//! | [`Journal`] | what an interrupted push leaves for the next one |
//! | [`Watch`], [`Progress`], [`Tally`] | what is going on, blob by blob and in all |
//! | [`RegistryError`] | what went wrong, with its class and what to do |
//!
//! # Whom it trusts
//!
//! Nothing that a registry says decides where a password goes, or where an upload does: tokens are asked for at the
//! registry's own host, a domain above it, Docker Hub's token service, or a host that the settings trust; an upload that is
//! sent to another host is refused. A blob may be fetched from elsewhere (registries keep them in other stores), and
//! nobody there is told who asks. Plain HTTP is for the loopback address, or by setting. What comes is bounded by what it was
//! said to be, and compared with its digest.
//!
//! # Why not `oci-client`
//!
//! Its source (0.18) was read for this. It is good at pulling. For pushing, a 202 in answer to a mount is an error there, and the
//! upload that it opens is lost; scopes never name the repository that is mounted from; there is no retry and no
//! `Retry-After`; a 401 in the middle of an upload ends it; an interrupted upload is never resumed; an upload
//! follows `Location` to any host (without credentials), and credentials go to any `realm`. All of that is what a release lives by, and wrapping
//! would leave of it names, tokens and GET. So this is a thin layer of its own over the `reqwest` that
//! fetches packages, with `http-auth` for challenges, and the patience of `kimg-source`.

mod artifacts;
mod at_once;
mod client;
mod credentials;
mod download;
mod error;
mod gather;
mod journal;
mod manifests;
mod options;
mod progress;
mod pull;
mod push;
mod reference;
mod referrers;
mod secret;
mod signatures;
mod transport;
mod tree;
mod upload;
mod verify;

pub use artifacts::TaggedArtifact;
pub use client::Client;
pub use credentials::{Credentials, Keychain, Variables, forget_login, store_login};
pub use error::{RegistryError, TakenTag};
pub use journal::Journal;
pub use manifests::Manifest;
pub use options::{Options, Proxies, ReadBack};
pub use progress::{How, Progress, Tally, Watch};
pub use pull::Pulled;
pub use push::{Plan, PlannedBlob, PlannedTag, PushOptions, Pushed, Release};
pub use reference::{DOCKER_HUB, NameError, Reference, Repository, Tag};
pub use referrers::{Artifact, ArtifactBlob};
pub use secret::Secret;
pub use signatures::{FoundSignature, SignatureOf, Signed, Signing};
pub use verify::{Finding, Verified};
