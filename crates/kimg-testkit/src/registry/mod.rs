//! Registries for tests: a real one, and one in this process that misbehaves as it is told.
//!
//! | file | holds |
//! | --- | --- |
//! | `debian` | Debian's `docker-registry`, on a port that the system chooses: plain, with a password, with TLS |
//! | `peer` | a registry in memory that follows the OCI distribution spec, and what it remembers |
//! | `script` | what goes wrong, and at which request |
//! | `faulty` | answers that are wrong, or none |
//! | `wire` | HTTP/1.1: requests, bodies, answers |
//! | `routes` | which request does what |
//! | `uploads` | blobs on their way in |
//! | `store` | blobs, manifests, tags, and whether what a tag names is whole |
//! | `guard` | passwords and tokens |
//!
//! ```
//! use kimg_testkit::{Misbehaviour, PeerSetup, RegistryPeer};
//!
//! let peer = RegistryPeer::new(PeerSetup::default());
//! peer.at(3, Misbehaviour::Reset);                    // the third request from now on
//! // … push something to `127.0.0.1:port/name` …
//! assert!(peer.broken().is_empty(), "no tag ever named what was not whole");
//! ```

mod debian;
mod faulty;
mod guard;
mod peer;
mod routes;
mod script;
mod store;
mod uploads;
mod wire;

pub use debian::DockerRegistry;
pub use guard::PeerAuth;
pub use peer::{PeerRequest, PeerSetup, RegistryPeer};
pub use script::Misbehaviour;
