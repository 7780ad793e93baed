//! Whether a loader finds the same in two files, by the reading of `object`.

use object::{Object, ObjectSection, ObjectSegment};

/// Asserts that a loader finds the same in both, and that only what may be dropped is.
pub fn assert_loads_alike(plain: &[u8], stripped: &[u8]) {
    let (before, after) = (object::File::parse(plain).unwrap(), object::File::parse(stripped).unwrap());
    assert_eq!((before.entry(), before.kind()), (after.entry(), after.kind()));
    let segments =
        |file: &object::File<'_>, bytes: &[u8]| -> Vec<(u64, u64, u64, object::SegmentFlags, Vec<u8>)> {
            let one = |segment: object::Segment<'_, '_>| {
                let (at, size) = segment.file_range();
                let (from, to) = (usize::try_from(at).unwrap(), usize::try_from(at + size).unwrap());
                let mut data = bytes[from..to].to_vec();
                if at == 0 {
                    without_table_fields(&mut data, file.is_64());
                }
                (segment.address(), segment.size(), segment.align(), segment.flags(), data)
            };
            file.segments().map(one).collect()
        };
    assert!(segments(&before, plain) == segments(&after, stripped), "what is mapped has changed");
    let ends = before.segments().map(|s| s.file_range().0 + s.file_range().1);
    let end = usize::try_from(ends.max().unwrap()).unwrap();
    let heads = [plain, stripped].map(|bytes| {
        let mut head = bytes[..end].to_vec();
        without_table_fields(&mut head, before.is_64());
        head
    });
    assert!(heads[0] == heads[1], "headers or bytes between segments have changed");

    let kept = |name: &str| !dropped(name) && name != ".shstrtab";
    let sections = |file: &object::File<'_>| -> Vec<(String, u64, u64, Vec<u8>)> {
        let all = file.sections().filter(|section| kept(section.name().unwrap()));
        all.map(|s| (s.name().unwrap().to_owned(), s.address(), s.size(), s.data().unwrap().to_vec()))
            .collect()
    };
    assert_eq!(sections(&before), sections(&after), "a section that is kept has changed");
    assert_eq!(
        after.sections().find(|s| dropped(s.name().unwrap())).map(|s| s.name().unwrap().to_owned()),
        None
    );
}

/// Clears `e_shoff`, `e_shnum` and `e_shstrndx`.
pub fn without_table_fields(head: &mut [u8], is_64: bool) {
    let fields = if is_64 { [40..48, 60..62, 62..64] } else { [32..36, 48..50, 50..52] };
    for field in fields {
        head[field].fill(0);
    }
}

fn dropped(name: &str) -> bool {
    let names = [".symtab", ".strtab", ".comment", ".gnu_debuglink", ".gdb_index"];
    names.contains(&name) || name.starts_with(".debug_") || name.starts_with(".zdebug_")
}
