//! The middle stages: packages become one file tree, roots are found in it, and the closure of the roots is
//! cut into layers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use globset::Glob;
use kimg_apk::{Applets, Package};
use kimg_closure::{Closure, FactStore, Request, Rules};
use kimg_core::variant::{COMMAND_PATH, Contents, Locate, Root};
use kimg_core::{Entry, FileTree, ImagePath, KubernetesVersion, Origin, Platform, Variant};
use kimg_source::Cache;

use crate::error::BuildError;
use crate::generated;
use crate::inputs::{ImageInputs, Provided, Within};
use crate::project::{OwnProgram, Project};
use crate::wishes::{Missing, is_one_of, stands_for};

/// The layer, above those of the variant, that tells what is in the image.
pub const RECORD_LAYER: &str = "record";

/// The layer of an image that has only one.
pub const SINGLE_LAYER: &str = "all";

/// A root that was found.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Where it stands in the image.
    pub path: ImagePath,
    /// What it is called.
    pub name: String,
    /// Why it is wanted.
    pub reason: String,
    /// The place of its layer among those of the variant.
    pub layer: usize,
    /// The root as the variant has it; `None` for files that kimg writes and for further programs of one's own.
    pub root: Option<Root>,
}

/// The file set of one image.
#[derive(Debug)]
pub struct Selected {
    /// The place of its variant in [`Project::variants`].
    pub variant: usize,
    /// Its platform.
    pub platform: Platform,
    /// Its version of Kubernetes.
    pub version: KubernetesVersion,
    /// Everything the packages and programs brought, in and out.
    pub tree: FileTree,
    /// What the roots need.
    pub closure: Closure,
    /// The roots, in the order of their layers, as the closure counts them.
    pub roots: Vec<Placed>,
    /// What is in the image, and in which layer. The last layer is the record's.
    pub files: BTreeMap<ImagePath, usize>,
    /// The names of the layers, bottom first.
    pub layers: Vec<String>,
    /// Programs that are several: each starts by the name of a link to it, or by that name as its first argument.
    pub multicalls: BTreeSet<ImagePath>,
    /// What is optional and missing.
    pub missing: Vec<Missing>,
    /// Scripts of packages that an installation would have run: package and script.
    pub not_run: Vec<(String, String)>,
    /// The packages.
    pub packages: Vec<Arc<Package>>,
    /// What the solver was asked for.
    pub world: Vec<String>,
}

/// Lays packages and programs over each other, finds the roots and computes what they need.
pub fn select(
    project: &Project,
    inputs: &ImageInputs,
    rules: &Rules,
    facts: &dyn FactStore,
) -> Result<Selected, BuildError> {
    let variant = &project.variants[inputs.variant];
    let platform = inputs.platform;
    let packages: Vec<Package> = inputs.packages.iter().map(|p| (**p).clone()).collect();
    let installation = kimg_apk::install(&packages).map_err(|source| BuildError::Install {
        variant: variant.name.clone(),
        platform,
        source,
    })?;
    let mut tree = installation.tree;
    for Provided { own, content, within } in &inputs.programs {
        if !wanted_here(project, variant, own) {
            continue;
        }
        let (install, origin) = (own.program.install.clone(), Origin::Program(own.program.name.clone()));
        let entry = match within {
            None => Entry::file(content.clone(), 0o755, origin),
            Some(one) => {
                let whole = Entry::file(content.clone(), 0o755, Origin::Program(one.name.clone()));
                tree.insert(one.path.clone(), whole);
                Entry::symlink(link_text(&install, &one.path), origin)
            }
        };
        tree.insert(install, entry);
    }
    link_applets(&mut tree, variant, inputs)?;
    let mut missing = inputs.wishes.missing.clone();
    let mut roots = place_roots(&mut tree, variant, inputs, &mut missing)?;
    for own in inputs.programs.iter().map(|it| &it.own).filter(|own| wanted_here(project, variant, own)) {
        if !roots.iter().any(|r| r.path == own.program.install) {
            roots.push(Placed {
                path: own.program.install.clone(),
                name: own.program.name.clone(),
                reason: "a program of one's own".into(),
                layer: variant.layers.len() - 1,
                root: None,
            });
        }
    }
    generated::write(&mut tree, variant, &inputs.wishes.version, &mut roots);
    roots.sort_by_key(|r| r.layer);
    tree.add_parents(&Origin::generated("a folder that no package brings"));

    let library_path: Vec<ImagePath> = variant
        .environment
        .get("LD_LIBRARY_PATH")
        .map(|paths| paths.split(':').filter_map(|p| ImagePath::new(p).ok()).collect())
        .unwrap_or_default();
    let asked: Vec<kimg_closure::Root> = roots
        .iter()
        .map(|r| kimg_closure::Root { path: r.path.clone(), name: r.name.clone(), reason: r.reason.clone() })
        .collect();
    let request = Request { tree: &tree, platform, roots: &asked, rules, library_path: &library_path, facts };
    let closure = kimg_closure::close(&request).map_err(|source| BuildError::Closure {
        variant: variant.name.clone(),
        platform,
        source,
    })?;

    let mut files = BTreeMap::new();
    let layer_of = |path: &ImagePath| closure.root_of(path).map_or(0, |root| roots[root].layer);
    match variant.contents {
        Contents::Minimal => files.extend(closure.iter().map(|(path, _)| (path.clone(), layer_of(path)))),
        Contents::Packages => files.extend(tree.iter().map(|(path, _)| (path.clone(), layer_of(path)))),
    }
    files.retain(|path, _| tree.get(path).is_some());
    let mut layers: Vec<String> = variant.layers.iter().map(|l| l.name.clone()).collect();
    let multicalls = layers_of_their_own(variant, inputs, &mut files, &mut layers);
    layers.push(RECORD_LAYER.to_owned());
    Ok(Selected {
        variant: inputs.variant,
        platform,
        version: inputs.wishes.version.clone(),
        tree,
        closure,
        roots,
        files,
        layers,
        multicalls,
        missing,
        not_run: installation.not_run.iter().map(|n| (n.package.clone(), n.script.clone())).collect(),
        packages: inputs.packages.clone(),
        world: inputs.wishes.world.iter().map(ToString::to_string).collect(),
    })
}

impl Selected {
    /// Puts everything into one layer.
    pub fn join_layers(&mut self) {
        self.layers = vec![SINGLE_LAYER.to_owned()];
        self.files.values_mut().for_each(|layer| *layer = 0);
    }

    /// The tree of what is in the image.
    pub fn image_tree(&self) -> FileTree {
        self.files.keys().filter_map(|p| Some((p.clone(), self.tree.get(p)?.clone()))).collect()
    }

    /// The files and links of the packages that are not in the image, with their sizes, by package.
    pub fn left_out(&self) -> BTreeMap<String, (usize, u64)> {
        let mut by_package: BTreeMap<String, (usize, u64)> = BTreeMap::new();
        for (path, entry) in self.tree.iter() {
            if let Some(package) = entry.origin.package()
                && !entry.is_directory()
                && !self.files.contains_key(path)
            {
                let counted = by_package.entry(package.to_owned()).or_default();
                counted.0 += 1;
                counted.1 += entry.size();
            }
        }
        by_package
    }
}

/// Gives each program that is several a layer of its own, which other images have as well, whatever they have of its names;
/// and gives those programs.
///
/// The one that the image is made for is the lowest: what stores unpacked layers shares them only as far as everything below
/// them is the same. Any other lies right below the layer with the first of its links, so that it does not part what images with
/// and without it share.
fn layers_of_their_own(
    variant: &Variant,
    inputs: &ImageInputs,
    files: &mut BTreeMap<ImagePath, usize>,
    layers: &mut Vec<String>,
) -> BTreeSet<ImagePath> {
    let mut found: BTreeMap<&Within, (bool, Option<usize>)> = BTreeMap::new();
    for part in &inputs.programs {
        let Some(one) = part.within.as_ref().filter(|one| files.contains_key(&one.path)) else { continue };
        let path = &part.own.program.install;
        let (is_main, lowest) = found.entry(one).or_default();
        *is_main |= path.file_name() == Some(&*variant.version_from);
        *lowest = files.get(path).copied().into_iter().chain(*lowest).min();
    }
    let mut multicalls = BTreeSet::new();
    // From the top, as what is below then stays where it is.
    let mut found: Vec<_> = found.into_iter().collect();
    found
        .sort_by_key(|(_, (is_main, lowest))| std::cmp::Reverse(if *is_main { None } else { Some(*lowest) }));
    for (one, (is_main, lowest)) in found {
        let place = if is_main { 0 } else { lowest.unwrap_or(0) };
        layers.insert(place, one.name.clone());
        files.values_mut().filter(|layer| **layer >= place).for_each(|layer| *layer += 1);
        files.insert(one.path.clone(), place);
        multicalls.insert(one.path.clone());
    }
    multicalls
}

/// What a link says that leads from one path to another.
fn link_text(from: &ImagePath, to: &ImagePath) -> String {
    match to.file_name() {
        // Whoever copies the folder has both.
        Some(name) if from.parent() == to.parent() => name.to_owned(),
        _ => to.to_string(),
    }
}

/// A program of one's own that stands for a root goes where that root is wanted; any other goes everywhere.
pub(crate) fn wanted_here(project: &Project, variant: &Variant, own: &OwnProgram) -> bool {
    let asks = |root: &Root| stands_for(own, root) || is_one_of(own, root);
    variant.roots.iter().any(asks) || !project.known_roots.iter().any(asks)
}

/// Makes the links of busybox's applets: all of them for whole packages, else those that roots ask for and
/// no other package has.
fn link_applets(tree: &mut FileTree, variant: &Variant, inputs: &ImageInputs) -> Result<(), BuildError> {
    let wanted: BTreeSet<String> = inputs
        .wishes
        .roots
        .iter()
        .filter_map(|root| match &root.locate {
            Locate::Command(command) if find_command(tree, command).is_none() => Some(command.clone()),
            _ => None,
        })
        .collect();
    let applets = match variant.contents {
        Contents::Packages => Applets::All,
        Contents::Minimal => Applets::Named(&wanted),
    };
    kimg_apk::link_applets(tree, applets).map(|_| ()).map_err(|source| BuildError::Install {
        variant: variant.name.clone(),
        platform: inputs.platform,
        source,
    })
}

fn find_command(tree: &FileTree, command: &str) -> Option<ImagePath> {
    COMMAND_PATH.iter().find_map(|folder| {
        let path = ImagePath::new(&format!("{folder}/{command}")).ok()?;
        let place = tree.locate(&path).ok()?;
        tree.get(&place.path).filter(|e| !e.is_directory()).map(|_| path)
    })
}

fn find_paths(tree: &FileTree, pattern: &str) -> Vec<ImagePath> {
    let Ok(whole) = ImagePath::new(pattern) else { return Vec::new() };
    if !pattern.contains('*') {
        let there = tree.locate(&whole).is_ok_and(|place| tree.get(&place.path).is_some());
        return if there { vec![whole] } else { Vec::new() };
    }
    let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else { return Vec::new() };
    let Ok(glob) = Glob::new(name) else { return Vec::new() };
    let glob = glob.compile_matcher();
    let Ok(folder) = tree.resolve(&folder).map(|r| r.path) else { return Vec::new() };
    tree.below(&folder)
        .filter(|(path, entry)| {
            path.parent().as_ref() == Some(&folder)
                && !entry.is_directory()
                && path.file_name().is_some_and(|n| glob.is_match(n))
        })
        .map(|(path, _)| path.clone())
        .collect()
}

fn place_roots(
    tree: &mut FileTree,
    variant: &Variant,
    inputs: &ImageInputs,
    missing: &mut Vec<Missing>,
) -> Result<Vec<Placed>, BuildError> {
    let mut placed: Vec<Placed> = Vec::new();
    for root in &inputs.wishes.roots {
        let own = inputs.programs.iter().map(|it| &it.own).find(|own| stands_for(own, root));
        let found = match (own, &root.locate) {
            (Some(own), _) => vec![own.program.install.clone()],
            (None, Locate::Command(command)) => find_command(tree, command).into_iter().collect(),
            (None, Locate::Path(pattern)) => {
                let own = inputs.programs.iter().map(|it| &it.own).filter(|own| is_one_of(own, root));
                let mut all: Vec<_> = own.map(|own| own.program.install.clone()).collect();
                all.extend(find_paths(tree, pattern));
                all
            }
        };
        if found.is_empty() {
            // A pattern may match nothing because earlier roots have taken all there is.
            if root.optional || root.name().contains('*') {
                if root.optional {
                    missing.push(Missing { what: root.name().to_owned(), reason: root.reason.clone() });
                }
                continue;
            }
            return Err(BuildError::NoProvider {
                root: root.name().to_owned(),
                variant: variant.name.clone(),
                platform: inputs.platform,
                reason: root.reason.clone(),
                hint: "the chosen packages do not hold it; `package` in the variant names the one that does"
                    .into(),
            });
        }
        let layer = variant.layers.iter().position(|l| l.name == root.layer).unwrap_or(0);
        for path in found {
            let path = match &root.install {
                Some(folder) if path.parent().as_ref() != Some(folder) => {
                    match own_program_at(tree, &path, folder) {
                        Some(own) => own,
                        None => relocate(tree, &path, folder)?,
                    }
                }
                _ => path,
            };
            if !placed.iter().any(|p| p.path == path) {
                let name = match &root.locate {
                    Locate::Command(command) => command.clone(),
                    Locate::Path(_) => path.file_name().unwrap_or(root.name()).to_owned(),
                };
                placed.push(Placed {
                    path,
                    name,
                    reason: root.reason.clone(),
                    layer,
                    root: Some(root.clone()),
                });
            }
        }
    }
    Ok(placed)
}

/// The program of one's own that stands where a package's program would be put: it takes that one's place.
fn own_program_at(tree: &FileTree, from: &ImagePath, folder: &ImagePath) -> Option<ImagePath> {
    let to = folder.join(from.file_name()?).ok()?;
    matches!(tree.get(&to)?.origin, Origin::Program(_)).then_some(to)
}

/// Moves a program to another folder; of a link, the program it leads to is put there.
fn relocate(tree: &mut FileTree, from: &ImagePath, folder: &ImagePath) -> Result<ImagePath, BuildError> {
    let name = from.file_name().unwrap_or_default();
    let wrong =
        |to: &ImagePath, why: String| BuildError::Relocate { from: from.clone(), to: to.clone(), why };
    let to = folder.join(name).map_err(|e| wrong(folder, e.to_string()))?;
    let end = tree.resolve(from).map_err(|e| wrong(&to, e.to_string()))?;
    let entry = tree.get(&end.path).cloned().ok_or_else(|| wrong(&to, "it is a folder".into()))?;
    if entry.is_directory() {
        return Err(wrong(&to, "it is a folder".into()));
    }
    if tree.get(&to).is_some() {
        return Err(wrong(&to, "something stands there already".into()));
    }
    if end.links.is_empty() {
        tree.remove(&end.path);
    }
    tree.insert(to.clone(), entry);
    Ok(to)
}

/// Writes what scanners look for: the database of installed packages, the world, and which Alpine this is.
/// It comes after packing, since the database holds the checksums of the files as they are in the image.
pub fn record(
    selected: &mut Selected,
    variant: &Variant,
    alpine: Option<&str>,
    cache: &Cache,
) -> Result<(), BuildError> {
    let layer = selected.layers.len() - 1;
    let packages: Vec<&Package> = selected.packages.iter().map(|p| &**p).collect();
    let sha1 = |content: &kimg_core::Content| known_sha1(content, cache);
    let database = kimg_apk::installed_db_with(&packages, &selected.image_tree(), &sha1);
    let mut texts = vec![
        ("/lib/apk/db/installed", database, "the packages that the image's files come from, for scanners"),
        (
            "/etc/apk/world",
            kimg_apk::world_file(selected.world.iter().map(String::as_str)),
            "what was asked for",
        ),
    ];
    let release = ImagePath::new("/etc/os-release").map_err(|e| BuildError::settings(e.to_string()))?;
    if let Some(portable) = &variant.portable {
        let text = generated::portable_release(variant, portable, &selected.version, alpine);
        texts.push(("/usr/lib/os-release", text, "tells systemd which units are its own"));
        let link = Entry::symlink("../usr/lib/os-release", Origin::generated("the other name of it"));
        selected.tree.insert(release.clone(), link);
        selected.files.insert(release, layer);
    } else if let Some(branch) = alpine
        && !selected.files.contains_key(&release)
    {
        let text = generated::alpine_release(branch);
        texts.push(("/etc/os-release", text, "which Alpine the packages are from, for scanners"));
    }
    for (path, text, reason) in texts {
        let path = ImagePath::new(path).map_err(|e| BuildError::settings(e.to_string()))?;
        // The folder may be a link (`/lib` to `/usr/lib`): the file goes where the link leads.
        let path = selected.tree.locate(&path).map(|place| place.path).unwrap_or(path);
        let entry = Entry::file(kimg_core::Content::from_bytes(text), 0o644, Origin::generated(reason));
        selected.tree.insert(path.clone(), entry);
        selected.tree.add_parents(&Origin::generated("a folder that no package brings"));
        for folder in path.ancestors().into_iter().skip(1) {
            selected.files.entry(folder).or_insert(layer);
        }
        selected.files.insert(path, layer);
    }
    Ok(())
}

/// The SHA-1 of a content, computed once for all builds: to hash what was packed would take longer than all the rest
/// of a build in which nothing changed.
pub(crate) fn known_sha1(content: &kimg_core::Content, cache: &Cache) -> Option<[u8; 20]> {
    let key = content.digest();
    cache.record("sha1", &key).or_else(|| {
        let sha1 = kimg_apk::sha1_of(content)?;
        // Without it, it would be computed again the next time, no more.
        let _ = cache.keep("sha1", &key, &sha1);
        Some(sha1)
    })
}
