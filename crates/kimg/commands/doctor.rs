//! `kimg doctor`

use std::process::ExitCode;

use clap::Args;
use kimg_build::doctor;
use kimg_core::ErrorClass;
use kimg_report::{Column, Table};

use crate::args::Format;
use crate::failure::Failure;
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A program that has to be there: without it the exit code is 31
    #[arg(long, value_name = "NAME")]
    require: Vec<String>,

    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let tools = doctor::look(&std::env::var_os("PATH").unwrap_or_default());
    let mut names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    names.dedup();
    if let Some(unknown) = args.require.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Failure::usage(format!("`{unknown}` is no program that kimg uses"))
            .hint(format!("it knows {}", names.join(", "))));
    }
    let mut table =
        Table::new(["Program", "Version", "Used for", "Where it is, or how to get it"].map(Column::left));
    for tool in &tools {
        let missing = tool.path.is_none();
        table.row([
            tool.name.clone(),
            tool.version.clone().unwrap_or_else(|| if missing { "missing".into() } else { "?".into() }),
            tool.used_for.to_owned(),
            tool.path.as_ref().map_or_else(|| tool.get.to_owned(), |path| path.display().to_string()),
        ]);
    }
    terminal::print(&table, &tools, args.format)?;
    let here = |name: &String| tools.iter().any(|tool| tool.name == *name && tool.path.is_some());
    let all = args.require.iter().all(here);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(ErrorClass::External.exit_code()) })
}
