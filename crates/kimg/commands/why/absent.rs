//! Why a path is not in an image: who has it, who could have it, and what would bring it in.

use std::collections::BTreeMap;
use std::fmt;

use kimg_apk::{Applets, Repository};
use kimg_build::select::Selected;
use kimg_core::variant::COMMAND_PATH;
use kimg_core::{FileTree, ImagePath, Origin};
use serde::Serialize;
use serde_json::{Value, json};

/// So many packages that could have a path are named.
const NAMED: usize = 4;

/// What is known of a path that is not in an image.
pub(super) struct Absence {
    path: ImagePath,
    /// Whether somebody asked for what the indexes say: without that, there being no candidates says nothing.
    searched: bool,
    /// The chosen package that has it.
    package: Option<Owner>,
    /// The chosen program of which it would be an applet.
    applet_of: Option<ImagePath>,
    /// Paths with the same last name, of the image and of the chosen packages.
    elsewhere: Vec<Elsewhere>,
    /// Packages that could have it, by name.
    candidates: Vec<Candidate>,
}

#[derive(Serialize)]
struct Elsewhere {
    path: ImagePath,
    in_image: bool,
    from: String,
}

#[derive(Serialize)]
struct Owner {
    name: String,
    version: Option<String>,
    /// Bytes.
    size: u64,
    is_folder: bool,
}

/// A package that answers to a name that the path's last name makes.
#[derive(Serialize)]
struct Candidate {
    package: String,
    version: String,
    repository: String,
    /// `cmd:socat`, `so:libz.so.1`, or the package's own name.
    by: String,
}

impl Absence {
    pub(super) fn of(image: &Selected, path: &ImagePath, indexes: &[Repository]) -> Self {
        let package = image.tree.get(path).map(|entry| Owner {
            name: entry.origin.package().map_or_else(|| entry.origin.to_string(), str::to_owned),
            version: match &entry.origin {
                Origin::Package { version, .. } => Some(version.clone()),
                _ => None,
            },
            size: entry.size(),
            is_folder: entry.is_directory(),
        });
        let same_name = |other: &ImagePath| other.file_name() == path.file_name() && other != path;
        let elsewhere = image.tree.iter().filter(|(other, entry)| same_name(other) && !entry.is_directory());
        let mut elsewhere: Vec<Elsewhere> = elsewhere
            .map(|(other, entry)| Elsewhere {
                path: other.clone(),
                in_image: image.files.contains_key(other),
                from: entry.origin.to_string(),
            })
            .collect();
        elsewhere.sort_by_key(|other| !other.in_image);
        Self {
            path: path.clone(),
            searched: !indexes.is_empty(),
            applet_of: if package.is_none() { applet_of(&image.tree, path) } else { None },
            elsewhere,
            candidates: if package.is_none() { candidates(path, indexes) } else { Vec::new() },
            package,
        }
    }

    pub(super) fn add_to(&self, value: &mut Value) {
        value["package"] = json!(self.package);
        value["applet_of"] = json!(self.applet_of);
        value["elsewhere"] = json!(self.elsewhere);
        value["candidates"] = json!(self.candidates);
    }

    /// How a variant would ask for it.
    fn root(&self) -> String {
        let is_command = self.path.parent().is_some_and(|folder| COMMAND_PATH.contains(&folder.as_str()));
        match self.path.file_name() {
            Some(name) if is_command => format!("[[root]] command = \"{name}\""),
            _ => format!("[[root]] path = \"{}\"", self.path),
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not in the image: ", self.path)?;
        if let Some(owner) = &self.package {
            let name = match &owner.version {
                Some(version) => format!("package {}-{version}", owner.name),
                None => owner.name.clone(),
            };
            let what = if owner.is_folder { "a folder".to_owned() } else { kimg_report::size(owner.size) };
            write!(f, "{name} has it ({what}), and nothing that the image is for needs it")?;
        } else if let Some(program) = &self.applet_of {
            write!(f, "it is an applet of `{program}` that no root asks for, so no link to it is made")?;
        } else {
            write!(f, "no chosen package has it")?;
            match &self.candidates[..] {
                [] if self.searched => write!(f, ", and by its name no package of the repositories either")?,
                [] => {}
                some => {
                    let names: Vec<String> = some.iter().take(NAMED).map(ToString::to_string).collect();
                    write!(f, "; by its name it could be in {}", names.join(", "))?;
                    if some.len() > NAMED {
                        write!(f, " and {} more", some.len() - NAMED)?;
                    }
                }
            }
        }
        match self.elsewhere.first() {
            Some(other) if other.in_image => write!(f, "; the image has `{}`", other.path)?,
            Some(other) => write!(f, "; {} has `{}`, which is left out", other.from, other.path)?,
            None => {}
        }
        let can_be_had = self.package.as_ref().is_some_and(|owner| !owner.is_folder)
            || self.applet_of.is_some()
            || (self.package.is_none() && !(self.elsewhere.is_empty() && self.candidates.is_empty()));
        if can_be_had {
            write!(f, "\n  to have it: {} in the variant", self.root())?;
        }
        Ok(())
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{} ({}", self.package, self.version, self.repository)?;
        if self.by != self.package {
            write!(f, ", provides {}", self.by)?;
        }
        f.write_str(")")
    }
}

/// The program of the chosen packages whose installation script would have made this link.
fn applet_of(tree: &FileTree, path: &ImagePath) -> Option<ImagePath> {
    let mut linked = tree.clone();
    kimg_apk::link_applets(&mut linked, Applets::All).ok()?;
    let target = linked.get(path)?.target()?;
    ImagePath::new(target).ok()
}

/// The newest package of each name that answers to what the path's last name makes: a command, a library, a package.
fn candidates(path: &ImagePath, indexes: &[Repository]) -> Vec<Candidate> {
    let Some(name) = path.file_name() else { return Vec::new() };
    let mut names = vec![path.to_string(), name.to_owned()];
    if name.contains(".so") {
        names.push(format!("so:{name}"));
    } else {
        names.push(format!("cmd:{name}"));
    }
    let mut found: BTreeMap<&str, (&kimg_apk::Record, &Repository, &String)> = BTreeMap::new();
    for repository in indexes {
        for record in &repository.index.packages {
            let answers = |wanted: &&String| {
                record.name == **wanted || record.provides.iter().any(|provide| provide.name == **wanted)
            };
            // What is provided says more than what the package happens to be called.
            let Some(by) = names.iter().rev().find(answers) else { continue };
            let known = found.get(record.name.as_str());
            if known.is_none_or(|(other, ..)| other.version < record.version) {
                found.insert(&record.name, (record, repository, by));
            }
        }
    }
    found
        .into_values()
        .map(|(record, repository, by)| Candidate {
            package: record.name.clone(),
            version: record.version.to_string(),
            repository: repository.name.clone(),
            by: by.clone(),
        })
        .collect()
}
