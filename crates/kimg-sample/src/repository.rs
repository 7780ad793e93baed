//! Builds signed repositories: a folder for each architecture with its packages and `APKINDEX.tar.gz`.
//!
//! ```
//! use kimg_core::Platform;
//! use kimg_sample::Signer;
//! use kimg_sample::package::PackageBuilder;
//! use kimg_sample::repository::RepositoryBuilder;
//!
//! let signer = Signer::sample();
//! let package = PackageBuilder::new("hello", "1.0-r0", Platform::ArmV7).build(&signer);
//! let repository = RepositoryBuilder::new(signer).package(Platform::ArmV7, package).build();
//! let names: Vec<_> = repository.files.keys().collect();
//! assert_eq!(names, ["armv7/APKINDEX.tar.gz", "armv7/hello-1.0-r0.apk"]);
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use kimg_core::Platform;

use crate::package::archive::{TarEntry, gzip, whole_tar};
use crate::package::{BuiltPackage, signature_member};
use crate::{SampleError, Signer};

/// A repository to be built.
#[derive(Debug)]
pub struct RepositoryBuilder {
    signer: Signer,
    description: String,
    packages: BTreeMap<Platform, Vec<BuiltPackage>>,
}

impl RepositoryBuilder {
    /// A repository without packages whose indexes will be signed by `signer`.
    pub fn new(signer: Signer) -> Self {
        Self { signer, description: "made by kimg-sample".to_owned(), packages: BTreeMap::new() }
    }

    /// Sets the text of each index's `DESCRIPTION`.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Adds a package to the folder of a platform. The index names it in the order of adding,
    /// and with the folder's architecture even if the package says `noarch`, as Alpine's do.
    pub fn package(mut self, platform: Platform, mut package: BuiltPackage) -> Self {
        if let Some(arch) =
            package.fields.iter_mut().find(|(letter, value)| *letter == 'A' && value == "noarch")
        {
            platform.alpine().clone_into(&mut arch.1);
        }
        self.packages.entry(platform).or_default().push(package);
        self
    }

    /// Adds packages, as [`RepositoryBuilder::package`] does.
    pub fn packages(self, platform: Platform, packages: impl IntoIterator<Item = BuiltPackage>) -> Self {
        packages.into_iter().fold(self, |all, package| all.package(platform, package))
    }

    /// Writes and signs the indexes.
    pub fn build(&self) -> Repository {
        let mut files = BTreeMap::new();
        for (platform, packages) in &self.packages {
            files.insert(format!("{}/APKINDEX.tar.gz", platform.alpine()), self.index(packages));
            for package in packages {
                files.insert(format!("{}/{}", platform.alpine(), package.file_name()), package.bytes.clone());
            }
        }
        Repository { files }
    }

    fn index(&self, packages: &[BuiltPackage]) -> Vec<u8> {
        let records: String = packages.iter().map(|package| package.record() + "\n").collect();
        let entries =
            [TarEntry::file("DESCRIPTION", self.description.as_bytes()), TarEntry::file("APKINDEX", records)];
        let index = gzip(&whole_tar(&entries, false));
        [signature_member(&self.signer, &index), index].concat()
    }
}

/// A built repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Every file by its path below the repository: `armv7/APKINDEX.tar.gz`, `armv7/kubelet-1.34.2-r0.apk`.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// Writes all files below a folder, which is made if it is not there.
    pub fn write_to(&self, folder: &Path) -> Result<(), SampleError> {
        write_files(&self.files, folder)
    }
}

/// Writes files below a folder. Their paths come from this crate or from a test, never from outside.
pub(crate) fn write_files(files: &BTreeMap<String, Vec<u8>>, folder: &Path) -> Result<(), SampleError> {
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(SampleError::Write)?;
        }
        fs::write(&path, bytes).map_err(SampleError::Write)?;
    }
    Ok(())
}
