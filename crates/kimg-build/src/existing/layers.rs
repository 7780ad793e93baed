//! Layers, one over the other (OCI image-spec, layer.md, "Applying Changesets").

use kimg_core::{ContentSink, Entry, FileTree, ImagePath};
use kimg_layer::{Entries, Limits};

use super::{FoundLayer, Place, ReadError};

/// What the name of an entry begins with that takes one of the same name away from the layers below.
const WHITEOUT: &str = ".wh.";
/// Takes everything in its folder away from the layers below.
const OPAQUE: &str = ".wh..wh..opq";

/// Reads one layer of an image, whiteouts included, and gives the bytes of its files to `sink`.
///
/// # Errors
/// A layer that is damaged, malformed, of an unknown kind, or beyond the limits.
pub fn read_layer(
    place: &Place,
    layer: &FoundLayer,
    sink: &mut dyn ContentSink,
) -> Result<Entries, ReadError> {
    let blob = layer.stored.open()?;
    let (entries, found) =
        kimg_layer::read(blob, &layer.media_type, &Limits::default(), sink).map_err(|source| {
            ReadError::Layer { place: place.to_string(), layer: layer.digest, source: Box::new(source) }
        })?;
    if found != layer.diff_id {
        let (place, expected) = (place.to_string(), layer.diff_id);
        return Err(ReadError::Damaged { place, what: "unpacked layer", expected, found });
    }
    Ok(entries)
}

/// Lays a layer over what the layers below it gave.
pub fn lay_over(tree: &mut FileTree, layer: &Entries) {
    // A whiteout is about the layers below, never about its own.
    for path in layer.keys() {
        whiteout(tree, path);
    }
    for (path, entry) in layer {
        put(tree, path, entry);
    }
}

/// Takes away what an entry says is gone.
fn whiteout(tree: &mut FileTree, path: &ImagePath) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    if name == OPAQUE {
        let folder = tree.resolve(&folder).map_or(folder, |real| real.path);
        clear(tree, &folder);
    } else if let Some(Ok(gone)) = name.strip_prefix(WHITEOUT).map(|name| folder.join(name)) {
        let gone = tree.locate(&gone).map_or(gone, |real| real.path);
        clear(tree, &gone);
        tree.remove(&gone);
    }
}

/// Lays an entry over what is there: only a folder over a folder keeps what lies in it.
fn put(tree: &mut FileTree, path: &ImagePath, entry: &Entry) {
    if path.file_name().is_none_or(|name| name.starts_with(WHITEOUT)) {
        return;
    }
    // A folder on the way may be a link of a lower layer.
    let path = tree.locate(path).map_or_else(|_| path.clone(), |real| real.path);
    let both_folders = entry.is_directory() && tree.get(&path).is_some_and(Entry::is_directory);
    if !both_folders {
        clear(tree, &path);
    }
    tree.insert(path, entry.clone());
}

/// Takes everything below a folder away.
fn clear(tree: &mut FileTree, folder: &ImagePath) {
    let below: Vec<ImagePath> = tree.below(folder).map(|(path, _)| path.clone()).collect();
    for path in below {
        tree.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use kimg_core::{Content, Origin};

    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    fn file(text: &str) -> Entry {
        Entry::file(Content::from_bytes(text), 0o644, Origin::generated("test"))
    }

    fn apply(tree: &mut FileTree, layer: &[(&str, Entry)]) {
        lay_over(tree, &layer.iter().map(|(at, entry)| (path(at), entry.clone())).collect());
    }

    fn paths(tree: &FileTree) -> Vec<String> {
        tree.iter().map(|(path, _)| path.to_string()).collect()
    }

    fn folder() -> Entry {
        Entry::directory(Origin::generated("test"))
    }

    #[test]
    fn whiteouts_take_away_from_lower_layers_only() {
        let mut tree = FileTree::new();
        apply(&mut tree, &[("/a", folder()), ("/a/x", file("1")), ("/a/y", file("1")), ("/b", file("1"))]);
        apply(&mut tree, &[("/.wh.b", file("")), ("/a/.wh..wh..opq", file("")), ("/a/new", file("2"))]);
        assert_eq!(paths(&tree), ["/a", "/a/new"]);
    }

    #[test]
    fn a_file_over_a_folder_takes_its_place_and_a_folder_over_a_folder_keeps_what_is_in_it() {
        let mut tree = FileTree::new();
        apply(&mut tree, &[("/a", folder()), ("/a/x", file("1")), ("/b", folder()), ("/b/x", file("1"))]);
        apply(&mut tree, &[("/a", folder()), ("/b", file("2"))]);
        assert_eq!(paths(&tree), ["/a", "/a/x", "/b"]);
    }

    #[test]
    fn a_layer_writes_through_a_link_to_a_folder_of_a_lower_one() {
        let mut tree = FileTree::new();
        let link = Entry::symlink("usr/lib", Origin::generated("test"));
        apply(&mut tree, &[("/lib", link), ("/usr", folder()), ("/usr/lib", folder())]);
        apply(&mut tree, &[("/lib/libz.so", file("z"))]);
        assert_eq!(paths(&tree), ["/lib", "/usr", "/usr/lib", "/usr/lib/libz.so"]);
    }
}
