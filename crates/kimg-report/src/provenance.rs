//! Where images come from: an in-toto statement with SLSA's provenance (in-toto/attestation `spec/v1/statement.md`,
//! slsa.dev `provenance/v1`). The same input gives the same bytes; times are in it only where they are given.

use std::collections::BTreeMap;

use kimg_core::Digest;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{json, rfc3339};

/// What kind of statement it is.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// What it says.
pub const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// How to understand the parameters: those of a build by kimg.
pub const BUILD_TYPE: &str = "https://github.com/kimg-dev/kimg/build/v1";

/// An image or index that was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// What it is called: `kubelet:v1.34.2`, `kubelet (linux/arm64)`.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
}

/// Something that went into it. At least one of address and digest is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    /// What it is called.
    pub name: String,
    /// Its address, or its package URL.
    pub uri: Option<String>,
    /// The SHA-256 of its bytes.
    pub digest: Option<Digest>,
    /// What else is known.
    pub annotations: BTreeMap<String, String>,
}

/// Everything that is told about a build.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provenance {
    /// What was made.
    pub subjects: Vec<Subject>,
    /// What was asked for, by whoever built: variants, platforms, aims, settings.
    pub external: Map<String, Value>,
    /// What kimg decided by itself.
    pub internal: Map<String, Value>,
    /// Every input.
    pub materials: Vec<Material>,
    /// Who built: an address. The one of kimg on somebody's machine where nothing else is said.
    pub builder: Option<String>,
    /// The tools that did it, with their versions: `kimg`, `upx`.
    pub versions: BTreeMap<String, String>,
    /// What the build is called by who started it: the address of a CI run.
    pub invocation: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: Option<u64>,
    /// When it was done.
    pub finished: Option<u64>,
}

/// Who built where nobody says it: somebody who ran kimg. It vouches for nothing beyond that.
pub const SOMEBODY: &str = "https://github.com/kimg-dev/kimg/builder/somebody";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'a str,
    subject: Vec<Resource<'a>>,
    predicate_type: &'a str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    build_definition: Definition<'a>,
    run_details: Run<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Definition<'a> {
    build_type: &'a str,
    external_parameters: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    internal_parameters: &'a Map<String, Value>,
    resolved_dependencies: Vec<Resource<'a>>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Resource<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    digest: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Run<'a> {
    builder: Builder<'a>,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Builder<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    version: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_on: Option<String>,
}

impl Metadata<'_> {
    fn is_empty(&self) -> bool {
        self.invocation_id.is_none() && self.started_on.is_none() && self.finished_on.is_none()
    }
}

fn sha256<'a>(digest: Option<Digest>) -> BTreeMap<&'a str, String> {
    digest.map(|digest| ("sha256", digest.hex())).into_iter().collect()
}

impl Provenance {
    /// The statement as JSON, with a line feed at the end. Subjects and inputs stand in the order of their names.
    pub fn to_json(&self) -> String {
        let subject = |subject: &'_ Subject| sha256(Some(subject.digest));
        let mut subjects: Vec<Resource<'_>> = self
            .subjects
            .iter()
            .map(|it| Resource {
                name: &it.name,
                uri: None,
                digest: subject(it),
                annotations: BTreeMap::new(),
            })
            .collect();
        subjects.sort();
        subjects.dedup();
        let mut materials: Vec<Resource<'_>> = self
            .materials
            .iter()
            .map(|it| Resource {
                name: &it.name,
                uri: it.uri.as_deref(),
                digest: sha256(it.digest),
                annotations: it.annotations.iter().map(|(key, value)| (&**key, &**value)).collect(),
            })
            .collect();
        materials.sort();
        materials.dedup();
        json(&Statement {
            kind: STATEMENT,
            subject: subjects,
            predicate_type: PREDICATE,
            predicate: Predicate {
                build_definition: Definition {
                    build_type: BUILD_TYPE,
                    external_parameters: &self.external,
                    internal_parameters: &self.internal,
                    resolved_dependencies: materials,
                },
                run_details: Run {
                    builder: Builder {
                        id: self.builder.as_deref().unwrap_or(SOMEBODY),
                        version: &self.versions,
                    },
                    metadata: Metadata {
                        invocation_id: self.invocation.as_deref(),
                        started_on: self.started.map(rfc3339),
                        finished_on: self.finished.map(rfc3339),
                    },
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        let material = |name: &str, uri: Option<&str>| Material {
            name: name.to_owned(),
            uri: uri.map(str::to_owned),
            digest: Some(Digest::of(name)),
            annotations: BTreeMap::from([("size".to_owned(), "3".to_owned())]),
        };
        Provenance {
            subjects: vec![
                Subject { name: "kubelet:v1.34.2".into(), digest: Digest::of("index") },
                Subject { name: "kubelet (linux/arm64)".into(), digest: Digest::of("image") },
            ],
            external: Map::from_iter([("variants".to_owned(), serde_json::json!(["plain"]))]),
            internal: Map::new(),
            materials: vec![
                material("kubelet-1.34.2-r0.apk", Some("https://example.org/kubelet-1.34.2-r0.apk")),
                material("iptables-1.8.11-r0.apk", None),
                material("iptables-1.8.11-r0.apk", None),
            ],
            versions: BTreeMap::from([("kimg".to_owned(), "0.1.0".to_owned())]),
            ..Provenance::default()
        }
    }

    #[test]
    fn a_provenance_reads_like_this() {
        insta::assert_snapshot!(provenance().to_json());
    }

    #[test]
    fn the_order_in_which_things_come_changes_nothing() {
        let mut turned = provenance();
        turned.subjects.reverse();
        turned.materials.reverse();
        assert_eq!(turned.to_json(), provenance().to_json());
    }

    #[test]
    fn a_time_stands_there_only_if_it_was_given() {
        assert!(!provenance().to_json().contains("metadata"));
        let timed = Provenance { started: Some(0), finished: Some(86_400), ..provenance() }.to_json();
        assert!(timed.contains(r#""startedOn": "1970-01-01T00:00:00Z""#), "{timed}");
        assert!(timed.contains(r#""finishedOn": "1970-01-02T00:00:00Z""#), "{timed}");
    }
}
