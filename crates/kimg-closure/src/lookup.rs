//! From a path as a program writes it to the entries it passes: every link, in the order the kernel follows them.

use kimg_core::{FileTree, ImagePath, Kind, ResolveError};

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
pub(crate) fn find(tree: &FileTree, text: &str) -> Result<Vec<Landing>, ResolveError> {
    let wanted = lexical(text);
    let mut landings: Vec<Landing> = Vec::new();
    let mut links = 0;
    let mut here = ImagePath::root();
    let mut text = text.to_owned();
    loop {
        let landing = step(tree, &here, &text)?;
        let at = landing.at.clone();
        links += landing.by.len();
        landings.push(landing);
        let Some(entry) = tree.get(&at) else {
            if at.is_root() {
                return Ok(landings);
            }
            let links = landings.iter().rev().skip(1).rev().map(|l| l.at.clone()).collect();
            return Err(ResolveError::Missing { wanted, missing: at, links });
        };
        let Kind::Symlink { target } = &entry.kind else { return Ok(landings) };
        links += 1;
        if links > MAX_LINKS {
            let start = landings.iter().position(|l| l.at == at).unwrap_or(0);
            let mut links: Vec<_> = landings[start..].iter().map(|l| l.at.clone()).collect();
            if let Some(again) = links.iter().skip(1).position(|l| *l == links[0]) {
                links.truncate(again + 1);
            }
            return Err(ResolveError::Loop { wanted, links });
        }
        if target.is_empty() || target.len() > 4095 {
            return Err(ResolveError::BadTarget { link: at, target: target.clone() });
        }
        here = if target.starts_with('/') {
            ImagePath::root()
        } else {
            at.parent().unwrap_or_else(ImagePath::root)
        };
        text.clone_from(target);
    }
}

/// Goes from a real folder to where the last name of `text` lies; the last name itself is not followed.
fn step(tree: &FileTree, start: &ImagePath, text: &str) -> Result<Landing, ResolveError> {
    let names: Vec<&str> = text.split('/').filter(|n| !n.is_empty() && *n != ".").collect();
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
        let folder = tree.resolve(&next)?;
        if tree.get(&folder.path).is_some_and(|e| !e.is_directory()) {
            return Err(ResolveError::NotADirectory { wanted: lexical(text), file: folder.path });
        }
        by.extend(folder.links);
        here = folder.path;
    }
    Ok(Landing { at: here, by })
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
    use kimg_core::{Content, Entry, Origin};
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
