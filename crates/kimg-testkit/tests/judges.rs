//! The judges tell right from wrong: in roots that the real `apk` made, with nothing of kimg's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kimg_core::Platform;
use kimg_testkit::{AlpineRoot, Real, RepositoryCopy, Root, both, real};

/// A root of the real packages for a platform, installed by the real `apk`.
fn installed(real: &Real, alpine: &AlpineRoot, platform: Platform, packages: &[&str]) -> Option<Root> {
    alpine.trust(&real.keys());
    alpine.share(&real.repo(), "/repo");
    let target = format!("/{}", platform.short());
    let mut words = vec!["add", "--root", &target, "--initdb", "--arch", platform.alpine(), "--no-network"];
    words.extend(["--no-scripts", "--keys-dir", "/etc/apk/keys", "-X", "/repo"]);
    words.extend(packages);
    alpine.apk_lines(&words)?;
    Some(Root::new(alpine.root().on_disk(&target), platform))
}

#[test]
fn programs_start_on_every_platform_and_a_library_taken_away_is_noticed() {
    let Some(real) = real() else { return };
    let Some(alpine) = AlpineRoot::new(&real) else { return };
    for platform in Platform::DEFAULT {
        let packages = ["iptables", "util-linux", "socat", "cni-plugins"];
        let Some(root) = installed(&real, &alpine, platform, &packages) else { return };
        let Some(output) = root.run(&["iptables", "-m", "comment", "--help"], &[]) else { return };
        assert!(both(&output).contains("comment match options"), "{platform}: {}", both(&output));
        let asked = root.answer(
            &["/usr/libexec/cni/bridge"],
            &[("CNI_COMMAND", "VERSION")],
            "{\"cniVersion\":\"1.0.0\"}",
        );
        assert!(both(&asked.unwrap()).contains("supportedVersions"));

        let elfs = root.all_dynamic_elfs();
        let mount = elfs.iter().find(|elf| elf.path == "/bin/mount").unwrap();
        assert!(
            mount.needed.iter().any(|n| n == "libmount.so.1") && mount.interpreter.is_some(),
            "{mount:?}"
        );
        assert!(!elfs.iter().any(|elf| elf.path.contains("/cni/")), "the plugins are static");
        let plugin = elfs.iter().find(|elf| elf.path.ends_with("/libxt_comment.so")).unwrap();
        assert_eq!(root.musl_list(&plugin.path).unwrap(), [""; 0], "{platform}");
        assert_eq!(root.musl_list("/bin/mount").unwrap(), [""; 0], "{platform}");
        assert_eq!(root.lddtree("/bin/mount").unwrap(), [""; 0], "{platform}");

        for folder in ["/lib", "/usr/lib"] {
            for library in ["libblkid.so.1", "libxtables.so.12"] {
                let _ = fs_err::remove_file(root.on_disk(&format!("{folder}/{library}")));
            }
        }
        assert!(root.musl_list("/bin/mount").unwrap()[0].contains("libblkid.so.1"));
        assert!(root.lddtree("/bin/mount").unwrap()[0].contains("libblkid.so.1"));
        assert!(root.musl_list(&plugin.path).unwrap()[0].contains("libxtables.so.12"));
        assert!(!root.run(&["/bin/mount", "--version"], &[]).unwrap().status.success());
    }
}

#[test]
fn an_updated_copy_of_the_repository_is_one_that_the_real_apk_trusts() {
    let Some(real) = real() else { return };
    let Some(alpine) = AlpineRoot::new(&real) else { return };
    let copy = RepositoryCopy::new(&real, Platform::ArmV7);
    copy.update("socat", "99.0-r7");
    alpine.trust(&real.keys());
    alpine.share(copy.path(), "/repo");
    let list = ["list", "--root", "/empty", "--arch", "armv7", "--no-network", "--keys-dir", "/etc/apk/keys"];
    alpine.apk_lines(&["add", "--root", "/empty", "--initdb", "--arch", "armv7", "--no-network"]);
    let Some(lines) = alpine.apk_lines(&[&list[..], &["-X", "/repo", "socat"]].concat()) else { return };
    assert!(lines.iter().any(|line| line.starts_with("socat-99.0-r7 armv7")), "{lines:?}");
    let file = format!("/repo/armv7/{}", copy.package("socat").file_name().unwrap().to_str().unwrap());
    assert_eq!(alpine.apk_lines(&["verify", &file]).unwrap(), [format!("{file}: 0 - OK")]);
    let unchanged = real.package(Platform::ArmV7, "socat");
    assert!(!unchanged.to_str().unwrap().contains("99.0"), "the original is as it was");
}
