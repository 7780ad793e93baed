//! Which branch of Alpine repositories belong to, as far as they say it themselves.

/// The branch that a repository belongs to, `3.22`: the version of its alpine-release, or its own description.
pub(super) fn alpine_branch(indexes: &[kimg_apk::Repository]) -> Option<String> {
    let release = indexes
        .iter()
        .flat_map(|r| &r.index.packages)
        .find(|p| p.name == "alpine-release" || p.name == "alpine-base");
    release
        .and_then(|p| branch_in(&p.version.to_string()))
        .or_else(|| indexes.iter().find_map(|r| branch_after_v(&r.index.description)))
        .or_else(|| indexes.iter().find_map(|r| branch_after_v(&r.name)))
}

/// `3.19` in `v3.19.1-643-gec825d20535` or `…/alpine/v3.19/main`.
fn branch_after_v(text: &str) -> Option<String> {
    text.split(['/', ' ']).filter_map(|word| word.strip_prefix('v')).find_map(branch_in)
}

fn branch_in(version: &str) -> Option<String> {
    let mut numbers = version.split(['.', '-', '_']);
    let (major, minor) = (numbers.next()?, numbers.next()?);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (number(major) && number(minor)).then(|| format!("{major}.{minor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_is_read_out_of_descriptions_and_addresses() {
        assert_eq!(branch_after_v("v3.19.1-643-gec825d20535").as_deref(), Some("3.19"));
        assert_eq!(branch_after_v("kimg-testdata v3.15").as_deref(), Some("3.15"));
        assert_eq!(branch_after_v("https://mirror/alpine/v3.22/main").as_deref(), Some("3.22"));
        assert_eq!(branch_after_v("https://mirror/alpine/latest-stable/main"), None);
        assert_eq!(branch_in("3.19.2-r0").as_deref(), Some("3.19"));
    }
}
