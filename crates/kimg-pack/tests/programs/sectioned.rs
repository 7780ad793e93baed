//! ELF programs with sections behind what is mapped.

use super::Elf;

/// A section behind the mapped part.
#[derive(Debug, Clone)]
pub struct Section {
    pub name: &'static str,
    pub kind: u32,
    pub link: u32,
    pub align: u64,
    pub bytes: Vec<u8>,
}

pub const PROGBITS: u32 = 1;
pub const SYMTAB: u32 = 2;
pub const STRTAB: u32 = 3;
pub const RELA: u32 = 4;
pub const NOTE: u32 = 7;

pub fn section(name: &'static str, kind: u32, bytes: &[u8]) -> Section {
    Section { name, kind, link: 0, align: 1, bytes: bytes.to_vec() }
}

/// Symbols, their names, debug information and the compiler's name.
pub fn droppable() -> Vec<Section> {
    let symbols = Section { link: 3, align: 8, ..section(".symtab", SYMTAB, &[1; 48]) };
    let debug = section(".debug_info", PROGBITS, &[3; 500]);
    vec![symbols, section(".strtab", STRTAB, b"\0main\0"), debug, section(".comment", PROGBITS, b"GCC\0")]
}

/// The program with a mapped section `.text`, these sections behind it (from number 2 on), their names, and the table.
pub fn with_sections(elf: &Elf, sections: &[Section]) -> Vec<u8> {
    let mut bytes = elf.bytes();
    let mut names = b"\0.text\0".to_vec();
    let mut table = header(elf, [0; 10]);
    table.extend(header(elf, [1, 1, 6, 0x40_0080, 0x80, bytes.len() as u64 - 0x80, 0, 0, 16, 0]));
    let shstrtab = section(".shstrtab", STRTAB, &[]);
    for section in sections.iter().chain([&shstrtab]) {
        let name = names.len() as u64;
        names.extend(section.name.as_bytes());
        names.push(0);
        bytes.resize(bytes.len().next_multiple_of(usize::try_from(section.align).unwrap()), 0);
        let content = if section.name == ".shstrtab" { names.clone() } else { section.bytes.clone() };
        let (at, size) = (bytes.len() as u64, content.len() as u64);
        let (kind, link) = (section.kind.into(), section.link.into());
        table.extend(header(elf, [name, kind, 0, 0, at, size, link, 0, section.align, 0]));
        bytes.extend(content);
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let at = bytes.len() as u64;
    bytes.extend(table);
    let count = u16::try_from(sections.len() + 3).unwrap();
    let (table_at, entry) = if elf.is_64 { (40, 58) } else { (32, 46) };
    let word = elf.words(&[at]);
    bytes[table_at..table_at + word.len()].copy_from_slice(&word);
    for (place, value) in [if elf.is_64 { 64 } else { 40 }, count, count - 1].into_iter().enumerate() {
        bytes[entry + place * 2..][..2].copy_from_slice(&u16::to_le_bytes(value));
    }
    bytes
}

/// A section header: name, type, flags, address, offset, size, link, info, alignment, size of entries.
fn header(elf: &Elf, fields: [u64; 10]) -> Vec<u8> {
    let halves = [0, 1, 6, 7];
    let field = |(place, value): (usize, &u64)| {
        if halves.contains(&place) {
            u32::try_from(*value).unwrap().to_le_bytes().to_vec()
        } else {
            elf.words(&[*value])
        }
    };
    fields.iter().enumerate().flat_map(field).collect()
}
