//! CycloneDX 1.6 as JSON (ECMA-424, `bom-1.6.schema.json`).

use kimg_core::Digest;
use serde_json::{Value, json};

use super::licence::Licence;
use super::{Sbom, SbomFile, SbomPackage, SbomSource};
use crate::{json as written, rfc3339};

impl Sbom {
    /// The bill as CycloneDX 1.6 in JSON, with a line feed at the end.
    pub fn to_cyclonedx(&self) -> String {
        let image = self.purl();
        let everything: Vec<String> = self.packages.iter().map(SbomPackage::purl).collect();
        let mut dependencies = vec![json!({ "ref": image, "dependsOn": everything })];
        for package in &self.packages {
            let needed = self.packages.iter().filter(|other| package.depends_on.contains(&other.name));
            let needed: Vec<String> = needed.map(SbomPackage::purl).collect();
            dependencies.push(json!({ "ref": package.purl(), "dependsOn": needed }));
        }
        let packages = self.packages.iter().map(SbomPackage::cyclonedx);
        let components: Vec<Value> = packages.chain(self.files.iter().map(SbomFile::cyclonedx)).collect();
        written(&json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": format!("urn:uuid:{}", uuid(self.identity())),
            "version": 1,
            "metadata": {
                "timestamp": rfc3339(self.created),
                "tools": { "components": [
                    { "type": "application", "name": self.tool, "version": self.tool_version },
                ] },
                "component": {
                    "type": "container",
                    "bom-ref": image,
                    "name": self.name,
                    "version": self.version,
                    "purl": image,
                    "hashes": [hash("SHA-256", &self.digest.hex())],
                    "properties": [property("platform", &self.platform.to_string())],
                },
            },
            "components": components,
            "dependencies": dependencies,
        }))
    }
}

impl SbomPackage {
    fn cyclonedx(&self) -> Value {
        let purl = self.purl();
        let mut component = json!({ "bom-ref": purl, "name": self.name, "purl": purl, "scope": "required" });
        component["type"] = match self.source {
            SbomSource::Apk { .. } => "library",
            SbomSource::Program => "application",
        }
        .into();
        if let Some(version) = &self.version {
            component["version"] = version.as_str().into();
        }
        if !self.description.is_empty() {
            component["description"] = self.description.as_str().into();
        }
        match Licence::of(&self.licence) {
            Licence::Unsaid => {}
            Licence::Expression(text, _) => component["licenses"] = json!([{ "expression": text }]),
            Licence::Text(text) => component["licenses"] = json!([{ "license": { "name": text } }]),
        }
        if let Some(digest) = self.digest {
            component["hashes"] = json!([hash("SHA-256", &digest.hex())]);
        }
        let homepage = Some(&self.homepage).filter(|address| address.starts_with("http"));
        let references = [("website", homepage), ("distribution", self.download.as_ref())];
        let references: Vec<Value> = references
            .into_iter()
            .filter_map(|(kind, url)| Some(json!({ "type": kind, "url": url? })))
            .collect();
        if !references.is_empty() {
            component["externalReferences"] = references.into();
        }
        if let SbomSource::Apk { origin, commit, .. } = &self.source {
            let known = [("origin", origin), ("commit", commit)].into_iter();
            let known: Vec<Value> =
                known.filter_map(|(key, value)| Some(property(key, value.as_ref()?))).collect();
            if !known.is_empty() {
                component["properties"] = known.into();
            }
        }
        if !self.files.is_empty() {
            component["components"] = self.files.iter().map(SbomFile::cyclonedx).collect();
        }
        component
    }
}

impl SbomFile {
    fn cyclonedx(&self) -> Value {
        let mut properties = vec![property("size", &self.size.to_string())];
        if let Some(original) = self.original {
            properties.push(property("sha256-in-package", &original.hex()));
        }
        json!({
            "type": "file",
            "bom-ref": format!("file:{}", self.path),
            "name": self.path.as_str(),
            "hashes": [hash("SHA-1", &hex::encode(self.sha1)), hash("SHA-256", &self.sha256.hex())],
            "properties": properties,
        })
    }
}

fn hash(algorithm: &str, content: &str) -> Value {
    json!({ "alg": algorithm, "content": content })
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": format!("io.kimg:{name}"), "value": value })
}

/// A UUID of version 8, whose bits are whatever its maker says (RFC 9562, 5.8): here those of a digest.
fn uuid(digest: Digest) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_raw()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
