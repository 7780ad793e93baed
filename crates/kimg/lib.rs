//! The kimg command line: words, tables, progress, exit codes. What it does is in [`kimg_build`].
//!
//! Standard output holds results only; everything else goes to standard error.

mod args;
mod commands;
mod failure;
mod progress;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command};
use crate::failure::Failure;

/// Runs the program with the arguments and environment of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.verbose);
    let result = match &arguments.command {
        Command::Build(args) => commands::build::run(args),
        Command::Why(args) => commands::why::run(args),
        Command::Files(args) => commands::files::run(args),
        Command::Needs(args) => commands::needs::run(args),
        Command::Diff(args) => commands::diff::run(args),
        Command::Slim(args) => commands::slim::run(args),
        Command::Audit(args) => commands::audit::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Matrix(args) => commands::matrix::run(args),
        Command::Variants(args) => commands::variants::run(args),
        Command::Node(args) => commands::node::run(args),
        Command::Lock(args) => commands::lock::run(args),
        Command::Tune(args) => commands::tune::run(args),
        Command::Outdated(args) => commands::outdated::run(args),
        Command::Versions(args) => commands::versions::run(args),
        Command::Preflight(args) => commands::preflight::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Vendor(args) => commands::vendor::run(args),
        Command::Cache(args) => commands::cache::run(args),
        Command::Init(args) => commands::init::run(args),
        Command::Publish(args) => commands::publish::run(args),
        Command::Push(args) => commands::push::run(args),
        Command::Pull(args) => commands::pull::run(args),
        Command::Copy(args) => commands::copy::run(args),
        Command::Index(args) => commands::index::run(args),
        Command::Verify(args) => commands::verify::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::GenerateKeyPair(args) => commands::keys::run(args),
        Command::Login(args) => commands::login::login(args),
        Command::Logout(args) => commands::login::logout(args),
    };
    match result {
        Ok(code) => code,
        // A reader that has seen enough (`kimg files | head`) is no error.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    eprint!("{}", failure.to_text(terminal::color_on_stderr()));
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        eprintln!("{}", failure.to_annotation());
    }
    ExitCode::from(failure.exit_code())
}

fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "kimg=info,kimg_source=info,kimg_build=info,warn",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KIMG_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal::color_on_stderr())
        .without_time()
        .with_target(false)
        .init();
}
