use ostrakon_custody::{Act, Approval, Explain, RequestItem, Verdict, binding};
use ostrakon_shards::{
    profile::{Profile, SignedVersion},
    sealed_shard::{SealedShard, ShardContext},
};
use ostrakon_storage::{LocationRecord, RequestKey};
use ostrakon_transport::message::{Failure, Item, ItemAnswer, LocationEntry, RequestBody};
use ostrakon_types::{
    ApprovalRequest, Candidate, Charge, CounterKey, Denial, DeviceId, OpaqueId, Period, ProfileId,
    ProfileRef, Proposal, RequestKind, UnixMillis,
};

use super::{Pipeline, Unanswered};
use crate::directory::Member;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// The counter of new profiles, over all profiles.
const NEW_PROFILES: &str = "server/new-profiles";
pub(crate) const ALL_PROFILES: ProfileId = ProfileId::from_bytes([0; 16]);

/// An item after the policy was asked.
pub(super) struct Judged {
    /// What goes to the ledger; nothing for what needs no decision.
    pub(super) request: Option<RequestItem>,
    /// Whether anything went there.
    pub(super) decided: bool,
    /// The new profile, or the changed one, as it will be once approved.
    pub(super) founded: Option<(Profile, SignedVersion)>,
    /// Why it cannot be done, whatever a policy says.
    pub(super) failure: Option<Failure>,
}

impl Pipeline {
    /// Asks the policy about an item. `None` when the device is no member of the request's profile. One that is
    /// nobody yet may bring the version by which it `joins` that profile.
    pub(super) fn judge(
        &self,
        device: DeviceId,
        member: Option<&Member>,
        joins: Option<&Profile>,
        body: &RequestBody,
        item: &Item,
        now: UnixMillis,
    ) -> Option<Judged> {
        let member_of = || member.and_then(|member| member.profile(&body.profile()));
        match item {
            Item::Release {
                kind,
                context,
                sealed,
            } => {
                let profile = member_of()?;
                // The shard is bound to its device: another's would not open here.
                if context.public.device != self.keyserver.device_id() {
                    return Some(Judged::nothing());
                }
                let request = ApprovalRequest {
                    kind: (*kind).into(),
                    device_id: OpaqueId::new(device.as_bytes()),
                    profile: ProfileRef {
                        id: profile.id(),
                        words: profile.words(),
                    },
                    meta: vec![context.meta.clone()],
                    cryptographic_id: OpaqueId::new(context.public.cryptographic_id.as_bytes()),
                };
                let (proposal, explanation) = self.propose(&request, now);
                Some(Judged::decide(RequestItem {
                    kind: request.kind,
                    cryptographic_id: Some(context.public.cryptographic_id),
                    meta: request.meta,
                    proposal,
                    explanation,
                    act: Act::Release(binding(context, sealed)),
                }))
            }
            Item::CreateProfile { version } => Some(self.judge_profile(device, body, version, now)),
            Item::ChangeProfile { version } => {
                let profile = member_of().map(|profile| &**profile).or(joins)?;
                Some(self.judge_change(device, profile, version, now))
            }
            Item::CreateLocation { location, name } => {
                let profile = member_of()?;
                let request = ApprovalRequest {
                    kind: RequestKind::CreateLocation,
                    device_id: OpaqueId::new(device.as_bytes()),
                    profile: ProfileRef {
                        id: profile.id(),
                        words: profile.words(),
                    },
                    meta: Vec::new(),
                    cryptographic_id: OpaqueId::new(location.as_bytes()),
                };
                let (proposal, explanation) = self.propose(&request, now);
                let record = LocationRecord {
                    location: *location,
                    name: name.clone(),
                    created_at: now,
                };
                Some(Judged::decide(RequestItem {
                    kind: RequestKind::CreateLocation,
                    cryptographic_id: None,
                    meta: Vec::new(),
                    proposal,
                    explanation,
                    act: Act::CreateLocation(record),
                }))
            }
            // Who shows a profile need not be known yet: it proves itself.
            Item::ShowProfile { .. } => Some(Judged::nothing()),
            _ => member_of().map(|_| Judged::nothing()),
        }
    }

    /// A new profile must be complete but for this server's own signature.
    fn judge_profile(
        &self,
        device: DeviceId,
        body: &RequestBody,
        signed: &SignedVersion,
        now: UnixMillis,
    ) -> Judged {
        let version = signed.version();
        let own = (self.keyserver.device_id(), self.signer.join(version));
        let signatures: Vec<_> = signed.signatures().iter().copied().chain([own]).collect();
        let signed = SignedVersion::new(version.clone(), signatures);
        let profile = match Profile::found(signed.clone()) {
            Ok(profile) if profile.id() == body.profile() && profile.member(&device).is_some() => {
                profile
            }
            _ => return Judged::nothing(),
        };
        let request = ApprovalRequest {
            kind: RequestKind::CreateProfile,
            device_id: OpaqueId::new(device.as_bytes()),
            profile: ProfileRef {
                id: profile.id(),
                words: profile.words(),
            },
            meta: Vec::new(),
            cryptographic_id: OpaqueId::new(&[]),
        };
        let (proposal, explanation) = self.propose(&request, now);
        let explanation = explanation.or_else(|| Some(Explain::Quota(Box::new(of_the_server))));
        let mut judged = Judged::decide(RequestItem {
            kind: RequestKind::CreateProfile,
            cryptographic_id: None,
            meta: Vec::new(),
            proposal: self.within_the_server_limit(proposal, now),
            explanation,
            act: Act::CreateProfile(Box::new((profile.clone(), signed.clone()))),
        });
        judged.founded = Some((profile, signed));
        judged
    }

    pub(super) fn propose(
        &self,
        request: &ApprovalRequest,
        now: UnixMillis,
    ) -> (Proposal, Option<Explain>) {
        if self.is_enabled() {
            let (proposal, explanation) = self.policy.current().propose(request, now);
            (self.lineage.without_unseen_windows(proposal), explanation)
        } else {
            (Proposal::denied(Denial::Disabled), None)
        }
    }

    /// Profiles are free, and each has quotas of its own: so their number has a limit that no policy
    /// lifts.
    fn within_the_server_limit(&self, mut proposal: Proposal, now: UnixMillis) -> Proposal {
        let charge = new_profiles(now, self.max_new_profiles_per_day);
        for candidate in &mut proposal.candidates {
            let mut charges = candidate.charges().to_vec();
            charges.push(charge.clone());
            *candidate = Candidate::new(candidate.rule_set, charges);
        }
        self.lineage.without_unseen_windows(proposal)
    }

    /// Opens an approved shard. One that does not open is put on record as not released.
    async fn release(
        &self,
        approval: Approval,
        context: &ShardContext,
        sealed: &SealedShard,
        body: &RequestBody,
        now: UnixMillis,
    ) -> Result<ItemAnswer, Unanswered> {
        let item = approval.item();
        let key = RequestKey {
            profile: body.profile(),
            device: approval.device(),
            request: approval.request(),
        };
        match self.shard_key.open(approval, context, sealed) {
            Ok(shard) => Ok(ItemAnswer::Released(shard)),
            Err(error) => {
                tracing::warn!(request = %key.request, %error, "approved shard not released");
                let noted = self.ledger.unreleased(&key, item, now).await;
                noted.map_err(|_| Unanswered::Unavailable)?;
                Ok(ItemAnswer::Failed(Failure::ShardMismatch))
            }
        }
    }

    /// Does what was approved, and says what was not.
    pub(super) async fn carry_out(
        &self,
        item: &Item,
        judged: Judged,
        verdicts: &mut impl Iterator<Item = Verdict>,
        device: DeviceId,
        body: &RequestBody,
        now: UnixMillis,
    ) -> Result<ItemAnswer, Unanswered> {
        let approval = match judged.decided.then(|| verdicts.next()) {
            Some(Some(Verdict::Approved(approval))) => approval,
            Some(Some(Verdict::Denied(denial))) => {
                return Ok(ItemAnswer::Denied(as_told(item, denial)));
            }
            Some(None) => return Err(Unanswered::Unavailable),
            None => None,
        };
        // Whatever was approved before, and whatever needs no approval: disabled is disabled. But administrators
        // are asked through it whether it shall be enabled.
        if !self.is_enabled() && !self.is_for_administrators(device, body) {
            return Ok(ItemAnswer::Denied(Denial::Disabled));
        }
        Ok(match item {
            Item::Release {
                context, sealed, ..
            } => match approval {
                Some(approval) => self.release(approval, context, sealed, body, now).await?,
                None => ItemAnswer::Failed(Failure::ShardMismatch),
            },
            Item::CreateProfile { .. } => match judged.founded {
                None => ItemAnswer::Failed(Failure::InvalidProfile),
                Some((profile, version)) => {
                    for card in &profile.version().devices {
                        self.directory.forget(&card.id());
                    }
                    let head = self.signer.head(profile.head(), now);
                    ItemAnswer::ProfileCreated { version, head }
                }
            },
            Item::CreateLocation { location, .. } => ItemAnswer::LocationCreated {
                location: *location,
            },
            Item::ListLocations => {
                let records = self.store.locations(&body.profile()).await?;
                let entry = |record: LocationRecord| LocationEntry {
                    location: record.location,
                    name: record.name,
                    created_at: record.created_at,
                };
                ItemAnswer::Locations(records.into_iter().map(entry).collect())
            }
            Item::ProfileHead => {
                let chain = self.store.profile(&body.profile()).await?;
                let newest = chain.last().cloned();
                match (Profile::from_chain(chain), newest) {
                    (Ok(profile), Some(version)) => {
                        let head = self.signer.head(profile.head(), now);
                        ItemAnswer::Head { version, head }
                    }
                    _ => return Err(Unanswered::Unavailable),
                }
            }
            Item::ShowProfile { versions, head } => self.take_profile(versions, head, now).await?,
            Item::ChangeProfile { .. } => self.changed(judged, now),
            Item::ProfileChain { after } => self.chain(&body.profile(), *after, now).await?,
            Item::OpenCeremony { .. }
            | Item::PendingCeremonies { .. }
            | Item::AnswerCeremony { .. }
            | Item::CeremonyAnswers { .. }
            | Item::CloseCeremony { .. } => self.relay(item, device, body, now).await?,
            // A kind of item that this release does not know cannot have been decoded.
            _ => return Err(Unanswered::Unavailable),
        })
    }
}

/// What a new profile counts on.
pub(crate) fn new_profiles(now: UnixMillis, limit: u64) -> Charge {
    let window = UnixMillis(now.0 - now.0.rem_euclid(DAY));
    Charge {
        key: CounterKey {
            profile: ALL_PROFILES,
            rule_id: NEW_PROFILES.into(),
            period: Period::Day,
            window,
        },
        limit,
        resets_at: window.plus(DAY),
    }
}

/// Why a new profile that the policy approves is denied.
fn of_the_server(_refused: &[Charge]) -> String {
    "the policy approves; `max_new_profiles_per_day` in server.toml is used up".to_owned()
}

/// What the requester is told. No profile has a quota of new profiles: that is the server's.
fn as_told(item: &Item, denial: Denial) -> Denial {
    match (item, denial) {
        (Item::CreateProfile { .. }, Denial::Quota { resets_at }) => {
            Denial::ServerLimit { resets_at }
        }
        (_, denial) => denial,
    }
}

impl Judged {
    pub(super) fn nothing() -> Self {
        Self {
            request: None,
            decided: false,
            founded: None,
            failure: None,
        }
    }

    pub(super) fn decide(request: RequestItem) -> Self {
        Self {
            request: Some(request),
            decided: true,
            ..Self::nothing()
        }
    }

    pub(super) fn fails(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            ..Self::nothing()
        }
    }
}
