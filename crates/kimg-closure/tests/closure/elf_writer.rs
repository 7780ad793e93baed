//! Writes the smallest ELF files that have loaders, needs and notes: nothing in them runs, but musl's loader maps them.

use kimg_core::{Content, Platform};

/// An ELF file to be. One segment maps the whole file at address 0x1000.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one bit of the file's own")]
pub(crate) struct Elf {
    pub(crate) bits64: bool,
    pub(crate) big: bool,
    pub(crate) machine: u16,
    /// 1 object file, 2 program, 3 program or library at any address.
    pub(crate) file_type: u16,
    pub(crate) interpreter: Option<String>,
    pub(crate) dynamic: bool,
    pub(crate) needed: Vec<String>,
    pub(crate) soname: Option<String>,
    pub(crate) rpath: Option<String>,
    pub(crate) runpath: Option<String>,
    pub(crate) pie: bool,
    /// `DT_FLAGS_1`, beside the bit for `pie`.
    pub(crate) flags_1: u64,
    pub(crate) note: Option<String>,
    pub(crate) sections: bool,
}

const BASE: u64 = 0x1000;

impl Elf {
    pub(crate) fn library(platform: Platform) -> Self {
        Self {
            bits64: platform.elf_is_64(),
            big: false,
            machine: platform.elf_machine(),
            file_type: 3,
            interpreter: None,
            dynamic: true,
            needed: Vec::new(),
            soname: None,
            rpath: None,
            runpath: None,
            pie: false,
            flags_1: 0,
            note: None,
            sections: true,
        }
    }

    pub(crate) fn program(platform: Platform) -> Self {
        let interpreter = Some(format!("/lib/ld-musl-{}.so.1", platform.musl()));
        Self { interpreter, pie: true, ..Self::library(platform) }
    }

    pub(crate) fn fixed(platform: Platform) -> Self {
        Self { file_type: 2, dynamic: false, ..Self::library(platform) }
    }

    pub(crate) fn needs(mut self, names: &[&str]) -> Self {
        self.needed.extend(names.iter().map(|n| (*n).to_owned()));
        self
    }

    pub(crate) fn content(&self) -> Content {
        Content::from_bytes(self.bytes())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let word = if self.bits64 { 8 } else { 4 };
        let (header, segment) = if self.bits64 { (64, 56) } else { (52, 32) };
        let segments = 1
            + usize::from(self.interpreter.is_some())
            + usize::from(self.dynamic)
            + usize::from(self.note.is_some());
        let mut body = Vec::new();
        let start = header + segment * segments;
        let mut table = Vec::new();
        let mut place = |body: &mut Vec<u8>, bytes: &[u8], kind: u32| {
            while !body.len().is_multiple_of(8) {
                body.push(0);
            }
            table.push((kind, start + body.len(), bytes.len()));
            body.extend(bytes);
        };
        if let Some(interpreter) = &self.interpreter {
            place(&mut body, &[interpreter.as_bytes(), b"\0"].concat(), 3);
        }
        if let Some(note) = &self.note {
            let mut bytes = Vec::new();
            for number in [4, u32::try_from(note.len() + 1).unwrap(), 0x407c_0c0a] {
                self.put(&mut bytes, u64::from(number), 4);
            }
            bytes.extend(b"FDO\0");
            bytes.extend(note.as_bytes());
            bytes.push(0);
            place(&mut body, &bytes, 4);
        }
        if self.dynamic {
            let mut strings = vec![0];
            let mut entries = Vec::new();
            let mut string = |text: &str| {
                let at = strings.len() as u64;
                strings.extend(text.as_bytes());
                strings.push(0);
                at
            };
            let lists = [(14, &self.soname), (15, &self.rpath), (29, &self.runpath)];
            entries.extend(self.needed.iter().map(|n| (1, string(n))));
            entries.extend(lists.into_iter().filter_map(|(tag, text)| Some((tag, string(text.as_ref()?)))));
            if self.pie || self.flags_1 != 0 {
                entries.push((0x6fff_fffb, self.flags_1 | if self.pie { 0x0800_0000 } else { 0 }));
            }
            while !(start + body.len()).is_multiple_of(8) {
                body.push(0);
            }
            entries.push((5, BASE + (start + body.len()) as u64));
            entries.push((10, strings.len() as u64));
            body.extend(strings);
            // An empty symbol table and its hash table: without them musl's loader falls.
            while !(start + body.len()).is_multiple_of(8) {
                body.push(0);
            }
            let symbols = BASE + (start + body.len()) as u64;
            body.extend([0; 24]);
            entries.extend([(6, symbols), (4, symbols + 24), (0, 0)]);
            for number in [1, 1, 0, 0] {
                self.put(&mut body, number, 4);
            }
            let mut bytes = Vec::new();
            for (tag, value) in entries {
                self.put(&mut bytes, tag, word);
                self.put(&mut bytes, value, word);
            }
            while !(start + body.len()).is_multiple_of(8) {
                body.push(0);
            }
            table.push((2, start + body.len(), bytes.len()));
            body.extend(bytes);
        }
        let size = start + body.len();
        table.insert(0, (1, 0, size));

        let mut file = b"\x7fELF".to_vec();
        file.extend([if self.bits64 { 2 } else { 1 }, if self.big { 2 } else { 1 }, 1, 0]);
        file.extend([0; 8]);
        self.put(&mut file, u64::from(self.file_type), 2);
        self.put(&mut file, u64::from(self.machine), 2);
        self.put(&mut file, 1, 4);
        self.put(&mut file, 0, word);
        self.put(&mut file, header as u64, word);
        self.put(&mut file, if self.sections { size as u64 } else { 0 }, word);
        self.put(&mut file, 0, 4);
        let section = if self.bits64 { 64 } else { 40 };
        for number in [header, segment, segments, section, usize::from(self.sections), 0] {
            self.put(&mut file, number as u64, 2);
        }
        for (kind, offset, length) in table {
            let (offset, length) = (offset as u64, length as u64);
            self.put(&mut file, u64::from(kind), 4);
            if self.bits64 {
                self.put(&mut file, 4, 4);
            }
            for value in [offset, BASE + offset, BASE + offset, length, length] {
                self.put(&mut file, value, word);
            }
            if !self.bits64 {
                self.put(&mut file, 4, 4);
            }
            self.put(&mut file, if kind == 1 { 0x1000 } else { 4 }, word);
        }
        file.extend(body);
        if self.sections {
            file.extend(vec![0; section]);
        }
        file
    }

    fn put(&self, bytes: &mut Vec<u8>, value: u64, size: usize) {
        if self.big {
            bytes.extend(&value.to_be_bytes()[8 - size..]);
        } else {
            bytes.extend(&value.to_le_bytes()[..size]);
        }
    }
}
