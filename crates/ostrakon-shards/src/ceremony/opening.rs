use minicbor::{Decode, Encode};
use ostrakon_types::{
    CeremonyId, DeviceId, Digest, ProfileId, ProfileWords, UnixMillis, canonical,
};

use super::Subject;
use crate::{
    card::{Card, DeviceKind},
    hash::{DOMAIN, sha256},
    identity::RootKeyRecord,
    kem::KemPublic,
    profile::Profile,
    sign::VerifyKey,
    versioned::versioned,
    words::words,
};

const VERSION: u8 = 1;

/// What devices are asked to approve: everything that their signatures cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceremony {
    /// Its name, drawn by the requester.
    pub id: CeremonyId,
    /// What it is about.
    pub subject: Subject,
    /// The profile whose devices are asked.
    pub profile: ProfileId,
    /// The hash of the profile's version whose devices are asked.
    pub version: Digest,
    /// How many approvals it takes.
    pub threshold: u8,
    /// Who asks.
    pub requester: Requester,
    /// The one-time key to which answers are sealed.
    pub reply_to: KemPublic,
    /// When it was opened.
    pub opened_at: UnixMillis,
    /// From when on no answer counts.
    pub expires_at: UnixMillis,
}

/// Who opened a ceremony, and signed its opening.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Requester {
    /// A device of the profile.
    #[n(0)]
    Device(#[n(0)] DeviceId),
    /// The key shard server that the subject is about, through its administration socket.
    #[n(1)]
    Server(#[n(0)] RootKeyRecord),
    /// A machine that is no member of the profile, as in a recovery. Its card proves nothing: people
    /// compare the ceremony's words.
    #[n(2)]
    Machine(#[n(0)] Card),
}

/// Why a ceremony is none that a profile's devices can be asked to approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CeremonyError {
    /// It is for the devices of another profile.
    #[error("for another profile")]
    OtherProfile,
    /// It is for the devices of another version of the profile.
    #[error("for another version of the profile")]
    OtherVersion,
    /// It would be open for no time at all, or for longer than any may be.
    #[error("open for {0} ms: expected 1 to {max}", max = Ceremony::MAX_LIFETIME_MS)]
    Lifetime(i64),
    /// It takes no approval, or more than there are people's devices.
    #[error("takes {needed} approvals of {devices} devices")]
    Threshold {
        /// How many it takes.
        needed: u8,
        /// How many devices can answer.
        devices: usize,
    },
    /// The requester is not entitled to it.
    #[error("requester cannot ask for this")]
    Requester,
    /// The version that it proposes does not follow the profile's.
    #[error("proposed version does not follow the profile's version")]
    Draft,
}

impl Ceremony {
    /// The longest time for which one can be open: a day.
    pub const MAX_LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

    /// What the devices sign.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&canonical::encode(&(DOMAIN, VERSION, "ceremony", self)))
    }

    /// The words that people compare when a machine asks that is no member: the first eight of the
    /// digest's, 88 bits.
    #[must_use]
    pub fn words(&self) -> ProfileWords {
        ProfileWords::new(words(&self.digest()).first(8))
    }

    /// Whether no answer counts any more at the time `now`.
    #[must_use]
    pub fn has_expired(&self, now: UnixMillis) -> bool {
        now >= self.expires_at
    }

    /// Checks that the devices of `profile`, as it is now, can be asked this.
    ///
    /// # Errors
    /// When they cannot.
    pub fn check(&self, profile: &Profile) -> Result<(), CeremonyError> {
        let head = profile.head();
        if self.profile != head.profile {
            return Err(CeremonyError::OtherProfile);
        }
        if self.version != head.hash {
            return Err(CeremonyError::OtherVersion);
        }
        let lifetime = self.expires_at.since(self.opened_at);
        if !(1..=Self::MAX_LIFETIME_MS).contains(&lifetime) {
            return Err(CeremonyError::Lifetime(lifetime));
        }
        let people = profile.version().devices.iter();
        let devices = people.filter(|card| answers(card)).count();
        let needed = self.threshold;
        if !(1..=devices).contains(&usize::from(needed)) {
            return Err(CeremonyError::Threshold { needed, devices });
        }
        if let Some(draft) = self.subject.draft() {
            let follows = head.number.checked_add(1) == Some(draft.number);
            if !follows || draft.previous != Some(head.hash) || draft.check().is_err() {
                return Err(CeremonyError::Draft);
            }
        }
        self.requester_key(profile).map(|_| ())
    }

    /// The key that must have signed the opening.
    pub(super) fn requester_key(&self, profile: &Profile) -> Result<VerifyKey, CeremonyError> {
        let key = match &self.requester {
            Requester::Device(id) => profile
                .member(id)
                .filter(|card| answers(card))
                .map(|card| card.verify),
            Requester::Server(record) => {
                let same = self.subject.server() == Some(&record.kss_id());
                same.then_some(record.verify)
            }
            Requester::Machine(card) => {
                let stranger = profile.member(&card.id()).is_none();
                (stranger && self.subject.open_to_machines()).then_some(card.verify)
            }
        };
        key.ok_or(CeremonyError::Requester)
    }
}

/// Whether a device is one with which a person answers.
pub(super) fn answers(card: &Card) -> bool {
    card.kind != DeviceKind::Keyserver
}

versioned!(Ceremony, 1 {
    id, subject, profile, version, threshold, requester, reply_to, opened_at, expires_at,
});
