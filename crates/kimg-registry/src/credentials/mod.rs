//! Who one is at which registry.
//!
//! | file | holds |
//! | --- | --- |
//! | `auth_file` | the files that `docker login`, `podman login` and `skopeo login` write |
//! | `helper` | the programs that keep passwords for Docker |
//!
//! They are looked for where Docker and the containers tools look: credentials that were given for a registry; then
//! `REGISTRY_AUTH_FILE` alone, or else `${XDG_RUNTIME_DIR}/containers/auth.json`,
//! `${XDG_CONFIG_HOME}/containers/auth.json`, `${DOCKER_CONFIG}/config.json` (or `~/.docker/config.json`).

mod auth_file;
mod helper;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{RegistryError, Repository, Secret};
use auth_file::AuthFile;

/// What a registry is told about who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A name and a password (or an access token in its place).
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, for which the registry's token service gives access tokens.
    IdentityToken(Secret),
    /// An access token, sent as it is.
    RegistryToken(Secret),
}

/// Looks up the environment, or what stands for it.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where credentials come from.
#[derive(Debug, Clone, Default)]
pub struct Keychain {
    given: Vec<(String, Credentials)>,
    files: Vec<PathBuf>,
    helper_limit: Option<Duration>,
}

/// A helper may ask the person for a fingerprint; it may not hang forever.
const HELPER_LIMIT: Duration = Duration::from_secs(60);

impl Keychain {
    /// No credentials for anybody.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// What the environment says: `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME`, `DOCKER_CONFIG`, `HOME`.
    pub fn from_variables(variable: Variables<'_>) -> Self {
        let at = |name: &str, rest: &str| {
            variable(name).filter(|value| !value.is_empty()).map(|folder| Path::new(&folder).join(rest))
        };
        let files = match at("REGISTRY_AUTH_FILE", "") {
            // Joining nothing adds a slash.
            Some(_) => variable("REGISTRY_AUTH_FILE").into_iter().map(PathBuf::from).collect(),
            None => [
                at("XDG_RUNTIME_DIR", "containers/auth.json"),
                at("XDG_CONFIG_HOME", "containers/auth.json")
                    .or_else(|| at("HOME", ".config/containers/auth.json")),
                at("DOCKER_CONFIG", "config.json").or_else(|| at("HOME", ".docker/config.json")),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        Self { files, ..Self::default() }
    }

    /// With `KIMG_REGISTRY_USER` and `KIMG_REGISTRY_PASSWORD`, if both are set, for this registry and no other.
    pub fn with_variables_for(self, registry: &str, variable: Variables<'_>) -> Self {
        match (variable("KIMG_REGISTRY_USER"), variable("KIMG_REGISTRY_PASSWORD")) {
            (Some(username), Some(password)) if !username.is_empty() => {
                let password = Secret::new(password);
                self.with(registry, Credentials::Basic { username, password })
            }
            _ => self,
        }
    }

    /// With these credentials for this registry, before all others.
    pub fn with(mut self, registry: &str, credentials: Credentials) -> Self {
        self.given.push((auth_file::normal(registry), credentials));
        self
    }

    /// With this file in place of all others (`--authfile`).
    pub fn with_auth_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files = vec![path.into()];
        self
    }

    /// With another limit than a minute for credential helpers.
    pub fn with_helper_limit(mut self, limit: Duration) -> Self {
        self.helper_limit = Some(limit);
        self
    }

    /// The file that `login` writes to: the first of those that are looked into.
    pub fn auth_file(&self) -> Option<&Path> {
        self.files.first().map(PathBuf::as_path)
    }

    /// What a registry shall be told about who asks for this repository.
    ///
    /// # Errors
    /// A file that can't be read or is malformed, a helper that fails. That there are no credentials is no error.
    pub async fn credentials_for(&self, repository: &Repository) -> Result<Credentials, RegistryError> {
        if let Some((_, given)) = self.given.iter().find(|(registry, _)| registry == repository.registry()) {
            return Ok(given.clone());
        }
        for path in &self.files {
            let Some(file) = AuthFile::read(path)? else { continue };
            let limit = self.helper_limit.unwrap_or(HELPER_LIMIT);
            if let Some(helper) = file.helper(repository.registry())
                && let Some(found) = helper::ask(helper, repository.registry(), limit).await?
            {
                return Ok(found);
            }
            if let Some(found) = file.credentials(repository)? {
                return Ok(found);
            }
            if let Some(helper) = file.store()
                && let Some(found) = helper::ask(helper, repository.registry(), limit).await?
            {
                return Ok(found);
            }
        }
        Ok(Credentials::Anonymous)
    }
}

/// Writes a name and a password for a registry into a file as `docker login` does; what else is in it stays. The file
/// is made readable for its owner only.
///
/// # Errors
/// A file that is there and is no such file, the disk.
pub fn store_login(
    path: &Path,
    registry: &str,
    username: &str,
    password: &Secret,
) -> Result<(), RegistryError> {
    auth_file::change(path, registry, Some((username, password)))
}

/// Takes a registry's credentials out of a file.
///
/// # Errors
/// As with [`store_login`].
pub fn forget_login(path: &Path, registry: &str) -> Result<(), RegistryError> {
    auth_file::change(path, registry, None)
}
