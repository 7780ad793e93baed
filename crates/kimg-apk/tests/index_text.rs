//! What the text of an index is read as, and what is refused.

mod real;

use kimg_apk::{Dependency, Identity, Index, IndexError, Limits, Provide, Record};
use kimg_core::{Classified, ErrorClass};
use proptest::prelude::*;

const KUBELET: &str = "C:Q1EyN5AdpAOBJWKMR89pp/C66o+OE=
P:kubelet
V:1.28.4-r3
A:x86_64
S:21800000
I:74100000
T:Agent that runs on each node of a cluster
U:https://kubernetes.io/
L:Apache-2.0
o:kubernetes
m:Somebody <somebody@example.org>
t:1705000000
c:da4780262417a9446b7d13fe9bb7e83c54edb53d
k:10
D:iptables so:libc.musl-x86_64.so.1 !other>=2
p:cmd:kubelet=1.28.4-r3 agent
i:node kubelet-base=1
r:old-kubelet
q:3
x:something new
";

fn parse(text: &str) -> Result<Index, IndexError> {
    Index::parse(text.as_bytes(), &Limits::default())
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn every_field_of_a_record_is_read() {
    let index = parse(KUBELET).unwrap();
    let record = &index.packages[0];
    assert_eq!(
        (record.id().as_str(), record.file_name().as_str()),
        ("kubelet-1.28.4-r3", "kubelet-1.28.4-r3.apk")
    );
    assert_eq!(record.arch, "x86_64");
    assert_eq!(record.identity.unwrap().to_string(), "Q1EyN5AdpAOBJWKMR89pp/C66o+OE=");
    assert_eq!(
        (record.size, record.installed_size, record.build_time),
        (21_800_000, 74_100_000, Some(1_705_000_000))
    );
    assert_eq!((record.provider_priority, record.replaces_priority), (10, 3));
    assert_eq!(record.origin.as_deref(), Some("kubernetes"));
    assert_eq!(texts(&record.depends), ["iptables", "so:libc.musl-x86_64.so.1", "!other>=2"]);
    assert_eq!(texts(&record.provides), ["cmd:kubelet=1.28.4-r3", "agent"]);
    assert_eq!(texts(&record.install_if), ["node", "kubelet-base=1"]);
    assert_eq!(texts(&record.replaces), ["old-kubelet"]);
    assert_eq!(record.unknown, [('x', "something new".to_owned())]);
}

#[test]
fn records_are_parted_by_empty_lines_and_lists_go_on() {
    let index = parse("\n\nP:a\nV:1\np:x=1\np:y=2\n\n\nP:b\nV:2").unwrap();
    assert_eq!(texts(&index.packages[0].provides), ["x=1", "y=2"]);
    assert_eq!(index.packages[1].id(), "b-2");
    assert_eq!(parse("").unwrap(), Index::default());
}

#[test]
fn a_record_is_the_same_after_being_written_as_json() {
    let record = parse(KUBELET).unwrap().packages.remove(0);
    let json = serde_json::to_string(&record).unwrap();
    assert!(
        json.contains(r#""version":"1.28.4-r3""#) && json.contains(r#""cmd:kubelet=1.28.4-r3""#),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
}

#[test]
fn a_name_or_version_that_could_lead_a_path_elsewhere_is_refused() {
    for bad in ["..", ".", "", "a/b", "../a", "a\\b", "a\tb", "a\u{1}", "é"] {
        for record in [format!("P:{bad}\nV:1\n"), format!("P:a\nV:{bad}\n")] {
            let error = parse(&record).unwrap_err();
            assert!(matches!(error, IndexError::Field { .. }), "{record:?}: {error}");
        }
    }
}

#[test]
fn errors_name_the_line_and_the_field() {
    let told = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(told("P:a\nV:1\nS:many\n"), "line 3 of the index, field S: expected a number, found `many`");
    assert_eq!(told("P:a\nP:b\n"), "line 2 of the index: field P for the second time in one record");
    assert_eq!(told("P:a\nV:1\n\nV:2\n"), "the record from line 4 of the index on has no field P");
    assert_eq!(
        told("P:a\nnonsense\n"),
        "line 2 of the index: expected a letter, a colon and a value, found `nonsense`"
    );
    assert!(
        told("P:a\nV:1\nC:Q1abc\n")
            .starts_with("line 3 of the index, field C: `Q1abc` is not a package identity")
    );
}

#[test]
fn a_package_that_says_something_unreadable_is_left_out_and_named() {
    let index = parse("P:a\nV:1\n\nP:b\nV:2\nD:c@edge\n\nP:d\nV:3\nD:e=no\n").unwrap();
    assert_eq!(index.packages.len(), 1);
    let unusable: Vec<String> = index
        .unusable
        .iter()
        .map(|found| format!("{} {}: {}", found.line, found.name, found.reason))
        .collect();
    assert_eq!(
        unusable,
        [
            "6 b: `c@edge` names a repository by tag, which only a wish can",
            "10 d: `e=no` can't be read: `no` is no version: it does not begin with a number",
        ]
    );
}

#[test]
fn an_index_beyond_the_limit_is_not_read() {
    let limits = Limits { index_size: 10, ..Limits::default() };
    let error = Index::parse(b"P:a\nV:1\nS:1\n", &limits).unwrap_err();
    assert_eq!((error.class(), error), (ErrorClass::Limit, IndexError::TooLarge { size: 12, limit: 10 }));
}

#[test]
fn wishes_are_the_same_after_being_written_and_read() {
    let texts =
        ["a", "!a", "a@edge", "a@edge>=1.2-r0", "!a<2", "so:lib.so.1", "/bin/sh", "cmd:[", "py3.11:x[y]"];
    for text in texts {
        assert_eq!(text.parse::<Dependency>().unwrap().to_string(), text);
    }
    let identity = "a><Q1EyN5AdpAOBJWKMR89pp/C66o+OE=";
    assert_eq!(identity.parse::<Dependency>().unwrap().to_string(), identity);
    for bad in ["", "!", "!!a", "a=", "a==", "a<>1", "a b", "@edge", "a@", "a=invalid", "a\n", "ä"] {
        assert!(bad.parse::<Dependency>().is_err(), "{bad:?}");
    }
}

#[test]
fn the_full_indexes_of_alpine_3_19_are_read_without_a_loss() {
    let Some(input) = real::input() else { return };
    for (name, packages) in [("main", 5443), ("community", 17587)] {
        let path = input.join("index/v3.19").join(name).join("x86_64/APKINDEX.tar.gz");
        let keys = real::keys(&input.join("alpine-keys/x86_64"));
        let index = kimg_apk::read_index(&fs_err::read(path).unwrap(), &keys, &Limits::default()).unwrap();
        assert_eq!((index.packages.len(), index.unusable.len()), (packages, 0));
        assert!(index.packages.iter().all(|record| record.identity.is_some() && record.unknown.is_empty()));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Index::parse(&bytes, &Limits::default());
    }

    #[test]
    fn anything_like_an_index_is_read_or_refused_without_a_panic(
        lines in prop::collection::vec(("[PVCDpirqkStx]", ":?", "[ -~é]{0,20}"), 0..12),
    ) {
        let lines: Vec<String> =
            lines.iter().map(|(letter, colon, value)| format!("{letter}{colon}{value}\n")).collect();
        let text = lines.concat();
        if let Ok(index) = parse(&text) {
            prop_assert!(index.packages.iter().all(|record| !record.file_name().contains('/')));
        }
    }

    #[test]
    fn arbitrary_texts_are_no_wish_provide_or_identity_or_stay_the_same(text in ".{0,30}") {
        if let Ok(wish) = text.parse::<Dependency>() {
            prop_assert_eq!(wish.to_string().parse::<Dependency>().unwrap(), wish);
        }
        if let Ok(provide) = text.parse::<Provide>() {
            prop_assert_eq!(provide.to_string(), text.as_str());
        }
        let _ = text.parse::<Identity>();
    }

    #[test]
    fn an_identity_is_the_same_after_being_written_and_read(raw: [u8; 20]) {
        let identity = Identity::from_raw(raw);
        prop_assert_eq!(identity.to_string().parse::<Identity>().unwrap(), identity);
    }
}
