//! Small ELF programs for x86-64, made here, and what a test says to `pack` about them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod loads;
pub mod script;
pub mod sectioned;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use kimg_core::variant::Probe;
use kimg_core::{Content, ImagePath, MemorySink, Platform};
use kimg_pack::{Candidate, Outcome, PackError, Packing, Runners, Settings, Upx, pack};
use kimg_testkit::Real;

/// An ELF file with one executable segment of all its bytes.
pub struct Elf {
    pub is_64: bool,
    pub machine: u16,
    /// `ET_EXEC` 2, `ET_DYN` 3.
    pub kind: u16,
    pub align: u32,
    pub interpreter: Option<&'static str>,
    pub dynamic: Vec<(u64, u64)>,
    /// What it does, from its entry on.
    pub code: Vec<u8>,
    /// Its size.
    pub size: usize,
}

impl Default for Elf {
    fn default() -> Self {
        Self {
            is_64: true,
            machine: 62,
            kind: 2,
            align: 0x1000,
            interpreter: None,
            dynamic: Vec::new(),
            code: say("plain", 0),
            size: 20_000,
        }
    }
}

const BASE: u64 = 0x40_0000;

impl Elf {
    pub fn bytes(&self) -> Vec<u8> {
        let (header, entry) = if self.is_64 { (64, 56) } else { (52, 32) };
        let dynamic: Vec<u8> =
            self.dynamic.iter().flat_map(|(tag, value)| self.words(&[*tag, *value])).collect();
        let segments = 1 + usize::from(self.interpreter.is_some()) + usize::from(!dynamic.is_empty());
        let interpreter = self.interpreter.map(|name| format!("{name}\0")).unwrap_or_default();
        let code_at = header + entry * segments;
        let dynamic_at = (code_at + self.code.len()).next_multiple_of(8);
        let interpreter_at = dynamic_at + dynamic.len();

        let mut bytes = vec![0x7f, b'E', b'L', b'F', if self.is_64 { 2 } else { 1 }, 1, 1];
        bytes.resize(16, 0);
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.machine.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(self.words(&[BASE + code_at as u64, header as u64, 0]));
        bytes.extend(0_u32.to_le_bytes());
        for half in [header, entry, segments, 0, 0, 0] {
            bytes.extend(u16::try_from(half).unwrap().to_le_bytes());
        }
        bytes.extend(self.segment(1, 5, 0, self.size, self.align));
        if self.interpreter.is_some() {
            bytes.extend(self.segment(3, 4, interpreter_at, interpreter.len(), 1));
        }
        if !dynamic.is_empty() {
            bytes.extend(self.segment(2, 4, dynamic_at, dynamic.len(), 8));
        }
        bytes.extend(&self.code);
        bytes.resize(dynamic_at, 0);
        bytes.extend(dynamic);
        bytes.extend(interpreter.as_bytes());
        assert!(bytes.len() <= self.size, "{} bytes do not fit", bytes.len());
        bytes.resize(self.size, 0);
        bytes
    }

    /// Words of the class's size.
    fn words(&self, words: &[u64]) -> Vec<u8> {
        let size = if self.is_64 { 8 } else { 4 };
        words.iter().flat_map(|word| word.to_le_bytes()[..size].to_vec()).collect()
    }

    fn segment(&self, kind: u32, flags: u32, at: usize, size: usize, align: u32) -> Vec<u8> {
        let (at, size) = (at as u64, size as u64);
        let mut bytes = kind.to_le_bytes().to_vec();
        if self.is_64 {
            bytes.extend(flags.to_le_bytes());
        }
        bytes.extend(self.words(&[at, BASE + at, BASE + at, size, size]));
        if !self.is_64 {
            bytes.extend(flags.to_le_bytes());
        }
        bytes.extend(self.words(&[align.into()]));
        bytes
    }
}

/// Code that writes a text to standard output and ends with an exit code.
pub fn say(text: &str, exit: u32) -> Vec<u8> {
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 19, 0, 0, 0, 0xba];
    code.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    code.extend([0x0f, 0x05]);
    code.extend(end(exit));
    code.extend(text.as_bytes());
    code
}

/// Code that writes the processor's time stamp to standard output: never the same twice.
pub fn say_the_time() -> Vec<u8> {
    let mut code = vec![0x0f, 0x31, 0x48, 0xc1, 0xe2, 32, 0x48, 0x09, 0xd0, 0x50, 0x48, 0x89, 0xe6];
    code.extend([0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xba, 8, 0, 0, 0, 0x0f, 0x05]);
    code.extend(end(0));
    code
}

/// Code that says a text the first time it is started in a folder, and then never ends: it leaves a file behind.
pub fn say_once(text: &str) -> Vec<u8> {
    let say = say(text, 0);
    let rest = u32::try_from(say.len()).unwrap();
    // open("once", O_WRONLY | O_CREAT | O_EXCL, 0600), and to the end if that fails.
    let mut code = vec![0x48, 0x8d, 0x3d];
    code.extend((26 + rest + 2).to_le_bytes());
    code.extend([0xbe, 0xc1, 0, 0, 0, 0xba, 0x80, 1, 0, 0, 0xb8, 2, 0, 0, 0, 0x0f, 0x05]);
    code.extend([0x48, 0x85, 0xc0, 0x0f, 0x88]);
    code.extend(rest.to_le_bytes());
    code.extend(say);
    code.extend([0xeb, 0xfe]);
    code.extend(b"once\0");
    code
}

fn end(exit: u32) -> Vec<u8> {
    let mut code = vec![0xb8, 60, 0, 0, 0, 0xbf];
    code.extend(exit.to_le_bytes());
    code.extend([0x0f, 0x05]);
    code
}

/// What a test says about a program that is to be packed; the rest is as for any.
#[derive(Clone)]
pub struct Question<'a> {
    pub content: &'a Content,
    pub platform: Platform,
    pub path: &'a str,
    pub probe: Option<Probe>,
    pub daemon: bool,
    pub packing: Packing,
    pub mode: u32,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    pub libraries: Vec<(ImagePath, Content)>,
    pub runners: Runners,
    pub settings: Settings,
}

/// With what programs are started on this machine: looked for once.
fn runners() -> Runners {
    static RUNNERS: OnceLock<Runners> = OnceLock::new();
    RUNNERS.get_or_init(|| Runners::find(&std::env::var_os("PATH").unwrap_or_default())).clone()
}

impl<'a> Question<'a> {
    pub fn new(content: &'a Content) -> Self {
        Self {
            content,
            platform: Platform::Amd64,
            path: "/usr/bin/program",
            probe: Some(Probe::default()),
            daemon: false,
            packing: Packing::default(),
            mode: 0o755,
            xattrs: BTreeMap::new(),
            libraries: Vec::new(),
            runners: runners(),
            settings: Settings { minimum_size: 0, ..Settings::default() },
        }
    }

    /// Packs it in a folder that must be empty afterwards.
    pub fn ask(&self, upx: Option<&Upx>) -> Result<Outcome, PackError> {
        let scratch = tempfile::tempdir().unwrap();
        let outcome = self.ask_in(upx, scratch.path());
        assert_eq!(
            fs_err::read_dir(scratch.path()).unwrap().count(),
            0,
            "the private folder was left behind"
        );
        outcome
    }

    pub fn ask_in(&self, upx: Option<&Upx>, scratch: &Path) -> Result<Outcome, PackError> {
        let path = ImagePath::new(self.path).unwrap();
        pack(&self.candidate(&path), upx, &self.settings, scratch, &mut MemorySink)
    }

    pub fn candidate<'b>(&'b self, path: &'b ImagePath) -> Candidate<'b> {
        Candidate {
            path,
            content: self.content,
            platform: self.platform,
            packing: self.packing,
            daemon: self.daemon,
            mode: self.mode,
            xattrs: &self.xattrs,
            probe: self.probe.as_ref(),
            libraries: &self.libraries,
            runners: &self.runners,
        }
    }
}

/// A file of a package (apk-tools: gzip streams one behind the other, which hold one tar archive).
pub fn file_of(real: &Real, platform: Platform, package: &str, path: &str) -> Content {
    let stream = fs_err::File::open(real.package(platform, package)).expect("the package can be read");
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(stream));
    archive.set_ignore_zeros(true);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_str() == Some(path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            return Content::from_bytes(bytes);
        }
    }
    panic!("{path} is not in {package}");
}

/// How a CNI plugin is started harmlessly.
pub fn version_probe() -> Probe {
    Probe { arguments: Vec::new(), environment: [("CNI_COMMAND".to_owned(), "VERSION".to_owned())].into() }
}

/// All ELF files of a package.
pub fn elf_files_of(package: &Path) -> Vec<(String, Content)> {
    let mut archive =
        tar::Archive::new(flate2::read::MultiGzDecoder::new(fs_err::File::open(package).unwrap()));
    archive.set_ignore_zeros(true);
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if bytes.starts_with(b"\x7fELF") {
            files.push((name, Content::from_bytes(bytes)));
        }
    }
    files
}
