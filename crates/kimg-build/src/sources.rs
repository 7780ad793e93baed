//! Where packages come from and whose signatures are trusted: repositories by name or address, mirrors, vendored
//! folders, keys.

use std::path::{Path, PathBuf};

use kimg_source::location::LocationError;
use kimg_source::{ALPINE_MIRROR, Location, Repository, vendor};

use crate::error::BuildError;
use crate::project::Overrides;
use crate::settings::Settings;

/// Where packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packages {
    /// Alpine repositories, and the keys they are signed with.
    Repositories {
        /// In order.
        repositories: Vec<Repository>,
        /// All of these are trusted.
        keys: Vec<Keys>,
        /// Folders that `kimg vendor` wrote, for the programs in them.
        vendored: Vec<PathBuf>,
    },
    /// The sample that is compiled in.
    Sample,
}

/// Whose signatures are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Those that Alpine signs the platform's repositories with.
    Alpine,
    /// A folder or a file.
    Path(PathBuf),
}

/// The repositories that a bare name stands for: they lie in each branch on every mirror.
const NAMED: [&str; 3] = ["main", "community", "testing"];

/// The branch of Alpine that was asked for: `3.22`, `edge`.
pub(crate) fn branch(settings: &Settings, flags: &Overrides) -> Option<String> {
    let said = flags.alpine.as_deref().or(settings.alpine.as_deref())?;
    Some(said.strip_prefix('v').unwrap_or(said).to_owned())
}

/// What flags and settings say about packages; relative paths of the settings start at `folder`.
pub(crate) fn choose(settings: &Settings, folder: &Path, flags: &Overrides) -> Result<Packages, BuildError> {
    if flags.sample {
        if !flags.repositories.is_empty() || !flags.keys.is_empty() || !flags.mirrors.is_empty() {
            return Err(BuildError::settings(
                "`--sample` brings its own repository and keys: leave the others out",
            ));
        }
        return Ok(Packages::Sample);
    }
    let nowhere = Path::new("");
    let (mirrors, from) = match (&flags.mirrors[..], &settings.mirrors) {
        ([], None) => (vec![ALPINE_MIRROR.to_owned()], nowhere),
        ([], Some(written)) => (written.clone(), folder),
        (said, _) => (said.to_vec(), nowhere),
    };
    let mirrors = mirrors.iter().map(|m| location(m, from)).collect::<Result<Vec<_>, _>>()?;
    if mirrors.is_empty() {
        return Err(BuildError::settings("`mirrors` is empty: `main` and `community` have to be somewhere"));
    }
    let branch = match branch(settings, flags).as_deref() {
        None => "latest-stable".to_owned(),
        Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => format!("v{number}"),
        Some(name) => name.to_owned(),
    };
    let named = |name: &str| -> Vec<Location> {
        mirrors.iter().map(|mirror| mirror.join(&branch).join(name)).collect()
    };
    let usual = || NAMED[..2].iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (written, from) = match (&flags.repositories[..], &settings.repositories) {
        ([], None) => (usual(), nowhere),
        ([], Some(written)) => (written.clone(), folder),
        (said, _) => (said.to_vec(), nowhere),
    };
    let (mut repositories, mut vendored) = (Vec::new(), Vec::new());
    for text in &written {
        let (found, folder) = repository(text, from, named)?;
        repositories.extend(found);
        vendored.extend(folder);
    }
    if repositories.is_empty() {
        return Err(BuildError::settings("`repositories` is empty: packages have to come from somewhere"));
    }
    Ok(Packages::Repositories { repositories, keys: keys(settings, folder, flags), vendored })
}

fn keys(settings: &Settings, folder: &Path, flags: &Overrides) -> Vec<Keys> {
    let (written, from) = match (&flags.keys[..], &settings.keys) {
        ([], None) => return vec![Keys::Alpine],
        ([], Some(written)) => (&written[..], folder),
        (said, _) => (said, Path::new("")),
    };
    let key = |path: &PathBuf| {
        if path.as_os_str() == "alpine" { Keys::Alpine } else { Keys::Path(from.join(path)) }
    };
    written.iter().map(key).collect()
}

/// `NAME`, `ADDRESS` or `@tag ADDRESS`, as in `/etc/apk/repositories`. A vendored folder can be several repositories;
/// it is given too.
fn repository(
    text: &str,
    from: &Path,
    named: impl Fn(&str) -> Vec<Location>,
) -> Result<(Vec<Repository>, Option<PathBuf>), BuildError> {
    let text = text.trim();
    let (tag, address) = match text.strip_prefix('@').and_then(|rest| rest.split_once(char::is_whitespace)) {
        Some((tag, address)) => (Some(tag.to_owned()), address.trim()),
        None => (None, text),
    };
    if NAMED.contains(&address) {
        return Ok((vec![Repository { mirrors: named(address), tag, signed: true }], None));
    }
    let location = location(address, from)?;
    if let Location::Path(path) = &location
        && let Some(vendored) = vendor::repositories(path)?
    {
        return Ok((vendored, Some(path.clone())));
    }
    Ok((vec![Repository { tag, ..Repository::at(location) }], None))
}

fn location(text: &str, from: &Path) -> Result<Location, BuildError> {
    let location: Location =
        text.trim().parse().map_err(|e: LocationError| BuildError::settings(e.to_string()))?;
    Ok(location.relative_to(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(settings: &str, flags: &Overrides) -> (Vec<Repository>, Vec<Keys>) {
        let settings = Settings::parse("kimg.toml", settings).unwrap();
        match choose(&settings, Path::new("/project"), flags).unwrap() {
            Packages::Repositories { repositories, keys, .. } => (repositories, keys),
            Packages::Sample => panic!("no sample"),
        }
    }

    fn addresses(repository: &Repository) -> Vec<String> {
        repository.mirrors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_said_is_main_and_community_of_alpines_own_mirror() {
        let (repositories, keys) = packages("", &Overrides::default());
        let all: Vec<_> = repositories.iter().map(addresses).collect();
        let alpine = "https://dl-cdn.alpinelinux.org/alpine/latest-stable";
        assert_eq!(all, [[format!("{alpine}/main")], [format!("{alpine}/community")]]);
        assert_eq!(keys, [Keys::Alpine]);
    }

    #[test]
    fn a_repository_by_name_lies_in_the_branch_on_every_mirror() {
        let settings = "alpine = '3.22'\nmirrors = ['https://a.example/alpine/', 'mirror']\n\
                        repositories = ['main', '@edge testing']";
        let (repositories, _) = packages(settings, &Overrides::default());
        assert_eq!(
            addresses(&repositories[0]),
            ["https://a.example/alpine/v3.22/main", "/project/mirror/v3.22/main"]
        );
        assert_eq!(repositories[1].tag.as_deref(), Some("edge"));
        let flags = Overrides { alpine: Some("edge".into()), ..Overrides::default() };
        let (repositories, _) = packages(settings, &flags);
        assert_eq!(addresses(&repositories[0])[0], "https://a.example/alpine/edge/main");
    }

    #[test]
    fn relative_paths_start_at_the_settings_and_those_of_flags_where_kimg_was_started() {
        let (repositories, keys) = packages(
            "repositories = ['repo', '@edge /edge']\nkeys = ['alpine', 'keys']",
            &Overrides::default(),
        );
        assert_eq!(addresses(&repositories[0]), ["/project/repo"]);
        assert_eq!(repositories[1].tag.as_deref(), Some("edge"));
        assert_eq!(keys, [Keys::Alpine, Keys::Path("/project/keys".into())]);
        let flags =
            Overrides { repositories: vec!["./main".into()], keys: vec!["k".into()], ..Overrides::default() };
        let (repositories, keys) = packages("repositories = ['repo']\nkeys = ['keys']", &flags);
        assert_eq!(addresses(&repositories[0]), ["./main"]);
        assert_eq!(keys, [Keys::Path("k".into())], "keys that are said take the place of the others");
    }
}
