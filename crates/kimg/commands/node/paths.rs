//! `kimg node paths`

use std::process::ExitCode;

use kimg_build::Project;
use kimg_core::variant::{MountKind, MountRule, VersionRange, resolve};
use kimg_report::{Column, Table};
use serde_json::json;

use super::args::PathsArgs;
use crate::args::Format;
use crate::commands::setting::settings;
use crate::failure::Failure;
use crate::terminal;

pub(super) fn run(args: &PathsArgs) -> Result<ExitCode, Failure> {
    let (settings, folder, _) = settings(args.config.as_deref())?;
    let known = Project::known_variants(&settings, &folder)?;
    let names = match &args.variant {
        Some(name) => vec![name.clone()],
        None => known.order.clone(),
    };
    let mut found: Vec<(MountRule, Vec<String>)> = Vec::new();
    for name in &names {
        let variant = resolve(name, &known.written).map_err(kimg_build::BuildError::from)?;
        for rule in variant.mounts {
            if args.kubernetes.as_ref().is_some_and(|version| !rule.range.holds(version)) {
                continue;
            }
            match found.iter_mut().find(|(there, _)| *there == rule) {
                Some((_, variants)) => variants.push(name.clone()),
                None => found.push((rule, vec![name.clone()])),
            }
        }
    }
    // Names come in their order: the first that has a path is the one that says it, and the others extend it.
    let first = found.first().and_then(|(_, variants)| variants.first());
    let mut table =
        Table::new([Column::left("Path"), Column::left("How"), Column::left("When"), Column::left("Why")]);
    let mut data = Vec::new();
    for (rule, variants) in &found {
        let of = variants.first().filter(|name| Some(*name) != first);
        let path =
            if args.format == Format::Markdown { format!("`{}`", rule.path) } else { rule.path.clone() };
        table.row(vec![path, how(rule), when(rule, of), rule.reason.clone()]);
        data.push(json!({
            "path": rule.path, "kind": rule.kind, "shared": rule.shared, "read_only": rule.read_only,
            "optional": rule.optional, "runtime": rule.runtime, "cgroup_driver": rule.cgroup_driver,
            "since": rule.range.since, "before": rule.range.before, "variants": variants,
            "reason": rule.reason, "source": rule.source,
        }));
    }
    terminal::print(&table, &data, args.format)?;
    Ok(ExitCode::SUCCESS)
}

fn how(rule: &MountRule) -> String {
    let kind = match rule.kind {
        MountKind::Folder => "",
        MountKind::Lock => "file, made when missing",
        MountKind::File => "has to be there",
    };
    let words =
        [kind, if rule.shared { "rshared" } else { "" }, if rule.read_only { "read-only" } else { "" }];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(", ")
}

fn when(rule: &MountRule, of: Option<&String>) -> String {
    let mut words = Vec::new();
    words.extend(of.map(|variant| format!("{variant} and what extends it")));
    words.extend(rule.runtime.map(|runtime| runtime.to_string()));
    words.extend(rule.cgroup_driver.map(|driver| format!("cgroup driver {driver}")));
    let VersionRange { since, before } = &rule.range;
    words.extend(before.as_ref().map(|version| format!("below {}.{}", version.major(), version.minor())));
    words.extend(since.as_ref().map(|version| format!("from {}.{} on", version.major(), version.minor())));
    if rule.optional {
        words.push("`--with` it".into());
    }
    if words.is_empty() { "always".into() } else { words.join("; ") }
}
