//! The chain of trust: what the index and the keys say, against what the package is.

use kimg_apk::KeyRing;
use kimg_sample::Signer;

use crate::case::{Cases, Input};
use crate::made::gzip;
use crate::made::signed::{
    INFO, control, data, datahash, file, gzip_best, plain, record, ring, sign_entry, signature,
    signed_package,
};

pub(crate) fn all() -> Cases {
    let mut cases = Cases::new("the chain of trust");
    let data = data(&file("a", b"1"));
    let control = control([INFO, &datahash(&data)].concat().as_bytes());
    let signer = Signer::sample();
    let unsigned = [&control[..], &data].concat();
    let good = signed_package(&control, &data);
    let by = |kind: &str, signer: &Signer, signed: &[u8]| {
        [gzip_best(&plain(&sign_entry(kind, signer), &signer.sign(signed))), unsigned.clone()].concat()
    };
    let stranger = Signer::stranger();
    let forger = Signer::stranger().with_key_name(signer.key_name());

    let mut vouched =
        |name: &str, expected: &str, bytes: &[u8], keys: &KeyRing, change: &dyn Fn(&mut kimg_apk::Record)| {
            let mut record = record(&control, bytes.len());
            change(&mut record);
            let (bytes, keys) = (bytes.to_vec(), keys.clone());
            cases.add(name, expected, move || Input::Package {
                bytes: bytes.clone(),
                record: Some(Box::new(record.clone())),
                keys: keys.clone(),
            });
        };
    let (ring, none) = (ring(), KeyRing::new());
    vouched("as it should be", "read: /a file", &good, &ring, &|_| {});
    vouched("unsigned, the index vouches", "read: /a file", &unsigned, &ring, &|_| {});
    vouched(
        "a stranger's signature, the index vouches",
        "read: /a file",
        &by("RSA256", &stranger, &control),
        &ring,
        &|_| {},
    );
    vouched("no keys, the index vouches", "read: /a file", &good, &none, &|_| {});
    vouched(
        "forged, the index vouches",
        "10 WrongSignature",
        &by("RSA256", &forger, &control),
        &ring,
        &|_| {},
    );
    vouched(
        "of an unknown kind, the index vouches",
        "11 UnknownSignature",
        &by("DSA", &signer, &control),
        &ring,
        &|_| {},
    );
    for (what, size) in
        [("0", 0), ("one less", good.len() - 1), ("one more", good.len() + 1), ("all there are", usize::MAX)]
    {
        vouched(&format!("the index says {what} bytes"), "10 Size", &good, &ring, &|record| {
            record.size = size as u64;
        });
    }
    vouched("another identity", "10 Identity", &good, &ring, &|record| {
        record.identity = Some(kimg_apk::Identity::from_raw([7; 20]));
    });
    vouched("the identity of the signature", "10 Identity", &good, &ring, &|record| {
        record.identity = Some(kimg_apk::Identity::from_raw(crate::made::sha1(&signature(&control))));
    });
    vouched("no identity, unsigned", "10 Unsigned", &unsigned, &ring, &|record| record.identity = None);
    vouched("no identity, no keys", "10 UnknownKey", &good, &none, &|record| record.identity = None);
    vouched("another name", "10 Name", &good, &ring, &|record| record.name = "y".into());
    vouched("another version", "10 Name", &good, &ring, &|record| record.version = "1.0-r1".parse().unwrap());
    vouched("an equal version in other letters", "10 Name", &good, &ring, &|record| {
        record.version = "1.00-r0".parse().unwrap();
    });

    cases.package("a stranger's signature", "10 UnknownKey", by("RSA256", &stranger, &control));
    cases.package("a forged signature", "10 WrongSignature", by("RSA256", &forger, &control));
    cases.package("signed is what is unpacked", "10 WrongSignature", by("RSA256", &signer, INFO.as_bytes()));
    cases.package("signed is the data", "10 WrongSignature", by("RSA256", &signer, &data));
    cases.package("signed are control and data", "10 WrongSignature", by("RSA256", &signer, &unsigned));
    for kind in ["RSA", "RSA512"] {
        cases.package(
            format!("an RSA256 signature called {kind}"),
            "10 WrongSignature",
            by(kind, &signer, &control),
        );
    }
    for kind in ["DSA", "RSA2", "RSA384", ""] {
        cases.package(
            format!("a signature of the kind `{kind}`"),
            "11 UnknownSignature",
            by(kind, &signer, &control),
        );
    }
    // The signature member packed in another way: nothing signs that, so its form has to be the usual one.
    let tar = plain(&sign_entry("RSA256", &signer), &signer.sign(&control));
    let packed = |change: fn(&mut Vec<u8>)| {
        let mut member = gzip_best(&tar);
        change(&mut member);
        [member, unsigned.clone()].concat()
    };
    cases.package("the signature packed with a time", "10 SignaturePacking", packed(|m| m[4] = 1));
    cases.package("the signature packed elsewhere", "10 SignaturePacking", packed(|m| m[9] = 7));
    cases.package(
        "the signature packed with a name",
        "10 SignaturePacking",
        packed(|m| {
            m[3] = 8;
            m.splice(10..10, *b"name\0");
        }),
    );
    cases.package(
        "the signature packed fast",
        "10 SignaturePacking",
        [gzip(&tar), unsigned.clone()].concat(),
    );
    let stored = flate2::GzBuilder::new().operating_system(3).write(Vec::new(), flate2::Compression::none());
    let stored = {
        let mut m = stored;
        std::io::Write::write_all(&mut m, &tar).unwrap();
        let mut m = m.finish().unwrap();
        m[8] = 2;
        m
    };
    cases.package("the signature not compressed", "read: /a file", [stored, unsigned].concat());
    cases
}
