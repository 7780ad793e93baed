//! Small files that would be large: gzip of zeros, headers without end, sizes and counts that are only
//! claimed.

use std::io::Write;

use flate2::{Compress, Compression, FlushCompress};
use tar::EntryType;

use crate::case::{Cases, Input, alone, around};
use crate::made::signed::{
    checksum, control, data, file, gzip_best, plain, signature, signed_package, sum_up,
};
use crate::made::{entry, gzip, pax_record};

/// A gzip member that begins with `first` and goes on with this many MiB of zeros. Its CRC is wrong: nobody
/// gets there.
fn zeros(first: &[u8], mib: usize) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    let mut packer = Compress::new(Compression::best(), false);
    let mut add = |bytes: &[u8], flush| {
        let mut packed = Vec::with_capacity(bytes.len() + 1024);
        packer.compress_vec(bytes, &mut packed, flush).unwrap();
        packed
    };
    member.extend(add(first, FlushCompress::Full));
    let zeros = vec![0; 1 << 20];
    // After a full flush each MiB gives the same bytes.
    let first = add(&zeros, FlushCompress::Full);
    let again = add(&zeros, FlushCompress::Full);
    member.extend(first);
    for _ in 1..mib {
        member.extend(&again);
    }
    member.extend(add(b"", FlushCompress::Finish));
    member.extend([0; 8]);
    member
}

/// The header of a file of this size, with nothing behind it.
fn claims(size: u64) -> Vec<u8> {
    let mut tar = entry(EntryType::Regular, "a", "", 0o644, &checksum(b""), b"");
    tar[1024 + 124..1024 + 136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    sum_up(&mut tar[1024..]);
    tar
}

pub(crate) fn all() -> Cases {
    let mut cases = Cases::new("a bomb");
    cases.add("zeros for a signature", "12 Limit the unpacked signature member", || {
        Input::Index(zeros(b"", 5))
    });
    cases.add("zeros for a package's signature", "12 Limit the unpacked signature member", || {
        alone(zeros(b"", 100))
    });
    cases.add("a signature of 1 MiB", "12 Limit the unpacked signature member", || {
        alone(gzip_best(&plain(".SIGN.RSA.kimg-sample-worthless.rsa.pub", &vec![0; 1 << 20])))
    });
    cases.add("8000 signatures", "12 Limit the unpacked signature member", || {
        alone([gzip_best(&plain(".SIGN.RSA.x", b"").repeat(8000)), control(b"")].concat())
    });
    cases.add("zeros for control", "12 Limit the unpacked control member", || {
        let control = zeros(b"", 100);
        alone([signature(&control), control].concat())
    });
    cases.add("zeros behind .PKGINFO", "12 Limit the unpacked control member", || {
        let control = zeros(&plain(".PKGINFO", b"pkgname = x\n"), 100);
        alone([signature(&control), control].concat())
    });
    cases.add("zeros for an index", "12 Limit the unpacked index", || {
        let records = zeros(b"", 2000);
        Input::Index([signature(&records), records].concat())
    });
    cases.add("zeros behind an index", "12 Limit the unpacked index", || {
        let records = zeros(&plain("APKINDEX", b"P:a\nV:1\n"), 30);
        Input::Index([signature(&records), records].concat())
    });
    cases.add("an index of 25 MiB", "12 Limit the index file", || Input::Index(vec![0x1f; 25 << 20]));
    cases.add("2 GiB of zeros for data", "12 Limit the unpacked data member", || around(&zeros(b"", 2049)));
    cases.add("2 GiB of zeros behind a file", "12 Limit the unpacked data member", || {
        around(&zeros(&file("a", b"1"), 2049))
    });
    cases.add("a PAX header of 2 GiB", "12 Limit an extended header", || {
        let mut header = entry(EntryType::XHeader, "pax", "", 0, b"", b"");
        header[124..136].copy_from_slice(b"17777777777\0");
        sum_up(&mut header);
        around(&zeros(&header, 100))
    });
    for (what, kind) in [
        ("GNU long name", EntryType::GNULongName),
        ("GNU long link", EntryType::GNULongLink),
        ("global header", EntryType::XGlobalHeader),
    ] {
        cases.add(format!("a {what} of 2 MiB"), "12 Limit an extended header", move || {
            around(&data(&entry(kind, "long", "", 0, b"", &vec![b'x'; 2 << 20])))
        });
    }
    cases.add("global headers without end", "12 Limit an extended header", || {
        around(&data(&entry(EntryType::XGlobalHeader, "g", "", 0, b"", &vec![b'x'; 60_000]).repeat(20)))
    });
    cases.add("empty global headers without end", "read: ", || {
        around(&data(
            &[entry(EntryType::XGlobalHeader, "g", "", 0, b"", b"").repeat(50_000), plain(".x", b"")]
                .concat(),
        ))
    });
    cases.add("90 000 PAX records in front of a file", "read: /a file", || {
        let records: Vec<u8> = (0..90_000).flat_map(|n| pax_record(&format!("{n:05}"), b"")).collect();
        around(&data(&entry(EntryType::Regular, "a", "", 0o644, &[records, checksum(b"")].concat(), b"")))
    });
    cases.add(
        "attributes without end",
        "12 Limit what all paths, link targets and extended attributes take",
        || {
            let records: Vec<u8> =
                (0..30_000).flat_map(|n| pax_record(&format!("SCHILY.xattr.{n:x}"), b"")).collect();
            around(&data(&entry(EntryType::Directory, "a", "", 0o755, &records, b"").repeat(30)))
        },
    );
    cases.add(
        "an attribute of 1 MB on each folder",
        "12 Limit what all paths, link targets and extended attributes take",
        || {
            let records = pax_record("SCHILY.xattr.user.x", &vec![b'x'; 1_000_000]);
            let one = entry(EntryType::Directory, "a", "", 0o755, &records, b"");
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
            (0..200).for_each(|_| packer.write_all(&one).unwrap());
            around(&packer.finish().unwrap())
        },
    );
    cases.add(
        "paths of 4000 bytes without end",
        "12 Limit what all paths, link targets and extended attributes take",
        || {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
            for n in 0..20_000 {
                let path = format!("{n}/{}", "dddddddd/".repeat(440));
                packer
                    .write_all(&entry(
                        EntryType::Directory,
                        "a",
                        "",
                        0o755,
                        &pax_record("path", path.as_bytes()),
                        b"",
                    ))
                    .unwrap();
            }
            around(&packer.finish().unwrap())
        },
    );
    cases.add("200 000 folders", "12 Limit the number of paths", || {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        for n in 0..200_000 {
            packer
                .write_all(&entry(EntryType::Directory, &format!("usr/share/{n:080}"), "", 0o755, b"", b""))
                .unwrap();
        }
        around(&packer.finish().unwrap())
    });
    cases.add("as many links as may be, all with targets", "read: /0 -> ", || {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        for n in 0..150_000 {
            packer.write_all(&crate::made::signed::link(&n.to_string(), &format!("to/{n}"))).unwrap();
        }
        packer.write_all(&[0; 1024]).unwrap();
        around(&packer.finish().unwrap())
    });
    for size in [(1 << 30) + 1, 1 << 31, (1 << 33) - 1] {
        cases.add(format!("a file that claims {size} bytes"), "12 Limit a file", move || {
            around(&data(&claims(size)))
        });
    }
    cases.add("a file that claims 1 GiB", "11 Tar Data", || around(&data(&claims(1 << 30))));
    cases.add("a file of 1 GiB of zeros", "12 Limit the unpacked data member", || {
        around(&zeros(&claims(1 << 30), 1024))
    });
    cases.add("100 000 empty members for data", "11 Trailing", || around(&gzip(b"").repeat(100_000)));
    cases.add("100 000 empty members for an index", "11 Trailing", || {
        let records = gzip(b"").repeat(100_000);
        Input::Index([signature(&records), records].concat())
    });
    cases.add("100 000 empty members in front", "10 Unsigned", || alone(gzip(b"").repeat(100_000)));
    cases.add("gzip in gzip in gzip", "11 Tar Signature", || {
        let bomb = (0..3).fold(zeros(b"", 1000), |inner, _| gzip(&inner));
        alone(bomb)
    });
    cases.add("20 000 empty blocks", "11 Gzip Control", || {
        let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
        (0..20_000).for_each(|_| member.extend([0, 0, 0, 0xff, 0xff]));
        alone(signed_package(&member, &member))
    });
    cases
}
