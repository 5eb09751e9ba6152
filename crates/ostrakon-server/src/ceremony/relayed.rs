//! The server's own ceremonies in the hands of its relay, each step on record.

use ostrakon_custody::Relay;
use ostrakon_shards::{ceremony::Ceremony, profile::SignedVersion, seal::Sealed};
use ostrakon_storage::CeremonyRecord;
use ostrakon_types::{CeremonyId, DeviceId, ProfileId};

use super::{
    ConveneError, Room,
    listing::{is_opened_by, opening},
};
use crate::{admin::Caller, server::BuildError};

/// How many ceremonies of the operator wait at most.
pub(super) const MOST: usize = 3;

/// How many of one certificate wait at most, at all instances: who has stolen one leaves places to the others.
pub(super) const MOST_OF_ONE: usize = 2;

/// How many wait at most where this caller opens one. Three places are the operator's alone, whoever has stolen
/// certificates.
pub(super) const fn most(caller: Caller) -> u32 {
    match caller {
        Caller::Operator => 11,
        Caller::Administrator(_) => 8,
    }
}

impl Room<'_> {
    /// Has the relay keep a ceremony's notices for their devices.
    pub(crate) async fn relay(
        &self,
        ceremony: &Ceremony,
        versions: &[SignedVersion],
        notices: &[(DeviceId, Sealed)],
        most: u32,
    ) -> Result<(), ConveneError> {
        let opening = Relay::Open {
            ceremony: CeremonyRecord {
                profile: ceremony.profile,
                id: ceremony.id,
                requester: self.keyserver.device_id(),
                expires_at: ceremony.expires_at,
            },
            opening: Some(opening(self.instance, ceremony, versions)),
            notices: notices.to_vec(),
            most,
        };
        match self.ledger.relay(opening, self.now).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ConveneError::TooMany),
            Err(error) => Err(BuildError::from(error).into()),
        }
    }

    /// The answers that the relay has, the newest of each device; none when it has no such ceremony any more.
    pub(crate) async fn answers(
        &self,
        profile: ProfileId,
        ceremony: CeremonyId,
    ) -> Result<Option<Vec<Sealed>>, ConveneError> {
        let own = self.keyserver.device_id();
        let answers = self
            .store
            .ceremony_answers(&profile, &ceremony, &own, self.now);
        Ok(answers.await.map_err(BuildError::from)?)
    }

    /// Has the relay forget a ceremony, and puts on record how it ended. One that the relay has forgotten
    /// already is on record.
    pub(crate) async fn end(
        &self,
        profile: ProfileId,
        ceremony: CeremonyId,
        outcome: &'static str,
    ) -> Result<(), ConveneError> {
        let closing = Relay::Close {
            profile,
            ceremony,
            requester: self.keyserver.device_id(),
            outcome,
        };
        let closed = self.ledger.relay(closing, self.now).await;
        closed.map_err(BuildError::from)?;
        Ok(())
    }

    /// Has the relay forget a ceremony, whoever has opened it.
    pub(crate) async fn cancel(&self, ceremony: CeremonyId) -> Result<(), ConveneError> {
        let by = self.keyserver.device_id();
        let cancelling = Relay::Cancel { ceremony, by };
        let cancelled = self.ledger.relay(cancelling, self.now).await;
        match cancelled.map_err(BuildError::from)? {
            true => Ok(()),
            false => Err(ConveneError::NoCeremony),
        }
    }

    /// Ends what an earlier process of this instance has left open: nobody can open the answers any more.
    pub(crate) async fn abandon(&self) -> Result<(), ConveneError> {
        let pending = self.store.pending_ceremonies(self.now).await;
        for left in pending.map_err(BuildError::from)? {
            if is_opened_by(self.instance, &left) {
                let of = &left.ceremony;
                self.end(of.profile, of.id, "cancelled").await?;
            }
        }
        Ok(())
    }
}
