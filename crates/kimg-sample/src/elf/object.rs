//! The layout of an ELF file (System V gABI, chapters 4 and 5): header, program headers, what they point to, code.
//!
//! One loadable segment holds the whole file, read-only and executable; there are no sections, as in a
//! file that was stripped of them: neither a kernel nor a loader looks at those.

use kimg_core::Platform;

/// Dynamic entries whose value is a text (gABI, "Dynamic Section").
#[derive(Debug, Clone, Copy)]
pub(super) enum Tag {
    Needed = 1,
    Soname = 14,
    Rpath = 15,
    Runpath = 29,
}

/// One file to be laid out.
pub(super) struct Object<'a> {
    pub(super) platform: Platform,
    /// `PT_INTERP`.
    pub(super) interpreter: Option<&'a str>,
    /// The dynamic entries that name something; `None` for a program at a fixed address.
    pub(super) dynamic: Option<Vec<(Tag, &'a str)>>,
    /// The machine code, entered at its start; none for a library.
    pub(super) code: Vec<u8>,
}

/// `p_align` of what is loaded: the largest page size that Linux has on these platforms, 64 KiB on `AArch64`.
const PAGE: u64 = 0x1_0000;
/// Where a program at a fixed address lies: the linkers' own choice on x86-64 and `AArch64`.
const FIXED_BASE: u64 = 0x40_0000;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;

const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
const READ: u32 = 4;

/// A program header, and whether its addresses count from the base of a fixed program.
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    size: u64,
    align: u64,
}

impl Object<'_> {
    pub(super) fn build(&self) -> Vec<u8> {
        let width = Width::of(self.platform);
        let base = if self.dynamic.is_some() { 0 } else { FIXED_BASE };
        let flags = if self.code.is_empty() { READ } else { READ | EXECUTE };

        let headers = 2 + 2 * u64::from(self.interpreter.is_some()) + u64::from(self.dynamic.is_some());
        let table = Segment {
            kind: PT_PHDR,
            flags: READ,
            offset: width.file_header(),
            size: headers * width.program_header(),
            align: width.word(),
        };

        // What the program headers point to, in the order of the file, behind them.
        let start = table.offset + table.size;
        let mut rest = Words::new(width);
        let mut segments = Vec::new();
        if let Some(interpreter) = self.interpreter {
            segments.push(table);
            segments.push(Segment {
                kind: PT_INTERP,
                flags: READ,
                offset: start,
                size: interpreter.len() as u64 + 1,
                align: 1,
            });
            rest.bytes.extend_from_slice(interpreter.as_bytes());
            rest.bytes.push(0);
        }
        let dynamic = self.dynamic.as_ref().map(|names| append_dynamic(&mut rest, start, names));
        rest.align(start, 16);
        let entry = if self.code.is_empty() { 0 } else { base + start + rest.len() };
        rest.bytes.extend_from_slice(&self.code);

        let size = start + rest.len();
        segments.push(Segment { kind: PT_LOAD, flags, offset: 0, size, align: PAGE });
        segments.extend(dynamic);
        segments.push(Segment { kind: PT_GNU_STACK, flags: READ | WRITE, offset: 0, size: 0, align: 16 });

        let mut file = Words::new(width);
        self.append_file_header(&mut file, entry, segments.len());
        for segment in &segments {
            append_program_header(&mut file, segment, base);
        }
        file.bytes.append(&mut rest.bytes);
        file.bytes
    }

    /// gABI, "ELF Header".
    fn append_file_header(&self, file: &mut Words, entry: u64, segments: usize) {
        const ET_EXEC: u16 = 2;
        const ET_DYN: u16 = 3;
        let width = file.width;
        file.bytes.extend_from_slice(b"\x7fELF");
        // Class, byte order (least significant first), version, System V, padding.
        file.bytes.extend_from_slice(&[
            if width == Width::Bits64 { 2 } else { 1 },
            1,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        file.half(if self.dynamic.is_some() { ET_DYN } else { ET_EXEC });
        file.half(self.platform.elf_machine());
        file.long(1);
        file.word(entry);
        file.word(width.file_header());
        file.word(0);
        file.long(match self.platform {
            // EABI version 5, floating point in registers (ELF for the Arm architecture, "ELF Header").
            Platform::ArmV7 | Platform::ArmV6 => 0x0500_0400,
            Platform::Amd64 | Platform::Arm64 => 0,
        });
        let short = |size: u64| u16::try_from(size).expect("the headers of an ELF file are at most 64 bytes");
        file.half(short(width.file_header()));
        file.half(short(width.program_header()));
        file.half(u16::try_from(segments).expect("at most five segments are written"));
        // No sections: size of a header, number, index of their names.
        file.half(0);
        file.half(0);
        file.half(0);
    }
}

/// gABI, "Program Header". The two widths have the flags in different places.
fn append_program_header(file: &mut Words, segment: &Segment, base: u64) {
    let address = if segment.kind == PT_GNU_STACK { 0 } else { base + segment.offset };
    file.long(segment.kind);
    if file.width == Width::Bits64 {
        file.long(segment.flags);
    }
    file.word(segment.offset);
    file.word(address);
    file.word(address);
    file.word(segment.size);
    file.word(segment.size);
    if file.width == Width::Bits32 {
        file.long(segment.flags);
    }
    file.word(segment.align);
}

/// Appends a hash table, the symbols (none), the strings and the dynamic section, which lie from `start` on.
fn append_dynamic(rest: &mut Words, start: u64, names: &[(Tag, &str)]) -> Segment {
    const DT_HASH: u64 = 4;
    const DT_STRTAB: u64 = 5;
    const DT_SYMTAB: u64 = 6;
    const DT_STRSZ: u64 = 10;
    const DT_SYMENT: u64 = 11;

    // One bucket and one symbol, which is the undefined one.
    rest.align(start, 8);
    let hash = start + rest.len();
    for value in [1, 1, 0, 0] {
        rest.long(value);
    }
    let symbols = start + rest.len();
    let symbol_size = if rest.width == Width::Bits64 { 24 } else { 16 };
    rest.bytes.extend(std::iter::repeat_n(0, symbol_size));

    let strings = start + rest.len();
    let mut entries = Vec::new();
    rest.bytes.push(0);
    for (tag, name) in names {
        entries.push((*tag as u64, start + rest.len() - strings));
        rest.bytes.extend_from_slice(name.as_bytes());
        rest.bytes.push(0);
    }
    let strings_size = start + rest.len() - strings;

    rest.align(start, 8);
    let offset = start + rest.len();
    entries.extend([
        (DT_HASH, hash),
        (DT_STRTAB, strings),
        (DT_SYMTAB, symbols),
        (DT_STRSZ, strings_size),
        (DT_SYMENT, symbol_size as u64),
        (0, 0),
    ]);
    for (tag, value) in entries {
        rest.word(tag);
        rest.word(value);
    }
    let size = start + rest.len() - offset;
    Segment { kind: PT_DYNAMIC, flags: READ, offset, size, align: 8 }
}

/// Whether addresses have 32 or 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

impl Width {
    fn of(platform: Platform) -> Self {
        if platform.elf_is_64() { Self::Bits64 } else { Self::Bits32 }
    }

    fn word(self) -> u64 {
        if self == Self::Bits64 { 8 } else { 4 }
    }

    fn file_header(self) -> u64 {
        if self == Self::Bits64 { 64 } else { 52 }
    }

    fn program_header(self) -> u64 {
        if self == Self::Bits64 { 56 } else { 32 }
    }
}

/// Bytes to which numbers are appended, least significant byte first.
struct Words {
    width: Width,
    bytes: Vec<u8>,
}

impl Words {
    fn new(width: Width) -> Self {
        Self { width, bytes: Vec::new() }
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn half(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn long(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A number as wide as an address.
    fn word(&mut self, value: u64) {
        let size = if self.width == Width::Bits64 { 8 } else { 4 };
        self.bytes.extend_from_slice(&value.to_le_bytes()[..size]);
    }

    /// Pads so that `start` and what is here together are a multiple of `align`.
    fn align(&mut self, start: u64, align: u64) {
        while !(start + self.len()).is_multiple_of(align) {
            self.bytes.push(0);
        }
    }
}
