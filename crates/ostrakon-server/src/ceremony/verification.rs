use std::collections::BTreeMap;

use ostrakon_shards::{
    backup::{BackupFile, Challenge},
    card::{Card, DeviceKind},
    ceremony::{Contribution, Plan, Requester, Subject, Tally},
    device::DeviceKeys,
    name::Name,
    profile::{Profile, SignedVersion},
    seal::Sealed,
};
use ostrakon_types::DeviceId;

use super::{Asking, ConveneError, Convened, Progress, profile::newest, take};
use crate::Clock;

/// Proofs that are to be had of the shares of a backup key. Nothing is put together.
pub struct Verification {
    clock: Clock,
    file: BackupFile,
    profile: Profile,
    challenge: Challenge,
    tally: Tally,
    convened: Convened,
    proofs: BTreeMap<DeviceId, bool>,
}

/// A device that holds a share, and what it proved.
#[derive(Clone, Debug)]
pub struct HolderReport {
    /// The device.
    pub device: DeviceId,
    /// Its card; none when it is not in the profile any more.
    pub card: Option<Card>,
    /// What it proved.
    pub proved: Proved,
}

/// What a device proved of its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proved {
    /// It holds the good one.
    Good,
    /// It says that it has none that opens, or its proof is none.
    Bad,
    /// It has not answered.
    NoAnswer,
    /// It denied to answer.
    Denied,
    /// It is not in the profile any more, and was not asked. Its share is good as ever.
    NotAsked,
}

impl Verification {
    /// Asks every device of the profile that holds the backup key. `versions` are those of the profile as
    /// it is now, if it has changed since the file was made.
    ///
    /// # Errors
    /// When the devices cannot be asked.
    pub fn open(
        file: BackupFile,
        versions: &[SignedVersion],
        machine: Name,
        wait_ms: i64,
        clock: &Clock,
    ) -> Result<Self, ConveneError> {
        let (profile, versions) = newest(file.versions(), versions)?;
        let keys = DeviceKeys::generate()?;
        let challenge = Challenge::generate()?;
        let devices = profile.version().devices.iter();
        let asked = devices.filter(|card| card.kind != DeviceKind::Keyserver);
        let plan = Plan {
            subject: Subject::VerifyBackup {
                kss_id: file.kss_id(),
                generation: file.generation(),
                file: file.digest(),
                challenge,
            },
            // So that all are waited for.
            threshold: u8::try_from(asked.count()).unwrap_or(u8::MAX),
            requester: Requester::Machine(keys.card(DeviceKind::Workstation, machine)),
            lifetime_ms: wait_ms,
        };
        let tally = Tally::open(&profile, plan, &keys.signing, clock.now())?;
        let enclosed = file.to_bytes();
        Ok(Self {
            convened: Convened::of(&tally, &profile, &versions, Some(&enclosed))?,
            clock: clock.clone(),
            file,
            profile,
            challenge,
            tally,
            proofs: BTreeMap::new(),
        })
    }

    /// What each device that holds a share has proved so far.
    #[must_use]
    pub fn report(&self) -> Vec<HolderReport> {
        let denied_by = match self.tally.standing(self.clock.now()) {
            ostrakon_shards::ceremony::Standing::Denied { by } => Some(by),
            _ => None,
        };
        let holders = self.file.holders().iter();
        holders
            .map(|holder| {
                let device = holder.device;
                let card = self.profile.member(&device).cloned();
                let proved = match (self.proofs.get(&device), &card) {
                    (Some(true), _) => Proved::Good,
                    (Some(false), _) => Proved::Bad,
                    (None, None) => Proved::NotAsked,
                    (None, Some(_)) if denied_by == Some(device) => Proved::Denied,
                    (None, Some(_)) => Proved::NoAnswer,
                };
                HolderReport {
                    device,
                    card,
                    proved,
                }
            })
            .collect()
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &BackupFile {
        &self.file
    }
}

impl Asking for Verification {
    fn convened(&self) -> &Convened {
        &self.convened
    }

    async fn take(&mut self, answers: Vec<Sealed>) -> Result<Progress, ConveneError> {
        let progress = take(&mut self.tally, &answers, self.clock.now());
        for approval in self.tally.approvals() {
            if let Contribution::ShareProof(proof) = &approval.contribution {
                let device = approval.device;
                let proved = proof.as_ref().is_some_and(|proof| {
                    let verified = self.file.verify_proof(device, &self.challenge, proof);
                    verified.is_ok()
                });
                self.proofs.insert(device, proved);
            }
        }
        Ok(progress)
    }
}
