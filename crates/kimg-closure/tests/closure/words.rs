//! What `kimg why` prints.

use std::fmt::Write as _;

use kimg_closure::{Request, Root, close};

use crate::elf_writer::Elf;
use crate::trees::{Tree, library, path, program};

#[test]
fn every_path_says_why_it_is_there() {
    let tree = Tree::new()
        .link("/usr/sbin/iptables", "/sbin/multi")
        .elf("/sbin/multi", &Elf { runpath: Some("/usr/lib64".to_owned()), ..program(&["libxtables.so.12"]) })
        .link("/usr/lib64", "lib")
        .link("/usr/lib/libxtables.so.12", "libxtables.so.12.7.0")
        .elf("/usr/lib/libxtables.so.12.7.0", &library(&["libz.so.1"]))
        .elf("/usr/lib/libz.so.1", &library(&[]))
        .elf("/usr/lib/xtables/libxt_comment.so", &library(&["libxtables.so.12"]))
        .data("/etc/ld-musl-x86_64.path", "/usr/lib")
        .elf("/usr/bin/kubelet", &program(&["libz.so.1"]))
        .rules(
            "[[rule]]\nname = 'iptables-base'\nprogram = ['multi']\nfiles = ['/usr/lib/xtables/*.so']\n\
             reason = 'every rule carries a comment'\n",
        );
    let root = |at: &str, name: &str, reason: &str| Root {
        path: path(at),
        name: name.into(),
        reason: reason.into(),
    };
    let closure = close(&Request {
        tree: &tree.files,
        platform: tree.platform,
        roots: &[
            root("/usr/sbin/iptables", "iptables", "sets up service and pod rules"),
            root("/usr/bin/kubelet", "/usr/bin/kube*", "the node agent"),
        ],
        rules: &tree.rules,
        library_path: &[],
        facts: &kimg_closure::MemoryFacts::default(),
    })
    .unwrap();
    let mut text = String::new();
    for (path, _) in closure.iter() {
        writeln!(text, "{}", closure.why(path).unwrap()).unwrap();
    }
    insta::assert_snapshot!(text);
}
