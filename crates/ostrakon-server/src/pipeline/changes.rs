//! Changes of profiles: judged by the policy, and one successor to each version.

use ostrakon_custody::{Act, RequestItem};
use ostrakon_shards::profile::{ChainError, Profile, SignedVersion};
use ostrakon_transport::message::{Failure, Item, ItemAnswer, MAX_CHAIN, RequestBody};
use ostrakon_types::{
    ApprovalRequest, DeviceId, OpaqueId, ProfileId, ProfileRef, RequestKind, UnixMillis,
};

use super::{Pipeline, Unanswered, items::Judged};

impl Pipeline {
    /// The next version must lack nothing but this server's own signature, which it gets by the policy's
    /// approval alone: whatever stands under this server's name in what was sent is replaced, so that
    /// it counts once.
    ///
    /// A server of which it is not certain that its state is the newest, such as a standby, takes none: it
    /// might let in a second successor to a version that has one.
    pub(super) fn judge_change(
        &self,
        device: DeviceId,
        profile: &Profile,
        signed: &SignedVersion,
        now: UnixMillis,
    ) -> Judged {
        if self.lineage.doubt().unproven_since.is_some() {
            return Judged::fails(Failure::StandBy);
        }
        // This server could not be asked for what belongs to a profile without it.
        if signed
            .version()
            .member(&self.keyserver.device_id())
            .is_none()
        {
            return Judged::fails(Failure::InvalidProfile);
        }
        let signed = self.signed_here(signed);
        let next = match profile.advance(signed.clone()) {
            Ok(next) => next,
            // An answer was lost, and the change asked for again.
            Err(ChainError::Repeated { .. }) => {
                return Judged {
                    founded: Some((profile.clone(), signed)),
                    ..Judged::nothing()
                };
            }
            Err(ChainError::Rollback { .. } | ChainError::Gap { .. } | ChainError::Fork { .. }) => {
                return Judged::fails(Failure::ProfileConflict);
            }
            Err(_) => return Judged::fails(Failure::InvalidProfile),
        };
        let request = ApprovalRequest {
            kind: RequestKind::ChangeProfile,
            device_id: OpaqueId::new(device.as_bytes()),
            profile: ProfileRef {
                id: profile.id(),
                words: profile.words(),
            },
            meta: Vec::new(),
            cryptographic_id: OpaqueId::new(&[]),
        };
        let (proposal, explanation) = self.propose(&request, now);
        let mut judged = Judged::decide(RequestItem {
            kind: RequestKind::ChangeProfile,
            cryptographic_id: None,
            meta: Vec::new(),
            proposal,
            explanation,
            act: Act::ChangeProfile(Box::new((next.clone(), signed.clone()))),
        });
        judged.founded = Some((next, signed));
        judged
    }

    /// The version, with this server's own signature in place of whatever stands under its name.
    fn signed_here(&self, signed: &SignedVersion) -> SignedVersion {
        let version = signed.version();
        let own = self.keyserver.device_id();
        let others = signed.signatures().iter().filter(|(id, _)| *id != own);
        let signatures = others.copied().chain([(own, self.signer.join(version))]);
        SignedVersion::new(version.clone(), signatures)
    }

    /// The profile that takes in a device which nobody knows yet: a machine on which the profile was recovered,
    /// and whose other devices have signed that. `None` for everybody else, so that a stranger learns nothing of
    /// which profiles there are.
    pub(super) async fn joins(
        &self,
        device: DeviceId,
        body: &RequestBody,
    ) -> Result<Option<Profile>, Unanswered> {
        let [Item::ChangeProfile { version }] = body.items() else {
            return Ok(None);
        };
        if version.version().member(&device).is_none() {
            return Ok(None);
        }
        let chain = self.store.profile(&body.profile()).await?;
        let Ok(profile) = Profile::from_chain(chain) else {
            return Ok(None);
        };
        let follows = profile.advance(self.signed_here(version)).is_ok();
        Ok(follows.then_some(profile))
    }

    /// What became of a change that was approved, or was in force already.
    pub(super) fn changed(&self, judged: Judged, now: UnixMillis) -> ItemAnswer {
        match judged {
            Judged {
                founded: Some((profile, version)),
                ..
            } => {
                // Who was removed, too, is looked up again: the directory compares versions.
                for card in &profile.version().devices {
                    self.directory.forget(&card.id());
                }
                let head = self.signer.head(profile.head(), now);
                ItemAnswer::ProfileChanged { version, head }
            }
            judged => ItemAnswer::Failed(judged.failure.unwrap_or(Failure::InvalidProfile)),
        }
    }

    /// The versions that follow number `after`, and the word on the newest.
    pub(super) async fn chain(
        &self,
        id: &ProfileId,
        after: u64,
        now: UnixMillis,
    ) -> Result<ItemAnswer, Unanswered> {
        let chain = self.store.profile(id).await?;
        let profile = Profile::from_chain(chain.iter().cloned());
        let profile = profile.map_err(|_| Unanswered::Unavailable)?;
        let later = chain
            .into_iter()
            .filter(|signed| signed.version().number > after);
        Ok(ItemAnswer::Chain {
            versions: later.take(MAX_CHAIN).collect(),
            head: self.signer.head(profile.head(), now),
        })
    }
}
