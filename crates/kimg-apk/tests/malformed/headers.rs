//! The headers of the data tar: each kind, each field, and what stands in front of one.

use tar::EntryType;

use crate::case::Cases;
use crate::made::signed::{checksum, file, link, plain, sum_up};
use crate::made::{entry, pax_record};

/// A file `a` with one byte, and this change to its own header.
fn changed(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut tar = file("a", b"1");
    change(&mut tar[1024..1536]);
    tar
}

/// The same, with its checksum written anew.
fn changed_and_summed(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    changed(|header| {
        change(header);
        sum_up(header);
    })
}

/// A file `a` behind these PAX records and its checksum.
fn behind(records: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, "a", "", 0o644, &[records, &checksum(b"1")].concat(), b"1")
}

pub(crate) fn kinds() -> Cases {
    let mut cases = Cases::new("a tar header");
    for kind in 0..=255_u8 {
        // No checksum: an entry that holds bytes and needs one is refused for that.
        let expected = match kind {
            0 | b'0' => "10 NoChecksum",
            b'1' => "11 HardLink",
            b'2' => "11 BadEntry",
            b'3' => "11 UnsupportedEntry a character device",
            b'4' => "11 UnsupportedEntry a block device",
            b'5' => "read: /a folder",
            b'6' => "11 UnsupportedEntry a named pipe",
            b'7' => "11 UnsupportedEntry a contiguous file",
            b'S' => "11 UnsupportedEntry a sparse file",
            b'x' | b'L' | b'K' | b'g' => "11 Tar Data it ends after an extended header",
            _ => "11 UnsupportedEntry of an unknown kind",
        };
        // One byte of content, where an extended header needs one.
        let bytes: &[u8] = if matches!(kind, b'L' | b'K' | b'g') { b"x" } else { b"" };
        let mut tar = entry(EntryType::new(kind), "a", "", 0o644, b"", bytes);
        tar[156] = kind;
        sum_up(&mut tar[..512]);
        cases.data(format!("of the kind {kind:#04x}"), expected, tar);
    }
    cases
}

pub(crate) fn fields() -> Cases {
    let mut cases = Cases::new("a field of a tar header");
    cases.data("none changed", "read: /a file", changed(|_| {}));
    for at in [0, 100, 108, 116, 124, 136, 156, 157, 257, 263, 265, 297, 329, 337, 345, 500] {
        cases.data(
            format!("a bit at {at}, its checksum as before"),
            "11 Tar Data",
            changed(|header| header[at] ^= 2),
        );
    }
    for (what, sum) in [
        ("zeros", &b"\0\0\0\0\0\0\0\0"[..]),
        ("blanks", b"        "),
        ("no number", b"abcdef\0 "),
        ("too large", b"777777\0 "),
        ("negative", b"-00001\0 "),
    ] {
        cases.data(
            format!("a checksum of {what}"),
            "11 Tar Data",
            changed(|header| header[148..156].copy_from_slice(sum)),
        );
    }
    for (name, range) in [("mode", 100..107), ("owner", 108..115), ("group", 116..123), ("time", 136..147)] {
        for (what, byte) in [("letters", b'x'), ("decimal digits", b'9'), ("minus signs", b'-')] {
            let range = range.clone();
            cases.data(
                format!("{what} for its {name}"),
                "11 Tar Data",
                changed_and_summed(|header| header[range].fill(byte)),
            );
        }
    }
    for (name, at) in [("owner", 108), ("group", 116)] {
        let largest =
            changed_and_summed(|header| header[at..at + 8].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 0]));
        cases.data(format!("a binary {name} beyond 32 bits"), "11 Tar Data", largest);
    }
    for (what, size) in [
        ("letters", *b"xxxxxxxxxxx\0"),
        ("decimal digits", *b"99999999999\0"),
        ("minus one", *b"-0000000001\0"),
        ("2 to the 63", [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("2 to the 64 less one", [0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
        ("2 to the 95 less one", [0x80, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]),
        ("all bits", [255; 12]),
        ("8 GiB less one", *b"77777777777\0"),
        ("1 GiB and one", *b"10000000001\0"),
    ] {
        let expected = match what {
            "8 GiB less one" | "1 GiB and one" | "2 to the 63" => "12 Limit a file",
            _ => "11 Tar Data",
        };
        cases.data(
            format!("a size of {what}"),
            expected,
            changed_and_summed(|header| header[124..136].copy_from_slice(&size)),
        );
    }
    for (what, size) in [("one byte more", 514_u64), ("a block more", 1024), ("1 GiB", 1 << 30)] {
        let tar = changed_and_summed(|header| {
            header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        });
        cases.data(
            format!("a size of {what} than there are"),
            if size == 1 << 30 { "11 Tar Data" } else { "10 Checksum" },
            tar,
        );
    }
    cases.data(
        "no bytes where there are some",
        "10 Checksum",
        changed_and_summed(|header| header[124..135].fill(b'0')),
    );
    cases.data("no name", "11 BadPath", changed_and_summed(|header| header[..100].fill(0)));
    cases.data("a name that is not UTF-8", "11 BadPath", changed_and_summed(|header| header[0] = 0xff));
    cases.data(
        "a name of 100 bytes",
        &format!("read: /{} file", "n".repeat(100)),
        changed_and_summed(|header| header[..100].fill(b'n')),
    );
    for (what, prefix) in [("..", "../.."), ("a slash", "/etc"), ("`.`", "."), ("an empty name", "a/")] {
        let tar =
            changed_and_summed(|header| header[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes()));
        cases.data(format!("a prefix with {what}"), "11 BadPath", tar);
    }
    cases.data(
        "a prefix",
        "read: /usr/a file",
        changed_and_summed(|header| header[345..348].copy_from_slice(b"usr")),
    );
    cases.data(
        "no magic, as before POSIX",
        "read: /a file",
        changed_and_summed(|header| header[257..265].fill(0)),
    );
    cases.data(
        "setuid and bits beyond",
        "read: /a file",
        changed_and_summed(|header| header[100..107].copy_from_slice(b"7777777")),
    );
    for kind in [EntryType::Directory, EntryType::Symlink, EntryType::Link] {
        let first = if kind == EntryType::Link { file("b", b"1") } else { Vec::new() };
        let entry = entry(kind, "a", "b", 0o755, &checksum(b"b"), b"some bytes");
        cases.data(format!("bytes of a {kind:?}"), "11 BadEntry", [first, entry].concat());
    }
    cases
}

pub(crate) fn extended() -> Cases {
    let mut cases = Cases::new("what stands in front of a tar header");
    cases.data("a checksum", "read: /a file", behind(b""));
    for record in [
        "9 a=b\n",
        "5 a=b\n",
        "0 a=b\n",
        "-1 a=b\n",
        "1 ",
        "x a=b\n",
        " 6 a=b\n",
        "99999999999999999999 a\n",
        "6 ab\n",
        "6 a=b",
        "a=b\n",
        "6\ta=b\n",
        "\0\0\0\0",
        "18446744073709551615 a=b\n",
        "7 a=b\n",
        "6a=b\n\n",
    ] {
        let tar =
            [entry(EntryType::XHeader, "pax", "", 0o644, b"", record.as_bytes()), file("a", b"1")].concat();
        cases.data(format!("the PAX record {record}"), "11 Tar Data a PAX record is damaged", tar);
    }
    let pax = |records: &[u8]| entry(EntryType::XHeader, "pax", "", 0o644, b"", records);
    cases.data(
        "two PAX headers",
        "11 Tar Data two PAX headers",
        [pax(&pax_record("a", b"b")), file("a", b"1")].concat(),
    );
    for kind in [EntryType::GNULongName, EntryType::GNULongLink] {
        let long = entry(kind, "././@LongLink", "", 0, b"", b"long\0");
        cases.data(
            format!("{kind:?} twice"),
            "11 Tar Data two long names",
            [long.clone(), long.clone(), file("a", b"1")].concat(),
        );
        cases.data(format!("{kind:?} last"), "11 Tar Data it ends after", long);
    }
    cases.data(
        "a global header",
        "read: /a file",
        [entry(EntryType::XGlobalHeader, "g", "", 0, b"", &pax_record("path", b"../x")), file("a", b"1")]
            .concat(),
    );
    for (key, value, expected) in [
        ("size", "2", "11 Tar Data `a`: it has two sizes"),
        ("size", "", "11 Tar Data `a`: it has two sizes"),
        ("size", "-1", "11 Tar Data `a`: it has two sizes"),
        ("size", "99999999999999999999", "11 Tar Data `a`: it has two sizes"),
        ("size", "1", "read: /a file"),
        ("uid", "x", "11 Tar Data `a`: its owner"),
        ("uid", "-1", "11 Tar Data `a`: its owner"),
        ("uid", "4294967296", "11 Tar Data `a`: its owner"),
        ("uid", "", "11 Tar Data `a`: its owner"),
        ("gid", "x", "11 Tar Data `a`: its group"),
        ("gid", "-1", "11 Tar Data `a`: its group"),
        ("gid", "4294967296", "11 Tar Data `a`: its group"),
        ("GNU.sparse.major", "1", "11 UnsupportedEntry a sparse file"),
        ("GNU.sparse.map", "0,1", "11 UnsupportedEntry a sparse file"),
        ("GNU.sparse.name", "../x", "11 UnsupportedEntry a sparse file"),
        ("mtime", "yesterday", "read: /a file"),
        ("uname", "root", "read: /a file"),
        ("path", "", "11 BadPath"),
        ("path", "../x", "11 BadPath"),
        ("path", "/x", "11 BadPath"),
        ("path", "x\0y", "11 BadPath"),
        ("path", "usr/x", "read: /usr/x file"),
    ] {
        cases.data(format!("{key}={value}"), expected, behind(&pax_record(key, value.as_bytes())));
    }
    cases.data("a path that is not UTF-8", "11 BadPath", behind(&pax_record("path", b"\xff")));
    cases.data(
        "the name of an attribute that is not UTF-8",
        "11 Tar Data `a`: the name of an ext",
        behind(&[b"19 SCHILY.xattr.\xff=\n".as_slice()].concat()),
    );
    for value in
        ["", "00", &"0".repeat(38), &"0".repeat(42), &"g".repeat(40), &format!(" {}", "0".repeat(39))]
    {
        let tar = entry(
            EntryType::Regular,
            "a",
            "",
            0o644,
            &pax_record("APK-TOOLS.checksum.SHA1", value.as_bytes()),
            b"1",
        );
        cases.data(format!("a checksum `{value}`"), "11 Tar Data `a`: its checksum", tar);
    }
    let wrong = pax_record("APK-TOOLS.checksum.SHA1", "0".repeat(40).as_bytes());
    cases.data("a wrong checksum", "10 Checksum", entry(EntryType::Regular, "a", "", 0o644, &wrong, b"1"));
    cases.data(
        "a wrong checksum of a link",
        "10 Checksum",
        entry(EntryType::Symlink, "a", "b", 0o777, &wrong, b""),
    );
    cases.data(
        "a wrong checksum of a hard link",
        "10 Checksum",
        [file("a", b"1"), entry(EntryType::Link, "b", "a", 0o644, &wrong, b"")].concat(),
    );
    cases.data("no checksum", "10 NoChecksum", plain("a", b"1"));
    cases.data(
        "no checksum of a link",
        "10 NoChecksum",
        entry(EntryType::Symlink, "a", "b", 0o777, b"", b""),
    );
    cases.data(
        "an SHA-256 instead",
        "10 NoChecksum",
        entry(
            EntryType::Regular,
            "a",
            "",
            0o644,
            &pax_record("APK-TOOLS.checksum.SHA256", &[b'0'; 64]),
            b"1",
        ),
    );
    let long = "n".repeat(256);
    cases.data("a name of 256 bytes", "11 BadPath", behind(&pax_record("path", long.as_bytes())));
    cases.data(
        "a path of 5000 bytes",
        "11 BadPath",
        behind(&pax_record("path", "d/".repeat(2500).as_bytes())),
    );
    for (what, target) in [
        ("empty", String::new()),
        ("of 5000 bytes", "x/".repeat(2500)),
        ("with a control character", "a\u{1}".into()),
        ("with a NUL", "a\0b".into()),
    ] {
        let records = [pax_record("linkpath", target.as_bytes()), checksum(target.as_bytes())].concat();
        cases.data(
            format!("a link target {what}"),
            "11 BadEntry",
            entry(EntryType::Symlink, "a", "", 0o777, &records, b""),
        );
    }
    let records = [pax_record("linkpath", b"\xff"), checksum(b"\xff")].concat();
    cases.data(
        "a link target that is not UTF-8",
        "11 Tar Data `a`: its link target",
        entry(EntryType::Symlink, "a", "", 0o777, &records, b""),
    );
    cases.data("a link", "read: /a -> b", link("a", "b"));
    // The data tar cut at every block, hashed and signed as it is.
    let whole =
        [entry(EntryType::Directory, "d", "", 0o755, b"", b""), file("d/f", &[7; 700]), link("l", "d")]
            .concat();
    let ends = [(0, ""), (1, "/d folder"), (6, "/d folder, /d/f file"), (9, "/d folder, /d/f file, /l -> d")];
    for block in 0..whole.len() / 512 {
        let expected = ends
            .iter()
            .find(|(end, _)| *end == block)
            .map_or("11 Tar Data".to_owned(), |(_, read)| format!("read: {read}"));
        let cut = crate::made::gzip(&whole[..block * 512]);
        cases.add(format!("cut before block {block}, and hashed"), &expected, move || {
            crate::case::around(&cut)
        });
        let cut = crate::made::gzip(&whole[..block * 512 + 100]);
        cases.add(format!("cut within block {block}, and hashed"), "11 Tar Data", move || {
            crate::case::around(&cut)
        });
    }
    cases
}
