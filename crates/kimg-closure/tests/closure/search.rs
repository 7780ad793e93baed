//! Where libraries are found: musl's order, case by case.

use kimg_closure::{Finding, Problem};
use kimg_core::{Classified, ErrorClass, Platform};

use crate::elf_writer::Elf;
use crate::trees::{HERE, Tree, library, path, program};

const LOADER: &str = "/lib/ld-musl-x86_64.so.1";

#[test]
fn a_program_brings_its_loader_and_the_libraries_of_its_libraries() {
    let tree = Tree::new()
        .elf("/bin/p", &program(&["liba.so", "libc.musl-x86_64.so.1"]))
        .elf("/usr/lib/liba.so", &library(&["libb.so", "libc.so"]))
        .elf("/usr/local/lib/libb.so", &library(&[]))
        .elf("/usr/lib/libb.so", &library(&["libnever.so"]))
        .elf("/usr/lib/libunused.so", &library(&[]));
    // libc.musl-x86_64.so.1 is the loader itself: its link is never opened.
    assert_eq!(tree.files(&["/bin/p"]), ["/bin/p", LOADER, "/usr/lib/liba.so", "/usr/local/lib/libb.so"]);
}

#[test]
fn the_image_s_library_path_comes_before_the_object_s_own_and_that_before_the_common_folders() {
    let tree = |runpath: &str| {
        Tree::new()
            .elf("/bin/p", &Elf { runpath: Some(runpath.to_owned()), ..program(&["liba.so"]) })
            .elf("/env/liba.so", &library(&[]))
            .elf("/own/liba.so", &library(&[]))
            .elf("/lib/liba.so", &library(&[]))
    };
    assert_eq!(tree("/own").library_path("/env").files(&["/bin/p"])[1], "/env/liba.so");
    assert_eq!(tree("/none:/own").files(&["/bin/p"])[2], "/own/liba.so");
    assert_eq!(tree("/none").files(&["/bin/p"])[2], "/lib/liba.so");
}

#[test]
fn the_search_goes_up_the_chain_of_those_who_loaded_each_other() {
    let tree = Tree::new()
        .elf("/opt/bin/p", &Elf { rpath: Some("$ORIGIN/../lib".to_owned()), ..program(&["liba.so"]) })
        .elf(
            "/opt/lib/liba.so",
            &Elf { runpath: Some("${ORIGIN}/deep".to_owned()), ..library(&["libb.so", "libc2.so"]) },
        )
        .elf("/opt/lib/libb.so", &library(&[]))
        .elf("/opt/lib/deep/libc2.so", &library(&[]));
    let files = tree.files(&["/opt/bin/p"]);
    assert_eq!(files[1..], ["/opt/bin/p", "/opt/lib/deep/libc2.so", "/opt/lib/liba.so", "/opt/lib/libb.so"]);
}

#[test]
fn origin_of_a_program_is_where_it_really_lies_and_of_a_library_where_it_was_found() {
    let tree = Tree::new()
        .link("/bin/p", "/opt/bin/p")
        .elf("/opt/bin/p", &Elf { runpath: Some("$ORIGIN/lib".to_owned()), ..program(&["liba.so"]) })
        .link("/opt/bin/lib/liba.so", "/far/liba.so")
        .elf("/far/liba.so", &Elf { runpath: Some("$ORIGIN/b".to_owned()), ..library(&["libb.so"]) })
        .elf("/opt/bin/lib/b/libb.so", &library(&[]))
        .elf("/far/b/libb.so", &library(&["libnever.so"]));
    assert!(tree.files(&["/bin/p"]).contains(&"/opt/bin/lib/b/libb.so".to_owned()));
}

#[test]
fn a_path_file_takes_the_place_of_the_common_folders_and_belongs_to_the_set() {
    let tree = Tree::new()
        .elf("/bin/p", &program(&["liba.so"]))
        .elf("/lib/liba.so", &library(&[]))
        .elf("/special/liba.so", &library(&[]))
        .data("/etc/ld-musl-x86_64.path", "/none\n/special:/lib\n");
    assert_eq!(tree.files(&["/bin/p"]), ["/bin/p", "/etc/ld-musl-x86_64.path", LOADER, "/special/liba.so"]);
}

#[test]
fn the_first_file_that_opens_wins_even_when_it_can_not_be_used() {
    let tree = |first: &Elf| {
        Tree::new()
            .elf("/bin/p", &program(&["liba.so"]))
            .elf("/lib/liba.so", first)
            .elf("/usr/lib/liba.so", &library(&[]))
    };
    let error = tree(&Elf::library(Platform::Arm64).needs(&["libc.so"])).error("/bin/p");
    assert_eq!(
        error.problem().to_string(),
        "`/lib/liba.so` is for AArch64, 64-bit; linux/amd64 wants x86-64, 64-bit"
    );
    assert_eq!(error.class(), ErrorClass::Unresolvable);
    let error = tree(&Elf::fixed(HERE)).error("/bin/p");
    assert!(matches!(error.problem(), Problem::NotALibrary { .. }), "{error}");
    let error = Tree::new().elf("/bin/p", &program(&["liba.so"])).folder("/lib/liba.so").error("/bin/p");
    assert!(error.to_string().contains("is no library (a folder)"), "{error}");
}

#[test]
fn a_32_bit_file_of_the_same_processor_is_the_wrong_one_too() {
    let wrong = Elf { bits64: false, ..Elf::program(HERE) };
    let error = Tree::new().elf("/bin/p", &wrong).error("/bin/p");
    assert!(error.to_string().contains("is for x86-64, 32-bit"), "{error}");
    let big = Elf { big: true, ..Elf::program(HERE) };
    assert!(Tree::new().elf("/bin/p", &big).error("/bin/p").to_string().contains("big-endian"));
}

#[test]
fn every_link_of_a_library_s_name_and_each_folder_is_in_the_set() {
    let tree = Tree::new()
        .link("/usr/lib64", "lib")
        .elf("/bin/p", &Elf { runpath: Some("/usr/lib64".to_owned()), ..program(&["liba.so.1"]) })
        .link("/usr/lib/liba.so.1", "liba.so.1.2")
        .link("/usr/lib/liba.so.1.2", "../share/a/real")
        .elf("/usr/share/a/real", &library(&[]));
    let closure = tree.close(&["/bin/p"]).unwrap();
    for wanted in [
        "/usr/lib64",
        "/usr/lib/liba.so.1",
        "/usr/lib/liba.so.1.2",
        "/usr/share/a",
        "/usr/share/a/real",
        "/usr",
    ] {
        assert!(closure.contains(&path(wanted)), "{wanted}");
    }
}

#[test]
fn a_name_once_loaded_is_not_searched_again() {
    // libb would find another liba in its own folder; but the name is taken.
    let tree = Tree::new()
        .elf("/bin/p", &program(&["liba.so", "libb.so"]))
        .elf("/lib/liba.so", &library(&[]))
        .elf("/lib/libb.so", &Elf { runpath: Some("/own".to_owned()), ..library(&["liba.so"]) })
        .elf("/own/liba.so", &library(&["libnever.so"]));
    assert_eq!(tree.files(&["/bin/p"]), ["/bin/p", LOADER, "/lib/liba.so", "/lib/libb.so"]);
}

#[test]
fn a_library_found_by_a_second_name_is_not_known_by_it() {
    // liba.so is the file of libb.so, already there; so libd.so's own search for liba.so is made, and finds another.
    let tree = Tree::new()
        .elf("/bin/p", &program(&["libb.so", "liba.so", "libd.so"]))
        .elf("/lib/libb.so", &library(&[]))
        .link("/lib/liba.so", "libb.so")
        .elf("/lib/libd.so", &Elf { runpath: Some("/own".to_owned()), ..library(&["liba.so"]) })
        .elf("/own/liba.so", &library(&[]));
    assert!(tree.files(&["/bin/p"]).contains(&"/own/liba.so".to_owned()));
}

#[test]
fn the_same_library_can_find_others_in_another_program() {
    let own = |folder: &str| Elf { runpath: Some(folder.to_owned()), ..program(&["liba.so"]) };
    let tree = Tree::new()
        .elf("/bin/one", &own("/one"))
        .elf("/bin/two", &own("/two"))
        .elf("/lib/liba.so", &library(&["libb.so"]))
        .elf("/one/libb.so", &library(&[]))
        .elf("/two/libb.so", &library(&[]));
    let files = tree.files(&["/bin/one", "/bin/two"]);
    assert!(
        files.contains(&"/one/libb.so".to_owned()) && files.contains(&"/two/libb.so".to_owned()),
        "{files:?}"
    );
}

#[test]
fn needs_that_go_in_a_circle_end() {
    let tree = Tree::new()
        .elf("/bin/p", &program(&["liba.so"]))
        .elf("/lib/liba.so", &library(&["libb.so"]))
        .elf("/lib/libb.so", &library(&["liba.so", "libb.so"]));
    assert_eq!(tree.files(&["/bin/p"]).len(), 4);
}

#[test]
fn a_name_with_a_slash_is_a_path() {
    let tree = Tree::new().elf("/bin/p", &program(&["/opt/x/liba.so"])).elf("/opt/x/liba.so", &library(&[]));
    assert_eq!(tree.files(&["/bin/p"])[2], "/opt/x/liba.so");
    let error = Tree::new().elf("/bin/p", &program(&["x/liba.so"])).error("/bin/p");
    assert!(matches!(error.problem(), Problem::LibraryMissing { .. }), "{error}");
}

#[test]
fn a_missing_library_is_told_with_the_folders_and_the_way_from_the_root() {
    let tree = Tree::new()
        .link("/sbin/iptables", "multi")
        .elf("/sbin/multi", &program(&["liba.so.1"]))
        .elf("/usr/lib/liba.so.1", &library(&["libgone.so.7"]));
    let error = tree.error("/sbin/iptables");
    assert_eq!(
        error.to_string(),
        "`/usr/lib/liba.so.1` needs `libgone.so.7`, which is not in /lib, /usr/local/lib, /usr/lib; \
         `/usr/lib/liba.so.1` is needed by `/sbin/multi`, which `iptables` (root: is wanted) leads to"
    );
    assert_eq!(error.hint().unwrap(), "add the package that provides `so:libgone.so.7`");
    assert_eq!(error.class(), ErrorClass::Unresolvable);
}

#[test]
fn a_loader_that_is_not_there_is_named() {
    let odd = Elf { interpreter: Some("/lib/ld-odd.so".to_owned()), ..program(&[]) };
    let error = Tree::new().elf("/bin/p", &odd).error("/bin/p");
    assert!(
        error
            .to_string()
            .starts_with("`/bin/p` asks for the loader `/lib/ld-odd.so`: `/lib/ld-odd.so` does not exist")
    );
}

#[test]
fn a_program_for_glibc_is_refused_with_these_words_even_when_something_answers_to_its_loader() {
    for name in ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-armhf.so.3", "/lib/ld-linux-aarch64.so.1"] {
        let tree =
            Tree::new().elf("/bin/p", &Elf { interpreter: Some(name.to_owned()), ..program(&["libc.so.6"]) });
        for tree in [tree.close(&["/bin/p"]), tree.elf(name, &library(&[])).close(&["/bin/p"])] {
            let error = tree.expect_err("taken, though it is for glibc");
            assert!(error.to_string().contains("is linked against glibc"), "{error}");
            assert_eq!(error.class(), ErrorClass::Unresolvable);
        }
    }
}

#[test]
fn a_static_program_brings_nothing_and_a_plugin_without_loader_its_needs() {
    let tree = Tree::new()
        .elf("/bin/s", &Elf::fixed(HERE))
        .elf("/bin/sp", &Elf { pie: true, ..Elf::library(HERE) })
        .elf("/usr/lib/xtables/libxt_x.so", &Elf::library(HERE).needs(&["libxtables.so.12", "libc.so"]))
        .elf("/usr/lib/libxtables.so.12", &library(&[]));
    assert_eq!(tree.files(&["/bin/s", "/bin/sp"]), ["/bin/s", "/bin/sp"]);
    let plugin = tree.files(&["/usr/lib/xtables/libxt_x.so"]);
    assert_eq!(plugin, [LOADER, "/usr/lib/libxtables.so.12", "/usr/lib/xtables/libxt_x.so"]);
}

#[test]
fn relative_folders_of_a_search_path_are_passed_over_and_told() {
    let tree = Tree::new()
        .elf("/bin/p", &Elf { runpath: Some("lib".to_owned()), ..program(&["liba.so"]) })
        .elf("/lib/liba.so", &library(&[]));
    let closure = tree.close(&["/bin/p"]).unwrap();
    assert!(
        matches!(&closure.findings()[0], Finding::RelativeSearchFolder { folder, .. } if folder == "lib")
    );
}

#[test]
fn libraries_of_run_time_notes_come_along_as_far_as_they_are_needed() {
    let note = r#"[{"soname":["libnew.so.2","libold.so.1"],"feature":"z","priority":"required"},
        {"soname":["libmay.so"],"feature":"may"},{"soname":["libluxury.so"],"priority":"suggested"}]"#;
    let tree = |with_old: bool| {
        let tree = Tree::new()
            .elf("/bin/p", &program(&["liba.so"]))
            .elf("/lib/liba.so", &Elf { note: Some(note.to_owned()), ..library(&[]) })
            .elf("/lib/libluxury.so", &library(&[]))
            .elf("/lib/libdeep.so", &library(&[]));
        if with_old { tree.elf("/lib/libold.so.1", &library(&["libdeep.so"])) } else { tree }
    };
    assert_eq!(tree(true).files(&["/bin/p"])[2..], ["/lib/liba.so", "/lib/libdeep.so", "/lib/libold.so.1"]);
    let findings = tree(true).close(&["/bin/p"]).unwrap().findings().to_vec();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].to_string(), "`/lib/liba.so` would load libmay.so (may), which is not there");
    assert!(matches!(tree(false).error("/bin/p").problem(), Problem::DlopenMissing { .. }));
}
