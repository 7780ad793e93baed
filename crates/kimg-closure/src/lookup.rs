//! From a path as a program writes it to the entries it passes: every link, in the order the kernel follows them.

use kimg_core::{ImagePath, ResolveError};

use crate::{Files, Found};

/// Linux follows at most 40 links for one path (`MAXSYMLINKS`, `path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// One stop on the way of a path: a link that is followed, or, last, what it ends at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Landing {
    /// The entry, by its own real path.
    pub(crate) at: ImagePath,
    /// The links that are folders on the way to it.
    pub(crate) by: Vec<ImagePath>,
}

/// Follows an absolute path as text; `..` and links are taken one by one, as the kernel does.
///
/// The last landing is a file or a folder, all before it are links.
pub(crate) fn find(files: &dyn Files, text: &str) -> Result<Vec<Landing>, ResolveError> {
    let wanted = lexical(text);
    let mut landings: Vec<Landing> = Vec::new();
    let mut links = 0;
    let mut here = ImagePath::root();
    let mut text = text.to_owned();
    loop {
        let landing = step(files, &wanted, &here, &text)?;
        let at = landing.at.clone();
        links += landing.by.len();
        landings.push(landing);
        let target = match files.look(&at) {
            None => {
                let links = landings.iter().rev().skip(1).rev().map(|l| l.at.clone()).collect();
                return Err(ResolveError::Missing { wanted, missing: at, links });
            }
            Some(Found::Link { target }) => target,
            Some(_) => return Ok(landings),
        };
        links += 1;
        if links > MAX_LINKS {
            let links: Vec<_> = landings.iter().map(|l| l.at.clone()).collect();
            return Err(ResolveError::Loop { wanted, links: circle(&links, &at) });
        }
        here = start(&at, &target)?;
        text = target;
    }
}

/// Goes from a real folder to where the last name of `text` lies; the last name itself is not followed.
fn step(
    files: &dyn Files,
    wanted: &ImagePath,
    start: &ImagePath,
    text: &str,
) -> Result<Landing, ResolveError> {
    let names: Vec<&str> = names(text).collect();
    let mut here = start.clone();
    let mut by = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if *name == ".." {
            here = here.parent().unwrap_or(here);
            continue;
        }
        let next = here
            .join(name)
            .map_err(|_| ResolveError::BadTarget { link: here.clone(), target: text.to_owned() })?;
        if index + 1 == names.len() {
            return Ok(Landing { at: next, by });
        }
        here = folder(files, wanted, next, &mut by)?;
    }
    Ok(Landing { at: here, by })
}

/// The real folder that a path ends at, each link on the way noted.
fn folder(
    files: &dyn Files,
    wanted: &ImagePath,
    path: ImagePath,
    by: &mut Vec<ImagePath>,
) -> Result<ImagePath, ResolveError> {
    let before = by.len();
    let mut todo = Vec::new();
    let mut here = path;
    loop {
        match files.look(&here) {
            None => {
                let links = by.split_off(before);
                return Err(ResolveError::Missing { wanted: wanted.clone(), missing: here, links });
            }
            Some(Found::File { .. } | Found::Special) => {
                return Err(ResolveError::NotADirectory { wanted: wanted.clone(), file: here });
            }
            Some(Found::Folder) => {}
            Some(Found::Link { target }) => {
                if by.len() >= MAX_LINKS {
                    let links = circle(&by[before..], &here);
                    return Err(ResolveError::Loop { wanted: wanted.clone(), links });
                }
                let start = start(&here, &target)?;
                todo.extend(names(&target).rev().map(str::to_owned));
                by.push(std::mem::replace(&mut here, start));
            }
        }
        loop {
            let Some(name) = todo.pop() else { return Ok(here) };
            if name == ".." {
                here = here.parent().unwrap_or(here);
                continue;
            }
            here = here
                .join(&name)
                .map_err(|_| ResolveError::BadTarget { link: here.clone(), target: name.clone() })?;
            break;
        }
    }
}

fn names(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split('/').filter(|n| !n.is_empty() && *n != ".")
}

/// The folder in which the target of a link starts.
fn start(link: &ImagePath, target: &str) -> Result<ImagePath, ResolveError> {
    if target.is_empty() || target.len() > 4095 {
        return Err(ResolveError::BadTarget { link: link.clone(), target: target.to_owned() });
    }
    let parent = if target.starts_with('/') { None } else { link.parent() };
    Ok(parent.unwrap_or_else(ImagePath::root))
}

/// The links that lead to each other, out of all that were followed; `last` is the one not followed any more.
fn circle(links: &[ImagePath], last: &ImagePath) -> Vec<ImagePath> {
    let start = links.iter().position(|l| l == last).unwrap_or(0);
    let mut links = links[start..].to_vec();
    if let Some(again) = links.iter().skip(1).position(|l| *l == links[0]) {
        links.truncate(again + 1);
    }
    links
}

/// The path for messages: `..` taken away without looking.
fn lexical(text: &str) -> ImagePath {
    let mut names: Vec<&str> = Vec::new();
    for name in text.split('/') {
        match name {
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    ImagePath::new(&names.join("/")).unwrap_or_else(|_| ImagePath::root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kimg_core::{Content, Entry, FileTree, Origin};
    use proptest::prelude::*;

    fn made() -> Origin {
        Origin::generated("test")
    }

    fn tree(links: &[(&str, &str)], files: &[&str]) -> FileTree {
        let mut tree = FileTree::new();
        for (path, target) in links {
            tree.insert(ImagePath::new(path).unwrap(), Entry::symlink(*target, made()));
        }
        for path in files {
            tree.insert(ImagePath::new(path).unwrap(), Entry::file(Content::from_bytes("x"), 0o755, made()));
        }
        tree.add_parents(&made());
        tree
    }

    fn stops(tree: &FileTree, text: &str) -> Vec<String> {
        let landings = find(tree, text).unwrap();
        landings.iter().map(|l| format!("{} by {:?}", l.at, l.by)).collect()
    }

    #[test]
    fn links_that_are_folders_are_told_from_links_that_are_the_file() {
        let tree = tree(
            &[("/lib", "usr/lib"), ("/usr/lib/a.so", "../../lib/a.so.1"), ("/usr/lib/a.so.1", "a.so.1.2")],
            &["/usr/lib/a.so.1.2"],
        );
        let expected =
            ["/usr/lib/a.so by [\"/lib\"]", "/usr/lib/a.so.1 by [\"/lib\"]", "/usr/lib/a.so.1.2 by []"];
        assert_eq!(stops(&tree, "/lib/a.so"), expected);
        assert_eq!(stops(&tree, "/usr/../lib/./a.so.1.2"), ["/usr/lib/a.so.1.2 by [\"/lib\"]"]);
        assert!(matches!(find(&tree, "/usr/sub/../lib/a.so"), Err(ResolveError::Missing { .. })));
    }

    #[test]
    fn links_that_lead_to_each_other_are_named() {
        let tree = tree(&[("/a", "b"), ("/b", "a")], &[]);
        let Err(ResolveError::Loop { links, .. }) = find(&tree, "/a") else { panic!("no loop") };
        assert_eq!(links.len(), 2);
    }

    proptest! {
        /// The vocabulary's own resolver is the judge: same end, same set of links.
        #[test]
        fn any_tangle_of_links_ends_where_the_tree_s_own_resolver_ends(
            links in proptest::collection::btree_map("(/[abc]){1,3}", "(/|\\.\\./|)[abc](/[abc]){0,2}", 0..8),
            files in proptest::collection::btree_set("(/[abc]){1,3}", 0..4),
            asked in "(/[abc]){1,3}",
        ) {
            let links: Vec<_> = links.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let files: Vec<_> = files.iter().map(String::as_str).collect();
            let tree = tree(&links, &files);
            let ours = find(&tree, &asked);
            let theirs = tree.resolve(&ImagePath::new(&asked).unwrap());
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    prop_assert_eq!(&ours.last().unwrap().at, &theirs.path);
                    let mut passed: Vec<_> = ours.iter().flat_map(|l| l.by.iter().chain([&l.at])).cloned().collect();
                    passed.pop();
                    prop_assert_eq!(passed, theirs.links);
                }
                (Err(ours), Err(theirs)) => {
                    prop_assert_eq!(std::mem::discriminant(&ours), std::mem::discriminant(&theirs));
                }
                (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours, theirs),
            }
        }
    }
}
