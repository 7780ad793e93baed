//! SPDX 2.3 as JSON (`spdx-schema.json` of the specification's repository, tag v2.3).

use std::collections::BTreeMap;

use kimg_core::Digest;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::licence::Licence;
use super::{Sbom, SbomFile, SbomPackage, SbomSource};
use crate::{json as written, rfc3339};

const NONE: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";

impl Sbom {
    /// The bill as SPDX 2.3 in JSON, with a line feed at the end.
    pub fn to_spdx(&self) -> String {
        let mut explained = BTreeMap::new();
        let mut packages = vec![self.image()];
        let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", IMAGE)];
        for package in &self.packages {
            let licence = Licence::of(&package.licence);
            explained.extend(licence.explained());
            let id = package_id(package);
            packages.push(package.spdx(&id, &licence));
            relationships.push(relationship(IMAGE, "CONTAINS", &id));
            for file in &package.files {
                relationships.push(relationship(&id, "CONTAINS", &file_id(file)));
            }
            for needed in self.packages.iter().filter(|other| package.depends_on.contains(&other.name)) {
                relationships.push(relationship(&id, "DEPENDS_ON", &package_id(needed)));
            }
        }
        for file in &self.files {
            relationships.push(relationship(IMAGE, "CONTAINS", &file_id(file)));
        }
        let mut files: Vec<&SbomFile> = self.all_files().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut document = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": DOCUMENT,
            "name": format!("{}-{}-{}", self.name, self.version, self.platform.short()),
            "documentNamespace": self.namespace(),
            "creationInfo": {
                "created": rfc3339(self.created),
                "creators": [format!("Tool: {}-{}", self.tool, self.tool_version)],
            },
            "packages": packages,
            "files": files.into_iter().map(SbomFile::spdx).collect::<Vec<_>>(),
            "relationships": relationships,
        });
        if !explained.is_empty() {
            let explained = explained.into_iter();
            document["hasExtractedLicensingInfos"] = explained
                .map(|(id, text)| json!({ "licenseId": id, "name": id, "extractedText": text }))
                .collect();
        }
        written(&document)
    }

    /// An address that is this document's alone, and need lead nowhere (6.5).
    fn namespace(&self) -> String {
        let name = idstring(&self.name);
        format!("https://github.com/kimg-dev/kimg/spdx/{name}-{}", self.identity().hex())
    }

    fn image(&self) -> Value {
        let files: Vec<&SbomFile> = self.all_files().collect();
        let mut image = json!({
            "SPDXID": IMAGE,
            "name": self.name,
            "versionInfo": self.version,
            "downloadLocation": NONE,
            "licenseConcluded": NONE,
            "licenseDeclared": NONE,
            "copyrightText": NONE,
            "primaryPackagePurpose": "CONTAINER",
            "checksums": [checksum("SHA256", &self.digest.hex())],
            "externalRefs": [purl(&self.purl())],
            "comment": format!("the image for {} whose manifest is {}", self.platform, self.digest),
        });
        analysed(&mut image, &files);
        image
    }
}

impl SbomPackage {
    fn spdx(&self, id: &str, licence: &Licence) -> Value {
        let mut package = json!({
            "SPDXID": id,
            "name": self.name,
            "downloadLocation": self.download.as_deref().unwrap_or(NONE),
            "licenseConcluded": NONE,
            "licenseDeclared": licence.spdx(),
            "copyrightText": NONE,
            "externalRefs": [purl(&self.purl())],
        });
        let mut say = |key: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                package[key] = value.into();
            }
        };
        say("versionInfo", self.version.clone());
        say("summary", Some(self.description.clone()));
        say("homepage", Some(self.homepage.clone()).filter(|address| address.starts_with("http")));
        match &self.source {
            SbomSource::Apk { origin, commit, .. } => {
                let origin = origin.as_ref().map(|origin| format!("built from the source package {origin}"));
                let commit = commit.as_ref().map(|commit| format!("commit {commit}"));
                let both: Vec<String> = origin.into_iter().chain(commit).collect();
                say("sourceInfo", Some(both.join(", ")));
            }
            SbomSource::Program => say("primaryPackagePurpose", Some("APPLICATION".into())),
        }
        if let Some(digest) = self.digest {
            package["checksums"] = json!([checksum("SHA256", &digest.hex())]);
        }
        analysed(&mut package, &self.files.iter().collect::<Vec<_>>());
        package
    }
}

impl SbomFile {
    fn spdx(&self) -> Value {
        let mut file = json!({
            "SPDXID": file_id(self),
            "fileName": format!(".{}", self.path),
            "checksums": [
                checksum("SHA1", &hex::encode(self.sha1)), checksum("SHA256", &self.sha256.hex()),
            ],
            "licenseConcluded": NONE,
            "copyrightText": NONE,
        });
        if let Some(original) = self.original {
            file["comment"] =
                format!("made smaller by kimg: the file of the package has the SHA-256 {}", original.hex())
                    .into();
        }
        file
    }
}

/// Says whether files are listed, and if so the code over them (7.8 and 7.9): it is about the files that are in the image.
fn analysed(package: &mut Value, files: &[&SbomFile]) {
    package["filesAnalyzed"] = (!files.is_empty()).into();
    if files.is_empty() {
        return;
    }
    let mut sums: Vec<String> = files.iter().map(|file| hex::encode(file.sha1)).collect();
    sums.sort();
    let code = hex::encode(Sha1::digest(sums.concat()));
    package["packageVerificationCode"] = json!({ "packageVerificationCodeValue": code });
}

fn checksum(algorithm: &str, value: &str) -> Value {
    json!({ "algorithm": algorithm, "checksumValue": value })
}

fn purl(purl: &str) -> Value {
    json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl })
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// Letters, digits, `.` and `-` (6.3). A name that is not made of them gets its digest behind it: another one may look
/// the same.
fn idstring(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if name.chars().all(plain) {
        return name.to_owned();
    }
    let replaced: String = name.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    format!("{replaced}-{}", &Digest::of(name).hex()[..8])
}

fn package_id(package: &SbomPackage) -> String {
    let kind = match package.source {
        SbomSource::Apk { .. } => "Package",
        SbomSource::Program => "Program",
    };
    format!("SPDXRef-{kind}-{}", idstring(&package.name))
}

fn file_id(file: &SbomFile) -> String {
    format!("SPDXRef-File-{}", &Digest::of(file.path.as_str()).hex()[..20])
}
