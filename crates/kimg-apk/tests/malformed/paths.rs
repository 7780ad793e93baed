//! Paths that would leave the root, links that lead elsewhere, and paths that come twice.

use tar::EntryType;

use crate::case::Cases;
use crate::made::signed::{checksum, file, link};
use crate::made::{entry, pax_record};

const BAD: [&str; 18] = [
    "../a",
    "../../../../etc/passwd",
    "a/../b",
    "a/../../b",
    "a/..",
    "..",
    "../",
    "/a",
    "//a",
    "/",
    "./a",
    "././a",
    "a//b",
    "a/./b",
    ".a/b",
    "a\u{1}b",
    "a\nb",
    "a\u{7f}b",
];

pub(crate) fn escapes() -> Cases {
    let mut cases = Cases::new("a path");
    for path in BAD {
        let folder = entry(EntryType::Directory, path, "", 0o755, b"", b"");
        // apk passes over an entry for the root itself.
        cases.data(format!("the folder {path}"), if path == "/" { "read: " } else { "11 BadPath" }, folder);
        cases.data(format!("the file {path}"), "11 BadPath", file(path, b"1"));
        cases.data(format!("the link {path}"), "11 BadPath", link(path, "x"));
        let hard = entry(EntryType::Link, path, "x", 0o644, b"", b"");
        cases.data(format!("the hard link {path}"), "11 BadPath", [file("x", b"1"), hard].concat());
        let by_pax = [pax_record("path", path.as_bytes()), checksum(b"1")].concat();
        cases.data(
            format!("the PAX path {path}"),
            "11 BadPath",
            entry(EntryType::Regular, "good", "", 0o644, &by_pax, b"1"),
        );
        let long =
            entry(EntryType::GNULongName, "././@LongLink", "", 0, b"", &[path.as_bytes(), b"\0"].concat());
        cases.data(format!("the GNU long name {path}"), "11 BadPath", [long, file("good", b"1")].concat());
    }
    for path in [".", "./"] {
        cases.data(
            format!("the folder {path}"),
            "read: ",
            entry(EntryType::Directory, path, "", 0o755, b"", b""),
        );
        cases.data(format!("the file {path}"), "11 BadPath", file(path, b"1"));
    }
    cases.data("a top-level name with a dot is metadata", "read: ", file(".dummy", b"1"));
    cases.data(
        "a device in the root",
        "11 UnsupportedEntry a character device",
        entry(EntryType::Char, "dev/null", "", 0o666, b"", b""),
    );
    cases
}

pub(crate) fn links() -> Cases {
    let mut cases = Cases::new("a link");
    // Targets are kept as they are: they are only ever followed within the image's own tree.
    for target in [
        "/",
        "..",
        "../../../..",
        "/etc/passwd",
        "../../../../etc/passwd",
        ".",
        "a/../../..",
        "/proc/self/root",
    ] {
        cases.data(format!("to {target}"), &format!("read: /l -> {target}"), link("l", target));
        let through = [link("l", target), file("l/etc/passwd", b"1")].concat();
        cases.data(
            format!("to {target} and a file through it"),
            &format!("read: /l -> {target}, /l/etc/passwd file"),
            through,
        );
        let hard = entry(EntryType::Link, "h", target, 0o644, b"", b"");
        cases.data(format!("hard, to {target}"), "11 HardLink", hard);
    }
    let hard = |path: &str, target: &str| entry(EntryType::Link, path, target, 0o644, b"", b"");
    for (name, expected, tar) in [
        ("hard, to a later entry", "11 HardLink", [hard("h", "a"), file("a", b"1")].concat()),
        ("hard, to itself", "11 HardLink", hard("h", "h")),
        (
            "hard, to a folder",
            "11 BadEntry",
            [entry(EntryType::Directory, "d", "", 0o755, b"", b""), hard("h", "d")].concat(),
        ),
        ("hard, to nothing", "11 HardLink", hard("h", "")),
        (
            "hard, to another name of the file",
            "11 HardLink",
            [file("d/a", b"1"), link("l", "d"), hard("h", "l/a")].concat(),
        ),
        (
            "hard, to a link",
            "read: /l -> /etc/passwd, /h -> /etc/passwd",
            [link("l", "/etc/passwd"), hard("h", "l")].concat(),
        ),
        ("hard, to a file", "read: /a as /a, /h as /a", [file("a", b"1"), hard("h", "a")].concat()),
        (
            "hard, to what apk passes over",
            "11 HardLink",
            [file(".dummy", b"1"), hard("h", ".dummy")].concat(),
        ),
        ("in a circle", "read: /a -> b, /b -> a", [link("a", "b"), link("b", "a")].concat()),
    ] {
        cases.data(name, expected, tar);
    }
    let folder = |path: &str| entry(EntryType::Directory, path, "", 0o755, b"", b"");
    for (name, expected, tar) in [
        ("a file twice", "read: /a file, /a file", [file("a", b"1"), file("a", b"2")].concat()),
        ("a file, then a link", "read: /a file, /a -> /etc", [file("a", b"1"), link("a", "/etc")].concat()),
        ("a file, then a folder", "read: /a file, /a folder", [file("a", b"1"), folder("a")].concat()),
        (
            "a folder, then a link, then a file in it",
            "read: /d folder, /d -> /, /d/x file",
            [folder("d"), link("d", "/"), file("d/x", b"1")].concat(),
        ),
        (
            "a file, and a file in it",
            "read: /a file, /a/b file",
            [file("a", b"1"), file("a/b", b"2")].concat(),
        ),
        ("a folder twice", "read: /d folder, /d folder", [folder("d"), folder("d")].concat()),
    ] {
        cases.data(format!("or path that comes twice: {name}"), expected, tar);
    }
    cases
}
