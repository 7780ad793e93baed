//! Where images are written, and in which form: what `--output` says, checked before anything is built.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use kimg_core::{Platform, Variant};
use kimg_rootfs::squashfs::{Codec, CodecError};

use crate::error::BuildError;
use crate::project::Overrides;
use crate::settings::Settings;

/// The variant that is built when nothing but portable services is wanted, and no variant is named.
pub(crate) const PORTABLE: &str = "portable";

/// One place to write images to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its form.
    pub form: OutputForm,
    /// The folder or file; `-` is standard output.
    pub destination: PathBuf,
}

/// The forms in which images are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// A folder (OCI image layout).
    Oci,
    /// The same as one tar file.
    OciArchive,
    /// What `docker load` reads: one platform.
    DockerArchive,
    /// The files alone, as one tar archive for each image.
    RootfsTar,
    /// The files alone, as one EROFS file system for each image.
    Erofs,
    /// A portable service of systemd for each image: a squashfs file system.
    Portable(Codec),
}

impl OutputForm {
    /// Whether each image becomes a plain file: its files, and nothing that a registry or a runtime would know.
    pub fn is_files(self) -> bool {
        self.extension().is_some()
    }

    /// As `--output` has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
            Self::RootfsTar => "rootfs-tar",
            Self::Erofs => "erofs",
            Self::Portable(_) => "portable",
        }
    }

    /// What the name of a file ends in, where each image is one.
    pub(crate) fn extension(self) -> Option<&'static str> {
        match self {
            Self::Oci | Self::OciArchive | Self::DockerArchive => None,
            Self::RootfsTar => Some("tar"),
            Self::Erofs => Some("erofs"),
            Self::Portable(_) => Some("raw"),
        }
    }
}

impl Output {
    /// Whether it is a portable service.
    pub(crate) fn is_portable(&self) -> bool {
        matches!(self.form, OutputForm::Portable(_))
    }

    /// Whether its destination is the name of one file, and not a folder for several.
    pub fn is_one_file(&self) -> bool {
        match self.form.extension() {
            Some(extension) => {
                let said = self.destination.extension().and_then(|e| e.to_str());
                self.destination == Path::new("-") || said == Some(extension)
            }
            None => self.form != OutputForm::Oci,
        }
    }
}

impl FromStr for Output {
    type Err = BuildError;

    /// Reads what stands behind `--output`: `type=oci-archive,dest=images.tar`, or the folder of a layout.
    fn from_str(text: &str) -> Result<Self, BuildError> {
        let (mut form, mut destination, mut codec) = (None, None, None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("type", "oci")) => form = Some(OutputForm::Oci),
                Some(("type", "oci-archive")) => form = Some(OutputForm::OciArchive),
                Some(("type", "docker-archive" | "docker")) => form = Some(OutputForm::DockerArchive),
                Some(("type", "rootfs-tar")) => form = Some(OutputForm::RootfsTar),
                Some(("type", "erofs")) => form = Some(OutputForm::Erofs),
                Some(("type", "portable")) => form = Some(OutputForm::Portable(Codec::default())),
                Some(("type", other)) => {
                    return Err(BuildError::settings_hint(
                        format!("output type `{other}` is not known"),
                        "the types are oci, oci-archive, docker-archive, rootfs-tar, erofs and portable",
                    ));
                }
                Some(("dest", path)) if !path.is_empty() => destination = Some(PathBuf::from(path)),
                Some(("compression", name)) => {
                    let parsed = name.parse::<Codec>();
                    codec = Some(parsed.map_err(|e: CodecError| BuildError::settings(e.to_string()))?);
                }
                None if !part.is_empty() && text == part => destination = Some(PathBuf::from(part)),
                _ => {
                    return Err(BuildError::settings_hint(
                        format!("output `{text}` can't be read"),
                        "write it as type=oci,dest=out",
                    ));
                }
            }
        }
        let form = match (form.unwrap_or(OutputForm::Oci), codec) {
            (OutputForm::Portable(_), Some(codec)) => OutputForm::Portable(codec),
            (_, Some(_)) => {
                return Err(BuildError::settings_hint(
                    format!("output `{text}`: only type=portable has a compression of its own"),
                    "`--compression` says how layers are compressed",
                ));
            }
            (form, None) => form,
        };
        let destination = match (form, destination) {
            (OutputForm::Oci, Some(path)) if path == Path::new("-") => {
                return Err(BuildError::settings_hint(
                    "a folder can't be written to standard output",
                    "type=oci-archive,dest=- writes one file",
                ));
            }
            (OutputForm::Portable(_) | OutputForm::Erofs, Some(path)) if path == Path::new("-") => {
                return Err(BuildError::settings_hint(
                    "a file system can't be written to standard output: its beginning is written last",
                    "name a folder or a file: type=portable,dest=portable",
                ));
            }
            (_, Some(path)) => path,
            (OutputForm::Oci, None) => "out".into(),
            (OutputForm::Portable(_) | OutputForm::Erofs | OutputForm::RootfsTar, None) => {
                return Err(BuildError::settings(format!("output `{text}` has no dest: a folder or a file")));
            }
            (_, None) => {
                return Err(BuildError::settings(format!(
                    "output `{text}` has no dest: a file, or - for standard output"
                )));
            }
        };
        Ok(Output { form, destination })
    }
}

/// Where images are written: as flags say, else as the settings do, else into `out`.
pub(crate) fn choose(
    settings: &Settings,
    folder: &Path,
    flags: &Overrides,
) -> Result<Vec<Output>, BuildError> {
    match (&flags.outputs[..], &settings.output) {
        ([], None) => Ok(vec![Output { form: OutputForm::Oci, destination: "out".into() }]),
        ([], Some(written)) => {
            let mut outputs = written.iter().map(|o| o.parse()).collect::<Result<Vec<Output>, _>>()?;
            for output in &mut outputs {
                if output.destination != Path::new("-") {
                    output.destination = folder.join(&output.destination);
                }
            }
            Ok(outputs)
        }
        (said, _) => said.iter().map(|o| o.parse()).collect(),
    }
}

/// Refuses, before anything is built, what one of the outputs can't hold.
pub(crate) fn check(
    outputs: &[Output],
    variants: &[Variant],
    platforms: &[Platform],
) -> Result<(), BuildError> {
    for output in outputs {
        if output.form.extension().is_some() && output.is_one_file() && variants.len() * platforms.len() > 1 {
            return Err(BuildError::settings_hint(
                format!("{} is one file, and there is more than one image", output.destination.display()),
                "name a folder, or choose one with `--variant` and `--arch`",
            ));
        }
        if output.is_portable() {
            check_portable(output, variants)?;
        }
    }
    Ok(())
}

fn check_portable(output: &Output, variants: &[Variant]) -> Result<(), BuildError> {
    let mut names = Vec::new();
    for variant in variants {
        let Some(portable) = &variant.portable else {
            return Err(BuildError::settings_hint(
                format!("`{}` is no portable service: it has no units for systemd", variant.name),
                format!(
                    "`--variant {PORTABLE}` is one, and any variant with `extends = [\"portable-base\"]`"
                ),
            ));
        };
        let name = (&variant.image, &portable.suffix);
        if names.contains(&name) {
            return Err(BuildError::settings_hint(
                format!("`{}` and another variant would be one file", variant.name),
                "a `suffix` in its [portable] tells them apart",
            ));
        }
        names.push(name);
        let file = output.destination.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let prefix = file.split('_').next().unwrap_or_default();
        if output.is_one_file() && !portable.takes(prefix) {
            return Err(BuildError::settings_hint(
                format!(
                    "portablectl would not attach {}: it takes `{prefix}` for what its units begin with",
                    output.destination.display()
                ),
                format!("a name that fits is {}_1.raw", portable.prefixes[0]),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(output: &str, variants: &[&str]) -> String {
        let flags = Overrides {
            outputs: vec![output.into()],
            variants: variants.iter().map(ToString::to_string).collect(),
            ..Overrides::default()
        };
        let project = crate::Project::new(&Settings::default(), Path::new("/project"), &flags);
        project.map(|project| format!("{:?}", project.outputs)).unwrap_err().to_string()
    }

    #[test]
    fn nothing_said_but_portable_services_is_the_portable_variant() {
        let flags = Overrides { outputs: vec!["type=portable,dest=p".into()], ..Overrides::default() };
        let project = crate::Project::new(&Settings::default(), Path::new("/project"), &flags).unwrap();
        assert_eq!(project.variants.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["portable"]);
        let both = Overrides { outputs: vec!["type=portable,dest=p".into(), "out".into()], ..flags };
        let error = crate::Project::new(&Settings::default(), Path::new("/project"), &both).unwrap_err();
        assert!(error.to_string().contains("`plain` is no portable service"), "{error}");
    }

    #[test]
    fn what_an_output_can_not_hold_is_refused_before_anything_is_built() {
        for (output, variants, said) in [
            ("type=portable,dest=p", &["cni"][..], "`cni` is no portable service"),
            ("type=portable,dest=p", &["portable", "portable-base"], "would be one file"),
            ("type=portable,dest=kubelet_1.raw", &["portable"], "more than one image"),
            ("type=rootfs-tar,dest=all.tar", &["plain"], "more than one image"),
            ("type=portable", &[], "has no dest"),
            ("type=portable,dest=-", &[], "standard output"),
            ("type=portable,dest=p,compression=gzip", &[], "`gzip` is not a compression of squashfs images"),
            ("type=oci,dest=p,compression=xz", &[], "only type=portable"),
        ] {
            let error = refused(output, variants);
            assert!(error.contains(said), "{output}: {error}");
        }
    }

    #[test]
    fn a_file_whose_name_portablectl_would_refuse_is_refused_here() {
        let one = |dest: &str| {
            let flags = Overrides {
                outputs: vec![format!("type=portable,dest={dest}")],
                platforms: vec![Platform::Amd64],
                ..Overrides::default()
            };
            crate::Project::new(&Settings::default(), Path::new("/project"), &flags).map(|_| ())
        };
        for good in ["kubelet.raw", "kubelet_1.20.2.raw", "images/kubelet-x_2.raw", "node"] {
            one(good).unwrap();
        }
        for bad in ["node.raw", "my_kubelet.raw", "kubelets_1.raw"] {
            assert!(one(bad).unwrap_err().to_string().contains("would not attach"), "{bad}");
        }
    }
}
