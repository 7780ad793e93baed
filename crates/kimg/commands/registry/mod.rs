//! What every command that talks to a registry shares: its flags, the client, and how it is told.

pub(crate) mod cache;
mod fetched;
pub(crate) mod pushing;
pub(crate) mod results;
pub(crate) mod statements;
mod story;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::{Args, ValueEnum};
use kimg_core::ErrorClass;
use kimg_registry::{
    Client, Credentials, Keychain, NameError, Options, Proxies, ReadBack, Reference, RegistryError,
    Repository,
};
use tokio::runtime::Runtime;

use crate::args::ProgressMode;
use crate::commands::setting::{cache_folder, progress_mode};
use crate::failure::{Failure, classified};
use crate::progress::Progress;

pub(crate) use cache::CacheArgs as SharedCacheArgs;
pub(crate) use fetched::{DOCKER, Fetched, Images, is_here, without_prefix};
pub(crate) use pushing::PushingArgs;
pub(crate) use statements::{SignArgs, StatementArgs};
pub(crate) use story::Story;

/// How registries are talked to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct RegistryArgs {
    /// Where credentials are, in place of REGISTRY_AUTH_FILE, containers' auth.json and Docker's config.json
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,

    /// Let the registry speak plain HTTP, or show a certificate that nobody vouches for. Loopback may always speak HTTP
    #[arg(long)]
    pub(crate) insecure: bool,

    /// A file with further certificates to trust (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// A host that gives out tokens for other registries and may be told their credentials
    #[arg(long = "trust-realm", value_name = "HOST")]
    pub(crate) trusted_realms: Vec<String>,
}

/// How commands that only talk to registries go about it.
#[derive(Debug, Clone, Args)]
pub(crate) struct TalkArgs {
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    /// How often each request is tried before giving up
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) retry_times: u32,

    /// Where blobs are kept between runs, and what an interrupted run left
    #[arg(long, value_name = "DIR", env = "KIMG_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// How to show what happens, on standard error
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    pub(crate) progress: ProgressMode,

    /// Print nothing but the result
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// How what was pushed is looked at before tags move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadBackArg {
    /// Manifests, indexes and configs are read and compared; layers are asked after, with their size
    Described,
    /// Layers are read too, and hashed
    Whole,
}

impl From<ReadBackArg> for ReadBack {
    fn from(said: ReadBackArg) -> Self {
        match said {
            ReadBackArg::Described => Self::Described,
            ReadBackArg::Whole => Self::Whole,
        }
    }
}

/// A variable of the environment, if it says anything.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl RegistryArgs {
    /// The client for these registries.
    pub(crate) fn client<'a>(
        &self,
        registries: impl IntoIterator<Item = &'a str>,
        retry_times: u32,
        read_back: Option<ReadBackArg>,
    ) -> Result<Client, Failure> {
        let mut keychain = self.keychain();
        for registry in registries {
            keychain = keychain.with_variables_for(registry, &variable);
        }
        self.client_of(keychain, retry_times, read_back)
    }

    /// The client for one who is not known yet.
    pub(crate) fn client_as(&self, registry: &str, credentials: Credentials) -> Result<Client, Failure> {
        self.client_of(Keychain::anonymous().with(registry, credentials), 1, None)
    }

    fn client_of(
        &self,
        keychain: Keychain,
        retry_times: u32,
        read_back: Option<ReadBackArg>,
    ) -> Result<Client, Failure> {
        let ca_file = self.ca_file.clone().or_else(|| variable("SSL_CERT_FILE").map(PathBuf::from));
        let options = Options {
            ca_file,
            insecure: self.insecure,
            // A first try, and then again.
            attempts: retry_times.saturating_add(1),
            proxies: Proxies::from_variables(&variable),
            trusted_realms: self.trusted_realms.clone(),
            read_back: read_back.map_or_else(ReadBack::default, ReadBack::from),
            ..Options::default()
        };
        Ok(Client::new(options, keychain)?)
    }

    /// How commands go about it that have no further words for it.
    pub(crate) fn talk(&self, cache_dir: Option<&Path>) -> TalkArgs {
        TalkArgs {
            registry: self.clone(),
            retry_times: 3,
            cache_dir: cache_dir.map(Path::to_owned),
            progress: ProgressMode::Auto,
            quiet: false,
        }
    }

    pub(crate) fn keychain(&self) -> Keychain {
        let keychain = Keychain::from_variables(&variable);
        match &self.authfile {
            Some(file) => keychain.with_auth_file(file),
            None => keychain,
        }
    }
}

impl TalkArgs {
    pub(crate) fn client<'a>(
        &self,
        repositories: impl IntoIterator<Item = &'a Repository>,
    ) -> Result<Client, Failure> {
        let registries = repositories.into_iter().map(Repository::registry);
        self.registry.client(registries, self.retry_times, None)
    }

    pub(crate) fn story(&self) -> Arc<Story> {
        Arc::new(Story::new(Progress::new(progress_mode(self.progress, self.quiet))))
    }

    pub(crate) fn cache_folder(&self) -> Result<PathBuf, Failure> {
        cache_folder(self.cache_dir.as_deref())
    }
}

/// Where interrupted pushes leave what the next ones go on from.
pub(crate) fn journal_folder(cache: &Path) -> PathBuf {
    cache.join("push")
}

/// Where all of a run's talk with registries happens: connections outlive a single request.
static NETWORK: OnceLock<Runtime> = OnceLock::new();

/// Waits for what the network does.
pub(crate) fn wait_for<T>(work: impl Future<Output = Result<T, RegistryError>>) -> Result<T, Failure> {
    if NETWORK.get().is_none() {
        // Two that come here at once make one too many, and that one goes.
        let _ = NETWORK.set(kimg_build::network()?);
    }
    let network = NETWORK.get().ok_or_else(|| Failure::new(ErrorClass::LocalIo, "there is no network"))?;
    Ok(network.block_on(work)?)
}

/// `ghcr.io/acme/kubelet:v1.34.2`, also with `docker://` before it.
pub(crate) fn reference(typed: &str) -> Result<Reference, Failure> {
    Ok(without_prefix(typed).parse::<Reference>()?)
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let failure = classified(&error);
        match error {
            RegistryError::TagTaken { .. } => failure.hint("say `--move-tags` if that is meant"),
            RegistryError::ForeignRealm { ref host, .. } => {
                failure.hint(format!("if {host} belongs to the registry: `--trust-realm {host}`"))
            }
            RegistryError::Denied { ref registry, known: false, .. } => failure.hint(format!(
                "`kimg login {registry}`, or set KIMG_REGISTRY_USER and KIMG_REGISTRY_PASSWORD"
            )),
            _ => failure,
        }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        classified(&error)
    }
}

impl From<kimg_image::ImageError> for Failure {
    fn from(error: kimg_image::ImageError) -> Self {
        classified(&error)
    }
}
