//! Packages laid over each other, with packages made for it.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::collections::BTreeSet;

use kimg_apk::{Applets, InstallError, Installation, install, installed_db, link_applets};
use kimg_core::{Classified, Content, Entry, ErrorClass, FileTree, ImagePath, Kind, Origin};
use made::Made;
use proptest::prelude::*;

fn laid(packages: &[&Made]) -> Installation {
    install(&packages.iter().map(|made| made.package()).collect::<Vec<_>>()).unwrap()
}

fn refused(packages: &[&Made]) -> InstallError {
    install(&packages.iter().map(|made| made.package()).collect::<Vec<_>>()).unwrap_err()
}

fn at<'a>(tree: &'a FileTree, path: &str) -> &'a Entry {
    tree.get(&ImagePath::new(path).unwrap()).unwrap_or_else(|| panic!("{path} is not in\n{}", tree.dump()))
}

fn text(entry: &Entry) -> String {
    String::from_utf8(entry.content().unwrap().read(1 << 20).unwrap()).unwrap()
}

#[test]
fn two_packages_with_one_path_are_refused_with_both_names_even_for_the_same_bytes() {
    let (one, other) = (Made::new("one").file("etc/x", "same"), Made::new("other").file("etc/x", "same"));
    let error = refused(&[&other, &one]);
    assert_eq!(
        error.to_string(),
        "one-1.0-r0 and other-1.0-r0 both ship `/etc/x`, and neither replaces the other"
    );
    assert_eq!(error.class(), ErrorClass::Unresolvable);
}

#[test]
fn who_replaces_the_other_keeps_the_path() {
    let one = Made::new("one").info("replaces = other").file("etc/x", "one");
    let other = Made::new("other").file("etc/x", "other");
    for order in [[&one, &other], [&other, &one]] {
        let laid = laid(&order);
        assert_eq!(text(at(&laid.tree, "etc/x")), "one");
        assert_eq!(at(&laid.tree, "etc/x").origin.package(), Some("one"));
        assert_eq!(laid.replaced.len(), 1);
        assert_eq!((laid.replaced[0].kept.as_str(), laid.replaced[0].dropped.as_str()), ("one", "other"));
    }
}

#[test]
fn the_same_package_in_two_versions_is_refused() {
    assert!(matches!(refused(&[&Made::new("a"), &Made::new("a").file("b", "")]), InstallError::Twice { .. }));
}

#[test]
fn folders_merge_to_the_bits_that_all_have_and_the_smaller_owner() {
    let (open, closed) = (Made::new("open").folder("d", 0o1777), Made::new("shut").folder("d", 0o750));
    assert_eq!(at(&laid(&[&open, &closed]).tree, "d").mode, 0o750);
    assert_eq!(at(&laid(&[&open]).tree, "d").mode, 0o1777);
}

#[test]
fn folders_that_nobody_ships_are_added_for_root() {
    let tree = laid(&[&Made::new("a").file("usr/libexec/cni/bridge", "ELF")]).tree;
    let folder = at(&tree, "usr/libexec");
    assert_eq!((folder.mode, folder.uid, folder.gid, folder.is_directory()), (0o755, 0, 0, true));
    assert!(matches!(folder.origin, Origin::Generated(_)));
}

#[test]
fn files_land_behind_a_link_in_place_of_their_folder() {
    let merged =
        Made::new("baselayout").folder("usr/lib", 0o755).link("lib", "usr/lib").link("bin", "usr/bin");
    let old = Made::new("musl")
        .folder("lib", 0o755)
        .file("lib/ld-musl.so.1", "ld")
        .link("lib/libc.so", "ld-musl.so.1");
    let new = Made::new("zlib").file("usr/lib/libz.so.1", "z").file("bin/tool", "t");
    for order in [[&merged, &old, &new], [&new, &old, &merged]] {
        let tree = laid(&order).tree;
        assert_eq!(at(&tree, "lib").target(), Some("usr/lib"));
        assert_eq!(text(at(&tree, "usr/lib/ld-musl.so.1")), "ld");
        assert_eq!(at(&tree, "usr/lib/libc.so").target(), Some("ld-musl.so.1"));
        assert_eq!(text(at(&tree, "usr/bin/tool")), "t");
        assert!(tree.get(&ImagePath::new("lib/ld-musl.so.1").unwrap()).is_none());
        assert!(at(&tree, "usr/bin").is_directory());
        let packages: Vec<_> = order.iter().map(|made| made.package()).collect();
        let db = installed_db(&packages.iter().collect::<Vec<_>>(), &tree);
        assert!(db.contains("P:musl\n") && db.contains("F:usr/lib\nR:ld-musl.so.1\nZ:Q1"), "{db}");
    }
}

#[test]
fn a_path_that_two_ship_under_two_names_of_one_folder_is_still_a_conflict() {
    let merged = Made::new("baselayout").link("lib", "usr/lib");
    let (a, b) = (Made::new("a").file("lib/x", "1"), Made::new("b").file("usr/lib/x", "2"));
    assert!(
        matches!(refused(&[&merged, &a, &b]), InstallError::Conflict { path, .. } if path.as_str() == "/usr/lib/x")
    );
}

#[test]
fn within_one_package_the_later_entry_counts_and_a_folder_may_become_a_link() {
    let made = Made::new("a")
        .folder("usr/lib", 0o755)
        .folder("lib", 0o755)
        .file("x", "old")
        .link("lib", "usr/lib")
        .file("x", "new");
    let tree = laid(&[&made]).tree;
    assert_eq!(at(&tree, "lib").target(), Some("usr/lib"));
    assert_eq!(text(at(&tree, "x")), "new");
}

#[test]
fn a_file_in_place_of_a_folder_is_refused() {
    let error = refused(&[&Made::new("a").file("etc/x", "1"), &Made::new("b").file("etc/x/y", "2")]);
    assert!(matches!(&error, InstallError::NotAFolder { path, .. } if path.as_str() == "/etc/x"), "{error}");
    let error = refused(&[&Made::new("a").file("etc/x", "1"), &Made::new("b").folder("etc/x", 0o755)]);
    assert!(matches!(&error, InstallError::NotAFolder { .. }), "{error}");
}

#[test]
fn links_in_a_circle_are_refused_when_something_lies_behind_them() {
    let circle = Made::new("a").link("p", "q").link("q", "p");
    assert!(install(&[circle.package()]).is_ok());
    assert!(matches!(refused(&[&circle, &Made::new("b").file("p/x", "1")]), InstallError::Link { .. }));
}

#[test]
fn a_hard_link_whose_first_name_was_taken_over_points_to_one_that_is_left() {
    let links = Made::new("links").file("bin/a", "1").hard_link("bin/b", "bin/a").hard_link("bin/c", "bin/a");
    let taker = Made::new("taker").info("replaces = links").file("bin/a", "2");
    let tree = laid(&[&links, &taker]).tree;
    assert_eq!(text(at(&tree, "bin/a")), "2");
    for path in ["bin/b", "bin/c"] {
        assert_eq!(text(at(&tree, path)), "1");
        let Kind::File { inode, .. } = &at(&tree, path).kind else { panic!() };
        assert_eq!(inode.as_ref().map(ImagePath::as_str), Some("/bin/b"));
    }
}

#[test]
fn scripts_that_would_have_run_are_told_apart_from_those_that_are_stood_in_for() {
    let packages = [
        &Made::new("busybox").script(".post-install").script(".post-upgrade").script(".trigger"),
        &Made::new("ca-certificates").script(".trigger").script(".post-deinstall"),
        &Made::new("chrony").script(".pre-install").script(".pre-upgrade"),
    ];
    let not_run = laid(&packages).not_run;
    let not_run: Vec<_> = not_run.iter().map(|n| (n.package.as_str(), n.script.as_str())).collect();
    assert_eq!(not_run, [("chrony", ".pre-install")]);
}

#[test]
fn the_bundle_of_certificates_is_built_when_nobody_ships_it() {
    let certificates = Made::new("ca-certificates")
        .file("usr/share/ca-certificates/mozilla/B.crt", "B\n")
        .file("usr/share/ca-certificates/mozilla/A.crt", "A")
        .file("usr/share/ca-certificates/mozilla/C.crt", "C\n")
        .file("usr/share/ca-certificates/README", "no")
        .file("etc/ca-certificates.conf", "# all\nmozilla/A.crt\n!mozilla/C.crt\n");
    let tree = laid(&[&certificates]).tree;
    assert_eq!(text(at(&tree, "etc/ssl/certs/ca-certificates.crt")), "A\nB\n");
    let shipped = Made::new("bundle").file("etc/ssl/certs/ca-certificates.crt", "shipped");
    assert_eq!(
        text(at(&laid(&[&certificates, &shipped]).tree, "etc/ssl/certs/ca-certificates.crt")),
        "shipped"
    );
    let none = laid(&[&Made::new("a").file("x", "")]).tree;
    assert!(none.get(&ImagePath::new("etc/ssl/certs/ca-certificates.crt").unwrap()).is_none());
}

fn busybox() -> Made {
    Made::new("busybox")
        .file("bin/busybox", "ELF")
        .link("bin/sh", "/bin/busybox")
        .file("etc/busybox-paths.d/busybox", "bin/ls\nbin/sh\nsbin/ip\nusr/bin/find\nusr/sbin/brctl\n")
}

fn links(tree: &mut FileTree, which: Applets<'_>) -> Vec<String> {
    link_applets(tree, which).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn an_applet_gets_no_link_where_a_fuller_program_stands_anywhere_on_the_path() {
    let mut tree = laid(&[&busybox(), &Made::new("iproute2").file("usr/sbin/ip", "ELF")]).tree;
    assert_eq!(links(&mut tree, Applets::All), ["/bin/ls", "/usr/bin/find", "/usr/sbin/brctl"]);
    assert_eq!(links(&mut tree, Applets::All), [""; 0], "a second time there is nothing to do");
    assert!(at(&tree, "usr/bin").is_directory());
}

#[test]
fn only_the_applets_that_are_named_get_a_link() {
    let mut tree = laid(&[&busybox()]).tree;
    let names = BTreeSet::from(["find", "ip", "no-such-applet"].map(String::from));
    assert_eq!(links(&mut tree, Applets::Named(&names)), ["/sbin/ip", "/usr/bin/find"]);
    assert_eq!(at(&tree, "sbin/ip").target(), Some("/bin/busybox"));
}

#[test]
fn in_a_merged_root_the_links_land_in_the_real_folder_and_point_to_the_real_binary() {
    let merged = Made::new("baselayout").link("bin", "usr/bin").link("sbin", "usr/bin");
    let mut tree = laid(&[&merged, &busybox()]).tree;
    assert_eq!(
        links(&mut tree, Applets::All),
        ["/usr/bin/ls", "/usr/bin/ip", "/usr/bin/find", "/usr/sbin/brctl"]
    );
    assert_eq!(at(&tree, "usr/bin/ls").target(), Some("/usr/bin/busybox"));
}

#[test]
fn without_busybox_there_are_no_links() {
    assert_eq!(links(&mut laid(&[&Made::new("a").file("bin/a", "")]).tree, Applets::All), [""; 0]);
}

#[test]
fn a_list_that_names_no_path_is_refused() {
    let made =
        Made::new("busybox").file("bin/busybox", "").file("etc/busybox-paths.d/busybox", "bin/../../x\n");
    let mut tree = laid(&[&made]).tree;
    assert!(matches!(link_applets(&mut tree, Applets::All), Err(InstallError::AppletPath { .. })));
}

#[test]
fn the_database_names_only_what_is_there_and_sums_up_changed_bytes_anew() {
    let packages = [
        Made::new("meta").package(),
        Made::new("gone").file("usr/bin/gone", "x").package(),
        Made::new("tool")
            .file("usr/bin/tool", "large")
            .file("usr/share/doc", "no")
            .folder("var/tool", 0o700)
            .package(),
    ];
    let mut tree = install(&packages).unwrap().tree;
    let tool = ImagePath::new("usr/bin/tool").unwrap();
    let packed = Entry {
        kind: Entry::file(Content::from_bytes("small"), 0, Origin::generated("")).kind,
        ..tree.get(&tool).unwrap().clone()
    };
    tree.insert(tool, packed);
    tree.remove(&ImagePath::new("usr/share/doc").unwrap());
    tree.remove(&ImagePath::new("usr/bin/gone").unwrap());
    let text = installed_db(&packages.iter().collect::<Vec<_>>(), &tree);
    let lines: Vec<_> = text.lines().filter(|l| l.is_empty() || "PFMRaZ".contains(&l[..1])).collect();
    // printf small | sha1sum | xxd -r -p | base64
    let expected = [
        "P:meta",
        "",
        "P:tool",
        "F:usr/bin",
        "R:tool",
        "Z:Q1ifYimhGsTrqlU8Gj6pbXj6dINzU=",
        "F:var/tool",
        "M:0:0:700",
        "",
    ];
    assert_eq!(lines, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_order_in_which_packages_are_given_does_not_matter(
        parts in prop::collection::vec(prop::collection::vec((0..4_u8, "[ab](/[ab]){0,2}", "[ab](/[ab]){0,1}"), 0..5), 1..4),
        seed in any::<u64>(),
    ) {
        let packages: Vec<_> = parts.iter().enumerate().map(|(number, entries)| {
            // Each but one replaces all others, so that shared paths are settled rather than refused, mostly.
            let mut made = Made::new(&format!("p{number}")).info(&format!("replaces_priority = {number}"));
            for other in 0..number {
                made = made.info(&format!("replaces = p{other}"));
            }
            for (kind, path, target) in entries {
                made = match kind {
                    0 => made.folder(path, 0o755),
                    1 => made.link(path, target),
                    _ => made.file(path, target),
                };
            }
            made.package()
        }).collect();
        let mut shuffled = packages.clone();
        let length = shuffled.len();
        shuffled.rotate_left(usize::try_from(seed % length as u64).unwrap());
        if seed & 64 == 0 {
            shuffled.reverse();
        }
        match (install(&packages), install(&shuffled)) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one.tree.dump(), other.tree.dump());
                prop_assert_eq!(one.replaced, other.replaced);
                for (path, _) in one.tree.iter() {
                    let parent = path.parent().unwrap();
                    prop_assert!(parent.is_root() || one.tree.get(&parent).unwrap().is_directory());
                }
            }
            (Err(one), Err(other)) => prop_assert_eq!(one.to_string(), other.to_string()),
            (one, other) => prop_assert!(false, "{:?} but {:?}", one.is_ok(), other.is_ok()),
        }
    }
}
