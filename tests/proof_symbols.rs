//! `kimg check`: whether what programs load fits together, held against what musl's own loader says when it starts them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;
mod proof;

use std::collections::BTreeSet;

use kimg_core::Platform;
use kimg_testkit::sample::elf::Library;
use kimg_testkit::{Real, Root, TempDir, both};
use program::Answer;
use serde_json::Value;

#[test]
fn in_every_variant_for_every_architecture_all_that_is_loaded_fits_together() {
    let Some(real) = kimg_testkit::real() else { return };
    let folder = program::folder();
    let checked = program::json(program::kimg_on(&real, folder.path(), "check").args(["--format", "json"]));
    let images = checked.as_array().unwrap();
    assert_eq!(images.len(), program::VARIANTS.len() * Platform::DEFAULT.len());
    for image in images {
        assert_eq!(image["findings"], Value::Array(Vec::new()), "{}", image["what"]);
        // Of iptables alone there are thirty plugins with some symbols each: fewer would mean that nothing was read.
        assert!(image["objects"].as_u64() > Some(30) && image["symbols"].as_u64() > Some(500), "{image}");
    }
    let text = program::success(&mut program::kimg_on(&real, folder.path(), "check"));
    let sum = |what: &str| images.iter().map(|image| image[what].as_u64().unwrap()).sum::<u64>();
    let (objects, symbols) = (sum("objects"), sum("symbols"));
    assert_eq!(text, format!(" no findings: 18 images, {objects} objects and {symbols} symbols looked at\n"));
}

#[test]
fn a_library_without_its_symbols_is_found_as_the_loader_finds_it() {
    for platform in [Platform::Amd64, Platform::ArmV7] {
        let Some((_folder, root)) = plain(platform) else { return };
        let program = "/bin/mount";
        assert_eq!(check(&root, &[program], "json").code, 0, "whole");

        let needs_no_symbol = Library::new(platform, "libblkid.so.1", Vec::<String>::new()).build();
        fs_err::write(root.on_disk("/lib/libblkid.so.1.1.0"), needs_no_symbol).unwrap();
        let found = check(&root, &[program], "json");
        assert_eq!(found.code, 13, "{}", found.out);
        let Some(refused) = refused_by_the_loader(&root, program) else { return };
        assert!(refused.contains("blkid_new_probe_from_filename") && refused.len() > 5, "{refused:?}");
        assert_eq!(missing(&found, "/lib/libmount.so.1.1.0", "started"), refused, "{platform}");
        // A program that does not load it is none the worse.
        assert_eq!(check(&root, &["/usr/bin/find"], "json").code, 0);
    }
}

#[test]
fn another_build_of_a_library_is_found_as_the_loader_finds_it() {
    let Some((_folder, root)) = plain(Platform::Amd64) else { return };
    let lib = |name: &str| root.on_disk(&format!("/usr/lib/{name}"));
    fs_err::copy(lib("libip6tc.so.2.0.0"), lib("libip4tc.so.2.0.0")).unwrap();
    let found = check(&root, &["/sbin/iptables", "/bin/mount"], "json");
    assert_eq!(found.code, 13, "{}", found.out);
    let Some(refused) = refused_by_the_loader(&root, "/sbin/iptables") else { return };
    assert!(refused.contains("iptc_init"), "{refused:?}");
    assert_eq!(missing(&found, "/sbin/xtables-legacy-multi", "started"), refused);

    // For people it is one line: the first symbol, some further ones, and how many more.
    let table = check(&root, &["/sbin/iptables"], "table");
    assert_eq!(table.code, 13);
    assert_eq!(table.out.lines().count(), 2, "{}", table.out);
    let line = table.out.lines().next().unwrap();
    assert!(line.starts_with(" ✗ `/sbin/xtables-legacy-multi` wants the symbol `dump_entries`"), "{line}");
    assert!(line.ends_with(&format!(" and {} more", refused.len() - 4)), "{line}");
    assert!(table.out.contains(&format!(" {} findings: ", refused.len())), "{}", table.out);
    assert!(table.story.contains("error: a program does not start"), "{}", table.story);
    assert!(table.story.contains("help: "), "{}", table.story);
    let markdown = check(&root, &["/sbin/iptables"], "markdown");
    assert!(markdown.out.starts_with("| Finding | Strong | In |\n| --- | --- | --- |\n"), "{}", markdown.out);
}

#[test]
fn a_plugin_that_could_not_be_loaded_is_found_as_the_loader_finds_it() {
    let Some((_folder, root)) = plain(Platform::Amd64) else { return };
    let plugin = "/usr/lib/xtables/libxt_comment.so";
    let asked = ["/sbin/iptables", "-m", "comment", "--help"];
    let Some(whole) = root.run(&asked, &[]) else { return };
    assert!(whole.status.success(), "{}", both(&whole));

    // As if it were made for a later libxtables: it asks for a function that this one has not.
    let bytes = fs_err::read(root.on_disk(plugin)).unwrap();
    let (old, new) = (b"\0xtables_register_match", b"\0xtables_register_watch");
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    let changed = [&bytes[..at], new, &bytes[at + old.len()..]].concat();
    fs_err::write(root.on_disk(plugin), changed).unwrap();

    let said = both(&root.run(&asked, &[]).unwrap());
    assert!(
        said.contains("Couldn't load match `comment'") && said.contains("xtables_register_watch"),
        "{said}"
    );
    let found = check(&root, &["/sbin/iptables"], "json");
    assert_eq!(found.code, 13, "{}", found.out);
    assert_eq!(missing(&found, plugin, "loaded"), BTreeSet::from(["xtables_register_watch".to_owned()]));
}

#[test]
fn a_library_that_is_not_there_is_found_and_named() {
    let Some((_folder, root)) = plain(Platform::ArmV7) else { return };
    fs_err::remove_file(root.on_disk("/usr/lib/libip6tc.so.2")).unwrap();
    let Some(wrong) = root.musl_list("/sbin/iptables") else { return };
    assert!(wrong.iter().any(|line| line.contains("libip6tc.so.2")), "{wrong:?}");
    let found = check(&root, &["/sbin/iptables"], "table");
    assert_eq!(found.code, 13, "{}", found.out);
    let needs = " ✗ `/sbin/xtables-legacy-multi` needs `libip6tc.so.2`, which is not in /lib, /usr/local/lib, /usr/lib";
    assert_eq!(found.out.lines().next(), Some(needs), "{}", found.out);
}

#[test]
fn the_sample_is_checked_in_one_line() {
    let folder = program::folder();
    let mut kimg = program::kimg_sample(folder.path(), "check");
    let text = program::success(kimg.args(["--variant", "plain", "--arch", "armv7"]));
    assert!(
        text.starts_with(" no findings: plain for linux/arm/v7, ") && text.lines().count() == 1,
        "{text}"
    );
}

#[test]
fn programs_are_named_with_a_root_and_a_root_has_programs() {
    let folder = program::folder();
    let alone = program::failure(program::kimg(folder.path()).args(["check", "/bin/sh"]), 2);
    assert!(alone.contains("--root <DIR|IMAGE>"), "{alone}");
    let empty = program::failure(program::kimg(folder.path()).args(["check", "--root", "."]), 13);
    assert!(empty.contains("`.` has no ELF program"), "{empty}");
    let nowhere =
        program::failure(program::kimg(folder.path()).args(["check", "--root", "no", "/bin/sh"]), 30);
    assert!(nowhere.contains("unpacked root file system"), "{nowhere}");
}

/// The image of `plain`, unpacked.
fn plain(platform: Platform) -> Option<(TempDir, Root)> {
    let real: Real = kimg_testkit::real()?;
    let folder = program::folder();
    let root = proof::unpack(&real, "plain", platform, "minimal", folder.path())?;
    Some((folder, root))
}

fn check(root: &Root, programs: &[&str], format: &str) -> Answer {
    let folder = program::folder();
    let mut kimg = program::kimg(folder.path());
    kimg.arg("check").arg("--root").arg(root.folder()).args(programs).args(["--format", format]);
    program::answer(&mut kimg)
}

/// The symbols that a file misses, as `kimg check` prints them.
fn missing(found: &Answer, of: &str, when: &str) -> BTreeSet<String> {
    let checked: Value = serde_json::from_str(&found.out).unwrap();
    let findings = checked[0]["findings"].as_array().unwrap();
    for finding in findings {
        assert_eq!(finding["finding"], "symbol-missing", "{finding}");
        assert_eq!((&finding["of"], &finding["when"]), (&of.into(), &when.into()), "{finding}");
        assert_eq!(finding["strong"], true);
    }
    findings.iter().map(|finding| finding["symbol"].as_str().unwrap().to_owned()).collect()
}

/// The symbols for which musl's loader does not start a program. `None` after a visible skip.
fn refused_by_the_loader(root: &Root, program: &str) -> Option<BTreeSet<String>> {
    let output = root.run(&[program, "--version"], &[])?;
    assert_eq!(output.status.code(), Some(127), "{}", both(&output));
    let text = both(&output);
    let symbols = text.lines().filter_map(|line| line.strip_suffix(": symbol not found"));
    Some(symbols.map(|line| line.rsplit(": ").next().unwrap().to_owned()).collect())
}
