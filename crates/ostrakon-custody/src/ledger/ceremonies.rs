//! What the relay of ceremonies does in the database, and what of it goes on record.

use ostrakon_storage::{CeremonyRecord, StoreError, Transaction};
use ostrakon_types::{CeremonyId, DeviceId, ProfileId, UnixMillis};

use super::Relay;
use crate::AuditEvent;

/// Carries out what is asked of the relay. No event, and nothing changed, when it cannot be.
pub(super) async fn relay(
    tx: &mut Transaction<'_>,
    relay: &Relay,
    now: UnixMillis,
) -> Result<Vec<AuditEvent>, StoreError> {
    let (done, event) = match relay {
        Relay::Open {
            ceremony,
            opening,
            notices,
            most,
        } => (
            tx.open_ceremony(ceremony, opening.as_deref(), notices, now, *most)
                .await?,
            event(ceremony.profile, ceremony.id, ceremony.requester, "opened"),
        ),
        Relay::Answer {
            profile,
            ceremony,
            device,
            answer,
        } => (
            tx.answer_ceremony(profile, ceremony, device, answer, now)
                .await?,
            event(*profile, *ceremony, *device, "answered"),
        ),
        Relay::Close {
            profile,
            ceremony,
            requester,
            outcome,
        } => (
            tx.close_ceremony(profile, ceremony, requester).await?,
            event(*profile, *ceremony, *requester, outcome),
        ),
        Relay::Cancel { ceremony, by } => {
            let cancelled = tx.cancel_ceremony(ceremony).await?.into_iter();
            let event = |of: CeremonyRecord| event(of.profile, of.id, *by, "cancelled");
            return Ok(cancelled.map(event).collect());
        }
    };
    Ok(done.then_some(event).into_iter().collect())
}

/// Forgets ceremonies that have expired.
pub(super) async fn expire(
    tx: &mut Transaction<'_>,
    now: UnixMillis,
) -> Result<Vec<AuditEvent>, StoreError> {
    let expired = tx.expire_ceremonies(now).await?.into_iter();
    Ok(expired
        .map(|of| event(of.profile, of.id, of.requester, "expired"))
        .collect())
}

fn event(profile: ProfileId, ceremony: CeremonyId, device: DeviceId, step: &str) -> AuditEvent {
    AuditEvent::Ceremony {
        profile,
        ceremony,
        device,
        step: step.to_owned(),
    }
}
