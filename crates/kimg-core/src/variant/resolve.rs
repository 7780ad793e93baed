//! From a variant as written to one that can be built: what it extends is merged in, and everything is checked.

use std::collections::BTreeMap;

use super::{
    ArgumentRule, DirectoryRule, FileRule, Layer, Locate, MountRule, Portable, Probe, Root, Variant,
    VersionRange, WantedPackage, written,
};
use crate::{Classified, ErrorClass, ImagePath};

/// Why a variant can't be built as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariantError {
    /// Nobody knows this name.
    #[error("there is no variant `{name}`")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A variant that extends itself.
    #[error("variant `{0}` extends itself")]
    Cycle(String),
    /// A setting that can't be meant.
    #[error("variant `{variant}`: {problem}")]
    Invalid {
        /// The variant.
        variant: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Classified for VariantError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } => Some(format!("the variants are {}", known.join(", "))),
            _ => None,
        }
    }
}

/// Resolves one variant out of all that are known by name.
pub fn resolve(name: &str, all: &BTreeMap<String, written::Variant>) -> Result<Variant, VariantError> {
    let mut merged = written::Variant::default();
    merge(name, all, &mut Vec::new(), &mut Vec::new(), &mut merged)?;
    let own = all.get(name).cloned().unwrap_or_default();
    check(written::Variant {
        name: own.name,
        description: own.description,
        tag_suffix: own.tag_suffix,
        by_name: own.by_name,
        ..merged
    })
}

fn merge(
    name: &str,
    all: &BTreeMap<String, written::Variant>,
    above: &mut Vec<String>,
    done: &mut Vec<String>,
    into: &mut written::Variant,
) -> Result<(), VariantError> {
    if above.iter().any(|n| n == name) {
        return Err(VariantError::Cycle(name.to_owned()));
    }
    if done.iter().any(|n| n == name) {
        return Ok(());
    }
    let variant = all.get(name).ok_or_else(|| VariantError::Unknown {
        name: name.to_owned(),
        known: all.keys().cloned().collect(),
    })?;
    above.push(name.to_owned());
    for parent in &variant.extends {
        merge(parent, all, above, done, into)?;
    }
    above.pop();
    done.push(name.to_owned());

    let variant = variant.clone();
    into.image = variant.image.or(into.image.take());
    into.version_from = variant.version_from.or(into.version_from.take());
    into.contents = variant.contents.or(into.contents);
    into.budget = variant.budget;
    into.packages.extend(variant.packages);
    into.optional_packages.extend(variant.optional_packages);
    into.environment.extend(variant.environment);
    into.labels.extend(variant.labels);
    into.layers.extend(variant.layers);
    into.entrypoint.extend(variant.entrypoint);
    into.files.extend(variant.files);
    into.mounts.extend(variant.mounts);
    into.directories.extend(variant.directories);
    into.portable = variant.portable.or(into.portable.take());
    for root in variant.roots {
        // A root named again for the same versions is said anew: the later words count, in the place of the first.
        let named = |r: &written::Root| {
            (r.command.clone(), r.path.clone(), r.install.clone(), r.since.clone(), r.before.clone())
        };
        let same = |r: &written::Root| named(r) == named(&root);
        match into.roots.iter_mut().find(|r| same(r)) {
            Some(earlier) => *earlier = root,
            None => into.roots.push(root),
        }
    }
    Ok(())
}

fn check(variant: written::Variant) -> Result<Variant, VariantError> {
    let name = variant.name.clone();
    let invalid = |problem: String| VariantError::Invalid { variant: name.clone(), problem };
    let word = |what: &str, text: &str| {
        let good = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if good {
            Ok(())
        } else {
            Err(invalid(format!("{what} `{text}` holds more than letters, digits, `-`, `_` and `.`")))
        }
    };
    word("its name", &variant.name)?;
    let image =
        variant.image.ok_or_else(|| invalid("`image` is missing: the image it is a variant of".into()))?;
    word("image", &image)?;
    if let Some(suffix) = &variant.tag_suffix {
        word("tag-suffix", suffix)?;
    }
    let version_from = variant.version_from.ok_or_else(|| {
        invalid("`version-from` is missing: the command whose version the image carries".into())
    })?;

    let mut layers: Vec<Layer> = Vec::new();
    for layer in variant.layers {
        word("layer", &layer.name)?;
        if layers.iter().any(|l| l.name == layer.name) {
            return Err(invalid(format!("layer `{}` is there twice", layer.name)));
        }
        layers.push(Layer { name: layer.name, holds: layer.holds });
    }
    let layer_place = |layer: &str| {
        layers
            .iter()
            .position(|l| l.name == layer)
            .ok_or_else(|| invalid(format!("there is no layer `{layer}`")))
    };

    let range = |since: Option<String>, before: Option<String>| {
        let parse = |text: Option<String>| {
            text.map(|t| t.parse())
                .transpose()
                .map_err(|e: crate::KubernetesVersionError| invalid(e.to_string()))
        };
        Ok::<_, VariantError>(VersionRange { since: parse(since)?, before: parse(before)? })
    };
    let mut roots = Vec::new();
    for root in variant.roots {
        let place = layer_place(&root.layer)?;
        let locate = match (root.command, root.path) {
            (Some(command), None) if !command.contains('/') && !command.is_empty() => {
                Locate::Command(command)
            }
            (Some(command), None) => {
                return Err(invalid(format!("`{command}` is not a command name: say `path`")));
            }
            (None, Some(path)) => {
                let clean = ImagePath::new(&path).map_err(|e| invalid(e.to_string()))?;
                if clean.parent().is_some_and(|p| p.as_str().contains('*')) {
                    return Err(invalid(format!("`{path}`: only the last name of a path may hold `*`")));
                }
                Locate::Path(clean.to_string())
            }
            _ => return Err(invalid("a root has either `command` or `path`".into())),
        };
        let install =
            root.install.map(|p| ImagePath::new(&p)).transpose().map_err(|e| invalid(e.to_string()))?;
        let probe = root.probe.map(|p| Probe { arguments: p.arguments, environment: p.environment });
        let root = Root {
            locate,
            reason: root.reason,
            layer: root.layer,
            daemon: root.daemon,
            often: root.often,
            optional: root.optional,
            package: root.package,
            install,
            probe,
            range: range(root.since, root.before)?,
            source: root.source,
        };
        roots.push((place, root));
    }
    // A file that several roots need goes to the layer of the first: lower layers come first.
    roots.sort_by_key(|(place, _)| *place);

    let mut entrypoint = Vec::new();
    for rule in variant.entrypoint {
        let range = range(rule.since, rule.before)?;
        entrypoint.push(ArgumentRule {
            range,
            runtime: rule.runtime,
            words: rule.words,
            reason: rule.reason,
            source: rule.source,
        });
    }
    let mut files = Vec::new();
    for file in variant.files {
        layer_place(&file.layer)?;
        let mode = file.mode.as_deref().unwrap_or("0644");
        let mode = u32::from_str_radix(mode, 8)
            .ok()
            .filter(|m| *m <= 0o7777)
            .ok_or_else(|| invalid(format!("mode `{mode}` is not octal permission bits")))?;
        let path = ImagePath::new(&file.path).map_err(|e| invalid(e.to_string()))?;
        if path.is_root() {
            return Err(invalid("a file can't be written to `/`".into()));
        }
        if let Some(unknown) =
            file.with.iter().find(|name| !roots.iter().any(|(_, root)| root.name() == **name))
        {
            return Err(invalid(format!(
                "`{}` is to be there with `{unknown}`, which is no root",
                file.path
            )));
        }
        let links = file.links.iter().map(|link| ImagePath::new(link));
        let links = links.collect::<Result<_, _>>().map_err(|e| invalid(e.to_string()))?;
        let range = range(file.since, file.before)?;
        files.push(FileRule {
            range,
            path,
            text: file.text,
            mode,
            layer: file.layer,
            reason: file.reason,
            source: file.source,
            with: file.with,
            links,
        });
    }
    let mut mounts = Vec::new();
    for mount in variant.mounts {
        let range = range(mount.since.clone(), mount.before.clone())?;
        mounts.push(MountRule::checked(mount, range).map_err(&invalid)?);
    }
    let mut directories: Vec<DirectoryRule> = Vec::new();
    for directory in variant.directories {
        layer_place(&directory.layer)?;
        let path = ImagePath::new(&directory.path).map_err(|e| invalid(e.to_string()))?;
        if path.is_root() || directories.iter().any(|d| d.path == path) {
            return Err(invalid(format!("folder `{path}` is there anyway")));
        }
        directories.push(DirectoryRule { path, layer: directory.layer, reason: directory.reason });
    }
    let portable = variant.portable.map(|written| portable(written, &image)).transpose();
    let portable = portable.map_err(&invalid)?;

    let wanted =
        |wishes: Vec<String>, optional| wishes.into_iter().map(move |wish| WantedPackage { wish, optional });
    let mut packages: Vec<WantedPackage> = wanted(variant.packages, false).collect();
    packages.extend(wanted(variant.optional_packages, true));
    Ok(Variant {
        name: variant.name,
        description: variant.description,
        image,
        tag_suffix: variant.tag_suffix,
        version_from,
        roots: roots.into_iter().map(|(_, root)| root).collect(),
        packages,
        layers,
        by_name: variant.by_name,
        entrypoint,
        environment: variant.environment,
        labels: variant.labels,
        files,
        mounts,
        directories,
        portable,
        contents: variant.contents.unwrap_or_default(),
        budget: variant.budget.unwrap_or_default(),
    })
}

/// Checks what systemd would refuse only when somebody attaches the image.
fn portable(written: written::Portable, image: &str) -> Result<Portable, String> {
    let prefix = |text: &String| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    if let Some(bad) = written.prefixes.iter().find(|text| !prefix(text)) {
        return Err(format!("portable: prefix `{bad}` holds more than letters, digits, `-` and `.`"));
    }
    if written.description.contains(['"', '\\', '$', '`', '\n']) {
        return Err("portable: its description holds what os-release would have to quote".into());
    }
    let good = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if let Some(bad) = written.suffix.as_ref().filter(|text| text.is_empty() || !good(text)) {
        return Err(format!("portable: suffix `{bad}` holds more than letters, digits, `-` and `.`"));
    }
    let portable =
        Portable { prefixes: written.prefixes, description: written.description, suffix: written.suffix };
    // The file is called after the image, and `portablectl attach` takes the units that begin like the file.
    if portable.prefixes.iter().any(|prefix| prefix == image) {
        Ok(portable)
    } else {
        Err(format!("portable: `{image}` is not among its prefixes, and its file is called so"))
    }
}

#[cfg(test)]
mod tests;
