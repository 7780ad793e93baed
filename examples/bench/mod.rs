//! What the benchmarks share: kimg's own program, runs measured by `time`, and the files of images, each once.

#![allow(dead_code, reason = "each benchmark takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use kimg_core::{Digest, Platform};
use kimg_testkit::{Layout, Real, TempDir};

/// Where things lie: one folder under `target/`, which goes when this is dropped.
pub(crate) struct Bench {
    /// The real packages.
    pub(crate) real: Real,
    /// The program beside this one.
    pub(crate) kimg: PathBuf,
    folder: TempDir,
}

/// What `time` says of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    /// Seconds on the clock.
    pub(crate) wall: f64,
    /// Seconds of processors, in the program and in the system.
    pub(crate) processor: f64,
    /// The largest resident set of one process, in MiB.
    pub(crate) peak: f64,
}

/// A build by kimg.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) times: Times,
    pub(crate) layout: Layout,
    /// What `--progress json` told.
    pub(crate) story: String,
}

/// A build that is wanted of kimg.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// The name of its cache: the same name is the same cache.
    pub(crate) cache: &'a str,
    /// Flags behind the others.
    pub(crate) flags: Vec<String>,
    /// Repositories in front of the real one, and their keys.
    pub(crate) in_front: &'a [(PathBuf, PathBuf)],
    /// `PATH`, where it is not this process's.
    pub(crate) search_path: Option<String>,
}

impl Bench {
    /// `None` after a visible skip: without real packages or one of the tools there is nothing to measure.
    pub(crate) fn new(tools: &[&str]) -> Result<Option<Self>> {
        let Some(real) = kimg_testkit::real() else { return Ok(None) };
        if ["time", "tar"].iter().chain(tools).any(|tool| kimg_testkit::tool(tool).is_none()) {
            return Ok(None);
        }
        let own = std::env::current_exe()?;
        let kimg = own.ancestors().nth(2).map(|profile| profile.join("kimg")).unwrap_or_default();
        if !kimg.is_file() {
            bail!("{} is not there: cargo build --release --bin kimg", kimg.display());
        }
        // Under target/: /tmp may be memory, and small.
        let folder = TempDir::new_in(kimg_testkit::workspace().join("target"))?;
        Ok(Some(Self { real, kimg, folder }))
    }

    /// A place for something of this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Builds from the real packages into a layout of this name, with a lock of this name.
    pub(crate) fn build(&self, name: &str, wanted: &Wanted<'_>) -> Result<Run> {
        let out = self.path(&format!("{name}-out"));
        let mut command = self.timed(&self.kimg);
        command.arg("build");
        for (repository, key) in wanted.in_front {
            command.arg("-r").arg(repository).arg("-k").arg(key);
        }
        command.arg("-r").arg(self.real.repo()).arg("-k").arg(self.real.keys());
        command.arg("--cache-dir").arg(self.path(wanted.cache));
        command.arg("--lock").arg(self.path(&format!("{name}.lock")));
        command.arg("-o").arg(format!("type=oci,dest={}", out.display()));
        command.args(["--progress", "json", "--format", "json"]).args(&wanted.flags);
        if let Some(path) = &wanted.search_path {
            command.env("PATH", path);
        }
        let (times, story) = self.times(&mut command)?;
        Ok(Run { times, layout: Layout::open(out), story })
    }

    /// A command that starts `program` under `time`, in the folder of the benchmark. [`Bench::times`] runs it.
    pub(crate) fn timed(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("time");
        command.args(["-f", "%e %U %S %M", "-o"]).arg(self.path("times")).arg(program);
        command.current_dir(self.folder.path());
        command
    }

    /// Runs such a command to its end; gives what `time` says and what the program wrote to standard error.
    pub(crate) fn times(&self, timed: &mut Command) -> Result<(Times, String)> {
        let output = timed.output()?;
        let story = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("{timed:?}: {}\n{story}", output.status);
        }
        let written = fs_err::read_to_string(self.path("times"))?;
        let times = Times::read(written.lines().last().unwrap_or_default())?;
        Ok((times, story))
    }

    /// Removes what was made under a name: an output with its lock, a cache, a folder.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        for file in [name.to_owned(), format!("{name}-out"), format!("{name}.lock")] {
            let path = self.path(&file);
            if path.is_dir() {
                fs_err::remove_dir_all(path)?;
            } else if path.exists() {
                fs_err::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// A stand-in for UPX that takes the time of each run: a `PATH` that begins with it, and the file it writes to.
    pub(crate) fn timed_upx(&self, name: &str) -> Result<(String, PathBuf)> {
        let Some(upx) = kimg_testkit::tool("upx") else { bail!("no UPX, no packing") };
        let time = kimg_testkit::tool("time").context("time is not installed")?;
        let (folder, log) = (self.path(&format!("{name}-bin")), self.path(&format!("{name}-upx-times")));
        fs_err::create_dir(&folder)?;
        let stand_in = format!(
            "#!/bin/sh\nexec {} -a -o {} -f '%e %U %S %M' {} \"$@\"\n",
            time.display(),
            log.display(),
            upx.display()
        );
        fs_err::write(folder.join("upx"), stand_in)?;
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(folder.join("upx"), executable)?;
        Ok((format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()), log))
    }

    /// Unpacks layers, each once, into a folder of this name.
    pub(crate) fn unpack(&self, name: &str, layout: &Layout) -> Result<BTreeMap<Digest, PathBuf>> {
        let mut folders = BTreeMap::new();
        for layer in layers(layout) {
            let folder = self.path(name).join(layer.hex());
            fs_err::create_dir_all(&folder)?;
            let mut tar = Command::new("tar");
            kimg_testkit::run(tar.arg("-xmzf").arg(layout.blob(layer)).arg("-C").arg(&folder));
            folders.insert(layer, folder);
        }
        Ok(folders)
    }
}

impl Times {
    /// A line that `time` wrote: wall, user and system seconds, and the peak in KiB.
    fn read(line: &str) -> Result<Self> {
        let parsed: Vec<f64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
        let [wall, user, system, peak] = parsed[..] else { bail!("`{line}` is no line of figures") };
        Ok(Self { wall, processor: user + system, peak: peak / 1024.0 })
    }

    /// Every line that a stand-in wrote.
    pub(crate) fn read_all(log: &Path) -> Result<Vec<Self>> {
        if !log.exists() {
            return Ok(Vec::new());
        }
        fs_err::read_to_string(log)?.lines().map(Self::read).collect()
    }

    /// One after the other.
    pub(crate) fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, next| Self {
            wall: sum.wall + next.wall,
            processor: sum.processor + next.processor,
            peak: sum.peak.max(next.peak),
        })
    }
}

/// The layers of all images of a layout, each once.
pub(crate) fn layers(layout: &Layout) -> BTreeSet<Digest> {
    images(layout).into_values().flatten().collect()
}

/// The layers of each image, bottom first, by its variant and platform.
pub(crate) fn images(layout: &Layout) -> BTreeMap<(String, Platform), Vec<Digest>> {
    let mut images = BTreeMap::new();
    for (_, index) in layout.names() {
        for platform in Platform::DEFAULT {
            let Some(manifest) = layout.manifest(index, platform) else { continue };
            let label = &layout.config(manifest)["config"]["Labels"]["io.kimg.variant"];
            let variant = label.as_str().unwrap_or_default().to_owned();
            images.entry((variant, platform)).or_insert_with(|| layout.layers(manifest));
        }
    }
    images
}

/// The regular files below folders, those with the same bytes once; and their bytes.
pub(crate) fn unique_files<'a>(
    folders: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(Vec<PathBuf>, u64)> {
    let (mut seen, mut files, mut bytes) = (BTreeSet::new(), Vec::new(), 0);
    let mut folders: Vec<PathBuf> = folders.into_iter().cloned().collect();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let content = fs_err::read(entry.path())?;
                if seen.insert(Digest::of(&content)) {
                    bytes += content.len() as u64;
                    files.push(entry.path());
                }
            }
        }
    }
    Ok((files, bytes))
}

/// Megabytes.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
