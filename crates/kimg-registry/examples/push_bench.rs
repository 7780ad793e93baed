//! How fast a layout is pushed, beside `skopeo copy --all` of the same layout into the same kind of registry (Debian's
//! `docker-registry`, on the loopback address).
//!
//! ```text
//! cargo run --release -p kimg-registry --example push_bench -- out [rounds]
//! ```
//! Without a layout, it makes one: five variants × three platforms, 80 MB.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kimg_core::{Content, Entry, ImagePath, Origin, Platform};
use kimg_image::{ImageLayer, ImageSpec, Layout, RunConfig, Tagged, assemble, join, write_layout};
use kimg_layer::{BlobStore, Codec};
use kimg_registry::{Client, Keychain, Options, PushOptions, Pushed, Release, Repository};
use kimg_testkit::{DockerRegistry, run, tempdir, tool};

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Anything<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = tempdir()?;
    let layout = match arguments.next() {
        Some(path) => Layout::open(PathBuf::from(path))?,
        None => made(folder.path())?,
    };
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let (Some(_), Some(skopeo)) = (DockerRegistry::plain(), tool("skopeo")) else { return Ok(()) };

    let blobs = BlobStore::at(layout.dir()).list()?;
    let bytes: u64 = blobs.iter().map(|(_, size)| size).sum();
    println!(
        "{} tags, {} blobs and manifests, {:.1} MB\n",
        layout.tags().len(),
        blobs.len(),
        megabytes(bytes)
    );
    let mut rows: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut sent = Pushed::default();
    let mut manifests = 0;
    for _ in 0..rounds {
        let registry = DockerRegistry::plain().ok_or("docker-registry has gone")?;
        let to: Repository = format!("{}/acme/kubelet", registry.name()).parse()?;
        let release = Release::below(&layout, &to)?;
        let client = Client::new(Options::default(), Keychain::anonymous())?;
        for row in ["kimg, cold", "kimg, nothing new"] {
            let begin = Instant::now();
            let pushed = client.push(&release, &PushOptions::default(), Arc::new(())).await?;
            rows.entry(row).or_default().push(begin.elapsed());
            if row == "kimg, cold" {
                manifests = pushed.manifests;
                sent = pushed;
            }
        }
        drop(registry);

        let registry = DockerRegistry::plain().ok_or("docker-registry has gone")?;
        for row in ["skopeo copy --all, cold", "skopeo copy --all, nothing new"] {
            let begin = Instant::now();
            for tag in layout.tags().keys() {
                copy(&skopeo, &layout, tag, &registry);
            }
            rows.entry(row).or_default().push(begin.elapsed());
        }
    }
    println!("| median of {rounds} | ms | ms for each manifest |\n| --- | ---: | ---: |");
    for (row, mut times) in rows {
        times.sort();
        let ms = times[times.len() / 2].as_secs_f64() * 1000.0;
        println!("| {row} | {ms:.0} | {:.2} |", ms / f64::from(u32::try_from(manifests)?));
    }
    println!(
        "\ncold, kimg sent {} blobs ({:.1} MB), took {} over from other repositories, and sent {} manifests and indexes",
        sent.sent,
        megabytes(sent.sent_bytes),
        sent.mounted,
        sent.manifests
    );
    Ok(())
}

fn copy(skopeo: &Path, layout: &Layout, tag: &str, registry: &DockerRegistry) {
    let (name, only_tag) = tag.rsplit_once(':').map_or(("", tag), |(name, tag)| (name, tag));
    let to = format!("{}/acme/kubelet/{name}", registry.name());
    run(Command::new(skopeo)
        .args(["--insecure-policy", "copy", "--all", "--quiet", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:{tag}", layout.dir().display()))
        .arg(format!("docker://{}:{only_tag}", to.trim_end_matches('/'))));
}

#[expect(clippy::cast_precision_loss, reason = "for people, to one place")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Five variants that share a base, of bytes that don't compress.
fn made(folder: &Path) -> Anything<Layout> {
    let store = BlobStore::open(folder.join("store"))?;
    let layer = |seed: u64, size: usize| -> Anything<ImageLayer> {
        let content = Content::from_bytes(kimg_testkit::noise(seed, size));
        let entry = Entry::file(content, 0o755, Origin::generated("bench"));
        let entries = BTreeMap::from([(ImagePath::new("/file")?, entry)]);
        let options =
            kimg_layer::Options { codec: Codec::Gzip { level: 1 }, ..kimg_layer::Options::default() };
        let info = store.put_layer(&entries, &options)?;
        Ok(ImageLayer { info, created_by: "bench".into(), comment: None })
    };
    let mut tagged = Vec::new();
    for (variant, n) in ["plain", "flannel", "cni", "kubeadm", "kubeadm-cni"].into_iter().zip(1_u64..) {
        let mut images = Vec::new();
        for (platform, p) in Platform::DEFAULT.into_iter().zip(1_u64..) {
            images.push(assemble(&ImageSpec {
                platform,
                created: Some(0),
                author: None,
                config: RunConfig::default(),
                layers: vec![layer(p, 20_000_000)?, layer(100 * n + p, 1_300_000)?],
                annotations: BTreeMap::new(),
            })?);
        }
        let tags = vec![format!("kubelet:v1-{variant}"), format!("kubelet:v1.2-{variant}")];
        tagged.push(Tagged { tags, image: join(images, BTreeMap::new())? });
    }
    let out = folder.join("out");
    write_layout(&out, &tagged, &store)?;
    Ok(Layout::open(out)?)
}
