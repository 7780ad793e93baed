//! What is not what it claims to be is refused, with the right exit code and words, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::path::Path;

use kimg_core::Platform;
use kimg_testkit::{Real, RepositoryCopy};

const PLATFORM: Platform = Platform::ArmV7;

/// Builds `plain` for armv7 from a repository with an empty cache, and expects to fail. Gives what was said.
#[track_caller]
fn refused(repository: &Path, keys: &Path, codes: &[i32]) -> String {
    let folder = program::folder();
    let mut kimg = program::kimg(folder.path());
    kimg.arg("build").arg("-r").arg(repository).arg("-k").arg(keys);
    kimg.args(["--variant", "plain", "--arch", "armv7", "--pack", "never", "--cache-dir", "cache"]);
    let answer = program::answer(&mut kimg);
    assert!(codes.contains(&answer.code), "exit code {}\n{}", answer.code, answer.story);
    assert!(answer.story.contains("error: "), "{}", answer.story);
    assert_eq!(answer.out, "");
    let left: Vec<_> = fs_err::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "cache"), "left behind: {left:?}");
    answer.story
}

fn real_and_copy() -> Option<(Real, RepositoryCopy)> {
    let real = kimg_testkit::real()?;
    let copy = RepositoryCopy::new(&real, PLATFORM);
    Some((real, copy))
}

#[test]
fn a_package_with_one_bit_changed_is_refused_by_its_name() {
    let Some((real, copy)) = real_and_copy() else { return };
    copy.change(&copy.package("kubelet"), |bytes| {
        let at = bytes.len() - 1_000_000;
        bytes[at] ^= 1;
    });
    let story = refused(copy.path(), &real.keys(), &[10]);
    assert!(story.contains("kubelet-1.20.2-r0"), "{story}");
}

#[test]
fn a_package_that_is_cut_short_is_refused_with_both_sizes() {
    let Some((real, copy)) = real_and_copy() else { return };
    let package = copy.package("musl");
    let size = fs_err::metadata(&package).unwrap().len();
    copy.change(&package, |bytes| bytes.truncate(bytes.len() - 1));
    let story = refused(copy.path(), &real.keys(), &[10]);
    assert!(story.contains("musl") && story.contains(&size.to_string()), "{story}");
    assert!(story.contains(&(size - 1).to_string()), "{story}");
}

#[test]
fn a_package_with_more_behind_its_end_is_refused() {
    let Some((real, copy)) = real_and_copy() else { return };
    copy.change(&copy.package("musl"), |bytes| bytes.extend(b"more"));
    let story = refused(copy.path(), &real.keys(), &[10]);
    assert!(story.contains("musl"), "{story}");
}

#[test]
fn a_package_that_has_another_packages_place_is_refused() {
    let Some((real, copy)) = real_and_copy() else { return };
    let other = fs_err::read(copy.package("zlib")).unwrap();
    copy.change(&copy.package("musl"), |bytes| *bytes = other);
    let story = refused(copy.path(), &real.keys(), &[10]);
    assert!(story.contains("musl"), "{story}");
}

#[test]
fn a_package_of_the_newer_format_is_refused_by_the_formats_name() {
    let Some((real, copy)) = real_and_copy() else { return };
    copy.change(&copy.package("musl"), |bytes| bytes[..4].copy_from_slice(b"ADBd"));
    let story = refused(copy.path(), &real.keys(), &[10, 11]);
    assert!(story.contains("APK v3 is not supported yet"), "{story}");
}

#[test]
fn an_index_of_the_newer_format_is_refused_by_the_formats_name() {
    let Some((real, copy)) = real_and_copy() else { return };
    copy.change(&copy.index(), |bytes| bytes[..4].copy_from_slice(b"ADBd"));
    let story = refused(copy.path(), &real.keys(), &[10, 11]);
    assert!(story.contains("APK v3 is not supported yet"), "{story}");
}

#[test]
fn an_index_changed_after_it_was_signed_is_refused() {
    let Some((real, copy)) = real_and_copy() else { return };
    // The operating system byte in the header of the second gzip member: it changes nothing but the signed bytes.
    copy.change(&copy.index(), |bytes| {
        let second = bytes.windows(3).rposition(|w| w == [0x1f, 0x8b, 8]).unwrap();
        assert!(second > 0, "an index has two members");
        bytes[second + 9] ^= 1;
    });
    let story = refused(copy.path(), &real.keys(), &[10]);
    assert!(story.contains("signature"), "{story}");
    assert!(story.contains("kimg-testdata-1.rsa.pub"), "{story}");
}

#[test]
fn a_repository_signed_with_a_key_that_is_not_trusted_is_refused() {
    let Some((real, copy)) = real_and_copy() else { return };
    let story = refused(copy.path(), &real.alpine_keys(PLATFORM), &[10]);
    assert!(
        story.contains("kimg-testdata-1.rsa.pub") && story.contains("not among the trusted keys"),
        "{story}"
    );
}

#[test]
fn another_key_under_the_right_name_is_refused() {
    let Some((real, copy)) = real_and_copy() else { return };
    let folder = program::folder();
    let other = fs_err::read_dir(real.alpine_keys(PLATFORM)).unwrap().next().unwrap().unwrap().path();
    fs_err::copy(other, folder.path().join("kimg-testdata-1.rsa.pub")).unwrap();
    let story = refused(copy.path(), folder.path(), &[10]);
    assert!(story.contains("kimg-testdata-1.rsa.pub"), "{story}");
}

#[test]
fn a_package_for_another_architecture_is_refused_even_when_the_index_vouches_for_it() {
    let Some((real, copy)) = real_and_copy() else { return };
    copy.mislabel("ca-certificates-bundle", Platform::Arm64);
    let story = refused(copy.path(), &real.keys(), &[10]);
    assert!(
        story.contains("ca-certificates-bundle") && story.contains("aarch64") && story.contains("armv7"),
        "{story}"
    );
}

#[test]
fn a_folder_of_packages_for_another_architecture_has_nothing_to_build_from() {
    let Some(real) = kimg_testkit::real() else { return };
    let copy = RepositoryCopy::new(&real, Platform::Arm64);
    fs_err::rename(copy.arch(), copy.path().join(PLATFORM.alpine())).unwrap();
    refused(copy.path(), &real.keys(), &[13]);
}

#[test]
fn a_program_linked_against_glibc_is_refused_in_these_words() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(plugins) = kimg_testkit::debian_plugins() else { return };
    let folder = program::folder();
    let toml = format!(
        "[[program]]\nname = \"bridge\"\npath = {:?}\ninstall = \"/opt/cni/bin/bridge\"\nplatform = \"amd64\"\n",
        plugins.join("bridge")
    );
    fs_err::write(folder.path().join("kimg.toml"), toml).unwrap();
    let mut kimg = program::kimg_on(&real, folder.path(), "build");
    let story =
        program::failure(kimg.args(["--variant", "flannel", "--arch", "amd64", "--pack", "never"]), 13);
    assert!(story.contains("linked against glibc"), "{story}");
    assert!(story.contains("/opt/cni/bin/bridge"), "{story}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_program_for_another_architecture_is_refused() {
    let Some(real) = kimg_testkit::real() else { return };
    let Some(plugins) = kimg_testkit::debian_plugins() else { return };
    let folder = program::folder();
    let toml = format!(
        "[[program]]\nname = \"bridge\"\npath = {:?}\ninstall = \"/opt/cni/bin/bridge\"\n",
        plugins.join("bridge")
    );
    fs_err::write(folder.path().join("kimg.toml"), toml).unwrap();
    let mut kimg = program::kimg_on(&real, folder.path(), "build");
    let story =
        program::failure(kimg.args(["--variant", "flannel", "--arch", "arm64", "--pack", "never"]), 13);
    assert!(story.contains("/opt/cni/bin/bridge"), "{story}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn under_strict_what_is_missing_is_an_error_that_names_all_of_it() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "build");
    let story = program::failure(
        kimg.args(["--variant", "kubeadm-cni", "--arch", "armv7", "--pack", "never", "--strict"]),
        13,
    );
    for what in ["conntrack", "crictl", "flannel"] {
        assert!(story.contains(what), "{what}\n{story}");
    }
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_failed_build_leaves_an_earlier_one_as_it_was() {
    let Some((real, copy)) = real_and_copy() else { return };
    let folder = program::folder();
    let build = || {
        let mut kimg = program::kimg(folder.path());
        kimg.arg("build").arg("-r").arg(copy.path()).arg("-k").arg(real.keys());
        kimg.args(["--variant", "plain", "--arch", "armv7", "--pack", "never", "--cache-dir"]);
        kimg
    };
    program::success(build().arg("cache"));
    let before = program::files(&folder.path().join("out"));
    copy.change(&copy.package("kubelet"), |bytes| bytes.truncate(bytes.len() / 2));
    program::failure(build().arg("another-cache"), 10);
    assert_eq!(program::files(&folder.path().join("out")), before);
}

#[test]
fn without_keys_of_ones_own_a_strangers_repository_is_refused() {
    let Some((_, copy)) = real_and_copy() else { return };
    let folder = program::folder();
    let mut kimg = program::kimg(folder.path());
    kimg.arg("build").arg("-r").arg(copy.path()).args([
        "--variant",
        "plain",
        "--arch",
        "armv7",
        "--cache-dir",
        "c",
    ]);
    let story = program::failure(&mut kimg, 10);
    assert!(story.contains("not among the trusted keys"), "{story}");
    assert!(story.contains("help: "), "{story}");
}
