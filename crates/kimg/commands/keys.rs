//! `kimg generate-key-pair`: a key to sign with, and one to verify with, in cosign's own format.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kimg_core::ErrorClass;
use kimg_sign::{SystemRandom, generate_key_pair};

use crate::commands::registry::statements::password;
use crate::failure::{Failure, classified};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  COSIGN_PASSWORD=… kimg generate-key-pair\n  kimg publish ghcr.io/acme/kubelet --sign-key cosign.key\n  kimg verify ghcr.io/acme/kubelet:v1.34.2 --key cosign.pub"
)]
pub(crate) struct KeyArgs {
    /// What the files are called before .key and .pub
    #[arg(long, value_name = "PREFIX", default_value = "cosign")]
    output_key_prefix: PathBuf,
}

pub(crate) fn run(args: &KeyArgs) -> Result<ExitCode, Failure> {
    let Some(password) = password() else {
        return Err(Failure::usage("COSIGN_PASSWORD is not set: the private key is kept encrypted with it")
            .hint("an empty one is one, too: `COSIGN_PASSWORD= kimg generate-key-pair`"));
    };
    let at = |ending: &str| {
        let mut path = args.output_key_prefix.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let (private, public) = (at(".key"), at(".pub"));
    if let Some(there) = [&private, &public].into_iter().find(|path| path.exists()) {
        let message = format!("{} is there already, and is not written over", there.display());
        return Err(Failure::new(ErrorClass::Conflict, message).hint("say another `--output-key-prefix`"));
    }
    let pair = generate_key_pair(Some(password.as_bytes()), &SystemRandom::new())
        .map_err(|error| classified(&error))?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    fs_err::OpenOptions::from_options(options).open(&private)?.write_all(pair.private.as_bytes())?;
    fs_err::write(&public, &pair.public)?;
    writeln!(std::io::stderr(), "   {} signs, {} verifies", private.display(), public.display())?;
    Ok(ExitCode::SUCCESS)
}
