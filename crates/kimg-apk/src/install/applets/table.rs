//! The applets of a busybox that brings no list of their paths (Alpine before 3.17).
//!
//! Which applets it has stands in the binary itself: a table of their names, sorted, each with a NUL behind it
//! (busybox, `applet_tables.c`). Where each belongs does not, so that comes from the table here.

use std::collections::BTreeSet;

/// The paths of these applets, relative to the root, in the order of the table. Names that have no place in it are left out.
pub(super) fn paths(names: &BTreeSet<&str>) -> Vec<String> {
    PLACES
        .iter()
        .flat_map(|(folder, all)| all.split_ascii_whitespace().map(move |name| (folder, name)))
        .filter(|(_, name)| names.contains(name))
        .map(|(folder, name)| format!("{folder}/{name}"))
        .collect()
}

/// The names in the binary's table of applets: its longest run of names in rising order. Empty if there is none.
pub(super) fn names(binary: &[u8]) -> BTreeSet<&str> {
    let mut longest: Vec<&str> = Vec::new();
    let mut run: Vec<&str> = Vec::new();
    for text in binary.split(|byte| *byte == 0) {
        let name = std::str::from_utf8(text).ok().filter(|text| is_name(text));
        if name.is_none_or(|name| run.last().is_some_and(|last| *last >= name)) {
            if run.len() > longest.len() {
                longest = std::mem::take(&mut run);
            }
            run.clear();
        }
        run.extend(name);
    }
    if run.len() > longest.len() {
        longest = run;
    }
    if longest.len() < SHORTEST_TABLE {
        return BTreeSet::new();
    }
    // What stands before the first name need not end with a NUL, and then `[` is taken for a part of it.
    if longest[0] == "[[" {
        longest.push("[");
    }
    longest.into_iter().collect()
}

/// Fewer names than this are a chance run in other data.
const SHORTEST_TABLE: usize = 20;

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"[_.+-".contains(&byte);
    (1..=32).contains(&text.len()) && text.bytes().all(plain)
}

/// Where Alpine has the applets of busybox: a folder, and the names in it.
const PLACES: [(&str, &str); 4] = [
    (
        "bin",
        "arch ash base64 bbconfig cat chattr chgrp chmod chown cp date dd df dmesg dnsdomainname \
         dumpkmap echo ed egrep false fatattr fdflush fgrep fsync getopt grep gunzip gzip hostname \
         ionice iostat ipcalc kbd_mode kill link linux32 linux64 ln login ls lsattr lzop makemime mkdir \
         mknod mktemp more mount mountpoint mpstat mv netstat nice pidof ping ping6 pipe_progress \
         printenv ps pwd reformime rev rm rmdir run-parts sed setpriv setserial sh sleep stat stty su \
         sync tar touch true umount uname usleep watch zcat",
    ),
    (
        "sbin",
        "acpid adjtimex arp blkid blockdev depmod fbsplash fdisk findfs fsck fstrim getty halt hwclock \
         ifconfig ifdown ifenslave ifup init inotifyd insmod ip ipaddr iplink ipneigh iproute iprule \
         iptunnel klogd loadkmap logread losetup lsmod mdev mkdosfs mkfs.vfat mkswap modinfo modprobe \
         nameif nologin pivot_root poweroff raidautorun reboot rmmod route setconsole slattach swapoff \
         swapon switch_root sysctl syslogd tunctl udhcpc vconfig watchdog zcip",
    ),
    (
        "usr/bin",
        "[ [[ awk basename bc beep blkdiscard bunzip2 bzcat bzip2 cal chvt cksum clear cmp comm cpio \
         crontab cryptpw cut dc deallocvt diff dirname dos2unix du eject env expand expr factor \
         fallocate find flock fold free fuser groups hd head hexdump hostid id install ipcrm ipcs \
         killall last less logger lsof lsusb lzcat lzma lzopcat md5sum mesg microcom mkfifo mkpasswd nc \
         nl nmeter nohup nproc nsenter nslookup od openvt passwd paste pgrep pkill pmap printf pscan \
         pstree pwdx readlink realpath renice reset resize seq setkeycodes setsid sha1sum sha256sum \
         sha3sum sha512sum showkey shred shuf sort split strings sum tac tail tee test time timeout top \
         tr traceroute traceroute6 tree truncate tty ttysize udhcpc6 unexpand uniq unix2dos unlink \
         unlzma unlzop unshare unxz unzip uptime uudecode uuencode vi vlock volname wc wget which who \
         whoami whois xargs xxd xzcat yes",
    ),
    (
        "usr/sbin",
        "add-shell addgroup adduser arping brctl chpasswd chroot crond delgroup deluser ether-wake fbset \
         killall5 loadfont nanddump nandwrite nbd-client ntpd partprobe rdate rdev readahead remove-shell \
         rfkill sendmail setfont setlogcons",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_longest_rising_run_of_names() {
        let table = PLACES[0].1.split_ascii_whitespace().collect::<Vec<_>>().join("\0") + "\0";
        let binary = format!("a\0b\0\u{1}junk\0zz\0usage: x[\0[[\0{table}Not a name\0ab\0cd\0");
        let found = names(binary.as_bytes());
        let mut wanted: BTreeSet<&str> = PLACES[0].1.split_ascii_whitespace().collect();
        wanted.extend(["[", "[["]);
        assert_eq!(found, wanted);
        assert_eq!(names(b"a\0b\0c\0"), BTreeSet::new(), "too short to be the table");
    }

    #[test]
    fn only_the_names_that_are_asked_for_get_a_place() {
        assert_eq!(paths(&["sh", "[", "nothing"].into()), ["bin/sh", "usr/bin/["]);
    }

    #[test]
    fn no_applet_has_two_places() {
        let all: Vec<_> = PLACES.iter().flat_map(|(_, names)| names.split_ascii_whitespace()).collect();
        assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len());
    }
}
