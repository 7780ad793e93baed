//! What kimg itself writes into an image: the files and folders of a variant, and which system it is.

use kimg_core::variant::Portable;
use kimg_core::{Content, Entry, FileTree, ImagePath, KubernetesVersion, Origin, Variant};
use kimg_node::unit::quote;

use crate::select::Placed;

/// Writes the files and folders of a variant, and makes roots of them. A folder that a package has is the package's.
pub(crate) fn write(
    tree: &mut FileTree,
    variant: &Variant,
    version: &KubernetesVersion,
    roots: &mut Vec<Placed>,
) {
    let layer = |name: &str| variant.layers.iter().position(|l| l.name == name).unwrap_or(0);
    let placed = |path: &ImagePath, reason: &str, layer: usize| Placed {
        path: path.clone(),
        name: path.file_name().unwrap_or_default().to_owned(),
        reason: reason.to_owned(),
        layer,
        root: None,
    };
    let named = |roots: &[Placed], name: &str| {
        roots.iter().any(|placed| placed.root.as_ref().is_some_and(|root| root.name() == name))
    };
    for (path, rule) in variant.files_for(version) {
        if !rule.with.iter().all(|name| named(roots, name)) {
            continue;
        }
        let text = fill(rule.text.trim_start_matches('\n'), variant, version);
        let origin = || Origin::generated(rule.reason.clone());
        let path = place(tree, path);
        tree.insert(path.clone(), Entry::file(Content::from_bytes(text), rule.mode, origin()));
        roots.push(placed(&path, &rule.reason, layer(&rule.layer)));
        for link in &rule.links {
            let link = place(tree, link);
            tree.insert(link.clone(), Entry::symlink(path.to_string(), origin()));
            roots.push(placed(&link, &rule.reason, layer(&rule.layer)));
        }
    }
    for rule in &variant.directories {
        let path = place(tree, &rule.path);
        if tree.get(&path).is_none() {
            tree.insert(path.clone(), Entry::directory(Origin::generated(rule.reason.clone())));
        }
        if !roots.iter().any(|root| root.path == path) {
            roots.push(placed(&path, &rule.reason, layer(&rule.layer)));
        }
    }
}

/// Where a path lies when a folder above it is a link of some package (`/lib` to `/usr/lib`).
fn place(tree: &FileTree, path: &ImagePath) -> ImagePath {
    let above = path.ancestors().into_iter().skip(1);
    let there = above.filter(|folder| !folder.is_root()).find_map(|folder| {
        let rest = path.as_str().strip_prefix(folder.as_str())?.trim_start_matches('/');
        tree.resolve(&folder).ok()?.path.join(rest).ok()
    });
    there.unwrap_or_else(|| path.clone())
}

/// Puts what follows from the version into a text.
fn fill(text: &str, variant: &Variant, version: &KubernetesVersion) -> String {
    let entrypoint = || variant.entrypoint_for(version).iter().map(|word| quote(word)).collect::<Vec<_>>();
    let mut text = text.replace("@version@", &version.to_string());
    if text.contains("@entrypoint@") {
        text = text.replace("@entrypoint@", &entrypoint().join(" "));
    }
    text
}

/// `os-release` of an image that is made of Alpine's packages.
pub(crate) fn alpine_release(branch: &str) -> String {
    format!(
        "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID={branch}\nPRETTY_NAME=\"Alpine Linux v{branch}\"\n\
         HOME_URL=\"https://alpinelinux.org/\"\n"
    )
}

/// `os-release` of a portable service (os-release(5)).
pub(crate) fn portable_release(
    variant: &Variant,
    portable: &Portable,
    version: &KubernetesVersion,
    alpine: Option<&str>,
) -> String {
    let system = alpine.map_or_else(|| "NAME=\"Linux\"\nID=linux\n".to_owned(), alpine_release);
    let description = portable.description.replace("@version@", &version.to_string());
    format!(
        "{system}PORTABLE_PREFIXES=\"{}\"\nPORTABLE_PRETTY_NAME=\"{description}\"\nIMAGE_ID={}\nIMAGE_VERSION={}\n",
        portable.prefixes.join(" "),
        variant.image.to_lowercase(),
        file_version(portable, version),
    )
}

/// The version in the name of a portable service: `1.20.2`, and the variant's suffix behind it.
pub(crate) fn file_version(portable: &Portable, version: &KubernetesVersion) -> String {
    let number = version.to_string().trim_start_matches('v').replace('+', "-");
    portable.suffix.iter().fold(number, |name, suffix| format!("{name}-{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variants::Variants;

    #[test]
    fn words_of_units_lose_their_meaning_for_systemd() {
        assert_eq!(quote("--config=/var/lib/kubelet/config.yaml"), "--config=/var/lib/kubelet/config.yaml");
        assert_eq!(quote("100%"), "100%%");
        assert_eq!(quote("$HOME"), "$$HOME");
        assert_eq!(quote(r#"a "b" \c"#), r#""a \"b\" \\c""#);
        assert_eq!(quote(""), "\"\"");
    }

    #[test]
    fn the_unit_of_the_kubelet_has_the_words_of_its_version() {
        let all = Variants::built_in().unwrap();
        let variant = kimg_core::variant::resolve("portable", &all.written).unwrap();
        let unit = |version: &str| {
            let mut tree = FileTree::new();
            let version = version.parse().unwrap();
            write(&mut tree, &variant, &version, &mut Vec::new());
            let path = ImagePath::new("/usr/lib/systemd/system/kubelet.service").unwrap();
            let text = tree.get(&path).unwrap().content().unwrap().read(10_000).unwrap();
            let text = String::from_utf8(text).unwrap();
            text.lines().find(|line| line.starts_with("ExecStart=")).unwrap().to_owned()
        };
        let (old, new) = (unit("1.20.2"), unit("1.34.2"));
        for (word, in_old, in_new) in [
            (" --network-plugin=cni ", true, false),
            (" --container-runtime=remote ", true, false),
            (" --container-runtime-endpoint=unix:///run/containerd/containerd.sock ", true, true),
            (" -- /usr/bin/kubelet --config=/var/lib/kubelet/config.yaml ", true, true),
            ("@", false, false),
        ] {
            assert_eq!((old.contains(word), new.contains(word)), (in_old, in_new), "{word}\n{old}\n{new}");
        }
    }
}
