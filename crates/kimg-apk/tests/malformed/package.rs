//! Packages: each field of `.PKGINFO`, and each member.

use tar::EntryType;

use crate::case::Cases;
use crate::made::signed::{INFO, control, data, datahash, file, gzip_best, plain, signature, signed_package};
use crate::made::{entry, gzip};

/// The usual lines but for those of one key.
fn without(key: &str) -> String {
    INFO.split_inclusive('\n').filter(|line| !line.starts_with(key)).collect()
}

pub(crate) fn pkginfo() -> Cases {
    let mut cases = Cases::new(".PKGINFO");
    cases.info("as it should be", "read: ", INFO);
    for key in ["pkgname", "pkgver", "arch"] {
        let kept = without(key);
        cases.info(format!("no {key}"), &format!("11 MissingField {key}"), kept.as_str());
        cases.info(
            format!("no blanks around the = of {key}"),
            &format!("11 MissingField {key}"),
            format!("{kept}{key}=x\n"),
        );
        cases.info(
            format!("{key} in a comment"),
            &format!("11 MissingField {key}"),
            format!("{kept}#{key} = x\n"),
        );
        let line = INFO.lines().find(|line| line.starts_with(key)).unwrap();
        cases.info(format!("{key} twice"), &format!("11 BadField {key}"), format!("{INFO}{line}\n"));
        let as_pkgname = kept + &format!("{key} = \n");
        let expected = if key == "arch" { "11 MissingField arch" } else { &format!("11 BadField {key}") };
        cases.info(format!("an empty {key}"), expected, as_pkgname);
    }
    let with = |key: &str, value: &str| {
        let kept = without(key);
        format!("{kept}{key} = {value}\n")
    };
    for value in ["..", ".", ".x", "a/b", "../a", "a\\b", "a b", "a\0b", "é", "a\u{7f}b", "a\tb"] {
        cases.info(format!("pkgname = {value}"), "11 BadField pkgname", with("pkgname", value));
    }
    for value in ["..", "1/2", "1\\2", "1 2", "1=2", "1<2", "1\0", "é", "1@2", "!1"] {
        cases.info(format!("pkgver = {value}"), "11 BadField pkgver", with("pkgver", value));
    }
    for value in ["armv7", "X86_64", "x86-64", "all", "x86_64 aarch64", "x86", "../x86_64"] {
        cases.info(format!("arch = {value}"), "10 Architecture", with("arch", value));
    }
    cases.info("arch = noarch fits every one", "read: ", with("arch", "noarch"));
    for key in ["size", "builddate", "provider_priority", "replaces_priority"] {
        for value in ["", "-1", "1.5", "0x10", "99999999999999999999", "many", "1 2", "1\0"] {
            cases.info(
                format!("{key} = {value}"),
                &format!("11 BadField {key}"),
                format!("{INFO}{key} = {value}\n"),
            );
        }
    }
    for key in ["depend", "provides", "install_if", "replaces"] {
        for value in
            ["=", "!", "!!b", "b=", "b<>1", "b><Q1", "@edge", "b@", "é", "b\u{1}", "b>=", "<1", "b =1"]
        {
            cases.info(
                format!("{key} = {value}"),
                &format!("11 BadField {key}"),
                format!("{INFO}{key} = {value}\n"),
            );
        }
    }
    let empty = data(b"");
    for value in [
        "",
        "0",
        "d",
        &"g".repeat(64),
        &"0".repeat(63),
        &"0".repeat(65),
        &format!("sha256:{}", "0".repeat(64)),
    ] {
        let info = format!("{INFO}datahash = {value}\n");
        cases.package(
            format!("datahash = {value}"),
            "11 BadField datahash",
            signed_package(&control(info.as_bytes()), &empty),
        );
    }
    for (what, expected, info) in [
        ("no datahash", "11 MissingField datahash", INFO.to_owned()),
        ("datahash twice", "11 BadField datahash", [INFO, &datahash(&empty), &datahash(&empty)].concat()),
        ("the datahash of other data", "10 DataHash", [INFO, &datahash(b"other")].concat()),
        ("the datahash of what is unpacked", "10 DataHash", [INFO, &datahash(&[0; 1024])].concat()),
    ] {
        cases.package(what, expected, signed_package(&control(info.as_bytes()), &empty));
    }
    cases.info(
        "not UTF-8",
        "11 Tar Control .PKGINFO is not UTF-8",
        [INFO.as_bytes(), b"pkgdesc = \xff\n"].concat(),
    );
    cases.info("CR LF", "read: ", INFO.replace('\n', "\r\n"));
    cases.info("lines that say nothing", "read: ", format!("{INFO}\n\n = \nx\nx = y\n#\n = z\n"));
    cases.info("nothing but a hash", "11 MissingField", "");
    cases.info("a script instead", "11 MissingField", "#!/bin/sh\nexit 0\n");
    cases.add("a million dependencies", "12 Limit the number of dependencies", || {
        let data = data(b"");
        let info = [INFO, &"depend = a b c d e f g h i j\n".repeat(100_000), &datahash(&data)].concat();
        crate::case::alone(signed_package(&control(info.as_bytes()), &data))
    });
    cases.add("a million triggers", "12 Limit the number of dependencies", || {
        let data = data(b"");
        let info = [INFO, &format!("triggers = {}\n", "/a ".repeat(1_000_000)), &datahash(&data)].concat();
        crate::case::alone(signed_package(&control(info.as_bytes()), &data))
    });
    cases.add("as many dependencies as may be", "read: ", || {
        let data = data(b"");
        let info = [INFO, &format!("depend = {}\n", "a=1 ".repeat(400_000)), &datahash(&data)].concat();
        crate::case::alone(signed_package(&control(info.as_bytes()), &data))
    });
    cases
}

pub(crate) fn members() -> Cases {
    let mut cases = Cases::new("the members of a package");
    let data = data(&file("a", b"1"));
    let info = [INFO, &datahash(&data)].concat();
    let good_control = control(info.as_bytes());
    let good = signed_package(&good_control, &data);
    let sign = signature(&good_control);

    cases.package("as they should be", "read: /a file", good.clone());
    cases.package("nothing", "11 Gzip Signature", Vec::new());
    cases.package("the signature alone", "11 Gzip Control", sign.clone());
    cases.package("signature and control", "10 DataHash", [&sign[..], &good_control].concat());
    cases.package("no signature", "10 Unsigned", [&good_control[..], &data].concat());
    cases.package("no control", "10 WrongSignature", [&sign[..], &data].concat());
    cases.package("data alone", "10 Unsigned", data.clone());
    cases.package(
        "control and data the other way round",
        "10 WrongSignature",
        [&sign[..], &data, &good_control].concat(),
    );
    cases.package("control before its signature", "10 Unsigned", [&good_control[..], &sign, &data].concat());
    cases.package("the signature twice", "10 WrongSignature", [&sign[..], &good].concat());
    cases.package("control twice", "10 DataHash", [&sign[..], &good_control, &good_control, &data].concat());
    cases.package("data twice", "10 DataHash", [&good[..], &data].concat());
    for (what, more) in
        [("a zero", &b"\0"[..]), ("text", b"text"), ("a member", &gzip(b"")), ("zeros", &[0; 512])]
    {
        cases.package(format!("{what} behind the end"), "10 DataHash", [&good[..], more].concat());
        let longer = [&data[..], more].concat();
        let control = control([INFO, &datahash(&longer)].concat().as_bytes());
        cases.package(
            format!("{what} behind the end, and hashed"),
            "11 Trailing",
            signed_package(&control, &longer),
        );
        cases.package(
            format!("{what} between signature and control"),
            if what == "a member" { "10 WrongSignature" } else { "11 Gzip Control" },
            [&sign[..], more, &good_control, &data].concat(),
        );
    }
    for (what, at) in [("signature", 0), ("control", sign.len()), ("data", sign.len() + good_control.len())] {
        let expected = match what {
            "signature" => "11 Gzip Signature",
            "control" => "11 Gzip Control",
            _ => "10 DataHash",
        };
        for (part, byte, change) in [
            ("the magic", 0, 1),
            ("the method", 2, 1),
            ("a reserved flag", 3, 0x80),
            ("a name in the header", 3, 8),
        ] {
            let mut bytes = good.clone();
            bytes[at + byte] ^= change;
            cases.package(format!("{part} of the {what} member"), expected, bytes);
        }
    }
    for (what, expected, tar) in [
        ("nothing", "11 MissingEntry Control .PKGINFO", Vec::new()),
        ("a script alone", "11 MissingEntry Control .PKGINFO", plain(".post-install", b"#!/bin/sh\n")),
        (".PKGINFO in a folder", "11 MissingEntry Control .PKGINFO", plain("./.PKGINFO", info.as_bytes())),
        (
            ".PKGINFO twice",
            "11 Tar Control it holds `.PKGINFO` twice",
            plain(".PKGINFO", info.as_bytes()).repeat(2),
        ),
        (
            "a second .PKGINFO behind the end",
            "11 Tar Control there are bytes after its end",
            [plain(".PKGINFO", info.as_bytes()), vec![0; 1024], plain(".PKGINFO", b"")].concat(),
        ),
        (
            "a folder .PKGINFO",
            "11 MissingEntry Control .PKGINFO",
            entry(EntryType::Directory, ".PKGINFO", "", 0o755, b"", b""),
        ),
        (
            "a link .PKGINFO",
            "11 MissingEntry Control .PKGINFO",
            entry(EntryType::Symlink, ".PKGINFO", "x", 0o755, b"", b""),
        ),
        (".PKGINFO cut", "11 Tar Control", plain(".PKGINFO", info.as_bytes())[..530].to_vec()),
        ("half a header", "11 Tar Control", plain(".PKGINFO", info.as_bytes())[..100].to_vec()),
        ("no tar", "11 Tar Control", info.clone().into_bytes()),
        (
            "scripts twice",
            "read: /a file",
            [plain(".PKGINFO", info.as_bytes()), plain(".trigger", b"").repeat(2)].concat(),
        ),
        (
            "what apk does not know",
            "read: /a file",
            [plain(".PKGINFO", info.as_bytes()), plain("../../etc/passwd", b"x")].concat(),
        ),
    ] {
        cases.package(format!("control holds {what}"), expected, signed_package(&gzip_best(&tar), &data));
    }
    for magic in ["ADB.", "ADBd", "ADBc"] {
        cases.package(
            format!("a package of apk 3, {magic}"),
            "11 Version3",
            [magic.as_bytes(), &[0; 600]].concat(),
        );
    }
    for (what, bytes) in [
        ("text", &b"<html>not found</html>"[..]),
        ("zeros", &[0; 2000]),
        ("an ELF file", b"\x7fELF\x02\x01\x01"),
    ] {
        cases.package(what, "11 Gzip Signature", bytes.to_vec());
    }
    cases
}
