use super::*;
use crate::recipe::{Link, Modules};
use flate2::Compression;
use flate2::write::GzEncoder;

const GO_MOD: &str = "module example.org/tool // the tool\n\ngo 1.22.3\n\nrequire example.org/x v1.0.0\n";

fn archive(files: &[(&str, &str)]) -> Content {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    Content::from_bytes(tar.into_inner().unwrap().finish().unwrap())
}

fn recipe(layout: Layout) -> Recipe {
    Recipe {
        what: "tool".into(),
        layout,
        commands: vec![],
        tags: vec![],
        variables: std::collections::BTreeMap::new(),
        cgo: false,
        link: Link::Static,
        modules: Modules::Vendored,
    }
}

#[test]
fn an_archive_says_the_same_of_itself_with_a_folder_around_it_and_without() {
    let inner = ("vendor/example.org/x/go.mod", "module example.org/x\n\ngo 1.99\n");
    let bare =
        archive(&[inner, ("go.mod", GO_MOD), (".go-version", "1.22.5\n"), ("vendor/modules.txt", "#\n")]);
    let around = archive(&[
        ("tool-1.0/vendor/example.org/x/go.mod", inner.1),
        ("tool-1.0/go.mod", GO_MOD),
        ("tool-1.0/.go-version", "1.22.5\n"),
        ("tool-1.0/vendor/modules.txt", "#\n"),
    ]);
    let facts = Source::Archive(bare).facts("tool").unwrap();
    assert_eq!(facts, Source::Archive(around).facts("tool").unwrap());
    assert_eq!(facts.module.as_deref(), Some("example.org/tool"));
    let needed = Needed { version: GoVersion::new(1, 22, 3), says: "its go.mod".into() };
    assert_eq!(facts.needed, Some(needed));
    assert_eq!(facts.upstream.as_deref(), Some("1.22.5"));
    assert!(facts.vendored && !facts.workspace);
    // As the cache keeps it.
    let kept = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&kept).unwrap(), facts);
}

#[test]
fn a_workspace_needs_what_it_says_or_what_its_module_says_whichever_is_newer() {
    let source =
        archive(&[("go.mod", "module k\n\ngo 1.22.0\n"), ("go.work", "go 1.22.4\n\nuse (\n\t.\n)\n")]);
    let facts = Source::Archive(source).facts("k").unwrap();
    let needed = Needed { version: GoVersion::new(1, 22, 4), says: "its go.work".into() };
    assert_eq!(facts.needed, Some(needed));
    assert!(facts.workspace && !facts.vendored);
}

#[test]
fn a_source_is_laid_out_under_its_import_path() {
    let work = tempfile::tempdir().unwrap();
    let files = [("tool-1.0/go.mod", GO_MOD), ("tool-1.0/main.go", "package main\n")];
    let source = Source::Archive(archive(&files));
    let (facts, digest) = (source.facts("tool").unwrap(), source.digest("tool").unwrap());
    let unpacked = source.unpack(&recipe(Layout::Gopath(None)), &facts, digest, work.path()).unwrap();
    assert!(unpacked.root.ends_with("gopath/src/example.org/tool"), "{unpacked:?}");
    assert!(unpacked.root.join("main.go").is_file());
    let outside = Layout::Gopath(Some("../../x".into()));
    assert!(source.unpack(&recipe(outside), &facts, digest, work.path()).is_err());
    drop(unpacked);
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0, "copies are removed");
}

#[test]
fn a_folders_digest_is_of_names_modes_links_and_bytes_and_not_of_the_place() {
    let (one, two, work) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&one, &two] {
        fs::create_dir_all(folder.path().join("cmd/.git")).unwrap();
        fs::write(folder.path().join("cmd/main.go"), "package main\n").unwrap();
        fs_err::os::unix::fs::symlink("../go.mod", folder.path().join("cmd/link")).unwrap();
    }
    fs::write(two.path().join("cmd/.git/HEAD"), "ref").unwrap();
    let digest = |folder: &TempDir| Source::Folder(folder.path().to_owned()).digest("x").unwrap();
    let first = digest(&one);
    assert_eq!(first, digest(&two));
    let source = Source::Folder(one.path().to_owned());
    source.unpack(&recipe(Layout::Modules), &Facts::default(), first, work.path()).unwrap();
    fs::write(two.path().join("cmd/main.go"), "package other\n").unwrap();
    assert_ne!(first, digest(&two));
    let changed = Source::Folder(two.path().to_owned())
        .unpack(&recipe(Layout::Modules), &Facts::default(), first, work.path())
        .unwrap_err();
    assert!(changed.to_string().contains("changed while it was copied"), "{changed}");
    fs_err::os::unix::fs::symlink("../../nowhere/at/all", one.path().join("cmd/nowhere")).unwrap();
    assert_ne!(digest(&one), first);
    fs_err::os::unix::fs::symlink("/etc/passwd", one.path().join("cmd/out")).unwrap();
    let error = Source::Folder(one.path().to_owned()).digest("x").unwrap_err();
    assert!(error.to_string().contains("leads out"), "{error}");
}

#[test]
fn what_is_no_archive_is_refused_with_the_reason() {
    let error = Source::Archive(Content::from_bytes(*b"\xfd7zXZ\0 and so on")).facts("tool").unwrap_err();
    assert!(error.to_string().contains("xz"), "{error}");
    let error = Source::Archive(Content::from_bytes("no archive".repeat(100))).facts("tool").unwrap_err();
    assert!(matches!(error, GoError::Source { .. }), "{error}");
}
