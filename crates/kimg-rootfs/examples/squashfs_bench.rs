//! A root file system as squashfs, here and by `mksquashfs`: bytes, and seconds on the clock.
//!
//! ```text
//! kimg build --variant portable --arch amd64 --pack never -o type=rootfs-tar,dest=root.tar
//! cargo run --release -p kimg-rootfs --example squashfs_bench -- root.tar amd64
//! ```

use std::error::Error;
use std::io::{Cursor, Read};
use std::process::{Command, Stdio};
use std::time::Instant;

use fs_err::File;
use kimg_core::{Content, Entry, ImagePath, Origin, Platform};
use kimg_rootfs::{Entries, squashfs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(archive), Some(platform)) = (arguments.next(), arguments.next()) else {
        return Err("squashfs_bench ARCHIVE PLATFORM".into());
    };
    let platform: Platform = platform.parse()?;
    let entries = read(&archive)?;
    for codec in ["xz", "zstd"] {
        let options = squashfs::Options { codec: codec.parse()?, platform, made: 0, epoch: Some(0) };
        let start = Instant::now();
        let image = squashfs::write(&entries, &options, Cursor::new(Vec::new()))?.into_inner();
        println!("here {codec}: {} bytes, {:.1} s", image.len(), start.elapsed().as_secs_f64());
    }
    let filter = match platform {
        Platform::Amd64 => &["-Xbcj", "x86"][..],
        Platform::ArmV7 | Platform::ArmV6 => &["-Xbcj", "arm"],
        Platform::Arm64 => &[],
    };
    for words in [&["-comp", "xz"][..], &["-comp", "zstd", "-Xcompression-level", "22"]] {
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("image");
        let mut make = Command::new("mksquashfs");
        make.arg("-").arg(&image).args(["-tar", "-quiet", "-no-progress"]).args(words);
        make.args(if words[1] == "xz" { filter } else { &[] }).args(["-b", "1M"]);
        let start = Instant::now();
        let done = make
            .stdin(File::open(&archive)?.into_file())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        let bytes = if done.success() { image.metadata()?.len() } else { 0 };
        println!("mksquashfs {}: {bytes} bytes, {:.1} s", words.join(" "), start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn read(archive: &str) -> Result<Entries, Box<dyn Error>> {
    let mut entries = Entries::new();
    let mut archive = tar::Archive::new(File::open(archive)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = ImagePath::new(&format!("/{}", entry.path()?.display()))?;
        let mode = entry.header().mode()? & 0o7777;
        let origin = Origin::generated("an archive");
        let kind = entry.header().entry_type();
        let mut found = if kind.is_dir() {
            Entry::directory(origin)
        } else if kind.is_symlink() {
            let target = entry.link_name()?.map(|target| target.display().to_string());
            Entry::symlink(target.unwrap_or_default(), origin)
        } else {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            Entry::file(Content::from_bytes(bytes), mode, origin)
        };
        found.mode = mode;
        entries.insert(path, found);
    }
    Ok(entries)
}
