//! The build: one `go build` for all commands of a platform, in private folders.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::{Duration, Instant};

use fs_err as fs;
use kimg_core::Platform;
use tempfile::TempDir;

use crate::error::GoError;
use crate::recipe::{Command, Layout, Link, Modules, Recipe, Target as _};
use crate::run::{self, Ended};
use crate::source::{Facts, Unpacked};
use crate::toolchain::{Go, Zig};
use crate::version::GoVersion;

/// The version of what this module does: another one may give other bytes for the same recipe.
pub const FORMAT: u32 = 1;

/// One platform's programs to be compiled.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// What to build, and how.
    pub recipe: &'a Recipe,
    /// Those commands of it that are wanted.
    pub commands: &'a [Command],
    /// The source, as [`Source::unpack`](crate::Source::unpack) laid it out.
    pub source: &'a Unpacked,
    /// What it says of itself.
    pub facts: &'a Facts,
    /// For which platform.
    pub platform: Platform,
    /// The compiler.
    pub go: &'a Go,
    /// The C compiler, if the recipe has C in it.
    pub zig: Option<&'a Zig>,
    /// Folders with packages that the source does not hold: further parts of `GOPATH`.
    pub gopath: &'a [PathBuf],
    /// A private folder: for the result, and for the caches of go and zig, which the builds of a run share.
    pub work: &'a Path,
    /// The log, which stays when the build fails.
    pub log: &'a Path,
    /// After so long it is ended.
    pub limit: Duration,
}

/// Programs that were compiled, in a folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Compiled {
    folder: TempDir,
    /// How long it took.
    pub time: Duration,
}

impl Compiled {
    /// Puts down that a job is done. A log of a build that went well says nothing.
    pub(crate) fn new(job: &Job<'_>, folder: TempDir, start: Instant) -> Self {
        let _ = fs::remove_file(job.log);
        Self { folder, time: start.elapsed() }
    }

    /// Where a program lies, by its name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Compiles.
///
/// # Errors
/// The compiler says no or takes too long, or the disk is full; the log is then where the job says. A recipe with C
/// in it and no zig.
pub fn compile(job: &Job<'_>) -> Result<Compiled, GoError> {
    let start = Instant::now();
    let out = prepare(job)?;
    for group in groups(job.commands) {
        let target = match group {
            [one] => out.path().join(&one.name),
            _ => out.path().join(""),
        };
        let packages = group.iter().map(package).collect();
        let goal = Goal { packages, target, overlay: None, mains: vec!["main".into()] };
        go(job, &goal.arguments(job), job.limit.saturating_sub(start.elapsed()))?;
    }
    for command in job.commands {
        let program = out.path().join(&command.name);
        if !program.is_file() {
            let why = format!("`{}` is no command: nothing was built from it", command.package);
            return Err(GoError::Source { what: job.recipe.what.clone(), why });
        }
    }
    Ok(Compiled::new(job, out, start))
}

/// Makes the folders of a job, and one for its programs.
pub(crate) fn prepare(job: &Job<'_>) -> Result<TempDir, GoError> {
    for folder in ["home", "tmp"] {
        let folder = job.work.join(folder);
        fs::create_dir_all(&folder).map_err(GoError::disk("making a work folder"))?;
    }
    let out = tempfile::Builder::new().prefix("programs-").tempdir_in(job.work);
    out.map_err(GoError::disk("making a work folder"))
}

/// Runs go in the source.
pub(crate) fn go(job: &Job<'_>, arguments: &[String], limit: Duration) -> Result<(), GoError> {
    let mut command = run::command(&job.go.path, arguments);
    one_build(job, command.current_dir(&job.source.root).envs(environment(job)?), limit)
}

/// A command's package, as go takes it.
pub(crate) fn package(command: &Command) -> String {
    match command.package.as_str() {
        "." => ".".to_owned(),
        package => format!("./{package}"),
    }
}

pub(crate) fn one_build(job: &Job<'_>, command: &mut Process, limit: Duration) -> Result<(), GoError> {
    let what = job.recipe.what.clone();
    let Ended { status, last, .. } = run::run(command, limit, job.log)
        .map_err(GoError::disk(format!("starting {}", job.go.path.display())))?;
    let (platform, log) = (job.platform, job.log.to_owned());
    match status {
        None => Err(GoError::TimeLimit { what, platform, limit: job.limit, log }),
        Some(status) if status.success() => Ok(()),
        Some(_) if last.iter().any(|line| says_full(line)) => {
            Err(GoError::DiskFull { what, platform, folder: job.work.to_owned() })
        }
        Some(_) if last.iter().any(|line| line.contains(NOT_FETCHED)) => Err(GoError::NotVendored { what }),
        Some(status) => Err(GoError::Failed {
            what,
            platform,
            ending: status.to_string().replace("exit status:", "exit code"),
            last,
            log,
        }),
    }
}

/// What go says of a module that it would have to fetch.
const NOT_FETCHED: &str = "module lookup disabled by GOPROXY=off";

/// As the kernel's word for it comes out of go, and zig's own.
fn says_full(line: &str) -> bool {
    ["no space left on device", "NoSpaceLeft", "disk quota exceeded"].iter().any(|word| line.contains(word))
}

/// Commands that one `go build` can make, each under its own name: go names a program after the last part of its
/// package when it is given a folder.
fn groups(commands: &[Command]) -> Vec<&[Command]> {
    let named = |command: &Command| command.package.rsplit('/').next() == Some(&*command.name);
    if commands.iter().all(named) { vec![commands] } else { commands.chunks(1).collect() }
}

/// What one `go build` makes.
#[derive(Debug)]
pub(crate) struct Goal {
    /// The packages, as go takes them.
    pub(crate) packages: Vec<String>,
    /// A program, or a folder of them.
    pub(crate) target: PathBuf,
    /// Which files are read in place of the source's.
    pub(crate) overlay: Option<PathBuf>,
    /// The packages that `main` stands for in the name of a variable.
    pub(crate) mains: Vec<String>,
}

impl Goal {
    pub(crate) fn arguments(&self, job: &Job<'_>) -> Vec<String> {
        let Recipe { tags, cgo, link, .. } = job.recipe;
        let mut arguments = vec!["build".to_owned(), "-trimpath".to_owned()];
        // Older ones ask git nothing.
        if job.go.version >= GoVersion::new(1, 18, 0) {
            arguments.push("-buildvcs=false".to_owned());
        }
        if let Some(overlay) = &self.overlay {
            arguments.push(format!("-overlay={}", overlay.display()));
        }
        if !tags.is_empty() {
            arguments.push(format!("-tags={}", tags.join(",")));
        }
        let mut flags = vec!["-s".to_owned(), "-w".to_owned(), "-buildid=".to_owned()];
        for (name, value) in &job.recipe.variables {
            flags.extend(self.names_of(job, name).iter().map(|name| format!("-X '{name}={value}'")));
        }
        if *cgo {
            // What is said last wins: zig links musl statically unless it is told otherwise.
            let link = match link {
                Link::Dynamic => "-dynamic",
                Link::Static => "-static",
            };
            flags.push(format!("-linkmode external -extldflags '{link} -Wl,--build-id=none'"));
        }
        arguments.push(format!("-ldflags={}", flags.join(" ")));
        arguments.extend(["-o".to_owned(), self.target.display().to_string()]);
        arguments.extend(self.packages.iter().cloned());
        arguments
    }

    /// The names that the linker knows a variable by: in a `GOPATH`, what is vendored has its folder in its name. One
    /// that is not there is passed over by the linker.
    fn names_of(&self, job: &Job<'_>, name: &str) -> Vec<String> {
        let module = job.facts.module.as_deref().unwrap_or_default();
        if let Some(variable) = name.strip_prefix("main.") {
            return self.mains.iter().map(|main| format!("{main}.{variable}")).collect();
        }
        let mut names = vec![name.replace("{module}", module)];
        if let Layout::Gopath(import) = &job.recipe.layout {
            let import = import.as_deref().unwrap_or(module);
            names.push(format!("{import}/vendor/{}", names[0]));
        }
        names
    }
}

pub(crate) fn environment(job: &Job<'_>) -> Result<Vec<(OsString, OsString)>, GoError> {
    let mut all: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &str, value: &OsStr| all.push((name.into(), value.into()));
    let work = |name: &str| job.work.join(name).into_os_string();
    let text = |value: &str| OsString::from(value);

    set("HOME", &work("home"));
    set("TMPDIR", &work("tmp"));
    set("PATH", &text("/usr/bin:/bin"));
    set("LC_ALL", &text("C"));
    set("SOURCE_DATE_EPOCH", &text("0"));
    set("GOOS", &text("linux"));
    set("GOARCH", &text(job.platform.goarch()));
    if let Some(goarm) = job.platform.goarm() {
        set("GOARM", &text(goarm));
    }
    set("GOENV", &text("off"));
    set("GOTOOLCHAIN", &text("local"));
    set("GOTELEMETRY", &text("off"));
    set("GOCACHE", &work("go-cache"));
    set("GOMODCACHE", &work("go-modules"));
    match &job.recipe.layout {
        Layout::Modules => {
            set("GO111MODULE", &text("on"));
            set("GOPATH", &work("home/go"));
            set("GOWORK", if job.facts.workspace { OsStr::new("") } else { OsStr::new("off") });
            // What is vendored is taken from there; what was downloaded can be removed again.
            set(
                "GOFLAGS",
                &text(if job.facts.vendored { "-mod=vendor" } else { "-mod=readonly -modcacherw" }),
            );
        }
        Layout::Gopath(_) => {
            set("GO111MODULE", &text("off"));
            let own = job.source.folder.path().join("gopath");
            let paths = std::iter::once(own).chain(job.gopath.iter().cloned());
            let joined = std::env::join_paths(paths).map_err(|error| GoError::Source {
                what: job.recipe.what.clone(),
                why: format!("a folder of its gopath can't be named in a list of paths: {error}"),
            })?;
            set("GOPATH", &joined);
        }
    }
    match job.recipe.modules {
        Modules::Vendored => set("GOPROXY", &text("off")),
        Modules::Download => {
            // As the user's go would: by way of the same proxies.
            for name in DOWNLOADING {
                if let Some(value) = std::env::var_os(name) {
                    set(name, &value);
                }
            }
        }
    }
    if job.recipe.cgo {
        let zig = job.zig.ok_or_else(|| GoError::NoZig {
            what: job.recipe.what.clone(),
            looked: "what was found".into(),
        })?;
        let mut compiler = vec![zig.path.display().to_string(), "cc".into()];
        compiler.extend(["-target".into(), job.platform.zig().into()]);
        if job.platform == Platform::ArmV6 {
            compiler.push("-mcpu=arm1176jzf_s".into());
        }
        // `__FILE__` in C parts. Not in CGO_CFLAGS, which go writes into the program.
        compiler.push(format!("-ffile-prefix-map={}=/source", job.source.folder.path().display()));
        set("CGO_ENABLED", &text("1"));
        set("CC", &text(&one_line(&compiler, &job.recipe.what)?));
        set("CGO_CFLAGS", &text("-O2 -g0"));
        // cgo links each package with C in it for a look at its symbols. Unless that is dynamic, zig compiles all of musl
        // for it, which takes longer than the rest of a small program.
        set("CGO_LDFLAGS", &text(if job.recipe.link == Link::Dynamic { "-O2 -dynamic" } else { "-O2" }));
        set("ZIG_GLOBAL_CACHE_DIR", &work("zig-cache"));
        set("ZIG_LOCAL_CACHE_DIR", &work("zig-cache"));
    } else {
        set("CGO_ENABLED", &text("0"));
    }
    Ok(all)
}

/// A command with its arguments as go takes it in `CC`: quoted only where it has to be, which go before 1.18 did not know.
fn one_line(words: &[String], what: &str) -> Result<String, GoError> {
    let quoted = words.iter().map(|word| match word {
        word if word.contains(['"', '\'']) => {
            let why =
                format!("`{word}` can't be handed to go as part of a C compiler: there is a quote in it");
            Err(GoError::Source { what: what.to_owned(), why })
        }
        word if word.contains(char::is_whitespace) => Ok(format!("\"{word}\"")),
        word => Ok(word.clone()),
    });
    Ok(quoted.collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// What a download of modules is told by the environment.
const DOWNLOADING: [&str; 10] = [
    "GOPROXY",
    "GOSUMDB",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_built_at_once_where_go_gives_them_their_names() {
        let command = |name: &str, package: &str| Command { name: name.into(), package: package.into() };
        let plain = [command("kubelet", "cmd/kubelet"), command("kubeadm", "cmd/kubeadm")];
        assert_eq!(groups(&plain), [&plain[..]]);
        let other = [command("kubelet", "cmd/kubelet"), command("flannel", ".")];
        assert_eq!(groups(&other).len(), 2);
    }
}
