//! How programs are packed and layers compressed: as the lock says where it knows, else by default.

use std::collections::BTreeMap;

use kimg_core::{Digest, Platform, Variant};
use kimg_layer::Codec;
use kimg_pack::Packing;
use kimg_source::Lock;
use kimg_source::lock::LockError;

use super::{Aims, Use};
use crate::error::BuildError;

/// The decisions for a build.
#[derive(Debug, Clone, Default)]
pub struct Decisions {
    aims: Aims,
    packings: BTreeMap<(Platform, Digest), Pinned>,
    codecs: BTreeMap<(Platform, String, Option<String>, String), Codec>,
}

/// How a program is packed, and what has to come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// How.
    pub packing: Packing,
    /// The digest of the result, where something was measured.
    pub result: Option<Digest>,
}

impl Decisions {
    /// What a lock, read from `path`, says for these aims.
    pub fn new(aims: Aims, lock: Option<&Lock>, path: &str) -> Result<Self, BuildError> {
        let mut decisions = Self { aims, ..Self::default() };
        let Some(lock) = lock else { return Ok(decisions) };
        let wanted = aims.to_string();
        let malformed = |why: String| LockError::Malformed { path: path.to_owned(), why };
        for locked in lock.packings.iter().filter(|locked| locked.aims == wanted) {
            let packing =
                locked.packing.parse().map_err(|e: kimg_pack::PackingError| malformed(e.to_string()))?;
            let pinned = Pinned { packing, result: Some(locked.result.unwrap_or(locked.sha256)) };
            decisions.packings.insert((locked.platform, locked.sha256), pinned);
        }
        // A codec that was said as a whole holds for every layer.
        for locked in lock.layers.iter().filter(|locked| locked.aims == wanted && aims.codec.is_none()) {
            let codec = locked.codec.parse().map_err(|e: kimg_layer::CodecError| malformed(e.to_string()))?;
            let (image, variant, layer) = (&locked.image, &locked.variant, &locked.layer);
            let key = (locked.platform, image.clone(), variant.clone(), layer.clone());
            decisions.codecs.insert(key, codec);
        }
        Ok(decisions)
    }

    /// How a program with these bytes is packed.
    pub fn packing(&self, platform: Platform, program: Digest, how_used: Use) -> Pinned {
        let default = || Pinned { packing: self.aims.packing(how_used), result: None };
        self.packings.get(&(platform, program)).copied().unwrap_or_else(default)
    }

    /// How a layer of a variant is compressed. Layers that variants share are, in each of them, alike: also where only one
    /// of them was tuned.
    pub fn codec(&self, platform: Platform, variant: &Variant, layer: &str) -> Codec {
        let own = self.aims.own_layer(variant);
        let key = (platform, variant.image.clone(), own, layer.to_owned());
        self.codecs.get(&key).copied().unwrap_or_else(|| self.aims.codec())
    }
}

#[cfg(test)]
mod tests {
    use kimg_source::lock::{LockedLayer, LockedPacking};

    use super::*;

    fn lock() -> Lock {
        let aims = Aims::default().to_string();
        let packing = LockedPacking {
            aims: aims.clone(),
            platform: Platform::Amd64,
            program: "/opt/cni/bin/bridge".into(),
            sha256: Digest::of("bridge"),
            packing: "strip".into(),
            result: Some(Digest::of("stripped")),
        };
        let layer = LockedLayer {
            aims,
            platform: Platform::Amd64,
            image: "kubelet".into(),
            variant: None,
            layer: "base".into(),
            codec: "gzip:12".into(),
        };
        let mut lock = Lock::new();
        (lock.packings, lock.layers) = (vec![packing], vec![layer]);
        lock
    }

    #[test]
    fn what_the_lock_says_holds_for_its_aims_and_its_program_alone() {
        let often = Use { daemon: false, often: true };
        let lock = lock();
        let decisions = Decisions::new(Aims::default(), Some(&lock), "kimg.lock").unwrap();
        let bridge = decisions.packing(Platform::Amd64, Digest::of("bridge"), often);
        assert_eq!(bridge, Pinned { packing: Packing::STRIP, result: Some(Digest::of("stripped")) });
        let other = decisions.packing(Platform::Arm64, Digest::of("bridge"), often);
        assert_eq!((other.packing.to_string().as_str(), other.result), ("strip + upx -9", None));
        let all = crate::variants::Variants::built_in().unwrap();
        let codec = |variant: &str, layer: &str| {
            let variant = kimg_core::variant::resolve(variant, &all.written).unwrap();
            decisions.codec(Platform::Amd64, &variant, layer).to_string()
        };
        assert_eq!((codec("cni", "base"), codec("plain", "base")), ("gzip:12".into(), "gzip:12".into()));
        assert_eq!((codec("cni", "cni"), codec("kube-proxy", "base")), ("gzip:9".into(), "gzip:9".into()));

        let pull = Aims { objective: crate::aims::Objective::Pull, ..Aims::default() };
        let decisions = Decisions::new(pull, Some(&lock), "kimg.lock").unwrap();
        assert_eq!(
            decisions.packing(Platform::Amd64, Digest::of("bridge"), often).packing,
            Packing::STRIP_UPX
        );
    }

    #[test]
    fn a_lock_that_says_what_nobody_knows_is_malformed() {
        let mut lock = lock();
        lock.packings[0].packing = "upx --brute".into();
        let error = Decisions::new(Aims::default(), Some(&lock), "kimg.lock").unwrap_err();
        assert!(error.to_string().contains("kimg.lock"), "{error}");
    }
}
