//! `kimg audit`: which programs kubelet, kubeadm, kube-proxy and CNI plugins can start, and which of them the image has.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kimg_build::audit::{AuditedCall, AuditedProgram, ImageAudit, audit};
use kimg_closure::{Confidence, Importance};
use kimg_core::ErrorClass;
use kimg_report::{Column, Table};

use crate::args::Selection;
use crate::commands::setting::{Making, Setting, progress_mode};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// How to print the report
    #[arg(long, value_enum, default_value_t = AuditFormat::Table)]
    pub(crate) format: AuditFormat,

    /// End with exit code 13 when a program is missing: one that is required, or any
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = FailOn::Never)]
    pub(crate) fail_on: FailOn,
}

/// `--format` of `kimg audit`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditFormat {
    Table,
    Json,
    Markdown,
}

/// `--fail-on`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Report, and no more
    Never,
    /// A program without which ordinary work fails
    Required,
    /// Any program
    Missing,
}

pub(crate) fn run(args: &AuditArgs) -> Result<ExitCode, Failure> {
    let setting = Setting::new(&args.selection, Making::default(), None)?;
    let progress = Progress::new(progress_mode(args.selection.progress, true));
    let sets = setting.build(&progress).file_sets()?;
    let audits = audit(&setting.project, &sets)?;
    drop(progress);

    let mut out = std::io::stdout().lock();
    if args.format == AuditFormat::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&audits).map_err(std::io::Error::from)?)?;
    } else {
        for (place, alike) in group(&audits).iter().enumerate() {
            let gap = if place > 0 { "\n" } else { "" };
            write!(out, "{gap}{}", section(alike, args.format))?;
        }
    }
    verdict(&audits, args.fail_on)
}

/// Images of which the same is to be told, in the order of the first of each.
fn group(audits: &[ImageAudit]) -> Vec<Vec<&ImageAudit>> {
    let mut groups: Vec<Vec<&ImageAudit>> = Vec::new();
    for audit in audits {
        let told =
            |other: &ImageAudit| (&other.programs, &other.kubernetes) == (&audit.programs, &audit.kubernetes);
        match groups.iter_mut().find(|group| told(group[0])) {
            Some(group) => group.push(audit),
            None => groups.push(vec![audit]),
        }
    }
    groups
}

/// `plain and cni for linux/amd64 and linux/arm64`, or each image by itself where that would name more than there are.
fn heading(alike: &[&ImageAudit]) -> String {
    let mut variants: Vec<&str> = Vec::new();
    for audit in alike {
        if !variants.contains(&audit.variant.as_str()) {
            variants.push(&audit.variant);
        }
    }
    let platforms: BTreeSet<_> = alike.iter().map(|audit| audit.platform).collect();
    let images = if variants.len() * platforms.len() == alike.len() {
        let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        format!("{} for {}", listed(&variants), listed(&platforms))
    } else {
        let each: Vec<String> = alike.iter().map(|a| format!("{} for {}", a.variant, a.platform)).collect();
        each.join(", ")
    };
    format!("{images}, Kubernetes {}", alike[0].kubernetes)
}

fn listed<S: AsRef<str>>(words: &[S]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn section(alike: &[&ImageAudit], format: AuditFormat) -> String {
    let markdown = format == AuditFormat::Markdown;
    let programs = &alike[0].programs;
    let mut text = format!("{}{}\n\n", if markdown { "### " } else { "" }, heading(alike));
    let table = table(programs, markdown);
    if !table.is_empty() {
        text.push_str(&if markdown {
            table.to_markdown()
        } else {
            table.to_terminal(terminal::list_width(), terminal::color_on_stdout())
        });
        text.push('\n');
    }
    if programs.is_empty() {
        text.push_str("The image has none of the programs of which the catalogue knows what they start.\n");
    }
    for program in programs {
        let _ = writeln!(text, "{}{}", if markdown { "- " } else { " " }, summary(program));
    }
    text
}

fn table(programs: &[AuditedProgram], every_name: bool) -> Table {
    let mut table = Table::new(["Program", "Helper", "Needed for", "Status"].map(Column::left));
    for program in programs {
        let mut calls: Vec<&AuditedCall> = program.calls.iter().collect();
        calls.sort_by_key(|call| (call.importance, call.found.is_none()));
        for (place, call) in calls.into_iter().enumerate() {
            let name = if place == 0 || every_name { own_name(program) } else { "" };
            table.row([name, &call.names().join(" or "), &call.needed_for, &status(call)]);
        }
    }
    table
}

fn own_name(program: &AuditedProgram) -> &str {
    program.path.file_name().unwrap_or_default()
}

fn status(call: &AuditedCall) -> String {
    match (&call.found, call.importance) {
        // Of busybox an applet may know less than the program that it is called like.
        (Some(found), _) if found.file.file_name() == Some("busybox") => format!("{} (busybox)", found.path),
        (Some(found), _) => found.path.to_string(),
        (None, Importance::Required) => "missing, required".to_owned(),
        (None, Importance::Feature) => "missing".to_owned(),
        (None, Importance::Warning) => "missing, a warning".to_owned(),
    }
}

/// `kubelet: 15 of 42 are in the image; missing: 1 required, 26 for features`, and what is not certain.
fn summary(program: &AuditedProgram) -> String {
    let name = own_name(program);
    if program.calls.is_empty() && program.starts_programs == Some(false) {
        return format!("{name}: starts no other program");
    }
    if program.calls.is_empty() && program.catalogued == 0 {
        return format!(
            "{name}: by the catalogue it starts no other program, and nothing in it confirms that"
        );
    }
    if program.calls.is_empty() {
        return format!(
            "{name}: none of the {} calls that the catalogue knows is found in it: it is packed, or another program",
            program.catalogued
        );
    }
    let missing: Vec<&AuditedCall> = program.calls.iter().filter(|call| call.found.is_none()).collect();
    let mut text = format!(
        "{name}: {} of {} are in the image",
        program.calls.len() - missing.len(),
        program.calls.len()
    );
    let count = |importance| missing.iter().filter(|call| call.importance == importance).count();
    let counts = [
        (count(Importance::Required), "required"),
        (count(Importance::Feature), "for features"),
        (count(Importance::Warning), "only warned of"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if !counts.is_empty() {
        let _ = write!(text, "; missing: {}", counts.join(", "));
    }
    let likely: Vec<String> = program
        .calls
        .iter()
        .filter(|call| call.evidence.confidence == Confidence::Likely)
        .map(|call| call.names().join(" or "))
        .collect();
    if !likely.is_empty() {
        let _ = write!(text, "; likely started, not certainly: {}", likely.join(", "));
    }
    text
}

/// What the policy says of what is missing.
fn verdict(audits: &[ImageAudit], fail_on: FailOn) -> Result<ExitCode, Failure> {
    let counts = |call: &AuditedCall| match fail_on {
        FailOn::Never => false,
        FailOn::Required => call.importance == Importance::Required,
        FailOn::Missing => true,
    };
    let mut missing: Vec<String> = Vec::new();
    for image in audits {
        for (program, call) in image.missing().filter(|(_, call)| counts(call)) {
            let line =
                format!("{} starts {}: {}", own_name(program), call.names().join(" or "), call.needed_for);
            if !missing.contains(&line) {
                missing.push(line);
            }
        }
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let what = if fail_on == FailOn::Required { "that are required " } else { "" };
    let list = missing.iter().fold(String::new(), |list, line| format!("{list}\n  {line}"));
    Err(Failure::new(ErrorClass::Unresolvable, format!("programs {what}are missing:{list}")).hint(
        "a variant names them as roots; a [[call]] with `starts = []` in rules of one's own says that it is no matter",
    ))
}
