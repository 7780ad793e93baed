//! What people see of the size matrix beside the table itself: changes, parts, growth, moves, the picture, what is kept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kimg_core::{Digest, Platform};
use kimg_report::{
    Basis, EntryLayer, Format, MatrixEntry, MeasuredFile, MeasuredLayer, Moves, MovesBefore, SizeMatrix,
};

/// A file: path, size, pull, package.
type File = (&'static str, u64, u64, Option<&'static str>);

fn layer(matrix: &mut SizeMatrix, name: &str, version: &str, files: &[File]) -> EntryLayer {
    let digest = Digest::of(format!("{name} {version}"));
    let files = files.iter().map(|(path, size, pull, package)| {
        let package = package.map(str::to_owned);
        ((*path).to_owned(), MeasuredFile { size: *size, pull: *pull, package })
    });
    let mut measured = MeasuredLayer { extracted: 10_240, rest: 100, files: files.collect() };
    measured.extracted += measured.files.values().map(|file| file.size).sum::<u64>();
    let compressed = measured.rest + measured.files.values().map(|file| file.pull).sum::<u64>();
    matrix.layers.insert(digest, measured);
    EntryLayer { digest, name: Some(name.to_owned()), compressed }
}

fn image(matrix: &mut SizeMatrix, variant: &str, version: &str, platform: Platform, layers: &[EntryLayer]) {
    let extracted = layers.iter().map(|layer| matrix.layers[&layer.digest].extracted).sum();
    matrix.entries.push(MatrixEntry {
        variant: variant.to_owned(),
        description: String::new(),
        tag: format!("kubelet:{version}-{variant}"),
        platform,
        compressed: layers.iter().map(|layer| layer.compressed).sum(),
        extracted,
        digest: Digest::of(format!("{variant} {version} {platform}")),
        sample: false,
        stored_plain: false,
        layers: layers.to_vec(),
        before: None,
    });
}

/// A release: plain and cni for two platforms, with one base for both.
fn release(version: &str, kubelet: (u64, u64), extra: &[File]) -> SizeMatrix {
    let mut matrix = SizeMatrix::default();
    for platform in [Platform::Amd64, Platform::ArmV7] {
        let of = |name: &str| format!("{name} {platform}");
        let mut files: Vec<File> = vec![
            ("/bin/mount", 42_100, 20_000, Some("util-linux-2.38.1-r0")),
            ("/lib/ld-musl.so.1", 600_000, 380_000, Some("musl-1.2.2-r9")),
        ];
        files.extend(extra);
        let base = layer(&mut matrix, &of("base"), if extra.is_empty() { "1" } else { "2" }, &files);
        let package = if version == "v1.20.2" { "kubelet-1.20.2-r0" } else { "kubelet-1.20.1-r0" };
        let files = [("/usr/bin/kubelet", kubelet.0, kubelet.1, Some(package))];
        let program = layer(&mut matrix, &of("kubelet"), version, &files);
        let files = [("/opt/cni/bin/bridge", 900_000, 890_000, Some("cni-plugins-1.1.1-r0"))];
        let plugins = layer(&mut matrix, &of("cni"), "1", &files);
        let record =
            layer(&mut matrix, &of("record"), version, &[("/lib/apk/db/installed", 9_000, 2_000, None)]);
        let plain = [base, program, record];
        image(&mut matrix, "plain", version, platform, &plain);
        let cni = [&plain[..2], &[plugins, plain[2].clone()]].concat();
        image(&mut matrix, "cni", version, platform, &cni);
    }
    matrix.entries.sort_by_key(|entry| (entry.variant != "plain", entry.platform));
    matrix
}

fn now() -> SizeMatrix {
    release(
        "v1.20.2",
        (67_100_000, 18_700_000),
        &[("/usr/sbin/conntrack", 90_000, 41_000, Some("conntrack-1.4.6-r1"))],
    )
}

fn earlier() -> SizeMatrix {
    let mut matrix = release("v1.20.1", (66_800_000, 18_950_000), &[]);
    matrix.entries.retain(|entry| !(entry.variant == "cni" && entry.platform == Platform::ArmV7));
    let mut gone = matrix.entries[0].clone();
    gone.variant = "flannel".into();
    matrix.entries.push(gone);
    matrix
}

#[test]
fn cells_tell_what_changed_what_is_new_and_the_last_line_what_is_gone() {
    let mut matrix = now();
    matrix.compare(&earlier(), "last.json");
    insta::assert_snapshot!("changes_on_a_terminal", matrix.render(Format::Table));
    insta::assert_snapshot!("changes_in_a_readme", matrix.render(Format::Markdown));
    let csv = matrix.render(Format::Csv);
    assert!(csv.lines().next().unwrap().ends_with(",compressed_before,extracted_before"), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&matrix.render(Format::Json)).unwrap();
    assert_eq!(json["entries"][0]["before"]["compressed"], earlier().entries[0].compressed);
}

#[test]
fn a_matrix_compared_with_itself_has_not_changed() {
    let mut matrix = now();
    matrix.compare(&now(), "itself");
    let text = matrix.render(Format::Markdown);
    assert_eq!(text.matches("(±0)").count(), 4, "{text}");
}

#[test]
fn parts_add_up_to_what_is_pulled_and_name_what_no_package_owns() {
    let (matrix, parts) = (now(), now().parts());
    for entry in &matrix.entries {
        let own = parts.parts.iter().filter(|p| p.variant == entry.variant && p.platform == entry.platform);
        assert_eq!(own.map(|part| part.pull).sum::<u64>(), entry.compressed);
    }
    insta::assert_snapshot!("parts_on_a_terminal", parts.render(Format::Table, 100, false));
    insta::assert_snapshot!("parts_in_markdown", parts.render(Format::Markdown, 100, false));
    let csv = parts.render(Format::Csv, 0, false);
    assert_eq!(csv.lines().count(), parts.parts.len() + 1, "{csv}");
}

#[test]
fn growth_is_told_file_by_file_in_exact_bytes() {
    let (matrix, before) = (now(), earlier());
    let growth = matrix.growth(&matrix.entries[0], Some(&before));
    insta::assert_snapshot!("growth", growth.lines(10).join("\n"));
    assert_eq!(growth.lines(1).len(), 4, "a head, packages, and both files: one more line would say no less");
    let first = matrix.growth(&matrix.entries[3], Some(&before));
    assert!(first.since.is_none() && first.lines(9)[0].starts_with("no earlier matrix"), "{first:?}");
}

#[test]
fn moves_are_exact_where_the_release_before_is_known_and_say_so_where_it_is_not() {
    let exact = Moves::of(&[("out".into(), now(), Some(earlier()))]);
    insta::assert_snapshot!("moves_since_a_release", exact.render(Format::Table, 100, false));
    let follows = Moves::of(&[("out".into(), now(), None)]);
    insta::assert_snapshot!("moves_without_one", follows.render(Format::Markdown, 100, false));
    let next = follows.moves.iter().find(|m| m.before == MovesBefore::Release(None)).unwrap();
    assert_eq!((next.bytes, next.layers, next.basis), (18_702_200, 2, Basis::KubernetesLayers));
    assert!(follows.render(Format::Csv, 0, false).contains(",18702200,2,kubernetes-layers\n"));
    // The base differs, too: one tool is new.
    let known = exact.moves.iter().find(|m| matches!(m.before, MovesBefore::Release(_))).unwrap();
    assert_eq!((known.bytes, known.layers), (now().entries[0].compressed, 3));
}

#[test]
fn images_of_one_layer_share_nothing() {
    let mut single = now();
    for entry in &mut single.entries {
        let digest = Digest::of(format!("all of {} {}", entry.variant, entry.platform));
        let mut whole = MeasuredLayer::default();
        for layer in &entry.layers {
            whole.files.extend(single.layers[&layer.digest].files.clone());
        }
        single.layers.insert(digest, whole);
        entry.layers = vec![EntryLayer { digest, name: None, compressed: entry.compressed }];
    }
    let moves = Moves::of(&[("shared".into(), now(), None), ("single".into(), single.clone(), None)]);
    insta::assert_snapshot!("moves_of_two_layouts", moves.render(Format::Table, 100, false));
    for one in moves.moves.iter().filter(|one| one.source == "single") {
        let entry = single.entries.iter().find(|e| e.variant == one.variant && e.platform == one.platform);
        assert_eq!(one.bytes, entry.unwrap().compressed);
    }
}

#[test]
fn what_is_kept_reads_back_and_has_a_line_for_each_file() {
    let mut matrix = now();
    let text = matrix.to_record();
    assert_eq!(SizeMatrix::from_record("kept.json", &text).unwrap(), matrix);
    assert!(text.contains("\"/usr/bin/kubelet\": [67100000, 18700000, \"kubelet-1.20.2-r0\"]\n"), "{text}");
    matrix.compare(&earlier(), "last.json");
    assert_eq!(matrix.to_record(), text, "what it was compared with is not kept");
    let error = SizeMatrix::from_record("kept.json", "{\"entries\": 7}").unwrap_err();
    assert!(error.to_string().starts_with("kept.json is no size matrix: "), "{error}");
}

#[test]
fn what_a_kept_matrix_no_longer_says_truly_is_told_image_by_image() {
    assert!(now().differences(&now()).is_empty());
    insta::assert_snapshot!("differences", now().differences(&earlier()).join("\n"));
}

#[test]
fn the_picture_has_words_for_those_who_cannot_see_it_and_no_name_breaks_it() {
    let mut matrix = now();
    insta::assert_snapshot!("chart", matrix.to_svg());
    matrix.entries[0].variant = "<script>&\"\u{1b}".into();
    let svg = matrix.to_svg();
    assert!(!svg.contains("<script>") && !svg.contains('\u{1b}'), "{svg}");
    assert!(SizeMatrix::default().to_svg().ends_with("</svg>\n"));
}
