//! How a build is told while it runs: bars on a terminal, lines elsewhere, JSON for programs, or nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kimg_build::{Event, Events};

use crate::args::ProgressMode;
use crate::terminal;

/// In plain mode at least one line comes in this time.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Tells the events of a build on standard error.
pub(crate) struct Progress {
    mode: ProgressMode,
    state: Arc<(Mutex<State>, Condvar)>,
    bars: MultiProgress,
    bar: ProgressBar,
    /// One line for each file that is being fetched, by its address.
    files: Mutex<BTreeMap<String, ProgressBar>>,
    color: bool,
    heart: Option<std::thread::JoinHandle<()>>,
}

struct State {
    begun: Instant,
    stage_begun: Instant,
    last_line: Instant,
    /// What is being done, for the heartbeat: "packing", with how much of it is done.
    doing: Option<(&'static str, usize, usize)>,
    ended: bool,
}

impl Progress {
    pub(crate) fn new(mode: ProgressMode) -> Self {
        let now = Instant::now();
        let state = State { begun: now, stage_begun: now, last_line: now, doing: None, ended: false };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let bars = MultiProgress::with_draw_target(match mode {
            ProgressMode::Tty => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::hidden(),
        });
        let bar = bars.add(ProgressBar::new(0));
        if mode == ProgressMode::Tty {
            // What is being done comes last: it is cut where the terminal ends.
            if let Ok(style) = ProgressStyle::with_template(
                "   {prefix:<12} {bar:24.cyan} {pos}/{len}  {elapsed}  {wide_msg}",
            ) {
                bar.set_style(style);
            }
        }
        let heart = (mode == ProgressMode::Plain).then(|| {
            let state = Arc::clone(&state);
            std::thread::spawn(move || beat(&state))
        });
        let files = Mutex::default();
        Self { mode, state, bars, bar, files, color: terminal::color_on_stderr(), heart }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One stage is done: ` ✓ Fetch    71 files …   12.4 s`.
    fn done(&self, stage: &str, text: &str) {
        let seconds = self.with(|state| {
            let seconds = state.stage_begun.elapsed().as_secs_f32();
            state.stage_begun = Instant::now();
            state.last_line = Instant::now();
            state.doing = None;
            seconds
        });
        let mark = if self.color { "\x1b[32m✓\x1b[0m" } else { "✓" };
        let time = if seconds < 0.05 { String::new() } else { format!("{seconds:>7.1} s") };
        self.line(&format!(" {mark} {stage:<8} {text:<74}{time}"));
    }

    fn warned(&self, message: &str) {
        let mark = if self.color { "\x1b[33m!\x1b[0m" } else { "!" };
        self.line(&format!(" {mark} {message}"));
    }

    fn line(&self, text: &str) {
        match self.mode {
            ProgressMode::Tty => self.bars.suspend(|| eprintln!("{}", text.trim_end())),
            _ => eprintln!("{}", text.trim_end()),
        }
    }

    fn start(&self, doing: &'static str, all: usize) {
        self.with(|state| state.doing = Some((doing, 0, all)));
        if self.mode == ProgressMode::Tty && all > 0 {
            self.bar.set_prefix(doing);
            self.bar.set_message("");
            self.bar.set_length(all as u64);
            self.bar.set_position(0);
            self.bar.enable_steady_tick(Duration::from_millis(120));
        }
    }

    fn step(&self, what: &str) {
        self.with(|state| {
            if let Some((_, done, _)) = &mut state.doing {
                *done += 1;
            }
        });
        if self.mode == ProgressMode::Tty {
            self.bar.inc(1);
            self.bar.set_message(what.to_owned());
        }
    }

    /// A line for a file while it comes: ` kubelet-1.34.2-r0.apk  ███░░  12.1 MB of 21.8 MB  3.2 MB/s`.
    fn transfer(&self, url: &str, done: u64, total: Option<u64>) {
        if self.mode != ProgressMode::Tty {
            return;
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if total == Some(done) {
            if let Some(bar) = files.remove(url) {
                bar.finish_and_clear();
                self.bars.remove(&bar);
            }
            return;
        }
        if done == 0 && total.is_none() {
            // A bar of nothing would be drawn full.
            return;
        }
        let bar = files.entry(url.to_owned()).or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template(
                "     {msg:32!} {bar:16.cyan} {decimal_bytes:>9} of {decimal_total_bytes:9}  {decimal_bytes_per_sec}",
            ) {
                bar.set_style(style);
            }
            bar.set_message(url.rsplit('/').next().unwrap_or(url).to_owned());
            bar
        });
        bar.set_length(total.unwrap_or(done));
        bar.set_position(done);
    }

    fn forget_transfers(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, bar) in std::mem::take(&mut *files) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    /// One stage is done.
    pub(crate) fn stage_done(&self, stage: &str, text: &str) {
        if self.is_told() {
            self.bar.finish_and_clear();
            self.done(stage, text);
        }
    }

    /// A line that stands for itself.
    pub(crate) fn say(&self, text: &str) {
        if self.is_told() {
            self.line(text);
        }
    }

    /// A line about a step, where no bar shows it.
    pub(crate) fn detail(&self, text: &str) {
        if self.mode == ProgressMode::Plain {
            self.with(|state| state.last_line = Instant::now());
            self.line(&format!("   {text}"));
        }
    }

    /// So many of these are about to be done.
    pub(crate) fn begin(&self, what: &'static str, count: usize) {
        if self.is_told() {
            self.start(what, count);
        }
    }

    /// One of them is.
    pub(crate) fn one_more(&self, what: &str) {
        if self.is_told() {
            self.step(what);
        }
    }

    /// How far the bytes of one of them are.
    pub(crate) fn moved(&self, what: &str, done: u64, size: u64) {
        if self.is_told() {
            self.transfer(what, done, Some(size));
        }
    }

    /// Whether it is told in JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.mode == ProgressMode::Json
    }

    /// One JSON object for an event, on a line.
    pub(crate) fn json_line(&self, event: &impl serde::Serialize) {
        let seconds = self.with(|state| state.begun.elapsed().as_secs_f32());
        // Standard error is not buffered: a line is one write.
        let line = serde_json::json!({ "seconds": seconds, "event": event }).to_string();
        eprintln!("{line}");
    }

    fn is_told(&self) -> bool {
        !matches!(self.mode, ProgressMode::Quiet | ProgressMode::Json)
    }

    fn told(&self, event: &Event) {
        match event {
            Event::Warned { message } => self.warned(message),
            Event::Transfer { url, done, total } => self.transfer(url, *done, *total),
            Event::Resolved { images, packages, platforms, kubernetes, alpine } => {
                let mut text = format!(
                    "{packages} packages for {images} {} on {platforms} {} · Kubernetes {}",
                    plural(*images, "image", "images"),
                    plural(*platforms, "platform", "platforms"),
                    kubernetes.join(", "),
                );
                if let Some(branch) = alpine {
                    text = format!("{text} · Alpine {branch}");
                }
                self.done("Resolve", &text);
            }
            Event::Fetching { files, .. } => self.start("fetching", *files),
            Event::FetchedPackage { id, .. } => self.step(id),
            Event::Fetched { files, bytes, from_cache } => {
                self.forget_transfers();
                let size = kimg_report::size(*bytes);
                self.done(
                    "Fetch",
                    &format!(
                        "{files} files, {size} ({from_cache} unpacked before), signatures and checksums good"
                    ),
                );
            }
            Event::Compiling { what, platform, programs } => {
                self.forget_transfers();
                self.start("compiling", programs.len());
                tracing::info!("{what} for {platform}: compiling {}", programs.join(", "));
            }
            Event::Compiled { what, platform, programs, toolchain, seconds } => {
                let count = format!("{programs} {}", plural(*programs, "program", "programs"));
                let how = if seconds.is_some() { "with" } else { "compiled before with" };
                self.bar.finish_and_clear();
                self.done("Compile", &format!("{count} of {what} for {platform}, {how} {toolchain}"));
            }
            Event::Joined(joined) if joined.size.is_none() => self.warned(&joined.to_string()),
            Event::Joined(joined) => self.done("Join", &joined.to_string()),
            Event::Selected { variant, platform, files, left_out } => {
                tracing::info!("{variant} for {platform}: {files} paths, {left_out} files left out");
            }
            Event::Packing { programs } => self.start("packing", *programs),
            Event::PackedProgram { program, outcome, .. } => {
                self.step(program);
                tracing::info!("{program}: {outcome}");
            }
            Event::Compressing { layers, .. } => {
                if self.with(|state| state.doing.is_some_and(|(doing, _, all)| doing == "packing" && all > 0))
                {
                    self.done("Pack", "symbols off, and programs that are no daemons packed");
                }
                self.start("compressing", *layers);
            }
            Event::CompressedLayer { layer, from_cache, .. } => {
                if !from_cache {
                    self.step(layer);
                }
            }
            Event::TakenOver { what, bytes, cache } => {
                tracing::info!("{what}: {} out of {cache}", kimg_report::size(*bytes));
            }
            Event::Built { images, indexes } => {
                let text = format!(
                    "{images} {}, {indexes} {}",
                    plural(*images, "image", "images"),
                    plural(*indexes, "index", "indexes"),
                );
                self.bar.finish_and_clear();
                self.done("Built", &text);
            }
            Event::WritingFiles { form, files } => {
                tracing::info!("{form}: {files} {}", plural(*files, "file", "files"));
                self.start("writing", *files);
            }
            Event::Written { destination } => self.done("Written", destination),
        }
    }
}

impl Events for Progress {
    fn event(&self, event: &Event) {
        match self.mode {
            ProgressMode::Quiet => {}
            ProgressMode::Json => self.json_line(event),
            _ => self.told(event),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.forget_transfers();
        self.bar.finish_and_clear();
        self.with(|state| state.ended = true);
        self.state.1.notify_all();
        if let Some(heart) = self.heart.take() {
            let _ = heart.join();
        }
    }
}

fn beat(state: &(Mutex<State>, Condvar)) {
    let mut guard = state.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !guard.ended {
        let (next, _) =
            state.1.wait_timeout(guard, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner);
        guard = next;
        if !guard.ended && guard.last_line.elapsed() >= HEARTBEAT {
            guard.last_line = Instant::now();
            let seconds = guard.stage_begun.elapsed().as_secs();
            match guard.doing {
                Some((doing, done, all)) => eprintln!("   {doing}: {done} of {all}, {seconds} s"),
                None => eprintln!("   working, {seconds} s"),
            }
        }
    }
}

fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}
