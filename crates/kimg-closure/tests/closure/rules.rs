//! Rules, and which root a path belongs to.

use kimg_closure::{Finding, Problem, Rules};
use kimg_core::Classified;

use crate::elf_writer::Elf;
use crate::trees::{HERE, Tree, library, path, program};

const PLUGINS: &str = r#"
    [[rule]]
    name = "plugins"
    program = ["multi"]
    files = ["/usr/lib/x/*.so", "/etc/x.conf"]
    reason = "loads them by name"
"#;

fn tree() -> Tree {
    Tree::new()
        .link("/sbin/iptables", "multi")
        .link("/sbin/ip6tables", "multi")
        .elf("/sbin/multi", &Elf { runpath: Some("/own".to_owned()), ..program(&["liba.so"]) })
        .elf("/lib/liba.so", &library(&[]))
        .elf("/usr/lib/x/one.so", &library(&["liba.so", "libb.so"]))
        .link("/usr/lib/x/two.so", "one.so")
        .link("/usr/lib/x/nowhere.so", "gone")
        .elf("/usr/lib/x/deep/three.so", &library(&["libnever.so"]))
        .elf("/own/libb.so", &library(&[]))
        .rules(PLUGINS)
}

#[test]
fn a_rule_holds_for_the_program_behind_any_of_its_links_and_its_plugins_are_walked_in_its_process() {
    let files = tree().files(&["/sbin/ip6tables"]);
    // libb.so is only in the program's own search path: what it loads finds it there.
    let expected = [
        "/lib/ld-musl-x86_64.so.1",
        "/lib/liba.so",
        "/own/libb.so",
        "/sbin/ip6tables",
        "/sbin/multi",
        "/usr/lib/x/one.so",
        "/usr/lib/x/two.so",
    ];
    assert_eq!(files, expected);
}

#[test]
fn what_a_rule_names_in_vain_is_a_finding_or_an_error() {
    let closure = tree().close(&["/sbin/iptables"]).unwrap();
    let [Finding::RuleFilesMissing { rule, patterns, all, .. }] = closure.findings() else { panic!() };
    assert_eq!((rule.as_str(), &patterns[..], *all), ("plugins", &["/etc/x.conf".to_owned()][..], false));
    let strict = PLUGINS.replace("reason", "required = true\nreason");
    let error = tree().rules(&strict).error("/sbin/iptables");
    assert!(
        matches!(error.problem(), Problem::RuleUnmet { pattern, .. } if pattern == "/etc/x.conf"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("`plugins`"));
}

#[test]
fn a_rule_s_program_has_its_own_rules_and_needs() {
    let more =
        "[[rule]]\nname = 'more'\nprogram = ['/etc/x.conf']\nfiles = ['/bin/other']\nreason = 'starts it'\n";
    let tree = tree()
        .data("/etc/x.conf", "")
        .elf("/bin/other", &program(&["libc3.so"]))
        .elf("/lib/libc3.so", &library(&[]));
    let closure = tree.rules(more).close(&["/sbin/iptables"]).unwrap();
    assert_eq!(
        closure.why(&path("/lib/libc3.so")).unwrap().to_string(),
        "`/lib/libc3.so` is needed by `/bin/other`, which comes by rule `more` (starts it) with `/etc/x.conf`, \
         which comes by rule `plugins` (loads them by name) with `/sbin/multi`, \
         which `iptables` (root: is wanted) leads to"
    );
}

#[test]
fn wildcards_below_a_folder_that_is_a_link_match_and_bring_the_link() {
    let rules = "[[rule]]\nname = 'r'\nprogram = ['p']\nfiles = ['/usr/lib64/x/*.so']\nreason = 'r'\n";
    let tree = Tree::new()
        .elf("/bin/p", &Elf::fixed(HERE))
        .link("/usr/lib64", "lib")
        .elf("/usr/lib/x/one.so", &library(&[]))
        .rules(rules);
    assert_eq!(tree.files(&["/bin/p"]), ["/bin/p", "/usr/lib/x/one.so", "/usr/lib64"]);
}

#[test]
fn a_path_belongs_to_the_first_root_that_reaches_it_whatever_roots_follow() {
    let tree = tree()
        .elf("/bin/q", &program(&["liba.so", "libq.so"]))
        .elf("/lib/libq.so", &library(&["libb.so"]))
        .elf("/lib/libb.so", &library(&[]));
    let alone = tree.close(&["/bin/q"]).unwrap();
    let first = tree.close(&["/bin/q", "/sbin/iptables"]).unwrap();
    for (path, reason) in alone.iter() {
        assert_eq!((first.root_of(path), first.why(path)), (Some(0), alone.why(path)), "{reason:?}");
    }
    assert_eq!(first.root_of(&path("/sbin/multi")), Some(1));
    let second = tree.close(&["/sbin/iptables", "/bin/q"]).unwrap();
    assert_eq!(second.root_of(&path("/lib/liba.so")), Some(0));
    assert_eq!(second.root_of(&path("/lib/libq.so")), Some(1));
    let paths = |c: &kimg_closure::Closure| c.iter().map(|(p, _)| p.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&first), paths(&second));
}

#[test]
fn the_builtin_rules_want_certificates_for_kubelet_and_take_accounts_if_they_are_there() {
    let mut tree = Tree::new().elf("/usr/bin/kubelet", &program(&["libc.so"]));
    tree.rules = Rules::builtin();
    let error = tree.error("/usr/bin/kubelet").to_string();
    assert!(error.contains("needs `/etc/ssl/certs/ca-certificates.crt` (crypto/x509 reads"), "{error}");
    let tree = tree
        .data("/etc/ssl/certs/ca-certificates.crt", "")
        .link("/etc/ssl/cert.pem", "certs/ca-certificates.crt")
        .data("/etc/passwd", "");
    let files = tree.files(&["/usr/bin/kubelet"]);
    let expected = [
        "/etc/passwd",
        "/etc/ssl/cert.pem",
        "/etc/ssl/certs/ca-certificates.crt",
        "/lib/ld-musl-x86_64.so.1",
        "/usr/bin/kubelet",
    ];
    assert_eq!(files, expected);
}
