//! `.PKGINFO`: what a package says about itself, as `key = value` lines (apk-package(5)).

use std::str::FromStr;

use kimg_core::Digest;

use crate::error::Problem;
use crate::{Limits, Record, Version};

/// A `.PKGINFO` as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PkgInfo {
    /// Identity and size of the file are not in it: they come from the file.
    pub(crate) record: Record,
    pub(crate) triggers: Vec<String>,
    /// SHA-256 of the data member as compressed.
    pub(crate) datahash: Digest,
}

/// Keys that decide what is trusted: twice would mean that two readers can see two packages.
const ONCE: [&str; 4] = ["pkgname", "pkgver", "arch", "datahash"];

/// Keys whose lines list things.
const LISTS: [&str; 5] = ["depend", "provides", "install_if", "replaces", "triggers"];

impl PkgInfo {
    /// Lines that are empty, start with `#` or hold no ` = ` say nothing, as in apk: Alpine has descriptions and licences
    /// over several lines.
    pub(crate) fn parse(text: &str, limits: &Limits) -> Result<Self, Problem> {
        let mut seen = Vec::new();
        let mut name = None;
        let mut version = None;
        let mut datahash = None;
        let mut triggers = Vec::new();
        let mut record = Record::new(String::new(), Version::unread());
        let mut relations = 0;
        for line in text.lines() {
            let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let value = value.trim();
            if ONCE.contains(&key) {
                if seen.contains(&key) {
                    return Err(bad(key, value, "it is there twice"));
                }
                seen.push(key);
            }
            if LISTS.contains(&key) {
                relations += value.split_ascii_whitespace().count();
                if relations > limits.relations {
                    let (what, limit) = ("the number of dependencies and the like", limits.relations as u64);
                    return Err(Problem::Limit { what, limit });
                }
            }
            let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
            match key {
                "pkgname" => {
                    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b'\\';
                    if value.is_empty() || value.starts_with('.') || !value.bytes().all(plain) {
                        return Err(bad(key, value, "that is no name of a package"));
                    }
                    name = Some(value.to_owned());
                }
                "pkgver" => version = Some(parsed::<Version>(key, value)?),
                "arch" => value.clone_into(&mut record.arch),
                "datahash" => {
                    let hash =
                        Digest::from_hex(value).map_err(|_| bad(key, value, "expected 64 hex digits"))?;
                    datahash = Some(hash);
                }
                "pkgdesc" => value.clone_into(&mut record.description),
                "url" => value.clone_into(&mut record.url),
                "license" => value.clone_into(&mut record.license),
                "origin" => record.origin = text(),
                "maintainer" => record.maintainer = text(),
                "commit" => record.commit = text(),
                "size" => record.installed_size = parsed(key, value)?,
                "builddate" => record.build_time = Some(parsed(key, value)?),
                "provider_priority" => record.provider_priority = parsed(key, value)?,
                "replaces_priority" => record.replaces_priority = parsed(key, value)?,
                "depend" => list(key, value, &mut record.depends)?,
                "provides" => list(key, value, &mut record.provides)?,
                "install_if" => list(key, value, &mut record.install_if)?,
                "replaces" => list(key, value, &mut record.replaces)?,
                "triggers" => triggers.extend(value.split_ascii_whitespace().map(str::to_owned)),
                _ => {}
            }
        }
        if record.arch.is_empty() {
            return Err(Problem::MissingField("arch"));
        }
        record.name = name.ok_or(Problem::MissingField("pkgname"))?;
        record.version = version.ok_or(Problem::MissingField("pkgver"))?;
        let datahash = datahash.ok_or(Problem::MissingField("datahash"))?;
        Ok(Self { record, triggers, datahash })
    }
}

fn bad(key: &str, value: &str, reason: impl std::fmt::Display) -> Problem {
    let short = |text: &str| text.chars().take(100).collect::<String>().escape_debug().to_string();
    Problem::BadField { field: short(key), value: short(value), reason: reason.to_string() }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(key: &str, value: &str) -> Result<T, Problem> {
    value.parse().map_err(|error| bad(key, value, error))
}

fn list<T: FromStr<Err: std::fmt::Display>>(
    key: &str,
    value: &str,
    into: &mut Vec<T>,
) -> Result<(), Problem> {
    for item in value.split_ascii_whitespace() {
        into.push(parsed(key, item)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "382c75e2d1a2e2b9d281e879b763b3b363508400d7cc796d9448c46a7b6ba342";

    fn parse(text: &str) -> Result<PkgInfo, Problem> {
        PkgInfo::parse(text, &Limits::default())
    }

    fn text(more: &str) -> String {
        format!(
            "# by abuild\npkgname = busybox\npkgver = 1.36.1-r15\narch = x86_64\n{more}datahash = {HASH}\n"
        )
    }

    #[test]
    fn what_a_package_says_of_itself_becomes_a_record() {
        let info = parse(&text(
            "pkgdesc = a toolbox = good\nsize = 946176\nbuilddate = 1699383189\nreplaces = busybox-initscripts\n\
             replaces_priority = 3\ntriggers = /bin /lib/modules/*\nprovides = cmd:busybox=1.36.1-r15\nprovides = /bin/sh\n\
             depend = so:libc.musl-x86_64.so.1\ndepend = !sudo a>=1\n",
        ))
        .unwrap();
        assert_eq!(info.record.id(), "busybox-1.36.1-r15");
        assert_eq!(info.record.description, "a toolbox = good");
        assert_eq!((info.record.installed_size, info.record.build_time), (946_176, Some(1_699_383_189)));
        assert_eq!(info.record.replaces_priority, 3);
        let depends: Vec<_> = info.record.depends.iter().map(ToString::to_string).collect();
        assert_eq!(depends, ["so:libc.musl-x86_64.so.1", "!sudo", "a>=1"]);
        assert_eq!(info.record.provides.len(), 2);
        assert_eq!(info.triggers, ["/bin", "/lib/modules/*"]);
    }

    #[test]
    fn a_licence_over_two_lines_is_no_error() {
        assert!(parse(&text("license = MIT AND\n\tGPL-2.0-only\n")).is_ok());
    }

    #[test]
    fn what_decides_trust_must_be_there_exactly_once() {
        for key in ONCE {
            let kept: Vec<_> = text("").lines().filter(|l| !l.starts_with(key)).map(str::to_owned).collect();
            let without = kept.join(
                "
",
            );
            assert!(matches!(parse(&without), Err(Problem::MissingField(found)) if found == key), "{key}");
            let line = text("").lines().find(|l| l.starts_with(key)).unwrap().to_owned();
            let error = parse(&format!("{}{line}\n", text(""))).unwrap_err();
            assert!(error.to_string().contains("twice"), "{error}");
        }
    }

    #[test]
    fn a_name_that_is_a_path_is_refused() {
        for name in ["../x", "a/b", ".x", "a b"] {
            let changed = text("").replace("pkgname = busybox", &format!("pkgname = {name}"));
            assert!(matches!(parse(&changed), Err(Problem::BadField { .. })), "{name}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(\\PC| = |\n|pkgname|pkgver|depend|size){0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn names_and_versions_are_read_as_they_are_written(name in "[a-z][a-z0-9.+_-]{0,20}", version in "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(_rc[0-9])?-r[0-9]{1,2}", size in any::<u64>()) {
            let text = format!("pkgname = {name}\npkgver = {version}\narch = noarch\nsize = {size}\ndatahash = {HASH}\n");
            let record = parse(&text).unwrap().record;
            prop_assert_eq!(record.id(), format!("{name}-{version}"));
            prop_assert_eq!(record.installed_size, size);
        }
    }
}
