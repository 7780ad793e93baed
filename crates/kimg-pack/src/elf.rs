//! What the gate reads in ELF files (System V ABI, "ELF Header", "Program Header", "Dynamic Section").

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, FileKind};

use kimg_core::Platform;

use crate::sections::Sections;
use crate::{Packing, PlainReason};

/// What matters of an ELF file to pack it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    pub(crate) target: Target,
    pub(crate) kind: Kind,
    /// The smallest alignment of a loaded segment, in bytes.
    pub(crate) alignment: u64,
    /// Sizes in the file of the executable segments.
    pub(crate) executable: Vec<u64>,
    /// Whether the kernel could map each loaded segment with pages of 4 KiB and of the segment's alignment, and its
    /// first instruction lies in an executable one.
    pub(crate) loadable: bool,
    /// Whether it carries UPX's mark.
    pub(crate) is_packed: bool,
    /// Where the last byte lies that a header knows of.
    pub(crate) end: u64,
}

/// For which processors an ELF file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) machine: u16,
    pub(crate) is_64: bool,
    pub(crate) is_little: bool,
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
    /// Code that programs load: no program itself.
    SharedLibrary,
    /// What a linker, or a kernel, is given: object files, modules, BPF programs.
    Object,
    /// A core dump.
    Other,
}

/// Reads what matters. The error says what the bytes are instead, for the report.
pub(crate) fn read(bytes: &[u8]) -> Result<Elf, String> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf32) => read_class::<FileHeader32<Endianness>>(bytes),
        Ok(FileKind::Elf64) => read_class::<FileHeader64<Endianness>>(bytes),
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
    let (mut congruent, mut entry_is_code) = (true, false);
    let entry: u64 = header.e_entry(endian).into();
    let (mut interpreter, mut pie, mut soname) = (false, false, false);
    for segment in segments {
        let (offset, size) = segment.file_range(endian);
        end = end.max(offset.saturating_add(size));
        match segment.p_type(endian) {
            elf::PT_LOAD => {
                let align: u64 = segment.p_align(endian).into();
                let address: u64 = segment.p_vaddr(endian).into();
                let memory: u64 = segment.p_memsz(endian).into();
                alignment = alignment.min(align);
                congruent &= memory >= size && is_congruent(address, offset, align.max(4096));
                if segment.p_flags(endian) & elf::PF_X != elf::ProgramFlags(0) {
                    executable.push(size);
                    entry_is_code |= entry.checked_sub(address).is_some_and(|into| into < size);
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
        elf::ET_DYN => Kind::SharedLibrary,
        elf::ET_REL => Kind::Object,
        _ => Kind::Other,
    };
    let segments_end = table(header.e_phoff(endian).into(), header.e_phentsize(endian), segments.len());
    Ok(Elf {
        target: Target {
            machine: header.e_machine(endian).0,
            is_64: header.is_class_64(),
            is_little: header.is_little_endian(),
        },
        kind,
        alignment,
        executable,
        loadable: congruent && entry_is_code,
        is_packed: has_upx_mark(bytes, segments_end),
        end,
    })
}

/// Whether a segment's place in memory and in the file differ by whole pages (System V ABI, "Program Header").
fn is_congruent(address: u64, offset: u64, align: u64) -> bool {
    align.is_power_of_two() && address.wrapping_sub(offset).is_multiple_of(align)
}

/// Whether UPX made it: its mark follows the program headers, behind a checksum, and is in the file's last bytes
/// (`l_info` and `PackHeader` of UPX's sources).
fn has_upx_mark(bytes: &[u8], segments_end: u64) -> bool {
    const MARK: &[u8] = b"UPX!";
    let at = usize::try_from(segments_end).ok().and_then(|end| bytes.get(end.checked_add(4)?..));
    let tail = &bytes[bytes.len().saturating_sub(64)..];
    at.is_some_and(|rest| rest.starts_with(MARK)) || tail.windows(MARK.len()).any(|four| four == MARK)
}

/// Whether anything may be done with a program at all.
pub(crate) fn check_plain(
    elf: &Elf,
    sections: &Sections,
    bytes: &[u8],
    platform: Platform,
    packing: Packing,
) -> Result<(), PlainReason> {
    match elf.kind {
        Kind::Object if sections.is_kernel_module() => return Err(PlainReason::KernelModule),
        Kind::Object => return Err(PlainReason::ObjectFile),
        Kind::Other => return Err(PlainReason::NotAProgram),
        Kind::Static | Kind::Dynamic | Kind::StaticPie | Kind::SharedLibrary => {}
    }
    if !is_for(elf, platform) {
        return Err(PlainReason::OtherPlatform { expected: platform, machine: elf.target.machine });
    }
    if elf.is_packed {
        return Err(PlainReason::AlreadyPacked);
    }
    match sections.stray(bytes) {
        0 => {}
        bytes => return Err(PlainReason::DataBehind { bytes }),
    }
    if packing.upx.is_some() {
        match elf.kind {
            Kind::StaticPie => return Err(PlainReason::StaticPie),
            Kind::SharedLibrary => return Err(PlainReason::SharedLibrary),
            _ => {}
        }
        if let Some(name) = sections.unknown() {
            return Err(PlainReason::UnmappedSection(name));
        }
    }
    sections.reads_symbols(bytes)
}

/// Whether what the packer made may take the plain program's place, as far as its headers tell.
pub(crate) fn check_packed(
    plain: &Elf,
    packed: &[u8],
    platform: Platform,
    upx_version: &str,
) -> Result<(), PlainReason> {
    let elf = read(packed).map_err(|what| PlainReason::PackerFailed(format!("its result is {what}")))?;
    if !is_for(&elf, platform) {
        return Err(PlainReason::PackerFailed(format!(
            "its result is for ELF machine {}, expected {}",
            elf.target.machine, plain.target.machine
        )));
    }
    if !matches!(elf.kind, Kind::Static | Kind::Dynamic | Kind::StaticPie) || elf.executable.is_empty() {
        return Err(PlainReason::PackerFailed("its result is not a program".into()));
    }
    if !elf.loadable {
        return Err(PlainReason::PackerFailed("its result has segments that no kernel maps".into()));
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
    elf.target == Target { machine: platform.elf_machine(), is_64: platform.elf_is_64(), is_little: true }
}
