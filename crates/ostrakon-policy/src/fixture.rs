//! What the unit tests have in common.

use jiff::Timestamp;
use ostrakon_types::{
    ApprovalRequest, MetaItem, OpaqueId, ProfileId, ProfileRef, ProfileWords, RequestKind,
};

use crate::{Policy, Registry};

/// The words of the profile in [`request`].
pub(crate) const WORDS: &str = "river amber staple cactus maple drift horse quiet";

/// A request about items, `~/` in front of a partial one.
pub(crate) fn request(kind: RequestKind, items: &[&str]) -> ApprovalRequest {
    let item = |item: &&str| MetaItem {
        meta: item.strip_prefix("~/").unwrap_or(item).into(),
        complete: !item.starts_with("~/"),
    };
    ApprovalRequest {
        kind,
        device_id: OpaqueId::new(b"dev"),
        profile: ProfileRef {
            id: ProfileId::from_bytes([7; 16]),
            words: ProfileWords::new(WORDS),
        },
        meta: items.iter().map(item).collect(),
        cryptographic_id: OpaqueId::new(b"cid"),
    }
}

/// The policy in `text`, on a server in `zone`.
pub(crate) fn policy_in(text: &str, zone: &str) -> Policy {
    let zone = crate::clock_time::zone(zone).expect("is a zone");
    match Policy::load("keyserver.yml", text, &zone, &Registry::bundled()) {
        Ok(loaded) => loaded.policy,
        Err(error) => panic!("{error}"),
    }
}

/// The policy in `text`, on a server that keeps universal time.
pub(crate) fn policy(text: &str) -> Policy {
    policy_in(text, "UTC")
}

/// The instant.
pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("is an instant")
}

/// Whether a rule set of the policy approves the request at the instant, quotas aside.
pub(crate) fn approves(text: &str, zone: &str, request: &ApprovalRequest, when: &str) -> bool {
    let evaluation = policy_in(text, zone).evaluate(request, at(when));
    !evaluation.proposal().candidates.is_empty()
}
