//! Reads an ELF file's facts out of its program headers: only the ranges that are needed, each within its bounds.
//!
//! Section headers decide nothing (a loader never looks at them, and they may be cut off), save whether
//! bytes are appended. What a loader would stumble over is an error: a `PT_INTERP`, a dynamic part or a
//! `DT_NEEDED` that lies outside the file never reads as "nothing needed".
//!
//! Formats: System V ABI (gABI), chapters 4 and 5; limits as Linux' `binfmt_elf` has them where it has some.

use std::io::Read as _;

use kimg_core::{Content, ReadSeek};
use object::read::ReadCache;
use object::read::elf::{Dyn as _, FileHeader, NoteIterator, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, elf, pod};

use super::bytes::{File, Load};
use super::{ByteOrder, Class, DlopenNote, ElfError, ElfFacts, ElfKind, dlopen};

/// Linux refuses program headers of more than 64 KiB.
const MAX_PROGRAM_HEADERS: u64 = 64 << 10;
/// Linux refuses a longer `PT_INTERP` (`PATH_MAX`).
const MAX_INTERPRETER: u64 = 4096;
/// More is skipped: no loader reads notes.
const MAX_NOTES: u64 = 1 << 20;
/// The largest page for which linkers fill up files.
const MAX_PADDING: u64 = 64 << 10;
/// More libraries than any real file needs.
const MAX_NEEDED: usize = 4096;
/// `DF_1_NODEFLIB` of `DT_FLAGS_1`.
const DF_1_NODEFLIB: u64 = 0x800;
/// `DF_1_PIE` of `DT_FLAGS_1`.
const DF_1_PIE: u64 = 0x0800_0000;

/// Reads the facts of an ELF file; `None` when the content is not one.
///
/// Reads some kilobytes, however large the file is.
///
/// # Errors
/// When bytes can't be read, and when something that a loader goes by is broken or lies outside the file.
pub fn read_elf(content: &Content) -> Result<Option<ElfFacts>, ElfError> {
    let mut opened = content.open()?;
    let mut ident = Vec::new();
    (&mut opened)
        .take(16)
        .read_to_end(&mut ident)
        .map_err(|source| ElfError::Read { part: "first bytes", source })?;
    read_opened(opened, &ident)
}

/// The same for a file that is open already, and of which the first bytes, at least 16, were read.
pub(crate) fn read_opened(opened: Box<dyn ReadSeek>, first: &[u8]) -> Result<Option<ElfFacts>, ElfError> {
    if !first.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let class = ident_class(first)?;
    let cache = ReadCache::new(opened);
    let file = File::new(&cache)?;
    match class {
        Class::Bits32 => file.facts::<elf::FileHeader32<Endianness>>(class).map(Some),
        Class::Bits64 => file.facts::<elf::FileHeader64<Endianness>>(class).map(Some),
    }
}

/// The class in the first 16 bytes of an ELF file.
pub(super) fn ident_class(first: &[u8]) -> Result<Class, ElfError> {
    match first.get(..16).map(|ident| ident[4]) {
        None => Err(ElfError::malformed("file header", "is cut off")),
        Some(1) => Ok(Class::Bits32),
        Some(2) => Ok(Class::Bits64),
        Some(other) => {
            let problem = format!("is {other}, neither 1 (32-bit) nor 2 (64-bit)");
            Err(ElfError::malformed("class", problem))
        }
    }
}

impl<'c> File<'c> {
    fn facts<Elf: FileHeader<Endian = Endianness>>(&self, class: Class) -> Result<ElfFacts, ElfError> {
        let (header, endian) = self.header::<Elf>()?;
        let mut facts = ElfFacts {
            class,
            endianness: if header.is_big_endian() { ByteOrder::Big } else { ByteOrder::Little },
            machine: header.e_machine(endian).0,
            kind: ElfKind::Other,
            interpreter: None,
            needed: Vec::new(),
            soname: None,
            rpath: Vec::new(),
            runpath: Vec::new(),
            dlopen: Vec::new(),
            max_align: 0,
            has_dynamic: false,
            only_own_folders: false,
            has_appended_data: false,
        };
        let file_type = header.e_type(endian);
        if file_type != elf::ET_EXEC && file_type != elf::ET_DYN {
            return Ok(facts);
        }

        let segments = self.program_headers(header, endian)?;
        let mut loads = Vec::new();
        let mut dynamic = None;
        let mut interpreter = None;
        for segment in segments {
            match segment.p_type(endian) {
                elf::PT_LOAD => {
                    let (offset, size) = segment.file_range(endian);
                    loads.push(Load { address: segment.p_vaddr(endian).into(), offset, size });
                    facts.max_align = facts.max_align.max(segment.p_align(endian).into());
                }
                elf::PT_INTERP if interpreter.replace(segment).is_some() => {
                    return Err(ElfError::malformed("PT_INTERP", "is there twice"));
                }
                elf::PT_DYNAMIC if dynamic.replace(segment).is_some() => {
                    return Err(ElfError::malformed("PT_DYNAMIC", "is there twice"));
                }
                _ => {}
            }
        }
        if let Some(segment) = interpreter {
            facts.interpreter = Some(self.interpreter(segment.file_range(endian))?);
        }
        let mut marked_as_program = true;
        if let Some(segment) = dynamic {
            let (address, size) = (segment.p_vaddr(endian).into(), segment.file_range(endian).1);
            marked_as_program = self.dynamic::<Elf>(&mut facts, endian, &loads, address, size)?;
        }
        facts.kind = match (&facts.interpreter, file_type) {
            (Some(_), _) => ElfKind::Dynamic,
            (None, elf::ET_EXEC) => ElfKind::Static,
            (None, _) if marked_as_program && facts.needed.is_empty() && facts.soname.is_none() => {
                ElfKind::StaticPie
            }
            (None, _) => ElfKind::SharedLibrary,
        };
        facts.dlopen = self.dlopen_notes::<Elf>(segments, endian)?;
        facts.has_appended_data = self.has_more_behind(self.end(header, endian, segments));
        Ok(facts)
    }

    pub(super) fn header<Elf: FileHeader<Endian = Endianness>>(
        &self,
    ) -> Result<(&'c Elf, Endianness), ElfError> {
        let size = size_of::<Elf>() as u64;
        let bytes = self.bytes("file header", 0, size, size)?;
        let unread = |()| ElfError::malformed("file header", "can't be read");
        let (header, _) = pod::from_bytes::<Elf>(bytes).map_err(unread)?;
        if !header.is_supported() {
            return Err(ElfError::malformed("file header", "has an unknown byte order or version"));
        }
        Ok((header, if header.is_big_endian() { Endianness::Big } else { Endianness::Little }))
    }

    pub(super) fn program_headers<Elf: FileHeader<Endian = Endianness>>(
        &self,
        header: &Elf,
        endian: Endianness,
    ) -> Result<&'c [Elf::ProgramHeader], ElfError> {
        const PART: &str = "program headers";
        let count = u64::from(header.e_phnum(endian));
        let entry = size_of::<Elf::ProgramHeader>() as u64;
        if count == 0 {
            return Err(ElfError::malformed(PART, "are missing"));
        }
        if u64::from(header.e_phentsize(endian)) != entry {
            let problem = format!("are {} bytes each, not {entry}", header.e_phentsize(endian));
            return Err(ElfError::malformed(PART, problem));
        }
        let bytes = self.bytes(PART, header.e_phoff(endian).into(), count * entry, MAX_PROGRAM_HEADERS)?;
        pod::slice_from_all_bytes(bytes).map_err(|()| ElfError::malformed(PART, "can't be read"))
    }

    fn interpreter(&self, (offset, size): (u64, u64)) -> Result<String, ElfError> {
        const PART: &str = "PT_INTERP";
        let bytes = self.bytes(PART, offset, size, MAX_INTERPRETER)?;
        // Linux wants the final zero to be the last byte (`binfmt_elf.c`, load_elf_binary).
        let Some((0, path)) = bytes.split_last() else {
            return Err(ElfError::malformed(PART, "does not end with a zero"));
        };
        let path = path.split(|b| *b == 0).next().unwrap_or_default();
        match std::str::from_utf8(path) {
            Ok(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(ElfError::malformed(PART, "is not a path")),
        }
    }

    /// Reads the dynamic part as it lies in memory; gives back whether it is marked as a program's.
    fn dynamic<Elf: FileHeader<Endian = Endianness>>(
        &self,
        facts: &mut ElfFacts,
        endian: Endianness,
        loads: &[Load],
        address: u64,
        size: u64,
    ) -> Result<bool, ElfError> {
        const PART: &str = "PT_DYNAMIC";
        let bytes = self.memory(PART, loads, address, size)?;
        let whole = bytes.len() / size_of::<Elf::Dyn>();
        let (entries, _) = pod::slice_from_bytes::<Elf::Dyn>(&bytes, whole)
            .map_err(|()| ElfError::malformed(PART, "can't be read"))?;
        let end = entries
            .iter()
            .position(|e| e.tag(endian) == elf::DT_NULL)
            .ok_or_else(|| ElfError::malformed(PART, "has no DT_NULL at its end"))?;
        let entries = &entries[..end];
        facts.has_dynamic = true;

        // As in musl's loader, the last entry of a kind counts (ldso/dynlink.c, decode_vec).
        let entry = |tag| entries.iter().rfind(|e| e.tag(endian) == tag).map(|e| e.val(endian));
        let (table, table_size) = (entry(elf::DT_STRTAB), entry(elf::DT_STRSZ).unwrap_or(u64::MAX));
        let string = |part, at: u64| -> Result<String, ElfError> {
            let table = table.ok_or_else(|| ElfError::malformed("DT_STRTAB", "is missing"))?;
            // musl does not look at DT_STRSZ; what lies behind it is not trusted here.
            if at >= table_size {
                let problem = format!("points to {at} of a string table of {table_size} bytes");
                return Err(ElfError::malformed(part, problem));
            }
            self.string(part, loads, table.saturating_add(at))
        };
        let needed = || entries.iter().filter(|e| e.tag(endian) == elf::DT_NEEDED);
        if needed().count() > MAX_NEEDED {
            let problem = format!(
                "is there {} times; no real file has it more than {MAX_NEEDED} times",
                needed().count()
            );
            return Err(ElfError::malformed("DT_NEEDED", problem));
        }
        for one in needed() {
            facts.needed.push(string("DT_NEEDED", one.val(endian))?);
        }
        facts.soname = entry(elf::DT_SONAME).map(|at| string("DT_SONAME", at)).transpose()?;
        let paths = |part, tag| -> Result<Vec<String>, ElfError> {
            let Some(at) = entry(tag) else { return Ok(Vec::new()) };
            let text = string(part, at)?;
            Ok(text.split([':', '\n']).filter(|p| !p.is_empty()).map(str::to_owned).collect())
        };
        facts.rpath = paths("DT_RPATH", elf::DT_RPATH)?;
        facts.runpath = paths("DT_RUNPATH", elf::DT_RUNPATH)?;
        let flags = entry(elf::DT_FLAGS_1).unwrap_or(0);
        facts.only_own_folders = flags & DF_1_NODEFLIB != 0;
        Ok(flags & DF_1_PIE != 0 || entry(elf::DT_DEBUG).is_some())
    }

    fn dlopen_notes<Elf: FileHeader<Endian = Endianness>>(
        &self,
        segments: &[Elf::ProgramHeader],
        endian: Endianness,
    ) -> Result<Vec<DlopenNote>, ElfError> {
        let mut found = Vec::new();
        for segment in segments.iter().filter(|s| s.p_type(endian) == elf::PT_NOTE) {
            let (offset, size) = segment.file_range(endian);
            // No loader reads notes: broken ones hurt nobody.
            let Ok(bytes) = self.bytes("PT_NOTE", offset, size, MAX_NOTES) else { continue };
            let Ok(mut notes) = NoteIterator::<Elf>::new(endian, segment.p_align(endian), bytes) else {
                continue;
            };
            while let Ok(Some(note)) = notes.next() {
                if note.n_type(endian).0 == dlopen::TYPE && note.name() == dlopen::OWNER {
                    found.extend(dlopen::parse(note.desc())?);
                }
            }
        }
        Ok(found)
    }

    /// Whether bytes follow that no header speaks of. Linkers (Go's is one) fill the last page with zeros.
    fn has_more_behind(&self, end: u64) -> bool {
        let rest = self.size.saturating_sub(end);
        match self.bytes("end", end, rest, MAX_PADDING) {
            Ok(bytes) => bytes.iter().any(|b| *b != 0),
            Err(_) => rest > 0,
        }
    }

    /// Where the last byte ends that a header speaks of.
    fn end<Elf: FileHeader<Endian = Endianness>>(
        &self,
        header: &Elf,
        endian: Endianness,
        segments: &[Elf::ProgramHeader],
    ) -> u64 {
        let ends = segments.iter().map(|s| s.file_range(endian));
        let mut end = ends.map(|(offset, size)| offset.saturating_add(size)).max().unwrap_or(0);
        let (offset, count) = (header.e_shoff(endian).into(), u64::from(header.e_shnum(endian)));
        let entry = size_of::<Elf::SectionHeader>() as u64;
        let Some(size) = count.checked_mul(entry).filter(|_| offset > 0) else { return end };
        if let Ok(bytes) = self.bytes("section headers", offset, size, u64::from(u16::MAX) * entry) {
            end = end.max(offset + size);
            let sections = pod::slice_from_all_bytes::<Elf::SectionHeader>(bytes).unwrap_or_default();
            for section in sections {
                let (offset, size) = section.file_range(endian).unwrap_or((0, 0));
                end = end.max(offset.saturating_add(size));
            }
        }
        end
    }
}
