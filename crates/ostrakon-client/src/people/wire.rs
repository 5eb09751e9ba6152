//! What the two sides of a pairing say to each other.

use minicbor::{Decode, Encode};
use ostrakon_shards::{
    card::Card,
    name::Name,
    pairing::Opening,
    profile::{ProfileVersion, SignedHead, SignedVersion},
    seal::Sealed,
    sign::Signature,
};
use ostrakon_types::Digest;

use crate::home::PinnedKeyserver;

/// Where pairing calls are posted.
pub(crate) const PAIRING_PATH: &str = "/v1/pairing";

/// Their type.
pub(crate) const PAIRING_TYPE: &str = "application/ostrakon-pairing";

/// What a guest says. Everything but letters is in clear.
#[derive(Encode, Decode)]
pub(crate) enum Call {
    /// Who is there?
    #[n(0)]
    Greeting,
    /// The guest's card, by invitation.
    #[n(1)]
    Hello(#[n(0)] Sealed),
    /// The commitment to the guest's card, by typed code.
    #[n(2)]
    Commit(#[n(0)] Digest),
    /// What it was to.
    #[n(3)]
    Reveal(#[n(0)] Opening),
    /// The guest's letter with this number.
    #[n(4)]
    Letter {
        #[n(0)]
        number: u32,
        #[n(1)]
        letter: Sealed,
    },
    /// Is there a letter with this number for the guest?
    #[n(5)]
    Fetch(#[n(0)] u32),
}

/// What the host says to that.
#[derive(Encode, Decode)]
pub(crate) enum Reply {
    /// The host's card, and what the guest's device is to be called.
    #[n(0)]
    Greeting {
        #[n(0)]
        card: Card,
        #[n(1)]
        name: Option<Name>,
    },
    /// It was taken.
    #[n(1)]
    Taken,
    /// The commitment to the host's card.
    #[n(2)]
    Commit(#[n(0)] Digest),
    /// What it was to.
    #[n(3)]
    Reveal(#[n(0)] Opening),
    /// The letter.
    #[n(4)]
    Letter(#[n(0)] Sealed),
    /// Not yet.
    #[n(5)]
    Wait,
    /// Somebody else was first, or it does not fit.
    #[n(6)]
    Refused,
}

/// The host's first letter.
#[derive(Encode, Decode)]
pub(crate) struct Offer {
    /// The profile as it is.
    #[n(0)]
    pub(crate) versions: Vec<SignedVersion>,
    /// The version that adds the guest; none when it belongs to the profile already.
    #[n(1)]
    pub(crate) draft: Option<ProfileVersion>,
    /// The profile's server.
    #[n(2)]
    pub(crate) keyserver: Option<PinnedKeyserver>,
    /// Where the host will wait for answers.
    #[n(3)]
    pub(crate) relay: String,
    /// Whether the host is no device of the profile, and wants to become one again: without versions, it
    /// asks for those that the guest knows.
    #[n(4)]
    pub(crate) recovering: Option<bool>,
}

/// The guest's first letter to a host that is recovering.
#[derive(Encode, Decode)]
pub(crate) struct Lent {
    /// The profile as the guest knows it.
    #[n(0)]
    pub(crate) versions: Vec<SignedVersion>,
    /// The profile's server.
    #[n(1)]
    pub(crate) keyserver: Option<PinnedKeyserver>,
    /// Its word on which version is in force.
    #[n(2)]
    pub(crate) signed_head: Option<SignedHead>,
}

/// The guest's first letter.
#[derive(Encode, Decode)]
pub(crate) struct Consent {
    /// Its signature under the draft.
    #[n(0)]
    pub(crate) signature: Option<Signature>,
}

/// The host's second letter.
#[derive(Encode, Decode)]
pub(crate) enum Outcome {
    /// The version is in force, or there was none to bring into force.
    #[n(0)]
    Done {
        #[n(0)]
        version: Option<Box<SignedVersion>>,
        #[n(1)]
        head: Option<SignedHead>,
    },
    /// It was not approved.
    #[n(1)]
    Failed,
}
