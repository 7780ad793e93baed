//! Bills of materials, as the SPDX project's own tools and CycloneDX's own library see them.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use kimg_core::{Digest, ImagePath, Platform};
use kimg_report::sbom::{Sbom, SbomFile, SbomPackage, SbomSource};
use kimg_testkit::{both, output, skip, tempdir, tool, workspace};

const SPDX: &str = r#"
import sys
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
document = parse_file(sys.argv[1])
problems = validate_full_spdx_document(document, "SPDX-2.3")
for problem in problems: print(problem.validation_message, problem.context.spdx_id)
print(len(document.packages), len(document.files), len(document.relationships))
sys.exit(bool(problems))
"#;

const CYCLONEDX: &str = r"
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
if problem: print(problem)
sys.exit(bool(problem))
";

/// Runs a judge over a file; `None` is a visible skip. Python's own word about what it lacks is no verdict.
fn judge(script: &str, folder: &Path, name: &str, text: &str) -> Option<Result<String, String>> {
    let python = tool("python3")?;
    let own = workspace().join("target/tools/python");
    let said = std::env::var_os("PYTHONPATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&said))).unwrap();
    let python = || {
        let mut command = Command::new(&python);
        command.env("PYTHONPATH", &path).current_dir(folder);
        command
    };
    if !output(python().args(["-c", "import spdx_tools, cyclonedx, jsonschema"])).status.success() {
        skip("the judges of bills of materials are not there; run .ci/setup");
        return None;
    }
    fs::write(folder.join(name), text).unwrap();
    let done = output(python().args(["-c", script, name]));
    Some(if done.status.success() { Ok(both(&done)) } else { Err(both(&done)) })
}

fn file(path: &str) -> SbomFile {
    let original = path.ends_with("kubelet").then(|| Digest::of("before"));
    let path = ImagePath::new(path).unwrap();
    SbomFile { sha1: [7; 20], sha256: Digest::of(path.as_str()), size: 1, original, path }
}

fn package(name: &str, licence: &str, files: &[&str]) -> SbomPackage {
    SbomPackage {
        name: name.to_owned(),
        version: Some("1.2.3_git20250101-r0".into()),
        source: SbomSource::Apk {
            vendor: "alpine".into(),
            distribution: Some("alpine-3.22".into()),
            arch: "armv7".into(),
            origin: Some("a+b".into()),
            commit: Some("dfa1379357a321e638feef1cd8d55ab03d020f45".into()),
        },
        licence: licence.to_owned(),
        description: "what it is: \"quoted\", with ü".into(),
        homepage: "https://example.org/".into(),
        download: Some(format!("https://mirror.example/v3.22/main/armv7/{}-1.apk", name.replace('+', "%2B"))),
        digest: Some(Digest::of(name)),
        depends_on: if name == "musl" { Vec::new() } else { vec!["musl".into()] },
        files: files.iter().map(|path| file(path)).collect(),
    }
}

/// An image with everything that is awkward in names, licences and contents.
fn sbom() -> Sbom {
    let own = SbomPackage {
        source: SbomSource::Program,
        version: None,
        homepage: String::new(),
        download: None,
        ..package("my tool", "", &["/usr/local/bin/my tool"])
    };
    Sbom {
        name: "kubelet".into(),
        version: "v1.34.2-cni".into(),
        platform: Platform::ArmV7,
        digest: Digest::of("manifest"),
        tool: "kimg".into(),
        tool_version: "0.1.0".into(),
        created: 0,
        packages: vec![
            package("kubelet", "Apache-2.0", &["/usr/bin/kubelet"]),
            package(
                "libstdc++",
                "GPL-2.0-or-later AND LicenseRef-Public-Domain",
                &["/usr/lib/libstdc++.so.6"],
            ),
            package("meta", "custom:none, really", &[]),
            package("musl", "MIT BSD GPL2+", &["/lib/ld-musl-armhf.so.1", "/lib/ü"]),
            own,
        ],
        files: vec![file("/etc/apk/world"), file("/lib/apk/db/installed")],
    }
}

#[test]
fn spdxs_own_tools_find_nothing_wrong_with_a_bill() {
    let folder = tempdir().unwrap();
    let text = sbom().to_spdx();
    let Some(verdict) = judge(SPDX, folder.path(), "bill.spdx.json", &text) else { return };
    // Six packages with the image, seven files; what describes, contains and depends.
    assert_eq!(verdict.unwrap().trim(), format!("6 7 {}", 1 + 5 + 7 + 4));
    let broken = text.replace("SPDXRef-Package-musl", "SPDXRef Package musl");
    judge(SPDX, folder.path(), "broken.spdx.json", &broken).unwrap().unwrap_err();
}

#[test]
fn cyclonedxs_own_schema_takes_a_bill() {
    let folder = tempdir().unwrap();
    let text = sbom().to_cyclonedx();
    let Some(verdict) = judge(CYCLONEDX, folder.path(), "bill.cdx.json", &text) else { return };
    verdict.unwrap();
    let broken = text.replace("\"type\": \"library\"", "\"type\": \"apk\"");
    judge(CYCLONEDX, folder.path(), "broken.cdx.json", &broken).unwrap().unwrap_err();
}
