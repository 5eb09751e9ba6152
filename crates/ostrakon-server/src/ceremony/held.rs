//! What a server asks its administrators' devices, and does once they approved.

use ostrakon_custody::{AuditEvent, Change, Identity, Ledger, Signer};
use ostrakon_shards::{
    backup::BackupFile,
    ceremony::{Completed, Subject, Tally},
    generation::Generation,
    identity::VerifiedKeyserver,
    profile::{Profile, SignedVersion},
    seal::Sealed,
};
use ostrakon_storage::{ProtectorKey, Store};
use ostrakon_types::{CeremonyId, UnixMillis};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{ConveneError, Convened, Progress, checks, profile::newest, take};
use crate::{home::Home, lineage::Lineage, server::BuildError};

/// How many of a server's ceremonies wait at most.
const MOST: usize = 3;

/// What a server is to ask.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// For what.
    pub operation: Operation,
    /// The versions of the administrators' profile, where the server may not know the newest.
    pub profile: Vec<SignedVersion>,
    /// How long to wait for answers, in milliseconds.
    pub wait_ms: i64,
}

/// What a server needs approval for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Making a new backup key, in place of all earlier ones.
    SaveBackupKey {
        /// Whether also for a profile that is not fit for it.
        ignore_security_checks: bool,
    },
    /// Going on although the state is not proved to be the newest, or proved not to be.
    AcceptRollback,
}

/// What was done once it was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fulfilled {
    /// A backup file was made.
    BackupKey {
        /// Its text.
        text: String,
    },
    /// The server goes on.
    GoesOn {
        /// With which state.
        from: String,
        /// Under which generation.
        as_generation: String,
    },
}

impl Fulfilled {
    /// What it was, for the log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::BackupKey { .. } => "save-backup-key",
            Self::GoesOn { .. } => "accept-rollback",
        }
    }
}

/// What ceremonies need of a server, whether it runs or not.
pub(crate) struct Room<'a> {
    pub(crate) home: &'a Home,
    pub(crate) store: &'a Store,
    pub(crate) ledger: &'a Ledger,
    pub(crate) signer: &'a Signer,
    pub(crate) keyserver: &'a VerifiedKeyserver,
    pub(crate) lineage: &'a Lineage,
    pub(crate) now: UnixMillis,
}

/// A ceremony that a server has opened.
pub(crate) struct Held {
    tally: Tally,
    versions: Vec<SignedVersion>,
    then: Then,
}

enum Then {
    SaveBackupKey(Generation),
    AcceptRollback,
}

/// The ceremonies that a running server has opened.
#[derive(Default)]
pub(crate) struct Pending(Mutex<Vec<Held>>);

impl Held {
    /// Counts answers.
    pub(crate) fn take(&mut self, answers: &[Sealed], now: UnixMillis) -> Progress {
        take(&mut self.tally, answers, now)
    }
}

impl Room<'_> {
    /// Opens a ceremony among the administrators' devices.
    pub(crate) async fn open(&self, ask: Ask) -> Result<(Held, Convened), ConveneError> {
        let backup = newest_backup(self.store).await?;
        let known = backup.as_ref().map_or(&[][..], BackupFile::versions);
        let (profile, versions) = match ask.operation {
            Operation::SaveBackupKey { .. } => newest(known, &ask.profile)?,
            // Whom to ask is known, or nobody may be asked: else whoever asks could name himself.
            Operation::AcceptRollback => match known {
                [] => return Err(ConveneError::NoProfile),
                known => newest(known, &ask.profile)?,
            },
        };
        let (subject, then) = self.subject(ask.operation, &profile).await?;
        let needed = profile.threshold().needed();
        let opened = self
            .signer
            .open_ceremony(&profile, subject, needed, ask.wait_ms, self.now);
        let tally = opened?;
        let convened = Convened::of(&tally, &profile, &versions, None)?;
        self.note(&convened, "opened").await?;
        let held = Held {
            tally,
            versions,
            then,
        };
        Ok((held, convened))
    }

    async fn subject(
        &self,
        operation: Operation,
        profile: &Profile,
    ) -> Result<(Subject, Then), ConveneError> {
        let kss_id = self.keyserver.kss_id();
        Ok(match operation {
            Operation::SaveBackupKey {
                ignore_security_checks,
            } => {
                if !ignore_security_checks {
                    checks::check(profile)?;
                }
                // Of its own, so that no two backup keys have the same.
                let raised = self.lineage.raise(self.store, self.signer, self.now);
                let generation = raised.await.map_err(BuildError::from)?.generation();
                let subject = Subject::SaveBackupKey {
                    kss_id,
                    generation,
                    threshold: profile.threshold().needed(),
                    holders: holders(profile),
                };
                (subject, Then::SaveBackupKey(generation))
            }
            Operation::AcceptRollback => {
                let Generation { epoch, counter } = self.lineage.newest().generation();
                let subject = Subject::AcceptRollback {
                    kss_id,
                    epoch,
                    counter,
                };
                (subject, Then::AcceptRollback)
            }
        })
    }

    /// Does what was approved, with its audit record.
    pub(crate) async fn fulfil(&self, held: Held) -> Result<Fulfilled, ConveneError> {
        let Held {
            tally,
            versions,
            then,
        } = held;
        let completed = tally.complete(self.now);
        let completed = completed.map_err(|stand| ConveneError::NotApproved(stand.into()))?;
        let approved = approved_by(&completed);
        match then {
            Then::SaveBackupKey(generation) => {
                let file = make_backup(self.home, self.store, &versions, generation, self.now);
                let file = file.await?;
                let change = Change::SaveBackup {
                    generation,
                    file: file.to_text(),
                    detail: format!("generation {generation}, {approved}"),
                };
                let saved = self.ledger.administer(change, self.now).await;
                saved.map_err(BuildError::from)?;
                Ok(Fulfilled::BackupKey {
                    text: file.to_text(),
                })
            }
            Then::AcceptRollback => {
                let from = self.lineage.newest().generation().to_string();
                let event = AuditEvent::Administered {
                    action: "accept-rollback".to_owned(),
                    detail: format!("goes on with state {from}, {approved}"),
                };
                let noted = self.ledger.note(event, self.now).await;
                noted.map_err(BuildError::from)?;
                let begun = self.lineage.accept(self.store, self.signer, self.now);
                let begun = begun.await.map_err(BuildError::from)?;
                Ok(Fulfilled::GoesOn {
                    from,
                    as_generation: begun.generation().to_string(),
                })
            }
        }
    }

    /// Puts on record that a ceremony was given up or came to nothing.
    pub(crate) async fn give_up(&self, held: &Held) -> Result<(), ConveneError> {
        let ceremony = held.tally.ceremony();
        let step = match held.tally.standing(self.now) {
            ostrakon_shards::ceremony::Standing::Denied { .. } => "denied",
            ostrakon_shards::ceremony::Standing::Expired => "expired",
            _ => "cancelled",
        };
        self.step(ceremony.profile, ceremony.id, step).await
    }

    async fn note(&self, convened: &Convened, step: &str) -> Result<(), ConveneError> {
        self.step(convened.profile, convened.id, step).await
    }

    async fn step(
        &self,
        profile: ostrakon_types::ProfileId,
        ceremony: CeremonyId,
        step: &str,
    ) -> Result<(), ConveneError> {
        let event = AuditEvent::Ceremony {
            profile,
            ceremony,
            device: self.keyserver.device_id(),
            step: step.to_owned(),
        };
        let noted = self.ledger.note(event, self.now).await;
        Ok(noted.map_err(BuildError::from)?)
    }
}

impl Pending {
    /// Keeps a ceremony, unless others wait already.
    pub(crate) async fn open(&self, room: &Room<'_>, ask: Ask) -> Result<Convened, ConveneError> {
        let mut pending = self.0.lock().await;
        pending.retain(|held| !held.tally.ceremony().has_expired(room.now));
        if pending.len() >= MOST {
            return Err(ConveneError::TooMany);
        }
        let (held, convened) = room.open(ask).await?;
        pending.push(held);
        Ok(convened)
    }

    /// Counts answers to one of them.
    pub(crate) async fn take(
        &self,
        id: CeremonyId,
        answers: &[Sealed],
        now: UnixMillis,
    ) -> Result<Progress, ConveneError> {
        let mut pending = self.0.lock().await;
        let held = pending.iter_mut().find(|held| held.id() == id);
        Ok(held.ok_or(ConveneError::NoCeremony)?.take(answers, now))
    }

    /// Ends one of them, by doing what was approved.
    pub(crate) async fn fulfil(
        &self,
        room: &Room<'_>,
        id: CeremonyId,
    ) -> Result<Fulfilled, ConveneError> {
        let held = self.remove(id).await?;
        room.fulfil(held).await
    }

    /// Gives one of them up.
    pub(crate) async fn give_up(
        &self,
        room: &Room<'_>,
        id: CeremonyId,
    ) -> Result<(), ConveneError> {
        let held = self.remove(id).await?;
        room.give_up(&held).await
    }

    async fn remove(&self, id: CeremonyId) -> Result<Held, ConveneError> {
        let mut pending = self.0.lock().await;
        let at = pending.iter().position(|held| held.id() == id);
        Ok(pending.swap_remove(at.ok_or(ConveneError::NoCeremony)?))
    }
}

impl Held {
    fn id(&self) -> CeremonyId {
        self.tally.ceremony().id
    }
}

/// The newest backup file that the server made, if any.
pub(crate) async fn newest_backup(store: &Store) -> Result<Option<BackupFile>, BuildError> {
    let text = store.newest_backup().await?;
    let file = text.map(|text| BackupFile::parse(&text));
    file.transpose().map_err(BuildError::Backup)
}

/// Makes a backup file, and reads it back.
pub(super) async fn make_backup(
    home: &Home,
    store: &Store,
    versions: &[SignedVersion],
    generation: Generation,
    now: UnixMillis,
) -> Result<BackupFile, BuildError> {
    let protector = ProtectorKey::load(&home.instance_key())?;
    let file = Identity::back_up(store, &protector, versions, generation, now).await?;
    BackupFile::parse(&file.to_text()).map_err(BuildError::Backup)
}

/// Who approved, for the record.
pub(super) fn approved_by(completed: &Completed) -> String {
    let devices: Vec<_> = completed
        .approvals
        .iter()
        .map(|approval| approval.device.to_string())
        .collect();
    let profile = completed.ceremony.profile;
    format!("approved by {} of profile {profile}", devices.join(", "))
}

/// The devices that get a share.
pub(super) fn holders(profile: &Profile) -> Vec<ostrakon_types::DeviceId> {
    let devices = profile.version().devices.iter();
    let people = devices.filter(|card| card.kind != ostrakon_shards::card::DeviceKind::Keyserver);
    people.map(ostrakon_shards::card::Card::id).collect()
}
