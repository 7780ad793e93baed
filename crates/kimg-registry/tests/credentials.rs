//! Where credentials are found: files as docker and podman write them, helpers, the environment.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kimg_core::{Classified as _, ErrorClass};
use kimg_registry::{Credentials, Keychain, Proxies, Repository, Secret, forget_login, store_login};
use kimg_testkit::{run, tempdir, tool};

fn basic(username: &str, password: &str) -> Credentials {
    Credentials::Basic { username: username.into(), password: Secret::new(password) }
}

fn write(path: &Path, text: &str) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

async fn ask(keychain: &Keychain, name: &str) -> Credentials {
    keychain.credentials_for(&name.parse::<Repository>().unwrap()).await.unwrap()
}

/// `one:1`, `two:2`, `three:3` in base64.
const ONE: &str = "b25lOjE=";
const TWO: &str = "dHdvOjI=";
const THREE: &str = "dGhyZWU6Mw==";

#[tokio::test]
async fn the_entry_nearest_to_the_repository_counts() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("auth.json");
    write(
        &file,
        &format!(
            r#"{{"auths": {{
                "quay.io": {{"auth": "{ONE}"}},
                "quay.io/acme": {{"auth": "{TWO}"}},
                "quay.io/acme/kubelet": {{"auth": "{THREE}"}},
                "https://index.docker.io/v1/": {{"username": "me", "password": "there"}},
                "ghcr.io": {{"identitytoken": "refresh"}},
                "https://gcr.io": {{"registrytoken": "access"}},
                "empty.example": {{}}
            }}, "HttpHeaders": {{"X": "y"}}}}"#
        ),
    );
    let keychain = Keychain::anonymous().with_auth_file(&file);
    assert_eq!(ask(&keychain, "quay.io/other/x").await, basic("one", "1"));
    assert_eq!(ask(&keychain, "quay.io/acme/x").await, basic("two", "2"));
    assert_eq!(ask(&keychain, "quay.io/acmes/x").await, basic("one", "1"));
    assert_eq!(ask(&keychain, "quay.io/acme/kubelet").await, basic("three", "3"));
    assert_eq!(ask(&keychain, "quay.io/acme/kubelet/below").await, basic("three", "3"));
    assert_eq!(ask(&keychain, "alpine").await, basic("me", "there"));
    assert_eq!(ask(&keychain, "ghcr.io/a").await, Credentials::IdentityToken(Secret::new("refresh")));
    assert_eq!(ask(&keychain, "gcr.io/a").await, Credentials::RegistryToken(Secret::new("access")));
    for unknown in ["empty.example/a", "quay.io.evil.example/acme", "quay.io:444/acme"] {
        assert_eq!(ask(&keychain, unknown).await, Credentials::Anonymous, "{unknown}");
    }
}

#[tokio::test]
async fn files_are_looked_for_where_docker_and_podman_have_them() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let entry = |auth: &str| format!(r#"{{"auths": {{"reg.example": {{"auth": "{auth}"}}}}}}"#);
    write(&at("explicit.json"), &entry(ONE));
    write(&at("run/containers/auth.json"), &entry(TWO));
    write(&at("docker/config.json"), &entry(THREE));
    write(&at("home/.docker/config.json"), &entry(ONE));
    let mut variables: BTreeMap<&str, String> = BTreeMap::new();
    let found = async |variables: &BTreeMap<&str, String>| {
        let keychain = Keychain::from_variables(&|name| variables.get(name).cloned());
        ask(&keychain, "reg.example/a").await
    };
    assert_eq!(found(&variables).await, Credentials::Anonymous);
    variables.insert("HOME", at("home").display().to_string());
    assert_eq!(found(&variables).await, basic("one", "1"));
    variables.insert("DOCKER_CONFIG", at("docker").display().to_string());
    assert_eq!(found(&variables).await, basic("three", "3"));
    variables.insert("XDG_RUNTIME_DIR", at("run").display().to_string());
    assert_eq!(found(&variables).await, basic("two", "2"));
    variables.insert("REGISTRY_AUTH_FILE", at("explicit.json").display().to_string());
    assert_eq!(found(&variables).await, basic("one", "1"));
    variables.insert("REGISTRY_AUTH_FILE", at("not-there.json").display().to_string());
    assert_eq!(found(&variables).await, Credentials::Anonymous, "that file alone");
}

#[tokio::test]
async fn a_name_and_password_of_the_environment_are_for_one_registry() {
    let variable = |name: &str| match name {
        "KIMG_REGISTRY_USER" => Some("ci".to_owned()),
        "KIMG_REGISTRY_PASSWORD" => Some("secret".to_owned()),
        _ => None,
    };
    let keychain = Keychain::from_variables(&variable).with_variables_for("ghcr.io", &variable);
    assert_eq!(ask(&keychain, "ghcr.io/acme/kubelet").await, basic("ci", "secret"));
    assert_eq!(ask(&keychain, "evil.example/acme/kubelet").await, Credentials::Anonymous);
    let hub = Keychain::anonymous().with_variables_for("docker.io", &variable);
    assert_eq!(ask(&hub, "acme/kubelet").await, basic("ci", "secret"));
}

#[tokio::test]
async fn a_login_is_stored_as_docker_stores_it_and_taken_out_again() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("new/auth.json");
    write(
        &file,
        r#"{"credHelpers": {"other.example": "x"}, "auths": {"https://reg.example/v2/": {"auth": "old"}}}"#,
    );
    store_login(&file, "reg.example", "one", &Secret::new("1")).unwrap();
    store_login(&file, "docker.io", "two", &Secret::new("2")).unwrap();
    let text = fs_err::read_to_string(&file).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["auths"]["reg.example"]["auth"], ONE);
    assert_eq!(value["auths"]["https://index.docker.io/v1/"]["auth"], TWO);
    assert_eq!(value["credHelpers"]["other.example"], "x");
    assert_eq!(value["auths"].as_object().unwrap().len(), 2, "the old one is replaced");
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let keychain = Keychain::anonymous().with_auth_file(&file);
    assert_eq!(ask(&keychain, "alpine").await, basic("two", "2"));
    if let Some(skopeo) = tool("skopeo") {
        let said = run(Command::new(skopeo)
            .args(["login", "--get-login", "--authfile"])
            .arg(&file)
            .arg("reg.example"));
        assert_eq!(said.trim(), "one");
    }
    forget_login(&file, "https://reg.example").unwrap();
    assert_eq!(ask(&keychain, "reg.example/a").await, Credentials::Anonymous);
    store_login(&folder.path().join("other.json"), "reg.example", "a:b", &Secret::new("1")).unwrap_err();
}

/// In a process that a test started by itself, whose `PATH` has the helpers: asks, and prints.
#[tokio::test]
async fn a_child_that_asks_helpers() {
    let Ok(file) = std::env::var("KIMG_TEST_AUTH_FILE") else { return };
    let keychain = Keychain::anonymous().with_auth_file(file).with_helper_limit(Duration::from_millis(500));
    for name in [
        "good.example",
        "token.example",
        "none.example",
        "bad.example",
        "slow.example",
        "gone.example",
        "store.example",
        "noise.example",
    ] {
        let repository: Repository = format!("{name}/a").parse().unwrap();
        match keychain.credentials_for(&repository).await {
            Ok(Credentials::Basic { username, password }) => {
                println!("{name}: {username} {}", password == Secret::new("s3cret"));
            }
            Ok(Credentials::IdentityToken(token)) => {
                println!("{name}: token {}", token == Secret::new("s3cret"));
            }
            Ok(other) => println!("{name}: {other:?}"),
            Err(error) => {
                assert_eq!(error.class(), ErrorClass::External);
                assert!(!format!("{error:?}").contains("s3cret"));
                println!("{name}: failed: {error}");
            }
        }
    }
}

#[test]
fn helpers_are_asked_and_not_waited_for_forever() {
    let folder = tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = folder.path().join(format!("docker-credential-{name}"));
        write(&path, &format!("#!/bin/sh\n{text}\n"));
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let answer = |user: &str| {
        format!(
            r#"read server; echo "{{\"ServerURL\":\"$server\",\"Username\":\"{user}\",\"Secret\":\"s3cret\"}}""#
        )
    };
    script("good", &answer("$server"));
    script("token", &answer("<token>"));
    script("none", "echo 'credentials not found in native keychain'; exit 1");
    script("bad", "echo s3cret; exit 3");
    script("slow", "sleep 20; echo '{}'");
    script("store", &answer("store"));
    script("noise", "yes s3cret");
    let file = folder.path().join("config.json");
    let helpers: Vec<String> = ["good", "token", "none", "bad", "slow", "gone", "noise"]
        .iter()
        .map(|it| format!(r#""{it}.example": "{it}""#))
        .collect();
    write(&file, &format!(r#"{{"credHelpers": {{{}}}, "credsStore": "store"}}"#, helpers.join(",")));
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let said = run(Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_that_asks_helpers", "--nocapture", "--test-threads=1"])
        .env("KIMG_TEST_AUTH_FILE", &file)
        .env("PATH", path));
    for expected in [
        "good.example: good.example true",
        "token.example: token true",
        // What a helper has not, the store may have.
        "none.example: store true",
        "bad.example: failed: the credential helper `docker-credential-bad` failed for bad.example: exit status: 3",
        "slow.example: failed: the credential helper `docker-credential-slow` failed for slow.example: it did not answer within 0.5 s",
        "gone.example: failed: the credential helper `docker-credential-gone`",
        "store.example: store true",
        "noise.example: failed: ",
    ] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
}

#[test]
fn proxies_come_from_the_variables_that_everybody_knows() {
    let set = |pairs: &'static [(&'static str, &'static str)]| {
        Proxies::from_variables(&|name| {
            pairs.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let proxies = set(&[
        ("HTTPS_PROXY", "http://p:1"),
        ("https_proxy", "http://p:2"),
        ("NO_PROXY", "a,b"),
        ("HTTP_PROXY", ""),
    ]);
    assert_eq!(proxies.https.as_deref(), Some("http://p:2"));
    assert_eq!((proxies.http, proxies.except.as_deref()), (None, Some("a,b")));
    assert_eq!(set(&[("ALL_PROXY", "http://p:3")]).http.as_deref(), Some("http://p:3"));
    assert_eq!(set(&[("HTTP_PROXY", "http://p:4"), ("REQUEST_METHOD", "GET")]).http, None);
}
