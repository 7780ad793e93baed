//! Builders of small ELF files: programs that print a text, libraries that hold nothing, and a loader.
//!
//! The bytes are laid out by hand (`object.rs`) around a few machine instructions written as
//! numbers (`code.rs`): nothing is assembled or linked when they are made. The programs do start, on
//! a kernel or under qemu-user. What holds for real programs holds for them as well: a dynamic one
//! starts only where its interpreter lies.
//!
//! ```
//! use kimg_core::Platform;
//! use kimg_sample::elf::Program;
//!
//! let program = Program::dynamic(Platform::ArmV7, ["libmount.so.1"], "mount sample\n").build();
//! assert_eq!(&program[..4], b"\x7fELF");
//! ```

mod code;
mod object;

use kimg_core::Platform;

use object::{Object, Tag};

/// musl's loader on a platform, `/lib/ld-musl-<arch>.so.1`: what a dynamic program asks for in `PT_INTERP`.
pub fn musl_loader_path(platform: Platform) -> String {
    format!("/lib/ld-musl-{}.so.1", platform.musl())
}

/// The name of musl's C library as Alpine's programs need it, `libc.musl-<arch>.so.1`.
///
/// The `<arch>` is Alpine's own name here, but the loader's on 32-bit ARM has another: Alpine's armv7 programs
/// need `libc.musl-armv7.so.1` and ask for `/lib/ld-musl-armhf.so.1`.
pub fn musl_libc_name(platform: Platform) -> String {
    format!("libc.musl-{}.so.1", platform.alpine())
}

/// A program that prints a text to its standard output and exits with 0, whatever its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// What it runs on.
    pub platform: Platform,
    /// The loader that the kernel starts for it (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// The libraries it needs (`DT_NEEDED`), in order.
    pub needed: Vec<String>,
    /// Where libraries are searched for it and for what it loads (`DT_RPATH`).
    pub rpath: Option<String>,
    /// The same, in the newer form (`DT_RUNPATH`).
    pub runpath: Option<String>,
    /// Whether it may be loaded at any address (`ET_DYN`). Every program with an interpreter or needs is so anyway.
    pub position_independent: bool,
    /// What it prints, with its line ends.
    pub text: String,
}

impl Program {
    /// A static program at a fixed address, as Go makes them: no interpreter, no dynamic section.
    pub fn fixed(platform: Platform, text: impl Into<String>) -> Self {
        Self {
            platform,
            interpreter: None,
            needed: Vec::new(),
            rpath: None,
            runpath: None,
            position_independent: false,
            text: text.into(),
        }
    }

    /// A program that asks for musl's loader and needs these libraries, in this order.
    pub fn dynamic<N: Into<String>>(
        platform: Platform,
        needed: impl IntoIterator<Item = N>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            interpreter: Some(musl_loader_path(platform)),
            needed: needed.into_iter().map(Into::into).collect(),
            position_independent: true,
            ..Self::fixed(platform, text)
        }
    }

    /// The bytes of the file.
    pub fn build(&self) -> Vec<u8> {
        let mut names: Vec<(Tag, &str)> = self.needed.iter().map(|n| (Tag::Needed, n.as_str())).collect();
        names.extend(self.rpath.iter().map(|path| (Tag::Rpath, path.as_str())));
        names.extend(self.runpath.iter().map(|path| (Tag::Runpath, path.as_str())));
        let dynamic = self.position_independent || self.interpreter.is_some() || !names.is_empty();
        Object {
            platform: self.platform,
            interpreter: self.interpreter.as_deref(),
            dynamic: dynamic.then_some(names),
            code: code::print(self.platform, &self.text, 0),
        }
        .build()
    }
}

/// A shared library or plugin that holds no function at all, only its name and its needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// What it runs on.
    pub platform: Platform,
    /// Its name (`DT_SONAME`); plugins have none.
    pub soname: Option<String>,
    /// The libraries it needs (`DT_NEEDED`), in order.
    pub needed: Vec<String>,
    /// Where libraries are searched for it and for what it loads (`DT_RPATH`).
    pub rpath: Option<String>,
    /// The same, in the newer form (`DT_RUNPATH`).
    pub runpath: Option<String>,
}

impl Library {
    /// A library of this name with these needs, in this order.
    pub fn new<N: Into<String>>(
        platform: Platform,
        soname: impl Into<String>,
        needed: impl IntoIterator<Item = N>,
    ) -> Self {
        Self { soname: Some(soname.into()), ..Self::plugin(platform, needed) }
    }

    /// A library without a name of its own, which a program loads by path.
    pub fn plugin<N: Into<String>>(platform: Platform, needed: impl IntoIterator<Item = N>) -> Self {
        let needed = needed.into_iter().map(Into::into).collect();
        Self { platform, soname: None, needed, rpath: None, runpath: None }
    }

    /// The bytes of the file.
    pub fn build(&self) -> Vec<u8> {
        let mut names: Vec<(Tag, &str)> = self.needed.iter().map(|n| (Tag::Needed, n.as_str())).collect();
        names.extend(self.soname.iter().map(|name| (Tag::Soname, name.as_str())));
        names.extend(self.rpath.iter().map(|path| (Tag::Rpath, path.as_str())));
        names.extend(self.runpath.iter().map(|path| (Tag::Runpath, path.as_str())));
        Object { platform: self.platform, interpreter: None, dynamic: Some(names), code: Vec::new() }.build()
    }
}

/// A loader that stands where musl's stands: it finds the program's entry in the auxiliary vector and jumps there.
///
/// It loads no libraries. Started by itself, it says what it is and exits with 127.
pub fn loader(platform: Platform) -> Vec<u8> {
    let name = musl_libc_name(platform);
    Object {
        platform,
        interpreter: None,
        dynamic: Some(vec![(Tag::Soname, name.as_str())]),
        code: code::jump_to_entry(
            platform,
            "kimg's sample loader: loads no libraries, only jumps to a program's entry\n",
        ),
    }
    .build()
}
