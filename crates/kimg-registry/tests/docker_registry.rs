//! Debian's `docker-registry` as the other side, and skopeo as the judge of what is in it afterwards.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

mod made;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kimg_core::{Classified as _, ErrorClass, Platform};
use kimg_image::{Layout, Tagged, write_layout};
use kimg_layer::BlobStore;
use kimg_registry::{
    Artifact, ArtifactBlob, Client, Credentials, Keychain, Options, Proxies, PushOptions, ReadBack,
    Reference, RegistryError, Release, Secret,
};
use kimg_testkit::{DockerRegistry, FolderServer, ForwardProxy, run, superuser, tempdir, tool};
use made::{client, hasty, layout, push, repository};

/// Every tag is the very index of the layout, and every platform can be copied out, as skopeo sees it.
fn skopeo_agrees(layout: &Layout, name: &str, flags: &[&str], folder: &Path) {
    let Some(skopeo) = tool("skopeo") else { return };
    for (tag, top) in layout.tags() {
        let from = format!("docker://{name}:{tag}");
        let raw = run(Command::new(&skopeo).args(["inspect", "--raw"]).args(flags).arg(&from));
        assert_eq!(raw.into_bytes(), layout.read_blob(top, 1 << 20).unwrap(), "{tag}");
    }
    let (tag, _) = layout.tags().into_iter().next().unwrap();
    for platform in Platform::DEFAULT {
        let to = folder.join(platform.short());
        let mut command = Command::new(&skopeo);
        command.args(["--insecure-policy", "--override-arch", platform.oci_architecture()]);
        if let Some(variant) = platform.oci_variant() {
            command.args(["--override-variant", variant]);
        }
        command.args(["copy", "--quiet"]).args(flags.iter().map(|flag| flag.replace("--tls", "--src-tls")));
        run(command.arg(format!("docker://{name}:{tag}")).arg(format!("oci:{}:one", to.display())));
        let copied = Layout::open(&to).unwrap();
        let (copied, pushed) = (copied.image("one", platform).unwrap(), layout.image(tag, platform).unwrap());
        assert_eq!((copied.descriptor.digest, copied.layers), (pushed.descriptor.digest, pushed.layers));
    }
}

#[tokio::test]
async fn what_is_pushed_is_what_skopeo_finds_for_every_tag_and_platform() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain", "cni"], 100_000);
    let to = repository(&registry.name(), "acme/kubelet");
    let client = client(Options { read_back: ReadBack::Whole, ..hasty() });
    let pushed = push(&client, &layout, &to).await.unwrap();
    assert_eq!((pushed.tags.len(), pushed.moved, pushed.manifests), (4, 4, 8));
    assert_eq!((pushed.sent, pushed.there), (9 + 6, 0), "nine layers and six configs, each once");
    skopeo_agrees(&layout, &to.to_string(), &["--tls-verify=false"], folder.path());
    let mut tags = client.tags(&to).await.unwrap();
    tags.sort();
    assert_eq!(
        tags.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["v1-cni", "v1-plain", "v1.2-cni", "v1.2-plain"]
    );

    let reference: Reference = format!("{to}:v1-cni").parse().unwrap();
    let verified = client.verify(&reference, Arc::new(())).await.unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!(verified.platforms, ["linux/amd64", "linux/arm/v7", "linux/arm64"]);
    assert_eq!((verified.manifests, verified.blobs), (4, 9));

    let again = push(&client, &layout, &to).await.unwrap();
    assert_eq!((again.sent, again.there, again.manifests, again.moved), (0, 15, 0, 0));
    assert_eq!(again.tags, pushed.tags);
}

#[tokio::test]
async fn buildah_pulls_each_platform() {
    let (Some(registry), Some(buildah)) = (DockerRegistry::plain(), tool("buildah")) else { return };
    if !superuser() {
        return;
    }
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 10_000);
    let to = repository(&registry.name(), "acme/kubelet");
    push(&client(hasty()), &layout, &to).await.unwrap();
    let command = || {
        let mut command = Command::new(&buildah);
        command.args(["--storage-driver", "vfs", "--root"]).arg(folder.path().join("storage"));
        command.arg("--runroot").arg(folder.path().join("run"));
        command
    };
    for platform in Platform::DEFAULT {
        let pull = ["pull", "--quiet", "--policy", "always", "--tls-verify=false", "--platform"];
        let id = run(command().args(pull).arg(platform.to_string()).arg(format!("docker://{to}:v1-plain")));
        // buildah calls an image by the digest of its config.
        let image = layout.image("v1-plain", platform).unwrap();
        assert_eq!(id.trim(), image.config.digest.hex(), "{platform}");
    }
    run(command().args(["rmi", "--all", "--force"]));
}

#[tokio::test]
async fn what_was_pushed_comes_back_as_the_same_layout() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 100_000);
    let to = repository(&registry.name(), "acme/kubelet");
    let client = client(hasty());
    push(&client, &layout, &to).await.unwrap();
    let store = BlobStore::open(folder.path().join("pulled")).unwrap();
    let reference: Reference = format!("{to}:v1-plain").parse().unwrap();
    let pulled = client.pull(&reference, None, &store, Arc::new(())).await.unwrap();
    assert_eq!((pulled.fetched, pulled.there, pulled.fetched_bytes), (9, 0, made::blob_bytes(&layout)));
    let again = client.pull(&reference, None, &store, Arc::new(())).await.unwrap();
    assert_eq!((again.fetched, again.there), (0, 9));
    let out = folder.path().join("back");
    write_layout(&out, &[Tagged { tags: vec!["v1-plain".into()], image: pulled.image }], &store).unwrap();
    let back = Layout::open(&out).unwrap();
    assert_eq!(back.tags()["v1-plain"].digest, layout.tags()["v1-plain"].digest);
    for platform in Platform::DEFAULT {
        assert_eq!(back.image("v1-plain", platform).unwrap(), layout.image("v1-plain", platform).unwrap());
    }
    // What another program pushed is read as well.
    let Some(skopeo) = tool("skopeo") else { return };
    let theirs = format!("{}/acme/theirs:v1", registry.name());
    run(Command::new(skopeo)
        .args(["--insecure-policy", "copy", "--all", "--quiet", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:v1-plain", layout.dir().display()))
        .arg(format!("docker://{theirs}")));
    let only =
        client.pull(&theirs.parse().unwrap(), Some(&[Platform::ArmV7]), &store, Arc::new(())).await.unwrap();
    assert_eq!((only.image.images.len(), only.fetched, only.left_out.len()), (1, 0, 2));
    assert_eq!(only.image.descriptor.digest, layout.tags()["v1-plain"].digest);
    let error = client
        .pull(&theirs.parse().unwrap(), Some(&[Platform::ArmV6]), &store, Arc::new(()))
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unresolvable, "{error}");
}

#[tokio::test]
async fn what_refers_to_an_image_is_listed_under_its_digest_where_there_is_no_api() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 1000);
    let to = repository(&registry.name(), "acme/kubelet");
    let client = client(hasty());
    push(&client, &layout, &to).await.unwrap();
    let image: Reference = format!("{to}:v1-plain").parse().unwrap();
    let artifact = |text: &str| Artifact {
        artifact_type: "application/spdx+json".into(),
        blobs: vec![ArtifactBlob {
            media_type: "application/spdx+json".into(),
            bytes: text.as_bytes().to_vec(),
            ..ArtifactBlob::default()
        }],
        ..Artifact::default()
    };
    assert_eq!(client.referrers(&image).await.unwrap(), []);
    let one = client.push_referrer(&image, &artifact("{}")).await.unwrap();
    let two = client.push_referrer(&image, &artifact("[]")).await.unwrap();
    assert_eq!(client.push_referrer(&image, &artifact("[]")).await.unwrap(), two);
    assert_eq!(client.referrers(&image).await.unwrap(), [one, two]);
}

#[tokio::test]
async fn an_image_is_copied_between_registries_and_within_one() {
    let (Some(here), Some(there)) = (DockerRegistry::plain(), DockerRegistry::plain()) else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 10_000);
    let from = repository(&here.name(), "acme/kubelet");
    let client = client(hasty());
    push(&client, &layout, &from).await.unwrap();
    let source: Reference = format!("{from}:v1-plain").parse().unwrap();
    let spool = BlobStore::open(folder.path().join("spool")).unwrap();
    let options = PushOptions::default();
    for (to, fetched) in [(repository(&here.name(), "acme/copy"), 0), (repository(&there.name(), "copy"), 9)]
    {
        let tags = vec!["v9".parse().unwrap()];
        let copied = client.copy(&source, &to, tags.clone(), &spool, &options, Arc::new(())).await.unwrap();
        assert_eq!((copied.sent, copied.moved), (fetched, 1));
        let verified = client.verify(&to.tagged(tags[0].clone()), Arc::new(())).await.unwrap();
        assert_eq!((verified.findings, verified.top.digest), (vec![], layout.tags()["v1-plain"].digest));
    }
}

#[tokio::test]
async fn images_that_were_pushed_one_by_one_become_one_index() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 10_000);
    let client = client(hasty());
    let to = repository(&registry.name(), "acme/kubelet");
    let store = BlobStore::at(layout.dir());
    let mut parts = Vec::new();
    for platform in Platform::DEFAULT {
        let image = layout.image("v1-plain", platform).unwrap();
        let release = Release::new().add(&store, image.descriptor, to.clone(), []);
        let pushed = client.push(&release, &PushOptions::default(), Arc::new(())).await.unwrap();
        assert_eq!((pushed.untagged.len(), pushed.tags.len(), pushed.manifests), (1, 0, 1));
        parts.extend(pushed.untagged);
    }
    parts.reverse();
    let spool = BlobStore::open(folder.path().join("spool")).unwrap();
    let (tags, options) = (vec!["v1".parse().unwrap()], PushOptions::default());
    let joined = client.join(&parts, [].into(), &to, tags, &spool, &options, Arc::new(())).await.unwrap();
    assert_eq!((joined.sent, joined.manifests, joined.moved), (0, 1, 1));
    assert_eq!(joined.tags[0].1, layout.tags()["v1-plain"].digest, "as if they had been built together");
}

#[tokio::test]
async fn blobs_in_chunks_arrive_too_and_go_over_into_another_repository() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 1_000_000);
    let client = client(Options { chunk_above: 200_000, chunk: 300_000, ..hasty() });
    let one = repository(&registry.name(), "acme/kubelet");
    push(&client, &layout, &one).await.unwrap();
    skopeo_agrees(&layout, &one.to_string(), &["--tls-verify=false"], folder.path());
    let two = repository(&registry.name(), "acme/other");
    let release = Release::of_layout(&layout, &two).unwrap();
    let options = PushOptions { mount_from: vec![one], ..PushOptions::default() };
    let pushed = client.push(&release, &options, Arc::new(())).await.unwrap();
    assert_eq!((pushed.mounted, pushed.sent), (9, 0));
}

#[tokio::test]
async fn a_password_opens_a_registry_and_a_wrong_one_does_not() {
    let Some(registry) = DockerRegistry::with_password() else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 1000);
    let to = repository(&registry.name(), "acme/kubelet");
    let with = |password: &str| {
        let (username, password) = (DockerRegistry::USER.to_owned(), Secret::new(password));
        let keychain = Keychain::anonymous().with(to.registry(), Credentials::Basic { username, password });
        Client::new(hasty(), keychain).unwrap()
    };
    for wrong in [with("wrong"), client(hasty())] {
        let error = push(&wrong, &layout, &to).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Authentication, "{error}");
        assert!(error.hint().is_some());
        assert!(wrong.check_login(to.registry()).await.is_err());
    }
    let client = with(DockerRegistry::PASSWORD);
    client.check_login(to.registry()).await.unwrap();
    push(&client, &layout, &to).await.unwrap();
    // As `podman login` would have written it, for one repository only.
    let file = folder.path().join("auth.json");
    kimg_registry::store_login(
        &file,
        &to.to_string(),
        DockerRegistry::USER,
        &Secret::new(DockerRegistry::PASSWORD),
    )
    .unwrap();
    let keychain = Keychain::anonymous().with_auth_file(&file);
    let client = Client::new(hasty(), keychain).unwrap();
    assert_eq!(push(&client, &layout, &to).await.unwrap().sent, 0);
    let elsewhere = repository(&registry.name(), "acme/other");
    let error = push(&client, &layout, &elsewhere).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Authentication, "{error}");
    let Some(skopeo) = tool("skopeo") else { return };
    run(Command::new(skopeo)
        .args(["inspect", "--raw", "--tls-verify=false", "--authfile"])
        .arg(&file)
        .arg(format!("docker://{to}:v1-plain")));
}

#[tokio::test]
async fn a_registry_behind_tls_is_trusted_with_its_authority_only() {
    let Some(registry) = DockerRegistry::over_tls() else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 1000);
    let to = repository(&registry.name(), "acme/kubelet");
    let error = push(&client(hasty()), &layout, &to).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Network, "{error}");
    let authorities = folder.path().join("ca.crt");
    fs_err::write(&authorities, FolderServer::authority()).unwrap();
    let trusting = client(Options { ca_file: Some(authorities), ..hasty() });
    push(&trusting, &layout, &to).await.unwrap();
    let insecure = client(Options { insecure: true, ..hasty() });
    assert_eq!(push(&insecure, &layout, &to).await.unwrap().sent, 0);
    let flag = format!("--cert-dir={}", folder.path().display());
    let Some(skopeo) = tool("skopeo") else { return };
    let reference: Reference = format!("{to}:v1-plain").parse().unwrap();
    let raw =
        run(Command::new(skopeo).args(["inspect", "--raw", &flag]).arg(format!("docker://{reference}")));
    assert_eq!(raw.into_bytes(), trusting.manifest(&reference).await.unwrap().bytes);
}

#[tokio::test]
async fn a_tag_that_names_something_else_stays_unless_it_may_move() {
    let Some(registry) = DockerRegistry::plain() else { return };
    let folder = tempdir().unwrap();
    let old = layout(&folder.path().join("old"), &["plain"], 1000);
    let new = layout(&folder.path().join("new"), &["plain"], 2000);
    let to = repository(&registry.name(), "acme/kubelet");
    let client = client(hasty());
    push(&client, &old, &to).await.unwrap();
    let release = Release::of_layout(&new, &to).unwrap();
    let plan = client.plan(&release, &PushOptions::default()).await.unwrap();
    assert_eq!((plan.taken().len(), plan.manifests.len(), plan.blobs.len()), (2, 4, 9));
    assert_eq!(plan.bytes_to_send(), made::blob_bytes(&new));
    let error = client.push(&release, &PushOptions::default(), Arc::new(())).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Conflict);
    let RegistryError::TagTaken { taken } = error else { panic!("{error}") };
    assert_eq!(taken.len(), 2);
    let name: Reference = format!("{to}:v1-plain").parse().unwrap();
    assert_eq!(client.head(&name).await.unwrap(), Some(old.tags()["v1-plain"].digest));
    let options = PushOptions { move_tags: true, ..PushOptions::default() };
    assert_eq!(client.push(&release, &options, Arc::new(())).await.unwrap().moved, 2);
    assert_eq!(client.head(&name).await.unwrap(), Some(new.tags()["v1-plain"].digest));
}

#[tokio::test]
async fn a_proxy_is_gone_through_unless_the_host_is_excepted() {
    let (Some(plain), Some(secure)) = (DockerRegistry::plain(), DockerRegistry::over_tls()) else { return };
    let folder = tempdir().unwrap();
    let layout = layout(folder.path(), &["plain"], 1000);
    let authorities = folder.path().join("ca.crt");
    fs_err::write(&authorities, FolderServer::authority()).unwrap();
    let proxy = ForwardProxy::start();
    let through = |except: Option<&str>| {
        let (http, https) = (Some(proxy.url()), Some(proxy.url()));
        let proxies = Proxies { http, https, except: except.map(str::to_owned) };
        client(Options { ca_file: Some(authorities.clone()), proxies, ..hasty() })
    };
    push(&through(None), &layout, &repository(&secure.name(), "a")).await.unwrap();
    assert!(proxy.asked().contains(&secure.name()), "a tunnel: {:?}", proxy.asked());
    let to = repository(&plain.name(), "a");
    push(&client(hasty()), &layout, &to).await.unwrap();
    // The proxy passes only GET on.
    let tag = to.tagged("v1-plain".parse().unwrap());
    through(None).manifest(&tag).await.unwrap();
    let asked = proxy.asked().len();
    assert!(proxy.asked().iter().any(|it| it.ends_with("/v2/a/manifests/v1-plain")), "{:?}", proxy.asked());
    for registry in [&plain, &secure] {
        push(&through(Some("127.0.0.1")), &layout, &repository(&registry.name(), "b")).await.unwrap();
    }
    assert_eq!(proxy.asked().len(), asked, "nobody asked the proxy");
    let shown =
        format!("{:?}", Proxies { http: Some("http://me:hunter2@proxy:1".into()), ..Proxies::default() });
    assert!(shown.contains("proxy:1") && !shown.contains("hunter2"), "{shown}");
}
