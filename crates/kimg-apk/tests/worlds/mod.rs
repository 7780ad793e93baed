//! Worlds to ask a solver and its judge about, drawn from what the repositories really have.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that can't be set up has failed")]

pub mod judge;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use kimg_apk::{Identity, Record, Repository};

/// `SplitMix64`: the same numbers from the same seed, on any machine and in any year.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap_or_default()
    }

    pub fn one_of<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        let place = self.below(list.len());
        &list[place]
    }
}

/// What worlds are drawn from.
pub struct Stock<'a> {
    records: Vec<&'a Record>,
    /// Names that packages provide and that are no package's own, by the prefix of their kind.
    provided: BTreeMap<&'static str, Vec<&'a str>>,
    /// Names with several packages that have it.
    contested: Vec<&'a str>,
    /// Names that some `install_if` waits for, such as `docs`, `openrc`.
    awaited: Vec<&'a str>,
}

impl<'a> Stock<'a> {
    pub fn new(repositories: &'a [Repository]) -> Self {
        let records: Vec<&Record> =
            repositories.iter().flat_map(|repository| &repository.index.packages).collect();
        let mut provided: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut providers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut awaited: BTreeMap<&str, usize> = BTreeMap::new();
        for record in &records {
            for provide in &record.provides {
                let kind =
                    ["cmd:", "so:", "pc:", "py3.11:", "/"].into_iter().find(|k| provide.name.starts_with(k));
                provided.entry(kind.unwrap_or("")).or_default().insert(&provide.name);
            }
            let names =
                std::iter::once(&record.name).chain(record.provides.iter().map(|provide| &provide.name));
            for name in names {
                *providers.entry(name).or_default() += 1;
            }
            for condition in &record.install_if {
                *awaited.entry(&condition.name).or_default() += 1;
            }
        }
        Self {
            records,
            provided: provided.into_iter().map(|(kind, names)| (kind, names.into_iter().collect())).collect(),
            contested: providers.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect(),
            awaited: awaited.into_iter().filter(|(_, count)| *count > 2).map(|(name, _)| name).collect(),
        }
    }

    /// That many worlds, each once.
    pub fn worlds(&self, dice: &mut Dice, count: usize) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut worlds = Vec::new();
        while worlds.len() < count {
            let world = self.world(dice);
            if seen.insert(world.clone()) {
                worlds.push(world);
            }
        }
        worlds
    }

    /// One to three wishes, and perhaps something to be kept out.
    pub fn world(&self, dice: &mut Dice) -> String {
        let mut wishes: BTreeMap<String, String> = BTreeMap::new();
        for _ in 0..=dice.below(3) {
            let (name, rest) = self.wish(dice);
            wishes.entry(name.clone()).or_insert(name + &rest);
        }
        if dice.below(6) == 0 {
            let against = self.against(dice, &wishes);
            wishes.entry(against.clone()).or_insert(format!("!{against}"));
        }
        wishes.into_values().collect::<Vec<_>>().join(" ")
    }

    /// A name, and what stands behind it.
    fn wish(&self, dice: &mut Dice) -> (String, String) {
        let any = String::new();
        match dice.below(20) {
            0..=7 => (dice.one_of(&self.records).name.clone(), any),
            8..=12 => {
                let record = *dice.one_of(&self.records);
                let version = record.version.as_str();
                let upstream = version.split_once("-r").map_or(version, |(upstream, _)| upstream);
                let major = upstream.split(['.', '_']).next().unwrap_or(upstream);
                let constraint = match dice.below(8) {
                    0 => format!("={version}"),
                    1 => format!("<{version}"),
                    2 => format!("<={version}"),
                    3 => format!(">{version}"),
                    4 => format!(">={upstream}"),
                    5 => format!("~{upstream}"),
                    6 => format!("={upstream}"),
                    _ => format!("~{major}"),
                };
                (record.name.clone(), constraint)
            }
            13..=16 => {
                let kinds: Vec<&str> = self.provided.keys().copied().collect();
                let kind = dice.one_of(&kinds);
                ((*dice.one_of(&self.provided[kind])).to_owned(), any)
            }
            17 | 18 => ((*dice.one_of(&self.contested)).to_owned(), any),
            _ => ((*dice.one_of(&self.awaited)).to_owned(), any),
        }
    }

    /// The name of something that one of the wishes may need, or of anything.
    fn against(&self, dice: &mut Dice, wishes: &BTreeMap<String, String>) -> String {
        let names: Vec<&String> = wishes.keys().collect();
        let wanted = *dice.one_of(&names);
        let needs: Vec<&str> = self
            .records
            .iter()
            .filter(|record| record.name == *wanted)
            .flat_map(|record| &record.depends)
            .filter(|wish| !wish.conflict)
            .map(|wish| wish.name.as_str())
            .collect();
        if needs.is_empty() || dice.below(4) == 0 {
            return dice.one_of(&self.records).name.clone();
        }
        (*dice.one_of(&needs)).to_owned()
    }
}

/// A wish for one of six names, or against it.
fn made_wish(dice: &mut Dice) -> (&'static str, String) {
    let against = if dice.below(7) == 0 { "!" } else { "" };
    let name = *dice.one_of(&["a", "b", "c", "d", "v", "w"]);
    let constraint = *dice.one_of(&["", "", "", "=1", "=2", ">1", "<2", "~1"]);
    (name, format!("{against}{name}{constraint}"))
}

/// One to three wishes over a [`made_repository`].
pub fn made_world(dice: &mut Dice) -> String {
    let wishes: BTreeMap<&str, String> = (0..=dice.below(3)).map(|_| made_wish(dice)).collect();
    wishes.into_values().collect::<Vec<_>>().join(" ")
}

/// The text of an index with two to eight packages.
pub fn made_repository(dice: &mut Dice) -> String {
    let mut records = BTreeMap::new();
    for _ in 0..2 + dice.below(7) {
        let (name, version) = (*dice.one_of(&["a", "b", "c", "d"]), 1 + dice.below(2));
        let priority = *dice.one_of(&[0, 0, 1, 2]);
        let depends: Vec<String> = (0..*dice.one_of(&[0, 0, 1, 1, 2])).map(|_| made_wish(dice).1).collect();
        let provides = *dice.one_of(&["", "", "v", "w", "v=1", "v=2", "w=1"]);
        let mut text = format!("P:{name}\nV:{version}\nA:x86_64\nS:1\nI:1\nk:{priority}\n");
        for (letter, value) in [('D', depends.join(" ").as_str()), ('p', provides)] {
            // A field without a value is no field to apk.
            if !value.is_empty() {
                writeln!(text, "{letter}:{value}").unwrap();
            }
        }
        records.insert((name, version), text);
    }
    let mut text = String::new();
    for record in records.values() {
        // An identity of its own for each: apk takes two of one identity for one package.
        let mut identity = [0; 20];
        identity[..8].copy_from_slice(&dice.roll().to_le_bytes());
        writeln!(text, "C:{}\n{record}", Identity::from_raw(identity)).unwrap();
    }
    text
}
