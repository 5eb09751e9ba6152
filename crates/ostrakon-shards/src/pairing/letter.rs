use minicbor::{
    Decode, Encode,
    bytes::{ByteSlice, ByteVec},
};
use ostrakon_types::{Digest, canonical};

use crate::{
    card::Card,
    device::DeviceKeys,
    seal::{SealError, Sealed, open, seal},
    sign::Signature,
    suite::Suite,
};

const VERSION: u8 = 1;
const LETTER: &str = "pairing letter";

/// A side of a pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// The one that waits.
    #[n(0)]
    Host,
    /// The one that comes.
    #[n(1)]
    Guest,
}

/// Two devices that know each other's cards, as one of them sees it.
#[derive(Clone, Debug)]
pub struct Pairing {
    session: Digest,
    role: Role,
    own: Card,
    other: Card,
}

/// A letter that is not the next one from the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("letter is not from the paired device, or is not the next one")]
pub struct LetterError;

impl Pairing {
    pub(super) fn new(session: Digest, role: Role, own: Card, other: Card) -> Self {
        Self {
            session,
            role,
            own,
            other,
        }
    }

    /// This side's card.
    #[must_use]
    pub fn own(&self) -> &Card {
        &self.own
    }

    /// The other side's card.
    #[must_use]
    pub fn other(&self) -> &Card {
        &self.other
    }

    /// Seals letter `number` of this side's, counted from 0, signed with this side's keys.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(&self, keys: &DeviceKeys, number: u32, text: &[u8]) -> Result<Sealed, SealError> {
        let context = self.context(self.role, number);
        let signature = keys.signing.sign(LETTER, &signed(&context, text));
        let plaintext = canonical::encode(&(VERSION, signature, <&ByteSlice>::from(text)));
        seal(Suite::XWing, LETTER, &self.other.kem, &context, &plaintext)
    }

    /// Opens letter `number` of the other side's.
    ///
    /// # Errors
    /// When it is not that.
    pub fn open(
        &self,
        keys: &DeviceKeys,
        number: u32,
        letter: &Sealed,
    ) -> Result<Vec<u8>, LetterError> {
        let from = match self.role {
            Role::Host => Role::Guest,
            Role::Guest => Role::Host,
        };
        let context = self.context(from, number);
        let plaintext = open(LETTER, &keys.kem, &context, letter).map_err(|_| LetterError)?;
        let (version, signature, text): (u8, Signature, ByteVec) =
            canonical::decode(&plaintext).map_err(|_| LetterError)?;
        let key = &self.other.verify;
        let verified = key.verify_strict(LETTER, &signed(&context, &text), &signature);
        if version == VERSION && verified.is_ok() {
            Ok(text.into())
        } else {
            Err(LetterError)
        }
    }

    fn context(&self, from: Role, number: u32) -> Vec<u8> {
        canonical::encode(&(self.session, from, number))
    }
}

fn signed(context: &[u8], text: &[u8]) -> Vec<u8> {
    canonical::encode(&(<&ByteSlice>::from(context), <&ByteSlice>::from(text)))
}
