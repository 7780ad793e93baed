//! What people see at a build's end and of the matrix, at several widths.

use kimg_core::{Digest, ImagePath, Platform};
use kimg_report::{
    Alone, BuildReport, Contributor, Fetched, Format, ImageReport, Joined, LayerReport, LeftOut, LeftOutOf,
    MatrixEntry, Missing, NotRun, PackReport, SizeMatrix,
};

/// The sizes of the earlier images, which kimg is to beat: variant, and compressed and extracted bytes by platform.
const EARLIER: [(&str, [(u64, u64); 3]); 6] = [
    ("plain", [(25_504_289, 83_343_360), (23_568_181, 88_872_960), (24_399_998, 84_879_360)]),
    ("flannel", [(29_550_737, 87_490_560), (27_288_586, 92_702_720), (28_213_227, 88_801_280)]),
    ("cni", [(43_833_953, 102_092_800), (40_400_519, 106_188_800), (41_573_808, 102_533_120)]),
    ("kubeadm", [(36_393_111, 94_679_040), (32_940_867, 98_713_600), (33_761_911, 94_679_040)]),
    ("kubeadm-cni", [(54_722_775, 113_428_480), (49_773_205, 116_029_440), (50_935_721, 112_332_800)]),
    ("kube-proxy", [(14_104_289, 43_343_360), (13_168_181, 45_872_960), (13_399_998, 44_879_360)]),
];

fn image(variant: &str, platform: Platform, (compressed, extracted): (u64, u64)) -> ImageReport {
    let program = |path: &str, plain, packed, verdict: &str| PackReport {
        path: ImagePath::new(path).expect("the tests' paths are paths"),
        plain,
        packed,
        verdict: verdict.into(),
    };
    let base = LayerReport {
        name: "base".into(),
        digest: Digest::of(platform.short()),
        compressed: 2_012_345,
        extracted: 5_304_320,
        cached: true,
        shared_with: EARLIER
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .filter(|name| name != variant)
            .collect(),
    };
    let answers =
        if platform == Platform::Amd64 { "answers as before" } else { "answers as before under qemu" };
    let mut packed = vec![
        program(
            "/usr/bin/kubelet",
            67_082_048,
            None,
            "a daemon's pages are shared and dropped only when unpacked",
        ),
        program("/bin/mount", 42_128, None, "smaller than 1 MiB"),
        program("/bin/umount", 34_128, None, "smaller than 1 MiB"),
    ];
    if variant.contains("kubeadm") {
        packed.push(program("/usr/bin/kubeadm", 42_728_768, Some(8_164_704), answers));
    }
    ImageReport {
        variant: variant.into(),
        platform,
        kubernetes: "v1.20.2".into(),
        tags: vec![format!("v1.20.2-{variant}")],
        digest: Digest::of(format!("{variant} {platform}")),
        compressed,
        extracted,
        layers: vec![base],
        contributors: [
            ("kubelet", 67_082_048, 1),
            ("iptables", 3_120_144, 104),
            ("libcrypto1.1", 2_613_936, 2),
            ("util-linux", 712_000, 12),
            ("musl", 604_704, 2),
            ("ca-certificates-bundle", 221_000, 2),
            ("busybox", 830_000, 4),
            ("zlib", 100_000, 1),
        ]
        .map(|(name, extracted, files)| Contributor { name: name.into(), extracted, files })
        .to_vec(),
        packed,
        left_out: LeftOut {
            files: 1_204,
            bytes: 5_212_345,
            by_package: [
                ("coreutils", 900, 3_100_000),
                ("util-linux", 301, 2_000_000),
                ("busybox", 3, 112_345),
            ]
            .map(|(package, files, bytes)| LeftOutOf { package: package.into(), files, bytes })
            .to_vec(),
        },
        missing: vec![Missing {
            what: "conntrack".into(),
            reason:
                "no package of these repositories has it; forgets connections of host ports whose pod is gone"
                    .into(),
        }],
        not_run: vec![
            NotRun { package: "busybox".into(), script: "post-install".into() },
            NotRun { package: "busybox".into(), script: "trigger".into() },
            NotRun { package: "alpine-baselayout".into(), script: "pre-install".into() },
        ],
    }
}

fn report(variants: usize) -> BuildReport {
    let images = EARLIER[..variants].iter().flat_map(|(variant, sizes)| {
        Platform::DEFAULT.into_iter().zip(sizes).map(|(platform, sizes)| image(variant, platform, *sizes))
    });
    BuildReport {
        kimg_version: "0.1.0".into(),
        sample: false,
        kubernetes: vec!["v1.20.2".into()],
        images: images.collect(),
        joined: Vec::new(),
        fetched: Fetched { files: 71, bytes: 214_123_456, from_cache: 12 },
        next: Some("kimg push out/ ghcr.io/me/kubelet".into()),
    }
}

#[test]
fn two_variants_for_three_platforms_fit_one_screen() {
    let text = report(2).to_terminal(100, false);
    assert!(text.lines().count() <= 30, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn programs_that_are_one_are_told_for_the_biggest_platform_and_those_that_can_not_be_for_each() {
    let mut report = report(1);
    let joined = |platform, size, why: Option<&str>| Joined {
        what: "kubernetes v1.20.2".into(),
        platform,
        programs: [("kubelet", 57_700_000), ("kubeadm", 37_200_000)]
            .map(|(name, size)| Alone { name: name.into(), size: Some(size) })
            .into(),
        size,
        why: why.map(Into::into),
    };
    report.joined = vec![
        joined(Platform::Amd64, Some(66_000_000), None),
        joined(Platform::Arm64, Some(65_000_000), None),
        joined(Platform::ArmV7, None, Some("cmd/x/x.go:5:15: a variable of the package registers a flag")),
    ];
    insta::assert_snapshot!(report.to_terminal(100, false));
    assert!(report.to_json().contains("\"why\": \"cmd/x/x.go:5:15"));
}

#[test]
fn eighteen_images_are_six_rows_and_say_each_thing_once() {
    let text = report(6).to_terminal(100, false);
    assert!(text.lines().count() <= 40, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn eighty_columns_are_kept_to() {
    let text = report(6).to_terminal(80, false);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn one_image_alone_is_shown_in_full() {
    let mut report = report(1);
    report.images.truncate(1);
    report.fetched = Fetched::default();
    insta::assert_snapshot!(report.to_terminal(100, false));
}

#[test]
fn a_program_that_fares_differently_by_platform_says_how() {
    let mut report = report(6);
    for image in report.images.iter_mut().filter(|image| image.platform == Platform::ArmV7) {
        for program in image.packed.iter_mut().filter(|program| program.packed.is_some()) {
            program.packed = None;
            program.verdict = "packed it is not smaller".into();
        }
    }
    let text = report.to_terminal(200, false);
    let line = text.lines().find(|line| line.contains("kubeadm 42.7")).unwrap();
    assert_eq!(
        line,
        " Packed    kubeadm 42.7 → 8.2 MB: on linux/amd64: answers as before; \
         on linux/arm64: answers as before under qemu; on linux/arm/v7: plain, packed it is not smaller"
    );
}

#[test]
fn what_is_missing_on_one_platform_names_it() {
    let mut report = report(2);
    for image in &mut report.images {
        image.missing.retain(|_| image.platform == Platform::ArmV7 && image.variant == "plain");
    }
    let text = report.to_terminal(100, false);
    assert!(text.contains("conntrack (from plain on linux/arm/v7)"), "{text}");
}

#[test]
fn a_sample_is_marked_in_the_table_and_in_the_last_line() {
    let report = BuildReport { sample: true, ..report(1) };
    let text = report.to_terminal(100, false);
    assert!(text.contains("plain (sample)"), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.contains("SAMPLE"), "{last}");
}

#[test]
fn rows_of_several_versions_say_which() {
    let mut report = report(1);
    let newer = report.images.iter().map(|i| ImageReport { kubernetes: "v1.21.0".into(), ..i.clone() });
    let newer: Vec<ImageReport> = newer.collect();
    report.images.extend(newer);
    report.kubernetes.push("v1.21.0".into());
    let text = report.to_terminal(100, false);
    assert!(text.contains(" plain v1.20.2 ") && text.contains(" plain v1.21.0 "), "{text}");
}

#[test]
fn colours_change_no_letter() {
    let (plain, coloured) = (report(2).to_terminal(100, false), report(2).to_terminal(100, true));
    assert!(!plain.contains('\u{1b}'));
    let mut without = coloured.clone();
    for code in ["\u{1b}[1m", "\u{1b}[1;33m", "\u{1b}[36m", "\u{1b}[0m"] {
        without = without.replace(code, "");
    }
    assert_ne!(coloured, plain);
    assert_eq!(without, plain);
}

#[test]
fn names_out_of_packages_do_not_steer_the_terminal() {
    let mut report = report(1);
    for image in &mut report.images {
        image.contributors[0].name = "evil\u{1b}]0;title\u{7}".into();
        image.missing[0].what = "x\u{1b}[2J".into();
        image.not_run[0].package = "p\r\n".into();
    }
    let text = report.to_terminal(100, false);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn an_empty_report_is_a_head_and_nothing_more() {
    assert_eq!(BuildReport::default().to_terminal(80, false), " Image   pull / on disk\n");
}

#[test]
fn json_does_not_tell_what_the_cache_held() {
    let cold = report(2);
    let mut warm = cold.clone();
    warm.fetched = Fetched { files: 0, bytes: 0, from_cache: 71 };
    warm.images.iter_mut().flat_map(|image| &mut image.layers).for_each(|layer| layer.cached = !layer.cached);
    assert_ne!(cold, warm);
    assert_eq!(cold.to_json(), warm.to_json());
    insta::assert_snapshot!(report_of_one().to_json());
}

fn report_of_one() -> BuildReport {
    let mut report = report(4);
    report.images = report.images.split_off(9);
    report.images.truncate(1);
    report
}

fn matrix(sample: bool) -> SizeMatrix {
    let entries = EARLIER[..3].iter().flat_map(|(variant, sizes)| {
        Platform::DEFAULT.into_iter().zip(sizes).map(move |(platform, (compressed, extracted))| MatrixEntry {
            variant: (*variant).to_owned(),
            description: format!("kubelet, {variant} | more"),
            tag: format!("v1.20.2-{variant}"),
            platform,
            compressed: *compressed,
            extracted: *extracted,
            digest: Digest::of(format!("{variant} {platform}")),
            sample,
            stored_plain: false,
            layers: Vec::new(),
            before: None,
        })
    });
    SizeMatrix { entries: entries.collect(), ..SizeMatrix::default() }
}

#[test]
fn the_matrix_on_a_terminal() {
    insta::assert_snapshot!(matrix(false).render(Format::Table));
}

#[test]
fn the_matrix_in_a_readme() {
    insta::assert_snapshot!(matrix(false).render(Format::Markdown));
}

#[test]
fn the_matrix_for_spreadsheets() {
    insta::assert_snapshot!(matrix(false).render(Format::Csv));
}

#[test]
fn the_matrix_for_programs_reads_back_with_bytes_as_numbers() {
    let json: serde_json::Value = serde_json::from_str(&matrix(false).render(Format::Json)).unwrap();
    let entries = json["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 9);
    assert_eq!(entries[2]["platform"], "linux/arm/v7");
    assert_eq!(entries[2]["compressed"], 24_399_998);
    assert_eq!(entries[2]["digest"], Digest::of("plain linux/arm/v7").to_string());
}

#[test]
fn a_matrix_of_the_sample_says_so_in_every_row_and_at_the_end() {
    for format in [Format::Table, Format::Markdown] {
        let text = matrix(true).render(format);
        assert_eq!(text.matches("(sample)").count(), 3, "{text}");
        assert!(text.lines().last().unwrap().contains("SAMPLE"), "{text}");
    }
    assert!(matrix(true).render(Format::Csv).lines().skip(1).all(|line| line.ends_with(",true")));
}

#[test]
fn a_platform_that_one_variant_lacks_is_a_dash() {
    let mut matrix = matrix(false);
    matrix.entries.retain(|entry| !(entry.variant == "cni" && entry.platform == Platform::Arm64));
    let text = matrix.render(Format::Markdown);
    let row = text.lines().find(|line| line.starts_with("| `cni`")).unwrap();
    assert!(row.contains("| 43.8 / 102.1 MB | – | 41.6 / 102.5 MB |"), "{row}");
}
