//! The steps of `examples/ci` are run as they stand there, against Debian's `docker-registry`: what they install is there
//! already, and what they build is the sample.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod go_source;
mod program;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use kimg_testkit::{DockerRegistry, TempDir, both, output, workspace};
use program::{json, success};

/// The shell texts of a workflow: what stands behind `run: |`, and the items of `script:`.
fn steps(file: &str, wanted: &str) -> Vec<String> {
    let text = fs_err::read_to_string(workspace().join("examples/ci").join(file)).unwrap();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().collect();
    let mut steps = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let below =
            || lines[place + 1..].iter().take_while(|next| next.is_empty() || indent(next) > indent(line));
        match line.trim_start().trim_start_matches("- ") {
            "run: |" => steps.push(below().map(|line| line.trim()).collect::<Vec<_>>().join("\n")),
            "script:" => steps.extend(below().map(|line| line.trim().trim_start_matches("- ").to_owned())),
            _ => {}
        }
    }
    steps.retain(|step: &String| step.contains(wanted));
    steps
}

/// A project with a lock, and a `kimg` on the path that takes the sample wherever it builds.
fn project() -> TempDir {
    let folder = program::folder();
    wrap(folder.path(), "publish|lock) set -- \"$@\" --sample;;");
    fs_err::write(folder.path().join("kimg.toml"), "variants = [\"plain\", \"cni\"]\npack = \"never\"\n")
        .unwrap();
    let mut lock = program::kimg(folder.path());
    success(lock.args(["lock", "--sample", "--cache-dir"]).arg(folder.path().join("cache")));
    folder
}

/// A `kimg` on the path that takes other words than those of an example.
fn wrap(folder: &Path, cases: &str) {
    let wrapper = format!("#!/bin/sh\ncase $1 in {cases} esac\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_kimg"));
    fs_err::write(folder.join("kimg"), wrapper).unwrap();
    fs_err::set_permissions(folder.join("kimg"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a step, and gives what it says.
fn run(folder: &Path, step: &str, environment: &[(&str, &str)]) -> String {
    let mut shell = Command::new("bash");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    shell.args(["-euo", "pipefail", "-c", step]).current_dir(folder).env_clear().env("PATH", path);
    shell.env("HOME", folder).env("KIMG_CACHE_DIR", folder.join("cache"));
    let ended = output(shell.envs(environment.iter().copied()));
    assert!(ended.status.success(), "{step}\n{}", both(&ended));
    both(&ended)
}

#[test]
fn the_workflow_for_github_publishes_a_signed_release() {
    let Some(registry) = DockerRegistry::with_password() else { return };
    let folder = project();
    let folder = folder.path();
    let repository = format!("{}/acme/kubelet", registry.name());
    let [build, join] = [steps("github.yml", "kimg publish"), steps("github.yml", "kimg index")];
    let logins = steps("github.yml", "kimg login");
    assert_eq!((build.len(), join.len(), logins.len()), (1, 1, 2));
    let token = [
        ("REPOSITORY", repository.as_str()),
        ("TOKEN", DockerRegistry::PASSWORD),
        ("GITHUB_ACTOR", DockerRegistry::USER),
    ];
    let mut keys = program::kimg(folder);
    success(keys.env("COSIGN_PASSWORD", "secret").args(["generate-key-pair", "--output-key-prefix", "kept"]));
    run(folder, &logins[0], &token);
    for arch in ["amd64", "arm64", "armv7"] {
        run(folder, &build[0], &[token[0], ("ARCH", arch), ("GITHUB_ACTIONS", "true")]);
    }
    let key = fs_err::read_to_string(folder.join("kept.key")).unwrap();
    run(folder, &join[0], &[("COSIGN_KEY", &key), ("COSIGN_PASSWORD", "secret")]);
    assert!(!folder.join("cosign.key").exists());
    for tag in ["v1.34.2-sample", "v1.34.2-cni-sample"] {
        let mut verify = program::kimg(folder);
        verify.args(["verify", &format!("{repository}:{tag}"), "--key", "kept.pub", "--format", "json"]);
        let verified = json(verify.arg("--cache-dir").arg(folder.join("cache")));
        assert_eq!(verified["platforms"].as_array().unwrap().len(), 3, "{verified}");
    }
}

#[test]
fn the_pipeline_for_gitlab_publishes_a_release() {
    let Some(registry) = DockerRegistry::with_password() else { return };
    let folder = project();
    let folder = folder.path();
    let repository = format!("{}/acme/kubelet", registry.name());
    let [build, join] = [steps("gitlab.yml", "kimg publish"), steps("gitlab.yml", "kimg index")];
    assert_eq!((build.len(), join.len()), (1, 1));
    let who = [
        ("REPOSITORY", repository.as_str()),
        ("KIMG_REGISTRY_USER", DockerRegistry::USER),
        ("KIMG_REGISTRY_PASSWORD", DockerRegistry::PASSWORD),
    ];
    for arch in ["amd64", "arm64", "armv7"] {
        run(folder, &build[0], &[&who[..], &[("ARCH", arch)]].concat());
    }
    run(folder, &join[0], &who);
    let mut inspect = program::kimg(folder);
    inspect.envs(who).args(["inspect", &format!("{repository}:v1.34.2-cni-sample"), "--format", "json"]);
    let seen = json(inspect.arg("--cache-dir").arg(folder.join("cache")));
    assert_eq!(seen["images"].as_array().unwrap().len(), 3, "{seen}");
}

#[test]
fn the_nightly_workflow_compiles_and_publishes_what_is_new_and_nothing_else() {
    let Some(registry) = DockerRegistry::with_password() else { return };
    let (Some(path), Some(real)) = (kimg_testkit::go_path(), kimg_testkit::real()) else { return };
    let folder = program::folder();
    let folder = folder.path();
    let upstream = folder.join("upstream.txt");
    let say = |versions: &str| fs_err::write(&upstream, versions).unwrap();
    say("v1.34.2 v1.33.6");
    for version in ["1.34.2", "1.33.6", "1.33.7"] {
        go_source::stand_in(&folder.join(format!("kubernetes-{version}")), version);
    }
    let settings = "variants = ['plain']\n\n[[go]]\npreset = 'kubernetes'\nsource = 'kubernetes-{version}'\ncgo = false\n";
    fs_err::write(folder.join("kimg.toml"), settings).unwrap();
    let packages = format!("-r {} -k {} --arch arm64", real.repo().display(), real.keys().display());
    wrap(
        folder,
        &format!(
            "publish) set -- \"$@\" {packages} --partial --pack never;; \
             preflight) set -- \"$@\" {packages};; versions) set -- \"$@\" --upstream {};;",
            upstream.display()
        ),
    );
    let repository = format!("{}/acme/kubelet", registry.name());
    let path = format!("{}:{}", folder.display(), path.to_string_lossy());
    let environment = [
        ("REPOSITORY", repository.as_str()),
        ("TOKEN", DockerRegistry::PASSWORD),
        ("GITHUB_ACTOR", DockerRegistry::USER),
        ("PATH", path.as_str()),
    ];
    let steps = steps("nightly.yml", "");
    assert_eq!(steps.len(), 5, "{steps:?}");
    let night = || {
        let told: Vec<String> = steps[1..].iter().map(|step| run(folder, step, &environment)).collect();
        told.concat()
    };
    let first = night();
    assert!(first.contains("1.34.2,1.33.6") && first.contains("kubernetes v1.33.6, compiled"), "{first}");
    let tags = || {
        let mut tags = program::kimg(folder);
        tags.args(["versions", "--published", &repository, "--format", "json", "--upstream"]).arg(&upstream);
        let listed = json(tags.env("KIMG_CACHE_DIR", folder.join("cache")));
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["published"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(tags(), ["v1.34.2", "v1.33.6"]);
    assert!(!night().contains("compiled"), "a night without anything new");
    say("v1.34.2 v1.33.7");
    let third = night();
    assert!(third.contains("v1.33.7") && !third.contains("v1.34.2, compiled"), "{third}");
    assert_eq!(tags(), ["v1.34.2", "v1.33.7"]);
}
