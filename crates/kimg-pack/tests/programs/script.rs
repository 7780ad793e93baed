//! Shell scripts in UPX's place.

use std::os::unix::fs::PermissionsExt;

use kimg_core::Content;
use kimg_pack::{Outcome, PlainReason, Upx};

use super::{Elf, Question};

/// A packer that does what a shell script says. In its folder lies `made`, the file that it may give as its result.
pub struct Script {
    pub folder: tempfile::TempDir,
    pub upx: Upx,
}

/// A packer that packs as the script says, and unpacks as it should.
pub fn script(text: &str, made: &[u8]) -> Script {
    let unpack =
        "case \"$*\" in *' -d '*) cp MADE.plain unpacked; exit;; esac; cp plain MADE.plain 2>/dev/null";
    whole_script(&format!("{unpack}\n{text}"), made)
}

/// A packer that does all as the script says.
pub fn whole_script(text: &str, made: &[u8]) -> Script {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upx");
    let made_at = folder.path().join("made");
    fs_err::write(&made_at, made).unwrap();
    // Written by another process: on this one's other threads programs are started while this file is open.
    let text = text.replace("MADE", made_at.to_str().unwrap());
    let writer = format!("cat > '{}' <<'EOF'\n#!/bin/sh\n{text}\nEOF\n", path.display());
    assert!(std::process::Command::new("/bin/sh").args(["-c", &writer]).status().unwrap().success());
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Script { folder, upx: Upx { path, version: "4.2.2".into() } }
}

impl Script {
    pub fn named(self, version: &str) -> Self {
        Self { upx: Upx { version: version.into(), ..self.upx }, folder: self.folder }
    }

    pub fn on(&self, question: &Question<'_>) -> Outcome {
        question.ask(Some(&self.upx)).unwrap()
    }

    /// What becomes of a program that says "plain".
    pub fn outcome(&self) -> Outcome {
        self.on(&Question::new(&Content::from_bytes(Elf::default().bytes())))
    }

    pub fn reason(&self) -> PlainReason {
        match self.outcome() {
            Outcome::Plain { why } => why,
            packed @ Outcome::Packed { .. } => panic!("{packed}"),
        }
    }
}

/// A small program that does this.
pub fn smaller(code: Vec<u8>) -> Vec<u8> {
    Elf { code, size: 5_000, ..Elf::default() }.bytes()
}

/// A script that takes `made` for its result.
pub const COPY: &str = "cp MADE packed";
