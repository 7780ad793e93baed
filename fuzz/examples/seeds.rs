//! Writes what the fuzzer starts from: for each target a few small inputs, made with the builders of the sample.
//!
//! ```text
//! cargo run --manifest-path fuzz/Cargo.toml --example seeds
//! ```

use std::path::Path;

use kimg_core::Platform;
use kimg_fuzz::tar_file;
use kimg_sample::Signer;
use kimg_sample::elf::{Library, Program, loader};
use kimg_sample::package::{PackageBuilder, TarEntry};
use kimg_sample::repository::RepositoryBuilder;

const PKGINFO: &str = "# a comment\npkgname = x\npkgver = 1.0-r0\narch = x86_64\npkgdesc = a = b\nurl = https://example.invalid\n\
    license = MIT AND\n\tGPL-2.0-only\nsize = 12\nbuilddate = 1735689600\norigin = y\nmaintainer = n\ncommit = 0123\n\
    provider_priority = 5\nreplaces_priority = 6\ndepend = so:libc.musl-x86_64.so.1\ndepend = !sudo a>=1~2\n\
    provides = cmd:x=1.0-r0 /bin/x\ninstall_if = a b=1\nreplaces = z<2\ntriggers = /bin /usr/share/*\n";
const VERSIONS: [&str; 5] = [
    "1.28.4_rc1-r3\n1.28.4-r3\n1.28.10-r0",
    "6\n006\n6.0_p1",
    "8.2.001\n8.2.0015\n8.2.0",
    "1.0~1234abc\n1.0_git20240101~ff-r1",
    "7.4.0p1-r1\nv2.4\n1a_alpha_beta2",
];
const DEPENDENCIES: [&str; 4] = [
    "busybox\n!sudo\nnano@edge\nkubelet@edge>=1.28",
    "a><Q1EyN5AdpAOBJWKMR89pp/C66o+OE=\na~1.2\na=~1.2-r0\na<2\na<=2",
    "so:libc.musl-x86_64.so.1\ncmd:[=1\n/bin/sh\npy3.11:x[y]",
    "Q1EyN5AdpAOBJWKMR89pp/C66o+OE=",
];

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs_err::create_dir_all(corpus.join(target))?;
        fs_err::write(corpus.join(target).join(name), bytes)
    };
    let signer = Signer::sample();
    let package = |name: &str| {
        PackageBuilder::new(name, "1.0-r0", Platform::Amd64)
            .depends(["so:libc.musl-x86_64.so.1", "!other"])
            .provides(["cmd:x=1.0-r0"])
            .install_if(["a", "b=1"])
            .script("post-install", "#!/bin/sh\n")
            .script("trigger", "#!/bin/sh\n")
            .triggers(["/bin"])
            .entries([
                TarEntry::program("bin/x", "#!/bin/sh\n").xattr("security.capability", *b"\x01\0\0\x02\n="),
                TarEntry::symlink("bin/y", "x"),
                TarEntry::hardlink("bin/z", "bin/x"),
                TarEntry::file(format!("usr/share/{}", "d/".repeat(60)) + "long", "").owner(1, 2),
            ])
            .build(&signer)
    };
    let one = package("x");
    write("package", "package", &one.bytes)?;
    let mut repository = RepositoryBuilder::new(Signer::sample());
    for name in ["x", "y"] {
        repository = repository.package(Platform::Amd64, package(name));
    }
    let index = &repository.build().files["x86_64/APKINDEX.tar.gz"];
    write("package", "index", index)?;
    write("index", "record", (one.record() + "k:1\nq:2\nr:old<2\nx:unknown\n\n").as_bytes())?;
    write("pkginfo", "pkginfo", PKGINFO.as_bytes())?;

    for (name, bytes) in elf_files() {
        write("elf", &name, &bytes)?;
    }

    let [signature, _, data] = one.members();
    write("tar", "data", &unpacked(data)?)?;
    write("signature", "one", &unpacked(signature)?)?;
    let two = [tar_file(".SIGN.RSA.other.rsa.pub", &[1; 256]), unpacked(signature)?].concat();
    write("signature", "two", &two)?;
    write("signature", "key", signer.public_pem().as_bytes())?;
    for (number, lines) in VERSIONS.iter().enumerate() {
        write("version", &number.to_string(), lines.as_bytes())?;
    }
    for (number, lines) in DEPENDENCIES.iter().enumerate() {
        write("dependency", &number.to_string(), lines.as_bytes())?;
    }
    Ok(())
}

/// What the target walks: it lays the bytes down as the program, as the loader and as `libx.so`, for x86-64 and for ARM.
fn elf_files() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (processor, platform) in [("x86_64", Platform::Amd64), ("arm", Platform::ArmV7)] {
        let mut add = |name: &str, bytes| all.push((format!("{processor}-{name}"), bytes));
        add("fixed", Program::fixed(platform, "x").build());
        let program = Program::dynamic(platform, ["libx.so", "liby.so", "libc.so"], "x");
        add("dynamic", program.build());
        let rpath = Some("$ORIGIN/../lib:/nowhere:${ORIGIN}".to_owned());
        add("rpath", Program { rpath: rpath.clone(), ..program.clone() }.build());
        let glibc = Some("/lib64/ld-linux-x86-64.so.2".to_owned());
        add("glibc", Program { runpath: rpath, interpreter: glibc, ..program }.build());
        add("library", Library::new(platform, "libx.so", ["liby.so"]).build());
        add("plugin", Library::plugin(platform, ["libx.so"]).build());
        add("loader", loader(platform));
    }
    all.push(("script".to_owned(), b"#!/usr/bin/env -S p x\n".to_vec()));
    all
}

fn unpacked(member: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::bufread::GzDecoder::new(member), &mut bytes)?;
    Ok(bytes)
}
