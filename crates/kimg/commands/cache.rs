//! `kimg cache`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use kimg_report::{Column, Table, size};
use kimg_source::Cache;
use kimg_source::cache::{PruneOptions, Tally};
use serde_json::json;

use crate::args::Format;
use crate::commands::setting::cache_folder;
use crate::failure::Failure;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Show where the cache is and what it holds
    Info {
        #[command(flatten)]
        place: Place,
    },
    /// Remove what is not worth its place; without an option only what nothing needs any more
    Prune {
        #[command(flatten)]
        place: Place,

        /// What was not used for this long: 12h, 30d, 8w; a use is noted once a day
        #[arg(long, value_name = "TIME", value_parser = duration)]
        older_than: Option<Duration>,

        /// What was used longest ago, until the rest is no larger than this: 5GB, 800MB
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        keep: Option<u64>,

        /// Everything
        #[arg(long, conflicts_with_all = ["older_than", "keep"])]
        all: bool,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The cache; the user's cache folder when not given
    #[arg(long, value_name = "DIR", env = "KIMG_CACHE_DIR")]
    cache_dir: Option<PathBuf>,

    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) fn run(args: &CacheArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        CacheCommand::Info { place } => info(place)?,
        CacheCommand::Prune { place, older_than, keep, all } => {
            let now = SystemTime::now();
            prune(place, &PruneOptions { older_than: *older_than, keep_bytes: *keep, all: *all, now })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn info(place: &Place) -> Result<(), Failure> {
    let cache = Cache::open(&cache_folder(place.cache_dir.as_deref())?)?;
    let info = cache.info()?;
    let days = |time: Option<SystemTime>| {
        time.and_then(|time| time.elapsed().ok()).map(|age| age.as_secs() / (24 * 60 * 60))
    };
    let ago = |tally: &Tally| match (days(tally.newest), days(tally.oldest)) {
        (Some(0), Some(0)) => "today".to_owned(),
        (Some(newest), Some(oldest)) if newest == oldest => format!("{newest} days ago"),
        (Some(0), Some(oldest)) => format!("today to {oldest} days ago"),
        (Some(newest), Some(oldest)) => format!("{newest} to {oldest} days ago"),
        _ => String::new(),
    };
    let mut table = Table::new([
        Column::left("Kind"),
        Column::right("Files"),
        Column::right("Size"),
        Column::left("Used"),
    ]);
    for (kind, tally) in &info.kinds {
        table.row([kind.to_string(), tally.files.to_string(), size(tally.bytes), ago(tally)]);
    }
    let total = info.total();
    table.row(["total".to_owned(), total.files.to_string(), size(total.bytes), ago(&total)]);
    let data = json!({
        "folder": info.folder,
        "files": total.files,
        "bytes": total.bytes,
        "kinds": info.kinds.iter().map(|(kind, tally)| json!({
            "kind": kind, "files": tally.files, "bytes": tally.bytes,
            "newest_days": days(tally.newest), "oldest_days": days(tally.oldest),
        })).collect::<Vec<_>>(),
    });
    if place.format == Format::Table {
        writeln!(std::io::stdout().lock(), " {}\n", info.folder.display())?;
    }
    terminal::print(&table, &data, place.format)
}

fn prune(place: &Place, options: &PruneOptions) -> Result<(), Failure> {
    let cache = Cache::open(&cache_folder(place.cache_dir.as_deref())?)?;
    let pruned = cache.prune(options)?;
    if pruned.in_use {
        eprintln!("   another kimg is using the cache: what was used lately stays");
    }
    let mut table = Table::new([Column::left("Removed"), Column::right("Files"), Column::right("Size")]);
    for (kind, tally) in &pruned.kinds {
        table.row([kind.to_string(), tally.files.to_string(), size(tally.bytes)]);
    }
    let (files, bytes) = pruned.total();
    table.row(["total".to_owned(), files.to_string(), size(bytes)]);
    let data = json!({
        "in_use": pruned.in_use,
        "files": files,
        "bytes": bytes,
        "kinds": pruned.kinds.iter().map(|(kind, tally)| json!({
            "kind": kind, "files": tally.files, "bytes": tally.bytes,
        })).collect::<Vec<_>>(),
    });
    terminal::print(&table, &data, place.format)
}

/// `12h`, `30d`, `8w`.
fn duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(number.len()..) {
        Some("h") => 60 * 60,
        Some("d") => 24 * 60 * 60,
        Some("w") => 7 * 24 * 60 * 60,
        _ => return Err("write it as a number of hours, days or weeks: 12h, 30d, 8w".into()),
    };
    let count: u64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    count.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

/// `5GB`, `800 MB`; decimal, as everywhere here.
fn bytes(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text.get(number.len()..).map(str::trim) {
        Some("B") => 1,
        Some("kB" | "KB") => 1_000,
        Some("MB") => 1_000_000,
        Some("GB") => 1_000_000_000,
        _ => return Err("write it with its unit: 800MB, 5GB".into()),
    };
    let count: u64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    count.checked_mul(unit).ok_or_else(|| "that is too much".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!((bytes("5GB"), bytes("800 MB")), (Ok(5_000_000_000), Ok(800_000_000)));
        for text in ["30", "d", "-1d", "1y", "99999999999999999999w"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["5", "GB", "5GiB", "99999999999999999GB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
