//! What became of the programs that might have been packed, over all images, in as few lines as say it all.

use std::collections::{BTreeMap, BTreeSet};

use kimg_core::{ImagePath, Platform};

use crate::ImageReport;
use crate::screen::{NAMED, list};
use crate::size::change;
use crate::text::few;

/// A line of the report.
pub(crate) struct Line {
    /// `Packed` or `Plain`.
    pub(crate) head: &'static str,
    /// The programs and what became of them.
    pub(crate) sentence: String,
}

/// A line for all programs that fared alike: packed ones first, then the rarer a reason, the earlier. Of a program in
/// several images, the first that has it packed gives the sizes.
pub(crate) fn fates<'a>(images: impl Iterator<Item = &'a ImageReport>) -> Vec<Line> {
    let mut fates: BTreeMap<&ImagePath, Fate<'_>> = BTreeMap::new();
    for image in images {
        for program in &image.packed {
            let fate = fates.entry(&program.path).or_default();
            fate.change = fate.change.or(program.packed.map(|now| (program.plain, now)));
            let verdict = (program.packed.is_some(), program.verdict.as_str());
            fate.verdicts.entry(verdict).or_default().insert(image.platform);
        }
    }
    let mut alike: BTreeMap<(bool, String), Vec<(u64, String)>> = BTreeMap::new();
    for (path, fate) in &fates {
        let name = path.file_name().unwrap_or("/");
        let named =
            fate.change.map_or_else(|| name.to_owned(), |(was, is)| format!("{name} {}", change(was, is)));
        let size = fate.change.map_or(0, |(was, _)| was);
        alike.entry((fate.change.is_none(), fate.sentence())).or_default().push((size, named));
    }
    let mut alike: Vec<_> = alike.into_iter().collect();
    alike.sort_by_key(|((plain, _), programs)| (*plain, programs.len()));
    let line = |((plain, sentence), mut programs): ((bool, String), Vec<(u64, String)>)| {
        programs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let names: Vec<String> = programs.into_iter().map(|(_, name)| name).collect();
        Line {
            head: if plain { "Plain" } else { "Packed" },
            sentence: format!("{}: {sentence}", few(&names, NAMED)),
        }
    };
    alike.into_iter().map(line).collect()
}

/// What became of one program in all images.
#[derive(Default)]
struct Fate<'a> {
    /// Its size plain and packed, where it was packed.
    change: Option<(u64, u64)>,
    /// By whether it was packed, and the verdict: for which platforms.
    verdicts: BTreeMap<(bool, &'a str), BTreeSet<Platform>>,
}

impl Fate<'_> {
    /// The verdict; with the platforms where there are several.
    fn sentence(&self) -> String {
        let one = self.verdicts.len() == 1;
        let mut by_platform: Vec<_> = self.verdicts.iter().collect();
        by_platform.sort_by_key(|(_, platforms)| platforms.first());
        let verdicts = by_platform.into_iter().map(|((packed, verdict), platforms)| {
            let plain = if *packed || self.change.is_none() { "" } else { "plain, " };
            if one { (*verdict).to_owned() } else { format!("on {}: {plain}{verdict}", list(platforms)) }
        });
        verdicts.collect::<Vec<_>>().join("; ")
    }
}
