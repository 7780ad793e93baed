//! Closures over real packages of three architectures, judged by the real loaders, by lddtree, and by the programs.

use std::collections::BTreeSet;
use std::process::Command;

use kimg_closure::{Closure, ElfKind, FileFacts, Finding, Problem, Reason, Rules, read_elf};
use kimg_core::{Classified, FileTree, ImagePath, Platform};

use crate::real_tree::{Laid, close_commands, packages, skipped};
use crate::trees::path;

/// What the plain and kubeadm images start, as far as the real input has it.
const COMMANDS: [&str; 20] = [
    "kubelet",
    "mount",
    "umount",
    "nsenter",
    "blkid",
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "socat",
    "ip",
    "tc",
    "ethtool",
    "modprobe",
    "du",
    "find",
    "ebtables",
    "sh",
    "kubeadm",
];

/// The ELF files of a closure that a loader can be asked about.
fn dynamic(tree: &FileTree, closure: &Closure) -> Vec<(ImagePath, bool)> {
    let files = closure.iter().filter_map(|(path, _)| Some((path, tree.get(path)?.content()?)));
    let facts = files.filter_map(|(path, content)| Some((path.clone(), read_elf(content).unwrap()?)));
    let asked = facts.filter(|(path, elf)| {
        elf.kind == ElfKind::Dynamic
            || (elf.kind == ElfKind::SharedLibrary && !path.as_str().starts_with("/lib/ld-musl"))
    });
    asked.map(|(path, elf)| (path, elf.kind == ElfKind::Dynamic)).collect()
}

fn judged(platform: Platform) {
    let Some(tree) = packages(platform) else { return };
    let closure = close_commands(&tree, platform, &COMMANDS);
    let Some(laid) = Laid::new(&tree, &closure, platform) else { return };
    let files = dynamic(&tree, &closure);
    assert!(files.len() > 50, "only {} ELF files", files.len());

    let mut listed = BTreeSet::new();
    for (file, _) in &files {
        let paths = laid.list(file.as_str()).unwrap_or_else(|error| panic!("{platform}: {file}: {error}"));
        listed.extend(paths.iter().map(|p| path(p)).filter(|p| !p.as_str().contains("ld-musl")));
    }
    // Not one library more than the loader opens, and not one less.
    let needed = closure.iter().filter(|(_, reason)| matches!(reason, Reason::Needed { .. }));
    assert_eq!(needed.map(|(path, _)| path.clone()).collect::<BTreeSet<_>>(), listed, "{platform}");

    for command in ["mount", "iptables", "ip6tables", "ethtool", "find"] {
        let root =
            closure.iter().find(|(p, r)| matches!(r, Reason::Root { .. }) && p.file_name() == Some(command));
        let output = laid.run(&[root.unwrap().0.as_str(), "--version"]).unwrap();
        assert!(output.status.success(), "{platform}: {command}: {output:?}");
    }
    let kubelet = laid.run(&["/usr/bin/kubelet", "--version"]).unwrap();
    assert!(
        String::from_utf8_lossy(&kubelet.stdout).starts_with("Kubernetes v1."),
        "{platform}: {kubelet:?}"
    );

    lddtree(&laid, files.iter().filter(|(_, program)| *program).map(|(path, _)| path));
}

/// The second judge, which knows nothing of musl's reserved names.
fn lddtree<'a>(laid: &Laid, programs: impl Iterator<Item = &'a ImagePath>) {
    if !std::path::Path::new("/usr/bin/lddtree").exists() {
        skipped("lddtree is not installed");
        return;
    }
    for program in programs {
        let mut command = Command::new("/usr/bin/python3");
        command.arg("/usr/bin/lddtree").arg("-R").arg(laid.folder()).arg(program.relative());
        let output = command.current_dir(laid.folder()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains(program.file_name().unwrap()),
            "{program}: {output:?}"
        );
        let lost = text.lines().filter(|l| l.contains("=> None") && !l.trim_start().starts_with("libc."));
        assert_eq!(lost.count(), 0, "{program}: {text}");
    }
}

#[test]
fn what_is_closed_over_runs_alone_on_amd64() {
    judged(Platform::Amd64);
}

#[test]
fn what_is_closed_over_runs_alone_on_arm64() {
    judged(Platform::Arm64);
}

#[test]
fn what_is_closed_over_runs_alone_on_armv7() {
    judged(Platform::ArmV7);
}

#[test]
fn every_plugin_of_the_rules_loads_and_without_its_file_it_does_not() {
    let platform = Platform::Amd64;
    let Some(tree) = packages(platform) else { return };
    let closure = close_commands(&tree, platform, &["iptables", "ip6tables", "sh"]);
    let Some(laid) = Laid::new(&tree, &closure, platform) else { return };
    let ruled = closure.iter().filter(|(_, reason)| matches!(reason, Reason::Rule { .. }));
    let plugins: Vec<_> = ruled.map(|(p, _)| p).filter(|p| p.as_str().contains("/xtables/lib")).collect();
    assert!(plugins.len() > 30, "{plugins:?}");
    // What nobody knows is taken for a chain: then there is only the common help.
    let help = |words: &[&str]| {
        let output = laid.run(&[words, &["--help"]].concat()).unwrap();
        output.status.success().then_some(output.stdout.len())
    };
    let loads = |file: &ImagePath| {
        let (family, name) = file.file_name().unwrap().strip_suffix(".so").unwrap().split_once('_').unwrap();
        let command = if family == "libip6t" { "/sbin/ip6tables" } else { "/sbin/iptables" };
        let option = if name.starts_with(|c: char| c.is_ascii_uppercase()) || name == "standard" {
            "-j"
        } else {
            "-m"
        };
        let name = if name == "standard" { "ACCEPT" } else { name };
        help(&[command, option, name]) > help(&[command, "-j", "nobody"])
    };
    for plugin in plugins {
        assert!(loads(plugin), "{plugin}");
        let (place, aside) = (laid.place(plugin), laid.folder().join("aside"));
        fs_err::rename(&place, &aside).unwrap();
        assert!(!loads(plugin), "{plugin} is gone, and nothing misses it");
        fs_err::rename(&aside, &place).unwrap();
    }
}

#[test]
fn without_any_one_library_something_fails() {
    let platform = Platform::Amd64;
    let Some(tree) = packages(platform) else { return };
    let closure = close_commands(&tree, platform, &COMMANDS);
    let Some(laid) = Laid::new(&tree, &closure, platform) else { return };
    let aside = laid.folder().join("aside");
    let mut tried = 0;
    for (file, reason) in closure.iter() {
        let (Reason::Needed { .. } | Reason::Interpreter { .. } | Reason::Target { .. }) = reason else {
            continue;
        };
        let mut chain = closure.why(file).unwrap().to_vec();
        // What a program loads by itself is the plugins' test.
        if chain.iter().any(|step| matches!(step.reason, Reason::Rule { .. })) {
            continue;
        }
        // The program at the head of the chain: the first step that is a real file.
        chain.retain(|step| tree.get(&step.path).unwrap().content().is_some());
        let program = &chain[0].path;
        if program == file {
            continue;
        }
        assert!(laid.list(program.as_str()).is_ok(), "{program}");
        fs_err::rename(laid.place(file), &aside).unwrap();
        assert!(laid.list(program.as_str()).is_err(), "{file} is gone, and {program} does not miss it");
        fs_err::rename(&aside, laid.place(file)).unwrap();
        tried += 1;
    }
    assert!(tried > 15, "only {tried}");
}

#[test]
fn a_tree_without_any_one_library_is_refused_by_name() {
    let Some(tree) = packages(Platform::ArmV7) else { return };
    let whole = close_commands(&tree, Platform::ArmV7, &["mount"]);
    for (file, reason) in whole.iter().filter(|(_, r)| matches!(r, Reason::Needed { .. })) {
        let mut less = (*tree).clone();
        less.remove(file);
        let Reason::Needed { soname, .. } = reason else { unreachable!() };
        let roots =
            [kimg_closure::Root { path: path("/bin/mount"), name: "mount".into(), reason: "mounts".into() }];
        let error = kimg_closure::close(&kimg_closure::Request {
            tree: &less,
            platform: Platform::ArmV7,
            roots: &roots,
            rules: &Rules::none(),
            library_path: &[],
            facts: &kimg_closure::MemoryFacts::default(),
        })
        .unwrap_err();
        assert!(
            matches!(error.problem(), Problem::LibraryMissing { soname: s, .. } if s == soname),
            "{error}"
        );
        assert_eq!(error.class(), kimg_core::ErrorClass::Unresolvable);
    }
}

#[test]
fn goblin_reads_the_same_out_of_every_real_elf_file() {
    let mut compared = 0;
    for platform in Platform::DEFAULT {
        let Some(tree) = packages(platform) else { return };
        for (at, entry) in tree.iter() {
            let Some(content) = entry.content() else { continue };
            let Some(ours) = read_elf(content).unwrap_or_else(|e| panic!("{at}: {e}")) else { continue };
            let bytes = content.read(1 << 30).unwrap();
            let theirs = goblin::elf::Elf::parse(&bytes).unwrap();
            assert_eq!(ours.needed, theirs.libraries, "{at}");
            assert_eq!(ours.interpreter.as_deref(), theirs.interpreter, "{at}");
            assert_eq!(ours.soname.as_deref(), theirs.soname, "{at}");
            assert_eq!(ours.machine, theirs.header.e_machine, "{at}");
            assert_eq!(ours.runpath.join(":"), theirs.runpaths.join(":"), "{at}");
            let loads =
                theirs.program_headers.iter().filter(|p| p.p_type == goblin::elf::program_header::PT_LOAD);
            assert_eq!(ours.max_align, loads.map(|p| p.p_align).max().unwrap_or(0), "{at}");
            assert!(!ours.has_appended_data, "{at}");
            compared += 1;
        }
    }
    assert!(compared > 500, "only {compared}");
}

#[test]
fn the_rules_for_iptables_name_files_that_there_are() {
    let Some(tree) = packages(Platform::Amd64) else { return };
    let closure = close_commands(&tree, Platform::Amd64, &["iptables"]);
    let missing: Vec<_> = closure
        .findings()
        .iter()
        .filter_map(|f| match f {
            Finding::RuleFilesMissing { patterns, .. } => Some(patterns.join(" ")),
            _ => None,
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn debian_s_glibc_programs_are_refused_with_the_right_words() {
    let program = std::path::Path::new("/bin/true");
    let Ok(bytes) = fs_err::read(program) else { return skipped("there is no /bin/true") };
    let content = kimg_core::Content::from_bytes(bytes);
    let Ok(FileFacts::Elf(elf)) = FileFacts::read(&content) else {
        return skipped("/bin/true is not an ELF file");
    };
    if !elf.interpreter.as_deref().is_some_and(|i| i.contains("ld-linux")) {
        return skipped("/bin/true is not linked against glibc");
    }
    let entry = kimg_core::Entry::file(content, 0o755, crate::trees::origin());
    let tree = crate::trees::Tree::new().entry("/bin/true", entry);
    let error = tree.error("/bin/true");
    assert!(error.to_string().contains("is linked against glibc"), "{error}");
}

#[test]
fn the_closure_of_a_real_kubelet_image_is_a_small_part_of_its_packages() {
    let Some(tree) = packages(Platform::Amd64) else { return };
    let closure = close_commands(&tree, Platform::Amd64, &["mount", "iptables", "ip6tables", "nsenter"]);
    assert!(closure.len() * 5 < tree.len(), "{} of {}", closure.len(), tree.len());
    let why = closure.why(&path("/usr/lib/libxtables.so.12")).unwrap().to_string();
    assert_eq!(
        why,
        "`/usr/lib/libxtables.so.12` is needed by `/sbin/xtables-legacy-multi`, \
         which `iptables` (root: a node wants it) leads to"
    );
}
