//! The bill of materials of an image: the packages that its database lists, and the files that are really in it.

use std::collections::BTreeMap;
use std::io;

use kimg_apk::{Package, Record};
use kimg_core::{Content, Entry, ImagePath, Origin};
use kimg_image::Tagged;
use kimg_report::sbom::{Sbom, SbomFile, SbomPackage, SbomSource};
use kimg_source::Location;
use rayon::prelude::*;

use super::{SbomFormat, Statement, StatementKind, distribution, first_tag, vendor};
use crate::build::Build;
use crate::error::BuildError;
use crate::inputs::{ImageInputs, Inputs, Provided};
use crate::project::OwnProgram;
use crate::select::{Selected, known_sha1};

/// The bills of all images, in their order.
pub(super) fn of_images(
    build: &Build<'_>,
    format: SbomFormat,
    images: &[Selected],
    joined: &[(usize, Tagged)],
    inputs: &Inputs,
) -> Result<Vec<Statement>, BuildError> {
    let made = images.par_iter().map(|image| {
        let tagged = joined.iter().find(|(variant, _)| *variant == image.variant).map(|(_, tagged)| tagged);
        let same = |it: &&ImageInputs| it.variant == image.variant && it.platform == image.platform;
        let (Some(tagged), Some(own)) = (tagged, inputs.images.iter().find(same)) else { return Ok(None) };
        let built = tagged.image.images.iter().find(|built| built.platform == image.platform);
        let Some(built) = built else { return Ok(None) };
        let bill = Bill { build, image, own, inputs };
        let tag = first_tag(tagged);
        let sbom = bill.sbom(&tag, built.descriptor.digest)?;
        let (kind, text) = match format {
            SbomFormat::Spdx => (StatementKind::Spdx, sbom.to_spdx()),
            SbomFormat::CycloneDx => (StatementKind::CycloneDx, sbom.to_cyclonedx()),
        };
        Ok(Some(Statement { kind, subject: sbom.digest, tag, platform: Some(image.platform), text }))
    });
    let made: Result<Vec<_>, BuildError> = made.collect();
    Ok(made?.into_iter().flatten().collect())
}

/// One image and what it is made of.
struct Bill<'a> {
    build: &'a Build<'a>,
    image: &'a Selected,
    own: &'a ImageInputs,
    inputs: &'a Inputs,
}

impl Bill<'_> {
    fn sbom(&self, tag: &str, digest: kimg_core::Digest) -> Result<Sbom, BuildError> {
        let (name, version) = tag.split_once(':').unwrap_or((tag, ""));
        let newest = self.image.packages.iter().filter_map(|p| p.record.build_time).max();
        let mut by_origin: BTreeMap<&Origin, Vec<SbomFile>> = BTreeMap::new();
        let mut files = Vec::new();
        for path in self.image.files.keys() {
            let Some(entry) = self.image.tree.get(path).filter(|entry| !entry.is_directory()) else {
                continue;
            };
            let file = entry.content().map(|content| self.file(path, entry, content)).transpose()?;
            match &entry.origin {
                Origin::Generated(_) => files.extend(file),
                // A link says at least that something of the package is here.
                origin => by_origin.entry(origin).or_default().extend(file),
            }
        }
        let mut packages = Vec::new();
        let listed: Vec<&Package> = self
            .image
            .packages
            .iter()
            .map(|p| &**p)
            .filter(|p| {
                let ships_files = p.entries.iter().any(|(_, entry)| !entry.is_directory());
                !ships_files || by_origin.contains_key(&origin_of(&p.record))
            })
            .collect();
        for package in &listed {
            let files = by_origin.remove(&origin_of(&package.record)).unwrap_or_default();
            packages.push(self.package(package, &listed, files));
        }
        for (origin, files) in by_origin {
            let Origin::Program(name) = origin else { continue };
            if let Some(provided) = self.provided(name) {
                packages.push(self.program(name, &provided.own, files));
            }
        }
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Sbom {
            name: name.to_owned(),
            version: version.to_owned(),
            platform: self.image.platform,
            digest,
            tool: "kimg".into(),
            tool_version: env!("CARGO_PKG_VERSION").into(),
            created: self.build.epoch.or(newest).unwrap_or(0),
            packages,
            files,
        })
    }

    fn file(&self, path: &ImagePath, entry: &Entry, content: &Content) -> Result<SbomFile, BuildError> {
        let sha1 = known_sha1(content, &self.build.cache).ok_or_else(|| {
            BuildError::disk(format!("hashing {path}"))(io::Error::other("it can't be read"))
        })?;
        let original = self.original(path, entry).filter(|original| *original != content);
        Ok(SbomFile {
            path: path.clone(),
            sha1,
            sha256: content.digest(),
            size: content.size(),
            original: original.map(Content::digest),
        })
    }

    /// The file as whoever it comes from has it. It may stand elsewhere here, under its own name.
    fn original(&self, path: &ImagePath, entry: &Entry) -> Option<&Content> {
        match &entry.origin {
            Origin::Generated(_) => None,
            Origin::Program(name) => self.provided(name).map(|provided| &provided.content),
            Origin::Package { .. } => {
                let package = self.image.packages.iter().find(|p| origin_of(&p.record) == entry.origin)?;
                // Of two entries for one path the later one counts.
                let shipped =
                    || package.entries.iter().rev().filter_map(|(at, it)| Some((at, it.content()?)));
                let named = || shipped().filter(|(at, _)| at.file_name() == path.file_name());
                shipped()
                    .find(|(at, _)| *at == path)
                    .or_else(|| named().find(|(_, content)| entry.content() == Some(*content)))
                    .or_else(|| named().next())
                    .map(|(_, content)| content)
            }
        }
    }

    fn package(&self, package: &Package, listed: &[&Package], files: Vec<SbomFile>) -> SbomPackage {
        let record = &package.record;
        let sourced = self.inputs.sourced.get(&(self.image.platform, record.id()));
        let download = sourced.and_then(|sourced| {
            let mirror = sourced.repository.mirrors.first().filter(|mirror| mirror.is_remote())?;
            Some(mirror.join(self.image.platform.alpine()).join(&record.file_name()).to_string())
        });
        SbomPackage {
            name: record.name.clone(),
            version: Some(record.version.to_string()),
            source: SbomSource::Apk {
                vendor: vendor(self.build).into(),
                distribution: distribution(self.build, self.inputs),
                arch: record.arch.clone(),
                origin: record.origin.clone(),
                commit: record.commit.clone(),
            },
            licence: record.license.clone(),
            description: record.description.clone(),
            homepage: record.url.clone(),
            download,
            digest: Some(package.digest),
            depends_on: depends_on(record, listed),
            files,
        }
    }

    /// The program of this name, or one that is part of the one of this name.
    fn provided(&self, name: &str) -> Option<&Provided> {
        let is_part = |it: &&Provided| it.within.as_ref().is_some_and(|one| one.name == name);
        let mut all = self.own.programs.iter();
        all.clone().find(|it| it.own.program.name == name).or_else(|| all.find(is_part))
    }

    fn program(&self, name: &str, own: &OwnProgram, files: Vec<SbomFile>) -> SbomPackage {
        let program = &own.program;
        SbomPackage {
            name: name.to_owned(),
            version: own.version.as_ref().map(ToString::to_string),
            source: SbomSource::Program,
            licence: String::new(),
            description: String::new(),
            homepage: String::new(),
            download: Some(&program.location).filter(|it| it.is_remote()).map(Location::to_string),
            digest: self.inputs.lock.program(&program.name, self.image.platform),
            depends_on: Vec::new(),
            files,
        }
    }
}

fn origin_of(record: &Record) -> Origin {
    Origin::Package { name: record.name.clone(), version: record.version.to_string() }
}

/// The listed packages that answer what a package needs.
fn depends_on(record: &Record, listed: &[&Package]) -> Vec<String> {
    let answers = |package: &Package, name: &str| {
        package.record.name == name
            || package.record.provides.iter().any(|provide| provide.name == name)
            || (name.starts_with('/') && package.entries.iter().any(|(path, _)| path.as_str() == name))
    };
    let needed = record.depends.iter().filter(|dependency| !dependency.conflict);
    let mut names: Vec<String> = needed
        .flat_map(|dependency| listed.iter().filter(|package| answers(package, &dependency.name)))
        .map(|package| package.record.name.clone())
        .filter(|name| *name != record.name)
        .collect();
    names.sort();
    names.dedup();
    names
}
