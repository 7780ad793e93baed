//! What `kimg node` prints, read by the programs that it is for: sh, systemd, quadlet, compose, kubectl.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod program;

use std::process::Command;

use kimg_testkit::{Machine, both, output, tool};
use serde_json::Value;

/// What a `kimg node` command prints.
fn printed(words: &[&str]) -> String {
    let folder = program::folder();
    program::success(program::kimg(folder.path()).arg("node").args(words))
}

const IMAGES: [&str; 3] = [
    "ghcr.io/acme/kubelet:v1.20.2-cni",
    "ghcr.io/acme/kubelet:v1.23.17-flannel-alpine3.16",
    "ghcr.io/acme/kubelet:v1.34.2-kubeadm-cni",
];

const RUNTIMES: [&str; 4] = ["docker", "containerd", "podman", "crio"];

/// Every script, with the words it was asked for by.
fn scripts() -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (image, runtime) in IMAGES.iter().flat_map(|image| RUNTIMES.map(|runtime| (*image, runtime))) {
        let base = ["run", "--image", image, "--runtime", runtime, "--argument=--node-labels=a=it's $HOME"];
        all.push(base.to_vec());
        if image.contains("kubeadm") {
            let join = [
                "--kubeadm-join",
                "kubeadm",
                "join",
                "10.0.0.1:6443",
                "--token",
                "a.b",
                "--node-name",
                "a b",
            ];
            all.push([&base[..], &join].concat());
        }
    }
    all.into_iter().map(|words| words.into_iter().map(str::to_owned).collect()).collect()
}

/// Writes its name and arguments, each ended by a zero byte, and a line feed behind them.
const STAND_IN: &str = "#!/bin/sh\n{ printf '%s\\0' \"${0##*/}\" \"$@\"; echo; } >>/run/said\n";

#[test]
fn a_shell_gives_each_program_the_words_that_were_meant() {
    let folder = program::folder();
    let Some(machine) = Machine::start(folder.path(), "node1") else { return };
    // Nothing of what is printed may reach a program of this machine.
    for program in ["docker", "podman", "ctr", "cp"] {
        machine.write(&format!("/run/stand-in/{program}"), STAND_IN);
    }
    machine.success("chmod +x /run/stand-in/*");
    let scripts = scripts();
    assert_eq!(scripts.len(), 16);
    for words in scripts {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for explained in [&["--explain"][..], &[]] {
            let words = [&words[..1], explained, &words[1..]].concat();
            let script = printed(&words);
            let checked = output(Command::new("sh").args(["-n", "-c", &script]));
            assert!(checked.status.success(), "{}\n{script}", both(&checked));
            machine
                .success(&format!("rm -rf /run/said /var/lib/kubelet\nPATH=/run/stand-in:$PATH\n{script}"));
            let said = fs_err::read_to_string(machine.path("/run/said")).unwrap();
            let said: Vec<Vec<&str>> =
                said.lines().map(|line| line.trim_end_matches('\0').split('\0').collect()).collect();

            let json = printed(&[&words[..1], &["--format", "json"], &words[1..]].concat());
            let json: Value = serde_json::from_str(&json).unwrap();
            let steps = json["steps"].as_array().unwrap();
            let meant: Vec<Vec<&str>> = steps
                .iter()
                .filter_map(|step| step["run"]["command"].as_array())
                .map(|command| command.iter().map(|word| word["text"].as_str().unwrap()).collect::<Vec<_>>())
                .filter(|command| !["mkdir", "touch"].contains(&command[0]))
                .collect();
            assert_eq!(said, meant, "{script}");
            for file in steps.iter().filter_map(|step| step["write"].as_object()) {
                let there = fs_err::read_to_string(machine.path(file["path"].as_str().unwrap())).unwrap();
                assert_eq!(there, file["text"].as_str().unwrap());
            }
        }
    }
}

#[test]
fn a_portable_service_is_not_started_in_a_container() {
    let folder = program::folder();
    let words = ["node", "run", "--variant", "portable", "--kubernetes", "1.34.2"];
    let said = program::failure(program::kimg(folder.path()).args(words), 2);
    assert!(said.contains("run by systemd") && said.contains("portablectl"), "{said}");
}

#[test]
fn a_configuration_that_is_there_stays() {
    let folder = program::folder();
    let Some(machine) = Machine::start(folder.path(), "node1") else { return };
    machine.write("/run/stand-in/docker", STAND_IN);
    machine.write("/var/lib/kubelet/config.yaml", "mine\n");
    let script = printed(&["run", "--image", IMAGES[0], "--runtime", "docker"]);
    machine.success(&format!("chmod +x /run/stand-in/*\nPATH=/run/stand-in:$PATH\n{script}"));
    assert_eq!(fs_err::read_to_string(machine.path("/var/lib/kubelet/config.yaml")).unwrap(), "mine\n");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let folder = program::folder();
    let Some(machine) = Machine::start(folder.path(), "node1") else { return };
    for service in ["docker", "containerd", "crio"] {
        let text = "[Service]\nExecStart=/bin/true\n";
        machine.write(&format!("/etc/systemd/system/{service}.service"), text);
    }
    // Programs that are not installed here.
    machine.success(
        "mkdir -p /run/bin && cp /bin/true /run/bin/docker && cp /bin/true /run/bin/podman && \
                     mount -t overlay -o lowerdir=/run/bin:/usr/local/bin overlay /usr/local/bin",
    );
    for runtime in RUNTIMES {
        let unit = printed(&["unit", "--image", IMAGES[2], "--runtime", runtime, "--argument=--v=2 $x %n"]);
        machine.write("/etc/systemd/system/kubeletd.service", &unit);
        let verify = |machine: &Machine| {
            let mut verify = machine.command(&analyze);
            output(verify.args(["verify", "--man=no", "/etc/systemd/system/kubeletd.service"]))
        };
        let verified = verify(&machine);
        let said = both(&verified);
        assert!(verified.status.success() && !said.contains("kubeletd"), "{runtime}: {said}\n{unit}");
        machine
            .write("/etc/systemd/system/kubeletd.service", &unit.replace("Restart=always", "Restart=ever"));
        assert!(both(&verify(&machine)).contains("kubeletd"), "a mistake would not be noticed");
    }
}

#[test]
fn podman_s_generator_makes_a_service_of_the_quadlet() {
    let Some(quadlet) = tool("quadlet") else { return };
    let folder = program::folder();
    let words = ["--image", IMAGES[2], "--runtime", "podman"];
    let text = printed(&[&["unit", "--quadlet"][..], &words].concat());
    fs_err::write(folder.path().join("kubeletd.container"), text).unwrap();
    let made = output(Command::new(quadlet).arg("-dryrun").env("QUADLET_UNIT_DIRS", folder.path()));
    let said = both(&made);
    assert!(made.status.success(), "{said}");
    let start =
        said.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap_or_else(|| panic!("{said}"));
    let json: Value =
        serde_json::from_str(&printed(&[&["run", "--format", "json"][..], &words].concat())).unwrap();
    for mount in json["node"]["mounts"].as_array().unwrap() {
        let path = mount["path"].as_str().unwrap();
        let end = match (mount["read_only"] == true, mount["shared"] == true) {
            (true, _) => ":ro",
            (_, true) => ":rshared",
            _ => "",
        };
        assert!(start.contains(&format!(" -v {path}:{path}{end} ")), "{path}{end}: {start}");
    }
    for word in ["--privileged", "--network host", "--pid=host", "--uts=host", "--cgroupns=host", IMAGES[2]] {
        assert!(start.contains(word), "{word}: {start}");
    }
    assert!(start.ends_with("--container-runtime-endpoint=unix:///run/crio/crio.sock"), "{start}");
}

#[test]
fn docker_compose_reads_the_compose_file() {
    let Some(compose) = tool("docker-compose-2") else { return };
    let folder = program::folder();
    for image in IMAGES {
        let words = ["--image", image, "--runtime", "docker"];
        fs_err::write(folder.path().join("compose.yaml"), printed(&[&["compose"][..], &words].concat()))
            .unwrap();
        let mut config = Command::new(&compose);
        config.args(["config", "--format", "json"]).current_dir(folder.path());
        let read: Value = serde_json::from_str(&kimg_testkit::run(&mut config)).unwrap();
        let service = &read["services"]["kubeletd"];
        assert_eq!((&service["image"], &service["pid"]), (&image.into(), &"host".into()), "{service}");
        assert_eq!((&service["privileged"], &service["cgroup"]), (&true.into(), &"host".into()), "{service}");
        let json: Value =
            serde_json::from_str(&printed(&[&["run", "--format", "json"][..], &words].concat())).unwrap();
        let (mounts, volumes) = (&json["node"]["mounts"], service["volumes"].as_array().unwrap());
        assert_eq!(volumes.len(), mounts.as_array().unwrap().len());
        for mount in mounts.as_array().unwrap() {
            let volume = volumes.iter().find(|volume| volume["source"] == mount["path"]).unwrap();
            assert_eq!(volume["target"], mount["path"]);
            assert_eq!(volume["read_only"] == true, mount["read_only"] == true, "{volume}");
            assert_eq!(volume["bind"]["propagation"] == "rshared", mount["shared"] == true, "{volume}");
        }
    }
}

#[test]
fn kubectl_reads_every_object_of_the_manifest() {
    let Some(kubectl) = tool("kubectl") else { return };
    let folder = program::folder();
    let image = "ghcr.io/acme/kube-proxy:v1.20.2";
    let text = printed(&["manifest", "--image", image, "--server", "https://10.0.0.1:6443"]);
    let file = folder.path().join("manifest.yaml");
    fs_err::write(&file, text).unwrap();
    let mut annotate = Command::new(kubectl);
    annotate.args(["annotate", "--local", "--output=json", "a=b", "--filename"]).arg(&file);
    let read = kimg_testkit::run(annotate.env("HOME", folder.path()));
    let objects: Vec<Value> =
        serde_json::Deserializer::from_str(&read).into_iter().map(Result::unwrap).collect();
    let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    let binding = "ClusterRoleBinding";
    assert_eq!(kinds, ["ServiceAccount", binding, "ConfigMap", "DaemonSet", binding, binding, binding]);
    let container = &objects[3]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], image);
    assert_eq!(container["command"][0], "/usr/local/bin/kube-proxy");
}

#[test]
fn the_readme_lists_every_path_and_every_command_that_it_shows_is_understood() {
    let readme = fs_err::read_to_string(kimg_testkit::workspace().join("README.md")).unwrap();
    let paths = printed(&["paths", "--format", "markdown"]);
    assert!(paths.lines().count() > 20);
    for line in paths.lines() {
        assert!(
            readme.lines().any(|there| there == line),
            "README.md lacks this line of `kimg node paths`:\n{line}"
        );
    }
    let section = readme.split("## Run it on a node").nth(1).unwrap().split("\n## ").next().unwrap();
    let commands: Vec<String> = section
        .replace("\\\n", " ")
        .lines()
        .filter(|line| line.starts_with("kimg node "))
        .map(str::to_owned)
        .collect();
    assert!(commands.len() >= 6, "{commands:?}");
    let folder = program::folder();
    for command in commands {
        // As a shell splits it, without what it is piped into.
        let words = kimg_testkit::run(
            Command::new("sh")
                .args(["-c", &format!("printf '%s\\n' {}", command.split(['|', '#', '>']).next().unwrap())]),
        );
        let words: Vec<&str> = words.lines().skip(1).collect();
        let text = program::success(program::kimg(folder.path()).args(&words));
        assert!(!text.is_empty(), "{command}");
    }
}
