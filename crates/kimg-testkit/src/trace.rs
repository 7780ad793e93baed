//! What a program of a root opens and looks at, as `strace` sees it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::{Root, output, tempdir, tool};

/// One run of a program, watched.
#[derive(Debug)]
pub struct Trace {
    /// What it answered.
    pub output: Output,
    /// Every path of the root that a system call named with success: as named, the links on the way to it, and where
    /// they lead. Absolute inside the root, folders too.
    pub paths: BTreeSet<String>,
}

/// A system call that took a path and succeeded.
#[derive(Debug, PartialEq, Eq)]
struct Call<'a> {
    name: &'a str,
    /// The folder that a relative path starts from, as this machine sees it.
    from: Option<&'a str>,
    path: String,
    /// Where the file that was opened really lies on this machine.
    opened: Option<&'a str>,
}

/// A line that is in no form that is known here.
#[derive(Debug, PartialEq, Eq)]
struct NotUnderstood;

impl Root {
    /// Starts a program as [`Root::run`] does, and watches it and all that it starts. Only where programs of this root
    /// run without an emulator. `None` after a visible skip.
    ///
    /// Panics where `strace` writes what can't be understood, or opens another file than the path leads to: a call that
    /// is passed over would make the answer look better than it is.
    pub fn trace(&self, program: &[&str], environment: &[(&str, &str)]) -> Option<Trace> {
        let strace = tool("strace")?;
        let mut watched = self.command(program)?;
        watched.envs(environment.iter().copied());
        let folder = tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(strace);
        // A file for each thread, so that no call is torn apart by another; open files with their paths; paths whole.
        command.args(["-ff", "-y", "-s", "4096", "-e", "trace=%file,fchdir", "-o"]);
        command.arg(folder.path().join("calls")).arg(watched.get_program()).args(watched.get_args());
        command.env_clear();
        command.envs(watched.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = output(&mut command);
        let root = self.folder().canonicalize().expect("the root is there");
        let mut paths = BTreeSet::new();
        for file in fs_err::read_dir(folder.path()).expect("the trace can be read") {
            let text =
                fs_err::read(file.expect("the trace can be read").path()).expect("the trace can be read");
            self.read_calls(&String::from_utf8_lossy(&text), &root, &mut paths);
        }
        assert!(!paths.is_empty(), "{command:?} saw nothing: {}", crate::both(&output));
        Some(Trace { output, paths })
    }

    fn read_calls(&self, text: &str, root: &Path, paths: &mut BTreeSet<String>) {
        // The thread that goes into the root says so; all others were started inside.
        let entered = |line: &&str| line.starts_with("chroot(") && line.ends_with(" = 0");
        let outside = text.lines().position(|line| entered(&line)).map_or(0, |place| place + 1);
        for line in text.lines().skip(outside) {
            let read = parse(line).unwrap_or_else(|NotUnderstood| panic!("not understood: {line}"));
            let Some(call) = read else { continue };
            let named = match call.from {
                _ if call.path.starts_with('/') => call.path,
                Some(from) => format!("{}/{}", inside(from, root), call.path),
                // Such a path starts from the working folder, and that is `/` until a program leaves it.
                None => format!("/{}", call.path),
            };
            let (on_the_way, end) = self.follow(&named, call.name);
            assert!(!matches!(call.name, "chdir" | "fchdir") || end == "/", "it goes elsewhere: {line}");
            if let Some(opened) = call.opened {
                assert_eq!(inside(opened, root), end, "{line}");
            }
            paths.extend(on_the_way);
            paths.insert(end);
        }
    }

    /// The links on the way of a path, and where it leads, as the kernel follows it in this root.
    fn follow(&self, path: &str, call: &str) -> (Vec<String>, String) {
        let mut links = Vec::new();
        let mut at = String::new();
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        while let Some(name) = rest.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                name => at = format!("{at}/{name}"),
            }
            let looks_at_links = matches!(call, "readlink" | "readlinkat" | "lstat");
            if looks_at_links && rest.iter().all(|name| name.is_empty() || name == ".") {
                continue;
            }
            if let Ok(target) = std::fs::read_link(self.on_disk(&at)) {
                links.push(at.clone());
                assert!(links.len() <= 40, "{path}: a loop of links");
                let target = target.to_str().expect("the root's links are UTF-8");
                at.truncate(if target.starts_with('/') { 0 } else { at.rfind('/').unwrap_or(0) });
                rest.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        if at.is_empty() {
            at.push('/');
        }
        (links, at)
    }
}

/// A path of this machine as one of the root.
fn inside(path: &str, root: &Path) -> String {
    let rest = Path::new(path).strip_prefix(root);
    let rest = rest.unwrap_or_else(|_| panic!("{path} is not in {}", root.display()));
    format!("/{}", rest.to_str().expect("it came from UTF-8"))
}

/// A line of `strace -y`; `None` of what took no path or did not succeed.
fn parse(line: &str) -> Result<Option<Call<'_>>, NotUnderstood> {
    if line.starts_with("---") || line.starts_with("+++") || line.ends_with("<unfinished ...>") {
        return Ok(None);
    }
    let (name, rest) = line.split_once('(').ok_or(NotUnderstood)?;
    let (arguments, result) = rest.rsplit_once(" = ").ok_or(NotUnderstood)?;
    let arguments = arguments.trim_end().strip_suffix(')').ok_or(NotUnderstood)?;
    // `?` is the result of a call that the end of the process cut off; `getcwd` gives a path and takes none.
    if result.starts_with(['-', '?']) || name == "getcwd" {
        return Ok(None);
    }
    let opened = result.split_once('<').and_then(|(_, path)| path.strip_suffix('>'));
    let (before, after) = match arguments.find('"') {
        Some(quote) => arguments.split_at(quote),
        None if name == "fchdir" => (arguments, "\"\""),
        None => return Err(NotUnderstood),
    };
    let from = before.split_once('<').and_then(|(_, path)| path.split_once('>')).map(|(path, _)| path);
    let path = unquote(after).ok_or(NotUnderstood)?;
    if path.is_empty() && name != "fchdir" {
        return Ok(None);
    }
    Ok(Some(Call { name, from, path, opened }))
}

/// The text between the quotes that `text` begins with. Only the escapes that a path in a root can need.
fn unquote(text: &str) -> Option<String> {
    let mut characters = text.strip_prefix('"')?.chars();
    let mut unquoted = String::new();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => unquoted.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => unquoted.push(other),
        }
    }
    // A text that was cut short is followed by dots.
    (!characters.as_str().starts_with("...")).then_some(unquoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_succeeded_is_read_with_its_folder_and_what_it_opened() {
        let line = r#"openat(3</r/usr>, "lib/a\"b", O_RDONLY|O_CLOEXEC) = 4</r/usr/lib/a>"#;
        let path = "lib/a\"b".to_owned();
        let call = Call { name: "openat", from: Some("/r/usr"), path, opened: Some("/r/usr/lib/a") };
        assert_eq!(parse(line), Ok(Some(call)));
        let line = r#"execve("/bin/a", ["a", "b"], 0x7ffe /* 3 vars */)   = 0"#;
        let call = Call { name: "execve", from: None, path: "/bin/a".into(), opened: None };
        assert_eq!(parse(line), Ok(Some(call)));
    }

    #[test]
    fn what_failed_or_names_no_path_is_passed_over() {
        for line in [
            r#"open("/etc/ld-musl-x86_64.path", O_RDONLY|O_LARGEFILE|O_CLOEXEC) = -1 ENOENT (No such file or directory)"#,
            r#"newfstatat(3</r/a>, "", {st_mode=S_IFREG|0644, st_size=1, ...}, AT_EMPTY_PATH) = 0"#,
            r#"getcwd("/", 4096)                       = 2"#,
            r#"execve("/bin/a", ["a"], 0x7ffe /* 3 vars */) = ?"#,
            "--- SIGURG {si_signo=SIGURG, si_code=SI_TKILL} ---",
            "+++ exited with 0 +++",
        ] {
            assert_eq!(parse(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn what_can_not_be_understood_is_not_passed_over() {
        for line in ["?", r#"stat("/a"..., {}) = 0"#, r#"stat("/\303\244", {}) = 0"#, "stat(0x7ffe, {}) = 0"]
        {
            assert_eq!(parse(line), Err(NotUnderstood), "{line}");
        }
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let folder = tempdir().unwrap();
        let root = Root::new(folder.path(), kimg_core::Platform::Amd64);
        fs_err::create_dir_all(folder.path().join("usr/lib")).unwrap();
        for (target, link) in
            [("/usr/lib", "lib"), ("libz.so.1.2", "usr/lib/libz.so.1"), ("../lib", "usr/up")]
        {
            fs_err::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
        }
        let (links, end) = root.follow("/lib/libz.so.1", "open");
        assert_eq!((links.join(" "), &*end), ("/lib /usr/lib/libz.so.1".into(), "/usr/lib/libz.so.1.2"));
        assert_eq!(root.follow("/usr/up/..", "open").1, "/usr");
        assert_eq!(root.follow("/lib", "readlink"), (Vec::new(), "/lib".into()));
    }
}
