//! Package URLs, by which scanners find what is known of a package (package-url/purl-spec, and its type `apk`).

use std::fmt::Write as _;

use super::{Sbom, SbomPackage, SbomSource};

/// Everything but letters, digits and `.-_~` is written as `%XX`; a colon may stand.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) => all.push(byte.into()),
            // Writing into a string does not fail.
            byte => drop(write!(all, "%{byte:02X}")),
        }
        all
    })
}

impl SbomPackage {
    pub(super) fn purl(&self) -> String {
        let (kind, qualifiers) = match &self.source {
            SbomSource::Apk { vendor, distribution, arch, origin, .. } => {
                let upstream = origin.as_ref().filter(|origin| **origin != self.name);
                let arch = Some(arch).filter(|arch| !arch.is_empty());
                let all = [("arch", arch), ("distro", distribution.as_ref()), ("upstream", upstream)];
                (format!("apk/{}", encoded(&vendor.to_ascii_lowercase())), pairs(&all))
            }
            SbomSource::Program => {
                let checksum = self.digest.map(|digest| digest.to_string());
                ("generic".to_owned(), pairs(&[("checksum", checksum.as_ref())]))
            }
        };
        let name = match self.source {
            SbomSource::Apk { .. } => self.name.to_ascii_lowercase(),
            SbomSource::Program => self.name.clone(),
        };
        let version =
            self.version.as_ref().map(|version| format!("@{}", encoded(version))).unwrap_or_default();
        format!("pkg:{kind}/{}{version}{qualifiers}", encoded(&name))
    }
}

impl Sbom {
    /// The image itself.
    pub(super) fn purl(&self) -> String {
        let arch = self.platform.oci_architecture().to_owned();
        format!(
            "pkg:oci/{}@{}{}",
            encoded(&self.name.to_ascii_lowercase()),
            encoded_digest(self),
            pairs(&[("arch", Some(&arch))])
        )
    }
}

fn encoded_digest(sbom: &Sbom) -> String {
    sbom.digest.to_string().replace(':', "%3A")
}

/// Qualifiers that have a value, in the order given, which has to be that of their names.
fn pairs(all: &[(&str, Option<&String>)]) -> String {
    let written: Vec<String> =
        all.iter().filter_map(|(key, value)| Some(format!("{key}={}", encoded((*value)?)))).collect();
    if written.is_empty() { String::new() } else { format!("?{}", written.join("&")) }
}
