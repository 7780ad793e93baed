//! kube-proxy's image takes the form of iptables that the machine uses: its script, run by Alpine's own busybox.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use kimg_core::Platform;
use kimg_core::variant::{FileRule, resolve};
use kimg_testkit::{Root, both, run};

/// The script as the variant has it.
fn rule() -> FileRule {
    let known = kimg_build::variants::Variants::built_in().unwrap();
    let variant = resolve("kube-proxy", &known.written).unwrap();
    variant.files.into_iter().find(|file| file.path.as_str().contains("iptables")).unwrap()
}

/// Alpine's own root, with the script where it belongs and programs in the place of both forms, which say what they are
/// told to in files.
fn root(platform: Platform) -> Option<(kimg_testkit::TempDir, Root)> {
    let real = kimg_testkit::real()?;
    let folder = program::folder();
    run(Command::new("tar").arg("-xzf").arg(real.minirootfs(platform)).arg("-C").arg(folder.path()));
    let root = Root::new(folder.path(), platform);
    let rule = rule();
    let write = |path: &str, text: &str| {
        let at = root.on_disk(path);
        fs_err::create_dir_all(at.parent().unwrap()).unwrap();
        fs_err::write(&at, text).unwrap();
        fs_err::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    write(rule.path.as_str(), rule.text.trim_start_matches('\n'));
    for link in &rule.links {
        symlink(rule.path.as_str(), root.on_disk(link.as_str())).unwrap();
    }
    for form in ["legacy", "nft"] {
        // As the real ones do, it answers by the name that it is called by, or else by its first word.
        let program = format!(
            "#!/bin/sh\n\
             name=${{0##*/}}; [ \"$name\" != xtables-{form}-multi ] || {{ name=$1; shift; }}\n\
             echo \"{form} $name $*\" >>/asked\n\
             case $name in\n\
             *-save) [ ! -e /slow-{form} ] || exec /bin/busybox sleep 60; /bin/busybox cat \"/rules-{form}-$name\" 2>/dev/null;;\n\
             *) echo \"$name ({form}) $*\";;\n\
             esac\n"
        );
        write(&format!("/sbin/xtables-{form}-multi"), &program);
    }
    Some((folder, root))
}

/// What one machine has, and what is taken there.
struct Case {
    what: &'static str,
    /// Files of a machine: `rules-FORM-PROGRAM` and what they hold.
    files: Vec<(&'static str, String)>,
    taken: &'static str,
}

fn cases() -> Vec<Case> {
    let rules = |count: usize| {
        format!("*filter\n:INPUT ACCEPT [0:0]\n{}COMMIT\n", "-A INPUT -j ACCEPT\n".repeat(count))
    };
    let hint = |name: &str| format!("*mangle\n:{name} - [0:0]\nCOMMIT\n");
    let case = |what, files, taken| Case { what, files, taken };
    vec![
        case("nobody has written rules", vec![], "nft"),
        case(
            "many legacy rules",
            vec![("rules-legacy-iptables-save", rules(12)), ("rules-nft-iptables-save", rules(40))],
            "legacy",
        ),
        case(
            "ten in both families together",
            vec![
                ("rules-legacy-iptables-save", rules(4)),
                ("rules-legacy-ip6tables-save", rules(6)),
                ("rules-nft-iptables-save", rules(40)),
            ],
            "legacy",
        ),
        case(
            "few legacy rules, more of nft",
            vec![
                ("rules-legacy-iptables-save", rules(3)),
                ("rules-nft-iptables-save", rules(2)),
                ("rules-nft-ip6tables-save", rules(2)),
            ],
            "nft",
        ),
        case(
            "few legacy rules, fewer of nft",
            vec![("rules-legacy-iptables-save", rules(3)), ("rules-nft-iptables-save", rules(2))],
            "legacy",
        ),
        case(
            "as many of each",
            vec![("rules-legacy-iptables-save", rules(3)), ("rules-nft-iptables-save", rules(3))],
            "nft",
        ),
        case(
            "the kubelet's hint in nft",
            vec![
                ("rules-legacy-iptables-save", rules(50)),
                ("rules-nft-iptables-save", hint("KUBE-IPTABLES-HINT")),
            ],
            "nft",
        ),
        case(
            "its older canary in nft, for IPv6",
            vec![
                ("rules-legacy-iptables-save", rules(50)),
                ("rules-nft-ip6tables-save", hint("KUBE-KUBELET-CANARY")),
            ],
            "nft",
        ),
        case(
            "its hint in legacy",
            vec![
                ("rules-legacy-iptables-save", hint("KUBE-IPTABLES-HINT")),
                ("rules-nft-iptables-save", rules(50)),
            ],
            "legacy",
        ),
        case(
            "a chain that only begins like it",
            vec![("rules-legacy-iptables-save", hint("KUBE-HINT")), ("rules-nft-iptables-save", rules(5))],
            "nft",
        ),
    ]
}

/// Does what one machine would see, and gives what the first call says.
fn chosen(root: &Root, case: &Case) -> Option<String> {
    let rule = rule();
    for name in ["asked", "slow-nft", "slow-legacy"] {
        let _ = std::fs::remove_file(root.on_disk(name));
    }
    for (form, program) in
        ["legacy", "nft"].iter().flat_map(|form| ["iptables-save", "ip6tables-save"].map(|p| (form, p)))
    {
        let _ = std::fs::remove_file(root.on_disk(&format!("rules-{form}-{program}")));
    }
    for (name, text) in &case.files {
        fs_err::write(root.on_disk(name), text).unwrap();
    }
    for link in &rule.links {
        let at = root.on_disk(link.as_str());
        let _ = std::fs::remove_file(&at);
        symlink(rule.path.as_str(), at).unwrap();
    }
    let output = root.run(&["iptables", "-L", "a b"], &[])?;
    assert!(output.status.success(), "{}: {}", case.what, both(&output));
    Some(both(&output))
}

fn every_case_on(platform: Platform) {
    let Some((_folder, root)) = root(platform) else { return };
    for case in cases() {
        let Some(said) = chosen(&root, &case) else { return };
        assert_eq!(said, format!("iptables ({}) -L a b\n", case.taken), "{}", case.what);
    }
    // From then on the name is the program, with no question before it; the other names choose for themselves.
    let chosen_link = std::fs::read_link(root.on_disk("/usr/local/sbin/iptables")).unwrap();
    assert_eq!(chosen_link, std::path::Path::new("/sbin/xtables-nft-multi"));
    fs_err::write(root.on_disk("/asked"), "").unwrap();
    let output = root.run(&["iptables", "-S"], &[]).unwrap();
    assert_eq!(both(&output), "iptables (nft) -S\n");
    assert_eq!(fs_err::read_to_string(root.on_disk("/asked")).unwrap(), "nft iptables -S\n");
    assert_eq!(both(&root.run(&["ip6tables", "-S"], &[]).unwrap()), "ip6tables (nft) -S\n");
    let left: Vec<_> =
        fs_err::read_dir(root.on_disk("/usr/local/sbin")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 7, "{left:?}");
}

#[test]
fn the_form_that_the_machine_uses_is_taken() {
    every_case_on(Platform::Amd64);
}

#[test]
fn the_shells_of_other_processors_read_the_script() {
    // Its programs can't be started there: qemu-user hands each to the kernel, which knows them only by binfmt.
    for platform in [Platform::Arm64, Platform::ArmV7] {
        let Some((_folder, root)) = root(platform) else { return };
        let script = rule().path.to_string();
        let Some(output) = root.run(&["/bin/busybox", "sh", "-n", &script], &[]) else { return };
        assert!(output.status.success(), "{platform}: {}", both(&output));
        fs_err::write(root.on_disk(&script), "if then fi").unwrap();
        let output = root.run(&["/bin/busybox", "sh", "-n", &script], &[]).unwrap();
        assert!(!output.status.success(), "{platform}: a mistake would not be noticed");
    }
}

#[test]
fn a_form_that_does_not_answer_is_not_waited_for() {
    let Some((_folder, root)) = root(Platform::Amd64) else { return };
    let case = Case {
        what: "nft hangs",
        files: vec![("slow-nft", String::new()), ("rules-legacy-iptables-save", "-A a\n".into())],
        taken: "legacy",
    };
    // A rule of nft's table takes its time on machines with very many; five seconds for each family, asked twice.
    let begin = std::time::Instant::now();
    let Some(said) = chosen(&root, &case) else { return };
    assert_eq!(said, format!("iptables ({}) -L a b\n", case.taken));
    assert!(begin.elapsed() < std::time::Duration::from_secs(40), "{:?}", begin.elapsed());
}

#[test]
fn an_image_with_one_form_has_no_script() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let mut files = program::kimg_on(&real, folder.path(), "files");
    let list =
        program::success(files.args(["--variant", "kube-proxy", "--arch", "amd64", "--format", "csv"]));
    assert!(list.contains("/sbin/xtables-legacy-multi") && !list.contains("/usr/local/sbin"), "{list}");
    assert!(!list.contains("busybox"), "{list}");
}

#[test]
fn an_image_with_both_forms_has_the_script_and_the_shell_that_reads_it() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    // A stand-in for the form that the test repository has not: a program of one's own, under its name.
    let program = real.package(Platform::Amd64, "socat");
    run(Command::new("tar").args(["--warning=none", "-xzf"]).arg(program).arg("-C").arg(folder.path()));
    let settings = "[[program]]\nname = \"nft\"\npath = \"usr/bin/socat\"\ninstall = \"/usr/sbin/iptables-nft-save\"\nplatform = \"amd64\"\n";
    fs_err::write(folder.path().join("kimg.toml"), settings).unwrap();
    let mut files = program::kimg_on(&real, folder.path(), "files");
    let list =
        program::success(files.args(["--variant", "kube-proxy", "--arch", "amd64", "--format", "csv"]));
    for path in [
        "/usr/local/sbin/iptables-of-the-machine",
        "/usr/local/sbin/ip6tables-restore",
        "/bin/sh",
        "/bin/busybox",
    ] {
        assert!(list.lines().any(|line| line.starts_with(&format!("{path},"))), "{path}: {list}");
    }
}
