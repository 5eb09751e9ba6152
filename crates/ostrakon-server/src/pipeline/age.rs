//! What is refused, and what is taken from clients, because this server's state may be an old one.

use ostrakon_custody::{AuditEvent, Change};
use ostrakon_shards::profile::{Profile, SignedHead, SignedVersion};
use ostrakon_transport::message::{Failure, Item, ItemAnswer, RefusalCode, RequestBody};
use ostrakon_types::{ErrorChain, UnixMillis};

use super::{Pipeline, Unanswered};
use crate::lineage::LineageError;

impl From<LineageError> for Unanswered {
    fn from(error: LineageError) -> Self {
        tracing::error!(error = %ErrorChain(&error), "cannot tell the age of the state");
        Self::Unavailable
    }
}

impl Pipeline {
    /// Why nothing of a request is looked at, if so.
    pub(super) async fn refuse_by_age(
        &self,
        body: &RequestBody,
    ) -> Result<Option<RefusalCode>, Unanswered> {
        if let Some(seen) = body.seen()
            && self.lineage.is_proof(seen, &self.store).await?
        {
            let (seen, own) = (*seen, self.lineage.newest());
            let detail = format!(
                "{} was seen, this is {}",
                seen.generation(),
                own.generation()
            );
            let now = self.clock.now();
            if !self.lineage.is_superseded() {
                self.lineage.supersede(seen, &self.store).await?;
                // It stops all the same when that cannot be recorded.
                let _ = self.ledger.note(superseded(detail), now).await;
            }
        }
        let doubt = self.lineage.doubt();
        if doubt.superseded_by.is_some() {
            return Ok(Some(RefusalCode::OutOfDate));
        }
        if doubt
            .unproven_since
            .is_some_and(|since| body.issued_at() < since)
        {
            return Ok(Some(RefusalCode::Expired));
        }
        let shows =
            |item: &Item| matches!(item, Item::ShowProfile { .. } | Item::CreateProfile { .. });
        let must = self.lineage.must_be_shown(&body.profile()) && !body.items().iter().any(shows);
        Ok(must.then_some(RefusalCode::ShowProfile))
    }

    /// Takes a profile that is shown, if this server has signed that it is the one in force. Who shows it knows that
    /// word, and need not be a device of it: a machine on which it was recovered is not, yet.
    pub(super) async fn take_profile(
        &self,
        versions: &[SignedVersion],
        head: &SignedHead,
        now: UnixMillis,
    ) -> Result<ItemAnswer, Unanswered> {
        const INVALID: ItemAnswer = ItemAnswer::Failed(Failure::InvalidProfile);
        let Ok((signed, signed_at)) = head.verify(self.keyserver.root_key()) else {
            return Ok(INVALID);
        };
        let profile = match Profile::from_chain(versions.iter().cloned()) {
            Ok(profile)
                if profile.head() == signed
                    && profile.member(&self.keyserver.device_id()).is_some() =>
            {
                profile
            }
            _ => return Ok(INVALID),
        };
        let id = profile.id();
        let known = self.store.profile(&id).await?;
        let (kept, shown) = (known.len(), versions.len());
        let common = kept.min(shown);
        let agree = known
            .iter()
            .zip(versions)
            .all(|(own, other)| own.version().hash() == other.version().hash());
        if shown > kept || !agree {
            let is_old = self.lineage.is_of_a_predecessor(signed_at);
            if is_old && !agree {
                // The profile went on in another version since.
                return Ok(INVALID);
            }
            if !is_old && (self.lineage.doubt().unproven_since.is_none() || !agree) {
                // This server signed what it does not know: its state is an old one.
                tracing::error!(profile = %id, "a profile is shown that only a newer state can have");
                let newest = self.lineage.newest();
                self.lineage.supersede(newest, &self.store).await?;
                let detail = format!("profile {id} was seen in a newer version");
                let _ = self.ledger.note(superseded(detail), now).await;
                return Ok(INVALID);
            }
            let taking = Change::TakeProfile {
                profile: Box::new(profile),
                versions: versions.to_vec(),
                known: u64::try_from(common).unwrap_or(u64::MAX),
            };
            let taken = self.ledger.administer(taking, now).await;
            if taken.map_err(|_| Unanswered::Unavailable)? == 0 {
                return Ok(INVALID);
            }
            for card in versions.iter().flat_map(|signed| &signed.version().devices) {
                self.directory.forget(&card.id());
            }
        }
        self.lineage.was_shown(id);
        Ok(ItemAnswer::ProfileShown)
    }
}

fn superseded(detail: String) -> AuditEvent {
    AuditEvent::Administered {
        action: "superseded".to_owned(),
        detail,
    }
}
