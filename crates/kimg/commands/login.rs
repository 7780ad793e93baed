//! `kimg login`, `kimg logout`: credentials where Docker and podman keep them.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kimg_registry::{Client, Credentials, Repository, Secret, forget_login, store_login};

use crate::commands::registry::{RegistryArgs, wait_for};
use crate::failure::Failure;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  echo \"$TOKEN\" | kimg login ghcr.io -u acme --password-stdin")]
pub(crate) struct LoginArgs {
    /// The registry: ghcr.io, docker.io, localhost:5000
    #[arg(value_name = "REGISTRY")]
    host: String,

    /// Who logs in
    #[arg(short, long)]
    username: String,

    /// Read the password or token from standard input
    #[arg(long)]
    password_stdin: bool,

    /// Write it without asking the registry whether it is good
    #[arg(long)]
    unchecked: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry
    #[arg(value_name = "REGISTRY")]
    host: String,

    /// The file to take it out of, in place of REGISTRY_AUTH_FILE, containers' auth.json or Docker's config.json
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

pub(crate) fn login(args: &LoginArgs) -> Result<ExitCode, Failure> {
    let host = registry(&args.host)?;
    if !args.password_stdin && std::io::stdin().is_terminal() {
        return Err(Failure::usage("the password is read from standard input, never from an argument")
            .hint(format!("echo \"$TOKEN\" | kimg login {host} -u {} --password-stdin", args.username)));
    }
    let mut password = String::new();
    std::io::stdin().lock().take(1 << 20).read_to_string(&mut password)?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::usage("standard input has no password"));
    }
    let password = Secret::new(password);
    let file = file(&args.registry)?;
    if !args.unchecked {
        let credentials = Credentials::Basic { username: args.username.clone(), password: password.clone() };
        let client = args.registry.client_as(&host, credentials)?;
        check(&client, &host)?;
    }
    store_login(&file, &host, &args.username, &password)?;
    writeln!(std::io::stderr(), "   logged in to {host} as {}; kept in {}", args.username, file.display())?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn logout(args: &LogoutArgs) -> Result<ExitCode, Failure> {
    let host = registry(&args.host)?;
    let registry = RegistryArgs {
        authfile: args.authfile.clone(),
        insecure: false,
        ca_file: None,
        trusted_realms: Vec::new(),
    };
    let file = file(&registry)?;
    forget_login(&file, &host)?;
    writeln!(std::io::stderr(), "   {host} is no longer in {}", file.display())?;
    Ok(ExitCode::SUCCESS)
}

fn check(client: &Client, host: &str) -> Result<(), Failure> {
    wait_for(client.check_login(host))
}

fn file(registry: &RegistryArgs) -> Result<PathBuf, Failure> {
    registry.keychain().auth_file().map(std::path::Path::to_owned).ok_or_else(|| {
        Failure::usage("there is no place for credentials: HOME is not set").hint("say `--authfile FILE`")
    })
}

/// A registry's name, as references have it.
fn registry(typed: &str) -> Result<String, Failure> {
    let host = typed.trim_start_matches("https://").trim_end_matches('/');
    // A host alone is no reference, but is checked like one.
    let repository: Repository = format!("{host}/x").parse()?;
    if repository.path() != "x" {
        return Err(Failure::usage(format!("`{typed}` is no registry"))
            .hint("write its host alone, with a port if it has one: ghcr.io, localhost:5000"));
    }
    Ok(repository.registry().to_owned())
}
