//! `kimg cache`: what the cache holds, and what is taken out of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::path::Path;

use assert_cmd::Command;

fn kimg(folder: &Path, arguments: &[&str]) -> Command {
    let mut kimg = program::kimg(folder);
    kimg.args(arguments).args(["--cache-dir", "cache"]);
    kimg
}

fn build(folder: &Path) -> String {
    let sample = ["build", "--sample", "--variant", "plain", "--arch", "armv7", "--pack", "never", "-q"];
    program::success(&mut kimg(folder, &sample))
}

#[test]
fn info_names_every_kind_with_its_size() {
    let folder = program::folder();
    build(folder.path());
    let told = program::json(&mut kimg(folder.path(), &["cache", "info", "--format", "json"]));
    assert!(told["folder"].as_str().unwrap().ends_with("cache/v1"), "{told}");
    let kinds = told["kinds"].as_array().unwrap();
    let sum: u64 = kinds.iter().map(|kind| kind["bytes"].as_u64().unwrap()).sum();
    assert_eq!(told["bytes"].as_u64().unwrap(), sum);
    let files = program::files(&folder.path().join("cache/v1"));
    let on_disk: u64 =
        files.keys().map(|f| fs_err::metadata(folder.path().join("cache/v1").join(f)).unwrap().len()).sum();
    assert!(sum <= on_disk && sum > on_disk / 2, "{sum} of {on_disk} bytes are told");
    let table = program::success(&mut kimg(folder.path(), &["cache", "info"]));
    for word in ["contents", "records", "blobs", "total", "today"] {
        assert!(table.contains(word), "{word}\n{table}");
    }
}

#[test]
fn a_pruned_cache_gives_the_same_images_again() {
    let folder = program::folder();
    let first = build(folder.path());
    let before = program::json(&mut kimg(folder.path(), &["cache", "info", "--format", "json"]));
    // What nothing needs: nothing yet.
    program::success(&mut kimg(folder.path(), &["cache", "prune", "--older-than", "30d"]));
    let after = program::json(&mut kimg(folder.path(), &["cache", "info", "--format", "json"]));
    assert_eq!(after["bytes"], before["bytes"], "all of it was used today");

    let pruned = program::json(&mut kimg(folder.path(), &["cache", "prune", "--all", "--format", "json"]));
    assert_eq!(pruned["bytes"], before["bytes"]);
    let empty = program::json(&mut kimg(folder.path(), &["cache", "info", "--format", "json"]));
    assert_eq!(empty["bytes"], 0);
    fs_err::remove_dir_all(folder.path().join("out")).unwrap();
    assert_eq!(build(folder.path()), first);
}

#[test]
fn what_was_not_used_for_long_goes_and_a_size_is_kept_to() {
    let folder = program::folder();
    build(folder.path());
    let cache = folder.path().join("cache/v1");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(90 * 86_400);
    for file in program::files(&cache.join("record")).into_keys() {
        let file = fs_err::File::options().append(true).open(cache.join("record").join(file)).unwrap();
        file.into_parts().0.set_modified(long_ago).unwrap();
    }
    let pruned = program::json(&mut kimg(
        folder.path(),
        &["cache", "prune", "--older-than", "8w", "--format", "json"],
    ));
    assert!(pruned["bytes"].as_u64().unwrap() > 0, "{pruned}");
    build(folder.path());
    program::success(&mut kimg(folder.path(), &["cache", "prune", "--keep", "10kB"]));
    let told = program::json(&mut kimg(folder.path(), &["cache", "info", "--format", "json"]));
    assert!(told["bytes"].as_u64().unwrap() <= 10_000, "{told}");
}

#[test]
fn a_time_without_its_unit_is_refused() {
    let folder = program::folder();
    let answer = program::answer(&mut kimg(folder.path(), &["cache", "prune", "--older-than", "30"]));
    assert_eq!(answer.code, 2, "{}", answer.story);
    assert!(answer.story.contains("12h, 30d, 8w"), "{}", answer.story);
}
