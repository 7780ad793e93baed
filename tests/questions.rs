//! Questions a person asks about an image: why a file is in it, why not, and what is where.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use kimg_testkit::Real;
use serde_json::Value;

const ONE: [&str; 4] = ["--variant", "plain", "--arch", "armv7"];

fn ask(real: &Real, arguments: &[&str]) -> program::Answer {
    let folder = program::folder();
    program::answer(program::kimg_on(real, folder.path(), arguments[0]).args(&arguments[1..]).args(ONE))
}

#[test]
fn why_answers_in_one_line() {
    let Some(real) = kimg_testkit::real() else { return };
    for path in [
        "/usr/lib/libxtables.so.12",
        "/usr/bin/kubelet",
        "/lib/ld-musl-armhf.so.1",
        "/etc/os-release",
        "/usr/lib",
    ] {
        let answer = ask(&real, &["why", path]);
        assert_eq!(answer.code, 0, "{}", answer.story);
        assert_eq!(answer.out.lines().count(), 1, "{}", answer.out);
        assert!(answer.out.starts_with(&format!("`{path}` is ")), "{}", answer.out);
    }
    let answer = ask(&real, &["why", "/usr/lib/libxtables.so.12"]);
    assert_eq!(
        answer.out,
        "`/usr/lib/libxtables.so.12` is needed by `/sbin/xtables-legacy-multi`, which `iptables` (root: kubelet keeps its \
         mark and hint chains with it) leads to\n"
    );
}

#[test]
fn why_not_names_the_chosen_package_that_has_a_file() {
    let Some(real) = kimg_testkit::real() else { return };
    let answer = ask(&real, &["why", "--not", "/sbin/iptables-apply"]);
    assert_eq!(answer.code, 0, "{}", answer.story);
    for words in
        ["is not in the image", "package iptables-1.8.9-r0 has it", "[[root]] command = \"iptables-apply\""]
    {
        assert!(answer.out.contains(words), "{words}\n{}", answer.out);
    }
    // Asked for where another system would have it.
    let answer = ask(&real, &["why", "--not", "/usr/sbin/iptables-apply"]);
    assert!(answer.out.contains("`/sbin/iptables-apply`, which is left out"), "{}", answer.out);
}

#[test]
fn why_not_names_packages_of_the_repositories_that_could_have_a_file() {
    let Some(real) = kimg_testkit::real() else { return };
    let answer = ask(&real, &["why", "--not", "/usr/sbin/ethtool", "--format", "json"]);
    assert_eq!(answer.code, 0, "{}", answer.story);
    let json: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(json[0]["in_image"], false);
    let candidate = &json[0]["candidates"][0];
    assert_eq!((&candidate["package"], &candidate["by"]), (&"ethtool".into(), &"cmd:ethtool".into()));
    let answer = ask(&real, &["why", "--not", "/usr/lib/libcrypto.so.1.1"]);
    assert!(answer.out.contains("provides so:libcrypto.so.1.1"), "{}", answer.out);
    let answer = ask(&real, &["why", "--not", "/usr/bin/nonsuch"]);
    assert!(answer.out.contains("no package of the repositories either"), "{}", answer.out);
}

#[test]
fn why_not_knows_the_applets_of_a_chosen_busybox() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "why");
    let answer =
        program::answer(kimg.args(["--not", "/usr/bin/wget", "--variant", "kubeadm", "--arch", "amd64"]));
    assert_eq!(answer.code, 0, "{}", answer.story);
    assert!(answer.out.contains("an applet of `/bin/busybox`"), "{}", answer.out);
}

#[test]
fn why_not_of_a_file_that_is_there_says_why_it_is_and_ends_with_one() {
    let Some(real) = kimg_testkit::real() else { return };
    let answer = ask(&real, &["why", "--not", "/usr/bin/kubelet"]);
    assert_eq!(answer.code, 1, "{}", answer.story);
    assert!(answer.out.contains("the node agent"), "{}", answer.out);
}

#[test]
fn a_tree_of_files_sums_up_what_the_list_says() {
    let Some(real) = kimg_testkit::real() else { return };
    let list: Value = serde_json::from_str(&ask(&real, &["files", "--format", "json"]).out).unwrap();
    let list = list.as_array().unwrap();
    let bytes: u64 = list.iter().map(|file| file["size"].as_u64().unwrap()).sum();
    let files = list.iter().filter(|file| file["kind"] != "directory").count() as u64;
    for by in ["--tree", "--tree=folders", "--tree=reasons"] {
        let tree: Value = serde_json::from_str(&ask(&real, &["files", by, "--format", "json"]).out).unwrap();
        let roots = tree[0]["tree"].as_array().unwrap();
        let sum = |key: &str| roots.iter().map(|root| root[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("bytes"), sum("files")), (bytes, files), "{by}");
    }
}

#[test]
fn a_tree_of_files_fits_a_hundred_columns_and_names_every_file_when_asked_to() {
    let Some(real) = kimg_testkit::real() else { return };
    let list: Value = serde_json::from_str(&ask(&real, &["files", "--format", "json"]).out).unwrap();
    for by in ["--tree=folders", "--tree=reasons"] {
        let short = ask(&real, &["files", by]).out;
        let whole = ask(&real, &["files", by, "--every-file"]).out;
        for text in [&short, &whole] {
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        }
        assert!(short.lines().count() < whole.lines().count() && short.contains(" more"), "{short}");
        assert!(short.starts_with(" plain for linux/arm/v7: "), "{short}");
    }
    let whole = ask(&real, &["files", "--tree", "--every-file"]).out;
    for file in list.as_array().unwrap().iter().filter(|file| file["kind"] == "file") {
        let name = file["path"].as_str().unwrap().rsplit('/').next().unwrap();
        assert!(whole.contains(name), "{name}\n{whole}");
    }
    let shallow = ask(&real, &["files", "--tree", "--depth", "1"]).out;
    assert!(shallow.lines().count() < 20 && shallow.contains("└─ var"), "{shallow}");
}

#[test]
fn a_tree_is_no_csv() {
    let folder = program::folder();
    let mut kimg = program::kimg_sample(folder.path(), "files");
    let story = program::failure(kimg.args(["--tree", "--format", "csv"]), 2);
    assert!(story.contains("table or as JSON"), "{story}");
}
