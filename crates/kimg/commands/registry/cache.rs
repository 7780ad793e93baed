//! `--cache-from` and `--cache-to`: what other machines have compressed and packed.

use clap::Args;
use kimg_build::shared_cache::{Export, Programs, SharedCache};
use kimg_build::{Build, Outcome};
use kimg_registry::{Reference, Repository};

use super::{RegistryArgs, reference};
use crate::failure::Failure;

/// Which caches in registries take part.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shared cache")]
pub(crate) struct CacheArgs {
    /// Take over layers and packed programs that another machine has put under this tag; the first cache that has one counts
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) cache_from: Vec<String>,

    /// Put the layers and packed programs of this run under this tag, for other machines
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) cache_to: Option<String>,

    /// Take over packed programs also where the lock does not say what they become: whoever can write the cache is trusted
    /// with code that runs on nodes, and here
    #[arg(long)]
    pub(crate) trust_cache: bool,
}

impl CacheArgs {
    /// Runs a build with these caches, and tells how much they saved.
    pub(crate) fn run(
        &self,
        build: &Build<'_>,
        registry: &RegistryArgs,
        retry_times: u32,
        mount_from: &[Repository],
    ) -> Result<Outcome, Failure> {
        if self.cache_from.is_empty() && self.cache_to.is_none() {
            return Ok(build.run()?);
        }
        let from = self.cache_from.iter().map(|it| reference(it)).collect::<Result<Vec<Reference>, _>>()?;
        let to = self.cache_to.as_deref().map(reference).transpose()?;
        let registries = from.iter().chain(&to).map(|it| it.repository().registry());
        let client = registry.client(registries, retry_times, None)?;
        let programs = if self.trust_cache { Programs::OfTrustedWriters } else { Programs::OfTheLock };
        let shared = SharedCache::new(client, from, programs)?;
        let outcome = build.run_with(Some(&shared))?;
        let tally = shared.tally();
        if !self.cache_from.is_empty() && tally.asked > 0 {
            let taken = format!("{} of {} layers and programs taken over", tally.used, tally.asked);
            tracing::info!("{taken}, {} bytes fetched", tally.fetched_bytes);
        }
        if let Some(to) = to {
            let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let day = seconds.map_or(0, |since| since.as_secs() / 86_400);
            let mut export = Export::on(u32::try_from(day).unwrap_or(u32::MAX));
            export.mount_from = mount_from.to_vec();
            shared.try_export(&to, &build.cache, &export, build.events);
        }
        Ok(outcome)
    }
}
