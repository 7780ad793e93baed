//! What comes with a program though no ELF header says so: rules as data, `rules/*.toml`.
//!
//! ```toml
//! [[rule]]
//! name = "resolver"                                # the name under which another file can replace it
//! program = ["mount.nfs*", "/usr/bin/showmount"]   # a file's own name, or with a slash its whole path
//! files = ["/etc/netconfig"]                       # paths; `*`, `**`, `?`, `[…]` and `{a,b}` as shells have them
//! loader = "glibc"                                 # only of programs that this loader starts: musl or glibc
//! required = false                                 # true: each of `files` must lead to at least one file
//! reason = "the RPC library reads its transports there"
//! source = "https://…"
//! ```
//!
//! A program is matched by the path it really has, links followed: whatever link starts it, the rule holds.
//! A rule of the same name in a later file replaces the earlier one; with `files = []` it is switched off.
//!
//! The same files hold `[[call]]` (`rules/call.rs`): the programs that a program starts. No file follows from a
//! call, for a variant says which of them it wants: calls are what [`confirm`](crate::confirm) looks for in a program.
//! And they hold `[[quiet]]` (`rules/quiet.rs`): programs that start no other.

mod apply;
mod call;
mod error;
mod pattern;
mod quiet;
mod written;

use std::collections::BTreeMap;

use kimg_core::{ImagePath, KubernetesVersion};

use crate::Dialect;

pub(crate) use call::MAX_SOUGHT;
pub use call::{Call, Importance};
pub use error::{RuleError, RulePlace};
use pattern::{Matcher, Pattern};
pub use quiet::Quiet;
use written::Wrong;

/// The files compiled in, by name.
const BUILTIN: [(&str, &str); 7] = [
    ("rules/iptables.toml", include_str!("../rules/iptables.toml")),
    ("rules/kubernetes.toml", include_str!("../rules/kubernetes.toml")),
    ("rules/programs.toml", include_str!("../rules/programs.toml")),
    ("rules/kubelet-calls.toml", include_str!("../rules/kubelet-calls.toml")),
    ("rules/kubeadm-calls.toml", include_str!("../rules/kubeadm-calls.toml")),
    ("rules/kube-proxy-calls.toml", include_str!("../rules/kube-proxy-calls.toml")),
    ("rules/cni-calls.toml", include_str!("../rules/cni-calls.toml")),
];

/// Rules, calls and quiet programs, each by its name.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    ruled: BTreeMap<String, Rule>,
    calls: BTreeMap<String, Call>,
    quiet: BTreeMap<String, Quiet>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    name: String,
    program: Vec<Matcher>,
    files: Vec<Pattern>,
    loader: Option<Dialect>,
    required: bool,
    reason: String,
    source: Option<String>,
}

impl Rules {
    /// No rules: only what ELF headers, links and `#!` lines say.
    pub fn none() -> Self {
        Self::default()
    }

    /// The rules and calls compiled in.
    #[expect(clippy::missing_panics_doc, reason = "a test reads what is compiled in")]
    pub fn builtin() -> Self {
        let mut all = Self::none();
        for (file, text) in BUILTIN {
            all.extend_from_text(file, text).expect("the rules compiled in are read by a test");
        }
        all
    }

    /// Reads a file of rules; `file` is only for messages.
    ///
    /// # Errors
    /// When it is not TOML of the form above, when a pattern is none, or when a name is there twice.
    pub fn parse(file: &str, text: &str) -> Result<Self, RuleError> {
        let place = |span| RulePlace::new(file, text, span);
        let written: written::File = toml::from_str(text).map_err(|source| RuleError::Toml {
            place: place(source.span().unwrap_or(0..0)),
            source: Box::new(source),
        })?;
        let invalid = |kind: &str, name: &str, (span, problem): Wrong| RuleError::Invalid {
            place: place(span),
            entry: format!("{kind} `{name}`"),
            problem,
        };
        let twice = |name: &written::Text| (name.span(), "is there twice".to_owned());
        let mut all = Self::none();
        for rule in &written.rules {
            let name = rule.name.get_ref();
            let checked = Rule::check(rule).map_err(|wrong| invalid("rule", name, wrong))?;
            if all.ruled.insert(name.clone(), checked).is_some() {
                return Err(invalid("rule", name, twice(&rule.name)));
            }
        }
        for call in &written.calls {
            let name = call.name.get_ref();
            let checked = Call::check(call).map_err(|wrong| invalid("call", name, wrong))?;
            if all.calls.insert(name.clone(), checked).is_some() {
                return Err(invalid("call", name, twice(&call.name)));
            }
        }
        for quiet in &written.quiet {
            let name = quiet.name.get_ref();
            let checked = Quiet::check(quiet).map_err(|wrong| invalid("quiet", name, wrong))?;
            if all.quiet.insert(name.clone(), checked).is_some() {
                return Err(invalid("quiet", name, twice(&quiet.name)));
            }
        }
        Ok(all)
    }

    /// Reads a further file of rules, of a project's own say: what has a name that is known replaces it.
    ///
    /// # Errors
    /// As [`Rules::parse`]; nothing is taken in then.
    pub fn extend_from_text(&mut self, file: &str, text: &str) -> Result<(), RuleError> {
        self.extend(Self::parse(file, text)?);
        Ok(())
    }

    /// Takes the other's rules and calls in; of two with one name the other's counts.
    pub fn extend(&mut self, other: Self) {
        self.ruled.extend(other.ruled);
        self.calls.extend(other.calls);
        self.quiet.extend(other.quiet);
    }

    /// All rules, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.ruled.values()
    }

    /// All calls, by name.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.values()
    }

    /// What a program at this path may start, in this version of Kubernetes: by name.
    pub fn calls_of(&self, path: &ImagePath, version: &KubernetesVersion) -> Vec<&Call> {
        self.calls().filter(|call| call.holds_for(path, version)).collect()
    }

    /// What is said of programs that start no other, by name.
    pub fn quiet(&self) -> impl Iterator<Item = &Quiet> {
        self.quiet.values()
    }

    /// The rules that hold for a file that this loader loads, or none, by name.
    fn of<'a>(&'a self, path: &'a ImagePath, loader: Option<Dialect>) -> impl Iterator<Item = &'a Rule> {
        self.iter().filter(move |rule| rule.holds_for(path, loader))
    }
}

impl Rule {
    fn check(written: &written::Rule) -> Result<Self, Wrong> {
        Ok(Self {
            name: written::one_line("name", &written.name)?,
            reason: written::one_line("reason", &written.reason)?,
            program: written::programs(&written.program)?,
            files: written::each(&written.files, Pattern::new)?,
            loader: written.loader,
            required: written.required,
            source: written.source.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why the files come with the program, as half a sentence.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Where that is written.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Whether each of its files must be there.
    pub fn required(&self) -> bool {
        self.required
    }

    /// The patterns of its files, as written.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|f| f.text.as_str())
    }

    fn patterns(&self) -> &[Pattern] {
        &self.files
    }

    /// The loader for whose programs alone it holds.
    pub fn loader(&self) -> Option<Dialect> {
        self.loader
    }

    fn holds_for(&self, path: &ImagePath, loader: Option<Dialect>) -> bool {
        (self.loader.is_none() || self.loader == loader)
            && self.program.iter().any(|program| program.is_match(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_can_be_read_and_each_entry_says_where_it_is_documented() {
        let rules = Rules::builtin();
        assert!(rules.iter().count() > 5 && rules.calls().count() > 60);
        let sources = rules.iter().map(|r| (r.name(), r.source()));
        let sources = sources.chain(rules.calls().map(|c| (c.name(), c.source())));
        let sources = sources.chain(rules.quiet().map(|q| (q.name(), q.source())));
        let without: Vec<_> = sources.filter(|(_, source)| source.is_none()).map(|(name, _)| name).collect();
        assert!(without.is_empty(), "{without:?}");
        let parsed = BUILTIN.map(|(file, text)| Rules::parse(file, text).unwrap());
        let each: usize = parsed.iter().map(|p| p.iter().count() + p.calls().count()).sum();
        let all = rules.iter().count() + rules.calls().count();
        assert_eq!(all, each, "two of the files compiled in have an entry of one name");
    }

    #[test]
    fn a_rule_of_the_same_name_replaces_the_earlier_one() {
        let one = "[[rule]]\nname = 'a'\nprogram = ['p*']\nfiles = ['/x']\nreason = 'r'\n";
        let mut rules = Rules::parse("one", one).unwrap();
        let path = ImagePath::new("/bin/prog").unwrap();
        assert_eq!(rules.of(&path, None).flat_map(Rule::files).collect::<Vec<_>>(), ["/x"]);
        rules.extend_from_text("two", &one.replace("['/x']", "[]")).unwrap();
        assert_eq!(rules.of(&path, None).flat_map(Rule::files).count(), 0);
    }

    #[test]
    fn a_rule_may_hold_for_the_programs_of_one_loader_only() {
        let rules = Rules::builtin();
        let path = ImagePath::new("/usr/sbin/xtables-nft-multi").unwrap();
        let has =
            |loader| rules.of(&path, loader).any(|rule| rule.files().any(|file| file == "/etc/protocols"));
        assert_eq!((has(Some(Dialect::Glibc)), has(Some(Dialect::Musl)), has(None)), (true, false, false));
    }

    #[test]
    fn a_call_holds_for_its_versions_and_another_file_switches_it_off() {
        let mut rules = Rules::builtin();
        let path = ImagePath::new("/usr/bin/kubelet").unwrap();
        let names = |rules: &Rules, version: &str| {
            let calls = rules.calls_of(&path, &version.parse().unwrap());
            calls.iter().map(|c| c.name().to_owned()).collect::<Vec<_>>()
        };
        assert!(names(&rules, "1.23.17").contains(&"kubelet-socat".to_owned()));
        assert!(!names(&rules, "1.24.0").contains(&"kubelet-socat".to_owned()));
        let off = "[[call]]\nname = 'kubelet-socat'\nprogram = ['kubelet']\nstarts = []\nimportance = 'feature'\npurpose = 'x'\n";
        rules.extend_from_text("rules/mine.toml", off).unwrap();
        assert!(!names(&rules, "1.23.17").contains(&"kubelet-socat".to_owned()));
    }

    #[test]
    fn the_calls_of_kubelet_come_and_go_with_its_version() {
        let rules = Rules::builtin();
        let path = ImagePath::new("/usr/bin/kubelet").unwrap();
        let last_with = |name: &str| {
            let has = |minor: &u32| {
                let version = format!("1.{minor}.0").parse().unwrap();
                rules.calls_of(&path, &version).iter().any(|call| call.name() == format!("kubelet-{name}"))
            };
            let minors: Vec<u32> = (20..=38).filter(has).collect();
            (*minors.first().unwrap(), *minors.last().unwrap())
        };
        for (name, first, last) in [
            ("du", 20, 21),
            ("scaleio", 20, 21),
            ("socat", 20, 23),
            ("conntrack", 20, 23),
            ("quobyte", 20, 24),
            ("glusterfs", 20, 25),
            ("udevadm", 20, 27),
            ("cifs", 20, 29),
            ("rbd", 20, 30),
            ("git", 20, 35),
            ("btrfs", 21, 38),
            ("getsubids", 30, 38),
            ("mount", 20, 38),
            ("iptables", 20, 38),
            ("nfs", 20, 38),
            ("iscsiadm", 20, 38),
        ] {
            assert_eq!(last_with(name), (first, last), "{name}");
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused_with_its_name_and_place() {
        let rule = |program: &str, files: &str| {
            let text = format!("[[rule]]\nname = 'a'\nprogram = {program}\nfiles = {files}\nreason = 'r'\n");
            Rules::parse("mine.toml", &text).unwrap_err().to_string()
        };
        assert!(rule("[]", "[]").starts_with("mine.toml:3:11: rule `a`: `program` is empty"));
        assert!(rule("['bin/x']", "[]").contains("neither a name nor an absolute path"));
        assert!(rule("['*']", "[]").contains("would hold for everything"));
        assert!(
            rule("['x']", "['/ok', 'etc/x']").starts_with("mine.toml:4:17: rule `a`: file `etc/x` is not")
        );
        assert!(rule("['x']", "['/etc/../x']").contains("`..`"));
        assert!(rule("['x']", "['/etc/[']").contains('['));
        let misspelt = Rules::parse("m", "[[rule]]\nname='a'\nprogramme=[]").unwrap_err();
        assert!(matches!(misspelt, RuleError::Toml { .. }));
        assert_eq!((misspelt.place().line, misspelt.place().column), (3, 1), "{misspelt}");
        let call = |rest: &str| {
            let text = format!("[[call]]\nname = 'c'\nprogram = ['p']\npurpose = 'x'\n{rest}\n");
            Rules::parse("mine.toml", &text).unwrap_err().to_string()
        };
        assert!(
            call("importance = 'feature'\nstarts = ['bin/x']")
                .starts_with("mine.toml:6:11: call `c`: `bin/x` is")
        );
        assert!(call("importance = 'feature'\nstarts = ['x']").contains("is not 2 to 200 letters"));
        assert!(call("importance = 'much'\nstarts = ['xx']").contains("much"));
        assert!(call("importance = 'feature'\nstarts = ['xx']\nsince = 'then'").contains("`then`"));
    }
}
