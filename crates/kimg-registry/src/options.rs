//! How registries are talked to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::credentials::Variables;

/// How registries are talked to. The default is for a person at a terminal; tests make everything shorter.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the client calls itself.
    pub user_agent: String,
    /// A file with certificates (PEM) that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether registries may speak plain HTTP, or show certificates that nobody vouches for. The loopback address may
    /// speak plain HTTP always.
    pub insecure: bool,
    /// How often each request is tried, at least once.
    pub attempts: u32,
    /// The wait after the first failure; each later one is twice as long. `Retry-After` comes first.
    pub first_wait: Duration,
    /// After how long without a byte in either direction a connection is given up.
    pub stalled_after: Duration,
    /// How many blobs or manifests are under way at once.
    pub concurrency: usize,
    /// Blobs larger than this are sent in chunks, in bytes.
    pub chunk_above: u64,
    /// The size of a chunk in bytes. A registry may ask for larger ones.
    pub chunk: u64,
    /// The proxies.
    pub proxies: Proxies,
    /// Hosts that may be told credentials of other registries, since they give out their tokens. A registry's own host,
    /// a domain above it and Docker Hub's `auth.docker.io` need not be named.
    pub trusted_realms: Vec<String>,
    /// How what was pushed is looked at before tags move.
    pub read_back: ReadBack,
}

/// How what was pushed is looked at before tags move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadBack {
    /// Manifests, indexes and configs are read and compared byte by byte; layers are asked after, with their size. The
    /// registry compared their digests when it took them.
    #[default]
    Described,
    /// Layers are read too, and hashed.
    Whole,
}

/// Where requests go through.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http:` addresses.
    pub http: Option<String>,
    /// For `https:` addresses.
    pub https: Option<String>,
    /// Hosts that are reached directly: names, domains, addresses and networks, with commas between.
    pub except: Option<String>,
}

impl Proxies {
    /// As the environment has them: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, or their names in lower
    /// case. `HTTP_PROXY` in upper case is not looked at where a CGI runs, as elsewhere.
    pub fn from_variables(variable: Variables<'_>) -> Self {
        let either = |name: &str| {
            let found = variable(&name.to_lowercase()).or_else(|| variable(name));
            found.filter(|value| !value.is_empty())
        };
        let http =
            if variable("REQUEST_METHOD").is_some() { variable("http_proxy") } else { either("HTTP_PROXY") };
        let all = either("ALL_PROXY");
        Self {
            http: http.or_else(|| all.clone()),
            https: either("HTTPS_PROXY").or(all),
            except: either("NO_PROXY"),
        }
    }
}

/// A proxy's address may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |address: &Option<String>| {
            address.as_deref().map(|address| address.rsplit('@').next().unwrap_or_default().to_owned())
        };
        f.debug_struct("Proxies")
            .field("http", &hidden(&self.http))
            .field("https", &hidden(&self.https))
            .field("except", &self.except)
            .finish()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("kimg/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_file: None,
            insecure: false,
            attempts: 4,
            first_wait: Duration::from_millis(500),
            stalled_after: Duration::from_secs(60),
            concurrency: 4,
            chunk_above: 16 << 20,
            chunk: 8 << 20,
            proxies: Proxies::default(),
            trusted_realms: Vec::new(),
            read_back: ReadBack::default(),
        }
    }
}
