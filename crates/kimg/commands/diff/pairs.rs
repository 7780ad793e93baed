//! Which image of one place is compared with which of the other.

use std::collections::{BTreeMap, BTreeSet};

use kimg_build::existing::{FoundImage, Group, Place, ReadError};
use kimg_core::Platform;
use kimg_report::OneSided;

/// Two images to compare.
#[derive(Debug)]
pub(super) struct Pair {
    /// The variant or tag of both.
    pub(super) name: String,
    pub(super) platform: Platform,
    pub(super) a: FoundImage,
    pub(super) b: FoundImage,
}

/// What there is to compare, and what has no counterpart.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) both: Vec<Pair>,
    pub(super) only_in_a: Vec<OneSided>,
    pub(super) only_in_b: Vec<OneSided>,
}

/// Pairs the images of two places: one with one whatever they are called, else by variant, else by tag; for the platforms
/// that are wanted, or all.
pub(super) fn pair(a: &Place, b: &Place, wanted: &[Platform]) -> Result<Pairs, ReadError> {
    let (mut groups_a, mut groups_b) = (a.groups()?, b.groups()?);
    let mut pairs = Pairs::default();
    if let ([one], [other]) = (&groups_a[..], &groups_b[..]) {
        let name = name(other).or_else(|| name(one)).unwrap_or_else(|| "image".to_owned());
        pairs.add(&name, Some(one), Some(other), wanted);
    } else {
        let (by_key_a, by_key_b) = (by_key(a, &mut groups_a)?, by_key(b, &mut groups_b)?);
        let keys: BTreeSet<&String> = by_key_a.keys().chain(by_key_b.keys()).collect();
        for key in keys {
            pairs.add(key, by_key_a.get(key), by_key_b.get(key), wanted);
        }
    }
    if pairs.both.is_empty() {
        return Err(nothing_in_common(a, b, &pairs, [&groups_a, &groups_b], wanted));
    }
    Ok(pairs)
}

/// Groups by what tells them apart: the variant that kimg notes, else the first tag.
fn by_key(place: &Place, groups: &mut [Group]) -> Result<BTreeMap<String, Group>, ReadError> {
    let mut keyed: BTreeMap<String, Group> = BTreeMap::new();
    for group in groups.iter() {
        let Some(key) = name(group) else { continue };
        if let Some(other) = keyed.insert(key.clone(), group.clone()) {
            let tag = |group: &Group| group.tags.last().cloned().unwrap_or_else(|| "no tag".into());
            return Err(ReadError::NoImage {
                problem: format!(
                    "`{place}` has several images of `{key}`: {} and {}",
                    tag(&other),
                    tag(group)
                ),
                hint: Some(format!("name one: oci:{}:{}", place.path().display(), tag(group))),
            });
        }
    }
    Ok(keyed)
}

/// The variant that kimg notes, else the first tag.
fn name(group: &Group) -> Option<String> {
    let variant = group.images.iter().find_map(|image| image.variant.clone());
    variant.or_else(|| group.tags.first().cloned())
}

impl Pairs {
    fn add(&mut self, name: &str, a: Option<&Group>, b: Option<&Group>, wanted: &[Platform]) {
        let by_platform = |group: Option<&Group>| -> BTreeMap<Platform, FoundImage> {
            let images = group.into_iter().flat_map(|group| group.images.clone());
            images.map(|i| (i.platform, i)).filter(|(p, _)| wanted.is_empty() || wanted.contains(p)).collect()
        };
        let (mut a, b) = (by_platform(a), by_platform(b));
        for (platform, b) in b {
            match a.remove(&platform) {
                Some(a) => self.both.push(Pair { name: name.to_owned(), platform, a, b }),
                None => self.only_in_b.push(OneSided { image: name.to_owned(), platform }),
            }
        }
        self.only_in_a.extend(a.into_keys().map(|platform| OneSided { image: name.to_owned(), platform }));
    }
}

fn nothing_in_common(
    a: &Place,
    b: &Place,
    pairs: &Pairs,
    groups: [&[Group]; 2],
    wanted: &[Platform],
) -> ReadError {
    let has = |place: &Place, one_sided: &[OneSided], groups: &[Group]| {
        let mut names: Vec<String> =
            one_sided.iter().map(|one| format!("{} for {}", one.image, one.platform)).collect();
        names.extend(groups.iter().flat_map(|group| group.others.clone()));
        let none = if wanted.is_empty() { "no image" } else { "no image for that platform" };
        let names = if names.is_empty() { none.to_owned() } else { names.join(", ") };
        format!("`{place}` has {names}")
    };
    let (in_a, in_b) = (has(a, &pairs.only_in_a, groups[0]), has(b, &pairs.only_in_b, groups[1]));
    let both_tagged = a.tag().is_some() && b.tag().is_some();
    ReadError::NoImage {
        problem: format!("there is nothing to compare: {in_a}, and {in_b}"),
        hint: (!both_tagged).then(|| "name the images: oci:PATH:TAG".to_owned()),
    }
}
