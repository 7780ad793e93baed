//! The packages and names of all repositories, and who provides what.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::Repository;
use super::preference::{self, Wanted};
use crate::dependency::{Constraint, Dependency, Identity};
use crate::index::Unusable;
use crate::installed_package::InstalledPackage;
use crate::record::Record;
use crate::version::Version;

/// A package, by its place in [`Universe::packages`].
pub(super) type PackageId = usize;
/// A name, by its place in [`Universe::names`].
pub(super) type NameId = usize;

/// One package, wherever it is offered.
pub(super) struct Package<'a> {
    pub(super) record: &'a Record,
    /// Where it is offered first, in the order of the repositories; nothing for what is only installed.
    first_place: Option<Place>,
    /// Where else it is offered. Most packages are in one repository.
    further_places: Vec<Place>,
    /// Whether a repository without a tag has it, or it was installed from one.
    pub(super) untagged: bool,
    /// Its place among what is installed.
    pub(super) installed: Option<usize>,
}

impl Package<'_> {
    /// Where it is offered, in the order of the repositories; nowhere when it is only installed.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.first_place.into_iter().chain(self.further_places.iter().copied())
    }
}

/// A repository, and a package's place in its index.
pub(super) type Place = (usize, usize);

/// Where the universe hears of a package.
#[derive(Clone, Copy)]
enum Origin {
    Installed(usize),
    Offered(usize, usize),
}

impl Origin {
    fn place(self) -> Option<Place> {
        match self {
            Self::Installed(_) => None,
            Self::Offered(repository, place) => Some((repository, place)),
        }
    }
}

/// That a package answers to a name.
#[derive(Clone, Copy)]
pub(super) struct Provider<'a> {
    pub(super) package: PackageId,
    /// With which version; without one it shares the name instead of owning it.
    pub(super) version: Option<&'a Version>,
    /// Whether the name is the package's own.
    pub(super) own: bool,
}

/// A name and where in [`Universe::providers`] those stand that answer to it.
struct Name<'a> {
    text: &'a str,
    providers: Range<usize>,
}

/// All packages and names.
///
/// There are some 45 000 names, and most have one provider: lists of their own would cost more time than all the rest.
pub(super) struct Universe<'a> {
    pub(super) repositories: &'a [Repository],
    pub(super) packages: Vec<Package<'a>>,
    names: Vec<Name<'a>>,
    /// By name, and for one name in the order in which they were heard of.
    providers: Vec<Provider<'a>>,
    /// Packages with an `install_if` that names a name.
    awaiting: HashMap<NameId, Vec<PackageId>>,
    by_name: HashMap<&'a str, NameId>,
    by_identity: HashMap<Identity, PackageId>,
    arch: Option<&'a str>,
    pub(super) installed: &'a [InstalledPackage],
}

impl<'a> Universe<'a> {
    pub(super) fn new(
        repositories: &'a [Repository],
        arch: Option<&'a str>,
        installed: &'a [InstalledPackage],
    ) -> Self {
        let offered: usize = repositories.iter().map(|repository| repository.index.packages.len()).sum();
        let total = offered + installed.len();
        let mut universe = Self {
            repositories,
            packages: Vec::with_capacity(total),
            names: Vec::with_capacity(total * 2),
            providers: Vec::new(),
            awaiting: HashMap::new(),
            by_name: HashMap::with_capacity(total * 2),
            by_identity: HashMap::with_capacity(total),
            arch,
            installed,
        };
        let mut heard = Vec::with_capacity(total * 3);
        for (place, package) in installed.iter().enumerate() {
            universe.add(&package.record, package.tag.is_none(), Origin::Installed(place), &mut heard);
        }
        for (number, repository) in repositories.iter().enumerate() {
            for (place, record) in repository.index.packages.iter().enumerate() {
                if universe.runs(record) {
                    universe.add(
                        record,
                        repository.tag.is_none(),
                        Origin::Offered(number, place),
                        &mut heard,
                    );
                }
            }
        }
        universe.sort_providers(heard);
        universe
    }

    /// Puts the providers of each name side by side, in the order in which they were heard of.
    fn sort_providers(&mut self, mut heard: Vec<(NameId, Provider<'a>)>) {
        heard.sort_by_key(|(name, _)| *name);
        let mut start = 0;
        for together in heard.chunk_by(|(one, _), (other, _)| one == other) {
            let end = start + together.len();
            self.names[together[0].0].providers = start..end;
            start = end;
        }
        self.providers = heard.into_iter().map(|(_, provider)| provider).collect();
    }

    /// Whether a package is for the architecture asked about.
    fn runs(&self, record: &Record) -> bool {
        self.arch.is_none_or(|arch| [arch, "noarch", "all", ""].contains(&record.arch.as_str()))
    }

    fn add(
        &mut self,
        record: &'a Record,
        untagged: bool,
        origin: Origin,
        heard: &mut Vec<(NameId, Provider<'a>)>,
    ) {
        // What has the same identity is the same package, as apk sees it: it comes from the same control bytes.
        if let Some(same) = record.identity.and_then(|identity| self.by_identity.get(&identity).copied()) {
            let same = &mut self.packages[same];
            match (origin.place(), same.first_place) {
                (Some(place), Some(_)) => same.further_places.push(place),
                (place, None) => same.first_place = place,
                (None, _) => {}
            }
            same.untagged |= untagged;
            return;
        }
        let own = self.intern(&record.name);
        let package = self.packages.len();
        let installed = match origin {
            Origin::Installed(place) => Some(place),
            Origin::Offered(..) => None,
        };
        let (first_place, further_places) = (origin.place(), Vec::new());
        self.packages.push(Package { record, first_place, further_places, untagged, installed });
        self.by_identity.extend(record.identity.map(|identity| (identity, package)));
        heard.push((own, Provider { package, version: Some(&record.version), own: true }));
        for provide in &record.provides {
            let name = self.intern(&provide.name);
            heard.push((name, Provider { package, version: provide.version.as_ref(), own: false }));
        }
        for condition in &record.install_if {
            let name = self.intern(&condition.name);
            self.awaiting.entry(name).or_default().push(package);
        }
    }

    fn intern(&mut self, name: &'a str) -> NameId {
        *self.by_name.entry(name).or_insert_with(|| {
            self.names.push(Name { text: name, providers: 0..0 });
            self.names.len() - 1
        })
    }

    /// The number of a name, if a package answers to it or waits for it.
    pub(super) fn name(&self, name: &str) -> Option<NameId> {
        self.by_name.get(name).copied()
    }

    /// Everything that answers to this name.
    pub(super) fn providers(&self, name: &str) -> &[Provider<'a>] {
        self.name(name).map_or(&[], |name| self.providers_of(name))
    }

    /// Everything that answers to the name of this number.
    pub(super) fn providers_of(&self, name: NameId) -> &[Provider<'a>] {
        &self.providers[self.names[name].providers.clone()]
    }

    /// Packages with an `install_if` that names this name.
    pub(super) fn awaited_by(&self, name: NameId) -> &[PackageId] {
        self.awaiting.get(&name).map_or(&[], Vec::as_slice)
    }

    /// Whether only one package answers to this name. Another version of it that is installed doesn't count.
    pub(super) fn only_provider(&self, name: &str) -> bool {
        let providers = self.providers(name);
        let of = |provider: &Provider<'_>| &self.packages[provider.package];
        let mut names = providers.iter().map(|provider| &of(provider).record.name);
        let offered = providers.iter().filter(|provider| of(provider).installed.is_none()).count();
        let first = names.next();
        first.is_some() && offered <= 1 && names.all(|name| Some(name) == first)
    }

    /// All names that packages answer to, in no order that may be relied upon.
    pub(super) fn all_names(&self) -> impl Iterator<Item = &'a str> {
        self.names.iter().filter(|name| !name.providers.is_empty()).map(|name| name.text)
    }

    /// Packages of this name that the repositories have and that can't be used, and why.
    pub(super) fn unusable(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for repository in self.repositories {
            for unusable in repository.index.unusable.iter().filter(|unusable| unusable.name == name) {
                let Unusable { name, version, line, reason } = unusable;
                let repository = &repository.name;
                found.push(format!(
                    "{name}-{version} can't be used: {repository}, line {line} of the index: {reason}"
                ));
            }
            for other in
                repository.index.packages.iter().filter(|other| other.name == name && !self.runs(other))
            {
                found.push(format!("{} of {} is for {}", other.id(), repository.name, other.arch));
            }
        }
        found
    }

    /// The names a package answers to, its own first.
    pub(super) fn names_of(&self, package: PackageId) -> impl Iterator<Item = NameId> {
        let record = self.packages[package].record;
        let provided = record.provides.iter().map(|provide| &provide.name);
        std::iter::once(&record.name).chain(provided).filter_map(|name| self.name(name))
    }

    /// The names a package owns: its own, and what it provides with a version.
    pub(super) fn owned(&self, package: PackageId) -> impl Iterator<Item = NameId> {
        let record = self.packages[package].record;
        let provided = record.provides.iter().filter(|provide| provide.version.is_some());
        std::iter::once(record.name.as_str())
            .chain(provided.map(|provide| provide.name.as_str()))
            .filter_map(|name| self.name(name))
    }

    /// Whether an entry of the name's list meets the constraint of `wish` (its `!` left aside).
    pub(super) fn meets(&self, provider: &Provider<'_>, wish: &Dependency) -> bool {
        match (&wish.constraint, provider.version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(Constraint::Identity(wanted)), Some(_)) => {
                self.packages[provider.package].record.identity == Some(*wanted)
            }
            (Some(Constraint::Version { operator, version: wanted }), Some(version)) => {
                version.matches(*operator, wanted)
            }
        }
    }

    /// The place to take a package from: a repository with the preferred tag, one without a tag, or the first. None
    /// for what is only installed.
    pub(super) fn place(&self, package: PackageId, tag: Option<&str>) -> Option<Place> {
        let package = &self.packages[package];
        let tagged = |wanted: Option<&str>| {
            package.places().find(|(repository, _)| self.repositories[*repository].tag.as_deref() == wanted)
        };
        tag.and_then(|tag| tagged(Some(tag))).or_else(|| tagged(None)).or(package.first_place)
    }

    /// Whether a repository with this tag has the package, or it was installed from one.
    pub(super) fn has_tag(&self, package: PackageId, tag: &str) -> bool {
        let package = &self.packages[package];
        package.places().any(|(repository, _)| self.repositories[repository].tag.as_deref() == Some(tag))
            || package.installed.is_some_and(|place| self.installed[place].tag.as_deref() == Some(tag))
    }

    /// Whether a package may be taken whatever tags are asked for.
    pub(super) fn unmasked_anyway(&self, package: PackageId) -> bool {
        let Package { untagged, installed, .. } = self.packages[package];
        untagged || installed.is_some()
    }

    /// A name that the package would own and that it names once more, or none.
    ///
    /// apk holds such a package against itself.
    pub(super) fn claimed_twice(&self, package: PackageId) -> Option<&'a str> {
        let record = self.packages[package].record;
        let mut owned = HashSet::from([record.name.as_str()]);
        record
            .provides
            .iter()
            .map(|provide| (provide.name.as_str(), provide.version.is_some()))
            .find(|(name, versioned)| if *versioned { !owned.insert(name) } else { owned.contains(name) })
            .map(|(name, _)| name)
    }

    /// The name that this entry is an answer to.
    pub(super) fn name_of(&self, name: NameId) -> &'a str {
        self.names[name].text
    }

    /// Everything that meets `wish` and that its tag allows, the best first.
    pub(super) fn providers_in_order(&self, wish: &Dependency) -> Vec<(usize, &'a Record)> {
        let tag = wish.tag.as_deref();
        let allowed = |package: PackageId| {
            self.packages[package].untagged || tag.is_some_and(|tag| self.has_tag(package, tag))
        };
        let mut found: Vec<Provider<'a>> = self
            .providers(&wish.name)
            .iter()
            .filter(|provider| self.meets(provider, wish) && allowed(provider.package))
            .copied()
            .collect();
        preference::sort(self, &mut found, &Wanted { tag, prefer: &[] });
        found
            .iter()
            .filter_map(|found| {
                let (repository, _) = self.place(found.package, tag)?;
                Some((repository, self.packages[found.package].record))
            })
            .collect()
    }
}
