//! Where is looked: in a folder, or in an image that exists already.

use std::path::{Path, PathBuf};

use kimg_build::existing::{Input, Place, Spool, read_image};
use kimg_closure::{Files, FolderRoot};
use kimg_core::{Content, ErrorClass, FileTree, ImagePath, Platform};
use kimg_source::Cache;

use super::{NeedsArgs, own_platform};
use crate::commands::registry::Images;
use crate::commands::setting::cache_folder;
use crate::failure::Failure;

/// Where is looked.
pub(super) enum Opened {
    Folder {
        files: FolderRoot,
        folder: PathBuf,
    },
    Image {
        tree: Box<FileTree>,
        platform: Platform,
        /// The folders of its own `LD_LIBRARY_PATH`.
        library_path: Vec<ImagePath>,
    },
}

impl Opened {
    /// What `--root` names.
    pub(super) fn root(root: &str, args: &NeedsArgs) -> Result<Self, Failure> {
        let talk = args.registry.talk(args.cache_dir.as_deref());
        let (input, _fetched) = Images::find_input(root, args.architecture.as_slice(), &talk)?;
        match input {
            Input::Folder(folder) => Self::folder(&folder),
            Input::Image(place) => Self::image(&place, args),
        }
    }

    pub(super) fn folder(folder: &Path) -> Result<Self, Failure> {
        let files = FolderRoot::open(folder).map_err(|error| {
            Failure::new(ErrorClass::LocalIo, format!("`{}` can't be opened: {error}", folder.display()))
                .hint("`--root` names the folder of an unpacked root file system, or an image: oci:PATH")
        })?;
        Ok(Self::Folder { files, folder: folder.to_owned() })
    }

    /// The image for the platform that is asked for, else for this machine's, else the first.
    fn image(place: &Place, args: &NeedsArgs) -> Result<Self, Failure> {
        let group = place.group()?;
        let (images, _) = group.chosen(place, args.architecture.as_slice())?;
        let own = images.iter().position(|image| Some(image.platform) == own_platform());
        let image = images[own.unwrap_or(0)];
        let cache = Cache::open(&cache_folder(args.cache_dir.as_deref())?)?;
        let tree = read_image(place, image, &mut Spool::new(&cache.scratch())?)?.tree;
        Ok(Self::Image { tree: Box::new(tree), platform: image.platform, library_path: image.library_path() })
    }

    pub(super) fn files(&self) -> &dyn Files {
        match self {
            Self::Folder { files, .. } => files,
            Self::Image { tree, .. } => &**tree,
        }
    }

    /// The bytes of the file at exactly this path.
    pub(super) fn size(&self, path: &ImagePath) -> Option<u64> {
        match self {
            Self::Folder { folder, .. } => {
                let on_disk = fs_err::symlink_metadata(folder.join(path.relative()));
                on_disk.ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
            }
            Self::Image { tree, .. } => tree.get(path)?.content().map(Content::size),
        }
    }

    /// What an image is for.
    pub(super) fn platform(&self) -> Option<Platform> {
        match self {
            Self::Folder { .. } => None,
            Self::Image { platform, .. } => Some(*platform),
        }
    }

    /// The folders that are searched first: those that were said, else the image's own.
    pub(super) fn library_path<'a>(&'a self, said: &'a [ImagePath]) -> &'a [ImagePath] {
        match self {
            Self::Image { library_path, .. } if said.is_empty() => library_path,
            _ => said,
        }
    }
}
