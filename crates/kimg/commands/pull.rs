//! `kimg pull`: an image comes out of a registry, every byte of it verified.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use kimg_build::project::{Output, OutputForm};
use kimg_core::Platform;
use kimg_image::Tagged;
use kimg_layer::BlobStore;
use kimg_registry::{RegistryError, Watch};
use kimg_source::Cache;

use crate::commands::registry::{TalkArgs, reference, wait_for};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  kimg pull ghcr.io/acme/kubelet:v1.34.2-cni images                       every platform, into a layout
  kimg pull ghcr.io/acme/kubelet:v1.34.2-cni oci:images:mine --arch armv7
  kimg pull ghcr.io/acme/kubelet:v1.34.2-cni docker-archive:kubelet.tar --arch amd64";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PullArgs {
    /// The image: REPOSITORY:TAG, REPOSITORY@DIGEST
    #[arg(value_name = "REFERENCE")]
    from: String,

    /// The folder of a layout, which is made or added to, oci:PATH[:NAME], oci-archive:PATH[:NAME] or
    /// docker-archive:PATH[:NAME]
    #[arg(value_name = "LAYOUT")]
    to: String,

    /// An architecture: amd64, arm64, armv7; every one that kimg knows when not given
    #[arg(long = "arch", value_name = "ARCH")]
    architectures: Vec<Platform>,

    /// The same in one list: linux/amd64,linux/arm/v7
    #[arg(long = "platform", value_name = "PLATFORMS", value_delimiter = ',')]
    platforms: Vec<Platform>,

    #[command(flatten)]
    talk: TalkArgs,
}

pub(crate) fn run(args: &PullArgs) -> Result<ExitCode, Failure> {
    let from = reference(&args.from)?;
    let (form, rest) = [
        ("oci-archive:", OutputForm::OciArchive),
        ("docker-archive:", OutputForm::DockerArchive),
        ("oci:", OutputForm::Oci),
    ]
    .into_iter()
    .find_map(|(prefix, form)| Some((form, args.to.strip_prefix(prefix)?)))
    .unwrap_or((OutputForm::Oci, &args.to));
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) if !name.is_empty() => (path, name.to_owned()),
        _ => {
            let digest = || from.digest().map_or_else(String::new, |d| d.to_string()[7..19].to_owned());
            let tag = from.tag().map_or_else(digest, ToString::to_string);
            (rest.trim_end_matches(':'), format!("{}:{tag}", from.repository().name()))
        }
    };
    let wanted: Vec<Platform> = args.architectures.iter().chain(&args.platforms).copied().collect();
    let cache = Cache::open(&args.talk.cache_folder()?)?;
    let blobs = BlobStore::open(cache.blobs()).map_err(RegistryError::from)?;
    let client = args.talk.client([from.repository()])?;
    let story = args.talk.story();
    let platforms = (!wanted.is_empty()).then_some(&wanted[..]);
    let watch: Arc<dyn Watch> = Arc::clone(&story) as Arc<dyn Watch>;
    let pulled = wait_for(client.pull(&from, platforms, &blobs, watch))?;
    story.done("Pulled", &format!("{}; every byte verified", story.fetched()));
    let found: Vec<String> = pulled.image.images.iter().map(|image| image.platform.to_string()).collect();
    story.done("Image", &format!("{from} for {}", found.join(", ")));
    if !pulled.left_out.is_empty() {
        story.say(&format!("   left out: {}", pulled.left_out.join(", ")));
    }
    let digest = pulled.image.descriptor.digest;
    let tagged = Tagged { tags: vec![name], image: pulled.image };
    kimg_build::images::write(&Output { form, destination: PathBuf::from(path) }, &[tagged], &blobs)?;
    story.done("Written", path);
    writeln!(std::io::stdout().lock(), "{}@{digest}", from.repository())?;
    Ok(ExitCode::SUCCESS)
}
