use minicbor::bytes::ByteSlice;
use ostrakon_shards::{
    card::Card,
    channel::Receiver,
    kem::{KemPublic, KemSecret},
    random,
    sign::{Signature, VerifyKey},
};
use ostrakon_types::{DeviceId, KssId, UnixMillis};
use zeroize::Zeroizing;

use super::{
    MAX_ENVELOPE_LEN, ReplyKey, SKEW_MILLIS, SealResponseError, ServerSession, SessionId,
    VALIDITY_MILLIS,
    reply::{LEN, ReplySecret},
    session::Offer,
    wire::{Clear, PURPOSE, Version},
};
use crate::message::{RefusalCode, RequestBody, ResponseBody, secret};

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
    offer: Option<Offer>,
}

/// A request that its device signed, for this server, or that came in a session which began with one.
/// It is not parsed yet.
pub struct Authentic {
    device: DeviceId,
    body: Zeroizing<Vec<u8>>,
    reply: ReplyKey,
    offer: Option<Offer>,
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
    /// A message of a session that there is not, or no longer.
    #[error("there is no such session")]
    NoSession,
    /// A message of a session that was taken before, or is too old to tell.
    #[error("message was sent before")]
    Repeated,
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
            version,
            suite,
            device,
            encapsulated,
        } = clear;
        let mut receiver = Receiver::setup(suite, &self.0, encapsulated, &clear.info(kss))
            .map_err(|_| Stranger::Sealed)?;
        let inner = receiver
            .open(&[], ciphertext)
            .map_err(|_| Stranger::Sealed)?;
        let export = |label: &[u8], secret: &mut [u8]| receiver.export(label, secret);
        let reply = ReplySecret::new(suite, encapsulated, export).map_err(|_| Stranger::Sealed)?;
        let offer = match version {
            Version::Opening => Some(Offer::new(suite, export).map_err(|_| Stranger::Sealed)?),
            _ => None,
        };
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
            offer,
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
            version: match self.offer {
                Some(_) => Version::Opening,
                None => Version::Single,
            },
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
            reply: ReplyKey::single(self.reply),
            offer: self.offer,
        })
    }
}

impl Authentic {
    /// A request in a session with `device`.
    pub(super) fn in_session(device: DeviceId, body: Zeroizing<Vec<u8>>, reply: ReplyKey) -> Self {
        Self {
            device,
            body,
            reply,
            offer: None,
        }
    }

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

    /// The session that the request asks for, if it does. Sent again, it asks for the same one, which is
    /// not to be granted while there is one of that name.
    #[must_use]
    pub fn asked_session(&self) -> Option<SessionId> {
        self.offer.as_ref().map(Offer::id)
    }

    /// Seals the answer and grants the session that the request asks for; only seals it, if it asks for
    /// none. The caller keeps the session, for which time runs from `now`, and forgets it when it is
    /// over.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn grant(
        &self,
        response: &ResponseBody,
        now: UnixMillis,
    ) -> Result<(Vec<u8>, Option<ServerSession>), SealResponseError> {
        self.grant_impl(response, now, &random::array()?)
    }

    pub(super) fn grant_impl(
        &self,
        response: &ResponseBody,
        now: UnixMillis,
        nonce: &[u8; LEN],
    ) -> Result<(Vec<u8>, Option<ServerSession>), SealResponseError> {
        let Some(offer) = &self.offer else {
            let sealed = self.reply.seal_impl(Version::Single, response, nonce)?;
            return Ok((sealed, None));
        };
        let sealed = self.reply.seal_impl(Version::Opening, response, nonce)?;
        let session = ServerSession::granted(offer, nonce, self.device, now);
        Ok((sealed, Some(session)))
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
