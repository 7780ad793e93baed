//! Which paths of an image are wanted: programs, what is kept beside them, and what its own config names.

use std::collections::{BTreeMap, BTreeSet};

use globset::GlobBuilder;
use kimg_closure::Root;
use kimg_core::variant::COMMAND_PATH;
use kimg_core::{Entry, FileTree, ImagePath, Platform};
use kimg_layer::Node;
use serde_json::Value;

use super::SlimError;
use crate::existing::variable;

/// Why the config's own paths stay.
const USER: &str = "the config's user is looked up there";
const WORKING_DIR: &str = "the config's working folder";
const VOLUME: &str = "a volume of the config";

/// What is wanted of one platform's image.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// What the closure starts from.
    pub(super) roots: Vec<Root>,
    /// Links that lead nowhere and are kept nevertheless.
    pub(super) links: Vec<(ImagePath, String)>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// What was asked for.
pub(super) struct Asked<'a> {
    pub(super) programs: &'a [String],
    pub(super) keep: &'a [String],
    /// Of the image's config: `config`.
    pub(super) settings: &'a Value,
    /// For messages, where it is known yet.
    pub(super) platform: Option<Platform>,
    pub(super) allow_unresolved: bool,
}

impl Asked<'_> {
    fn for_platform(&self) -> String {
        self.platform.map(|platform| format!(" for {platform}")).unwrap_or_default()
    }
}

/// Finds everything that is wanted in a tree, beside which there are devices and pipes.
pub(super) fn find(
    tree: &FileTree,
    nodes: &BTreeMap<ImagePath, Node>,
    asked: &Asked<'_>,
) -> Result<Wanted, SlimError> {
    let mut wanted = Wanted::default();
    let search = search_path(asked.settings);
    let (entrypoint, command) = (words(asked.settings, "Entrypoint"), words(asked.settings, "Cmd"));
    if asked.programs.is_empty() {
        let (first, second) = match (entrypoint.first(), command.first()) {
            (Some(first), second) => ((first, "the entrypoint"), second),
            (None, Some(first)) => ((first, "the command"), None),
            (None, None) => {
                return Err(SlimError::asked(
                    "nothing says what is to run in it: it has neither entrypoint nor command",
                    "name the programs: `--root /usr/bin/program`",
                ));
            }
        };
        wanted.roots.push(program(tree, first.0, &search, first.1, asked)?);
        // An entrypoint may start the command, or take it as words: it is a program if there is one of that name.
        if let Some(second) = second {
            let found = program(tree, second, &search, "the command, which the entrypoint may start", asked);
            wanted.roots.extend(found);
        }
        let whole = [entrypoint.as_slice(), command.as_slice()].concat();
        if let Some(line) = shell_line(&whole) {
            wanted.notes.push(format!("what the shell is given to run is not looked into: {line}"));
        }
    }
    for name in asked.programs {
        wanted.roots.push(program(tree, name, &search, "asked for", asked)?);
    }
    for pattern in asked.keep {
        keep(tree, nodes, pattern, &mut wanted, asked)?;
    }
    of_the_config(tree, asked.settings, &mut wanted);
    Ok(wanted)
}

/// A program by its path, or by its name as a shell would find it.
fn program(
    tree: &FileTree,
    name: &str,
    search: &[String],
    reason: &str,
    asked: &Asked<'_>,
) -> Result<Root, SlimError> {
    let platform = asked.for_platform();
    let is_file = |path: &ImagePath| {
        let found = tree.resolve(path).ok().and_then(|found| tree.get(&found.path));
        found.is_some_and(|entry| entry.content().is_some())
    };
    let root = |path: ImagePath| Root { path, name: name.to_owned(), reason: reason.to_owned() };
    if !name.contains('/') {
        let places = search.iter().filter_map(|folder| ImagePath::new(&format!("{folder}/{name}")).ok());
        return places.into_iter().find(is_file).map(root).ok_or_else(|| SlimError::Missing {
            problem: format!("there is no program `{name}`{platform} in {}", search.join(", ")),
            hint: elsewhere(tree, name),
        });
    }
    let folder = asked.settings["WorkingDir"].as_str().filter(|_| !name.starts_with('/')).unwrap_or("/");
    let path = ImagePath::new(&format!("{folder}/{name}")).map_err(|error| {
        SlimError::asked(error.to_string(), "a root is a path inside the image, or a name")
    })?;
    match tree.resolve(&path) {
        Ok(_) if is_file(&path) => Ok(root(path)),
        Ok(_) => Err(SlimError::asked(
            format!("the root `{path}`{platform} is a folder"),
            format!("`--keep {path}` keeps a folder with all that is in it"),
        )),
        Err(why) => Err(SlimError::Missing {
            problem: format!("the root `{name}` is not there{platform}: {why}"),
            hint: path.file_name().and_then(|name| elsewhere(tree, name)),
        }),
    }
}

/// Where a path itself is, if a folder on the way is a link.
fn located(tree: &FileTree, path: &ImagePath) -> ImagePath {
    tree.locate(path).map_or_else(|_| path.clone(), |at| at.path)
}

/// Where else a file of this name is.
fn elsewhere(tree: &FileTree, name: &str) -> Option<String> {
    let mut same =
        tree.iter().filter(|(path, entry)| path.file_name() == Some(name) && !entry.is_directory());
    same.next().map(|(path, _)| format!("there is `{path}`"))
}

/// Everything that a pattern means; a folder with all that lies in it.
fn keep(
    tree: &FileTree,
    nodes: &BTreeMap<ImagePath, Node>,
    pattern: &str,
    wanted: &mut Wanted,
    asked: &Asked<'_>,
) -> Result<(), SlimError> {
    let wrong =
        |error: String| SlimError::asked(error, "write it as /etc/passwd or '/usr/share/zoneinfo/**'");
    let found: Vec<ImagePath> = if pattern.contains(['*', '?', '[', '{']) {
        let absolute = format!("/{}", pattern.trim_start_matches('/'));
        let glob = GlobBuilder::new(&absolute).literal_separator(true).build();
        let glob = glob.map_err(|error| wrong(error.to_string()))?.compile_matcher();
        let paths = tree.iter().map(|(path, _)| path).chain(nodes.keys());
        paths.filter(|path| glob.is_match(path.as_str())).cloned().collect()
    } else {
        let path = ImagePath::new(pattern).map_err(|error| wrong(error.to_string()))?;
        let at = if path.is_root() { path.clone() } else { located(tree, &path) };
        let there = at.is_root() || tree.get(&at).is_some() || nodes.contains_key(&at);
        there.then_some(path).into_iter().collect()
    };
    if found.is_empty() {
        let problem = format!("`--keep {pattern}` finds nothing{}", asked.for_platform());
        if !asked.allow_unresolved {
            let hint = pattern.rsplit('/').next().and_then(|name| elsewhere(tree, name));
            return Err(SlimError::Missing { problem, hint });
        }
        wanted.notes.push(problem);
    }
    // A pattern may find a folder and what lies in it.
    let mut all = BTreeSet::new();
    for path in found {
        let folder = tree.resolve(&path).ok().map(|found| found.path);
        let folder = folder.filter(|at| at.is_root() || tree.get(at).is_some_and(Entry::is_directory));
        if let Some(folder) = &folder {
            all.extend(tree.below(folder).map(|(path, _)| path.clone()));
        }
        let at = folder.unwrap_or_else(|| located(tree, &path));
        if let Some((path, node)) = nodes.iter().find(|(path, _)| path.is_below(&at)) {
            if !asked.allow_unresolved {
                let asked = format!("--keep {pattern}");
                return Err(SlimError::Node { asked, path: path.clone(), kind: node.kind });
            }
            wanted.notes.push(format!("`--keep {pattern}` passes `{path}` over, a {}", node.kind));
        }
        all.insert(path);
    }
    all.retain(|path| !nodes.contains_key(&located(tree, path)));
    let reason = format!("kept: --keep {pattern}");
    for path in all.into_iter().filter(|path| !path.is_root()) {
        if tree.resolve(&path).is_ok() {
            wanted.roots.push(Root { name: path.to_string(), path, reason: reason.clone() });
        } else {
            wanted.links.push((path, reason.clone()));
        }
    }
    Ok(())
}

/// What a runtime looks at because the config says so, where it is there.
fn of_the_config(tree: &FileTree, settings: &Value, wanted: &mut Wanted) {
    let text = |key: &str| settings[key].as_str().filter(|text| !text.is_empty());
    let mut add = |path: &str, reason: &str| {
        if let Some(path) =
            ImagePath::new(path).ok().filter(|path| !path.is_root() && tree.resolve(path).is_ok())
        {
            wanted.roots.push(Root { name: path.to_string(), path, reason: reason.to_owned() });
        }
    };
    // A number is looked up too: for its home and groups.
    if text("User").is_some() {
        add("/etc/passwd", USER);
        add("/etc/group", USER);
    }
    if let Some(folder) = text("WorkingDir") {
        add(folder, WORKING_DIR);
    }
    for (volume, _) in settings["Volumes"].as_object().into_iter().flatten() {
        add(volume, VOLUME);
    }
}

/// The links of the root folder to folders that stay, `/bin` to `/usr/bin`: programs, and people, say `/bin/sh` wherever
/// that lies, and no header tells of it.
pub(super) fn shortcuts(tree: &FileTree, stays: impl Fn(&ImagePath) -> bool) -> Vec<(ImagePath, String)> {
    let links = tree.iter().filter(|(path, entry)| {
        let in_root = path.parent().is_some_and(|folder| folder.is_root());
        in_root && entry.target().is_some() && !stays(path)
    });
    let to_folders = links.filter_map(|(path, _)| {
        let folder = tree.resolve(path).ok()?.path;
        let is_folder = tree.get(&folder)?.is_directory();
        (is_folder && stays(&folder)).then(|| (path.clone(), format!("`{folder}` is also called so")))
    });
    to_folders.collect()
}

/// The folders of the image's own `PATH`.
fn search_path(settings: &Value) -> Vec<String> {
    match variable(settings, "PATH") {
        Some(path) => path.split(':').filter(|folder| folder.starts_with('/')).map(str::to_owned).collect(),
        None => COMMAND_PATH.map(str::to_owned).to_vec(),
    }
}

/// A list of words of the config.
pub(super) fn words(settings: &Value, key: &str) -> Vec<String> {
    settings[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What a shell is told to run, where the command is `sh -c …`.
fn shell_line(command: &[String]) -> Option<&str> {
    let [shell, option, line, ..] = command else { return None };
    let name = shell.rsplit('/').next().unwrap_or_default();
    (["sh", "bash", "ash", "dash"].contains(&name) && option.starts_with('-') && option.ends_with('c'))
        .then_some(line)
}

#[cfg(test)]
mod tests {
    use kimg_core::{Content, Origin};
    use serde_json::json;

    use super::*;

    fn tree() -> FileTree {
        let made = || Origin::generated("test");
        let file = || Entry::file(Content::from_bytes("x"), 0o755, made());
        let mut tree = FileTree::new();
        let entries = [
            ("/usr/bin/ls", file()),
            ("/bin", Entry::symlink("usr/bin", made())),
            ("/opt/x/start", file()),
            ("/opt/x/dangling", Entry::symlink("/nowhere", made())),
            ("/etc/passwd", file()),
            ("/etc/group", file()),
            ("/etc/ssl/certs/ca.crt", file()),
            ("/opt/dev", Entry::directory(made())),
        ];
        for (path, entry) in entries {
            tree.insert(ImagePath::new(path).unwrap(), entry);
        }
        tree.add_parents(&made());
        tree
    }

    fn nodes() -> BTreeMap<ImagePath, Node> {
        let null = Node { kind: kimg_layer::NodeKind::Character(1, 3), mode: 0o666, uid: 0, gid: 0 };
        ["/opt/dev/null", "/opt/dev/zero"].map(|path| (ImagePath::new(path).unwrap(), null)).into()
    }

    fn found(programs: &[&str], keep: &[&str], settings: &Value) -> Result<Vec<String>, String> {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let asked = Asked {
            programs: &owned(programs),
            keep: &owned(keep),
            settings,
            platform: Some(Platform::Amd64),
            allow_unresolved: false,
        };
        let wanted = find(&tree(), &nodes(), &asked).map_err(|error| error.to_string())?;
        let links = wanted.links.iter().map(|(path, _)| format!("{path} (as it is)"));
        Ok(wanted.roots.iter().map(|root| root.path.to_string()).chain(links).collect())
    }

    #[test]
    fn a_root_is_a_path_or_a_name_that_is_searched_as_the_image_does() {
        assert_eq!(found(&["ls", "/bin/ls"], &[], &json!({})).unwrap(), ["/usr/bin/ls", "/bin/ls"]);
        assert_eq!(found(&["start"], &[], &json!({"Env": ["PATH=/opt/x"]})).unwrap(), ["/opt/x/start"]);
        let missing = found(&["start"], &[], &json!({})).unwrap_err();
        assert!(
            missing.starts_with("there is no program `start` for linux/amd64 in /usr/local/sbin"),
            "{missing}"
        );
        assert!(found(&["/sbin/ls"], &[], &json!({})).unwrap_err().contains("`/sbin` is missing"));
        assert!(found(&["/etc"], &[], &json!({})).unwrap_err().contains("is a folder"));
    }

    #[test]
    fn without_roots_it_is_what_the_config_runs_and_looks_at() {
        let settings = json!({
            "Entrypoint": ["./start"], "Cmd": ["ls", "-l"], "User": "www", "WorkingDir": "/opt/x",
            "Volumes": {"/etc/ssl": {}, "/gone": {}},
        });
        let expected = ["/opt/x/start", "/usr/bin/ls", "/etc/passwd", "/etc/group", "/opt/x", "/etc/ssl"];
        assert_eq!(found(&[], &[], &settings).unwrap(), expected);
        let words = json!({"Entrypoint": ["ls"], "Cmd": ["--help"]});
        assert_eq!(found(&[], &[], &words).unwrap(), ["/usr/bin/ls"]);
        assert!(found(&[], &[], &json!({})).unwrap_err().contains("neither entrypoint nor command"));
    }

    #[test]
    fn what_is_kept_may_be_a_pattern_or_a_folder_and_must_be_there() {
        let kept = |keep: &str| found(&["ls"], &[keep], &json!({})).map(|found| found[1..].to_vec());
        assert_eq!(kept("/etc/{passwd,group}").unwrap(), ["/etc/group", "/etc/passwd"]);
        assert_eq!(kept("/etc/ssl").unwrap(), ["/etc/ssl", "/etc/ssl/certs", "/etc/ssl/certs/ca.crt"]);
        assert_eq!(kept("/bin").unwrap(), ["/bin", "/usr/bin/ls"]);
        assert_eq!(kept("/opt/*/d*").unwrap(), ["/opt/x/dangling (as it is)"]);
        assert!(kept("/etc/shadow").unwrap_err().contains("finds nothing"));
    }

    #[test]
    fn a_device_is_refused_only_where_it_would_stay() {
        let refused = "would keep `/opt/dev/null`, which is a device";
        for keep in ["/opt", "/opt/dev", "/opt/dev/null", "/opt/*/n*", "/opt/**"] {
            let error = found(&["ls"], &[keep], &json!({})).unwrap_err();
            assert!(error.contains(refused), "{keep}: {error}");
        }
        assert_eq!(found(&["ls"], &["/opt/x/st*"], &json!({})).unwrap(), ["/usr/bin/ls", "/opt/x/start"]);
    }

    #[test]
    fn a_line_for_a_shell_is_seen() {
        let line = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            shell_line(&words).map(str::to_owned)
        };
        assert_eq!(line(&["/bin/sh", "-c", "exec x"]).as_deref(), Some("exec x"));
        assert_eq!(line(&["bash", "-ec", "x"]).as_deref(), Some("x"));
        assert_eq!(line(&["/bin/x", "-c", "y"]), None);
    }
}
