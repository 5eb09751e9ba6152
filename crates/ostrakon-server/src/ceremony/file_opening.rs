use std::collections::BTreeMap;

use ostrakon_shards::{
    card::DeviceKind,
    ceremony::{Plan, Requester, Subject, Tally},
    device::DeviceKeys,
    name::Name,
    profile::SignedVersion,
    seal::Sealed,
    sealed_shard::{FileShare, GivenShare, GivenShareError, PublicContext},
    share::{FileKey, combine},
};
use ostrakon_types::{DeviceId, ProfileId};

use super::{Asking, ConveneError, Convened, Progress, profile::newest, take};
use crate::Clock;

/// The key of an encrypted file, a backup file above all, that is to come to this machine once the devices
/// of the profile that the file is encrypted for give their shares.
pub struct FileOpening {
    clock: Clock,
    shares: BTreeMap<DeviceId, PublicContext>,
    tally: Tally,
    convened: Convened,
}

/// Why a profile's devices cannot be asked to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotOfProfile {
    /// It has no share for any device of it.
    #[error("the file has no share for a device of profile {profile}")]
    NoShare {
        /// The profile.
        profile: ProfileId,
    },
    /// Too few of those that hold a share are left, or some of them cannot answer. A key shard server gives its
    /// share for requests alone.
    #[error(
        "it takes {needed} devices to open the file, and {left} that hold a share can be asked"
    )]
    TooFew {
        /// How many it takes.
        needed: u8,
        /// How many are left.
        left: usize,
    },
}

impl FileOpening {
    /// Asks the devices of the profile with these versions for their shares of the file's key, which stand in
    /// its header.
    ///
    /// # Errors
    /// When too few of them hold one, or they cannot be asked.
    pub fn open(
        shares: Vec<FileShare>,
        versions: &[SignedVersion],
        machine: Name,
        wait_ms: i64,
        clock: &Clock,
    ) -> Result<Self, ConveneError> {
        let (profile, versions) = newest(&[], versions)?;
        let answers = |share: &FileShare| {
            let card = profile.member(&share.public.device);
            card.is_some_and(|card| card.kind != DeviceKind::Keyserver)
        };
        let shares: BTreeMap<DeviceId, FileShare> = shares
            .into_iter()
            .filter(|share| share.public.profile == profile.id() && answers(share))
            .map(|share| (share.public.device, share))
            .collect();
        let first = shares.values().next().map(|share| share.public);
        let first = first.ok_or(NotOfProfile::NoShare {
            profile: profile.id(),
        })?;
        if shares.len() < usize::from(first.threshold) {
            return Err(NotOfProfile::TooFew {
                needed: first.threshold,
                left: shares.len(),
            }
            .into());
        }
        let keys = DeviceKeys::generate()?;
        let plan = Plan {
            subject: Subject::OpenFile {
                file: first.cryptographic_id,
                set: first.set_id,
                manifest: first.manifest,
                machine: machine.clone(),
            },
            threshold: first.threshold,
            requester: Requester::Machine(keys.card(DeviceKind::Workstation, machine)),
            lifetime_ms: wait_ms,
        };
        let tally = Tally::open(&profile, plan, &keys.signing, clock.now())?;
        let own = |device: &DeviceId| shares.get(device).map(FileShare::to_bytes);
        Ok(Self {
            convened: Convened::enclosing(&tally, &profile, &versions, own)?,
            clock: clock.clone(),
            shares: shares
                .into_iter()
                .map(|(device, share)| (device, share.public))
                .collect(),
            tally,
        })
    }

    /// Puts the key together.
    ///
    /// # Errors
    /// When too few devices gave their shares.
    pub fn finish(self) -> Result<FileKey, ConveneError> {
        let completed = self.tally.complete(self.clock.now());
        let completed = completed.map_err(|stand| ConveneError::NotApproved(stand.into()))?;
        let mut manifest = None;
        let mut shards = Vec::new();
        for given in completed.shares().unwrap_or_default() {
            // Others were set aside.
            if let Some(public) = self.shares.get(&given.device)
                && let Ok(share) = GivenShare::from_bytes(&given.share, public)
            {
                shards.push(share.shard);
                manifest = Some(share.manifest);
            }
        }
        let not_enough = || ConveneError::NotApproved(super::Stand::Expired);
        let manifest = manifest.ok_or_else(not_enough)?;
        Ok(combine(&manifest, &shards)?.key)
    }

    /// Whether a device gave the share that the file has for it.
    fn check(&self, device: DeviceId, bytes: &[u8]) -> Result<(), GivenShareError> {
        let public = self.shares.get(&device);
        let public = public.ok_or(GivenShareError::OtherContext)?;
        GivenShare::from_bytes(bytes, public).map(drop)
    }
}

impl Asking for FileOpening {
    fn convened(&self) -> &Convened {
        &self.convened
    }

    /// A share that is not the one in the file does not count, and is told of.
    async fn take(&mut self, answers: Vec<Sealed>) -> Result<Progress, ConveneError> {
        let now = self.clock.now();
        let mut progress = take(&mut self.tally, &answers, now);
        for device in progress.answered.clone() {
            let why = match self.tally.share_of(&device) {
                Ok(Some(share)) => match self.check(device, &share) {
                    Ok(()) => continue,
                    Err(error) => error.to_string(),
                },
                // It denied.
                Ok(None) => continue,
                Err(error) => error.to_string(),
            };
            self.tally.set_aside(&device);
            progress
                .refused
                .push(format!("the share of device {device}: {why}"));
        }
        progress.stand = self.tally.standing(now).into();
        Ok(progress)
    }
}
