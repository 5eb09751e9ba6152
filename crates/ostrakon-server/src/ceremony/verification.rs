use std::collections::{BTreeMap, HashSet};

use ostrakon_shards::{
    backup::{BackupFile, Challenge},
    card::{Card, DeviceKind},
    ceremony::{Contribution, Plan, Requester, Standing, Subject, Tally},
    device::DeviceKeys,
    name::Name,
    profile::{Profile, SignedVersion},
    seal::Sealed,
};
use ostrakon_types::{DeviceId, canonical};

use super::{Asking, Carry, ConveneError, Convened, Progress, Stand, profile::newest, take};
use crate::{Clock, Home, admin::Client};

/// Proofs that are to be had of the shares of a backup key. Nothing is put together.
pub struct Verification {
    clock: Clock,
    file: BackupFile,
    profile: Profile,
    challenge: Challenge,
    tally: Tally,
    convened: Convened,
    proofs: BTreeMap<DeviceId, bool>,
    /// The running server that relays it, too.
    carrier: Option<Client>,
    /// Answers that were looked at.
    seen: HashSet<Vec<u8>>,
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
            carrier: None,
            seen: HashSet::new(),
        })
    }

    /// Has it relayed by the server that runs on `home`, if it is the file's and knows this profile. Else
    /// devices must be told where else to look.
    pub async fn through(&mut self, home: &Home) {
        let client = Client::new(home);
        let carry = Carry {
            ceremony: canonical::encode(self.tally.ceremony()),
            versions: self.convened.versions.clone(),
            notices: self.convened.notices.clone(),
        };
        if client.carry(&carry).await.is_ok() {
            self.carrier = Some(client);
        }
    }

    /// Ends it: no device is asked any more.
    pub async fn end(&mut self) {
        if let Some(client) = self.carrier.take() {
            let completed = self.tally.standing(self.clock.now()) == Standing::Approved;
            // For the record alone.
            let _ = client.set_down(self.convened.id, completed).await;
        }
    }

    /// What each device that holds a share has proved so far.
    #[must_use]
    pub fn report(&self) -> Vec<HolderReport> {
        let holders = self.file.holders().iter();
        holders
            .map(|holder| {
                let device = holder.device;
                let card = self.profile.member(&device).cloned();
                let proved = match (self.proofs.get(&device), &card) {
                    (Some(true), _) => Proved::Good,
                    (Some(false), _) => Proved::Bad,
                    (None, None) => Proved::NotAsked,
                    (None, Some(_)) if self.tally.denials().contains(&device) => Proved::Denied,
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

    fn is_served(&self) -> bool {
        self.carrier.is_some()
    }

    async fn take(&mut self, mut answers: Vec<Sealed>) -> Result<Progress, ConveneError> {
        let mut cancelled = false;
        if let Some(client) = &self.carrier {
            match client.carried(self.convened.id).await {
                Ok(carried) => {
                    cancelled = carried.cancelled;
                    answers.extend(carried.answers);
                }
                // The server stopped, or forgot it at its time: what waits here goes on.
                Err(_) => self.carrier = None,
            }
        }
        answers.retain(|answer| self.seen.insert(answer.to_bytes()));
        let mut progress = take(&mut self.tally, &answers, self.clock.now());
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
        if cancelled {
            progress.stand = Stand::Cancelled;
        }
        Ok(progress)
    }
}
