//! Malformed indexes and packages, made one by one: each gives the error that it should, with its exit code,
//! or is read as apk reads it; within 128 MiB and 5 seconds, and leaves no file behind.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod bombs;
mod case;
mod headers;
mod index;
#[path = "../made/mod.rs"]
mod made;
mod package;
mod paths;
#[path = "../real/mod.rs"]
mod real;
mod trust;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use case::{Case, Disk, Input, outcome};
use kimg_apk::{Limits, Problem, install, read_index, read_package};
use kimg_core::MemorySink;
use made::signed;

/// Bytes that the process may take while it reads one, at its peak.
const MEMORY: u64 = 128 << 20;
/// What one case may take of the processor.
const TIME: Duration = Duration::from_secs(5);

fn all() -> Vec<Case> {
    let kinds = [
        index::text(),
        index::large_text(),
        index::archive(),
        package::pkginfo(),
        package::members(),
        trust::all(),
        headers::kinds(),
        headers::fields(),
        headers::extended(),
        paths::escapes(),
        paths::links(),
        bombs::all(),
    ];
    kinds.into_iter().flat_map(|cases| cases.all).collect()
}

/// A process of its own has a peak of its own, and can be given a limit.
#[test]
fn each_malformed_input_is_refused_as_it_should_be_in_little_memory_and_time() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "all_cases_in_this_process", "--ignored", "--nocapture", "--test-threads=1"])
        .env("RUST_BACKTRACE", "0")
        // glibc keeps what was given back; here it would be counted for a later case.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains(" cases, "), "{}\n{told}", output.status);
    println!("{told}");
}

#[test]
#[ignore = "is run by the test above, in a process of its own"]
fn all_cases_in_this_process() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // What is mapped is more than what is used; but far more ends the process before it hurts the machine.
    setrlimit(Resource::Data, Rlimit { current: Some(2 * MEMORY), maximum: Some(2 * MEMORY) }).unwrap();
    let running = Arc::new(Mutex::new(None));
    let watched = Arc::clone(&running);
    std::thread::spawn(move || watch(&watched));

    let cases = all();
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert!(names.len() == cases.len(), "each case has a name of its own");
    let (mut wrong, mut refused) = (Vec::new(), 0);
    let (mut slowest, mut largest) = ((Duration::ZERO, ""), (0, ""));
    let mut sink = Disk::new();
    for case in &cases {
        let input = (case.make)();
        *running.lock().unwrap() = Some((case.name.clone(), Instant::now(), processor_time()));
        forget_peak();
        let begin = processor_time();
        let found = outcome(&input, &mut sink);
        let took = processor_time().saturating_sub(begin);
        *running.lock().unwrap() = None;
        if took > slowest.0 {
            slowest = (took, &case.name);
        }
        let peak = peak();
        if peak > largest.0 {
            largest = (peak, &case.name);
        }
        if peak > MEMORY {
            wrong.push(format!("{}: took {} MiB", case.name, peak >> 20));
        }
        if took > TIME {
            wrong.push(format!("{}: took {took:?}", case.name));
        }
        if std::env::var_os("KIMG_MALFORMED").is_some() {
            println!("{:>6} ms {:>4} MiB  {}: {:.100}", took.as_millis(), peak >> 20, case.name, found);
        }
        refused += usize::from(!found.starts_with("read: "));
        if !found.starts_with(&case.expected) {
            wrong.push(format!("{}: expected {:?}, found {found:.200?}", case.name, case.expected));
        }
        if sink.left() > 0 {
            wrong.push(format!("{}: left half a file behind", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!(
        "{} cases, {refused} refused, peak {} MiB ({}), slowest {} ms ({})",
        cases.len(),
        largest.0 >> 20,
        largest.1,
        slowest.0.as_millis(),
        slowest.1
    );
}

/// Ends the process when a case hangs.
fn watch(running: &Mutex<Option<(String, Instant, Duration)>>) {
    loop {
        std::thread::sleep(Duration::from_millis(200));
        if let Some((name, begin, used)) = &*running.lock().unwrap()
            && (processor_time().saturating_sub(*used) > TIME * 2 || begin.elapsed() > TIME * 20)
        {
            eprintln!("{name}: does not end");
            std::process::exit(1);
        }
    }
}

/// What this process has used of the processor so far: how busy the machine is makes no difference.
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.try_into().unwrap(), used.tv_nsec.try_into().unwrap())
}

/// Lets the peak begin anew (proc(5), `clear_refs`); where that is not allowed, it is the peak of all cases so far.
fn forget_peak() {
    let _ = fs_err::write("/proc/self/clear_refs", "5");
}

/// The most memory that this process has had since, in bytes.
fn peak() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn each_byte_of_a_signed_package_counts_alone_and_beside_its_index() {
    let data = signed::data(&[signed::file("bin/x", b"#!/bin/sh\n"), signed::link("bin/y", "x")].concat());
    let control = signed::control([signed::INFO, &signed::datahash(&data)].concat().as_bytes());
    let good = signed::signed_package(&control, &data);
    let record = signed::record(&control, good.len());
    let mut sink = Disk::new();
    for record in [None, Some(Box::new(record))] {
        let mut read = |bytes: &[u8]| {
            let (record, keys) = (record.clone(), signed::ring());
            let found = outcome(&Input::Package { bytes: bytes.to_vec(), record, keys }, &mut sink);
            assert_eq!(sink.left(), 0);
            found
        };
        assert_eq!(read(&good), "read: /bin/x file, /bin/y -> x");
        refuse_each_change(&good, read);
    }
}

#[test]
fn each_byte_of_an_unsigned_package_counts_beside_its_index() {
    let data = signed::data(&signed::file("bin/x", b"#!/bin/sh\n"));
    let control = signed::control([signed::INFO, &signed::datahash(&data)].concat().as_bytes());
    let good = [&control[..], &data].concat();
    let record = signed::record(&control, good.len());
    let mut sink = Disk::new();
    let read = |bytes: &[u8]| {
        let (record, keys) = (Some(Box::new(record.clone())), signed::ring());
        outcome(&Input::Package { bytes: bytes.to_vec(), record, keys }, &mut sink)
    };
    refuse_each_change(&good, read);
}

#[test]
fn each_byte_of_a_signed_index_counts() {
    let good = signed::signed_index(&signed::index_tar(b"P:a\nV:1\nD:b\n"));
    let mut sink = Disk::new();
    let mut read = |bytes: &[u8]| outcome(&Input::Index(bytes.to_vec()), &mut sink);
    assert_eq!(read(&good), "read: a-1");
    refuse_each_change(&good, read);
}

#[test]
fn each_byte_of_what_the_sample_signs_counts() {
    let sample = kimg_sample::sample();
    let index = &sample.files["x86_64/APKINDEX.tar.gz"];
    let package =
        sample.files.iter().filter(|(name, _)| name.starts_with("x86_64/") && !name.contains("APKINDEX"));
    let package = package.map(|(_, bytes)| bytes).min_by_key(|bytes| bytes.len()).unwrap();
    let mut sink = Disk::new();
    refuse_each_change(package, |bytes| outcome(&case::alone(bytes.to_vec()), &mut sink));
    // Of the index only the beginning, with the signature: the rest is signed.
    let mut sink = Disk::new();
    let read = |start: &[u8]| outcome(&Input::Index([start, &index[start.len()..]].concat()), &mut sink);
    refuse_each_change(&index[..600], read);
}

#[test]
fn each_byte_of_a_genuine_package_counts_and_each_of_a_genuine_signature() {
    for repository in real::genuine().into_iter().flatten() {
        let mut sink = Disk::new();
        let record = repository.index.packages.iter().min_by_key(|record| record.size).unwrap();
        let bytes = repository.bytes(record);
        refuse_each_change(&bytes, |bytes| {
            let keys = repository.keys.clone();
            let found = read_package(bytes, &keys, None, &repository.arch, &Limits::default(), &mut sink);
            found.map_or_else(|error| error.to_string(), |_| "read: ".to_owned())
        });
        let index = fs_err::read(repository.folder.join("APKINDEX.tar.gz")).unwrap();
        refuse_each_change(&index[..400], |start| {
            let bytes = [start, &index[start.len()..]].concat();
            let found = read_index(&bytes, &repository.keys, &Limits::default());
            found.map_or_else(|error| error.to_string(), |_| "read: ".to_owned())
        });
    }
}

/// Flips each bit of each byte, and all bits of it at once.
fn refuse_each_change(good: &[u8], mut read: impl FnMut(&[u8]) -> String) {
    assert!(read(good).starts_with("read: "), "{}", read(good));
    for at in 0..good.len() {
        for change in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut bytes = good.to_vec();
            bytes[at] ^= change;
            let found = read(&bytes);
            assert!(
                !found.starts_with("read: "),
                "byte {at} of {} changed by {change:#x}: {found}",
                good.len()
            );
        }
    }
}

/// How strictly a signature member is read must cost no package that is really there.
#[test]
fn no_real_package_or_index_is_refused_for_how_its_signature_is_packed() {
    let assembled = ["x86_64", "aarch64", "armv7"].map(real::of_arch).into_iter().flatten();
    // Opening them has read their indexes. Packages are read up to their files.
    let limits = Limits { unpacked_size: 0, ..Limits::default() };
    for repository in real::genuine().into_iter().flatten().chain(assembled) {
        for record in &repository.index.packages {
            let bytes = repository.bytes(record);
            let found =
                read_package(&bytes, &repository.keys, None, &repository.arch, &limits, &mut MemorySink);
            let error = found.unwrap_err();
            assert!(
                matches!(error.problem, Problem::Limit { what: "the unpacked data member", .. }),
                "{error}"
            );
        }
    }
}

#[test]
fn a_file_through_a_link_lands_in_the_tree_and_nowhere_else() {
    for target in ["/", "..", "../../../..", "etc/../..", "/etc/../../.."] {
        let tar = [signed::link("l", target), signed::file("l/etc/passwd", b"1")].concat();
        let Input::Package { bytes, keys, .. } = case::around(&signed::data(&tar)) else { unreachable!() };
        let package =
            read_package(&bytes, &keys, None, "x86_64", &Limits::default(), &mut MemorySink).unwrap();
        let tree = install(&[package]).unwrap().tree;
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["/etc", "/etc/passwd", "/l"], "{target}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let data = signed::data(&signed::file("bin/x", b"#!/bin/sh\n"));
    let control = signed::control([signed::INFO, &signed::datahash(&data)].concat().as_bytes());
    let package = signed::signed_package(&control, &data);
    let index = signed::signed_index(&signed::index_tar(b"P:a\nV:1\nD:b\n"));
    let mut sink = Disk::new();
    for length in 0..package.len() {
        let found = outcome(&case::alone(package[..length].to_vec()), &mut sink);
        assert!(
            found.starts_with("11 Gzip") || found == "10 DataHash",
            "{length} of {}: {found}",
            package.len()
        );
    }
    for length in 0..index.len() {
        let found = outcome(&Input::Index(index[..length].to_vec()), &mut sink);
        assert!(
            found.starts_with("11 Gzip") || found == "10 WrongSignature",
            "{length} of {}: {found}",
            index.len()
        );
    }
}
