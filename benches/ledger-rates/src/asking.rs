//! Requests as the server makes them: judged by a policy with a path rule and a quota.

use std::{
    hint::black_box,
    time::{Instant, SystemTime},
};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_custody::{Act, RequestItem, SettleRequest};
use ostrakon_policy::{Policy, Registry};
use ostrakon_shards::random;
use ostrakon_storage::{ChangeNumber, RequestKey};
use ostrakon_types::{
    ApprovalRequest, CryptographicId, DeviceId, Digest, MetaItem, OpaqueId, ProfileRef,
    RequestKind, UnixMillis,
};

use crate::{Outcome, room::Member};

pub const POLICY: &str = "decrypt:\n\
    - - {rule: meta-rule, paths: [/Public]}\n\
    \x20 - {rule: per-profile-throttle-rule, rule_id: public, per_day: 1000000000}\n";

/// A policy in force.
pub struct Asking {
    policy: Policy,
}

impl Asking {
    pub fn new() -> Outcome<Self> {
        let loaded = Policy::load(
            "keyserver.yml",
            POLICY,
            &TimeZone::UTC,
            &Registry::bundled(),
        )?;
        Ok(Self {
            policy: loaded.policy,
        })
    }

    /// A request of `items` decryptions.
    pub fn request(&self, member: &Member, items: u32) -> Outcome<SettleRequest> {
        let at = now();
        let request = random::request_id(at)?;
        let body = Digest::from_bytes(random::array()?);
        let items = (0..items).map(|number| self.item(member, at, body, number));
        Ok(SettleRequest {
            key: RequestKey {
                profile: member.profile,
                device: member.device,
                request,
            },
            body,
            at,
            basis: ChangeNumber::default(),
            items: items.collect::<Outcome<_>>()?,
        })
    }

    fn item(
        &self,
        member: &Member,
        at: UnixMillis,
        body: Digest,
        number: u32,
    ) -> Outcome<RequestItem> {
        let file = CryptographicId::from_bytes(u128::from(number).to_be_bytes());
        let request = approval_request(member, file);
        let now = Timestamp::from_millisecond(at.0)?;
        Ok(RequestItem {
            kind: RequestKind::Decrypt,
            cryptographic_id: Some(file),
            proposal: self.policy.evaluate(&request, now).into_proposal(),
            meta: request.meta,
            explanation: None,
            act: Act::Release(body),
        })
    }

    /// What making the proposals of [`Asking::request`] takes of a decision's time.
    pub fn micros_per_proposal(&self, members: &[Member]) -> f64 {
        let request = approval_request(&members[0], CryptographicId::from_bytes([1; 16]));
        let now = Timestamp::from_millisecond(now().0).unwrap_or_default();
        let start = Instant::now();
        let calls = 100_000;
        for _ in 0..calls {
            black_box(
                self.policy
                    .evaluate(black_box(&request), now)
                    .into_proposal(),
            );
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    }
}

fn approval_request(member: &Member, file: CryptographicId) -> ApprovalRequest {
    ApprovalRequest {
        kind: RequestKind::Decrypt,
        device_id: OpaqueId::new(DeviceId::as_bytes(&member.device)),
        profile: ProfileRef {
            id: member.profile,
            words: member.words.clone(),
        },
        meta: vec![MetaItem {
            meta: "Public/reports/2026/quarter-3/figures.ods".into(),
            complete: true,
        }],
        cryptographic_id: OpaqueId::new(file.as_bytes()),
    }
}

/// The time by the machine's clock.
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| since.as_millis() as i64))
}
