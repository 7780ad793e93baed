//! Everything of an image that is compared: every file with the digest of its bytes and the package it belongs to. No byte
//! of a file is kept.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;

use kimg_build::existing::installed::{self, Installed, PLACES};
use kimg_build::existing::{FoundImage, FoundLayer, Laid, Place, ReadError, read_layer};
use kimg_core::{
    Content, ContentSink, ContentSource, Digest, DigestWriter, FileTree, ImagePath, Origin, ReadSeek,
};
use kimg_layer::{Node, UpperLayer};
use kimg_report::ImageContents;
use serde_json::Value;

/// The largest database of packages that is read, in bytes.
const MAX_DATABASE: u64 = 64 << 20;

/// Reads layers, each once: images have most of theirs in common.
#[derive(Default)]
pub(super) struct LayerReader {
    read: HashMap<Digest, Arc<Layer>>,
}

struct Layer {
    read: UpperLayer,
    /// The databases of packages in it.
    databases: BTreeMap<ImagePath, Vec<u8>>,
}

impl LayerReader {
    /// Everything of an image that is compared, and beside it devices and pipes, which are in no list of files.
    ///
    /// # Errors
    /// A layer that is damaged, malformed, of an unknown kind, or beyond the limits.
    pub(super) fn contents(
        &mut self,
        place: &Place,
        image: &FoundImage,
    ) -> Result<(ImageContents, BTreeMap<ImagePath, Node>), ReadError> {
        let mut laid = Laid::default();
        let mut databases = BTreeMap::new();
        for found in &image.layers {
            let layer = self.layer(place, found)?;
            laid.lay(place, found, &layer.read)?;
            databases.extend(layer.databases.clone());
        }
        laid.add_parents();
        let Laid { mut tree, nodes } = laid;
        let installed =
            PLACES.iter().find_map(|place| database(&tree, &databases, place)).unwrap_or_default();
        own(&mut tree, &installed);
        let contents = ImageContents {
            digest: image.digest,
            layers: image.layers.iter().map(|layer| (layer.digest, layer.stored.size)).collect(),
            tree,
            packages: installed.packages,
            settings: settings(image.settings()),
        };
        Ok((contents, nodes))
    }

    fn layer(&mut self, place: &Place, layer: &FoundLayer) -> Result<Arc<Layer>, ReadError> {
        if let Some(known) = self.read.get(&layer.diff_id) {
            return Ok(known.clone());
        }
        let mut sink = HashSink::default();
        let read = read_layer(place, layer, &mut sink)?;
        let read = Arc::new(Layer { read, databases: sink.databases });
        self.read.insert(layer.diff_id, read.clone());
        Ok(read)
    }
}

/// The database at a place, if the image has one there.
fn database(tree: &FileTree, databases: &BTreeMap<ImagePath, Vec<u8>>, place: &str) -> Option<Installed> {
    let path = tree.resolve(&ImagePath::new(place).ok()?).ok()?.path;
    let bytes = databases.get(&path)?;
    // A later layer may have taken it away, or put a link in its place.
    tree.get(&path)?.content().filter(|content| content.digest() == Digest::of(bytes))?;
    Some(installed::read(&String::from_utf8_lossy(bytes)))
}

/// Notes for each path the package that it belongs to.
fn own(tree: &mut FileTree, installed: &Installed) {
    for (path, name) in &installed.owners {
        let Ok(real) = tree.locate(path) else { continue };
        let version = installed.packages.get(name).map(|package| package.version.clone());
        if let (Some(entry), Some(version)) = (tree.get_mut(&real.path), version)
            // A folder may be several packages': it is told as nobody's.
            && !entry.is_directory()
        {
            entry.origin = Origin::Package { name: name.clone(), version };
        }
    }
}

/// What a config says about how the image is run, one line a thing: variables, labels and the like by their names.
fn settings(config: &Value) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        match value {
            Value::Object(members) => {
                lines.extend(members.iter().map(|(k, v)| (format!("{key}.{k}"), text(v))));
            }
            Value::Array(variables) if key == "Env" => {
                for variable in variables.iter().filter_map(Value::as_str) {
                    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
                    lines.insert(format!("Env.{name}"), value.to_owned());
                }
            }
            // What is empty is written by some and left out by others.
            empty if is_empty(empty) => {}
            other => {
                lines.insert(key.clone(), text(other));
            }
        }
    }
    lines
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::String(word) => word.is_empty(),
        _ => false,
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Hashes what it is given and forgets it, but for databases of packages.
#[derive(Default)]
struct HashSink {
    databases: BTreeMap<ImagePath, Vec<u8>>,
}

impl ContentSink for HashSink {
    fn store(&mut self, path: &ImagePath, reader: &mut dyn Read) -> io::Result<Content> {
        if PLACES.contains(&path.as_str()) {
            let mut bytes = Vec::new();
            reader.take(MAX_DATABASE).read_to_end(&mut bytes)?;
            self.databases.insert(path.clone(), bytes.clone());
            return Ok(Content::from_bytes(bytes));
        }
        let mut writer = DigestWriter::new(io::sink());
        io::copy(reader, &mut writer)?;
        let (_, digest, size) = writer.finish();
        Ok(Content::new(digest, size, Arc::new(Forgotten)))
    }
}

/// The bytes of a file of which only the digest was wanted.
#[derive(Debug)]
struct Forgotten;

impl ContentSource for Forgotten {
    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only the digest of this file was kept"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_one_by_one_and_what_is_empty_is_as_what_is_not_there() {
        let config = serde_json::json!({
            "Env": ["PATH=/bin", "EMPTY"], "Labels": {"a.b": "c"}, "Cmd": ["sh", "-c"], "Entrypoint": null,
            "OnBuild": [], "User": "", "AttachStdin": false, "Volumes": {"/data": {}},
        });
        let lines: Vec<_> = settings(&config).into_iter().map(|(k, v)| format!("{k} {v}")).collect();
        assert_eq!(
            lines,
            ["Cmd [\"sh\",\"-c\"]", "Env.EMPTY ", "Env.PATH /bin", "Labels.a.b c", "Volumes./data {}"]
        );
    }
}
