//! What a server does once its administrators' devices approved it.

use ostrakon_custody::{AuditEvent, Change, Spends};
use ostrakon_shards::ceremony::Standing;

use super::{Fulfilled, Held, Made, Room, Then, approved_by, make_backup};
use crate::{
    ceremony::{ConveneError, Stand, administration},
    server::BuildError,
};

impl Room<'_> {
    /// Does what was approved, with its audit record; or makes what [`Room::keep`] puts on record.
    pub(crate) async fn fulfil(
        &self,
        held: Held,
    ) -> Result<(Fulfilled, Option<Made>), ConveneError> {
        if let Err(error) = self.check(&held).await {
            self.give_up(&held).await?;
            return Err(error);
        }
        self.perform(held).await
    }

    /// Does what was approved, if it was.
    pub(in crate::ceremony) async fn perform(
        &self,
        held: Held,
    ) -> Result<(Fulfilled, Option<Made>), ConveneError> {
        let Held {
            tally,
            versions,
            then,
            ..
        } = held;
        let completed = tally.complete(self.now);
        let completed = completed.map_err(|stand| ConveneError::NotApproved(stand.into()))?;
        let approved = approved_by(&completed);
        match then {
            Then::SaveBackupKey(generation) => {
                let file = make_backup(self.home, self.store, &versions, generation, self.now);
                let text = file.await?.to_text();
                let made = Made {
                    id: completed.ceremony.id,
                    profile: completed.ceremony.profile,
                    expires_at: completed.ceremony.expires_at,
                    change: Change::SaveBackup {
                        generation,
                        file: text.clone(),
                        detail: format!("generation {generation}, {approved}"),
                    },
                };
                Ok((Fulfilled::BackupKey { text }, Some(made)))
            }
            Then::AcceptRollback(_) => {
                let from = self.lineage.newest().generation().to_string();
                let event = AuditEvent::Administered {
                    action: "accept-rollback".to_owned(),
                    detail: format!("goes on with state {from}, {approved}"),
                };
                let noted = self.ledger.note(event, self.now).await;
                noted.map_err(BuildError::from)?;
                let begun = self.lineage.accept(self.store, self.signer, self.now);
                let begun = begun.await.map_err(BuildError::from)?;
                let of = &completed.ceremony;
                self.end(of.profile, of.id, "approved").await?;
                let done = Fulfilled::GoesOn {
                    from,
                    as_generation: begun.generation().to_string(),
                };
                Ok((done, None))
            }
            Then::Administer(todo) => {
                let spends = Spends {
                    profile: completed.ceremony.profile,
                    ceremony: completed.ceremony.id,
                    requester: self.keyserver.device_id(),
                };
                let done = administration::perform(self, todo, approved, spends).await;
                let outcome = if done.is_ok() {
                    "approved"
                } else {
                    "cancelled"
                };
                let of = &completed.ceremony;
                self.end(of.profile, of.id, outcome).await?;
                Ok((Fulfilled::Administered(done?), None))
            }
        }
    }

    /// Whether what was approved may be done as things are now.
    async fn check(&self, held: &Held) -> Result<(), ConveneError> {
        if Stand::from(held.tally.standing(self.now)) != Stand::Approved {
            return Ok(());
        }
        if held.is_old(self.now) {
            return Err(ConveneError::Old);
        }
        let ceremony = held.tally.ceremony();
        if self.answers(ceremony.profile, ceremony.id).await?.is_none() {
            return Err(ConveneError::NotApproved(Stand::Cancelled));
        }
        match held.then {
            Then::AcceptRollback(shown) if shown != self.lineage.newest().generation() => {
                Err(ConveneError::OtherState)
            }
            _ => Ok(()),
        }
    }

    /// Puts on record, and in force, what was made and is kept.
    pub(crate) async fn keep(&self, made: Made) -> Result<(), ConveneError> {
        let kept = self.ledger.administer(made.change, self.now).await;
        kept.map_err(BuildError::from)?;
        self.end(made.profile, made.id, "approved").await
    }

    /// Puts on record that what was made is not kept.
    pub(crate) async fn discard(&self, made: Made) -> Result<(), ConveneError> {
        self.end(made.profile, made.id, "cancelled").await
    }

    /// Puts on record that a ceremony was given up or came to nothing.
    pub(crate) async fn give_up(&self, held: &Held) -> Result<(), ConveneError> {
        let ceremony = held.tally.ceremony();
        let outcome = match held.tally.standing(self.now) {
            Standing::Denied { .. } => "denied",
            Standing::Expired => "expired",
            _ => "cancelled",
        };
        self.end(ceremony.profile, ceremony.id, outcome).await
    }
}
