//! Manifests, indexes, tags and referrers of one repository.

use kimg_core::Digest;
use kimg_image::{Descriptor, media_type};
use reqwest::Method;
use serde::Deserialize;

use crate::transport::{Ask, Host, MAX_MANIFEST, Payload, Scope, Transport, refused, same_digest, wait};
use crate::{Reference, RegistryError, Repository, Tag};

/// A manifest or index as a registry gave it, with its digest computed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Points to it.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What is understood: OCI's and Docker's, images and indexes.
const ACCEPTED: [&str; 4] =
    [media_type::INDEX, media_type::MANIFEST, media_type::DOCKER_INDEX, media_type::DOCKER_MANIFEST];

/// How many pages of tags or referrers are read.
const MAX_PAGES: usize = 1000;

/// One repository of a registry that was met.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) host: &'a Host,
    pub(crate) repository: &'a Repository,
}

impl Place<'_> {
    fn ask(&self, method: Method, rest: &str) -> Result<Ask, RegistryError> {
        let scope = match method {
            Method::PUT | Method::POST => Scope::push(self.repository),
            _ => Scope::pull(self.repository),
        };
        Ok(Ask::scoped(method, self.host.url(self.repository, rest)?, &scope))
    }

    fn name(&self, asked_by: &str) -> String {
        let sign = if asked_by.contains(':') { '@' } else { ':' };
        format!("{}{sign}{asked_by}", self.repository)
    }

    /// What a tag or digest names; `None` if there is no such thing.
    pub(crate) async fn get(&self, asked_by: &str) -> Result<Option<Manifest>, RegistryError> {
        let ask =
            self.ask(Method::GET, &format!("manifests/{asked_by}"))?.header("accept", &ACCEPTED.join(", "));
        let what = self.name(asked_by);
        let (headers, bytes) = match self.transport.read(self.host, ask, MAX_MANIFEST).await {
            Ok((_, headers, bytes)) => (headers, bytes),
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let digest = Digest::of(&bytes);
        if asked_by.contains(':') && asked_by != digest.to_string() {
            return Err(RegistryError::mismatch(what, asked_by, digest));
        }
        if let Some(said) = header("docker-content-digest")
            && said.starts_with("sha256:")
            && said != digest.to_string()
        {
            let said = said.chars().take(80).collect::<String>();
            return Err(RegistryError::mismatch(format!("what the registry calls {what}"), digest, said));
        }
        let media_type = kind(header("content-type"), &bytes)
            .map_err(|problem| RegistryError::Malformed { what, problem })?;
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Ok(Some(Manifest { descriptor, bytes }))
    }

    /// The digest that a tag names, or that of a manifest that is there; `None` if there is no such thing.
    pub(crate) async fn head(&self, asked_by: &str) -> Result<Option<Digest>, RegistryError> {
        let ask =
            self.ask(Method::HEAD, &format!("manifests/{asked_by}"))?.header("accept", &ACCEPTED.join(", "));
        let doing = ask.doing.clone();
        let received = self.transport.call(self.host, ask).await?;
        match received.status.as_u16() {
            200..=299 => {
                let said = received.header("docker-content-digest").and_then(|said| said.parse().ok());
                match said {
                    Some(digest) if asked_by.contains(':') && asked_by != Digest::to_string(&digest) => {
                        let what = format!("what the registry calls {}", self.name(asked_by));
                        Err(RegistryError::mismatch(what, asked_by, digest))
                    }
                    Some(digest) => Ok(Some(digest)),
                    // The header is only recommended.
                    None => Ok(self.get(asked_by).await?.map(|found| found.descriptor.digest)),
                }
            }
            404 => Ok(None),
            _ => Err(refused(received, &doing).await),
        }
    }

    /// Puts a manifest or index there, by its digest or under a tag. Gives whether the registry took note of its
    /// `subject` (`OCI-Subject`).
    pub(crate) async fn put(&self, asked_by: &str, manifest: &Manifest) -> Result<bool, RegistryError> {
        let Manifest { descriptor, bytes } = manifest;
        let ask = self
            .ask(Method::PUT, &format!("manifests/{asked_by}"))?
            .header("content-type", &descriptor.media_type)
            .body(Payload::bytes(bytes.clone()));
        let doing = ask.doing.clone();
        let mut patience = self.transport.patience();
        loop {
            let received = self.transport.call(self.host, ask.clone()).await?;
            if matches!(received.status.as_u16(), 200..=204) {
                same_digest(&received, descriptor.digest, &self.name(asked_by))?;
                return Ok(received.header("oci-subject").is_some());
            }
            match refused(received, &doing).await {
                // What it names was sent before it. Docker's registry writes in place where a repository has a blob: while
                // it takes the same one from somebody else, it overlooks it.
                error if overlooks(&error) => {
                    wait(&mut patience, error, 0, None).await?;
                }
                // A blob or a manifest that it names is not there, says the registry.
                RegistryError::NotFound { .. } => {
                    let said = "something that it names is missing".into();
                    return Err(RegistryError::Refused { doing, status: 404, said });
                }
                error => return Err(error),
            }
        }
    }

    /// Every tag, in the order of the registry.
    pub(crate) async fn tags(&self) -> Result<Vec<Tag>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            // Docker's own registry says `null` where there are none.
            tags: Option<Vec<String>>,
        }
        let pages: Vec<Page> = self.pages("tags/list").await?;
        let tags = pages.into_iter().flat_map(|page| page.tags.unwrap_or_default());
        // What is no tag can't be asked for either.
        Ok(tags.filter_map(|tag| tag.parse().ok()).collect())
    }

    /// What refers to a digest, as the referrers API says; `None` where the registry has none.
    pub(crate) async fn referrers_api(
        &self,
        digest: Digest,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        #[derive(Deserialize)]
        struct Index {
            #[serde(default)]
            manifests: Vec<Descriptor>,
        }
        match self.pages::<Index>(&format!("referrers/{digest}")).await {
            Ok(pages) => Ok(Some(pages.into_iter().flat_map(|page| page.manifests).collect())),
            // What registries say that know no such address.
            Err(
                RegistryError::NotFound { .. }
                | RegistryError::Refused { .. }
                | RegistryError::Malformed { .. },
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A list that comes in pages (`Link: <…>; rel="next"`, RFC 5988).
    async fn pages<T: for<'de> Deserialize<'de>>(&self, rest: &str) -> Result<Vec<T>, RegistryError> {
        let mut pages = Vec::new();
        let mut url = self.host.url(self.repository, rest)?;
        loop {
            let ask = Ask::scoped(Method::GET, url.clone(), &Scope::pull(self.repository));
            let doing = ask.doing.clone();
            let (_, headers, bytes) = self.transport.read(self.host, ask, MAX_MANIFEST).await?;
            pages.push(serde_json::from_slice(&bytes).map_err(|error| RegistryError::Malformed {
                what: format!("the answer to {doing}"),
                problem: error.to_string(),
            })?);
            let link = headers.get("link").and_then(|value| value.to_str().ok()).and_then(next_page);
            let Some(next) = link.and_then(|link| url.join(link).ok()) else { return Ok(pages) };
            if !self.host.owns(&next) || next == url {
                let problem = "its next page is somewhere else".to_owned();
                return Err(RegistryError::Protocol { doing, problem });
            }
            if pages.len() == MAX_PAGES {
                return Err(RegistryError::TooLarge { what: doing, limit: format!("{MAX_PAGES} pages") });
            }
            url = next;
        }
    }
}

impl Reference {
    pub(crate) fn missing(&self) -> RegistryError {
        RegistryError::NotFound { what: self.to_string() }
    }
}

/// Whether a manifest is refused for something that it names (OCI distribution-spec, "Error Codes").
fn overlooks(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Refused { said, .. } if said.contains("MANIFEST_BLOB_UNKNOWN"))
}

/// `<…>; rel="next"`
fn next_page(link: &str) -> Option<&str> {
    let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then_some(address)
}

/// The media type of a manifest: what its bytes say, which the registry has to agree with, or what the registry says.
fn kind(header: Option<&str>, bytes: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let typed: Typed = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let header = header.map(|text| text.split(';').next().unwrap_or(text).trim());
    match (typed.media_type, header.filter(|text| ACCEPTED.contains(text))) {
        (Some(own), Some(said)) if own != said => {
            Err(format!("it calls itself `{}`, and the registry calls it `{said}`", short(&own)))
        }
        (Some(own), _) if ACCEPTED.contains(&own.as_str()) => Ok(own),
        (Some(own), _) => Err(format!("its media type is `{}`, which is no manifest's", short(&own))),
        (None, Some(said)) => Ok(said.to_owned()),
        (None, None) => Err("nobody says what it is: it has no media type".to_owned()),
    }
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_and_the_registry_have_to_agree_what_it_is() {
        let typed = |kind: &str| format!(r#"{{"mediaType":"{kind}"}}"#).into_bytes();
        assert_eq!(kind(Some(media_type::INDEX), b"{}").unwrap(), media_type::INDEX);
        assert_eq!(kind(Some("text/plain"), &typed(media_type::INDEX)).unwrap(), media_type::INDEX);
        let with_charset = format!("{}; charset=utf-8", media_type::MANIFEST);
        assert_eq!(kind(Some(&with_charset), &typed(media_type::MANIFEST)).unwrap(), media_type::MANIFEST);
        assert!(kind(Some(media_type::INDEX), &typed(media_type::MANIFEST)).is_err());
        assert!(kind(None, b"{}").is_err() && kind(None, b"[").is_err());
        assert!(
            kind(Some(media_type::INDEX), &typed("application/vnd.docker.distribution.manifest.v1+json"))
                .is_err()
        );
    }

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(
            next_page("</v2/a/tags/list?last=x&n=2>; rel=\"next\""),
            Some("/v2/a/tags/list?last=x&n=2")
        );
        assert_eq!(next_page("</x>; rel=\"prev\""), None);
        assert_eq!(next_page("x"), None);
    }
}
