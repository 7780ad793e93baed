//! An unpacked root file system: starting its programs, and what the loaders say of its ELF files.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use kimg_core::Platform;
use object::Endianness;
use object::elf::{DT_NEEDED, DT_STRSZ, DT_STRTAB, DynamicTag, FileHeader32, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

use crate::{both, find_tool, output, skip, superuser, tool, until_it_starts};

/// The emulator's name inside a root, while programs are started there. No package has it.
const EMULATOR: &str = ".kimg-test-emulator";

/// An unpacked root, and what it is for.
#[derive(Debug)]
pub struct Root {
    folder: PathBuf,
    platform: Platform,
    emulated: OnceLock<bool>,
}

/// A dynamically linked ELF file of a root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DynamicElf {
    /// Its path inside the root, with the leading slash.
    pub path: String,
    /// `PT_INTERP`, if it is a program.
    pub interpreter: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
}

impl Root {
    /// A root in a folder.
    pub fn new(folder: impl Into<PathBuf>, platform: Platform) -> Self {
        Self { folder: folder.into(), platform, emulated: OnceLock::new() }
    }

    /// Its folder on this machine.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it is for.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// A path of this root on this machine. Links in it are not followed inside the root.
    pub fn on_disk(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    /// Whether the path, or a link of that name, is there.
    pub fn has(&self, path: &str) -> bool {
        self.on_disk(path).symlink_metadata().is_ok()
    }

    /// A program of this root, to be started in it with nothing of this machine's environment; under qemu-user where it
    /// is for another processor. `None` after a visible skip: without root's rights or qemu.
    pub fn command(&self, program: &[&str]) -> Option<Command> {
        let chroot = tool("chroot")?;
        if !superuser() {
            return None;
        }
        let mut command = Command::new(chroot);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/").arg(&self.folder);
        if self.platform != Platform::Amd64 || !cfg!(target_arch = "x86_64") {
            if !*self.emulated.get_or_init(|| self.place_emulator()) {
                skip(format_args!("{} is not installed; run .ci/setup", self.platform.qemu()));
                return None;
            }
            command.arg(format!("/{EMULATOR}"));
        }
        // What chroot and the emulator are given is a path: neither searches the root's PATH as a shell there would.
        command.arg(self.find(program[0])).args(&program[1..]);
        Some(command)
    }

    /// Starts a program of this root and waits for its end, with further environment. `None` after a visible skip.
    pub fn run(&self, program: &[&str], environment: &[(&str, &str)]) -> Option<Output> {
        Some(output(self.command(program)?.envs(environment.iter().copied())))
    }

    /// The same, with a text on its standard input.
    pub fn answer(&self, program: &[&str], environment: &[(&str, &str)], input: &str) -> Option<Output> {
        let mut command = self.command(program)?;
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let answered = until_it_starts(|| {
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A program that ends without reading is judged by its answer, not by the broken pipe.
                let _ = stdin.write_all(input.as_bytes());
            }
            child.wait_with_output()
        });
        Some(answered.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn place_emulator(&self) -> bool {
        let Some(qemu) = find_tool(self.platform.qemu()) else { return false };
        let here = self.folder.join(EMULATOR);
        fs_err::copy(qemu, &here).expect("the emulator can be copied into the root");
        fs_err::set_permissions(&here, std::fs::Permissions::from_mode(0o755)).expect("the copy is ours");
        true
    }

    /// The path of a command, searched as a shell does; a path stays as it is.
    pub fn find(&self, command: &str) -> String {
        if command.contains('/') {
            return command.to_owned();
        }
        kimg_core::variant::COMMAND_PATH
            .iter()
            .map(|folder| format!("{folder}/{command}"))
            .find(|path| self.has(path))
            .unwrap_or_else(|| panic!("{}: no program `{command}`", self.folder.display()))
    }

    /// What musl's own loader, the one of this root, says is wrong with a program or library: one line for each thing it
    /// can't find, empty when everything resolves. `None` after a visible skip.
    pub fn musl_list(&self, path: &str) -> Option<Vec<String>> {
        let loader = format!("/lib/ld-musl-{}.so.1", self.platform.musl());
        let listed = output(&mut self.command(&[&loader, "--list", path])?);
        let text = both(&listed);
        let mut wrong: Vec<String> = text
            .lines()
            .filter(|l| l.starts_with("Error ") || l.contains("not found"))
            .map(str::to_owned)
            .collect();
        if wrong.is_empty() && !listed.status.success() {
            wrong.push(format!("{}: {}", listed.status, text.trim()));
        }
        Some(wrong)
    }

    /// What `lddtree` does not find for a program, musl's own reserved names left out. `None` after a visible skip.
    pub fn lddtree(&self, path: &str) -> Option<Vec<String>> {
        let lddtree = tool("lddtree")?;
        let mut command = Command::new("/usr/bin/python3");
        command.arg(lddtree).arg("-R").arg(&self.folder).arg(path.trim_start_matches('/'));
        let listed = output(command.current_dir(&self.folder));
        assert!(listed.status.success(), "{command:?}: {}", both(&listed));
        let text = both(&listed);
        Some(
            text.lines()
                .map(str::trim)
                .filter(|line| line.ends_with("=> None") || line.contains("not found"))
                .filter(|line| !is_reserved(line.split(' ').next().unwrap_or_default()))
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Every ELF file with a dynamic section, sorted by path. The loader itself is not one of them.
    pub fn all_dynamic_elfs(&self) -> Vec<DynamicElf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder).expect("the root can be read") {
                let entry = entry.expect("the root can be read");
                let kind = entry.file_type().expect("the root can be read");
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() && entry.file_name() != EMULATOR {
                    let relative =
                        entry.path().strip_prefix(&self.folder).expect("it lies in the root").to_owned();
                    let path = format!("/{}", relative.display());
                    let bytes = fs_err::read(entry.path()).expect("the root can be read");
                    if bytes.starts_with(b"\x7fELF") && !path.starts_with("/lib/ld-musl-") {
                        found.extend(dynamic_elf(path, &bytes));
                    }
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.emulated.get() == Some(&true) {
            let _ = fs_err::remove_file(self.folder.join(EMULATOR));
        }
    }
}

/// The names that musl takes as itself (ldso/dynlink.c, `load_library`).
fn is_reserved(soname: &str) -> bool {
    let rest = soname.strip_prefix("lib");
    ["c", "pthread", "rt", "m", "dl", "util", "xnet"]
        .iter()
        .any(|name| rest.and_then(|r| r.strip_prefix(name)).is_some_and(|r| r.starts_with('.')))
}

fn dynamic_elf(path: String, bytes: &[u8]) -> Option<DynamicElf> {
    let read = match bytes.get(4) {
        Some(1) => dynamic::<FileHeader32<Endianness>>(bytes),
        _ => dynamic::<FileHeader64<Endianness>>(bytes),
    };
    let found = read.unwrap_or_else(|error| panic!("{path}: {error}"));
    found.map(|(interpreter, needed)| DynamicElf { path, interpreter, needed })
}

type Needs = (Option<String>, Vec<String>);

fn dynamic<E: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Option<Needs>> {
    let header = E::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).trim_end_matches('\0').to_owned();
    let mut interpreter = None;
    let mut entries = None;
    for segment in segments {
        if segment.p_type(endian) == PT_INTERP {
            interpreter = segment.data(endian, bytes).ok().map(text);
        }
        if let Some(found) = segment.dynamic(endian, bytes)? {
            entries = Some(found);
        }
    }
    let Some(entries) = entries else { return Ok(None) };
    // Names are offsets into the string table, which DT_STRTAB gives as an address in memory.
    let value = |tag: DynamicTag| entries.iter().find(|d| d.tag(endian) == tag).map(|d| d.val(endian));
    let table = value(DT_STRTAB).zip(value(DT_STRSZ)).and_then(|(address, size)| {
        segments.iter().find_map(|s| s.data_range(endian, bytes, address, size).ok().flatten())
    });
    let name = |offset: u64| {
        let rest = table.and_then(|t: &[u8]| t.get(usize::try_from(offset).ok()?..)).unwrap_or_default();
        text(rest.split(|b| *b == 0).next().unwrap_or_default())
    };
    let needed = entries.iter().filter(|d| d.tag(endian) == DT_NEEDED).map(|d| name(d.val(endian)));
    Ok(Some((interpreter, needed.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn musls_reserved_names_are_told_from_others() {
        assert!(is_reserved("libc.so") && is_reserved("libpthread.so.0") && is_reserved("libm.so.6"));
        assert!(!is_reserved("libmnl.so.0") && !is_reserved("libcrypto.so.1.1") && !is_reserved("libc"));
    }

    #[test]
    fn the_needs_of_an_elf_file_are_read_as_readelf_reads_them() {
        let Some(readelf) = tool("readelf") else { return };
        let own = std::env::current_exe().unwrap();
        let elf = dynamic_elf("/own".into(), &fs_err::read(&own).unwrap()).unwrap();
        let said = crate::run(Command::new(readelf).args(["-dlW"]).arg(&own));
        for name in &elf.needed {
            assert!(said.contains(&format!("Shared library: [{name}]")), "{name}\n{said}");
        }
        assert_eq!(elf.needed.len(), said.matches("(NEEDED)").count());
        assert!(said.contains(&format!("program interpreter: {}]", elf.interpreter.unwrap())));
    }
}
