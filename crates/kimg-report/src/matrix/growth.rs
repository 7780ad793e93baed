//! What grew between two images, file by file, in exact bytes.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::Platform;
use serde::Serialize;

use super::parts::without_version;
use super::{MatrixEntry, MeasuredFile, SizeMatrix};
use crate::size::count;
use crate::text::clean;
use crate::thousands;

/// How many packages a sum names.
const PACKAGES: usize = 6;

/// What changed between an image as it was and as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// The variant's name.
    pub variant: String,
    /// What it runs on.
    pub platform: Platform,
    /// The tag of the image as it was; `None`: nothing earlier is known, and every file is told.
    pub since: Option<String>,
    /// The files whose sizes differ, what grew most first.
    pub files: Vec<Grown>,
}

/// A file whose size differs. What is not there has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grown {
    /// Its path.
    pub path: String,
    /// The package that it belonged to.
    pub package_before: Option<String>,
    /// The package that it belongs to.
    pub package: Option<String>,
    /// Its bytes before; `None`: it is new.
    pub size_before: Option<u64>,
    /// Its bytes; `None`: it is gone.
    pub size: Option<u64>,
    /// The bytes of the compressed layer that it was unpacked from.
    pub pull_before: u64,
    /// The same now.
    pub pull: u64,
}

impl SizeMatrix {
    /// What changed of an image of this matrix. The layers of both have to be measured; `earlier` is the matrix that
    /// the image is looked for in, if there is one.
    pub fn growth(&self, entry: &MatrixEntry, earlier: Option<&SizeMatrix>) -> Growth {
        let old = earlier.and_then(|earlier| Some((earlier, earlier.same_image(entry)?)));
        let before = old.map(|(earlier, old)| earlier.files_of(old)).unwrap_or_default();
        let after = self.files_of(entry);
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).copied().collect();
        let grown = paths.into_iter().map(|path| {
            let (was, is) = (before.get(path), after.get(path));
            Grown {
                path: path.clone(),
                package_before: was.and_then(|file| file.package.clone()),
                package: is.and_then(|file| file.package.clone()),
                size_before: was.map(|file| file.size),
                size: is.map(|file| file.size),
                pull_before: was.map_or(0, |file| file.pull),
                pull: is.map_or(0, |file| file.pull),
            }
        });
        let mut files: Vec<Grown> =
            grown.filter(|file| file.size_before != file.size || file.pull_before != file.pull).collect();
        files.sort_by_key(|file| {
            let pull = i128::from(file.pull) - i128::from(file.pull_before);
            (-pull, -file.on_disk(), file.path.clone())
        });
        Growth {
            variant: entry.variant.clone(),
            platform: entry.platform,
            since: old.map(|(_, old)| old.tag.clone()),
            files,
        }
    }

    /// Every file of an image with its bytes; a path in several layers has those of all of them, as a node has.
    fn files_of(&self, entry: &MatrixEntry) -> BTreeMap<&String, MeasuredFile> {
        let mut files: BTreeMap<&String, MeasuredFile> = BTreeMap::new();
        let layers = entry.layers.iter().filter_map(|layer| self.layers.get(&layer.digest));
        for (path, file) in layers.flat_map(|layer| &layer.files) {
            let sum = files.entry(path).or_insert(MeasuredFile { size: 0, pull: 0, package: None });
            sum.size += file.size;
            sum.pull += file.pull;
            sum.package = sum.package.take().or_else(|| file.package.clone());
        }
        files
    }
}

impl Grown {
    fn on_disk(&self) -> i128 {
        i128::from(self.size.unwrap_or(0)) - i128::from(self.size_before.unwrap_or(0))
    }

    fn line(&self) -> String {
        let package = match (&self.package_before, &self.package) {
            (Some(was), Some(is)) if was != is => format!(" ({was} → {is})"),
            (_, Some(is)) => format!(" ({is})"),
            (Some(was), None) => format!(" ({was})"),
            (None, None) => String::new(),
        };
        let fate = match (self.size_before, self.size) {
            (None, _) => ", new",
            (_, None) => ", gone",
            _ => "",
        };
        let pull = i128::from(self.pull) - i128::from(self.pull_before);
        format!(
            "{}: {} to pull, {} on disk{fate}{}",
            clean(&self.path),
            signed(pull),
            signed(self.on_disk()),
            clean(&package)
        )
    }
}

fn signed(bytes: i128) -> String {
    let digits = thousands(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX));
    match bytes {
        0 => "±0".to_owned(),
        1.. => format!("+{digits}"),
        _ => format!("−{digits}"),
    }
}

impl Growth {
    /// What packages add to the pull, the most first; nothing where there is only one.
    fn by_package(&self) -> Option<String> {
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for file in &self.files {
            let package = file.package.as_deref().or(file.package_before.as_deref());
            let name = package.map_or("no package", without_version);
            *sums.entry(name).or_default() += i128::from(file.pull) - i128::from(file.pull_before);
        }
        let mut sums: Vec<(&str, i128)> = sums.into_iter().collect();
        sums.sort_by_key(|(name, pull)| (-pull, *name));
        let named =
            sums.iter().take(PACKAGES).map(|(name, pull)| format!("{} {}", clean(name), signed(*pull)));
        let mut text = format!("  to pull, by package: {}", named.collect::<Vec<_>>().join(", "));
        if let Some(others) = sums.get(PACKAGES..).filter(|others| !others.is_empty()) {
            let pull: i128 = others.iter().map(|(_, pull)| pull).sum();
            text.extend([", ", &others.len().to_string(), " more ", &signed(pull)]);
        }
        (sums.len() > 1).then_some(text)
    }

    /// The account in lines for people: sums by package, at most `most` files, then how many more there are and what they come to.
    pub fn lines(&self, most: usize) -> Vec<String> {
        let head = match &self.since {
            Some(tag) => format!("since {tag}, in bytes:"),
            None => "no earlier matrix has this image; its files, in bytes:".to_owned(),
        };
        let shown = if self.files.len() == most + 1 { most + 1 } else { most.min(self.files.len()) };
        let (named, others) = self.files.split_at(shown);
        let mut lines = vec![head];
        lines.extend(self.by_package());
        lines.extend(named.iter().map(|file| format!("  {}", file.line())));
        if !others.is_empty() {
            let pull: i128 = others.iter().map(|f| i128::from(f.pull) - i128::from(f.pull_before)).sum();
            let disk: i128 = others.iter().map(Grown::on_disk).sum();
            let number = count(others.len() as u64, "more file", "more files");
            lines.push(format!("  {number}: {} to pull, {} on disk", signed(pull), signed(disk)));
        }
        if self.files.is_empty() {
            lines.push("  no file differs".to_owned());
        }
        lines
    }
}
