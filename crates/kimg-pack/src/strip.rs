//! Drops the sections of a program that no segment maps and only debuggers miss, and writes a new table of the rest.
//!
//! What segments map stays byte for byte where it is, but for three fields of the file's header that say where the
//! table of sections is (`e_shoff`, `e_shnum`, `e_shstrndx`), which neither kernel nor interpreter reads. So there is
//! nothing by which the program could run otherwise, except that it reads its own file: programs that may do so for
//! their symbols are told apart before ([`Sections::reads_symbols`]).

use crate::PlainReason;
use crate::sections::{Section, Sections};

/// Gives the program without them; `None` when there are none, or it would not become smaller.
///
/// `sections` are those of `bytes`, which hold no stray data ([`Sections::stray`]).
pub(crate) fn strip(bytes: &[u8], sections: &Sections) -> Result<Option<Vec<u8>>, PlainReason> {
    let broken = |what: &str| PlainReason::NotElf(format!("a broken ELF file: {what}"));
    let has_bytes = |section: &Section| section.bytes.is_some_and(|(from, to)| to > from);
    if !sections.list.iter().any(|section| section.may_be_dropped() && has_bytes(section)) {
        return Ok(None);
    }
    let places = places(&sections.list)?;
    let fields = if sections.is_64 { &FIELDS_64 } else { &FIELDS_32 };
    let mut out = bytes.get(..sections.loaded_end).ok_or_else(|| broken("it ends too early"))?.to_vec();
    let mut names = vec![0];
    let mut table = Vec::new();
    let mut names_header = None;
    for (section, _) in sections.list.iter().zip(&places).filter(|(_, place)| place.is_some()) {
        let header = bytes.get(section.header.0..section.header.1);
        let mut header = header.ok_or_else(|| broken("a section header is missing"))?.to_vec();
        let mut put = |field: Field, value: usize| {
            put(&mut header, field, value).ok_or_else(|| broken("a section header is too short"))
        };
        let name_at = if section.name.is_empty() { 0 } else { names.len() };
        put(fields.name, name_at)?;
        if name_at != 0 {
            names.extend(&section.name);
            names.push(0);
        }
        let new_place = |old: usize| places.get(old).copied().flatten().unwrap_or(0);
        put(fields.link, new_place(section.link))?;
        if let Some(info) = section.info {
            put(fields.info, new_place(info))?;
        }
        if let Some((from, to)) =
            section.bytes.filter(|(_, to)| !section.is_names && *to > sections.loaded_end)
        {
            if section.mapped || from < sections.loaded_end {
                return Err(broken("a section lies on the border of what is mapped"));
            }
            align(&mut out, section.align).ok_or_else(|| broken("a section is aligned oddly"))?;
            put(fields.offset, out.len())?;
            out.extend(&bytes[from..to]);
        }
        if section.is_names {
            names_header = Some(table.len());
        }
        table.push(header);
    }
    if let Some(place) = names_header {
        let header = &mut table[place];
        let done = put(header, fields.offset, out.len()).and(put(header, fields.size, names.len()));
        done.ok_or_else(|| broken("a section header is too short"))?;
        out.extend(&names);
    }
    let word = if sections.is_64 { 8 } else { 4 };
    out.resize(out.len().next_multiple_of(word), 0);
    let at = if table.is_empty() { 0 } else { out.len() };
    let done = put(&mut out, fields.table_at, at)
        .and(put(&mut out, fields.table_count, table.len()))
        .and(put(&mut out, fields.table_names, names_header.unwrap_or(0)));
    done.ok_or_else(|| broken("it ends too early"))?;
    out.extend(table.concat());
    Ok((out.len() < bytes.len()).then_some(out))
}

/// The new place of each section, `None` for those that are dropped.
fn places(list: &[Section]) -> Result<Vec<Option<usize>>, PlainReason> {
    let mut next = 0;
    let mut places = Vec::new();
    for section in list {
        places.push((!section.may_be_dropped()).then(|| {
            next += 1;
            next - 1
        }));
    }
    // The largest numbers have meanings of their own; no program has that many sections.
    if list.len() >= 0xff00 {
        return Err(PlainReason::NotElf("a broken ELF file: it has too many sections".into()));
    }
    // Relocations and groups that are kept and speak of symbols that are not: then all is left as it is. What is
    // mapped is read by no section header.
    let needs = |section: &&Section| {
        !section.may_be_dropped()
            && !section.mapped
            && section.link != 0
            && places.get(section.link).is_none_or(Option::is_none)
    };
    match list.iter().find(needs) {
        Some(section) => Err(PlainReason::UnmappedSection(crate::sections::printable(&section.name))),
        None => Ok(places),
    }
}

/// Where a field is in its header, and of how many bytes.
type Field = (usize, usize);

/// Fields of section headers, and of the file's header.
struct Fields {
    name: Field,
    offset: Field,
    size: Field,
    link: Field,
    info: Field,
    table_at: Field,
    table_count: Field,
    table_names: Field,
}

const FIELDS_64: Fields = Fields {
    name: (0, 4),
    offset: (24, 8),
    size: (32, 8),
    link: (40, 4),
    info: (44, 4),
    table_at: (40, 8),
    table_count: (60, 2),
    table_names: (62, 2),
};
const FIELDS_32: Fields = Fields {
    name: (0, 4),
    offset: (16, 4),
    size: (20, 4),
    link: (24, 4),
    info: (28, 4),
    table_at: (32, 4),
    table_count: (48, 2),
    table_names: (50, 2),
};

/// Writes a number as little-endian, as all platforms have it. `None` if it doesn't fit.
fn put(header: &mut [u8], (at, size): Field, value: usize) -> Option<()> {
    let bytes = (value as u64).to_le_bytes();
    let (low, high) = bytes.split_at(size);
    header.get_mut(at..at + size)?.copy_from_slice(low);
    high.iter().all(|byte| *byte == 0).then_some(())
}

/// Fills up to an alignment of at most a page. `None` for any other.
fn align(out: &mut Vec<u8>, align: u64) -> Option<()> {
    let align = usize::try_from(align.max(1)).ok().filter(|a| a.is_power_of_two() && *a <= 4096)?;
    out.resize(out.len().next_multiple_of(align), 0);
    Some(())
}
