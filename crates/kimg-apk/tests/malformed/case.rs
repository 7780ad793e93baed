//! One malformed input, what is expected of it, and whether that came.

use std::fs::{read_dir, remove_file};
use std::io::{self, Read};
use std::path::PathBuf;

use kimg_apk::{ApkError, FieldProblem, IndexError, KeyRing, Limits, Package, Problem, Record};
use kimg_apk::{read_index, read_package};
use kimg_core::{Classified, Content, ContentSink, DigestWriter, ImagePath, Kind, ReadSeek};

use crate::made::signed::{self, INFO, control, data, datahash, signed_package};

/// What is read.
pub(crate) enum Input {
    Index(Vec<u8>),
    /// For `x86_64`.
    Package {
        bytes: Vec<u8>,
        record: Option<Box<Record>>,
        keys: KeyRing,
    },
}

/// A malformed input. It is made when its turn comes, so that all of them are never in memory together.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) make: Box<dyn Fn() -> Input>,
    /// What [`outcome`] begins with: `10 WrongSignature`, or `read: /a file`.
    pub(crate) expected: String,
}

/// Collects cases of one kind.
pub(crate) struct Cases {
    kind: &'static str,
    pub(crate) all: Vec<Case>,
}

impl Cases {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, all: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: impl AsRef<str>, expected: &str, make: impl Fn() -> Input + 'static) {
        let name = format!("{}: {}", self.kind, name.as_ref().escape_debug());
        self.all.push(Case { name, make: Box::new(make), expected: expected.to_owned() });
    }

    /// An index as it is, signature and all.
    pub(crate) fn index(&mut self, name: impl AsRef<str>, expected: &str, bytes: Vec<u8>) {
        self.add(name, expected, move || Input::Index(bytes.clone()));
    }

    /// A signed index with this text.
    pub(crate) fn index_text(&mut self, name: impl AsRef<str>, expected: &str, text: impl Into<Vec<u8>>) {
        let text = text.into();
        self.add(name, expected, move || Input::Index(signed::signed_index(&signed::index_tar(&text))));
    }

    /// A package that no index vouches for.
    pub(crate) fn package(&mut self, name: impl AsRef<str>, expected: &str, bytes: Vec<u8>) {
        self.add(name, expected, move || alone(bytes.clone()));
    }

    /// A signed package with this `.PKGINFO`, the right `datahash` behind it.
    pub(crate) fn info(&mut self, name: impl AsRef<str>, expected: &str, info: impl Into<Vec<u8>>) {
        let mut info = info.into();
        let data = data(b"");
        info.extend(datahash(&data).bytes());
        self.package(name, expected, signed_package(&control(&info), &data));
    }

    /// A signed package whose data member holds this tar, and its closing zeros.
    pub(crate) fn data(&mut self, name: impl AsRef<str>, expected: &str, tar: Vec<u8>) {
        self.add(name, expected, move || around(&data(&tar)));
    }
}

/// A package that no index vouches for.
pub(crate) fn alone(bytes: Vec<u8>) -> Input {
    Input::Package { bytes, record: None, keys: signed::ring() }
}

/// A signed package with this data member.
pub(crate) fn around(data: &[u8]) -> Input {
    let control = control([INFO, &datahash(data)].concat().as_bytes());
    alone(signed_package(&control, data))
}

/// Reads it, and says in short what came of that: exit code and problem, or what was read.
pub(crate) fn outcome(input: &Input, sink: &mut Disk) -> String {
    let limits = Limits::default();
    match input {
        Input::Index(bytes) => read_index(bytes, &signed::ring(), &limits).map(|index| {
            let packages = index.packages.iter().take(20).map(Record::id);
            let unusable = index.unusable.iter().take(20).map(|found| {
                assert!(
                    found.reason.len() < 2000 && !found.reason.contains(char::is_control),
                    "{:?}",
                    found.reason
                );
                format!("unusable {}", found.name)
            });
            packages.chain(unusable).collect::<Vec<_>>().join(", ")
        }),
        Input::Package { bytes, record, keys } => {
            read_package(bytes, keys, record.as_deref(), "x86_64", &limits, sink)
                .map(|package| listed(&package))
        }
    }
    .map_or_else(|error| refused(&error), |read| format!("read: {read}"))
}

/// The paths, as many as fit into a line.
fn listed(package: &Package) -> String {
    let mut text = String::new();
    for (path, entry) in package.entries.iter().take(20) {
        let what = match &entry.kind {
            Kind::Directory => "folder".to_owned(),
            Kind::File { inode: None, .. } => "file".to_owned(),
            Kind::File { inode: Some(first), .. } => format!("as {first}"),
            Kind::Symlink { target } => format!("-> {target}"),
        };
        for part in [if text.is_empty() { "" } else { ", " }, path.as_str(), " ", &what] {
            text.push_str(part);
        }
    }
    text
}

fn refused(error: &ApkError) -> String {
    // Nothing of the input reaches a terminal as it is.
    let mut told = format!("{error} {}", error.hint().unwrap_or_default());
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        told += &inner.to_string();
        source = inner.source();
    }
    assert!(told.len() < 4000 && !told.contains(char::is_control), "{}", told.escape_debug());
    let problem = match &error.problem {
        Problem::Limit { what, .. } => format!("Limit {what}"),
        Problem::Tar { member, reason } => format!("Tar {member:?} {reason}"),
        Problem::Gzip { member, .. } => format!("Gzip {member:?}"),
        Problem::MissingEntry { member, name } => format!("MissingEntry {member:?} {name}"),
        Problem::MissingField(field) => format!("MissingField {field}"),
        Problem::BadField { field, .. } => format!("BadField {field}"),
        Problem::UnsupportedEntry { kind, .. } => format!("UnsupportedEntry {kind}"),
        Problem::Index(error) => match error {
            IndexError::TooLarge { .. } => "Index TooLarge".to_owned(),
            IndexError::Limit { what, .. } => format!("Index Limit {what}"),
            IndexError::NotAField { .. } => "Index NotAField".to_owned(),
            IndexError::Twice { letter, .. } => format!("Index Twice {letter}"),
            IndexError::Missing { letter, .. } => format!("Index Missing {letter}"),
            IndexError::Field { letter, problem, .. } => {
                let problem = match problem {
                    FieldProblem::Number(_) => "Number",
                    FieldProblem::Identity(_) => "Identity",
                    FieldProblem::FileName(_) => "FileName",
                };
                format!("Index Field {letter} {problem}")
            }
        },
        // The name of the variant, which `Debug` begins with.
        other => {
            let text = format!("{other:?}");
            text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
        }
    };
    format!("{} {problem}", error.class().exit_code())
}

/// Keeps the bytes of files in a folder, each whole or not at all, and takes them away again.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    whole: Vec<PathBuf>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), whole: Vec::new() }
    }

    /// How many files lie there that were not stored whole. Those that were are removed.
    pub(crate) fn left(&mut self) -> usize {
        for path in self.whole.drain(..) {
            remove_file(path).unwrap();
        }
        read_dir(self.folder.path()).unwrap().count()
    }
}

impl ContentSink for Disk {
    fn store(&mut self, _path: &ImagePath, reader: &mut dyn Read) -> io::Result<Content> {
        let mut writer = DigestWriter::new(tempfile::NamedTempFile::new_in(self.folder.path())?);
        io::copy(reader, &mut writer)?;
        let (file, digest, size) = writer.finish();
        let path = self.folder.path().join(format!("whole-{}", self.whole.len()));
        file.persist(&path).map_err(|error| error.error)?;
        self.whole.push(path.clone());
        Ok(Content::new(digest, size, std::sync::Arc::new(OnDisk(path))))
    }
}

#[derive(Debug)]
struct OnDisk(PathBuf);

impl kimg_core::ContentSource for OnDisk {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(fs_err::File::open(&self.0)?))
    }
}
