//! Any bytes as a program, and as a library that a good program needs: read, walked and checked; what is found lies in
//! the root.
#![no_main]

use kimg_closure::{MemoryFacts, Request, Root, Rules, check, needs, read_elf, read_symbols};
use kimg_core::{Content, Entry, FileTree, ImagePath, Origin, Platform};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let content = Content::from_bytes(bytes);
    let facts = read_elf(&content);
    let _ = read_symbols(&content);
    let platform = match facts {
        Ok(Some(facts)) if facts.machine == Platform::ArmV7.elf_machine() => Platform::ArmV7,
        _ => Platform::Amd64,
    };
    let made = || Origin::generated("fuzz");
    let path = |text: &str| ImagePath::new(text).expect("it is one");
    let mut tree = FileTree::new();
    let places =
        ["/bin/p", "/lib/ld-musl-x86_64.so.1", "/lib64/ld-linux-x86-64.so.2", "/lib/libx.so", "/etc/passwd"];
    for place in places {
        tree.insert(path(place), Entry::file(content.clone(), 0o755, made()));
    }
    tree.insert(path("/lib/liby.so"), Entry::symlink("../../../lib/libx.so", made()));
    tree.add_parents(&made());
    let found = needs(&Request {
        tree: &tree,
        platform,
        roots: &[Root { path: path("/bin/p"), name: "p".into(), reason: "is made up".into() }],
        rules: &Rules::none(),
        library_path: &[],
        facts: &MemoryFacts::default(),
    });
    assert!(found.closure().iter().all(|(path, _)| tree.get(path).is_some()));
    check(found.closure(), &tree);
});
