//! What a server asks its administrators' devices. What it does once they approved, is in `fulfil`.

mod fulfil;

use std::collections::HashSet;

use ostrakon_custody::{Change, Identity, Ledger, Relay, Signer};
use ostrakon_shards::{
    backup::BackupFile,
    ceremony::{Completed, Subject, Tally},
    generation::Generation,
    identity::VerifiedKeyserver,
    profile::{Profile, SignedVersion},
    seal::Sealed,
};
use ostrakon_storage::{InstanceId, ProtectorKey, Store};
use ostrakon_types::{CeremonyId, ProfileId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{
    Administer, Administered, ConveneError, Convened, Progress, Stand,
    administration::{self, Todo},
    age::Age,
    checks,
    ending::{self, Asked},
    profile::newest,
    relayed::most,
    take,
};
use crate::{admin::Caller, home::Home, lineage::Lineage, node::Node, server::BuildError};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Making a new backup key, in place of all earlier ones.
    SaveBackupKey {
        /// Whether also for a profile that is not fit for it.
        ignore_security_checks: bool,
    },
    /// Going on although the state is not proved to be the newest, or proved not to be.
    AcceptRollback,
    /// What an operator may not do alone.
    Administer(Administer),
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
    /// What the operator asked for.
    Administered(Administered),
}

impl Fulfilled {
    /// What it was, for the log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::BackupKey { .. } => "save-backup-key",
            Self::GoesOn { .. } => "accept-rollback",
            Self::Administered(Administered::Enabled) => "enable",
            Self::Administered(Administered::PolicyLoaded(_)) => "policy --load",
            Self::Administered(Administered::QuotaCleared { .. }) => "quota clear",
        }
    }
}

/// What ceremonies need of a server, whether it runs or not.
pub(crate) struct Room<'a> {
    pub(crate) home: &'a Home,
    /// The running server, if it runs.
    pub(crate) node: Option<&'a Node>,
    pub(crate) store: &'a Store,
    pub(crate) ledger: &'a Ledger,
    pub(crate) signer: &'a Signer,
    pub(crate) keyserver: &'a VerifiedKeyserver,
    pub(crate) lineage: &'a Lineage,
    pub(crate) instance: InstanceId,
    pub(crate) now: UnixMillis,
}

/// A ceremony that a server has opened.
pub(crate) struct Held {
    tally: Tally,
    versions: Vec<SignedVersion>,
    profile: Profile,
    caller: Caller,
    then: Then,
    age: Age,
    /// Answers that were looked at.
    seen: HashSet<Vec<u8>>,
}

enum Then {
    SaveBackupKey(Generation),
    /// Of the generation that people were shown.
    AcceptRollback(Generation),
    Administer(Todo),
}

/// A backup key that was made as approved. It is on record, and in force, only when its file is known to be
/// kept: else every file that there is would be out of date for one that there is not.
pub(crate) struct Made {
    id: CeremonyId,
    profile: ProfileId,
    expires_at: UnixMillis,
    change: Change,
}

impl Held {
    /// Its id.
    pub(crate) fn id(&self) -> CeremonyId {
        self.tally.ceremony().id
    }

    /// Who has asked for it.
    pub(crate) fn caller(&self) -> Caller {
        self.caller
    }

    /// Whether it is this one, and the caller may go on with it: who asked, or the operator.
    pub(crate) fn is(&self, id: CeremonyId, caller: Caller) -> bool {
        let may = caller == Caller::Operator || caller == self.caller;
        may && self.id() == id
    }

    /// Until when answers count.
    pub(crate) fn expires_at(&self) -> UnixMillis {
        self.tally.ceremony().expires_at
    }

    /// What it asks administrators for, if it does.
    pub(crate) fn asked(&self) -> Option<Asked<'_>> {
        ending::asked(self.tally.ceremony())
    }

    /// Whether it is too late for what it is for.
    pub(crate) fn is_old(&self, now: UnixMillis) -> bool {
        self.age.is_old(self.caller, now)
    }

    /// The profile whose devices are asked.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What was answered.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts answers: those that the relay has, and others, which it then has, too.
    pub(crate) async fn take(
        &mut self,
        room: &Room<'_>,
        answers: Vec<Sealed>,
    ) -> Result<Progress, ConveneError> {
        let ceremony = self.tally.ceremony();
        let (id, profile) = (ceremony.id, ceremony.profile);
        let relayed = room.answers(profile, id).await?;
        let is_gone = relayed.is_none();
        let mut relayed = relayed.unwrap_or_default();
        relayed.retain(|answer| self.seen.insert(answer.to_bytes()));
        let mut progress = take(&mut self.tally, &relayed, room.now);
        for answer in answers {
            if !self.seen.insert(answer.to_bytes()) {
                continue;
            }
            match self.tally.take(&answer, room.now) {
                Ok(device) => {
                    let answer = Relay::Answer {
                        profile,
                        ceremony: id,
                        device,
                        answer,
                    };
                    let noted = room.ledger.relay(answer, room.now).await;
                    noted.map_err(BuildError::from)?;
                    progress.answered.push(device);
                }
                Err(error) => progress.refused.push(error.to_string()),
            }
        }
        progress.stand = self.tally.standing(room.now).into();
        // What is gone before its time was cancelled, here or by another instance.
        if is_gone && progress.stand != Stand::Expired {
            progress.stand = Stand::Cancelled;
        }
        self.age.counted(&progress.stand, room.now);
        Ok(progress)
    }
}

impl Made {
    /// The ceremony in which it was approved.
    pub(crate) fn id(&self) -> CeremonyId {
        self.id
    }

    /// Until when it can be put on record.
    pub(crate) fn expires_at(&self) -> UnixMillis {
        self.expires_at
    }
}

impl Room<'_> {
    /// Opens a ceremony among the administrators' devices.
    pub(crate) async fn open(
        &self,
        ask: Ask,
        caller: Caller,
    ) -> Result<(Held, Convened), ConveneError> {
        let backup = newest_backup(self.store).await?;
        let known = match &backup {
            Some(backup) => self.newest_known(backup).await?,
            None => Vec::new(),
        };
        let (profile, versions) = match &ask.operation {
            Operation::SaveBackupKey { .. } => newest(&known, &ask.profile)?,
            // Whom to ask is known, or nobody may be asked: else whoever asks could name himself.
            Operation::AcceptRollback | Operation::Administer(_) if known.is_empty() => {
                return Err(ConveneError::NoProfile);
            }
            Operation::AcceptRollback | Operation::Administer(_) => newest(&known, &ask.profile)?,
        };
        let (subject, enclosed, then) = self.subject(ask.operation, &profile, caller).await?;
        let needed = profile.threshold().needed();
        let opened = self
            .signer
            .open_ceremony(&profile, subject, needed, ask.wait_ms, self.now);
        let tally = opened?;
        let convened = Convened::of(&tally, &profile, &versions, enclosed.as_deref())?;
        let most = most(caller);
        let relayed = self.relay(tally.ceremony(), &versions, &convened.notices, most);
        relayed.await?;
        let held = Held {
            tally,
            versions,
            profile,
            caller,
            then,
            age: Age::new(self.now),
            seen: HashSet::new(),
        };
        Ok((held, convened))
    }

    /// The profile that holds the backup key, as this server knows it: as it was when that was made or, where
    /// the server is in it, as it is in force.
    async fn newest_known(&self, backup: &BackupFile) -> Result<Vec<SignedVersion>, ConveneError> {
        let registered = self.store.profile(&backup.profile().id()).await;
        let registered = registered.map_err(BuildError::from)?;
        Ok(newest(backup.versions(), &registered)?.1)
    }

    async fn subject(
        &self,
        operation: Operation,
        profile: &Profile,
        caller: Caller,
    ) -> Result<(Subject, Option<Vec<u8>>, Then), ConveneError> {
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
                (subject, None, Then::SaveBackupKey(generation))
            }
            Operation::AcceptRollback => {
                let generation = self.lineage.newest().generation();
                let Generation { epoch, counter } = generation;
                let subject = Subject::AcceptRollback {
                    kss_id,
                    epoch,
                    counter,
                };
                (subject, None, Then::AcceptRollback(generation))
            }
            Operation::Administer(asked) => {
                let prepared = administration::prepare(self, asked, caller.certificate());
                let (subject, enclosed, todo) = prepared.await?;
                (subject, enclosed, Then::Administer(todo))
            }
        })
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
