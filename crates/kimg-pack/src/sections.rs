//! What the section headers of an ELF file tell (System V ABI, "Sections"): what lies in it beside what is mapped.

use aho_corasick::AhoCorasick;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, FileKind};

use crate::PlainReason;

/// The sections of a file, and what else is needed to write a new table of them.
#[derive(Debug)]
pub(crate) struct Sections {
    pub(crate) is_64: bool,
    pub(crate) list: Vec<Section>,
    /// Up to where, from the start, the file is what segments map, or the headers themselves.
    pub(crate) loaded_end: usize,
    /// Where the table of section headers is, and its end.
    pub(crate) table: (usize, usize),
}

/// A section.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u32,
    /// Whether it is part of the running program's memory.
    pub(crate) mapped: bool,
    /// Where its bytes are in the file, and their end; nothing for those that have none there.
    pub(crate) bytes: Option<(usize, usize)>,
    pub(crate) align: u64,
    pub(crate) link: usize,
    /// A section's place, if this kind of section keeps one there.
    pub(crate) info: Option<usize>,
    /// Where its header is.
    pub(crate) header: (usize, usize),
    /// Whether it holds the sections' names.
    pub(crate) is_names: bool,
}

/// Reads them. The error says what is wrong, for the report.
pub(crate) fn read(bytes: &[u8]) -> Result<Sections, String> {
    let sections = match FileKind::parse(bytes) {
        Ok(FileKind::Elf32) => read_class::<FileHeader32<Endianness>>(bytes),
        Ok(FileKind::Elf64) => read_class::<FileHeader64<Endianness>>(bytes),
        _ => return Err("not an ELF program".into()),
    };
    let sections = sections.map_err(|error| format!("a broken ELF file: {error}"))?;
    let end = |range: &(usize, usize)| range.1;
    let last = sections.list.iter().filter_map(|s| s.bytes.as_ref()).map(end).max().unwrap_or(0);
    if last.max(sections.table.1).max(sections.loaded_end) > bytes.len() {
        return Err("a broken ELF file: a section lies behind its end".into());
    }
    Ok(sections)
}

fn read_class<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Sections> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let segments = header.program_headers(endian, bytes)?;
    let segments_at = place(header.e_phoff(endian).into());
    let segments_size = usize::from(header.e_phentsize(endian)).saturating_mul(segments.len());
    let mut loaded_end = usize::from(header.e_ehsize(endian)).max(segments_at.saturating_add(segments_size));
    for segment in segments {
        let (offset, size) = segment.file_range(endian);
        if size > 0 {
            loaded_end = loaded_end.max(place(offset.saturating_add(size)));
        }
    }
    let is_64 = header.is_class_64();
    if header.section_headers(endian, bytes)?.is_empty() {
        return Ok(Sections { is_64, list: Vec::new(), loaded_end, table: (0, 0) });
    }
    let names = header.section_strings_index(endian, bytes)?;
    let table = header.sections(endian, bytes)?;
    let at = place(header.e_shoff(endian).into());
    let entry = usize::from(header.e_shentsize(endian));
    let mut list = Vec::new();
    for (number, section) in table.iter().enumerate() {
        let kind = section.sh_type(endian);
        let flags: u64 = section.sh_flags(endian).0;
        let from = at.saturating_add(entry.saturating_mul(number));
        let has_info = matches!(kind, elf::SHT_REL | elf::SHT_RELA) || flags & elf::SHF_INFO_LINK.0 != 0;
        list.push(Section {
            name: table.section_name(endian, section)?.to_vec(),
            kind: kind.0,
            mapped: flags & elf::SHF_ALLOC.0 != 0,
            bytes: section
                .file_range(endian)
                .filter(|_| kind != elf::SHT_NULL)
                .map(|(offset, size)| (place(offset), place(offset.saturating_add(size)))),
            align: section.sh_addralign(endian).into(),
            link: section.sh_link(endian) as usize,
            info: has_info.then_some(section.sh_info(endian) as usize),
            header: (from, from.saturating_add(entry)),
            is_names: number != 0 && number == names.0,
        });
    }
    let table = (at, at.saturating_add(entry.saturating_mul(list.len())));
    Ok(Sections { is_64, list, loaded_end, table })
}

impl Sections {
    /// How many bytes lie behind what is mapped, belong to no section and are data.
    ///
    /// Go's linker fills the last page with zeros that no header knows of: those are no data.
    pub(crate) fn stray(&self, bytes: &[u8]) -> u64 {
        let mut known: Vec<(usize, usize)> = self.list.iter().filter_map(|section| section.bytes).collect();
        known.extend([(0, self.loaded_end), self.table]);
        known.sort_unstable();
        known.push((bytes.len(), bytes.len()));
        let (mut at, mut stray) = (0, 0);
        for (from, to) in known {
            let gap = bytes.get(at..from).unwrap_or_default();
            if gap.iter().any(|byte| *byte != 0) {
                stray += gap.len() as u64;
            }
            at = at.max(to);
        }
        stray
    }

    /// Whether there is a table of symbols or debug information that a program could look for in its own file.
    fn has_symbols(&self) -> bool {
        self.list
            .iter()
            .any(|section| !section.mapped && (section.kind == elf::SHT_SYMTAB.0 || section.is_debug()))
    }

    /// Whether this is a module of the kernel: they all say what they are in a section of this name.
    pub(crate) fn is_kernel_module(&self) -> bool {
        self.list.iter().any(|section| section.name == b".modinfo")
    }

    /// Whether the program's own bytes hold code that reads symbols out of files, and there are some to be found.
    ///
    /// Go's linker leaves out what can't be reached, and names what it leaves in (`.gopclntab`). Others look for a
    /// section by its name. Whether it is their own file that they read can't be seen, so they count.
    pub(crate) fn reads_symbols(&self, bytes: &[u8]) -> Result<(), PlainReason> {
        const WORDS: [&str; 3] = ["debug/elf.(*File)", "debug/gosym.(", ".symtab"];
        if !self.has_symbols() {
            return Ok(());
        }
        let search = AhoCorasick::new(WORDS)
            .map_err(|error| PlainReason::NotElf(format!("it can't be searched: {error}")))?;
        let names = self.list.iter().find(|section| section.is_names).and_then(|section| section.bytes);
        let loaded = bytes.get(..self.loaded_end).unwrap_or_default();
        let mut found = search.find_iter(loaded);
        // The table of names may lie among what is mapped: Go's linker puts it there.
        match found.find(|hit| names.is_none_or(|(from, to)| !(from..to).contains(&hit.start()))) {
            Some(hit) => Err(PlainReason::ReadsSymbols(WORDS[hit.pattern().as_usize()])),
            None => Ok(()),
        }
    }

    /// The name of a section that isn't mapped and holds none of what linkers put there: the program may read it in
    /// its own file.
    pub(crate) fn unknown(&self) -> Option<String> {
        let known = |section: &Section| {
            const NAMES: [&[u8]; 4] = [b".gnu_debugdata", b".shstrtab", b".note", b".gnu.build.attributes"];
            section.may_be_dropped()
                || section.is_names
                || section.kind == elf::SHT_STRTAB.0
                || section.kind == elf::SHT_NOTE.0
                // Attributes of ARM and RISC-V, for linkers.
                || section.kind == 0x7000_0003
                || NAMES.iter().any(|name| section.name.starts_with(name))
        };
        let unknown = self.list.iter().find(|section| {
            !section.mapped && section.bytes.is_some_and(|(from, to)| to > from) && !known(section)
        })?;
        Some(printable(&unknown.name))
    }
}

impl Section {
    fn is_debug(&self) -> bool {
        [&b".debug_"[..], b".zdebug_"].iter().any(|prefix| self.name.starts_with(prefix))
    }

    /// Whether nothing but a debugger misses it: symbols, debug information, the compiler's name.
    pub(crate) fn may_be_dropped(&self) -> bool {
        const NAMES: [&[u8]; 6] =
            [b".comment", b".gdb_index", b".gnu_debuglink", b".gnu_debugaltlink", b".stab", b".stabstr"];
        let symbols = [elf::SHT_SYMTAB.0, elf::SHT_SYMTAB_SHNDX.0].contains(&self.kind);
        let their_names = self.name == b".strtab" && self.kind == elf::SHT_STRTAB.0;
        let others = self.is_debug() || NAMES.contains(&&*self.name);
        !self.mapped && !self.is_names && (symbols || their_names || others)
    }
}

/// A section's name for the report: at most 60 characters, none of them a control character.
pub(crate) fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).take(60).collect()
}
