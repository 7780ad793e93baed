//! Which programs the programs of an image can start, and which of these the image has.
//!
//! The catalogue ([`kimg_closure::Call`]) says what kubelet, kubeadm, kube-proxy and CNI plugins may start in a version of
//! Kubernetes; the bytes of the very programs confirm it ([`kimg_closure::confirm`]); and the image is searched for it
//! as the container would: by the `PATH` of its config, links followed, files that may be executed.

use std::collections::BTreeMap;

use kimg_closure::{Call, Evidence, Importance, Rules, confirm, starts_programs};
use kimg_core::variant::COMMAND_PATH;
use kimg_core::{Content, Digest, FileTree, ImagePath, KubernetesVersion, Platform};
use rayon::prelude::*;
use serde::Serialize;

use crate::build::FileSets;
use crate::error::BuildError;
use crate::project::Project;
use crate::select::Selected;

/// What one image can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageAudit {
    /// The variant.
    pub variant: String,
    /// The platform.
    pub platform: Platform,
    /// The version of Kubernetes.
    pub kubernetes: KubernetesVersion,
    /// The folders in which the image's programs look for others.
    pub search_path: Vec<String>,
    /// The programs that the catalogue knows, by path.
    pub programs: Vec<AuditedProgram>,
}

/// What one program of an image can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditedProgram {
    /// Where it is.
    pub path: ImagePath,
    /// How many calls the catalogue has for it in this version. Those that its bytes do not confirm are not listed.
    pub catalogued: usize,
    /// Whether it can start others at all, as its bytes say; `None` where they don't. Asked only of programs without calls.
    pub starts_programs: Option<bool>,
    /// The calls that its bytes confirm: the important ones first, then by what is started.
    pub calls: Vec<AuditedCall>,
}

/// One program that another one can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditedCall {
    /// The name of the catalogue's entry.
    pub call: String,
    /// What is started: names or paths, of which any one is enough.
    pub starts: Vec<String>,
    /// How much it is needed.
    pub importance: Importance,
    /// What it is for, and so what stops working without it.
    pub needed_for: String,
    /// The first version of Kubernetes that starts it, if there is a first.
    pub since: Option<KubernetesVersion>,
    /// The first version that no longer starts it.
    pub before: Option<KubernetesVersion>,
    /// What of the program's bytes confirms it.
    pub evidence: Evidence,
    /// Where that is written.
    pub source: Option<String>,
    /// Where it is in the image; `None` when it is missing.
    pub found: Option<FoundProgram>,
}

/// A program that was found in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FoundProgram {
    /// The path under which it is started.
    pub path: ImagePath,
    /// The file that this path leads to.
    pub file: ImagePath,
}

impl AuditedCall {
    /// What is started, without folders: `["mount.nfs", "mount.nfs4"]`.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.starts.iter().filter_map(|start| start.rsplit('/').next()).collect();
        names.dedup();
        names
    }
}

impl ImageAudit {
    /// The calls of what the image does not have, of all its programs.
    pub fn missing(&self) -> impl Iterator<Item = (&AuditedProgram, &AuditedCall)> {
        let calls = self.programs.iter().flat_map(|program| program.calls.iter().map(move |c| (program, c)));
        calls.filter(|(_, call)| call.found.is_none())
    }
}

/// A program to look into: its bytes, its path and its version say which calls there are.
type Subject = (Digest, String, KubernetesVersion);

/// What a program's bytes say: the calls that they confirm, and whether it can start others at all.
type Seen<'a> = (Vec<(&'a Call, Evidence)>, Option<bool>);

/// Audits every image.
///
/// # Errors
/// When the bytes of a program can't be read.
pub fn audit(project: &Project, sets: &FileSets) -> Result<Vec<ImageAudit>, BuildError> {
    let mut subjects: BTreeMap<Subject, (ImagePath, &Content)> = BTreeMap::new();
    for image in &sets.images {
        for (path, content) in programs(image, &project.rules) {
            subjects.entry(subject(&path, content, image)).or_insert((path, content));
        }
    }
    // Variants share programs: each is read once.
    let confirmed: BTreeMap<Subject, Seen<'_>> = subjects
        .into_par_iter()
        .map(|(subject, (path, content))| {
            let calls = confirm(&project.rules.calls_of(&path, &subject.2), content)?;
            let starts = if calls.is_empty() { starts_programs(content)? } else { Some(true) };
            Ok((subject, (calls, starts)))
        })
        .collect::<Result<_, BuildError>>()?;

    let audits = sets.images.iter().map(|image| {
        let variant = &project.variants[image.variant];
        let search_path = match variant.environment.get("PATH") {
            Some(path) => path.split(':').map(str::to_owned).collect(),
            // What container runtimes set where an image says nothing.
            None => COMMAND_PATH.map(str::to_owned).to_vec(),
        };
        let tree = image.image_tree();
        let programs = programs(image, &project.rules).map(|(path, content)| {
            let subject = subject(&path, content, image);
            let seen = confirmed.get(&subject);
            let calls = seen.into_iter().flat_map(|(calls, _)| calls);
            let mut calls: Vec<AuditedCall> = calls
                .map(|(call, evidence)| AuditedCall::new(call, evidence, find(&tree, call, &search_path)))
                .collect();
            calls.sort_by_cached_key(|call| (call.importance, call.names().join(" ")));
            AuditedProgram {
                catalogued: project.rules.calls_of(&path, &image.version).len(),
                path,
                starts_programs: seen.and_then(|(_, starts)| *starts),
                calls,
            }
        });
        ImageAudit {
            variant: variant.name.clone(),
            platform: image.platform,
            kubernetes: image.version.clone(),
            programs: programs.collect(),
            search_path,
        }
    });
    Ok(audits.collect())
}

/// The files of an image of which the catalogue knows what they start, or that they start nothing, by path.
fn programs<'a>(image: &'a Selected, rules: &'a Rules) -> impl Iterator<Item = (ImagePath, &'a Content)> {
    let known = |path: &ImagePath| {
        !rules.calls_of(path, &image.version).is_empty() || rules.quiet().any(|quiet| quiet.holds_for(path))
    };
    let files = image.files.keys().filter(move |path| known(path));
    files.filter_map(|path| Some((path.clone(), image.tree.get(path)?.content()?)))
}

fn subject(path: &ImagePath, content: &Content, image: &Selected) -> Subject {
    (content.digest(), path.to_string(), image.version.clone())
}

/// The first of what is started that is there: a path as it is, a name in the folders of the search path.
fn find(tree: &FileTree, call: &Call, search_path: &[String]) -> Option<FoundProgram> {
    let mut paths = call.starts().iter().flat_map(|start| {
        if start.starts_with('/') {
            vec![start.clone()]
        } else {
            search_path.iter().map(|folder| format!("{folder}/{start}")).collect()
        }
    });
    paths.find_map(|path| executable(tree, &path))
}

fn executable(tree: &FileTree, path: &str) -> Option<FoundProgram> {
    let path = ImagePath::new(path).ok()?;
    let file = tree.resolve(&path).ok()?.path;
    let entry = tree.get(&file)?;
    let is_program = entry.content().is_some() && entry.mode & 0o111 != 0;
    is_program.then_some(FoundProgram { path, file })
}

impl AuditedCall {
    fn new(call: &Call, evidence: &Evidence, found: Option<FoundProgram>) -> Self {
        Self {
            call: call.name().to_owned(),
            starts: call.starts().to_vec(),
            importance: call.importance(),
            needed_for: call.purpose().to_owned(),
            since: call.versions().since.clone(),
            before: call.versions().before.clone(),
            evidence: evidence.clone(),
            source: call.source().map(str::to_owned),
            found,
        }
    }
}
