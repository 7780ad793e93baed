//! The steps of `examples/ci` are run as they stand there, against Debian's `docker-registry`: what they install is there
//! already, and what they build is the sample.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

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
    let wrapper = format!(
        "#!/bin/sh\ncase $1 in publish|lock) set -- \"$@\" --sample;; esac\nexec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_kimg")
    );
    fs_err::write(folder.path().join("kimg"), wrapper).unwrap();
    fs_err::set_permissions(folder.path().join("kimg"), std::fs::Permissions::from_mode(0o755)).unwrap();
    fs_err::write(folder.path().join("kimg.toml"), "variants = [\"plain\", \"cni\"]\npack = \"never\"\n")
        .unwrap();
    let mut lock = program::kimg(folder.path());
    success(lock.args(["lock", "--sample", "--cache-dir"]).arg(folder.path().join("cache")));
    folder
}

fn run(folder: &Path, step: &str, environment: &[(&str, &str)]) {
    let mut shell = Command::new("bash");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    shell.args(["-euo", "pipefail", "-c", step]).current_dir(folder).env_clear().env("PATH", path);
    shell.env("HOME", folder).env("KIMG_CACHE_DIR", folder.join("cache"));
    let ended = output(shell.envs(environment.iter().copied()));
    assert!(ended.status.success(), "{step}\n{}", both(&ended));
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
