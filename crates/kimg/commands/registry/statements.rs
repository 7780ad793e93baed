//! What is said about images beside them, and signed: bills of materials, provenance, signatures. As files, and in the
//! registry as referrers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use fs_err as fs;
use kimg_build::publish::Part;
use kimg_build::statements::{ProvenanceWishes, Statement, StatementKind, StatementWishes};
use kimg_core::Digest;
use kimg_registry::{Artifact, ArtifactBlob, Client, Reference, Repository, Signing};
use kimg_sign::{SigningKey, Statement as InToto, SystemRandom};

use super::{Story, variable, wait_for};
use crate::failure::{Failure, classified};

/// Where files are written when nobody says, by a build that pushes nothing.
const FOLDER: &str = "statements";

/// What is said about images beside them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Statements")]
pub(crate) struct StatementArgs {
    /// A bill of materials of each image: spdx, cyclonedx or none. Pushed images carry it as a referrer
    #[arg(long, value_name = "FORM")]
    pub(crate) sbom: Option<String>,

    /// A provenance of the release: the inputs of the lock, and the tools with their versions (SLSA)
    #[arg(long)]
    pub(crate) provenance: bool,

    /// The folder to write them to as files; ./statements when nothing is pushed
    #[arg(long, value_name = "DIR")]
    pub(crate) statements: Option<PathBuf>,
}

/// With what images are signed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Statements")]
pub(crate) struct SignArgs {
    /// Sign what is pushed, and what is said about it, as cosign does: the private key (PEM; of a password-protected one,
    /// COSIGN_PASSWORD has the password)
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_key: Option<PathBuf>,
}

impl StatementArgs {
    /// What a build is asked for.
    pub(crate) fn wishes(&self) -> Result<StatementWishes, Failure> {
        let sbom = self.sbom.as_deref().filter(|form| *form != "none");
        Ok(StatementWishes {
            sbom: sbom.map(str::parse).transpose()?,
            provenance: self.provenance.then(|| ProvenanceWishes {
                builder: builder(),
                invocation: invocation(),
                started: None,
            }),
        })
    }

    /// Writes the files, each under a name of its own. `pushed` says whether they go to a registry anyway.
    pub(crate) fn write(&self, statements: &[Statement], pushed: bool) -> Result<(), Failure> {
        let folder = match &self.statements {
            Some(folder) => folder.as_path(),
            None if pushed || statements.is_empty() => return Ok(()),
            None => Path::new(FOLDER),
        };
        fs::create_dir_all(folder)?;
        for statement in statements {
            fs::write(folder.join(statement.file_name()), &statement.text)?;
        }
        Ok(())
    }
}

/// Who builds, where GitHub Actions says it: what SLSA's own generators call its runners.
fn builder() -> Option<String> {
    let environment = variable("RUNNER_ENVIRONMENT").unwrap_or_else(|| "self-hosted".into());
    variable("GITHUB_ACTIONS").map(|_| format!("https://github.com/actions/runner/{environment}"))
}

fn invocation() -> Option<String> {
    let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
    let (run, attempt) = (variable("GITHUB_RUN_ID")?, variable("GITHUB_RUN_ATTEMPT")?);
    Some(format!("{server}/{repository}/actions/runs/{run}/attempts/{attempt}"))
}

impl SignArgs {
    /// The key, if there is one.
    pub(crate) fn key(&self) -> Result<Option<SigningKey>, Failure> {
        let Some(path) = &self.sign_key else { return Ok(None) };
        let password = password();
        let key = SigningKey::from_pem(&fs::read(path)?, password.as_deref().map(str::as_bytes));
        Ok(Some(key.map_err(|error| {
            let failure = classified(&error);
            failure.about(&path.display().to_string())
        })?))
    }
}

/// The password of keys, under the name that cosign knows it by. An empty one is one, too.
pub(crate) fn password() -> Option<String> {
    std::env::var("COSIGN_PASSWORD").ok()
}

/// Puts what is said about images beside them, and signs it where there is a key.
pub(crate) fn attach(
    client: &Client,
    parts: &[Part],
    statements: &[Statement],
    key: Option<&SigningKey>,
    story: &Story,
) -> Result<(), Failure> {
    let nothing = BTreeMap::new();
    let random = SystemRandom::new();
    let signing = key.map(|key| Signing { key, name: None, annotations: &nothing, random: &random });
    for statement in statements {
        for repository in repositories(parts, statement.subject) {
            let image = repository.at(statement.subject);
            let artifact = Artifact {
                artifact_type: statement.kind.media_type().to_owned(),
                blobs: vec![ArtifactBlob {
                    media_type: statement.kind.media_type().to_owned(),
                    bytes: statement.text.clone().into_bytes(),
                    annotations: BTreeMap::from([(
                        "org.opencontainers.image.title".to_owned(),
                        statement.file_name(),
                    )]),
                }],
                annotations: BTreeMap::from([(
                    "in-toto.io/predicate-type".to_owned(),
                    statement.kind.predicate_type().to_owned(),
                )]),
            };
            wait_for(client.push_referrer(&image, &artifact))?;
            if let Some(signing) = &signing {
                wait_for(client.attest(&image, &in_toto(repository, statement)?, signing))?;
            }
        }
    }
    if !statements.is_empty() {
        let signed = if signing.is_some() { ", signed" } else { "" };
        story.done("Stated", &format!("{} statements beside the images{signed}", statements.len()));
    }
    let Some(key) = key else { return Ok(()) };
    let indexes = parts.iter().map(|part| part.repository.at(part.tagged.image.descriptor.digest));
    sign(client, &indexes.collect::<Vec<_>>(), key, story)
}

/// Signs indexes, and each image in them.
pub(crate) fn sign<'a>(
    client: &Client,
    indexes: impl IntoIterator<Item = &'a Reference>,
    key: &SigningKey,
    story: &Story,
) -> Result<(), Failure> {
    let nothing = BTreeMap::new();
    let random = SystemRandom::new();
    let signing = Signing { key, name: None, annotations: &nothing, random: &random };
    let mut count = 0;
    for index in indexes {
        count += wait_for(client.sign(index, &signing))?.len();
    }
    story.done("Signed", &format!("{count} images and indexes"));
    Ok(())
}

/// Where an image or index goes to.
fn repositories(parts: &[Part], subject: Digest) -> Vec<&Repository> {
    let has = |part: &&Part| {
        let index = &part.tagged.image;
        index.descriptor.digest == subject || index.images.iter().any(|it| it.descriptor.digest == subject)
    };
    let mut all: Vec<_> = parts.iter().filter(has).map(|part| &part.repository).collect();
    all.sort();
    all.dedup();
    all
}

/// As in-toto has it: a provenance is a statement already, a bill becomes the predicate of one.
fn in_toto(repository: &Repository, statement: &Statement) -> Result<Vec<u8>, Failure> {
    if statement.kind == StatementKind::Provenance {
        return Ok(statement.text.clone().into_bytes());
    }
    let predicate = serde_json::from_str(&statement.text).map_err(std::io::Error::from)?;
    let kind = statement.kind.predicate_type();
    Ok(InToto::new(&repository.to_string(), statement.subject, kind, predicate).to_json())
}
