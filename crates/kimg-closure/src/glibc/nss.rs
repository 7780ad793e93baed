//! The modules that glibc's name services load by themselves: the users, hosts and services of a system are looked
//! up by whatever `/etc/nsswitch.conf` names, and no header says so.
//!
//! Source: nsswitch.conf(5); glibc, `nss/nss_module.c`. From 2.34 on `files` and `dns` are in the C library itself.

use kimg_core::ImagePath;

use crate::elf::ElfSymbols;
use crate::finding::Finding;
use crate::lookup::find;
use crate::process::{Load, Process};
use crate::walk::Walk;
use crate::{ClosureError, Reason};

/// The longest `/etc/nsswitch.conf` that is read, in bytes.
const MAX_SETTINGS: u64 = 64 << 10;
/// What a program calls that asks the name services.
const ASKING: [&str; 18] = [
    "getaddrinfo",
    "getgrent",
    "getgrgid",
    "getgrnam",
    "getgrouplist",
    "gethostby",
    "gethostent",
    "getnameinfo",
    "getnetby",
    "getnetgrent",
    "getprotoby",
    "getpwent",
    "getpwnam",
    "getpwuid",
    "getservby",
    "getspnam",
    "initgroups",
    "innetgr",
];

impl Walk<'_> {
    /// Loads the modules of `/etc/nsswitch.conf`, if anything in the process asks the name services.
    pub(crate) fn name_services(&mut self, process: &mut Process) -> Result<(), ClosureError> {
        let Some(libc) = process.objects.iter().position(|o| o.names.iter().any(|n| n == "libc.so.6")) else {
            return Ok(());
        };
        let others = (0..process.objects.len()).filter(|index| *index != libc);
        let paths: Vec<ImagePath> = others.map(|index| process.objects[index].path.clone()).collect();
        if !paths.iter().any(|path| self.asks_name_services(path)) {
            return Ok(());
        }
        let Ok(landings) = find(self.request.tree, "/etc/nsswitch.conf") else { return Ok(()) };
        let of = process.objects[libc].path.clone();
        let reason = Reason::Rule {
            of: of.clone(),
            rule: "glibc-name-services".to_owned(),
            reason: "says where users and hosts are looked up".to_owned(),
        };
        let settings = self.arrive(&landings, reason);
        let text = self.text(&settings, MAX_SETTINGS).unwrap_or_default();
        let built_in =
            self.symbols(&of).is_some_and(|s| s.defined_versions.iter().any(|v| v == "GLIBC_2.34"));
        for service in services(&text) {
            if built_in && matches!(service.as_str(), "files" | "dns") {
                continue;
            }
            let soname = format!("libnss_{service}.so.2");
            let feature = format!("the name service `{service}`");
            let reason = Reason::Dlopen { of: of.clone(), soname: soname.clone(), feature };
            if let Load::Missing(_) = self.load(process, &soname, libc, &reason)? {
                self.note(Finding::NameServiceMissing { of: of.clone(), soname });
            }
        }
        self.load_needed(process)
    }

    fn asks_name_services(&self, path: &ImagePath) -> bool {
        let asks = |symbols: ElfSymbols| {
            symbols.undefined.iter().any(|s| ASKING.iter().any(|asking| s.name.starts_with(asking)))
        };
        self.symbols(path).is_some_and(asks)
    }

    fn symbols(&self, path: &ImagePath) -> Option<ElfSymbols> {
        // A symbol table that can't be read is told of by the check of symbols.
        ElfSymbols::read_at(self.request.tree, path).ok().flatten()
    }
}

/// The services of all databases, each once, in order.
fn services(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((_, list)) = line.split_once(':') else { continue };
        let mut in_action = false;
        for word in list.replace('[', " [ ").replace(']', " ] ").split_whitespace() {
            match word {
                "[" => in_action = true,
                "]" => in_action = false,
                _ if in_action => {}
                _ if word.len() < 64 && !word.contains('/') && !all.iter().any(|s| s == word) => {
                    all.push(word.to_owned());
                }
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_without_what_is_done_when_one_fails() {
        let text = "# c\npasswd: files systemd\nhosts: files mdns4_minimal [NOTFOUND=return] dns # x\nbad line\n\
                    group:files [!SUCCESS=continue]sss ../../evil\n";
        assert_eq!(services(text), ["files", "systemd", "mdns4_minimal", "dns", "sss"]);
    }
}
