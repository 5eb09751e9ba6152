use std::fmt;

use ostrakon_shards::{card::DeviceKind, profile::Profile};
use serde::{Deserialize, Serialize};

/// How many approvals it should take at least.
const THRESHOLD: u8 = 3;
/// How many devices should hold a share at least.
const DEVICES: usize = 5;
/// How many of them should be carried by people, and as many sets of recovery words there should be.
const MOBILES: usize = 2;

/// How many devices of which kind hold a share of a backup key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderCount {
    /// How many of them open it.
    pub threshold: u8,
    /// All of them.
    pub devices: usize,
    /// Those that people carry.
    pub mobiles: usize,
    /// Sets of recovery words.
    pub recovery_words: usize,
}

/// What is wrong with a profile that is to hold a backup key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// It takes too few devices.
    Threshold(u8),
    /// It has too few devices.
    Devices(usize),
    /// It has too few mobile devices.
    Mobiles(usize),
}

/// A profile that is not fit to hold a backup key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the profile is not safe enough to hold the backup key: {}", listed(.0))]
pub struct WeakProfile(pub Vec<Weakness>);

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold(is) => write!(f, "its threshold is {is}, not {THRESHOLD} or more"),
            Self::Devices(is) => {
                write!(
                    f,
                    "it has {}, not {DEVICES} or more",
                    counted(*is, "device")
                )
            }
            Self::Mobiles(is) => {
                let devices = counted(*is, "mobile device");
                write!(f, "it has {devices}, not {MOBILES} or more")
            }
        }
    }
}

/// So many of what `noun` names one of.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn listed(weaknesses: &[Weakness]) -> String {
    let all: Vec<_> = weaknesses.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// Counts the devices that hold a share, as the profile is now.
pub(crate) fn holder_count(profile: &Profile) -> HolderCount {
    let of = |kind| {
        let devices = profile.version().devices.iter();
        devices.filter(|card| card.kind == kind).count()
    };
    HolderCount {
        threshold: profile.threshold().needed(),
        devices: profile.version().devices.len() - of(DeviceKind::Keyserver),
        mobiles: of(DeviceKind::Mobile),
        recovery_words: of(DeviceKind::Recovery),
    }
}

/// Checks that a profile is fit to hold a backup key.
pub(super) fn check(profile: &Profile) -> Result<(), WeakProfile> {
    let count = holder_count(profile);
    let mut weaknesses = Vec::new();
    if count.threshold < THRESHOLD {
        weaknesses.push(Weakness::Threshold(count.threshold));
    }
    if count.devices < DEVICES {
        weaknesses.push(Weakness::Devices(count.devices));
    }
    if count.mobiles < MOBILES {
        weaknesses.push(Weakness::Mobiles(count.mobiles));
    }
    if weaknesses.is_empty() {
        Ok(())
    } else {
        Err(WeakProfile(weaknesses))
    }
}

impl HolderCount {
    /// What should be bettered, ready to be shown: people lose phones, and paper.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.mobiles < MOBILES {
            let devices = counted(self.mobiles, "mobile device");
            warnings.push(format!("the backup key has {devices}, not {MOBILES}"));
        }
        if self.recovery_words < MOBILES {
            let sets = match self.recovery_words {
                1 => "1 set".to_owned(),
                sets => format!("{sets} sets"),
            };
            warnings.push(format!(
                "the backup key has {sets} of recovery words, not {MOBILES}"
            ));
        }
        warnings
    }
}
