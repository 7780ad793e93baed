//! Indexes: each field of the text, and the archive around it.

use kimg_sample::Signer;

use crate::case::{Cases, Input};
use crate::made::pax_record;
use crate::made::signed::{gzip_best, index_tar, plain, sign_entry, signature, signed_index};

const GOOD: &str = "C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=\nP:a\nV:1-r0\nA:x86_64\nS:10\nI:20\nT:t\nU:u\nL:l\no:o\nm:m\nt:1\nc:c\n\
    k:1\nq:1\nD:b\np:c\ni:d\nr:e\n";

pub(crate) fn text() -> Cases {
    let mut cases = Cases::new("the text of an index");
    cases.index_text("all fields", "read: a-1-r0", GOOD);
    for letter in "PVACSITULomtckq".chars() {
        let line = GOOD.lines().find(|line| line.starts_with(letter)).unwrap();
        cases.index_text(
            format!("{letter} twice"),
            &format!("11 Index Twice {letter}"),
            format!("{GOOD}{line}\n"),
        );
    }
    let with = |letter: char, value: &str| {
        let kept: Vec<_> = GOOD.lines().filter(|line| !line.starts_with(letter)).collect();
        format!("{}\n{letter}:{value}\n", kept.join("\n"))
    };
    for letter in "SItkq".chars() {
        for value in ["", "-1", "1.5", "0x10", "99999999999999999999", " 1", "many", "1\0"] {
            let expected = format!("11 Index Field {letter} Number");
            cases.index_text(format!("{letter}:{value}"), &expected, with(letter, value));
        }
    }
    for letter in "kq".chars() {
        cases.index_text(
            format!("{letter} beyond 32 bits counts as the largest"),
            "read: a",
            with(letter, "99999999999"),
        );
    }
    let q1 = "Q1EyN5AdpAOBJWKMR89pp/C66o+OE";
    for value in [
        "",
        "Q1",
        q1,
        &format!("{q1}=="),
        &format!("X1{}=", &q1[2..]),
        &format!("Q2{}=", &q1[2..]),
        &format!("{}*=", &q1[..28]),
        "1332379 01da403812562 8c47cf69a7f0baea",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ] {
        cases.index_text(format!("C:{value}"), "11 Index Field C Identity", with('C', value));
    }
    for value in ["", "..", ".", "...", "a/b", "../a", "/a", "a\\b", "a b", "a\tb", "a\0b", "é", "a\u{7f}"] {
        for letter in ['P', 'V'] {
            let expected = format!("11 Index Field {letter} FileName");
            cases.index_text(format!("{letter}:{value}"), &expected, with(letter, value));
        }
    }
    for value in ["1=2", "1<2", "1>2", "1@2", "!1"] {
        cases.index_text(format!("V:{value}"), "read: unusable a", with('V', value));
    }
    for value in ["=", "!", "!!b", "b=", "b<>1", "b><Q1", "@edge", "b@edge", "b@", "é", "b\u{1}", "b>=", "<1"]
    {
        for letter in "Dipr".chars() {
            let text = with(letter, value) + "\nP:next\nV:1\n";
            cases.index_text(format!("{letter}:{value}"), "read: next-1, unusable a", text);
        }
    }
    for letter in ['P', 'V'] {
        let kept: Vec<_> = GOOD.lines().filter(|line| !line.starts_with(letter)).collect();
        cases.index_text(format!("no {letter}"), &format!("11 Index Missing {letter}"), kept.join("\n"));
    }
    for line in ["nonsense", ":x", "PP:a", "é:a", "P", " P:a", "\0P:a", "-:x", "<html>"] {
        cases.index_text(format!("the line `{line}`"), "11 Index NotAField", format!("{GOOD}{line}\n"));
    }
    cases.index_text("a name that is not UTF-8", "11 Index Field P FileName", b"P:\xff\nV:1\n");
    cases.index_text("a description that is not UTF-8", "read: a-1", b"P:a\nV:1\nT:\xff\n");
    cases.index_text("CR LF", "read: a-1, b-1", "P:a\r\nV:1\r\n\r\nP:b\r\nV:1\r\n");
    cases.index_text("nothing", "read: ", "");
    cases.index_text("empty lines only", "read: ", "\n\n\n");
    cases.index_text("the same package twice", "read: a-1, a-1", "P:a\nV:1\n\nP:a\nV:1\n");
    cases.index_text("no packages, only unknown letters", "11 Index Missing P", "z:1\n");
    cases
}

/// Texts that would take memory or time. They are made when their turn comes.
pub(crate) fn large_text() -> Cases {
    let mut cases = Cases::new("a large index");
    let mut large = |name: &str, expected: &str, text: fn() -> String| {
        cases.add(name, expected, move || Input::Index(signed_index(&index_tar(text().as_bytes()))));
    };
    large("a line of 2 MB", "12 Index Limit the line", || format!("P:a\nV:1\nT:{}\n", "x".repeat(2 << 20)));
    large("a name of 2 MB", "12 Index Limit the line", || format!("P:{}\nV:1\n", "x".repeat(2 << 20)));
    large("a dependency of 1 MB", "read: a-1", || format!("P:a\nV:1\nD:{}\n", "x".repeat(1_000_000)));
    large("a bad dependency of 1 MB", "read: unusable a", || {
        format!("P:a\nV:1\nD:={}\n", "\u{7f}".repeat(1_000_000))
    });
    large("a version of 1 MB", "read: a-1.1.1", || format!("P:a\nV:1{}\n", ".1".repeat(500_000)));
    large("lines of blanks", "read: a-1", || {
        "P:a\nV:1\n".to_owned() + &format!("D:{}\n", " ".repeat(1 << 19)).repeat(40)
    });
    large("300 000 records", "12 Index Limit the number of records", || "P:a\nV:1\n\n".repeat(300_000));
    large("300 000 unusable records", "12 Index Limit the number of records", || {
        "P:a\nV:=\n\n".repeat(300_000)
    });
    large("a million dependencies", "12 Index Limit the number of dep", || {
        "P:a\nV:1\n".to_owned() + &format!("D:{}\n", "b ".repeat(100_000)).repeat(10)
    });
    large("a million provides", "12 Index Limit the number of dep", || {
        "P:a\nV:1\n".to_owned() + &format!("p:{}\n", "b=1 ".repeat(100_000)).repeat(10)
    });
    large("a million unknown fields", "12 Index Limit the number of dep", || {
        "P:a\nV:1\n".to_owned() + &"x:\n".repeat(1_000_000)
    });
    large("as many records and names as may be", "read: a-1", || {
        let record = format!("P:a\nV:1\nC:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=\nD:{}\n\n", "b=1 ".repeat(8));
        record.repeat(50_000)
    });
    large("23 MB of what is not UTF-8, as Latin-1 would be", "read: a-1", || {
        format!("P:a\nV:1\n{}", format!("x:{}\n", "\u{e4}".repeat(400_000)).repeat(28))
    });
    large("an empty line, 20 million times", "read: ", || "\n".repeat(20_000_000));
    cases.add("18 MB of invalid bytes", "12 Index TooLarge", || {
        let mut text = b"P:a\nV:1\n".to_vec();
        for _ in 0..60 {
            text.extend(b"x:");
            text.resize(text.len() + 300_000, 0xff);
            text.push(b'\n');
        }
        Input::Index(signed_index(&index_tar(&text)))
    });
    cases
}

pub(crate) fn archive() -> Cases {
    let mut cases = Cases::new("the archive of an index");
    let signer = Signer::sample();
    let records = gzip_best(&index_tar(GOOD.as_bytes()));
    let sign = |entries: &[(String, Vec<u8>)]| {
        let tar: Vec<u8> = entries.iter().flat_map(|(name, bytes)| plain(name, bytes)).collect();
        [gzip_best(&tar), records.clone()].concat()
    };
    let name = sign_entry("RSA256", &signer);
    let good = signer.sign(&records);
    let stranger = Signer::stranger();
    let theirs = (sign_entry("RSA256", &stranger), stranger.sign(&records));
    let forged = (name.clone(), stranger.sign(&records));
    let ours = (name.clone(), good.clone());

    cases.index("as it should be", "read: a-1-r0", sign(std::slice::from_ref(&ours)));
    cases.index("not signed", "10 Unsigned", records.clone());
    cases.index("signed by a stranger", "10 UnknownKey", sign(std::slice::from_ref(&theirs)));
    cases.index(
        "signed by a stranger under our name",
        "10 WrongSignature",
        sign(std::slice::from_ref(&forged)),
    );
    cases.index("a stranger's signature, then ours", "read: a-1-r0", sign(&[theirs.clone(), ours.clone()]));
    cases.index("a forged signature, then ours", "10 WrongSignature", sign(&[forged, ours.clone()]));
    cases.index("our signature twice", "read: a-1-r0", sign(&[ours.clone(), ours.clone()]));
    for kind in ["DSA", "rsa256", "RSA1", "RSA256 ", "ED25519", "", "RSA512x"] {
        let entry = (sign_entry(kind, &signer), good.clone());
        cases.index(format!("a signature of the kind `{kind}`"), "11 UnknownSignature", sign(&[entry]));
    }
    for kind in ["RSA", "RSA512"] {
        let entry = (sign_entry(kind, &signer), good.clone());
        cases.index(format!("an RSA256 signature called {kind}"), "10 WrongSignature", sign(&[entry]));
    }
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("a byte short", good[1..].to_vec()),
        ("a byte long", [&good[..], &[0]].concat()),
        ("zeros", vec![0; 256]),
        ("of other bytes", signer.sign(b"other bytes")),
        ("of what is unpacked", signer.sign(&index_tar(GOOD.as_bytes()))),
    ] {
        cases.index(
            format!("a signature that is {what}"),
            "10 WrongSignature",
            sign(&[(name.clone(), bytes)]),
        );
    }
    for bad in [".SIGN.", ".SIGN.RSA256", ".SIGN.RSA256."] {
        cases.index(
            format!("the entry `{bad}`"),
            "11 UnknownSignature",
            sign(&[(bad.to_owned(), good.clone())]),
        );
    }
    for path in [
        "../kimg-sample-worthless.rsa.pub",
        "/etc/apk/keys/kimg-sample-worthless.rsa.pub",
        "KIMG-SAMPLE-WORTHLESS.RSA.PUB",
    ] {
        cases.index(
            format!("the key `{path}`"),
            "10 UnknownKey",
            sign(&[(format!(".SIGN.RSA256.{path}"), good.clone())]),
        );
    }
    cases.index(
        "a file beside the signature",
        "11 Tar Signature",
        sign(&[ours.clone(), ("APKINDEX".into(), vec![])]),
    );
    cases.index("a signature in a folder", "10 Unsigned", sign(&[(format!("./{name}"), good.clone())]));
    cases.index("two signature members", "10 WrongSignature", sign(std::slice::from_ref(&ours)).repeat(2));
    let signature = signature(&records);
    let twice = [&signature[..], &signature, &records].concat();
    cases.index("the signature member twice", "10 WrongSignature", twice);
    cases.index("nothing behind the signature", "10 WrongSignature", signature.clone());
    for (what, more) in [
        ("a zero", vec![0]),
        ("zeros", vec![0; 512]),
        ("text", b"text".to_vec()),
        ("a member", gzip_best(b"")),
    ] {
        let all = [&signature[..], &records, &more].concat();
        cases.index(format!("{what} behind the end"), "10 WrongSignature", all);
        let more = [&records[..], &more].concat();
        cases.index(
            format!("{what} behind the end, and signed"),
            "11 Trailing",
            [crate::made::signed::signature(&more), more].concat(),
        );
    }
    for (what, bytes) in [
        ("an empty file", Vec::new()),
        ("one byte", vec![0x1f]),
        ("a gzip header", records[..10].to_vec()),
        ("a web page", b"<html>not found</html>".to_vec()),
        ("zeros", vec![0; 1000]),
    ] {
        cases.index(what, "11 Gzip Signature", bytes);
    }
    for magic in ["ADB.", "ADBd", "ADBc", "ADB"] {
        cases.index(
            format!("an index of apk 3, {magic}"),
            "11 Version3",
            [magic.as_bytes(), &[0; 600]].concat(),
        );
    }
    // What is in the second member; all of it well signed.
    for (what, expected, tar) in [
        ("no tar", "11 Tar Records", b"P:a\nV:1\n".to_vec()),
        ("an empty tar", "11 MissingEntry Records APKINDEX", vec![0; 1024]),
        ("nothing", "11 MissingEntry Records APKINDEX", Vec::new()),
        ("no APKINDEX", "11 MissingEntry Records APKINDEX", plain("DESCRIPTION", b"d")),
        ("APKINDEX in a folder", "11 MissingEntry Records APKINDEX", plain("./APKINDEX", GOOD.as_bytes())),
        ("no DESCRIPTION", "read: a-1-r0", plain("APKINDEX", GOOD.as_bytes())),
        (
            "APKINDEX twice",
            "11 Tar Records it holds `APKINDEX` twice",
            plain("APKINDEX", GOOD.as_bytes()).repeat(2),
        ),
        (
            "DESCRIPTION twice",
            "11 Tar Records it holds `DESCRIPTION` twice",
            [plain("DESCRIPTION", b"d").repeat(2), index_tar(GOOD.as_bytes())].concat(),
        ),
        (
            "APKINDEX behind the end",
            "11 Tar Records there are bytes after its end",
            [vec![0; 1024], plain("APKINDEX", b"P:a\nV:1\n")].concat(),
        ),
        ("APKINDEX cut", "11 Tar Records", plain("APKINDEX", GOOD.as_bytes())[..600].to_vec()),
        ("half a header", "11 Tar Records", plain("APKINDEX", GOOD.as_bytes())[..300].to_vec()),
        (
            "an extended header last",
            "11 Tar Records it ends after an extended header",
            crate::made::entry(tar::EntryType::XHeader, "x", "", 0, b"", &pax_record("a", b"b")),
        ),
        ("another file", "read: a-1-r0", [plain("new", b"file"), index_tar(GOOD.as_bytes())].concat()),
    ] {
        cases.index(what, expected, signed_index(&tar));
    }
    let deflated = |change: fn(&mut Vec<u8>)| {
        let mut records = records.clone();
        change(&mut records);
        [crate::made::signed::signature(&records), records].concat()
    };
    cases.index(
        "a wrong CRC",
        "11 Gzip Records",
        deflated(|bytes| {
            let at = bytes.len() - 8;
            bytes[at] ^= 1;
        }),
    );
    cases.index(
        "a wrong size at the end",
        "11 Gzip Records",
        deflated(|bytes| {
            let at = bytes.len() - 1;
            bytes[at] ^= 1;
        }),
    );
    cases.index("cut", "11 Gzip Records", deflated(|bytes| bytes.truncate(bytes.len() - 9)));
    cases.index("no deflate", "11 Gzip Records", deflated(|bytes| bytes[2] = 7));
    cases
}
