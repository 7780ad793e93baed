//! What is looked at: what would be in the images of variants, a root folder, or images that exist already.

use std::io::Read as _;
use std::path::Path;

use kimg_build::existing::{FoundImage, Laid, Place, Spool, read_image};
use kimg_build::select::Selected;
use kimg_closure::{
    ElfError, ElfFacts, ElfKind, FileFacts, Files, FolderRoot, Found as At, MemoryFacts, Request, Root,
    Rules, needs, platform_of,
};
use kimg_core::{Content, ErrorClass, ImagePath, Platform};
use kimg_source::Cache;
use rayon::prelude::*;

use super::CheckArgs;
use super::found::{Checked, Found};
use crate::args::Selection;
use crate::commands::setting::{Making, Setting, progress_mode};
use crate::failure::{Failure, classified};
use crate::progress::Progress;

/// Looks at what would be in each image: at nothing that is left out of it, even where the walk saw it.
pub(super) fn at_variants(selection: &Selection) -> Result<Vec<Checked>, Failure> {
    let setting = Setting::new(selection, Making::default(), None)?;
    let progress = Progress::new(progress_mode(selection.progress, true));
    let sets = setting.build(&progress).file_sets()?;
    drop(progress);
    let facts = MemoryFacts::default();
    sets.images
        .par_iter()
        .map(|image: &Selected| {
            let variant = &setting.project.variants[image.variant];
            let paths = variant.environment.get("LD_LIBRARY_PATH").map(String::as_str).unwrap_or_default();
            let library_path: Vec<_> =
                paths.split(':').filter_map(|path| ImagePath::new(path).ok()).collect();
            let roots: Vec<Root> = image
                .roots
                .iter()
                .map(|r| Root { path: r.path.clone(), name: r.name.clone(), reason: r.reason.clone() })
                .collect();
            let tree = image.image_tree();
            let found = needs(&Request {
                tree: &tree,
                platform: image.platform,
                roots: &roots,
                rules: &setting.project.rules,
                library_path: &library_path,
                facts: &facts,
            });
            let what = format!("{} for {}", variant.name, image.platform);
            let content = |path: &ImagePath| Ok(tree.get(path).and_then(|entry| entry.content()).cloned());
            Ok(Checked::new(what, image.platform, &found, &tree, content))
        })
        .collect()
}

/// Looks at a root folder.
pub(super) fn at_folder(folder: &Path, args: &CheckArgs) -> Result<Checked, Failure> {
    let files = FolderRoot::open(folder).map_err(|error| {
        Failure::new(ErrorClass::LocalIo, format!("`{}` can't be opened: {error}", folder.display()))
            .hint("`--root` names the folder of an unpacked root file system, or an image: oci:PATH")
    })?;
    let mut platform = wanted(&args.selection).first().copied();
    let programs =
        if args.programs.is_empty() { every_program(&files) } else { Programs::named(&args.programs) };
    for program in &programs.paths {
        platform = platform.or(platform_of(&files, program).map_err(|error| classified(&error))?);
    }
    let platform = platform.unwrap_or(Platform::Amd64);
    let content = |path: &ImagePath| {
        let mut bytes = Vec::new();
        let read = files.open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|source| ElfError::Read { part: "symbols", source })?;
        Ok(Some(Content::from_bytes(bytes)))
    };
    let what = Subject { name: folder.display().to_string(), platform, library_path: Vec::new() };
    what.checked(programs, &files, content)
}

/// Looks at each image of a place, for each platform that is wanted; one after the other, for each needs room for its files.
pub(crate) fn at_images(
    place: &Place,
    platforms: &[Platform],
    programs: &[ImagePath],
    cache_folder: &Path,
) -> Result<Vec<Checked>, Failure> {
    let cache = Cache::open(cache_folder)?;
    let groups = place.groups()?;
    let mut checked = Vec::new();
    for group in &groups {
        let name = match (&group.tags[..], groups.len()) {
            ([.., tag], 2..) => tag.clone(),
            _ => place.to_string(),
        };
        for image in group.chosen(place, platforms)?.0 {
            checked.push(at_image(place, image, &name, programs, &cache.scratch())?);
        }
    }
    Ok(checked)
}

fn at_image(
    place: &Place,
    image: &FoundImage,
    name: &str,
    programs: &[ImagePath],
    scratch: &Path,
) -> Result<Checked, Failure> {
    let mut spool = Spool::new(scratch)?;
    let Laid { tree, .. } = read_image(place, image, &mut spool)?;
    let what = Subject {
        name: format!("{name} for {}", image.platform),
        platform: image.platform,
        library_path: image.library_path(),
    };
    let programs = if programs.is_empty() { every_program(&tree) } else { Programs::named(programs) };
    let content = |path: &ImagePath| Ok(tree.get(path).and_then(|entry| entry.content()).cloned());
    what.checked(programs, &tree, content)
}

pub(super) fn wanted(selection: &Selection) -> Vec<Platform> {
    selection.architectures.iter().chain(&selection.platforms).copied().collect()
}

/// The programs to look at.
struct Programs {
    paths: Vec<ImagePath>,
    /// Whether they are all that there are, and nobody named them.
    unnamed: bool,
}

impl Programs {
    fn named(paths: &[ImagePath]) -> Self {
        Self { paths: paths.to_vec(), unnamed: false }
    }
}

/// Every file of a root that is an ELF program and may be started. What can't be read is no program here: a loader
/// that is asked for it says so.
fn every_program(files: &dyn Files) -> Programs {
    let root = ImagePath::root();
    let executable = |at: &At| matches!(at, At::File { executable: true, .. });
    let paths = files.below(&root).filter(|(_, at)| executable(at)).map(|(path, _)| path);
    let paths = paths.filter(|path| elf(files, path).is_some_and(|elf| is_program(&elf))).collect();
    Programs { paths, unnamed: true }
}

fn elf(files: &dyn Files, path: &ImagePath) -> Option<ElfFacts> {
    match FileFacts::read_at(files, path) {
        Ok(FileFacts::Elf(elf)) => Some(*elf),
        _ => None,
    }
}

fn is_program(elf: &ElfFacts) -> bool {
    matches!(elf.kind, ElfKind::Static | ElfKind::StaticPie | ElfKind::Dynamic)
}

/// What is looked at, once it is known where its files are.
struct Subject {
    name: String,
    platform: Platform,
    library_path: Vec<ImagePath>,
}

impl Subject {
    fn checked(
        self,
        mut programs: Programs,
        files: &dyn Files,
        content: impl Fn(&ImagePath) -> Result<Option<Content>, ElfError>,
    ) -> Result<Checked, Failure> {
        let mut foreign = Vec::new();
        if programs.unnamed {
            let fits = |path: &ImagePath| {
                elf(files, path).is_none_or(|elf| elf.check_platform(self.platform).is_ok())
            };
            (programs.paths, foreign) = programs.paths.into_iter().partition(fits);
        }
        if programs.paths.is_empty() {
            let problem = format!("`{}` has no ELF program for {}", self.name, self.platform);
            return Err(Failure::new(ErrorClass::Unresolvable, problem)
                .hint("name what is to be looked at: a script, a library"));
        }
        let reason = if programs.unnamed { "is a program" } else { "asked for" };
        let root =
            |path: &ImagePath| Root { path: path.clone(), name: path.to_string(), reason: reason.to_owned() };
        let found = needs(&Request {
            tree: files,
            platform: self.platform,
            roots: &programs.paths.iter().map(root).collect::<Vec<_>>(),
            rules: &Rules::builtin(),
            library_path: &self.library_path,
            facts: &MemoryFacts::default(),
        });
        let mut checked = Checked::new(self.name, self.platform, &found, files, content);
        let told =
            |path| Found::weak(format!("`{path}` is a program for another machine: it was passed over"));
        checked.findings.extend(foreign.into_iter().map(told));
        Ok(checked)
    }
}
