//! Scripts, links to applets, and roots that are no programs.

use kimg_closure::Problem;
use kimg_core::Classified;

use crate::elf_writer::Elf;
use crate::trees::{HERE, Tree, path, program};

fn tree() -> Tree {
    Tree::new()
        .elf("/bin/busybox", &Elf::fixed(HERE))
        .link("/bin/sh", "/bin/busybox")
        .link("/usr/bin/env", "/bin/busybox")
        .elf("/usr/bin/python3.11", &program(&[]))
        .link("/usr/bin/python3", "python3.11")
}

#[test]
fn an_applet_brings_busybox() {
    assert_eq!(tree().files(&["/bin/sh"]), ["/bin/busybox", "/bin/sh"]);
}

#[test]
fn a_script_brings_its_interpreter_and_env_what_it_starts() {
    let tree = tree().script("/usr/bin/s", "#!/usr/bin/env python3\n");
    let files = tree.files(&["/usr/bin/s"]);
    assert_eq!(files[0], "/bin/busybox");
    assert!(
        ["/usr/bin/env", "/usr/bin/python3", "/usr/bin/python3.11", "/lib/ld-musl-x86_64.so.1"]
            .iter()
            .all(|f| files.iter().any(|g| g == f)),
        "{files:?}"
    );
    let why = tree.close(&["/usr/bin/s"]).unwrap().why(&path("/usr/bin/python3.11")).unwrap().to_string();
    assert_eq!(
        why,
        "`/usr/bin/python3.11` is the target of the link `/usr/bin/python3`, \
         which is started by way of env by the script `/usr/bin/s` (root: is wanted)"
    );
}

#[test]
fn a_script_may_run_another_and_is_followed_to_the_end() {
    let tree = tree().script("/bin/inner", "#! /bin/sh -e\n").script("/bin/outer", "#!/bin/inner\n");
    assert_eq!(tree.files(&["/bin/outer"]), ["/bin/busybox", "/bin/inner", "/bin/outer", "/bin/sh"]);
}

#[test]
fn text_that_nobody_may_start_brings_no_interpreter() {
    assert_eq!(tree().data("/etc/profile", "#!/bin/sh\n").files(&["/etc/profile"]), ["/etc/profile"]);
}

#[test]
fn scripts_that_run_each_other_end_in_an_error_that_shows_the_loop() {
    let tree = tree().script("/bin/a", "#!/bin/b\n").script("/bin/b", "#!/bin/a\n");
    let error = tree.error("/bin/a").to_string();
    assert!(error.contains("`/bin/a` → `/bin/b` → `/bin/a`"), "{error}");
}

#[test]
fn what_a_script_asks_for_in_vain_is_named() {
    let error = |text: &str| tree().script("/bin/s", text).error("/bin/s");
    assert!(
        error("#!/bin/bash\n")
            .to_string()
            .contains("the script `/bin/s` asks for the interpreter `/bin/bash`")
    );
    assert!(matches!(error("#!sh\n").problem(), Problem::ScriptInterpreterRelative { .. }));
    assert!(matches!(error("#!/bin\n").problem(), Problem::NotAFile { .. }));
    assert!(error("#!/usr/bin/env perl\n").to_string().contains("has env start `perl`"));
    assert!(error("#!/usr/bin/env python3 -u\n").hint().unwrap().contains("env -S"));
}

#[test]
fn a_root_may_be_data_or_a_folder_but_must_be_there() {
    let tree = tree().data("/etc/group", "root").folder("/var/run/x");
    assert_eq!(tree.files(&["/etc/group"]), ["/etc/group"]);
    let closure = tree.close(&["/var/run"]).unwrap();
    assert_eq!(closure.len(), 2);
    let error = tree.error("/bin/kubelet");
    assert_eq!(
        error.to_string(),
        "the root `kubelet` (is wanted) is not there: `/bin/kubelet` does not exist"
    );
    assert!(error.chain().is_none());
}

#[test]
fn links_that_lead_to_each_other_are_shown() {
    let error = Tree::new().link("/bin/a", "b").link("/bin/b", "a").error("/bin/a").to_string();
    assert!(error.contains("`/bin/a` → `/bin/b`"), "{error}");
}
