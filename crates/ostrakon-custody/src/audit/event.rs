use minicbor::{Decode, Encode};
use ostrakon_shards::profile::Head;
use ostrakon_storage::{Durability, InstanceId};
use ostrakon_types::{
    CeremonyId, CryptographicId, Decision, DeviceId, Digest, MetaItem, ProfileId, RequestId,
    RequestKind, UnixMillis,
};

use super::Charged;

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AuditRecord {
    /// When it happened, by the server's clock.
    #[n(0)]
    pub at: UnixMillis,
    /// What happened.
    #[n(1)]
    pub event: AuditEvent,
    /// How durable it was when it was answered, where that was less than the database was set up for.
    #[n(2)]
    pub durability: Option<Durability>,
}

impl AuditRecord {
    /// A record of what happens now.
    #[must_use]
    pub fn new(at: UnixMillis, event: AuditEvent) -> Self {
        Self {
            at,
            event,
            durability: None,
        }
    }
}

/// What an audit record tells.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum AuditEvent {
    /// An item of a request was decided.
    #[n(0)]
    Decided {
        /// The profile for which it was asked.
        #[n(0)]
        profile: ProfileId,
        /// The device that asked.
        #[n(1)]
        device: DeviceId,
        /// The request.
        #[n(2)]
        request: RequestId,
        /// The number of the item in it.
        #[n(3)]
        item: u32,
        /// What was asked for.
        #[n(4)]
        kind: RequestKind,
        /// The file key, where one was meant.
        #[n(5)]
        cryptographic_id: Option<CryptographicId>,
        /// The files that were meant.
        #[n(6)]
        meta: Vec<MetaItem>,
        /// What was decided.
        #[n(7)]
        decision: Decision,
        /// Why, in words for the operator.
        #[n(8)]
        explanation: Option<String>,
        /// The counters that the approval counted on, so that they can be counted again.
        #[n(9)]
        charged: Option<Vec<Charged>>,
        /// The version of the profile that the approval put in force, where it made or changed one.
        #[n(10)]
        head: Option<ProfileHead>,
    },
    /// An operator changed the server, or it started or stopped.
    #[n(1)]
    Administered {
        /// What was done, as a command names it.
        #[n(0)]
        action: String,
        /// To what.
        #[n(1)]
        detail: String,
    },
    /// An approved shard did not open as its requester said, and so nothing was released.
    #[n(2)]
    Unreleased {
        /// The profile for which it was asked.
        #[n(0)]
        profile: ProfileId,
        /// The device that asked.
        #[n(1)]
        device: DeviceId,
        /// The request.
        #[n(2)]
        request: RequestId,
        /// The number of the item in it.
        #[n(3)]
        item: u32,
    },
    /// A known device's request was not looked at.
    #[n(3)]
    Refused {
        /// The device.
        #[n(0)]
        device: DeviceId,
        /// The profile for which it asked, where the request could be read.
        #[n(1)]
        profile: Option<ProfileId>,
        /// The request, where it could be read.
        #[n(2)]
        request: Option<RequestId>,
        /// Why.
        #[n(3)]
        reason: String,
    },
    /// What was turned away since a time, and has no record of its own.
    #[n(4)]
    Strangers {
        /// Since when it was counted.
        #[n(0)]
        since: UnixMillis,
        /// How often, by reason.
        #[n(1)]
        tallies: Vec<Tally>,
    },
    /// An operator set counters back to zero.
    #[n(5)]
    QuotaCleared {
        /// Whose; nobody means everybody's.
        #[n(0)]
        profile: Option<ProfileId>,
        /// How many there were.
        #[n(1)]
        counters: u64,
        /// On whose word, where it was not the operator's alone.
        #[n(2)]
        by: Option<String>,
    },
    /// A policy was put in force.
    #[n(6)]
    PolicyLoaded {
        /// Its number.
        #[n(0)]
        version: i64,
        /// The zone in which its times are meant.
        #[n(1)]
        time_zone: String,
        /// The SHA-256 of its text.
        #[n(2)]
        source: Digest,
        /// On whose word, where it was not the operator's alone.
        #[n(3)]
        by: Option<String>,
    },
    /// The server found a chain to be another than its witnesses say. A chain of its own goes on with the
    /// number after the one that was expected: no number is given twice.
    #[n(7)]
    Broken {
        /// Whose chain.
        #[n(0)]
        instance: InstanceId,
        /// The number of the record that should be there.
        #[n(1)]
        expected: u64,
        /// The authenticator of that record, which this one follows.
        #[n(2)]
        expected_mac: Digest,
        /// The number of the newest record that was there.
        #[n(3)]
        found: u64,
        /// Who says so.
        #[n(4)]
        witness: String,
    },
    /// Records were moved to an archive.
    #[n(8)]
    Archived {
        /// The archive's number.
        #[n(0)]
        number: u64,
        /// The checkpoint up to which it goes.
        #[n(1)]
        checkpoint: u64,
        /// How many records are in it.
        #[n(2)]
        records: u64,
        /// The SHA-256 of the archive's signed manifest.
        #[n(3)]
        manifest: Digest,
    },
    /// A ceremony went a step on, as far as the relay sees: what is asked and answered is sealed.
    #[n(9)]
    Ceremony {
        /// The profile whose devices are asked.
        #[n(0)]
        profile: ProfileId,
        /// The ceremony.
        #[n(1)]
        ceremony: CeremonyId,
        /// The device that took the step; when it expired, the one that had opened it.
        #[n(2)]
        device: DeviceId,
        /// `opened`, `answered`, `expired`, or how it ended as the requester says: `approved`,
        /// `denied`, `cancelled`.
        #[n(3)]
        step: String,
    },
    /// A device showed a version of its profile that this server had lost.
    #[n(10)]
    ProfileShown {
        /// The profile.
        #[n(0)]
        profile: ProfileId,
        /// The version, in force again.
        #[n(1)]
        head: ProfileHead,
    },
}

/// Which version of a profile was put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProfileHead {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// Its hash.
    #[n(1)]
    pub hash: Digest,
}

impl From<Head> for ProfileHead {
    fn from(head: Head) -> Self {
        Self {
            number: head.number,
            hash: head.hash,
        }
    }
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Tally {
    /// What.
    #[n(0)]
    pub reason: String,
    /// How often.
    #[n(1)]
    pub count: u64,
}
