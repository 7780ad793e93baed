//! The kimg program.

use std::process::ExitCode;

fn main() -> ExitCode {
    kimg::main()
}
