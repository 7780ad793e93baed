//! Packages made to be awkward, beside what the real apk 2.12 makes of them.

mod judge;
mod made;
mod real;

use std::collections::{BTreeMap, BTreeSet};

use kimg_apk::install;

use judge::{Judge, on_disk, on_paper, same};
use made::{Made, pax_record};

#[test]
fn links_for_folders_bits_beyond_rwx_hard_links_and_attributes_come_out_as_apk_lays_them() {
    let Some(judge) = Judge::new() else { return };
    // cap_net_raw+ep, as `setcap` writes it (`struct vfs_cap_data`, revision 2); it holds a line end on purpose.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, b'\n', 0, 0, 0, 0, 0, 0, 0];
    let packages = [
        // Alpine's own baselayout ships `/var/run` like this, and others ship folders below it.
        Made::new("a-layout")
            .folder("made", 0o755)
            .folder("made/run", 0o755)
            .link("made/var-run", "/made/run")
            .folder("made/usr", 0o755)
            .folder("made/usr/lib", 0o755)
            .link("made/lib", "usr/lib")
            .link("made/dangling", "nowhere/at all"),
        Made::new("b-daemon")
            .folder("made", 0o755)
            .folder("made/var-run", 0o755)
            .folder("made/var-run/daemon", 0o700)
            .file("made/var-run/daemon/pid", "1")
            .folder("made/lib", 0o755)
            .file("made/lib/libd.so.1", "library")
            .link("made/lib/libd.so", "libd.so.1"),
        Made::new("c-bits")
            .folder("made", 0o755)
            .folder("made/tmp", 0o1777)
            .folder("made/group", 0o2775)
            .file_with("made/su", 0o4755, &[], b"setuid")
            .file_with("made/both", 0o6711, &[], b"both")
            .file_with("made/secret", 0o000, &[], b"none")
            .file_with(
                "made/ping",
                0o755,
                &pax_record("SCHILY.xattr.security.capability", &capability),
                b"ping",
            )
            .file_with("made/tagged", 0o644, &pax_record("SCHILY.xattr.user.note", b"\xff=\n "), b"x"),
        Made::new("d-links")
            .folder("made", 0o755)
            .file_with("made/git", 0o755, &[], b"git")
            .hard_link("made/git-add", "made/git")
            .hard_link("made/git-rm", "made/git-add")
            .file("made/empty", "")
            .file(&format!("made/{}", "n".repeat(90)), "long"),
    ];
    // What says that it takes no bytes is not even opened by apk.
    let packages = packages.map(|package| package.info("size = 4096"));
    for package in &packages {
        fs_err::write(judge.path(&format!("{}.apk", package.name)), package.build().0).unwrap();
    }
    let files: Vec<String> = packages.iter().map(|package| format!("/{}.apk", package.name)).collect();
    // Into the root that apk itself runs in: below another one it would follow the absolute link out of it.
    let mut arguments = vec!["add", "--no-scripts", "--allow-untrusted"];
    arguments.extend(files.iter().map(String::as_str));
    judge.apk("", &arguments);

    let tree = install(&packages.iter().map(Made::package).collect::<Vec<_>>()).unwrap().tree;
    let mut found = on_paper(&tree);
    assert_eq!(found.remove("/made").as_deref(), Some("d0755 0:0"));
    let below =
        |(path, text): (String, String)| (format!("/made{path}"), text.replace(" inode=/", " inode=/made/"));
    let expected: BTreeMap<String, String> = on_disk(&judge.path("made")).into_iter().map(below).collect();
    same(&expected, &found, &BTreeMap::new());

    let capable: BTreeSet<&String> = expected
        .iter()
        .filter(|(_, text)| text.contains("security.capability="))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(capable.iter().map(|path| path.as_str()).collect::<Vec<_>>(), ["/made/ping"]);
}
