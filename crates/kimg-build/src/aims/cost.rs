//! What a way to pack a program costs, so that one can be held against another.

use std::time::Duration;

use super::Objective;

/// Bytes on the disk that count as much as one that is pulled.
const DISK: u64 = 4;
/// Bytes for each millisecond of a start of a program that is started often.
const OFTEN: u64 = 10_000;
/// The same for one that is started seldom.
const SELDOM: u64 = 1_000;

/// What was measured of a program, packed in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// What it adds to what is pulled, in bytes.
    pub pulled: u64,
    /// What it takes on the disk, in bytes.
    pub disk: u64,
    /// How long it takes to start, where that could be measured.
    pub start: Start,
}

/// How a program starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start {
    /// How long it takes; `None` where it can't be started, or only under an emulator.
    pub time: Option<Duration>,
    /// Whether that is often.
    pub often: bool,
}

/// What it costs, in bytes or what counts as much; less is better. Of equal ones the smaller on the disk is better.
pub fn cost(objective: Objective, measured: &Cost) -> (u64, u64) {
    let Cost { pulled, disk, start } = *measured;
    match objective {
        Objective::Pull => (pulled, disk),
        Objective::Disk => (disk, pulled),
        Objective::Balanced => {
            let each = if start.often { OFTEN } else { SELDOM };
            let micros = start.time.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            (pulled + disk / DISK + micros.saturating_mul(each) / 1000, disk)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(pulled: u64, disk: u64, millis: u64, often: bool) -> Cost {
        Cost { pulled, disk, start: Start { time: Some(Duration::from_millis(millis)), often } }
    }

    /// The measures of kimg-pack's page, and what compressing the results gives.
    #[test]
    fn what_was_measured_leads_to_the_defaults() {
        let best = |objective, ways: &[(&'static str, Cost)]| {
            ways.iter().min_by_key(|(_, measured)| cost(objective, measured)).map(|(name, _)| *name)
        };
        let kubeadm = [
            ("plain", measured(11_800_000, 42_728_768, 41, false)),
            ("upx -9", measured(11_567_732, 11_567_732, 160, false)),
            ("upx --best --lzma", measured(8_164_704, 8_164_704, 533, false)),
        ];
        let bridge = [
            ("plain", measured(1_230_000, 2_928_640, 2, true)),
            ("upx -9", measured(1_197_204, 1_197_204, 20, true)),
            ("upx --best --lzma", measured(951_788, 951_788, 75, true)),
        ];
        // A sixteenth of what all the plugins take in one layer.
        let bridge_in_zstd = [("plain", measured(410_000, 2_928_640, 2, true)), bridge[1], bridge[2]];
        assert_eq!(best(Objective::Balanced, &kubeadm), Some("upx --best --lzma"));
        assert_eq!(best(Objective::Balanced, &bridge), Some("upx -9"));
        assert_eq!(best(Objective::Balanced, &bridge_in_zstd), Some("plain"));
        assert_eq!(best(Objective::Pull, &bridge), Some("upx --best --lzma"));
        assert_eq!(best(Objective::Pull, &bridge_in_zstd), Some("plain"));
        assert_eq!(best(Objective::Disk, &bridge_in_zstd), Some("upx --best --lzma"));
    }
}
