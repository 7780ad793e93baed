//! `config.json` of Docker and `auth.json` of the containers tools (containers-auth.json(5)).

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Credentials;
use crate::reference::DOCKER_HUB;
use crate::{RegistryError, Repository, Secret};

/// A larger file is none of these: 1 MiB.
const MAX_FILE: u64 = 1 << 20;

/// What is read of such a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// A file with credentials, or with the names of helpers that have them.
pub(super) struct AuthFile {
    path: PathBuf,
    written: Written,
}

impl AuthFile {
    /// Reads it; `None` if it isn't there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, RegistryError> {
        let Some(bytes) = bytes(path)? else { return Ok(None) };
        // Podman makes an empty file where nobody has logged in yet.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let written = serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error))?;
        Ok(Some(Self { path: path.to_owned(), written }))
    }

    /// The helper that is named for a registry.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        let found = self.written.cred_helpers.iter().find(|(key, _)| normal(key) == registry);
        found.map(|(_, helper)| helper.as_str()).filter(|name| !name.is_empty())
    }

    /// The helper for every other registry.
    pub(super) fn store(&self) -> Option<&str> {
        self.written.creds_store.as_deref().filter(|name| !name.is_empty())
    }

    /// What the file itself says: of the entries for the repository, those above it and its registry, the nearest.
    pub(super) fn credentials(&self, repository: &Repository) -> Result<Option<Credentials>, RegistryError> {
        let whole = repository.to_string();
        let mut nearest: Option<(usize, &Entry)> = None;
        for (key, entry) in &self.written.auths {
            let key = normal(key);
            let above = whole == key || whole.strip_prefix(&key).is_some_and(|rest| rest.starts_with('/'));
            if above && nearest.is_none_or(|(length, _)| key.len() > length) {
                nearest = Some((key.len(), entry));
            }
        }
        match nearest {
            Some((_, entry)) => entry.credentials().map_err(|problem| RegistryError::CredentialsFile {
                path: self.path.clone(),
                problem: format!("the entry for {}: {problem}", repository.registry()),
            }),
            None => Ok(None),
        }
    }
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(Secret::new(&self.identitytoken))));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::RegistryToken(Secret::new(&self.registrytoken))));
        }
        if !self.auth.is_empty() {
            let decoded = STANDARD.decode(self.auth.trim()).map_err(|_| "`auth` is not base64")?;
            let text = String::from_utf8(decoded).map_err(|_| "`auth` holds no text")?;
            let (username, password) = text.split_once(':').ok_or("`auth` holds no name and password")?;
            // Docker pads it with zeros where it stood in fields of fixed size.
            let password = Secret::new(password.trim_end_matches('\0'));
            return Ok(Some(Credentials::Basic { username: username.to_owned(), password }));
        }
        if !self.username.is_empty() {
            let (username, password) = (self.username.clone(), Secret::new(&self.password));
            return Ok(Some(Credentials::Basic { username, password }));
        }
        Ok(None)
    }
}

/// A key as registries are called here: without `https://`, and without the `/v1/` of Docker's own.
pub(super) fn normal(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (registry, path) = key.split_once('/').map_or((key, None), |(registry, path)| (registry, Some(path)));
    let registry = match registry.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    };
    path.map_or_else(|| registry.clone(), |path| format!("{registry}/{path}"))
}

/// Puts a login into a file, or takes one out.
pub(super) fn change(
    path: &Path,
    registry: &str,
    login: Option<(&str, &Secret)>,
) -> Result<(), RegistryError> {
    let wrong =
        |problem: &str| RegistryError::CredentialsFile { path: path.to_owned(), problem: problem.to_owned() };
    let old = bytes(path)?.filter(|bytes| !bytes.iter().all(u8::is_ascii_whitespace));
    let mut file: Map<String, Value> = match old {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error))?,
        None => Map::new(),
    };
    let auths = file.entry("auths").or_insert_with(|| json!({}));
    let auths = auths.as_object_mut().ok_or_else(|| wrong("`auths` is no object"))?;
    let registry = normal(registry);
    auths.retain(|key, _| normal(key) != registry);
    if let Some((username, password)) = login {
        if username.contains(':') {
            return Err(wrong("a name holds no `:`"));
        }
        // Docker's own key, which docker looks for.
        let key = if registry == DOCKER_HUB { "https://index.docker.io/v1/" } else { &registry };
        let auth = STANDARD.encode(format!("{username}:{}", password.reveal()));
        auths.insert(key.to_owned(), json!({ "auth": auth }));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut new =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
    let text = serde_json::to_vec_pretty(&file).map_err(|error| malformed(path, &error))?;
    new.write_all(&text)?;
    new.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        let problem = format!("it is larger than {MAX_FILE} bytes");
        return Err(RegistryError::CredentialsFile { path: path.to_owned(), problem });
    }
    Ok(Some(bytes))
}

/// Where it is malformed, and not what stands there: that may be the password.
fn malformed(path: &Path, error: &serde_json::Error) -> RegistryError {
    let problem = format!("no such JSON at line {}, column {}", error.line(), error.column());
    RegistryError::CredentialsFile { path: path.to_owned(), problem }
}
