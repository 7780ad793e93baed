//! The commands beside `build`, and what a build prints.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use kimg_testkit::{Layout, Real};

fn real() -> Option<Real> {
    kimg_testkit::real()
}

#[test]
fn why_shows_the_chain_from_a_root_to_the_file() {
    let Some(real) = real() else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "why");
    let text =
        program::success(kimg.args(["/usr/lib/libxtables.so.12", "--variant", "kubeadm", "--arch", "arm64"]));
    assert!(text.contains("libxtables.so.12"), "{text}");
    assert!(
        text.contains("iptables") && text.contains("mark and hint chains"),
        "it begins at a root: {text}"
    );
}

#[test]
fn why_says_of_a_file_that_is_not_there_which_package_would_have_it() {
    let Some(real) = real() else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "why");
    let answer =
        program::answer(kimg.args(["/usr/sbin/iptables-apply", "--variant", "plain", "--arch", "amd64"]));
    assert_eq!(answer.code, 1, "{}", answer.story);
    assert!(answer.out.contains("not in the image") && answer.out.contains("iptables"), "{}", answer.out);
}

#[test]
fn files_lists_each_file_with_package_layer_and_reason() {
    let Some(real) = real() else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_on(&real, folder.path(), "files");
    let files = program::json(kimg.args(["--variant", "plain", "--arch", "armv7", "--format", "json"]));
    let all = files.as_array().unwrap();
    let kubelet = all.iter().find(|f| f["path"] == "/usr/bin/kubelet").unwrap();
    assert_eq!(kubelet["layer"], "kubelet");
    assert!(kubelet["reason"].as_str().unwrap().contains("the node agent"), "{kubelet}");
    assert!(kubelet["from"].to_string().contains("kubelet"), "{kubelet}");
    assert!(kubelet["size"].as_u64().unwrap() > 50_000_000, "{kubelet}");
    assert!(all.iter().all(|f| f["reason"].as_str().is_some_and(|r| !r.is_empty())));
}

#[test]
fn files_names_exactly_what_umoci_unpacks() {
    let Some(real) = real() else { return };
    let folder = program::folder();
    let only = ["--variant", "kube-proxy", "--arch", "amd64"];
    let files =
        program::json(program::kimg_on(&real, folder.path(), "files").args(only).args(["--format", "json"]));
    program::success(program::kimg_on(&real, folder.path(), "build").args(only).args(["--pack", "never"]));
    let layout = Layout::open(folder.path().join("out"));
    let name = &program::indexes(&layout)["kube-proxy"].name;
    let unpacked = folder.path().join("image");
    let root = kimg_testkit::umoci_unpack(layout.folder(), name, kimg_core::Platform::Amd64, &unpacked);
    let Some(root) = root else { return };
    let mut told: Vec<String> = files
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["kind"] != "directory")
        .map(|f| f["path"].as_str().unwrap().to_owned())
        .collect();
    told.sort();
    let found = kimg_testkit::run(
        std::process::Command::new("find")
            .arg(".")
            .args(["!", "-type", "d", "-printf", "/%P\n"])
            .current_dir(root.folder()),
    );
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(told, found);
}

#[test]
fn the_matrix_goes_into_a_readme_and_check_notices_when_it_is_stale() {
    let folder = program::folder();
    program::success(program::kimg_sample(folder.path(), "build").args(["--variant", "plain"]));
    let readme = folder.path().join("README.md");
    let (before, after) =
        ("# Images\n\n<!-- kimg:matrix:begin -->\n", "<!-- kimg:matrix:end -->\n\nThe end.\n");
    fs_err::write(&readme, format!("{before}an older table\n{after}")).unwrap();
    let matrix = |words: &[&str]| {
        let mut kimg = program::kimg(folder.path());
        kimg.args(["matrix", "--readme", "README.md"]).args(words);
        kimg
    };
    let story = program::failure(&mut matrix(&["--check"]), 41);
    assert!(story.contains("README.md") && story.contains("stale"), "{story}");
    assert!(fs_err::read_to_string(&readme).unwrap().contains("an older table"), "--check writes nothing");
    program::success(&mut matrix(&[]));
    let text = fs_err::read_to_string(&readme).unwrap();
    assert!(text.starts_with(before) && text.ends_with(after), "{text}");
    assert!(
        text.contains("| `plain`") && text.contains("linux/arm/v7") && !text.contains("an older table"),
        "{text}"
    );
    program::success(&mut matrix(&["--check"]));
}

#[test]
fn the_matrix_is_told_in_every_format() {
    let folder = program::folder();
    program::success(program::kimg_sample(folder.path(), "build").args([
        "--variant",
        "plain",
        "--arch",
        "amd64",
    ]));
    let matrix =
        |format: &str| program::success(program::kimg(folder.path()).args(["matrix", "--format", format]));
    assert!(matrix("csv").starts_with("variant,platform,tag,"));
    assert!(matrix("markdown").contains("| `plain`"));
    assert!(matrix("table").contains("linux/amd64"));
    let json: serde_json::Value = serde_json::from_str(&matrix("json")).unwrap();
    assert_eq!(json["entries"][0]["variant"], "plain");
}

#[test]
fn variants_lists_all_six_and_the_portable_ones() {
    let folder = program::folder();
    let table = program::success(program::kimg(folder.path()).arg("variants"));
    let json = program::json(program::kimg(folder.path()).args(["variants", "--format", "json"]));
    let names: Vec<_> = json.as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    for variant in program::VARIANTS {
        assert!(table.contains(variant) && names.contains(&variant), "{variant}\n{table}");
    }
    assert_eq!(names[6..], ["portable-base", "portable"]);
}

#[test]
fn what_init_writes_is_built_as_it_stands() {
    let folder = program::folder();
    program::success(program::kimg(folder.path()).args(["init", "project", "--variants"]));
    let project = folder.path().join("project");
    assert!(project.join("kimg.toml").is_file() && project.join("variants/cni.toml").is_file());
    let own = program::success(program::kimg_sample(&project, "build").args(["--variant", "cni", "-q"]));
    let built_in =
        program::success(program::kimg_sample(folder.path(), "build").args(["--variant", "cni", "-q"]));
    assert_eq!(own, built_in, "the variants it writes are the ones that are compiled in");
}

#[test]
fn init_leaves_alone_what_is_there() {
    let folder = program::folder();
    fs_err::write(folder.path().join("kimg.toml"), "# mine\n").unwrap();
    program::failure(program::kimg(folder.path()).arg("init"), 2);
    assert_eq!(fs_err::read_to_string(folder.path().join("kimg.toml")).unwrap(), "# mine\n");
}

#[test]
fn a_variant_of_ones_own_needs_no_code() {
    let folder = program::folder();
    fs_err::create_dir(folder.path().join("mine")).unwrap();
    let variant = "name = 'edge'\ndescription = 'plain and bridge'\nextends = ['plain']\ntag-suffix = 'edge'\n\
        [[layer]]\nname = 'plugins'\nholds = 'one plugin'\n\
        [[root]]\npath = '/usr/libexec/cni/bridge'\npackage = 'cni-plugins'\nreason = 'for a test'\nlayer = 'plugins'\n";
    fs_err::write(folder.path().join("mine/edge.toml"), variant).unwrap();
    fs_err::write(folder.path().join("kimg.toml"), "variant-folder = 'mine'\n").unwrap();
    let lines =
        program::success(program::kimg_sample(folder.path(), "build").args(["--variant", "edge", "-q"]));
    assert!(lines.contains("-edge-sample@sha256:"), "{lines}");
    let why = program::success(program::kimg_sample(folder.path(), "why").args([
        "/usr/libexec/cni/bridge",
        "--variant",
        "edge",
        "--arch",
        "amd64",
    ]));
    assert!(why.contains("for a test"), "{why}");
}

#[test]
fn a_misspelt_setting_is_shown_where_it_stands() {
    let folder = program::folder();
    fs_err::write(folder.path().join("kimg.toml"), "\nvarjants = ['cni']\n").unwrap();
    let story = program::failure(&mut program::kimg_sample(folder.path(), "build"), 2);
    assert!(story.contains("kimg.toml:2:1") && story.contains("^^^^^^^^"), "{story}");
}

#[test]
fn a_variant_that_is_not_known_is_refused_with_those_that_are() {
    let folder = program::folder();
    let mut kimg = program::kimg_sample(folder.path(), "build");
    let story = program::failure(kimg.args(["--variant", "kubadm"]), 2);
    assert!(story.contains("kubadm") && story.contains("kubeadm"), "{story}");
}

#[test]
fn quiet_prints_names_with_digests_and_nothing_else() {
    let folder = program::folder();
    let mut kimg = program::kimg(folder.path());
    kimg.args(["build", "--sample", "--variant", "plain", "--arch", "armv7", "--cache-dir", "c", "-q"]);
    let answer = program::answer(&mut kimg);
    assert_eq!((answer.code, answer.story.as_str()), (0, ""), "{}", answer.story);
    let layout = Layout::open(folder.path().join("out"));
    let names: Vec<String> =
        layout.names().into_iter().map(|(name, digest)| format!("{name}@{digest}")).collect();
    let mut lines: Vec<&str> = answer.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, names);
}

#[test]
fn the_same_image_in_four_ways_of_writing_its_architecture() {
    let folder = program::folder();
    let digests: Vec<String> =
        [["--arch", "armv7"], ["--arch", "arm/v7"], ["--platform", "linux/arm/v7"], ["--arch", "arm32v7"]]
            .iter()
            .map(|words| {
                program::success(
                    program::kimg_sample(folder.path(), "build")
                        .args(["--variant", "plain", "-q"])
                        .args(words),
                )
            })
            .collect();
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:?}");
}

#[test]
fn an_oci_archive_on_standard_output_is_what_skopeo_reads() {
    let Some(skopeo) = kimg_testkit::tool("skopeo") else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_sample(folder.path(), "build");
    kimg.args(["--variant", "plain", "--arch", "amd64", "-o", "type=oci-archive,dest=-"]);
    let output = kimg.output().unwrap();
    assert!(output.status.success());
    let archive = folder.path().join("image.tar");
    fs_err::write(&archive, output.stdout).unwrap();
    let list = kimg_testkit::run(std::process::Command::new("tar").arg("-tf").arg(&archive));
    assert!(list.contains("index.json") && list.contains("oci-layout"), "{list}");
    // An archive with several names needs one of them.
    let name = program::success(program::kimg_sample(folder.path(), "build").args([
        "--variant",
        "plain",
        "--arch",
        "amd64",
        "-q",
    ]));
    let name = name.lines().next().unwrap().split('@').next().unwrap().to_owned();
    let reference = format!("oci-archive:{}:{name}", archive.display());
    kimg_testkit::run(std::process::Command::new(skopeo).args(["inspect", "--no-tags"]).arg(reference));
}

#[test]
fn a_docker_archive_is_what_skopeo_reads() {
    let Some(skopeo) = kimg_testkit::tool("skopeo") else { return };
    let folder = program::folder();
    let mut kimg = program::kimg_sample(folder.path(), "build");
    kimg.args(["--variant", "plain", "--arch", "arm64", "-o", "type=docker-archive,dest=image.tar"]);
    program::success(&mut kimg);
    let archive = folder.path().join("image.tar");
    let list =
        kimg_testkit::run(std::process::Command::new("tar").arg("-xOf").arg(&archive).arg("manifest.json"));
    let manifest: serde_json::Value = serde_json::from_str(&list).unwrap();
    let name = manifest[0]["RepoTags"][0].as_str().unwrap();
    assert!(name.contains("kubelet:") && name.ends_with("-sample"), "{name}");
    let inspected = kimg_testkit::run(
        std::process::Command::new(skopeo)
            .args(["inspect", "--no-tags"])
            .arg(format!("docker-archive:{}", archive.display())),
    );
    assert!(inspected.contains("arm64"), "{inspected}");
}

#[test]
fn a_settings_file_elsewhere_has_its_paths_counted_from_itself() {
    let Some(real) = real() else { return };
    let folder = program::folder();
    let project = folder.path().join("project");
    fs_err::create_dir(&project).unwrap();
    std::os::unix::fs::symlink(real.repo(), project.join("repo")).unwrap();
    std::os::unix::fs::symlink(real.keys(), project.join("keys")).unwrap();
    let toml = "variants = ['plain']\narchitectures = ['amd64']\nrepositories = ['repo']\nkeys = ['keys']\npack = 'never'\n\
        output = ['type=oci,dest=images']\n";
    fs_err::write(project.join("kimg.toml"), toml).unwrap();
    let mut kimg = program::kimg(folder.path());
    kimg.args(["build", "--config", "project/kimg.toml", "--cache-dir"]).arg(program::shared_cache());
    program::success(&mut kimg);
    assert!(project.join("images/index.json").is_file() && project.join("kimg.lock").is_file());
    assert!(!folder.path().join("out").exists() && !folder.path().join("kimg.lock").exists());
}
