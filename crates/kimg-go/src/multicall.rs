//! Several commands of a source as one program: the runtime of Go, and what the commands share, is in it once.
//!
//! A package of a command is called `main`, and no package may import one of that name. So the commands' packages are
//! rewritten ([what is changed](self#what-is-changed)), and one more is generated whose `main` runs that of the program by
//! whose name it is started. The source itself stays as it is: go reads the rewritten files in place of its own
//! (`-overlay`), and the plain programs can be built from it before and after.
//!
//! # What is changed
//!
//! The name of the package; and its `init` functions are put off until it is known that its program is the one that was
//! started. What packages that are *imported* do before any main runs, they do for each of the programs, as if it imported
//! them itself: they set their variables and run their `init`. What could be seen of that is the flags that they register for
//! the command line, some of them under one name; so `flag` and `pflag` are rewritten too, and a program has those flags that it
//! has alone. `multicall/rewrite.go`, which uses Go's own parser and is compiled by the go that compiles the source, says it
//! in detail.
//!
//! # What can't be one program
//!
//! Commands below an `internal` folder that is not the source's own; a Go before 1.16, which knows no `-overlay`. Such is
//! [`GoError::NotOne`], or an error of the compiler. A program that starts itself again by the path of its file
//! (`/proc/self/exe`) needs to hand its name on as its first argument.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fs_err as fs;

use crate::compile::{Compiled, Goal, Job, environment, go, prepare};
use crate::error::GoError;
use crate::run;
use crate::version::GoVersion;

/// The version of what this module does: another one may give other bytes for the same commands.
pub const FORMAT: u32 = 1;

const REWRITE: &str = include_str!("multicall/rewrite.go");
const DISPATCH: &str = include_str!("multicall/dispatch.go");

/// The folder, in the source, of the package that is generated. It is there only for go.
const FOLDER: &str = "kimg_multicall";

/// A line of what go says of a package begins with this.
const LISTED: &str = "kimg\t";

/// Compiles all commands of a job as one program called `name`, whose bytes follow from the job and the order of its
/// commands.
///
/// # Errors
/// As [`compile`](crate::compile()); and the commands can't be one program.
pub fn compile_as_one(job: &Job<'_>, name: &str) -> Result<Compiled, GoError> {
    let start = Instant::now();
    if job.go.version < GoVersion::new(1, 16, 0) {
        return Err(not_one(job, format!("{} knows no -overlay, which 1.16 brought", job.go.text)));
    }
    let out = prepare(job)?;
    let packages = listed(job)?;
    let kinds = kinds(job, &packages)?;
    let folder = tempfile::Builder::new().prefix("rewritten-").tempdir_in(job.work);
    let folder = folder.map_err(writing())?;
    let mut replaced = rewritten(job, &kinds, folder.path())?;
    let own = job.source.root.join(FOLDER);
    if own.exists() {
        return Err(not_one(job, format!("its folder {FOLDER} is in the way")));
    }
    let dispatch = folder.path().join("dispatch.go");
    fs::write(&dispatch, dispatching(&packages)).map_err(writing())?;
    replaced.insert(own.join("main.go"), dispatch);
    let overlay = folder.path().join("overlay.json");
    let words = serde_json::json!({ "Replace": replaced });
    fs::write(&overlay, words.to_string()).map_err(writing())?;

    let goal = Goal {
        packages: vec![format!("./{FOLDER}")],
        target: out.path().join(name),
        overlay: Some(overlay),
        mains: packages.into_iter().map(|package| package.import).collect(),
    };
    go(job, &goal.arguments(job), job.limit.saturating_sub(start.elapsed()))?;
    Ok(Compiled::new(job, out, start))
}

/// A command's package, as go knows it.
#[derive(Debug)]
struct Listed<'a> {
    /// What the program is called.
    name: &'a str,
    folder: PathBuf,
    import: String,
    /// It, and all that it imports, with what those import.
    holds: BTreeSet<String>,
}

/// What is rewritten in a package.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Main,
    Flag,
    Pflag,
}

/// The packages of the commands.
fn listed<'a>(job: &Job<'a>) -> Result<Vec<Listed<'a>>, GoError> {
    let packages: Vec<String> = job.commands.iter().map(crate::compile::package).collect();
    let mut listed = go_list(job, &packages)?;
    let root = fs::canonicalize(&job.source.root).map_err(GoError::disk("reading a source"))?;
    let find = |command: &'a crate::Command| {
        let folder = if command.package == "." { root.clone() } else { root.join(&command.package) };
        let found = listed.remove(&folder);
        let (import, mut holds) =
            found.ok_or_else(|| not_one(job, format!("go does not list {}", command.package)))?;
        holds.insert(import.clone());
        Ok(Listed { name: &command.name, folder, import, holds })
    };
    job.commands.iter().map(find).collect()
}

/// The folders of packages that are rewritten, and what each is.
fn kinds(job: &Job<'_>, packages: &[Listed<'_>]) -> Result<Vec<(Kind, PathBuf)>, GoError> {
    let is_pflag = |import: &&String| import.ends_with("github.com/spf13/pflag");
    let pflags: BTreeSet<&String> = packages.iter().flat_map(|it| &it.holds).filter(is_pflag).collect();
    let wanted: Vec<String> = std::iter::once("flag".to_owned()).chain(pflags.into_iter().cloned()).collect();
    let of_flags = go_list(job, &wanted)?.into_iter().map(|(folder, (import, _))| match import.as_str() {
        "flag" => (Kind::Flag, folder),
        _ => (Kind::Pflag, folder),
    });
    let mains = packages.iter().map(|package| (Kind::Main, package.folder.clone()));
    Ok(mains.chain(of_flags).collect())
}

/// Asks go for packages: by their folders, under which path each is imported (a source may hold several modules), and what
/// it needs.
fn go_list(
    job: &Job<'_>,
    packages: &[String],
) -> Result<BTreeMap<PathBuf, (String, BTreeSet<String>)>, GoError> {
    let format =
        format!("{LISTED}{{{{.Dir}}}}\t{{{{.ImportPath}}}}\t{{{{range .Deps}}}}{{{{.}}}} {{{{end}}}}");
    let mut arguments = vec!["list".into(), "-f".into(), format];
    if !job.recipe.tags.is_empty() {
        arguments.push(format!("-tags={}", job.recipe.tags.join(",")));
    }
    arguments.extend(packages.iter().cloned());
    go(job, &arguments, job.limit)?;
    let said = fs::read_to_string(job.log).map_err(GoError::disk("reading what go lists"))?;
    let parsed = said.lines().filter_map(|line| {
        let mut parts = line.strip_prefix(LISTED)?.split('\t');
        let (folder, import, needs) = (parts.next()?, parts.next()?, parts.next()?);
        Some((folder.into(), (import.to_owned(), needs.split_whitespace().map(str::to_owned).collect())))
    });
    Ok(parsed.collect())
}

/// Writes what takes the place of the packages' files into a folder; gives what takes which place.
fn rewritten(
    job: &Job<'_>,
    packages: &[(Kind, PathBuf)],
    folder: &Path,
) -> Result<BTreeMap<PathBuf, PathBuf>, GoError> {
    let (source, program) = (folder.join("rewrite.go"), folder.join("rewrite"));
    fs::write(&source, REWRITE).map_err(writing())?;
    // It runs on this machine, and is compiled for it.
    let here = ["GOOS", "GOARCH", "GOARM", "GOFLAGS", "GOWORK", "GOPATH", "GO111MODULE", "CGO_ENABLED"];
    let mut environment = environment(job)?;
    environment.retain(|(name, _)| !here.iter().any(|own| name == own));
    environment.extend([("GO111MODULE".into(), "off".into()), ("CGO_ENABLED".into(), "0".into())]);
    let path = |path: &Path| path.display().to_string();
    let arguments = ["build".into(), "-o".into(), path(&program), path(&source)];
    let mut command = run::command(&job.go.path, &arguments);
    crate::compile::one_build(job, command.current_dir(folder).envs(environment), job.limit)?;

    let mut arguments = vec![path(folder)];
    arguments.extend(packages.iter().map(|(kind, folder)| {
        let kind = match kind {
            Kind::Main => "main",
            Kind::Flag => "flag",
            Kind::Pflag => "pflag",
        };
        format!("{kind}={}", folder.display())
    }));
    let mut command = run::command(&program, &arguments);
    let ended = run::run(command.current_dir(folder), job.limit, job.log).map_err(writing())?;
    if !ended.status.is_some_and(|status| status.success()) {
        // `path:line:column: why`
        let why = ended.last.last().cloned().unwrap_or_default();
        return Err(not_one(job, why.replace(&format!("{}/", job.source.root.display()), "")));
    }
    let said = fs::read_to_string(job.log).map_err(GoError::disk("reading what was rewritten"))?;
    let pairs = said.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs.map(|(file, by)| (file.into(), by.into())).collect())
}

/// The package that is generated.
fn dispatching(packages: &[Listed<'_>]) -> String {
    let (mut imports, mut programs) = (String::new(), String::new());
    let all: BTreeSet<&String> = packages.iter().flat_map(|package| &package.holds).collect();
    for (place, Listed { name, import, holds, .. }) in packages.iter().enumerate() {
        let lacks = all.iter().filter(|package| !holds.contains(**package));
        let lacks = lacks.fold("\n".to_owned(), |lacks, package| lacks + package + "\n");
        let _ = writeln!(imports, "\tp{place} {import:?}");
        let _ = writeln!(programs, "\t{{{name:?}, p{place}.KimgInit, p{place}.KimgMain, {lacks:?}}},");
    }
    DISPATCH.replacen("\t// imports\n", &imports, 1).replacen("\t// programs\n", &programs, 1)
}

fn not_one(job: &Job<'_>, why: String) -> GoError {
    GoError::NotOne { what: job.recipe.what.clone(), why }
}

fn writing() -> impl FnOnce(std::io::Error) -> GoError {
    GoError::disk("writing a work folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_its_import_its_name_and_what_it_lacks_in_what_is_generated() {
        let listed = |name, import: &str, needs: &[&str]| {
            let holds = needs.iter().chain([&import]).map(|it| (*it).to_owned()).collect();
            Listed { name, folder: PathBuf::new(), import: import.into(), holds }
        };
        let text = dispatching(&[
            listed("kubelet", "k8s.io/kubernetes/cmd/kubelet", &["flag", "example.org/glog"]),
            listed("a\"b", "example.org/x", &["flag"]),
        ]);
        for line in [
            "\tp0 \"k8s.io/kubernetes/cmd/kubelet\"\n\tp1 \"example.org/x\"\n)",
            "\t{\"kubelet\", p0.KimgInit, p0.KimgMain, \"\\nexample.org/x\\n\"},\n",
            "\t{\"a\\\"b\", p1.KimgInit, p1.KimgMain, \"\\nexample.org/glog\\nk8s.io/kubernetes/cmd/kubelet\\n\"},\n}",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("// imports") && !text.contains("// programs"), "{text}");
    }
}
