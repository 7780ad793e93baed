//! Where a release comes from: what was asked for, every input of the lock, and the tools.

use std::collections::BTreeMap;

use kimg_image::Tagged;
use kimg_report::provenance::{Material, Provenance, Subject};
use kimg_source::Location;
use serde_json::{Map, Value, json};

use super::{ProvenanceWishes, distribution, first_tag, vendor};
use crate::build::Build;
use crate::inputs::Inputs;
use crate::packing::Packed;

pub(super) fn of_release(
    build: &Build<'_>,
    said: &ProvenanceWishes,
    joined: &[(usize, Tagged)],
    packed: &Packed,
    inputs: &Inputs,
) -> Provenance {
    let mut versions = BTreeMap::from([("kimg".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    if let Some((name, version)) = packed.packer.as_ref().and_then(|packer| packer.split_once(' ')) {
        versions.insert(name.to_owned(), version.to_owned());
    }
    for compilers in inputs.lock.programs.iter().filter_map(|program| program.toolchain.as_deref()) {
        for compiler in compilers.split(", ") {
            // go1.19.8, zig 0.17.1
            let parts = compiler.split_once(' ').filter(|(name, _)| *name == "zig");
            let parts = parts.or_else(|| Some(("go", compiler.strip_prefix("go")?)));
            versions.extend(parts.map(|(name, version)| (name.to_owned(), version.to_owned())));
        }
    }
    Provenance {
        subjects: subjects(joined),
        external: asked_for(build),
        internal: decided(inputs),
        materials: materials(build, packed, inputs),
        builder: said.builder.clone(),
        versions,
        invocation: said.invocation.clone(),
        started: said.started,
        finished: None,
    }
}

fn subjects(joined: &[(usize, Tagged)]) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (_, tagged) in joined {
        let tag = first_tag(tagged);
        for image in &tagged.image.images {
            let name = format!("{tag} ({})", image.platform);
            subjects.push(Subject { name, digest: image.descriptor.digest });
        }
        subjects.push(Subject { name: tag, digest: tagged.image.descriptor.digest });
    }
    subjects
}

/// The settings that decide what is built, and how.
fn asked_for(build: &Build<'_>) -> Map<String, Value> {
    let project = build.project;
    let variants: BTreeMap<&str, Value> = project
        .variants
        .iter()
        .map(|variant| (variant.name.as_str(), json!({ "contents": variant.contents })))
        .collect();
    let word = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let mut asked = Map::from_iter([
        ("variants".to_owned(), json!(variants)),
        ("platforms".to_owned(), json!(project.platforms)),
        ("sample".to_owned(), project.is_sample().into()),
        ("pack".to_owned(), project.pack.to_string().into()),
        ("optimize".to_owned(), word(&project.aims.objective).into()),
        ("layers".to_owned(), word(&project.aims.cut).into()),
        ("compression".to_owned(), word(&project.aims.family).into()),
        ("strict".to_owned(), project.strict.into()),
        ("labels".to_owned(), json!(project.labels)),
        ("annotations".to_owned(), json!(project.annotations)),
    ]);
    let known = [
        ("codec", project.aims.codec.map(|codec| codec.to_string().into())),
        ("alpine", project.alpine.clone().map(Value::from)),
        ("sourceDateEpoch", build.epoch.map(Value::from)),
    ];
    asked.extend(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    asked
}

/// Which packages were chosen for which image.
fn decided(inputs: &Inputs) -> Map<String, Value> {
    let mut images: Vec<_> = inputs.lock.images.iter().collect();
    images.sort();
    let images: Vec<Value> = images
        .into_iter()
        .map(|image| json!({ "variant": image.variant, "platform": image.platform, "packages": image.packages }))
        .collect();
    Map::from_iter([("images".to_owned(), images.into())])
}

/// Every input: indexes, packages, programs of one's own, the packer. Folders of this machine are not named.
fn materials(build: &Build<'_>, packed: &Packed, inputs: &Inputs) -> Vec<Material> {
    let mut all = Vec::new();
    let noted = |known: &[(&str, String)]| {
        let known = known.iter().filter(|(_, value)| !value.is_empty());
        known.map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    for index in &inputs.indexes {
        let remote = Some(&index.from).filter(|from| from.is_remote());
        let whole = |from: &Location| from.join(index.platform.alpine()).join("APKINDEX.tar.gz").to_string();
        all.push(Material {
            name: "APKINDEX.tar.gz".into(),
            uri: remote.map(whole),
            digest: Some(index.digest),
            annotations: noted(&[
                ("platform", index.platform.to_string()),
                ("description", index.description.clone()),
            ]),
        });
    }
    let distribution = distribution(build, inputs).map(|it| format!("&distro={it}")).unwrap_or_default();
    for package in &inputs.lock.packages {
        let sourced = inputs.sourced.get(&(package.platform, package.id()));
        let mirror = sourced.and_then(|it| it.repository.mirrors.first()).filter(|it| it.is_remote());
        let file = format!("{}.apk", package.id());
        let (vendor, arch) = (vendor(build), package.platform.alpine());
        let version = package.version.replace('+', "%2B");
        let purl = || {
            let name = package.name.replace('+', "%2B");
            format!("pkg:apk/{vendor}/{name}@{version}?arch={arch}{distribution}")
        };
        all.push(Material {
            uri: Some(mirror.map_or_else(purl, |mirror| mirror.join(arch).join(&file).to_string())),
            name: file,
            digest: Some(package.sha256),
            annotations: noted(&[
                ("platform", package.platform.to_string()),
                ("identity", package.identity.clone()),
            ]),
        });
    }
    for program in &inputs.lock.programs {
        let own = build.project.programs_for(program.platform).find(|own| own.program.name == program.name);
        let remote = own.map(|own| &own.program.location).filter(|location| location.is_remote());
        all.push(Material {
            name: program.name.clone(),
            uri: remote.map(Location::to_string),
            digest: Some(program.sha256),
            annotations: noted(&[
                ("platform", program.platform.to_string()),
                ("toolchain", program.toolchain.clone().unwrap_or_default()),
                ("compiled", program.result.map(|digest| digest.to_string()).unwrap_or_default()),
            ]),
        });
    }
    if let Some((name, version)) = packed.packer.as_ref().and_then(|packer| packer.split_once(' ')) {
        all.push(Material {
            name: name.to_owned(),
            uri: Some(format!("pkg:generic/{name}@{version}")),
            ..Material::default()
        });
    }
    all
}
