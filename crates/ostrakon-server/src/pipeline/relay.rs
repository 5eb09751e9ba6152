//! The relay of ceremonies: it keeps what devices sealed for each other, and reads none of it.

use ostrakon_custody::Relay;
use ostrakon_shards::ceremony::Ceremony;
use ostrakon_storage::{CeremonyRecord, NoticeRecord};
use ostrakon_transport::message::{
    Failure, Item, ItemAnswer, MAX_PENDING_CEREMONIES, PendingNotice, RequestBody,
};
use ostrakon_types::{DeviceId, UnixMillis};

use super::{Pipeline, Unanswered};

/// Notices in one answer. The rest comes once these are answered.
const NOTICES: u32 = 8;

impl Pipeline {
    /// Whether a request is all that an administrator's device may ask for where its profile is not
    /// registered: what it is asked in this server's own ceremonies, and to answer.
    pub(super) fn is_for_administrators(&self, device: DeviceId, body: &RequestBody) -> bool {
        let answers = |item: &Item| {
            matches!(
                item,
                Item::PendingCeremonies { .. } | Item::AnswerCeremony { .. }
            )
        };
        body.items().iter().all(answers) && self.administrators.serves(&body.profile(), &device)
    }

    /// Does what `device`, which is a member of the request's profile, asks of the relay.
    pub(super) async fn relay(
        &self,
        item: &Item,
        device: DeviceId,
        body: &RequestBody,
        now: UnixMillis,
    ) -> Result<ItemAnswer, Unanswered> {
        let profile = body.profile();
        let (act, failure) = match item {
            Item::PendingCeremonies { known } => {
                let notices = self.store.notices(&profile, &device, now, NOTICES).await?;
                let pending = |record: NoticeRecord| PendingNotice {
                    id: record.id,
                    expires_at: record.expires_at,
                    notice: record.notice,
                };
                return Ok(ItemAnswer::Notices {
                    notices: notices.into_iter().map(pending).collect(),
                    backup: self.administrators.newest_backup(&profile),
                    versions: self.administrators.versions_after(&profile, *known),
                });
            }
            Item::CeremonyAnswers { id } => {
                let answers = self.store.ceremony_answers(&profile, id, &device, now);
                return Ok(match answers.await? {
                    Some(answers) => ItemAnswer::CeremonyAnswers(answers),
                    None => ItemAnswer::Failed(Failure::NoCeremony),
                });
            }
            Item::OpenCeremony {
                id,
                expires_at,
                notices,
            } => {
                let latest = now.plus(Ceremony::MAX_LIFETIME_MS);
                let ceremony = CeremonyRecord {
                    profile,
                    id: *id,
                    requester: device,
                    expires_at: (*expires_at).min(latest),
                };
                let act = Relay::Open {
                    ceremony,
                    opening: None,
                    notices: notices.clone(),
                    most: u32::try_from(MAX_PENDING_CEREMONIES).unwrap_or(0),
                };
                (act, Failure::TooManyCeremonies)
            }
            Item::AnswerCeremony { id, answer } => {
                let act = Relay::Answer {
                    profile,
                    ceremony: *id,
                    device,
                    answer: answer.clone(),
                };
                (act, Failure::NoCeremony)
            }
            Item::CloseCeremony { id, outcome } => {
                let act = Relay::Close {
                    profile,
                    ceremony: *id,
                    requester: device,
                    outcome: outcome.as_str(),
                };
                (act, Failure::NoCeremony)
            }
            _ => return Err(Unanswered::Unavailable),
        };
        // Those who have to decide about the server itself wait for nobody else.
        let passes = self.relayed_by.pass(device, now)
            && (self.administrators.serves(&profile, &device) || self.relayed.pass(now));
        if !passes {
            tracing::warn!("too many steps of ceremonies");
            return Err(Unanswered::TooManySteps);
        }
        match self.ledger.relay(act, now).await {
            Ok(true) => Ok(ItemAnswer::Relayed),
            Ok(false) => Ok(ItemAnswer::Failed(failure)),
            Err(_) => Err(Unanswered::Unavailable),
        }
    }
}
