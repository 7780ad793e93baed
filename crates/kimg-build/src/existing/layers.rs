//! Layers, one over the other (OCI image-spec, layer.md, "Applying Changesets").

use std::collections::BTreeMap;
use std::ops::Bound;

use kimg_core::{ContentSink, Entry, FileTree, ImagePath, Kind, Origin};
use kimg_layer::{Entries, Limits, Node, UpperLayer};

use super::{FoundImage, FoundLayer, Place, ReadError};

/// What the name of an entry begins with that takes one of the same name away from the layers below.
const WHITEOUT: &str = ".wh.";
/// Takes everything in its folder away from the layers below.
const OPAQUE: &str = ".wh..wh..opq";

/// What layers come to.
#[derive(Debug, Default)]
pub struct Laid {
    /// Files, links and folders.
    pub tree: FileTree,
    /// Devices and pipes, which no tree holds.
    pub nodes: BTreeMap<ImagePath, Node>,
}

/// Reads one layer of an image, whiteouts included, and gives the bytes of its files to `sink`.
///
/// # Errors
/// A layer that is damaged, malformed, of an unknown kind, or beyond the limits.
pub fn read_layer(
    place: &Place,
    layer: &FoundLayer,
    sink: &mut dyn ContentSink,
) -> Result<UpperLayer, ReadError> {
    let blob = layer.stored.open()?;
    let read = kimg_layer::read_upper(blob, &layer.media_type, &Limits::default(), sink);
    let read = read.map_err(|source| ReadError::Layer {
        place: place.to_string(),
        layer: layer.digest,
        source: Box::new(source),
    })?;
    if read.diff_id != layer.diff_id {
        let (place, expected, found) = (place.to_string(), layer.diff_id, read.diff_id);
        return Err(ReadError::Damaged { place, what: "unpacked layer", expected, found });
    }
    Ok(read)
}

/// Reads all layers of an image and lays them over each other, the folders above each path added.
///
/// # Errors
/// As [`read_layer`] and [`Laid::lay`].
pub fn read_image(place: &Place, image: &FoundImage, sink: &mut dyn ContentSink) -> Result<Laid, ReadError> {
    let mut laid = Laid::default();
    for layer in &image.layers {
        laid.lay(place, layer, &read_layer(place, layer, sink)?)?;
    }
    laid.add_parents();
    Ok(laid)
}

impl Laid {
    /// Lays a layer over what the layers below it gave.
    ///
    /// # Errors
    /// A hard link to what is in none of them.
    pub fn lay(&mut self, place: &Place, of: &FoundLayer, layer: &UpperLayer) -> Result<(), ReadError> {
        // What a link is to is what the layers below have, before this one takes anything away.
        let mut linked = Vec::new();
        for (path, target) in &layer.links {
            let found = self.linked(target).ok_or_else(|| ReadError::LinkToNothing {
                place: place.to_string(),
                layer: of.digest,
                path: path.clone(),
                target: target.clone(),
            })?;
            linked.push((path, found));
        }
        self.lay_entries(&layer.entries);
        for (path, found) in linked {
            match found {
                Linked::Entry(entry) => self.put(path, &entry),
                Linked::Node(node) => self.put_node(path, node),
            }
        }
        for (path, node) in &layer.nodes {
            self.put_node(path, *node);
        }
        Ok(())
    }

    /// Lays the files, links and folders of a layer over what the layers below it gave.
    pub fn lay_entries(&mut self, entries: &Entries) {
        // A whiteout is about the layers below, never about its own.
        for path in entries.keys() {
            self.whiteout(path);
        }
        for (path, entry) in entries {
            self.put(path, entry);
        }
    }

    /// Adds the folders above each path that no layer says anything about.
    pub fn add_parents(&mut self) {
        self.tree.add_parents(&Origin::generated("a folder that no layer says anything about"));
    }

    /// What a hard link is to: a file, which is told that it has several names, or something else that has none of its own.
    fn linked(&mut self, target: &ImagePath) -> Option<Linked> {
        let at = self.tree.locate(target).map_or_else(|_| target.clone(), |real| real.path);
        if let Some(node) = self.nodes.get(&at) {
            return Some(Linked::Node(*node));
        }
        let entry = self.tree.get_mut(&at)?;
        match &mut entry.kind {
            Kind::File { inode, .. } => {
                inode.get_or_insert_with(|| at.clone());
            }
            Kind::Symlink { .. } => {}
            Kind::Directory => return None,
        }
        Some(Linked::Entry(entry.clone()))
    }

    /// Takes away what an entry says is gone.
    fn whiteout(&mut self, path: &ImagePath) {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
        if name == OPAQUE {
            let folder = self.tree.resolve(&folder).map_or(folder, |real| real.path);
            self.clear(&folder);
        } else if let Some(Ok(gone)) = name.strip_prefix(WHITEOUT).map(|name| folder.join(name)) {
            let gone = self.tree.locate(&gone).map_or(gone, |real| real.path);
            self.clear(&gone);
            self.tree.remove(&gone);
            self.nodes.remove(&gone);
        }
    }

    /// Lays an entry over what is there: only a folder over a folder keeps what lies in it.
    fn put(&mut self, path: &ImagePath, entry: &Entry) {
        let Some(path) = self.place_of(path) else { return };
        // What lies in a folder stays, also where no layer below said that the folder is there.
        if !entry.is_directory() {
            self.clear(&path);
        }
        self.nodes.remove(&path);
        self.tree.insert(path, entry.clone());
    }

    fn put_node(&mut self, path: &ImagePath, node: Node) {
        let Some(path) = self.place_of(path) else { return };
        self.clear(&path);
        self.tree.remove(&path);
        self.nodes.insert(path, node);
    }

    /// Where an entry goes: a folder on the way may be a link of a lower layer. Whiteouts go nowhere.
    fn place_of(&self, path: &ImagePath) -> Option<ImagePath> {
        if path.file_name().is_none_or(|name| name.starts_with(WHITEOUT)) {
            return None;
        }
        Some(self.tree.locate(path).map_or_else(|_| path.clone(), |real| real.path))
    }

    /// Takes everything below a folder away.
    fn clear(&mut self, folder: &ImagePath) {
        let below: Vec<ImagePath> = self.tree.below(folder).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.tree.remove(&path);
        }
        let prefix = format!("{}/", folder.as_str().trim_end_matches('/'));
        let behind = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let nodes = self.nodes.range::<str, _>(behind).map(|(path, _)| path);
        let nodes: Vec<ImagePath> =
            nodes.take_while(|path| path.as_str().starts_with(&prefix)).cloned().collect();
        for path in nodes {
            self.nodes.remove(&path);
        }
    }
}

/// What a hard link is to.
enum Linked {
    Entry(Entry),
    Node(Node),
}

#[cfg(test)]
mod tests {
    use kimg_core::{Content, Digest};
    use kimg_layer::NodeKind;

    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    fn file(text: &str) -> Entry {
        Entry::file(Content::from_bytes(text), 0o644, Origin::generated("test"))
    }

    fn layer(entries: &[(&str, Entry)], links: &[(&str, &str)], nodes: &[&str]) -> UpperLayer {
        let null = Node { kind: NodeKind::Character(1, 3), mode: 0o666, uid: 0, gid: 0 };
        UpperLayer {
            entries: entries.iter().map(|(at, entry)| (path(at), entry.clone())).collect(),
            links: links.iter().map(|(at, target)| (path(at), path(target))).collect(),
            nodes: nodes.iter().map(|at| (path(at), null)).collect(),
            diff_id: Digest::of(""),
        }
    }

    fn lay(laid: &mut Laid, layer: &UpperLayer) -> Result<(), ReadError> {
        let of = FoundLayer {
            digest: Digest::of("layer"),
            diff_id: layer.diff_id,
            media_type: String::new(),
            stored: crate::existing::Stored { file: "x".into(), offset: 0, size: 0 },
        };
        laid.lay(&"oci:x".parse().unwrap(), &of, layer)
    }

    fn apply(laid: &mut Laid, entries: &[(&str, Entry)]) {
        lay(laid, &layer(entries, &[], &[])).unwrap();
    }

    fn paths(laid: &Laid) -> Vec<String> {
        let nodes = laid.nodes.keys().map(|path| format!("{path} (node)"));
        laid.tree.iter().map(|(path, _)| path.to_string()).chain(nodes).collect()
    }

    fn folder() -> Entry {
        Entry::directory(Origin::generated("test"))
    }

    #[test]
    fn whiteouts_take_away_from_lower_layers_only() {
        let mut laid = Laid::default();
        apply(&mut laid, &[("/a", folder()), ("/a/x", file("1")), ("/a/y", file("1")), ("/b", file("1"))]);
        apply(&mut laid, &[("/.wh.b", file("")), ("/a/.wh..wh..opq", file("")), ("/a/new", file("2"))]);
        assert_eq!(paths(&laid), ["/a", "/a/new"]);
    }

    #[test]
    fn a_file_over_a_folder_takes_its_place_and_a_folder_over_a_folder_keeps_what_is_in_it() {
        let mut laid = Laid::default();
        apply(&mut laid, &[("/a", folder()), ("/a/x", file("1")), ("/b", folder()), ("/b/x", file("1"))]);
        apply(&mut laid, &[("/a", folder()), ("/b", file("2"))]);
        assert_eq!(paths(&laid), ["/a", "/a/x", "/b"]);
    }

    #[test]
    fn a_folder_that_a_lower_layer_only_implies_keeps_what_is_in_it() {
        let mut laid = Laid::default();
        apply(&mut laid, &[("/usr/bin/one", file("1"))]);
        apply(&mut laid, &[("/usr", folder()), ("/usr/bin", folder()), ("/usr/bin/two", file("2"))]);
        assert_eq!(paths(&laid), ["/usr", "/usr/bin", "/usr/bin/one", "/usr/bin/two"]);
    }

    #[test]
    fn a_layer_writes_through_a_link_to_a_folder_of_a_lower_one() {
        let mut laid = Laid::default();
        let link = Entry::symlink("usr/lib", Origin::generated("test"));
        apply(&mut laid, &[("/lib", link), ("/usr", folder()), ("/usr/lib", folder())]);
        apply(&mut laid, &[("/lib/libz.so", file("z"))]);
        assert_eq!(paths(&laid), ["/lib", "/usr", "/usr/lib", "/usr/lib/libz.so"]);
    }

    #[test]
    fn a_hard_link_to_a_file_of_a_lower_layer_is_a_further_name_of_it_also_where_that_is_taken_away() {
        let mut laid = Laid::default();
        let link = Entry::symlink("usr/bin", Origin::generated("test"));
        apply(
            &mut laid,
            &[("/bin", link), ("/usr", folder()), ("/usr/bin", folder()), ("/usr/bin/one", file("1"))],
        );
        lay(&mut laid, &layer(&[], &[("/two", "/bin/one")], &[])).unwrap();
        let inode = |laid: &Laid, at: &str| match &laid.tree.get(&path(at)).unwrap().kind {
            Kind::File { inode, content } => (inode.clone().unwrap().to_string(), content.size()),
            other => panic!("{other:?}"),
        };
        assert_eq!(inode(&laid, "/two"), ("/usr/bin/one".into(), 1));
        assert_eq!(inode(&laid, "/usr/bin/one"), inode(&laid, "/two"));
        // As a rename is told: the new name, and that the old one is gone.
        lay(&mut laid, &layer(&[("/usr/bin/.wh.one", file(""))], &[("/usr/three", "/usr/bin/one")], &[]))
            .unwrap();
        assert_eq!(paths(&laid), ["/bin", "/two", "/usr", "/usr/bin", "/usr/three"]);
        assert_eq!(inode(&laid, "/usr/three").1, 1);
        let nothing = lay(&mut laid, &layer(&[], &[("/x", "/usr/bin/one")], &[])).unwrap_err();
        assert!(nothing.to_string().contains("`/x` is a hard link to `/usr/bin/one`, which no layer has"));
        assert!(lay(&mut laid, &layer(&[], &[("/x", "/usr")], &[])).is_err());
    }

    #[test]
    fn nodes_take_places_and_lose_them_like_files() {
        let mut laid = Laid::default();
        apply(&mut laid, &[("/dev", folder()), ("/dev/null", file("not yet")), ("/keep", file("k"))]);
        lay(&mut laid, &layer(&[], &[], &["/dev/null", "/dev/zero", "/keep"])).unwrap();
        assert_eq!(paths(&laid), ["/dev", "/dev/null (node)", "/dev/zero (node)", "/keep (node)"]);
        lay(
            &mut laid,
            &layer(&[("/dev/null", file("n")), ("/dev/.wh.zero", file(""))], &[("/k", "/keep")], &[]),
        )
        .unwrap();
        assert_eq!(paths(&laid), ["/dev", "/dev/null", "/k (node)", "/keep (node)"]);
        lay(&mut laid, &layer(&[], &[], &["/dev/x"])).unwrap();
        apply(&mut laid, &[("/dev", file("a file now"))]);
        assert_eq!(paths(&laid), ["/dev", "/k (node)", "/keep (node)"]);
    }
}
