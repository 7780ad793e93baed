//! What the walk wants to know of an ELF file. How it is read: `elf/read.rs`; run-time loading notes: `elf/dlopen.rs`.

mod bytes;
mod dlopen;
mod read;
mod symbols;
mod tables;

use kimg_core::{Classified, ContentError, ErrorClass, Platform};
use serde::{Deserialize, Serialize};

pub use dlopen::{DlopenNote, Priority};
pub use read::read_elf;
pub(crate) use read::read_opened;
pub use symbols::{DefinedSymbol, ElfSymbols, NeededVersion, UndefinedSymbol, read_symbols};

/// Whether addresses have 32 or 64 bits (`EI_CLASS`; System V ABI, "ELF Identification").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// `ELFCLASS32`
    #[serde(rename = "32")]
    Bits32,
    /// `ELFCLASS64`
    #[serde(rename = "64")]
    Bits64,
}

/// The order of bytes in numbers (`EI_DATA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByteOrder {
    /// `ELFDATA2LSB`
    Little,
    /// `ELFDATA2MSB`
    Big,
}

/// What sort of ELF file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElfKind {
    /// A program at fixed addresses that no loader starts: `ET_EXEC` without `PT_INTERP`.
    Static,
    /// A program at any address that relocates itself: `ET_DYN` without `PT_INTERP`, and marked as a program
    /// (`DF_1_PIE`, `DT_DEBUG`, or no dynamic part at all, as packers leave it).
    StaticPie,
    /// A program that names its loader in `PT_INTERP`.
    Dynamic,
    /// A library or plugin: any other `ET_DYN`.
    SharedLibrary,
    /// Nothing that is started or loaded by itself: object files, kernel modules, core dumps.
    Other,
}

/// The facts of one ELF file that decide what comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ElfFacts {
    /// 32 or 64 bits.
    pub class: Class,
    /// The order of its bytes.
    pub endianness: ByteOrder,
    /// `e_machine`: 62 is x86-64, 183 `AArch64`, 40 ARM.
    pub machine: u16,
    /// What sort of file it is.
    pub kind: ElfKind,
    /// The loader it asks for (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// The names of the libraries it needs (`DT_NEEDED`), in its order.
    pub needed: Vec<String>,
    /// The name it is known by as a library (`DT_SONAME`).
    pub soname: Option<String>,
    /// `DT_RPATH`, cut at `:`, with `$ORIGIN` as written.
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, cut at `:`, with `$ORIGIN` as written.
    pub runpath: Vec<String>,
    /// What it says it loads at run time (`.note.dlopen`).
    pub dlopen: Vec<DlopenNote>,
    /// The largest `p_align` of its loaded segments, in bytes: the page size it can live with.
    pub max_align: u64,
    /// Whether it has a dynamic part (`PT_DYNAMIC`); without one no loader takes it as a library.
    pub has_dynamic: bool,
    /// Whether its needs are searched in no common folder (`DF_1_NODEFLIB`). musl does not know of it.
    pub only_own_folders: bool,
    /// Whether bytes follow behind the last one that its headers speak of, as with self-extracting programs.
    pub has_appended_data: bool,
}

impl ElfFacts {
    /// Where its needs are searched before the common folders. musl, as the gABI wants it, lets `DT_RUNPATH` win.
    pub fn search_path(&self) -> &[String] {
        if self.runpath.is_empty() { &self.rpath } else { &self.runpath }
    }

    /// Whether this is for the platform; if not, what it is for, in words.
    pub fn check_platform(&self, platform: Platform) -> Result<(), String> {
        let expected = (platform.elf_machine(), expected_class(platform), ByteOrder::Little);
        let same = (self.machine, self.class, self.endianness) == expected;
        if same { Ok(()) } else { Err(architecture(self.machine, self.class, self.endianness)) }
    }
}

/// The class of ELF files for this platform.
pub(crate) fn expected_class(platform: Platform) -> Class {
    if platform.elf_is_64() { Class::Bits64 } else { Class::Bits32 }
}

/// The architecture an ELF file for this platform says it is of, in words.
pub(crate) fn expected_architecture(platform: Platform) -> String {
    architecture(platform.elf_machine(), expected_class(platform), ByteOrder::Little)
}

fn architecture(machine: u16, class: Class, order: ByteOrder) -> String {
    let name = match machine {
        3 => "x86".to_owned(),
        8 => "MIPS".to_owned(),
        20 => "PowerPC".to_owned(),
        21 => "PowerPC64".to_owned(),
        22 => "S/390".to_owned(),
        40 => "ARM".to_owned(),
        62 => "x86-64".to_owned(),
        183 => "AArch64".to_owned(),
        243 => "RISC-V".to_owned(),
        258 => "LoongArch".to_owned(),
        other => format!("machine {other}"),
    };
    let bits = match class {
        Class::Bits32 => "32-bit",
        Class::Bits64 => "64-bit",
    };
    let order = match order {
        ByteOrder::Little => "",
        ByteOrder::Big => ", big-endian",
    };
    format!("{name}, {bits}{order}")
}

/// Why an ELF file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// Its bytes could not be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Its bytes could not be read to the end.
    #[error("reading its {part}")]
    Read {
        /// What was read.
        part: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The headers that a loader goes by are not in order.
    #[error("a broken ELF file: its {part} {problem}")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A part is larger than any real file has it.
    #[error("an ELF file whose {part} has {found} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

impl Classified for ElfError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Content(error) => error.class(),
            Self::Read { .. } => ErrorClass::LocalIo,
            Self::Malformed { .. } => ErrorClass::Malformed,
            Self::TooLarge { .. } => ErrorClass::Limit,
        }
    }
}

impl ElfError {
    pub(crate) fn malformed(part: &'static str, problem: impl Into<String>) -> Self {
        Self::Malformed { part, problem: problem.into() }
    }
}
