//! The client: what it is made of, and what it answers about one reference.

use kimg_core::Digest;

use crate::manifests::Place;
use crate::transport::Transport;
use crate::{Keychain, Manifest, Options, Reference, RegistryError, Repository, Tag};

/// Talks to registries. Connections, tokens and what is known of each registry are kept as long as it lives.
#[derive(Debug)]
pub struct Client {
    pub(crate) transport: Transport,
}

impl Client {
    /// A client with these settings, for who is in this keychain.
    ///
    /// # Errors
    /// Certificates or proxies that can't be used.
    pub fn new(options: Options, keychain: Keychain) -> Result<Self, RegistryError> {
        Ok(Self { transport: Transport::new(options, keychain)? })
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.transport.options
    }

    /// What a reference names: its bytes, whose digest was computed here and compared.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest, RegistryError> {
        let host = self.transport.host(reference.repository()).await?;
        let place = Place { transport: &self.transport, host: &host, repository: reference.repository() };
        place.get(&reference.asked_by()).await?.ok_or_else(|| reference.missing())
    }

    /// The digest that a reference names; `None` if there is no such thing.
    pub async fn head(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        let host = self.transport.host(reference.repository()).await?;
        let place = Place { transport: &self.transport, host: &host, repository: reference.repository() };
        place.head(&reference.asked_by()).await
    }

    /// Every tag of a repository, in the registry's order.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, RegistryError> {
        let host = self.transport.host(repository).await?;
        Place { transport: &self.transport, host: &host, repository }.tags().await
    }

    /// Asks a registry for nothing, as who is in the keychain: whether the credentials are good. What `login` does.
    ///
    /// # Errors
    /// [`RegistryError::Denied`] if they are not.
    pub async fn check_login(&self, registry: &str) -> Result<(), RegistryError> {
        self.transport.log_in(registry).await
    }
}
