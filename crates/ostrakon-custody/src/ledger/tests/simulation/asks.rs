//! What is asked for, and what the policies of the simulation say of it: a pure function of what the audit
//! log holds, so that a decision can be judged again from its record alone.

use super::{chance::Chance, *};

/// The day's end is near when a run begins, so that clocks differ about the day, too.
pub(super) const BEGIN: UnixMillis = UnixMillis(DAY * 19_700 - 10_000);
const DAY: i64 = 24 * 60 * 60 * 1000;
const MINUTE: i64 = 60 * 1000;

/// What an item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A shard, by a quota of the day.
    Shard,
    /// A shard, by a quota of the minute and one of the day, or else by a spare one.
    Either,
    /// Something that two policies of three approve, at no charge.
    Free,
    /// A folder, of which there is one, by a quota of the day.
    Folder,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Shard, Self::Either, Self::Free, Self::Folder];

    /// Folders are rare: what is asked for together with one cannot be planned ahead.
    pub(super) fn any(chance: &mut Chance) -> Self {
        match chance.below(20) {
            0 => Self::Folder,
            1..4 => Self::Free,
            4..11 => Self::Either,
            _ => Self::Shard,
        }
    }
}

/// A request, which stays the same over its tries.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) key: RequestKey,
    pub(super) kinds: Vec<Kind>,
    pub(super) folder: LocationId,
}

impl Ask {
    /// The request as an instance makes it that knows the policy with this number, at its own time.
    pub(super) fn request(&self, policy: i64, at: UnixMillis) -> SettleRequest {
        let id = self.key.request;
        let items = self.kinds.iter().map(|&kind| {
            let act = match kind {
                Kind::Shard | Kind::Either => Act::Release(Digest::from_bytes([7; 32])),
                Kind::Free => Act::None,
                Kind::Folder => Act::CreateLocation(LocationRecord {
                    location: self.folder,
                    name: Name::new("folder").unwrap(),
                    created_at: at,
                }),
            };
            let mut item = item(proposal(policy, kind, self.key.profile, at), act);
            item.meta = vec![MetaItem {
                meta: format!("{policy} {kind:?}"),
                complete: true,
            }];
            item.explanation = None;
            item
        });
        let mut body = [0; 32];
        body[..16].copy_from_slice(id.as_bytes());
        SettleRequest {
            key: self.key,
            body: Digest::from_bytes(body),
            at,
            basis: policy.into(),
            items: items.collect(),
        }
    }
}

/// The policy and the kind of an item, as its audit record tells them.
pub(super) fn told(meta: &[MetaItem]) -> (i64, Kind) {
    let text = meta[0].meta.to_string();
    let (policy, kind) = text.split_once(' ').unwrap();
    let kind = Kind::ALL.into_iter().find(|of| format!("{of:?}") == kind);
    (policy.parse().unwrap(), kind.unwrap())
}

/// What the policy with this number says. Each has other limits, and rule sets of its own.
pub(super) fn proposal(policy: i64, kind: Kind, profile: ProfileId, at: UnixMillis) -> Proposal {
    let charge = |rule: &str, period, length: i64, limit| {
        let window = UnixMillis(at.0 - at.0.rem_euclid(length));
        Charge {
            key: CounterKey {
                profile,
                rule_id: rule.into(),
                period,
                window,
            },
            limit,
            resets_at: window.plus(length),
        }
    };
    let more = u64::try_from(policy % 3).unwrap();
    let daily = || charge("daily", Period::Day, DAY, 6 + 3 * more);
    let spare = || charge("spare", Period::Day, DAY, 2 + more);
    let burst = || charge("burst", Period::Minute, MINUTE, 2 + more);
    let candidates = match kind {
        Kind::Shard | Kind::Folder => vec![vec![daily()]],
        Kind::Either => vec![vec![burst(), daily()], vec![spare()]],
        Kind::Free if more == 2 => Vec::new(),
        Kind::Free => vec![Vec::new()],
    };
    let first = u32::try_from(policy).unwrap() * 2;
    let numbered = (first..).zip(candidates);
    Proposal::new(
        numbered
            .map(|(number, charges)| Candidate::new(Some(number), charges))
            .collect(),
    )
}
