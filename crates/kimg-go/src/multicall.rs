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
//! started. Everything else is compiled as before. What packages that are *imported* do before any main runs, they do
//! for each of the programs, as if it imported them itself. `multicall/rewrite.go`, which uses Go's own parser and is compiled by
//! the go that compiles the source, says it in detail.
//!
//! # What can't be one program
//!
//! Commands whose variables register flags; commands below an `internal` folder that is not the source's own;
//! a Go before 1.16, which knows no `-overlay`. All of that is [`GoError::NotOne`], or an error of the compiler. A
//! program that starts itself again by the path of its file (`/proc/self/exe`) needs to hand its name on as its first argument.

use std::collections::BTreeMap;
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
    let folder = tempfile::Builder::new().prefix("rewritten-").tempdir_in(job.work);
    let folder = folder.map_err(writing())?;
    let mut replaced = rewritten(job, &packages, folder.path())?;
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
}

/// Asks go under which path the packages are imported: a source may hold several modules.
fn listed<'a>(job: &Job<'a>) -> Result<Vec<Listed<'a>>, GoError> {
    let mut arguments =
        vec!["list".into(), "-f".into(), format!("{LISTED}{{{{.Dir}}}}\t{{{{.ImportPath}}}}")];
    if !job.recipe.tags.is_empty() {
        arguments.push(format!("-tags={}", job.recipe.tags.join(",")));
    }
    arguments.extend(job.commands.iter().map(crate::compile::package));
    go(job, &arguments, job.limit)?;
    let said = fs::read_to_string(job.log).map_err(GoError::disk("reading what go lists"))?;
    let lines = said.lines().filter_map(|line| line.strip_prefix(LISTED)?.split_once('\t'));
    let imports: BTreeMap<&Path, &str> = lines.map(|(folder, import)| (Path::new(folder), import)).collect();
    let root = fs::canonicalize(&job.source.root).map_err(GoError::disk("reading a source"))?;
    let find = |command: &'a crate::Command| {
        let folder = if command.package == "." { root.clone() } else { root.join(&command.package) };
        let import = imports.get(&*folder).map(|import| (*import).to_owned());
        let import = import.ok_or_else(|| not_one(job, format!("go does not list {}", command.package)))?;
        Ok(Listed { name: &command.name, folder, import })
    };
    job.commands.iter().map(find).collect()
}

/// Writes what takes the place of the packages' files into a folder; gives what takes which place.
fn rewritten(
    job: &Job<'_>,
    packages: &[Listed<'_>],
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
    arguments.extend(packages.iter().map(|package| path(&package.folder)));
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
    for (place, Listed { name, import, .. }) in packages.iter().enumerate() {
        let _ = writeln!(imports, "\tp{place} {import:?}");
        let _ = writeln!(programs, "\t{{{name:?}, p{place}.KimgInit, p{place}.KimgMain}},");
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
    fn each_program_has_its_import_and_its_name_in_what_is_generated() {
        let listed = |name, import: &str| Listed { name, folder: PathBuf::new(), import: import.into() };
        let text = dispatching(&[
            listed("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            listed("a\"b", "example.org/x"),
        ]);
        for line in [
            "\tp0 \"k8s.io/kubernetes/cmd/kubelet\"\n\tp1 \"example.org/x\"\n)",
            "\t{\"kubelet\", p0.KimgInit, p0.KimgMain},\n\t{\"a\\\"b\", p1.KimgInit, p1.KimgMain},\n}",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("// imports") && !text.contains("// programs"), "{text}");
    }
}
