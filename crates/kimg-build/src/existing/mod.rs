//! Images that exist already, read where they lie: OCI layouts, their archives, archives of `docker save`.
//!
//! A [`Place`] is where they are, as people write it for skopeo; [`Place::groups`] says what is found there without
//! reading a layer. [`read_layer`] reads one and holds it against its diff ID; [`Laid`] lays one over what the layers below
//! it gave, whiteouts applied; [`read_image`] does both for all of them; [`verify`] holds every
//! byte against its digest. Nothing is ever unpacked.

mod archive;
mod docker;
mod error;
pub mod installed;
mod layers;
mod layout;
mod spool;
pub mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kimg_core::{Digest, ImagePath, Platform};
use serde_json::Value;

pub use error::ReadError;
pub use layers::{Laid, read_image, read_layer};
pub use spool::Spool;

/// Something with a root file system in it that exists already.
#[derive(Debug, Clone)]
pub enum Input {
    /// An image, of one or several platforms.
    Image(Place),
    /// A folder with an unpacked root file system.
    Folder(PathBuf),
}

impl FromStr for Input {
    type Err = ReadError;

    /// As [`Place`]; a folder that is no layout is a root file system, and so is what is not there.
    fn from_str(typed: &str) -> Result<Self, ReadError> {
        let folder = Path::new(typed);
        let is_layout = ["oci-layout", "index.json"].iter().any(|name| folder.join(name).is_file());
        if (folder.is_dir() && !is_layout) || (!folder.exists() && !typed.contains(':')) {
            return Ok(Self::Folder(folder.to_owned()));
        }
        Ok(Self::Image(typed.parse()?))
    }
}

/// `oci:out:kubelet:v1.20.2`
#[derive(Debug, Clone)]
pub struct Place {
    typed: String,
    kind: Kind,
    path: PathBuf,
    /// What stands behind the path: a tag, or a name with a tag.
    tag: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Layout,
    OciArchive,
    DockerArchive,
}

/// Images under one digest: an index, or a single image.
#[derive(Debug, Clone)]
pub struct Group {
    /// The names that lead to it, sorted. May be none.
    pub tags: Vec<String>,
    /// One for each platform that kimg has a word for.
    pub images: Vec<FoundImage>,
    /// The other platforms, as they are written.
    pub others: Vec<String>,
}

/// One platform's image: all of it but the bytes of its layers.
#[derive(Debug, Clone)]
pub struct FoundImage {
    /// What it runs on.
    pub platform: Platform,
    /// The digest of its manifest; in a Docker archive, which has none, of its config.
    pub digest: Digest,
    /// The variant, if kimg made it.
    pub variant: Option<String>,
    /// Its config, all of it (OCI image-spec, config.md; Docker's has the same fields).
    pub config: Value,
    /// The annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Bottom first.
    pub layers: Vec<FoundLayer>,
}

/// A layer's bytes: a part of a file.
#[derive(Debug, Clone)]
pub struct FoundLayer {
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// The digest of the archive inside.
    pub diff_id: Digest,
    /// How it is compressed.
    pub media_type: String,
    /// Where its bytes lie.
    pub stored: Stored,
}

/// A run of bytes in a file.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The file.
    pub file: PathBuf,
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub size: u64,
}

impl Place {
    /// Everything that is there, or what the tag names. Layers are not read.
    ///
    /// # Errors
    /// A place that holds no images or damaged ones, and a tag that is not there.
    pub fn groups(&self) -> Result<Vec<Group>, ReadError> {
        let groups = self.all_groups()?;
        let Some(tag) = &self.tag else { return Ok(groups) };
        let known: Vec<&str> = groups.iter().flat_map(|g| &g.tags).map(String::as_str).collect();
        let hint = (!known.is_empty()).then(|| format!("its tags are {}", known.join(", ")));
        match groups.iter().position(|group| group.tags.contains(tag)) {
            Some(place) => Ok(vec![groups[place].clone()]),
            None => Err(ReadError::NoImage {
                problem: format!("there is no tag `{tag}` in `{}`", self.path.display()),
                hint,
            }),
        }
    }

    /// The one image, of one or several platforms, that is there or that the tag names.
    ///
    /// # Errors
    /// As [`Place::groups`], and when there are several.
    pub fn group(&self) -> Result<Group, ReadError> {
        let mut groups = self.groups()?;
        if groups.len() > 1 {
            let tags = groups.into_iter().flat_map(|group| group.tags).collect();
            return Err(ReadError::Several { place: self.to_string(), tags });
        }
        let problem = format!("`{self}` has no image");
        groups.pop().ok_or(ReadError::NoImage { problem, hint: None })
    }

    /// Everything that is there, whatever the tag.
    ///
    /// # Errors
    /// As [`Place::groups`].
    pub fn all_groups(&self) -> Result<Vec<Group>, ReadError> {
        match self.kind {
            Kind::Layout => layout::in_folder(self),
            Kind::OciArchive => layout::in_archive(self, &archive::contents(&self.path)?),
            Kind::DockerArchive => docker::in_archive(self, &archive::contents(&self.path)?),
        }
    }

    /// The same place under the name that a person knows it by, such as the reference that it was pulled from.
    pub fn called(mut self, name: impl Into<String>) -> Self {
        self.typed = name.into();
        self
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tag, if one was named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
}

impl Group {
    /// The images of the platforms that are wanted, or all where none is said; and the platforms of the others.
    ///
    /// # Errors
    /// A platform that is wanted and not there, and none that kimg has a word for.
    pub fn chosen(
        &self,
        place: &Place,
        wanted: &[Platform],
    ) -> Result<(Vec<&FoundImage>, Vec<String>), ReadError> {
        let is_wanted = |image: &&FoundImage| wanted.is_empty() || wanted.contains(&image.platform);
        let (images, others): (Vec<_>, Vec<_>) = self.images.iter().partition(is_wanted);
        let left_out = others.iter().map(|image| image.platform.to_string()).chain(self.others.clone());
        let is_missing = |platform: &&Platform| !images.iter().any(|image| image.platform == **platform);
        let problem = match wanted.iter().find(is_missing) {
            Some(platform) => format!("`{place}` has no image for {platform}"),
            None if images.is_empty() => format!("`{place}` has no image for a platform that kimg knows"),
            None => return Ok((images, left_out.collect())),
        };
        let here = self.images.iter().map(|image| image.platform.to_string()).chain(self.others.clone());
        let hint = Some(format!("it has {}", here.collect::<Vec<_>>().join(", ")));
        Err(ReadError::NoImage { problem, hint })
    }
}

impl FoundImage {
    /// How it is run: `config` of its config.
    pub fn settings(&self) -> &Value {
        &self.config["config"]
    }

    /// The folders of its own `LD_LIBRARY_PATH`.
    pub fn library_path(&self) -> Vec<ImagePath> {
        library_path(self.settings())
    }
}

/// The folders of the `LD_LIBRARY_PATH` that a config sets.
pub(crate) fn library_path(settings: &Value) -> Vec<ImagePath> {
    let path = variable(settings, "LD_LIBRARY_PATH").unwrap_or_default();
    path.split([':', ';']).filter(|f| f.starts_with('/')).filter_map(|f| ImagePath::new(f).ok()).collect()
}

/// A variable that a config sets; of several of one name the last counts.
pub(crate) fn variable<'a>(settings: &'a Value, name: &str) -> Option<&'a str> {
    let variables = settings["Env"].as_array()?.iter().filter_map(Value::as_str);
    variables.filter_map(|variable| variable.split_once('=')).rfind(|(key, _)| *key == name).map(|(_, v)| v)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.typed)
    }
}

impl FromStr for Place {
    type Err = ReadError;

    fn from_str(typed: &str) -> Result<Self, ReadError> {
        let wrong = |hint: &str| ReadError::Place { typed: typed.to_owned(), hint: hint.to_owned() };
        let kinds = [
            ("oci:", Kind::Layout),
            ("oci-archive:", Kind::OciArchive),
            ("docker-archive:", Kind::DockerArchive),
        ];
        let known = kinds.iter().find_map(|(prefix, kind)| Some((typed.strip_prefix(prefix)?, *kind)));
        let (kind, path, tag) = match known {
            // A path holds no colon, as skopeo has it; a tag may.
            Some((rest, kind)) => match rest.split_once(':') {
                Some((path, tag)) => (kind, path, Some(tag.to_owned()).filter(|tag| !tag.is_empty())),
                None => (kind, rest, None),
            },
            None if typed.contains("://") => {
                return Err(wrong("copy it first: `kimg pull REFERENCE oci:FOLDER`"));
            }
            None if Path::new(typed).is_file() => {
                return Err(wrong("say what kind of archive it is: oci-archive:PATH or docker-archive:PATH"));
            }
            None if typed.contains(':') && !Path::new(typed).is_dir() => {
                return Err(wrong(
                    "write oci:PATH[:TAG], oci-archive:PATH[:TAG] or docker-archive:PATH[:NAME]",
                ));
            }
            None => (Kind::Layout, typed, None),
        };
        if path.is_empty() {
            return Err(wrong("a path is missing: write oci:PATH[:TAG]"));
        }
        Ok(Self { typed: typed.to_owned(), kind, path: path.into(), tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_for_skopeo() {
        let place = |text: &str| {
            let place: Place = text.parse().unwrap();
            (place.kind, place.path.display().to_string(), place.tag)
        };
        assert_eq!(place("oci:out"), (Kind::Layout, "out".into(), None));
        let tag = Some("kubelet:v1.20.2".to_owned());
        assert_eq!(place("oci:out:kubelet:v1.20.2"), (Kind::Layout, "out".into(), tag));
        assert_eq!(place("oci-archive:a/b.tar:"), (Kind::OciArchive, "a/b.tar".into(), None));
        assert_eq!(place("./out"), (Kind::Layout, "./out".into(), None));
    }

    #[test]
    fn what_is_no_place_says_what_to_write_instead() {
        use kimg_core::Classified as _;
        for (text, hint) in
            [("docker://ghcr.io/a/b", "kimg pull"), ("containers-storage:x", "oci:PATH"), ("oci:", "path")]
        {
            let error = text.parse::<Place>().unwrap_err();
            assert!(error.hint().unwrap().contains(hint), "{text}: {error}");
        }
    }
}
