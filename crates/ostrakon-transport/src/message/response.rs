use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, encode::Write};
use ostrakon_shards::{
    backup::SignedNewest,
    generation::SignedGeneration,
    name::Name,
    profile::{SignedHead, SignedVersion},
    seal::Sealed,
    share::Shard,
};
use ostrakon_types::{
    CeremonyId, Denial, LocationId, RequestId, UnixMillis, canonical::DecodeError,
};
use zeroize::Zeroizing;

use super::{MAX_CHAIN, MAX_ITEMS, MAX_LOCATIONS, MAX_NOTICES, secret};

const VERSION: u8 = 1;

/// What a server answers.
#[derive(Encode, Decode)]
pub struct ResponseBody {
    /// The request that is answered; none where it was refused before the server had read that much.
    #[n(0)]
    pub request_id: Option<RequestId>,
    /// The server's clock, so that a client whose envelopes are refused for their time learns by how
    /// much its own is off.
    #[n(1)]
    pub server_time: UnixMillis,
    /// The answer.
    #[n(2)]
    pub answer: Answer,
    /// The server's word on the age of its state, where it is another than the requester has seen.
    #[n(3)]
    pub generation: Option<SignedGeneration>,
}

/// The answer to a request.
#[derive(Encode, Decode)]
pub enum Answer {
    /// One answer to each item, in their order.
    #[n(0)]
    Items(#[cbor(n(0), decode_with = "at_most_max_items")] Vec<ItemAnswer>),
    /// No item was looked at.
    #[n(1)]
    Refused(#[n(0)] RefusalCode),
}

/// The answer to one item.
#[derive(Encode, Decode)]
#[non_exhaustive]
pub enum ItemAnswer {
    /// The shard.
    #[n(0)]
    Released(#[cbor(n(0), with = "shard")] Shard),
    /// The profile is registered.
    #[n(1)]
    ProfileCreated {
        /// Its first version, with the server's signature, too.
        #[n(0)]
        version: SignedVersion,
        /// The server's word that this is the version in force.
        #[n(1)]
        head: SignedHead,
    },
    /// The secure folder is registered.
    #[n(2)]
    LocationCreated {
        /// Its id.
        #[n(0)]
        location: LocationId,
    },
    /// The profile's secure folders.
    #[n(3)]
    Locations(#[cbor(n(0), decode_with = "at_most_max_locations")] Vec<LocationEntry>),
    /// The profile's version that is in force.
    #[n(4)]
    Head {
        /// The version.
        #[n(0)]
        version: SignedVersion,
        /// The server's word that it is in force.
        #[n(1)]
        head: SignedHead,
    },
    /// Not granted.
    #[n(5)]
    Denied(#[n(0)] Denial),
    /// Granted, but it cannot be done.
    #[n(6)]
    Failed(#[n(0)] Failure),
    /// The server knows the profile now, and its newest version.
    #[n(20)]
    ProfileShown,
    /// The profile's next version is in force.
    #[n(7)]
    ProfileChanged {
        /// It, with the server's signature, too.
        #[n(0)]
        version: SignedVersion,
        /// The server's word that it is in force.
        #[n(1)]
        head: SignedHead,
    },
    /// Versions of the profile, in their order: the next ones after the known one, not always all.
    #[n(8)]
    Chain {
        /// The versions.
        #[cbor(n(0), decode_with = "at_most_max_chain")]
        versions: Vec<SignedVersion>,
        /// The server's word on which version is in force.
        #[n(1)]
        head: SignedHead,
    },
    /// What was asked of the relay is done.
    #[n(9)]
    Relayed,
    /// The notices that wait for the device.
    #[n(10)]
    Notices {
        /// The notices, the oldest ceremony's first.
        #[cbor(n(0), decode_with = "at_most_max_items")]
        notices: Vec<PendingNotice>,
        /// The server's word on its newest backup key, for the devices of the profile that holds it.
        #[n(1)]
        backup: Option<SignedNewest>,
        /// Versions of the profile that the device does not know, in their order, for the same devices. Each
        /// is signed by those who brought it about; the server adds nothing.
        #[cbor(n(2), decode_with = "at_most_max_chain")]
        versions: Vec<SignedVersion>,
    },
    /// The answers to a ceremony so far, each sealed to the requester.
    #[n(11)]
    CeremonyAnswers(#[cbor(n(0), decode_with = "at_most_max_notices")] Vec<Sealed>),
}

/// A ceremony that waits for a device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PendingNotice {
    /// The ceremony.
    #[n(0)]
    pub id: CeremonyId,
    /// Until when the relay keeps it.
    #[n(1)]
    pub expires_at: UnixMillis,
    /// What the device is asked, sealed to it.
    #[n(2)]
    pub notice: Sealed,
}

/// How a ceremony ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum CeremonyOutcome {
    /// With enough approvals.
    #[n(0)]
    Approved,
    /// With a denial.
    #[n(1)]
    Denied,
    /// Without enough answers in time.
    #[n(2)]
    Expired,
    /// Given up by the requester.
    #[n(3)]
    Cancelled,
}

impl CeremonyOutcome {
    /// The name, for logs and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A secure folder.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct LocationEntry {
    /// Its id.
    #[n(0)]
    pub location: LocationId,
    /// Its name.
    #[n(1)]
    pub name: Name,
    /// When it was registered.
    #[n(2)]
    pub created_at: UnixMillis,
}

/// Why no item of a request was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum RefusalCode {
    /// It was issued too long ago.
    #[n(0)]
    #[error("request has expired")]
    Expired,
    /// It was issued in the future, further than clocks may differ.
    #[n(1)]
    #[error("request is dated in the future")]
    FutureDated,
    /// Its id was used for another request.
    #[n(2)]
    #[error("request id was used for another request")]
    IdReused,
    /// The server cannot read it.
    #[n(3)]
    #[error("request is malformed")]
    Malformed,
    /// It has more items than one request may have.
    #[n(4)]
    #[error("request has more than {MAX_ITEMS} items")]
    TooManyItems,
    /// An item belongs to another profile than the request.
    #[n(5)]
    #[error("request and item belong to different profiles")]
    OtherProfile,
    /// The device is not a member of the profile, or there is no such profile.
    #[n(6)]
    #[error("device is not a member of the profile")]
    NotAMember,
    /// Too many requests of this kind came lately.
    #[n(7)]
    #[error("too many requests, try again later")]
    RateLimited,
    /// The server cannot decide requests now; nothing was charged.
    #[n(8)]
    #[error("server cannot answer requests now")]
    Unavailable,
    /// The server may not know the profile's newest version: it is to be shown first.
    #[n(20)]
    #[error("server must be shown the profile first")]
    ShowProfile,
    /// The server's state is older than one that was seen, or another server has its identity. It
    /// answers nothing until its operator has seen to that.
    #[n(21)]
    #[error(
        "server's state is out of date: it answers nothing until its operator has seen to that"
    )]
    OutOfDate,
}

/// Why an item that was granted cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, thiserror::Error)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Failure {
    /// The sealed shard does not open in its context: another path, profile or file, or altered.
    #[n(0)]
    #[error("shard does not open under this name")]
    ShardMismatch,
    /// The version does not found a profile that this server belongs to.
    #[n(1)]
    #[error("profile is not valid")]
    InvalidProfile,
    /// The profile has as many secure folders as it can have.
    #[n(2)]
    #[error("too many folders")]
    TooManyLocations,
    /// The version does not continue the one in force: a fork, a rollback, or too late.
    #[n(3)]
    #[error("profile has another version by now")]
    ProfileConflict,
    /// The device has as many ceremonies open as it may have.
    #[n(4)]
    #[error("too many pending ceremonies")]
    TooManyCeremonies,
    /// There is no such ceremony for this device, or none any more.
    #[n(5)]
    #[error("there is no such ceremony, or it is over")]
    NoCeremony,
    /// The server may not have the profile's newest state: it is a standby, or was recovered or put back.
    /// Until its administrators have approved it, it changes no profile.
    #[n(6)]
    #[error(
        "server changes no profiles: it is a standby, or was recovered, and its administrators have \
         not approved that yet"
    )]
    StandBy,
}

impl ResponseBody {
    /// The answer to a request that was refused before it was read.
    #[must_use]
    pub fn refused(server_time: UnixMillis, code: RefusalCode) -> Self {
        Self {
            request_id: None,
            server_time,
            answer: Answer::Refused(code),
            generation: None,
        }
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        secret::encode(&Versioned(self))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        secret::decode(bytes).map(|Versioned(body)| body)
    }
}

impl fmt::Debug for LocationEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocationEntry")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// A version number, then the value.
struct Versioned<T>(T);

impl<T: Encode<C>, C> Encode<C> for Versioned<T> {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (VERSION, &self.0).encode(e, ctx)
    }
}

impl<'b, T: Decode<'b, C>, C> Decode<'b, C> for Versioned<T> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        match Decode::decode(d, ctx)? {
            (VERSION, value) => Ok(Self(value)),
            _ => Err(minicbor::decode::Error::message("unknown version").at(at)),
        }
    }
}

fn at_most_max_items<'b, T: Decode<'b, C>, C>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<Vec<T>, minicbor::decode::Error> {
    at_most(MAX_ITEMS, d, ctx)
}

fn at_most_max_locations<'b, T: Decode<'b, C>, C>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<Vec<T>, minicbor::decode::Error> {
    at_most(MAX_LOCATIONS, d, ctx)
}

fn at_most_max_chain<'b, T: Decode<'b, C>, C>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<Vec<T>, minicbor::decode::Error> {
    at_most(MAX_CHAIN, d, ctx)
}

fn at_most_max_notices<'b, T: Decode<'b, C>, C>(
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<Vec<T>, minicbor::decode::Error> {
    at_most(MAX_NOTICES, d, ctx)
}

fn at_most<'b, T: Decode<'b, C>, C>(
    most: usize,
    d: &mut Decoder<'b>,
    ctx: &mut C,
) -> Result<Vec<T>, minicbor::decode::Error> {
    let at = d.position();
    match d.probe().array()? {
        Some(count) if count <= most as u64 => Decode::decode(d, ctx),
        _ => Err(minicbor::decode::Error::message("list is too long").at(at)),
    }
}

/// A shard inside other CBOR: a byte string.
mod shard {
    use minicbor::{Decoder, Encoder, encode::Write};
    use ostrakon_shards::share::Shard;

    pub(super) fn encode<C, W: Write>(
        shard: &Shard,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&shard.to_bytes())?.ok()
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Shard, minicbor::decode::Error> {
        let at = d.position();
        Shard::from_bytes(d.bytes()?).map_err(|error| minicbor::decode::Error::custom(error).at(at))
    }
}
