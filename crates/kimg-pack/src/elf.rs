//! What the gate reads in ELF files (System V ABI, "ELF Header", "Program Header", "Dynamic Section").

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, FileKind};

use kimg_core::Platform;

use crate::PlainReason;

/// What matters of an ELF file to pack it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    pub(crate) machine: u16,
    pub(crate) is_64: bool,
    pub(crate) kind: Kind,
    /// The smallest alignment of a loaded segment, in bytes.
    pub(crate) alignment: u64,
    /// Sizes in the file of the executable segments.
    pub(crate) executable: Vec<u64>,
    /// Where the last byte lies that a header knows of.
    pub(crate) end: u64,
}

/// What an ELF file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A program that the kernel starts alone.
    Static,
    /// A program that an interpreter loads.
    Dynamic,
    /// A position-independent program without interpreter.
    StaticPie,
    /// A shared library, an object file, a core dump.
    Other,
}

/// Reads what matters. The error says what the bytes are instead, for the report.
pub(crate) fn read(bytes: &[u8]) -> Result<Elf, String> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf32) => read_class::<FileHeader32<Endianness>>(bytes),
        Ok(FileKind::Elf64) => read_class::<FileHeader64<Endianness>>(bytes),
        _ if bytes.starts_with(b"#!") => Err("a script".into()),
        _ => Err("not an ELF program".into()),
    }
}

fn read_class<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Elf, String> {
    let elf = parse::<H>(bytes).map_err(|error| format!("a broken ELF file: {error}"))?;
    if elf.end > bytes.len() as u64 {
        return Err(format!("a broken ELF file: it ends at {} and should at {}", bytes.len(), elf.end));
    }
    Ok(elf)
}

fn parse<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Elf> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let sections = header.section_headers(endian, bytes)?;

    let table = |start: u64, entry: u16, count: usize| start.saturating_add(u64::from(entry) * count as u64);
    let mut end = table(header.e_phoff(endian).into(), header.e_phentsize(endian), segments.len())
        .max(table(header.e_shoff(endian).into(), header.e_shentsize(endian), sections.len()));
    let mut alignment = u64::MAX;
    let mut executable = Vec::new();
    let (mut interpreter, mut pie, mut soname) = (false, false, false);
    for segment in segments {
        let (offset, size) = segment.file_range(endian);
        end = end.max(offset.saturating_add(size));
        match segment.p_type(endian) {
            elf::PT_LOAD => {
                alignment = alignment.min(segment.p_align(endian).into());
                if segment.p_flags(endian) & elf::PF_X != elf::ProgramFlags(0) {
                    executable.push(size);
                }
            }
            elf::PT_INTERP => interpreter = true,
            _ => {}
        }
        for entry in segment.dynamic(endian, bytes)?.unwrap_or_default() {
            let value: u64 = entry.d_val(endian).into();
            match entry.d_tag(endian) {
                elf::DT_SONAME => soname = true,
                elf::DT_FLAGS_1 => pie |= value & elf::DF_1_PIE.0 != 0,
                elf::DT_NULL => break,
                _ => {}
            }
        }
    }
    for section in sections {
        if let Some((offset, size)) = section.file_range(endian) {
            end = end.max(offset.saturating_add(size));
        }
    }
    let kind = match header.e_type(endian) {
        elf::ET_EXEC if interpreter => Kind::Dynamic,
        elf::ET_EXEC => Kind::Static,
        elf::ET_DYN if interpreter && !soname => Kind::Dynamic,
        elf::ET_DYN if pie => Kind::StaticPie,
        _ => Kind::Other,
    };
    Ok(Elf {
        machine: header.e_machine(endian).0,
        is_64: header.is_class_64(),
        kind,
        alignment,
        executable,
        end,
    })
}

/// Whether a program may be packed at all.
pub(crate) fn check_plain(elf: &Elf, bytes: &[u8], platform: Platform) -> Result<(), PlainReason> {
    if !is_for(elf, platform) {
        return Err(PlainReason::OtherPlatform { expected: platform, machine: elf.machine });
    }
    match elf.kind {
        Kind::Static | Kind::Dynamic => {}
        Kind::StaticPie => return Err(PlainReason::StaticPie),
        Kind::Other => return Err(PlainReason::NotAProgram),
    }
    // Go's linker fills the last page with zeros that no header knows of: those are no data.
    let behind = usize::try_from(elf.end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
    if behind.iter().any(|byte| *byte != 0) {
        return Err(PlainReason::DataBehind { bytes: behind.len() as u64 });
    }
    Ok(())
}

/// Whether what the packer made may take the plain program's place, as far as its headers tell.
pub(crate) fn check_packed(
    plain: &Elf,
    packed: &[u8],
    platform: Platform,
    upx_version: &str,
) -> Result<(), PlainReason> {
    let elf = read(packed).map_err(|what| PlainReason::PackerFailed(format!("its result is {what}")))?;
    if !is_for(&elf, platform) || elf.is_64 != plain.is_64 {
        return Err(PlainReason::PackerFailed(format!(
            "its result is for ELF machine {}, expected {}",
            elf.machine, plain.machine
        )));
    }
    if elf.kind == Kind::Other || elf.executable.is_empty() {
        return Err(PlainReason::PackerFailed("its result is not a program".into()));
    }
    if platform != Platform::Amd64 && elf.alignment < plain.alignment {
        return Err(PlainReason::LessAligned { plain: plain.alignment, packed: elf.alignment });
    }
    let whole_pages = elf.executable.iter().any(|size| size.is_multiple_of(4096));
    if matches!(platform, Platform::ArmV7 | Platform::ArmV6) && whole_pages && upx_version != "4.2.4" {
        return Err(PlainReason::WholePages { upx: upx_version.to_owned() });
    }
    Ok(())
}

fn is_for(elf: &Elf, platform: Platform) -> bool {
    elf.machine == platform.elf_machine() && elf.is_64 == platform.elf_is_64()
}
