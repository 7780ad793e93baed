//! The embedded sample: a repository with every package that kimg's variants name, none of it real.

mod base;
mod kubernetes;
mod maker;
mod network;

use std::collections::BTreeMap;
use std::path::Path;

use kimg_core::Platform;

use crate::repository::{RepositoryBuilder, write_files};
use crate::{SampleError, Signer};
use maker::Maker;

/// The version of Kubernetes that the sample's packages claim to be.
pub const KUBERNETES_VERSION: &str = "1.34.2";

/// The sample: files and keys as a source has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The repository, by path: `armv7/APKINDEX.tar.gz`, `armv7/kubelet-1.34.2-r0.apk`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The public keys it is signed with: file name and PEM text.
    pub keys: Vec<(String, String)>,
}

impl Sample {
    /// Writes the repository to `folder/repo` and the keys to `folder/keys`; both are made if they are not there.
    pub fn write_to(&self, folder: &Path) -> Result<(), SampleError> {
        write_files(&self.files, &folder.join("repo"))?;
        let keys = self.keys.iter().map(|(name, pem)| (name.clone(), pem.clone().into_bytes())).collect();
        write_files(&keys, &folder.join("keys"))
    }
}

/// Makes the sample for `linux/amd64`, `linux/arm64` and `linux/arm/v7`: the same bytes every time, on any machine.
pub fn sample() -> Sample {
    let signer = Signer::sample();
    let keys = vec![(signer.key_name().to_owned(), signer.public_pem().to_owned())];
    let mut repository = RepositoryBuilder::new(Signer::sample())
        .description("SAMPLE: made by kimg itself, not Alpine's packages");
    for platform in Platform::DEFAULT {
        let maker = Maker::new(platform);
        let packages =
            [base::packages(maker), network::packages(maker), kubernetes::packages(maker)].concat();
        repository = repository
            .packages(platform, packages.into_iter().map(|package| package.finish().build(&signer)));
    }
    Sample { files: repository.build().files, keys }
}
