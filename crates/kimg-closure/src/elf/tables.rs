//! The tables that the dynamic part points to, as far as symbols are concerned: strings, symbols, relocations and
//! versions, each clamped to the file and to a limit before it is read.
//!
//! Formats: gABI, chapter 5; for versions, LSB Core, "Symbol Versioning"; for the hash tables, gABI ("Hash Table")
//! and glibc's `elf/dl-lookup.c`.

use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _, Rel as _, Rela as _, Sym as _};
use object::{Endianness, U32, elf, pod};

use super::ElfError;
use super::bytes::{File, Load};

/// More than any library of a real system has in one of its tables, in bytes.
const MAX_LARGE: u64 = 64 << 20;
/// More symbols than any real file has.
const MAX_SYMBOLS: u64 = 1 << 20;
/// More versions than any real file defines or needs.
const MAX_VERSIONS: usize = 1 << 14;

/// An entry of a version table: its index, its name, and in which file it is looked for (or flags).
pub(super) struct Version {
    pub(super) index: u16,
    pub(super) flags: u16,
    pub(super) name: String,
    /// The library that should define it; empty for a version that is defined here.
    pub(super) file: String,
}

/// A symbol as the table has it.
pub(super) struct RawSymbol {
    pub(super) name: u64,
    pub(super) binding: u8,
    pub(super) kind: u8,
    pub(super) section: u16,
    pub(super) value: u64,
}

/// One relocation: the place of its symbol, its type, and whether it is one of the procedure table's.
pub(super) struct Relocation {
    pub(super) symbol: u32,
    pub(super) kind: u32,
    pub(super) of_procedure_table: bool,
}

/// The dynamic part, and where its tables lie.
pub(super) struct Tables<'f, 'c> {
    file: &'f File<'c>,
    endian: Endianness,
    loads: Vec<Load>,
    entries: Vec<(u64, u64)>,
    strings: Vec<u8>,
}

impl<'f, 'c> Tables<'f, 'c> {
    /// Finds the dynamic part; `None` where there is none.
    pub(super) fn find<Elf: FileHeader<Endian = Endianness>>(
        file: &'f File<'c>,
        header: &Elf,
        endian: Endianness,
    ) -> Result<Option<Self>, ElfError> {
        let mut loads = Vec::new();
        let mut dynamic = None;
        for segment in file.program_headers(header, endian)? {
            match segment.p_type(endian) {
                elf::PT_LOAD => {
                    let (offset, size) = segment.file_range(endian);
                    loads.push(Load { address: segment.p_vaddr(endian).into(), offset, size });
                }
                elf::PT_DYNAMIC => {
                    dynamic = Some((segment.p_vaddr(endian).into(), segment.file_range(endian).1));
                }
                _ => {}
            }
        }
        let Some((address, size)) = dynamic else { return Ok(None) };
        let bytes = file.memory("PT_DYNAMIC", &loads, address, size)?;
        let whole = bytes.len() / size_of::<Elf::Dyn>();
        let (raw, _) = pod::slice_from_bytes::<Elf::Dyn>(&bytes, whole)
            .map_err(|()| ElfError::malformed("PT_DYNAMIC", "can't be read"))?;
        let entries = raw.iter().take_while(|e| e.tag(endian) != elf::DT_NULL);
        let entries = entries.map(|e| (e.tag(endian).0.cast_unsigned(), e.val(endian))).collect();
        let mut tables = Self { file, endian, loads, entries, strings: Vec::new() };
        if let (Some(at), Some(size)) = (tables.entry(elf::DT_STRTAB), tables.entry(elf::DT_STRSZ)) {
            tables.strings = tables.large("DT_STRTAB", at, size)?;
        }
        Ok(Some(tables))
    }

    /// The last entry of a kind.
    pub(super) fn entry(&self, tag: elf::DynamicTag) -> Option<u64> {
        let tag = tag.0.cast_unsigned();
        self.entries.iter().rfind(|(t, _)| *t == tag).map(|(_, value)| *value)
    }

    fn large(&self, part: &'static str, address: u64, size: u64) -> Result<Vec<u8>, ElfError> {
        self.file.memory_up_to(part, &self.loads, (address, size), MAX_LARGE)
    }

    /// The string at a place of the string table.
    pub(super) fn string(&self, part: &'static str, at: u64) -> Result<String, ElfError> {
        let rest = usize::try_from(at).ok().and_then(|at| self.strings.get(at..));
        let rest = rest.ok_or_else(|| ElfError::malformed(part, "points outside the string table"))?;
        let end = rest.iter().position(|b| *b == 0);
        let end = end.ok_or_else(|| ElfError::malformed(part, "has no end in the string table"))?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn number(&self, part: &'static str, address: u64) -> Result<u32, ElfError> {
        let bytes = self.file.memory(part, &self.loads, address, 4)?;
        let (number, _) = pod::from_bytes::<U32<Endianness>>(&bytes)
            .map_err(|()| ElfError::malformed(part, "can't be read"))?;
        Ok(number.get(self.endian))
    }

    /// The number of symbols, which only the hash tables tell; without one of them, as many as relocations name.
    fn symbol_count(&self, named: u32) -> Result<u64, ElfError> {
        if let Some(at) = self.entry(elf::DT_HASH) {
            return Ok(self.number("DT_HASH", at.saturating_add(4))?.into());
        }
        match self.entry(elf::DT_GNU_HASH) {
            Some(at) => self.gnu_hash_count(at, named),
            None => Ok(u64::from(named) + 1),
        }
    }

    fn gnu_hash_count(&self, at: u64, named: u32) -> Result<u64, ElfError> {
        const PART: &str = "DT_GNU_HASH";
        let head = self.file.memory(PART, &self.loads, at, 16)?;
        let head: Vec<u64> = head.chunks_exact(4).map(|c| self.u32(c).into()).collect();
        let (buckets, first, bloom) = (head[0], head[1], head[2]);
        let word = if self.is_64() { 8 } else { 4 };
        let start = at.saturating_add(16).saturating_add(bloom.saturating_mul(word));
        let bytes = self.large(PART, start, buckets.saturating_mul(4))?;
        let last = bytes.chunks_exact(4).map(|c| self.u32(c).into()).max().unwrap_or(0_u64);
        if last < first {
            return Ok(first.max(u64::from(named) + 1));
        }
        // The last chain ends at an odd number.
        let chains = start.saturating_add(buckets.saturating_mul(4));
        let mut index = last;
        loop {
            let here = chains.saturating_add((index - first).saturating_mul(4));
            if self.number(PART, here)? & 1 == 1 {
                return Ok(index + 1);
            }
            index += 1;
            if index - last > MAX_SYMBOLS {
                return Err(ElfError::malformed(PART, "has a chain without an end"));
            }
        }
    }

    fn is_64(&self) -> bool {
        self.file.is_64
    }

    fn u32(&self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.endian == Endianness::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn u16(&self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        if self.endian == Endianness::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// All symbols, the empty first one included.
    pub(super) fn symbols<Elf: FileHeader<Endian = Endianness>>(
        &self,
        named: u32,
    ) -> Result<Vec<RawSymbol>, ElfError> {
        const PART: &str = "DT_SYMTAB";
        let Some(at) = self.entry(elf::DT_SYMTAB) else { return Ok(Vec::new()) };
        let count = self.symbol_count(named)?;
        if count > MAX_SYMBOLS {
            return Err(ElfError::TooLarge { part: PART, found: count, limit: MAX_SYMBOLS });
        }
        let bytes = self.large(PART, at, count * size_of::<Elf::Sym>() as u64)?;
        let raw = pod::slice_from_all_bytes::<Elf::Sym>(&bytes)
            .map_err(|()| ElfError::malformed(PART, "can't be read"))?;
        let endian = self.endian;
        Ok(raw
            .iter()
            .map(|symbol| RawSymbol {
                name: symbol.st_name(endian).into(),
                binding: symbol.st_bind().0,
                kind: symbol.st_type().0,
                section: symbol.st_shndx(endian).0,
                value: symbol.st_value(endian).into(),
            })
            .collect())
    }

    /// The version index of each symbol; `None` where symbols have no versions.
    pub(super) fn version_indexes(&self, count: usize) -> Result<Option<Vec<u16>>, ElfError> {
        let Some(at) = self.entry(elf::DT_VERSYM) else { return Ok(None) };
        let bytes = self.large("DT_VERSYM", at, count as u64 * 2)?;
        Ok(Some(bytes.chunks_exact(2).map(|c| self.u16(c)).collect()))
    }

    /// The relocations that name a symbol.
    pub(super) fn relocations<Elf: FileHeader<Endian = Endianness>>(
        &self,
        machine: u16,
    ) -> Result<Vec<Relocation>, ElfError> {
        let mut all = Vec::new();
        let procedures = self.entry(elf::DT_JMPREL).zip(self.entry(elf::DT_PLTRELSZ));
        let with_addend = self.entry(elf::DT_PLTREL) == Some(elf::DT_RELA.0.cast_unsigned());
        let tables = [
            ("DT_RELA", self.entry(elf::DT_RELA).zip(self.entry(elf::DT_RELASZ)), true, false),
            ("DT_REL", self.entry(elf::DT_REL).zip(self.entry(elf::DT_RELSZ)), false, false),
            ("DT_JMPREL", procedures, with_addend, true),
        ];
        for (part, place, with_addend, of_procedure_table) in tables {
            let Some((address, size)) = place else { continue };
            let bytes = self.large(part, address, size)?;
            let found: Vec<(u32, u32)> = if with_addend {
                let entries = bytes.len() / size_of::<Elf::Rela>();
                let (raw, _) = pod::slice_from_bytes::<Elf::Rela>(&bytes, entries)
                    .map_err(|()| ElfError::malformed(part, "can't be read"))?;
                let mips64 = self.is_64() && machine == elf::EM_MIPS.0;
                raw.iter().map(|r| (r.r_sym(self.endian, mips64), r.r_type(self.endian, mips64).0)).collect()
            } else {
                let entries = bytes.len() / size_of::<Elf::Rel>();
                let (raw, _) = pod::slice_from_bytes::<Elf::Rel>(&bytes, entries)
                    .map_err(|()| ElfError::malformed(part, "can't be read"))?;
                raw.iter().map(|r| (r.r_sym(self.endian), r.r_type(self.endian).0)).collect()
            };
            let entry = if with_addend { size_of::<Elf::Rela>() } else { size_of::<Elf::Rel>() } as u64;
            for ((symbol, kind), at) in
                found.into_iter().zip((0..).map(|n| address.saturating_add(n * entry)))
            {
                // Some linkers count the procedure table in with the others.
                let twice = !of_procedure_table
                    && procedures.is_some_and(|(start, size)| at.wrapping_sub(start) < size);
                if symbol != 0 && !twice {
                    all.push(Relocation { symbol, kind, of_procedure_table });
                }
            }
        }
        Ok(all)
    }

    /// The versions that are defined here (`DT_VERDEF`).
    pub(super) fn defined_versions(&self) -> Result<Vec<Version>, ElfError> {
        const PART: &str = "DT_VERDEF";
        let mut all = Vec::new();
        let Some(mut at) = self.entry(elf::DT_VERDEF) else { return Ok(all) };
        for _ in 0..self.entry(elf::DT_VERDEFNUM).unwrap_or(0) {
            let bytes = self.file.memory(PART, &self.loads, at, 20)?;
            let (flags, index) = (self.u16(&bytes[2..]), self.u16(&bytes[4..]));
            let name = self.number(PART, at.saturating_add(self.u32(&bytes[12..]).into()))?;
            let name = self.string(PART, name.into())?;
            all.push(Version { index, flags, name, file: String::new() });
            Self::clamp(PART, all.len())?;
            match self.u32(&bytes[16..]) {
                0 => break,
                next => at = at.saturating_add(next.into()),
            }
        }
        Ok(all)
    }

    /// The versions that are needed of others (`DT_VERNEED`).
    pub(super) fn needed_versions(&self) -> Result<Vec<Version>, ElfError> {
        const PART: &str = "DT_VERNEED";
        let mut all = Vec::new();
        let Some(mut at) = self.entry(elf::DT_VERNEED) else { return Ok(all) };
        let mut files = 0;
        for _ in 0..self.entry(elf::DT_VERNEEDNUM).unwrap_or(0) {
            let bytes = self.file.memory(PART, &self.loads, at, 16)?;
            let file = self.string(PART, self.u32(&bytes[4..]).into())?;
            let mut aux = at.saturating_add(self.u32(&bytes[8..]).into());
            for _ in 0..self.u16(&bytes[2..]) {
                let bytes = self.file.memory(PART, &self.loads, aux, 16)?;
                let name = self.string(PART, self.u32(&bytes[8..]).into())?;
                let (flags, index) = (self.u16(&bytes[4..]), self.u16(&bytes[6..]));
                all.push(Version { index, flags, name, file: file.clone() });
                Self::clamp(PART, all.len())?;
                match self.u32(&bytes[12..]) {
                    0 => break,
                    next => aux = aux.saturating_add(next.into()),
                }
            }
            files += 1;
            Self::clamp(PART, files)?;
            match self.u32(&bytes[12..]) {
                0 => break,
                next => at = at.saturating_add(next.into()),
            }
        }
        Ok(all)
    }

    fn clamp(part: &'static str, count: usize) -> Result<(), ElfError> {
        if count > MAX_VERSIONS {
            let problem = format!("has more than {MAX_VERSIONS} entries, or goes in a circle");
            return Err(ElfError::malformed(part, problem));
        }
        Ok(())
    }
}
