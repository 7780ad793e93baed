//! The symbols of an ELF file that a loader looks at when it binds programs to libraries: what the relocations
//! ask for, what is defined for others, and the versions of both.

use std::collections::BTreeMap;
use std::sync::Arc;

use kimg_core::{Content, ImagePath, ReadSeek};
use object::read::ReadCache;
use object::read::elf::FileHeader;
use object::{Endianness, elf};

use super::bytes::File;
use super::read::ident_class;
use super::tables::{RawSymbol, Tables, Version};
use super::{Class, ElfError};
use crate::Files;

/// `STV`-less bits of `DT_VERSYM`: the version is not the one that unversioned references get.
const HIDDEN: u16 = 0x8000;
/// `VER_FLG_BASE`: the file's own name, no version.
const BASE: u16 = 1;
/// `VER_FLG_WEAK`.
const WEAK: u16 = 2;

/// The symbols of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElfSymbols {
    /// What its relocations ask for and it does not define itself.
    pub undefined: Vec<UndefinedSymbol>,
    /// What it defines for others, by name.
    defined: BTreeMap<String, Vec<DefinedSymbol>>,
    /// Whether its symbols have versions at all (`DT_VERSYM`).
    pub has_versions: bool,
    /// The versions it defines, without its own name (`DT_VERDEF`).
    pub defined_versions: Vec<String>,
    /// The versions it needs of others (`DT_VERNEED`).
    pub needed_versions: Vec<NeededVersion>,
}

/// A symbol that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UndefinedSymbol {
    /// Its name.
    pub name: String,
    /// The version it should be of.
    pub version: Option<Arc<str>>,
    /// Whether the program can do without.
    pub weak: bool,
    /// Whether a loader that binds lazily looks for it only when it is called first.
    pub lazy: bool,
    /// Whether it is data that is copied out of a library: a definition in the program itself does not count.
    pub copied: bool,
}

/// A symbol that is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinedSymbol {
    /// Its version; `None` for none.
    pub version: Option<Arc<str>>,
    /// Its index among the versions, without the bit for hidden ones.
    pub index: u16,
    /// Whether it is not the default version.
    pub hidden: bool,
    /// Whether its address is found by calling it (`STT_GNU_IFUNC`), which musl does not know.
    pub indirect: bool,
}

/// A version that is needed of a library.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeededVersion {
    /// The library, by the name in `DT_NEEDED`.
    pub library: String,
    /// The version.
    pub version: String,
    /// Whether it may be missing.
    pub weak: bool,
}

/// Reads the symbols of an ELF file; `None` when the content is no ELF file or has no dynamic part.
///
/// Reads the dynamic part and the tables it points to, however large the rest is.
///
/// # Errors
/// When bytes can't be read, and when a table is broken or lies outside the file.
pub fn read_symbols(content: &Content) -> Result<Option<ElfSymbols>, ElfError> {
    ElfSymbols::read(content.open()?)
}

impl ElfSymbols {
    /// The same for the regular file at a path.
    pub(crate) fn read_at(files: &dyn Files, path: &ImagePath) -> Result<Option<Self>, ElfError> {
        Self::read(files.open(path).map_err(|source| ElfError::Read { part: "first bytes", source })?)
    }

    fn read(opened: Box<dyn ReadSeek>) -> Result<Option<Self>, ElfError> {
        let cache = ReadCache::new(opened);
        let mut file = File::new(&cache)?;
        let first = file.bytes("first bytes", 0, file.size.min(16), 16)?;
        if !first.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        match ident_class(first)? {
            Class::Bits32 => Self::of::<elf::FileHeader32<Endianness>>(&file),
            Class::Bits64 => {
                file.is_64 = true;
                Self::of::<elf::FileHeader64<Endianness>>(&file)
            }
        }
    }

    fn of<Elf: FileHeader<Endian = Endianness>>(file: &File<'_>) -> Result<Option<Self>, ElfError> {
        let (header, endian) = file.header::<Elf>()?;
        if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
            return Ok(None);
        }
        let Some(tables) = Tables::find(file, header, endian)? else { return Ok(None) };
        let machine = header.e_machine(endian).0;
        let relocations = tables.relocations::<Elf>(machine)?;
        let named = relocations.iter().map(|r| r.symbol).max().unwrap_or(0);
        let symbols = tables.symbols::<Elf>(named)?;
        let indexes = tables.version_indexes(symbols.len())?;
        let (defined_versions, needed_versions) = (tables.defined_versions()?, tables.needed_versions()?);
        let index = |at: usize| indexes.as_ref().and_then(|i| i.get(at)).copied();

        let mut read = Self { has_versions: indexes.is_some(), ..Self::default() };
        let names = Names::new(&defined_versions);
        for (at, symbol) in symbols.iter().enumerate().filter(|(_, s)| is_definition(s)) {
            let raw = index(at).unwrap_or(1);
            let one = DefinedSymbol {
                version: names.get(raw),
                index: raw & !HIDDEN,
                hidden: raw & HIDDEN != 0,
                indirect: symbol.kind == elf::STT_GNU_IFUNC.0,
            };
            read.defined.entry(tables.string("a symbol", symbol.name)?).or_default().push(one);
        }

        let bind_now = tables.entry(elf::DT_BIND_NOW).is_some()
            || tables.entry(elf::DT_FLAGS).is_some_and(|f| f & 0x8 != 0)
            || tables.entry(elf::DT_FLAGS_1).is_some_and(|f| f & 0x1 != 0);
        let names = Names::new(&needed_versions);
        let mut asked: BTreeMap<(u32, bool), bool> = BTreeMap::new();
        for relocation in &relocations {
            let lazy = relocation.of_procedure_table && !bind_now;
            let copied = is_copy(machine, relocation.kind);
            let all_lazy = asked.entry((relocation.symbol, copied)).or_insert(lazy);
            *all_lazy &= lazy;
        }
        for ((at, copied), lazy) in asked {
            let Some(symbol) = symbols.get(at as usize) else {
                return Err(ElfError::malformed("relocations", "name a symbol that there is not"));
            };
            let is_local = symbol.binding == elf::STB_LOCAL.0;
            if is_local || (symbol.section != elf::SHN_UNDEF.0 && !copied) {
                continue;
            }
            let version = index(at as usize).and_then(|raw| names.get(raw));
            let name = tables.string("a symbol", symbol.name)?;
            let weak = symbol.binding == elf::STB_WEAK.0;
            read.undefined.push(UndefinedSymbol { name, version, weak, lazy, copied });
        }
        read.undefined.sort();
        read.undefined.dedup();

        let own = defined_versions.into_iter().filter(|v| v.flags & BASE == 0);
        read.defined_versions = own.map(|v| v.name).collect();
        let needed = needed_versions.into_iter();
        read.needed_versions = needed
            .map(|v| NeededVersion { library: v.file, version: v.name, weak: v.flags & WEAK != 0 })
            .collect();
        Ok(Some(read))
    }

    /// The definitions of a name, one for each version.
    pub fn definitions(&self, name: &str) -> &[DefinedSymbol] {
        self.defined.get(name).map_or(&[], Vec::as_slice)
    }

    /// How many names it defines.
    pub fn defined_names(&self) -> usize {
        self.defined.len()
    }
}

/// The names of versions by their index.
struct Names(BTreeMap<u16, Arc<str>>);

impl Names {
    fn new(versions: &[Version]) -> Self {
        let named = versions.iter().filter(|v| !v.file.is_empty() || v.flags & BASE == 0);
        Self(named.map(|v| (v.index & !HIDDEN, Arc::from(v.name.as_str()))).collect())
    }

    /// 0 and 1 are no versions: local, and global without one.
    fn get(&self, raw: u16) -> Option<Arc<str>> {
        let index = raw & !HIDDEN;
        if index < 2 { None } else { self.0.get(&index).cloned() }
    }
}

/// What loaders take as a definition: musl's `find_sym`, glibc's `check_match`.
fn is_definition(symbol: &RawSymbol) -> bool {
    let kinds =
        [elf::STT_NOTYPE, elf::STT_OBJECT, elf::STT_FUNC, elf::STT_COMMON, elf::STT_TLS, elf::STT_GNU_IFUNC];
    let bindings = [elf::STB_GLOBAL, elf::STB_WEAK, elf::STB_GNU_UNIQUE];
    symbol.section != elf::SHN_UNDEF.0
        && kinds.iter().any(|k| k.0 == symbol.kind)
        && bindings.iter().any(|b| b.0 == symbol.binding)
        && (symbol.value != 0 || symbol.kind == elf::STT_TLS.0 || symbol.section == elf::SHN_ABS.0)
}

/// `R_*_COPY` of the processors there are.
fn is_copy(machine: u16, kind: u32) -> bool {
    matches!((machine, kind), (3 | 62, 5) | (40, 20) | (183, 1024))
}
