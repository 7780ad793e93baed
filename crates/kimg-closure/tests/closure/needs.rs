//! The graph of needs: nodes, edges, and what leads nowhere.

use kimg_closure::{FileType, Met, Reason, platform_of};
use kimg_core::Platform;

use crate::elf_writer::Elf;
use crate::trees::{Tree, library, path, program};

#[test]
fn each_edge_has_who_asks_what_for_and_what_answers() {
    let tree = Tree::new()
        .script("/bin/start", "#!/bin/p -x\n")
        .elf("/bin/p", &program(&["liba.so.1", "libgone.so", "libc.so"]))
        .link("/lib/liba.so.1", "liba.so.1.2")
        .elf("/lib/liba.so.1.2", &library(&["libdeep.so", "liba.so.1"]));
    let found = tree.needs(&["/bin/start"]);
    let visits = found.closure().visits();
    assert_eq!(
        visits.iter().map(|v| v.what).collect::<Vec<_>>(),
        [FileType::Script, FileType::Program, FileType::Library]
    );
    let edges: Vec<String> = visits[..2]
        .iter()
        .flat_map(|visit| &visit.needs)
        .map(|need| {
            let answer = match &need.met {
                Met::By { path, links } => format!("{path} by {links:?}"),
                Met::Unmet { searched, .. } => format!("not in {}", searched.join(":")),
            };
            format!("{} -> {}: {answer}", need.of().unwrap(), need.name)
        })
        .collect();
    assert_eq!(
        edges,
        [
            "/bin/start -> /bin/p: /bin/p by []",
            "/bin/p -> /lib/ld-musl-x86_64.so.1: /lib/ld-musl-x86_64.so.1 by []",
            "/bin/p -> liba.so.1: /lib/liba.so.1.2 by [\"/lib/liba.so.1\"]",
            "/bin/p -> libgone.so: not in /lib:/usr/local/lib:/usr/lib",
            "/bin/p -> libc.so: /lib/ld-musl-x86_64.so.1 by []",
            "/lib/liba.so.1.2 -> libdeep.so: not in /lib:/usr/local/lib:/usr/lib",
            "/lib/liba.so.1.2 -> liba.so.1: /lib/liba.so.1.2 by []",
        ]
    );
    assert_eq!(found.unmet().count(), 2);
    assert_eq!(found.problems().len(), 2);
    let of = |object: usize| visits[1].objects[object].loaded_by;
    assert_eq!((of(0), of(1)), (None, Some(0)));
}

#[test]
fn what_is_missing_ends_no_walk_of_the_others() {
    let tree = Tree::new()
        .script("/bin/a", "#!/bin/gone\n")
        .script("/bin/b", "#!/usr/bin/env gone\n")
        .elf("/usr/bin/env", &program(&[]))
        .elf(
            "/bin/c",
            &Elf { interpreter: Some("/lib64/ld-linux-x86-64.so.2".into()), ..program(&["libx.so"]) },
        )
        .elf("/bin/d", &Elf::program(Platform::Arm64))
        .elf("/bin/e", &program(&["libe.so"]))
        .elf("/lib/libe.so", &library(&[]));
    let found = tree.needs(&["/bin/a", "/bin/b", "/nowhere", "/bin/c", "/bin/d", "/bin/e"]);
    let problems: Vec<String> = found.problems().iter().map(ToString::to_string).collect();
    for (part, times) in [
        ("`/bin/gone`", 1),
        ("has env start `gone`", 1),
        ("`/nowhere` does not exist", 1),
        ("is linked against glibc", 1),
        ("is for AArch64", 1),
    ] {
        assert_eq!(problems.iter().filter(|p| p.contains(part)).count(), times, "{part}: {problems:?}");
    }
    assert!(found.closure().contains(&path("/lib/libe.so")));
    let loader = found.unmet().find(|n| matches!(n.reason, Reason::Interpreter { .. })).unwrap();
    assert_eq!(loader.name, "/lib64/ld-linux-x86-64.so.2");
}

#[test]
fn the_platform_of_a_file_is_that_of_its_header_or_of_its_interpreter() {
    let tree = Tree::new()
        .elf("/bin/p", &Elf::program(Platform::Arm64))
        .link("/bin/q", "p")
        .script("/bin/s", "#!/bin/q\n")
        .script("/bin/loop", "#!/bin/loop\n")
        .data("/etc/x", "x");
    let platform = |at: &str| platform_of(&tree.files, &path(at)).unwrap();
    assert_eq!([platform("/bin/p"), platform("/bin/q"), platform("/bin/s")], [Some(Platform::Arm64); 3]);
    assert_eq!([platform("/bin/loop"), platform("/etc/x"), platform("/gone")], [None; 3]);
}
