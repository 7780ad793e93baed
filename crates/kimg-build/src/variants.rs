//! The variants that are compiled in, and those of a project beside or instead of them.

use std::collections::BTreeMap;
use std::path::Path;

use kimg_core::variant::written;

use crate::error::BuildError;
use crate::settings::toml_files;

/// The text of every variant that is compiled in, by the name of its file.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("plain.toml", include_str!("../../../variants/plain.toml")),
    ("flannel.toml", include_str!("../../../variants/flannel.toml")),
    ("cni.toml", include_str!("../../../variants/cni.toml")),
    ("kubeadm.toml", include_str!("../../../variants/kubeadm.toml")),
    ("kubeadm-cni.toml", include_str!("../../../variants/kubeadm-cni.toml")),
    ("kube-proxy.toml", include_str!("../../../variants/kube-proxy.toml")),
    ("portable-base.toml", include_str!("../../../variants/portable-base.toml")),
    ("portable.toml", include_str!("../../../variants/portable.toml")),
];

/// Variants as written, by name, and the order in which people want to see them.
#[derive(Debug, Clone, Default)]
pub struct Variants {
    /// Every variant, by name.
    pub written: BTreeMap<String, written::Variant>,
    /// The names: those compiled in first, then a project's own.
    pub order: Vec<String>,
}

impl Variants {
    /// The variants that are compiled in.
    pub fn built_in() -> Result<Self, BuildError> {
        let mut all = Self::default();
        for (file, text) in BUILT_IN {
            all.add(file, text)?;
        }
        Ok(all)
    }

    /// The names of those that are built when none is named.
    pub fn unnamed(&self) -> Vec<String> {
        let unnamed = self.order.iter().filter(|name| !self.written[*name].by_name);
        unnamed.cloned().collect()
    }

    /// Adds every `*.toml` of a folder; one with a known name takes that one's place.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), BuildError> {
        for (file, text) in toml_files(folder, "variants")? {
            self.add(&file, &text)?;
        }
        Ok(())
    }

    fn add(&mut self, file: &str, text: &str) -> Result<(), BuildError> {
        let variant: written::Variant = toml::from_str(text).map_err(|e| BuildError::toml(file, text, &e))?;
        if !self.order.contains(&variant.name) {
            self.order.push(variant.name.clone());
        }
        self.written.insert(variant.name.clone(), variant);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_that_is_compiled_in_resolves() {
        let all = Variants::built_in().unwrap();
        assert_eq!(all.unnamed(), ["plain", "flannel", "cni", "kubeadm", "kubeadm-cni", "kube-proxy"]);
        assert_eq!(all.order[6..], ["portable-base", "portable"]);
        for name in &all.order {
            let variant = kimg_core::variant::resolve(name, &all.written).unwrap();
            assert!(!variant.roots.is_empty() && variant.layers.len() >= 2, "{name}");
        }
    }

    #[test]
    fn the_network_plugin_flag_never_reaches_a_kubelet_that_lost_it() {
        let all = Variants::built_in().unwrap();
        for name in ["flannel", "cni", "kubeadm-cni", "portable"] {
            let variant = kimg_core::variant::resolve(name, &all.written).unwrap();
            let has = |version: &str| {
                variant
                    .entrypoint_for(&version.parse().unwrap())
                    .iter()
                    .any(|w| w.starts_with("--network-plugin"))
            };
            assert!(has("1.20.2") && has("1.23.17") && !has("1.24.0") && !has("1.34.2"), "{name}");
        }
    }

    #[test]
    fn plain_is_wholly_in_cni_layer_by_layer() {
        let all = Variants::built_in().unwrap();
        let resolve = |name| kimg_core::variant::resolve(name, &all.written).unwrap();
        let (plain, flannel, cni) = (resolve("plain"), resolve("flannel"), resolve("cni"));
        assert_eq!(cni.layers[..plain.layers.len()], plain.layers[..]);
        assert_eq!(cni.layers[..flannel.layers.len()], flannel.layers[..]);
    }
}
