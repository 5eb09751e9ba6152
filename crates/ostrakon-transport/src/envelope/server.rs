use minicbor::bytes::ByteSlice;
use ostrakon_shards::{
    card::Card,
    channel::Receiver,
    kem::{KemPublic, KemSecret},
    sign::{Signature, VerifyKey},
};
use ostrakon_types::{DeviceId, KssId, UnixMillis};
use zeroize::Zeroizing;

use super::{
    MAX_ENVELOPE_LEN, ReplyKey, SKEW_MILLIS, VALIDITY_MILLIS,
    reply::ReplySecret,
    wire::{self, Clear, PURPOSE},
};
use crate::message::{RefusalCode, RequestBody, secret};

/// A verifying key for devices that have none: the base point of Ed25519.
const NOBODY: VerifyKey = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    VerifyKey::from_bytes(bytes)
};

/// A server's secret for opening request envelopes. It opens no shards: that is another key, of another
/// type, and in another crate.
pub struct EnvelopeKey(KemSecret);

/// An envelope that opened. Nothing says yet who sealed it.
pub struct Opened {
    kss: KssId,
    device: DeviceId,
    card: Option<Card>,
    signature: Signature,
    body: Zeroizing<Vec<u8>>,
    reply: ReplySecret,
}

/// A request that its device signed, for this server. It is not parsed yet.
pub struct Authentic {
    device: DeviceId,
    body: Zeroizing<Vec<u8>>,
    reply: ReplyKey,
}

/// Why bytes are not the request of a known device.
///
/// Which of these it was is for the operator's counters alone. Whoever sent the bytes gets one and the
/// same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Stranger {
    /// No envelope of this version and a known suite.
    #[error("not an envelope")]
    NotAnEnvelope,
    /// Sealed to another server or in the name of another device, or altered.
    #[error("envelope does not open")]
    Sealed,
    /// It opens, but holds no signed request, or the card of another device.
    #[error("envelope holds no signed request")]
    Content,
    /// Nobody knows the device.
    #[error("device is unknown")]
    UnknownDevice,
    /// The device did not sign it.
    #[error("device did not sign the request")]
    Signature,
}

impl EnvelopeKey {
    /// Takes the server's envelope secret, for good.
    #[must_use]
    pub fn new(secret: KemSecret) -> Self {
        Self(secret)
    }

    /// The public keys, which stand in the server's card.
    #[must_use]
    pub fn public(&self) -> &KemPublic {
        self.0.public()
    }

    /// Opens an envelope that was sealed to the server `kss`, which must be this key's.
    ///
    /// # Errors
    /// When it does not open here.
    pub fn open(&self, kss: &KssId, bytes: &[u8]) -> Result<Opened, Stranger> {
        if bytes.len() > MAX_ENVELOPE_LEN {
            return Err(Stranger::NotAnEnvelope);
        }
        let (clear, ciphertext) = Clear::parse(bytes).ok_or(Stranger::NotAnEnvelope)?;
        let Clear {
            suite,
            device,
            encapsulated,
        } = clear;
        let info = wire::info(suite, kss, &device);
        let mut receiver =
            Receiver::setup(suite, &self.0, encapsulated, &info).map_err(|_| Stranger::Sealed)?;
        let inner = receiver
            .open(&[], ciphertext)
            .map_err(|_| Stranger::Sealed)?;
        let reply = ReplySecret::new(suite, encapsulated, |secret| {
            receiver.export(&wire::reply_label(suite), secret)
        })
        .map_err(|_| Stranger::Sealed)?;
        let (card, signature, body): (Option<Card>, Signature, &ByteSlice) =
            secret::decode(&inner).map_err(|_| Stranger::Content)?;
        if card.as_ref().is_some_and(|card| card.id() != device) {
            return Err(Stranger::Content);
        }
        Ok(Opened {
            kss: *kss,
            device,
            card,
            signature,
            body: Zeroizing::new(body.to_vec()),
            reply,
        })
    }
}

impl Opened {
    /// The device that the envelope claims to be from.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The card that came along, on first contact. Its id is that of [`device`](Self::device); nothing
    /// else is known of it.
    #[must_use]
    pub fn card(&self) -> Option<&Card> {
        self.card.as_ref()
    }

    /// Checks that the device with this card signed the request, for this server.
    ///
    /// # Errors
    /// When it did not, or the card is not that of [`device`](Self::device).
    pub fn verify(self, card: &Card) -> Result<Authentic, Stranger> {
        let authentic = self.verify_with(&card.verify)?;
        // Last, so that a stranger who names a known device meets the same work as one who does not.
        if card.id() != authentic.device {
            return Err(Stranger::UnknownDevice);
        }
        Ok(authentic)
    }

    /// [`verify`](Self::verify) against the card that came along.
    ///
    /// # Errors
    /// When none did, or its device did not sign.
    pub fn verify_first_contact(self) -> Result<(Authentic, Card), Stranger> {
        let mut opened = self;
        match opened.card.take() {
            Some(card) => Ok((opened.verify_with(&card.verify)?, card)),
            None => Err(opened.verify_nobody()),
        }
    }

    /// Does the work of [`verify`](Self::verify) for a device that nobody knows, so that the time it
    /// takes does not tell, and fails.
    #[must_use]
    pub fn verify_nobody(self) -> Stranger {
        let _ = self.verify_with(&NOBODY);
        Stranger::UnknownDevice
    }

    fn verify_with(self, key: &VerifyKey) -> Result<Authentic, Stranger> {
        let clear = Clear {
            suite: self.reply.suite(),
            device: self.device,
            encapsulated: self.reply.encapsulated(),
        };
        let signed = clear.signed(&self.kss, &self.body);
        key.verify_strict(PURPOSE, &signed, &self.signature)
            .map_err(|_| Stranger::Signature)?;
        Ok(Authentic {
            device: self.device,
            body: self.body,
            reply: ReplyKey::new(self.reply),
        })
    }
}

impl Authentic {
    /// The device that made the request.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Parses the request and checks that it is valid at `now`.
    ///
    /// # Errors
    /// When it is not. The device is known by now, and told why, in a sealed answer.
    pub fn parse(&self, now: UnixMillis) -> Result<RequestBody, RefusalCode> {
        let body = RequestBody::from_bytes(&self.body)?;
        let age = now.since(body.issued_at());
        if age > VALIDITY_MILLIS + SKEW_MILLIS {
            Err(RefusalCode::Expired)
        } else if age < -SKEW_MILLIS {
            Err(RefusalCode::FutureDated)
        } else {
            Ok(body)
        }
    }

    /// What seals the answer.
    #[must_use]
    pub fn reply(&self) -> &ReplyKey {
        &self.reply
    }

    /// What seals the answer, when the request itself is no longer needed.
    #[must_use]
    pub fn into_reply(self) -> ReplyKey {
        self.reply
    }
}
