use std::fmt;

use minicbor::bytes::ByteArray;
use ostrakon_types::{Digest, canonical};

use super::{Pairing, Role};
use crate::{
    card::Card,
    hash::{DOMAIN, sha256},
    random::{self, RandomError},
    versioned::versioned,
};

const VERSION: u8 = 1;

/// What a side commits to first and reveals once it has the other's commitment: its card, and a nonce
/// that nobody could have chosen the card by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The card.
    pub card: Card,
    nonce: ByteArray<32>,
}

/// Six digits that people compare on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits(u32);

impl Opening {
    /// Draws a nonce beside this card.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn new(card: Card) -> Result<Self, RandomError> {
        let nonce = random::array()?.into();
        Ok(Self { card, nonce })
    }

    /// What is said before: it tells nothing, and fits this opening alone. The two sides' differ, so that
    /// neither can send the other's back.
    #[must_use]
    pub fn commitment(&self, role: Role) -> Digest {
        let committed = (DOMAIN, VERSION, "pairing commitment", role, self);
        sha256(&canonical::encode(&committed))
    }

    /// What both sides have once each has the other's opening, and the other's commitment fits it: the
    /// pairing, in this side's role, and the digits to compare.
    #[must_use]
    pub fn meet(&self, role: Role, other: &Self) -> (Pairing, Digits) {
        let (host, guest) = match role {
            Role::Host => (self, other),
            Role::Guest => (other, self),
        };
        let session = (DOMAIN, VERSION, "pairing by code", host, guest);
        let session = sha256(&canonical::encode(&session));
        let digits = sha256(&canonical::encode(&(
            DOMAIN,
            VERSION,
            "pairing digits",
            session,
        )));
        let [a, b, c, d, e, f, g, h, ..] = *digits.as_bytes();
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 1_000_000;
        let pairing = Pairing::new(session, role, self.card.clone(), other.card.clone());
        (pairing, Digits(u32::try_from(number).unwrap_or(0)))
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {:03}", self.0 / 1000, self.0 % 1000)
    }
}

versioned!(Opening, 1 { card, nonce });
