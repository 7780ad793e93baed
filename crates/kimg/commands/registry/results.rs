//! What is left of a push: `reference@digest` lines, the files that buildx's and skopeo's users know, and what GitHub
//! Actions wants to be told.

use std::io::Write as _;
use std::path::Path;

use fs_err as fs;
use kimg_build::publish::Part;
use kimg_core::Digest;
use kimg_image::Descriptor;
use kimg_registry::{Client, Pushed, Reference, Repository, Tag};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pushing::ResultArgs;
use super::{variable, wait_for};
use crate::args::TextOrJson;
use crate::failure::Failure;

/// An index or image that was pushed.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    repository: Repository,
    /// The tags that were set.
    tags: Vec<Tag>,
    descriptor: Descriptor,
    /// What kimg knows of it that made it.
    made: Option<Made>,
}

#[derive(Debug, Clone)]
struct Made {
    variant: String,
    /// The tags that are its due, also where they were not set.
    tags: Vec<Tag>,
}

/// One object of a metadata file: the keys that users of buildx know, and what `kimg index` needs to join parts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Metadata {
    /// Every name that was set, with commas between.
    #[serde(rename = "image.name")]
    name: String,
    #[serde(rename = "containerimage.digest")]
    pub(crate) digest: Digest,
    #[serde(rename = "containerimage.descriptor")]
    descriptor: serde_json::Value,
    #[serde(rename = "kimg.repository")]
    pub(crate) repository: String,
    #[serde(rename = "kimg.variant", default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(rename = "kimg.tags", default)]
    pub(crate) tags: Vec<String>,
}

/// What a metadata file has: one object, or a list of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum MetadataFile {
    One(Box<Metadata>),
    Several(Vec<Metadata>),
}

impl MetadataFile {
    pub(crate) fn into_list(self) -> Vec<Metadata> {
        match self {
            Self::One(one) => vec![*one],
            Self::Several(list) => list,
        }
    }
}

impl Entry {
    /// What a push left behind, in its order.
    pub(crate) fn all(pushed: &Pushed, client: &Client, parts: &[Part]) -> Result<Vec<Self>, Failure> {
        let mut entries: Vec<Self> = Vec::new();
        let untagged = pushed.untagged.iter().filter_map(|reference| Some((reference, reference.digest()?)));
        let tagged = pushed.tags.iter().map(|(reference, digest)| (reference, *digest));
        for (reference, digest) in tagged.chain(untagged) {
            let repository = reference.repository();
            let same =
                |entry: &&mut Self| entry.repository == *repository && entry.descriptor.digest == digest;
            if let Some(entry) = entries.iter_mut().find(same) {
                entry.tags.extend(reference.tag().cloned());
                continue;
            }
            let descriptor = wait_for(client.manifest(&repository.at(digest)))?.descriptor;
            let part = parts
                .iter()
                .find(|p| p.repository == *repository && p.tagged.image.descriptor.digest == digest);
            let made = part.map(|p| Made { variant: p.variant.clone(), tags: p.tags.clone() });
            let tags = reference.tag().cloned().into_iter().collect();
            entries.push(Self { repository: repository.clone(), tags, descriptor, made });
        }
        Ok(entries)
    }

    /// `ghcr.io/acme/kubelet:v1.34.2@sha256:…`, one for each tag.
    fn lines(&self) -> Vec<String> {
        let digest = self.descriptor.digest;
        let names: Vec<Reference> = match &self.tags[..] {
            [] => return vec![self.repository.at(digest).to_string()],
            tags => tags.iter().map(|tag| self.repository.tagged(tag.clone())).collect(),
        };
        names.iter().map(|name| format!("{name}@{digest}")).collect()
    }

    fn metadata(&self) -> Metadata {
        let names = self.tags.iter().map(|tag| self.repository.tagged(tag.clone()).to_string());
        let due = self.made.as_ref().map_or(&self.tags, |made| &made.tags);
        Metadata {
            name: match &self.tags[..] {
                [] => self.repository.to_string(),
                _ => names.collect::<Vec<_>>().join(","),
            },
            digest: self.descriptor.digest,
            descriptor: json!(self.descriptor),
            repository: self.repository.to_string(),
            variant: self.made.as_ref().map(|made| made.variant.clone()),
            tags: due.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Prints what was pushed, and writes it where it was asked for.
pub(crate) fn tell(entries: &[Entry], args: &ResultArgs) -> Result<(), Failure> {
    write_files(entries, args.metadata_file.as_deref(), args.digestfile.as_deref())?;
    let mut out = std::io::stdout().lock();
    match args.format {
        TextOrJson::Table => write!(out, "{}", lines(entries))?,
        TextOrJson::Json => writeln!(out, "{}", json_text(&metadata(entries))?)?,
    }
    Ok(())
}

/// `reference@digest`, a line for each tag.
pub(crate) fn lines(entries: &[Entry]) -> String {
    entries.iter().flat_map(Entry::lines).map(|line| line + "\n").collect()
}

pub(crate) fn write_files(
    entries: &[Entry],
    metadata_file: Option<&Path>,
    digestfile: Option<&Path>,
) -> Result<(), Failure> {
    if let Some(path) = metadata_file {
        let file = match &metadata(entries)[..] {
            [one] => MetadataFile::One(Box::new(one.clone())),
            list => MetadataFile::Several(list.to_vec()),
        };
        fs::write(path, json_text(&file)? + "\n")?;
    }
    if let Some(path) = digestfile {
        let digests: Vec<String> = entries.iter().map(|entry| entry.descriptor.digest.to_string()).collect();
        fs::write(path, digests.join("\n") + "\n")?;
    }
    to_github(entries)
}

fn metadata(entries: &[Entry]) -> Vec<Metadata> {
    entries.iter().map(Entry::metadata).collect()
}

fn json_text(value: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value).map_err(std::io::Error::from)?)
}

/// The outputs of a step of GitHub Actions: `digest` (of the first), `references` and `metadata`.
fn to_github(entries: &[Entry]) -> Result<(), Failure> {
    let (Some(path), Some(first)) = (variable("GITHUB_OUTPUT"), entries.first()) else { return Ok(()) };
    let all = serde_json::to_string(&metadata(entries)).map_err(std::io::Error::from)?;
    let end = "kimg_end_of_references";
    let text = format!(
        "digest={}\nmetadata={all}\nreferences<<{end}\n{}{end}\n",
        first.descriptor.digest,
        lines(entries)
    );
    append(Path::new(&path), &text)
}

/// Adds to the summary of a job of GitHub Actions, if this is one.
pub(crate) fn summary(markdown: &str) -> Result<(), Failure> {
    match variable("GITHUB_STEP_SUMMARY") {
        Some(path) => append(Path::new(&path), &format!("{markdown}\n")),
        None => Ok(()),
    }
}

fn append(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    fs::OpenOptions::from_options(options).open(path)?.write_all(text.as_bytes())?;
    Ok(())
}
