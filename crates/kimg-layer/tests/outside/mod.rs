//! Outside programs as judges, shared by the tests.

use std::process::Command;

/// Says visibly that a test can't run here; where everything must run, that is an error.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("KIMG_REQUIRE_ALL").is_none_or(|v| v != "1"), "KIMG_REQUIRE_ALL: {why}");
    println!("SKIPPED: {why}");
}

pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{command:?}: {}: {err}", output.status);
    out
}
