//! Copies every input of a project's images into one folder, so that they can be built again when mirrors have dropped
//! the versions.

use std::path::Path;

use kimg_source::vendor::{Vendored, Writer};

use crate::build::{Build, network};
use crate::error::BuildError;
use crate::inputs::{self, platform};

impl Build<'_> {
    /// Resolves and verifies as a build does, pins it in the lock, and writes the packages, programs and keys into a
    /// folder, which appears when it is whole.
    pub fn vendor(&self, folder: &Path) -> Result<Vendored, BuildError> {
        let mut writer = Writer::new(folder, &self.project.platforms)?;
        let gathered = self.gather()?;
        let reader = self.reader();
        let (_, trusted) = platform::sources(self.project, &reader)?;
        network()?.block_on(async {
            for ((platform, _), sourced) in &gathered.sourced {
                let ring = platform::ring(*platform, &trusted)?;
                let (package, repository) = (&sourced.package, &sourced.repository);
                let file = repository.file(&package.record, package.digest, *platform, &ring, &reader);
                writer.package(*platform, repository.tag.as_deref(), &package.record, &file.await?)?;
            }
            for platform in self.project.platforms.iter().copied() {
                for own in self.project.programs_for(platform) {
                    let locked = gathered.lock.program(&own.program.name, platform);
                    if own.program.location.as_path().is_some_and(Path::is_dir) {
                        return Err(BuildError::settings_hint(
                            format!(
                                "the source of {} is a folder, and only archives are vendored",
                                own.program.name
                            ),
                            "pack it as .tar.gz, and name that in `source`",
                        ));
                    }
                    let program = self.project.vendored(&own.program, locked);
                    // What is compiled may have been pinned by its first use.
                    let whole = match own.compiled {
                        Some(_) => program.whole_or_first(&reader).await?,
                        None => program.whole(&reader).await?,
                    };
                    writer.program(&whole)?;
                }
                for (name, pem) in platform::key_files(platform, &trusted)? {
                    writer.key(platform, &name, &pem)?;
                }
            }
            Ok::<_, BuildError>(())
        })?;
        inputs::write_lock(&self.lock, &gathered.lock)?;
        Ok(writer.finish(&gathered.lock, gathered.alpine.as_deref())?)
    }
}
