//! Why a program stays plain, in words for the report.

use std::fmt;

use kimg_core::Platform;

/// Why a program stays plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainReason {
    /// Packing is switched off.
    NotWanted,
    /// The decision for this program says so.
    Decided,
    /// It runs for long.
    Daemon,
    /// It is smaller than the smallest size.
    TooSmall {
        /// The smallest size in bytes.
        minimum: u64,
    },
    /// It is larger than any program that this crate holds in memory.
    TooLarge {
        /// The largest size in bytes.
        maximum: u64,
    },
    /// It has no probe.
    NoProbe,
    /// UPX was not found.
    NoPacker,
    /// A script.
    Script,
    /// Anything else that is no ELF file, or a broken one.
    NotElf(String),
    /// An ELF file for another processor.
    OtherPlatform {
        /// The platform that it should be for.
        expected: Platform,
        /// Its `e_machine`.
        machine: u16,
    },
    /// A shared library.
    SharedLibrary,
    /// A module of the kernel: its sections are what is loaded, and its signature is of the file.
    KernelModule,
    /// An object file, as linkers and loaders of BPF programs read them: its sections are what is loaded.
    ObjectFile,
    /// Any other ELF file that is no program.
    NotAProgram,
    /// It is packed already, by UPX.
    AlreadyPacked,
    /// It runs with its owner's or group's rights. No start here would show that the packed one still may.
    Setuid {
        /// Its permission bits.
        mode: u32,
    },
    /// It has capabilities (the attribute `security.capability`). No start here would show that the packed one keeps them.
    Capabilities,
    /// An attribute holds a signature or digest of its bytes (`security.ima`, `security.evm`).
    Signed {
        /// The attribute.
        attribute: String,
    },
    /// It has a section that no segment maps and that holds nothing known: it may read it in its own file. When it is
    /// stripped: one that speaks of symbols.
    UnmappedSection(String),
    /// It has symbols in its file and holds code that reads symbols out of files: perhaps its own. By these words.
    ReadsSymbols(&'static str),
    /// It was only to be stripped, and there is nothing to drop.
    NothingToStrip,
    /// A position-independent program without an interpreter: UPX breaks such ones that are linked against musl.
    StaticPie,
    /// Data follows behind the ELF part: it opens itself and reads them, which it could no longer do.
    DataBehind {
        /// How many bytes.
        bytes: u64,
    },
    /// UPX said that it can't pack it.
    Refused(String),
    /// UPX did not do its work: it could not be started, was stopped by a limit, or gave no program of this kind.
    PackerFailed(String),
    /// Packed it is no smaller.
    NotSmaller,
    /// The packed one's executable segment has whole pages, which may crash on 32-bit ARM.
    WholePages {
        /// The version of UPX that made it.
        upx: String,
    },
    /// The packed one's segments are aligned less than those of the plain one: larger pages could not map it.
    LessAligned {
        /// Alignment of the plain one, in bytes.
        plain: u64,
        /// Alignment of the packed one, in bytes.
        packed: u64,
    },
    /// The packed one answered otherwise.
    OtherAnswer(Difference),
    /// The plain one answered its probe in two ways, so nothing can be compared with it.
    Unsteady,
}

impl PlainReason {
    /// Whether the packer is to blame, not the program: what [`Mode::Require`](crate::Mode::Require) makes an error.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::NoPacker | Self::PackerFailed(_))
    }
}

/// In what the answers of the plain and the packed program differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The packed one did not start or did not end well, in words.
    Start(String),
    /// They ended differently, each in words.
    End {
        /// How the plain one ended.
        plain: String,
        /// How the packed one ended.
        packed: String,
    },
    /// They wrote different things to standard output.
    Output,
    /// They wrote different things to standard error.
    ErrorOutput,
}

impl fmt::Display for PlainReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWanted => f.write_str("packing is switched off"),
            Self::Decided => f.write_str("as decided"),
            Self::Daemon => f.write_str("a daemon's pages are shared and dropped only when unpacked"),
            Self::TooSmall { minimum } => write!(f, "smaller than {}", binary(*minimum)),
            Self::TooLarge { maximum } => write!(f, "larger than {}", binary(*maximum)),
            Self::NoProbe => f.write_str("no probe says how to see that it starts"),
            Self::NoPacker => f.write_str("upx was not found"),
            Self::Script => f.write_str("a script"),
            Self::NotElf(what) => f.write_str(what),
            Self::OtherPlatform { expected, machine } => {
                write!(
                    f,
                    "not a program for {expected}: ELF machine {machine}, expected {}",
                    expected.elf_machine()
                )
            }
            Self::SharedLibrary => f.write_str("a library, not a program"),
            Self::KernelModule => f.write_str("a kernel module, not a program"),
            Self::ObjectFile => f.write_str("an object file, not a program"),
            Self::NotAProgram => f.write_str("not a program"),
            Self::AlreadyPacked => f.write_str("packed by UPX already"),
            Self::Setuid { mode } => {
                write!(
                    f,
                    "it runs with its owner's or group's rights (mode {mode:04o}), which no start here can show to be kept"
                )
            }
            Self::Capabilities => f.write_str("it has capabilities, which no start here can show to be kept"),
            Self::Signed { attribute } => write!(f, "its bytes are signed in {attribute}"),
            Self::UnmappedSection(name) => {
                write!(f, "it may read its own section {name}, which is never mapped")
            }
            Self::ReadsSymbols(by) => write!(f, "it may read the symbols in its own file ({by})"),
            Self::NothingToStrip => f.write_str("there is nothing to strip"),
            Self::StaticPie => f.write_str("a static PIE does not start when packed"),
            Self::DataBehind { bytes } => {
                write!(f, "{bytes} bytes of its own data follow behind the ELF part")
            }
            Self::Refused(said) => write!(f, "upx refused: {said}"),
            Self::PackerFailed(why) => write!(f, "upx failed: {why}"),
            Self::NotSmaller => f.write_str("packed it is not smaller"),
            Self::WholePages { upx } => write!(
                f,
                "the packed one's executable segment has whole pages, which upx {upx} may let crash on 32-bit ARM"
            ),
            Self::LessAligned { plain, packed } => write!(
                f,
                "the packed one's segments are aligned to {}, the plain one's to {}: larger pages can't map it",
                binary(*packed),
                binary(*plain)
            ),
            Self::OtherAnswer(difference) => difference.fmt(f),
            Self::Unsteady => f.write_str("it answers its probe differently each time"),
        }
    }
}

/// A size that is a power of two, as people say it.
fn binary(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".into(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(why) => write!(f, "packed one did not start: {why}"),
            Self::End { plain, packed } => {
                write!(f, "packed one did not answer as before: {packed} instead of {plain}")
            }
            Self::Output => f.write_str("packed one did not answer as before: its standard output differs"),
            Self::ErrorOutput => {
                f.write_str("packed one did not answer as before: its standard error differs")
            }
        }
    }
}
